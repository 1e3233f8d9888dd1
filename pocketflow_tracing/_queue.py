"""What waits for the worker: a queue that the caller appends to without a lock, and its bounds in count and bytes.

At a bound the oldest complete runs go first, whole. What went is counted, for the store's figures and for `flush`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _log

if TYPE_CHECKING:
    from .recorder import Run, Span

__all__ = ["Marker", "SpanQueue", "weigh"]


class Marker:
    """Stands in the queue behind everything recorded before a flush.

    Args:
        deadline: of `time.monotonic`.
        closing: whether the sinks are to be closed, too.
    """

    def __init__(self, deadline: float, closing: bool) -> None:
        self.deadline = deadline
        self.closing = closing
        self.reached = threading.Event()
        self.delivered = False


class SpanQueue:
    """Spans, functions that give the record of a foreign span, and markers, in the order in which they came.

    Args:
        most_spans: that may wait.
        most_bytes: that they may take, estimated.
    """

    def __init__(self, most_spans: int, most_bytes: int) -> None:
        self.most_spans = most_spans
        self.most_bytes = most_bytes
        self.dropped = 0  # since somebody last asked for it, see `take_dropped`
        self._items: deque[Any] = deque()
        self._complete: deque[Run] = deque()  # ended runs of which the worker may not have seen anything yet
        self._taking = threading.Lock()  # held while items are taken or room is made, never while one is appended
        self._ghosts = 0  # spans in the queue whose run was dropped
        self._bytes = 0
        self._count = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Span | Callable[[], Any] | Marker) -> None:
        """Append an item, and make room when there are too many."""
        items = self._items
        items.append(item)
        self._count += 1
        self._weigh(item)
        if len(items) - self._ghosts > self.most_spans or self._bytes > self.most_bytes:
            self._make_room()

    def completed(self, run: Run) -> None:
        """Note that a run has ended: from now on it may be dropped whole."""
        self._complete.append(run)

    def take(self, most: int) -> tuple[list[Any], Marker | None]:
        """Take the oldest items, up to a marker, which is taken too."""
        batch: list[Any] = []
        marker: Marker | None = None
        with self._taking:
            items = self._items
            while items and len(batch) < most:
                item = items.popleft()
                if type(item) is Marker:
                    marker = item
                    break
                if not callable(item):
                    if item.run.dropped:
                        self._pass_over(item)
                        continue
                    item.run.seen = True
                    self._bytes -= min(self._bytes, item.weight)
                    item.weight = 0
                batch.append(item)
            while self._complete and self._complete[0].seen:
                self._complete.popleft()
        return batch, marker

    def take_dropped(self) -> int:
        """The number of spans dropped since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _weigh(self, item: Any) -> None:
        """Estimate the bytes that an item keeps alive: pictures of `shared` each, results of phases from every 16th.

        Inputs and later pictures mostly refer to the same texts as these, and a text that stands in two snapshots is one
        object in memory.
        """
        if callable(item) or type(item) is Marker:
            return
        if item.state is not None:
            weight = weigh(item.state)
        elif not self._count & 15:
            weight = 16 * weigh(item.output)
        else:
            return
        item.weight = weight
        self._bytes += weight

    def _make_room(self) -> None:
        """Drop the oldest complete runs that nobody has begun to deliver, until a tenth of the queue is free.

        A run that is larger than the queue by itself loses its newest spans, and its root says how many: the caller must
        not wait, and memory must not grow.
        """
        if not self._taking.acquire(blocking=False):
            return  # the worker is taking a batch, or a signal handler runs a flow in here: the next span tries again
        try:
            needed = self.most_spans // 10
            while needed > 0 and self._complete:
                run = self._complete.popleft()
                if not run.seen:
                    run.dropped = True  # the worker passes its spans over
                    needed -= run.spans
                    self._ghosts += run.spans
            if len(self._items) > 2 * self.most_spans:
                self._remove_ghosts()
            if len(self._items) - self._ghosts > self.most_spans:
                self._remove_newest()
            if self._bytes > self.most_bytes:
                self._bytes = 0  # what could be let go has been; the estimate begins anew
        finally:
            self._taking.release()
        _log.warn_once(
            "pocketflow-tracing: more was recorded than can be delivered; the oldest runs are dropped "
            f"(POCKETFLOW_TRACE_QUEUE_SIZE is {self.most_spans}, POCKETFLOW_TRACE_QUEUE_MB "
            f"{self.most_bytes // (1024 * 1024)}). `pocketflow-tracing doctor` shows how many."
        )

    def _remove_ghosts(self) -> None:
        # only when the worker stands still: it takes some 30 ms for 100,000 spans
        kept: list[Any] = []
        items = self._items
        for _ in range(len(items)):  # other threads go on appending on the right
            item = items.popleft()
            if callable(item) or type(item) is Marker or not item.run.dropped:
                kept.append(item)
            else:
                self._pass_over(item)
        items.extendleft(reversed(kept))
        self._ghosts = 0

    def _pass_over(self, item: Span) -> None:
        self._ghosts -= 1 if self._ghosts else 0
        if item.done and not item.delivered:
            item.delivered = True
            self._bytes -= min(self._bytes, item.weight)
            self.dropped += 1

    def _remove_newest(self) -> None:
        item = self._items.pop()
        if callable(item) or type(item) is Marker or item.parent is None or item.kind in {"flow", "node"}:
            self._items.append(item)  # what holds the tree together stays
        else:
            item.run.lost += 1
            self.dropped += 1


def weigh(value: Any, depth: int = 3) -> int:
    """Roughly the bytes of a snapshot: its texts and bytes, and 64 for everything else."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) + 64
    if depth and kind is dict:
        return 64 + sum(weigh(item, depth - 1) for item in value.values())
    if depth and isinstance(value, (list, tuple)):
        return 64 + sum(weigh(item, depth - 1) for item in value)
    return 64
