"""What a task is made of: the runtime's image, the wheels, a chunk of calls, and their limits."""

from __future__ import annotations

import json
import os
import pathlib
import time
from collections.abc import Iterable
from dataclasses import dataclass

from . import models
from ._chunk import Chunk
from ._client import Client
from ._local import Runtime
from ._packages import Packages

_SEGMENT_FUEL = 64 * 10**9
_OUTPUT_BYTES_MAX = 64 << 20
_SPEC_VERSION = 2


@dataclass(frozen=True)
class Options:
    """What a job is submitted with."""

    budget_nanocredits: int
    max_price_nanocredits_per_tfuel: int | None
    slots: int
    instrument: str
    filters: models.Filters
    memory_mib: int
    fuel_max: int
    name: str
    recursion: int
    echo: bool
    progress: bool


class Tasks:
    """Stores chunks as tasks. What they share is stored once."""

    def __init__(self, client: Client, runtime: Runtime, packages: Packages, options: Options):
        self._client, self._runtime, self._packages, self._options = client, runtime, packages, options
        self._is_image_stored = False

    def store(self, chunks: Iterable[Chunk]) -> list[str]:
        """The digests of their specs."""
        self._store_image()
        wheels = [{"name": wheel.input, "content": wheel.digest} for wheel in self._packages.wheels]
        path = [{"file": f"/in/{wheel.input}", "unpack": wheel.unpack} for wheel in self._packages.wheels]
        specs = []
        for chunk in chunks:
            payload = chunk.payload(path, self._options.recursion)
            names = sorted(chunk.files)
            stored = self._client.store([payload, *(chunk.files[name] for name in names)])
            inputs = [{"name": name, "content": digest} for name, digest in zip(names, stored[1:])]
            specs.append(self._spec(stored[0], sorted(wheels + inputs, key=lambda one: one["name"])))
        return self._client.store([json.dumps(spec).encode() for spec in specs])

    def _store_image(self) -> None:
        if self._is_image_stored:
            return
        image = self._runtime
        wheels = {wheel.digest: wheel for wheel in self._packages.wheels}
        lacking = self._client.missing([image.module, image.base, *wheels])
        for digest in wheels.keys() & set(lacking):
            self._client.store([self._packages.content(wheels[digest])])
        for digest, path in ((image.module, image.module_path), (image.base, image.base_path)):
            if digest in lacking:
                self._client.store([pathlib.Path(path).read_bytes()])
        self._is_image_stored = True

    def _spec(self, stdin: str, inputs: list[dict]) -> dict:
        image, options = self._runtime, self._options
        return {
            "version": _SPEC_VERSION,
            "module": image.module,
            "base": image.base,
            "args": list(image.args),
            "env": [list(pair) for pair in image.env],
            "stdin": stdin,
            "inputs": inputs,
            "memory_max_pages": options.memory_mib * 16,
            "output_max_bytes": _OUTPUT_BYTES_MAX,
            "fuel_max": options.fuel_max,
            "segment_fuel": _SEGMENT_FUEL,
            "seed": os.urandom(32).hex(),
            "clock_start_ms": int(time.time() * 1000),
        }
