"""The sink that writes runs to the local store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from math import inf
from pathlib import Path
from weakref import WeakValueDictionary

from .. import _external, _log, _system
from .._guard import Seam, Tolerating, is_hosts
from .._span_records import process_id
from .._threads import OwnLock
from .._time import is_in_a_loop, monotonic, sleep, time_ns
from ..config import TracingConfig
from ..delivery import delivery
from ..records import RunRecord, SpanRecord
from ..store import StoreBusyError, StoreError, StoreGoneError, StoreUnusableError, StoreWriter, UnfitRecordError
from ._backlog import Backlog, Unwritten

__all__ = ["LocalSink", "open_sink"]

_STORING = Seam("storing a record")
_BEAT_SECONDS = 5.0
"""How often a process with a running run says that it lives; the reader calls a run interrupted after three silences."""
_PRUNE_EVERY = 200
"""Batches between two looks at the store's limits, at most."""
_PRUNE_PERCENT = 10
"""Of the bytes that it may take: when so many have been written, a look is due too."""
_PRUNE_SECONDS, _IDLE_PRUNE_SECONDS, _LAST_PRUNE_SECONDS = 0.5, 0.1, 0.1
"""Of the worker's time at once, some thousand runs; while nothing comes, for something may; at the end of the process."""
_PRUNE_PAUSE = 0.5
"""Seconds between two such times, that what is recorded meanwhile is written."""
_MOST_WRITTEN = 1024 * 1024
"""Bytes of one transaction, about: other processes and forks wait for its end."""
_LEAST_LOG = 16 * 1024 * 1024
"""Bytes that the store's log may always take."""
_PATIENCE = 1.0
"""Seconds that a write waits for other processes; it is tried again, but the worker must not hang."""
_SHORTEST_LOOK, _LOOK_SECONDS = 0.001, 0.05
"""Between two looks at whether the worker has written all, of who waits for it."""
_MAKING_SECONDS, _MAKING_SECONDS_IN_A_LOOP = 0.25, 0.02
"""That the end of a first run waits at most for the file, which takes milliseconds; the first also for all files of a process."""
_RETRY_SECONDS = 1.0
"""After a write that failed: what comes meanwhile is kept, and holds nobody up."""


class LocalSink:
    """Writes records to one store file.

    Args:
        path: of the file; it is created by the first record.
        config: limits of the store.
    """

    _waited = 0.0  # seconds, for files of any store

    def __init__(self, path: str, config: TracingConfig) -> None:
        self.path = path
        # not the config itself, whose functions lead to the program's modules: the sink stays as long as the process
        self._debug = config.debug
        self._queue_bytes = int(config.queue_mb * 1024 * 1024)
        self._max_runs = config.store_max_runs
        self._max_bytes = int(config.store_max_mb * 1024 * 1024)
        self._writer = StoreWriter(path, patience_s=_PATIENCE, max_log_bytes=max(self._max_bytes, _LEAST_LOG))
        self._beat = 0.0
        self._batches = 0
        self._prune_at = inf  # of `time.monotonic`: when its limits are to be looked at
        self._share = self._max_bytes * _PRUNE_PERCENT // 100
        self._bytes = 0  # written since the store's limits were looked at
        self._span_bytes = 0.0  # what a span took in the last write
        self._unusable = False
        self._reset()

    def _reset(self) -> None:
        self._open: set[str] = set()  # runs that are going on
        self._backlog = Backlog(self._queue_bytes)
        self._retry_at = 0.0
        self._uncounted = 0  # spans that are missing in the store's figures
        self.lost = 0  # spans, so far
        self._unsaid = 0  # of them, whose number is to be said at the end
        self._is_made = _system.exists(self.path)  # or cannot be
        self.to_be_said = ""  # where runs are kept, once one is

    def describe(self) -> str:
        """Name the sink in a sentence of debug mode."""
        return f"local store {self.path}"

    def start(self) -> None:
        """Nothing to start: the store is written on the worker."""

    def watch(self) -> None:
        """See the spans of other instrumentations (LLM generations), which belong into the store too."""
        _external.watch()

    def expect(self) -> None:
        """Make the store: while a run goes on, not when it has ended and the program may remove the directory around it."""
        if not self._unusable and monotonic() >= self._retry_at:
            with contextlib.suppress(StoreError), self._making():  # the first write says it
                self._writer.open()

    def await_making(self) -> None:
        """Wait a moment for a file that is being made: a program that removes the directory now would find it full again."""
        if self._is_made:
            return
        most = _MAKING_SECONDS_IN_A_LOOP if is_in_a_loop() else _MAKING_SECONDS
        began = monotonic()
        deadline = began + min(most, _MAKING_SECONDS - LocalSink._waited)
        delivery.rouse(self)  # whatever the worker waits for
        while not self._is_made and monotonic() < deadline:
            sleep(_SHORTEST_LOOK)
        LocalSink._waited += monotonic() - began
        self._is_made = True

    @contextlib.contextmanager
    def _making(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._is_made = True

    def accept(self, runs: list[RunRecord], spans: list[SpanRecord], done: list[SpanRecord]) -> None:
        """Write a batch; what cannot be written now is kept and tried again."""
        if self._unusable:
            return
        for run in runs:
            (self._open.add if run.status == "running" else self._open.discard)(run.run_id)
        self._backlog.put(Unwritten(runs, spans, frozenset(span.span_id for span in done)))
        if monotonic() >= self._retry_at:
            with self._making():
                self._write()
        if self._backlog and (lost := self._backlog.shed()):
            self._lose(lost)
            _log.warn_once(
                f"{self.path} could not be written for so long that the oldest of what was kept in memory"
                " is dropped (POCKETFLOW_TRACE_QUEUE_MB)."
            )

    def add_dropped(self, spans: int) -> bool:
        """Keep the number of dropped spans for the store's figures, which the next write holds."""
        self._uncounted += spans
        return not self._unusable

    def tick(self) -> float | None:
        """Say that the process lives, try again what could not be written, and go on with what is to be removed."""
        if self._unusable:
            return None
        now = monotonic()
        beat = bool(self._open) and now - self._beat > _BEAT_SECONDS
        if now >= self._retry_at and (beat or self._is_behind):
            self._write(beat=beat)
        if self._is_behind:
            return _RETRY_SECONDS
        if now >= self._prune_at:
            self._prune(_IDLE_PRUNE_SECONDS)
        beat_in = _BEAT_SECONDS if self._open else inf
        due = min(beat_in, max(0.0, self._prune_at - monotonic()))
        return due if due < inf else None

    @property
    def in_memory(self) -> int:
        """Spans that are not written yet."""
        return self._backlog.spans

    def hand_on(self, deadline: float) -> bool:
        """Write what is kept, with no more patience for other processes than at any time."""
        if self._is_behind:
            self._writer.patience_s = min(_PATIENCE, max(0.05, deadline - monotonic()))
            try:
                self._write()
            finally:
                self._writer.patience_s = _PATIENCE
        return not self._unusable

    def is_done(self) -> bool:
        """Whether everything is written."""
        return self._unusable or not self._is_behind

    def flush(self, deadline: float) -> bool:
        """Wait until the worker has written what is kept."""
        while self._backlog and not self._unusable and (left := deadline - monotonic()) > 0:
            sleep(min(left, _LOOK_SECONDS))
        return not (self._backlog or self._unusable)

    def close(self, deadline: float, _answers_by: float) -> bool:
        """Write what is kept and close the file; the deadline bounds the wait for other processes."""
        self._writer.patience_s = max(0.05, 0.75 * (deadline - monotonic()))  # and time to say what is lost
        try:
            if self._is_behind:
                self._write(may_prune=False)
            if not self._is_behind and self._prune_at < inf:
                self._writer.patience_s = seconds = max(0.0, min(_LAST_PRUNE_SECONDS, (deadline - monotonic()) / 4))
                self._prune(seconds)
        finally:
            self._writer.patience_s = _PATIENCE
        self._writer.close()
        unwritten = self._backlog.spans
        if unwritten or self._unsaid:
            _log.warn(
                "%d spans could not be written to %s; what is not written when the process ends is lost",
                unwritten + self._unsaid,
                self.path,
            )
        return not (self._backlog or self._unusable)

    def abandon(self) -> None:
        """Begin anew in a forked child; the writer lets go of the parent's file by itself."""
        self._writer.patience_s = _PATIENCE
        self._reset()

    @property
    def _is_behind(self) -> bool:
        return bool(self._backlog or self._uncounted)

    def _write(self, *, beat: bool = False, may_prune: bool = True) -> None:
        now = time_ns()
        try:
            while self._is_behind or beat:
                try:
                    self._write_first(now)
                    if may_prune and monotonic() >= self._prune_at:
                        self._prune(_PRUNE_SECONDS)
                except (UnfitRecordError, OverflowError, RecursionError, TypeError, ValueError) as error:
                    if not self._backlog or is_hosts(error):
                        raise
                    self._give_up_one(error)
                beat = False
        except StoreUnusableError as error:
            self._unusable = True
            self._backlog.clear()
            _log.warn_once(f"{error} Runs are not recorded there.")
        except StoreGoneError as error:  # with the store that its figures stand in
            self.lost += self._backlog.clear()
            self._uncounted = 0
            _log.warn_once(f"{error} What is recorded there is dropped.")
        except StoreError as error:
            if not isinstance(error, StoreBusyError):
                _log.warn_once(f"{error} What is recorded is kept in memory and tried again.")
            self._retry_at = monotonic() + _RETRY_SECONDS

    def _write_first(self, now: int) -> None:
        batch, uncounted = self._next(), self._uncounted
        size = self._writer.write(batch.runs, batch.spans, (process_id(), now), {"dropped": uncounted})
        self._beat = monotonic()
        if self.to_be_said:
            _log.warn_at_the_end(self.to_be_said)
            self.to_be_said = ""
        self._uncounted -= uncounted
        if not self._backlog:
            return
        self._backlog.remove_first()
        if self._debug and batch.spans:
            _log.debug_line(f"delivered {len(batch.spans)} spans to {self.path}")
        self._batches += 1
        self._bytes += size
        if batch.spans:
            self._span_bytes = size / len(batch.spans)
        completes = bool(batch.runs) and not batch.spans  # what a large batch has brought may be pruned from now on
        if self._batches % _PRUNE_EVERY == 1 or self._bytes > self._share or completes:
            self._bytes = 0
            self._prune_at = 0.0

    def _prune(self, seconds: float) -> None:
        began = monotonic()
        try:
            pruned = self._writer.prune(self._max_runs, self._max_bytes, deadline=began + seconds)
        except (StoreGoneError, StoreUnusableError):  # the next write says it, as below
            self._prune_at = inf
        except StoreError:
            self._prune_at = monotonic() + _RETRY_SECONDS
        else:
            self._prune_at = inf if pruned.is_done else monotonic() + _PRUNE_PAUSE

    def _next(self) -> Unwritten:
        """What waits longest, no more of it than one transaction should hold."""
        batch = self._backlog.first
        if batch.spans and not self._span_bytes:
            self._span_bytes = batch.size / len(batch.spans)
        while len(batch.spans) > 1 and len(batch.spans) * self._span_bytes > min(self._share, _MOST_WRITTEN):
            self._backlog.take_apart()
            batch = self._backlog.first
        return batch

    def _give_up_one(self, error: Exception) -> None:
        """Write the others of the first batch without the record that the store cannot take, once it is found."""
        if not self._backlog.first.halves():
            _STORING.absorb(error)
        self._lose(self._backlog.take_apart())

    def _lose(self, spans: int) -> None:
        self._uncounted += spans
        self._unsaid += spans
        self.lost += spans


_lock = OwnLock()
_sinks: WeakValueDictionary[str, LocalSink] = WeakValueDictionary()


def open_sink(path: str, config: TracingConfig) -> LocalSink:
    """The process's one sink for a store file, made at its first use."""
    with Tolerating(OSError):  # the working directory was removed; writing will say so
        path = str(Path(_system.absolute(path)))
    with _lock():
        sink = _sinks.get(path)
        if sink is None:
            sink = LocalSink(path, config)
            delivery.add_sink(sink)
            _sinks[path] = sink  # last, as in `langfuse`
        return sink
