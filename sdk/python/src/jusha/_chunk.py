"""Chunks: many calls in one task, as the guest's driver reads them, and the records that it writes.

Layout of a chunk: the length of its JSON text as 8 little-endian bytes, the text, then the buffers
one after another. The text has `buffers` (their lengths), `packs` (functions with what they refer
to), `calls` (lists of [call numbers, pack, buffer of the pickled arguments]; null for a call that is
over already), `sources` (the buyer's modules), `path` (wheels, and whether to unpack them), `recursion`
and `runtime`.

Layout of the results: records of call number (u32), status (u8: 0 returned, 1 raised), nanoseconds
of the guest's clock (u64), length of what was printed (u32) and of the encoded result (u32), all
little-endian, followed by both.
"""

from __future__ import annotations

import builtins
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from . import _encoding
from ._modules import Shipment
from ._source import Pack
from .errors import RemoteError

RECORD = struct.Struct("<IBQII")
RETURNED, RAISED = 0, 1


@dataclass
class Pace:
    """What calls of one function took so far, by the guest's clock."""

    calls: int = 0
    guest_ns: int = 0

    @property
    def mean_ns(self) -> int | None:
        """Of one call; None before any is over."""
        return max(1, self.guest_ns // self.calls) if self.calls else None


@dataclass
class Batch:
    """Calls of one function whose arguments are one pickle."""

    pack: Pack
    arguments: int
    calls: list[Any]
    pace: Pace


@dataclass
class Chunk:
    """What one task calls."""

    shipment: Shipment
    batches: list[Batch] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def calls(self) -> list[Any]:
        """All calls, by number."""
        return [call for batch in self.batches for call in batch.calls]

    def payload(self, path: list[dict], recursion: int) -> bytes:
        """The task's standard input."""
        packs: dict[int, int] = {}
        trees: list[dict] = []
        buffers: list[bytes] = []
        starts: dict[int, int] = {}
        calls = []
        number = 0
        for batch in self.batches:
            at = packs.get(id(batch.pack))
            if at is None:
                at = packs[id(batch.pack)] = len(trees)
                trees.append(batch.pack.tree())
        used: dict[int, set[int]] = {}
        for batch in self.batches:
            used.setdefault(id(batch.pack), set()).add(batch.arguments)
        for batch in self.batches:
            key = id(batch.pack)
            if key not in starts:
                starts[key] = len(buffers)
                # The arguments of other chunks stay here.
                others = batch.pack.arguments - used[key]
                buffers += [b"" if at in others else data for at, data in enumerate(batch.pack.buffers)]
        for key, at in packs.items():
            trees[at]["first_buffer"] = starts[key]
        for batch in self.batches:
            numbers = []
            for call in batch.calls:
                numbers.append(None if call is None else number)
                number += 1
            calls.append([numbers, packs[id(batch.pack)], starts[id(batch.pack)] + batch.arguments])
        text = json.dumps(
            {
                "buffers": [len(data) for data in buffers],
                "packs": trees,
                "calls": calls,
                "sources": self.shipment.sources,
                "path": path,
                "recursion": recursion,
                "runtime": self.shipment.runtime,
            },
            separators=(",", ":"),
        ).encode()
        return b"".join([len(text).to_bytes(8, "little"), text, *buffers])


@dataclass
class Result:
    """What the guest says of one call."""

    number: int
    raised: bool
    guest_ns: int
    printed: str
    data: bytes

    def value(self, types: dict[str, type]) -> Any:
        """What it returned, or (exception, traceback as text)."""
        return _encoding.decode(self.data, lambda name: find_type(name, types) or self._stand_in(name))

    def _stand_in(self, name: str) -> type | None:
        # What went wrong must be told, whether its class is known here or not.
        module, _, qualname = name.partition(":")
        own = {"__module__": module, "__qualname__": qualname}
        return type(qualname.rpartition(".")[2], (RemoteError,), own) if self.raised else None


def results(data: bytes) -> Iterator[Result]:
    """The whole records that there are."""
    at = 0
    while at + RECORD.size <= len(data):
        number, status, guest_ns, printed, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        end = at + printed + length
        if end > len(data) or status not in (RETURNED, RAISED):
            return
        text = data[at : at + printed].decode(errors="replace")
        yield Result(number, status == RAISED, guest_ns, text, data[at + printed : end])
        at = end


def find_type(name: str, known: dict[str, type]) -> type | None:
    """A class that a result may be made of: one that was sent, a built-in, or the standard library's."""
    found = known.get(name)
    if found is not None:
        return found
    module, _, qualname = name.partition(":")
    if module == "builtins":
        error = getattr(builtins, qualname, None)
        return error if isinstance(error, type) and issubclass(error, BaseException) else None
    sent = {one.__module__ for one in known.values()}
    if module.partition(".")[0] not in sys.stdlib_module_names and module not in sent:
        return None
    # Only what is there already: reading a result imports nothing.
    value: Any = sys.modules.get(module)
    for part in qualname.split("."):
        value = getattr(value, part, None)
    return value if isinstance(value, type) else None
