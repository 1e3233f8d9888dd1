"""The SQL of the reading side: filters, columns, and rows made into plain data."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from .._time import time_ns
from .codec import dump, integer, like, load
from .filters import RunFilter
from .liveness import is_alive
from .rows import RunRow, SpanRow

__all__ = ["RUN_COLUMNS", "Where", "dead_processes", "run_row", "select_spans"]

RUN_COLUMNS = (
    "run_id, trace_id, name, status, start_ns, end_ns, process_id, revision, spans, nodes, attempts, errors, recovered,"
    " tokens, cost, bytes, session_id, user_id, version, environment, release, tags, error, metadata"
)
_SPAN_COLUMNS = (
    "run_id, trace_id, span_id, parent_id, kind, name, status, start_ns, end_ns, model, cost, usage, attributes, error,"
    " scores, metadata"
)
_KINDS = (dict, dict, dict, list, dict)
"""Of the last five of these columns."""


class Where:
    """A growing WHERE clause and its parameters.

    Args:
        filters: which runs are meant.
        dead: ids of the processes of interrupted runs.
    """

    def __init__(self, filters: RunFilter, dead: Sequence[str]) -> None:
        self.parameters: list[Any] = []
        self._conditions: list[str] = []
        for condition, value in (
            ("name = ?", filters.flow),
            ("session_id = ?", filters.session),
            ("user_id = ?", filters.user),
            ("start_ns >= ?", filters.since_ns),
            ("start_ns < ?", filters.until_ns),
        ):
            if value is not None:
                self.add(condition, value)
        if filters.tag is not None:
            self.add("EXISTS (SELECT 1 FROM json_each(runs.tags) WHERE value = ?)", filters.tag)
        if filters.status is not None:
            self._add_status(filters.status, dead)
        if filters.text:
            self._add_text(filters.text)

    def add(self, condition: str, *values: object) -> None:
        """Add a condition that must hold too."""
        self._conditions.append(condition)
        self.parameters.extend(integer(value) if type(value) is int else value for value in values)

    def __str__(self) -> str:
        return f"WHERE {' AND '.join(self._conditions)}" if self._conditions else ""

    def _add_status(self, status: str, dead: Sequence[str]) -> None:
        if status in {"running", "interrupted"}:
            gone = "process_id IN (SELECT value FROM json_each(?))"
            self.add("status = 'running' AND " + (gone if status == "interrupted" else f"NOT {gone}"), dump(dead))
        else:
            self.add("status = ?", status)

    def _add_text(self, needle: str) -> None:
        # Names are stored as they are, the rest as JSON: there a quote or a line break stands escaped.
        plain, encoded = like(needle), like(json.dumps(needle, ensure_ascii=False)[1:-1])
        condition = "(name LIKE ? ESCAPE '\\' OR error LIKE ? ESCAPE '\\' OR EXISTS (SELECT 1 FROM spans AS s"
        condition += " WHERE s.run_id = runs.run_id AND (s.name LIKE ? ESCAPE '\\' OR s.error LIKE ? ESCAPE '\\'"
        condition += " OR s.input LIKE ? ESCAPE '\\' OR s.output LIKE ? ESCAPE '\\')))"
        self.add(condition, plain, encoded, plain, encoded, encoded, encoded)


def dead_processes(connection: sqlite3.Connection) -> list[str]:
    """Return the ids of processes that left running runs behind."""
    now_ns = time_ns()
    return [
        process_id
        for process_id, beat_ns in connection.execute(
            "SELECT DISTINCT runs.process_id, beat_ns FROM runs LEFT JOIN processes USING (process_id)"
            " WHERE status = 'running'"
        )
        if not is_alive(process_id, beat_ns, now_ns)
    ]


def run_row(row: Sequence[Any], dead: Sequence[str], graph: str | None = None) -> RunRow:
    """Return the row of `RUN_COLUMNS` as plain data."""
    *plain, tags, error, metadata = row
    run = RunRow(*plain)
    run.start_ns, run.end_ns = _times(run.start_ns, run.end_ns)
    run.tags, run.error = load(tags, list), load(error, dict)
    run.metadata, run.graph = load(metadata, dict), load(graph, dict)
    if run.status == "running" and run.process_id in dead:
        run.status = "interrupted"
    return run


def select_spans(
    connection: sqlite3.Connection, condition: str, parameters: Sequence[object], dead: Sequence[str], *, payload: bool
) -> list[SpanRow]:
    """Return spans as plain data.

    Args:
        connection: to the store.
        condition: what follows FROM spans.
        parameters: of the condition.
        dead: ids of processes that are gone.
        payload: whether to load input, output and state.
    """
    columns = _SPAN_COLUMNS + (", input, output, state" if payload else "")
    interrupted = _interrupted_runs(connection, dead)
    found = []
    for row in connection.execute(f"SELECT {columns} FROM spans {condition}", parameters):  # noqa: S608 - constants
        run_id, trace_id, span_id, parent_id, kind, name, status, start_ns, end_ns, model, cost = row[:11]
        start_ns, end_ns = _times(start_ns, end_ns)
        usage, attributes, error, scores, metadata = map(load, row[11:16], _KINDS)
        span = SpanRow(
            run_id=run_id,
            trace_id=trace_id,
            span_id=span_id,
            parent_id=parent_id,
            kind=kind,
            name=name,
            status="interrupted" if status == "running" and run_id in interrupted else status,
            start_ns=start_ns,
            end_ns=end_ns,
            error=error,
            attributes=attributes,
            metadata=metadata,
            scores=scores,
            model=model,
            usage=usage,
            cost=cost,
        )
        if payload:
            span.input, span.output, span.state = map(load, row[16:19], (None, None, dict))
        found.append(span)
    return found


def _times(start_ns: Any, end_ns: Any) -> tuple[int, int | None]:
    """Return beginning and end in ns, which may be any number: a span of another library has what its program gave it."""
    return int(start_ns), None if end_ns is None else int(end_ns)


def _interrupted_runs(connection: sqlite3.Connection, dead: Sequence[str]) -> set[str]:
    if not dead:
        return set()
    return {
        run_id
        for (run_id,) in connection.execute(
            "SELECT run_id FROM runs WHERE status = 'running' AND process_id IN (SELECT value FROM json_each(?))",
            (dump(dead),),
        )
    }
