"""What runs in the guest: rebuilds functions, calls them, writes down what they return.

It follows `_encoding.py` and `_network.py` in one text, which the runtime's base is made with:
everything up to `main()` has happened before a task begins. A task's standard input is a chunk
(`_chunk.py` of the SDK writes it), its result the file `/out/results`: a record per call, written
when the call is over, so that what is there is right whatever happens next.
"""

import __future__ as _future
import ast
import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import io
import linecache
import os
import pickle
import random
import socket
import struct
import time
import traceback
import types
import zipfile

RECORD = struct.Struct("<IBQII")
RETURNED, RAISED = 0, 1
STDOUT_MAX = 1 << 20
_FLAGS = _future.annotations.compiler_flag


class _Missing(importlib.abc.MetaPathFinder):
    """Says what to do about a module that isn't there."""

    runtime = "python"

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in NETWORK:
            raise ModuleNotFoundError(
                f"No module named {name!r}: jobs have no network. "
                "Fetch the data first and pass it as an argument, or with jusha.map_files",
                name=name,
            )
        if path is None and name not in sys.stdlib_module_names:
            raise ModuleNotFoundError(
                f"No module named {name!r} in the runtime `{self.runtime}`: "
                f"packages=[{name!r}] ships a pure-Python package",
                name=name,
            )
        return None


class _Asyncio(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives asyncio a loop that waits for time alone: its own needs a pair of sockets to begin with."""

    def __init__(self):
        self.loader = None

    def find_spec(self, name, path=None, target=None):
        if name != "asyncio":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        wait_for_time_alone()


def wait_for_time_alone():
    """Gives asyncio that loop."""
    import selectors
    from asyncio import events, selector_events

    class Timer(selectors._BaseSelectorImpl):
        def select(self, timeout=None):
            if timeout is None:
                raise RuntimeError("every task of the event loop waits for another one")
            if timeout > 0:
                sleep(timeout)
            return []

    class Loop(selector_events.BaseSelectorEventLoop):
        def __init__(self):
            super().__init__(Timer())

        def _make_self_pipe(self):
            self._ssock = self._csock = None

        def _close_self_pipe(self):
            pass

        def _write_to_self(self):
            pass

        create_connection = create_server = no_network

    def either(name):
        # With an underscore since 3.14, where the other one warns.
        return getattr(events, "_" + name, None) or getattr(events, name)

    class Policy(either("BaseDefaultEventLoopPolicy")):
        _loop_factory = Loop

    either("set_event_loop_policy")(Policy())


class _Sources(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The buyer's own modules, by source."""

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, name, path=None, target=None):
        source = self.sources.get(name)
        if source is None:
            return None
        spec = importlib.machinery.ModuleSpec(name, self, origin=source[0], is_package=source[2])
        spec.has_location = True
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        file, source, _ = self.sources[module.__name__]
        remember(file, source)
        exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)


def remember(file, source, line=1):
    """Makes tracebacks show lines that no file here has."""
    lines = linecache.cache[file][2] if file in linecache.cache else []
    new = source.splitlines(keepends=True)
    if new and not new[-1].endswith("\n"):
        new[-1] += "\n"
    lines = lines + ["\n"] * (line - 1 + len(new) - len(lines))
    lines[line - 1 : line - 1 + len(new)] = new
    linecache.cache[file] = (sum(map(len, lines)), None, lines, file)


class InProgress(Exception):
    """A definition that something needs which itself needs that."""


_slept_ns = 0
_sleep = time.sleep


def sleep(seconds):
    """`time.sleep`, counted: it moves the clock and is no work."""
    global _slept_ns
    begun = time.monotonic_ns()
    try:
        _sleep(seconds)
    finally:
        _slept_ns += time.monotonic_ns() - begun


def worked_ns():
    """What was computed so far. This build's own clock of that is in a wrong unit, and takes sleep for it."""
    return time.monotonic_ns() - _slept_ns


class Pack:
    """Functions and classes that belong together, and the values that they see."""

    def __init__(self, tree, buffers):
        self.tree = tree
        self.buffers = buffers
        self.spaces = {}
        self.modules = []
        self.built = {}
        self.building = set()
        self.pending = []

    def load(self, number):
        """The value of a pickle, with everything in it ready."""
        value = self.read(number)
        self.settle()
        return value

    def settle(self):
        """Gives functions what they see, as far as that is there already."""
        later = []
        while self.pending:
            one = self.pending.pop()
            try:
                one()
            except InProgress:
                later.append(one)
        self.pending = later

    def read(self, number):
        return _Unpickler(self, self.buffers[number]).load()

    def space(self, number):
        if number not in self.spaces:
            name, file = self.tree["spaces"][number]
            module = types.ModuleType(name)
            module.__dict__.update(__file__=file, __builtins__=builtins)
            # Where the standard library looks for a class's module.
            sys.modules.setdefault(name, module)
            self.spaces[number] = module.__dict__
            self.modules.append(module)
        return self.spaces[number]

    def find(self, reference):
        kind, *rest = reference
        if kind == "path":
            return pathlib.Path(rest[0])
        if kind == "module":
            return importlib.import_module(rest[0])
        if kind == "attribute":
            value = importlib.import_module(rest[0])
            for name in rest[1].split("."):
                value = getattr(value, name)
            return value
        return self.definition(rest[0])

    def definition(self, number):
        if number not in self.built:
            if number in self.building:
                raise InProgress
            self.building.add(number)
            try:
                self.build(number, self.tree["definitions"][number])
            finally:
                self.building.discard(number)
        return self.built[number]

    def build(self, number, made):
        space = self.space(made["space"])
        for name, value in made["eager"].items():
            space[name] = self.read(value)
        self.pending.append(lambda: self.fill(space, made["lazy"]))
        remember(made["file"], made["source"], made["line"])
        cells = [types.CellType() for _ in made["cells"]]
        for cell, (name, value) in zip(cells, made["cells"]):
            if value is not None:
                if name in made["body"]:
                    cell.cell_contents = self.read(value)
                else:
                    self.pending.append(lambda cell=cell, value=value: self.set(cell, value))
        if made["kind"] in ("class", "decorated"):
            # What runs at once needs what it sees at once.
            self.settle()
        self.built[number] = make = self.make(made, space, cells)
        if made["kind"] == "function":
            make.__qualname__ = made["qualname"]
            self.pending.append(lambda: self.finish(make, made))

    def fill(self, space, values):
        for name, value in values.items():
            if name not in space:
                space[name] = self.read(value)

    def set(self, cell, value):
        cell.cell_contents = self.read(value)

    def finish(self, function, made):
        function.__defaults__, function.__kwdefaults__, attributes = self.read(made["defaults"])
        for name, value in attributes.items():
            setattr(function, name, value)

    def make(self, made, space, cells):
        """The function or class that a source defines, with the names of `cells` around it."""
        if made["kind"] == "named_tuple":
            name = made["qualname"].rpartition(".")[2]
            fields = ast.literal_eval(ast.parse(made["source"]).body[0].value.args[1])
            defaults = self.read(made["defaults"])
            value = collections.namedtuple(name, fields, defaults=defaults, module=space["__name__"])
            value.__qualname__ = made["qualname"]
            return value
        names = [name for name, _ in made["cells"]]
        by_name = dict(zip(names, cells))

        def closure(code):
            return tuple(by_name.get(name) or types.CellType() for name in code.co_freevars)

        tree = parse(made)
        node = tree.body[0]
        if made["kind"] == "lambda":
            node.value.args.defaults, node.value.args.kw_defaults = nothings(node.value.args)
            code = self.inner(tree.body, names, made)
            function = types.FunctionType(code, space, "<lambda>", None, closure(code))
            function.__qualname__ = made["qualname"]
            self.pending.append(lambda: self.finish(function, made))
            return function
        if made["kind"] == "function":
            # A decorator that gave back the very function would do the same again.
            node.decorator_list = []
            node.args.defaults, node.args.kw_defaults = nothings(node.args)
            code = self.inner(tree.body, names, made)
            return types.FunctionType(code, space, node.name, None, closure(code))
        if names:
            last = ast.Return(ast.Name(node.name, ast.Load()))
            make = ast.FunctionDef("make", _arguments([]), [node, last], [], type_params=[])
            code = self.inner([make], names, made)
            value = types.FunctionType(code, space, "make", None, closure(code))()
        else:
            exec(compile(tree, made["file"], "exec", flags=_FLAGS, dont_inherit=True), space)
            value = space[node.name]
        if isinstance(value, type):
            value.__qualname__ = made["qualname"]
        return value

    def inner(self, body, names, made):
        """The code of a definition inside a function that has the local variables `names`."""
        outer = ast.FunctionDef("outer", _arguments(names), body, [], type_params=[])
        module = ast.fix_missing_locations(ast.Module([outer], []))
        code = compile(module, made["file"], "exec", flags=_FLAGS, dont_inherit=True)
        return _definition_in(_definition_in(code))


def parse(made):
    """The tree of a definition's lines, in their place."""
    source, line = made["source"], made["line"]
    if made["kind"] == "lambda":
        tree = ast.parse("\n" * (line - 1) + "(" + made["expression"] + "\n)", made["file"])
        for part in ast.walk(tree):
            # As far to the right as it was, for the marks under a traceback's lines.
            if getattr(part, "lineno", 0) == line:
                part.col_offset += made["column"] - 1
            if getattr(part, "end_lineno", 0) == line:
                part.end_col_offset += made["column"] - 1
        return tree
    if source[:1] in (" ", "\t"):
        tree = ast.parse("\n" * (line - 2) + "if 1:\n" + source, made["file"])
        return ast.Module(tree.body[0].body, [])
    return ast.parse("\n" * (line - 1) + source, made["file"])


def nothings(arguments):
    return (
        [ast.Constant(None) for _ in arguments.defaults],
        [default and ast.Constant(None) for default in arguments.kw_defaults],
    )


def _arguments(names):
    return ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])


def _definition_in(code):
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    # A generic function is made by a function that makes its type parameters.
    return _definition_in(inner[0]) if inner[0].co_name.startswith("<generic") else inner[0]


class _Unpickler(pickle.Unpickler):
    def __init__(self, pack, data):
        super().__init__(io.BytesIO(data))
        self.pack = pack

    def persistent_load(self, reference):
        return self.pack.find(reference)


def describe(error):
    """The traceback as people read it, without the frames that are ours."""
    shown = traceback.TracebackException.from_exception(error)
    seen = set()

    def own(one):
        if one is None or id(one) in seen:
            return
        seen.add(id(one))
        while one.stack and one.stack[0].filename == "<string>":
            del one.stack[0]
        own(one.__cause__)
        own(one.__context__)

    own(shown)
    return "".join(shown.format())


def importable(file, unpack):
    """Where the modules of a wheel are: in it, or if it has other files, beside those."""
    if not unpack:
        return file
    folder = "/tmp/" + os.path.basename(file)
    with zipfile.ZipFile(file) as wheel:
        wheel.extractall(folder)
    return folder


def run(data, out):
    """Calls everything in a chunk."""
    length = int.from_bytes(data[:8], "little")
    tree = json.loads(data[8 : 8 + length])
    at = 8 + length
    buffers = []
    view = memoryview(data)
    for size in tree["buffers"]:
        buffers.append(bytes(view[at : at + size]))
        at += size
    _Missing.runtime = tree["runtime"]
    sys.path[:0] = [importable(**one) for one in tree["path"]]
    if tree["sources"]:
        sys.meta_path.insert(0, _Sources(tree["sources"]))
    sys.setrecursionlimit(tree["recursion"])
    printed = io.StringIO()
    sys.stdin = io.StringIO()
    sys.stdout = sys.stderr = printed
    packs = [Pack(pack, buffers[pack["first_buffer"] :]) for pack in tree["packs"]]
    functions = {}
    for numbers, pack_number, place in tree["calls"]:
        pack = packs[pack_number]
        arguments = None
        for offset, number in enumerate(numbers):
            if number is None:
                continue
            begun = worked_ns()
            try:
                if pack_number not in functions:
                    functions[pack_number] = pack.load(pack.tree["function"])
                if arguments is None:
                    arguments = pack.load(place - pack.tree["first_buffer"])
                args, kwargs = arguments[offset]
                value = functions[pack_number](*args, **kwargs)
                status, result = RETURNED, encode(value)
                del value
            except BaseException as error:
                status, result = RAISED, failure(error)
            text = b""
            if printed.tell():
                text = printed.getvalue().encode(errors="backslashreplace")[:STDOUT_MAX]
                printed.seek(0)
                printed.truncate()
            spent = worked_ns() - begun
            out.write(RECORD.pack(number, status, spent, len(text), len(result)) + text + result)


def failure(error):
    try:
        shown = describe(error)
        return encode((error, shown))
    except BaseException as second:
        name = type(error).__qualname__
        return encode((RuntimeError(f"{name}, which can't be described ({type(second).__name__})"), name))


def no_network(*_, **__):
    raise OSError(
        "jobs have no network: fetch the data first and pass it as an argument, or with jusha.map_files"
    )


def main():
    for name in ("socket", "create_connection", "create_server", "socketpair", "getaddrinfo", "gethostbyname"):
        setattr(socket, name, no_network)
    time.sleep, time.process_time_ns = sleep, worked_ns
    time.process_time = lambda: worked_ns() / 1e9
    try:
        # The base ends here.
        os.stat("/.jusha-base")
    except OSError:
        pass
    begun()


def begun():
    # What was drawn so far is in the base, the same for every task.
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    sys.meta_path.append(_Missing())
    if "asyncio" in sys.modules:
        wait_for_time_alone()
    else:
        sys.meta_path.insert(0, _Asyncio())
    try:
        with open("/out/results", "wb", buffering=0) as out:
            run(sys.stdin.buffer.read(), out)
    except BaseException:
        # Not a call's: a chunk that can't be read. The buyer is shown this.
        traceback.print_exc(file=sys.__stderr__)
        sys.exit(70)


main()
