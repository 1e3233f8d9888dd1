"""Scores that a Langfuse client of ours is given: they are of the environment of the run that they are about."""

from __future__ import annotations

import re
from typing import Any

from ._guard import Seam
from ._sdk_told import Switches, told

__all__ = ["place_scores"]

_ID = re.compile("[0-9a-f]{32}")
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
    # langfuse 5 has the body of a request here, langfuse 4 an event with a model of pydantic's as its body, where the id of the
    # trace stands under the name that it has in JSON
    body: Any = score.get("body")
    trace_id = score.get("traceId") if body is None else getattr(body, "traceId", None) or body.trace_id
    environment = score.get("environment") if body is None else body.environment
    known = told(int(trace_id, 16)) if trace_id and _ID.fullmatch(trace_id) else None  # others have ids of their own
    ours = known.switches.environment if known is not None else None
    if ours is None or environment not in {None, elsewhere.environment}:
        return score
    if body is None:
        return {**score, "environment": ours}
    copied = body.model_copy if hasattr(body, "model_copy") else body.copy  # pydantic 1
    return {**score, "body": copied(update={"environment": ours})}
