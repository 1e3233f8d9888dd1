"""For user code during a run: which trace is this, and what is to be remembered of the current node."""

from __future__ import annotations

from typing import Any

from . import _log
from ._guard import Seam, is_hosts
from ._otel_span import context_now, span_in
from .capture_types import weigh
from .recorder import Branch, Span, current, span_of

__all__ = ["add_metadata", "add_score", "current_trace_id", "current_trace_url"]

_LARGEST = 1e300  # NaN and the infinities are not below it; an int may be longer than any float
_MOST = 1000
"""Scores of one node, and names of metadata: they wait in memory until it ends."""
_ADDING = Seam("adding metadata or a score to the current node")


def current_trace_id() -> str | None:
    """The id of the trace around the caller, 32 hex digits; None outside a run."""
    span = _around()
    return f"{span.run.trace_id:032x}" if span is not None else None


def current_trace_url() -> str | None:
    """The Langfuse address of the trace around the caller; None outside a run and without Langfuse."""
    span = _around()
    if span is None or span.run.pipeline.langfuse is None:
        return None
    return span.run.pipeline.langfuse.trace_url(f"{span.run.trace_id:032x}")


def _around() -> Span | None:
    """Our span around the caller; in a visit that there is no room for it is the one that it stands in."""
    found: Span | None = span_of(current.get()) or span_in(context_now())
    return found


def add_metadata(**metadata: Any) -> None:
    """Remember facts of the current node, by name; does nothing outside a run.

    Args:
        metadata: any values; they are captured like inputs and outputs.
    """
    span = _current_node("metadata")
    if span is None:
        return
    with _ADDING:
        snapshot = span.run.pipeline.capture.snapshot
        if span.metadata is None:
            span.metadata = {}
        for name, value in metadata.items():
            if name not in span.metadata and len(span.metadata) >= _MOST:
                _say_enough("metadata", span)
                continue
            taken = snapshot(value)
            span.weight += weigh(taken) - weigh(span.metadata.get(name))
            span.metadata[name] = taken


def add_score(name: str, value: float | str, comment: str | None = None) -> None:
    """Score the current node; in Langfuse it is a score of that observation. Does nothing outside a run.

    Args:
        name: of the score.
        value: a finite number, of NumPy too, a bool, or a text for a category.
        comment: why.
    """
    span = _current_node("a score")
    if span is None:
        return
    with _ADDING:
        plain = _plain(value)
        if plain is None:
            _log.warn_once(
                f"The value of a score is a finite number or a text, not a {type(value).__name__}: it is left out.",
                elsewhere=True,
            )
            return
        if span.scores is None:
            span.scores = []
        if len(span.scores) >= _MOST:
            _say_enough("scores", span)
            return
        score: dict[str, Any] = {"name": name, "value": plain}
        if comment is not None:
            score["comment"] = comment
        span.scores.append(taken := span.run.pipeline.capture.snapshot(score))
        span.charge(taken)


def _plain(value: Any) -> bool | float | str | None:
    """What is recorded of a score's value: Langfuse takes what JSON calls numbers and texts; None for anything else."""
    if isinstance(value, str):  # a member of an Enum of texts is one of them
        return str.__str__(value)
    if isinstance(value, bool) or type(value).__name__ in {"bool_", "bool"}:  # NumPy's
        return bool(value)
    try:
        number = int(value) if isinstance(value, int) else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        if is_hosts(error):
            raise
        return None
    return number if abs(number) <= _LARGEST else None


def _current_node(what: str) -> Branch | None:
    """The node that the caller runs in, or what is around it that goes on: a task may outlive its node."""
    at = span_of(current.get())
    span = at
    while span is not None and (span.kind == "pass" or span.complete or not isinstance(span, Branch)):
        span = span.parent
    if span is None and at is not None:
        with _ADDING:
            _log.warn_once(f"What a run has started added {what} after it had ended: that is left out.", elsewhere=True)
    return span


def _say_enough(what: str, span: Branch) -> None:
    _log.warn_once(
        f"{span.shown_name()} was given more than {_MOST:,} {what}: the others are left out.", elsewhere=True
    )
