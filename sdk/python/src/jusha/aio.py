"""The same for asyncio: `AsyncExecutor`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

from .executor import Executor

T = TypeVar("T")


class AsyncExecutor:
    """An `Executor` whose results are awaited.

        async with AsyncExecutor() as ex:
            print(await ex.submit(f, 1))
            async for value in ex.map(f, range(100)):
                print(value)

    It takes what `Executor` takes.
    """

    def __init__(self, **options: Any):
        self._options = options
        self.executor: Executor | None = None

    async def __aenter__(self) -> AsyncExecutor:
        # Finding an exchange, or starting one, takes a moment.
        self.executor = await asyncio.to_thread(lambda: Executor(**self._options))
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        # Whoever leaves early wants no more.
        await self.shutdown(cancel_futures=error is not None)

    def _running(self) -> Executor:
        if self.executor is None:
            raise RuntimeError("use it with `async with AsyncExecutor() as ex`")
        return self.executor

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> asyncio.Future[T]:
        """Schedules a call; the answer can be awaited, and cancelled while it waits."""
        return asyncio.wrap_future(self._running().submit(fn, *args, **kwargs))

    async def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], chunksize: int | None = None
    ) -> AsyncIterator[T]:
        """The results in order."""
        executor = self._running()
        calls = list(zip(*iterables))
        futures = await asyncio.to_thread(executor._submit_all, fn, calls, chunksize)
        try:
            for future in futures:
                yield await asyncio.wrap_future(future)
        finally:
            for future in futures:
                future.cancel()

    async def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `Executor.shutdown`."""
        executor = self._running()
        await asyncio.to_thread(lambda: executor.shutdown(wait, cancel_futures=cancel_futures))

    @property
    def cost(self) -> float:
        """What its jobs cost so far, in credits."""
        return self._running().cost
