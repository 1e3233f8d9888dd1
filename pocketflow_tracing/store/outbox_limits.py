"""What goes when the outbox is full: the oldest complete traces, each from all the batches that hold spans of it.

Half a trace in Langfuse would look like a run that did half of its work.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection

from .codec import dump

__all__ = ["Fits", "Without", "hold"]

Fits = Callable[[int, int, int], bool]
Without = Callable[[bytes, Collection[str]], tuple[bytes, int]]


def hold(connection: sqlite3.Connection, fits: Fits, without: Without | None) -> tuple[int, list[str]]:
    """Drop what is too much: what was refused, then complete traces, then the rest, the oldest first.

    Args:
        connection: in a transaction.
        fits: whether so many batches, bytes and spans may stay.
        without: returns a body without the spans of some traces, and the number that is left.

    Returns:
        The number of waiting spans that went, and the ids of their traces: what comes of them later has to go too.
    """
    dropped = 0
    gone: list[str] = []
    sums = "count(*), coalesce(sum(bytes), 0), coalesce(sum(spans), 0)"
    while not fits(*connection.execute(f"SELECT {sums} FROM outbox").fetchone()):  # noqa: S608 - constants
        whole = _oldest_whole(connection)
        if whole is not None:
            batch_id, spans = whole
            connection.execute("DELETE FROM outbox WHERE id = ?", (batch_id,))
            dropped += spans
            continue
        traces = _oldest_traces(connection)
        if not traces:
            break
        dropped += _drop(connection, traces, without)
        gone += traces
    return dropped, gone


def _oldest_whole(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """Return (id, waiting spans) of the batch that goes first of those that go as they are."""
    found: tuple[int, int] | None = connection.execute(
        # what was refused has been counted; of what an older version kept the traces are not known
        "SELECT id, CASE state WHEN 'waiting' THEN spans ELSE 0 END FROM outbox"
        " WHERE NOT EXISTS (SELECT 1 FROM outbox_traces WHERE batch_id = id)"
        " ORDER BY state = 'waiting', created_ns, id"
    ).fetchone()
    return found


def _oldest_traces(connection: sqlite3.Connection) -> list[str]:
    """Return the traces of one batch that go first: the complete ones where there are any."""
    for condition in ("complete", "1"):
        found = connection.execute(
            f"SELECT trace_id FROM outbox_traces WHERE {condition} AND batch_id ="  # noqa: S608 - constants
            f" (SELECT min(batch_id) FROM outbox_traces WHERE {condition})"
        ).fetchall()
        if found:
            return [trace_id for (trace_id,) in found]
    return []


def _drop(connection: sqlite3.Connection, traces: list[str], without: Without | None) -> int:
    """Drop all spans of some traces; returns their number."""
    dropped = 0
    going = dump(traces)
    batches = connection.execute(
        "SELECT id, spans, body FROM outbox WHERE id IN"
        " (SELECT batch_id FROM outbox_traces WHERE trace_id IN (SELECT value FROM json_each(?)))",
        (going,),
    ).fetchall()
    for batch_id, spans, body in batches:
        connection.execute(
            "DELETE FROM outbox_traces WHERE batch_id = ? AND trace_id IN (SELECT value FROM json_each(?))",
            (batch_id, going),
        )
        others = connection.execute("SELECT 1 FROM outbox_traces WHERE batch_id = ?", (batch_id,)).fetchone()
        if others and without is not None:
            rest, left = without(body, traces)
            connection.execute(
                "UPDATE outbox SET body = ?, bytes = ?, spans = ? WHERE id = ?", (rest, len(rest), left, batch_id)
            )
            dropped += spans - left
        else:
            connection.execute("DELETE FROM outbox WHERE id = ?", (batch_id,))
            dropped += spans
    return dropped
