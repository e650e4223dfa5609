"""How functions travel: by source, never as bytecode.

Bytecode of one Python version misexecutes in another without an error. So a function is sent as its
source with everything that it refers to: globals, helpers, defaults, closures, classes, and the
buyer's own modules. Values are pickled; the guest that reads them is a sandbox. Whatever can't be
sent is refused here, before anything is spent, with the reason and the line.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import io
import linecache
import os
import pathlib
import pickle
import site
import sys
import sysconfig
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import CannotTravel

# The guest's Python.
GUEST_VERSION = (3, 12)
_PROTOCOL = 5
_SOURCES_BYTES_MAX = 4 << 20


def _place(code: types.CodeType) -> str:
    return f"{code.co_filename}:{code.co_firstlineno}"


def _named(value: Any) -> str:
    return getattr(value, "__qualname__", None) or type(value).__qualname__


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += site.getsitepackages() if hasattr(site, "getsitepackages") else []
    paths.append(site.getusersitepackages())
    return tuple(os.path.realpath(path) + os.sep for path in paths if path)


def is_local(module: types.ModuleType) -> bool:
    """Whether a module is the buyer's own: a Python file that no installer put there."""
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py") or module.__name__ == "__main__":
        return False
    return not os.path.realpath(file).startswith(_library_folders())


@dataclass
class Shipment:
    """What a chunk needs beside its arguments; several functions may share it."""

    runtime: str
    modules: frozenset[str]
    sources: dict[str, tuple[str, str, bool]] = field(default_factory=dict)

    def add_local(self, name: str) -> None:
        """Adds a local module, its packages and what they import that is local, too."""
        top = name.partition(".")[0]
        module = sys.modules.get(top)
        if top in self.sources or module is None or not is_local(module):
            return
        for each, file in _files_of(module, top):
            with open(file, encoding="utf-8") as opened:
                source = opened.read()
            check_syntax(source, file)
            self.sources[each] = (file, source, os.path.basename(file) == "__init__.py")
        if sum(len(source) for _, source, _ in self.sources.values()) > _SOURCES_BYTES_MAX:
            raise CannotTravel(
                f"your modules (`{top}` among them) come to more than {_SOURCES_BYTES_MAX >> 20} MiB of source: "
                "import less where the function is, or give a wheel with packages=[...]"
            )
        for each, (file, source, _) in list(self.sources.items()):
            if each.partition(".")[0] == top:
                for imported in _imports(source, file):
                    self.add_local(imported)

    def lacks(self, name: str, seen: frozenset[str] = frozenset()) -> str | None:
        """What the guest can't import of a local module, or of what that imports; None if it can be sent."""
        top = name.partition(".")[0]
        if top in seen or top in self.sources:
            return None
        module = sys.modules.get(top)
        if module is None or not is_local(module):
            return None if top in self.modules else top
        for _, file in _files_of(module, top):
            with open(file, encoding="utf-8") as opened:
                for imported in _imports(opened.read(), file):
                    lacking = self.lacks(imported, seen | {top})
                    if lacking:
                        return lacking
        return None

    def check_module(self, name: str, why: str) -> None:
        """Refuses a module that the guest doesn't have."""
        top = name.partition(".")[0]
        module = sys.modules.get(top)
        if module is not None and is_local(module):
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
        if top in _NETWORK:
            raise CannotTravel(
                f"{why} uses `{name}`, and jobs have no network: fetch the data first and pass it as an "
                "argument, or with jusha.map_files"
            )
        raise CannotTravel(
            f"{why} uses `{name}`, which the runtime `{self.runtime}` doesn't have: "
            f"packages=[{top!r}] ships pure-Python packages"
            + ("" if self.runtime == "python-science" else ", runtime='python-science' has numpy and its kin")
        )


_NETWORK = frozenset(
    "ssl requests urllib3 httpx httpcore aiohttp websocket websockets paramiko boto3 botocore "
    "pycurl grpc".split()
)


def _files_of(module: types.ModuleType, top: str) -> list[tuple[str, str]]:
    file = os.path.realpath(module.__file__ or "")
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


def _imports(source: str, file: str) -> list[str]:
    """What a module imports while it is itself imported; not what only functions do, or a `try`."""
    names = []
    waiting: list[ast.AST] = [ast.parse(source, file)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Try)):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return names


def check_syntax(source: str, file: str) -> None:
    """Refuses what the guest's Python can't read."""
    guest = ".".join(map(str, GUEST_VERSION))
    try:
        tree = ast.parse(source, file, feature_version=GUEST_VERSION)
    except SyntaxError as error:
        raise CannotTravel(
            f"{file}:{error.lineno}: {error.msg}; jobs run on Python {guest}: write it in its syntax"
        ) from None
    for node in ast.walk(tree):
        newer = None
        if getattr(node, "default_value", None) is not None:
            newer = "a default of a type parameter"
        elif type(node).__name__ in ("TemplateStr", "Interpolation"):
            newer = "a template string"
        if newer:
            line = getattr(node, "lineno", "?")
            raise CannotTravel(
                f"{file}:{line}: {newer} is newer than Python {guest}, on which jobs run: write it otherwise"
            )


class Pack:
    """A function with all that it refers to, and any arguments for it."""

    def __init__(self, shipment: Shipment, function: Any):
        self.shipment = shipment
        self.buffers: list[bytes] = []
        self.definitions: list[dict] = []
        self.spaces: list[tuple[str, str]] = []
        # Classes that results may be made of.
        self.types: dict[str, type] = {}
        self._numbers: dict[int, int] = {}
        self._keep: list[Any] = []
        self._space_numbers: dict[int, int] = {}
        self._todo: list[tuple[int, Any]] = []
        code = getattr(inspect.unwrap(function), "__code__", None)
        self._why = f"{_named(function)} ({_place(code)})" if code else _named(function)
        # Buffers that are arguments: a chunk needs only its own.
        self.arguments: set[int] = set()
        self.function = self.pickle(function)

    def tree(self) -> dict:
        """For the guest."""
        return {"definitions": self.definitions, "spaces": self.spaces, "function": self.function}

    def pickle(self, value: Any) -> int:
        """The number of the buffer that has it."""
        number = self._dump(value)
        while self._todo:
            at, what = self._todo.pop()
            self._define(at, what)
        return number

    def pickle_arguments(self, calls: list[tuple[tuple, dict]], what: str) -> int:
        """The same for arguments, with their place in what goes wrong."""
        self._why = what
        number = self.pickle(calls)
        self.arguments.add(number)
        return number

    def _dump(self, value: Any) -> int:
        out = io.BytesIO()
        try:
            _Pickler(self, out).dump(value)
        except CannotTravel:
            raise
        except RecursionError:
            raise CannotTravel(f"{self._why}: a value is nested too deep to be pickled") from None
        except Exception as error:
            raise CannotTravel(
                f"{self._why}: a value can't be pickled ({type(error).__name__}: {error}); pass plain data instead"
            ) from error
        self.buffers.append(out.getvalue())
        return len(self.buffers) - 1

    def reference(self, value: Any) -> tuple | None:
        """How a value is sent that isn't pickled; None for one that is."""
        if isinstance(value, pathlib.PurePath):
            # Newer versions keep its class elsewhere.
            return ("path", value.as_posix())
        if isinstance(value, types.ModuleType):
            name = value.__name__
            if name == "__main__":
                raise CannotTravel(f"{self._why} uses the module __main__ as a value: use its names instead")
            self.shipment.check_module(name, self._why)
            return ("module", name)
        if isinstance(value, (types.FunctionType, type)) or (
            callable(value) and isinstance(getattr(value, "__wrapped__", None), types.FunctionType)
        ):
            return self._reference_to(value)
        return None

    def _reference_to(self, value: Any) -> tuple | None:
        name = getattr(value, "__module__", None) or ""
        if isinstance(value, type) and (name == "builtins" or value.__flags__ & (1 << 8) and name not in sys.modules):
            return None
        qualname = getattr(value, "__qualname__", "")
        module = sys.modules.get(name)
        by_import = module is not None and name not in ("__main__", "__mp_main__")
        if by_import and is_local(module) and self.shipment.lacks(name):
            # It can't be imported there, but what is needed of it may do.
            by_import = False
        if by_import:
            found: Any = module
            for part in qualname.split("."):
                found = getattr(found, part, None)
            if found is value:
                if name in ("builtins", "types", "_frozen_importlib"):
                    return None
                self.shipment.check_module(name, self._why)
                if isinstance(value, type):
                    self._note_type(value)
                return ("attribute", name, qualname)
        number = self._numbers.get(id(value))
        if number is None:
            number = len(self.definitions)
            self._numbers[id(value)] = number
            self._keep.append(value)
            self.definitions.append({})
            if isinstance(value, type):
                self._note_type(value)
            self._todo.append((number, value))
        return ("definition", number)

    def _note_type(self, value: type) -> None:
        self.types[f"{value.__module__}:{value.__qualname__}"] = value
        for inner in list(vars(value).values()):
            if isinstance(inner, type) and inner.__qualname__.startswith(value.__qualname__ + "."):
                self._note_type(inner)

    def _space(self, names: dict, module: str, file: str) -> int:
        number = self._space_numbers.get(id(names))
        if number is None:
            number = len(self.spaces)
            self._space_numbers[id(names)] = number
            self._keep.append(names)
            self.spaces.append((module, file))
        return number

    def _define(self, number: int, value: Any) -> None:
        before = self._why
        if number:
            self._why = f"{_named(value)}, which {before} needs,"
        if isinstance(value, type):
            made = self._class(value)
        elif isinstance(value, types.FunctionType) and not hasattr(value, "__wrapped__"):
            made = self._function(value)
        else:
            made = self._decorated(value)
        self.definitions[number] = made
        self._why = before

    def _function(self, function: types.FunctionType) -> dict:
        code = function.__code__
        found = _find(function)
        kind = "lambda" if isinstance(found.node, ast.Lambda) else "function"
        # The values that the defaults had, not what their source would give now.
        defaults = (function.__defaults__, function.__kwdefaults__, dict(function.__dict__))
        made = self._made(kind, function, found, function.__globals__, _names_of(code), set())
        made["cells"] = self._cells(code.co_freevars, function.__closure__ or ())
        made["defaults"] = self._dump(defaults)
        return made

    def _decorated(self, value: Any) -> dict:
        """Something that a decorator made: defined and decorated again."""
        function = value
        while not isinstance(function, types.FunctionType) or hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        found = _find(function)
        parts = [*found.node.decorator_list, *found.node.args.defaults, *found.node.args.kw_defaults]
        eager = {name.id for part in parts if part for name in ast.walk(part) if isinstance(name, ast.Name)}
        names = _names_of(function.__code__) | eager
        freevars = function.__code__.co_freevars
        made = self._made("decorated", value, found, function.__globals__, names, eager)
        made["cells"] = self._cells(freevars, function.__closure__ or ())
        return made

    def _class(self, value: type) -> dict:
        try:
            found, space = _find_class(value)
        except CannotTravel:
            if not _is_named_tuple(value):
                raise
            return self._named_tuple(value)
        tree = ast.fix_missing_locations(ast.Module([found.node], []))
        code = compile(tree, found.file, "exec", dont_inherit=True)
        eager = _names_of(code, inside_functions=False) - {value.__name__}
        cells: dict[str, Any] = {}
        for part in _functions_in(value):
            for name, cell in zip(part.__code__.co_freevars, part.__closure__ or ()):
                if name != "__class__":
                    cells[name] = cell
        if "<locals>" in value.__qualname__:
            for base in value.__bases__:
                name = base.__name__
                if name in eager and name not in cells and space.get(name) is not base:
                    cells[name] = types.CellType(base)
        used = _names_of(code) - set(cells)
        made = self._made("class", value, found, space, used, eager)
        made["cells"] = self._cells(tuple(cells), tuple(cells.values()))
        return made

    def _named_tuple(self, value: Any) -> dict:
        """One that `collections.namedtuple` made, which has no source of its own."""
        defaults = [value._field_defaults[name] for name in value._fields if name in value._field_defaults]
        source = f"{value.__name__} = _named_tuple({value.__name__!r}, {list(value._fields)!r}, _defaults)\n"
        file = f"<named tuple {value.__name__}>"
        made = self._made("named_tuple", value, Found(None, file, 1, source), {}, set(), set())
        made["defaults"] = self._dump(defaults)
        made["cells"] = []
        return made

    def _cells(self, names: tuple, cells: tuple) -> list:
        sent = []
        for name, cell in zip(names, cells):
            try:
                sent.append((name, self._dump(cell.cell_contents)))
            except ValueError:
                sent.append((name, None))
        return sent

    def _made(self, kind: str, value: Any, found: Found, names: dict, used: set, eager: set) -> dict:
        check_syntax(found.parsable(), found.file)
        sent: tuple[dict, dict] = ({}, {})
        for name in sorted(used):
            if name in names:
                sent[name not in eager][name] = self._dump(names[name])
        return {
            "kind": kind,
            "qualname": getattr(value, "__qualname__", ""),
            "space": self._space(names, getattr(value, "__module__", None) or "__main__", found.file),
            "file": found.file,
            "line": found.line,
            "source": found.source,
            "expression": found.expression,
            "column": found.column,
            "eager": sent[0],
            "lazy": sent[1],
            "body": sorted(eager),
        }


class _Pickler(pickle.Pickler):
    def __init__(self, pack: Pack, out: io.BytesIO):
        super().__init__(out, protocol=_PROTOCOL)
        self.pack = pack

    def persistent_id(self, value: Any) -> Any:
        return self.pack.reference(value)


@dataclass
class Found:
    """Where a definition is, and its lines."""

    node: Any
    file: str
    line: int
    source: str
    # Of a lambda: itself, without what is around it in its lines, and where it begins there.
    expression: str = ""
    column: int = 0

    def parsable(self) -> str:
        """The lines in their place, so that what is said about them names the right ones."""
        if self.source[:1] in " \t":
            return "\n" * (self.line - 2) + "if 1:\n" + self.source
        if isinstance(self.node, ast.Lambda):
            return "\n" * (self.line - 1) + "(" + self.expression + "\n)"
        return "\n" * (self.line - 1) + self.source


_LOADS = frozenset(["LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_CLASSDEREF"])
_COMPREHENSIONS = frozenset(["<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"])


def _names_of(code: types.CodeType, inside_functions: bool = True) -> set[str]:
    """The globals that code reads, by name; without those that only functions in it read."""
    names = {
        instruction.argval for instruction in dis.get_instructions(code) if instruction.opname in _LOADS
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            # A class's body and a comprehension run at once; only functions have fast locals.
            is_function = constant.co_flags & inspect.CO_OPTIMIZED and constant.co_name not in _COMPREHENSIONS
            if inside_functions or not is_function:
                names |= _names_of(constant, inside_functions)
    return names


@functools.lru_cache(maxsize=64)
def _parsed(file: str, text: str) -> ast.Module | None:
    try:
        return ast.parse(text, file)
    except SyntaxError:
        return None


def _lines(file: str) -> list[str]:
    return linecache.getlines(file)


def _no_source(what: str, file: str) -> CannotTravel:
    if file in ("<stdin>", "<string>") or file.startswith("<python-input"):
        return CannotTravel(
            f"{what} was typed into a bare Python prompt, which keeps no source: put it into a file or a notebook"
        )
    return CannotTravel(f"{what}: its source can't be found in {file}; functions travel by source")


def _find(function: types.FunctionType) -> Found:
    code = function.__code__
    file = code.co_filename
    what = f"{function.__qualname__} ({_place(code)})"
    lines = _lines(file)
    if not lines:
        raise _no_source(what, file)
    tree = _parsed(file, "".join(lines))
    if tree is None:
        raise CannotTravel(f"{what}: {file} can't be parsed any more; it was changed since it was loaded")
    if code.co_name == "<lambda>":
        return _find_lambda(tree, code, file, lines, what)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if first == code.co_firstlineno and _arguments_of(node.args) == _arguments_in(code):
                return _cut(node, file, first, lines)
    raise CannotTravel(f"{what}: it isn't there any more; {file} was changed since it was loaded")


def _cut(node: Any, file: str, first: int, lines: list[str]) -> Found:
    source = "".join(lines[first - 1 : node.end_lineno])
    return Found(node, file, first, source if source.endswith("\n") else source + "\n")


def _arguments_of(arguments: ast.arguments) -> tuple[str, ...]:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return tuple(argument.arg for argument in [*named, *filter(None, [arguments.vararg, arguments.kwarg])])


def _arguments_in(code: types.CodeType) -> tuple[str, ...]:
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[:count]


def _find_lambda(tree: ast.Module, code: types.CodeType, file: str, lines: list[str], what: str) -> Found:
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Lambda)
        and node.lineno <= code.co_firstlineno <= (node.end_lineno or node.lineno)
        and _arguments_of(node.args) == _arguments_in(code)
    ]
    if len(found) > 1 and hasattr(code, "co_positions"):
        places = {(line, column) for line, _, column, _ in code.co_positions() if line and column}
        found = [
            node
            for node in found
            if any((part.lineno, part.col_offset) in places for part in ast.walk(node.body) if hasattr(part, "lineno"))
        ]
    if len(found) > 1:
        found = [node for node in found if _same(node, code, file)]
    if len({ast.unparse(node) for node in found}) > 1:
        raise CannotTravel(f"{what}: several lambdas are on this line; give them lines or names of their own")
    if not found:
        raise CannotTravel(f"{what}: it isn't there any more; {file} was changed since it was loaded")
    node = found[0]
    expression = ast.get_source_segment("".join(lines), node)
    source = _cut(node, file, node.lineno, lines).source
    return Found(node, file, node.lineno, source, expression or "", node.col_offset)


def _same(node: ast.Lambda, code: types.CodeType, file: str) -> bool:
    tree = ast.fix_missing_locations(ast.Expression(node))
    made = next(one for one in compile(tree, file, "eval").co_consts if isinstance(one, types.CodeType))
    free = set(code.co_freevars)
    names = set(made.co_names) - free
    return names == set(code.co_names) and [
        one for one in made.co_consts if not isinstance(one, types.CodeType)
    ] == [one for one in code.co_consts if not isinstance(one, types.CodeType)]


def _functions_in(value: type) -> list[types.FunctionType]:
    found = []
    for member in vars(value).values():
        for part in [member, *(getattr(member, name, None) for name in ("__func__", "fget", "fset", "fdel", "func"))]:
            while part is not None and not isinstance(part, types.FunctionType) and hasattr(part, "__wrapped__"):
                part = part.__wrapped__
            if isinstance(part, types.FunctionType):
                found.append(inspect.unwrap(part))
    return found


def _is_named_tuple(value: type) -> bool:
    return value.__bases__ == (tuple,) and isinstance(getattr(value, "_fields", None), tuple)


def _find_class(value: type) -> tuple[Found, dict]:
    what = f"the class {value.__qualname__}"
    module = sys.modules.get(value.__module__)
    own = [one for one in _functions_in(value) if one.__qualname__.startswith(value.__qualname__ + ".")]
    real = [one for one in own if not one.__code__.co_filename.startswith("<string")]
    files = [one.__code__.co_filename for one in real]
    if getattr(module, "__file__", None):
        files.append(module.__file__)
    # Cells of a notebook and entries of a prompt, the last ones first.
    files += [name for name in reversed(list(linecache.cache)) if _is_entry(name)]
    line = getattr(value, "__firstlineno__", None)
    for file in dict.fromkeys(files):
        lines = _lines(file)
        tree = _parsed(file, "".join(lines)) if lines else None
        for node in reversed(list(_classes(tree, value.__qualname__))) if tree else []:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            firsts = [one.__code__.co_firstlineno for one in real if one.__code__.co_filename == file]
            if line is not None and line not in (first, node.lineno):
                continue
            if any(not first <= one <= node.end_lineno for one in firsts):
                continue
            space = real[0].__globals__ if real else vars(module) if module else {}
            return _cut(node, file, first, lines), space
    raise _no_source(what, files[0] if files else "<stdin>")


def _is_entry(name: str) -> bool:
    return name.startswith(("<ipython-input", "<python-input")) or "ipykernel_" in name


def _classes(tree: ast.AST, qualname: str, prefix: str = "") -> Iterator[ast.ClassDef]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            if prefix + node.name == qualname:
                yield node
            yield from _classes(node, qualname, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _classes(node, qualname, f"{prefix}{node.name}.<locals>.")
        else:
            yield from _classes(node, qualname, prefix)
