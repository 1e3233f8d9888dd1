"""Visits of nodes and flows, the passes of batch flows, and the routing between visits."""

from __future__ import annotations

from typing import Any

from pocketflow import Flow

from .. import _otel
from .._guard import is_hosts
from .._options import Options, mark_of
from .._runs import open_run
from .._state import SharedState, key_text
from ..recorder import UNTRACED, Run, Span, current, span_of
from . import _look
from ._look import class_name, peek
from ._scopes import BEGINNING, ENDING, NOTHING, Nothing, Scope

_FALSY = frozenset({str, int, float, bool, bytes, tuple, list, dict, set, frozenset})


class Visit(Scope):
    """One visit of a node or flow; the outermost one opens the run.

    Args:
        frame: what the call was made in, None for the outermost one.
        node: the node or flow.
        shared: what it is run with.
        options: of the run, when this visit opens it.
    """

    __slots__ = ("counter", "frame", "given", "opens", "options", "owner", "pictures", "watched")

    def __init__(self, frame: Any, node: Any, shared: Any, options: Options | None = None) -> None:
        self.start = 0
        self.left = False
        self.token = None
        self.attached = None
        self.frame = frame
        self.node = node
        self.given = shared
        self.options = options
        self.owner: Span | None = None  # the flow or pass whose graph this visit is a step of
        self.counter: Span | None = None  # the span that counts the steps
        self.watched: SharedState | None = None
        self.opens = frame is None
        self.pictures = False  # whether the picture of `shared` began here

    def begin(self) -> None:
        node = self.node
        opens = self.opens
        is_flow = issubclass(type(node), Flow)
        parent = None if opens else span_of(self.frame)
        run = self._open() if parent is None else parent.run
        if run is None:
            return
        node_id, name = self._place(run, parent, is_flow)
        step = self.counter.next_step if self.counter is not None else 1
        Span.__init__(self, run, parent, "flow" if is_flow else "node", name, node)
        if opens:
            run.root = self
        self.token = current.set(self)
        if opens:
            base = _otel.run_context(run.trace_id, run.name, run.attributes)
            self.attached = _otel.attach(run.trace_id, self.span_id, base=base)
        visit = run.visits[node_id] = run.visits.get(node_id, 0) + 1
        attributes = self.attributes = {"node": node_id, "class": class_name(type(node)), "visit": visit}
        if is_flow:
            attributes["flow"] = node_id
            self.next_step = step
        else:
            attributes["step"] = step
        try:
            if run.pipeline.inputs and (params := peek(node, "params")):
                attributes["params"] = run.pipeline.capture.snapshot(params)
            self._picture(run)
        finally:
            if parent is not None and parent.kind == "function" and not parent.announced:
                parent.announce()  # a decorated function becomes a run with the first flow in it
            self.announce()

    def begun_badly(self) -> None:
        """Trace nothing of a run that could not be opened: its parts would come as runs of their own."""
        if self.opens and self.token is None:
            self.token = current.set(UNTRACED)

    def _place(self, run: Run, parent: Span | None, is_flow: bool) -> tuple[str, str]:
        """The node's id in the graph and its name; notes whose step this visit is."""
        node = self.node
        if parent is None or self.frame is not parent or "flow" not in parent.attributes:
            if parent is not None and parent.kind == "function":
                self.counter = parent
            name = run.name if self.opens else class_name(type(node))
            name = (_own_name(node) if is_flow and not self.opens else None) or name
            return (run.graph.root_flow(node, name) if is_flow else name), name
        owner = self.owner = self.counter = parent
        place = owner.expected or run.graph.locate(owner.attributes["flow"], node)
        owner.expected = None
        if owner.waiting is not None:
            # an `_orch` of the user's never asked for the successor: this visit is the answer
            owner.waiting.attributes["successor"] = place[0]
            owner.settle()
        if is_flow:
            place = place[0], _own_name(node) or place[1]
            run.graph.add_flow(node, *place)
        return place

    def _open(self) -> Run | None:
        assert self.options is not None  # noqa: S101 - for the type checker: an opening visit has options
        opened = open_run(self.options, class_name(type(self.node)), self.given, _look)
        if isinstance(opened, Run):
            return opened
        self.token = current.set(UNTRACED)
        if opened.trace_id is not None:
            self.attached = _otel.attach(opened.trace_id, 1, sampled=False)
        return None

    def _picture(self, run: Run) -> None:
        shared = self.given
        known = run.states.get(id(shared))
        if known is not None:
            self.watched = known
            return
        if not SharedState.can_picture(shared):
            if self.opens and run.pipeline.inputs:
                self.input = run.pipeline.capture.snapshot(shared)
            return
        state = self.watched = run.states[id(shared)] = SharedState(shared, run.pipeline.capture, run.pictured)
        run.pictured += 1
        self.pictures = True
        full = state.full()
        self.weight = state.weight
        if run.pipeline.values_of_state:
            run.state_seq += 1
            self.state = {"seq": run.state_seq, "full": full}
            if state.number:
                self.state["of"] = state.number
        if run.pipeline.inputs:
            self.input = full

    def finish(self, error: BaseException | None, result: Any = None) -> None:
        run, owner, counter, watched = self.run, self.owner, self.counter, self.watched
        self.frame = self.given = self.options = self.owner = self.counter = self.watched = None
        try:
            self.stop(error)
            if error is None:
                self.attributes["action"] = action_text(result)
            if counter is not None:
                after = self.next_step if self.kind == "flow" else self.attributes["step"] + 1
                counter.next_step = max(counter.next_step, after)
            if watched is not None:
                self._note_changes(run, watched)
            if self.opens and run.pipeline.outputs:
                self.output = {"action": self.attributes.get("action")}
                if watched is not None and run.pipeline.inputs:  # what is left of the input is an input
                    self.output["shared"] = watched.picture()
        finally:
            if self.pictures and watched is not None:
                run.states.pop(id(watched.shared), None)  # its picture ends with the visit that began it
            if owner is not None and error is None:
                owner.settle()  # nodes of an `_orch` of the user's that run side by side: one waits at a time
                owner.waiting = self  # until PocketFlow has asked for the successor
            else:
                self.deliver()

    def _note_changes(self, run: Run, state: SharedState) -> None:
        changes = state.changes()
        self.weight += state.weight
        if changes is None:
            return
        if not run.pipeline.values_of_state:
            self.attributes["changed_keys"] = {kind: list(keys) for kind, keys in changes.items()}
            return
        run.state_seq += 1
        step = {"seq": run.state_seq, **changes}
        if self.state is not None:  # the visit that took the first picture: its own step is the last
            self.state["end"] = step
            return
        self.state = step
        if state.number:
            step["of"] = state.number


class Pass(Scope):
    """One parameter set of a batch flow, holding that pass's nodes.

    Args:
        above: the flow's span.
        params: of the pass.
    """

    __slots__ = ("index", "params")

    def __init__(self, above: Span, params: Any) -> None:
        super().__init__()
        self.parent = above
        self.params = params
        self.index = above.items  # numbered when it is made, in the order of the parameter sets
        above.items += 1

    def begin(self) -> None:
        flow: Any = self.parent
        run = flow.run
        Span.__init__(self, run, flow, "pass", f"{flow.name}[{self.index}]")
        self.token = current.set(self)
        self.attributes.update(item=self.index, flow=flow.attributes["flow"])
        self.next_step = flow.next_step
        try:
            if run.pipeline.inputs:
                self.input = run.pipeline.capture.snapshot(self.params)
        finally:
            self.params = None
            self.announce()

    def finish(self, error: BaseException | None, result: Any = None) -> None:
        flow: Any = self.parent
        try:
            flow.next_step = max(flow.next_step, self.next_step)
            self.stop(error)
            if error is None:
                self.attributes["action"] = action_text(result)
        finally:
            self.deliver()


class Route:
    """PocketFlow's question for the successor: it completes the visit before it.

    Args:
        owner: the flow or pass that asks.
        node: whose successor it asks for.
    """

    __slots__ = ("node", "owner")

    def __init__(self, owner: Span, node: Any) -> None:
        self.owner = owner
        self.node = node

    def done(self, successor: Any) -> Any:
        """Note the successor, and give it back."""
        try:
            self.finish(None, successor)
        except Exception as failure:
            if is_hosts(failure):
                raise
            ENDING.absorb(failure)
        return successor

    def failed(self, error: BaseException) -> None:
        """Complete the visit without a successor."""
        with ENDING:
            self.finish(error, None)

    def finish(self, error: BaseException | None, successor: Any) -> None:
        """Complete the visit that waits for its successor."""
        owner = self.owner
        if owner.waiting is None:
            return
        attributes = owner.waiting.attributes
        try:
            if error is None and successor is not None:
                owner.expected = owner.run.graph.locate(owner.attributes["flow"], successor)
                attributes["successor"] = owner.expected[0]
            elif peek(self.node, "successors"):
                attributes["no_successor"] = True
        finally:
            owner.settle()


def action_text(result: Any) -> str:
    """The action that a node returned, as text: "default" for a falsy one."""
    if type(result) is str and result:
        return result
    if result is None or (type(result) in _FALSY and not result):
        return "default"
    return key_text(result)


def _own_name(flow: Any) -> str | None:
    mark = mark_of(flow)
    return mark.flow_name if mark is not None else None


def open_visit(node: Any, args: tuple[Any, ...]) -> Visit | Nothing:
    """Open the scope of a visit, unless `run` has opened it already."""
    frame = current.get()
    if frame is None or frame is UNTRACED or (type(frame) is Visit and frame.node is node):
        return NOTHING
    visit = Visit(frame, node, args[0] if args else None)
    visit.enter()
    return visit


def open_route(_flow: Any, args: tuple[Any, ...]) -> Route | Nothing:
    """Open the scope of the question for a successor."""
    frame = current.get()
    if frame is None or frame is UNTRACED:
        return NOTHING
    try:
        owner = span_of(frame)
        if owner is not None and owner.waiting is not None:
            return Route(owner, args[0] if args else None)
    except Exception as error:
        if is_hosts(error):
            raise
        BEGINNING.absorb(error)
    return NOTHING
