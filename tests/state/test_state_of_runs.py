"""`shared` rebuilt from the records is the bounded picture of the real one, at every step of real flows in the real store."""

from __future__ import annotations

import json
from typing import Any

import kit
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pocketflow import BatchFlow, Flow, Node

from pocketflow_tracing import TracingConfig, _state, flush, trace_flow
from pocketflow_tracing.capture import Capture
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
    elif kind == "extend":
        shared[key] = [*(held if isinstance(held, list) else []), *range(97)]
    elif kind == "many":
        shared.update({f"{key[:9]}{number}": number for number in range(90)})
    elif kind == "few":
        for name in list(shared)[5:80]:
            del shared[name]
    elif kind == "again":
        shared[key] = shared.pop(key, value)


def run(shared: dict[Any, Any], visits: list[list[Any]], path: Any, flow_class: type = Flow) -> None:
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
        assert pictures[number] == canonical(store.state_at(run_id, seq)), (number, state)


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
kinds = st.sampled_from(["set", "delete", "append", "append", "insert", "pop", "inside", "grow", "extend", "many", "few", "again"])
changes = st.lists(st.tuples(kinds, keys, nested), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(shared=st.dictionaries(keys, nested, max_size=5), visits=st.lists(changes, min_size=1, max_size=6))
def test_random_flows(tmp_path, shared, visits):
    """Every kind of change, one after the other, at every step."""
    run(shared, visits, tmp_path / "traces.db")
