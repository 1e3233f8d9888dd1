"""The picture of a flow: its nodes, told apart by their place in the graph, and the edges between them.

Only `frameworks._look` knows PocketFlow's attributes; this module looks at nodes through it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ._state import key_text


class Look(NamedTuple):
    """What one node looks like from outside.

    Args:
        place: the object by whose identity its place in the graph is known; a template node and its copies share it.
        cls: class name.
        successors: (action, node) pairs.
        start: the first node of a flow; None for a node.
        is_flow: whether it is a flow.
    """

    place: Any
    cls: str
    successors: list[tuple[Any, Any]]
    start: Any
    is_flow: bool


class Looking(Protocol):
    """How the nodes of a framework are looked at; nothing of it raises."""

    def place(self, node: Any) -> Any:
        """What a place in the graph is known by, see `Look`."""

    def look(self, node: Any, at: Any) -> Look:
        """What the graph shows of a node at a place."""


@dataclass(slots=True)
class FlowPicture:
    """One flow of the graph: nodes and edges in plain data, ids unique in the run."""

    id: str
    name: str
    start: str | None = None
    nodes: list[dict[str, str]] = field(default_factory=list)
    edges: list[dict[str, str]] = field(default_factory=list)


MAX_FLOWS = 100
"""Flows of one run that are walked by themselves."""

MAX_NODES = 1000
"""Nodes of one run's graph; a program that makes nodes without end must not make its trace grow without end."""


class Graph:
    """The graph of a run; grows when a flow or node turns up that was not there at the start.

    Args:
        looking: at the framework's nodes.
    """

    __slots__ = ("_counts", "_flow_ids", "_ids", "_keep", "_look", "_place", "flows")

    def __init__(self, looking: Looking) -> None:
        self._look = looking.look
        self._place = looking.place
        self._ids: dict[tuple[str, int], tuple[str, str]] = {}  # (flow id, key) -> (node id, name)
        self._flow_ids: dict[int, str] = {}  # key -> id of a flow that runs on its own
        self._counts: dict[tuple[str, str], int] = {}  # (flow id, class) -> how many nodes
        self._keep: list[object] = []  # places, so that their ids stay theirs
        self.flows: dict[str, FlowPicture] = {}

    def root_flow(self, flow: Any, name: str) -> str:
        """The id of a flow that is run on its own (not as a node of another), walking it the first time."""
        place = self._place(flow)
        flow_id = self._flow_ids.get(id(place))
        if flow_id is None:
            if len(self._flow_ids) >= MAX_FLOWS:
                return name  # a program that builds a flow for every item: those beyond share one picture
            count = self._counts[name, ""] = self._counts.get((name, ""), 0) + 1
            flow_id = self._flow_ids[id(place)] = name if count == 1 else f"{name}#{count}"
            self._keep.append(place)
            self.add_flow(flow, flow_id, name)
        return flow_id

    def add_flow(self, flow: Any, flow_id: str, name: str) -> None:
        """Walk a flow and the flows nested in it, breadth first, naming each node by its class and place."""
        pending = [(flow, flow_id, name)]
        while pending:
            flow, flow_id, name = pending.pop(0)
            if flow_id in self.flows:
                continue
            picture = self.flows[flow_id] = FlowPicture(flow_id, name)
            start = self._look(flow, self._place(flow)).start
            if start is not None:
                pending += self._walk(picture, start)

    def _walk(self, picture: FlowPicture, start: Any) -> list[tuple[Any, str, str]]:
        """Add the nodes and edges of one flow; returns (flow, id, name) of those nested in it."""
        nested: list[tuple[Any, str, str]] = []
        first = self._look(start, self._place(start))
        picture.start = self._add_node(picture, first)
        names = {id(first.place): picture.start}
        queue = [(start, first)]
        for node, look in queue:  # it grows while it is walked
            node_id = names[id(look.place)]
            if look.is_flow:
                nested.append((node, node_id, look.cls))
            for action, successor in look.successors:
                if successor is None:
                    continue
                place = self._place(successor)
                below_id = names.get(id(place))
                if below_id is None:
                    if len(self._ids) >= MAX_NODES:
                        continue
                    below = self._look(successor, place)
                    below_id = names[id(place)] = self._add_node(picture, below)
                    queue.append((successor, below))
                text = action if type(action) is str else key_text(action)
                picture.edges.append({"from": node_id, "action": text, "to": below_id})
        return nested

    def locate(self, flow_id: str, node: Any) -> tuple[str, str]:
        """The id and the name of a node visited in a flow, made up now if the walk did not meet it.

        Beyond the limit of nodes, those of one class share a name that the graph does not show.
        """
        place = self._place(node)
        known = self._ids.get((flow_id, id(place)))
        if known is None:
            look = self._look(node, place)
            if len(self._ids) >= MAX_NODES:
                return f"{flow_id}/{look.cls}", look.cls
            picture = self.flows.get(flow_id)
            if picture is None:
                picture = self.flows[flow_id] = FlowPicture(flow_id, flow_id)
            self._add_node(picture, look)
            known = self._ids[flow_id, id(place)]
        return known

    def _add_node(self, picture: FlowPicture, look: Look) -> str:
        flow_id, cls = picture.id, look.cls
        prefix = "" if flow_id == next(iter(self.flows)) else f"{flow_id}/"
        count = self._counts[flow_id, cls] = self._counts.get((flow_id, cls), 0) + 1
        name = cls if count == 1 else f"{cls}#{count}"
        node_id = prefix + name
        self._keep.append(look.place)
        self._ids[flow_id, id(look.place)] = (node_id, name)
        picture.nodes.append({"id": node_id, "name": name, "kind": "flow" if look.is_flow else "node", "class": cls})
        return node_id

    def plain(self) -> dict[str, Any]:
        """The graph as a record holds it."""
        return {
            "flows": [
                {"id": flow.id, "name": flow.name, "start": flow.start, "nodes": flow.nodes, "edges": flow.edges}
                for flow in list(self.flows.values())
            ]
        }
