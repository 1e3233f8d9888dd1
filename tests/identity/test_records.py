"""The record tree of each kind of node and flow, compared literally."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import threading
import warnings
import weakref

import pytest
from kit import Records, World, use
from pocketflow import AsyncFlow, AsyncNode, Flow, Node

from pocketflow_tracing import (
    _runs,
    add_metadata,
    add_score,
    capture_errors,
    instrument,
    recorder,
    trace_flow,
    uninstrument,
    with_context,
)
from pocketflow_tracing._ids import Source, source
from pocketflow_tracing.capture import Capture
from pocketflow_tracing.delivery import delivery
from pocketflow_tracing.frameworks import _look
from pocketflow_tracing.sinks import otlp

FLAVOURS = pytest.mark.parametrize("flavour", ["sync", "async", "parallel"])


def world(flavour):
    return World("object", flavour)


@FLAVOURS
def test_a_node(flavour, records, exact):
    """A node holds its phases; times, ids, inputs, outputs and changes of shared are those of the run."""
    w = world(flavour)
    node = w.node(
        "Greet",
        prep=lambda self, shared: shared["name"],
        exec=lambda self, name: f"hello {name}",
        post=lambda self, shared, prep_res, exec_res: shared.update(greeting=exec_res),
    )()
    w.run(w.flow(node), {"name": "Ada"})
    flow, node, prep, attempt, post = records.spans()
    kind = w.Flow.__name__
    assert [span.kind for span in (flow, node, prep, attempt, post)] == ["flow", "node", "phase", "attempt", "phase"]
    assert [span.name for span in (flow, node)] == [kind, "Greet"]
    assert [span.name for span in (prep, attempt, post)] == ["Greet.prep", "Greet.exec", "Greet.post"]
    assert {span.status for span in records.spans()} == {"success"}
    assert flow.attributes == {"node": kind, "class": kind, "visit": 1, "action": "default"}
    assert node.attributes == {"node": "Greet", "class": "Greet", "step": 1, "visit": 1, "action": "default"}
    assert prep.attributes == {"phase": "prep"}
    assert attempt.attributes == {"phase": "exec", "attempt": 1, "max_attempts": 1}
    assert post.attributes == {"phase": "post"}
    assert (flow.input, flow.output) == (
        {"name": "Ada"},
        {"action": "default", "shared": {"name": "Ada", "greeting": "hello Ada"}},
    )
    assert (prep.input, prep.output) == ({"shared": ["name"]}, "Ada")
    assert (attempt.input, attempt.output) == ("Ada", "hello Ada")
    assert (post.input, post.output) == ({"prep_res": "Ada", "exec_res": "hello Ada"}, None)
    assert flow.state == {"seq": 1, "full": {"name": "Ada"}}
    assert node.state == {"seq": 2, "added": {"greeting": "hello Ada"}}
    assert (node.input, node.output) == (None, None)
    # the clock gives 1 µs a reading: two for the run, one for each beginning and end
    times = [(span.start_ns, span.end_ns) for span in records.spans()]
    assert times == [(1000, 10000), (2000, 9000), (3000, 4000), (5000, 6000), (7000, 8000)]
    assert [int(span.span_id, 16) for span in records.spans()] == [2, 3, 4, 5, 6]
    run = records.run()
    assert (run.run_id, run.trace_id) == (f"{2:016x}", f"{1:032x}")
    assert (run.name, run.status, run.start_ns, run.end_ns) == (kind, "success", 1000, 10000)
    assert run.graph == {
        "flows": [
            {
                "id": kind,
                "name": kind,
                "start": "Greet",
                "nodes": [{"id": "Greet", "name": "Greet", "kind": "node", "class": "Greet"}],
                "edges": [],
            }
        ]
    }
    records.check()


@FLAVOURS
def test_a_loop_with_a_branch(flavour, records):
    """Visits are counted for each node, steps for the flow; each visit knows its action and successor."""
    w = world(flavour)

    def decide(self, shared, prep_res, exec_res):
        shared["n"] += 1
        return "search" if shared["n"] < 3 else "answer"

    choose = w.node("Choose", post=decide)()
    search = w.node("Search", post=lambda self, *a: "back")()
    choose - "search" >> search
    choose - "answer" >> w.node("Answer")()
    search - "back" >> choose
    w.run(w.flow(choose), {"n": 0})
    facts = [
        (span.name, *(span.attributes.get(name) for name in ("step", "visit", "action", "successor")))
        for span in records.spans(kind="node")
    ]
    assert facts == [
        ("Choose", 1, 1, "search", "Search"),
        ("Search", 2, 1, "back", "Choose"),
        ("Choose", 3, 2, "search", "Search"),
        ("Search", 4, 2, "back", "Choose"),
        ("Choose", 5, 3, "answer", "Answer"),
        ("Answer", 6, 1, "default", None),
    ]
    assert [span.state for span in records.spans("Choose")] == [
        {"seq": 2, "changed": {"n": {"old": 0, "new": 1}}},
        {"seq": 3, "changed": {"n": {"old": 1, "new": 2}}},
        {"seq": 4, "changed": {"n": {"old": 2, "new": 3}}},
    ]
    (flow,) = records.run().graph["flows"]
    assert flow["edges"] == [
        {"from": "Choose", "action": "search", "to": "Search"},
        {"from": "Choose", "action": "answer", "to": "Answer"},
        {"from": "Search", "action": "back", "to": "Choose"},
    ]
    records.check()


@FLAVOURS
def test_what_is_handed_from_phase_to_phase_is_pictured_once(flavour, records, monkeypatch):
    """Prep's result is what exec is given, and exec's what post is given; what was changed meanwhile is read again."""
    w = world(flavour)
    taken = []
    original = Capture.snapshot
    monkeypatch.setattr(Capture, "snapshot", lambda self, value: taken.append(value) or original(self, value))

    def prep(self, shared):
        return {"rows": [1]}

    def exec(self, rows):
        rows["rows"].append(2)
        if len(rows["rows"]) < 3:
            raise ValueError("not yet")
        return rows

    w.run(w.flow(w.node("Ask", prep=prep, exec=exec, post=lambda *a: None)(max_retries=2)), {})
    spans = {(span.name, span.attributes.get("attempt")): span for span in records.spans()}
    assert spans["Ask.exec", 1].input == {"rows": [1]}
    assert spans["Ask.exec", 2].input == {"rows": [1, 2]}
    assert spans["Ask.exec", 2].output == {"rows": [1, 2, 2]}
    assert spans["Ask.post", None].input == {"prep_res": {"rows": [1, 2, 2]}, "exec_res": {"rows": [1, 2, 2]}}
    assert sum(type(value) is dict and "rows" in value for value in taken) == 4
    records.check()


@FLAVOURS
def test_no_successor(flavour, records):
    """An action without successor is said, where there would have been others."""
    w = world(flavour)
    node = w.node("Ask", post=lambda self, *a: "elsewhere")()
    node - "here" >> w.node()()
    with pytest.warns(UserWarning, match="Flow ends"):
        w.run(w.flow(node), {})
    attributes = records.span("Ask").attributes
    assert (attributes["action"], attributes["no_successor"], "successor" in attributes) == ("elsewhere", True, False)


@FLAVOURS
def test_a_retry_that_recovers(flavour, records):
    """A failed attempt that a later one saves is an error of WARNING level; node and flow are recovered."""
    w = world(flavour)
    left = [ValueError("first"), KeyError("second")]

    def exec(self, prep_res):
        if left:
            raise left.pop(0)
        return "ok"

    node = w.node("Flaky", exec=exec)(max_retries=4)
    node >> w.node("Next")()
    w.run(w.flow(node), {})
    name = w.Flow.__name__
    assert records.tree("attempt", "max_attempts", "level") == (
        name,
        "recovered",
        {},
        [
            (
                "Flaky",
                "recovered",
                {},
                [
                    ("Flaky.prep", "success", {}),
                    ("Flaky.exec", "error", {"attempt": 1, "max_attempts": 4, "level": "WARNING"}),
                    ("Flaky.exec", "error", {"attempt": 2, "max_attempts": 4, "level": "WARNING"}),
                    ("Flaky.exec", "success", {"attempt": 3, "max_attempts": 4}),
                    ("Flaky.post", "success", {}),
                ],
            ),
            (
                "Next",
                "success",
                {},
                [
                    ("Next.prep", "success", {}),
                    ("Next.exec", "success", {"attempt": 1, "max_attempts": 1}),
                    ("Next.post", "success", {}),
                ],
            ),
        ],
    )
    errors = [span.error for span in records.spans("Flaky.exec")]
    assert [(error["type"], error["message"]) for error in errors[:2]] == [
        ("ValueError", "first"),
        ("KeyError", "'second'"),
    ]
    assert all(error["traceback"] for error in errors[:2])
    assert errors[2] is None
    assert (records.span("Flaky").error, records.run().error, records.run().status) == (None, None, "recovered")
    records.check()


@pytest.mark.parametrize(("attempts", "size", "whole"), [(120, 10, 50), (30, 1_000_000, 7)])
def test_a_retry_that_goes_on_for_long(attempts, size, whole, records):
    """All attempts are there in the end, but of those that failed only the last have kept the memory of their values."""
    w = world("sync")

    def exec(self, prep_res):
        if self.cur_retry < attempts:
            raise RuntimeError("x" * size + str(self.cur_retry))

    w.run(w.flow(w.node("Polls", exec=exec)(max_retries=attempts + 1)), {})
    spans = records.spans("Polls.exec")
    assert [span.attributes["attempt"] for span in spans] == [*range(1, attempts + 2)]
    assert [span.status for span in spans] == ["error"] * attempts + ["success"]
    assert {(span.error["type"], span.attributes["level"]) for span in spans[:-1]} == {("RuntimeError", "WARNING")}
    kept = ["x" in span.error["message"] for span in spans[:-1]]
    assert kept == [False] * (attempts - whole) + [True] * whole
    assert "not kept" in spans[0].error["message"]
    records.check()


def test_a_node_that_polls(records):
    """Of a thousand failed attempts and more the oldest are delivered before it is known whether one is saved: errors, then."""

    class Polls(Node):
        def exec(self, prep_res):
            if self.cur_retry < 2500:
                raise ConnectionError("not ready")

    trace_flow(Flow(start=Polls(max_retries=2501))).run({})
    spans = records.spans("Polls.exec")
    assert [span.attributes["attempt"] for span in spans] == [*range(1, 2502)]
    assert [span.attributes.get("level") for span in spans] == [None] * 1500 + ["WARNING"] * 1000 + [None]
    assert records.run().status == "recovered"


@FLAVOURS
def test_a_fallback_that_recovers(flavour, records):
    """The fallback is a phase of its own; what it returns saves the node."""
    w = world(flavour)

    def exec(self, prep_res):
        raise ValueError("always")

    node = w.node("Weak", exec=exec, exec_fallback=lambda self, prep_res, exc: "plan b")(max_retries=2)
    w.run(w.flow(w.flow(node, name="Inner", prep=lambda self, s: None)), {})
    name = w.Flow.__name__
    assert records.tree("attempt", "level", "phase") == (
        name,
        "recovered",
        {},
        [
            (
                "Inner",
                "recovered",
                {},
                [
                    ("Inner.prep", "success", {"phase": "prep"}),
                    (
                        "Weak",
                        "recovered",
                        {},
                        [
                            ("Weak.prep", "success", {"phase": "prep"}),
                            ("Weak.exec", "error", {"attempt": 1, "level": "WARNING", "phase": "exec"}),
                            ("Weak.exec", "error", {"attempt": 2, "level": "WARNING", "phase": "exec"}),
                            ("Weak.exec_fallback", "success", {"phase": "exec_fallback"}),
                            ("Weak.post", "success", {"phase": "post"}),
                        ],
                    ),
                ],
            )
        ],
    )
    assert records.span("Weak.exec_fallback").output == "plan b"
    records.check()


@pytest.mark.parametrize("levels", [3, 60, 5000])
def test_an_error_out_of_many_levels(levels, records, monkeypatch):
    """Its traceback says how much of it is left out, in Langfuse too, and it is walked through once, not for each span."""
    walked = []
    frames = capture_errors._frames
    monkeypatch.setattr(capture_errors, "_frames", lambda traceback: walked.append(1) or frames(traceback))

    class Deep(Node):
        def exec(self, prep_res):
            self.down(levels)

        def down(self, level):
            if not level:
                raise ValueError("broken")
            self.down(level - 1)

    error = ValueError if levels < 1000 else RecursionError
    with pytest.raises(error):
        trace_flow(Flow(start=Flow(start=Flow(start=Deep())))).run({})
    frames = records.span("Deep.exec").error["traceback"]
    assert ("… " in frames[min(25, levels)]["file"]) is (levels > 50)
    assert ["Deep.exec"] == [span.name for span in records.spans() if "traceback" in (span.error or ())]
    assert [1] == walked
    for span in records.by_id.values():
        shown = otlp.span_attributes(span, records.run())["langfuse.observation.metadata.status"]
        assert span.status == shown


@FLAVOURS
def test_an_error(flavour, records):
    """It is described once with its traceback, where it happened, and shortly above; no level is lowered."""
    w = world(flavour)

    def exec(self, prep_res):
        raise ValueError("broken")

    flow = w.flow(w.flow(w.node("Bad", exec=exec)(max_retries=2)))
    with pytest.raises(ValueError):
        w.run(flow, {})
    name = w.Flow.__name__
    below = [
        ("Bad.prep", "success", {}),
        ("Bad.exec", "error", {}),
        ("Bad.exec", "error", {}),
        ("Bad.exec_fallback", "error", {}),
    ]
    assert records.tree("level") == (name, "error", {}, [(name, "error", {}, [("Bad", "error", {}, below)])])
    for span in records.spans():
        if span.status == "error":
            assert (span.error["type"], span.error["message"]) == ("ValueError", "broken")
    described = [span.name for span in records.spans() if "traceback" in (span.error or ())]
    assert described == ["Bad.exec", "Bad.exec"]
    last = records.spans("Bad.exec")[1].error["traceback"][-1]
    assert (last["file"], last["code"]) == (__file__, 'raise ValueError("broken")')
    run = records.run()
    assert (run.status, run.error) == ("error", {"type": "ValueError", "message": "broken"})
    records.check()


@FLAVOURS
@pytest.mark.parametrize("phase", ["prep", "exec", "exec_fallback", "post"])
def test_where_an_error_happened(flavour, phase, records):
    """Each phase's own error carries the traceback there; the attempt that led to a fallback keeps its own."""
    w = world(flavour)

    def fails(self, *args):
        raise LookupError(f"in {phase}")

    def attempt(self, *args):
        raise ValueError("the attempt")

    node = w.node("Bad", **{"exec": attempt, phase: fails} if phase == "exec_fallback" else {phase: fails})()
    with pytest.raises(LookupError):
        w.run(w.flow(node), {})
    described = {span.name: span.error["message"] for span in records.spans() if "traceback" in (span.error or ())}
    expected = {f"Bad.{phase}": f"in {phase}"}
    assert described == ({"Bad.exec": "the attempt", **expected} if phase == "exec_fallback" else expected)
    assert [records.span(name).error["message"] for name in ("Bad", w.Flow.__name__)] == [f"in {phase}"] * 2


@FLAVOURS
def test_errors_that_share_an_address(flavour, records):
    """Python gives the next exception the address of the last: each is told by its own words."""
    w = world(flavour)

    def exec(self, prep_res):
        raise ValueError(f"attempt {self.params['n'] + len(tried)}" if tried.append(1) is None else "")

    tried = []
    node = w.node("Many", exec=exec, post=lambda self, *a: 1 / 0, exec_fallback=lambda self, p, e: None)(max_retries=20)
    flow = w.flow(node)
    flow.set_params({"n": 0})
    with pytest.raises(ZeroDivisionError):
        w.run(flow, {})
    spans = records.spans("Many.exec")
    assert [span.error["message"] for span in spans] == [f"attempt {n}" for n in range(1, 21)]
    assert all(span.error["traceback"] for span in spans)
    assert records.span("Many").error == {"type": "ZeroDivisionError", "message": "division by zero"}


def test_an_error_at_the_address_of_an_earlier_one(fresh_delivery):
    """An error of a phase that is not recorded keeps its traceback at the node, whatever stood there before."""
    from kit import Records

    records = use(Records(), trace_post=False)

    class Twice(Node):
        def exec(self, prep_res):
            if self.cur_retry == 0:
                raise ValueError("attempt")

        def post(self, shared, prep_res, exec_res):
            raise ValueError("post")

    flow = trace_flow(Flow(start=Twice(max_retries=2)))
    for _ in range(30):
        with pytest.raises(ValueError, match="post"):
            flow.run({})
    assert [span.error["message"] for span in records.spans("Twice")] == ["post"] * 30
    assert all("traceback" in span.error for span in records.spans("Twice"))


@FLAVOURS
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_cancelled(flavour, error, records):
    """What ends a program is no error of the node: the spans are cancelled, all of them closed."""
    w = world(flavour)

    def exec(self, prep_res):
        raise error

    with pytest.raises(error):
        w.run(w.flow(w.flow(w.node("Stop", exec=exec)(max_retries=3))), {})
    assert {span.name: span.status for span in records.spans()} == {
        w.Flow.__name__: "cancelled",
        "Stop": "cancelled",
        "Stop.prep": "success",
        "Stop.exec": "cancelled",
    }
    assert records.run().status == "cancelled"
    records.check()


@FLAVOURS
def test_a_batch_node(flavour, records):
    """Items stand below the batch by index, each with attempts of its own."""
    w = world(flavour)
    fails = {"b": 1, "c": 9}

    def exec(self, item):
        if fails.get(item, 0):
            fails[item] -= 1
            raise ValueError(item)
        return item.upper()

    node = w.node(
        "Map",
        "BatchNode",
        prep=lambda self, shared: ["a", "b", "c"],
        exec=exec,
        exec_fallback=lambda self, item, exc: None,
    )
    w.run(w.flow(node(max_retries=2)), {})
    batch = records.span("Map.exec")
    assert (batch.kind, batch.attributes) == ("phase", {"phase": "exec", "items": 3})
    assert (batch.input, batch.output) == (["a", "b", "c"], ["A", "B", None])
    items = [
        (
            span.name,
            span.kind,
            span.status,
            span.attributes.get("item"),
            span.attributes.get("attempt"),
            span.attributes.get("level"),
        )
        for span in records.spans()
        if span.parent_id == batch.span_id
    ]
    expected = [
        ("Map.exec[0]", "attempt", "success", 0, 1, None),
        ("Map.exec[1]", "attempt", "error", 1, 1, "WARNING"),
        ("Map.exec[1]", "attempt", "success", 1, 2, None),
        ("Map.exec[2]", "attempt", "error", 2, 1, "WARNING"),
        ("Map.exec[2]", "attempt", "error", 2, 2, "WARNING"),
        ("Map.exec_fallback[2]", "phase", "success", 2, None, None),
    ]
    assert sorted(items, key=str) == sorted(expected, key=str)
    if flavour != "parallel":
        assert items == expected
    assert (batch.status, records.span("Map").status) == ("recovered", "recovered")
    records.check(sync=False)


@FLAVOURS
def test_an_empty_batch(flavour, records):
    """A batch of nothing shows as one."""
    w = world(flavour)
    w.run(w.flow(w.node("Map", "BatchNode", prep=lambda self, s: [])()), {})
    assert records.span("Map.exec").attributes == {"phase": "exec", "items": 0}


@FLAVOURS
def test_a_batch_flow(flavour, records):
    """One child per parameter set, in their order, holding that pass's nodes."""
    w = world(flavour)
    node = w.node("Leaf", exec=lambda self, prep_res: self.params["n"])()
    node >> w.node("Tail")()
    flow = w.flow(node, "BatchFlow", name="Sweep", prep=lambda self, s: [{"n": 1}, {"n": 2}])
    flow.set_params({"base": True})
    w.run(flow, {})

    def below(n):
        params = {"params": {"base": True, "n": n}}
        leaf = [("Leaf.prep", "success", {}), ("Leaf.exec", "success", {}), ("Leaf.post", "success", {})]
        tail = [("Tail.prep", "success", {}), ("Tail.exec", "success", {}), ("Tail.post", "success", {})]
        return [("Leaf", "success", params, leaf), ("Tail", "success", params, tail)]

    assert records.tree("item", "params") == (
        "Sweep",
        "success",
        {"params": {"base": True}},
        [
            ("Sweep.prep", "success", {}),
            ("Sweep[0]", "success", {"item": 0}, below(1)),
            ("Sweep[1]", "success", {"item": 1}, below(2)),
        ],
    )
    passes = records.spans(kind="pass")
    assert [span.input for span in passes] == [{"base": True, "n": 1}, {"base": True, "n": 2}]
    assert [span.attributes["action"] for span in passes] == ["default", "default"]
    leaves = records.spans("Leaf")
    assert [span.attributes["successor"] for span in leaves] == ["Tail", "Tail"]
    assert sorted(span.attributes["visit"] for span in leaves) == [1, 2]
    records.check(sync=False)


@FLAVOURS
def test_nested_flows(flavour, records):
    """A nested flow is a flow span in the place of a node, with its own part of the graph."""
    w = world(flavour)
    inner = w.flow(w.node("Leaf")(), name="Inner")
    first = w.node("First")()
    first >> inner >> w.node("Last")()
    w.run(w.flow(first, name="Outer"), {})
    kinds = [
        (span.name, span.kind, span.attributes["node"]) for span in records.spans() if span.kind in {"flow", "node"}
    ]
    assert kinds == [
        ("Outer", "flow", "Outer"),
        ("First", "node", "First"),
        ("Inner", "flow", "Inner"),
        ("Leaf", "node", "Inner/Leaf"),
        ("Last", "node", "Last"),
    ]
    assert records.span("Leaf").parent_id == records.span("Inner").span_id
    assert records.span("Inner").attributes["successor"] == "Last"
    assert [(flow["id"], flow["start"]) for flow in records.run().graph["flows"]] == [
        ("Outer", "First"),
        ("Inner", "Inner/Leaf"),
    ]
    assert [span.attributes["step"] for span in records.spans(kind="node")] == [1, 2, 3]
    records.check()


class Chat(Node):
    """Runs what it is given, inside of its exec."""

    inner = None

    def exec(self, _):
        if self.inner is not None:
            self.inner.run({})


class Load(Node):
    pass


class Own(Flow):
    pass


def two_flows(flow):
    one, other = Flow(start=Load()), Flow(start=Chat())
    one >> other
    return flow(start=one)


def around(inner):
    chat = Chat()
    chat.inner = inner
    return Flow(start=chat)


@pytest.mark.parametrize(
    ("flow", "name", "names"),
    [
        (lambda: two_flows(Flow), None, ["Flow", "Flow", "Load", "Flow#2", "Chat"]),
        (lambda: Own(start=Own(start=Own(start=Load()))), None, ["Own", "Own", "Own", "Load"]),
        (lambda: Flow(start=Chat()), "Chat", ["Chat", "Chat"]),
        (lambda: two_flows(Flow), "Flow/Load", ["Flow/Load", "Flow", "Load", "Flow#2", "Chat"]),
        (lambda: around(Chat()), None, ["Flow", "Chat", "Chat"]),
        (lambda: around(Flow(start=Chat())), None, ["Flow", "Chat", "Flow", "Chat"]),
        (lambda: around(trace_flow(Flow(start=Chat()), flow_name="Chat")), None, ["Flow", "Chat", "Chat", "Chat"]),
    ],
    ids=["plain", "class", "name", "path", "by hand", "run inside", "run inside with a name"],
)
def test_things_of_one_name_are_told_apart(flow, name, names, records):
    """Each flow and node of a run has an id of its own, whatever it is called, and its own visits."""
    trace_flow(flow(), flow_name=name).run({})
    visits = [span for span in records.spans() if span.kind in {"flow", "node"}]
    assert names == [span.name for span in visits]
    ids = [span.attributes["node"] for span in visits]
    assert len(visits) == len({*ids})
    assert {1} == {span.attributes["visit"] for span in visits}
    flows = records.run().graph["flows"]
    drawn = [node["id"] for flow in flows for node in flow["nodes"]]
    nested = {node["id"] for flow in flows for node in flow["nodes"] if node["kind"] == "flow"}
    alone = [flow["id"] for flow in flows if flow["id"] not in nested]
    assert len(drawn + alone) == len({*drawn, *alone})
    assert nested <= {flow["id"] for flow in flows}
    assert {*drawn, *alone} <= {*ids}
    for flow in flows:  # what has gone from one to the other is drawn
        assert {flow["start"], *(edge["to"] for edge in flow["edges"])} == {node["id"] for node in flow["nodes"]}


def test_a_graph_that_is_drawn_again_keeps_its_ids(records):
    """A flow that is run twice by a function has the same nodes both times, also where one is called as it is."""
    flow = two_flows(Flow)

    @trace_flow
    def twice():
        for _ in range(2):
            flow.run({})

    twice()
    visits = [(span.attributes["node"], span.attributes["visit"]) for span in records.spans() if span.kind == "node"]
    assert visits[:2] == [(node, visit - 1) for node, visit in visits[2:]]


@FLAVOURS
def test_nodes_of_one_class(flavour, records):
    """Two nodes of one class are told apart by their place, and one node in two flows by its flow."""
    w = world(flavour)
    cls = w.node("Same")
    one, two = cls(), cls()
    one >> two
    w.run(w.flow(one, name="Flow1"), {})
    assert [(span.name, span.attributes["node"]) for span in records.spans(kind="node")] == [
        ("Same", "Same"),
        ("Same#2", "Same#2"),
    ]
    records.clear()
    shared_node = w.node("Both")()
    left, right = w.flow(shared_node, name="Left"), w.flow(shared_node, name="Right")
    left >> right
    w.run(w.flow(left, name="Top"), {})
    assert [span.attributes["node"] for span in records.spans("Both")] == ["Left/Both", "Right/Both"]


@FLAVOURS
def test_copies_that_a_node_makes_of_itself(flavour, records):
    """A node whose __copy__ shares nothing with its template stays one node of the graph."""
    w = world(flavour)

    def copied(self):
        made = type(self)()
        made.successors = dict(self.successors)
        return made

    def post(self, shared, prep_res, exec_res):
        shared["n"] += 1
        return "again" if shared["n"] < 5 else "end"

    node = w.node("Own", __copy__=copied, post=post)()
    first = w.node("First")()
    first >> node
    node - "again" >> node
    node - "end" >> w.node("Last")()
    w.run(w.flow(first), {"n": 0})
    assert [span.attributes["visit"] for span in records.spans("Own")] == [1, 2, 3, 4, 5]
    assert len(records.run().graph["flows"][0]["nodes"]) == 3


def test_a_graph_without_end(records):
    """Nodes made while a flow runs do not make its graph grow without end."""

    class Fresh(Node):
        def post(self, shared, prep_res, exec_res):
            shared["n"] += 1
            if shared["n"] < 1_100:
                self.successors["default"] = Fresh()

    trace_flow(Flow(start=Fresh())).run({"n": 0})
    assert len(records.spans(kind="node")) == 1_100
    assert len(records.run().graph["flows"][0]["nodes"]) == 1_000


@pytest.mark.parametrize("number", [3, 120])
def test_a_flow_that_a_node_runs_keeps_nothing_alive(number, records):
    """Its nodes die when they die untraced, and not with the run: each may hold a document."""
    dying = []

    class Work(Node):
        pass

    class Map(Node):
        def exec(self, prep_res):
            for _ in range(number):
                first, work = Node(), Work()
                first >> Flow(start=work)
                dying.append(weakref.ref(work))
                Flow(start=first).run({})
                del first, work
                gc.collect(0)
                assert dying[-1]() is None

    trace_flow(Flow(start=Map())).run({})
    assert number == len(records.spans("Work"))
    assert number == len(records.spans("Node"))
    flows = records.run().graph["flows"]
    assert len(flows) <= 1 + 2 * 100 + 2
    ids = [span.attributes["node"] for span in records.spans("Work")]
    assert min(number, 99) <= len(set(ids)) <= 100


@pytest.mark.parametrize("fails", [False, True])
def test_a_node_that_outlives_its_flow(fails, records):
    """A flow of the user's own leaves a node running, or fails beside it: its span is delivered like any other."""

    class Fails(AsyncNode):
        async def exec_async(self, prep_res):
            raise ValueError("early")

    class Stays(AsyncNode):
        async def exec_async(self, prep_res):
            await go_on.wait()

    class Leaves(AsyncFlow):
        async def _orch_async(self, shared, params=None):
            tasks.append(asyncio.create_task(Stays()._run_async(shared)))
            await asyncio.sleep(0)
            return await super()._orch_async(shared, params)

    tasks = []
    go_on = asyncio.Event()

    async def main():
        with pytest.raises(ValueError, match="early") if fails else contextlib.nullcontext():
            await trace_flow(Leaves(start=Fails() if fails else AsyncNode())).run_async({})
        go_on.set()
        await tasks[0]

    asyncio.run(main())
    (stays,) = records.spans("Stays")
    assert (stays.kind, stays.status) == ("node", "success")
    assert {stays.span_id} == {records.spans(name)[0].parent_id for name in ("Stays.exec", "Stays.post")}


def test_names_without_end(records):
    """A job that names each of its flows has pictures of so many and no more."""

    class Start(Node):
        pass

    @trace_flow()
    def job():
        for number in range(250):
            trace_flow(Flow(start=Start()), flow_name=f"document {number}").run({})

    job()
    assert {f"document {number}" for number in range(250)} == {span.name for span in records.spans(kind="flow")}
    ids = [span.attributes["node"] for span in records.spans(kind="flow")]
    assert 201 == len(set(ids))
    assert [ids[-1]] * 50 == ids[200:]
    flows = records.run().graph["flows"]
    assert 201 == len(flows)
    assert "…" == flows[-1]["name"]
    assert len({span.attributes["node"] for span in records.spans("Start")}) == 201


def test_a_flow_that_runs_again_and_again_in_a_run_keeps_its_ids(records):
    """It is let go of after each time, and looked at anew."""

    class Work(Node):
        pass

    first = Work()
    first >> Work()
    inner = Flow(start=first)

    class Again(Node):
        def exec(self, prep_res):
            for _ in range(3):
                inner.run({})

    trace_flow(Flow(start=Again())).run({})
    works = [span for span in records.spans(kind="node") if span.name.startswith("Work")]
    assert ["Work", "Work#2"] * 3 == [span.name for span in works]
    assert [1, 1, 2, 2, 3, 3] == [span.attributes["visit"] for span in works]


def test_flows_that_hand_over_to_each_other_are_walked_once(records):
    """Not in each order: of twelve there were a thousand nodes in each run's graph, and 50 ms before its first one."""
    agents = [Node() for _ in range(12)]
    flows = [Flow(start=agent) for agent in agents]
    for agent in agents:
        for number, flow in enumerate(flows):
            agent - f"to {number}" >> flow
    with pytest.warns(UserWarning, match="Flow ends"):
        trace_flow(flows[0]).run({})
    (run,) = records.flushed().runs.values()
    assert 12 == len(run.graph["flows"])
    assert 12 * 13 == sum(len(flow["nodes"]) for flow in run.graph["flows"])


def test_a_graph_where_everybody_knows_everybody(records, monkeypatch):
    """Its edges are as many as pairs, and each run would look at all of them; the nodes are told apart all the same."""
    looked = []
    real = _look.place
    monkeypatch.setattr(_look, "place", lambda node: looked.append(node) or real(node))

    class Agent(Node):
        def post(self, shared, prep_res, exec_res):
            shared["left"] -= 1
            return str((shared["left"] * 7) % 100) if shared["left"] else "done"

    agents, last = [Agent() for _ in range(100)], Node()
    for one in agents:
        for number, other in enumerate(agents):
            one.next(other, str(number))
        one.next(last, "done")
    flow = trace_flow(Flow(start=agents[0]))
    for _ in range(2):
        looked.clear()
        flow.run({"left": 40})
        picture = records.run().graph["flows"][0]
        assert len(picture["edges"]) == 1000
        names = [span.attributes["node"] for span in records.spans(kind="node")]
        assert len(set(names)) == 41
        assert len(looked) < 1500
        records.clear()


@FLAVOURS
def test_a_node_run_alone(flavour, records):
    """Under instrument() a node without a flow is a run of one node."""
    with World("instrument", flavour) as w:
        w.run(w.node("Alone", exec=lambda self, prep_res: 3)(), {})
    assert records.tree() == (
        "Alone",
        "success",
        [("Alone.prep", "success"), ("Alone.exec", "success"), ("Alone.post", "success")],
    )
    assert (records.run().name, records.run().graph) == ("Alone", {"flows": []})


@FLAVOURS
def test_a_function_around_flows(flavour, records):
    """One root around all flows that a decorated function runs, with its arguments and result."""
    w = World("function", flavour)
    assert w.run(w.flow(w.node("Leaf", post=lambda self, *a: "done")()), {"k": 1}) == "done"
    root = records.tree()
    assert (root[1], root[2][0][0]) == ("success", w.Flow.__name__)
    (span,) = records.spans(kind="function")
    assert (span.input, span.output) == ({"shared": {"k": 1}}, "done")
    records.check()


@FLAVOURS
def test_state_of_shared(flavour, records):
    """What a visit added, changed and removed; nothing where nothing changed."""
    w = world(flavour)

    def post(self, shared, prep_res, exec_res):
        shared["added"] = [1]
        shared["list"].append(2)
        del shared["gone"]

    node = w.node("Edit", post=post)()
    node >> w.node("Idle")()
    w.run(w.flow(node), {"list": [1], "gone": 1, "same": "x"})
    assert records.span("Edit").state == {
        "seq": 2,
        "added": {"added": [1]},
        "changed": {"list": {"old": [1], "new": [1, 2]}},
        "removed": ["gone"],
    }
    assert records.span("Idle").state is None


@FLAVOURS
@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ("trace_prep", {"N.prep"}),
        ("trace_exec", {"N.exec", "N.exec_fallback"}),
        ("trace_post", {"N.post"}),
    ],
)
def test_phases_switched_off(flavour, switch, gone, fresh_delivery):
    """Such spans are not there, flows below them re-attach upward, and the status stays true."""
    from kit import Records

    records = use(Records(), **{switch: False})
    w = world(flavour)

    def exec(self, prep_res):
        raise ValueError("x")

    def runs_a_flow(self, *args):
        Flow(start=Node()).run({})

    phase = switch.removeprefix("trace_")
    members = {"exec": exec, "exec_fallback": lambda self, p, e: 1, phase: runs_a_flow}
    w.run(w.flow(w.node("N", **members)()), {})
    names = {span.name for span in records.spans()}
    assert not names & gone
    inner = next(span for span in records.spans(kind="flow") if span.parent_id is not None)
    assert inner.parent_id == records.span("N").span_id
    assert records.span("N").status == ("success" if phase == "exec" else "recovered")


@FLAVOURS
def test_a_retry_with_attempts_switched_off(flavour, fresh_delivery):
    """The node's status tells of a retry even where attempts are not recorded."""
    from kit import Records

    records = use(Records(), trace_exec=False)
    w = world(flavour)
    left = [1]

    def exec(self, prep_res):
        if left:
            left.pop()
            raise ValueError("x")

    w.run(w.flow(w.node("N", exec=exec)(max_retries=2)), {})
    assert records.tree() == (
        w.Flow.__name__,
        "recovered",
        [("N", "recovered", [("N.prep", "success"), ("N.post", "success")])],
    )


@FLAVOURS
def test_inputs_and_outputs_switched_off(flavour, fresh_delivery):
    """No copy of either is left anywhere, nor values of shared."""
    from kit import Records

    for switch in ("trace_inputs", "trace_outputs"):
        records = use(Records(), **{switch: False})
        w = world(flavour)
        flow = w.flow(w.node("N", post=lambda self, shared, *a: shared.update(secret="s3cret"))())
        flow.set_params({"p": "s3cret"} if switch == "trace_inputs" else {})
        w.run(flow, {"k": "s3cret"} if switch == "trace_inputs" else {})
        for span in records.spans():
            assert "s3cret" not in repr(
                (span.input, span.output if switch == "trace_outputs" else "", span.state, span.attributes)
            )
        assert records.span("N").attributes["changed_keys"] == {"added": ["secret"]}


def test_debug_lines(records, caplog):
    """Debug mode says which trace and span starts and ends, with its milliseconds."""
    from kit import Records

    caplog.set_level(logging.INFO, "pocketflow_tracing")
    use(Records(), debug=True)
    trace_flow(Flow(start=Node())).run({})
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("[TRACING] trace started: Flow") for line in lines)
    assert any(line.startswith("[TRACING] node ended: Node (success, ") for line in lines)


def test_the_time_of_day_of_a_run_that_was_interrupted(monkeypatch):
    """Reading clock and time of day is tried again when something came in between."""
    clock = iter([100, 50_000, 60_000])
    wall = iter([1_000_000, 1_040_000, 1_049_900, 1_049_950])
    source = Source(clock=lambda: next(clock), wall=lambda: next(wall))
    assert source.offset() == 1_049_925 - 50_000


def test_a_run_does_not_count_the_start_of_the_worker(records, monkeypatch):
    """The clock of a process's first run starts after the worker has been started."""
    assert delivery.shutdown(timeout=5)
    started = []
    start = delivery._worker.start
    monkeypatch.setattr(delivery._worker, "start", lambda: (start(), started.append(source.clock())))
    trace_flow(Flow(start=Node())).run({})
    assert len(started) == 1
    assert records.run().start_ns > started[0] + source.offset() - 50_000  # the time of day is read twice here


def test_a_mask_runs_on_the_worker_alone(records):
    """It may be slow, or wait for a lock that the program holds around its runs."""
    threads = set()

    def mask(value, _path):
        threads.add(threading.current_thread().name)
        return value

    use(records, mask=mask)
    trace_flow(Flow(start=Node()), metadata={"team": "care"}, tags=["a"], session_id="s").run({"question": "why"})
    assert {"team": "care"} == records.run().metadata
    assert {"pocketflow-tracing"} == threads


def test_large_metadata_is_not_rendered_on_the_path_of_the_flow(records, monkeypatch):
    """Nested spans take over what is small, and that is all that has to be ready at once."""
    rendered = []
    render = _runs.render
    monkeypatch.setattr(_runs, "render", lambda value, *rest: rendered.append(value) or render(value, *rest))
    trace_flow(Flow(start=Node()), metadata={"small": "a", "large": "b" * 50_000, "rows": [{"a": "b"}] * 100}).run({})
    assert [{"small": "a"}] == rendered
    assert {"small", "large", "rows"} == records.run().metadata.keys()
    records.clear()
    many = {f"key {number}": "b" * 800 for number in range(40)}
    trace_flow(Flow(start=Node()), metadata=many).run({})
    assert dict(list(many.items())[:4]) == rendered[1]
    assert many == records.run().metadata


@pytest.mark.parametrize("where", ["mask", "session_id", "serializers"])
def test_flows_of_functions_that_are_given_to_us_are_no_runs(where, records):
    """Each would be masked by a flow again, or asked for its session by one, or pictured, without end."""
    calls = []
    question = type("Question", (), {})()

    class Looks(Node):
        def exec(self, prep_res):
            calls.append(1)
            return "ada"

        def post(self, shared, prep_res, exec_res):
            shared["found"] = exec_res

    def look(value, _path=()):
        if len(calls) < 500:
            shared = {"question": question}
            Flow(start=Looks()).run(shared)
            assert "ada" == shared["found"]
        return value if where == "mask" else "ada"

    use(
        records,
        mask=look if where == "mask" else None,
        serializers={type(question): look} if where == "serializers" else {},
    )
    instrument(session_id=look if where == "session_id" else None)
    try:
        Flow(start=Node()).run({"question": question})
        for _ in range(5):  # what comes of masking is masked by the next
            records.flushed()
    finally:
        uninstrument()
    assert 1 == len(records.runs)
    assert 0 < len(calls) < 100
    assert where != "session_id" or ("ada", 1) == (records.run().session_id, len(calls))


@pytest.mark.parametrize("where", ["session_id", "user_id", "tags", "metadata", "serializers"])
@pytest.mark.parametrize("error", [asyncio.CancelledError, asyncio.CancelledError("so"), GeneratorExit, SystemExit(3)])
@pytest.mark.absorbs
def test_what_a_function_that_is_given_to_us_says_of_others_is_not_of_the_run(where, error, records):
    """It may look at a task that was cancelled; with no handler of a signal in there, nobody has meant the flow."""

    class Job:
        future = asyncio.Future(loop=asyncio.new_event_loop())

        def result(self, _=None):
            if error is asyncio.CancelledError:
                return self.future.result()  # which is raised in C
            raise error

    job = Job()
    job.future.cancel()
    job.future.get_loop().close()
    use(records, serializers={Job: Job.result} if where == "serializers" else {})
    options = {} if where == "serializers" else {where: job.result}
    shared = {"job": job}
    assert trace_flow(Flow(start=Node()), **options).run(shared) is None
    assert "success" == records.run().status


def test_metadata_is_what_its_dict_holds_when_a_run_begins(records):
    """A program may change it between two runs."""
    metadata = {"model": "small", "options": {"t": 1}}
    flow = trace_flow(Flow(start=Node()), metadata=metadata)
    flow.run({})
    assert {"model": "small", "options": {"t": 1}} == records.run().metadata
    records.clear()
    metadata.update(model="large", options={"t": 2})
    flow.run({})
    assert {"model": "large", "options": {"t": 2}} == records.run().metadata


def test_metadata_that_is_written_over_counts_once(records):
    """A node may keep its answer as far as it has come."""
    weights = []

    class Streams(Node):
        def exec(self, prep_res):
            for number in range(50):
                add_metadata(so_far="word " * 1000 * number)
            weights.append(recorder.span_of(recorder.current.get()).parent.weight)

    trace_flow(Flow(start=Streams())).run({})
    assert 5 * 1000 * 49 <= weights[0] < 5 * 1000 * 51
    assert records.span("Streams").metadata["so_far"].endswith("word ")


def test_what_a_task_adds_after_its_node_stands_with_what_goes_on(records, caplog):
    """A judge that a node has started may be slower than the node, and slower than the run."""
    done, judged, over = threading.Event(), threading.Event(), threading.Event()

    def judge():
        assert done.wait(10)
        add_score("quality", 0.5)
        judged.set()
        assert over.wait(10)
        add_score("late", 0.5)

    class Starts(Node):
        def exec(self, prep_res):
            thread = threading.Thread(target=with_context(judge))
            thread.start()
            threads.append(thread)

    class Next(Node):
        def exec(self, prep_res):
            done.set()
            assert judged.wait(10)

    threads = []
    start = Starts()
    start >> Node() >> Next()
    trace_flow(Flow(start=start)).run({})
    over.set()
    threads[0].join()
    assert [{"name": "quality", "value": 0.5}] == records.span("Flow").scores
    assert [] == records.span("Starts").scores
    assert "added a score after it had ended" in caplog.text


def test_the_scores_of_one_node_have_a_bound(records, caplog):
    """They wait in memory until it ends."""

    class Judges(Node):
        def exec(self, prep_res):
            for number in range(3000):
                add_score(f"s{number}", 0.5)
                add_metadata(**{f"m{number}": 1})

    trace_flow(Flow(start=Judges())).run({})
    span = records.span("Judges")
    assert (1000, 1000) == (len(span.scores), len(span.metadata))
    assert "more than 1,000 scores" in caplog.text
    assert "more than 1,000 metadata" in caplog.text


def test_a_context_that_is_kept_keeps_no_values(records):
    """A timer or task that a node starts has Python's context, and with it the spans around, whose values are in records."""
    kept = []

    class Keeps(Node):
        def prep(self, shared):
            kept.append(contextvars.copy_context())
            add_metadata(note="text")
            return "text"

        def post(self, shared, prep_res, exec_res):
            shared["added"] = ["text"]

    flow = trace_flow(Flow(start=Keeps()))
    flow.set_params({"text": "text"})
    flow.run({"question": "text"})
    assert {"note": "text"} == records.span("Keeps").metadata
    span = kept[0].run(lambda: recorder.span_of(recorder.current.get()))
    for name in ("Keeps.prep", "Keeps", "Flow"):
        assert name == span.shown_name()
        assert [None] * 5 == [span.input, span.output, span.state, span.metadata, span.scores]
        assert "params" not in span.attributes
        span = span.parent


@FLAVOURS
def test_an_end_that_was_declared(flavour, records):
    """`node >> None` says that the flow ends there: nothing is missing."""
    w = world(flavour)
    node = w.node("Last")()
    node - "again" >> node
    node.successors["default"] = None  # what `>> None` comes to
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a PocketFlow that knows no such end warns
        w.run(w.flow(node), {})
    attributes = records.span("Last").attributes
    assert (attributes["action"], "no_successor" in attributes, "successor" in attributes) == ("default", False, False)


@pytest.mark.parametrize(("node_class", "flow_class"), [(Node, Flow), (AsyncNode, AsyncFlow)])
def test_nodes_die_when_they_die_untraced(node_class, flow_class, records):
    """The record of a run that goes on keeps no flow that has ended in it, and knows it again when it runs once more."""
    gone = []

    def run(flow):
        return asyncio.run(flow.run_async({})) if flow_class is AsyncFlow else flow.run({})

    @trace_flow(flow_name="main")
    def main():
        kept = flow_class(start=type("Kept", (node_class,), {})())
        run(kept)
        node = type("Passing", (node_class,), {})()
        weakref.finalize(node, gone.append, "Passing")
        run(flow_class(start=node))
        del node
        gc.collect()  # asyncio leaves circles
        assert gone == ["Passing"]
        run(kept)

    main()
    flows = records.run().graph["flows"]
    assert [[node["name"] for node in flow["nodes"]] for flow in flows] == [["Kept"], ["Passing"]]
    kinds = {span.attributes["node"] for span in records.spans(kind="flow")}
    assert len(kinds) == 2


def test_a_node_that_is_run_to_find_the_successor(records):
    """It is no step of the flow: what came before it goes on with the node that the question was answered with."""

    class A(Node):
        pass

    class B(Node):
        pass

    class Router(Node):
        pass

    class Routes(Flow):
        def get_next_node(self, curr, action):
            if type(curr) is A:
                Router().run({})
            return super().get_next_node(curr, action)

    first = A()
    first >> B()
    trace_flow(Routes(start=first)).run({})
    a, router, b = records.spans(kind="node")
    assert ("A", "Router", "B") == (a.name, router.name, b.name)
    assert ("B", None, None) == tuple(span.attributes.get("successor") for span in (a, router, b))
    assert (1, 1, 2) == tuple(span.attributes["step"] for span in (a, router, b))


def test_a_span_that_changes_while_its_record_is_made():
    """A visit that goes on is shown already: what comes to it meanwhile, from another thread, costs no record."""
    visits = []

    class Notes(Node):
        def exec(self, prep_res):
            visits.append(recorder.current.get().parent)
            add_metadata(first=1)
            return "text"

    def mask(value, path):
        for visit in visits:
            number = len(visit.attributes)
            visit.attributes[f"more {number}"] = number
            visit.metadata = visit.metadata or {}
            visit.metadata[f"more {number}"] = number
        return value

    records = use(Records(), mask=mask)
    trace_flow(Flow(start=Notes())).run({})
    assert ["success"] * 5 == [span.status for span in records.spans()]
