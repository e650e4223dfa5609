"""Results come back as they were, and nothing else comes back."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import pathlib
import sys
import uuid
import zoneinfo
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jusha._chunk import find_type
from jusha._encoding import DecodeError, EncodeError, decode, encode


class Colour(enum.Enum):
    RED = "r"
    BLUE = 2


class Flags(enum.Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: int
    y: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int
    b: Any = None

    def __post_init__(self):
        if self.a == 13:
            raise ValueError("never built again by reading")


class Own(Exception):
    pass


KNOWN = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in (Colour, Flags, Point, Frozen, Own)}


def back(value):
    return decode(encode(value), lambda name: find_type(name, KNOWN | {_name(kind): kind for kind in (Coded, Several)}))


def _name(kind):
    return f"{kind.__module__}:{kind.__qualname__}"


def same(one, other):
    """Equal, of the same types, and NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return math.isnan(other) if math.isnan(one) else one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, decimal.Decimal):
        return str(one) == str(other)
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(k, l) and same(v, w) for (k, v), (l, w) in zip(one.items(), other.items())
        )
    if isinstance(one, (set, frozenset)):
        return {repr(item) for item in one} == {repr(item) for item in other}
    if isinstance(one, (dt.datetime, dt.time)):
        return one.replace(tzinfo=None) == other.replace(tzinfo=None) and one.fold == other.fold and (
            repr(one.tzinfo) == repr(other.tzinfo)
        )
    return one == other


zones = st.one_of(
    st.none(),
    st.just(dt.timezone.utc),
    st.integers(-1400, 1400).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes))),
    st.just(dt.timezone(dt.timedelta(hours=1), "own name")),
    st.sampled_from(["Europe/Berlin", "Asia/Shanghai"]).map(zoneinfo.ZoneInfo),
)
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 9000), 1 << 9000),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.text(st.characters()),
    st.binary(),
    st.binary().map(bytearray),
    st.decimals(),
    st.fractions(),
    st.dates(),
    st.datetimes(timezones=zones),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([Colour.RED, Colour.BLUE, Flags.A, ..., NotImplemented]),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3)),
)
hashable = st.one_of(st.integers(), st.text(), st.binary(), st.tuples(st.integers(), st.text()), st.sampled_from(Colour))
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.lists(inner, max_size=5).map(collections.deque),
        st.dictionaries(st.text(), inner),
        st.dictionaries(hashable, inner),
        st.dictionaries(st.sampled_from(["$", "v", "n"]), inner),
        st.sets(hashable),
        st.frozensets(hashable),
        st.builds(Point, st.integers(), inner),
        st.builds(Frozen, st.integers(14), inner),
    ),
    max_leaves=20,
)


@given(values)
def test_what_is_encoded_is_decoded(value):
    assert same(value, back(value))


@given(values, st.data())
def test_altered_bytes_are_refused_or_read_as_something_harmless(value, data):
    encoded = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    for bytes_ in (bytes(encoded), bytes(encoded[:cut]), bytes(encoded) + b"x"):
        try:
            decode(bytes_, lambda name: find_type(name, KNOWN))
        except DecodeError:
            pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["$", "v", "n", "h", "o", "z", "k", "m"]), inner),
    max_leaves=12,
)


@given(json_values, st.sampled_from(list("tsfqdxcbakrlpuDFCOeE") + ["dt", "da", "ti", "td", "tz", "zi", "dc", "nt", "nd", "ns", "pi", "ps", "pf"]))
def test_a_tag_with_anything_in_it_is_refused_or_a_value(tree, tag):
    if isinstance(tree, dict):
        tree["$"] = tag
    else:
        tree = {"$": tag, "v": tree, "n": "builtins:ValueError"}
    text = json.dumps({"b": [2], "v": tree}).encode()
    try:
        decode(len(text).to_bytes(8, "little") + text + b"xy", lambda name: find_type(name, KNOWN))
    except DecodeError:
        pass


def test_reading_builds_no_unknown_class_and_runs_no_code_of_it():
    data = encode(Frozen(1))
    with pytest.raises(DecodeError, match="isn't known here"):
        decode(data)
    # What can't be made by calling is made all the same: nothing is called.
    odd = Frozen(1)
    object.__setattr__(odd, "a", 13)
    assert back(odd).a == 13
    for name in ("os:system", "builtins:eval", "builtins:int", "subprocess:Popen", "json:loads", "sys:exit"):
        for tag in ("E", "dc", "e", "nt"):
            text = json.dumps({"b": [], "v": {"$": tag, "n": name, "v": ["x"]}}).encode()
            with pytest.raises(DecodeError):
                decode(len(text).to_bytes(8, "little") + text, lambda name: find_type(name, KNOWN))
    assert "antigravity" not in sys.modules
    text = json.dumps({"b": [], "v": {"$": "e", "n": "antigravity:X", "v": "x"}}).encode()
    with pytest.raises(DecodeError):
        decode(len(text).to_bytes(8, "little") + text, lambda name: find_type(name, KNOWN))
    assert "antigravity" not in sys.modules, "reading imports nothing"


def test_what_can_not_travel_is_named_with_its_place():
    for value, words in [
        ({"a": [1, {"b": object()}]}, r"the result\['a'\]\[1\]\['b'\] is a builtins.object"),
        (lambda: 1, "builtins.function"),
        ([iter([1])], r"the result\[0\]"),
        ({1: 2}.keys(), r"return list\(...\) of it"),
        ((x for x in [1]), "generator"),
        (Flags.A | Flags.B, "combination of flags"),
    ]:
        if value == (Flags.A | Flags.B) and (Flags.A | Flags.B).name is not None and "|" not in (Flags.A | Flags.B).name:
            continue
        with pytest.raises(EncodeError, match=words):
            encode(value)
    endless = []
    endless.append(endless)
    with pytest.raises(EncodeError, match="contains itself"):
        encode(endless)
    deep = value = []
    for _ in range(150):
        value.append([])
        value = value[0]
    assert same(back(deep), deep)


class Coded(OSError):
    def __init__(self, code, cause=None):
        super().__init__(f"code {code}")
        self.code, self._cause, self.lock = code, cause, object()

    def __str__(self):
        return f"{self.code} because of {self._cause}"


class Several(*([ExceptionGroup] if sys.version_info >= (3, 11) else [Exception])):
    pass


def test_exceptions_come_with_their_attributes():
    made = back(Coded(7, "rain"))
    assert type(made) is Coded and str(made) == "7 because of rain" and made.args == ("code 7",)
    assert not hasattr(made, "lock"), "what can't travel stays there"
    try:
        import nowhere_at_all  # noqa: F401
    except ImportError as error:
        assert back(error).name == "nowhere_at_all"
    several = back(Several("two", [ValueError("a"), KeyError("b")]))
    assert several.args[0] == "two" and [type(one) for one in several.args[1]] == [ValueError, KeyError]
    if sys.version_info >= (3, 11):
        assert [type(one) for one in several.exceptions] == [ValueError, KeyError]
    missing = back(FileNotFoundError(2, "gone", "a.txt"))
    assert (missing.errno, missing.filename) == (2, "a.txt")
    data = encode(Coded(1)).replace(b'"_cause"', b'"__dict"')
    with pytest.raises(DecodeError, match="no exception has an attribute __dict"):
        decode(data, lambda name: find_type(name, {_name(Coded): Coded}))


def test_exceptions_come_with_arguments_and_notes():
    error = Own("a", 3, [1])
    if hasattr(error, "add_note"):
        error.add_note("by the way")
    again = back(error)
    assert type(again) is Own and again.args == ("a", 3, [1])
    assert getattr(again, "__notes__", ["by the way"]) == ["by the way"]
    missing = back(FileNotFoundError(2, "No such file", "x"))
    assert (missing.errno, missing.filename) == (2, "x")
    decoded = back(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"))
    assert decoded.start == 0 and decoded.reason == "bad"
    # An argument that can't travel is told in words.
    assert back(ValueError(object())).args[0].startswith("<object object")


def test_other_types_of_the_standard_library():
    from http import HTTPStatus

    for value in [
        HTTPStatus.NOT_FOUND,
        pathlib.PurePosixPath("a/b"),
        collections.Counter("abca"),
        collections.OrderedDict([("b", 1), ("a", 2)]),
        collections.deque([1, 2], maxlen=3),
        uuid.UUID(int=5),
        fractions.Fraction(-1, 3),
        slice(1, None, 2),
        range(0, 1 << 70, 3),
        {1, "a", 2.5},
        memoryview(b"ab"),
    ]:
        again = back(value)
        assert again == (bytes(value) if isinstance(value, memoryview) else value)


def test_numpy():
    numpy = pytest.importorskip("numpy")
    for array in [
        numpy.arange(12).reshape(3, 4),
        numpy.arange(12.0).reshape(3, 4).T,
        numpy.zeros((0, 3), dtype="f4"),
        numpy.array(5),
        numpy.array(["a", "bcd"]),
        numpy.array([b"a", b"bcd"]),
        numpy.array(["2020-01-01", "NaT"], dtype="datetime64[ns]"),
        numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8", (2,))]),
        numpy.array([True, False])[::-1],
        numpy.array([1 + 2j]),
        numpy.arange(10)[::2],
        numpy.array([1], dtype=">i8"),
    ]:
        again = back(array)
        assert again.dtype == array.dtype and again.shape == array.shape
        assert again.tobytes() == array.tobytes()
        assert again.flags.writeable
    assert back({"a": [numpy.float64(1.5), numpy.int32(3)]}) == {"a": [1.5, 3]}
    assert type(back(numpy.float32(1.5))) is numpy.float32
    with pytest.raises(EncodeError, match="Python objects"):
        encode(numpy.array([object()]))
    text = json.dumps({"b": [8], "v": {"$": "nd", "n": "|O", "h": [1], "v": 0}}).encode()
    with pytest.raises(DecodeError):
        decode(len(text).to_bytes(8, "little") + text + b"12345678")


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "int": [1, 2, 3],
            "float": [1.5, None, 3],
            "text": ["a", None, "c"],
            "time": pandas.to_datetime(["2020-01-01", None, "2021-01-01"]),
            "zoned": pandas.to_datetime(["2020-01-01", None, "2021-01-01"]).tz_localize("Europe/Berlin"),
            "kind": pandas.Categorical(["x", "y", None], categories=["y", "x"], ordered=True),
            "nullable": pandas.array([1, None, 3], dtype="Int64"),
            "flag": pandas.array([True, None, False], dtype="boolean"),
            "string": pandas.array(["a", None, "c"], dtype="string"),
        }
    )
    pandas.testing.assert_frame_equal(back(frame), frame)
    grouped = frame.set_index(["int", "text"])
    pandas.testing.assert_frame_equal(back(grouped), grouped)
    dated = frame.set_index("time")[["float"]]
    pandas.testing.assert_frame_equal(back(dated), dated)
    pandas.testing.assert_series_equal(back(frame["float"]), frame["float"])
    pandas.testing.assert_index_equal(back(pandas.Index(["a", "b"], name="n")), pandas.Index(["a", "b"], name="n"))
    twice = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    pandas.testing.assert_frame_equal(back(twice), twice)
    empty = pandas.DataFrame()
    pandas.testing.assert_frame_equal(back(empty), empty)
    with pytest.raises(EncodeError, match="can't travel"):
        encode(pandas.period_range("2020", periods=2, freq="D").to_series())
