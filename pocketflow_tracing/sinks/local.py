"""The sink that writes runs to the local store."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from .. import _foreign, _log
from .._span_records import process_id
from .._time import monotonic, time_ns
from ..config import TracingConfig
from ..delivery import delivery
from ..records import RunRecord, SpanRecord
from ..store import StoreBusyError, StoreError, StoreUnusableError, StoreWriter

__all__ = ["LocalSink", "open_sink"]

_BEAT_SECONDS = 5.0
"""How often a process with a running run says that it lives; the reader calls a run interrupted after three silences."""
_PRUNE_EVERY = 200
"""Batches between two looks at the store's limits."""
_PATIENCE = 1.0
"""Seconds that a write waits for other processes; it is tried again, but the worker must not hang."""
_MAX_KEPT = 50_000
"""Spans kept in memory while the store cannot be written (a full disk)."""


class LocalSink:
    """Writes records to one store file.

    Args:
        path: of the file; it is created by the first record.
        config: limits of the store.
    """

    def __init__(self, path: str, config: TracingConfig) -> None:
        self.path = path
        self._config = config
        self._stand_in = not config.has_langfuse
        self._writer = StoreWriter(path, patience_s=_PATIENCE)
        self._open: set[str] = set()  # runs that are going on
        self._beat = 0.0
        self._batches = 0
        self._kept: list[tuple[list[RunRecord], list[SpanRecord]]] = []
        self._unusable = False
        self.dropped = 0

    def describe(self) -> str:
        """Name the sink in a sentence of debug mode."""
        return f"local store {self.path}"

    def start(self) -> None:
        """Nothing to start: the store is written on the worker."""

    def watch(self) -> None:
        """See the spans of other instrumentations (LLM generations), which belong into the store too."""
        _foreign.watch(stand_in=self._stand_in)

    def accept(self, runs: list[RunRecord], spans: list[SpanRecord], _done: list[SpanRecord]) -> None:
        """Write a batch; what cannot be written now is kept and tried again."""
        if self._unusable:
            return
        for run in runs:
            (self._open.add if run.status == "running" else self._open.discard)(run.run_id)
        self._kept.append((runs, spans))
        self._write()

    def add_dropped(self, spans: int) -> bool:
        """Keep the number of dropped spans in the store's figures."""
        self._writer.add_figures({"dropped": spans})
        return True

    def tick(self) -> float | None:
        """Say that the process lives, and try again what could not be written."""
        if self._unusable:
            return None
        if self._kept:
            self._write()
        if self._open and monotonic() - self._beat > _BEAT_SECONDS:
            self._write(beat=True)
        return _BEAT_SECONDS if self._open else (1.0 if self._kept else None)

    def flush(self, deadline: float) -> bool:
        """Write what is kept; the deadline bounds the wait for other processes."""
        self._writer.patience_s = max(0.05, deadline - monotonic())
        try:
            if self._kept:
                self._write()
        finally:
            self._writer.patience_s = _PATIENCE
        return not self._kept and not self._unusable

    def close(self, deadline: float) -> bool:
        """Write what is kept and close the file."""
        accepted = self.flush(deadline)
        self._writer.close()
        unwritten = sum(len(spans) for _, spans in self._kept)
        if unwritten or self.dropped:
            _log.logger.warning(
                "pocketflow-tracing: %d spans could not be written to %s; what is not written when the process ends is lost",
                unwritten + self.dropped,
                self.path,
            )
        return accepted

    def abandon(self) -> None:
        """Begin anew in a forked child: the open file belongs to the parent."""
        self._writer = StoreWriter(self.path, patience_s=_PATIENCE)
        self._open = set()
        self._kept = []

    def _write(self, *, beat: bool = False) -> None:
        now = time_ns()
        try:
            while self._kept or beat:
                runs, spans = self._kept[0] if self._kept else ([], [])
                self._writer.write(runs, spans, (process_id(), now))
                self._beat = monotonic()
                beat = False
                if self._kept:
                    self._kept.pop(0)
                    self._after(spans)
        except StoreUnusableError as error:
            self._unusable = True
            self._kept = []
            _log.warn_once(f"{error} Runs are not recorded there.")
        except StoreError as error:
            if not isinstance(error, StoreBusyError):
                _log.warn_once(f"{error} What is recorded is kept in memory and tried again.")
            while len(self._kept) > 1 and sum(len(spans) for _, spans in self._kept) > _MAX_KEPT:
                self.dropped += len(self._kept.pop(0)[1])

    def _after(self, spans: list[SpanRecord]) -> None:
        if self._config.debug and spans:
            _log.debug_line(f"delivered {len(spans)} spans to {self.path}")
        self._batches += 1
        if self._batches % _PRUNE_EVERY == 1:
            self._writer.prune(self._config.store_max_runs, int(self._config.store_max_mb * 1024 * 1024))


_lock = threading.RLock()
_sinks: dict[str, LocalSink] = {}


def open_sink(path: str, config: TracingConfig) -> LocalSink:
    """The process's one sink for a store file, made at its first use."""
    path = str(Path(path).absolute())
    with _lock:
        sink = _sinks.get(path)
        if sink is None:
            sink = _sinks[path] = LocalSink(path, config)
            delivery.add_sink(sink)
        return sink


def _fresh_lock() -> None:
    global _lock  # noqa: PLW0603 - a lock held by another thread at the fork would stay locked in the child
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_lock)
