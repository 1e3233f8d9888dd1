"""The writing side of the store: batches of records in, old runs out."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from pocketflow_tracing.records import RunRecord, SpanRecord

from . import counts, prune
from .codec import dump, dump_or_none, integer, text
from .counts import Tally
from .database import MAX_LOG_BYTES, Database
from .prune import Pruned

__all__ = ["Pruned", "StoreWriter"]

_ROOM = "room for the next runs".ljust(16 * 1024)
"""A figure with a long name: writing it needs some pages of the file."""


class StoreWriter:
    """Writes runs and spans; opened by its first write, or before. For one process: a forked child makes its own.

    Args:
        path: of the store file.
        patience_s: seconds that a call may wait for other processes; it may be set anew before each call.
        max_log_bytes: that what others who read keep from the file may take beside it.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, patience_s: float = 30.0, max_log_bytes: int = MAX_LOG_BYTES
    ) -> None:
        self._database = Database(path, patience_s=patience_s, max_log_bytes=max_log_bytes)

    @property
    def patience_s(self) -> float:
        """Seconds that a call may wait for other processes."""
        return self._database.patience_s

    @patience_s.setter
    def patience_s(self, seconds: float) -> None:
        self._database.patience_s = seconds

    def open(self) -> None:
        """Open the file now, and make it where it is missing, so that the first write finds it.

        Raises:
            StoreError: it cannot be opened now.
        """
        if not self._database.is_open:
            self._database.transaction(lambda _: None)

    def write(
        self,
        runs: Sequence[RunRecord],
        spans: Sequence[SpanRecord],
        heartbeat: tuple[str, int] | None = None,
        figures: Mapping[str, int] | None = None,
    ) -> int:
        """Write a batch, all of it or nothing. Writing it twice, or its parts in any order, ends in the same rows.

        Args:
            runs: new and finished ones; a finished row is never replaced by a running one.
            spans: likewise; their run may come later.
            heartbeat: (process_id, now_ns) of the process that records.
            figures: counts to add by name, such as {"dropped": 3}.

        Returns:
            About the bytes that the spans take in the file.

        Raises:
            UnfitRecordError, OverflowError, RecursionError, TypeError, ValueError: nothing was written, for a record cannot be.
            StoreError: nothing was written; the same batch may be written later.
            StoreUnusableError: nothing was written, and trying again will not help.
        """
        encoded = [(span, _texts(span)) for span in spans]  # before the transaction, which others wait for

        def work(connection: sqlite3.Connection) -> int:
            size = 0
            if runs or spans:
                revision = _next_revision(connection)
                _put_runs(connection, runs, revision)
                size = _put_spans(connection, encoded, revision, heartbeat[0] if heartbeat else "")
            if heartbeat is not None:
                process_id, now_ns = heartbeat
                connection.execute(
                    "INSERT INTO processes VALUES (?, ?, ?)"
                    " ON CONFLICT (process_id) DO UPDATE SET beat_ns = max(beat_ns, excluded.beat_ns)",
                    (text(process_id), integer(now_ns), integer(now_ns)),
                )
            counts.add_figures(connection, figures or {})
            return size

        return self._database.transaction(work)

    def add_figures(self, figures: Mapping[str, int]) -> None:
        """Add to the store's counters, by name (delivered, refused, dropped …)."""
        self._database.transaction(lambda connection: counts.add_figures(connection, figures))

    def check(self) -> None:
        """Write some kB and take them out again.

        Raises:
            StoreError: the file cannot be written, or cannot grow.
        """
        # two transactions: what one of them writes and takes out never reaches the disk
        put, take_out = "INSERT OR REPLACE INTO figures VALUES (?, 0)", "DELETE FROM figures WHERE name = ?"
        self._database.transaction(lambda connection: connection.execute(put, (_ROOM,)))
        self._database.transaction(lambda connection: connection.execute(take_out, (_ROOM,)))

    def prune(
        self,
        max_runs: int | None = None,
        max_bytes: int | None = None,
        older_than_ns: int | None = None,
        deadline: float = inf,
    ) -> Pruned:
        """Remove complete runs, the oldest first, until the limits hold; a run that is going on is never touched.

        Args:
            max_runs: the number of runs that may stay.
            max_bytes: the bytes that runs may take in the file.
            older_than_ns: wall clock; complete runs that began before it go too.
            deadline: of `time.monotonic`, after which it ends although there is more to remove; without one it pauses after
                each step, for others to write.

        Returns:
            What was removed. A store that does not exist is not created.
        """
        return prune.prune(self._database, max_runs, max_bytes, older_than_ns, deadline)

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        self._database.close()


def _next_revision(connection: sqlite3.Connection) -> int:
    counts.add_figures(connection, {"revision": 1})
    (revision,) = connection.execute("SELECT value FROM figures WHERE name = 'revision'").fetchone()
    return int(revision)


_RUN_COLUMNS = (
    "run_id, trace_id, name, status, start_ns, end_ns, process_id, revision, session_id, user_id, version,"
    " environment, release, tags, error, metadata, graph"
)
_PUT_RUN = f"""
INSERT INTO runs ({_RUN_COLUMNS}) VALUES ({", ".join("?" * 17)})
ON CONFLICT (run_id) DO UPDATE SET
    trace_id = excluded.trace_id, name = excluded.name, status = excluded.status, start_ns = excluded.start_ns,
    end_ns = excluded.end_ns, process_id = excluded.process_id, revision = excluded.revision,
    session_id = excluded.session_id, user_id = excluded.user_id, version = excluded.version,
    environment = excluded.environment, release = excluded.release, tags = excluded.tags, error = excluded.error,
    metadata = excluded.metadata, graph = coalesce(excluded.graph, graph)
WHERE excluded.status != 'running' OR runs.status = 'running'
"""  # noqa: S608 - constants


def _put_runs(connection: sqlite3.Connection, runs: Iterable[RunRecord], revision: int) -> None:
    connection.executemany(
        _PUT_RUN,
        [
            (
                run.run_id,
                run.trace_id,
                text(run.name),
                run.status,
                integer(run.start_ns),
                _integer_or_none(run.end_ns),
                text(run.process_id),
                revision,
                _text_or_none(run.session_id),
                _text_or_none(run.user_id),
                _text_or_none(run.version),
                _text_or_none(run.environment),
                _text_or_none(run.release),
                dump(run.tags),
                dump_or_none(run.error),
                dump(run.metadata),
                dump_or_none(run.graph),
            )
            for run in runs
        ],
    )


_SPAN_COLUMNS = (
    "run_id, span_id, parent_id, trace_id, kind, name, status, start_ns, end_ns, revision, bytes, tokens, cost, model,"
    " state_seq, usage, attributes, error, scores, metadata, input, output, state"
)
# The row keeps its id, and with it the order in which spans were first seen.
_PUT_SPAN = f"""
INSERT INTO spans ({_SPAN_COLUMNS}) VALUES ({", ".join("?" * 23)})
ON CONFLICT (run_id, span_id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _SPAN_COLUMNS.split(", ")[2:])}
"""  # noqa: S608 - constants


_Texts = tuple[str | None, ...]


def _put_spans(
    connection: sqlite3.Connection, spans: Iterable[tuple[SpanRecord, _Texts]], revision: int, process_id: str
) -> int:
    newest: dict[str, dict[str, tuple[SpanRecord, _Texts]]] = {}
    for span, texts in spans:
        of_run = newest.setdefault(span.run_id, {})
        if span.status != "running" or span.span_id not in of_run:
            of_run[span.span_id] = span, texts
    return sum(_put_spans_of_run(connection, run_id, of_run, revision, process_id) for run_id, of_run in newest.items())


def _put_spans_of_run(
    connection: sqlite3.Connection,
    run_id: str,
    spans: dict[str, tuple[SpanRecord, _Texts]],
    revision: int,
    process_id: str,
) -> int:
    # The counts on the run's row change by the difference between the old rows and the new ones: counting a long run
    # again with every batch would take quadratic time.
    tally = Tally()
    for span_id, kind, status, tokens, cost, size in counts.stored_spans(connection, run_id, list(spans)):
        if spans[span_id][0].status == "running" and status != "running":
            del spans[span_id]
        else:
            tally.remove(kind, status, tokens, cost, size)
    rows = []
    written = 0
    for span, texts in spans.values():
        size, tokens = counts.size_of(texts), counts.tokens_of(span.usage)
        tally.add(span.kind, span.status, tokens, span.cost, size)
        written += size
        rows.append(_span_row(span, texts, size, tokens, revision))
    connection.executemany(_PUT_SPAN, rows)
    if rows:
        _ensure_run(connection, next(iter(spans.values()))[0], revision, process_id)
        tally.apply(connection, run_id, revision)
    return written


def _ensure_run(connection: sqlite3.Connection, span: SpanRecord, revision: int, process_id: str) -> None:
    # Spans may come before their run; whatever the run's record says later replaces this row, but not the counts.
    connection.execute(
        "INSERT INTO runs (run_id, trace_id, name, status, start_ns, process_id, revision)"
        " VALUES (?, ?, '', 'running', ?, ?, ?) ON CONFLICT (run_id) DO NOTHING",
        (span.run_id, span.trace_id, integer(span.start_ns), text(process_id), revision),
    )


def _texts(span: SpanRecord) -> _Texts:
    return (
        dump_or_none(span.usage),
        dump(span.attributes),
        dump_or_none(span.error),
        dump(span.scores),
        dump(span.metadata),
        dump_or_none(span.input),
        dump_or_none(span.output),
        dump_or_none(span.state),
    )


def _span_row(span: SpanRecord, texts: _Texts, size: int, tokens: int, revision: int) -> tuple[object, ...]:
    return (
        span.run_id,
        span.span_id,
        span.parent_id,
        span.trace_id,
        span.kind,
        text(span.name),
        span.status,
        integer(span.start_ns),
        _integer_or_none(span.end_ns),
        revision,
        size,
        tokens,
        span.cost,
        _text_or_none(span.model),
        span.state["seq"] if span.state else None,
        *texts,
    )


def _integer_or_none(value: float | None) -> int | None:
    return None if value is None else integer(value)


def _text_or_none(value: str | None) -> str | None:
    return None if value is None else text(value)
