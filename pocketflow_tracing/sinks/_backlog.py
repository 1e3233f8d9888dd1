"""Batches in memory that wait for the local store, bounded in spans and bytes."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..records import RunRecord, SpanRecord

__all__ = ["Backlog", "Unwritten"]

_MOST_SPANS = 50_000
"""Spans that may wait."""
_SPAN_BYTES = 1024
"""About what a span takes besides its values."""


@dataclass
class Unwritten:
    """Records that are to be written together.

    Args:
        runs: of the spans, as they are now.
        spans: new and ended ones.
        done: ids of those that will not come again.
    """

    runs: list[RunRecord]
    spans: list[SpanRecord]
    done: frozenset[str]

    @cached_property
    def size(self) -> int:
        """About the bytes that the records take in memory."""
        values = (
            (span.input, span.output, span.state, span.error, span.attributes, span.metadata, span.scores)
            for span in self.spans
        )
        facts = ((run.metadata, run.error) for run in self.runs)
        return _SPAN_BYTES * (len(self.spans) + len(self.runs)) + _bytes_of(values) + _bytes_of(facts)

    @property
    def lost(self) -> int:
        """How many spans are lost with these records."""
        return sum(span.span_id in self.done and span.status != "running" for span in self.spans)

    def halves(self) -> list[Unwritten]:
        """The same records in parts; [] when there is only one.

        A run is complete in the store only when all its spans are there: what is complete may be pruned.
        """
        runs, spans = self.runs, self.spans
        if runs and spans:
            parts = [([], spans), (runs, [])]
        else:
            runs_middle, middle = len(runs) // 2, len(spans) // 2
            parts = [(runs[:runs_middle], spans[:middle]), (runs[runs_middle:], spans[middle:])]
        found = [Unwritten(*part, self.done) for part in parts if any(part)]
        return found if len(found) > 1 else []


class Backlog:
    """What waits for the store, the oldest first.

    Args:
        most_bytes: that it may take, estimated; the newest batch stays, however large it is.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._batches: deque[Unwritten] = deque()

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def first(self) -> Unwritten:
        """The batch to be written next; without records where nothing waits."""
        return self._batches[0] if self._batches else Unwritten([], [], frozenset())

    @property
    def spans(self) -> int:
        """How many spans wait."""
        return len({span.span_id for batch in self._batches for span in batch.spans})

    def put(self, batch: Unwritten) -> None:
        """Take a batch."""
        batch.spans = [replace(span, media=[]) if span.media else span for span in batch.spans]  # they are not stored
        self._batches.append(batch)

    def remove_first(self) -> None:
        """Let the first batch go: it is written."""
        self._batches.popleft()

    def clear(self) -> int:
        """Let everything go; returns the spans lost with it."""
        lost = sum(batch.lost for batch in self._batches)
        self._batches.clear()
        return lost

    def take_apart(self) -> int:
        """Put the halves of the first batch in its place. A record alone is given up; returns the spans lost with it."""
        batch = self._batches.popleft()
        halves = batch.halves()
        self._batches.extendleft(reversed(halves))
        return 0 if halves else batch.lost

    def shed(self) -> int:
        """Let the oldest batches go until the others keep to the bounds; returns the spans lost with them."""
        spans = sum(len(batch.spans) for batch in self._batches)
        size = sum(batch.size for batch in self._batches)
        lost = 0
        while len(self._batches) > 1 and (spans > _MOST_SPANS or size > self._most_bytes):
            batch = self._batches.popleft()
            spans -= len(batch.spans)
            size -= batch.size
            lost += batch.lost
        return lost


def _bytes_of(values: Iterable[Any]) -> int:
    """The memory that values of JSON take; a text that several refer to counts once."""
    size = 0
    texts: set[int] = set()
    left = list(values)
    while left:
        value = left.pop()
        kind = type(value)
        if kind is dict:
            left.extend(value.values())
        elif kind is list or kind is tuple:
            left.extend(value)
        elif kind is str and id(value) in texts:
            continue
        elif kind is str:
            texts.add(id(value))
        size += sys.getsizeof(value)
    return size
