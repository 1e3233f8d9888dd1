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

from pocketflow import BatchNode, Flow

from .. import _otel
from .._guard import Seam, is_hosts
from .._options import Options, mark_of
from .._runs import open_run
from .._state import SharedState, key_text
from ..recorder import UNTRACED, Run, Span, current, span_of
from ._look import class_name, is_pocketflows, look, peek

_BEGINNING = Seam("recording the beginning of a call")
_ENDING = Seam("recording the end of a call")
_KEYS_SHOWN = 40
_LEFT: Any = object()
"""The frame of a scope that has been left."""


class Scope:
    """One call of the running flow.

    Subclasses say what begins and what ends; this class keeps the context tidy and the errors in.

    Args:
        frame: what the call was made in: a Span, or a frame with a `span`.
        node: the user's node or flow.
        given: what the call was given, as the subclass needs it.
    """

    __slots__ = ("attached", "frame", "given", "node", "result", "span", "token")

    def __init__(self, frame: Any, node: Any, given: Any = None) -> None:
        self.frame = frame
        self.node = node
        self.given = given
        self.result: Any = None
        self.span: Span | None = None
        self.token: Token[Any] | None = None
        self.attached: Any = None

    def __enter__(self) -> Scope:  # noqa: PYI034 - Self came with 3.11
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(error)

    def done(self, result: Any) -> Any:
        """End, and give the result back to the statement that the call stands in."""
        self.result = result
        self.leave(None)
        return result

    def failed(self, error: BaseException) -> None:
        """End with an error, unless the call was done and the rest of its statement failed."""
        if self.frame is not _LEFT:
            self.leave(error)

    def enter(self) -> None:
        """Begin; nothing is raised but a Ctrl-C that comes meanwhile, and then nothing stays behind."""
        try:
            self.begin()
        except Exception as error:
            if type(error) is not RecursionError and is_hosts(error):  # at the limit there is no room to ask
                self.leave(error)
                raise
            _BEGINNING.absorb(error)
            self.begun_badly()
        except BaseException as error:
            self.leave(error)
            raise

    def leave(self, error: BaseException | None) -> None:
        """End, with the exception that left the call, if one did: the context goes back first, whatever fails after that."""
        token, attached = self.token, self.attached
        self.token = self.attached = None
        if token is not None:
            try:  # noqa: SIM105 - contextlib.suppress costs half a microsecond
                current.reset(token)
            except ValueError:  # closed from another context (an abandoned task): that context ends with the task
                pass
        try:
            if attached is not None:
                _otel.detach(attached)
        except Exception as failure:  # noqa: BLE001 - the seam
            _ENDING.absorb(failure)
        try:
            self.finish(error)
        except Exception as failure:
            if type(failure) is not RecursionError and is_hosts(failure):
                self.ended_badly(failure)
                raise
            _ENDING.absorb(failure)
            self.ended_badly(error)
        self.frame = _LEFT

    def begin(self) -> None:
        """Open what the call opens."""

    def finish(self, error: BaseException | None) -> None:
        """Close it, with the exception that left the call, if one did."""

    def begun_badly(self) -> None:
        """Do what is to be done when `begin` has failed."""

    def ended_badly(self, error: BaseException | None) -> None:
        """Deliver what `finish` has not, so that no span seems to run on."""
        span = self.span
        if span is not None and span.end is None:
            with _ENDING:
                span.node = None
                span.end = span.start  # nothing better is known
                span.status = "success" if error is None else "error"
                span.deliver()


class Visit(Scope):
    """One visit of a node or flow; the outermost one opens the run.

    Args:
        args: positional arguments of the call, `shared` first.
        kwargs: keyword arguments of the call.
        options: of the run, when this visit opens it.
    """

    __slots__ = ("opens", "options", "owner", "pictures", "state")

    def __init__(
        self, frame: Any, node: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options | None
    ) -> None:
        self.frame = frame
        self.node = node
        self.result = None
        self.span = None
        self.token = None
        self.attached = None
        self.given = args[0] if args else kwargs.get("shared")
        self.options = options
        self.owner: Span | None = None  # the flow or pass whose graph this visit is a step of
        self.state: SharedState | None = None
        self.opens = frame is None
        self.pictures = False  # whether the picture of `shared` began here

    def begin(self) -> None:
        node = self.node
        is_flow = issubclass(type(node), Flow)
        if self.opens:
            opened = self._open()
            if opened is None:
                return
            run, parent = opened, None
        else:
            parent = self.frame_span
            run = parent.run
        node_id, name = self._place(run, parent, is_flow)
        span = self.span = Span(run, parent, "flow" if is_flow else "node", name, node)
        if self.opens:
            run.root = span
        self.token = current.set(span)
        if self.opens:
            base = _otel.run_context(run.trace_id, run.name, run.attributes)
            self.attached = _otel.attach(run.trace_id, span.span_id, base=base)
        attributes = span.attributes
        attributes["node"] = node_id
        attributes["class"] = class_name(type(node))
        if is_flow:
            attributes["flow"] = node_id
            span.next_step = self._first_step()
        else:
            attributes["step"] = self._first_step()
        attributes["visit"] = run.visits[node_id] = run.visits.get(node_id, 0) + 1
        try:
            if run.pipeline.inputs and (params := peek(node, "params")):
                attributes["params"] = run.pipeline.capture.snapshot(params)
            self._picture(run, span)
        finally:
            if parent is not None and parent.kind == "function" and not parent.announced:
                parent.announce()  # a decorated function becomes a run with the first flow in it
            span.announce()

    def begun_badly(self) -> None:
        """Trace nothing of a run that could not be opened: its parts would come as runs of their own."""
        if self.opens and self.token is None:
            self.token = current.set(UNTRACED)

    def _place(self, run: Run, parent: Span | None, is_flow: bool) -> tuple[str, str]:
        """The node's id in the graph and its name; notes whose step this visit is."""
        node = self.node
        if self.frame is not parent or parent is None or "flow" not in parent.attributes:
            name = run.name if self.opens else class_name(type(node))
            name = (self._own_name() if is_flow and not self.opens else None) or name
            return (run.graph.root_flow(node, name) if is_flow else name), name
        owner = self.owner = parent
        place = owner.expected or run.graph.locate(owner.attributes["flow"], node)
        owner.expected = None
        if owner.waiting is not None:
            # an `_orch` of the user's never asked for the successor: this visit is the answer
            owner.waiting.attributes["successor"] = place[0]
            owner.settle()
        if is_flow:
            place = place[0], self._own_name() or place[1]
            run.graph.add_flow(node, *place)
        return place

    @property
    def frame_span(self) -> Span:
        span = span_of(self.frame)
        assert span is not None  # noqa: S101 - a visit below something traced has a span above it
        return span

    def _open(self) -> Run | None:
        assert self.options is not None  # noqa: S101 - for the type checker: an opening visit has options
        opened = open_run(self.options, class_name(type(self.node)), self.given, look)
        if isinstance(opened, Run):
            return opened
        self.token = current.set(UNTRACED)
        if opened.trace_id is not None:
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

    def _picture(self, run: Run, span: Span) -> None:
        shared = self.given
        known = run.states.get(id(shared))
        if known is not None:
            self.state = known
            return
        if not SharedState.can_picture(shared):
            if self.opens and run.pipeline.inputs:
                span.input = run.pipeline.capture.snapshot(shared)
            return
        state = self.state = run.states[id(shared)] = SharedState(shared, run.pipeline.capture, run.pictured)
        run.pictured += 1
        self.pictures = True
        full = state.full()
        if run.pipeline.values_of_state:
            run.state_seq += 1
            span.state = {"seq": run.state_seq, "full": full}
            if state.number:
                span.state["of"] = state.number
        if run.pipeline.inputs:
            span.input = full

    def finish(self, error: BaseException | None) -> None:
        span = self.span
        if span is None:
            return
        run = span.run
        owner = self.owner
        try:
            span.finish(error)
            if error is None:
                span.attributes["action"] = _action(self.result)
            counter = self._counts_steps()
            if counter is not None:
                after = span.next_step if span.kind == "flow" else span.attributes["step"] + 1
                counter.next_step = max(counter.next_step, after)
            if self.state is not None:
                self._note_changes(run, span, self.state)
            if self.opens and run.pipeline.outputs:
                span.output = {"action": span.attributes.get("action")}
                if self.state is not None and run.pipeline.inputs:  # what is left of the input is an input
                    span.output["shared"] = self.state.picture()
        finally:
            if self.pictures and self.state is not None:
                run.states.pop(id(self.state.shared), None)  # its picture ends with the visit that began it
            if owner is not None and error is None:
                owner.settle()  # nodes of an `_orch` of the user's that run side by side: one waits at a time
                owner.waiting = span  # until PocketFlow has asked for the successor
            else:
                span.deliver()

    @staticmethod
    def _note_changes(run: Run, span: Span, state: SharedState) -> None:
        changes = state.changes()
        if changes is None:
            return
        if run.pipeline.values_of_state:
            run.state_seq += 1
            step = {"seq": run.state_seq, **changes}
            if span.state is not None:  # the visit that took the first picture: its own step is the last
                span.state["end"] = step
                return
            span.state = step
            if state.number:
                step["of"] = state.number
        else:
            names = {kind: list(keys) for kind, keys in changes.items()}
            span.attributes["changed_keys"] = names


class Pass(Scope):
    """One parameter set of a batch flow, holding that pass's nodes."""

    __slots__ = ("index",)

    def __init__(self, frame: Span, flow: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(frame, flow, args[1] if len(args) > 1 else kwargs.get("params"))
        self.index = frame.items
        frame.items += 1

    def begin(self) -> None:
        flow_span: Span = self.frame
        run = flow_span.run
        span = self.span = Span(run, flow_span, "pass", f"{flow_span.name}[{self.index}]")
        self.token = current.set(span)
        span.attributes.update(item=self.index, flow=flow_span.attributes["flow"])
        span.next_step = flow_span.next_step
        try:
            if run.pipeline.inputs:
                span.input = run.pipeline.capture.snapshot(self.given)
        finally:
            span.announce()

    def finish(self, error: BaseException | None) -> None:
        span = self.span
        if span is None:
            return
        flow_span: Span = self.frame
        try:
            flow_span.next_step = max(flow_span.next_step, span.next_step)
            span.finish(error)
            if error is None:
                span.attributes["action"] = _action(self.result)
        finally:
            span.deliver()


class Retry(Scope):
    """PocketFlow's retry loop around one exec: numbers the attempts, and knows in the end whether a failed one was saved.

    Args:
        frame: the node's span, or that of its batch, whose items are numbered in the order in which they are made.
    """

    __slots__ = ("attempts", "failures", "item", "max_attempts")

    def __init__(self, frame: Any, node: Any) -> None:
        self.frame = frame
        self.node = node
        self.token = None
        self.attached = None
        self.span: Span | None = None
        self.attempts = 0
        self.failures: list[Span] = []
        self.max_attempts: int | None = None
        self.item: int | None = None
        try:
            self._number()
        except Exception as error:  # noqa: BLE001 - a seam: the host makes this object
            _BEGINNING.absorb(error)

    def _number(self) -> None:
        span = self.span = span_of(self.frame)
        if span is not None and issubclass(type(self.node), BatchNode):
            self.item = span.items
            span.items += 1

    def begin(self) -> None:
        self.token = current.set(self)
        retries = peek(self.node, "max_retries")
        self.max_attempts = retries if type(retries) is int else None

    def finish(self, error: BaseException | None) -> None:
        if not self.failures:
            return
        if error is None and self.span is not None:
            self.span.recovered = True
        for failure in self.failures:
            if error is None:
                failure.attributes["level"] = "WARNING"
            with _ENDING:  # each for itself
                failure.deliver()

    def ended_badly(self, error: BaseException | None) -> None:
        """Nothing: the span is the node's."""


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

    __slots__ = ("phase", "retry", "whole")

    def __init__(self, frame: Any, node: Any, phase: str, args: tuple[Any, ...], whole: bool) -> None:
        self.frame = frame
        self.node = node
        self.result = None
        self.span = None
        self.token = None
        self.attached = None
        self.phase = phase
        self.given = args
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
        item = retry.item if retry is not None else None
        name = f"{visit.name}.{phase}" if item is None else f"{visit.name}.{phase}[{item}]"
        span = self.span = Span(run, above, "attempt" if attempt else "phase", name)
        self.token = current.set(span)
        self.attached = _otel.attach(run.trace_id, span.span_id)
        attributes = span.attributes
        attributes["phase"] = phase
        if phase == "exec_fallback":
            span.child_error = above.child_error  # what it may raise again
        if item is not None:
            attributes["item"] = item
        if attempt:
            if retry is not None:
                retry.attempts += 1
                attributes["attempt"] = retry.attempts
                attributes["max_attempts"] = retry.max_attempts
            else:
                attributes["attempt"] = 1
        # the inputs of exec and post are outputs of others
        if pipeline.inputs and (phase == "prep" or pipeline.outputs):
            span.input = self._input(pipeline.capture.snapshot)

    def _input(self, snapshot: Any) -> Any:
        args = self.given
        if self.phase == "prep":
            shared: Any = args[0] if args else None
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
        failed = span.kind == "attempt" and retry is not None and isinstance(error, Exception)
        try:
            span.finish(error)
            if self.whole and (span.items or issubclass(type(self.node), BatchNode)):
                span.attributes["items"] = span.items
            if self.phase == "exec_fallback" and error is None and retry is not None and retry.span is not None:
                retry.span.recovered = True
            if error is None and span.run.pipeline.outputs:
                span.output = span.run.pipeline.capture.snapshot(self.result)
        finally:
            if failed and retry is not None:
                retry.failures.append(span)  # complete when it is known whether it was saved
                span.announce()
            else:
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

    __slots__ = ()

    def __init__(self, frame: Any, flow: Any, args: tuple[Any, ...]) -> None:
        self.frame = frame
        self.node = flow
        self.result = None
        self.span = None
        self.token = None
        self.attached = None
        self.given = args[0] if args else None

    def finish(self, error: BaseException | None) -> None:
        owner = span_of(self.frame)
        if owner is None or owner.waiting is None:
            return
        attributes = owner.waiting.attributes
        try:
            if error is None and self.result is not None:
                owner.expected = owner.run.graph.locate(owner.attributes["flow"], self.result)
                attributes["successor"] = owner.expected[0]
            elif peek(self.given, "successors"):
                attributes["no_successor"] = True
        finally:
            owner.settle()


def _action(result: Any) -> str:
    if type(result) is str and result:
        return result
    if result is None or (type(result) in _FALSY and not result):
        return "default"
    return key_text(result)


_FALSY = frozenset({str, int, float, bool, bytes, tuple, list, dict, set, frozenset})


# --- which call opens which scope ------------------------------------------------------------------------------------


class _Nothing:
    """The scope of a call that shows no span."""

    __slots__ = ()

    @staticmethod
    def done(result: Any) -> Any:
        """Give the result back."""
        return result

    @staticmethod
    def failed(error: BaseException) -> None:
        """Let it fly."""


_NOTHING = _Nothing()


def _visit(frame: Any, node: Any, _method: str, args: tuple[Any, ...]) -> Scope | None:
    if type(frame) is Span and frame.node is node:
        return None  # `run` has opened this visit already
    return Visit(frame, node, args, {}, None)


def _phase(frame: Any, node: Any, method: str, args: tuple[Any, ...]) -> Scope | None:
    if issubclass(type(node), Flow) and is_pocketflows(node, method):
        return None  # a flow that defines no prep or post of its own shows its nodes only
    return Step(frame, node, _PHASES[method], args, False)


def _whole_exec(frame: Any, node: Any, method: str, args: tuple[Any, ...]) -> Scope | None:
    if issubclass(type(node), BatchNode) or not is_pocketflows(node, method):
        return Step(frame, node, "exec", args, whole=True)
    return None  # the attempts of a plain node stand directly below it


def _route(frame: Any, node: Any, _method: str, args: tuple[Any, ...]) -> Scope:
    return Route(frame, node, args)


_PHASES = {name + form: name for name in ("prep", "exec", "exec_fallback", "post") for form in ("", "_async")}
_OPENS: dict[str, Callable[[Any, Any, str, tuple[Any, ...]], Scope | None]] = {
    "_run": _visit,
    "_run_async": _visit,
    "_exec": _whole_exec,
    "get_next_node": _route,
} | dict.fromkeys(_PHASES, _phase)


def open_scope(node: Any, method: str, args: tuple[Any, ...]) -> Scope | _Nothing:
    """Enter the scope of a call of a hooked method.

    Args:
        node: whose method is called.
        method: one of `_rewrite.HOOKED`.
        args: the call's arguments in PocketFlow's order.
    """
    frame = current.get()
    if frame is None or frame is UNTRACED:
        return _NOTHING
    try:
        scope = _OPENS[method](frame, node, method, args)
    except Exception as error:  # noqa: BLE001 - the seam
        _BEGINNING.absorb(error)
        return _NOTHING
    if scope is None:
        return _NOTHING
    scope.enter()
    return scope
