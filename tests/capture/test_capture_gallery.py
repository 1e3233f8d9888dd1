"""Every kind of value, and what is recorded of it, literally."""

from __future__ import annotations

import array
import asyncio
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import logging
import pathlib
import subprocess
import sys
import threading
import types
import typing
import urllib.parse
import uuid
import zoneinfo
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import attrs
import httpx
import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pydantic
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pocketflow_tracing import capture_memory, capture_threads, with_context
from pocketflow_tracing._threads import start_thread
from pocketflow_tracing.capture import snapshot
from pocketflow_tracing.redaction import Rules
from pocketflow_tracing.render import render


def shown(value):
    return render(snapshot(value), Rules())


class Color(enum.Enum):
    RED = 1


class Level(str, enum.Enum):
    HIGH = "high"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Customer:
    id: int
    tags: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, frozen=True)
class Point:
    x: float
    y: float


@attrs.define
class Order:
    number: int
    customer: Customer


class Pair(typing.NamedTuple):
    left: int
    right: str


class Movie(typing.TypedDict):
    title: str


class Answer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    text: str
    key: pydantic.SecretStr
    _score: int = pydantic.PrivateAttr(3)


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Plain:
    """Its property must not run, its class attribute is not its own."""

    shared = "class attribute"

    def __init__(self):
        self.name = "x"
        self._private = [1]

    @property
    def lazy(self):
        raise AssertionError

    @classmethod
    def made(cls):
        return cls()


class Slotted:
    __slots__ = ("__hidden", "a", "unset")

    def __init__(self):
        self.a = 1
        self.__hidden = 2


class SlottedChild(Slotted):
    def __init__(self):
        super().__init__()
        self.b = 3


class LiesAboutDict:
    def __init__(self):
        self.real = 1


class Box(list):
    pass


class Named(str):
    __slots__ = ()


def function():
    yield


async def coroutine():
    return 1


async def async_generator():
    yield


MODULE = __name__
coroutine_object = coroutine()
coroutine_object.close()
U = uuid.UUID("12345678-1234-5678-1234-567812345678")
UTC = dt.timezone.utc

GALLERY = [
    # scalars and builtin containers are what they are
    (None, None), (True, True), (3, 3), (1.5, 1.5), ("text", "text"), ((1, (2,)), [1, [2]]), ({"a": [1, {}]}, {"a": [1, {}]}),
    (1 + 2j, {"__type__": "complex", "value": "(1+2j)"}),
    (b"abc\x00", {"__type__": "bytes", "size": 4, "preview": "abc\\x00"}),
    (bytearray(b"ab" * 100), {"__type__": "bytearray", "size": 200, "preview": "ab" * 32}),
    (memoryview(b"abc"), {"__type__": "memoryview", "size": 3, "format": "B", "preview": "abc"}),
    ({3, 1, 2}, {"__type__": "set", "items": [1, 2, 3]}),
    (frozenset({"b", "a", 1, None}), {"__type__": "frozenset", "items": ["a", "b", 1, None]}),
    (range(2, 10, 3), {"__type__": "range", "start": 2, "stop": 10, "step": 3}),
    (slice(1, None), {"__type__": "slice", "start": 1, "stop": None, "step": None}),
    (Box([1]), {"__type__": "Box", "items": [1]}),
    (Named("abc"), "abc"),
    # mappings
    ({1: "a", (1, "x"): "b", None: "c", Color.RED: "d", b"k": "e", 2.5: "f"},
     {"1": "a", "(1, 'x')": "b", "None": "c", "Color.RED": "d", "b'k'": "e", "2.5": "f"}),
    ({1: "int", "1": "str"}, {"1": "int", "1 (2)": "str"}),
    ({"a": 1, "b": 2}.keys(), {"__type__": "dict_keys", "items": ["a", "b"]}),
    ({"a": 1}.values(), {"__type__": "dict_values", "items": [1]}),
    ({"a": 1}.items(), {"__type__": "dict_items", "items": [["a", 1]]}),
    (types.MappingProxyType({"a": 1}), {"__type__": "mappingproxy", "a": 1}),
    (collections.defaultdict(list, {"a": [1]}), {"__type__": "defaultdict", "a": [1]}),
    (collections.Counter("aab"), {"__type__": "Counter", "a": 2, "b": 1}),
    (collections.ChainMap({"a": 1}, {2: 3}), {"__type__": "ChainMap", "maps": [{"a": 1}, {"2": 3}]}),
    (collections.UserDict(a=1), {"__type__": "UserDict", "data": {"a": 1}}),
    (collections.deque([1, 2], maxlen=5), {"__type__": "deque", "items": [1, 2], "maxlen": 5}),
    (Movie(title="M"), {"title": "M"}),
    # values of the standard library
    (Color.RED, {"__type__": "Color", "name": "RED", "value": 1}),
    (Level.HIGH, {"__type__": "Level", "name": "HIGH", "value": "high"}),
    (dt.datetime(2026, 11, 1, 12, 30, tzinfo=UTC), {"__type__": "datetime", "value": "2026-11-01T12:30:00+00:00"}),
    (dt.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")), {"__type__": "datetime", "value": "2026-07-01T00:00:00+02:00"}),
    (dt.date(2026, 11, 1), {"__type__": "date", "value": "2026-11-01"}),
    (dt.time(1, 2, 3), {"__type__": "time", "value": "01:02:03"}),
    (dt.timedelta(days=1, seconds=5), {"__type__": "timedelta", "value": "1 day, 0:00:05"}),
    (UTC, {"__type__": "timezone", "value": "UTC"}),
    (U, {"__type__": "UUID", "value": "12345678-1234-5678-1234-567812345678"}),
    (decimal.Decimal("1.10"), {"__type__": "Decimal", "value": "1.10"}),
    (fractions.Fraction(2, 6), {"__type__": "Fraction", "value": "1/3"}),
    (pathlib.PurePosixPath("/tmp/x"), {"__type__": "PurePosixPath", "value": "/tmp/x"}),
    (ValueError("boom"), {"__type__": "ValueError", "message": "boom"}),
    (KeyError("k"), {"__type__": "KeyError", "message": "'k'"}),
    (OSError(2, "gone", "f.txt"), {"__type__": "FileNotFoundError", "message": "[Errno 2] gone: 'f.txt'"}),
    (ipaddress.ip_address("10.0.0.1"), {"__type__": "IPv4Address", "value": "10.0.0.1"}),
    (urllib.parse.urlparse("http://u:p@h/x?token=t"), {"__type__": "ParseResult", "value": "http://u:[redacted]@h/x?token=[redacted]"}),
    (array.array("d", [1.0]), {"__type__": "array.array", "typecode": "d", "length": 1, "values": [1.0]}),
    # classes of users
    (Customer(1, ["a"]), {"__type__": "Customer", "id": 1, "tags": ["a"]}),
    (Point(1.0, 2.0), {"__type__": "Point", "x": 1.0, "y": 2.0}),
    (Order(7, Customer(1)), {"__type__": "Order", "number": 7, "customer": {"__type__": "Customer", "id": 1, "tags": []}}),
    (Pair(1, "b"), {"__type__": "Pair", "left": 1, "right": "b"}),
    (Answer(text="a", key="hidden", more=1), {"__type__": "Answer", "text": "a", "key": "[redacted]", "more": 1}),
    (Numbers([1, 2]), {"__type__": "Numbers", "root": [1, 2]}),
    (pydantic.HttpUrl("http://u:p@h/"), {"__type__": "HttpUrl", "value": "http://u:[redacted]@h/"}),
    (httpx.URL("http://u:p@h/?api_key=k"), {"__type__": "URL", "value": "http://u:[redacted]@h/?api_key=[redacted]"}),
    (httpx.Headers({"Accept": "a", "Authorization": "Bearer b"}), {"__type__": "Headers", "accept": "a", "authorization": "[redacted]"}),
    (Plain(), {"__type__": "Plain", "name": "x", "_private": [1]}),
    (Slotted(), {"__type__": "Slotted", "__hidden": 2, "a": 1}),
    (SlottedChild(), {"__type__": "SlottedChild", "b": 3, "__hidden": 2, "a": 1}),
    (types.SimpleNamespace(a=1), {"__type__": "SimpleNamespace", "a": 1}),
    (object(), {"__type__": "object"}),
    # what is code, or runs
    (function, {"__type__": "function", "name": f"{MODULE}.function"}),
    (len, {"__type__": "function", "name": "len"}),
    (Plain().__init__, {"__type__": "method", "name": f"{MODULE}.Plain.__init__", "self": "Plain"}),
    (functools.partial(len, [1]), {"__type__": "partial", "func": {"__type__": "function", "name": "len"}, "args": [[1]], "keywords": {}}),
    (Plain, {"__type__": "class", "name": f"{MODULE}.Plain"}),
    (Color, {"__type__": "class", "name": f"{MODULE}.Color"}),
    (int, {"__type__": "class", "name": "int"}),
    (collections, {"__type__": "module", "name": "collections"}),
    (function(), {"__type__": "generator", "name": "function"}),
    (coroutine_object, {"__type__": "coroutine", "name": "coroutine"}),
    (async_generator(), {"__type__": "async_generator", "name": "async_generator"}),
    (iter([1]), {"__type__": "list_iterator"}),
    (zip([1], [2], strict=False), {"__type__": "zip"}),
    (threading.Lock(), {"__type__": "lock", "locked": False}),
    (threading.RLock(), {"__type__": "RLock"}),
    (io.StringIO("x"), {"__type__": "StringIO", "position": 0, "closed": False}),
    (threading.Event(), {"__type__": "Event", "flag": False}),
    (threading.Semaphore(3), {"__type__": "Semaphore", "value": 3}),
    (threading.Thread(name="t", daemon=True), {"__type__": "Thread", "name": "t", "daemonic": True, "ident": None}),
    (logging.getLogger("a.b"), {"__type__": "Logger", "name": "a.b", "level": 0, "disabled": False}),
    (Plain.made, {"__type__": "method", "name": f"{MODULE}.Plain.made", "self": "Plain"}),
    (functools.lru_cache(coroutine), {"__type__": "lru_cache", "wraps": {"__type__": "function", "name": f"{MODULE}.coroutine"}}),
    # NumPy
    (np.arange(6).reshape(2, 3), {"__type__": "numpy.ndarray", "dtype": "int64", "shape": [2, 3], "min": 0, "max": 5, "values": [0, 1, 2, 3, 4, 5]}),
    (np.full((1000, 1536), 0.5, "float32"), {"__type__": "numpy.ndarray", "dtype": "float32", "shape": [1000, 1536], "first": [0.5] * 10}),
    (np.arange(6000).reshape(2000, 3), {"__type__": "numpy.ndarray", "dtype": "int64", "shape": [2000, 3], "first": list(range(10))}),
    (np.arange(1536) / 2, {"__type__": "numpy.ndarray", "dtype": "float64", "shape": [1536], "min": 0.0, "max": 767.5, "first": [n / 2 for n in range(10)]}),
    (np.array([1], "M8[ns]"), {"__type__": "numpy.ndarray", "dtype": "datetime64[ns]", "shape": [1], "min": "1970-01-01T00:00:00.000000001",
                               "max": "1970-01-01T00:00:00.000000001", "values": ["1970-01-01T00:00:00.000000001"]}),
    (np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]), {"__type__": "MaskedArray", "dtype": "int64", "shape": [3], "values": [1, "masked", 3]}),
    (np.array(5.0), {"__type__": "numpy.ndarray", "dtype": "float64", "shape": [], "min": 5.0, "max": 5.0, "values": [5.0]}),
    (np.array([]), {"__type__": "numpy.ndarray", "dtype": "float64", "shape": [0], "values": []}),
    (np.array([1.5], np.longdouble), {"__type__": "numpy.ndarray", "dtype": str(np.dtype(np.longdouble)), "shape": [1], **{key: {"__type__": "numpy.longdouble", "value": "1.5"} for key in ("min", "max")}, "values": [{"__type__": "numpy.longdouble", "value": "1.5"}]}),
    (np.array([1.0, np.nan]), {"__type__": "numpy.ndarray", "dtype": "float64", "shape": [2], "min": "NaN", "max": "NaN", "values": [1.0, "NaN"]}),
    (np.array([Customer(1)], dtype=object), {"__type__": "numpy.ndarray", "dtype": "object", "shape": [1], "values": [{"__type__": "Customer", "id": 1, "tags": []}]}),
    (np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), {"__type__": "numpy.ndarray", "dtype": "[('a', '<i4'), ('b', '<f8')]", "shape": [1], "values": [{"a": 1, "b": 2.0}]}),
    (np.float32(1.5), {"__type__": "numpy.float32", "value": 1.5}),
    (np.float64(1.5), {"__type__": "numpy.float64", "value": 1.5}),
    (np.longdouble(1.5), {"__type__": "numpy.longdouble", "value": "1.5"}),
    (np.datetime64("2026-11-01T00:00:00.123456789"), {"__type__": "numpy.datetime64", "value": "2026-11-01T00:00:00.123456789"}),
    ({np.int64(3): 1}, {"3": 1}),
    (np.dtype("float32"), {"__type__": "Float32DType", "value": "float32"}),
    (np.int8(3), {"__type__": "numpy.int8", "value": 3}),
    (np.bool_(True), {"__type__": f"numpy.{np.bool_.__name__}", "value": True}),
    # frames and series
    (pd.DataFrame({"a": [1, 2], "b": [1.5, None]}),
     {"__type__": "pandas.DataFrame", "shape": [2, 2], "columns": {"a": "int64", "b": "float64"}, "head": [{"a": 1, "b": 1.5}, {"a": 2, "b": "NaN"}]}),
    (pd.Series([1, 2, 3], name="s"), {"__type__": "pandas.Series", "name": "s", "dtype": "int64", "length": 3, "head": [1, 2, 3]}),
    (pd.Series({"x": 1, "y": 2}), {"__type__": "pandas.Series", "name": None, "dtype": "int64", "length": 2, "index": ["x", "y"], "head": [1, 2]}),
    (pd.DataFrame({"v": [1]}, index=pd.MultiIndex.from_tuples([("a", 1)])),
     {"__type__": "pandas.DataFrame", "shape": [1, 1], "columns": {"v": "int64"}, "index": [["a", 1]], "head": [{"v": 1}]}),
    (pd.DataFrame([[1, 2]], columns=["a", "a"]),
     {"__type__": "pandas.DataFrame", "shape": [1, 2], "columns": {"a": "int64", "a (1)": "int64"}, "head": [{"a": 1, "a (1)": 2}]}),
    (pd.Period("2026-11"), {"__type__": "pandas.Period", "value": "2026-11"}),
    (pd.Interval(0, 1), {"__type__": "pandas.Interval", "left": 0, "right": 1, "closed": "right"}),
    (pd.Categorical([1]), {"__type__": "pandas.Categorical", "length": 1, "categories": {"__type__": "pandas.Index", "dtype": "int64", "length": 1, "head": [1]}, "head": [1]}),
    (pd.Index([1, 2]), {"__type__": "pandas.Index", "dtype": "int64", "length": 2, "head": [1, 2]}),
    (pd.Timestamp("2026-11-01"), {"__type__": "Timestamp", "value": "2026-11-01T00:00:00"}),
    ([pd.NaT, pd.NA], ["NaT", "NA"]),
    (pl.DataFrame({"a": [1, 2], "b": ["x", None]}),
     {"__type__": "polars.DataFrame", "shape": [2, 2], "columns": {"a": "Int64", "b": "String"}, "head": [{"a": 1, "b": "x"}, {"a": 2, "b": None}]}),
    (pl.DataFrame({"l": [[1, 2]], "e": pl.Series(["a"], dtype=pl.Enum(["a"]))}),
     {"__type__": "polars.DataFrame", "shape": [1, 2], "columns": {"l": "List(Int64)", "e": "Enum of 1"}, "head": [{"l": [1, 2], "e": "a"}]}),
    (pl.Series("s", [1, 2]), {"__type__": "polars.Series", "name": "s", "dtype": "Int64", "length": 2, "head": [1, 2]}),
    (pl.DataFrame({"a": [1]}).lazy(), {"__type__": "polars.LazyFrame"}),
    # images and messages
    (PIL.Image.new("RGB", (640, 480)), {"__type__": "PIL.Image", "mode": "RGB", "size": [640, 480]}),
    (ChatCompletionMessage(role="assistant", content="hi", reasoning="because"),
     {"__type__": "ChatCompletionMessage", "content": "hi", "refusal": None, "role": "assistant", "annotations": None, "audio": None,
      "function_call": None, "tool_calls": None, "reasoning": "because"}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), GALLERY, ids=lambda v: type(v).__name__)
def test_each_kind_is_shown_as_a_developer_wants_to_read_it(value, expected):
    result = shown(value)
    assert result == expected
    if isinstance(expected, dict):
        assert next(iter(result)) == next(iter(expected))


def test_flags_are_shown_by_name_and_value():
    assert shown(Permission.READ) == {"__type__": "Permission", "name": "READ", "value": 1}
    assert shown(Permission.READ | Permission.WRITE)["value"] == 3


def test_an_ordered_dict_is_shown_in_its_own_order():
    value = collections.OrderedDict(a=1, b=2)
    value.move_to_end("a")
    assert list(shown(value)) == ["__type__", "b", "a"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with 3.11")
def test_a_group_of_exceptions_is_shown_with_its_members():
    """A group says what is in it."""
    group = ExceptionGroup("g", [ValueError("a"), KeyError("b")])  # noqa: F821
    assert shown(group) == {
        "__type__": "ExceptionGroup",
        "message": "g (2 sub-exceptions)",
        "exceptions": [{"__type__": "ValueError", "message": "a"}, {"__type__": "KeyError", "message": "'b'"}],
    }


def test_large_cells_of_polars_are_not_copied_whole():
    """A cell that is a list of a million numbers, or a long text, is shown by its head."""
    shown_lists = shown(pl.DataFrame({"l": [list(range(1_000_000))]}))["head"][0]["l"]
    assert (shown_lists["length"], shown_lists["head"]) == (1_000_000, [0, 1, 2, 3, 4])
    texts = shown(pl.Series("s", ["x" * 1_000_000, None]))["head"]
    assert texts == ["x" * 10_000 + " …", None]
    assert shown(pl.Series("b", [b"x" * 1_000_000]))["head"] == ["<Binary>"]


def test_a_file_is_shown_by_name_and_mode(tmp_path):
    path = tmp_path / "f.txt"
    with path.open("w") as text, path.open("rb") as binary:
        assert shown(text) == {"__type__": "TextIOWrapper", "name": str(path), "mode": "w", "closed": False}
        assert shown(binary) == {"__type__": "BufferedReader", "name": str(path), "mode": "rb", "closed": False}


def test_a_path_of_a_subclass_is_shown():
    class MyPath(type(pathlib.Path())):
        pass

    assert shown(MyPath("a", "b")) == {"__type__": "MyPath", "value": "a/b"}


def test_an_image_from_a_file_has_its_format(tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.new("L", (2, 3)).save(path)
    with PIL.Image.open(path) as image:
        assert shown(image) == {"__type__": "PngImageFile", "mode": "L", "size": [2, 3], "format": "PNG"} | {
            "__type__": "PIL.Image"
        }


def test_arrays_and_frames_of_subclasses_are_read_through_the_librarys_class():
    class Spying(np.ndarray):
        def __array_finalize__(self, obj):
            pass

        def __getitem__(self, item):
            raise AssertionError

        dtype = property(lambda self: 1 / 0)

    class Frame(pd.DataFrame):
        def __getattribute__(self, name):
            raise AssertionError

    made = pd.DataFrame({"a": [1]})
    frame = pd.DataFrame.__new__(Frame)
    object.__setattr__(frame, "_mgr", made._mgr)
    assert shown(np.ndarray.view(np.arange(2), Spying)) == {
        "__type__": "Spying", "dtype": "int64", "shape": [2], "min": 0, "max": 1, "values": [0, 1],
    }  # fmt: skip
    series = type("Column", (pd.Series,), {})([1], name="a")
    assert shown(series) == {"__type__": "Column", "name": "a", "dtype": "int64", "length": 1, "head": [1]}
    assert shown(frame) == {"__type__": "Frame", "shape": [1, 1], "columns": {"a": "int64"}, "head": [{"a": 1}]}


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells")
@pytest.mark.parametrize("shows_pages", [True, False])
def test_frames_of_arrow_and_polars_over_a_mapped_file_are_not_read(shows_pages, tmp_path, monkeypatch):
    """Their libraries do not say whose memory it is, but the system does; their own memory is read as ever."""
    pa, feather = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather")
    if not shows_pages:  # as in a sandbox
        monkeypatch.setattr(capture_memory.os, "open", Mock(side_effect=PermissionError))
    path = str(tmp_path / "numbers")
    table = pa.table({"n": list(range(100_000)), "s": ["text " * 10] * 100_000})
    feather.write_feather(table, path, compression="uncompressed")
    mapped = feather.read_table(path, memory_map=True)
    own = shown(table.to_pandas(types_mapper=pd.ArrowDtype))
    assert {"n": 0, "s": "text " * 10} == own["head"][0]
    assert [] == shown(mapped.to_pandas(types_mapper=pd.ArrowDtype))["head"]
    assert {"n": 0, "s": "text " * 10} == shown(pl.from_arrow(table))["head"][0]
    assert [] == shown(pl.from_arrow(mapped))["head"]
    assert [] == shown(pl.from_arrow(mapped)["n"])["head"]
    np.arange(10.0).tofile(path)
    series = pl.Series("a", np.memmap(path, dtype="f8", mode="r"))
    monkeypatch.delitem(sys.modules, "pyarrow")
    assert [] == shown(series)["head"]
    assert [0, 1, 2, 3, 4] == shown(pl.Series("a", np.arange(10.0)))["head"]
    assert [None, 1] == shown(pl.Series("a", [None, 1]))["head"]


def test_memory_that_something_else_may_take_away_is_not_read(tmp_path):
    """A file that is mapped or a block that processes share may be gone, and who reads it then is ended by the system."""
    path = tmp_path / "numbers"
    np.arange(10.0).tofile(path)
    mapped = np.memmap(path, dtype="f8", mode="r")
    plain = {"dtype": "float64", "memory": "mmap"}
    assert shown(mapped) == {"__type__": "memmap", **plain, "shape": [10]}
    assert shown(np.asarray(mapped)[2:].reshape(4, 2)) == {"__type__": "numpy.ndarray", **plain, "shape": [4, 2]}
    assert shown(memoryview(mapped)) == {"__type__": "memoryview", "size": 80, "format": "d", "memory": "memmap"}
    record = mapped.view([("a", "i4"), ("b", "f4")])[0]
    assert shown(record) == {"__type__": "numpy.void", "dtype": "[('a', '<i4'), ('b', '<f4')]", "memory": "mmap"}
    for series in (pd.Series(mapped, copy=False), pd.DataFrame({"a": mapped}, copy=False)["a"]):
        assert shown(series)["head"] == []
    in_index = shown(pd.Series(np.zeros(10), index=pd.Index(mapped, copy=False)))
    assert ("index" in in_index, in_index["head"]) == (False, [0.0] * 5)
    moments = pd.DatetimeIndex(np.memmap(path, dtype="M8[ns]", mode="r"), copy=False)
    assert shown(moments)["head"] == []
    block = bytearray(16)
    assert shown(np.ndarray((2,), "f8", buffer=block))["memory"] == "bytearray"  # which may move
    lent = np.frombuffer(block)
    assert shown(lent)["values"] == [0, 0]
    lent.base.release()
    assert shown(lent)["memory"] == "memoryview"
    assert shown(np.frombuffer(bytes(16)))["values"] == [0, 0]
    assert shown(pd.DataFrame(mapped.reshape(5, 2), copy=False))["head"] == []
    assert shown(pd.Series(mapped, copy=False)._mgr.blocks[0].values).get("first") in (None, [*range(10)])
    data = pd.arrays.IntegerArray(np.asarray(mapped).view("i8"), np.zeros(10, bool))
    assert shown(pd.Series(data, copy=False)) == {
        "__type__": "pandas.Series", "name": None, "dtype": "Int64", "length": 10, "head": [], "…": "values not read",
    }  # fmt: skip


@pytest.fixture
def beside():
    """Makes a thread that is there until the test is over."""
    over, threads = threading.Event(), []

    def start(wait=over.wait, cls=threading.Thread):
        thread = cls(target=wait, args=(20,), daemon=True)
        threads.append(thread)
        thread.start()

    start.over = over
    yield start
    over.set()
    for thread in threads:
        thread.join(20)


OBJECTS = np.array([1, "a"], dtype=object)
RECORDS = np.array([(1, ("a",))], dtype=[("n", "i4"), ("o", [("inner", "O")])])


def test_objects_that_another_thread_may_replace_are_not_read(beside):
    """NumPy lets go of the old object before the new one is there: for a moment the array holds one that is freed."""
    beside()
    unread = {"…": "values not read"}
    array = {"__type__": "numpy.ndarray", "dtype": "object", "shape": [2], **unread}
    assert shown(OBJECTS) == shown(OBJECTS[::-1]) == array
    masked = np.ma.MaskedArray(OBJECTS, [True, False])
    assert shown(masked) == {**array, "__type__": "MaskedArray"}
    assert shown(RECORDS) == {**array, "dtype": "record", "shape": [1]}
    assert shown(RECORDS[0]) == {"__type__": "numpy.void", "dtype": "record", **unread}
    series = pd.Series(OBJECTS, index=["x", "y"])
    assert shown(series) == {
        "__type__": "pandas.Series", "name": None, "dtype": "object", "length": 2, "index": ["x", "y"], "head": [], **unread,
    }  # fmt: skip
    assert shown(pd.array(["a", "b"], dtype=pd.StringDtype("python")).astype(object)) == array
    assert shown(pd.Series(["a"], dtype=pd.StringDtype("python")))["head"] == []
    assert shown(pd.DataFrame({"o": OBJECTS, "n": [1, 2]})) == {
        "__type__": "pandas.DataFrame", "shape": [2, 2], "columns": {"o": "object", "n": "int64"},
        "head": [{"n": 1}, {"n": 2}], **unread,
    }  # fmt: skip
    frame = pd.DataFrame({"o": OBJECTS})
    assert snapshot([OBJECTS, series, frame]) == snapshot([OBJECTS, series, frame])
    for value in (OBJECTS, series, frame):
        assert snapshot(value) != snapshot(value.copy())  # another one in its place is a change


def test_labels_are_read_beside_other_threads(beside):
    """Nothing replaces those of an index."""
    beside()
    levels = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", "y"])
    assert shown(pd.Index(OBJECTS))["head"] == [1, "a"]
    assert shown(levels)["head"] == [{"x": "a", "y": 1}, {"x": "b", "y": 2}]
    assert shown(pd.Categorical(["a", "b"]))["head"] == ["a", "b"]
    assert shown(pd.Series(pd.Categorical(["a", "b"])))["head"] == ["a", "b"]
    frame = shown(pd.DataFrame([[1.5], [2.5]], index=levels, columns=pd.Index(["c"], dtype=object)))
    assert (frame["index"], frame["head"]) == ([["a", 1], ["b", 2]], [{"c": 1.5}, {"c": 2.5}])
    assert shown(np.arange(2))["values"] == [0, 1]


@pytest.mark.parametrize("tool", ["langfuse", "ipykernel"])
def test_threads_that_are_not_the_hosts_keep_no_objects_from_being_read(tool, beside, monkeypatch):
    """Ours and those of the SDKs, of notebooks and debuggers run nothing of the host's; what the host hands to a function of ours is its own."""
    here = threading.get_ident()
    before = threading._active.keys() - {here}  # of other tests

    class Known:
        get_ident = threading.get_ident
        _active = property(
            lambda _: {ident: thread for ident, thread in threading._active.items() if ident not in before}
        )

    monkeypatch.setattr(capture_threads, "threading", Known())
    exporter = BatchSpanProcessor(InMemorySpanExporter())
    ours = start_thread(beside.over.wait, "pocketflow-tracing", 20)
    name = f"{tool}.uploads"
    module = types.ModuleType(name)
    module.Consumer = type("Consumer", (threading.Thread,), {"__module__": name})
    monkeypatch.setitem(sys.modules, name, module)
    beside(cls=module.Consumer)
    assert len(capture_threads.threading._active) == 4
    assert shown(OBJECTS)["values"] == [1, "a"]
    assert shown(RECORDS)["values"] == [{"n": 1, "o": {"inner": "a"}}]
    assert shown(RECORDS[0]) == {"__type__": "numpy.void", "n": 1, "o": {"inner": "a"}}
    assert shown(pd.DataFrame({"o": OBJECTS}))["head"] == [{"o": 1}, {"o": "a"}]
    assert shown(pd.Series(OBJECTS))["head"] == [1, "a"]
    beside(with_context(beside.over.wait))
    assert "values" not in shown(OBJECTS)
    beside.over.set()
    ours.join(20)
    exporter.shutdown()


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pl.Series([1_700_000_000_000_000_000]).cast(pl.Datetime("ms")), [1_700_000_000_000_000_000]),
        (pl.Series([None, 1_700_000_000], dtype=pl.Int32).cast(pl.Date), [None, 1_700_000_000]),
        (pl.Series([dt.date(1, 1, 3)]), [{"__type__": "date", "value": "0001-01-03"}]),
        (pl.Series([[2**62]]).cast(pl.List(pl.Datetime("ms"))), [[2**62]]),
        (pl.Series([[[dt.date(1, 1, 3)]]]), [[[{"__type__": "date", "value": "0001-01-03"}]]]),
        (pl.Series([2**62]).cast(pl.Duration("ms")), [2**62]),
        (
            pl.select(a=pl.lit(2**31 - 1, pl.Int32).cast(pl.Date), b=pl.lit("x")).to_struct(),
            [{"a": 2**31 - 1, "b": "x"}],
        ),
        (pl.select(a=pl.lit(2**62).cast(pl.Duration("ms"))).to_struct(), [{"a": 2**62}]),
    ],
)
def test_moments_that_python_has_no_date_for_do_not_make_polars_panic(series, expected, capfd):
    """They are shown as the numbers they are, in lists and structs too."""
    assert shown(series).get("head") == expected
    assert shown({"frame": series.to_frame("a"), "n": 1})["n"] == 1
    assert "panicked" not in capfd.readouterr().err


THREADS = """
import datetime as dt, os
import polars as pl
from pocketflow_tracing.capture import snapshot

moments = [dt.date(2020, 1, 1)], [dt.timedelta(1)]
columns = [
    pl.Series(["x" * 600_000, "short", None]),
    pl.Series([["x" * 600_000], ["short"]]),
    pl.Series([[1] * 100_000]),
    pl.Series([1_577_836_800_000_000, 2**62]).cast(pl.Datetime("us")),
    *[pl.Series(values) for values in moments],
    *[pl.Series([values]) for values in moments],
    *[pl.Series([{"a": values[0], "b": [{"c": values[0]}]}]) for values in moments],
    pl.Series([moments[0] * 2], dtype=pl.Array(pl.Date, 2)),
]
before = os.listdir("/proc/self/task")
for column in columns:
    for value in (column, column.to_frame("a")):
        assert "polars" in str(snapshot(value))
assert before == os.listdir("/proc/self/task"), "threads"
"""


@pytest.mark.skipif(not pathlib.Path("/proc/self/task").is_dir(), reason="Linux shows its threads")
@pytest.mark.parametrize("beside", ["", "numpy", "pyarrow"])
def test_no_thread_of_polars_is_started(beside, tmp_path):
    """They are not there in a forked child, where whoever uses Polars would wait for them for ever."""
    if beside:
        pytest.importorskip(beside)
    code = f"import {beside}\n{THREADS}" if beside else THREADS
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_long_texts_of_polars_are_shown_by_their_beginning():
    """Each text for itself; the longest by their type."""
    texts = pl.Series(["short", None, "x" * 600_000, "y" * 3_000_000])
    assert shown(texts)["head"] == ["short", None, "x" * 10_000 + " …", "<String>"]


def test_large_values_of_arrow_are_shown_by_their_type():
    """Each number of a list in an Arrow column becomes an object of Python's, which held an event loop for 0.2 s."""
    pa = pytest.importorskip("pyarrow")
    lists = pd.Series([list(range(100_000)), [1]] * 5, dtype=pd.ArrowDtype(pa.list_(pa.int64())))
    texts = pd.Series(["x" * 1_000_000] * 5, dtype=pd.ArrowDtype(pa.string()))
    assert shown(lists)["head"] == ["<list<item: int64>[pyarrow]>"] * 5
    assert shown(lists[1:2])["head"] == [[1]]
    assert shown(texts)["head"] == ["<string[pyarrow]>"] * 5
    assert shown(pd.Series([1], index=pd.Index(texts[:1])))["index"] == ["<string[pyarrow]>"]


def test_records_of_many_fields_are_counted():
    """Fields of fields too: to write thousands out takes milliseconds."""
    nested = np.zeros(3, dtype=[("a", [(f"f{place}", "i1") for place in range(100)])])
    assert shown(nested) == {"__type__": "numpy.ndarray", "dtype": "1 fields", "shape": [3]}


def test_a_strangers_extension_array_is_not_asked():
    """Its columns, series and labels show what it is, for its methods may do anything."""

    class Strange(pd.api.extensions.ExtensionDtype):
        name = "strange"
        type = object

    class Stranger(pd.api.extensions.ExtensionArray):
        dtype = property(lambda self: called.append("dtype") or Strange())
        nbytes = 8

        def __len__(self):
            called.append("len")
            return 2

        def __getitem__(self, item):
            called.append("item")
            return self if type(item) is slice else 1

        def copy(self):
            return self

        def isna(self):
            return np.zeros(2, bool)

    called = []
    values = [
        pd.DataFrame({"a": Stranger(), "b": [1, 2]}),
        pd.Series(Stranger()),
        pd.DataFrame([1, 2], index=Stranger()),
    ]
    called.clear()
    frame, series, labelled = map(shown, values)
    assert called == []
    assert frame["columns"] == {"a": "Stranger", "b": "int64"}
    assert frame["head"] == [{"b": 1}, {"b": 2}]
    assert (series["dtype"], series["head"]) == ("Stranger", [])
    assert labelled["head"] == [{"0": 1}, {"0": 2}]


def test_wide_and_long_frames_are_cut():
    wide = pd.DataFrame(np.zeros((1000, 80)), columns=[f"c{n}" for n in range(80)])
    for frame in (wide, pl.DataFrame(wide.to_dict("list"))):
        result = shown(frame)
        assert result["shape"] == [1000, 80]
        assert len(result["columns"]) == 51
        assert result["columns"]["…"] == "… 30 more items"
        assert len(result["head"]) == 5


def test_columns_of_a_frame_are_redacted_by_name():
    result = shown({"f": pd.DataFrame({"password": ["x"], "a": [1]}), "s": pd.Series(["x"], name="password")})
    assert result["f"]["head"] == [{"password": "[redacted]", "a": 1}]
    assert result["s"]["head"] == "[redacted]"


def test_openai_answers_are_shown_whole():
    message = {"role": "assistant", "content": "hi"}
    completion = ChatCompletion.model_validate(
        {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
         "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
    )  # fmt: skip
    result = shown(completion)
    assert result["__type__"] == "ChatCompletion"
    assert result["choices"][0]["message"]["content"] == "hi"
    assert result["usage"]["prompt_tokens"] == 1


def test_anthropic_messages_are_shown_whole():
    types_ = pytest.importorskip("anthropic.types")
    message = types_.Message.model_construct(
        id="1", role="assistant", content=[types_.TextBlock.model_construct(type="text", text="hi")], model="claude"
    )
    result = shown(message)
    assert (result["__type__"], result["content"][0]["text"]) == ("Message", "hi")


def test_torch_tensors_are_shown():
    torch = pytest.importorskip("torch")
    assert shown(torch.arange(6).reshape(2, 3)) == {
        "__type__": "torch.Tensor", "dtype": "int64", "shape": [2, 3], "device": "cpu", "min": 0, "max": 5, "values": [0, 1, 2, 3, 4, 5],
    }  # fmt: skip
    assert shown(torch.zeros(2000, 3)) == {
        "__type__": "torch.Tensor", "dtype": "float32", "shape": [2000, 3], "device": "cpu", "first": [0.0] * 10,
    }  # fmt: skip
    assert shown(torch.nn.Parameter(torch.ones(1)))["requires_grad"] is True
    assert shown(torch.zeros(2, device="meta")) == {
        "__type__": "torch.Tensor",
        "dtype": "float32",
        "shape": [2],
        "device": "meta",
    }
    assert shown(torch.tensor([True])) == {
        "__type__": "torch.Tensor",
        "dtype": "bool",
        "shape": [1],
        "device": "cpu",
        "values": [True],
    }
    assert shown(torch.eye(2).to_sparse())["shape"] == [2, 2]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pd.Timestamp("2020-01-01 00:00:00.123456789"), "2020-01-01T00:00:00.123456789"),
        (pd.Timestamp("2020-01-01 00:00:00.000000001", tz="UTC"), "2020-01-01T00:00:00.000000001+00:00"),
        (pd.Timestamp("2020-01-01 00:00:01"), "2020-01-01T00:00:01"),
        (pd.Timedelta(1), "0:00:00.000000001"),
        (pd.Timedelta(-1), "-1 day, 23:59:59.999999999"),
        (pd.Timedelta(days=1, microseconds=5), "1 day, 0:00:00.000005"),
    ],
)
def test_moments_of_pandas_have_their_nanoseconds(value, expected):
    result = shown([value, pd.Series([value]), pd.DataFrame({"a": [value]})])
    assert result[0] == {"__type__": type(value).__name__, "value": expected}
    assert result[1]["head"] == [result[0]]
    assert result[2]["head"] == [{"a": result[0]}]


MANY = {
    "frame": (lambda: pd.DataFrame({"a": [1, 2]}), {"__type__": "pandas.DataFrame", "shape": [2, 1]}),
    "series": (lambda: pd.Series([1]), {"__type__": "pandas.Series", "length": 1}),
    "labels": (lambda: pd.Index([1]), {"__type__": "pandas.Index", "length": 1}),
    "categorical": (lambda: pd.Categorical([1]), {"__type__": "pandas.Categorical", "length": 1}),
    "polars frame": (lambda: pl.DataFrame({"a": [1, 2]}), {"__type__": "polars.DataFrame", "shape": [2, 1]}),
    "polars series": (lambda: pl.Series([1]), {"__type__": "polars.Series", "length": 1}),
    "moments": (lambda: np.zeros(2, "M8[s]"), {"__type__": "numpy.ndarray", "dtype": "datetime64[s]", "shape": [2]}),
    "records": (lambda: np.zeros(2, "i1,i2"), {"__type__": "numpy.ndarray", "dtype": "record", "shape": [2]}),
    "tensor": (
        lambda: pytest.importorskip("torch").zeros(2),
        {"__type__": "torch.Tensor", "dtype": "float32", "shape": [2]},
    ),
}


@pytest.mark.parametrize(("make", "brief"), MANY.values(), ids=MANY)
def test_of_many_that_are_dear_to_read_the_first_are_read_closely(make, brief):
    """A frame costs what a hundred other elements do: a thousand of them in one picture would make an event loop stand."""
    items = shown([make() for _ in range(20)])
    assert items[0] == items[3] == shown(make())
    assert items[8:] == [{**brief, "…": "values not read"}] * 12


def test_a_service_objects_graph_is_not_followed_far():
    class Client:
        def __init__(self, depth):
            self.inner = Client(depth - 1) if depth else None

    text = str(shown({"client": Client(50)}))
    assert text.count("Client") == 4


def test_of_a_request_its_application_is_named_only():
    """It leads to each route of the program: a picture of it at every visit would make an event loop stand."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import Route

    class App(Starlette):
        pass

    routes = [Route(f"/{number}", lambda request: None) for number in range(50)]
    app = App(routes=routes)
    scope = {"type": "http", "path": "/7", "headers": [], "app": app, "router": app.router, "route": routes[7]}
    read = shown(Request(scope))["scope"]
    assert {"type": "http", "path": "/7", "headers": []} == {key: read[key] for key in ("type", "path", "headers")}
    assert [{"__type__": "App"}, {"__type__": "Router"}, {"__type__": "Route"}] == [
        read[key] for key in ("app", "router", "route")
    ]


def test_frames_and_tracebacks_show_where_they_are():
    """Not the variables there: before Python 3.11 those of the whole program stood in them."""
    try:
        raise ValueError("here")
    except ValueError as error:
        traceback = error.__traceback__
    where = {"function": "test_frames_and_tracebacks_show_where_they_are", "file": __file__}
    assert shown(traceback) == {"__type__": "traceback", **where, "line": traceback.tb_lineno}
    assert shown(traceback.tb_frame) == {"__type__": "frame", **where, "line": traceback.tb_frame.f_lineno}


def test_reading_imports_nothing():
    before = set(sys.modules)
    for value, _ in GALLERY:
        shown(value)
    assert set(sys.modules) == before


def test_importing_capture_loads_no_library():
    code = "import sys; sys.modules['pocketflow_tracing'] = m = type(sys)('pocketflow_tracing'); m.__path__ = ['pocketflow_tracing']; import pocketflow_tracing.render; print([n for n in ('numpy', 'pandas', 'polars', 'torch', 'PIL', 'pydantic', 'attrs', 'asyncio', 'decimal', 'sqlite3') if n in sys.modules])"
    root = pathlib.Path(__file__).parents[2]
    out = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"


def test_what_many_wait_in_does_not_lead_to_the_others():
    """A lock or queue that was waited for knows its loop, which knows what every request of the process waits for."""

    async def main():
        loop = asyncio.get_running_loop()
        timer = loop.call_later(60, print, "canary")
        queue, event, lock = asyncio.Queue(), asyncio.Event(), asyncio.Lock()
        await lock.acquire()
        waiting = [asyncio.create_task(wait()) for wait in (queue.get, event.wait, lock.acquire)]
        await asyncio.sleep(0)
        result = shown([queue, event, lock, loop, timer, asyncio.StreamReader()])
        timer.cancel()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return result

    result = asyncio.run(main())
    assert "canary" not in repr(result)
    assert ["Queue", "Event", "Lock", "_UnixSelectorEventLoop", "TimerHandle", "StreamReader"] == [
        item["__type__"] for item in result
    ]
    with ThreadPoolExecutor(1) as pool:
        standing = threading.Event()
        pool.submit(standing.wait, 10)
        pool.submit(print, "canary")
        assert {"__type__": "ThreadPoolExecutor"} == shown(pool)
        standing.set()


def test_async_objects_of_a_running_loop_are_shown():
    async def main():
        return shown([asyncio.get_running_loop().create_future(), asyncio.Lock()])

    result = asyncio.run(main())
    assert [item["__type__"] for item in result] == ["Future", "Lock"]
