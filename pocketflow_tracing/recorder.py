"""Spans while they are open: ids, times, nesting, status and errors, taken on the caller's path in microseconds.

A span here holds snapshots and numbers only. When it has ended it goes into the delivery queue as it is; the worker makes
records of it (`_span_records`). Nothing in this module knows PocketFlow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _log
from ._finalisers import MAY_RUN_INSIDE, guarded, hold, release
from ._ids import source
from ._sdk_told import end
from .capture import describe_exception
from .capture_errors import describe_again, place_of
from .capture_types import LARGE, WEIGHTLESS, weigh

if TYPE_CHECKING:
    from ._graph import Graph
    from ._pipeline import Pipeline
    from ._state import SharedState
    from .capture_errors import ErrorSnapshot
    from .records import Kind, Status

__all__ = ["Branch", "Run", "Span", "Untraced", "current", "parent_in", "span_of", "unrecorded"]


class RootFacts(NamedTuple):
    """What a delivered run still tells of its root; run and span refer to each other, and this ends the circle."""

    span_id: int
    start: int
    end: int | None
    status: Status
    complete: bool
    error: Any
    attributes: dict[str, Any]


class Run:
    """One trace in the making: what all its spans share.

    Args:
        pipeline: the resolved configuration, its capture and its sinks.
        name: the flow's name.
        trace_id: 128 bits; that of the surrounding OpenTelemetry span, if there is one.
        parent_id: span id of the surrounding span, 64 bits, or None.
        attributes: session_id, user_id, tags, metadata, version, environment, release: whatever is known of them.
    """

    __slots__ = (
        "attributes",
        "contexts",
        "dropped",
        "graph",
        "has_external",
        "ids",
        "is_app_root",
        "lost",
        "name",
        "offset",
        "parent_id",
        "pictured",
        "pipeline",
        "recorded",
        "root",
        "sampled",
        "seen",
        "spans",
        "state_seq",
        "states",
        "trace_id",
        "visits",
        "weight",
    )  # fmt: skip

    def __init__(
        self,
        pipeline: Pipeline,
        name: str,
        trace_id: int,
        parent_id: int | None,
        attributes: dict[str, Any],
        graph: Graph,
    ) -> None:
        self.pipeline = pipeline
        self.name = name
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.attributes = attributes
        self.graph = graph
        self.offset = source.offset()  # clock + offset = time of day
        self.root: Branch | RootFacts | None = None
        self.visits: dict[str, int] = {}
        self.states: dict[int, SharedState] = {}  # by id of the shared object, which each state keeps alive
        self.state_seq = 0
        self.pictured = 0  # shared objects seen
        self.spans = 0  # complete ones
        self.has_external = False  # whether there are spans of other instrumentations
        self.ids: tuple[str, str] | None = None  # of the run and of the trace in hex, once the worker has made them
        self.recorded = 0  # bytes of values that the worker has rendered, about
        self.seen = False  # whether the worker has begun to deliver it
        self.dropped = False  # whether the queue's bounds let it go
        self.weight = 0  # estimated bytes of its complete spans
        self.lost = 0  # spans that the queue's bounds took out of it
        self.sampled: bool | None = None  # by the program's own OpenTelemetry, once it has been asked
        self.contexts: Any = None  # of OpenTelemetry, that the host may go back to when the run is over
        self.is_app_root = True  # False inside a span that Langfuse shows as the root already

    @property
    def is_over(self) -> bool:
        """Whether its root has ended; what it has left running may go on."""
        return self.root is not None and self.root.end is not None

    def let_go(self) -> None:
        """Forget the root span once it has been delivered, so that no collector is needed to free a run."""
        if isinstance(self.root, Span) and self.root.delivered:
            self.give_up()

    def give_up(self) -> None:
        """Forget the root span of a run that has ended, delivered or not."""
        root = self.root
        if isinstance(root, Span):
            self.root = RootFacts(
                root.span_id,
                root.start,
                root.end,
                root.status,
                True,
                root.error,
                {"class": root.attributes.get("class")},
            )


class Span:
    """One open or ended span.

    `input`, `output` and the values of `attributes` are snapshots. `node` is the user's object while the span is open, None
    afterwards. `child_error` is (id of the exception, its place, its description) of the last error seen below, so that an
    error on its way up is described once. `handed` is (phase, result, its picture) of the phase below that has just ended,
    for the next one, which is given that. `special` is whether it is more than a plain call: spans may stand below it. What only
    a `Branch` has reads as None on the others.
    """

    __slots__ = (
        "attributes", "child_error", "complete", "delivered", "end", "error", "handed", "input", "items", "kind", "large",
        "name", "node", "output", "parent", "recovered", "run", "span_id", "start", "status", "weight",
    )  # fmt: skip
    metadata: dict[str, Any] | None = None
    scores: list[dict[str, Any]] | None = None
    state: Any = None
    within: int | None = None
    special = True

    def __init__(self, run: Run, parent: Span | None, kind: Kind, name: str, node: object = None) -> None:
        self.run = run
        self.parent = parent
        self.kind: Kind = kind
        self.name = name
        self.node = node
        self.span_id = source.bits(64) or 1  # 0 is the invalid id
        self.end: int | None = None
        self.status: Status = "running"
        self.input: Any = None
        self.output: Any = None
        self.error: Any = None
        self.attributes: dict[str, Any] = {}
        self.recovered = False
        self.child_error: tuple[int, int, ErrorSnapshot] | None = None
        self.handed: tuple[str, Any, Any] | None = None
        self.items = 0
        self.weight = 0  # estimated bytes, see `SpanQueue`
        self.large: list[str | bytes] | None = None  # the large texts among them
        self.complete = False  # nothing of it will change any more
        self.delivered = False  # set by the worker
        if run.pipeline.debug:
            _log.debug_line(f"{kind} started: {self.shown_name()}")
        self.start = source.clock()

    def shown_name(self) -> str:
        """The name that records give it."""
        return self.name

    def hold(self) -> None:
        """Note that others may stand below: where there is no room for all, this one keeps them in their place."""
        if not self.special:
            self.special = True  # type: ignore[misc]  # a slot of the calls

    def announce(self) -> None:
        """Let the sinks know of a span that has begun (or of an attempt that failed and may be saved yet)."""
        if self.run.pipeline.live:
            self.run.pipeline.announce(self)

    def stop(self, error: BaseException | None) -> None:
        """Note the end: time, status and error; the span is not delivered before `deliver`."""
        self.node = self.handed = None
        self.end = self.start  # what stands if the clock fails
        if error is None:
            self.status = "success"
            self.end = source.clock()
            if self.recovered:
                self.status = "recovered"
                if self.parent is not None:
                    self.parent.recovered = True
        else:
            failed = issubclass(type(error), Exception) and not issubclass(type(error), asyncio.CancelledError)
            self.status = "error" if failed else "cancelled"
            self.end = source.clock()
            if self.run.pipeline.errors:
                self.error = self._describe(error)
                self.charge(self.error)
        if self.run.pipeline.debug:
            milliseconds = (self.end - self.start) / 1e6
            _log.debug_line(f"{self.kind} ended: {self.shown_name()} ({self.status}, {milliseconds:.1f} ms)")

    def charge(self, value: Any) -> None:
        """Count a snapshot among what waits in memory, which is bounded."""
        if type(value) in WEIGHTLESS and (type(value) is not int or value.bit_length() < LARGE):
            return
        large: list[str | bytes] = []
        self.weight += weigh(value, large)
        if large:
            self.large = large if self.large is None else self.large + large

    def withhold(self, note: Any) -> None:
        """Put a note in the place of what went in and came out."""
        self.input = self.output = note
        self.large = None

    def forget(self) -> None:
        """Let go of the values, which a record has now: a context that the host keeps, of a timer say, keeps its span."""
        self.input = self.output = self.large = self.handed = self.child_error = None
        if self.parent is not None:
            self.error = None  # a run's own goes into its records as long as more of it comes
        self.attributes.pop("params", None)

    def deliver(self) -> None:
        """Hand the complete span over to delivery."""
        run = self.run
        self.complete = True
        run.spans += 1
        run.pipeline.enqueue(self)

    def _describe(self, error: BaseException) -> ErrorSnapshot:
        snapshot = self.run.pipeline.capture.snapshot
        known = self.child_error
        if (
            known is not None
            and known[0] == id(error)
            and (again := describe_again(error, known[2], known[1], snapshot)) is not None
        ):
            described = known[2]
        else:
            described = again = describe_exception(error, snapshot)
        if self.parent is not None:
            self.parent.child_error = id(error), place_of(error), described
        return again


class Branch(Span):
    """A span that visits may stand below: of a flow or node, a pass of a batch flow, or a decorated function.

    `flow_id` is the flow in the run's graph whose nodes are visited below, `next_step` counts these visits, `waiting` is the
    one that has ended and whose successor is not known yet, `expected` is (id, name) of the node that comes next, `within`
    the id of a span of the Langfuse SDK's that user code has opened below the parent and that stands around this one.
    """

    __slots__ = ("expected", "flow_id", "metadata", "next_step", "scores", "state", "waiting", "within")

    def __init__(self, run: Run, parent: Span | None, kind: Kind, name: str, node: object = None) -> None:
        self.flow_id: str | None = None
        self.next_step = 1
        self.waiting: Branch | None = None
        self.expected: tuple[str, str] | None = None
        self.metadata = None
        self.scores = None
        self.state = None
        self.within = None
        if parent is not None:
            parent.hold()
        Span.__init__(self, run, parent, kind, name, node)

    def deliver(self) -> None:
        """Hand the complete span over to delivery, after the visit below that waits."""
        try:
            if self.waiting is not None:
                self.settle()
        finally:
            if self is self.run.root and "metadata" in self.run.attributes:
                self.charge(self.run.attributes["metadata"])
            Span.deliver(self)
            if self is self.run.root:
                end(self.run.trace_id)
                self.run.pipeline.completed(self.run)

    def withhold(self, note: Any) -> None:
        """Put a note in the place of the values, and of those that user code has added."""
        Span.withhold(self, note)
        if self.metadata is not None:
            self.metadata = dict.fromkeys(self.metadata, note)
        if self.scores is not None:
            self.scores = [{"name": score["name"], "value": score["value"]} for score in self.scores]

    def forget(self) -> None:
        """Let go of the values, and of what user code has added."""
        Span.forget(self)
        self.state = self.metadata = self.scores = None

    def settle(self) -> None:
        """Deliver the visit below that waited for its successor to be known, if there is one."""
        waiting = self.waiting
        if waiting is not None:
            self.waiting = None
            waiting.deliver()


class Untraced:
    """Stands where a span would, in a run that is not recorded: nothing below it is traced, as long as that run goes on.

    A task or thread that it has started keeps it, and may run flows for hours after it; those are runs of their own.

    Args:
        is_sampled_out: whether sampling dropped the run, and with it what the program records in it for itself.
    """

    __slots__ = ("is_over", "is_sampled_out")
    span: None = None

    def __init__(self, is_sampled_out: bool = False) -> None:
        self.is_over = False
        self.is_sampled_out = is_sampled_out


current: ContextVar[Any] = ContextVar("pocketflow_tracing_current", default=None)
"""What user code runs in now: None, Untraced, a Span, or a framework's frame that has a `span`."""
set_current = guarded(current.set)


def unrecorded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the user's that we call, as one in which a flow is no run: it would have us call it again, and so on."""

    def call(*arguments: Any) -> Any:
        before, inside = current.get(), Untraced()
        try:
            set_current(inside)  # in here: a signal handler strikes right after it
            return function(*arguments)
        finally:
            inside.is_over = True
            put_back = current.set
            held = None
            try:
                held = hold() if MAY_RUN_INSIDE else None
            finally:  # a signal handler may strike in there
                put_back(before)
            if held is not None:
                release(held)

    return call


def span_of(frame: Any) -> Span | None:
    """The recorded span of a frame, None where nothing is traced."""
    if isinstance(frame, Span):
        return frame
    return None if frame is None else frame.span


def parent_in(frame: Any) -> Span | None:
    """The span that a visit or function which begins in a frame stands below, None where it begins a run.

    What begins in an ended span of a run that is over begins one: a job that sees to its own next run would keep all those
    before it alive, and its run would never be complete.
    """
    span = span_of(frame)
    return span if span is None or span.end is None or not span.run.is_over else None
