"""What stands in the outbox, in numbers and sentences."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from .._time import time_ns
from .codec import integer
from .liveness import is_gone

__all__ = ["OutboxCounts", "Waiting", "count"]

_MANY = 3
"""Times that a batch was sent in vain, from which on it is said."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for one server and project.

    Args:
        endpoint: base URL of the server.
        public_key: names the project.
        spans: that wait.
    """

    endpoint: str
    public_key: str
    spans: int


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """What stands in the outbox and what was lost from it. A score counts as one span.

    Args:
        waiting: batches to be sent.
        waiting_spans: spans in them.
        waiting_bytes: bytes of their bodies.
        refused: batches that the server refused for good.
        refused_spans: spans in them.
        sending_spans: waiting spans that a process is sending just now.
        stuck_spans: waiting spans that were sent several times in vain.
        dropped_spans: spans that the limits pushed out before they could be sent, ever.
        reasons: of the last failures of waiting batches, the newest first.
        refusals: what the server said of refused ones, likewise.
        destinations: where the waiting spans go, the most first.
    """

    waiting: int = 0
    waiting_spans: int = 0
    waiting_bytes: int = 0
    refused: int = 0
    refused_spans: int = 0
    sending_spans: int = 0
    stuck_spans: int = 0
    dropped_spans: int = 0
    reasons: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    destinations: tuple[Waiting, ...] = ()


def count(connection: sqlite3.Connection, endpoint: str | None = None, public_key: str | None = None) -> OutboxCounts:
    """Return the counts over an open connection."""
    where = "WHERE endpoint = coalesce(?, endpoint) AND public_key = coalesce(?, public_key)"
    filters = (endpoint, public_key)
    by_state = {
        state: numbers
        for state, *numbers in connection.execute(
            f"SELECT state, count(*), sum(max(spans, 1)), sum(bytes) FROM outbox {where} GROUP BY state",  # noqa: S608
            filters,
        )
    }
    reasons, refusals = (
        connection.execute(
            f"SELECT reason FROM outbox {where} AND state = ? AND reason IS NOT NULL"  # noqa: S608
            " GROUP BY reason ORDER BY max(id) DESC LIMIT 5",
            (*filters, state),
        ).fetchall()
        for state in ("waiting", "refused")
    )
    destinations = connection.execute(
        f"SELECT endpoint, public_key, sum(max(spans, 1)) FROM outbox {where} AND state = 'waiting'"  # noqa: S608
        " GROUP BY endpoint, public_key ORDER BY sum(max(spans, 1)) DESC",
        filters,
    ).fetchall()
    owners = connection.execute(
        f"SELECT lease_owner, sum(max(spans, 1)) FROM outbox {where} AND state = 'waiting' AND lease_ns > ? GROUP BY lease_owner",  # noqa: S608
        (*filters, integer(time_ns())),
    ).fetchall()
    (stuck,) = connection.execute(
        f"SELECT coalesce(sum(max(spans, 1)), 0) FROM outbox {where} AND state = 'waiting' AND attempts >= {_MANY}",  # noqa: S608
        filters,
    ).fetchone()
    (dropped,) = connection.execute("SELECT coalesce(sum(value), 0) FROM figures WHERE name = 'dropped'").fetchone()
    waiting, waiting_spans, waiting_bytes = by_state.get("waiting", (0, 0, 0))
    refused, refused_spans, _ = by_state.get("refused", (0, 0, 0))
    return OutboxCounts(
        waiting=waiting,
        waiting_spans=waiting_spans,
        waiting_bytes=waiting_bytes,
        refused=refused,
        refused_spans=refused_spans,
        sending_spans=sum(spans for owner, spans in owners if not is_gone(owner)),
        stuck_spans=stuck,
        dropped_spans=dropped,
        reasons=tuple(reason for (reason,) in reasons),
        refusals=tuple(reason for (reason,) in refusals),
        destinations=tuple(Waiting(*row) for row in destinations),
    )
