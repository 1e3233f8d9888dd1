"""From the caller to the sinks: one queue and one daemon worker a process.

The caller appends to a deque and goes on. The worker starts with the first record, makes records of spans, and gives them to
the sinks of their run. Nothing happens at import; a forked child begins with an empty queue and a worker of its own.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from . import _log
from ._guard import Seam

if TYPE_CHECKING:
    from .recorder import Run, Span
    from .records import RunRecord, SpanRecord

__all__ = ["Delivery", "Sink", "delivery", "flush", "shutdown"]

_WORKING = Seam("delivering what it had recorded")
_YIELD_SECONDS = 0.001
"""How long the worker computes before it lets waiting threads run: an event loop must not feel it."""
_BATCH = 1000
"""Spans taken from the queue at a time: few enough that one transaction or request stays short."""


class Sink(Protocol):
    """Where records go. All methods but `describe` and `watch` are called on the worker (or, at exit, after it)."""

    def describe(self) -> str:
        """Name the sink in a sentence of debug mode."""

    def start(self) -> None:
        """Start the threads that the sink needs. Called together with the worker's start, in time: none can be started any
        more once the interpreter shuts down (Python 3.12), and a short program delivers only then."""

    def watch(self) -> None:
        """Called at each run's start, on the caller's path: get ready to see spans of other instrumentations."""

    def accept(self, runs: list[RunRecord], spans: list[SpanRecord], done: list[SpanRecord]) -> None:
        """Take records. `spans` holds unfinished ones too, `done` only those of which nothing will change any more."""

    def add_dropped(self, spans: int) -> bool:
        """Count spans that the queue's bounds dropped; True where the sink keeps figures."""
        ...

    def tick(self) -> float | None:
        """Do what is due. Returns the seconds until it wants to be called again, None when it need not."""

    def flush(self, deadline: float) -> bool:
        """Deliver everything by the deadline (of `time.monotonic`); True only if everything was accepted."""

    def close(self, deadline: float) -> bool:
        """Flush, keep what cannot be delivered, and let go of threads and files."""

    def abandon(self) -> None:
        """Forget threads, files and pending records: they belong to the parent of this forked process."""


class _Marker:
    """Stands in the queue behind everything recorded before a flush."""

    def __init__(self, deadline: float, closing: bool) -> None:
        self.deadline = deadline
        self.closing = closing
        self.reached = threading.Event()
        self.delivered = False


class Delivery:
    """The queue, its worker and the sinks of the process."""

    def __init__(self) -> None:
        self._sinks: list[Sink] = []
        self._at_exit_registered = False
        self.interval = 0.5
        self.shutdown_timeout = 2.0
        self.queue_size = 100_000
        self.queue_bytes = 128 * 1024 * 1024
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[Any] = deque()
        self._complete: deque[Run] = deque()  # ended runs of which the worker may not have seen anything yet
        self._draining = threading.Lock()  # held while the queue is taken from or made room in, never while appended to
        self._ghosts = 0  # spans in the queue whose run was dropped
        self._bytes = 0  # estimated from every 16th span
        self._count = 0
        self._wake = threading.Event()
        self._idle = True  # whether the worker must be woken (or started) by the next record
        self._urgent = False  # whether somebody waits for a flush
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._dropped = 0  # since the last flush
        self._dropped_unsaid = 0  # not yet in the figures of a store

    def add_sink(self, sink: Sink) -> None:
        """Make a sink known to flush and shutdown.

        Our exit handler is registered here, before the SDK client and its tracer provider register theirs: the last
        registered runs first, so what they export at exit still finds us.
        """
        if not self._at_exit_registered:
            self._at_exit_registered = True
            atexit.register(self._at_exit)
        self._sinks.append(sink)
        if self._thread is not None:
            sink.start()

    def enqueue(self, item: Span | Callable[[], Any]) -> None:
        """Take a span (or a function that gives the record of a foreign span) from the caller's path."""
        queue = self._queue
        queue.append(item)
        self._count += 1
        self._weigh(item)
        if len(queue) - self._ghosts > self.queue_size or self._bytes > self.queue_bytes:
            self._make_room()
        if self._idle:
            self._rouse()

    def completed(self, run: Run) -> None:
        """Note that a run has ended: from now on it may be dropped whole."""
        self._complete.append(run)

    def configure(self, interval: float, shutdown_timeout: float, queue_size: int, queue_bytes: int) -> None:
        """Take the settings of a configuration; the process has one delivery, so the last one counts.

        Args:
            interval: seconds in which a batch gathers.
            shutdown_timeout: seconds that the end of the process may wait.
            queue_size: spans that may wait in memory.
            queue_bytes: bytes that they may take, estimated.
        """
        self.interval = interval
        self.shutdown_timeout = shutdown_timeout
        self.queue_size = queue_size
        self.queue_bytes = queue_bytes

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything recorded before the call has been delivered.

        Args:
            timeout: seconds; 30 without it.

        Returns:
            True only if every sink accepted everything.
        """
        return self._mark(30.0 if timeout is None else timeout, closing=False)

    def shutdown(self, timeout: float | None = None) -> bool:
        """Flush, keep what cannot be delivered in the outbox, and stop the worker; a later run starts it again.

        Args:
            timeout: seconds; `shutdown_timeout` of the configuration without it.

        Returns:
            True only if every sink accepted everything.
        """
        return self._mark(self.shutdown_timeout if timeout is None else timeout, closing=True)

    # --- bounds ------------------------------------------------------------------------------------------------------

    def _weigh(self, item: Any) -> None:
        """Estimate the bytes that an item keeps alive: pictures of `shared` each, results of phases from every 16th.

        Inputs and later pictures mostly refer to the same texts as these, and a text that stands in two snapshots is one
        object in memory.
        """
        if callable(item):
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
        with self._draining:  # the worker holds it while it takes a batch, about 0.1 ms
            needed = self.queue_size // 10
            while needed > 0 and self._complete:
                run = self._complete.popleft()
                if not run.seen:
                    run.dropped = True  # the worker passes its spans over
                    needed -= run.spans
                    self._ghosts += run.spans
            if len(self._queue) > 2 * self.queue_size:
                self._remove_ghosts()
            if len(self._queue) - self._ghosts > self.queue_size:
                self._remove_newest()
            if self._bytes > self.queue_bytes:
                self._bytes = 0  # what could be let go has been; the estimate begins anew
        _log.warn_once(
            "pocketflow-tracing: more was recorded than can be delivered; the oldest runs are dropped "
            f"(POCKETFLOW_TRACE_QUEUE_SIZE is {self.queue_size}, POCKETFLOW_TRACE_QUEUE_MB "
            f"{self.queue_bytes // (1024 * 1024)}). `pocketflow-tracing doctor` shows how many."
        )

    def _remove_ghosts(self) -> None:
        # only when the worker stands still: it takes some 30 ms for 100,000 spans
        kept: list[Any] = []
        queue = self._queue
        for _ in range(len(queue)):  # other threads go on appending on the right
            item = queue.popleft()
            if callable(item) or isinstance(item, _Marker) or not item.run.dropped:
                kept.append(item)
            else:
                self._pass_over(item)
        queue.extendleft(reversed(kept))
        self._ghosts = 0

    def _pass_over(self, item: Span) -> None:
        self._ghosts -= 1 if self._ghosts else 0
        if item.done and not item.delivered:
            item.delivered = True
            self._bytes -= min(self._bytes, item.weight)
            self._count_dropped(1)

    def _remove_newest(self) -> None:
        item = self._queue.pop()
        if callable(item) or isinstance(item, _Marker) or item.parent is None or item.kind in {"flow", "node"}:
            self._queue.append(item)  # what holds the tree together stays
        else:
            item.run.lost += 1
            self._count_dropped(1)

    def _count_dropped(self, spans: int) -> None:
        self._dropped += spans
        self._dropped_unsaid += spans

    # --- the worker --------------------------------------------------------------------------------------------------

    def _mark(self, timeout: float, *, closing: bool) -> bool:
        if self._thread is None and not self._queue:
            return self._settle(time.monotonic() + timeout, closing=closing)
        marker = _Marker(time.monotonic() + timeout, closing)
        self._queue.append(marker)
        self._urgent = True
        self._rouse()
        reached = marker.reached.wait(timeout)
        return reached and marker.delivered

    def _rouse(self) -> None:
        self._idle = False
        if self._thread is None or not self._thread.is_alive():
            self._start()
        self._wake.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._work, name="pocketflow-tracing", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down: no thread can be started any more
                return
            self._thread = thread
            for sink in self._sinks:
                sink.start()
            _end_with_multiprocessing(self._at_exit)

    def _work(self) -> None:
        while True:
            with _WORKING:
                if self._round():
                    return

    def _round(self) -> bool:
        """One turn of the worker; True when it is to stop."""
        if not self._queue:
            due = [seconds for sink in self._sinks if (seconds := sink.tick()) is not None]
            self._idle = True
            if not self._queue:  # a record that came in between has seen `_idle` False and woke nobody
                self._wake.wait(min(due) if due else None)
            self._wake.clear()
            self._idle = False
            if not self._urgent:
                self._wake.wait(self.interval)  # let a batch gather; a flush sets the event
                self._wake.clear()
        batch: list[Any] = []
        marker: _Marker | None = None
        with self._draining:
            while self._queue and len(batch) < _BATCH:
                item = self._queue.popleft()
                if isinstance(item, _Marker):
                    marker = item
                    break
                if not callable(item):
                    if item.run.dropped:
                        self._pass_over(item)
                        continue
                    item.run.seen = True
                batch.append(item)
            while self._complete and self._complete[0].seen:
                self._complete.popleft()
        try:
            if batch:
                self._deliver(batch)
        finally:
            stop = self._answer(marker) if marker is not None else False
        if not stop:
            for sink in self._sinks:
                sink.tick()
        return stop

    def _answer(self, marker: _Marker) -> bool:
        """Flush or close the sinks for who waits; True when the worker is to stop."""
        stop = False
        try:
            marker.delivered = self._settle(marker.deadline, closing=marker.closing)
        finally:
            if marker.closing and not self._queue:
                stop = True
                self._thread = None
                self._idle = True
            self._urgent = False
            marker.reached.set()
        return stop

    def _settle(self, deadline: float, *, closing: bool) -> bool:
        accepted = True
        for sink in list(self._sinks):
            with _WORKING:
                accepted = (sink.close(deadline) if closing else sink.flush(deadline)) and accepted
                continue
            accepted = False
        dropped, self._dropped = self._dropped, 0
        return accepted and dropped == 0

    def _deliver(self, batch: list[Any]) -> None:
        from ._span_records import run_record, span_record  # noqa: PLC0415 - rendering is only needed on the worker

        by_sink: dict[int, tuple[Sink, dict[int, Run], list[SpanRecord], list[SpanRecord]]] = {}
        began = time.monotonic()
        for item in batch:
            if time.monotonic() - began > _YIELD_SECONDS:
                time.sleep(0)  # the host's threads run now, not after the 5 ms that the interpreter gives to each thread
                began = time.monotonic()
            with _WORKING:
                if callable(item):
                    run, sink, record = item()
                    done, sinks = True, (sink,)
                else:
                    if item.delivered:
                        continue
                    run, done = item.run, item.done
                    self._bytes -= min(self._bytes, item.weight)
                    item.weight = 0
                    if not done and item.end is not None and item.kind != "attempt":
                        continue  # it has ended and will come again, complete
                    item.delivered = done
                    record, sinks = span_record(item), run.pipeline.sinks
                for sink in sinks:
                    _, runs, spans, finished = by_sink.setdefault(id(sink), (sink, {}, [], []))
                    runs[id(run)] = run
                    spans.append(record)
                    if done:
                        finished.append(record)
        for sink, runs, spans, finished in by_sink.values():
            with _WORKING:
                sink.accept([run_record(run) for run in runs.values()], spans, finished)
        if self._dropped_unsaid:
            unsaid, self._dropped_unsaid = self._dropped_unsaid, 0
            with _WORKING:
                any(sink.add_dropped(unsaid) for sink in self._sinks)  # once: both sinks may keep them in the same store

    # --- ends and forks ----------------------------------------------------------------------------------------------

    def _at_exit(self) -> None:
        with _WORKING:
            if self._thread is None and not self._queue:
                return
            if not self.shutdown() and self._queue:
                _log.logger.warning("pocketflow-tracing: %d records were not delivered at exit", len(self._queue))

    def _after_fork(self) -> None:
        self._reset()
        for sink in self._sinks:
            with _WORKING:
                sink.abandon()


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


def _end_with_multiprocessing(end: Callable[[], None]) -> None:
    # a child of multiprocessing leaves with os._exit, past atexit (on Python before 3.13), but runs these finalizers
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, end, exitpriority=100)


delivery = Delivery()
flush = delivery.flush
shutdown = delivery.shutdown

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=delivery._after_fork)  # noqa: SLF001 - its own module
