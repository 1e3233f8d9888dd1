"""The picture of a flow: its nodes, told apart by their place in the graph, and the edges between them.

Only `frameworks._look` knows PocketFlow's attributes: nodes are looked at through it, and nothing of it raises.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from .capture_kinds import key_text
from .frameworks import _look


class FlowPicture:
    """One flow of the graph, in plain data; ids are unique in the run.

    Args:
        flow_id: of the flow.
        name: of the flow.
        prefix: of the ids of its nodes.
        taken: the ids that the run has given so far.
    """

    __slots__ = ("counts", "edges", "id", "ids", "name", "named", "nodes", "places", "prefix", "start", "taken")

    def __init__(self, flow_id: str, name: str, prefix: str, taken: set[str]) -> None:
        self.id = flow_id
        self.name = name
        self.prefix = prefix
        self.taken = taken
        self.named: dict[str, str] = {}  # ids by name, for when it is drawn over
        self.start: str | None = None
        self.ids: dict[int, tuple[str, str]] = {}  # by id of the place: id and name of the node there
        self.places: list[Any] = []  # so that their ids stay their own
        self.counts: dict[str, int] = {}  # nodes by class
        self.nodes: dict[str, tuple[str, str, bool]] = {}  # by id: name, class, whether it is a flow
        self.edges: dict[tuple[str, str, str], None] = {}  # from, action, to

    def add(self, place: Any, cls: str, is_flow: bool) -> str:
        """Give a node its id and its name."""
        count = self.counts[cls] = self.counts.get(cls, 0) + 1
        name = cls if count == 1 else f"{cls}#{count}"
        node_id = self.named.get(name)
        if node_id is None:
            node_id = self.named[name] = _claimed(self.taken, self.prefix + name, f"{self.id}/{name}")
        self.ids[id(place)] = (node_id, name)
        self.places.append(place)
        self.nodes[node_id] = (name, cls, is_flow)
        return node_id

    def let_go(self) -> None:
        """Forget the user's objects; what has been drawn stays, and is drawn over when the flow runs again."""
        self.ids.clear()
        self.places.clear()
        self.counts.clear()

    def plain(self) -> dict[str, Any]:
        """The flow as a record holds it."""
        return {
            "id": self.id,
            "name": self.name,
            "start": self.start,
            "nodes": [
                {"id": node_id, "name": name, "kind": "flow" if is_flow else "node", "class": cls}
                for node_id, (name, cls, is_flow) in list(self.nodes.items())
            ],
            "edges": [{"from": one, "action": action, "to": other} for one, action, other in list(self.edges)],
        }


MAX_FLOWS = 100
"""Flows of one run that are walked by themselves."""

_OTHERS = "…"
"""What those share that have names beyond the limit: a program may make a name for every item."""

MAX_NODES = 1000
"""Nodes of one run's graph; a program that makes nodes without end must not make its trace grow without end."""

MAX_EDGES = 1000
"""Likewise its edges, of which agents that may all hand over to each other have as many as pairs: each run looks at them."""

_ENTRY_BYTES = 135
"""That a node or an edge takes, measured with a thousand of each."""


class Graph:
    """The graph of a run; grows when a flow or node turns up that was not there at the start."""

    __slots__ = (
        "_alone", "_beyond", "_flow_ids", "_late", "_open", "_root_of", "_roots", "_taken", "flows",
    )  # fmt: skip

    def __init__(self) -> None:
        self._flow_ids: dict[int, tuple[str, Callable[[], Any]]] = {}  # by id of the place: flows that run on their own
        self._open: dict[str, int] = {}  # flows and passes that are running, by the flow's id
        # flows that run on their own, by id, with the ids of those nested in them; and the other way round
        self._roots: dict[str, dict[str, None]] = {}
        self._root_of: dict[str, str] = {}
        self._beyond: dict[str, str] = {}  # ids of those beyond the limit, by name
        self._alone: dict[str, str] = {}  # ids of nodes that run on their own, by name
        self._late: dict[str, str] = {}  # ids of nodes beyond the limit, by flow and class
        self._taken: set[str] = set()  # ids
        self.flows: dict[str, FlowPicture] = {}

    def root_flow(self, flow: Any, name: str) -> str:
        """The id of a flow that is run on its own (not as a node of another), which is walked now."""
        place = _look.place(flow)
        flow_id, known = self._flow_ids.get(id(place), ("", _nobody))
        if known() is None or _look.place(known()) is not place:
            if len(self._roots) >= MAX_FLOWS:
                return self._one_of_many(name)
            flow_id = _claimed(self._taken, name)
            self._flow_ids[id(place)] = flow_id, _weak(flow)
        self.add_flow(flow, flow_id, name, flow_id)
        return flow_id

    def _one_of_many(self, name: str) -> str:
        """A program that builds a flow for every item: those of one name beyond the limit share one picture."""
        flow_id = self._shared(self._beyond, name, MAX_FLOWS)
        if flow_id not in self._roots:
            self._root_of[flow_id] = flow_id
            self._roots[flow_id] = {flow_id: None}
            self._picture(flow_id, name if name in self._beyond else _OTHERS)
        return flow_id

    def _shared(self, known: dict[str, str], name: str, most: int) -> str:
        """The id that things of one name share, and beyond so many names all others."""
        if name not in known and len(known) >= most:
            name = _OTHERS
        found = known.get(name)
        if found is None:
            found = known[name] = _claimed(self._taken, name)
        return found

    def alone(self, name: str) -> str:
        """The id of a node that is run on its own; those of one name share it, and the graph does not show them."""
        return self._shared(self._alone, name, MAX_NODES)

    def opened(self, flow_id: str) -> None:
        """Note that a flow, or a pass of one, begins."""
        self._open[flow_id] = self._open.get(flow_id, 0) + 1

    def closed(self, flow_id: str) -> None:
        """Note that it has ended; with a flow that ran on its own the user's objects are let go, as they would be without us."""
        left = self._open.pop(flow_id, 0) - 1
        if left > 0:
            self._open[flow_id] = left
            return
        for over in list(self._roots.get(flow_id, ()) if self._open else self.flows):
            self.flows[over].let_go()

    def add_flow(self, flow: Any, flow_id: str, name: str, within: str) -> None:
        """Walk a flow and the flows nested in it, breadth first, naming each node by its class and place.

        One that stands in several places is walked in the first, and in the others when it runs there: flows that are nested in
        themselves, or hand over to each other, have no end otherwise.

        Args:
            flow: to be walked.
            flow_id: its id.
            name: its name.
            within: the id of the flow that it is a node of, or its own.
        """
        root = self._root_of.get(within, within)
        pending = deque([(flow, flow_id, name)])
        walked: set[int] = set()  # ids of the places
        while pending:
            flow, flow_id, name = pending.popleft()
            place = id(_look.place(flow))
            if place in walked:
                continue
            walked.add(place)
            self._root_of[flow_id] = root
            self._roots.setdefault(root, {})[flow_id] = None
            picture = self._picture(flow_id, name)
            if not picture.ids:  # new, or to be looked at again after its objects were let go
                start = _look.start(flow)
                if start is not None:
                    pending += self._walk(picture, start)

    def _picture(self, flow_id: str, name: str) -> FlowPicture:
        picture = self.flows.get(flow_id)
        if picture is None:
            picture = self.flows[flow_id] = FlowPicture(flow_id, name, f"{flow_id}/" if self.flows else "", self._taken)
        return picture

    def _walk(self, picture: FlowPicture, start: Any) -> list[tuple[Any, str, str]]:
        """Add the nodes and edges of one flow; returns (flow, id, name) of those nested in it."""
        nested: list[tuple[Any, str, str]] = []
        look, place_of, ids, edges = _look.look, _look.place, picture.ids, picture.edges
        room = MAX_NODES - sum([len(flow.nodes) for flow in list(self.flows.values())])
        left = MAX_EDGES - sum([len(flow.edges) for flow in list(self.flows.values()) if flow is not picture])
        if room <= 0:
            return nested
        place = place_of(start)
        cls, is_flow = look(start)
        picture.start = picture.add(place, cls, is_flow)
        queue = [(start, picture.start, place, cls, is_flow)]
        for node, node_id, place, cls, is_flow in queue:  # it grows while it is walked
            if is_flow:
                nested.append((node, node_id, cls))
            for action, successor in list(place.items()) if type(place) is dict else ():
                if successor is None:
                    continue
                left -= 1
                if left < 0:
                    return nested
                below = place_of(successor)
                known = ids.get(id(below))
                if known is not None:
                    below_id = known[0]
                elif len(queue) < room:
                    its_class, is_nested = look(successor)
                    below_id = picture.add(below, its_class, is_nested)
                    queue.append((successor, below_id, below, its_class, is_nested))
                else:
                    continue
                edges[node_id, action if type(action) is str else key_text(action), below_id] = None
        return nested

    def locate(self, flow_id: str, node: Any) -> tuple[str, str]:
        """The id and the name of a node visited in a flow, made up now if the walk did not meet it.

        Beyond the limit of nodes, those of one class share a name that the graph does not show.
        """
        place = _look.place(node)
        picture = self._picture(flow_id, flow_id)
        known = picture.ids.get(id(place))
        if known is None:
            cls, is_flow = _look.look(node)
            if sum([len(flow.nodes) for flow in list(self.flows.values())]) >= MAX_NODES:
                return self._shared(self._late, f"{flow_id}/{cls}", MAX_NODES), cls
            picture.add(place, cls, is_flow)
            known = picture.ids[id(place)]
        return known

    @property
    def weight(self) -> int:
        """The bytes that it takes, estimated."""
        return _ENTRY_BYTES * sum([len(flow.nodes) + len(flow.edges) for flow in list(self.flows.values())])

    def has_action(self, action: str) -> bool:
        """Whether an action leads from a node to another one; "default" may."""
        flows = list(self.flows.values())
        return action == "default" or any(edge[1] == action for flow in flows for edge in list(flow.edges))

    def plain(self) -> dict[str, Any]:
        """The graph as a record holds it."""
        return {"flows": [flow.plain() for flow in list(self.flows.values())]}


def _claimed(taken: set[str], *wanted: str) -> str:
    """The first of these ids that nothing in the run has yet, else the last one with a number."""
    for one in wanted:
        if one not in taken:
            taken.add(one)
            return one
    number = 2
    while (numbered := f"{wanted[-1]}#{number}") in taken:
        number += 1
    taken.add(numbered)
    return numbered


def _weak(flow: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(flow)
    except TypeError:  # __slots__ without a place for it
        return lambda: flow


def _nobody() -> None:
    return None
