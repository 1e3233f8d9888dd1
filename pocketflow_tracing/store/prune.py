"""Retention: which runs go when the store has grown past its limits."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from math import inf

from .._time import monotonic, time_ns
from . import counts
from .codec import integer
from .connection import give_others_a_turn
from .database import Database
from .liveness import is_alive

__all__ = ["Pruned", "prune"]

_RUNS_AT_ONCE, _BYTES_AT_ONCE = 50, 8 * 1024 * 1024
"""Runs removed in one transaction, and bytes of them, about: other processes write in between."""
_SHRINKING_SECONDS = 0.1
"""After the runs, where there is a deadline: what is free is used again, so it may go back little by little."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a `prune` removed.

    Args:
        runs: the number of runs.
        spans: the number of their spans.
        bytes: about how much they took.
        is_done: whether there is nothing more to remove or to give back to the file system.
    """

    runs: int = 0
    spans: int = 0
    bytes: int = 0
    is_done: bool = True

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(self.runs + other.runs, self.spans + other.spans, self.bytes + other.bytes, other.is_done)


def prune(
    database: Database, max_runs: int | None, max_bytes: int | None, older_than_ns: int | None, deadline: float
) -> Pruned:
    """Remove complete runs, the oldest first, until the limits hold (see `StoreWriter.prune`)."""
    removed = Pruned()
    if not database.exists():
        return removed
    has_time = deadline == inf
    while True:
        removed += database.transaction(lambda connection: _remove_some(connection, max_runs, max_bytes, older_than_ns))
        if removed.is_done:
            return replace(removed, is_done=database.shrink(inf if has_time else monotonic() + _SHRINKING_SECONDS))
        if monotonic() >= deadline:
            return removed
        if has_time:  # who has none must remove more than comes meanwhile
            give_others_a_turn()


def _remove_some(
    connection: sqlite3.Connection, max_runs: int | None, max_bytes: int | None, older_than_ns: int | None
) -> Pruned:
    removed = Pruned()
    if not _is_any_leaving(connection):
        removed = _remove_runs(connection, max_runs, max_bytes, older_than_ns)
    _remove_spans(connection)
    return replace(removed, is_done=removed.is_done and not _is_any_leaving(connection))


def _is_any_leaving(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM leaving LIMIT 1").fetchone() is not None


def _remove_runs(
    connection: sqlite3.Connection, max_runs: int | None, max_bytes: int | None, older_than_ns: int | None
) -> Pruned:
    """Remove the rows of some runs: their spans, which nobody sees from now on, may take several transactions."""
    stored, used = connection.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM runs").fetchone()
    excess_runs = 0 if max_runs is None else stored - max_runs
    excess_bytes = 0 if max_bytes is None else used - max_bytes
    going: list[tuple[str]] = []
    removed = Pruned()
    for run_id, start_ns, spans, size in _complete_runs(connection):
        too_old = older_than_ns is not None and start_ns < older_than_ns
        if not (too_old or removed.runs < excess_runs or removed.bytes < excess_bytes):
            break
        going.append((run_id,))
        is_full = len(going) == _RUNS_AT_ONCE or removed.bytes + size > _BYTES_AT_ONCE
        removed += Pruned(1, spans, size, is_done=not is_full)
        if is_full:
            break
    if going:
        connection.executemany("DELETE FROM runs WHERE run_id = ?", going)
        connection.executemany("INSERT INTO leaving VALUES (?)", going)
        connection.execute(
            "DELETE FROM processes WHERE beat_ns < ? AND process_id NOT IN (SELECT process_id FROM runs)",
            (integer(time_ns() - 86_400_000_000_000),),
        )
        counts.add_figures(connection, {"pruned_runs": len(going)})
    return removed


def _remove_spans(connection: sqlite3.Connection) -> None:
    """Remove spans of runs that are leaving, as many as one transaction should."""
    room = _BYTES_AT_ONCE
    for run in connection.execute("SELECT run_id FROM leaving").fetchall():
        going = []
        for row_id, size in connection.execute("SELECT id, bytes FROM spans WHERE run_id = ?", run):
            going.append((row_id,))
            room -= size
            if room < 0:
                break
        connection.executemany("DELETE FROM spans WHERE id = ?", going)
        if room < 0:
            break
        # Spans that came late have made its row anew.
        connection.execute("DELETE FROM runs WHERE run_id = ?", run)
        connection.execute("DELETE FROM leaving WHERE run_id = ?", run)


def _complete_runs(connection: sqlite3.Connection) -> list[tuple[str, int, int, int]]:
    now_ns = time_ns()
    found = []
    for run_id, start_ns, spans, size, status, process_id, beat_ns in connection.execute(
        "SELECT run_id, start_ns, spans, bytes, status, runs.process_id, beat_ns"
        " FROM runs LEFT JOIN processes USING (process_id) ORDER BY start_ns, run_id"
    ):
        if status == "running" and is_alive(process_id, beat_ns, now_ns):
            continue
        found.append((run_id, start_ns, spans, size))
        if len(found) == _RUNS_AT_ONCE:
            break
    return found
