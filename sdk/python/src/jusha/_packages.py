"""Extra packages: pure-Python wheels, found here by pip, shipped as blobs, read by the guest from `/in`.

What a requirement came to is kept with the digests of its wheels, and is used for a day: an executor
that is made again needs neither pip nor a network, and all calls of a job see the same files.
"""

from __future__ import annotations

import email.parser
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from ._client import digest_of
from ._local import Provided, Runtime
from .errors import PackageRefused

_KEPT_S = 24 * 3600
_BYTES_MAX = 64 << 20
# Where a package's requirements lead to others, and those to others.
_ROUNDS_MAX = 8
_FOLDER = ".packages"

# Which of the requirements hold in the guest: markers are evaluated with pip's own code, in its process.
_EVALUATE = """
import json, sys
try:
    from pip._vendor.packaging.requirements import Requirement
    from pip._vendor.packaging.utils import canonicalize_name
except ImportError:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
environment, wheels, asked = json.load(sys.stdin)
extras = {}
for text in asked:
    try:
        one = Requirement(text.partition(" --hash")[0])
    except Exception:
        continue
    extras.setdefault(canonicalize_name(one.name), set()).update(one.extras)
here = {canonicalize_name(name) for name, _ in wheels}
lacking, changed = {}, True
while changed:
    changed = False
    for name, requirements in wheels:
        for text in requirements:
            one = Requirement(text)
            wanted = ["", *sorted(extras.get(canonicalize_name(name), ()))]
            if one.marker and not any(one.marker.evaluate({**environment, "extra": extra}) for extra in wanted):
                continue
            target = canonicalize_name(one.name)
            if not one.extras <= extras.get(target, set()):
                extras.setdefault(target, set()).update(one.extras)
                changed = True
            if target not in here:
                one.marker = None
                lacking[target] = str(one)
json.dump(sorted(lacking.values()), sys.stdout)
"""


@dataclass(frozen=True)
class Wheel:
    """A wheel that is shipped."""

    file: str
    sha256: str
    digest: str
    # Whether its files have to be files: it has some beside its modules.
    unpack: bool
    modules: tuple[str, ...]

    @property
    def input(self) -> str:
        """Its name among a task's inputs."""
        return f"{_FOLDER}/{self.file}"

    @property
    def pinned(self) -> str:
        """The requirement that gives exactly this wheel."""
        name, version = self.file.split("-")[:2]
        return f"{name}=={version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Packages:
    """Wheels and where they are here."""

    folder: pathlib.Path
    wheels: tuple[Wheel, ...]

    def modules(self) -> frozenset[str]:
        """What can be imported from them."""
        return frozenset(module for wheel in self.wheels for module in wheel.modules)

    def content(self, wheel: Wheel) -> bytes:
        """A wheel's bytes, as they were when it was pinned."""
        data = (self.folder / wheel.file).read_bytes()
        if digest_of(data) != wheel.digest:
            raise PackageRefused(f"{self.folder / wheel.file} was altered since it was fetched: delete it")
        return data


NONE = Packages(pathlib.Path(), ())


def resolve(requirements: Iterable[str], runtime: Runtime) -> Packages:
    """The wheels of requirements as pip understands them, and of all that those need and the runtime hasn't."""
    wanted = _checked(requirements)
    if not wanted:
        return NONE
    # A wheel that is here may be built anew under the same name.
    own = [hashlib.sha256(pathlib.Path(one).read_bytes()).hexdigest() for one in wanted if one.endswith(".whl")]
    key = hashlib.sha256(json.dumps([wanted, own, runtime.version, *map(asdict, runtime.packages)]).encode()).hexdigest()[:32]
    folder = _cache() / key
    kept = _kept(folder)
    if kept and time.time() - (folder / "lock.json").stat().st_mtime < _KEPT_S:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        try:
            wheels = _fetch(wanted, pathlib.Path(fresh), runtime)
        except PackageRefused:
            # Without a network what was found before is as good as it was.
            if kept:
                return kept
            raise
        for wheel in wheels:
            os.replace(pathlib.Path(fresh) / wheel.file, folder / wheel.file)
    lock = folder / f"lock.json.{os.getpid()}"
    lock.write_text(json.dumps([asdict(wheel) for wheel in wheels], indent=1))
    # Last: with it the wheels are there.
    os.replace(lock, folder / "lock.json")
    return Packages(folder, wheels)


def _checked(requirements: Iterable[str]) -> list[str]:
    if isinstance(requirements, str):
        raise TypeError(f"packages is a text: give a list, packages=[{requirements!r}]")
    wanted = []
    for one in requirements:
        text = os.fspath(one).strip()
        if not text or text.startswith("-") or "\n" in text:
            raise PackageRefused(f"{text!r} in packages is no requirement: give one such as 'attrs>=24'")
        if text.endswith(".whl") or os.sep in text.partition(" ")[0]:
            path = pathlib.Path(text).resolve()
            if path.suffix != ".whl" or not path.is_file():
                raise PackageRefused(f"{text} in packages is no wheel that is here: give the path of a .whl file")
            text = str(path)
        wanted.append(text)
    return sorted(wanted)


def _cache() -> pathlib.Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = pathlib.Path(base) / "jusha" / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kept(folder: pathlib.Path) -> Packages | None:
    try:
        rows = json.loads((folder / "lock.json").read_text())
        wheels = tuple(Wheel(**{**row, "modules": tuple(row["modules"])}) for row in rows)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    there = all((folder / wheel.file).is_file() for wheel in wheels)
    return Packages(folder, wheels) if there else None


def _fetch(wanted: list[str], folder: pathlib.Path, runtime: Runtime) -> tuple[Wheel, ...]:
    asked = list(wanted)
    provided = folder / "provided"
    provided.mkdir()
    stand_ins = {_stand_in(package, provided) for package in runtime.packages}
    for _ in range(_ROUNDS_MAX):
        # Another round may choose other versions.
        for file in folder.glob("*.whl"):
            file.unlink()
        _download(asked, folder, provided, runtime.python)
        files = sorted(folder.glob("*.whl"))
        lacking = _lacking([_metadata(file) for file in files], asked, runtime.python)
        if not lacking:
            break
        # pip goes by the markers of the Python that runs it, which is not the guest's.
        asked += lacking
    else:
        raise PackageRefused(f"packages={wanted}: what they need has no end: {', '.join(lacking)} is still lacking")
    wheels = tuple(_wheel(file) for file in files if file.name not in stand_ins)
    size = sum((folder / wheel.file).stat().st_size for wheel in wheels)
    if size > _BYTES_MAX:
        raise PackageRefused(f"packages come to {size >> 20} MiB, of {_BYTES_MAX >> 20} that can be shipped")
    return wheels


def _stand_in(package: Provided, folder: pathlib.Path) -> str:
    """The name of an empty wheel in `folder`, which pip takes for what the runtime has."""
    named = f"{package.name.replace('-', '_')}-{package.version}"
    said = {
        "METADATA": f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{named}-py3-none-any.whl", "w") as wheel:
        for file, text in said.items():
            wheel.writestr(f"{named}.dist-info/{file}", text)
    return f"{named}-py3-none-any.whl"


def _download(requirements: list[str], folder: pathlib.Path, links: pathlib.Path, python: tuple[int, int]) -> None:
    file = folder / "requirements.txt"
    file.write_text("\n".join(requirements) + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--only-binary", ":all:", "--implementation", "py", "--abi", "none", "--platform", "any"]
    command += ["--python-version", ".".join(map(str, python)), "--dest", str(folder), "--find-links", str(links)]
    done = subprocess.run([*command, "--requirement", str(file)], capture_output=True, text=True, check=False)
    file.unlink()
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise PackageRefused(
            f"packages needs pip, which {sys.executable} doesn't have: `{sys.executable} -m ensurepip` installs it"
        )
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    said = errors[-1] if errors else done.stderr.strip() or f"pip ended with {done.returncode}"
    raise PackageRefused(
        f"packages={requirements} can't be had as pure-Python wheels (py3-none-any): {said}. "
        "Packages with compiled parts, and those that are only there as source, can't be shipped"
    )


def _metadata(file: pathlib.Path) -> tuple[str, list[str]]:
    with zipfile.ZipFile(file) as wheel:
        name = next(name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        message = email.parser.BytesParser().parsebytes(wheel.read(name), headersonly=True)
    return str(message["Name"]), [str(one) for one in message.get_all("Requires-Dist", [])]


def _lacking(wheels: list[tuple[str, list[str]]], asked: list[str], python: tuple[int, int]) -> list[str]:
    version = ".".join(map(str, python))
    environment = {
        "implementation_name": "cpython",
        "implementation_version": f"{version}.0",
        "os_name": "posix",
        "platform_machine": "wasm32",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "wasi",
        "platform_version": "",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "wasi",
    }
    command = [sys.executable, "-c", _EVALUATE]
    done = subprocess.run(
        command, input=json.dumps([environment, wheels, asked]), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PackageRefused(f"the requirements of packages can't be read: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def _wheel(file: pathlib.Path) -> Wheel:
    data = file.read_bytes()
    modules, unpack = set(), False
    with zipfile.ZipFile(file) as wheel:
        for name in wheel.namelist():
            first, _, rest = name.partition("/")
            if first.endswith((".dist-info", ".data")) or name.endswith("/"):
                continue
            if not name.endswith((".py", ".pyi", "/py.typed")):
                unpack = True
            if first.endswith(".py"):
                modules.add(first.removesuffix(".py"))
            elif rest.endswith(".py"):
                modules.add(first)
    return Wheel(file.name, hashlib.sha256(data).hexdigest(), digest_of(data), unpack, tuple(sorted(modules)))
