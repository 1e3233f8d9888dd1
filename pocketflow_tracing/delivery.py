"""From the caller to the sinks: one queue and one daemon worker a process.

The caller appends to a deque and goes on. The worker starts with the first record, makes records of spans, and gives them to
the sinks of their run. Nothing happens at import; a forked child begins with an empty queue and a worker of its own.
"""

from __future__ import annotations

import atexit
import os
import threading
from math import inf
from typing import TYPE_CHECKING, Any

from . import _log
from ._ends import end_with_multiprocessing, is_ending
from ._guard import on_our_thread
from ._queue import Marker, SpanQueue, count_spans
from ._sinks import DELIVERING, Sinks
from ._threads import Wake, start_thread
from ._time import breathe, monotonic

if TYPE_CHECKING:
    from ._pipeline import Pipeline
    from ._sink import Sink
    from .recorder import Run

__all__ = ["Delivery", "delivery", "flush", "shutdown"]

_BATCH = 1000
"""Spans taken from the queue at a time: few enough that one transaction or request stays short."""

_LAST_RECORDS = 0.7
"""The part of an exit's time in which records are made; the rest is for what is made, and to let go of what is not."""
_LEAST_SECONDS = 0.1
"""For each flow of an exit handler, to keep what it has recorded …"""
_GRACE_SECONDS = 1.0
"""… and for all that come after the time that the end may take."""
_LONGEST_WAIT = 1e6
"""Seconds that somebody may wait for a flush; the system knows no longer ones."""
_STARTING_SECONDS = 1.0
"""How long who starts the worker waits for its sinks: none of their threads can be started when the interpreter shuts down."""
_STARTING_WAIT = 0.2
"""Seconds that a signal handler waits for a worker which the code that it interrupts is just starting."""


class Delivery:
    """The queue, its worker and the sinks of the process."""

    def __init__(self) -> None:
        self._sinks = Sinks()
        self._at_exit_registered = False
        self.interval = 0.5
        self.shutdown_timeout = 2.0
        self.queue = SpanQueue(self._rouse)
        self._reset()

    def _reset(self) -> None:
        self.queue.reset()
        self._wake = Wake()
        self._urgent = False  # whether somebody waits for a flush
        self._starting = threading.RLock()
        self._starter: int | None = None  # the thread in the midst of it: a flow may run in a signal handler there
        self._thread: threading.Thread | None = None
        self._threadless = False  # none can be started any more: the interpreter shuts down
        self._dropped = 0  # spans, so far
        self._told = threading.local()  # `lost` of what each thread's last flush has told it
        self._lost = 0  # spans that came too late at the end of the process
        self._in_hand = 0  # complete spans that the worker has taken and not handed on
        self._last_moment = inf  # of `time.monotonic`, from which on no more records are made: the process ends
        self._ends_by = inf  # of `time.monotonic`: the time that the end of the process may take
        self._was_reached = True  # whether the worker came to the last marker in time
        self._is_over = False  # whether nobody will call `_at_exit` any more
        self._has_ended = False  # whether it has been called, to its end
        self._ends_with_others = False  # whether the ends of multiprocessing and its kin call it

    def add_sink(self, sink: Sink) -> None:
        """Make a sink known to flush and shutdown.

        Our exit handler is registered here, before the SDK client and its tracer provider register theirs: the last
        registered runs first, so what they export at exit still finds us.
        """
        if not self._at_exit_registered:
            self._at_exit_registered = True
            atexit.register(self._at_exit)
            self._is_over = self._has_ended = is_ending()  # too late to be called
        self._sinks.append(sink)
        if self._thread is not None:
            self._rouse()  # its threads are started there

    def use(self, sink: Sink, pipeline: Pipeline) -> None:
        """Note who uses a sink: without users it is let go of, when it is done."""
        self._sinks.uses.add(sink, pipeline)

    def ready(self) -> None:
        """Start the worker, if it does not run yet: a run's clock starts after what only the first run waits for."""
        if self._thread is None:
            self._start()

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
        self.queue.most_spans = queue_size
        self.queue.bound_bytes(queue_bytes)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything recorded before the call has been delivered.

        Args:
            timeout: seconds; 30 without it, or where it is no number.

        Returns:
            True only if every sink accepted everything.
        """
        return self._told_to_thread(self._mark(_seconds(timeout, 30.0), closing=False))

    def shutdown(self, timeout: float | None = None) -> bool:
        """Flush, keep what cannot be delivered in the outbox, and stop the worker; a later run starts it again.

        Args:
            timeout: seconds; `shutdown_timeout` of the configuration without it.

        Returns:
            True only if every sink accepted everything.
        """
        return self._told_to_thread(self._mark(_seconds(timeout, self.shutdown_timeout), closing=True))

    def completed(self, run: Run) -> None:
        """Note that a run has ended."""
        self.queue.completed(run)
        if self._is_over and (self._has_ended or threading.current_thread() is threading.main_thread()):
            self._keep_at_the_end()
        elif self._threadless and not threading.main_thread().is_alive():
            self._work_here(inf)  # others go on when it has ended, and can start no thread of ours (Python 3.12)

    def _keep_at_the_end(self) -> None:
        """Deliver what a flow in an exit handler has recorded, or keep it: all of them share the time that the end may take."""
        now = monotonic()
        if self._ends_by == inf:
            self._ends_by = now + self.shutdown_timeout
        has_time = now < self._ends_by + _GRACE_SECONDS
        if has_time:
            # a server that answers takes milliseconds; else what is recorded is kept, for this may be the last flow
            accepted = self._mark(max(_LEAST_SECONDS, self._ends_by - now) / 4, closing=False)
            if not (accepted or (self._was_reached and self._sinks.in_memory == 0)):
                self._mark(max(_LEAST_SECONDS, self._ends_by - monotonic()), closing=True)
        if not (has_time and self._was_reached):
            _log.warn_once(
                "pocketflow-tracing: what flows recorded in exit handlers could neither be delivered nor kept in time; "
                "what is not when the process ends is lost"
            )

    # --- the worker --------------------------------------------------------------------------------------------------

    def _mark(self, timeout: float, *, closing: bool) -> bool:
        if on_our_thread.get():  # a log handler or a mask of the host's that flushes: it would wait for itself
            return False
        deadline = monotonic() + timeout
        if not (self._sinks or self.queue):
            accepted = True  # nothing is left, and nobody to ask
        elif self._is_over and self._thread is None and not self.queue:
            self._was_reached = True
            accepted = self._sinks.close(deadline) if closing else self._sinks.hand_on(deadline)
        else:  # on the worker, also where it has to be started for it: exceptions of the host's strike on this thread
            marker = Marker(deadline, closing)
            self._urgent = True
            self.queue.put_other(marker)
            self._rouse()
            if self._threadless:
                self._work_here(deadline)
                timeout = 0.0
            elif self._starter == threading.get_ident():
                timeout = min(timeout, _STARTING_WAIT)  # it may not run before we return
            self._was_reached = marker.reached.wait(timeout)
            accepted = self._was_reached and marker.delivered
        if not closing:  # here and not on the worker, which others need: there may be a server to wait for
            accepted = self._sinks.flush(deadline if not self._threadless else monotonic()) and accepted
        return accepted

    def _told_to_thread(self, accepted: bool) -> bool:
        """The answer for a thread, which hears of all that was lost since its last one."""
        lost = self._dropped + self.queue.dropped + self._sinks.lost
        before, self._told.lost = getattr(self._told, "lost", 0), lost
        return accepted and lost <= before

    def _work_here(self, deadline: float) -> None:
        """Do what the worker would do, for no thread can be started; one thread at a time."""
        with self._starting, DELIVERING:
            while self.queue and monotonic() < deadline and not self._round():
                pass

    def _rouse(self) -> None:
        self.queue.idle = False
        if self._thread is None or not self._thread.is_alive():
            self._start()
        self._wake.set()

    def _start(self) -> None:
        with self._starting:
            if self._starter is not None or (self._thread is not None and self._thread.is_alive()):
                return
            self._starter = threading.get_ident()
            # beside its thread: both are of gevent's kind or neither, whenever that comes into a program
            self._wake, sinks_are_ready = Wake(), Wake()
            try:
                self._thread = start_thread(self._work, "pocketflow-tracing", sinks_are_ready)
            finally:
                self._starter = None
            self._threadless = self._thread is None
            if self._thread is None:
                return
            sinks_are_ready.wait(_STARTING_SECONDS)
            if not self._ends_with_others:
                self._ends_with_others = True
                with DELIVERING:
                    end_with_multiprocessing(self._at_exit)

    def _work(self, sinks_are_ready: Wake) -> None:
        # not on the host's thread, where a signal handler may strike and flush: it would wait for what it interrupts
        self._sinks.start(anew=True)
        sinks_are_ready.set()
        while True:
            with DELIVERING:
                if self._round():
                    return

    def _round(self) -> bool:
        """One turn of the worker; True when it is to stop."""
        self._sinks.start()
        if not self.queue:
            due = self._sinks.tick()
            self.queue.idle = True
            if not self.queue:  # a record that came in between has seen `_idle` False and woke nobody
                self._wake.wait(min(due) if due else None)
            self._wake.clear()
            self.queue.idle = False
            self._sinks.start()  # a new one may have woken us
            if not self.queue:
                return False  # something is due, or was done already
            if not self._urgent:
                self._sinks.expect(self.queue.first_run())
                self._wake.wait(self.interval)  # let a batch gather; a flush wakes us
        if monotonic() > self._last_moment:
            batch: list[Any] = []
            marker = self._give_up()
        else:
            batch, marker = self.queue.take(_BATCH)
        try:
            if batch:
                self._deliver(batch)
                batch.clear()  # and with it its runs, which use their sinks
        finally:
            stop = self._answer(marker) if marker is not None else False
        if not stop:
            self._sinks.tick()
        return stop

    def _answer(self, marker: Marker) -> bool:
        """Flush or close the sinks for who waits; True when the worker is to stop."""
        stop = False
        try:
            deadline = marker.deadline
            marker.delivered = self._sinks.close(deadline) if marker.closing else self._sinks.hand_on(deadline)
        finally:
            if marker.closing:
                stop = self._stops()
            self._urgent = False
            marker.reached.set()
        return stop

    def _stops(self) -> bool:
        """Let no record be put to a worker that ends: it goes on where one has come meanwhile."""
        with self._starting:  # who has started this one notes that it runs
            worker, self._thread, self.queue.idle = self._thread, None, True
            if not self.queue:
                return True
            self._thread, self.queue.idle = worker, False
            return False

    def _deliver(self, batch: list[Any]) -> None:
        from ._shares import Shares  # noqa: PLC0415 - rendering is only needed on the worker, and there since a flow was marked

        shares = Shares()
        self._in_hand = count_spans(batch)
        for number, item in enumerate(batch):
            if monotonic() > self._last_moment:
                self._count_lost(count_spans(batch[number:]))
                break
            breathe()
            with DELIVERING:
                shares.add(item)
                continue
            self._dropped += 1  # no record could be made of it
        for share in shares:
            if not self._sinks.give(share):
                self._dropped += len(share.finished)
        self._in_hand = 0
        for share in shares:
            share.let_go()
        if dropped := self.queue.take_dropped():
            self._dropped += dropped
            self._sinks.add_dropped(dropped)

    def _give_up(self) -> Marker | None:
        """Let go of what waits and is too late to be delivered; returns who ends the process."""
        spans, markers = self.queue.give_up()
        self._count_lost(spans)
        for marker in markers[:-1]:
            marker.reached.set()
        return markers[-1] if markers else None

    def _count_lost(self, spans: int) -> None:
        self._lost += spans
        self._dropped += spans
        self._sinks.add_dropped(spans)

    # --- ends and forks ----------------------------------------------------------------------------------------------

    def _at_exit(self) -> None:
        try:
            self._end()
            _log.say_waiting()
        finally:
            self._has_ended = True

    def _end(self) -> None:
        self._is_over = True
        self._ends_by = monotonic() + self.shutdown_timeout
        with DELIVERING:
            if self._thread is None and not self.queue:
                # nothing but what the SDK client has recorded since, or what no thread could be started for
                self._sinks.hand_on(monotonic() + self.shutdown_timeout)
                if not self._sinks.in_memory:
                    return
            self._last_moment = monotonic() + _LAST_RECORDS * self.shutdown_timeout
            try:
                self.shutdown()
            except KeyboardInterrupt:  # the program has ended, and its user is in a hurry
                return
            finally:
                self._last_moment = inf
            lost, late = self._lost, self._in_hand + self.queue.give_up()[0]
            if not self._was_reached:
                lost, late = lost + late + self._sinks.in_memory, 0
            if lost:
                _log.warn(
                    "pocketflow-tracing: %d spans are lost, for they could not be made ready before the process had to end "
                    "(POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT is %g seconds)",
                    lost,
                    self.shutdown_timeout,
                )
            if late:
                _log.warn(
                    "pocketflow-tracing: %d spans are lost that other threads recorded while the process ended", late
                )

    def _after_fork(self) -> None:
        self._reset()
        self._sinks.abandon()


def _seconds(timeout: Any, default: float) -> float:
    try:
        return default if timeout is None else min(float(timeout), _LONGEST_WAIT)
    except (TypeError, ValueError, OverflowError):
        _log.warn_once(f"pocketflow-tracing: a timeout is a number of seconds, not {timeout!r}; {default:g} is taken.")
        return default


delivery = Delivery()
flush = delivery.flush
shutdown = delivery.shutdown

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=delivery._after_fork)  # noqa: SLF001 - its own module
