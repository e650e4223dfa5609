"""Which modules a chunk brings along: the buyer's own, by source, with those that they import."""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import site
import sys
import sysconfig
import types
from dataclasses import dataclass, field

from ._network import NETWORK
from .errors import CannotTravel

_SOURCES_BYTES_MAX = 4 << 20


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += site.getsitepackages() if hasattr(site, "getsitepackages") else []
    paths.append(site.getusersitepackages())
    return tuple(os.path.realpath(path) + os.sep for path in paths if path)


def is_local(module: types.ModuleType) -> bool:
    """Whether a module is the buyer's own: a Python file that no installer put there."""
    return module.__name__ != "__main__" and _is_own(getattr(module, "__file__", None))


def _is_own(file: str | None) -> bool:
    return file is not None and file.endswith(".py") and not os.path.realpath(file).startswith(_library_folders())


def _local_file(top: str) -> str | None:
    """The file of a top-level module that is the buyer's own, imported yet or not."""
    module = sys.modules.get(top)
    if module is not None:
        return os.path.realpath(module.__file__ or "") if is_local(module) else None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    return os.path.realpath(spec.origin or "") if spec and _is_own(spec.origin) else None


@dataclass
class Shipment:
    """What a chunk needs beside its arguments; several functions may share it."""

    runtime: str
    python: tuple[int, int]
    modules: frozenset[str]
    sources: dict[str, tuple[str, str, bool]] = field(default_factory=dict)

    def add_local(self, name: str) -> None:
        """Adds a local module, its packages and what they import that is local, too."""
        top = name.partition(".")[0]
        own = _local_file(top)
        if top in self.sources or own is None:
            return
        for each, file in _files_of(own, top):
            with open(file, encoding="utf-8") as opened:
                source = opened.read()
            check_syntax(source, file, self.python)
            self.sources[each] = (file, source, os.path.basename(file) == "__init__.py")
        if sum(len(source) for _, source, _ in self.sources.values()) > _SOURCES_BYTES_MAX:
            raise CannotTravel(
                f"your modules (`{top}` among them) come to more than {_SOURCES_BYTES_MAX >> 20} MiB of source: "
                "import less where the function is, or give a wheel with packages=[...]"
            )
        for each, (file, source, _) in list(self.sources.items()):
            if each.partition(".")[0] == top:
                for imported in imports(source, file, later=True):
                    self.add_if_local(imported)

    def add_if_local(self, name: str) -> None:
        """Adds a module that may be imported, if it is local and can be: what can't be is said over there."""
        if self.lacks(name) is None:
            self.add_local(name)

    def lacks(self, name: str, seen: frozenset[str] = frozenset()) -> str | None:
        """What the guest can't import of a local module, or of what that imports; None if it can be sent."""
        top = name.partition(".")[0]
        if top in seen or top in self.sources:
            return None
        own = _local_file(top)
        if own is None:
            return None if top in self.modules else top
        for _, file in _files_of(own, top):
            with open(file, encoding="utf-8") as opened:
                for imported in imports(opened.read(), file):
                    lacking = self.lacks(imported, seen | {top})
                    if lacking:
                        return lacking
        return None

    def check_module(self, name: str, why: str) -> None:
        """Refuses a module that the guest doesn't have."""
        top = name.partition(".")[0]
        if _local_file(top):
            lacking = self.lacks(name)
            if lacking is None:
                self.add_local(name)
                return
            raise CannotTravel(
                f"{why} uses your module `{name}`, which imports `{lacking}`, and the runtime `{self.runtime}` "
                "doesn't have that: import it only in the functions that need it"
            )
        if top in self.modules:
            return
        if top in NETWORK:
            raise CannotTravel(
                f"{why} uses `{name}`, and jobs have no network: fetch the data first and pass it as an "
                "argument, or with jusha.map_files"
            )
        advice = f"packages=[{top!r}] ships pure-Python packages"
        if top in sys.stdlib_module_names:
            advice = "there it is one process of one user on no system in particular"
        raise CannotTravel(f"{why} uses `{name}`, which the runtime `{self.runtime}` doesn't have: {advice}")


def _files_of(file: str, top: str) -> list[tuple[str, str]]:
    if os.path.basename(file) != "__init__.py":
        return [(top, file)]
    root = os.path.dirname(file)
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in sorted(folders) if name.isidentifier() and name != "__pycache__"]
        package = ".".join([top, *os.path.relpath(folder, root).split(os.sep)]) if folder != root else top
        for name in sorted(files):
            stem, ending = os.path.splitext(name)
            if ending == ".py" and stem.isidentifier():
                each = package if stem == "__init__" else f"{package}.{stem}"
                found.append((each, os.path.join(folder, name)))
    return found


def imports(source: str, file: str, later: bool = False) -> list[str]:
    """What a module imports while it is itself imported; `later`: also what functions do, or a `try`."""
    names = []
    waiting: list[ast.AST] = [ast.parse(source, file)]
    while waiting:
        node = waiting.pop()
        if not later and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Try)):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return names


def check_syntax(source: str, file: str, python: tuple[int, int]) -> None:
    """Refuses what the guest's Python, which is of this version, can't read."""
    guest = ".".join(map(str, python))
    try:
        tree = ast.parse(source, file, feature_version=python)
    except SyntaxError as error:
        raise CannotTravel(
            f"{file}:{error.lineno}: {error.msg}; jobs run on Python {guest}: write it in its syntax"
        ) from None
    for node in ast.walk(tree):
        newer = None
        if getattr(node, "default_value", None) is not None and python < (3, 13):
            newer = "a default of a type parameter"
        elif type(node).__name__ in ("TemplateStr", "Interpolation") and python < (3, 14):
            newer = "a template string"
        if newer:
            line = getattr(node, "lineno", "?")
            raise CannotTravel(
                f"{file}:{line}: {newer} is newer than Python {guest}, on which jobs run: write it otherwise"
            )
