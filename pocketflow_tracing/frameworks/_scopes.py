"""What each call in a running flow means for the recording: visits, passes, retries, phases and routing.

A scope is entered before the call and left after it, whichever way the call ends. It is a class and not a generator, for a
generator would turn a user's StopIteration into a RuntimeError. Sync and async calls use the same scopes. `__enter__` and
`__exit__` are the seams of the guard: they raise nothing and hide nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from itertools import islice
from types import TracebackType
from typing import Any

from pocketflow import BaseNode, BatchNode, Flow

from .. import _otel
from .._guard import Seam
from .._options import Options, mark_of
from .._runs import Dropped, open_run
from .._state import SharedState, key_text
from ..recorder import UNTRACED, Run, Span, current, span_of
from ._look import look, peek

_BEGINNING = Seam("recording the beginning of a call")
_ENDING = Seam("recording the end of a call")
_KEYS_SHOWN = 40


class Scope:
    """One call of the running flow.

    Subclasses say what begins and what ends; this class keeps the context tidy and the errors in.

    Args:
        frame: what the call was made in: a Span, or a frame with a `span`.
        node: the user's node or flow.
    """

    __slots__ = ("attached", "frame", "node", "result", "span", "token")

    def __init__(self, frame: Any, node: Any) -> None:
        self.frame = frame
        self.node = node
        self.result: Any = None
        self.span: Span | None = None
        self.token: Token[Any] | None = None
        self.attached: Any = None

    def __enter__(self) -> Scope:
        try:
            self.begin()
        except Exception as error:  # noqa: BLE001 - the seam
            _BEGINNING.absorb(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.attached is not None:
            _otel.detach(self.attached)
        if self.token is not None:
            try:
                current.reset(self.token)
            except ValueError:  # closed from another context (an abandoned task): that context ends with the task
                pass
        try:
            self.finish(error)
        except Exception as failure:  # noqa: BLE001 - the seam
            _ENDING.absorb(failure)

    def begin(self) -> None:
        """Open what the call opens."""

    def finish(self, error: BaseException | None) -> None:
        """Close it, with the exception that left the call, if one did."""


class Visit(Scope):
    """One visit of a node or flow; the outermost one opens the run.

    Args:
        args: positional arguments of the call, `shared` first.
        kwargs: keyword arguments of the call.
        options: of the run, when this visit opens it.
    """

    __slots__ = ("opens", "options", "owner", "shared", "state")

    def __init__(self, frame: Any, node: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options | None) -> None:
        super().__init__(frame, node)
        self.shared = args[0] if args else kwargs.get("shared")
        self.options = options
        self.owner: Span | None = None  # the flow or pass whose graph this visit is a step of
        self.state: SharedState | None = None
        self.opens = frame is None

    def begin(self) -> None:
        node = self.node
        is_flow = issubclass(type(node), Flow)
        run = self._open(is_flow) if self.opens else self.frame_span.run
        if run is None:
            return
        parent = None if self.opens else self.frame_span
        owner = parent if self.frame is parent and parent is not None and "flow" in parent.attributes else None
        self.owner = owner
        if owner is not None:
            node_id, name = run.graph.locate(owner.attributes["flow"], node)
            self._settle(owner, node_id)
        else:
            name = run.name if self.opens else type(node).__name__
            node_id = run.graph.root_flow(node, name) if is_flow else name
        if is_flow and not self.opens:
            named = self._own_name()
            name = named or name
            if owner is not None and node_id not in run.graph.flows:
                run.graph.add_flow(node, node_id, name)
        span = self.span = Span(run, parent, "flow" if is_flow else "node", name, node)
        attributes = span.attributes
        attributes["node"] = node_id
        attributes["class"] = type(node).__name__
        if is_flow:
            attributes["flow"] = node_id
            span.next_step = self._first_step()
        else:
            attributes["step"] = self._first_step()
        attributes["visit"] = run.visits[node_id] = run.visits.get(node_id, 0) + 1
        if run.pipeline.inputs:
            params = peek(node, "params")
            if params:
                attributes["params"] = run.pipeline.capture.snapshot(params)
        if self.opens:
            run.root = span
            self.attached = _otel.attach(
                run.trace_id, span.span_id, base=_otel.run_context(run.trace_id, run.name, run.attributes)
            )
        self._picture(run, span)
        self.token = current.set(span)
        if parent is not None and parent.kind == "function" and not parent.announced:
            parent.announce()  # a decorated function becomes a run with the first flow in it
        span.announce()

    @property
    def frame_span(self) -> Span:
        span = span_of(self.frame)
        assert span is not None  # noqa: S101 - a visit below something traced has a span above it
        return span

    def _open(self, is_flow: bool) -> Run | None:
        assert self.options is not None  # noqa: S101 - for the type checker: an opening visit has options
        opened = open_run(self.options, type(self.node).__name__, self.shared, look)
        if isinstance(opened, Run):
            return opened
        self.token = current.set(UNTRACED)
        if isinstance(opened, Dropped) and opened.trace_id is not None:
            self.attached = _otel.attach(opened.trace_id, 1, sampled=False)
        return None

    def _own_name(self) -> str | None:
        mark = mark_of(self.node)
        return mark.flow_name if mark is not None else None

    def _counts_steps(self) -> Span | None:
        parent = span_of(self.frame)
        return parent if self.owner is not None or (parent is not None and parent.kind == "function") else None

    def _first_step(self) -> int:
        counter = self._counts_steps()
        return counter.next_step if counter is not None else 1

    @staticmethod
    def _settle(owner: Span, node_id: str) -> None:
        # a flow with an `_orch` of its own never asked us for the successor: the next visit is the answer
        waiting = owner.waiting
        if waiting is not None:
            owner.waiting = None
            waiting.attributes["successor"] = node_id
            waiting.deliver()

    def _picture(self, run: Run, span: Span) -> None:
        shared = self.shared
        known = run.states.get(id(shared))
        if known is not None:
            self.state = known
            return
        if not SharedState.can_picture(shared):
            if self.opens and run.pipeline.inputs:
                span.input = run.pipeline.capture.snapshot(shared)
            return
        state = self.state = run.states[id(shared)] = SharedState(shared, run.pipeline.capture)
        full = state.full()
        if run.pipeline.values_of_state:
            run.state_seq += 1
            span.state = {"seq": run.state_seq, "full": full}
        if run.pipeline.inputs:
            span.input = full

    def finish(self, error: BaseException | None) -> None:
        span = self.span
        if span is None:
            return
        if error is None:
            span.attributes["action"] = _action(self.result)
        span.finish(error)
        run = span.run
        if self.state is not None:
            self._note_changes(run, span, self.state)
        if self.opens:
            if run.pipeline.outputs:
                picture = self.state.picture() if self.state is not None else None
                span.output = {"action": span.attributes.get("action"), "shared": picture}
            run.states.clear()
        counter = self._counts_steps()
        if counter is not None:
            after = span.next_step if span.kind == "flow" else span.attributes["step"] + 1
            counter.next_step = max(counter.next_step, after)
        if self.owner is not None and error is None:
            self.owner.waiting = span  # until PocketFlow has asked for the successor
        else:
            span.deliver()

    @staticmethod
    def _note_changes(run: Run, span: Span, state: SharedState) -> None:
        changes = state.changes()
        if changes is None:
            return
        if run.pipeline.values_of_state:
            run.state_seq += 1
            if span.state is None:
                span.state = {"seq": run.state_seq, **changes}
            else:  # the visit that took the first picture
                span.state.update(changes)
        else:
            names = {kind: list(keys) for kind, keys in changes.items()}
            span.attributes["changed_keys"] = names


class Pass(Scope):
    """One parameter set of a batch flow, holding that pass's nodes."""

    __slots__ = ("index", "params")

    def __init__(self, frame: Span, flow: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(frame, flow)
        self.params = args[1] if len(args) > 1 else kwargs.get("params")
        self.index = frame.items
        frame.items += 1

    def begin(self) -> None:
        flow_span: Span = self.frame
        run = flow_span.run
        span = self.span = Span(run, flow_span, "pass", f"{flow_span.name}[{self.index}]")
        span.attributes.update(item=self.index, flow=flow_span.attributes["flow"])
        span.next_step = flow_span.next_step
        if run.pipeline.inputs:
            span.input = run.pipeline.capture.snapshot(self.params)
        self.token = current.set(span)
        span.announce()

    def finish(self, error: BaseException | None) -> None:
        span = self.span
        if span is None:
            return
        flow_span: Span = self.frame
        flow_span.next_step = max(flow_span.next_step, span.next_step)
        if error is None:
            span.attributes["action"] = _action(self.result)
        span.finish(error)
        span.deliver()


class Retry(Scope):
    """PocketFlow's retry loop around one exec: numbers the attempts, and knows in the end whether a failed one was saved.

    Args:
        frame: the node's span, or that of its batch, whose items are numbered in the order in which they are made.
    """

    __slots__ = ("attempts", "failures", "item", "max_attempts", "saved")

    def __init__(self, frame: Any, node: Any) -> None:
        super().__init__(frame, node)
        self.span = span_of(frame)
        self.attempts = 0
        self.failures: list[Span] = []
        self.item: int | None = None
        if issubclass(type(node), BatchNode) and self.span is not None:
            self.item = self.span.items
            self.span.items += 1
        retries = peek(node, "max_retries")
        self.max_attempts = retries if type(retries) is int else None

    def begin(self) -> None:
        self.token = current.set(self)

    def finish(self, error: BaseException | None) -> None:
        if not self.failures:
            return
        for failure in self.failures:
            if error is None:
                failure.attributes["level"] = "WARNING"
            failure.deliver()
        if error is None and self.span is not None:
            self.span.recovered = True


class Inside:
    """A frame for user code whose phase is not recorded: what happens in it belongs to the span above."""

    __slots__ = ("span",)

    def __init__(self, span: Span) -> None:
        self.span = span


class Step(Scope):
    """A call of a user's method: a phase (prep, post, fallback, the exec of a whole batch) or an attempt of exec.

    Args:
        phase: "prep", "exec", "exec_fallback" or "post".
        method: the method's name.
        args: its arguments.
    """

    __slots__ = ("args", "phase", "retry", "whole")

    def __init__(self, frame: Any, node: Any, phase: str, args: tuple[Any, ...], whole: bool) -> None:
        super().__init__(frame, node)
        self.phase = phase
        self.args = args
        self.whole = whole
        self.retry: Retry | None = frame if type(frame) is Retry else None

    def begin(self) -> None:
        above = span_of(self.frame)
        assert above is not None  # noqa: S101 - for the type checker: a step has a span above it
        run = above.run
        pipeline = run.pipeline
        phase = self.phase
        if not (pipeline.prep if phase == "prep" else pipeline.post if phase == "post" else pipeline.exec):
            self.token = current.set(Inside(above))
            self.attached = _otel.attach(run.trace_id, above.span_id)
            return
        attempt = phase == "exec" and not self.whole
        retry = self.retry
        visit = above if above.kind in {"node", "flow"} or above.parent is None else above.parent
        if retry is not None and retry.item is not None:
            name = f"{visit.name}.{phase}[{retry.item}]"
        else:
            name = f"{visit.name}.{phase}"
        span = self.span = Span(run, above, "attempt" if attempt else "phase", name)
        attributes = span.attributes
        attributes["phase"] = phase
        if retry is not None and retry.item is not None:
            attributes["item"] = retry.item
        if attempt:
            if retry is not None:
                retry.attempts += 1
                attributes["attempt"] = retry.attempts
                attributes["max_attempts"] = retry.max_attempts
            else:
                attributes["attempt"] = 1
        if pipeline.inputs:
            span.input = self._input(pipeline.capture.snapshot)
        self.token = current.set(span)
        self.attached = _otel.attach(run.trace_id, span.span_id)

    def _input(self, snapshot: Any) -> Any:
        args = self.args
        if self.phase == "prep":
            shared = args[0] if args else None
            if not SharedState.can_picture(shared):
                return snapshot(shared)
            keys = [key_text(key) for key in islice(dict.keys(shared), _KEYS_SHOWN)]
            more = dict.__len__(shared) - len(keys)
            return {"shared": [*keys, f"… {more:,} more keys"] if more > 0 else keys}
        if self.phase == "post":
            return {"prep_res": snapshot(args[1]), "exec_res": snapshot(args[2])} if len(args) > 2 else snapshot(args)
        return snapshot(args[0]) if args else None

    def finish(self, error: BaseException | None) -> None:
        span = self.span
        retry = self.retry
        if span is None:
            self._unrecorded(error)
            return
        if error is None and span.run.pipeline.outputs:
            span.output = span.run.pipeline.capture.snapshot(self.result)
        if self.whole and (span.items or issubclass(type(self.node), BatchNode)):
            span.attributes["items"] = span.items
        span.finish(error)
        if span.kind == "attempt" and retry is not None and isinstance(error, Exception):
            retry.failures.append(span)
            span.announce()
            return
        if self.phase == "exec_fallback" and error is None and retry is not None and retry.span is not None:
            retry.span.recovered = True
        span.deliver()

    def _unrecorded(self, error: BaseException | None) -> None:
        # the node's status tells of a retry even where attempts are not recorded
        above = span_of(self.frame)
        if above is None or self.whole or self.phase not in {"exec", "exec_fallback"} or self.retry is None:
            return
        if self.phase == "exec":
            self.retry.attempts += 1
        if error is None and (self.phase == "exec_fallback" or self.retry.attempts > 1):
            above.recovered = True


class Route(Scope):
    """PocketFlow's question for the successor: it completes the visit before it."""

    __slots__ = ("curr",)

    def __init__(self, frame: Any, flow: Any, args: tuple[Any, ...]) -> None:
        super().__init__(frame, flow)
        self.curr = args[0] if args else None

    def finish(self, error: BaseException | None) -> None:
        owner = span_of(self.frame)
        if owner is None or owner.waiting is None:
            return
        visit, owner.waiting = owner.waiting, None
        if error is None and self.result is not None:
            visit.attributes["successor"] = owner.run.graph.locate(owner.attributes["flow"], self.result)[0]
        elif peek(self.curr, "successors"):
            visit.attributes["no_successor"] = True
        visit.deliver()


def _action(result: Any) -> str:
    if type(result) is str and result:
        return result
    if result is None or (type(result) in _FALSY and not result):
        return "default"
    return key_text(result)


_FALSY = frozenset({str, int, float, bool, bytes, tuple, list, dict, set, frozenset})


# --- which call opens which scope ------------------------------------------------------------------------------------



def _is_pocketflows(node: Any, method: str) -> bool:
    """Whether a method is PocketFlow's own: neither the node nor a class of the user's defines it."""
    own = peek(node, "__dict__")
    if type(own) is dict and method in own:
        return False
    for base in type(node).__mro__:
        if method in vars(base):
            return base.__module__ == BaseNode.__module__
    return True


def _visit(frame: Any, node: Any, method: str, args: tuple[Any, ...]) -> Scope | None:
    if type(frame) is Span and frame.node is node:
        return None  # `run` has opened this visit already
    return Visit(frame, node, args, {}, None)


def _phase(frame: Any, node: Any, method: str, args: tuple[Any, ...]) -> Scope | None:
    if issubclass(type(node), Flow) and _is_pocketflows(node, method):
        return None  # a flow that defines no prep or post of its own shows its nodes only
    return Step(frame, node, method.removesuffix("_async"), args, whole=False)


def _whole_exec(frame: Any, node: Any, method: str, args: tuple[Any, ...]) -> Scope | None:
    if issubclass(type(node), BatchNode) or not _is_pocketflows(node, method):
        return Step(frame, node, "exec", args, whole=True)
    return None  # the attempts of a plain node stand directly below it


def _route(frame: Any, node: Any, method: str, args: tuple[Any, ...]) -> Scope:
    return Route(frame, node, args)


_OPENS: dict[str, Callable[[Any, Any, str, tuple[Any, ...]], Scope | None]] = {
    "_run": _visit,
    "_run_async": _visit,
    "_exec": _whole_exec,
    "get_next_node": _route,
} | {
    name + form: _phase for name in ("prep", "exec", "exec_fallback", "post") for form in ("", "_async")
}


def scope_of_call(node: Any, method: str, args: tuple[Any, ...]) -> Scope | None:
    """The scope that a call of a hooked method opens here, None when it opens none.

    Args:
        node: whose method is called.
        method: one of `_rewrite.HOOKED`.
        args: the call's arguments in PocketFlow's order.
    """
    frame = current.get()
    if frame is None or frame is UNTRACED:
        return None
    return _OPENS[method](frame, node, method, args)
