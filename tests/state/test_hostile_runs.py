"""Whole runs over hostile data: the result is untouched, every record is valid JSON, and capture stays within its time."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict
from typing import Any

import kit
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pocketflow import Flow, Node

from pocketflow_tracing import add_metadata, flush, trace_flow
from pocketflow_tracing.delivery import delivery

BUDGET_SECONDS = 1.0
"""Of one visit; far above what it takes, far below what a sleeping or a waiting dunder would cost."""

DUNDERS = (
    "__repr__", "__str__", "__eq__", "__hash__", "__len__", "__iter__", "__bool__", "__getattr__", "__getattribute__", "__contains__",
    "__getitem__", "__sizeof__", "__reduce__", "__reduce_ex__", "__format__", "__dir__", "__int__", "__float__", "__index__", "__call__",
    "__copy__", "__deepcopy__", "__lt__", "__next__", "__instancecheck__", "__length_hint__", "__array__", "__fspath__", "__bytes__",
)  # fmt: skip
LOCK = threading.Lock()
LOCK.acquire()  # never given back: whoever waits for it hangs


class RefusedError(BaseException):
    """No Exception, so that a tracer which runs the method breaks the run."""


def raising(self: Any, *args: Any) -> Any:
    raise RefusedError


def waiting(self: Any, *args: Any) -> Any:
    LOCK.acquire()


def sleeping(self: Any, *args: Any) -> Any:
    time.sleep(60)


def lying(self: Any, *args: Any) -> Any:
    return 1 << 60


def hostile(base: type, method: Any, skip: tuple[str, ...] = ()) -> Any:
    names = {name: method for name in DUNDERS if name not in {*skip, "__call__" if base is not object else ""}}
    if method is lying:
        names = {name: method for name in ("__len__", "__sizeof__", "__length_hint__", "__hash__", "__index__")}
    names["__class__"] = property(method)
    return type("Hostile", (base,), names)


def made(base: type, method: Any, *args: Any) -> Any:
    return base.__new__(hostile(base, method), *args)


class Cycle(dict):
    def __init__(self) -> None:
        super().__init__()
        self["self"] = self
        self["list"] = [self, [self]]


def deep(levels: int) -> Any:
    value: Any = []
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


class Mutating:
    """A dict that another thread changes all the time."""

    def __init__(self) -> None:
        self.value = {f"k{n}": [n] for n in range(100)}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.change, daemon=True)

    def change(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            self.value[f"n{number % 300}"] = [number]
            self.value.pop(f"n{(number * 7) % 300}", None)


methods = st.sampled_from([raising, waiting, sleeping, lying])
strangers = st.one_of(
    st.builds(lambda method: made(object, method), methods),
    st.builds(lambda method: made(list, method), methods),
    st.builds(lambda method: dict.__new__(hostile(dict, method)), methods),
    st.builds(lambda method: made(str, method, "text"), methods),
    st.builds(lambda method: made(int, method, 5), methods),
    st.builds(lambda method: made(bytes, method, b"x"), methods),
    st.builds(lambda method: made(tuple, method, (1, 2)), methods),
    st.builds(lambda method: made(set, method), methods),
)
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(7**5000),
    st.just(-(10**4400)),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(st.characters(), max_size=8),
    st.text(st.characters(categories=["Cs", "Cc", "Co", "Cn"]), max_size=8),
    st.binary(max_size=8),
    st.just(b"\xff\x00" * 500_000),
    st.just("enormous " * 400_000),
    st.builds(lambda: list(range(200_000))),
    st.builds(lambda: {f"key {n}": [n] for n in range(5_000)}),
    st.builds(lambda: deep(500)),
    st.builds(Cycle),
    st.builds(lambda: (n for n in [1])),
    st.builds(threading.Lock),
    strangers,
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(), max_size=5) | st.integers() | st.floats(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=6,
)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=10)


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Leave the first imports out of the times."""
    trace_flow(Flow(start=Node())).run({})


class Failure(Exception):
    """Raised by a node, with hostile arguments."""


def flow_of(prep: Any, result: Any, error: Any, metadata: Any, name: str, seen: list[Any]) -> Any:
    class Odd(Node):
        def prep(self, shared: Any) -> Any:
            shared["added"] = prep
            return prep

        def exec(self, prep_res: Any) -> Any:
            seen.append(prep_res)
            add_metadata(**{name: metadata})
            if error is not None:
                raise Failure(*error)
            return result

        def exec_fallback(self, prep_res: Any, exc: Any) -> Any:
            seen.append(exc)
            raise exc

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            seen.append(exec_res)
            shared["result"] = exec_res
            shared.pop("added")

    Odd.__name__ = Odd.__qualname__ = name
    return Flow(start=Odd())


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    start=values, prep=values, result=values, metadata=values, name=names, error=st.none() | st.lists(values, max_size=3)
)
def test_a_run_over_hostile_data(start, prep, result, metadata, name, error):
    """What the nodes see, `shared` and the exception are the very same objects; the records are JSON; nothing takes long."""
    records = kit.use(kit.Records())
    seen: list[Any] = []
    shared = {"start": start}
    flow = trace_flow(flow_of(prep, result, error, metadata, name, seen))
    began = time.monotonic()
    try:
        answer = flow.run(shared)
    except Failure as failure:
        assert error is not None
        assert all(one is other for one, other in zip(failure.args, error, strict=True))
        assert failure is seen[1]
        assert shared["added"] is prep
    else:
        assert error is None
        assert answer is None
        assert seen[1] is result
        assert shared["result"] is result
        assert ["start", "result"] == list(shared)
    assert seen[0] is prep
    assert shared["start"] is start
    took = time.monotonic() - began
    assert took < BUDGET_SECONDS, took
    began = time.monotonic()
    assert flush(timeout=20)
    assert time.monotonic() - began < 5
    expected = {"Flow", name, f"{name}.prep", f"{name}.exec"}
    assert len(records.by_id) >= len(expected) - (name == "Flow")
    for record in [*records.by_id.values(), *records.runs.values()]:
        encoded = json.dumps(asdict(record), allow_nan=False, ensure_ascii=False)
        encoded.encode()
        assert len(encoded) < 8_000_000
    delivery._sinks.remove(records)


def test_data_that_changes_while_it_is_read():
    """Another thread changes `shared` all the time: every visit is recorded, and nothing of ours raises."""
    records = kit.use(kit.Records())
    busy = Mutating()
    busy.thread.start()
    visits = iter(range(30))

    class Turn(Node):
        def prep(self, shared: Any) -> Any:
            return shared["busy"]

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            return "end" if next(visits) == 29 else "again"

    turn = Turn()
    turn - "again" >> turn
    turn - "end" >> Node()
    try:
        trace_flow(Flow(start=turn)).run({"busy": busy.value})
        trace_flow(Flow(start=Node())).run(busy.value)
    finally:
        busy.stop.set()
        busy.thread.join()
    spans = records.spans()
    assert 30 == sum(span.name == "Turn" for span in spans)
    assert "unreadable" not in json.dumps([asdict(span) for span in spans])


def test_class_names_and_metadata_of_any_text():
    """Surrogates in names, actions and metadata come out as text that can be encoded."""
    records = kit.use(kit.Records())
    bad = "name \ud800\udfff\ud800"

    class Odd(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            add_metadata(**{bad: bad})
            return bad

    odd = Odd()
    odd - bad >> Node()
    trace_flow(flow_name=bad, session_id=bad, tags=[bad], metadata={bad: bad})(Flow(start=odd)).run({bad: bad})
    for record in [*records.spans(), records.run()]:
        json.dumps(asdict(record), ensure_ascii=False).encode()
