"""The tree of a run's spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .rows import RunRow, SpanRow

__all__ = ["SpanNode", "build_tree"]


@dataclass(slots=True, eq=False)  # compared by identity: two nodes are never compared with all that hangs below them
class SpanNode:
    """A span and the spans below it, sorted by start."""

    span: SpanRow
    children: list[SpanNode] = field(default_factory=list)

    def walk(self) -> Iterator[tuple[int, SpanNode]]:
        """Yield (depth, node) for this node and everything below, in the order of a printed tree."""
        pending = [(0, self)]
        while pending:
            depth, node = pending.pop()
            yield depth, node
            pending.extend((depth + 1, child) for child in reversed(node.children))


def build_tree(run: RunRow, spans: Iterable[SpanRow]) -> SpanNode:
    """Return the root of a run's tree; no span is left out.

    Args:
        run: the run; it stands in for its root span where that is not written yet.
        spans: in any order. One whose parent is unknown hangs under the root.
    """
    nodes = {span.span_id: SpanNode(span) for span in spans}
    root = nodes.get(run.run_id)
    if root is None:
        root = nodes[run.run_id] = SpanNode(_stand_in(run))
    for node in nodes.values():
        if node is not root:
            _parent(node, nodes, root).children.append(node)
    _adopt_cycles(nodes, root)
    for node in nodes.values():
        node.children.sort(
            key=lambda child: child.span.start_ns
        )  # stable: what began at once stays in order of arrival
    return root


def _parent(node: SpanNode, nodes: dict[str, SpanNode], root: SpanNode) -> SpanNode:
    parent = nodes.get(node.span.parent_id or "", root)
    return root if parent is node else parent


def _adopt_cycles(nodes: dict[str, SpanNode], root: SpanNode) -> None:
    # Spans that name each other as parents hang from nothing: the first of each such ring is put under the root.
    reached = {node.span.span_id for _, node in root.walk()}
    for span_id, node in nodes.items():
        if span_id in reached:
            continue
        nodes[node.span.parent_id or ""].children.remove(node)
        root.children.append(node)
        reached.update(below.span.span_id for _, below in node.walk())


def _stand_in(run: RunRow) -> SpanRow:
    return SpanRow(
        run_id=run.run_id,
        trace_id=run.trace_id,
        span_id=run.run_id,
        parent_id=None,
        kind="flow",
        name=run.name,
        status=run.status,
        start_ns=run.start_ns,
        end_ns=run.end_ns,
        error=run.error,
    )
