"""What concurrent.futures promises, and what Jusha adds, against a real exchange and provider."""

import asyncio
import concurrent.futures as cf
import dataclasses
import gc
import os
import signal
import subprocess
import sys
import time
import weakref

import pytest

import jusha
from jusha import AsyncExecutor, BudgetExhausted, Executor, LimitReached, Lost, Trapped
from jusha._local import LocalExchange, program

WAIT = 240


def square(x):
    return x * x


def spin(n):
    total = 0
    for i in range(n):
        total += i
    return total


def fails(x):
    if x == 3:
        raise ValueError("three")
    return x


def test_submit_answers_and_map_keeps_the_order(executor):
    future = executor.submit(pow, 2, exp=10)
    assert future.result(WAIT) == 1024 and future.done() and not future.cancelled() and not future.running()
    assert list(executor.map(square, range(300))) == [x * x for x in range(300)]
    assert list(executor.map(pow, [2, 3, 4], [5, 2])) == [32, 9]
    assert list(executor.map(square, [])) == []
    assert list(executor.map(square, range(7), chunksize=3)) == [x * x for x in range(7)]
    with pytest.raises(ValueError):
        executor.map(square, [1], chunksize=0)


def test_map_raises_at_the_first_failure_and_gives_what_was_before(executor):
    results = executor.map(fails, range(5))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_wait_and_as_completed(executor):
    futures = [executor.submit(square, x) for x in range(5)]
    done, left = cf.wait(futures, timeout=WAIT)
    assert len(done) == 5 and not left
    assert sorted(future.result() for future in cf.as_completed(futures)) == [0, 1, 4, 9, 16]
    called = []
    futures[0].add_done_callback(called.append)
    assert called == [futures[0]]


def test_exceptions_carry_the_remote_traceback(executor):
    error = executor.submit(fails, 3).exception(WAIT)
    assert type(error) is ValueError and error.args == ("three",)
    assert isinstance(error.__cause__, jusha.RemoteTraceback)
    assert 'raise ValueError("three")' in str(error.__cause__)

    def chained():
        try:
            1 / 0
        except ZeroDivisionError as first:
            raise KeyError("second") from first

    text = str(executor.submit(chained).exception(WAIT).__cause__)
    assert "ZeroDivisionError" in text and "direct cause" in text and "driver" not in text


def test_timeouts_and_cancellation(exchange):
    with Executor(url=exchange.url, token=exchange.token, slots=1) as ex:
        slow = ex.submit(spin, 3_000_000)
        with pytest.raises(cf.TimeoutError):
            slow.result(0)
        assert not slow.done()
        with pytest.raises(cf.TimeoutError):
            next(ex.map(spin, [2_000_000], timeout=0))
        assert slow.result(WAIT) == sum(range(3_000_000))
        assert not slow.cancel() and not slow.cancelled()
    ex = Executor(url=exchange.url, token=exchange.token, slots=1)
    futures = [ex.submit(square, x) for x in range(3)]
    ex.shutdown(cancel_futures=True)
    for x, future in enumerate(futures):
        assert future.cancelled() or future.result(0) == x * x
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.submit(square, 1)


def test_shutdown_waits_for_what_was_submitted(exchange):
    ex = Executor(url=exchange.url, token=exchange.token)
    future = ex.submit(square, 9)
    ex.shutdown(wait=False)
    assert future.result(WAIT) == 81
    ex.shutdown()


def test_an_interpreter_that_ends_waits_for_what_was_submitted(exchange, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from jusha import Executor\n"
        "def f(x): return x + 1\n"
        "Executor().submit(f, 1).add_done_callback(lambda future: print(future.result()))\n"
    )
    environment = {**os.environ, "JUSHA_URL": exchange.url, "JUSHA_TOKEN": exchange.token}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=WAIT)
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr


def test_an_interrupted_executor_pays_for_no_more(exchange):
    ex = Executor(url=exchange.url, token=exchange.token, slots=1)
    with pytest.raises(KeyboardInterrupt), ex:
        running = ex.submit(spin, 10**12)
        with ex._lock:
            ex._lock.wait_for(lambda: ex._jobs)
        waiting = ex.submit(spin, 10**12)
        raise KeyboardInterrupt
    assert isinstance(running.exception(0), Lost)
    assert waiting.cancelled() or isinstance(waiting.exception(0), Lost)
    assert {job.state for job in ex.jobs} == {"cancelled"}


def test_waiting_for_the_first_result_and_the_first_failure(executor):
    quick, slow = executor.submit(square, 2), executor.submit(spin, 2_000_000)
    done, _ = cf.wait([quick, slow], WAIT, cf.FIRST_COMPLETED)
    assert done
    failing, slower = executor.submit(fails, 3), executor.submit(spin, 3_000_000)
    done, _ = cf.wait([failing, slower], WAIT, cf.FIRST_EXCEPTION)
    assert failing in done
    assert len(list(cf.as_completed([quick, quick, slow], WAIT))) == 2
    with pytest.raises(cf.TimeoutError):
        list(cf.as_completed([executor.submit(spin, 3_000_000)], timeout=0))


def test_names_of_arguments_are_the_functions_own(executor):
    def takes(self, fn, *, chunksize, timeout):
        return self, fn, chunksize, timeout

    assert executor.submit(takes, self=1, fn=2, chunksize=3, timeout=4).result(WAIT) == (1, 2, 3, 4)
    with pytest.raises(TypeError):
        executor.submit()
    with pytest.raises(TypeError):
        executor.submit(arg=1)
    error = executor.submit(takes, 1).exception(WAIT)
    assert isinstance(error, TypeError) and "missing" in str(error)


def held(x):
    return Point(x)


@dataclasses.dataclass
class Point:
    x: int


def test_results_belong_to_their_futures_alone(executor):
    gone = []
    for value in executor.map(held, range(10)):
        gone.append(weakref.ref(value))
        del value
    future = executor.submit(held, 3)
    gone.append(weakref.ref(future.result(WAIT)))
    del future
    executor.settle()
    gc.collect()
    assert [one() for one in gone] == [None] * 11


def test_results_of_a_map_can_be_left(exchange):
    with Executor(url=exchange.url, token=exchange.token, slots=1) as ex:
        results = ex.map(square, range(2000), chunksize=1)
        assert next(results) == 0
        results.close()
        # What isn't sent yet is cancelled then, so that this ends soon.
    assert sum(len(job.view["tasks"]) for job in ex.jobs) < 2000


def test_what_calls_print_is_shown_and_kept(executor, capsys):
    def talks(name):
        print(f"hello {name}")
        print("to stderr", file=sys.stderr)
        return name

    future = executor.submit(talks, "ant")
    assert future.result(WAIT) == "ant"
    assert future.stdout == "hello ant\nto stderr\n"
    cf.wait([future])
    executor.shutdown()
    assert "hello ant\n" in capsys.readouterr().out


def test_calls_have_their_own_randomness_and_no_files_of_ours(executor):
    def draws(_):
        import os
        import random

        return random.random(), os.urandom(8).hex(), os.path.exists("/etc/passwd"), sorted(os.listdir("/"))

    results = list(executor.map(draws, range(4), chunksize=1))
    assert len({value for value, *_ in results}) == 4 and len({drawn for _, drawn, *_ in results}) == 4
    assert {(exists, tuple(names)) for *_, exists, names in results} == {(False, ("in", "out", "tmp"))}


def test_a_call_that_ends_its_chunk_costs_only_itself(executor):
    def crashes(x):
        if x == 5:
            import os

            os._exit(3)
        return x

    futures = executor._submit_all(crashes, [(x,) for x in range(12)], 6)
    cf.wait(futures, WAIT)
    for x, future in enumerate(futures):
        if x == 5:
            assert isinstance(future.exception(), Trapped), future.exception()
        else:
            assert future.result() == x


def test_recursion_memory_and_endless_calls(exchange):
    def deep(n):
        return 0 if n == 0 else 1 + deep(n - 1)

    def hungry():
        return len(bytearray(1 << 30))

    def endless():
        while True:
            pass

    def many(n):
        return b"x" * n

    with Executor(url=exchange.url, token=exchange.token, slots=2, memory=128, call_limit=20) as ex:
        futures = [ex.submit(deep, 500), ex.submit(deep, 10**6), ex.submit(hungry), ex.submit(endless), ex.submit(square, 4)]
        assert futures[0].result(WAIT) == 500
        assert isinstance(futures[1].exception(WAIT), RecursionError)
        assert isinstance(futures[2].exception(WAIT), MemoryError)
        assert isinstance(futures[3].exception(WAIT), LimitReached) and "20 Gfuel" in str(futures[3].exception())
        assert futures[4].result(WAIT) == 16
        assert len(ex.submit(many, 5 << 20).result(WAIT)) == 5 << 20


def test_costs_are_exact_and_budgets_end(exchange):
    with Executor(url=exchange.url, token=exchange.token) as ex:
        futures = [ex.submit(spin, 300_000) for _ in range(4)]
        cf.wait(futures, WAIT)
        ex.settle()
        shares = [future.cost for future in futures]
        assert all(share > 0 for share in shares)
        assert sum(shares) == pytest.approx(ex.cost, rel=1e-9)
        assert futures[0].fuel > 1_000_000
    with Executor(url=exchange.url, token=exchange.token, budget=0.0000005) as ex:
        future = ex.submit(spin, 300_000_000)
        error = future.exception(WAIT)
        assert isinstance(error, BudgetExhausted), error
        assert "budget=" in str(error)


def test_files_travel_by_name(exchange, tmp_path):
    paths = []
    for name, text in [("a.txt", "one two"), ("b.txt", "three")]:
        (tmp_path / name).write_text(text)
        paths.append(tmp_path / name)

    def words(path):
        return path.name, len(path.read_text().split()), path.parent.is_dir()

    options = {"url": exchange.url, "token": exchange.token}
    assert list(jusha.map_files(words, paths, **options)) == [("a.txt", 2, True), ("b.txt", 1, True)]
    with pytest.raises(jusha.CannotTravel, match="missing.txt"):
        jusha.map_files(words, [tmp_path / "missing.txt"], **options)


def test_the_async_twin(exchange):
    async def everything():
        async with AsyncExecutor(url=exchange.url, token=exchange.token) as ex:
            assert await ex.submit(square, 3) == 9
            assert [value async for value in ex.map(square, range(5))] == [0, 1, 4, 9, 16]
            first, second = await asyncio.gather(ex.submit(square, 5), ex.submit(fails, 3), return_exceptions=True)
            assert first == 25 and isinstance(second, ValueError)

    asyncio.run(everything())


def test_chunks_are_as_long_as_calls_take(exchange):
    with Executor(url=exchange.url, token=exchange.token, slots=2) as ex:
        assert list(ex.map(square, range(3000))) == [x * x for x in range(3000)]
        quick = sum(len(job.view["tasks"]) for job in ex.jobs)
        assert quick < 10, "3,000 calls of microseconds are few tasks"
        # Of another function: what the first one's calls took says nothing of these.
        assert len(set(ex.map(spin, range(1_000_000, 1_000_006)))) == 6
        assert sum(len(job.view["tasks"]) for job in ex.jobs) - quick >= 4


def test_sleeping_is_no_computing(executor):
    def sleeps():
        import time

        begun, worked = time.time(), time.process_time()
        time.sleep(3600)
        return time.time() - begun, time.process_time() - worked

    future = executor.submit(sleeps)
    passed, worked = future.result(WAIT)
    assert passed >= 3600 and 0 < worked < 1
    assert future.fuel < 10**9


def test_asyncio_over_there(executor):
    def gathers():
        import asyncio
        import time

        async def waits(seconds):
            await asyncio.sleep(seconds)
            return seconds

        async def everything():
            return await asyncio.gather(*(waits(100 * n) for n in range(4)))

        begun = time.time()
        return asyncio.run(everything()), time.time() - begun

    values, passed = executor.submit(gathers).result(WAIT)
    assert values == [0, 100, 200, 300] and 300 <= passed < 310

    def connects():
        import asyncio

        asyncio.run(asyncio.open_connection("127.0.0.1", 1))

    def hangs():
        import asyncio

        asyncio.run(asyncio.Event().wait())

    assert "no network" in str(executor.submit(connects).exception(WAIT))
    assert "waits for another" in str(executor.submit(hangs).exception(WAIT))


def test_jobs_can_be_looked_at(executor):
    assert list(executor.map(square, range(8))) == [x * x for x in range(8)]
    executor.settle()
    [job, *_] = executor.jobs
    assert job.state == "done" and job.cost > 0 and job.machines and job.fuel > 0
    assert sum(one.cost for one in executor.jobs) == pytest.approx(executor.cost)
    assert "done" in repr(job) and job.id in repr(job)
    html = jusha.Job.of(executor.client, job.id)._repr_html_()
    assert html.count("<tr>") == html.count("</tr>") > 5 and f"{job.cost:.9f}" in html
    job.view["name"] = "<script>"
    assert "<script>" not in job._repr_html_()


def test_progress_is_shown(executor, capsys, monkeypatch):
    # As if it weren't installed: then it is a line.
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert list(executor.map(square, range(5), progress=True)) == [0, 1, 4, 9, 16]
    assert "square: 5 of 5 calls\n" in capsys.readouterr().err
    assert list(executor.map(square, [], progress=True)) == []
    assert list(executor.map(square, [2])) == [4]
    assert capsys.readouterr().err == ""


def test_an_estimate_says_both(exchange):
    said = jusha.estimate(spin, [100_000, 200_000], url=exchange.url, token=exchange.token)
    assert said.calls >= 2 and said.fuel > 100_000 and said.native_seconds > 0 and said.credits > 0
    assert "Gfuel" in str(said) and "credits" in said.of(100, slots=4)
    # A call that does nothing costs what a call costs, not what a task costs.
    tiny = jusha.estimate(square, range(10), url=exchange.url, token=exchange.token)
    assert tiny.calls > 1000 and tiny.fuel < 10**6 and tiny.credits < said.credits / 10
    with pytest.raises(ValueError, match="sample is empty"):
        jusha.estimate(square, [])


def strangers_join(local):
    """A join string for a machine of somebody else's than the exchange's first."""
    add = ["exchange", "account", "add", "stranger", "--data", str(local.folder / "data/exchange")]
    made = subprocess.run([program(), *add], stdout=subprocess.PIPE, text=True, check=True).stdout
    token = next(line.split()[1] for line in made.splitlines() if line.startswith("token"))
    return jusha.Client(local.url, token).make_join_code()["join"]


def test_a_killed_provider_costs_nothing_but_time(tmp_path):
    local = LocalExchange(slots=1)
    # Of another seller, and cheaper: it is asked first. Whoever pulls the plug is paid no more than
    # before by the same job, which would keep a machine of the same seller out of it.
    command = [program(), "provide", "--always", strangers_join(local), "--data", str(tmp_path / "second")]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    second = subprocess.Popen(
        [*command, "--slots", "1", "--price", "0.0001", "--name", "second", "--checkpoint-interval-ms", "500"],
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        with Executor(url=local.url, token=local.token, slots=2) as ex:
            client = ex.client
            # Nothing in REST waits for the book.
            while len(client.show_book("cpu.2g.any")["ask_orders"]) < 2:
                assert second.poll() is None
                time.sleep(0.02)
            futures = ex._submit_all(spin, [(2_000_000,) for _ in range(8)], 2)

            def tasks():
                return [task for job in client.list_jobs() for task in client.show_job(job["job"])["tasks"]]

            def attempts():
                return [one for task in tasks() for one in task["attempts"]]

            # Once it has something to lose.
            while not any(one["machine_name"] == "second" and one["to"]["fuel"] > 0 for one in attempts()):
                assert second.poll() is None and not all(future.done() for future in futures)
                time.sleep(0.02)
            os.kill(second.pid, signal.SIGKILL)
            second.wait()
            assert [future.result(WAIT) for future in futures] == [sum(range(2_000_000))] * 8
            moved = [task["attempts"] for task in tasks() if len(task["attempts"]) > 1]
            for lapsed, finished in moved:
                assert (lapsed["machine_name"], lapsed["end"], finished["end"]) == ("second", "lapsed", "finished")
                # On it went from there: what was done wasn't done again.
                assert finished["from"]["fuel"] == lapsed["to"]["fuel"]
            assert any(finished["from"]["fuel"] > 0 for _, finished in moved)
    finally:
        if second.poll() is None:
            second.kill()
        second.wait()
        local.stop()


def test_bad_options_are_refused(exchange):
    for options, words in [
        ({"budget": 0}, "budget is 0"),
        ({"slots": 0}, "slots is 0"),
        ({"memory": 5}, "memory is 5"),
    ]:
        with pytest.raises(ValueError, match=words):
            Executor(url=exchange.url, token=exchange.token, **options)
    with pytest.raises(jusha.NotConfigured, match="no URL"):
        Executor(url="ftp://x", token="t")
    with pytest.raises(jusha.NotConfigured, match="no runtime"):
        Executor(url=exchange.url, token=exchange.token, runtime="cobol")
    with Executor(url=exchange.url, token="wrong") as ex:
        error = ex.submit(square, 1).exception(WAIT)
        assert isinstance(error, jusha.ExchangeError) and error.code, error
    with Executor(url=exchange.url, token=exchange.token, memory=4096) as ex:
        error = ex.submit(square, 1).exception(WAIT)
        assert isinstance(error, (jusha.ExchangeError, Lost)), error
