"""What the server has not accepted yet: kept on disk, leased to one sender at a time, bounded by whole traces."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .. import _system
from .._time import monotonic
from . import counts, outbox_limits
from .codec import MAX_INTEGER, dump, integer, text
from .database import Database
from .liveness import is_gone
from .outbox_counts import OutboxCounts, count
from .outbox_limits import Without

__all__ = ["Outbox", "OutboxBatch"]

_FAR_NS = 600_000_000_000
"""Nothing is put off for so long: a time beyond it was written before the clock was set back."""
_SHRINKING_SECONDS = 0.05
"""After each batch that was delivered; the next one goes on with it."""
_MOST_GONE = 10_000
"""Traces that were dropped and are remembered, so that what comes of them later goes too."""


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
        traces: ids of the traces with spans in it, each with whether its root is there. Without them the batch is
            dropped as a whole.
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
    traces: Mapping[str, bool] = field(default_factory=dict)


class Outbox:
    """The outbox of a store file; the file is created by the first `put`, not by looking.

    Args:
        path: of the store file.
        max_batches: batches kept, waiting and refused; beyond it the oldest complete traces go, whole.
        max_bytes: likewise for the bytes of their bodies.
        max_spans: likewise for the spans in them, None for any number.
        patience_s: seconds that a call may wait for other processes.
        without: returns a body without the spans of some traces, and the number that is left; without it only whole
            batches can be dropped.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_batches: int = 20_000,
        max_bytes: int = 256 * 1024 * 1024,
        max_spans: int | None = None,
        patience_s: float = 30.0,
        without: Without | None = None,
    ) -> None:
        self._path = Path(path)
        self._database = Database(path, patience_s=patience_s)
        self._without = without
        self._gone: dict[str, None] = {}
        self.dropped = 0
        """Spans that the limits have pushed out while this object put batches in."""
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

    def file(self) -> _system.Identity | None:
        """Return what tells the file at the path from one that takes its place later, None when there is none."""
        return _system.identity(self._path)

    def put(self, batch: OutboxBatch, *, owner: str | None = None, lease_ns: int = 0) -> int:
        """Keep a batch and return its id (0 when the limits leave nothing of it; its spans are counted as dropped).

        Args:
            batch: to be kept.
            owner: the process that is sending it already, as of `claim`.
            lease_ns: how long nobody else gets it then, after its creation.

        Raises:
            StoreError: it could not be kept.
        """
        fresh = [trace_id for trace_id in batch.traces if trace_id not in self._gone]
        body, spans = batch.body, batch.spans
        if self._without is not None and len(fresh) < len(batch.traces):
            body, spans = self._without(body, [trace_id for trace_id in batch.traces if trace_id in self._gone])

        def work(connection: sqlite3.Connection) -> tuple[int, int, list[str]]:
            late = batch.spans - spans
            if (batch.traces and not fresh) or not (batch.traces or self._fits(1, len(body), spans)):
                counts.add_figures(connection, {"dropped": batch.spans})  # it alone is larger than the outbox, or gone
                return 0, batch.spans, []
            cursor = connection.execute(
                "INSERT INTO outbox (created_ns, endpoint, public_key, spans, bytes, attempts, next_try_ns,"
                " state, reason, lease_owner, lease_ns, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(integer(batch.created_ns), batch.endpoint, batch.public_key, spans, len(body)),
                    *(batch.attempts, integer(batch.next_try_ns), batch.state, _reason(batch.reason)),
                    *((text(owner), integer(batch.created_ns + lease_ns)) if owner else (None, 0)),
                    body,
                ),
            )
            batch_id = int(cursor.lastrowid or 0)
            if batch.state == "refused":
                counts.add_figures(connection, {"refused": spans})
            elif self._without is not None:
                connection.executemany(
                    "INSERT INTO outbox_traces VALUES (?, ?, ?)",
                    [(trace_id, batch_id, batch.traces[trace_id]) for trace_id in fresh],
                )
            dropped, gone = outbox_limits.hold(connection, self._fits, self._without)
            counts.add_figures(connection, {"dropped": dropped + late})
            there = connection.execute("SELECT 1 FROM outbox WHERE id = ?", (batch_id,)).fetchone()
            return batch_id if there else 0, dropped + late, gone

        batch_id, dropped, gone = self._database.transaction(work)
        self.dropped += dropped
        self._gone.update(dict.fromkeys(gone))
        while len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]
        return batch_id

    def due(self, now_ns: int, limit: int = 100) -> list[OutboxBatch]:
        """Return batches whose time has come and that nobody is sending: those tried least, of them the oldest first.

        Args:
            now_ns: wall clock.
            limit: the number of batches.
        """
        if not self._database.exists():
            return []
        return self._database.transaction(lambda connection: _due(connection, now_ns, limit, None, None))

    def claim(
        self,
        owner: str,
        now_ns: int,
        limit: int = 1,
        *,
        lease_ns: int = 60_000_000_000,
        endpoint: str | None = None,
        public_key: str | None = None,
        may_wait: Callable[[], bool] | None = None,
    ) -> list[OutboxBatch]:
        """Return due batches that from now on only the owner sends, until it answers for them, ends, or the lease expires.

        Args:
            owner: the process id of the sender.
            now_ns: wall clock.
            limit: the number of batches.
            lease_ns: how long nobody else gets them.
            endpoint: only those for this server.
            public_key: only those of this project.
            may_wait: says whether the caller has nothing better to do than to wait for other processes.
        """
        if not self._database.exists():
            return []

        def work(connection: sqlite3.Connection) -> list[OutboxBatch]:
            batches = _due(connection, now_ns, limit, endpoint, public_key)
            if not batches and _release_gone(connection):
                batches = _due(connection, now_ns, limit, endpoint, public_key)
            connection.executemany(
                "UPDATE outbox SET lease_owner = ?, lease_ns = ? WHERE id = ?",
                [(text(owner), integer(now_ns + lease_ns), batch.id) for batch in batches],
            )
            return batches

        return self._database.transaction(work, may_wait)

    def done(self, ids: Sequence[int], delivered: int | None = None) -> None:
        """Remove batches that have been answered for.

        Args:
            ids: of the batches.
            delivered: spans of them to add to the figure "delivered"; None for all.
        """

        def work(connection: sqlite3.Connection) -> None:
            there = _spans_of(connection, ids)
            counts.add_figures(connection, {"delivered": there if delivered is None else min(there, delivered)})
            connection.execute("DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))", (dump(ids),))

        if ids:
            self._database.transaction(work)
            self._database.shrink(monotonic() + _SHRINKING_SECONDS)

    def retry(self, ids: Sequence[int], next_try_ns: int, error: str) -> None:
        """Give batches back to be sent again at `next_try_ns`; `error` says what went wrong this time."""
        if ids:
            self._database.transaction(
                lambda connection: connection.execute(
                    "UPDATE outbox SET attempts = attempts + 1, next_try_ns = ?, reason = ?, lease_owner = NULL,"
                    " lease_ns = 0 WHERE id IN (SELECT value FROM json_each(?))",
                    (integer(next_try_ns), _reason(error), dump(ids)),
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
            connection.execute("DELETE FROM outbox_traces WHERE batch_id = ?", (batch_id,))

        self._database.transaction(work)

    def next_due(self, now_ns: int, *, endpoint: str, public_key: str) -> int | None:
        """Return when the first batch of a project is due that was put off, ns since the epoch; None if none was."""
        if not self._database.exists():
            return None
        (due,) = self._database.transaction(
            lambda connection: connection.execute(
                "SELECT min(next_try_ns) FROM outbox WHERE state = 'waiting' AND endpoint = ? AND public_key = ?"
                " AND next_try_ns BETWEEN ? AND ?",
                (endpoint, public_key, integer(now_ns + 1), integer(now_ns + _FAR_NS)),
            ).fetchone()
        )
        return None if due is None else int(due)

    def hurry(self, *, endpoint: str, public_key: str) -> None:
        """Let no batch of a project be put off any longer: the user asks for it."""
        if self._database.exists():
            self._database.transaction(
                lambda connection: connection.execute(
                    "UPDATE outbox SET next_try_ns = 0 WHERE state = 'waiting' AND endpoint = ? AND public_key = ?",
                    (endpoint, public_key),
                )
            )

    def reconsider(self, *, endpoint: str, public_key: str) -> None:
        """Let refused batches of a project wait again: the user has mended the server."""

        def work(connection: sqlite3.Connection) -> None:
            where = "WHERE state = 'refused' AND endpoint = ? AND public_key = ?"
            (spans,) = connection.execute(
                f"SELECT coalesce(sum(spans), 0) FROM outbox {where}",  # noqa: S608 - constants
                (endpoint, public_key),
            ).fetchone()
            counts.add_figures(connection, {"refused": -spans})
            connection.execute(
                f"UPDATE outbox SET state = 'waiting', next_try_ns = 0 {where}",  # noqa: S608 - constants
                (endpoint, public_key),
            )

        if self._database.exists():
            self._database.transaction(work)

    def counts(self, *, endpoint: str | None = None, public_key: str | None = None) -> OutboxCounts:
        """Return what stands in the outbox, for one server and project where they are given."""
        if not self._database.exists():
            return OutboxCounts()
        return self._database.transaction(lambda connection: count(connection, endpoint, public_key))

    def lost(self) -> int:
        """Return how many spans were ever dropped or refused in this store, by whichever process."""
        if not self._database.exists():
            return 0
        return self._database.transaction(
            lambda connection: int(
                connection.execute(
                    "SELECT coalesce(sum(value), 0) FROM figures WHERE name IN ('dropped', 'refused')"
                ).fetchone()[0]
            )
        )

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._database.close()

    def _fits(self, batches: int, size: int, spans: int) -> bool:
        return batches <= self._max_batches and size <= self._max_bytes and spans <= self._max_spans


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
            # found by the index alone, and read then
            " WHERE id IN (SELECT id FROM outbox WHERE state = 'waiting'"
            " AND next_try_ns NOT BETWEEN :now + 1 AND :far AND lease_ns NOT BETWEEN :now + 1 AND :far"
            " AND endpoint = coalesce(:endpoint, endpoint) AND public_key = coalesce(:key, public_key)"
            # what was tried in vain goes last: a batch that its server never takes stands in nobody's way
            " ORDER BY attempts, created_ns, id LIMIT :limit) ORDER BY attempts, created_ns, id",
            {
                "now": integer(now_ns),
                "far": integer(now_ns + _FAR_NS),
                "endpoint": endpoint,
                "key": public_key,
                "limit": limit,
            },
        )
    ]


def _release_gone(connection: sqlite3.Connection) -> bool:
    """Take back what processes of this machine were sending when they ended; False if there is nothing."""
    owners = connection.execute("SELECT DISTINCT lease_owner FROM outbox WHERE lease_owner IS NOT NULL").fetchall()
    gone = [owner for (owner,) in owners if is_gone(owner)]
    connection.execute(
        "UPDATE outbox SET lease_owner = NULL, lease_ns = 0 WHERE lease_owner IN (SELECT value FROM json_each(?))",
        (dump(gone),),
    )
    return bool(gone)


def _spans_of(connection: sqlite3.Connection, ids: Sequence[int]) -> int:
    (spans,) = connection.execute(
        "SELECT coalesce(sum(spans), 0) FROM outbox WHERE id IN (SELECT value FROM json_each(?)) AND state = 'waiting'",
        (dump(ids),),
    ).fetchone()
    return int(spans)


def _reason(reason: str | None) -> str | None:
    return None if reason is None else text(reason)[:2000]
