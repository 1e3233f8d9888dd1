"""Helpers of the tests: sinks that keep or fail, exact clock and ids, flows built for sync and async alike."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

import pocketflow
from pocketflow import (
    AsyncBatchFlow,
    AsyncBatchNode,
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchFlow,
    AsyncParallelBatchNode,
    BatchFlow,
    BatchNode,
    Flow,
    Node,
)

from pocketflow_tracing import TracingConfig, _marks, _pipeline, instrument, trace_flow, uninstrument
from pocketflow_tracing._ids import source
from pocketflow_tracing._queue import SpanQueue
from pocketflow_tracing.delivery import delivery
from pocketflow_tracing.records import RunRecord, SpanRecord

__all__ = ["Exact", "Raising", "Records", "World", "full", "observe", "pipeline", "source", "use"]


# --- sinks ----------------------------------------------------------------------------------------------------------


class Records:
    """Keeps what it is given, the last word on each span and run."""

    def __init__(self) -> None:
        self.runs: dict[str, RunRecord] = {}
        self.by_id: dict[str, SpanRecord] = {}
        self.done: dict[str, int] = {}

    def describe(self) -> str:
        return "a list"

    def start(self) -> None:
        pass

    def watch(self) -> None:
        pass

    def expect(self) -> None:
        pass

    def await_making(self) -> None:
        pass

    def add_dropped(self, spans: int) -> None:
        raise AssertionError(f"{spans} spans were dropped")

    def accept(self, runs: list[RunRecord], spans: list[SpanRecord], done: list[SpanRecord]) -> None:
        self.runs.update((run.run_id, run) for run in runs)
        for span in spans:
            self.by_id[span.span_id] = span
        for span in done:
            self.done[span.span_id] = self.done.get(span.span_id, 0) + 1

    def tick(self) -> float | None:
        return None

    lost = in_memory = 0

    def hand_on(self, deadline: float) -> bool:
        return True

    def flush(self, deadline: float) -> bool:
        return True

    def close(self, deadline: float, answers_by: float) -> bool:
        return True

    def abandon(self) -> None:
        self.__init__()

    # --- reading

    def clear(self) -> None:
        self.flushed()
        self.__init__()

    def flushed(self) -> Records:
        """Wait for the worker."""
        assert delivery.flush(timeout=20)
        return self

    def spans(self, name: str | None = None, *, kind: str | None = None) -> list[SpanRecord]:
        """The spans, in the order in which they began."""
        self.flushed()
        spans = [
            span for span in self.by_id.values() if name in {None, span.name} and (kind is None or span.kind == kind)
        ]
        return sorted(spans, key=lambda span: (span.start_ns, int(span.span_id, 16)))

    def span(self, name: str) -> SpanRecord:
        """The one span of this name."""
        (span,) = self.spans(name)
        return span

    def run(self) -> RunRecord:
        """The one run."""
        self.flushed()
        (run,) = self.runs.values()
        return run

    def tree(self, *names: str, show: Callable[[SpanRecord], Any] | None = None) -> Any:
        """The spans as nested literals.

        Each is (name, what `show` says, [children]); a leaf has no list. Without `show` the middle is the status, followed
        by the attributes named.

        Returns:
            The one tree, or a list of them when there are several roots.
        """
        spans = self.spans()
        known = {span.span_id for span in spans}

        def plain(span: SpanRecord) -> Any:
            below = [plain(child) for child in spans if child.parent_id == span.span_id]
            facts = {name: span.attributes[name] for name in names if name in span.attributes}
            own = (span.name, *([show(span)] if show else [span.status, *([facts] if names else [])]))
            return (*own, below) if below else own

        roots = [plain(span) for span in spans if span.parent_id not in known]
        return roots[0] if len(roots) == 1 else roots

    def check(self, *, sync: bool = True, times: bool = True) -> None:
        """What holds of any records: each span ended and was delivered once, and hangs in its run."""
        for span in self.spans():
            assert span.end_ns is not None, span
            assert span.status != "running", span
            assert self.done.get(span.span_id) == 1, (self.done.get(span.span_id), span)
            run = self.runs[span.run_id]
            assert span.trace_id == run.trace_id
            if span.span_id == span.run_id:
                assert (run.end_ns, run.status) == (span.end_ns, span.status)
                continue
            parent = self.by_id[span.parent_id]
            assert parent.run_id == span.run_id
            if times:
                assert parent.start_ns <= span.start_ns <= span.end_ns
                assert not sync or span.end_ns <= parent.end_ns, (parent, span)
            attempt = span.attributes.get("attempt")
            if attempt is not None and attempt > 1:
                item = span.attributes.get("item")
                assert attempt - 1 in {
                    other.attributes.get("attempt")
                    for other in self.by_id.values()
                    if other.parent_id == span.parent_id and other.attributes.get("item") == item
                }


class Raising:
    """A sink whose every method raises, until its test is over: tasks that outlive their flow may record into it later."""

    is_over = False

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_over:
            return True
        raise OSError("the sink is broken")

    def _fails_to_count(self) -> int:
        return 0 if self.is_over else self._fail()

    describe = start = watch = expect = await_making = accept = add_dropped = tick = hand_on = flush = close = (
        abandon
    ) = _fail
    lost = in_memory = property(_fails_to_count)


class Exact:
    """Clock and ids that count."""

    def __init__(self, step: int = 1_000) -> None:
        self.now = 0
        self.step = step
        self.id = itertools.count(1)

    def clock(self) -> int:
        self.now += self.step
        return self.now

    def wall(self) -> int:
        return 0

    def bits(self, n: int) -> int:
        return next(self.id)


def pipeline(*sinks: Any, **settings: Any) -> _pipeline.Pipeline:
    """A pipeline into these sinks and nowhere else."""
    made = _pipeline.Pipeline(TracingConfig(**{"store": "off", **settings}))
    made.sinks = sinks
    made.live = True
    made.enabled = bool(sinks)
    for sink in sinks:
        if isinstance(sink, Raising):
            sink.is_over = False
        if sink not in delivery._sinks:
            with contextlib.suppress(OSError):  # a Raising one
                delivery.add_sink(sink)
    return made


def use(sink: Any, *more: Any, **settings: Any) -> Any:
    """Send the runs of every flow without a config of its own to these sinks; returns the first."""
    _pipeline._default = pipeline(sink, *more, **settings)
    return sink


# --- one behaviour, run in several ways -----------------------------------------------------------------------------

CLASSES = {
    "sync": {"Node": Node, "BatchNode": BatchNode, "Flow": Flow, "BatchFlow": BatchFlow},
    "async": {"Node": AsyncNode, "BatchNode": AsyncBatchNode, "Flow": AsyncFlow, "BatchFlow": AsyncBatchFlow},
    "parallel": {
        "Node": AsyncNode,
        "BatchNode": AsyncParallelBatchNode,
        "Flow": AsyncFlow,
        "BatchFlow": AsyncParallelBatchFlow,
    },
}
_COMPARED = (str(pocketflow.__file__), str(Path(__file__).with_name("identity")))
_METHODS = ("prep", "exec", "exec_fallback", "post")


class World:
    """Where a case runs: traced in one way or not at all, with sync or async nodes.

    Args:
        how: "untraced", or a way of tracing: "object", "class", "instrument", "function".
        flavour: "sync", "async" or "parallel".
    """

    def __init__(self, how: str = "untraced", flavour: str = "sync") -> None:
        self.how = how
        self.flavour = flavour
        self.is_async = flavour != "sync"
        self.log: list[Any] = []
        self.marked: list[Any] = []
        for name, cls in CLASSES[flavour].items():
            setattr(self, name, cls)

    def say(self, *what: Any) -> None:
        """Remember what a user's function saw, in order."""
        self.log.append(what[0] if len(what) == 1 else what)

    def node(self, name: str = "N", base: str | type = "Node", **members: Any) -> type:
        """A node class from plain functions; they become coroutine functions in an async world."""
        base = getattr(self, base) if isinstance(base, str) else base
        asynchronous = self.is_async and issubclass(base, AsyncNode)
        body: dict[str, Any] = {}
        for member, value in members.items():
            if member in _METHODS and isinstance(value, FunctionType):
                adapted = (_as_coroutine_function if asynchronous else _as_method)(value)
                body[f"{member}_async" if asynchronous else member] = adapted
            else:
                body[member] = value
        return type(name, (base,), body)

    def flow(self, start: Any = None, base: str | type = "Flow", name: str | None = None, **members: Any) -> Any:
        """A flow object, traced in this world's way."""
        cls = getattr(self, base) if isinstance(base, str) else base
        if members or name:
            cls = self.node(name or cls.__name__, cls, **members)
        return self.trace(cls(start=start))

    def trace(self, flow: Any) -> Any:
        """Trace a flow object in this world's way; returns it."""
        if self.how == "object":
            self.marked.append(flow)
            assert trace_flow(flow) is flow
        elif self.how == "class":
            cls = type(flow)
            if cls.__module__ == pocketflow.__name__:
                cls = type(cls.__name__, (cls,), {})
                object.__setattr__(flow, "__class__", cls)
            self.marked.append(cls)
            assert trace_flow(cls) is cls
        return flow

    def run(self, flow: Any, shared: Any) -> Any:
        """Run a flow or a node to its end, from outside of any loop."""
        if self.how == "function":
            return self._run_in_function(flow, shared)
        return asyncio.run(flow.run_async(shared)) if self.is_async else flow.run(shared)

    def _run_in_function(self, flow: Any, shared: Any) -> Any:
        if self.is_async:

            @trace_flow
            async def around(shared: Any) -> Any:
                return await flow.run_async(shared)

            return asyncio.run(around(shared))
        return trace_flow(lambda shared: flow.run(shared))(shared)

    def __enter__(self) -> World:
        if self.how == "instrument":
            instrument()
        return self

    def __exit__(self, *_: object) -> None:
        uninstrument()
        for marked in self.marked:
            if issubclass(type(marked), type):
                _marks._classes.pop(id(marked), None)
            else:
                object.__getattribute__(marked, "__dict__").pop(_marks._KEY, None)
        self.marked.clear()


def _as_coroutine_function(function: Any) -> Any:
    async def method(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, *kwargs.values())
        await asyncio.sleep(0)
        return result

    return method


def _as_method(function: Any) -> Any:
    """Newer branches of PocketFlow pass arguments by keyword; functions of tests name them as they like."""

    def method(*args: Any, **kwargs: Any) -> Any:
        return function(*args, *kwargs.values())

    return method


@dataclass
class Seen:
    """All that can be seen of a case from outside."""

    result: Any = None
    error: Any = None
    log: list[Any] = field(default_factory=list)
    warnings: list[Any] = field(default_factory=list)


def observe(case: Callable[[World], Any], how: str = "untraced", flavour: str = "sync") -> Seen:
    """Run a case in one way.

    Args:
        case: gets the world; what it returns or raises, says and warns of is what is compared.
    """
    seen = Seen()
    getattr(pocketflow, "__warningregistry__", {}).clear()
    with World(how, flavour) as world, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warnings.filterwarnings("always", category=RuntimeWarning)
        try:
            seen.result = copy.deepcopy(case(world))
        except AssertionError:
            raise
        except BaseException as error:
            seen.error = picture(error)
            traceback.clear_frames(error.__traceback__)
        seen.log = world.log
    seen.warnings = [(w.category, str(w.message), w.filename, w.lineno) for w in caught]
    return seen


def picture(error: BaseException | None, depth: int = 5) -> Any:
    """An exception as it reaches the host, with the lines of its traceback in PocketFlow and the tests."""
    if error is None or not depth:
        return None
    return {
        "type": type(error),
        "args": error.args,
        "cause": picture(error.__cause__, depth - 1),
        "context": picture(error.__context__, depth - 1),
        "suppressed": error.__suppress_context__,
        "notes": getattr(error, "__notes__", None),
        "frames": _frames(error) if depth == 5 else None,
    }


def _frames(error: BaseException) -> list[Any]:
    # not of what it came from: Python 3.10 rebuilds the traceback of a cancelled task, with more or fewer lines
    return [
        (frame.filename, frame.lineno, frame.name)
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(_COMPARED)
    ]


def first_difference(one: Seen, other: Seen) -> Iterator[str]:
    """The fields that differ, for a readable failure."""
    for name in ("result", "error", "log", "warnings"):
        if getattr(one, name) != getattr(other, name):
            yield f"{name}: {getattr(one, name)!r} != {getattr(other, name)!r}"


def examples(number: int) -> int:
    """How many random examples a test tries: all of them, or the share that the variable TEST_EXAMPLES names (0.1)."""
    return max(10, int(number * float(os.environ.get("TEST_EXAMPLES", "1"))))


class _Full(SpanQueue):
    """A queue that is full, as often as a list says."""

    answers: Iterator[bool] = iter(())
    is_full = property(lambda self: True, lambda self, value: None)

    def leaves_out(self, run: Any) -> bool:
        return next(self.answers)


@contextlib.contextmanager
def full(left_out: list[bool]) -> Iterator[None]:
    """Let there be no room for some of what begins, by turns."""
    queue = delivery.queue
    queue.__class__, _Full.answers = _Full, itertools.cycle(left_out)
    try:
        yield
    finally:
        queue.__class__ = SpanQueue
        queue.is_full = False
