"""A new picture that shares with the last one what has not changed: it reads as the new one, and the old one stays."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import Records
from pocketflow import AsyncFlow, AsyncNode, Flow, Node

from pocketflow_tracing import _pipeline, capture_allowance, trace_flow
from pocketflow_tracing._sharing import Sharing
from pocketflow_tracing._state import SharedState
from pocketflow_tracing.capture import Capture
from pocketflow_tracing.capture_allowance import FEW, Allowance
from pocketflow_tracing.capture_types import weigh

leaves = (
    st.none()
    | st.booleans()
    | st.integers(0, 2)
    | st.sampled_from([0.0, 1.0, float("nan")])
    | st.text("ab", max_size=2)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=4),
    max_leaves=20,
)


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@given(values, values)
def test_any_two_pictures(old: Any, new: Any) -> None:
    """Whatever stands in them."""
    before, wanted = copy.deepcopy(old), canonical(new)
    sharing = Sharing()
    found = sharing.of(old, new)
    assert wanted == canonical(found)
    assert canonical(before) == canonical(old)
    assert (found is old) == (canonical(old) == wanted) or type(new) is not type(old)
    assert (sharing.weight == 0) or canonical(old) != wanted


@given(values)
def test_a_copy_is_the_same(value: Any) -> None:
    """Nothing of it is kept twice."""
    sharing = Sharing()
    assert sharing.of(value, copy.deepcopy(value)) is value
    assert sharing.weight == 0


@pytest.mark.parametrize("kind", [dict, list])
def test_what_a_change_weighs(kind: type) -> None:
    """A large collection that gets one entry more weighs what came, and its other entries are those of the last picture."""
    capture = Capture()
    entries = [{"text": "x" * 2000, "row": {"at": at}} for at in range(90)]
    collection: Any = dict(enumerate(entries)) if kind is dict else entries
    old = capture.snapshot(collection)
    if kind is dict:
        collection[90] = {"text": "y" * 2000}
    else:
        collection.append({"text": "y" * 2000})
    sharing = Sharing()
    new = sharing.of(old, capture.snapshot(collection))
    assert new is not old
    assert 2000 < sharing.weight < 2000 + 64 * 200
    assert weigh(new) > 90 * 2000
    rows, known = (new.rows, old.rows) if kind is dict else (new, old)
    assert all(row is before for row, before in zip(rows, known, strict=False))


def test_a_large_number_weighs_what_it_takes() -> None:
    """It is kept whole as long as it waits, though only its digits are counted then."""
    number = 1 << 8_000_000
    state = SharedState({"n": number}, Capture())
    state.full()
    assert state.weight > 1_000_000
    state.shared["n"] = number + 1
    state.changes()
    assert state.weight > 2_000_000
    assert weigh([number]) > 1_000_000
    assert 0 == weigh(7)


def test_entries_behind_a_cut_are_found_where_they_were() -> None:
    """A list that is shown by its ends grows behind the cut, and each of its last entries moves by one."""
    capture = Capture()
    entries = [{"text": "x" * 2000, "at": at} for at in range(500)]
    old = capture.snapshot(entries)
    entries.append({"text": "y" * 2000, "at": 500})
    sharing = Sharing()
    new = sharing.of(old, capture.snapshot(entries))
    assert sharing.weight < 3 * 2000 + 64 * 200
    assert new[-2] is old[-1]


def test_small_values_use_nothing_up() -> None:
    """However many of them there are."""
    allowance = Allowance()
    for _ in range(1_000_000 // FEW):
        allowance.take(FEW)
    assert not allowance.is_used_up


@pytest.fixture
def used_up(monkeypatch: pytest.MonkeyPatch, records: Records) -> Allowance:
    """An allowance of which nothing is left, and nothing comes back."""
    allowance = Allowance()
    monkeypatch.setattr(_pipeline.pipeline_for(None).capture, "allowance", allowance)
    monkeypatch.setattr(capture_allowance, "monotonic", lambda: 0.0)
    return allowance


ROWS = [{"at": at, "b": str(at)} for at in range(90)]


class Collects(Node):
    """Adds to a large collection."""

    def exec(self, prep_res: Any) -> Any:
        return [*ROWS]

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        shared["turn"] += 1
        shared["found"].append(exec_res)
        return "again" if shared["turn"] < 6 else "done"


class CollectsAsync(AsyncNode):
    """The same in an event loop."""

    async def exec_async(self, prep_res: Any) -> Any:  # type: ignore[no-redef]
        return [*ROWS]

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        return Collects.post(self, shared, prep_res, exec_res)  # type: ignore[arg-type]


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_burst_of_large_values(
    in_a_loop: bool, used_up: Allowance, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it has had its time, values are shown in part, and `shared` is compared when there is time again, and at the end."""
    node: Any = CollectsAsync() if in_a_loop else Collects()
    node - "again" >> node
    node - "done" >> (AsyncNode() if in_a_loop else Node())
    shared: dict[str, Any] = {"turn": 0, "found": [[*ROWS]]}

    def use_up(self: Any, shared: Any) -> None:  # once the run has begun
        if not shared["turn"]:
            used_up.take(50_000)  # more than an event loop may wait for, and less than others may

    async def use_up_async(self: Any, shared: Any) -> None:
        use_up(self, shared)

    monkeypatch.setattr(type(node), "prep_async" if in_a_loop else "prep", use_up_async if in_a_loop else use_up)
    if in_a_loop:
        asyncio.run(trace_flow(AsyncFlow(start=node)).run_async(shared))
    else:
        trace_flow(Flow(start=node)).run(shared)
    visits = records.spans(type(node).__name__)
    outputs = [span.output for span in records.spans(f"{type(node).__name__}.exec")]
    assert [output[-1] for output in outputs] == ["… dict of 2 items" if in_a_loop else ROWS[-1]] * 6
    passed_over = [span.attributes.get("shared_not_compared", False) for span in visits]
    assert passed_over == [in_a_loop] * 6
    end = records.spans(kind="flow")[0].state["end"] if in_a_loop else visits[-1].state
    assert "found" in end["changed"]


def test_many_runs_at_once_with_a_large_shared_each(used_up: Allowance, records: Records) -> None:
    """Those that begin when pictures have had their time get a small one, which each visit can be compared with."""
    used_up.take(1_000_000)
    shared: dict[str, Any] = {"turn": 4, "found": [[*ROWS] for _ in range(20)]}
    node = Collects()
    node - "again" >> node
    node - "done" >> Node()
    trace_flow(Flow(start=node)).run(shared)
    flow = records.spans(kind="flow")[0]
    assert "… list of 90 items" in flow.state["full"]["found"]
    assert ["turn"] == list(records.spans("Collects")[0].state["changed"])[:1]


@pytest.mark.parametrize("keys", [1, 20, 300])
def test_a_run_that_begins_then_reads_little_however_many_keys_there_are(
    keys: int, used_up: Allowance, records: Records
) -> None:
    """Of hundreds of requests that come at once each may be a run with the whole of a service's state."""
    used_up.take(1_000_000)
    taken: list[int] = []
    used_up.__class__ = type("Counts", (Allowance,), {"__slots__": (), "take": lambda _, count: taken.append(count)})
    trace_flow(Flow(start=Node())).run({f"key {number}": [*ROWS] for number in range(keys)})
    assert taken[0] <= FEW + 4 * min(keys, 128)
    assert "Flow" in {span.name for span in records.spans()}
