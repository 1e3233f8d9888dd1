"""Capture of values that lie, raise, sleep, change or never end."""

from __future__ import annotations

import array
import base64
import collections
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import json
import logging
import pathlib
import queue
import subprocess
import sys
import textwrap
import threading
import time
import types
import urllib.parse
import uuid

import httpx
import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pydantic
import pytest
import wrapt

from pocketflow_tracing.capture import Capture, Limits, describe_exception, snapshot
from pocketflow_tracing.capture_kinds import key_text, shape_of
from pocketflow_tracing.redaction import Rules
from pocketflow_tracing.render import render
from pocketflow_tracing.render_errors import render_exception

RULES = Rules()
Color = enum.Enum("Color", "RED")
Point = collections.namedtuple("Point", "x")
ARMED: list[str] = []
CALLS: list[str] = []

DUNDERS = [
    "__repr__", "__str__", "__bytes__", "__format__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__",
    "__bool__", "__len__", "__length_hint__", "__getitem__", "__iter__", "__next__", "__reversed__", "__contains__",
    "__getattr__", "__getattribute__", "__dir__", "__call__", "__enter__", "__int__", "__float__", "__index__",
    "__complex__", "__round__", "__reduce__", "__reduce_ex__", "__getstate__", "__copy__", "__deepcopy__", "__sizeof__",
    "__missing__", "__fspath__", "__array__", "__array_interface__", "__array_finalize__", "__array_ufunc__", "__dataframe__",
    "__add__", "__mul__", "__neg__", "__abs__", "__set__", "__await__", "__aiter__", "__instancecheck__",
    "__subclasscheck__", "keys", "items", "values", "get", "copy", "isoformat", "utcoffset", "tolist", "item", "model_dump",
]  # fmt: skip


def recording(name: str):
    def method(self, *args, **kwargs):
        if ARMED:
            CALLS.append(name)
            raise RuntimeError(name)
        inherited = getattr(super(object.__getattribute__(self, "_hostile_class"), self), name)
        return inherited(*args, **kwargs)

    return method


class HostileMeta(type):
    """A metaclass that records every question about a class."""

    def __hash__(cls):
        if ARMED:
            CALLS.append("meta.__hash__")
        return type.__hash__(cls)

    def __eq__(cls, other):
        if ARMED:
            CALLS.append("meta.__eq__")
        return cls is other

    def __getattribute__(cls, name):
        if ARMED:
            CALLS.append(f"meta.{name}")
        return type.__getattribute__(cls, name)

    def __instancecheck__(cls, instance):
        CALLS.append("meta.__instancecheck__")
        return True


def hostile(base: type, metaclass: type | None = HostileMeta) -> type:
    def spy(name):
        def get(self):
            if ARMED:
                CALLS.append(name)
                raise RuntimeError(name)
            return None

        return property(get)

    inherited = set(dir(base))
    body = {name: recording(name) for name in DUNDERS if name in inherited or base is object}
    if base is not object:
        body = {
            name: method
            for name, method in body.items()
            if not name.startswith("__get") or name in {"__getitem__", "__getattribute__"}
        }
    body["__class__"] = spy("__class__")
    if metaclass is not None and type(base) is not type:
        metaclass = None
    made = (metaclass or type(base))("Hostile", (base,), body)
    if "_hostile_class" not in vars(made):
        type.__setattr__(made, "_hostile_class", made)
    return made


def instances():
    for base, args in [
        (object, ()), (dict, ({"a": 1},)), (list, ([1, 2],)), (tuple, ((1, 2),)), (set, ({1, 2},)), (frozenset, ({1, 2},)),
        (str, ("text",)), (int, (5,)), (float, (1.5,)), (complex, (1j,)), (bytes, (b"x",)), (bytearray, (b"x",)),
        (collections.deque, ([1],)), (collections.OrderedDict, ({"a": 1},)), (collections.defaultdict, (int, {"a": 1})),
        (collections.Counter, ("aab",)), (Exception, ("boom",)), (OSError, (1, "x")), (KeyError, ("k",)),
        (dt.datetime, (2026, 1, 2)), (dt.date, (2026, 1, 2)), (dt.time, (1, 2)), (dt.timedelta, (1,)),
        (decimal.Decimal, ("1.5",)), (uuid.UUID, (None, None, None, None, 7)), (types.SimpleNamespace, ()), (threading.Thread, ()),
        (fractions.Fraction, (1, 3)), (collections.UserDict, ({"a": 1},)), (pathlib.PurePosixPath, ("a/b",)),
        (types.ModuleType, ("m",)), (threading.Event, ()), (threading.Semaphore, (1,)), (threading.Condition, ()), (queue.Queue, ()),
        (logging.Logger, ("name",)), (array.array, ("d", [1.0])), (ipaddress.IPv4Address, ("10.0.0.1",)),
        (urllib.parse.ParseResult, tuple("abcdef")), (io.BytesIO, (b"x",)), (io.StringIO, ("x",)), (functools.partial, (len,)),
        (httpx.URL, ("http://host",)), (httpx.Headers, ({"a": "b"},)), (np.ndarray, ((2,),)), (np.ma.MaskedArray, ([1, 2],)),
        (np.float64, (1.5,)), (pd.Series, ([1],)), (pl.Series, ([1],)), (pl.DataFrame, ({"a": [1]},)), (PIL.Image.Image, ()),
        (pathlib.PureWindowsPath, ("a/b",)), (collections.UserList, ([1],)), (collections.ChainMap, ({"a": 1},)),
    ]:  # fmt: skip
        try:
            yield base, hostile(base)(*args)
        except TypeError:  # this class's own construction needs what is replaced
            yield base, hostile(base, None)(*args)


@pytest.fixture
def armed():
    """Record every call into a stranger's code while the test reads values."""
    made = list(instances())
    CALLS.clear()
    ARMED.append("on")
    yield made
    ARMED.clear()


def test_no_strangers_code_runs_when_a_value_is_read_compared_or_rendered(armed):
    """Subclasses of everything, with every dunder and the metaclass recording."""
    seen = {}
    for base, value in armed:
        for wrapped in (value, [value], {"k": value}, (1, value), {"a": {"b": [value]}}):
            first, second = snapshot(wrapped), snapshot(wrapped)
            assert first == second or repr(first) == repr(second)  # an array that nobody filled may hold NaN
            json.dumps(render(first, RULES), allow_nan=False)
        assert not CALLS, (base, CALLS)
        seen[base] = json.dumps(render(snapshot(value), RULES))
    ARMED.clear()
    assert not [base for base, shown in seen.items() if "unreadable" in shown]
    assert seen[dict] == '{"__type__": "Hostile", "a": 1}'
    assert seen[int] == "5"
    assert seen[dt.datetime] == '{"__type__": "Hostile", "value": "2026-01-02T00:00:00"}'


def test_no_strangers_code_runs_for_keys_of_mappings_and_elements_of_sets():
    class Key:
        def __hash__(self):
            if ARMED:
                CALLS.append("hash")
            return 7

        def __eq__(self, other):
            if ARMED:
                CALLS.append("eq")
            return self is other

    sparse = {Key(): n for n in range(50)}
    for key in list(sparse)[:45]:
        del sparse[key]
    ordered = collections.OrderedDict((Key(), n) for n in range(5))
    values = [
        sparse,
        ordered,
        set(sparse),
        sparse.keys(),
        ordered.keys(),
        types.MappingProxyType(sparse),
        collections.ChainMap(sparse),
    ]
    CALLS.clear()
    ARMED.append("on")
    try:
        for value in values:
            assert snapshot(value) == snapshot(value)
            json.dumps(render(snapshot(value), RULES))
    finally:
        ARMED.clear()
    assert CALLS == []


def test_an_exceptions_own_text_is_not_asked_for():
    """A Python `__str__`, arguments with a `__repr__`, and members that were assigned."""

    class Loud(Exception):
        def __str__(self):
            CALLS.append("str")
            return "loud"

    class Argument:
        def __repr__(self):
            CALLS.append("repr")
            return "argument"

        __str__ = __repr__

    CALLS.clear()
    os_error = OSError(2, "gone")
    os_error.filename = Argument()
    shown = [
        render_exception(describe_exception(e), RULES)["message"]
        for e in (Loud("text"), ValueError(Argument()), os_error)
    ]
    assert CALLS == []
    assert shown == ["text", '{"__type__": "Argument"}', '[2, "gone"]']


def test_what_a_lazy_proxy_stands_for_is_not_made():
    """The `__dict__` of wrapt's class in C asks what it stands for: a connection, a module, or a lock that is held here."""
    made: list[int] = []
    lazy = wrapt.LazyObjectProxy(lambda: made.append(1) or threading)
    shown = json.dumps(render(snapshot({"lazy": lazy, "in an object": types.SimpleNamespace(lazy=lazy)}), RULES))
    assert made == []
    assert "LazyObjectProxy" in shown
    assert lazy.Lock
    assert made == [1]


RAN: list[str] = []


class OwnPath(type(pathlib.Path())):  # type: ignore[misc]
    def __str__(self) -> str:
        RAN.append("path")
        return super().__str__()


class OwnAddress(ipaddress.IPv4Address):
    def __str__(self) -> str:
        RAN.append("address")
        return super().__str__()


class OwnUrl(httpx.URL):
    def __str__(self) -> str:
        RAN.append("URL")
        return super().__str__()


class OwnModelUrl(pydantic.AnyUrl):
    def __str__(self) -> str:
        RAN.append("URL of a model")
        return super().__str__()


class OwnNumber(np.float64):
    @property
    def nbytes(self) -> int:
        RAN.append("number")
        return 8


class OwnIndex(pd.Index):
    @property
    def shape(self) -> tuple[int, ...]:
        RAN.append("index")
        return (1,)


class OwnCallable:
    def __call__(self) -> None: ...

    def __len__(self) -> int:
        RAN.append("callable")
        return 0


def own_index():
    index = object.__new__(OwnIndex)
    vars(index).update(vars(pd.Index([1])))
    return index


def frame_with_own_index():
    frame = pd.DataFrame({"a": [1]})
    frame._mgr.axes[0] = own_index()
    return frame


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: OwnPath("/a/b"), {"__type__": "OwnPath", "value": "/a/b"}),
        (lambda: OwnAddress("1.2.3.4"), {"__type__": "OwnAddress", "value": 16909060}),
        (lambda: OwnUrl("https://a.b/c"), {"__type__": "OwnUrl"}),
        (lambda: OwnModelUrl("https://a.b/c"), {"__type__": "OwnModelUrl", "value": "https://a.b/c"}),
        (lambda: OwnNumber(1.5), {"__type__": "OwnNumber"}),
        (own_index, {"__type__": "OwnIndex"}),
        (frame_with_own_index, {"__type__": "pandas.DataFrame", "shape": [1, None]}),
        (lambda: functools.lru_cache(OwnCallable()), {"__type__": "lru_cache", "wraps": {"__type__": "OwnCallable"}}),
    ],
)
def test_the_code_of_subclasses_of_libraries_does_not_run(make, shown):
    """A class of the program's, of the highest level of its module too, may have methods of its own, with locks and downloads."""
    value = make()
    RAN.clear()
    assert shown.items() <= render(snapshot(value), RULES).items()
    assert RAN == []


def test_iterators_are_not_consumed():
    generator, iterator = (n for n in range(3)), iter([1, 2, 3])
    snapshot([generator, iterator, map(str, [1]), zip([1], [2], strict=False), enumerate("ab")])
    assert (list(generator), list(iterator)) == ([0, 1, 2], [1, 2, 3])


def test_cycles_are_marked():
    items: list = [1]
    items.append(items)
    mapping: dict = {"items": items}
    mapping["self"] = mapping

    class Node:
        pass

    node = Node()
    node.next = {"node": node}
    assert render(snapshot(items), RULES) == [1, "<cycle: list>"]
    assert render(snapshot(mapping), RULES) == {"items": [1, "<cycle: list>"], "self": "<cycle: dict>"}
    assert render(snapshot(node), RULES) == {"__type__": "Node", "next": {"node": "<cycle: Node>"}}


def test_an_error_among_values_is_read_within_the_budget():
    """Its arguments are part of the value, and may hold the error itself."""

    class Customer:
        def __init__(self):
            self.id = 3

    error = ValueError(Customer(), "text")
    assert render(snapshot({"error": error}), RULES) == {
        "error": {"__type__": "ValueError", "message": [{"__type__": "Customer", "id": 3}, "text"]}
    }
    error.args = (error,)
    assert render(snapshot(error), RULES) == {"__type__": "ValueError", "message": "<cycle: ValueError>"}
    assert "cycle" in render_exception(describe_exception(error), RULES)["message"]
    many = [ValueError(list(range(1000)), object()) for _ in range(100)]
    assert len(json.dumps(render(snapshot(many), RULES))) < 50_000


def test_long_keys_are_cut():
    """And say by how much."""
    shown = render(snapshot({"k" * 1_000_000: 1}), RULES)
    assert shown == {"k" * 200 + "… 999.8 kB more": 1}


def test_an_object_in_several_places_is_read_in_the_first_and_the_others_say_where_that_is():
    message = {"role": "user"}
    row = [0]
    assert render(snapshot({"history": [{}, message], "last": message}), RULES) == {
        "history": [{}, {"role": "user"}],
        "last": "<same dict as history[1]>",
    }
    assert render(snapshot([row] * 3), RULES) == [[0], "<same list as [0]>", "<same list as [0]>"]
    assert render(snapshot(dict.fromkeys("ab", row)), RULES) == {"a": [0], "b": "<same list as a>"}
    assert render(snapshot({1: [row, row]}), RULES) == {"1": [[0], "<same list as [1][0]>"]}
    assert render(snapshot({3: row, ("a", 1): row, None: row}), RULES) == {
        "3": [0],
        "('a', 1)": "<same list as [3]>",
        "None": "<same list as [3]>",
    }
    many = [[index] for index in range(300)]
    many[-1] = many[-2]
    assert render(snapshot(many), RULES)[-2:] == [[298], "<same list as [298]>"]


@pytest.mark.parametrize(
    "make", [dict, list, set, collections.deque, lambda: np.zeros(2), lambda: types.SimpleNamespace(a=1)]
)
def test_of_what_can_change_a_second_sight_is_marked(make):
    one, other = make(), make()
    shown = render(snapshot([one, one, other]), RULES)
    assert shown[1].startswith("<same ")
    assert shown[2] == shown[0]


@pytest.mark.parametrize(
    "value",
    [(1, 2), frozenset({1}), Color.RED, dt.date(2026, 1, 1), np.float64(3), slice(1), Point(1), object(), int],
)  # fmt: skip
def test_what_cannot_change_is_shown_wherever_it_stands(value):
    """Python may well use one object for two equal values, which says nothing of the program."""
    shown = render(snapshot([value, value]), RULES)
    assert shown[1] == shown[0]


def test_a_list_in_a_tuple_in_two_places_is_marked_in_the_second():
    pair = (1, [2])
    assert render(snapshot([pair, pair]), RULES) == [[1, [2]], [1, "<same list as [0][1]>"]]


def test_objects_count_as_what_it_takes_to_read_them():
    """A thousand dates within a budget for a thousand numbers would take five times as long."""
    dates = [[dt.date(2026, 1, day % 28 + 1) for day in range(100)] for _ in range(20)]
    shown = render(snapshot(dates, Limits(max_elements=1000)), RULES)
    read = [date for row in shown if isinstance(row, list) for date in row if isinstance(date, dict)]
    assert 100 < len(read) <= 200
    assert shown[2] == "… list of 100 items"
    assert "… date" in shown[1]


def test_a_second_sight_costs_one_element_and_no_time():
    """Twelve levels of a hundred references are 10**24 places, and thirteen lists."""
    value: list = []
    for _ in range(12):
        value = [value] * 100
    shown = snapshot(value)
    assert shown == snapshot(value)
    assert len(json.dumps(render(shown, RULES))) < 100_000


def test_what_was_read_of_an_object_that_cannot_be_shown_is_read_where_it_stands_next(monkeypatch):
    inner = [1]

    class Unreadable:
        pass

    def read(_value, _shape, walk, depth):
        walk.fields({"inner": inner}, inner, "Unreadable", depth)
        raise ValueError

    monkeypatch.setattr(shape_of(Unreadable), "read", read)
    unreadable = {"__type__": shape_of(Unreadable).name, "unreadable": "ValueError"}
    assert render(snapshot([Unreadable(), inner, inner]), RULES) == [unreadable, [1], "<same list as [1]>"]


def test_what_stands_under_a_secret_name_is_read_where_it_stands_next():
    """A mark that leads to where nothing is shown would say nothing."""
    login = {"user": "me", "key": "sk-live-0123456789abcdef0123"}
    capture = Capture(is_secret=RULES.redact.hits)
    shown = render(capture.snapshot({"password": [login], "account": login, "again": login}), RULES)
    assert shown == {
        "password": "[redacted]",
        "account": {"user": "me", "key": "[redacted]"},
        "again": "<same dict as account>",
    }


def test_what_was_read_near_the_last_level_is_read_again_further_up():
    config = {"rows": [[1, 2], [3]]}
    deep: dict = {"config": config}
    for _ in range(9):
        deep = {"below": deep}
    shown = render(snapshot({"deep": deep, "top": config, "more": config}), RULES)
    assert shown["top"] == config
    assert shown["more"] == "<same dict as top>"


def test_depth_ends_with_a_mark():
    value: list = []
    for _ in range(100_000):
        value = [value]
    shown = render(snapshot(value, Limits(max_depth=3)), RULES)
    assert shown == [[["… list of 1 item"]]]
    while value:  # take it apart, or its end would recurse
        value = value.pop()


def test_the_head_and_the_tail_of_long_containers_are_kept():
    limits = Limits(max_items=4)
    assert render(snapshot(list(range(50_000)), limits), RULES) == [0, 1, "… 49,996 more items", 49_998, 49_999]
    assert render(snapshot(dict.fromkeys("abcdef", 1), limits), RULES) == {
        "a": 1,
        "b": 1,
        "…": "… 2 more items",
        "e": 1,
        "f": 1,
    }
    assert render(snapshot(collections.deque(range(9)), limits), RULES)["items"] == [0, 1, "… 5 more items", 7, 8]
    assert render(snapshot({n: n for n in range(9)}, limits), RULES) == {
        "0": 0,
        "1": 1,
        "…": "… 5 more items",
        "7": 7,
        "8": 8,
    }
    assert render(snapshot(dict.fromkeys(range(9)).keys(), limits), RULES)["items"] == [0, 1, "… 5 more items", 7, 8]
    assert render(snapshot(set(range(9)), limits), RULES)["items"][-1] == "… 5 more items"


def test_one_budget_counts_for_the_whole_value():
    shown = snapshot([[0] * 10 for _ in range(10)], Limits(max_elements=25))
    assert render(shown, RULES) == [
        [0] * 10, [0, "… 8 more items", 0], [0, "… 9 more items"], [0, "… 9 more items"], [0, "… 9 more items"], *["… list of 10 items"] * 5,
    ]  # fmt: skip


def test_a_lie_about_the_length_changes_nothing():
    class Liar(list):
        def __len__(self):
            return 10**9

    assert render(snapshot(Liar([1, 2])), RULES) == {"__type__": "Liar", "items": [1, 2]}


def test_the_cost_of_a_huge_container_does_not_grow_with_it():
    def cost(value):
        best = 1.0
        for _ in range(30):
            begin = time.thread_time()  # not what other processes take meanwhile
            snapshot(value)
            best = min(best, time.thread_time() - begin)
        return best

    small, huge = [{"id": n} for n in range(200)], [{"id": n} for n in range(200_000)]
    assert cost(huge) < 3 * cost(small)
    assert cost({n: n for n in range(200_000)}) < 5 * cost({n: n for n in range(200)})
    assert cost(set(range(200_000))) < 5 * cost(set(range(200)))
    for make in (
        collections.deque,
        lambda numbers: dict.fromkeys(numbers).values(),
        lambda numbers: collections.Counter(numbers),
        lambda numbers: ValueError(*numbers),
        lambda numbers: type("Row", (tuple,), {"_fields": tuple(f"f{n}" for n in numbers)})(numbers),
        np.array,
        lambda numbers: np.ma.masked_array(numbers, mask=False),
        lambda numbers: pd.DataFrame({"a": numbers, "b": "text"}, index=numbers),
        lambda numbers: pl.DataFrame({"a": numbers}),
        lambda numbers: pl.DataFrame({"a": [list(numbers)]}),
        lambda numbers: array.array("q", numbers),
    ):
        assert cost(make(range(200_000))) < 4 * cost(make(range(2_000))) + 0.0001


def test_values_that_other_threads_change_while_they_are_read():
    """Each container is read as it was at one moment, and none is given up."""
    holder = types.SimpleNamespace()
    shared: dict = {
        "list": [], "dict": {}, "set": set(), "deque": collections.deque(maxlen=200), "default": collections.defaultdict(list),
        "holder": holder, "mixed": {}, "frame": pd.DataFrame({"a": [1]}),
    }  # fmt: skip
    shared["view"] = shared["dict"].values()
    stop = threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            come, gone = f"k{n % 260}", f"k{(n * 7) % 260}"
            shared["list"].append(n)
            shared["deque"].append(n)
            shared["set"].add(n % 50)
            shared["set"].discard((n * 3) % 50)
            shared["default"][come].append(n)
            shared["frame"][f"c{n % 70}"] = n
            for changing in (shared["dict"], shared["default"], holder.__dict__, shared["mixed"]):
                changing[come] = n
                changing.pop(gone, None)
            shared["mixed"][n % 20] = n
            shared["mixed"].pop(n % 11, None)
            if n % 500 == 0:
                shared["list"].clear()
                shared["dict"].clear()
                shared["frame"] = pd.DataFrame({"a": [1]})

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(500):
            text = json.dumps(render(snapshot({**shared, "frame": None}), RULES), allow_nan=False)
            assert "unreadable" not in text
            json.dumps(render(snapshot(shared["frame"]), RULES), allow_nan=False)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


OBJECTS_THAT_GO = """
import threading, weakref
import numpy as np, pandas as pd
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

class Handle:
    pass

going, seen = threading.Event(), threading.Event()

def go():
    going.set()
    seen.wait(20)

array = np.array([None], dtype=object)
series = pd.Series([None], dtype=object)
flow = trace_flow(Flow(start=Node()))
for slots in (array, series.array):
    going.clear(), seen.clear()
    slots[0] = handle = Handle()
    weakref.finalize(handle, go)
    del handle
    thread = threading.Thread(target=slots.__setitem__, args=(0, None))
    thread.start()
    assert going.wait(20)
    for _ in range(3):
        flow.run({"array": array, "series": series, "frame": series.to_frame()})
    seen.set()
    thread.join(20)
assert flush(20)
"""


def test_an_object_that_goes_in_another_thread_is_not_taken_out_of_its_array(store_path):
    """It is freed, but still in its place, while what it leaves behind is closed; to count it up ends the process."""
    done = subprocess.run(
        [sys.executable, "-c", OBJECTS_THAT_GO], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_frame_in_the_middle_of_a_change_is_read():
    """Another thread has put a column into the blocks that does not stand among the labels yet."""
    frame = pd.DataFrame({"a": [1], "b": ["x"], "c": [2.0]})
    changing = pd.DataFrame({"a": [1]})
    changing._mgr.blocks = frame._mgr.blocks
    assert render(snapshot(changing), RULES) == {
        "__type__": "pandas.DataFrame",
        "shape": [1, 1],
        "columns": {"a": "int64"},
        "head": [{"a": 1}],
    }


def test_later_changes_do_not_reach_a_snapshot():
    value = {"a": [1, {"b": {2}}], "o": types.SimpleNamespace(x=[1]), "buffer": bytearray(b"ab")}
    taken = snapshot(value)
    before = json.dumps(render(taken, RULES))
    value["a"][1]["b"].add(3)
    value["a"].append(4)
    value["o"].x.append(2)
    value["buffer"][0] = 0
    assert json.dumps(render(taken, RULES)) == before
    assert snapshot(value) != taken


def test_numbers_and_texts_that_json_cannot_hold():
    assert render(snapshot([float("nan"), float("inf"), -float("inf")]), RULES) == ["NaN", "Infinity", "-Infinity"]
    assert render(snapshot(2**60), RULES) == 2**60
    assert render(snapshot(10**50_000), RULES) == {"__type__": "int", "digits": 50_001}
    assert render(snapshot({10**50_000: 1}), RULES) == {'{"__type__": "int", "digits": 50001}': 1}
    shown = render(snapshot({"\ud800": "a\udfffb", "pair": "\ud83d\ude00"}), RULES)
    assert shown == {"\ufffd": "a\ufffdb", "pair": "😀"}
    json.dumps(shown, ensure_ascii=False).encode()


def test_the_least_limit_for_digits_is_respected(monkeypatch):
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        for value in (
            10**700,
            fractions.Fraction(10**700, 3),
            decimal.Decimal("1e5"),
            decimal.Decimal("9" * 9000),
            {10**700: 1},
        ):
            json.dumps(render(snapshot(value), RULES))
        json.dumps(render_exception(describe_exception(ValueError(10**700)), RULES))
    finally:
        sys.set_int_max_str_digits(limit)


def test_long_texts_keep_their_beginning_and_their_end():
    text = "<" + "x" * 2_000_000 + ">"
    shown = render(snapshot(text), RULES)
    assert shown.startswith("<xxx")
    assert shown.endswith("xxx>")
    assert " … 1.9 MB more … " in shown
    assert len(shown) < 66_000


@pytest.mark.parametrize("text", ["<" + "x" * 2_000_000 + ">", "é" * 300_000, b"<" + b"x" * 2_000_000 + b">"])
def test_of_a_long_text_only_the_ends_are_kept_until_it_is_shown(text):
    """Whole ones that wait for the worker would fill the memory; what is shown is the same."""
    for value in (text, [text], {"a": text}, (1, {"b": [text]})):
        kept = snapshot(value)
        assert len(repr(kept)) < 200_000
        assert snapshot(value) == kept
        shown = json.dumps(render(kept, RULES))
        assert json.dumps(render(text, RULES))[1:-1] in shown


@pytest.mark.parametrize("size", [81, 400, 4095, 4096, 5000])
def test_a_text_that_is_long_by_a_small_limit(size):
    limits = Limits(max_text=20)
    for text in ("x" * size, b"x" * size):
        shown = render(snapshot([1, text], limits), Rules(limits=limits))
        assert shown[0] == 1
        assert shown[1] == render(text, Rules(limits=limits))


def test_of_many_long_texts_less_is_kept_once_their_budget_is_used_up():
    texts = [f"{number} " + "x" * 300_000 for number in range(90)]
    kept = snapshot(texts)
    assert len(repr(kept)) < 5_000_000
    shown = render(kept, RULES)
    assert [text.split()[0] for text in shown] == [str(number) for number in range(90)]
    assert sum(map(len, shown)) < 1_100_000


def test_a_long_medium_is_known_by_its_beginning_and_kept_where_it_is_sent():
    png = b"\x89PNG\r\n\x1a\n" + bytes(1_000_000)
    uri = "data:image/png;base64," + base64.b64encode(png).decode()
    for value in (png, uri):
        assert render(snapshot(value), RULES) == {"__type__": "image", "mime": "image/png", "size": 1_000_008}
        assert len(repr(snapshot(value))) < 200_000 if isinstance(value, str) else snapshot(value) != value
        assert snapshot(value, Limits(max_medium=2_000_000)) is value


def test_a_prompt_of_30_kb_is_whole():
    prompt = "Read this. " * 3000
    assert render(snapshot({"prompt": prompt}), RULES) == {"prompt": prompt}


def test_the_texts_of_one_value_have_a_budget_together():
    shown = render(snapshot([str(n) * 50_000 for n in range(10)] * 10), RULES)
    assert sum(map(len, shown)) < 1_100_000


def test_sleeping_and_locking_objects_do_not_hold_up():
    class Slow:
        def __getattribute__(self, name):
            time.sleep(10)

        __repr__ = __len__ = __iter__ = __eq__ = __getattribute__
        __hash__ = object.__hash__

    lock = threading.Lock()
    lock.acquire()
    begin = time.monotonic()
    assert render(snapshot([Slow(), lock]), RULES) == [{"__type__": "Slow"}, {"__type__": "lock", "locked": True}]
    assert time.monotonic() - begin < 1


def test_a_serializer_that_fails_costs_its_own_value_only():
    class Customer:
        pass

    class Vip(Customer):
        pass

    takes = Capture(serializers={Customer: lambda c: {"id": 3}})
    fails = Capture(serializers={Customer: lambda c: 1 / 0})
    loops = Capture(serializers={Customer: lambda c: c})
    assert render(takes.snapshot([Customer(), Vip(), 1]), RULES) == [{"id": 3}, {"id": 3}, 1]
    assert render(fails.snapshot([Customer(), 1]), RULES) == ["<serializer failed: ZeroDivisionError>", 1]
    assert render(loops.snapshot(Customer()), RULES) == "<cycle: Customer>"


def test_a_caller_deep_in_recursion_is_not_hurt():
    """Without stack left, the picture is a note, not a RecursionError."""

    def down(depth):
        try:
            return down(depth + 1)
        except RecursionError:
            return snapshot({"a": {"b": {"c": [{}, {"d": object()}]}}})

    down(0)


def test_classes_are_forgotten_with_their_last_reference():
    import gc

    from pocketflow_tracing import capture_kinds

    gc.collect()
    before = len(capture_kinds._SHAPES)
    for _ in range(500):
        snapshot(type("Passing", (), {})())
    gc.collect()
    snapshot(type("Next", (), {})())
    assert len(capture_kinds._SHAPES) <= before + 5


def test_names_of_classes_may_be_hostile_too():
    class Name(str):  # noqa: SLOT000 - like a user's class
        def __format__(self, spec):
            raise RuntimeError

        __str__ = __repr__ = __format__

    made = type(Name("Odd"), (), {"__module__": 7})
    assert render(snapshot([made, made(), type("x" * 100_000, (), {})()]), RULES)[1] == {"__type__": "Odd"}


def test_a_class_that_only_calls_itself_a_library_class_is_read_as_an_object():
    fake = type("ndarray", (), {"__module__": "numpy", "dtype": property(lambda self: 1 / 0)})
    assert render(snapshot(fake()), RULES) == {"__type__": "ndarray"}


def test_keys_are_written_with_a_bound():
    """A tuple of tuples that refer to one, a long text or bytes as a key: what is written of it is short, and soon made."""
    key: tuple = (1,)
    for _ in range(30):
        key = (key, key)
    for part in (key, b"k" * 1_000_000, ("k" * 1_000_000,)):
        assert len(key_text(part)) < 1000
    assert key_text(("a", (1, 2))) == "('a', (1, 2))"


def test_a_secret_in_a_long_key_shows_in_no_path():
    key = "k" * 190 + " postgres://bob:HUNTER2HUNTER2@host/db"
    row = [1]
    shown = render(snapshot({key: row, "again": row}), RULES)
    assert "HUNTER2" not in json.dumps(shown)


def test_a_set_or_dict_that_was_emptied_is_not_looked_through():
    """Its table does not shrink: to find the few entries that are left would take milliseconds at every visit."""
    popped = set(range(100_000))
    emptied = dict.fromkeys(map(str, range(100_000)))
    while len(popped) > 3:
        popped.pop()
        del emptied[next(reversed(emptied))]
    assert ["… set of 3 items", "… dict of 3 items", {"a": 1}] == render(snapshot([popped, emptied, {"a": 1}]), Rules())


@pytest.mark.parametrize("shape", [(800,), (200, 4)])
def test_an_array_that_another_thread_resizes_in_its_place_is_read_without_harm(shape, tmp_path):
    """Its memory goes while it is looked at: that ends a process, so this is one of its own."""
    code = textwrap.dedent(f"""
        import threading, time
        import numpy as np
        from pocketflow_tracing.capture import snapshot
        array = np.zeros({shape})
        stop = threading.Event()
        def resize():
            size = {shape[0]}
            while not stop.is_set():
                size = {shape[0]} if size > {shape[0]} else 3_000_000
                array.resize((size, *{shape[1:]}), refcheck=False)
                time.sleep(0)
        threading.Thread(target=resize).start()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            snapshot({{"audio": array}})
        stop.set()
    """)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert 0 == done.returncode, done.stderr
