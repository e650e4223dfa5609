"""Finds the source of functions and classes that were defined by text."""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import linecache
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .errors import CannotTravel


def place(code: types.CodeType) -> str:
    """Where code is, for messages."""
    return f"{code.co_filename}:{code.co_firstlineno}"


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


def names_of(code: types.CodeType, inside_functions: bool = True) -> set[str]:
    """The globals that code reads, by name; without those that only functions in it read."""
    names = {
        instruction.argval for instruction in dis.get_instructions(code) if instruction.opname in _LOADS
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            # A class's body and a comprehension run at once; only functions have fast locals.
            is_function = constant.co_flags & inspect.CO_OPTIMIZED and constant.co_name not in _COMPREHENSIONS
            if inside_functions or not is_function:
                names |= names_of(constant, inside_functions)
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


def find(function: types.FunctionType) -> Found:
    """A function's definition."""
    code = function.__code__
    file = code.co_filename
    what = f"{function.__qualname__} ({place(code)})"
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
            if any((part.lineno, part.col_offset) in places for part in ast.walk(node.body) if isinstance(part, ast.expr))
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


def functions_in(value: type) -> list[types.FunctionType]:
    """A class's own functions, also those behind properties and the like."""
    found = []
    for member in vars(value).values():
        for part in [member, *(getattr(member, name, None) for name in ("__func__", "fget", "fset", "fdel", "func"))]:
            while part is not None and not isinstance(part, types.FunctionType) and hasattr(part, "__wrapped__"):
                part = part.__wrapped__
            if isinstance(part, types.FunctionType):
                found.append(inspect.unwrap(part))
    return found


def find_class(value: type) -> tuple[Found, dict]:
    """A class's definition, and the globals that it sees."""
    what = f"the class {value.__qualname__}"
    module = sys.modules.get(value.__module__)
    own = [one for one in functions_in(value) if one.__qualname__.startswith(value.__qualname__ + ".")]
    real = [one for one in own if not one.__code__.co_filename.startswith("<string")]
    files = [one.__code__.co_filename for one in real]
    own_file = getattr(module, "__file__", None)
    if own_file:
        files.append(own_file)
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
            if any(not first <= one <= (node.end_lineno or first) for one in firsts):
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
