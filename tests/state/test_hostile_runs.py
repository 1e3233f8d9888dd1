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
from kit import examples
from pocketflow import Flow, Node

from pocketflow_tracing import add_metadata, flush, trace_flow
from pocketflow_tracing.delivery import delivery

WORK_SECONDS = 1.0
"""Of one visit on the processor; far above what it takes, whatever else the machine does."""

WAIT_SECONDS = 10.0
"""Of one visit on the clock; far below what a sleeping or a waiting dunder would cost."""

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


METHODS = (raising, waiting, sleeping, lying)
STRANGERS = (
    (object, ()),
    (list, ()),
    (dict, ()),
    (str, ("text",)),
    (int, (5,)),
    (bytes, (b"x",)),
    (tuple, ((1, 2),)),
    (set, ()),
)
BROKEN = "lone \ud800 and \udfff, \0 and \x1b[2J"
MAKERS = (
    lambda rnd: rnd.choice([None, True, 0, -1, 1 << 70, 7**5000, -(10**4400), 0.5, float("nan"), float("inf"), -0.0]),
    lambda rnd: "".join(
        chr(rnd.choice([rnd.randrange(0x11_0000), rnd.randrange(128)])) for _ in range(rnd.randrange(9))
    ),
    lambda rnd: rnd.choice([BROKEN, b"\xff\x00" * 500_000, "enormous " * 400_000, b"", "", bytearray(b"x" * 99)]),
    lambda rnd: list(range(200_000)),
    lambda rnd: {f"key {number}": [number] for number in range(5_000)},
    lambda rnd: deep(rnd.choice([15, 500])),
    lambda rnd: Cycle(),
    lambda rnd: (number for number in [1]),
    lambda rnd: rnd.choice([LOCK, print, Cycle, threading, {1, 2}.__iter__(), memoryview(b"x"), range(1 << 60)]),
    lambda rnd: stranger(rnd),
    lambda rnd: stranger(rnd),
    lambda rnd: [anything(rnd) for _ in range(rnd.randrange(3))],
    lambda rnd: tuple([anything(rnd) for _ in range(rnd.randrange(3))]),
    lambda rnd: {
        rnd.choice(["a", "b", BROKEN, 1, 1.5, None, (1, 2), b"k"]): anything(rnd) for _ in range(rnd.randrange(3))
    },
)


def stranger(rnd: Any) -> Any:
    base, args = rnd.choice(STRANGERS)
    return made(base, rnd.choice(METHODS), *args)


def anything(rnd: Any) -> Any:
    """A hostile value. It is made in the test: hypothesis shows its own values by repr, which some of these answer never."""
    return rnd.choice(MAKERS)(rnd)


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


@settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rnd=st.randoms(use_true_random=False),
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10),
)
def test_a_run_over_hostile_data(rnd, name):
    """What the nodes see, `shared` and the exception are the very same objects; the records are JSON; nothing takes long."""
    start, prep, result, metadata = (anything(rnd) for _ in range(4))
    error = rnd.choice([None, [anything(rnd) for _ in range(rnd.randrange(3))]])
    records = kit.use(kit.Records())
    seen: list[Any] = []
    shared = {"start": start}
    flow = trace_flow(flow_of(prep, result, error, metadata, name, seen))
    began, worked = time.monotonic(), time.thread_time()
    answer, failure = None, None
    try:
        answer = flow.run(shared)
    except Failure as raised:
        failure = raised
    if failure is not None:
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
    assert time.thread_time() - worked < WORK_SECONDS
    assert time.monotonic() - began < WAIT_SECONDS
    assert flush(timeout=WAIT_SECONDS)
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
