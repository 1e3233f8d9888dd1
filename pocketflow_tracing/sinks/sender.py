"""HTTP to Langfuse on a thread of its own, so that nobody waits for a server: not the caller, not the worker.

A batch is sent; what the server does not take is kept on disk and is sent again when its time has come, by this process or
a later one. A batch whose answer is late is put there at once, so that a killed process loses nothing; when the answer comes
after all, it is taken out again.
"""

from __future__ import annotations

import threading
from math import inf
from typing import TYPE_CHECKING, Literal

from .. import _log
from .._command import command
from .._ends import answer_seconds
from .._forks import unforked
from .._guard import Seam
from .._threads import can_start_later, of_now, start_thread, wait_unseen
from .._time import monotonic, sleep
from ..config import TracingConfig
from ._batch import Batch, Found
from ._channel import Channel
from ._courier import Courier
from ._http import Answer
from ._memory import Memory

if TYPE_CHECKING:
    from ._kept import Kept

__all__ = ["Sender"]

_SENDING = Seam("sending spans to Langfuse")
_LATE_SECONDS = 0.45
"""How long a batch may wait for its answer in memory alone: with the half second in which it gathers, a second in all."""
_NO_ANSWER = "the server has not answered yet"
_IDLE_SECONDS = 30.0
"""After which the connection is closed."""
_SAFE_SECONDS = 2.0
"""After which a thread ends whose server is not to be asked: in an outage each job with a store of its own has one."""
_SHORTEST_LOOK, _LONGEST_LOOK = 0.002, 0.05
"""Seconds between two looks at how things stand, of who waits."""
_LOOKING_SECONDS = 0.1
"""For a look at the disk at the end of the process."""
_UNCOUNTED_SECONDS = 1.0
"""After which a figure that could not be written is tried again."""


class Sender:
    """Sends the batches of one project to one server.

    Args:
        config: keys, address and timeout.
        store_path: of the store whose outbox keeps what was not taken; None keeps it in memory only.
    """

    def __init__(self, config: TracingConfig, store_path: str | None) -> None:
        self._config = config
        self._path = store_path
        self._dropped = 0
        self._reset()

    def _reset(self) -> None:
        self._kept = self._open_kept(self._path) if self._path is not None else None
        self._changed = threading.Condition()
        self._waiting = Memory()
        self._in_flight: Batch | None = None
        self._leaving: list[Batch] = []  # of which it is not known yet whether the disk takes them
        self._channel = Channel(self._config.timeout)
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._courier = Courier(self._config, self._kept, self._put_down, self._hold)
        self._pace = self._courier.pace
        # whether there may be something on disk: other processes leave things there
        self._more = self._kept is not None
        self._holding = (
            self._kept is None
        )  # whether what waits for the server stays in memory: no disk, or not writable
        self._keeps = 0
        self._state: Literal["idle", "busy", "stuck"] = "idle"
        self._oldest = inf  # since when what has no answer longest has none
        self._is_left = False  # whether something was on disk that could not be sent yet, when it was looked at last
        self._generation = 0

    @property
    def dropped(self) -> int:
        """Spans that were lost to the limits of memory and disk."""
        return self._dropped + self._waiting.dropped + (self._kept.dropped if self._kept is not None else 0)

    @property
    def delivered(self) -> int:
        """Spans and scores that the server has taken."""
        return self._courier.delivered

    @property
    def refused(self) -> int:
        """Spans and scores that it will never take."""
        return self._courier.refused

    @property
    def last_reason(self) -> str:
        """Why something was not taken last, "" before."""
        return self._pace.last_reason

    @property
    def in_memory(self) -> int:
        """Spans and scores that are neither delivered nor on disk."""
        return sum(batch.records for batch in [*self._unanswered(), *self._leaving] if not batch.kept)

    def start(self) -> None:
        """Start the thread, before there is anything to send."""
        with self._condition():
            self._start()

    # --- the worker's side -------------------------------------------------------------------------------------------

    def submit(self, body: bytes, records: int) -> None:
        """Take an encoded batch of spans, or of scores."""
        batch = Batch(body, records, since=monotonic())
        with self._condition():
            first = self._in_flight
            stuck = first is not None and batch.since - first.since > _LATE_SECONDS  # it would wait behind a late one
            to_disk = stuck or self._waiting.is_full or batch.since < self._pace.blocked_until
        if to_disk and self._keep(batch, self.last_reason or _NO_ANSWER):
            return
        with self._changed:
            self._waiting.put(batch)
            is_sent = self._start() or can_start_later()
            self._note()
            self._changed.notify_all()
        if not is_sent and self._kept is not None:
            _log.warn_once(
                "Python 3.12 before 3.12.3 starts no thread once the main thread has ended. What is recorded "
                f"waits in the outbox; `{command()} sync` sends it."
            )

    def add_dropped(self, spans: int) -> bool:
        """Count spans that were dropped before they came here; True when a store keeps the count."""
        self._dropped += spans
        if self._kept is None:
            return False
        self._kept.add_dropped(spans)
        return True

    def tick(self) -> float | None:
        """Keep on disk what waits too long for its answer; try the disk's batches again when their time has come."""
        self._channel.cut_if_late()
        self._keep_late()
        now = monotonic()
        with self._condition():
            self._more = self._more or self._pace.has_come()
            busy = bool(self._waiting or self._in_flight)
            if not busy and self._more and now >= self._pace.blocked_until:
                self._start()
                self._changed.notify_all()
        counted = self._kept is None or self._kept.count_dropped()
        if busy:
            return 0.25
        if self._more:
            return max(0.1, self._pace.blocked_until - now)
        if not counted:
            return _UNCOUNTED_SECONDS
        return None if self._pace.look_at == inf else max(0.1, self._pace.look_at - now)

    def _keep_late(self) -> None:
        now = monotonic()
        with self._changed:
            late = [batch for batch in self._unanswered() if not batch.kept and now - batch.since > _LATE_SECONDS]
        for batch in late:
            if not self._keep(batch, _NO_ANSWER, ahead=2 * self._config.timeout + 2):
                break  # each would wait for whoever is writing

    def is_done(self) -> bool:
        """Whether nothing is left to be sent, on disk neither, or to be counted."""
        with self._changed:
            return not (self._waiting or self._in_flight or self._more or (self._kept and self._kept.uncounted))

    def hasten(self) -> None:
        """Send at once what waits, what is on disk too: somebody wants to know."""
        with self._condition():
            self._pace.blocked_until = 0.0
            self._more = self._kept is not None
            self._start()
            self._note()
            self._changed.notify_all()

    def look(self) -> None:
        """See whether something is on disk where no thread can do that: Python 3.12 starts none in exit handlers."""
        if self._thread is None and self._kept is not None:
            self._kept.end_by(monotonic() + _LOOKING_SECONDS)
            more = self._kept.waits()
            with self._changed:
                self._more = more
                self._note()

    def wait(self, deadline: float) -> bool:
        """Wait until nothing is left to be sent, or what is left is as safe as it can be; True if nothing is left.

        It takes no lock and touches no file, for it runs on threads of the host's: an exception that a signal handler or a
        time limit raises here leaves nothing locked, and a handler may flush as well.
        """
        pause = _SHORTEST_LOOK
        while self._state == "busy" and (left := answer_seconds(deadline)) > 0:
            sleep(min(left, pause))
            pause = min(2 * pause, _LONGEST_LOOK)
        return self._state == "idle" and not self._is_left

    def flush(self, deadline: float) -> bool:
        """Send everything, what is on disk too, and wait for the answers, where nobody else ticks; True if nothing is left."""
        self.hasten()
        self.look()
        while self._state == "busy" and (left := answer_seconds(deadline)) > 0:
            self.wait(monotonic() + min(left, _LONGEST_LOOK))
            self.tick()
        return self.wait(0.0)

    def settle(self, deadline: float) -> bool:
        """Wait until what was taken before is delivered, or has been tried and is on disk; True if all of it is that safe.

        The worker puts what is late on disk meanwhile. No lock is taken, see `wait`.
        """
        asked = monotonic()
        pause = _SHORTEST_LOOK
        while self._oldest <= asked and self._state == "busy" and (left := deadline - monotonic()) > 0:
            sleep(min(left, pause))
            pause = min(2 * pause, _LONGEST_LOOK)
        return self._oldest > asked or not self.in_memory

    def close(self, deadline: float, answers_by: float) -> bool:
        """Flush until `answers_by`, and keep the rest on disk by the deadline."""
        delivered = self.flush(answers_by)
        with self._changed:
            self._stopping = True
            self._generation += 1
            left = self._leaving = self._unanswered()
            self._in_flight = None
            self._waiting.clear()
            self._changed.notify_all()
        reason = self.last_reason or "the process ended"
        lost = []
        for batch in left:
            if self._kept is not None:
                self._kept.end_by(deadline)
            if not self._keep(batch, reason) and not batch.kept:
                lost.append(batch)
        self._dropped += sum(batch.records for batch in lost)
        self._channel.end()  # what is under way is kept or counted as lost: nobody waits for its answer
        with self._changed:
            self._thread = None
            self._leaving = []
            self._stopping = False
            self._note()
        if self._kept is not None:
            self._kept.close()
        if lost:
            why = "for POCKETFLOW_TRACE_STORE is off" if self._kept is None else "for the store cannot be written"
            what = "scores" if all(batch.of_scores for batch in lost) else "spans"
            number = sum(batch.records for batch in lost)
            _log.warn("%d %s could not be delivered to Langfuse and are lost, %s", number, what, why)
        return delivered

    def abandon(self) -> None:
        """Begin anew in a forked child."""
        self._reset()

    def hurry(self, *, refused: bool) -> None:
        """Put nothing off any longer; send what was refused once more, too."""
        if self._kept is not None:
            self._kept.hurry()
            if refused:
                self._kept.reconsider()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _condition(self) -> threading.Condition:
        """Return the one for who may start a thread."""
        if self._thread is None:
            self._changed = of_now(self._changed)
        return self._changed

    def _start(self) -> bool:
        if self._thread is None or not self._thread.is_alive():
            self._thread = start_thread(self._run, "pocketflow-tracing-sender", self._generation)
        return self._thread is not None  # else what waits goes to the outbox

    def _run(self, generation: int) -> None:
        channel = self._channel = Channel(self._config.timeout)  # of this thread: a former one may still be waiting
        while self._await_work(channel, generation):
            with _SENDING:
                self._send_next(channel, generation)
                continue
            with self._changed:  # an error of ours: what was in flight is kept for another time
                if self._in_flight is not None and generation == self._generation:
                    self._waiting.put(self._in_flight, again=True)
                    self._in_flight = None
                self._note()
            with _SENDING:  # a log handler of the host's may fail
                self._courier.block(Answer("later", "an error in pocketflow-tracing"))
            with self._changed:
                self._note()
        with _SENDING:
            channel.close()

    def _await_work(self, channel: Channel, generation: int) -> bool:
        """Wait until there is something to do; False when this thread is to end."""
        with self._changed:
            while not self._has_work() and generation == self._generation and not self._stopping:
                pause = self._pace.blocked_until - monotonic() if self._waiting else 0.0
                is_safe = self._more and not self._waiting  # on disk: the worker starts a thread when it is time to try
                seconds = pause if pause > 0 else _SAFE_SECONDS if is_safe else _IDLE_SECONDS
                if not wait_unseen(self._changed.wait, seconds):
                    with _SENDING:
                        channel.close()  # an idle process holds no connection
                    if is_safe and not self._has_work() and can_start_later():
                        self._thread = None
                        return False
            return generation == self._generation and not self._stopping

    def _has_work(self) -> bool:
        if self._pace.is_blocked:
            return bool(self._waiting) and not self._holding  # it goes to disk
        return bool(self._waiting) or self._more

    def _note(self) -> None:
        """Say for who waits how things stand; the lock is held."""
        self._oldest = min((batch.since for batch in self._unanswered()), default=inf)
        if not (self._waiting or self._in_flight or self._more):
            self._state = "idle"
        else:  # else it has been tried and did not work, or there is nobody to try it
            is_under_way = self._in_flight is not None or self._has_work()
            self._state = "busy" if is_under_way and self._thread is not None else "stuck"

    def _send_next(self, channel: Channel, generation: int) -> None:
        with self._changed:
            if generation != self._generation:
                return
            batch = self._in_flight = self._waiting.take()
        if batch is None:
            keeps = self._keeps
            found = self._kept.look(lambda: not self._waiting) if self._kept is not None else Found(None)
            batch = found.batch
            with self._changed:
                is_given_up = generation != self._generation
                if not is_given_up:
                    self._is_left = found.is_left
                    self._pace.look_in(found.due_in)
                    self._in_flight = batch
                    self._more = batch is not None or keeps != self._keeps or found.is_put_off
                    self._note()
            if is_given_up and batch is not None:
                self._keep(batch, self.last_reason or _NO_ANSWER)  # nobody would send it while it is leased
                return
        if batch is not None:
            self._courier.send(batch, channel, lambda: generation != self._generation)
            with self._changed:
                if generation == self._generation:
                    self._in_flight = None
                self._note()

    # --- what is not sent yet ----------------------------------------------------------------------------------------

    def _open_kept(self, path: str) -> Kept:
        with unforked():
            from ._kept import Kept  # noqa: PLC0415 - sqlite3 only where there is a store

        return Kept(self._config, path, self._unanswered)

    def _unanswered(self) -> list[Batch]:
        return ([self._in_flight] if self._in_flight else []) + list(self._waiting)

    def _put_down(self, batch: Batch, reason: str, pause: float) -> bool:
        kept = self._keep(batch, reason, pause=pause)
        self._holding = not kept
        return kept

    def _hold(self, batch: Batch) -> None:
        with self._changed:
            self._waiting.put(batch, again=True)

    def _keep(self, batch: Batch, reason: str, *, ahead: float = 0.0, pause: float = 0.0) -> bool:
        kept = self._kept is not None and self._kept.keep(batch, reason, ahead=ahead, pause=pause)
        if kept and not pause:
            with self._changed:
                self._more = True
                self._keeps += 1
        return kept
