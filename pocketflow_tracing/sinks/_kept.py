"""Batches on disk: what the server has not taken waits in the store's outbox, for this process or a later one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from .. import _log
from .._command import command
from .._span_records import process_id
from .._time import monotonic, time_ns
from ..config import TracingConfig
from ..store import (
    Outbox,
    OutboxBatch,
    StoreBusyError,
    StoreError,
    StoreGoneError,
    StoreUnusableError,
    StoreWriter,
    adopt,
)
from ._batch import Batch, Found, traces_of, without
from ._http import shown_host

__all__ = ["Kept"]

_PATIENCE = 1.0
"""Seconds that a call waits for other processes."""
_FIGURE_PATIENCE = 0.05
"""Seconds that a figure waits for them: it is written with a later call."""
_ASK_AGAIN = 10.0
"""Seconds until it is looked again what is due, where that could not be read."""
_MOST_BATCHES = 100_000
_MOST_KNOWN = 10_000
"""Batches of its own that a process remembers."""
_NOWHERE = -1
"""The id of a batch of which the outbox's limits have left nothing."""


class Kept:
    """The part of a store's outbox that belongs to one project on one server.

    Nothing here raises for a store that cannot be written: it is said once, and the batch stays in memory.

    Args:
        config: with the address, the public key and the outbox's limits.
        path: of the store.
        in_memory: returns batches that are on their way to the server, and so not lost with the file.
    """

    def __init__(self, config: TracingConfig, path: str, in_memory: Callable[[], Iterable[Batch]] = tuple) -> None:
        self._endpoint = shown_host(config)
        self._key = str(config.langfuse_public_key)
        self._path = path
        self._lock = threading.RLock()  # between keeping a late batch and taking it out again
        self._said = False
        self._here: dict[int, int] = {}  # spans that this process has put here, by batch, and not answered for
        self._lost_before = 0  # by other processes, when the first of them was put here
        self._lost_here = 0  # dropped or refused, and counted in the store, by this process
        self._in_memory = in_memory
        self._has_adopted = False
        self._file: tuple[int, int] | None = None  # in which they are
        self._vanished = 0  # spans that were here, and went with the file
        self._figures = StoreWriter(path, patience_s=_FIGURE_PATIENCE)
        self.uncounted = 0
        """Spans that are missing in the store's figures."""
        self._outbox = Outbox(
            path,
            max_bytes=int(config.outbox_mb * 1024 * 1024),
            max_batches=_MOST_BATCHES,
            max_spans=config.outbox_spans,
            patience_s=_PATIENCE,
            without=without,
        )

    @property
    def dropped(self) -> int:
        """Spans that the outbox's limits or another process's refusal have cost, or that went with its file."""
        return self._outbox.dropped + self._vanished

    def look(self, may_wait: Callable[[], bool]) -> Found:
        """Take a batch whose time has come, which nobody else sends meanwhile, or see whether anything is left.

        Args:
            may_wait: says whether the caller has nothing better to do than to wait for processes that are writing.
        """
        with self._lock:
            self._see_to_file()
        self._adopt()
        try:
            claimed = self._outbox.claim(
                process_id(), time_ns(), endpoint=self._endpoint, public_key=self._key, may_wait=may_wait
            )
        except StoreBusyError:  # no other question would be answered either
            return Found(None, is_left=True, due_in=_ASK_AGAIN, is_put_off=not may_wait())
        except StoreError as error:
            _say(error)
            claimed = []
        for found in claimed:
            self._file = self._outbox.file()
            return Found(Batch(found.body, max(found.spans, 1), found.id, monotonic(), found.attempts))
        is_left = self.waits()
        return Found(None, is_left, self._due_in() if is_left else None)

    def _adopt(self) -> None:
        """Take over, once, what ended processes have left in files beside the store."""
        if not self._has_adopted:
            self._has_adopted = True
            try:
                adopt(self._path, patience_s=_PATIENCE)
            except StoreError as error:
                self._has_adopted = not isinstance(error, StoreBusyError)
                _say(error)

    def keep(self, batch: Batch, reason: str, *, ahead: float = 0.0, pause: float = 0.0) -> bool:
        """Put a batch here (or give it back), unless it has been answered; False when that did not work.

        Args:
            batch: that is not to be lost.
            reason: why it waits.
            ahead: seconds for which no other process is to send it, because this one is sending it.
            pause: seconds for which nobody is to send it, for it is the batch that the server does not take. Pauses after
                failures of the server are not written down: each process keeps its own, and a flush may try at once.
        """
        with self._lock:
            if batch.answered:
                return True
            try:
                self._keep(batch, reason, int(ahead * 1e9), int(pause * 1e9))
            except StoreError as error:
                _say(error)
                return False
        if self._outbox.dropped and not self._said:
            self._said = True
            _log.warn_once(
                f"the outbox in {self._path} is full; the oldest runs in it are dropped. "
                "POCKETFLOW_TRACE_OUTBOX_SPANS and POCKETFLOW_TRACE_OUTBOX_MB are its limits."
            )
        return True

    def _keep(self, batch: Batch, reason: str, lease_ns: int, pause_ns: int) -> None:
        self._see_to_file()
        now = time_ns()
        next_try_ns = now + pause_ns if pause_ns else 0  # at once, whatever the clock says then
        if batch.kept:
            self._outbox.retry([batch.kept], next_try_ns, reason)
            return
        if not self._here:
            self._lost_before = self._lost_elsewhere()
        batch.kept = (
            self._outbox.put(
                OutboxBatch(
                    created_ns=now,
                    spans=batch.records,
                    body=batch.body,
                    attempts=batch.attempts,
                    next_try_ns=next_try_ns,
                    reason=reason,
                    traces=traces_of(batch.body),
                    endpoint=self._endpoint,
                    public_key=self._key,
                ),
                owner=process_id() if lease_ns else None,
                lease_ns=lease_ns,
            )
            or _NOWHERE
        )
        if batch.kept != _NOWHERE:
            self._here[batch.kept] = batch.records
            if len(self._here) > _MOST_KNOWN:  # others have sent them, for all that can be known
                del self._here[next(iter(self._here))]
            self._file = self._outbox.file()

    def answered(self, batch: Batch, delivered: int) -> None:
        """Take out a batch of which the server has taken so many spans; what became of the others is known too."""
        with self._lock:
            self._see_to_file()
            batch.answered = True
        if batch.kept:
            try:
                self._outbox.done([batch.kept], delivered)
                self._here.pop(batch.kept, None)
            except StoreError as error:
                _say(error)

    def set_aside(self, batch: Batch, reason: str) -> bool:
        """Keep a batch that the server will never take, for the user to look at; False when that did not work."""
        if not batch.kept and not self.keep(batch, reason, ahead=60.0):
            return False
        with self._lock:
            batch.answered = True
        try:
            self._outbox.refuse(batch.kept, reason)
            self._lost_here += batch.records
            self._here.pop(batch.kept, None)
        except StoreError as error:
            _say(error)
            return False
        return True

    def waits(self) -> bool:
        """Whether anything is left to be sent."""
        with self._lock:
            self._see_to_file()
        try:
            waiting = self._outbox.counts(endpoint=self._endpoint, public_key=self._key).waiting
        except StoreError as error:  # nothing can be known of it but what this process has put there
            return isinstance(error, StoreBusyError) or bool(self._here)
        if not waiting and self._here:
            self._note_others()
        return waiting > 0

    def _note_others(self) -> None:
        """Count what others did not send of what this process has put here; it may have been their own that they lost."""
        with self._lock:
            try:
                lost = min(sum(self._here.values()), self._lost_elsewhere() - self._lost_before)
            except StoreError as error:
                _say(error)
                return
            self._here.clear()
        if lost > 0:
            self._vanished += lost
            _log.warn(
                "up to %d spans that waited for Langfuse in %s were refused or dropped when another process "
                "sent them; `%s doctor` says why",
                lost,
                self._path,
                command(),
            )

    def _lost_elsewhere(self) -> int:
        return self._outbox.lost() - self._outbox.dropped - self._lost_here

    def _see_to_file(self) -> None:
        """Count what waited in a file that is not there any more, or that another one has taken the place of."""
        if self._file is None or self._outbox.file() == self._file:
            return
        spans, self._file = sum(self._here.values()), None
        self._here.clear()
        for batch in self._in_memory():
            if batch.kept > 0:
                spans -= batch.records
                batch.kept = 0
        if spans <= 0:
            return
        self._vanished += spans
        _log.warn(
            "%d spans that waited for Langfuse are lost, for the trace store %s was removed or replaced",
            spans,
            self._path,
        )

    def _due_in(self) -> float | None:
        """Seconds until the first batch may be sent again that was put off; None if none was."""
        now = time_ns()
        try:
            due = self._outbox.next_due(now, endpoint=self._endpoint, public_key=self._key)
        except StoreError:
            return _ASK_AGAIN
        return None if due is None else (due - now) / 1e9

    def hurry(self) -> None:
        """Put nothing off any longer."""
        self._outbox.hurry(endpoint=self._endpoint, public_key=self._key)

    def reconsider(self) -> None:
        """Let what was refused wait again."""
        self._outbox.reconsider(endpoint=self._endpoint, public_key=self._key)

    def add_dropped(self, spans: int) -> None:
        """Keep the number of spans that were dropped before they came here, for the store's figures."""
        self.uncounted += spans

    def count_dropped(self) -> bool:
        """Write down what was dropped, unless others are writing; False while something is left."""
        uncounted = self.uncounted
        if uncounted:
            try:
                self._figures.add_figures({"dropped": uncounted})
                self._lost_here += uncounted
                self.uncounted -= uncounted
            except (StoreGoneError, StoreUnusableError) as error:  # no figures there, and none to come
                self.uncounted = 0
                _say(error)
            except StoreError as error:
                _say(error)
        return not self.uncounted

    def end_by(self, deadline: float) -> None:
        """Wait for other processes no longer than until a deadline of `time.monotonic`, up to `close`."""
        self._outbox.patience_s = self._figures.patience_s = max(0.02, (deadline - monotonic()) / 2)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self.count_dropped()
        self._outbox.close()
        self._figures.close()
        self._outbox.patience_s, self._figures.patience_s = _PATIENCE, _FIGURE_PATIENCE
        if self._said:
            _log.warn("the outbox's limits have cost %d spans of old runs", self._outbox.dropped)


def _say(error: StoreError) -> None:
    if not isinstance(error, StoreBusyError):  # that passes; what was not written is still in memory, or sent twice
        _log.warn_once(str(error))
