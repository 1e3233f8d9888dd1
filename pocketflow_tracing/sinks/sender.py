"""HTTP to Langfuse on a thread of its own, so that nobody waits for a server: not the caller, not the worker.

A batch is sent; what the server does not take goes to the outbox of the store and is sent again when its time has come, by
this process or a later one. A batch whose answer is late is put there at once, so that a killed process loses nothing; when
the answer comes after all, it is taken out again.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from time import monotonic, time_ns  # our own names: hosts put mocks on the module

import httpx

from .. import _log
from .._guard import Seam
from .._span_records import process_id
from ..config import TracingConfig
from ..store import Outbox, OutboxBatch, StoreError, StoreWriter
from ._batch import Batch, halves
from ._http import Answer, new_client, post, shown_host

__all__ = ["Sender"]

_SENDING = Seam("sending spans to Langfuse")
_LATE_SECONDS = 0.75
"""How long a batch may wait for its answer in memory alone."""
_PATIENCE = 1.0
"""Seconds that a call of the outbox waits for other processes."""
_BACKOFF_FIRST, _BACKOFF_LAST = 1.0, 60.0
_MAX_WAITING = 64 * 1024 * 1024
"""Bytes of encoded batches in memory; more goes to the outbox."""


class Sender:
    """Sends the batches of one project to one server.

    Args:
        config: keys, address and timeout.
        store_path: of the store whose outbox keeps what was not taken; None keeps it in memory only.
    """

    def __init__(self, config: TracingConfig, store_path: str | None) -> None:
        self._config = config
        self._path = store_path
        self.delivered = 0
        self.refused = 0
        self.dropped = 0
        self._reset()

    def _reset(self) -> None:
        self._outbox = (
            Outbox(
                self._path,
                max_bytes=int(self._config.outbox_mb * 1024 * 1024),
                max_batches=100_000,
                max_spans=self._config.outbox_spans,
                patience_s=_PATIENCE,
            )
            if self._path is not None
            else None
        )
        self._changed = threading.Condition()
        self._disk = threading.Lock()  # between keeping a late batch and taking it out again
        self._waiting: deque[Batch] = deque()
        self._bytes = 0
        self._in_flight: Batch | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._failures = 0
        self._blocked_until = 0.0
        self._kept = True  # whether the outbox may hold something for us: other processes leave things there
        self._generation = 0
        self.last_reason = ""

    def start(self) -> None:
        """Start the thread, before there is anything to send."""
        with self._changed:
            self._start()

    # --- the worker's side -------------------------------------------------------------------------------------------

    def submit(self, body: bytes, spans: int) -> None:
        """Take an encoded batch."""
        batch = Batch(body, spans, since=monotonic())
        with self._changed:
            blocked = monotonic() < self._blocked_until or self._bytes > _MAX_WAITING
        if blocked and self._keep(batch, self.last_reason):
            return
        with self._changed:
            self._waiting.append(batch)
            self._bytes += len(body)
            self._start()
            self._changed.notify_all()

    def add_dropped(self, spans: int) -> bool:
        """Count spans that were dropped before they came here; True when a store keeps the count."""
        self.dropped += spans
        if self._path is None:
            return False
        writer = StoreWriter(self._path, patience_s=_PATIENCE)
        try:
            writer.add_figures({"dropped": spans})
        finally:
            writer.close()
        return True

    def tick(self) -> float | None:
        """Keep on disk what waits too long for its answer; try the outbox again when its time has come."""
        now = monotonic()
        with self._changed:
            late = [
                batch
                for batch in ([self._in_flight] if self._in_flight else []) + list(self._waiting)
                if not batch.kept and now - batch.since > _LATE_SECONDS
            ]
            busy = bool(self._waiting or self._in_flight)
            stuck = self._in_flight is not None and now - self._in_flight.since > 4 * self._config.timeout + 5
        for batch in late:
            with self._disk:
                if not batch.answered:
                    self._keep(batch, "the server has not answered yet", ahead=2 * self._config.timeout + 2)
        if stuck:
            self._abandon_thread()
        with self._changed:
            if not busy and self._kept and now >= self._blocked_until:
                self._start()
                self._changed.notify_all()
        if busy:
            return 0.25
        return max(0.1, self._blocked_until - now) if self._kept else None

    def flush(self, deadline: float) -> bool:
        """Send everything, the outbox too; True only if nothing is left."""
        with self._changed:
            self._blocked_until = 0.0  # whoever asks wants to know now
            refused, dropped = self.refused, self.dropped
            self._kept = self._kept or self._outbox_waits()
            if not self._start():
                return not (self._waiting or self._kept)
            self._changed.notify_all()
            while self._waiting or self._in_flight or self._kept:
                if monotonic() < self._blocked_until:
                    return False  # it has been tried and did not work
                left = deadline - monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.05))
            same = (refused, dropped) == (self.refused, self.dropped)
        return same and not self._outbox_waits()

    def close(self, deadline: float) -> bool:
        """Flush until shortly before the deadline and keep the rest on disk."""
        delivered = self.flush(deadline - min(0.5, max(0.0, deadline - monotonic()) / 4))
        with self._changed:
            self._stopping = True
            self._generation += 1
            left = ([self._in_flight] if self._in_flight else []) + list(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            self._changed.notify_all()
        if self._outbox is not None:
            self._outbox.patience_s = max(0.2, deadline - monotonic())
        for batch in left:
            if not batch.kept and not self._keep(batch, self.last_reason or "the process ended"):
                self.dropped += batch.spans
        with self._changed:
            self._thread = None
            self._in_flight = None
            self._stopping = False
        if self._outbox is not None:
            self._outbox.close()
            self._outbox.patience_s = _PATIENCE
        if left and self._path is None:
            _log.logger.warning(
                "pocketflow-tracing: %d spans could not be delivered to Langfuse and are lost, for POCKETFLOW_TRACE_STORE is off",
                sum(batch.spans for batch in left),
            )
        return delivered

    def abandon(self) -> None:
        """Begin anew in a forked child."""
        self._reset()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _start(self) -> bool:
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(
                target=self._run, args=(self._generation,), name="pocketflow-tracing-sender", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down: what waits goes to the outbox
                return False
            self._thread = thread
        return True

    def _abandon_thread(self) -> None:
        # a server that trickles a byte a second holds a request open for ever: the next ones get a thread of their own
        with self._changed:
            self._generation += 1
            self._in_flight = None
            self._thread = None
            self._block(Answer("later", f"{shown_host(self._config)} does not finish its answer"))

    def _run(self, generation: int) -> None:
        client: httpx.Client | None = None
        while True:
            with self._changed:
                while not self._has_work() and generation == self._generation and not self._stopping:
                    if not self._changed.wait(30.0) and client is not None:
                        client.close()  # an idle process holds no connection
                        client = None
                if generation != self._generation or self._stopping:
                    break
            with _SENDING:
                if client is None:
                    client = new_client(self._config)
                self._send_next(client, generation)
                continue
            with self._changed:  # an error of ours: what was in flight is kept for another time
                if self._in_flight is not None:
                    self._waiting.appendleft(self._in_flight)
                    self._in_flight = None
                self._block(Answer("later", "an error in pocketflow-tracing"))
        if client is not None:
            client.close()

    def _has_work(self) -> bool:
        return bool(self._waiting) or (self._kept and monotonic() >= self._blocked_until)

    def _send_next(self, client: httpx.Client, generation: int) -> None:
        with self._changed:
            batch = self._waiting.popleft() if self._waiting else None
            if batch is not None:
                self._bytes -= len(batch.body)
                self._in_flight = batch
        if batch is None:
            batch = self._claim()
            if batch is None:
                return
        blocked = monotonic() < self._blocked_until
        answer = Answer("later", self.last_reason) if blocked else post(client, self._config, batch.body)
        with self._changed:
            current = generation == self._generation
            self._in_flight = None if current else self._in_flight
        if current:
            self._settle(batch, answer, client, tried=not blocked)
        elif answer.outcome == "accepted":
            self._take_out(batch)
        with self._changed:
            self._changed.notify_all()

    def _claim(self) -> Batch | None:
        if self._outbox is None:
            self._kept = False
            return None
        try:
            claimed = self._outbox.claim(
                process_id(),
                time_ns(),
                1,
                endpoint=shown_host(self._config),
                public_key=str(self._config.langfuse_public_key),
            )
        except StoreError as error:
            _log.warn_once(str(error))
            claimed = []
        if not claimed:
            with self._changed:
                self._kept = False
                self._changed.notify_all()
            return None
        batch = Batch(claimed[0].body, claimed[0].spans, claimed[0].id, monotonic())
        with self._changed:
            self._in_flight = batch
        return batch

    def _settle(self, batch: Batch, answer: Answer, client: httpx.Client, *, tried: bool) -> None:
        if answer.outcome == "accepted":
            self.delivered += batch.spans
            self._failures = 0
            if self._config.debug:
                _log.debug_line(f"delivered {batch.spans} spans to {shown_host(self._config)}")
            with self._disk:
                batch.answered = True
            self._take_out(batch)
            return
        if answer.outcome in {"too large", "refused"}:
            parts = halves(batch)
            if parts:
                for part in parts:
                    blocked = monotonic() < self._blocked_until
                    answer_of_part = (
                        Answer("later", self.last_reason) if blocked else post(client, self._config, part.body)
                    )
                    self._settle(part, answer_of_part, client, tried=not blocked)
                with self._disk:
                    batch.answered = True
                self._take_out(batch)
                return
            self.refused += batch.spans
            _log.warn_once(
                f"pocketflow-tracing: {answer.reason}; such spans are set aside (see `pocketflow-tracing doctor`)."
            )
            self._set_aside(batch, answer.reason)
            return
        if tried:
            with self._changed:
                self._block(answer)
        if not self._keep(batch, answer.reason):
            with self._changed:
                self._waiting.append(batch)
                self._bytes += len(batch.body)

    def _block(self, answer: Answer) -> None:
        self._failures += 1
        self.last_reason = answer.reason
        wait = min(_BACKOFF_LAST, _BACKOFF_FIRST * 2 ** min(self._failures - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        if answer.outcome == "unauthorized":
            wait = _BACKOFF_LAST
        if answer.retry_after is not None:
            wait = max(wait, min(answer.retry_after, 600.0))
        self._blocked_until = monotonic() + wait
        kept = "kept in the outbox and sent later" if self._outbox is not None else "kept in memory"
        _log.warn_once(f"pocketflow-tracing: {answer.reason}. What is recorded is {kept}.")

    # --- the outbox --------------------------------------------------------------------------------------------------

    def _outbox_waits(self) -> bool:
        if self._outbox is None:
            return False
        try:
            counts = self._outbox.counts(
                endpoint=shown_host(self._config), public_key=str(self._config.langfuse_public_key)
            )
        except StoreError:
            return False
        return counts.waiting > 0

    def _take_out(self, batch: Batch) -> None:
        if not batch.kept or self._outbox is None:
            return
        try:
            self._outbox.done([batch.kept])
        except StoreError as error:
            _log.warn_once(str(error))

    def _keep(self, batch: Batch, reason: str, *, ahead: float = 0.0) -> bool:
        """Put a batch into the outbox (or give it back there); False when there is none or it cannot be written.

        `ahead` are the seconds for which nobody is to send it, because it is being sent. Pauses after failures are not
        written down: each process keeps its own, and a flush may try at once.
        """
        if self._outbox is None:
            return False
        next_try = time_ns() + int(ahead * 1e9)
        try:
            if batch.kept:
                self._outbox.retry([batch.kept], next_try, reason)
            else:
                batch.kept = self._outbox.put(
                    OutboxBatch(
                        created_ns=time_ns(),
                        endpoint=shown_host(self._config),
                        public_key=str(self._config.langfuse_public_key),
                        spans=batch.spans,
                        body=batch.body,
                        next_try_ns=next_try,
                        reason=reason,
                    )
                )
        except StoreError as error:
            _log.warn_once(str(error))
            return False
        self._kept = True
        return True

    def _set_aside(self, batch: Batch, reason: str) -> None:
        if self._outbox is None:
            return
        try:
            if not batch.kept and not self._keep(batch, reason):
                return
            self._outbox.refuse(batch.kept, reason)
        except StoreError as error:
            _log.warn_once(str(error))
