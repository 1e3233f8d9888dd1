"""Whose settings hold for what stands in a run by ids alone: `trace_context=`, headers, a thread without any context.

The ids of spans are told on from where somebody has asked for them; those of traces that began with a run are known.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from ._pipeline import Pipeline

__all__ = ["pipeline_of", "tell"]

_MOST = 10_000
"""Ids that are known, the newest."""

_pipelines: dict[int, ref[Pipeline]] = {}


def tell(known: int, pipeline: Pipeline) -> None:
    """Note whose settings hold.

    Args:
        known: id of a trace or of a span.
        pipeline: of its run; it is not kept alive, and with it a module that is run again and again.
    """
    if len(_pipelines) >= _MOST:
        with contextlib.suppress(RuntimeError, StopIteration, KeyError):  # other threads do the same
            del _pipelines[next(iter(_pipelines))]
    _pipelines[known] = ref(pipeline)


def pipeline_of(*ids: int) -> Pipeline | None:
    """Whose settings hold for the first of some ids that is known, None where none is."""
    for known in ids:
        found = _pipelines.get(known)
        if found is not None:
            return found()
    return None
