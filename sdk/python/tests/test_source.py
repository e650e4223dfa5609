"""What travels, what it is over there, and what is refused with its reason and line."""

import collections
import dataclasses
import enum
import functools
import multiprocessing
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from jusha import CannotTravel

sys.path.insert(0, str(pathlib.Path(__file__).parent / "local_modules"))
import helper_module  # noqa: E402

SCALE = 2
TABLE = {"a": [1, 2]}
LOCK = threading.Lock()


def helper(x):
    return x * SCALE


def uses_globals(x):
    return helper(x) + TABLE["a"][1]


def even(n):
    return True if n == 0 else odd(n - 1)


def odd(n):
    return False if n == 0 else even(n - 1)


def with_defaults(a, b=SCALE, *rest, c=len("abc"), **more):
    return a, b, rest, c, more


def generator(n):
    return list(x * x for x in range(n) if x % SCALE)


def doubled(fn):
    @functools.wraps(fn)
    def inside(*args):
        return 2 * fn(*args)

    return inside


@doubled
def decorated(x):
    return x + SCALE


@functools.lru_cache(maxsize=None)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


class Base:
    unit = "kg"

    def describe(self):
        return f"{self.name()} in {self.unit}"


class Derived(Base):
    count = 0

    def __init__(self, value):
        super().__init__()
        self.value = value

    def name(self):
        return f"{type(self).__name__} {helper(self.value)}"

    @classmethod
    def make(cls, value):
        cls.count += 1
        return cls(value)

    @staticmethod
    def plain(x):
        return x + SCALE

    @property
    def twice(self):
        return helper(self.value)

    def method(self, x):
        return self.value * x


@dataclasses.dataclass
class Point:
    x: int
    y: "int" = SCALE
    tags: list = dataclasses.field(default_factory=list)

    def moved(self, by):
        return Point(self.x + by, self.y + by, [*self.tags, "moved"])


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


Pair = collections.namedtuple("Pair", "left right")


def make_point(x):
    return Point(x).moved(1)


def colours(x):
    return Colour(x), Colour.RED.name


def describe(x):
    return Derived.make(x).describe(), Derived.plain(1), Derived(x).twice, isinstance(Derived(1), Base)


def pair(x):
    return Pair(x, right=x)


class Custom(Exception):
    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code


def raises(x):
    raise Custom(x)


def ask(executor, fn, *args, **kwargs):
    return executor.submit(fn, *args, **kwargs).result(120)


def test_globals_helpers_recursion_and_defaults(executor):
    assert ask(executor, uses_globals, 5) == uses_globals(5)
    assert ask(executor, even, 10) is True
    assert ask(executor, with_defaults, 1) == with_defaults(1)
    assert ask(executor, with_defaults, 1, 2, 3, c=4, d=5) == with_defaults(1, 2, 3, c=4, d=5)
    assert ask(executor, generator, 9) == generator(9)


def test_closures_lambdas_and_partials(executor):
    offset = [1, 2]

    def inner(x):
        def deeper(y):
            return y + offset[1] + SCALE

        return deeper(x) + offset[0]

    def counts(n):
        return 0 if n == 0 else 1 + counts(n - 1)

    assert ask(executor, inner, 3) == inner(3)
    assert ask(executor, counts, 5) == 5
    assert ask(executor, lambda x, y=SCALE: x * y + offset[0], 5) == 11
    pairs = [lambda x: x + 1, lambda x: x + 2]
    if sys.version_info >= (3, 11):
        assert [ask(executor, one, 1) for one in pairs] == [2, 3]
    assert ask(executor, functools.partial(helper, 4)) == 8
    assert ask(executor, sum, [1, 2, 3]) == 6
    assert ask(executor, str.upper, "a") == "A"


def test_decorators_run_again(executor):
    assert ask(executor, decorated, 3) == decorated(3)
    assert ask(executor, fibonacci, 60) == fibonacci(60)


def test_classes_come_and_go(executor):
    assert ask(executor, make_point, 3) == Point(4, 3, ["moved"])
    assert type(ask(executor, make_point, 3)) is Point
    assert ask(executor, colours, 2) == (Colour.GREEN, "RED")
    assert ask(executor, describe, 4) == describe(4)
    assert ask(executor, pair, 4) == Pair(4, 4)
    assert ask(executor, Derived(3).method, 4) == 12
    assert ask(executor, Derived.plain, 4) == 6
    assert ask(executor, lambda point: point.x, Point(7)) == 7
    assert ask(executor, lambda pairs: sorted(c.name for c in pairs), [Colour.RED, Colour.GREEN]) == ["GREEN", "RED"]

    class Local(Base):
        def name(self):
            return f"local {SCALE}"

    assert ask(executor, lambda: Local().describe()) == "local 2 in kg"


def test_exceptions_of_ones_own(executor):
    future = executor.submit(raises, 7)
    error = future.exception(120)
    assert type(error) is Custom and error.args == ("code 7",) and error.code == 7
    text = str(error.__cause__)
    assert "test_source.py" in text and "raise Custom(x)" in text and "in raises" in text
    line = raises.__code__.co_firstlineno + 1
    assert f"line {line}" in text


def test_modules_of_ones_own_travel_by_source(executor):
    assert ask(executor, helper_module.scaled, 2) == helper_module.scaled(2)
    assert ask(executor, lambda x: helper_module.Basket(x).weight, 5) == 5
    assert ask(executor, lambda b: b.weight, helper_module.Basket(5)) == 5


def test_modules_that_only_the_function_imports(executor, tmp_path, monkeypatch):
    (tmp_path / "inner_module.py").write_text(
        "import math\ndef area(r):\n    import other_module\n    return other_module.FACTOR * math.pi * r\n"
    )
    (tmp_path / "other_module.py").write_text("FACTOR = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def outer(r):
        from inner_module import area

        try:
            import nowhere_to_be_found
        except ImportError:
            nowhere_to_be_found = None
        return area(r), nowhere_to_be_found

    assert ask(executor, outer, 1) == (pytest.approx(6.283185307), None)
    assert "inner_module" not in sys.modules, "it is only read here"


def test_values_are_those_at_submission(executor):
    table = [1]
    first = executor.submit(lambda: sum(table))
    table.append(5)
    assert first.result(120) == 1
    arguments = [1]
    second = executor.submit(len, arguments)
    arguments.append(2)
    assert second.result(120) == 1


def refused(executor, fn, *args):
    with pytest.raises(CannotTravel) as caught:
        executor.submit(fn, *args)
    return str(caught.value)


def test_what_can_not_travel_is_refused_at_once(executor):
    place = f"{__file__}:"

    def locks():
        return LOCK

    said = refused(executor, locks)
    assert place + str(locks.__code__.co_firstlineno) in said and "pickle" in said and "lock" in said
    assert "arguments" in refused(executor, len, threading.Lock())
    namespace = {}
    exec("def typed(): return 1", namespace)
    assert "bare Python prompt" in refused(executor, namespace["typed"])

    def fetches(url):
        import pytest

        return pytest, hypothesis_module.given

    said = refused(executor, fetches)
    assert "hypothesis" in said and "packages=" in said

    def forks():
        return multiprocessing.cpu_count()

    said = refused(executor, forks)
    assert "multiprocessing" in said and "packages" not in said


import hypothesis as hypothesis_module  # noqa: E402


def test_newer_syntax_is_refused_with_its_line(executor, tmp_path):
    if sys.version_info < (3, 13):
        pytest.skip("this Python has none that the guest's hasn't")
    (tmp_path / "newer.py").write_text("SCALE = 1\n\n\ndef fresh[T = int](x: T) -> T:\n    return x\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import newer
    finally:
        sys.path.pop(0)
    said = refused(executor, newer.fresh)
    assert "newer.py:4" in said and "3.12" in said


def test_there_is_no_network_and_it_says_so(executor):
    def fetch(url):
        import urllib.request

        return urllib.request.urlopen(url).read()

    def imports():
        import requests

        return requests

    for fn, args in [(fetch, ("http://127.0.0.1/",)), (imports, ())]:
        error = executor.submit(fn, *args).exception(120)
        assert "no network" in str(error) + str(error.__cause__), error
        assert "map_files" in str(error) + str(error.__cause__), error


def test_a_script_runs_as_people_run_it(exchange, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from jusha import Executor\n"
        "K = 3\n"
        "class Cell:\n"
        "    def __init__(self, x): self.x = x * K\n"
        "def f(x):\n"
        "    return Cell(x).x + 1\n"
        "if __name__ == '__main__':\n"
        "    with Executor() as ex:\n"
        "        print(sum(ex.map(f, range(10))))\n"
    )
    environment = {**os.environ, "JUSHA_URL": exchange.url, "JUSHA_TOKEN": exchange.token}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == f"{sum(x * 3 + 1 for x in range(10))}\n", done.stderr


def test_what_is_typed_at_a_prompt(exchange):
    typed = (
        "from jusha import Executor, CannotTravel\n"
        "ex = Executor()\n"
        "def f(x): return x\n"
        "\n"
        "try: print('typed:', ex.submit(f, 41).result())\n"
        "except CannotTravel as error: print('refused:', error)\n"
        "\n"
        "print(ex.submit(abs, -3).result())\n"
        "ex.shutdown()\n"
    )
    environment = {**os.environ, "JUSHA_URL": exchange.url, "JUSHA_TOKEN": exchange.token}
    command = [sys.executable, "-i", "-q"]
    done = subprocess.run(command, input=typed, env=environment, capture_output=True, text=True, timeout=300)
    # Since 3.13 a prompt keeps what was typed.
    said = "typed: 41" if sys.version_info >= (3, 13) else "refused: f (<stdin>:1) was typed into a bare Python prompt"
    assert said in done.stdout and "\n3\n" in done.stdout, done
