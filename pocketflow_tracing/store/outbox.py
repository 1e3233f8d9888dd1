"""What the server has not accepted yet: kept on disk, leased to one sender at a time, bounded."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from . import counts
from .codec import MAX_INTEGER, dump, text
from .database import Database

__all__ = ["Outbox", "OutboxBatch", "OutboxCounts", "count"]


@dataclass(slots=True)
class OutboxBatch:
    """A batch of spans as it would be sent. It never holds a secret key.

    Args:
        created_ns: wall clock, ns since the epoch.
        endpoint: base URL of the server.
        public_key: names the project.
        spans: the number of spans in it.
        body: gzip of an OTLP protobuf request.
        attempts: how often it was sent in vain.
        next_try_ns: not to be sent before.
        state: "refused" when the server will never take it.
        reason: of the last failure or the refusal.
        id: given by the outbox, 0 before.
    """

    created_ns: int
    endpoint: str
    public_key: str
    spans: int
    body: bytes
    attempts: int = 0
    next_try_ns: int = 0
    state: Literal["waiting", "refused"] = "waiting"
    reason: str | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """What stands in the outbox and what was lost from it.

    Args:
        waiting: batches to be sent.
        waiting_spans: spans in them.
        waiting_bytes: bytes of their bodies.
        refused: batches that the server refused for good.
        refused_spans: spans in them.
        dropped_spans: spans that the limits pushed out before they could be sent, ever.
        reasons: of the last failures of waiting and refused batches, the newest first.
    """

    waiting: int = 0
    waiting_spans: int = 0
    waiting_bytes: int = 0
    refused: int = 0
    refused_spans: int = 0
    dropped_spans: int = 0
    reasons: tuple[str, ...] = ()


class Outbox:
    """The outbox of a store file; the file is created by the first `put`, not by looking.

    Args:
        path: of the store file.
        max_batches: batches kept, waiting and refused; beyond it the oldest go.
        max_bytes: likewise for the bytes of their bodies.
        max_spans: likewise for the spans in them, None for any number.
        patience_s: seconds that a call may wait for other processes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_batches: int = 20_000,
        max_bytes: int = 256 * 1024 * 1024,
        max_spans: int | None = None,
        patience_s: float = 30.0,
    ) -> None:
        self._database = Database(path, patience_s=patience_s)
        self._max_batches = max_batches
        self._max_bytes = max_bytes
        self._max_spans = MAX_INTEGER if max_spans is None else max_spans

    @property
    def patience_s(self) -> float:
        """Seconds that a call may wait for other processes."""
        return self._database.patience_s

    @patience_s.setter
    def patience_s(self, seconds: float) -> None:
        self._database.patience_s = seconds

    def put(self, batch: OutboxBatch) -> int:
        """Keep a batch and return its id (0 when it alone is larger than the outbox, and was dropped and counted).

        Raises:
            StoreError: it could not be kept.
        """

        def work(connection: sqlite3.Connection) -> int:
            if not self._fits(1, len(batch.body), batch.spans):
                counts.add_figures(connection, {"dropped": batch.spans})
                return 0
            cursor = connection.execute(
                "INSERT INTO outbox (created_ns, endpoint, public_key, spans, bytes, attempts, next_try_ns,"
                " state, reason, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(batch.created_ns, batch.endpoint, batch.public_key, batch.spans, len(batch.body)),
                    *(batch.attempts, batch.next_try_ns, batch.state, _reason(batch.reason), batch.body),
                ),
            )
            if batch.state == "refused":
                counts.add_figures(connection, {"refused": batch.spans})
            self._hold_limits(connection)
            return int(cursor.lastrowid or 0)

        return self._database.transaction(work)

    def due(
        self, now_ns: int, limit: int = 100, *, endpoint: str | None = None, public_key: str | None = None
    ) -> list[OutboxBatch]:
        """Return the batches whose time has come and that nobody is sending, the oldest first, without leasing them.

        Args:
            now_ns: wall clock.
            limit: the number of batches.
            endpoint: only those for this server.
            public_key: only those of this project.
        """
        if not self._database.exists():
            return []
        return self._database.transaction(lambda connection: _due(connection, now_ns, limit, endpoint, public_key))

    def claim(
        self,
        owner: str,
        now_ns: int,
        limit: int = 1,
        *,
        lease_ns: int = 60_000_000_000,
        endpoint: str | None = None,
        public_key: str | None = None,
    ) -> list[OutboxBatch]:
        """Return due batches that from now on only the owner sends, until it answers for them or the lease expires.

        Args:
            owner: the process id of the sender.
            now_ns: wall clock.
            limit: the number of batches.
            lease_ns: how long nobody else gets them.
            endpoint: only those for this server.
            public_key: only those of this project.
        """
        if not self._database.exists():
            return []

        def work(connection: sqlite3.Connection) -> list[OutboxBatch]:
            batches = _due(connection, now_ns, limit, endpoint, public_key)
            connection.executemany(
                "UPDATE outbox SET lease_owner = ?, lease_ns = ? WHERE id = ?",
                [(text(owner), now_ns + lease_ns, batch.id) for batch in batches],
            )
            return batches

        return self._database.transaction(work)

    def done(self, ids: Sequence[int]) -> None:
        """Remove delivered batches and add their spans to the figure "delivered"."""

        def work(connection: sqlite3.Connection) -> None:
            counts.add_figures(connection, {"delivered": _spans_of(connection, ids)})
            connection.execute("DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))", (dump(ids),))

        if ids:
            self._database.transaction(work)
            self._database.shrink()

    def retry(self, ids: Sequence[int], next_try_ns: int, error: str) -> None:
        """Give batches back to be sent again at `next_try_ns`; `error` says what went wrong this time."""
        if ids:
            self._database.transaction(
                lambda connection: connection.execute(
                    "UPDATE outbox SET attempts = attempts + 1, next_try_ns = ?, reason = ?, lease_owner = NULL,"
                    " lease_ns = 0 WHERE id IN (SELECT value FROM json_each(?))",
                    (next_try_ns, _reason(error), dump(ids)),
                )
            )

    def refuse(self, batch_id: int, reason: str) -> None:
        """Set a batch aside that the server refused for good; its spans count as refused."""

        def work(connection: sqlite3.Connection) -> None:
            counts.add_figures(connection, {"refused": _spans_of(connection, [batch_id])})
            connection.execute(
                "UPDATE outbox SET state = 'refused', attempts = attempts + 1, reason = ?, lease_owner = NULL,"
                " lease_ns = 0 WHERE id = ?",
                (_reason(reason), batch_id),
            )

        self._database.transaction(work)

    def counts(self, *, endpoint: str | None = None, public_key: str | None = None) -> OutboxCounts:
        """Return what stands in the outbox, for one server and project where they are given."""
        if not self._database.exists():
            return OutboxCounts()
        return self._database.transaction(lambda connection: count(connection, endpoint, public_key))

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._database.close()

    def _hold_limits(self, connection: sqlite3.Connection) -> None:
        sums = "count(*), coalesce(sum(bytes), 0), coalesce(sum(spans), 0)"
        batches, size, spans = connection.execute(f"SELECT {sums} FROM outbox").fetchone()  # noqa: S608 - constants
        if self._fits(batches, size, spans):
            return
        dropped = 0
        # What was refused will never be sent: it goes first, and has been counted already.
        for batch_id, its_spans, its_size, state in connection.execute(
            "SELECT id, spans, bytes, state FROM outbox ORDER BY state = 'waiting', created_ns, id"
        ).fetchall():
            if self._fits(batches, size, spans):
                break
            connection.execute("DELETE FROM outbox WHERE id = ?", (batch_id,))
            batches, size, spans = batches - 1, size - its_size, spans - its_spans
            dropped += its_spans if state == "waiting" else 0
        counts.add_figures(connection, {"dropped": dropped})

    def _fits(self, batches: int, size: int, spans: int) -> bool:
        return batches <= self._max_batches and size <= self._max_bytes and spans <= self._max_spans


def count(connection: sqlite3.Connection, endpoint: str | None = None, public_key: str | None = None) -> OutboxCounts:
    """Return the counts over an open connection."""
    where = "WHERE endpoint = coalesce(?, endpoint) AND public_key = coalesce(?, public_key)"
    filters = (endpoint, public_key)
    by_state = {
        state: numbers
        for state, *numbers in connection.execute(
            f"SELECT state, count(*), sum(spans), sum(bytes) FROM outbox {where} GROUP BY state",  # noqa: S608
            filters,
        )
    }
    reasons = connection.execute(
        f"SELECT reason FROM outbox {where} AND reason IS NOT NULL GROUP BY reason ORDER BY max(id) DESC LIMIT 5",  # noqa: S608
        filters,
    ).fetchall()
    (dropped,) = connection.execute("SELECT coalesce(sum(value), 0) FROM figures WHERE name = 'dropped'").fetchone()
    waiting, waiting_spans, waiting_bytes = by_state.get("waiting", (0, 0, 0))
    refused, refused_spans, _ = by_state.get("refused", (0, 0, 0))
    return OutboxCounts(
        waiting=waiting,
        waiting_spans=waiting_spans,
        waiting_bytes=waiting_bytes,
        refused=refused,
        refused_spans=refused_spans,
        dropped_spans=dropped,
        reasons=tuple(reason for (reason,) in reasons),
    )


def _due(
    connection: sqlite3.Connection, now_ns: int, limit: int, endpoint: str | None, public_key: str | None
) -> list[OutboxBatch]:
    return [
        OutboxBatch(
            created_ns=row[1],
            endpoint=row[2],
            public_key=row[3],
            spans=row[4],
            body=row[5],
            attempts=row[6],
            next_try_ns=row[7],
            state=row[8],
            reason=row[9],
            id=row[0],
        )
        for row in connection.execute(
            "SELECT id, created_ns, endpoint, public_key, spans, body, attempts, next_try_ns, state, reason FROM outbox"
            " WHERE state = 'waiting' AND next_try_ns <= :now AND lease_ns <= :now"
            " AND endpoint = coalesce(:endpoint, endpoint) AND public_key = coalesce(:key, public_key)"
            " ORDER BY created_ns, id LIMIT :limit",
            {"now": now_ns, "endpoint": endpoint, "key": public_key, "limit": limit},
        )
    ]


def _spans_of(connection: sqlite3.Connection, ids: Sequence[int]) -> int:
    (spans,) = connection.execute(
        "SELECT coalesce(sum(spans), 0) FROM outbox WHERE id IN (SELECT value FROM json_each(?)) AND state = 'waiting'",
        (dump(ids),),
    ).fetchone()
    return int(spans)


def _reason(reason: str | None) -> str | None:
    return None if reason is None else text(reason)[:2000]
