"""Visits of nodes and flows, and the passes of batch flows."""

from __future__ import annotations

from typing import Any

from pocketflow import Flow

from .. import _marks, _otel
from .._marks import mark_of
from .._options import Options, say_whose_config_holds
from .._runs import open_run
from .._state import SharedState
from ..capture_kinds import key_text
from ..delivery import delivery
from ..recorder import Branch, Run, Span, Untraced, current, parent_in
from ._look import class_name, peek
from ._routing import ASKING
from ._scopes import NOTHING, SCOPE, Nothing, NotRecorded, Whole, is_to_leave

queue = delivery.queue
_FALSY = frozenset({str, int, float, bool, bytes, tuple, list, dict, set, frozenset})


class Visit(Whole, Branch):
    """One visit of a node or flow; the outermost one is the root of the run.

    Args:
        run: that it belongs to.
        parent: the span above, None for the root.
        node: the node or flow.
        node_id: its id in the run's graph.
        name: of the span.
        counter: the span that counts the steps.
    """

    __slots__ = ("counter", "pictures", "watched", *SCOPE)

    def __init__(
        self, run: Run, parent: Span | None, node: Any, node_id: str, name: str, counter: Branch | None
    ) -> None:
        self.left = False
        self.token = self.attached = None
        self.counter: Branch | None = counter
        self.watched: SharedState | None = None
        self.pictures = False  # whether the picture of `shared` began here
        is_flow = issubclass(type(node), Flow)
        Branch.__init__(self, run, parent, "flow" if is_flow else "node", name, node)
        if parent is None:
            run.root = self
        else:
            self.within = _otel.opened_within(parent)
        visit = run.visits[node_id] = run.visits.get(node_id, 0) + 1
        step = counter.next_step if counter is not None else 1
        if is_flow:
            run.graph.opened(node_id)
            self.flow_id = node_id
            self.next_step = step
            self.attributes = {"node": node_id, "class": class_name(type(node)), "visit": visit}
        else:
            self.attributes = {"node": node_id, "class": class_name(type(node)), "visit": visit, "step": step}

    def _begin(self, args: tuple[Any, ...]) -> None:
        shared = args[0] if args else None
        run, parent = self.run, self.parent
        if parent is None:
            base = _otel.run_context(run)
            _otel.attach(self, base=base)
        try:
            if _shows_params(run, parent) and not _is_nothing(params := peek(self.node, "params")):
                self.attributes["params"] = run.pipeline.capture.snapshot(params)
                if parent is None:  # those below are its own, or of a pass
                    self.charge(self.attributes["params"])
            known = run.states.get(id(shared))
            if known is not None:
                self.watched = known
            elif SharedState.can_picture(shared):
                self._picture(shared)
            elif parent is None and run.pipeline.inputs:
                self.input = run.pipeline.capture.snapshot(shared)
                self.charge(self.input)
        finally:
            if run.pipeline.live:
                if isinstance(parent, Branch) and parent.kind == "function" and parent.next_step == 1:
                    parent.announce()  # a decorated function becomes a run with the first flow in it
                self.announce()

    def _picture(self, shared: Any) -> None:
        run = self.run
        state = self.watched = run.states[id(shared)] = SharedState(shared, run.pipeline.capture, run.pictured)
        run.pictured += 1
        self.pictures = True
        full = state.full()
        self._charge(state)
        if run.pipeline.values_of_state:
            run.state_seq += 1
            self.state = {"seq": run.state_seq, "full": full}
            if state.number:
                self.state["of"] = state.number
        if run.pipeline.inputs:
            self.input = full

    def finish(self, error: BaseException | None, result: Any = None) -> None:
        run, parent, counter, watched = self.run, self.parent, self.counter, self.watched
        self.counter = self.watched = None
        try:
            self.stop(error)
            if error is None:
                self.attributes["action"] = action_text(result)
            if counter is not None:
                counter.next_step = max(
                    counter.next_step, self.next_step if self.flow_id is not None else self.attributes["step"] + 1
                )
            if watched is not None:
                self._note_changes(run, watched)
            if parent is None and run.pipeline.outputs:
                self.output = {"action": self.attributes.get("action")}
                if watched is not None and run.pipeline.inputs:  # what is left of the input is an input
                    self.output["shared"] = watched.picture()
        finally:
            if self.flow_id is not None:
                run.graph.closed(self.flow_id)
            if parent is None:
                self.weight += run.graph.weight
            if self.pictures and watched is not None:
                run.states.pop(id(watched.shared), None)  # its picture ends with the visit that began it
            if error is None and counter is parent and counter is not None and counter.flow_id is not None:
                if counter.waiting is not None:
                    counter.settle()  # nodes of an `_orch` of the user's that run side by side: one waits at a time
                counter.waiting = self  # until PocketFlow has asked for the successor
                if counter.end is not None:
                    counter.settle()  # a visit that outlives its flow: nobody asks any more
            else:
                self.deliver()

    def _charge(self, state: SharedState) -> None:
        """Count what a picture has found among what waits in memory."""
        self.weight += state.weight
        if state.large:
            self.large = state.large if self.large is None else self.large + state.large

    def _note_changes(self, run: Run, state: SharedState) -> None:
        if state.may_wait and not (self.pictures and (state.is_behind or run.lost)):
            state.is_behind = True
            self.attributes["shared_not_compared"] = True
            return  # what changed stands with the next visit after which there is time for it
        turn = state.turn
        try:
            # else another thread is at it, for its own visit: what it does not find the next one does
            if turn.setdefault("of", self) is self:
                self._note_state(run, state)
        finally:
            # no call stands here, behind which a time limit of the host's might strike
            if "of" in turn and turn["of"] is self:
                del turn["of"]

    def _note_state(self, run: Run, state: SharedState) -> None:
        changes = state.changes()
        if changes is None:
            return
        self._charge(state)
        if not run.pipeline.values_of_state:
            if names := {kind: list(keys) for kind, keys in changes.items() if kind not in {"shown", "labels"}}:
                self.attributes["changed_keys"] = names
            return
        run.state_seq += 1
        step = {"seq": run.state_seq, **changes}
        if self.state is not None:  # the visit that took the first picture: its own step is the last
            self.state["end"] = step
            return
        self.state = step
        if state.number:
            step["of"] = state.number


class Pass(Whole, Branch):
    """One parameter set of a batch flow, holding that pass's nodes.

    Args:
        flow: the flow's visit.
    """

    __slots__ = SCOPE

    def __init__(self, flow: Visit) -> None:
        index = flow.items
        flow.items += 1
        self.left = False
        self.token = self.attached = None
        Branch.__init__(self, flow.run, flow, "pass", f"{flow.name}[{index}]")
        self.flow_id = flow_id = flow.flow_id or flow.name
        flow.run.graph.opened(flow_id)
        self.attributes["item"] = index
        self.next_step = flow.next_step

    def _begin(self, args: tuple[Any, ...]) -> None:
        try:
            if _shows_params(self.run, self):
                self.input = self.run.pipeline.capture.snapshot(args[1])
                self.charge(self.input)  # the `prep` that made it may be a generator, which nobody else reads
        finally:
            self.announce()

    def finish(self, error: BaseException | None, result: Any = None) -> None:
        flow: Any = self.parent
        try:
            flow.next_step = max(flow.next_step, self.next_step)
            self.stop(error)
            if error is None:
                self.attributes["action"] = action_text(result)
        finally:
            flow.run.graph.closed(self.flow_id)
            self.deliver()


def _shows_params(run: Run, at: Span | None) -> bool:
    """Whether parameters may be recorded at a place: in a pass they are an output, of the batch flow's `prep`."""
    if not run.pipeline.outputs:
        while at is not None and at.kind != "pass":
            at = at.parent
        return at is None and run.pipeline.inputs
    return run.pipeline.inputs


def _is_nothing(params: Any) -> bool:
    """Whether a node has no parameters; their truth is not asked, which may be code of the user's or an array's."""
    return params is None or (issubclass(type(params), dict) and dict.__len__(params) == 0)


def action_text(result: Any) -> str:
    """The action that a node returned, as text: "default" for a falsy one."""
    if type(result) is str and result:
        return result
    if result is None or (type(result) in _FALSY and not result):
        return "default"
    return key_text(result)


def _own_name(node: Any, run: Run) -> str | None:
    """The name that a mark gives; its settings, which do not hold in a run of others, are said."""
    mark = mark_of(node)
    if mark is None:
        return None
    if mark.config is not None:
        say_whose_config_holds(mark, run.pipeline.config)
    return mark.flow_name


def open_root(node: Any, shared: Any, options: Options, left: Span | None) -> Visit | NotRecorded:
    """Make the scope of a run, which has not begun.

    Args:
        node: the flow, or a node that is run on its own.
        shared: what it is run with.
        options: of the run.
        left: the span that the caller has been left in by a run that is over.
    """
    try:
        name = class_name(type(node))
        run = open_run(options, name, shared, left)
        if isinstance(run, NotRecorded):
            return run
        node_id = run.graph.root_flow(node, run.name) if issubclass(type(node), Flow) else run.graph.alone(run.name)
        return Visit(run, None, node, node_id, run.name, None)
    except BaseException as error:
        if is_to_leave(error, None):
            raise
        return NotRecorded(None)  # nothing of a run that could not be opened: its parts would come as runs of their own


def open_below(frame: Any, parent: Any, node: Any) -> Visit | NotRecorded | Nothing:
    """Make the scope of a visit inside a run, which has not begun.

    Args:
        frame: what the call was made in.
        parent: the span above.
        node: the node or flow.
    """
    try:
        run = parent.run
        is_flow = issubclass(type(node), Flow)
        in_graph = frame is parent and isinstance(parent, Branch) and parent.flow_id is not None
        if in_graph and parent.expected is not ASKING:  # a step of its graph
            counter: Branch | None = parent
            node_id, name = parent.expected or run.graph.locate(parent.flow_id, node)
            parent.expected = None
            if parent.waiting is not None:
                # an `_orch` of the user's never asked for the successor: this visit is the answer
                parent.waiting.attributes["successor"] = node_id
                parent.settle()
            if is_flow:
                name = _own_name(node, run) or name
                run.graph.add_flow(node, node_id, name, parent.flow_id)
        else:
            counter = parent if parent.kind == "function" else None
            name = (_own_name(node, run) if is_flow else None) or class_name(type(node))
            node_id = run.graph.root_flow(node, name) if is_flow else run.graph.alone(name)
        if _marks.are_nodes_marked and not is_flow:
            _own_name(node, run)
        if queue.is_full and queue.leaves_out(run):
            run.visits[node_id] = run.visits.get(node_id, 0) + 1
            if counter is not None:
                counter.next_step += 1
            return NotRecorded(None)
        return Visit(run, parent, node, node_id, name, counter)
    except BaseException as error:
        if is_to_leave(error, frame):
            raise
        return NOTHING


def open_visit(node: Any, args: tuple[Any, ...], _within: Any) -> Visit | NotRecorded | Nothing:
    """Open the scope of PocketFlow's call of a visit, unless `run` has opened it already."""
    frame = current.get()
    if frame is None or type(frame) is Untraced or (type(frame) is Visit and frame.node is node):
        return NOTHING
    scope: Visit | NotRecorded | Nothing = NOTHING
    try:
        parent = parent_in(frame)
        if parent is not None:
            scope = open_below(frame, parent, node)
            scope.begin(args)
    except BaseException as error:
        if is_to_leave(error, frame):
            raise
    return scope


def open_pass(flow: Visit) -> Pass | NotRecorded | Nothing:
    """Make the scope of one pass of a batch flow; passes begin in the order of their parameter sets, also under gather."""
    try:
        if queue.is_full and queue.leaves_out(flow.run):
            flow.items += 1
            return NotRecorded(None)
        return Pass(flow)
    except BaseException as error:
        if is_to_leave(error, flow):
            raise
        return NOTHING
