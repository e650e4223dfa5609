"""Python, run by CPython: json, re, hashlib, collections, classes, generators, exceptions,
files, dictionaries that grow and shrink."""

import collections
import dataclasses
import datetime
import decimal
import functools
import hashlib
import io
import itertools
import json
import math
import os
import random
import re
import statistics
import struct
import sys
import tempfile
import zlib

print(sys.version_info[:2], sys.platform)


@dataclasses.dataclass(order=True)
class Reading:
    value: float
    name: str
    tags: list = dataclasses.field(default_factory=list, compare=False)


generator = random.Random(7)
readings = [
    Reading(generator.gauss(0, 1), f"sensor-{i % 50}", [i % 3]) for i in range(3000)
]
print(min(readings).name, f"{statistics.fmean(r.value for r in readings):.6f}")

text = json.dumps([dataclasses.asdict(r) for r in readings], indent=1)
again = [Reading(**item) for item in json.loads(text)]
print(len(text), again == readings)
digest = hashlib.sha256(text.encode())
print(digest.hexdigest()[:32], hashlib.blake2b(text.encode()).hexdigest()[:32])
print(zlib.crc32(zlib.decompress(zlib.compress(text.encode()))))

log = "\n".join(f"2026-01-{d:02} {l} id={d * 37}" for d in range(1, 29) for l in ("warn", "error"))
pattern = re.compile(r"^(?P<date>[\d-]+) (?P<level>error) id=(\d+)$", re.M)
print(sum(int(m[3]) for m in pattern.finditer(log)), re.sub(r"(\w+)-(\w+)", r"\2-\1", "ab-cd"))

churn = {}
for i in range(40000):
    churn[hash((i, "key")) % 5003] = i
    if i % 3 == 0:
        churn.pop(i % 5003, None)
print(len(churn), sum(churn.values()) % 1000003)


@functools.lru_cache(maxsize=None)
def partitions(n, largest):
    if n == 0:
        return 1
    return sum(partitions(n - k, k) for k in range(1, min(n, largest) + 1))


print(partitions(20, 20), math.comb(100, 50), 3**500 % 10**20)


def depth(n):
    try:
        return depth(n + 1)
    except RecursionError:
        return n


print("recursion ended", depth(0) > 100)


class Chain(Exception):
    pass


try:
    try:
        {}["missing"]
    except KeyError as error:
        raise Chain("outer") from error
except Chain as error:
    print(type(error.__cause__).__name__, error)

os.makedirs("/out/a/b", exist_ok=True)
with open("/out/a/b/data.bin", "wb") as file:
    for i in range(200):
        file.write(struct.pack("<Id", i, i / 3))
with open("/out/a/b/data.bin", "r+b") as file:
    file.seek(12 * 100)
    print(struct.unpack("<Id", file.read(12)), file.seek(0, os.SEEK_END))
    file.truncate(600)
os.rename("/out/a/b", "/out/moved")
with tempfile.TemporaryFile(dir="/tmp") as file:
    file.write(b"gone when closed")
print(sorted(os.listdir("/out")), os.path.getsize("/out/moved/data.bin"), os.listdir("/tmp"))
print([(root, sorted(dirs), sorted(files)) for root, dirs, files in os.walk("/out")])
try:
    open("/in/nothing")
except FileNotFoundError as error:
    print(error)

decimal.getcontext().prec = 60
print(decimal.Decimal(2).sqrt())
counts = collections.Counter(itertools.chain.from_iterable(text.split()[:3000]))
print(counts.most_common(3))
buffer = io.StringIO()
print(*(x * y for x, y in itertools.pairwise(range(9))), sep=";", file=buffer)
print(buffer.getvalue().strip(), datetime.datetime.now(datetime.timezone.utc).date())
