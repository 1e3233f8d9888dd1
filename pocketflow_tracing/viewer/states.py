"""What each visit wrote into `shared`, small enough to be sent at once: large values are left to be asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pocketflow_tracing.records import Json
from pocketflow_tracing.store import Store

__all__ = ["states_json", "value_json"]

_LARGEST = 4000
"""Characters of JSON that a value may have to be sent with its visit."""


def states_json(states: Iterable[tuple[str, Json]], *, whole: bool = False) -> list[dict[str, Any]]:
    """Return the visits that changed `shared`, in order.

    Args:
        states: (span_id, state) as the store has them.
        whole: send large values too.

    Returns:
        {"span", "seq", "first": whether it is a whole picture, "added": {key: value}, "changed": {key: value},
        "removed": [keys]}. A value stands as {"v": value}, or as {"size": characters} when it is large; what a key held
        before is what the visit before wrote.
    """
    made = []
    for span_id, state in states:
        first = "full" in state
        added = state.get("full") if first else state.get("added")
        changed = {key: change.get("new") for key, change in (state.get("changed") or {}).items()}
        made.append({
            "span": span_id,
            "seq": state.get("seq", 0),
            "first": first,
            "added": {key: _boxed(value, whole=whole) for key, value in (added or {}).items()},
            "changed": {key: _boxed(value, whole=whole) for key, value in changed.items()},
            "removed": list(state.get("removed") or ()),
        })
    return made


def value_json(store: Store, run_id: str, span_id: str, key: str) -> Json:
    """Return what a visit wrote under a key, {"v": value}, None when it wrote nothing there."""
    span = store.span(run_id, span_id)
    state = (span.state or {}) if span is not None else {}
    for kind in ("full", "added"):
        if key in (state.get(kind) or {}):
            return {"v": state[kind][key]}
    change = (state.get("changed") or {}).get(key)
    return None if change is None else {"v": change.get("new")}


def _boxed(value: Json, *, whole: bool) -> dict[str, Json]:
    if whole or value is None or isinstance(value, (bool, int, float)):
        return {"v": value}
    size = len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))
    return {"v": value} if size <= _LARGEST else {"size": size}
