"""Scores that a Langfuse client of ours is given: they are of the environment of the run that they are about."""

from __future__ import annotations

import re
from typing import Any

from ._guard import Seam
from ._sdk_told import Switches, told

__all__ = ["place_scores"]

_ID = re.compile("[0-9a-f]{16}(?:[0-9a-f]{16})?")
_PLACING = Seam("finding out the environment of a score")


def place_scores(resources: Any, elsewhere: Switches) -> None:
    """Let the scores of a run's trace be where that is; the SDK gives them the client's environment.

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


def _placed(score: dict[str, Any], elsewhere: Switches) -> dict[str, Any]:
    # langfuse 5 has the body of a request here, langfuse 4 an event with a model of pydantic's as its body, where ids stand under
    # the names that they have in JSON
    body: Any = score.get("body")
    fields = score if body is None else {**vars(body), **(getattr(body, "model_extra", None) or {})}
    trace_id, environment = fields.get("traceId"), fields.get("environment")
    if not (isinstance(trace_id, str) and _ID.fullmatch(trace_id)):  # others have ids of their own
        return score
    observation_id = str(fields.get("observationId") or "")
    known = told(int(trace_id, 16), int(observation_id, 16) if _ID.fullmatch(observation_id) else 0)
    ours = known.switches.environment if known is not None else None
    if ours is None or environment not in {None, elsewhere.environment}:
        return score
    if body is None:
        return {**score, "environment": ours}
    copied = body.model_copy if hasattr(body, "model_copy") else body.copy  # pydantic 1
    return {**score, "body": copied(update={"environment": ours})}
