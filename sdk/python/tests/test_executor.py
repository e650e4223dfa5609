"""What concurrent.futures promises, and what Jusha adds, against a real exchange and provider."""

import asyncio
import concurrent.futures as cf
import os
import signal
import subprocess
import sys

import pytest

import jusha
from jusha import AsyncExecutor, BudgetExhausted, Executor, LimitReached, Lost, Trapped
from jusha._local import LocalExchange

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


def test_an_estimate_says_both(exchange):
    said = jusha.estimate(spin, [100_000, 200_000], url=exchange.url, token=exchange.token)
    assert said.calls == 2 and said.fuel > 100_000 and said.native_seconds > 0 and said.credits > 0
    assert "Gfuel" in str(said) and "credits" in said.of(100, slots=4)


def test_a_killed_provider_costs_nothing_but_time(tmp_path):
    local = LocalExchange(slots=1)
    command = [os.environ.get("JUSHA", "jusha"), "provide", local.join, "--data", str(tmp_path / "second")]
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
            while len(client.book("cpu.2g.any")["ask_orders"]) < 2:
                assert second.poll() is None
            futures = ex._submit_all(spin, [(2_000_000,) for _ in range(8)], 2)

            def attempts():
                jobs = [client.job(job["job"]) for job in client.jobs()]
                return [one for job in jobs for task in job["tasks"] for one in task["attempts"]]

            # Once it has something to lose.
            while not any(one["machine_name"] == "second" and one["to"]["fuel"] > 0 for one in attempts()):
                assert second.poll() is None and not all(future.done() for future in futures)
            os.kill(second.pid, signal.SIGKILL)
            second.wait()
            assert [future.result(WAIT) for future in futures] == [sum(range(2_000_000))] * 8
            names = [one["machine_name"] for one in attempts()]
            assert "second" in names and len(names) > 4, names
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
