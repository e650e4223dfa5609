"""`JobFuture`: the answer of a call, with what it cost and printed."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from typing import Any, TypeVar

from . import models
from ._chunk import Chunk
from .job import NANOCREDITS

T = TypeVar("T")

# The guest's clock counts the same fuel (docs/runtime-spec.md).
_FUEL_PER_GUEST_NS = 3


class JobFuture(Future[T]):
    """A future that also knows what its call cost and printed."""

    def __init__(self) -> None:
        super().__init__()
        self._job: Sent | None = None
        self.guest_ns: int | None = None
        self.stdout: str = ""

    @property
    def fuel(self) -> int | None:
        """The fuel that the call used, once it is over."""
        return None if self.guest_ns is None else self.guest_ns * _FUEL_PER_GUEST_NS

    @property
    def cost(self) -> float | None:
        """Its share of its job's price in credits, by fuel; None until the job is over."""
        job = self._job
        if job is None or job.paid_nanocredits is None or self.guest_ns is None or not job.guest_ns:
            return None
        return job.paid_nanocredits * self.guest_ns / job.guest_ns / NANOCREDITS


@dataclass
class Call:
    """One of a chunk's calls."""

    future: JobFuture[Any]
    # Alone in its chunk: nothing else can have ended that.
    alone: bool = False


@dataclass
class Sent:
    """A job that was sent, as its executor sees it."""

    id: str
    chunks: list[Chunk]
    view: models.JobView
    open: set[int] = field(default_factory=set)
    paid_nanocredits: int | None = None
    failed: bool = False
    guest_ns: int = 0
