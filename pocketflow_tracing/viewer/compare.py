"""Two runs side by side: which visits answer to each other, where the runs part, and what differs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

from pocketflow_tracing.records import Json
from pocketflow_tracing.store import RunRow, SpanRow
from pocketflow_tracing.store.states import state_after

from .shape import note_of
from .ways import stretches

__all__ = ["align", "difference", "part_of"]

_MOST_LINES = 2000
"""Lines of each side that are compared; longer values are compared up to there."""

_CONTEXT = 3


def align(left: tuple[RunRow, Sequence[SpanRow]], right: tuple[RunRow, Sequence[SpanRow]]) -> dict[str, Any]:
    """Return the visits of two runs in pairs.

    Args:
        left: a run and its spans, with payload.
        right: the other.

    Returns:
        {"pairs": [{"left", "right", "differs"}], "parts_at": number of the first pair that took another way, or None}. A
        side is None where the other run made a visit that this one did not; `differs` names what is not the same of
        action, status, input, output and state.
    """
    visits = [_visits(*side) for side in (left, right)]
    one_way, other_way = ([str(visit["node"]) for visit in side] for side in visits)
    pairs: list[dict[str, Any]] = []
    for low_l, high_l, low_r, high_r in stretches(one_way, other_way):
        for number in range(max(high_l - low_l, high_r - low_r)):
            ends = low_l + number, low_r + number
            one = visits[0][ends[0]] if ends[0] < high_l else None
            other = visits[1][ends[1]] if ends[1] < high_r else None
            if one is not None and other is not None and one["node"] != other["node"]:
                pairs += [_pair(one, None), _pair(None, other)]
            else:
                pairs.append(_pair(one, other))
    parting = (number for number, pair in enumerate(pairs) if _parts(pair))
    return {"pairs": [_without_contents(pair) for pair in pairs], "parts_at": next(parting, None)}


def part_of(spans: Sequence[SpanRow], span_id: str, part: str) -> Json:
    """Return what is compared of a visit: what it got, what it made, or what it wrote into `shared`.

    Args:
        spans: of its run, with payload.
        span_id: of the visit; one that is not there has nothing.
        part: "input", "output" or "state".
    """
    span = next((span for span in spans if span.span_id == span_id), None)
    if span is None or part not in _PARTS:
        return None
    if part == "state" and span.state:
        # Changes inside a value are compared by the value that they made.
        last = span.state.get("end", span.state)["seq"]
        shared = state_after([other.state for other in spans if other.state], last)
        return {key: shared.get(key) for key in _writes(span)}
    return _contents(span, [child for child in spans if child.parent_id == span_id])[_PARTS.index(part)]


def difference(left: Json, right: Json) -> list[list[str]]:
    """Return how two values differ, as lines of text: [sign, text], the sign one of " ", "-", "+" and "@" for a gap."""
    one, other = (_lines(value) for value in (left, right))
    found: list[list[str]] = []
    for group in difflib.SequenceMatcher(None, one, other, autojunk=False).get_grouped_opcodes(_CONTEXT):
        if found or group[0][1] > 0:
            found.append(["@", ""])
        for tag, low_l, high_l, low_r, high_r in group:
            if tag == "equal":
                found += [[" ", line] for line in one[low_l:high_l]]
            else:
                found += [["-", line] for line in one[low_l:high_l]]
                found += [["+", line] for line in other[low_r:high_r]]
    return found


def _visits(run: RunRow, spans: Sequence[SpanRow]) -> list[dict[str, Any]]:
    below: dict[str, list[SpanRow]] = {}
    for span in spans:
        below.setdefault(span.parent_id or "", []).append(span)
    return [_visit(run, span, below.get(span.span_id, [])) for span in spans if span.kind == "node"]


def _visit(run: RunRow, span: SpanRow, below: list[SpanRow]) -> dict[str, Any]:
    return {
        "id": span.span_id,
        "node": span.attributes.get("node", span.name),
        "name": span.name,
        "visit": span.attributes.get("visit", 1),
        "step": span.attributes.get("step"),
        "status": span.status,
        "action": span.attributes.get("action"),
        "start": (span.start_ns - run.start_ns) / 1e3,
        "took": None if span.duration_ns is None else span.duration_ns / 1e3,
        "attempts": sum(child.kind == "attempt" for child in below),
        "error": note_of(span.error),
        "contents": _contents(span, below),
    }


def _contents(span: SpanRow, below: list[SpanRow]) -> tuple[Json, Json, Json]:
    # What a node got is what its prep returned, what it made is what its exec returned: the last attempt's, or the batch's.
    prep = next((child.output for child in below if child.attributes.get("phase") == "prep"), span.input)
    made = [child for child in below if child.kind == "attempt" or child.attributes.get("phase") in _MAKING]
    return prep, made[-1].output if made else span.output, _writes(span)


_MAKING = ("exec", "exec_fallback")
_PARTS = ("input", "output", "state")


def _writes(span: SpanRow) -> dict[str, Json]:
    state = span.state or {}
    written: dict[str, Json] = {}
    for step in (state, state.get("end") or {}):
        written |= (step.get("full") or {}) | (step.get("added") or {})
        written |= {key: change.get("new", change) for key, change in (step.get("changed") or {}).items()}
        written |= {f"{key} (removed)": None for key in step.get("removed") or ()}
    return written


def _pair(left: dict[str, Any] | None, right: dict[str, Any] | None) -> dict[str, Any]:
    differs = []
    if left is not None and right is not None:
        differs = [name for name in ("action", "status") if left[name] != right[name]]
        parts = zip(_PARTS, left["contents"], right["contents"], strict=True)
        differs += [name for name, one, other in parts if one != other]
    return {"left": left, "right": right, "differs": differs}


def _parts(pair: dict[str, Any]) -> bool:
    return pair["left"] is None or pair["right"] is None or "action" in pair["differs"]


def _without_contents(pair: dict[str, Any]) -> dict[str, Any]:
    for side in ("left", "right"):
        if pair[side] is not None:
            pair[side] = {name: value for name, value in pair[side].items() if name != "contents"}
    return pair


def _lines(value: Json) -> list[str]:
    if value is None:
        return []
    text = value if isinstance(value, str) else json.dumps(_readable(value), ensure_ascii=False, indent=2)
    return text.splitlines()[:_MOST_LINES]


def _readable(value: Json) -> Json:
    # Long texts in a value stand line by line, so that one changed line reads as one.
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value.splitlines() if isinstance(value, str) and "\n" in value else value
