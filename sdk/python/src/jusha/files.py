"""Data: one file per call."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from .errors import CannotTravel
from .executor import Executor, _results

T = TypeVar("T")


def map_files(
    fn: Callable[[pathlib.Path], T],
    paths: Iterable[str | os.PathLike],
    *,
    executor: Executor | None = None,
    chunksize: int = 1,
    **options: Any,
) -> Iterator[T]:
    """Calls `fn` with the path of each file, as it is where the call runs; the results in order.

    Each file travels as a blob, once, with its name; files of one chunk lie side by side. Without an
    `executor` one is made with `options`.
    """
    calls, files = [], []
    for number, path in enumerate(paths):
        source = pathlib.Path(path)
        try:
            content = source.read_bytes()
        except OSError as error:
            raise CannotTravel(f"{source}: {error.strerror or error}; give files that can be read here") from error
        name = f"{number}/{source.name}"
        calls.append((pathlib.PurePosixPath("/in", name),))
        files.append({name: content})
    if executor is not None:
        return _results(executor._submit_all(fn, calls, chunksize, files), None)
    return _with_own(fn, calls, chunksize, files, options)


def _with_own(fn: Any, calls: list, chunksize: int, files: list, options: dict) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(Executor(**options))
        yield from _results(executor._submit_all(fn, calls, chunksize, files), None)
