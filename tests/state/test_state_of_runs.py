"""`shared` rebuilt from the records is the bounded picture of the real one, at every step of real flows in the real store."""

from __future__ import annotations

import array
import json
import sys
import threading
import tracemalloc
from enum import Enum
from itertools import islice
from typing import Any

import kit
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit import examples
from pocketflow import Flow, Node

from pocketflow_tracing import TracingConfig, _state, flush, trace_flow
from pocketflow_tracing.capture import Capture, Limits
from pocketflow_tracing.frameworks import _phases
from pocketflow_tracing.recorder import current, span_of
from pocketflow_tracing.redaction import Rules
from pocketflow_tracing.render import render
from pocketflow_tracing.store import Store


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


LONG, BROKEN = "k" * 250, "\ud800 x"
NAMES = {LONG: "k" * 200 + "… 50 B more #04977bc1", BROKEN: "\ufffd x #71622b5a"}


def name_of(key: Any) -> str:
    """The name of a key in records: as it is, unless it is too long or cannot be encoded."""
    return NAMES.get(key) or _state.key_text(key)


def bounded(shared: dict[Any, Any]) -> dict[str, Any]:
    """What of `shared` is recorded at one moment: every watched key, each within its bounds."""
    keys = list(shared)
    if len(keys) > _state.MAX_KEYS:
        keys = keys[: _state.MAX_KEYS // 2] + keys[-(_state.MAX_KEYS // 2) :]
    capture = Capture()
    return {name_of(key): render(capture.snapshot(shared[key]), Rules(), ("shared", key)) for key in keys}


def step(shared: dict[Any, Any], change: Any) -> None:
    """One of the things that a node may do to `shared`."""
    kind, key, value = change
    held = shared.get(key)
    if kind == "set":
        shared[key] = value
    elif kind == "delete":
        shared.pop(key, None)
    elif kind == "append" and isinstance(held, list):
        held.append(value)
    elif kind == "insert" and isinstance(held, list):
        held.insert(0, value)
    elif kind == "pop" and isinstance(held, list) and held:
        held.pop(len(held) // 2)
    elif kind == "inside" and isinstance(held, list) and held and isinstance(held[-1], dict):
        held[-1]["inside"] = value
    elif kind == "inside" and isinstance(held, dict):
        held["inside"] = value
    elif kind == "grow" and isinstance(held, str):
        shared[key] = held + "more " * 60
    elif kind == "twice" and isinstance(held, list) and held:
        held.append(held[0])
    elif kind == "extend":
        shared[key] = [*(held if isinstance(held, list) else []), *range(97)]
    elif kind == "many":
        shared.update({f"{key.strip(BROKEN)[:9]}{number}": number for number in range(90)})
    elif kind == "few":
        for name in list(shared)[5:80]:
            del shared[name]
    elif kind == "again":
        shared[key] = shared.pop(key, value)


def run(
    shared: dict[Any, Any], visits: list[list[Any]], path: Any, flow_class: type = Flow, *, strict: bool = True
) -> None:
    """Run the changes, one visit after the other, and compare what is rebuilt of each step with what was there."""
    pictures: list[str] = []

    class Change(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
            for change in visits[len(pictures)]:
                step(shared, change)
            pictures.append(canonical(bounded(shared)))
            return "again" if len(pictures) < len(visits) else "end"

    node = Change()
    node - "again" >> node
    node - "end" >> Node()
    flow = trace_flow(config=TracingConfig(store=str(path)))(flow_class(start=node))
    pictures_before = canonical(bounded(shared))
    flow.run(shared)
    assert flush(timeout=20)
    store = Store(path)
    spans = store.spans(store.run("last").run_id)
    steps = [span.state for span in spans if span.kind == "node" and span.name == "Change"]
    assert len(visits) == len(steps)
    run_id = spans[0].run_id
    first = next(span.state["seq"] for span in spans if span.state and "full" in span.state)
    assert pictures_before == canonical(store.state_at(run_id, first))
    seq = first
    for number, state in enumerate(steps):
        seq = state["seq"] if state else seq
        rebuilt = canonical(store.state_at(run_id, seq))
        # 0 and False inside of a container are equal in Python, and told apart in a test of its own
        assert (pictures[number] == rebuilt) if strict else (json.loads(pictures[number]) == json.loads(rebuilt)), (
            number
        )


leaves = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=True) | st.text(max_size=5) | st.binary(max_size=5)
    | st.just("long text " * 100)
)  # fmt: skip
nested = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | st.tuples(inner)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)
keys = st.sampled_from(["a", "b", "messages", "api_key", "count", LONG, BROKEN])
kinds = st.sampled_from(
    ["set", "delete", "append", "append", "insert", "pop", "inside", "twice", "grow", "extend", "many", "few", "again"]
)
changes = st.lists(st.tuples(kinds, keys, nested), max_size=4)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(shared=st.dictionaries(keys, nested, max_size=5), visits=st.lists(changes, min_size=1, max_size=6))
def test_random_flows(tmp_path, shared, visits):
    """Every kind of change, one after the other, at every step."""
    run(shared, visits, tmp_path / "traces.db")


def states(path: Any, shared: dict[Any, Any], node: Any, **settings: Any) -> list[dict[str, Any]]:
    """The `state` of every visit of a run, in order."""
    trace_flow(config=TracingConfig(store=str(path), **settings))(Flow(start=node)).run(shared)
    assert flush(timeout=20)
    store = Store(path)
    run_id = store.run("last").run_id
    return [span.state for span in store.spans(run_id) if span.state]


def loop(times: int, change: Any) -> Node:
    """A node that visits itself so many times and makes one change at each."""

    class Loop(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str | None:
            shared["turn"] = shared.get("turn", 0) + 1
            change(shared, shared["turn"])
            return "again" if shared["turn"] < times else "end"

    node = Loop()
    node - "again" >> node
    node - "end" >> Node()
    return node


def test_a_change_of_what_stands_in_two_places_is_said_once(tmp_path):
    def change(shared: dict[str, Any], turn: int) -> None:
        if turn == 1:
            document = {"title": "one", "body": "long text " * 30}
            shared["found"] = {"documents": [document], "best": document}
        else:
            shared["found"]["best"]["title"] = "two"

    first, second = states(tmp_path / "traces.db", {}, loop(2, change))[-2:]
    assert first["added"]["found"]["best"] == "<same dict as documents[0]>"
    assert second["changed"]["found"] == {"inside": [{"path": ["documents", 0, "title"], "old": "one", "new": "two"}]}


def test_the_large_values_of_one_shared_have_a_budget_together():
    """What each visit reads is bounded, however many keys are large; what did not change does not seem to."""
    shared: dict[Any, Any] = {f"k{number}": [{"at": at, "of": number} for at in range(80)] for number in range(60)}
    shared["name"] = "a text"
    state = _state.SharedState(shared, Capture())
    picture = state.full()
    shown = {key: sum(3 for row in rows if isinstance(row, dict)) for key, rows in picture.items()}
    assert 0 < sum(shown.values()) <= 2000 * _state.VALUES
    assert len({shown[key] for key in shown if key != "name"}) == 1
    assert state.changes() is None
    shared["k7"][0]["at"] = "changed"
    shared["few"] = [1, 2]
    changes = state.changes()
    assert changes is not None
    assert changes["added"] == {"few": [1, 2]}
    assert list(changes["changed"]) == ["k7"]


def test_another_frame_in_a_place_that_is_not_read_closely_is_a_change():
    shared: dict[Any, Any] = {"frames": [pd.DataFrame({"a": [at]}) for at in range(50)]}
    state = _state.SharedState(shared, Capture())
    state.full()
    assert state.changes() is None
    before, shared["frames"][40] = shared["frames"][40], pd.DataFrame({"a": ["another"]})
    changes = state.changes()
    assert changes is not None
    assert list(changes["changed"]) == ["frames"]
    assert before is not shared["frames"][40]


def test_the_frames_of_one_shared_have_a_budget_together():
    """A few keys that are frames are read closely, each of them; of more than a visit can read none is."""
    frames: dict[Any, Any] = {f"k{number}": pd.DataFrame({"a": [1]}) for number in range(100)}
    few = _state.SharedState(dict(islice(frames.items(), 20)), Capture()).full()
    many = _state.SharedState(frames, Capture()).full()
    assert {len(frame.fields) for frame in few.values()} == {3}  # shape, columns, head
    assert {len(frame.fields) for frame in many.values()} == {2}


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: [{"page": text}], str.encode])
def test_a_change_in_the_middle_of_a_long_text_is_seen(wrap):
    """Pictures refer to long texts, which costs nothing while they stay; records hold their ends."""
    text = "x" * 1_000_000
    shared: dict[Any, Any] = {"document": wrap(text), "more": [wrap(text[:-1] + "y")]}
    state = _state.SharedState(shared, Capture())
    assert len(repr(state.full())) < 500_000
    assert state.changes() is None
    shared["document"] = wrap("x" * 999_999 + "x")
    assert state.changes() is None
    shared["document"] = wrap("x" * 500_000 + "y" + "x" * 499_999)
    changes = state.changes()
    assert changes is not None
    assert list(changes["changed"]) == ["document"]
    assert len(repr(changes)) < 500_000
    assert len(repr(state.picture())) < 500_000
    shared["document"] = 1
    assert len(repr(state.changes())) < 500_000
    assert state.weight < 200_000


def test_what_tells_what_another_key_holds_is_kept_only_where_it_is_short():
    """A mail under "email" may be a login beside "pass": that it is there is enough, and it does not wait with each visit."""
    limits = Limits()
    shared = {"email": "x" * (limits.longest_text + 1), "name": "n" * 40_000, "user": "ada", "data": 1}
    state = _state.SharedState(shared, Capture(limits))
    state.full()
    shared["data"] = 2
    changes = state.changes() or {}
    assert {"email": None, "name": None, "user": "ada"} == changes["labels"]
    assert state.weight < 1000


@pytest.mark.parametrize(("old", "new"), [(1, 2), (None, 0.5), (True, 1)])
def test_a_number_that_changes_weighs_two_entries(old, new):
    """A loop that counts is held to the bounds of memory like any other."""
    state = _state.SharedState({"turn": old}, Capture())
    state.full()
    state.shared["turn"] = new
    assert {"changed": {"turn": (old, new)}} == state.changes()
    assert 2 * 64 == state.weight


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: [{"page": text}], str.encode])
def test_the_largest_texts_go_when_the_flow_lets_them_go(wrap):
    """A picture that referred to them would double what the program holds; a sample tells whether they have changed."""
    tracemalloc.start()
    try:
        shared: dict[Any, Any] = {"document": wrap("x" * 20_000_000)}
        state = _state.SharedState(shared, Capture())
        state.full()
        del shared["document"]
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    shared["document"] = wrap("x" * 20_000_000)
    assert state.changes() is None
    for changed in ("x" * 20_000_001, "x" * 20_000_000 + "y", "x" * 9_000_000 + "y" * 200_000 + "x" * 10_800_001):
        shared["document"] = wrap(changed)
        changes = state.changes()
        assert changes is not None
        assert list(changes["changed"]) == ["document"]
        assert len(repr(changes)) < 500_000


def test_a_shared_that_grows_past_the_budget_is_pictured_as_it_is_then(tmp_path):
    def change(shared: dict[str, Any], turn: int) -> None:
        shared[f"k{turn}"] = [{"at": at, "text": "x"} for at in range(90)]

    every = states(tmp_path / "traces.db", {}, loop(40, change))
    store = Store(tmp_path / "traces.db")
    rebuilt = store.state_at(store.run("last").run_id, every[-1]["seq"])
    assert set(rebuilt) == {"turn", *(f"k{turn}" for turn in range(1, 41))}
    assert all("… dict of 2 items" in rebuilt[f"k{turn}"] for turn in range(1, 41))
    assert 1 <= sum("shown" in state for state in every) <= 5
    assert {"turn"} == {key for state in every for key in state.get("changed", ())}


def test_a_change_beside_others_that_are_shown_with_less(tmp_path):
    """What grows past the budget together is not changed by that, and what is changed just then is."""

    def change(shared: dict[str, Any], turn: int) -> None:
        shared[f"k{turn}"] = [{"at": at, "text": "x", "more": [at, [at]]} for at in range(95)]
        if turn > 1:
            shared["k1"][0]["text"] = f"turn {turn}"

    every = states(tmp_path / "traces.db", {}, loop(9, change))
    narrowed = [state for state in every if "shown" in state]
    assert narrowed
    assert all("k1" in state["changed"] and "k1" not in state["shown"] for state in narrowed)
    assert {"turn", "k1"} == {key for state in every for key in state.get("changed", ())}


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame({"a": [1.0, float("nan")], "b": ["x", "y"]}),
        pd.Series([float("nan")]),
        np.array([1.0, float("nan")]),
        np.float32("nan"),
        array.array("d", [float("nan"), 0.0]),
        {"deep": [np.array([[float("nan")]])]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_nan_does_not_change_by_itself(value):
    """NaN equals nothing, and each picture of an array has new ones."""
    shared = {"value": value, "other": 1}
    state = _state.SharedState(shared, Capture())
    state.full()
    assert state.changes() is None
    shared["other"] = float("nan")
    assert ["other"] == list((state.changes() or {})["changed"])


@pytest.mark.parametrize(
    "grow",
    [
        lambda shared, turn: shared.setdefault("messages", []).append(
            {"role": "user", "content": f"{turn:>4} " + "word " * 20}
        ),
        lambda shared, turn: shared.setdefault("index", {}).update({f"document {turn:>4}": "word " * 20}),
        lambda shared, turn: shared.update(text=shared.get("text", "") + f"{turn:>4} " + "word " * 20),
        lambda shared, turn: shared.update(all=[*shared.get("all", []), f"{turn:>4} " + "word " * 20]),
    ],
    ids=["messages", "dict", "text", "new list"],
)
def test_growth_costs_what_came(tmp_path, grow):
    """A list, dict or text that grows at every visit costs the same at visit 20 and at visit 400."""
    sizes = [len(json.dumps(state)) for state in states(tmp_path / "traces.db", {}, loop(400, grow))]
    early, late = sizes[20:60], sizes[-40:]
    assert max(late) <= 3 * max(early) + 200, (early, late)
    assert max(late) < 1500


def test_more_keys_than_are_watched(tmp_path):
    """Keys that move out of the watched ends leave the picture, and those that come in stand in it."""
    run(
        {},
        [[("many", f"group {number} ", None)] for number in range(8)] + [[("few", "a", None)]],
        tmp_path / "traces.db",
    )


@pytest.mark.parametrize("at", ["head", "tail"])
def test_keys_that_are_watched_again_are_not_added(at):
    """They were there all the time, between the watched ends."""
    shared = {f"k{number}": number for number in range(_state.MAX_KEYS)}
    state = _state.SharedState(shared, Capture())
    state.full()
    shared.update({f"n{number}": number for number in range(10)})
    changes = state.changes() or {}
    assert ({f"n{number}" for number in range(10)}, 10) == (set(changes["added"]), len(changes["unwatched"]))
    for number in range(10):
        del shared[f"k{number}" if at == "head" else f"n{number}"]
    shared["new"] = 1
    again = state.changes() or {}
    assert ["new"] == list(again["added"])
    assert len(again["shown"]) == 9 + (at == "head")
    assert shared == {**state.picture(), **{key: shared[key] for key in shared.keys() - state.picture().keys()}}


@pytest.mark.parametrize(("old", "new"), [(0, False), (1, 1.0), (True, 1)])
def test_json_types_of_keys(tmp_path, old, new):
    """A value that becomes an equal one of another type has changed."""
    run({"a": old}, [[("set", "a", new)]], tmp_path / "traces.db")


@pytest.mark.parametrize(("old", "new"), [(0, False), (1, 1.0), (True, 1), (0.0, -0.0)])
def test_json_types_inside(tmp_path, old, new):
    """So has one inside of a container."""
    run({"a": [{"b": old}]}, [[("set", "a", [{"b": new}])]], tmp_path / "traces.db")


def test_keys_that_read_alike(tmp_path):
    """1 and "1" are two keys."""
    path = tmp_path / "traces.db"
    shared = {1: ["one " * 100], "1": ["text " * 100]}
    found = states(path, shared, loop(2, lambda shared, turn: (shared[1].append(turn), shared["1"].append(turn))))
    store = Store(path)
    rebuilt = store.state_at(store.run("last").run_id, max(state["seq"] for state in found))
    assert {"turn": 2} == {key: value for key, value in rebuilt.items() if key == "turn"}
    assert sorted([["one " * 100, 1, 2], ["text " * 100, 1, 2]]) == sorted(
        rebuilt[key] for key in rebuilt if key != "turn"
    )


def test_what_a_flow_changes_after_its_nodes(tmp_path):
    """The picture after each node is not touched by what the flow's own post changes in the end."""

    class Ending(Flow):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            shared["ended"] = shared["messages"] = ["ended"]
            return exec_res

    first = [("set", "messages", ["one " * 100])]
    run({}, [first, [("append", "messages", "two")]], tmp_path / "traces.db", Ending)


def test_a_flow_with_a_dict_of_its_own(tmp_path):
    """A flow that runs inside a node with its own dict does not disturb the picture of the outer one."""

    class Inner(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["inner"] = [1]

    class Outer(Node):
        def exec(self, prep_res: Any) -> Any:
            own = {"mine": "x" * 300}
            Flow(start=Inner()).run(own)
            Flow(start=Inner()).run(own)
            return own

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["outer"] = exec_res["inner"]

    path = tmp_path / "traces.db"
    found = states(path, {"question": "q"}, Outer())
    store = Store(path)
    run_id = store.run("last").run_id
    assert {"question": "q", "outer": [1]} == store.state_at(run_id, max(state["seq"] for state in found))
    inner = [state["seq"] for state in found if "mine" in state.get("full", {}) or "inner" in state.get("added", {})]
    assert {"mine": "x" * 300, "inner": [1]} == store.state_at(run_id, inner[-1])


def test_the_budget_of_a_run(tmp_path):
    """Beyond the budget of a run values are recorded by type and size, and it is said where."""
    found = states(
        tmp_path / "traces.db",
        {},
        loop(10, lambda shared, turn: shared.update({f"text{turn}": "x" * 50_000})),
        max_run_mb=0.2,
    )
    added = [state["added"][f"text{turn}"] for turn, state in enumerate(found[1:], 1)]
    assert "x" * 50_000 == added[0]
    assert {"__type__": "str", "size": 50_000, "…": "the 0.2 MB of one run are used up"} == added[-1]
    assert len(json.dumps(found)) < 400_000
    assert 10 == Store(tmp_path / "traces.db").state_at(Store(tmp_path / "traces.db").run("last").run_id, 99)["turn"]


def test_a_lost_step_is_said(store_path):
    """A change whose earlier value is not in the store reads as unknown, and the rest goes on."""
    from pocketflow_tracing.store.states import UNKNOWN, state_after

    lost = {"seq": 3, "changed": {"a": {"inside": [{"path": [3], "old": 1, "new": 2}]}, "b": {"old": 1, "new": 2}}}
    assert {"a": UNKNOWN, "b": 2} == state_after([{"seq": 1, "full": {"a": []}}, lost], 3)


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_every_copy_of_shared_reads_alike(flavour):
    """Input and output of a run, its pictures and a node's changes show one value in one form."""
    records = kit.use(kit.Records(), policies={"private": "hide"})
    with kit.World("object", flavour) as world:
        node = world.node(post=lambda self, s, p, e: s.update(private="changed", api_key="x" * 9))
        world.run(world.flow(node()), {"private": "at first", "plain": 1})
    root = records.spans(kind="flow")[0]
    assert {"private": "<hidden>", "plain": 1} == root.input == root.state["full"]
    assert {"private": "<hidden>", "plain": 1, "api_key": "[redacted]"} == root.output["shared"]
    assert "changed" not in json.dumps(records.spans(kind="node")[0].state["changed"]["private"]).replace(
        "<hidden>", ""
    )


class Key(str, Enum):
    API_KEY = "api_key"
    ANSWER = "answer"


class Word(str):
    __slots__ = ()

    def __hash__(self) -> int:
        return 1


class Opaque:
    pass


def test_keys_of_any_kind_are_told_apart(tmp_path):
    """Each has a name of its own, by which it is redacted too, and changes of its own."""
    one, other = Opaque(), Opaque()
    shared: dict[Any, Any] = {
        Key.API_KEY: "a secret", Key.ANSWER: 0, Word("password"): "a secret", Word("note"): "x", "<Opaque>": 0, one: 1, other: 2,
        ("a", 1): "x", ("a", "1"): "y", (): "z",
    }  # fmt: skip

    def change(shared: dict[Any, Any], turn: int) -> None:
        if turn == 2:
            shared[Key.ANSWER] = 42
            shared["a", 1] = "X"
            shared[other] = 3

    node = loop(2, change)
    trace_flow(config=TracingConfig(store=str(tmp_path / "traces.db")))(Flow(start=node)).run(shared)
    assert flush(timeout=20)
    store = Store(tmp_path / "traces.db")
    run_id = store.run("last").run_id
    full, *changes = [span.state for span in store.spans(run_id) if span.state]
    assert full["full"] == {
        "Key.API_KEY": "[redacted]", "Key.ANSWER": 0, "password": "[redacted]", "note": "x", "<Opaque>": 0,
        "<Opaque> (2)": 1, "<Opaque> (3)": 2, "('a', 1)": "x", "('a', '1')": "y", "()": "z",
    }  # fmt: skip
    assert set(changes[-1]["changed"]) == {"Key.ANSWER", "('a', 1)", "<Opaque> (3)", "turn"}
    assert set(changes[0].get("changed", {})) <= {"turn"}


def test_a_shared_that_another_thread_fills_and_empties():
    """Its keys are read in one step: no visit loses its state, no phase its beginning."""
    shared: dict[Any, Any] = {f"k{number}": number for number in range(200)}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            shared[f"n{number % 1000}"] = number
            if number % 1000 == 0:
                for name in range(1000):
                    del shared[f"n{name}"]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        state = _state.SharedState(shared, Capture())
        state.full()
        for _ in range(5000):
            state.changes()
            _phases._input("prep", (shared,), Capture())
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_while_another_thread_notes_what_changed(tmp_path):
    """Nodes in several threads have one picture: a visit neither waits for another's turn nor spoils it; the next one finds it all."""

    class Begins(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            self.state(shared).turn["of"] = object()  # as another thread does
            shared["begun"] = ["x" * 100]

        def state(self, shared: Any) -> Any:
            return span_of(current.get()).run.states[id(shared)]

    class Ends(Begins):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            self.state(shared).turn.clear()
            shared["ended"] = 1

    begins = Begins()
    begins >> Ends()
    path = tmp_path / "traces.db"
    trace_flow(Flow(start=begins), config=TracingConfig(store=str(path))).run({})
    assert flush(10)
    store = Store(path)
    spans = {span.name: span.state for span in store.spans(store.run("last").run_id)}
    assert spans["Begins"] is None
    assert {"begun", "ended"} == spans["Ends"]["added"].keys()
