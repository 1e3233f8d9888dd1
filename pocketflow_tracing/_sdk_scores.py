"""Scores that a Langfuse client of ours is given: the settings of the run that they are about hold for them."""

from __future__ import annotations

import re
from typing import Any

from ._guard import Seam
from ._sdk_told import Switches, told
from .capture import snapshot
from .redaction import Rules
from .render import render

__all__ = ["place_scores"]

_ID = re.compile("[0-9a-f]{16}(?:[0-9a-f]{16})?")
_SAID = ("comment", "metadata")
"""What stands in a score beside its name and value."""
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
    changed: dict[str, Any] = {}
    for key in _SAID:
        said = fields.get(key)
        if said is not None and (shown := render(snapshot(said, rules.limits), rules, (key,))) != said:
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
