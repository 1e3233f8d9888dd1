"""What each visit wrote into `shared`, small enough to be sent at once: large values are left to be asked for.

Changes inside a value stay as they are recorded (see `_changes`): the page applies them to the value before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pocketflow_tracing.records import Json
from pocketflow_tracing.store.states import steps_of

__all__ = ["states_json", "value_json"]

_LARGEST = 4000
"""Characters of JSON that a value may have to be sent with its visit."""


def states_json(states: Iterable[tuple[str, Json]], *, whole: bool = False) -> list[dict[str, Any]]:
    """Return the steps that `shared` went through, in order.

    Args:
        states: (span_id, state) as the store has them.
        whole: send large values too.

    Returns:
        {"span", "seq", "of": which shared dict, "first": whether it is a whole picture, "added": {key: box}, "changed": {key:
        box}, "removed": [keys], "unwatched": [keys], "shown": {key: box}}. A box is {"v": value}, {"inside": steps}, or
        {"size": characters} of what is too large to be sent unasked.
    """
    return [
        {
            "span": span_id,
            "seq": step["seq"],
            "of": of,
            "first": "full" in step,
            "added": {key: _boxed({"v": value}, whole=whole) for key, value in _put(step).items()},
            "changed": {key: _boxed(_change(change), whole=whole) for key, change in _of(step, "changed").items()},
            "removed": list(step.get("removed") or ()),
            "unwatched": list(step.get("unwatched") or ()),
            "shown": {key: _boxed({"v": value}, whole=whole) for key, value in _of(step, "shown").items()},
        }
        for span_id, of, step in _steps(states)
    ]


def value_json(states: Iterable[tuple[str, Json]], seq: int, key: str) -> dict[str, Json] | None:
    """Return what a step wrote under a key, as a box with everything; None when it wrote nothing there."""
    for _, _, step in _steps(states):
        if step["seq"] == seq:
            if key in (put := {**_put(step), **_of(step, "shown")}):
                return {"v": put[key]}
            return _change(step["changed"][key]) if key in _of(step, "changed") else None
    return None


def _steps(states: Iterable[tuple[str, Json]]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    found = [(span_id, of, step) for span_id, state in states for of, step in steps_of(state)]
    yield from sorted(found, key=lambda step: step[2]["seq"])


def _put(step: dict[str, Any]) -> dict[str, Json]:
    return {**_of(step, "full"), **_of(step, "added")}


def _of(step: dict[str, Any], kind: str) -> dict[str, Any]:
    return step.get(kind) or {}


def _change(change: dict[str, Json]) -> dict[str, Json]:
    return {"inside": change["inside"]} if "inside" in change else {"v": change.get("new")}


def _boxed(box: dict[str, Json], *, whole: bool) -> dict[str, Json]:
    value = box.get("v", box.get("inside"))
    if whole or value is None or isinstance(value, (bool, int, float)):
        return box
    size = len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))
    return box if size <= _LARGEST else {"size": size}
