"""The tree of a run: nothing is lost, whatever the parents say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pocketflow_tracing.store import RunRow, SpanRow, build_tree

RUN = RunRow("root", "t", "F", "success", 0, 9, "p", 1, 0, 0, 0, 0, 0, 0, None, 0)


def span(span_id, parent_id, start=0):
    return SpanRow("root", "t", span_id, parent_id, "node", span_id, "success", start)


def shape(node):
    return {node.span.span_id: [shape(child) for child in node.children]} if node.children else node.span.span_id


def test_children_by_start():
    """Children stand in the order of their starts, whatever the order of the rows."""
    spans = [span("c", "root", 3), span("b1", "b", 9), span("b", "root", 2), span("root", None), span("b0", "b", 5)]
    assert {"root": [{"b": ["b0", "b1"]}, "c"]} == shape(build_tree(RUN, spans))


def test_orphans():
    """Spans of unknown parents hang under the root."""
    assert {"root": ["x", "y"]} == shape(
        build_tree(RUN, [span("root", "foreign"), span("x", "gone"), span("y", None, 1)])
    )


def test_a_root_that_is_not_written_yet():
    """The run stands in for its root span."""
    tree = build_tree(RUN, [span("x", "root")])
    assert ({"root": ["x"]}, "F") == (shape(tree), tree.span.name)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 15), st.integers(0, 3))))
def test_no_span_is_lost(triples):
    """For any parents, rings included, each span stands in the tree exactly once."""
    spans = {f"s{number}": span(f"s{number}", f"s{parent}", start) for number, parent, start in triples}
    found = [node.span.span_id for _, node in build_tree(RUN, spans.values()).walk()]
    assert sorted([*spans, "root"]) == sorted(found)


def test_a_deep_tree():
    """Depth does not end in a RecursionError."""
    spans = [span("root", None), *(span(f"s{n}", f"s{n - 1}" if n else "root", n) for n in range(5000))]
    assert 5000 == max(depth for depth, _ in build_tree(RUN, spans).walk())
