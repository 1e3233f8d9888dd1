"""Scores that a Langfuse client of ours is given: the settings of the run that they are about hold for them."""

from __future__ import annotations

import re
from typing import Any

from ._guard import Seam
from ._sdk_told import Switches, told
from .recorder import current, span_of
from .redaction import Rules
from .redaction_data import scan_value
from .redaction_shapes import REPLACEMENT, scan

__all__ = ["place_scores"]

_ID = re.compile("[0-9a-f]{16}(?:[0-9a-f]{16})?")
_SAID = ("value", "comment", "metadata")
"""What may hold a secret: a value may be a text."""
_DEEPEST = 50
_PLACING = Seam("finding out the settings for a score")


def place_scores(resources: Any, elsewhere: tuple[Switches, Rules]) -> None:
    """Redact what is said with scores, and let those of a run be in its environment; the SDK gives them the client's.

    Args:
        resources: of the client.
        elsewhere: what holds outside of runs.
    """
    add = resources.add_score_task

    def add_placed(score: Any, **how: Any) -> Any:
        placed = score
        with _PLACING:
            placed = _placed(score, elsewhere)
        return add(placed, **how)

    resources.add_score_task = add_placed


def _placed(score: dict[str, Any], elsewhere: tuple[Switches, Rules]) -> dict[str, Any]:
    # langfuse 5 has the body of a request here, langfuse 4 an event with a model of pydantic's as its body, where ids stand under
    # the names that they have in JSON
    body: Any = score.get("body")
    fields = score if body is None else {**vars(body), **(getattr(body, "model_extra", None) or {})}
    trace_id, observation_id = (_number(fields.get(key)) for key in ("traceId", "observationId"))
    known = told(trace_id, observation_id) if trace_id else None  # others have ids of their own
    switches, rules = elsewhere if known is None else (known.switches, known.rules)
    judge = span_of(current.get())  # a run may score what another has done, and hide what it says of it
    changed: dict[str, Any] = {}
    for key in _SAID:
        said = fields.get(key)
        shown = _shown(said, rules)
        if judge is not None and judge.run.pipeline.rules is not rules:
            shown = _shown(shown, judge.run.pipeline.rules)
        if shown is not said:
            changed[key] = shown
    if switches.environment is not None and fields.get("environment") in {None, elsewhere[0].environment}:
        changed["environment"] = switches.environment
    if not changed:
        return score
    if body is None:
        return {**score, **changed}
    copied = body.model_copy if hasattr(body, "model_copy") else body.copy  # pydantic 1
    return {**score, "body": copied(update=changed)}


def _number(id_: Any) -> int:
    return int(id_, 16) if isinstance(id_, str) and _ID.fullmatch(id_) else 0


def _shown(value: Any, rules: Rules, above: tuple[int, ...] = ()) -> Any:
    """What is sent of a value, which stays as it is where it holds no secret; no mask is asked, for the program waits."""
    kind = type(value)
    if kind is str:
        shown: Any = scan(value) if rules.redact.idle else scan_value(value, rules.redact.hits)
        return value if shown == value else shown
    if kind not in {dict, list, tuple} or len(above) > _DEEPEST or id(value) in above:
        return value
    hits = rules.redact.hits
    if kind is dict:
        items = {
            key: REPLACEMENT
            if type(key) is str and hits(key) and item is not None
            else _shown(item, rules, (*above, id(value)))
            for key, item in value.items()
        }
        return items if any(items[key] is not value[key] for key in items) else value
    found = [_shown(item, rules, (*above, id(value))) for item in value]
    return kind(found) if any(new is not old for new, old in zip(found, value, strict=True)) else value
