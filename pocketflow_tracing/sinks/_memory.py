"""Batches in memory that wait to be sent, bounded by whole traces."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from .. import _log
from ._batch import Batch, joined, shed, without
from ._scores import MOST_SCORES

__all__ = ["Memory"]

_MOST_BYTES = 64 * 1024 * 1024
"""Of encoded batches; more goes to disk, and where there is none the oldest traces are dropped."""
_MOST_GONE = 10_000
"""Dropped traces that are remembered."""
_MOST_SPANS, _MOST_TOGETHER = 1000, 256 * 1024
"""Spans, and bytes of encoded ones, that are sent together where they came one by one."""


class Memory:
    """The queue of one sender; its caller holds a lock."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._bytes = 0
        self._gone: dict[str, None] = {}  # traces that were dropped: what comes of them later has to go too
        self.dropped = 0

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def is_full(self) -> bool:
        """Whether the next batch had better go to disk."""
        return self._bytes > _MOST_BYTES

    def put(self, batch: Batch, *, again: bool = False) -> None:
        """Take a batch; `again` after it could not be sent: one that was tried stands behind those that were not."""
        if self._gone:  # its traces may have been dropped while it was on its way
            records = batch.records
            batch.body, batch.records = without(batch.body, self._gone)
            self.dropped += records - batch.records
            if not batch.records:
                return
        (self._batches.appendleft if again and not batch.attempts else self._batches.append)(batch)
        self._bytes += len(batch.body)
        if self._bytes > 2 * _MOST_BYTES:  # there is no disk, or it is full
            self._shed()

    def take(self) -> Batch | None:
        """The next batch, together with small ones of its kind that have come after it: each request costs a round trip."""
        if not self._batches:
            return None
        first = self._batches.popleft()
        taken, others = [first], []
        records, size = first.records, len(first.body)
        most = MOST_SCORES if first.of_scores else _MOST_SPANS
        while _is_fresh(first) and self._batches:
            batch = self._batches[0]
            if batch.of_scores is not first.of_scores and _is_fresh(batch):
                others.append(self._batches.popleft())  # spans and scores come in turns, and stand in nobody's way
                continue
            records += batch.records
            size += len(batch.body)
            if records > most or size > _MOST_TOGETHER or not _is_fresh(batch):
                break
            taken.append(self._batches.popleft())
        self._batches.extendleft(reversed(others))
        self._bytes -= sum(len(batch.body) for batch in taken)
        return joined(taken)

    def clear(self) -> None:
        """Forget all batches."""
        self._batches.clear()
        self._bytes = 0

    def _shed(self) -> None:
        records = sum(batch.records for batch in self._batches)
        left, gone = shed(sorted(self._batches, key=lambda batch: batch.since), _MOST_BYTES)
        self._batches = deque(left)
        self._bytes = sum(len(batch.body) for batch in left)
        self.dropped += records - sum(batch.records for batch in left)
        self._gone.update(dict.fromkeys(gone))
        while len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]
        _log.warn_once(
            "what Langfuse has not accepted takes too much memory; the oldest runs are dropped. "
            "POCKETFLOW_TRACE_STORE names a file where they could be kept."
        )


def _is_fresh(batch: Batch) -> bool:
    """Whether a batch is in memory only, and was not sent yet."""
    return not (batch.kept or batch.attempts)
