"""What the pages are made of: places in a graph, steps of shared, pairs of visits, figures, one script."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.sample import Run

from pocketflow_tracing.store import RunFilter, Store, StoreWriter
from pocketflow_tracing.viewer.compare import align, difference
from pocketflow_tracing.viewer.layers import backward
from pocketflow_tracing.viewer.layout import lay_out
from pocketflow_tracing.viewer.params import cursor_of, filters_of, parse_cursor
from pocketflow_tracing.viewer.shell import STATIC, bundle
from pocketflow_tracing.viewer.states import states_json, value_json
from pocketflow_tracing.viewer.ways import stretches


def flow(edges, name="F", start=None):
    nodes = list(dict.fromkeys(node for edge in edges for node in (edge[0], edge[-1])))
    return {
        "id": name,
        "name": name,
        "start": start or nodes[0],
        "nodes": [{"id": node, "name": node, "kind": "node", "class": node} for node in nodes],
        "edges": [
            {"from": edge[0], "action": edge[1] if len(edge) == 3 else "default", "to": edge[-1]} for edge in edges
        ],
    }


@given(
    st.lists(
        st.tuples(st.sampled_from("ABCDEFGHIJ"), st.sampled_from("xyz"), st.sampled_from("ABCDEFGHIJ")),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=150, deadline=None)
def test_any_graph_has_a_picture(edges):
    """Nodes never overlap, everything stands inside the picture, edges lead down unless they lead back."""
    (picture,) = lay_out({"flows": [flow(edges)]})
    nodes = picture["nodes"]
    assert edges[0][0] == nodes[0]["id"]
    for number, one in enumerate(nodes):
        assert 0 <= one["x"] <= one["x"] + one["width"] <= picture["width"] + 0.01
        assert 0 <= one["y"] <= one["y"] + one["height"] <= picture["height"] + 0.01
        for other in nodes[number + 1 :]:
            apart_x = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            assert apart_x or one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
    for edge in picture["edges"]:
        assert all(-0.01 <= x <= picture["width"] + 0.01 for x, _ in edge["points"])
        if not edge["back"]:
            assert all(above[1] <= below[1] for above, below in pairwise(edge["points"]))


def test_a_nested_flow_is_a_box_in_its_place():
    """A node whose id is a flow's id holds that flow's picture, and is large enough for it."""
    outer = flow([("A", "B")])
    inner = flow([("B/X", "B/Y"), ("B/Y", "again", "B/X")], "B")
    (picture,) = lay_out({"flows": [outer, inner]})
    box = next(node for node in picture["nodes"] if node["id"] == "B")
    assert ["B/X", "B/Y"] == [node["id"] for node in box["inner"]["nodes"]]
    assert box["inner"]["x"] + box["inner"]["width"] <= box["width"]
    assert box["inner"]["y"] + box["inner"]["height"] <= box["height"]


@pytest.mark.parametrize(
    "graph", [None, {}, {"flows": []}, {"flows": [{"id": "F", "name": "F", "start": None, "nodes": [], "edges": []}]}]
)
def test_no_graph_has_no_picture(graph):
    """A node that ran by itself, or a flow without a start."""
    assert [] == lay_out(graph)


def test_edges_that_lead_back_are_told():
    """Only those that close a loop, seen from the start."""
    assert {("C", "A")} == backward(["A"], [("A", "B"), ("B", "C"), ("C", "A"), ("A", "C")])
    assert {("A", "A")} == backward(["A"], [("A", "A")])


def test_steps_of_shared_are_told_by_order_with_large_values_left_out():
    """A visit that took the first picture and changed it itself makes two steps; large values wait to be asked for."""
    large = "x" * 5000
    states = [
        (
            "s2",
            {
                "seq": 5,
                "changed": {"a": {"inside": [{"path": ["k"], "added": 1}]}, "b": {"old": 1, "new": 2}},
                "removed": ["c"],
            },
        ),
        ("s1", {"seq": 1, "full": {"a": {}, "b": 1, "c": large}, "end": {"seq": 3, "added": {"d": 4}}}),
    ]
    steps = states_json(states)
    assert [(1, "s1", True), (3, "s1", False), (5, "s2", False)] == [
        (step["seq"], step["span"], step["first"]) for step in steps
    ]
    assert {"a": {"v": {}}, "b": {"v": 1}, "c": {"size": 5000}} == steps[0]["added"]
    assert {"a": {"inside": [{"path": ["k"], "added": 1}]}, "b": {"v": 2}} == steps[2]["changed"]
    assert {"v": large} == value_json(states, 1, "c")
    assert value_json(states, 5, "c") is None
    assert {"v": large} == states_json(states, whole=True)[0]["added"]["c"]


def rows(run):
    return run.record, run.spans


def stored(tmp_path, *runs):
    writer = StoreWriter(tmp_path / "traces.db")
    for run in runs:
        writer.write([run.record], run.spans)
    writer.close()
    return Store(tmp_path / "traces.db")


def visits(number, *names, **actions):
    run = Run(number)
    run.span("flow", "F", 0, 10)
    for at, name in enumerate(names):
        run.span(
            "node", name, at, at + 1, attributes={"node": name, "action": actions.get(name, "default"), "visit": 1}
        )
    return run


@pytest.mark.parametrize(
    ("left", "right", "parts_at", "pairs"),
    [
        (("A", "B"), ("A", "B"), None, ["AA", "BB"]),
        (("A", "B", "C"), ("A", "C"), 1, ["AA", "B-", "CC"]),
        (("A", "B"), ("A", "C"), 1, ["AA", "B-", "-C"]),
        (("A",), ("A", "A", "A"), 1, ["AA", "-A", "-A"]),
        ((), ("A",), 0, ["-A"]),
        ((), (), None, []),
    ],
)
def test_visits_are_paired(tmp_path, left, right, parts_at, pairs):
    """The longest common way stands side by side; what only one run visited has an empty side."""
    one, other = visits(1, *left), visits(2, *right)
    store = stored(tmp_path, one, other)
    sides = [(store.run(run.run_id), store.spans(run.run_id)) for run in (one, other)]
    answer = align(*sides)
    assert parts_at == answer["parts_at"]
    assert pairs == [
        "".join((pair[side] or {"name": "-"})["name"] for side in ("left", "right")) for pair in answer["pairs"]
    ]


def test_a_decision_parts_runs_before_their_ways_do(tmp_path):
    """The visit that decided otherwise is the point where they part."""
    one, other = visits(1, "A", "B", "C", A="x"), visits(2, "A", "B", "C", A="y")
    store = stored(tmp_path, one, other)
    answer = align(*[(store.run(run.run_id), store.spans(run.run_id)) for run in (one, other)])
    assert 0 == answer["parts_at"]
    assert ["action"] == answer["pairs"][0]["differs"]


@given(st.lists(st.sampled_from("ABC"), max_size=900), st.lists(st.sampled_from("ABCD"), max_size=900))
@settings(max_examples=50, deadline=None)
def test_two_ways_are_covered_in_order(left, right):
    """Every visit stands in one stretch, in order; of long ways too, which are compared by windows."""
    at = (0, 0)
    for from_l, to_l, from_r, to_r in stretches(left, right):
        assert at == (from_l, from_r)
        at = (to_l, to_r)
    assert (len(left), len(right)) == at


def test_one_visit_less_in_a_long_way_is_found():
    """Before it and after it the ways are the same; hours would be needed to compare them all at once."""
    left = [("Think", "Act", "Look")[number * number % 7 % 3] for number in range(20_000)]
    right = [*left[:7000], *left[7001:]]
    apart = [found for found in stretches(left, right) if left[found[0] : found[1]] != right[found[2] : found[3]]]
    assert 1 == sum(to_l - from_l for from_l, to_l, _, _ in apart)
    assert 0 == sum(to_r - from_r for _, _, from_r, to_r in apart)


def test_texts_differ_line_by_line():
    """Inside of values too: a text of several lines stands as its lines."""
    assert [[" ", "a"], ["-", "b"], ["+", "c"]] == difference("a\nb", "a\nc")
    assert ["-", "+"] == [sign for sign, _ in difference({"t": "a\nb"}, {"t": "a\nc"}) if sign in "-+"]
    assert [] == difference({"a": 1}, {"a": 1})


def test_filters_and_places_survive_the_url():
    """What a URL names is what is asked of the store."""
    assert RunFilter(flow="F", status="error", text="a b") == filters_of(
        {"flow": "F", "status": "error", "text": "a b", "user": ""}
    )
    assert (1_790_000_000_000_000_000, "ab") == parse_cursor(cursor_of(1_790_000_000_000_000_000, "ab"))
    assert parse_cursor("") is None


def test_the_scripts_stand_as_one():
    """The exported page's script holds every module it needs, and nothing that only a server has."""
    script = bundle("offline.js")
    assert "import " not in "".join(line for line in script.splitlines() if line.startswith(("import", "export")))
    assert "fetch(" not in script
    assert all(f"class {name}" in script for name in ("Timeline", "GraphView", "StateView", "Panel"))
    names = re.findall(r"^(?:async )?(?:const|let|function|class) (\w+)", script, re.MULTILINE)
    assert [] == [name for name, number in Counter(names).items() if number > 1]  # they share one scope


def test_no_script_makes_markup_of_text():
    """The ways by which text becomes markup or code stand in no file."""
    for file in STATIC.glob("*.js"):
        text = file.read_text(encoding="utf-8")
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "srcdoc",
            "http:",
            "https:",
        ):
            assert way not in text.replace('const SVG = "http://www.w3.org/2000/svg";', ""), f"{file.name}: {way}"


def test_files_are_in_the_wheel(tmp_path):
    """Templates, scripts and styles stand in the package, not beside it."""
    assert {"base.css", "run.js", "offline.js", "icon.svg"} <= {file.name for file in STATIC.iterdir()}
    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlib.resources import files; print(files('pocketflow_tracing.viewer').joinpath('static/run.js').is_file())",
        ],
        capture_output=True,
        text=True,
    )
    assert "True" == answer.stdout.strip()
