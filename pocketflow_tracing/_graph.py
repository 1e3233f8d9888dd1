"""The picture of a flow: its nodes, told apart by their place in the graph, and the edges between them.

The one who knows PocketFlow's attributes is `frameworks.pocketflow`; this module gets nodes through its `look` function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ._state import key_text


@dataclass(slots=True)
class Look:
    """What one node looks like from outside.

    Args:
        key: identity that a template node and its copies share.
        cls: class name.
        successors: (action, node) pairs.
        start: the first node of a flow; None for a node.
        is_flow: whether it is a flow.
        keep: an object that must stay alive for `key` to stay unique.
    """

    key: int
    cls: str
    successors: Iterable[tuple[Any, Any]]
    start: Any
    is_flow: bool
    keep: object


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
        look: node -> Look; raises nothing.
    """

    __slots__ = ("_counts", "_flow_ids", "_ids", "_keep", "_look", "flows")

    def __init__(self, look: Callable[[Any], Look]) -> None:
        self._look = look
        self._ids: dict[tuple[str, int], tuple[str, str]] = {}  # (flow id, key) -> (node id, name)
        self._flow_ids: dict[int, str] = {}  # key -> id of a flow that runs on its own
        self._counts: dict[tuple[str, str], int] = {}  # (flow id, class) -> how many nodes
        self._keep: list[object] = []
        self.flows: dict[str, FlowPicture] = {}

    def root_flow(self, flow: Any, name: str) -> str:
        """The id of a flow that is run on its own (not as a node of another), walking it the first time."""
        look = self._look(flow)
        flow_id = self._flow_ids.get(look.key)
        if flow_id is None:
            if len(self._flow_ids) >= MAX_FLOWS:
                return name  # a program that builds a flow for every item: those beyond share one picture
            count = self._counts[name, ""] = self._counts.get((name, ""), 0) + 1
            flow_id = self._flow_ids[look.key] = name if count == 1 else f"{name}#{count}"
            self._keep.append(look.keep)
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
            start = self._look(flow).start
            if start is None:
                continue
            queue = [self._look(start)]
            seen = {queue[0].key}
            templates = {queue[0].key: start}
            picture.start = self._add_node(picture, queue[0])
            while queue:
                look = queue.pop(0)
                node_id = self._ids[flow_id, look.key][0]
                if look.is_flow:
                    pending.append((templates[look.key], node_id, look.cls))
                for action, successor in list(look.successors):
                    if successor is None:
                        continue
                    below = self._look(successor)
                    if below.key not in seen:
                        if len(self._ids) >= MAX_NODES:
                            continue
                        seen.add(below.key)
                        templates[below.key] = successor
                        queue.append(below)
                        self._add_node(picture, below)
                    text = key_text(action)
                    picture.edges.append({"from": node_id, "action": text, "to": self._ids[flow_id, below.key][0]})

    def locate(self, flow_id: str, node: Any) -> tuple[str, str]:
        """The id and the name of a node visited in a flow, made up now if the walk did not meet it.

        Beyond the limit of nodes, those of one class share a name that the graph does not show.
        """
        look = self._look(node)
        known = self._ids.get((flow_id, look.key))
        if known is None:
            if len(self._ids) >= MAX_NODES:
                return f"{flow_id}/{look.cls}", look.cls
            picture = self.flows.get(flow_id)
            if picture is None:
                picture = self.flows[flow_id] = FlowPicture(flow_id, flow_id)
            self._add_node(picture, look)
            known = self._ids[flow_id, look.key]
        return known

    def _add_node(self, picture: FlowPicture, look: Look) -> str:
        prefix = "" if picture.id == next(iter(self.flows)) else f"{picture.id}/"
        count = self._counts[picture.id, look.cls] = self._counts.get((picture.id, look.cls), 0) + 1
        name = look.cls if count == 1 else f"{look.cls}#{count}"
        node_id = prefix + name
        self._keep.append(look.keep)
        self._ids[picture.id, look.key] = (node_id, name)
        kind = "flow" if look.is_flow else "node"
        picture.nodes.append({"id": node_id, "name": name, "kind": kind, "class": look.cls})
        return node_id

    def plain(self) -> dict[str, Any]:
        """The graph as a record holds it."""
        return {
            "flows": [
                {"id": flow.id, "name": flow.name, "start": flow.start, "nodes": flow.nodes, "edges": flow.edges}
                for flow in list(self.flows.values())
            ]
        }
