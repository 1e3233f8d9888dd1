"""Rows of the store as the JSON that the pages read.

Times are wall clock in ms for a run, and µs after the run's start for its spans: JavaScript's numbers hold no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pocketflow_tracing.records import Json
from pocketflow_tracing.store import FlowRow, RunRow, SpanRow
from pocketflow_tracing.store.rows import error_line

from .params import cursor_of

__all__ = ["COLUMNS", "flow_json", "note_of", "run_json", "span_json", "span_rows"]

_FACTS = (
    "node",
    "visit",
    "step",
    "attempt",
    "max_attempts",
    "item",
    "items",
    "action",
    "successor",
    "no_successor",
    "phase",
    "level",
    "type",
    "lost_spans",
)
"""Attributes that the timeline and the graph need; the rest is read with the span."""

COLUMNS = ("id", "parent", "kind", "name", "status", "start", "took", "facts", "error", "model", "tokens", "cost")
"""What stands in each row of `span_rows`: ids, µs, and None where there is nothing."""

_LONGEST_NOTE = 300


def note_of(error: Json) -> str | None:
    """Return an error as "Type: first line of the message", not too long for a note; None of none."""
    if not isinstance(error, dict):
        return None
    text = error_line(error)
    return text if len(text) <= _LONGEST_NOTE else f"{text[:_LONGEST_NOTE]}…"


def run_json(run: RunRow) -> dict[str, Any]:
    """Return a run for lists and headings."""
    return {
        "id": run.run_id,
        "trace": run.trace_id,
        "name": run.name,
        "status": run.status,
        "start": run.start_ns / 1e6,
        "took": None if run.duration_ns is None else run.duration_ns / 1e3,
        "cursor": cursor_of(run.start_ns, run.run_id),
        "process": run.process_id,
        "spans": run.spans,
        "nodes": run.nodes,
        "attempts": run.attempts,
        "errors": run.errors,
        "recovered": run.recovered,
        "tokens": run.tokens,
        "cost": run.cost,
        "session": run.session_id,
        "user": run.user_id,
        "version": run.version,
        "environment": run.environment,
        "release": run.release,
        "tags": run.tags,
        "metadata": run.metadata,
        "error": note_of(run.error),
    }


def span_rows(run: RunRow, spans: Sequence[SpanRow]) -> list[list[Any]]:
    """Return spans as rows of `COLUMNS`; a parent among them stands as the number of its row, which is shorter."""
    places = {span.span_id: number for number, span in enumerate(spans)}
    return [
        [
            span.span_id,
            places.get(span.parent_id or "", span.parent_id),
            span.kind,
            span.name,
            span.status,
            round((span.start_ns - run.start_ns) / 1e3),
            None if span.duration_ns is None else round(span.duration_ns / 1e3),
            {name: span.attributes[name] for name in _FACTS if name in span.attributes},
            note_of(span.error),
            span.model,
            _tokens(span.usage),
            span.cost,
        ]
        for span in spans
    ]


def span_json(run_start_ns: int, span: SpanRow) -> dict[str, Any]:
    """Return one span with everything."""
    whole = dataclasses.asdict(span)
    for name in ("run_id", "trace_id", "start_ns", "end_ns", "span_id", "parent_id"):
        del whole[name]
    return {
        **whole,
        "id": span.span_id,
        "parent": span.parent_id,
        "start": round((span.start_ns - run_start_ns) / 1e3),
        "took": None if span.duration_ns is None else round(span.duration_ns / 1e3),
    }


def flow_json(flow: FlowRow) -> dict[str, Any]:
    """Return the figures of a flow; durations in µs, the last start in ms."""
    return {
        "name": flow.name,
        "runs": flow.runs,
        "by_status": flow.by_status,
        "last": flow.last_start_ns / 1e6,
        "p50": None if flow.p50_ns is None else flow.p50_ns / 1e3,
        "p95": None if flow.p95_ns is None else flow.p95_ns / 1e3,
        "tokens": flow.tokens,
        "cost": flow.cost,
    }


def _tokens(usage: dict[str, int] | None) -> Json:
    # [input, output] where both are known, else the total alone.
    if not usage:
        return None
    if "input" in usage and "output" in usage:
        return [usage["input"], usage["output"]]
    return usage.get("total", sum(usage.values()))
