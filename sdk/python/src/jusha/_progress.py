"""Progress bars of a map: tqdm's where it is installed, in a notebook as its widget, else a plain line."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol


class Bar(Protocol):
    """As much of a tqdm bar as is used."""

    def update(self, n: int) -> Any:
        """So many more are done."""

    def close(self) -> Any:
        """All are."""


class Line:
    """A line that is written over and over, where somebody watches; else once, at the end."""

    def __init__(self, total: int, name: str):
        self._total, self._name, self._done = total, name, 0
        self._watched = sys.stderr.isatty()

    def update(self, n: int) -> None:
        """So many more are done."""
        self._done += n
        if self._watched:
            self._write("\r", "")

    def close(self) -> None:
        """All are."""
        self._write("\r" if self._watched else "", "\n")

    def _write(self, before: str, after: str) -> None:
        sys.stderr.write(f"{before}{self._name}: {self._done} of {self._total} calls{after}")
        sys.stderr.flush()


def show(futures: Sequence[Future[Any]], name: str) -> None:
    """A bar for futures, until all are over."""
    if not futures:
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        bar: Bar = Line(len(futures), name)
    else:
        bar = tqdm(total=len(futures), desc=name, unit="call")
    lock = threading.Lock()
    left = len(futures)

    def done(_: Future[Any]) -> None:
        nonlocal left
        with lock:
            left -= 1
            bar.update(1)
            if not left:
                bar.close()

    for future in futures:
        future.add_done_callback(done)
