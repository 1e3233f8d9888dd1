"""What the store answers with: plain data, made from the rows of the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pocketflow_tracing.records import Json

__all__ = ["Changes", "FlowRow", "RunRow", "SpanRow", "error_line"]


@dataclass(slots=True)
class RunRow:
    """A run as it stands in the store: its record (see `RunRecord`) and its counts.

    Args:
        status: the record's, or "interrupted" for a run whose process is gone.
        revision: of the write that last touched it.
        spans: spans of every kind.
        nodes: node visits.
        attempts: calls of exec.
        errors: node visits that ended in an error.
        recovered: node visits that a retry or the fallback saved.
        tokens: of all generations.
        cost: of all generations, None where none told it.
        bytes: about what it takes in the file.
        graph: None in lists, which never load it.
    """

    run_id: str
    trace_id: str
    name: str
    status: str
    start_ns: int
    end_ns: int | None
    process_id: str
    revision: int
    spans: int
    nodes: int
    attempts: int
    errors: int
    recovered: int
    tokens: int
    cost: float | None
    bytes: int
    session_id: str | None = None
    user_id: str | None = None
    version: str | None = None
    environment: str | None = None
    release: str | None = None
    tags: list[str] = field(default_factory=list)
    error: Json = None
    metadata: dict[str, Any] = field(default_factory=dict)
    graph: Json = None

    @property
    def duration_ns(self) -> int | None:
        """From start to end, None while there is no end."""
        return None if self.end_ns is None else self.end_ns - self.start_ns


@dataclass(slots=True)
class SpanRow:
    """A span as it stands in the store (see `SpanRecord`); its status may be "interrupted"."""

    run_id: str
    trace_id: str
    span_id: str
    parent_id: str | None
    kind: str
    name: str
    status: str
    start_ns: int
    end_ns: int | None = None
    input: Json = None
    output: Json = None
    state: Json = None
    error: Json = None
    attributes: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    scores: list[dict[str, Any]] = field(default_factory=list)
    model: str | None = None
    usage: dict[str, int] | None = None
    cost: float | None = None

    @property
    def duration_ns(self) -> int | None:
        """From start to end, None while there is no end."""
        return None if self.end_ns is None else self.end_ns - self.start_ns


@dataclass(slots=True)
class FlowRow:
    """The runs of one flow in figures.

    Args:
        name: of the flow.
        runs: their number.
        by_status: their number by status.
        last_start_ns: when the newest began.
        p50_ns: median duration of the runs that have ended, None where none has.
        p95_ns: the duration that 95 of 100 do not exceed.
        tokens: of all of them.
        cost: of all of them, None where none told it.
    """

    name: str
    runs: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    last_start_ns: int = 0
    p50_ns: int | None = None
    p95_ns: int | None = None
    tokens: int = 0
    cost: float | None = None


@dataclass(slots=True)
class Changes:
    """What was written after a revision, in the order of writing.

    Args:
        revision: to ask with the next time.
        runs: as they stand now.
        spans: likewise, without input, output and state.
    """

    revision: int
    runs: list[RunRow]
    spans: list[SpanRow]


def error_line(error: dict[str, Json]) -> str:
    """Return an error as "Type: first line of the message"."""
    kind, lines = str(error.get("type") or "Error"), str(error.get("message") or "").strip().splitlines()
    return f"{kind}: {lines[0]}" if lines else kind
