"""`Executor`: `concurrent.futures` on strangers' computers."""

from __future__ import annotations

import collections
import concurrent.futures
import json
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from . import _local, _packages, _progress, models
from ._chunk import Batch, Chunk, Pace, Result, results
from ._client import new_id
from ._encoding import DecodeError
from ._modules import Shipment
from ._source import Pack
from ._tasks import Options, Tasks
from .errors import BudgetExhausted, ExchangeError, JushaError, LimitReached, Lost, RemoteTraceback, Trapped
from .future import Call, JobFuture, Sent
from .job import NANOCREDITS, Job

T = TypeVar("T")

_FUEL_MAX = 1 << 47
# What a chunk is to last, by the guest's clock: long beside what a task costs to start.
_CHUNK_NS = 4_000_000_000
# Calls whose length nobody knows yet, at first.
_FIRST_CALLS = 4
# Calls whose arguments are one pickle, at most: what a chunk is made of.
_BATCH_CALLS = 64
# How long submissions are gathered before they are sent.
_GATHER_S = 0.005
_TASKS_PER_JOB = 64
_PRICE_MAX = 1_000_000

_LIVE: weakref.WeakSet[Executor] = weakref.WeakSet()


def _finish() -> None:
    for executor in list(_LIVE):
        executor.shutdown()


# As for the standard library's executors: what was submitted is done before the interpreter ends.
threading._register_atexit(_finish)  # type: ignore[attr-defined]


class Executor(concurrent.futures.Executor):
    """Runs calls in CPython on machines of an exchange: sandboxed, metered, checkpointed, moved.

    Without a `url` it takes the exchange that `jusha login` stored if that answers, and else starts
    one on this computer for as long as the executor lives.

    `budget` is the most that all its jobs may cost, in credits; `max_price` the most per Tfuel;
    `slots` how many machine slots to use at once; `filters` the exchange's filters for machines;
    `memory` what a call may have, in MiB; `call_limit` the most fuel of one call, in Gfuel;
    `packages` are requirements of pure-Python packages, such as `"attrs>=24"`; `progress` shows a
    bar for each map.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        token: str | None = None,
        budget: float = 1.0,
        max_price: float | None = None,
        slots: int | None = None,
        instrument: str = "cpu.2g.any",
        filters: models.Filters | None = None,
        runtime: str = "python",
        packages: Iterable[str] = (),
        memory: int = 512,
        call_limit: float | None = None,
        name: str = "python",
        recursion: int = 1000,
        echo: bool = True,
        progress: bool = False,
    ):
        if not 0 < budget < 1e9:
            raise ValueError(f"budget is {budget}; give credits above 0")
        if slots is not None and not 1 <= slots <= 1000:
            raise ValueError(f"slots is {slots}; give 1 to 1000")
        if not 16 <= memory <= 4096:
            raise ValueError(f"memory is {memory} MiB; give 16 to 4096")
        self._runtime = _local.runtime(runtime)
        self._packages = _packages.resolve(packages, self._runtime)
        self.client, self._local = _local.find_exchange(url, token, slots)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._options = Options(
            budget_nanocredits=round(budget * NANOCREDITS),
            max_price_nanocredits_per_tfuel=None if max_price is None else round(max_price * NANOCREDITS),
            slots=slots or (cores if self._local else 16),
            instrument=instrument,
            filters=filters or {},
            memory_mib=memory,
            fuel_max=_FUEL_MAX if call_limit is None else max(1, round(call_limit * 10**9)),
            name=name,
            recursion=recursion,
            echo=echo,
            progress=progress,
        )
        self._tasks = Tasks(self.client, self._runtime, self._packages, self._options)
        self._lock = threading.Condition()
        self._queue: collections.deque[tuple[Shipment, Batch, dict[str, bytes], bool]] = collections.deque()
        self._packs: dict[int, tuple[Any, Shipment, Pack]] = {}
        self._jobs: dict[str, Sent] = {}
        self._shut = False
        self._broken: BaseException | None = None
        self._spent = 0
        self._paces: dict[Any, Pace] = {}
        self._threads = [threading.Thread(target=self._dispatch, name="jusha-dispatch", daemon=True)]
        self._threads[0].start()
        _LIVE.add(self)
        self._finalizer = weakref.finalize(self, _stop_local, self._local)

    # What users call

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> JobFuture[T]:
        """Schedules `fn(*args, **kwargs)`; what can't travel is refused here."""
        with self._lock:
            self._check()
            shipment, pack = self._pack(fn)
            number = pack.pickle_arguments([(args, kwargs)], f"the arguments of {_name(fn)}")
            future: JobFuture[T] = JobFuture()
            self._queue.append((shipment, Batch(pack, number, [Call(future)], self._pace(fn)), {}, False))
            self._lock.notify_all()
        return future

    def map(  # type: ignore[override]
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        progress: bool | None = None,
    ) -> Iterator[T]:
        """`map(fn, *iterables)`; without `chunksize`, chunks are as long as the calls turn out to take.

        With `progress` a bar is shown, tqdm's if that is installed.
        """
        end = None if timeout is None else time.monotonic() + timeout
        futures = self._submit_all(fn, list(zip(*iterables)), chunksize, progress=progress)
        return _results(futures, end)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls; waits for those that there are, or cancels those not yet sent."""
        with self._lock:
            self._shut = True
            if cancel_futures:
                for _, batch, _, _ in self._queue:
                    for call in batch.calls:
                        if call.future.cancel():
                            call.future.set_running_or_notify_cancel()
                self._queue.clear()
            self._lock.notify_all()
        if wait:
            # The first one starts the others.
            self._threads[0].join()
            for thread in self._threads[1:]:
                thread.join()
            if self._local:
                self._finalizer()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        # Whoever interrupts wants to pay for no more.
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.abort()
        self.shutdown()

    def abort(self) -> None:
        """Cancels everything, also what runs: nothing more is paid for."""
        self.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            ids = [job.id for job in self._jobs.values() if job.open]
        for id in ids:
            self.client.cancel_job(id)

    def settle(self) -> None:
        """Waits until every job that was sent is over and paid: then each future knows its cost."""
        with self._lock:
            self._lock.wait_for(lambda: all(job.paid_nanocredits is not None or job.failed for job in self._jobs.values()))

    @property
    def cost(self) -> float:
        """What its jobs cost so far, in credits."""
        with self._lock:
            paid = sum(job.paid_nanocredits or job.view["paid_nanocredits"] for job in self._jobs.values())
        return paid / NANOCREDITS

    @property
    def jobs(self) -> list[Job]:
        """The jobs that it sent, each as it stood last."""
        with self._lock:
            return [Job(self.client, job.view) for job in self._jobs.values()]

    @property
    def packages(self) -> list[str]:
        """The requirements that give exactly the wheels of `packages`."""
        return [wheel.pinned for wheel in self._packages.wheels]

    def _repr_html_(self) -> str:
        said = f"<p>{len(self._jobs)} jobs, {self.cost:.9f} credits</p>"
        return said + "".join(job._repr_html_() for job in self.jobs)

    # Before a job

    def _check(self) -> None:
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._broken is not None:
            raise JushaError(f"the executor ended: {self._broken}") from self._broken

    def _pack(self, fn: Any) -> tuple[Shipment, Pack]:
        # One for all calls that wait: a function is what it is when it is first sent.
        kept = self._packs.get(id(fn))
        if kept is None:
            shipment = Shipment(self._runtime.name, self._runtime.python, self._runtime.modules | self._packages.modules())
            kept = self._packs[id(fn)] = (fn, shipment, Pack(shipment, fn))
        return kept[1], kept[2]

    def _pace(self, fn: Any) -> Pace:
        # By code: a lambda in a loop is another object each time.
        key = getattr(fn, "__code__", None) or type(fn), _name(fn)
        return self._paces.setdefault(key, Pace())

    def _submit_all(
        self,
        fn: Any,
        calls: list[tuple],
        chunksize: int | None,
        files: list[dict[str, bytes]] | None = None,
        progress: bool | None = None,
    ) -> list[JobFuture[Any]]:
        if chunksize is not None and chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        futures: list[JobFuture[Any]] = []
        with self._lock:
            self._check()
            if not calls:
                return futures
            shipment, pack = self._pack(fn)
            size = chunksize or max(1, min(_BATCH_CALLS, len(calls) // (self._options.slots * 32)))
            entries = []
            for first in range(0, len(calls), size):
                group = calls[first : first + size]
                made: list[JobFuture[Any]] = [JobFuture() for _ in group]
                number = pack.pickle_arguments([(args, {}) for args in group], f"the arguments of {_name(fn)}")
                shipped: dict[str, bytes] = {}
                for one in files[first : first + size] if files else []:
                    shipped |= one
                batch = Batch(pack, number, [Call(one) for one in made], self._pace(fn))
                entries.append((shipment, batch, shipped, chunksize is not None))
                futures += made
            self._queue.extend(entries)
            self._lock.notify_all()
        if self._options.progress if progress is None else progress:
            _progress.show(futures, _name(fn))
        return futures

    # Jobs

    def _dispatch(self) -> None:
        try:
            while True:
                with self._lock:
                    self._lock.wait_for(lambda: self._queue or (self._shut and not self._jobs_open()))
                    if not self._queue:
                        return
                # Calls that come one by one come in a row.
                time.sleep(_GATHER_S)
                with self._lock:
                    self._lock.wait_for(lambda: self._room() > 0 or not self._queue)
                    chunks = self._chunks()
                    self._packs.clear()
                if chunks:
                    self._try_to_send(chunks)
        except BaseException as error:
            self._break(error)

    def _jobs_open(self) -> bool:
        return any(job.open for job in self._jobs.values())

    def _room(self) -> int:
        """Chunks that may be sent: as many again as run, so that no slot waits for the next."""
        return 2 * self._options.slots - sum(len(job.open) for job in self._jobs.values())

    def _chunks(self) -> list[Chunk]:
        """The next chunks, as long as calls of their function were so far."""
        slots = self._options.slots
        waiting: collections.Counter[int] = collections.Counter()
        for _, batch, _, _ in self._queue:
            waiting[id(batch.pace)] += len(batch.calls)
        most = min(_TASKS_PER_JOB, max(self._room(), slots))
        chunks: list[Chunk] = []
        while self._queue and len(chunks) < most:
            shipment, batch, files, fixed = self._queue.popleft()
            mean_ns = batch.pace.mean_ns
            if mean_ns is not None:
                size = max(1, min(_CHUNK_NS // mean_ns, math.ceil(waiting[id(batch.pace)] / slots)))
            else:
                # Whoever knows nothing tries a few.
                size = max(1, min(_FIRST_CALLS, waiting[id(batch.pace)] // (slots * 4)))
                most = min(most, slots)
            chunk = Chunk(shipment, [batch], dict(files))
            count = len(batch.calls)
            while not fixed and self._queue and count < size and not any(c.alone for c in batch.calls if c):
                following, more, more_files, more_fixed = self._queue[0]
                if more_fixed or following is not shipment or any(c.alone for c in more.calls if c):
                    break
                self._queue.popleft()
                chunk.batches.append(more)
                chunk.files |= more_files
                count += len(more.calls)
            self._start(chunk)
            if any(call is not None for call in chunk.calls()):
                chunks.append(chunk)
        return chunks

    def _start(self, chunk: Chunk) -> None:
        """From here on its calls can't be cancelled; those that were drop out."""
        for batch in chunk.batches:
            batch.calls = [
                call if call and (call.future.running() or call.future.set_running_or_notify_cancel()) else None
                for call in batch.calls
            ]

    def _try_to_send(self, chunks: list[Chunk]) -> None:
        try:
            self._send(chunks)
        except BaseException as error:
            for chunk in chunks:
                self._fail(chunk.calls(), error)
            if not isinstance(error, JushaError):
                raise

    def _send(self, chunks: list[Chunk]) -> None:
        options, client = self._options, self.client
        digests = self._tasks.store(chunks)
        price = options.max_price_nanocredits_per_tfuel or self._price()
        new: models.NewJob = {
            "job": new_id("job"),
            "name": options.name,
            "instrument": options.instrument,
            "tasks": digests,
            "max_price_nanocredits_per_tfuel": price,
            "slots": min(options.slots, len(digests)),
            "budget_nanocredits": self._reserve(),
            "ask": None,
            "filters": options.filters,
        }
        try:
            view = client.submit_job(new)
        except ExchangeError as error:
            refused: Exception = error
            if error.code == "budget_too_small":
                refused = self._exhausted()
            for chunk in chunks:
                self._fail(chunk.calls(), refused)
            return
        job = Sent(new["job"], chunks, view, open=set(range(len(chunks))))
        for chunk in chunks:
            for call in chunk.calls():
                if call:
                    call.future._job = job
        with self._lock:
            self._jobs[job.id] = job
            self._lock.notify_all()
            thread = threading.Thread(target=self._follow, args=(job,), name="jusha-follow", daemon=True)
            going = [one for one in self._threads[1:] if one.is_alive()]
            self._threads = [self._threads[0], *going, thread]
        thread.start()

    def _free(self) -> int:
        """What isn't paid or set aside for a job yet, in nanocredits."""
        going = [job for job in self._jobs.values() if job.paid_nanocredits is None and not job.failed]
        held = sum(job.view["budget_nanocredits"] for job in going)
        return self._options.budget_nanocredits - self._spent - held

    def _reserve(self) -> int:
        """A part of the budget: jobs run beside each other, and one that runs out is topped up."""
        with self._lock:
            least = self._options.budget_nanocredits // 100
            # Jobs that end give back what they didn't need.
            self._lock.wait_for(lambda: self._free() > least or not self._jobs_open())
            return max(self._free() // 2, 1)

    def _exhausted(self) -> BudgetExhausted:
        spent, budget = self.cost, self._options.budget_nanocredits / NANOCREDITS
        return BudgetExhausted(f"{spent:g} of the budget of {budget:g} credits are spent: give more with budget=")

    def _price(self) -> int:
        """A little more than what stands in the book, so that a job needn't wait."""
        book = self.client.show_book(self._options.instrument)
        standing = [level["price_nanocredits_per_tfuel"] for level in book["asks"]]
        affordable = [price for price in standing if price <= _PRICE_MAX]
        return max(affordable, default=_PRICE_MAX)

    def _follow(self, job: Sent) -> None:
        try:
            view = job.view
            while job.open:
                for at in sorted(job.open):
                    task = view["tasks"][at]
                    if task["state"] in ("done", "refused", "cancelled"):
                        self._task_over(job, at, task)
                if not job.open:
                    break
                if view["state"] == "exhausted":
                    with self._lock:
                        more = self._free() // 2
                    if more > 0:
                        view = job.view = self.client.top_up(job.id, more)
                        continue
                    view = job.view = self.client.cancel_job(job.id)
                    error = self._exhausted()
                    for at in list(job.open):
                        self._fail(job.chunks[at].calls(), error)
                        job.open.discard(at)
                    break
                view = self.client.show_job(job.id, after=view["version"])
                job.view = view
            while view["state"] not in ("done", "cancelled"):
                view = self.client.show_job(job.id, after=view["version"])
            with self._lock:
                job.view = view
                job.paid_nanocredits = view["paid_nanocredits"]
                self._spent += view["paid_nanocredits"]
        except BaseException as error:
            for at in list(job.open):
                self._fail(job.chunks[at].calls(), error)
            job.open.clear()
            job.failed = True
        finally:
            with self._lock:
                self._lock.notify_all()

    def _task_over(self, job: Sent, at: int, task: models.TaskView) -> None:
        chunk = job.chunks[at]
        calls = chunk.calls()
        why: Exception
        digest = task.get("result")
        if task["state"] == "done" and digest:
            result = json.loads(self.client.fetch_blob(digest))
            data = b""
            for output in result["outputs"]:
                if output["name"] == "results":
                    data = self.client.fetch_blob(output["content"])
            paces = [batch.pace for batch in chunk.batches for _ in batch.calls]
            for one in results(data):
                call = calls[one.number] if one.number < len(calls) else None
                if call is not None and not call.future.done():
                    self._resolve(job, chunk, call, one)
                    with self._lock:
                        paces[one.number].calls += 1
                        paces[one.number].guest_ns += one.guest_ns
                        job.guest_ns += one.guest_ns
            why = self._why(result)
        elif task["state"] == "refused":
            why = Lost(task["refusal"] or "no machine can run it")
        else:
            why = Lost("the job was cancelled")
        left = [call for call in calls if call is not None and not call.future.done()]
        if left:
            self._left_over(chunk, calls, left, task, why)
        # Results are whose futures they are; nothing of them is kept here.
        chunk.batches.clear()
        with self._lock:
            job.open.discard(at)
            self._lock.notify_all()

    def _why(self, result: dict) -> Exception:
        outcome = result["outcome"]
        if outcome["kind"] == "fuel_limit":
            limit = self._options.fuel_max / 10**9
            return LimitReached(f"the call used up its limit of {limit:g} Gfuel: raise call_limit")
        if outcome["kind"] == "trapped":
            return Trapped(f"the interpreter trapped ({outcome['code']}): most often recursion through C code")
        said = self.client.fetch_blob(result["stderr"])[-2000:].decode(errors="replace")
        return Trapped(f"the interpreter ended with status {outcome['status']} {said}".strip())

    def _left_over(self, chunk: Chunk, calls: list, left: list[Call], task: models.TaskView, why: Exception) -> None:
        """The first call without a result ended the chunk; the others had no turn yet."""
        if task["state"] != "done":
            self._fail(left, why)
            return
        first = left[0]
        if first.alone or len(calls) == 1 or isinstance(why, Trapped) and len(left) == 1:
            self._fail([first], why)
        again = []
        position = 0
        for batch in chunk.batches:
            size = len(batch.calls)
            mine = calls[position : position + size]
            position += size
            rest = [call if call in left and not call.future.done() else None for call in mine]
            if first in rest:
                # By itself: a limit of fuel or memory may have been its neighbours'.
                alone = [call if call is first else None for call in rest]
                first.alone = True
                again.append((chunk.shipment, replace(batch, calls=alone), chunk.files, True))
                rest = [None if call is first else call for call in rest]
            if any(rest):
                again.append((chunk.shipment, replace(batch, calls=rest), chunk.files, False))
        with self._lock:
            self._queue.extendleft(reversed(again))
            self._lock.notify_all()

    def _resolve(self, job: Sent, chunk: Chunk, call: Call, one: Result) -> None:
        future = call.future
        future.guest_ns, future.stdout = one.guest_ns, one.printed
        types: dict[str, type] = {}
        for batch in chunk.batches:
            types |= batch.pack.types
        try:
            value = one.value(types)
            if one.raised:
                raised, text = value
                raised.__cause__ = RemoteTraceback(text)
        except (DecodeError, TypeError, ValueError) as error:
            future.set_exception(error if isinstance(error, DecodeError) else DecodeError(str(error)))
            return
        if one.printed and self._options.echo:
            sys.stdout.write(one.printed)
            sys.stdout.flush()
        if one.raised:
            future.set_exception(raised)
        else:
            future.set_result(value)

    def _fail(self, calls: Iterable[Call | None], error: BaseException) -> None:
        for call in calls:
            if call is not None and not call.future.done():
                call.future.set_exception(error)

    def _break(self, error: BaseException) -> None:
        with self._lock:
            self._broken = error
            waiting = [call for _, batch, _, _ in self._queue for call in batch.calls]
            self._queue.clear()
        for call in waiting:
            if call is not None and not call.future.done() and call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)


def _name(fn: Any) -> str:
    return getattr(fn, "__qualname__", None) or type(fn).__qualname__


def _stop_local(local: Any) -> None:
    if local is not None:
        local.stop()


def _results(futures: list[JobFuture[Any]], end: float | None) -> Iterator[Any]:
    # As concurrent.futures does: from the first on, and what isn't wanted any more is cancelled.
    futures.reverse()
    try:
        while futures:
            future = futures[-1]
            value = future.result() if end is None else future.result(end - time.monotonic())
            futures.pop()
            yield value
            del value
    finally:
        for future in futures:
            future.cancel()
