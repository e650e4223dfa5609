"""How functions travel: by source, never as bytecode.

Bytecode of one Python version misexecutes in another without an error. So a function is sent as its
source with everything that it refers to: globals, helpers, defaults, closures, classes, and the
buyer's own modules. Values are pickled; the guest that reads them is a sandbox. Whatever can't be
sent is refused here, before anything is spent, with the reason and the line.
"""

from __future__ import annotations

import ast
import inspect
import io
import pathlib
import pickle
import sys
import types
from typing import Any

from ._definitions import Found, find, find_class, functions_in, names_of, place
from ._modules import Shipment, check_syntax, imports, is_local
from .errors import CannotTravel

_PROTOCOL = 5


def _named(value: Any) -> str:
    return getattr(value, "__qualname__", None) or type(value).__qualname__


def _is_named_tuple(value: type) -> bool:
    return value.__bases__ == (tuple,) and isinstance(getattr(value, "_fields", None), tuple)


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
        self._why = f"{_named(function)} ({place(code)})" if code else _named(function)
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
        if module is not None and by_import and is_local(module) and self.shipment.lacks(name):
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
        found = find(function)
        kind = "lambda" if isinstance(found.node, ast.Lambda) else "function"
        # The values that the defaults had, not what their source would give now.
        defaults = (function.__defaults__, function.__kwdefaults__, dict(function.__dict__))
        made = self._made(kind, function, found, function.__globals__, names_of(code), set())
        made["cells"] = self._cells(code.co_freevars, function.__closure__ or ())
        made["defaults"] = self._dump(defaults)
        return made

    def _decorated(self, value: Any) -> dict:
        """Something that a decorator made: defined and decorated again."""
        function = value
        while not isinstance(function, types.FunctionType) or hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        found = find(function)
        parts = [*found.node.decorator_list, *found.node.args.defaults, *found.node.args.kw_defaults]
        eager = {name.id for part in parts if part for name in ast.walk(part) if isinstance(name, ast.Name)}
        names = names_of(function.__code__) | eager
        freevars = function.__code__.co_freevars
        made = self._made("decorated", value, found, function.__globals__, names, eager)
        made["cells"] = self._cells(freevars, function.__closure__ or ())
        return made

    def _class(self, value: type) -> dict:
        try:
            found, space = find_class(value)
        except CannotTravel:
            if not _is_named_tuple(value):
                raise
            return self._named_tuple(value)
        tree = ast.fix_missing_locations(ast.Module([found.node], []))
        code = compile(tree, found.file, "exec", dont_inherit=True)
        eager = names_of(code, inside_functions=False) - {value.__name__}
        cells: dict[str, Any] = {}
        for part in functions_in(value):
            for name, cell in zip(part.__code__.co_freevars, part.__closure__ or ()):
                if name != "__class__":
                    cells[name] = cell
        if "<locals>" in value.__qualname__:
            for base in value.__bases__:
                name = base.__name__
                if name in eager and name not in cells and space.get(name) is not base:
                    cells[name] = types.CellType(base)
        used = names_of(code) - set(cells)
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
        sent: list[tuple[str, int | None]] = []
        for name, cell in zip(names, cells):
            try:
                sent.append((name, self._dump(cell.cell_contents)))
            except ValueError:
                sent.append((name, None))
        return sent

    def _made(self, kind: str, value: Any, found: Found, names: dict, used: set, eager: set) -> dict:
        check_syntax(found.parsable(), found.file, self.shipment.python)
        for imported in imports(found.parsable(), found.file, later=True):
            self.shipment.add_if_local(imported)
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
