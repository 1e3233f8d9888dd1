"""Flows made by chance agree with and without tracing, whatever becomes of the records."""

from __future__ import annotations

import asyncio
import collections
import gc
import itertools

import kit
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit import World, examples, observe

from pocketflow_tracing import _ids

FLAVOURS = st.sampled_from(["sync", "async", "parallel"])
HOWS = st.sampled_from(["object", "class", "instrument", "function"])
ERRORS = {
    "value": lambda: ValueError("v", 1),
    "key": lambda: KeyError("k"),
    "os": lambda: OSError(2, "missing"),
    "stop": lambda: StopIteration("s"),
    "interrupt": lambda: KeyboardInterrupt(),
    "exit": lambda: SystemExit(2),
    "cancel": lambda: asyncio.CancelledError("c"),
}
MAX_VISITS = 25
BROKEN = kit.Raising()


@st.composite
def nodes(draw, depth):
    """One node: plain data that `build` makes a node of."""
    kind = draw(st.sampled_from(["node", "node", "batch"] + ["flow", "batchflow"] * (depth > 0)))
    mostly = lambda value, other: draw(st.one_of(st.just(value), st.just(value), other))
    spec = {
        "kind": kind,
        # what becomes of each call, in order, over and over: None is success
        "prep": mostly([None], st.lists(st.sampled_from([None, None, *ERRORS]), min_size=1, max_size=3)),
        "exec": mostly([None], st.lists(st.sampled_from([None, *ERRORS]), min_size=1, max_size=4)),
        "post": mostly([None], st.lists(st.sampled_from([None, None, *ERRORS]), min_size=1, max_size=3)),
        "fallback": mostly("raise", st.sampled_from(["value", "key", "interrupt", "raise", None])),
        "retries": draw(st.sampled_from([1, 1, 2, 3, 0])),
        "actions": draw(
            st.lists(st.sampled_from(["default", None, "", "a", "b", 0, ("t", 1), "nowhere"]), min_size=1, max_size=3)
        ),
        "items": draw(st.sampled_from([[1, 2, 3], [], [1], None, "iterator"])),
        "touch": draw(st.sampled_from(["nothing", "add", "change", "remove", "grow"])),
    }
    if kind in {"flow", "batchflow"}:
        spec["flow"] = draw(flows(depth - 1))
    return spec


@st.composite
def flows(draw, depth=2):
    """A flow: nodes, and edges between any two of them, loops too."""
    made = draw(st.lists(nodes(depth), min_size=1, max_size=4))
    places = st.integers(0, len(made) - 1)
    edge = st.tuples(places, st.sampled_from(["default", "a", "b", 0, ("t", 1)]), places)
    return {
        "nodes": made,
        "edges": draw(st.lists(edge, max_size=6)),
        "params": draw(st.sampled_from([{}, {"p": 1}])),
        "own": draw(st.sampled_from([(), ("prep",), ("post",), ("prep", "post")])),
        "sets": draw(st.lists(st.sampled_from([{}, {"p": 2}, {"q": [3]}]), max_size=3)),
    }


def case_of(spec):
    """The case that builds and runs a flow."""

    def case(w: World):
        counter = itertools.count()
        shared = {"visits": 0, "list": [0]}
        flow = w.trace(build(w, spec, "Flow", counter))
        try:
            return w.run(flow, shared)
        finally:
            w.say("shared", shared)

    return case


def build(w, spec, base, counter):
    """A flow from its plain data; each class gets a name of its own, so that spans can be counted."""
    name = f"F{next(counter)}"
    members = {}
    if base == "BatchFlow":

        def post(self, shared, prep_res, exec_res):
            w.say(name, "post")
            shared["visits"] += 1
            return None if shared["visits"] < MAX_VISITS else "enough"

        members["prep"] = lambda self, shared: w.say(name, "prep") or [dict(one) for one in spec["sets"]]
        members["post"] = post
    elif "prep" in spec["own"]:
        members["prep"] = lambda self, shared: w.say(name, "prep")
    if "post" in spec["own"] and "post" not in members:
        members["post"] = lambda self, shared, prep_res, exec_res: w.say(name, "post") or exec_res
    made = [build_node(w, node, counter) for node in spec["nodes"]]
    for before, action, after in spec["edges"]:
        made[before].successors[action] = made[after]
    flow = w.node(name, base, **members)(start=made[0])
    flow.set_params(spec["params"])
    return flow


def build_node(w, spec, counter):
    if spec["kind"] in {"flow", "batchflow"}:
        return build(w, spec["flow"], "BatchFlow" if spec["kind"] == "batchflow" else "Flow", counter)
    name = f"N{next(counter)}"
    turns = {phase: itertools.cycle(spec[phase]) for phase in ("prep", "exec", "post")}
    actions = itertools.cycle(spec["actions"])

    def happens(phase, self, *seen):
        w.say(name, phase, dict(self.params), *seen)
        error = next(turns[phase])
        if error is not None:
            raise ERRORS[error]()  # noqa: RSE102

    def prep(self, shared):
        happens("prep", self)
        if spec["items"] == "iterator":
            return (w.say(name, "item", n) or n for n in range(2))
        return spec["items"]

    def exec(self, given):
        happens(
            "exec", self, self.cur_retry if w.flavour == "sync" else None, given if type(given) in {int, list} else None
        )
        return [given] if type(given) is int else "result"

    def exec_fallback(self, given, error):
        w.say(name, "exec_fallback", type(error).__name__, error.args)
        if spec["fallback"] == "raise":
            raise error
        if spec["fallback"] is not None:
            raise ERRORS[spec["fallback"]]()  # noqa: RSE102
        return "fallback"

    def post(self, shared, prep_res, exec_res):
        happens("post", self, exec_res if type(exec_res) in {list, str} else None)
        shared["visits"] += 1
        if spec["touch"] == "add":
            shared[name] = exec_res
        elif spec["touch"] == "change":
            shared["list"] = [shared["visits"]]
        elif spec["touch"] == "remove":
            shared.pop("list", None)
        elif spec["touch"] == "grow":
            shared.setdefault("list", []).append(shared["visits"])
        return next(actions) if shared["visits"] < MAX_VISITS else "enough"

    members = {"prep": prep, "exec": exec, "exec_fallback": exec_fallback, "post": post}
    return w.node(name, "BatchNode" if spec["kind"] == "batch" else "Node", **members)(max_retries=spec["retries"])


def agree(spec, how, flavour):
    case = case_of(spec)
    untraced = observe(case, "untraced", flavour)
    traced = observe(case, how, flavour)
    if flavour == "parallel" and traced.error and traced.error["type"] in {KeyboardInterrupt, SystemExit}:
        gc.collect()  # they leave the loop as it stands: its tasks end when they are collected, and not in the next test
    assert not list(kit.first_difference(traced, untraced))
    return untraced


def check_counts(records, seen):
    """As many spans as calls were made, of each method of each node."""
    called = collections.Counter(entry[:2] for entry in seen.log if entry[0] != "shared" and entry[1] != "item")
    recorded = collections.Counter()
    for span in records.spans():
        if span.kind == "attempt" or (span.kind == "phase" and "items" not in span.attributes):
            node, _, phase = span.name.partition("[")[0].rpartition(".")
            recorded[node, phase] += 1
    assert recorded == called
    spans = records.by_id.values()
    if seen.error is None:
        assert {span.status for span in spans if span.kind in {"flow", "node", "pass"}} <= {"success", "recovered"}


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=examples(500), **COMMON)
@given(spec=flows(), how=HOWS, flavour=FLAVOURS)
def test_with_a_good_sink(records, spec, how, flavour):
    """Result, error, shared, warnings and the order of calls agree; the records are whole and count the calls."""
    records.clear()
    seen = agree(spec, how, flavour)
    records.check(sync=flavour != "parallel")
    check_counts(records, seen)


@pytest.mark.absorbs
@settings(max_examples=examples(300), **COMMON)
@given(spec=flows(), how=HOWS, flavour=FLAVOURS)
def test_with_sinks_that_raise(fresh_delivery, spec, how, flavour):
    """They agree when every method of the only sinks raises."""
    kit.use(BROKEN)
    agree(spec, how, flavour)


@settings(max_examples=examples(300), **COMMON)
@given(spec=flows(), how=HOWS, flavour=FLAVOURS, room=st.lists(st.booleans(), min_size=1, max_size=8))
def test_with_a_queue_that_is_full(records, spec, how, flavour, room):
    """They agree whatever there is no room for; what is recorded has the span above it, and none runs on."""
    records.clear()
    with kit.full(room):
        agree(spec, how, flavour)
    found = records.flushed().by_id
    if flavour != "parallel":  # what is cancelled there may go on
        assert "running" not in {span.status for span in found.values()}
    assert {span.parent_id for span in found.values()} - {None} <= found.keys()


READINGS = st.one_of(
    st.integers(-(10**30), 10**30),
    st.sampled_from([None, "noon", float("nan"), float("inf"), RuntimeError, MemoryError]),
)


@pytest.mark.absorbs
@settings(max_examples=examples(200), **COMMON)
@given(spec=flows(), how=HOWS, flavour=FLAVOURS, readings=st.lists(READINGS, min_size=1, max_size=8))
def test_with_a_hostile_clock(records, spec, how, flavour, readings):
    """They agree under a clock that jumps, lies about its type, or raises."""
    turn = itertools.cycle(readings)

    def clock():
        reading = next(turn)
        if isinstance(reading, type):
            raise reading
        return reading

    before = _ids.source.clock, _ids.source.wall
    _ids.source.clock = _ids.source.wall = clock
    try:
        agree(spec, how, flavour)
    finally:
        _ids.source.clock, _ids.source.wall = before
