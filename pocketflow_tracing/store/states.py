"""`shared` at a step of a run, from what each visit did to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pocketflow_tracing import _changes
from pocketflow_tracing.records import Json

__all__ = ["state_after", "steps_of"]

UNKNOWN = "<unknown: what it was before is not in the store>"


def state_after(states: Iterable[Json], seq: int) -> dict[str, Json]:
    """Return `shared` as it was after a step.

    Flows that run inside a node with a dict of their own have a picture of their own: the answer is that of the dict
    which the last step up to `seq` is about.

    Args:
        states: the `state` of a run's spans, in any order.
        seq: of the step; a number between two counts as the one before.
    """
    steps = sorted(
        (step for state in states for step in steps_of(state) if step[1]["seq"] <= seq), key=lambda step: step[1]["seq"]
    )
    shared: dict[str, Json] = {}
    for of, step in steps:
        if of != steps[-1][0]:
            continue
        if "full" in step:
            shared = dict(step["full"])
        shared.update(step.get("added") or {})
        shared.update(step.get("shown") or {})
        for key, change in (step.get("changed") or {}).items():
            shared[key] = _changed(shared.get(key), change)
        for key in (*(step.get("removed") or ()), *(step.get("unwatched") or ())):
            shared.pop(key, None)
    return shared


def _changed(old: Json, change: dict[str, Json]) -> Json:
    try:
        return _changes.apply(old, change)
    except ValueError:  # a span in between was lost, with the process that recorded it
        return UNKNOWN


def steps_of(state: Json) -> Iterator[tuple[int, Json]]:
    """The steps that one span's `state` holds: which shared dict each is about, and what it did."""
    of = state.get("of", 0)
    yield of, state
    if "end" in state:  # the visit that took the first picture, when it ended
        yield of, state["end"]
