"""Calls a second beside Dask distributed, Ray and ProcessPoolExecutor, on two slots of this computer.

    pip install -r benches/requirements.txt
    python benches/executors.py                        # 10,000 no-op calls, 200 calls of one second
    python benches/executors.py --calls 1000 --works 8 --seconds 0.2

All run in the same process one after the other, each warm. What isn't installed is left out, and so
are the numpy calls without the runtime `python-science`. Nothing here fails: it prints.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

SLOTS = 2
Map = Callable[[Callable, list], list]


def nothing(x):
    """A call that costs what calling costs."""
    return x


def compute(loops):
    """Pure Python as people write it: integers, floats, a dict, a string now and then."""
    seen = {}
    total = 0.0
    for i in range(loops):
        key = i * 31 % 1009
        seen[key] = seen.get(key, 0) + 1
        total += (i % 7) * 0.5
        if i % 1000 == 0:
            total += len(f"{total:.3f}")
    return total, len(seen)


def multiply(size):
    """What numpy is for."""
    import numpy

    a = numpy.arange(size * size, dtype=float).reshape(size, size) / size
    return float((a @ a.T).sum())


@contextlib.contextmanager
def jusha() -> Iterator[Map]:
    """Here, over a real exchange and a real provider."""
    from jusha import Executor
    from jusha._local import LocalExchange

    local = LocalExchange(slots=SLOTS)
    with contextlib.ExitStack() as stack:
        stack.callback(local.stop)
        made: dict[str, Executor] = {}

        def executor(fn: Callable) -> Executor:
            runtime = "python-science" if fn is multiply else "python"
            if runtime not in made:
                options: Any = {"runtime": runtime, "slots": SLOTS, "budget": 100}
                made[runtime] = stack.enter_context(Executor(url=local.url, token=local.token, **options))
            return made[runtime]

        def run(fn: Callable, values: list) -> list:
            return list(executor(fn).map(fn, values))

        run.executor, run.local = executor, local  # type: ignore[attr-defined]
        yield run


@contextlib.contextmanager
def dask() -> Iterator[Map]:
    """Two worker processes with a thread each."""
    import logging

    from distributed import Client, LocalCluster

    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers=SLOTS, **options) as cluster, Client(cluster) as client:
        yield lambda fn, values: client.gather(client.map(fn, values, pure=False))


@contextlib.contextmanager
def ray() -> Iterator[Map]:
    """Two worker processes."""
    import ray

    ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:

        def run(fn: Callable, values: list) -> list:
            remote = ray.remote(fn)
            return ray.get([remote.remote(value) for value in values])

        yield run
    finally:
        ray.shutdown()


@contextlib.contextmanager
def processes() -> Iterator[Map]:
    """The standard library's pool, a call per message."""
    with ProcessPoolExecutor(SLOTS) as pool:
        yield lambda fn, values: list(pool.map(fn, values))


EXECUTORS = {"Jusha": jusha, "Dask": dask, "Ray": ray, "ProcessPoolExecutor": processes}


def cpu_seconds(pid: int) -> dict[str, float]:
    """CPU time by role of a `jusha up` and all below it, those that ended included."""
    tick = os.sysconf("SC_CLK_TCK")
    parents: dict[int, int] = {}
    figures: dict[int, tuple[str, float]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parents[int(entry.name)] = int(fields[1])
            role = words[1].decode() if len(words) > 1 else ""
            figures[int(entry.name)] = (role, sum(map(int, fields[11:15])) / tick)
    found: dict[str, float] = {}
    for one, (role, spent) in figures.items():
        above: int | None = one
        while above is not None and above != pid:
            above = parents.get(above)
        if above == pid:
            found[role] = found.get(role, 0.0) + spent
    return found


def has_numpy() -> bool:
    """Whether the runtime that has it is installed."""
    from jusha._local import program

    listed = subprocess.run([program(), "runtime", "list", "--json"], capture_output=True, check=True).stdout
    return any(row["name"] == "python-science" and row["installed"] for row in json.loads(listed))


def loops_for(seconds: float) -> int:
    """How much of `compute` takes so long here."""
    took = []
    for _ in range(3):
        begun = time.process_time()
        compute(200_000)
        took.append(time.process_time() - begun)
    return max(1, round(200_000 * seconds / statistics.median(took)))


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000, help="no-op calls")
    parser.add_argument("--works", type=int, default=200, help="calls that compute")
    parser.add_argument("--seconds", type=float, default=1.0, help="what one of those takes natively")
    parser.add_argument("--only", default=",".join(EXECUTORS), help="which executors")
    options = parser.parse_args()
    loops = loops_for(options.seconds)
    kinds: dict[str, tuple[Callable, list]] = {
        "no-op": (nothing, list(range(options.calls))),
        "pure Python": (compute, [loops + x for x in range(options.works)]),
    }
    if has_numpy():
        kinds["numpy"] = (multiply, [400] * options.works)
    else:
        print("numpy: left out, `jusha runtime add python-science` installs it")
    print(f"Python {sys.version.split()[0]}, {SLOTS} slots of {os.cpu_count()} cores, {loops} loops a call")
    rates: dict[tuple[str, str], float] = {}
    for name, start in EXECUTORS.items():
        if name not in options.only.split(","):
            continue
        try:
            with start() as run:
                for kind, (fn, values) in kinds.items():
                    run(fn, values[: 2 * SLOTS])
                    measure(name, kind, run, fn, values, rates)
        except ImportError as error:
            print(f"{name}: left out, {error}")
    print("\n| calls | executor | calls/s | beside Jusha |\n|---|---|---|---|")
    for (kind, name), rate in rates.items():
        own = rates.get((kind, "Jusha"))
        print(f"| {kind} | {name} | {rate:,.1f} | {f'{rate / own:.2f}' if own else ''} |")


def measure(name: str, kind: str, run: Any, fn: Callable, values: list, rates: dict) -> None:
    """One line, and for Jusha where the time went."""
    executor = run.executor(fn) if hasattr(run, "executor") else None
    # What is imported once isn't a call's.
    fn(values[0])
    alone = time.process_time()
    expected = [fn(value) for value in values[:3]]
    alone = (time.process_time() - alone) / 3
    if executor:
        executor.settle()
        pid = run.local._process.pid
        cpu, jobs, own = cpu_seconds(pid), len(executor.jobs), time.process_time()
    begun = time.perf_counter()
    results = run(fn, values)
    took = time.perf_counter() - begun
    assert results[:3] == expected and len(results) == len(values)
    rates[kind, name] = len(values) / took
    print(f"{kind:<12} {name:<20} {len(values):>6} calls {took:8.2f} s {len(values) / took:10.1f} calls/s", flush=True)
    if not executor:
        return
    own = time.process_time() - own
    executor.settle()
    sent = executor.jobs[jobs:]
    tasks = sum(len(job.view["tasks"]) for job in sent)
    fuel = sum(job.fuel for job in sent) / len(values)
    print(f"    {len(sent)} jobs, {tasks} tasks, {fuel / 1e6:.3f} Mfuel a call by the receipts")
    after = cpu_seconds(pid)
    spent = {role: seconds - cpu.get(role, 0.0) for role, seconds in after.items()}
    parts = ", ".join(f"{role or 'up'} {1000 * seconds / len(values):.3f}" for role, seconds in sorted(spent.items()))
    print(f"    CPU ms a call: native {1000 * alone:.3f}; here {1000 * own / len(values):.3f}, {parts}")
    if alone > 0.01:
        print(f"    CPU of the provider by native CPU: {spent['provide'] / len(values) / alone:.1f}")


if __name__ == "__main__":
    main()
