"""What would it cost?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .executor import Executor
from .future import JobFuture

# What takes a machine so long that starting a task is little beside it.
_ENOUGH_FUEL = 3 * 10**9
_CALLS_MAX = 10_000


@dataclass(frozen=True)
class Estimate:
    """What one call takes, here and there, by a sample of calls."""

    #: How many calls it is the mean of: short ones are made more than once.
    calls: int
    native_seconds: float
    fuel: int
    sandboxed_seconds: float
    credits: float

    def of(self, calls: int, slots: int = 1) -> str:
        """In words, for so many calls on so many slots."""
        seconds = self.sandboxed_seconds * calls / slots
        return (
            f"{calls} calls: about {seconds:.3g} s on {slots} slots for {self.credits * calls:.3g} credits; "
            f"{self.native_seconds * calls:.3g} s on one core here without a sandbox"
        )

    def __str__(self) -> str:
        ratio = self.sandboxed_seconds / self.native_seconds if self.native_seconds else float("inf")
        return (
            f"one call: {self.native_seconds:.3g} s here, {self.sandboxed_seconds:.3g} s sandboxed ({ratio:.2g} times), "
            f"{self.fuel / 1e9:.3g} Gfuel, {self.credits:.3g} credits"
        )


def estimate(fn: Callable[..., Any], sample: Iterable[Any], *, executor: Executor | None = None, **options: Any) -> Estimate:
    """Runs `fn` over a sample, here and on the exchange, and says what one call takes.

    The sandboxed time is that of whichever machine took the sample; the fuel is the same everywhere.
    """
    arguments = list(sample)
    if not arguments:
        raise ValueError("the sample is empty: give some arguments")
    native = []
    for argument in arguments:
        begun = time.perf_counter()
        fn(argument)
        native.append(time.perf_counter() - begun)
    own = executor or Executor(**options)
    try:
        wall, futures = _timed(own, fn, arguments)
        fuel = sum(future.fuel or 0 for future in futures)
        times = min(_ENOUGH_FUEL // max(fuel, 1), _CALLS_MAX // len(arguments))
        if times > 1:
            # That was mostly the way there and back, which many calls share: so many make a difference.
            first = wall
            wall, futures = _timed(own, fn, arguments * times)
            wall = max(wall - first, 0.0) * times / (times - 1)
        own.settle()
        credits = sum(future.cost or 0.0 for future in futures)
    finally:
        if executor is None:
            own.shutdown()
    count = len(futures)
    fuel = round(statistics.mean(future.fuel or 0 for future in futures))
    return Estimate(count, statistics.mean(native), fuel, wall / count, credits / count)


def _timed(executor: Executor, fn: Callable[..., Any], arguments: list[Any]) -> tuple[float, list[JobFuture[Any]]]:
    begun = time.perf_counter()
    futures = executor._submit_all(fn, [(argument,) for argument in arguments], len(arguments))
    for future in futures:
        future.result()
    return time.perf_counter() - begun, futures
