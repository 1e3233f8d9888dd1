"""The reading side of the store: for the command line, the browser view and your own programs."""

from __future__ import annotations

import os
import sqlite3
import string
from pathlib import Path
from typing import Any

from pocketflow_tracing.records import Json

from . import outbox_counts
from .codec import integer, load
from .errors import AmbiguousRunError, RunNotFoundError
from .filters import RunFilter
from .outbox_counts import OutboxCounts
from .queries import RUN_COLUMNS, Where, dead_processes, run_row, select_spans
from .readonly import read
from .rows import Changes, RunRow, SpanRow
from .states import state_after

__all__ = ["Store"]

_EVERYTHING = RunFilter()


class Store:
    """Reads a store file; opened read-only, while others write or on a copy of it. Any thread may use it.

    Every method raises `StoreError` when there is no file, or it cannot be read.

    Args:
        path: of the store file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def runs(
        self, filters: RunFilter = _EVERYTHING, *, limit: int | None = 50, before: tuple[int, str] | None = None
    ) -> list[RunRow]:
        """Return runs, the newest first, without their graphs.

        Args:
            filters: which ones.
            limit: their number, None for all.
            before: (start_ns, run_id) of the last run of the page before.
        """

        def query(connection: sqlite3.Connection) -> list[RunRow]:
            dead = dead_processes(connection)
            where = Where(filters, dead)
            if before is not None:
                where.add("(start_ns, run_id) < (?, ?)", *before)
            rows = connection.execute(
                f"SELECT {RUN_COLUMNS} FROM runs {where} ORDER BY start_ns DESC, run_id DESC LIMIT ?",  # noqa: S608
                (*where.parameters, -1 if limit is None else integer(limit)),
            )
            return [run_row(row, dead) for row in rows]

        return read(self.path, query)

    def run(self, reference: str) -> RunRow:
        """Return one run, with its graph.

        Args:
            reference: the beginning of a run id or trace id, or "last" for the newest run.

        Raises:
            RunNotFoundError: no run answers to it.
            AmbiguousRunError: several do.
        """
        wanted = reference.strip().lower()

        def query(connection: sqlite3.Connection) -> RunRow:
            run_id = _newest(connection) if wanted == "last" else _only(connection, wanted, reference)
            *row, graph = connection.execute(
                f"SELECT {RUN_COLUMNS}, graph FROM runs WHERE run_id = ?",  # noqa: S608 - constants
                (run_id,),
            ).fetchone()
            return run_row(row, dead_processes(connection), graph)

        return read(self.path, query)

    def spans(self, run_id: str, *, payload: bool = True) -> list[SpanRow]:
        """Return the spans of a run, sorted by start (see `build_tree`).

        Args:
            run_id: the whole id.
            payload: whether to load input, output and state; without them a long run is read many times faster.
        """

        def query(connection: sqlite3.Connection) -> list[SpanRow]:
            condition = "WHERE run_id = ? ORDER BY start_ns, id"
            return select_spans(connection, condition, (run_id,), dead_processes(connection), payload=payload)

        return read(self.path, query)

    def run_changes(self, run_id: str, after: int = 0) -> Changes:
        """Return a run, without its graph, and what was written of its spans after a revision, sorted by start.

        Args:
            run_id: the whole id.
            after: the `revision` of the answer before, 0 for everything.

        Raises:
            RunNotFoundError: there is no such run.
        """

        def query(connection: sqlite3.Connection) -> Changes:
            dead = dead_processes(connection)
            (revision,) = connection.execute("SELECT sum(value) FROM figures WHERE name = 'revision'").fetchone()
            row = connection.execute(f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?", (run_id,)).fetchone()  # noqa: S608
            if row is None:
                raise RunNotFoundError(f"No run begins with {run_id!r}.")
            condition = "WHERE run_id = ? AND revision > ? ORDER BY start_ns, id"
            spans = select_spans(connection, condition, (run_id, after), dead, payload=False)
            return Changes(revision or 0, [run_row(row, dead)], spans)

        return read(self.path, query)

    def states(self, run_id: str) -> list[tuple[str, Json]]:
        """Return what each visit did to `shared`, in order: (span_id, state)."""

        def query(connection: sqlite3.Connection) -> list[tuple[str, Json]]:
            rows = connection.execute(
                "SELECT span_id, state FROM spans WHERE run_id = ? AND state_seq IS NOT NULL ORDER BY state_seq, id",
                (run_id,),
            )
            return [(span_id, load(text, dict)) for span_id, text in rows]

        return read(self.path, query)

    def span(self, run_id: str, span_id: str) -> SpanRow | None:
        """Return one span with everything, None when there is none."""

        def query(connection: sqlite3.Connection) -> list[SpanRow]:
            condition = "WHERE run_id = ? AND span_id = ?"
            return select_spans(connection, condition, (run_id, span_id), dead_processes(connection), payload=True)

        return next(iter(read(self.path, query)), None)

    def state_at(self, run_id: str, seq: int) -> dict[str, Json]:
        """Return `shared` as it was once the visit with this sequence number had changed it.

        Args:
            run_id: the whole id.
            seq: `state["seq"]` of a span; a number between two counts as the one before. What a visit did to a dict of
                its own (a flow that runs inside a node) answers with that dict.
        """

        def query(connection: sqlite3.Connection) -> list[Any]:
            rows = connection.execute(
                "SELECT state FROM spans WHERE run_id = ? AND state_seq <= ? ORDER BY state_seq, id", (run_id, seq)
            )
            return [load(text, dict) for (text,) in rows]

        return state_after(read(self.path, query), seq)

    def figures(self) -> dict[str, int]:
        """Return the store's counters by name: delivered, refused, dropped, pruned_runs and others."""
        return dict(
            read(self.path, lambda connection: connection.execute("SELECT name, value FROM figures").fetchall())
        )

    def outbox(self) -> OutboxCounts:
        """Return what stands in the outbox, for all servers and projects."""
        return read(self.path, outbox_counts.count)

    def revision(self) -> int:
        """Return the number of the last write: views that know it know whether anything is new."""
        return self.figures().get("revision", 0)

    def changes(self, after: int, *, limit: int = 1000) -> Changes:
        """Return what was written after a revision.

        Args:
            after: the `revision` of the answer before, 0 for everything.
            limit: about the number of spans in one answer; whole writes are never divided.
        """

        def query(connection: sqlite3.Connection) -> Changes:
            dead = dead_processes(connection)
            upto = _revision_after(connection, after, limit)
            span_condition = "WHERE revision > ? AND revision <= ? ORDER BY revision, coalesce(end_ns, start_ns), id"
            return Changes(
                upto,
                [
                    run_row(row, dead)
                    for row in connection.execute(
                        f"SELECT {RUN_COLUMNS} FROM runs WHERE revision > ? AND revision <= ? ORDER BY start_ns",  # noqa: S608
                        (after, upto),
                    )
                ],
                select_spans(connection, span_condition, (after, upto), dead, payload=False),
            )

        return read(self.path, query)


def _newest(connection: sqlite3.Connection) -> str:
    found = connection.execute("SELECT run_id FROM runs ORDER BY start_ns DESC, run_id DESC LIMIT 1").fetchone()
    if found is None:
        raise RunNotFoundError("The trace store holds no runs yet.")
    return str(found[0])


def _only(connection: sqlite3.Connection, prefix: str, reference: str) -> str:
    if not prefix or not set(prefix) <= set(string.hexdigits):
        raise RunNotFoundError(f"{reference!r} is not a run id: give the beginning of a run id or trace id, or 'last'.")
    # "g" follows every hex digit: a range, so that the index answers.
    found = connection.execute(
        "SELECT run_id, name FROM runs WHERE run_id >= :id AND run_id < :id || 'g'"
        " UNION SELECT run_id, name FROM runs WHERE trace_id >= :id AND trace_id < :id || 'g' LIMIT 6",
        {"id": prefix},
    ).fetchall()
    if not found:
        raise RunNotFoundError(f"No run begins with {reference!r}.")
    if len(found) > 1 and prefix not in {run_id for run_id, _ in found}:
        listed = ", ".join(f"{run_id} ({name})" for run_id, name in found[:5])
        more = ", and more" if len(found) > 5 else ""
        raise AmbiguousRunError(f"{reference!r} is ambiguous: {listed}{more}.")
    return prefix if len(found) > 1 else str(found[0][0])


def _revision_after(connection: sqlite3.Connection, after: int, limit: int) -> int:
    (newest,) = connection.execute("SELECT coalesce(sum(value), 0) FROM figures WHERE name = 'revision'").fetchone()
    full = connection.execute(
        "SELECT revision FROM spans WHERE revision > ? ORDER BY revision LIMIT 1 OFFSET ?", (after, limit)
    ).fetchone()
    return int(newest if full is None else full[0])
