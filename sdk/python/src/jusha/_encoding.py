"""How results travel: as data, never as pickles.

A pickle is a program for whoever reads it. A buyer's function runs on a stranger's machine, so
what comes back is JSON with tagged values and, after it, raw buffers. Reading it imports nothing
but numpy and pandas, calls nothing of the sender's choice and builds only types that the reader
already knows.

This file runs on both sides: in the guest, where values are encoded, and at the buyer's, where they
are decoded. It needs the standard library only.

Layout: length of the JSON text as 8 little-endian bytes, the text in UTF-8, then the buffers one
after another; the text's `b` lists their lengths and its `v` is the value. A JSON string, number,
boolean, null or list stands for itself, an object without the key `$` for a `dict` with such keys;
an object with it is tagged:

| `$` | value |
|---|---|
| `t`, `s`, `f`, `q` | tuple, set, frozenset, deque of `v` |
| `d` | dict, of the pairs `v` |
| `x` | int of the hexadecimal digits `v` |
| `c` | complex of the pair `v` |
| `b`, `a` | bytes, bytearray: buffer number `v` |
| `k` | a constant by name: `Ellipsis`, `NotImplemented` |
| `r` | range of the triple `v` |
| `l` | slice of the triple `v` |
| `p` | pure path of the text `v` |
| `u` | UUID of the text `v` |
| `D`, `F` | Decimal, Fraction of the text `v` |
| `dt`, `da`, `ti`, `td`, `tz` | datetime, date, time (ISO text `v`, `z` a time zone, `o` its fold), timedelta of (days, seconds, microseconds), timezone of (seconds, name) |
| `zi` | ZoneInfo of the key `v` |
| `C`, `O` | Counter, OrderedDict of the pairs `v` |
| `e` | enum member: type `n`, name `v` |
| `dc` | dataclass: type `n`, fields `v` |
| `nt` | named tuple: type `n`, items `v` |
| `E` | exception: type `n`, arguments `v`, notes `m`, attributes `a` |
| `nd` | numpy array: dtype `n`, shape `h`, buffer `v`, `o` 1 for column order |
| `ns` | numpy scalar: dtype `n`, buffer `v` |
| `pi`, `ps`, `pf` | pandas index, series, frame |
"""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import pathlib
import sys
import uuid

__all__ = ["DecodeError", "EncodeError", "decode", "encode"]

_PLAIN = frozenset([str, int, float, bool, type(None)])
_NOT_INT = frozenset([str, float, bool, type(None)])
# Far more than anybody returns, and less than the interpreter's own stack takes.
_DEPTH_MAX = 200
# Longer integers take quadratic time in decimal, and Python refuses them past 4300 digits.
_INT_BITS_MAX = 4096


class EncodeError(TypeError):
    """A result that can't travel, with the place of what is in the way."""


class DecodeError(ValueError):
    """Bytes that are no result, or of a type that the reader doesn't know."""


def encode(value):
    """The bytes of a value; `EncodeError` says which part of it can't travel and what can."""
    buffers = []
    tree = _Encoder(buffers).encode(value, "the result", 0)
    text = json.dumps(
        {"b": [len(buffer) for buffer in buffers], "v": tree}, separators=(",", ":")
    ).encode()
    return b"".join([len(text).to_bytes(8, "little"), text, *buffers])


class _Encoder:
    def __init__(self, buffers):
        self.buffers = buffers

    def buffer(self, data):
        self.buffers.append(data)
        return len(self.buffers) - 1

    def encode(self, value, where, depth):
        kind = type(value)
        if kind in _NOT_INT:
            return value
        if kind is int:
            if -(1 << 63) <= value < 1 << 64 or value.bit_length() <= _INT_BITS_MAX:
                return value
            return {"$": "x", "v": format(value, "x")}
        if depth >= _DEPTH_MAX:
            raise EncodeError(f"{where} is nested more than {_DEPTH_MAX} deep, or contains itself")
        if kind is list:
            return self.items(value, where, depth)
        if kind is dict:
            return self.mapping(value, where, depth)
        encoder = _ENCODERS.get(kind)
        if encoder is not None:
            return encoder(self, value, where, depth + 1)
        return self.other(value, kind, where, depth + 1)

    def items(self, values, where, depth):
        kinds = set(map(type, values))
        if kinds <= _NOT_INT:
            return list(values)
        if kinds <= _PLAIN and all(
            -(1 << 63) <= value < 1 << 64 for value in values if type(value) is int
        ):
            return list(values)
        depth += 1
        return [
            value if type(value) in _NOT_INT else self.encode(value, f"{where}[{at}]", depth)
            for at, value in enumerate(values)
        ]

    def mapping(self, value, where, depth):
        depth += 1
        if all(type(key) is str for key in value) and "$" not in value:
            return {key: self.encode(item, f"{where}[{key!r}]", depth) for key, item in value.items()}
        return {"$": "d", "v": self.pairs(value, where, depth)}

    def pairs(self, value, where, depth):
        return [
            [self.encode(key, f"a key of {where}", depth), self.encode(item, f"{where}[{key!r}]", depth)]
            for key, item in value.items()
        ]

    def other(self, value, kind, where, depth):
        if isinstance(value, enum.Enum):
            if value.name is None or "|" in value.name:
                raise EncodeError(f"{where} is a combination of flags without a name: return its value")
            return {"$": "e", "n": _type_name(kind), "v": value.name}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {
                field.name: self.encode(getattr(value, field.name), f"{where}.{field.name}", depth)
                for field in dataclasses.fields(value)
            }
            return {"$": "dc", "n": _type_name(kind), "v": fields}
        if isinstance(value, tuple) and isinstance(getattr(kind, "_fields", None), tuple):
            return {"$": "nt", "n": _type_name(kind), "v": self.items(value, where, depth)}
        if isinstance(value, BaseException):
            return self.exception(value, kind, where, depth)
        if isinstance(value, pathlib.PurePath):
            return {"$": "p", "v": value.as_posix()}
        if isinstance(value, memoryview):
            return {"$": "b", "v": self.buffer(bytes(value))}
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            if isinstance(value, numpy.ndarray) and kind is numpy.ndarray:
                return self.array(numpy, value, where)
            if isinstance(value, numpy.generic):
                array = numpy.asarray(value)
                return {"$": "ns", "n": self.dtype(array.dtype, where), "v": self.buffer(array.tobytes())}
        pandas = sys.modules.get("pandas")
        if pandas is not None and isinstance(value, (pandas.Index, pandas.Series, pandas.DataFrame)):
            return _encode_pandas(self, pandas, value, where, depth)
        keys = getattr(kind, "__module__", "") == "builtins" and kind.__name__ in (
            "dict_keys",
            "dict_values",
            "dict_items",
            "generator",
            "map",
            "filter",
            "zip",
        )
        advice = (
            "return list(...) of it"
            if keys
            else "return builtins, dataclasses, named tuples, enums, dates, decimals, fractions, "
            "exceptions, numpy arrays or pandas frames"
        )
        raise EncodeError(f"{where} is a {kind.__module__}.{kind.__qualname__}, which can't travel: {advice}")

    def exception(self, value, kind, where, depth):
        try:
            # Of the standard library's: what they were made with, which `args` doesn't always have.
            made_with = value.__reduce__()[1] if kind.__module__ == "builtins" else value.args
            args = self.items(made_with, f"the arguments of {where}", depth)
        except EncodeError:
            args = [str(value)]
        tree = {"$": "E", "n": _type_name(kind), "v": args}
        notes = [note for note in getattr(value, "__notes__", ()) if isinstance(note, str)]
        if notes:
            tree["m"] = notes
        attributes = {}
        for name, item in vars(value).items() if kind.__module__ != "builtins" else _state(value):
            if not name.startswith("__"):
                try:
                    attributes[name] = self.encode(item, f"{where}.{name}", depth)
                except EncodeError:
                    # What went wrong is worth more than all that belongs to it.
                    continue
        if attributes:
            tree["a"] = attributes
        return tree

    def dtype(self, dtype, where):
        if dtype.hasobject:
            raise EncodeError(f"{where} is a numpy array of Python objects, which can't travel: return a list")
        return dtype.descr if dtype.names else dtype.str

    def array(self, numpy, value, where):
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        tree = {
            "$": "nd",
            "n": self.dtype(value.dtype, where),
            "h": list(value.shape),
            "v": self.buffer(value.tobytes(order)),
        }
        if order == "F":
            tree["o"] = 1
        return tree


def _type_name(kind):
    return f"{kind.__module__}:{kind.__qualname__}"


def _state(error):
    """What a built-in exception has beside its arguments, such as the name that wasn't there."""
    state = error.__reduce__()[2:]
    return state[0].items() if state and type(state[0]) is dict else ()


def _zone(self, zone, where, depth):
    return None if zone is None else self.encode(zone, f"the time zone of {where}", depth)


def _datetime(self, value, where, depth):
    tree = {"$": "dt", "v": value.replace(tzinfo=None, fold=0).isoformat()}
    return _with_zone(self, tree, value, where, depth)


def _time(self, value, where, depth):
    tree = {"$": "ti", "v": value.replace(tzinfo=None, fold=0).isoformat()}
    return _with_zone(self, tree, value, where, depth)


def _with_zone(self, tree, value, where, depth):
    if value.tzinfo is not None:
        tree["z"] = _zone(self, value.tzinfo, where, depth)
    if value.fold:
        tree["o"] = 1
    return tree


def _timezone(self, value, where, depth):
    offset = value.utcoffset(None)
    name = value.tzname(None)
    seconds = offset.days * 86400 + offset.seconds
    plain = datetime.timezone(offset).tzname(None) == name
    return {"$": "tz", "v": [seconds, offset.microseconds, None if plain else name]}


def _zone_info(self, value, where, depth):
    if value.key is None:
        raise EncodeError(f"{where} is a time zone from a file, which can't travel: use one by name")
    return {"$": "zi", "v": value.key}


_ENCODERS = {
    tuple: lambda self, value, where, depth: {"$": "t", "v": self.items(value, where, depth)},
    set: lambda self, value, where, depth: {"$": "s", "v": self.items(list(value), where, depth)},
    frozenset: lambda self, value, where, depth: {"$": "f", "v": self.items(list(value), where, depth)},
    collections.deque: lambda self, value, where, depth: {
        "$": "q",
        "v": self.items(list(value), where, depth),
        "m": value.maxlen,
    },
    complex: lambda self, value, where, depth: {"$": "c", "v": [value.real, value.imag]},
    bytes: lambda self, value, where, depth: {"$": "b", "v": self.buffer(value)},
    bytearray: lambda self, value, where, depth: {"$": "a", "v": self.buffer(bytes(value))},
    type(Ellipsis): lambda self, value, where, depth: {"$": "k", "v": "Ellipsis"},
    type(NotImplemented): lambda self, value, where, depth: {"$": "k", "v": "NotImplemented"},
    range: lambda self, value, where, depth: {
        "$": "r",
        "v": self.items([value.start, value.stop, value.step], where, depth),
    },
    slice: lambda self, value, where, depth: {
        "$": "l",
        "v": self.items([value.start, value.stop, value.step], where, depth),
    },
    uuid.UUID: lambda self, value, where, depth: {"$": "u", "v": value.hex},
    decimal.Decimal: lambda self, value, where, depth: {"$": "D", "v": str(value)},
    fractions.Fraction: lambda self, value, where, depth: {
        "$": "F",
        "v": self.items([value.numerator, value.denominator], where, depth),
    },
    datetime.datetime: _datetime,
    datetime.date: lambda self, value, where, depth: {"$": "da", "v": value.isoformat()},
    datetime.time: _time,
    datetime.timedelta: lambda self, value, where, depth: {
        "$": "td",
        "v": [value.days, value.seconds, value.microseconds],
    },
    datetime.timezone: _timezone,
    collections.Counter: lambda self, value, where, depth: {"$": "C", "v": self.pairs(value, where, depth)},
    collections.OrderedDict: lambda self, value, where, depth: {"$": "O", "v": self.pairs(value, where, depth)},
}

try:
    import zoneinfo
except ImportError:  # a build without time zones
    zoneinfo = None
else:
    _ENCODERS[zoneinfo.ZoneInfo] = _zone_info


def _encode_pandas(self, pandas, value, where, depth):
    if isinstance(value, pandas.DataFrame):
        return {
            "$": "pf",
            "c": _encode_pandas(self, pandas, value.columns, f"the columns of {where}", depth),
            "i": _encode_pandas(self, pandas, value.index, f"the index of {where}", depth),
            "v": [
                _column(self, pandas, value.iloc[:, at], f"column {name!r} of {where}", depth)
                for at, name in enumerate(value.columns)
            ],
        }
    if isinstance(value, pandas.Series):
        return {
            "$": "ps",
            "n": self.encode(value.name, f"the name of {where}", depth),
            "i": _encode_pandas(self, pandas, value.index, f"the index of {where}", depth),
            "v": _column(self, pandas, value, where, depth),
        }
    if isinstance(value, pandas.MultiIndex):
        return {
            "$": "pi",
            "k": "multi",
            "n": self.items(list(value.names), where, depth),
            "v": [
                _encode_pandas(self, pandas, value.get_level_values(level), f"level {level} of {where}", depth)
                for level in range(value.nlevels)
            ],
        }
    if isinstance(value, pandas.RangeIndex):
        return {
            "$": "pi",
            "k": "range",
            "n": self.encode(value.name, where, depth),
            "v": [value.start, value.stop, value.step],
        }
    if isinstance(value, (pandas.IntervalIndex, pandas.PeriodIndex)):
        raise EncodeError(f"{where} is a {type(value).__name__}, which can't travel: reset_index() or astype(str)")
    return {
        "$": "pi",
        "k": "plain",
        "n": self.encode(value.name, where, depth),
        "v": _column(self, pandas, value, where, depth),
    }


def _column(self, pandas, values, where, depth):
    """A pandas array: its dtype by name, and numbers as a numpy array, texts and objects as a list."""
    dtype = values.dtype
    name = str(dtype)
    if isinstance(dtype, pandas.CategoricalDtype):
        array = values.array
        return {
            "k": "categories",
            "v": self.array(sys.modules["numpy"], array.codes, where),
            "c": _encode_pandas(self, pandas, array.categories, f"the categories of {where}", depth),
            "o": bool(array.ordered),
        }
    if getattr(dtype, "tz", None) is not None:
        utc = values.dt.tz_convert("UTC") if hasattr(values, "dt") else values.tz_convert("UTC")
        plain = utc.dt.tz_localize(None) if hasattr(utc, "dt") else utc.tz_localize(None)
        return {
            "k": "zoned",
            "v": self.array(sys.modules["numpy"], plain.to_numpy(), where),
            "z": str(dtype.tz),
        }
    if dtype.kind in "biufcmM" and type(dtype).__module__.startswith("numpy"):
        return {"k": "numpy", "v": self.array(sys.modules["numpy"], values.to_numpy(), where)}
    missing = [bool(gone) for gone in values.isna()]
    items = values.tolist()
    if name in ("object", "str", "string", "boolean") or name.lstrip("U").startswith(("Int", "Float")):
        # None, NaN and NA keep apart what they are where that is known: in a column of objects.
        absent = {} if name == "object" else None
        kept = [
            None if gone and absent is None else item
            for item, gone in zip(items, missing)
        ]
        return {"k": "items", "t": name, "v": self.items(kept, where, depth)}
    raise EncodeError(f"{where} has the dtype {name}, which can't travel: astype() something plainer")


def decode(data, types=None):
    """The value of bytes that `encode` made, wherever that was.

    `types` says which classes may be built: a function from `module:qualified name` to a class, or
    None where it is unknown. Nothing else of the reader's is used.
    """
    if len(data) < 8:
        raise DecodeError("a result is cut off")
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        raise DecodeError("a result is cut off")
    try:
        tree = json.loads(bytes(data[8 : 8 + length]))
        lengths, value = tree["b"], tree["v"]
        at = 8 + length
        buffers = []
        for size in lengths:
            if type(size) is not int or size < 0 or at + size > len(data):
                raise DecodeError("a buffer is cut off")
            buffers.append(bytes(data[at : at + size]))
            at += size
        if at != len(data):
            raise DecodeError("something follows a result")
        return _Decoder(buffers, types).decode(value, 0)
    except DecodeError:
        raise
    except RecursionError:
        raise DecodeError("a result is nested too deep") from None
    except Exception as error:
        raise DecodeError(f"a result is malformed: {type(error).__name__}: {error}") from error


class _Decoder:
    def __init__(self, buffers, types):
        self.buffers = buffers
        self.types = types or (lambda name: None)

    def decode(self, tree, depth):
        if type(tree) in _PLAIN:
            return tree
        if depth > _DEPTH_MAX:
            raise DecodeError("a result is nested too deep")
        depth += 1
        if type(tree) is list:
            if set(map(type, tree)) <= _PLAIN:
                return tree
            return [self.decode(item, depth) for item in tree]
        if "$" not in tree:
            return {key: self.decode(item, depth) for key, item in tree.items()}
        decoder = _DECODERS.get(tree["$"])
        if decoder is None:
            raise DecodeError(f"no value is tagged {tree['$']!r}")
        return decoder(self, tree, depth)

    def items(self, tree, depth):
        values = tree["v"]
        if type(values) is not list:
            raise DecodeError("a list is due")
        return [self.decode(item, depth) for item in values]

    def pairs(self, tree, depth):
        return [(self.decode(key, depth), self.decode(item, depth)) for key, item in tree["v"]]

    def text(self, tree):
        if type(tree["v"]) is not str:
            raise DecodeError("a text is due")
        return tree["v"]

    def buffer(self, tree):
        number = tree["v"]
        if type(number) is not int or number < 0:
            raise DecodeError("a buffer's number is due")
        return self.buffers[number]

    def known(self, tree, is_right):
        name = tree["n"]
        if type(name) is not str:
            raise DecodeError("a type's name is due")
        kind = self.types(name)
        if kind is None or not isinstance(kind, type) or not is_right(kind):
            raise DecodeError(
                f"the result has a {name.replace(':', '.')}, which isn't known here: "
                "define the class where the function can see it"
            )
        return kind

    def enum(self, tree, depth):
        kind = self.known(tree, lambda kind: issubclass(kind, enum.Enum))
        return kind[self.text(tree)]

    def dataclass(self, tree, depth):
        kind = self.known(tree, dataclasses.is_dataclass)
        names = [field.name for field in dataclasses.fields(kind)]
        values = tree["v"]
        if sorted(values) != sorted(names):
            raise DecodeError(f"{kind.__qualname__} has other fields here: {', '.join(names)}")
        # Neither __init__ nor __post_init__: they ran where it was made.
        made = object.__new__(kind)
        for name in names:
            object.__setattr__(made, name, self.decode(values[name], depth))
        return made

    def named_tuple(self, tree, depth):
        def is_right(kind):
            return issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple)

        kind = self.known(tree, is_right)
        values = self.items(tree, depth)
        if len(values) != len(kind._fields):
            raise DecodeError(f"{kind.__qualname__} has other fields here: {', '.join(kind._fields)}")
        return tuple.__new__(kind, values)

    def exception(self, tree, depth):
        kind = self.known(tree, lambda kind: issubclass(kind, BaseException))
        args = self.items(tree, depth)
        if kind.__module__ == "builtins":
            # These set their attributes from their arguments.
            try:
                made = kind(*args)
            except Exception:
                raise DecodeError(f"a {kind.__name__} has other arguments") from None
        else:
            # Its own __new__ and __init__ ran where it was raised.
            base = next(base for base in kind.__mro__ if base.__module__ == "builtins")
            made = base.__new__(kind, *args)
            made.args = tuple(args)
        for name, item in tree.get("a", {}).items():
            if name.startswith("__"):
                raise DecodeError(f"no exception has an attribute {name}")
            item = self.decode(item, depth)
            if kind.__module__ != "builtins":
                # No setter of a class of the reader's is called.
                vars(made)[name] = item
                continue
            try:
                setattr(made, name, item)
            except (AttributeError, TypeError):
                raise DecodeError(f"a {kind.__name__} has no attribute {name} of that kind") from None
        for note in tree.get("m", []):
            if type(note) is str and hasattr(made, "add_note"):
                made.add_note(note)
        return made

    def zone(self, tree, depth):
        zone = tree.get("z")
        zone = None if zone is None else self.decode(zone, depth)
        if zone is not None and not isinstance(zone, datetime.tzinfo):
            raise DecodeError("a time zone is due")
        return {"tzinfo": zone, "fold": 1 if tree.get("o") else 0}

    def dtype(self, tree):
        import numpy

        name = tree["n"]
        if type(name) is list:
            name = [tuple(tuple(part) if type(part) is list else part for part in field) for field in name]
        dtype = numpy.dtype(name)
        if dtype.hasobject:
            raise DecodeError("an array of objects is no result")
        return dtype

    def array(self, tree, depth=0):
        import numpy

        values = numpy.frombuffer(self.buffer(tree), dtype=self.dtype(tree))
        return values.reshape(tree["h"], order="F" if tree.get("o") else "C").copy(order="K")

    def scalar(self, tree, depth):
        import numpy

        return numpy.frombuffer(self.buffer(tree), dtype=self.dtype(tree))[0]

    def counter(self, tree, depth):
        made = collections.Counter()
        dict.update(made, self.pairs(tree, depth))
        return made

    def index(self, tree, depth):
        import pandas

        name = self.decode(tree["n"], depth)
        if tree["k"] == "multi":
            levels = [self.decode(level, depth) for level in tree["v"]]
            return pandas.MultiIndex.from_arrays(levels, names=name)
        if tree["k"] == "range":
            start, stop, step = tree["v"]
            return pandas.RangeIndex(start, stop, step, name=name)
        return pandas.Index(self.column(tree["v"], depth), name=name)

    def column(self, tree, depth):
        import pandas

        kind = tree["k"]
        if kind == "categories":
            dtype = pandas.CategoricalDtype(self.decode(tree["c"], depth), bool(tree["o"]))
            return pandas.Categorical.from_codes(self.array(tree["v"]), dtype=dtype)
        if kind == "zoned":
            times = pandas.DatetimeIndex(self.array(tree["v"])).tz_localize("UTC")
            return times.tz_convert(str(tree["z"])).array
        if kind == "numpy":
            return self.array(tree["v"])
        return pandas.array(self.items(tree, depth), dtype=_pandas_dtype(tree["t"]))

    def series(self, tree, depth):
        import pandas

        values, index = self.column(tree["v"], depth), self.index(tree["i"], depth)
        return pandas.Series(values, index=index, name=self.decode(tree["n"], depth), copy=False)

    def frame(self, tree, depth):
        import pandas

        index = self.index(tree["i"], depth)
        columns = [self.column(column, depth) for column in tree["v"]]
        made = pandas.DataFrame(dict(enumerate(columns)), index=index)
        made.columns = self.index(tree["c"], depth)
        return made


def _pandas_dtype(name):
    if type(name) is not str or name not in (
        ["object", "str", "string", "boolean"]
        + [f"{sign}{bits}" for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)]
        + ["Float32", "Float64"]
    ):
        raise DecodeError(f"no column has the dtype {name!r}")
    return name


def _timezone_of(self, tree, depth):
    seconds, microseconds, name = tree["v"]
    offset = datetime.timedelta(seconds=seconds, microseconds=microseconds)
    if not offset and name is None:
        return datetime.timezone.utc
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


def _zone_info_of(self, tree, depth):
    if zoneinfo is None:
        raise DecodeError("this Python knows no time zones")
    return zoneinfo.ZoneInfo(self.text(tree))


_CONSTANTS = {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented}

_DECODERS = {
    "t": lambda self, tree, depth: tuple(self.items(tree, depth)),
    "s": lambda self, tree, depth: set(self.items(tree, depth)),
    "f": lambda self, tree, depth: frozenset(self.items(tree, depth)),
    "q": lambda self, tree, depth: collections.deque(self.items(tree, depth), tree.get("m")),
    "d": lambda self, tree, depth: dict(self.pairs(tree, depth)),
    "x": lambda self, tree, depth: int(self.text(tree), 16),
    "c": lambda self, tree, depth: complex(*tree["v"]),
    "b": lambda self, tree, depth: self.buffer(tree),
    "a": lambda self, tree, depth: bytearray(self.buffer(tree)),
    "k": lambda self, tree, depth: _CONSTANTS[self.text(tree)],
    "r": lambda self, tree, depth: range(*self.items(tree, depth)),
    "l": lambda self, tree, depth: slice(*self.items(tree, depth)),
    "p": lambda self, tree, depth: pathlib.PurePosixPath(self.text(tree)),
    "u": lambda self, tree, depth: uuid.UUID(self.text(tree)),
    "D": lambda self, tree, depth: decimal.Decimal(self.text(tree)),
    "F": lambda self, tree, depth: fractions.Fraction(*self.items(tree, depth)),
    "dt": lambda self, tree, depth: datetime.datetime.fromisoformat(self.text(tree)).replace(
        **self.zone(tree, depth)
    ),
    "da": lambda self, tree, depth: datetime.date.fromisoformat(self.text(tree)),
    "ti": lambda self, tree, depth: datetime.time.fromisoformat(self.text(tree)).replace(**self.zone(tree, depth)),
    "td": lambda self, tree, depth: datetime.timedelta(*tree["v"]),
    "tz": _timezone_of,
    "zi": _zone_info_of,
    "C": _Decoder.counter,
    "O": lambda self, tree, depth: collections.OrderedDict(self.pairs(tree, depth)),
    "e": _Decoder.enum,
    "dc": _Decoder.dataclass,
    "nt": _Decoder.named_tuple,
    "E": _Decoder.exception,
    "nd": _Decoder.array,
    "ns": _Decoder.scalar,
    "pi": _Decoder.index,
    "ps": _Decoder.series,
    "pf": _Decoder.frame,
}
