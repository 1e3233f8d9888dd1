"""From the caller to the sinks: one queue and one daemon worker a process, and what `flush`, exits and forks mean to them.

The caller appends to the queue and goes on; the worker does the rest. Nothing happens at import; a forked child begins with
an empty queue and a worker of its own.
"""

from __future__ import annotations

import threading
from atexit import register as call_at_exit
from math import inf
from typing import TYPE_CHECKING, Any

from . import _log
from ._ends import end_with_multiprocessing, hurry, is_ending
from ._forks import in_forked_child, see_to_fork
from ._guard import Seam, is_hosts, on_our_thread
from ._settings_kinds import shown
from ._sinks import DELIVERING, Sinks
from ._time import monotonic
from ._worker import Worker

if TYPE_CHECKING:
    from ._pipeline import Pipeline
    from ._sink import Sink
    from .recorder import Run

__all__ = ["Delivery", "delivery", "flush", "shutdown"]

_WAITING = Seam("waiting for what was recorded to be delivered")
_LAST_RECORDS = 0.7
"""The part of an exit's time in which records are made; the rest is for what is made, and to let go of what is not."""
_HURRIED_SECONDS = 0.5
"""For what a Ctrl-C during the end of the process finds: it is kept, and no server is waited for."""
_MOST_HURRIES = 5
"""Signals that are borne with meanwhile."""
_LEAST_SECONDS = 0.1
"""For each flow of an exit handler, to keep what it has recorded …"""
_GRACE_SECONDS = 1.0
"""… and for all that come after the time that the end may take."""
_SAYING_SECONDS = 0.3
"""For what is said meanwhile: a log handler takes milliseconds, or much longer."""
_LONGEST_WAIT = 1e6
"""Seconds that somebody may wait for a flush; the system knows no longer ones."""


class Delivery:
    """The queue, its worker and the sinks of the process."""

    def __init__(self) -> None:
        self._sinks = Sinks()
        self._worker = Worker(self._sinks, on_start=self._end_with_others)
        self._at_exit_registered = False
        self.shutdown_timeout = 2.0
        self.queue = self._worker.queue
        self._reset()

    def _reset(self) -> None:
        hurry(on=False)
        self._told = threading.local()  # `lost` of what each thread's last flush has told it
        self._ends_by = inf  # of `time.monotonic`: the time that the end of the process may take
        self._was_reached = True  # whether the worker came to the last marker in time
        self._is_over = False  # whether nobody will call `_at_exit` any more
        self._has_ended = False  # whether it has been called, to its end
        self._is_with_others = False  # whether the ends of multiprocessing and its kin call it

    def add_sink(self, sink: Sink) -> None:
        """Make a sink known to flush and shutdown.

        Our exit handler is registered here, before the SDK client and its tracer provider register theirs: the last
        registered runs first, so what they export at exit still finds us.
        """
        if not self._at_exit_registered:
            call_at_exit(self._at_exit)
            self._at_exit_registered = True  # now: a time limit may strike in between, and twice does no harm
            self._is_over = self._has_ended = is_ending()  # too late to be called
        self._sinks.append(sink)
        if self._worker.runs:
            self._worker.rouse()  # its threads are started there

    def use(self, sink: Sink, pipeline: Pipeline) -> None:
        """Note who uses a sink: without users it is let go of, when it is done."""
        self._sinks.uses.add(sink, pipeline)

    def ready(self) -> None:
        """Start the worker, if it does not run yet: a run's clock starts after what only the first run waits for."""
        if not self._worker.runs:
            self._worker.start()

    def rouse(self, sink: Sink) -> None:
        """Have the worker come to a sink at once, which may have been let go of."""
        if sink not in self._sinks:
            self._sinks.append(sink)
        self._worker.hurry()

    @property
    def last_moment(self) -> float:
        """Of `time.monotonic`, from which on no more records are made: the process ends. Infinite before."""
        return self._worker.last_moment

    def configure(self, interval: float, shutdown_timeout: float, queue_size: int, queue_bytes: int) -> None:
        """Take the settings of a configuration; the process has one delivery, so the last one counts.

        Args:
            interval: seconds in which a batch gathers.
            shutdown_timeout: seconds that the end of the process may wait.
            queue_size: spans that may wait in memory.
            queue_bytes: bytes that they may take, estimated.
        """
        self._worker.interval = interval
        self.shutdown_timeout = shutdown_timeout
        self.queue.most_spans = queue_size
        self.queue.bound_bytes(queue_bytes)

    def flush(self, timeout: float | None = None) -> bool:
        """See `flush` below."""
        return self._asked(_seconds(timeout, 30.0), closing=False)

    def shutdown(self, timeout: float | None = None) -> bool:
        """See `shutdown` below."""
        return self._asked(_seconds(timeout, self.shutdown_timeout), closing=True)

    def completed(self, run: Run) -> None:
        """Note that a run has ended."""
        self.queue.completed(run)
        if self._is_over and (self._has_ended or threading.current_thread() is threading.main_thread()):
            self._keep_at_the_end()
        elif self._worker.threadless and not threading.main_thread().is_alive():
            self._worker.work_here(inf)  # others go on when it has ended, and can start no thread of ours (Python 3.12)
        elif self._worker.runs:
            self._sinks.await_making(run)

    @property
    def is_ending(self) -> bool:
        """Whether this is the end of the process."""
        return self._has_ended or self.last_moment < inf

    def keep_late(self) -> None:
        """Deliver or keep what exit handlers that run after ours have recorded; before the end of the process nothing."""
        if self._has_ended and self._sinks.in_memory:
            self._keep_at_the_end()

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
                "what flows recorded in exit handlers could neither be delivered nor kept in time; "
                "what is not when the process ends is lost"
            )
        _log.say_the_last(_SAYING_SECONDS)

    def _mark(self, timeout: float, *, closing: bool) -> bool:
        if on_our_thread.get():  # a log handler or a mask of the host's that flushes: it would wait for itself
            return False
        see_to_fork()
        deadline = monotonic() + timeout
        if not (self._sinks or self.queue):
            accepted = True  # nothing is left, and nobody to ask
        elif self._is_over and not self._worker.runs and not self.queue:
            self._was_reached = True
            accepted = self._sinks.close(deadline) if closing else self._sinks.hand_on(deadline)
        else:  # on the worker, also where it has to be started for it: exceptions of the host's strike on this thread
            self._was_reached, accepted = self._worker.ask(deadline, closing=closing)
        if not closing:  # here and not on the worker, which others need: there may be a server to wait for
            accepted = self._sinks.flush(deadline if not self._worker.threadless else monotonic()) and accepted
        return accepted

    def _asked(self, seconds: float, *, closing: bool) -> bool:
        until = monotonic() + seconds
        accepted = self._told_to_thread(self._mark(seconds, closing=closing))
        _log.speaker.wait(min(until - monotonic(), _SAYING_SECONDS))
        return accepted

    def _told_to_thread(self, accepted: bool) -> bool:
        """The answer for a thread, which hears of all that was lost since its last one."""
        lost = self._worker.dropped + self.queue.dropped + self._sinks.lost
        before, self._told.lost = getattr(self._told, "lost", 0), lost
        return accepted and lost <= before

    # --- ends and forks ----------------------------------------------------------------------------------------------

    def _at_exit(self) -> None:
        try:
            for seconds in (self.shutdown_timeout, *[_HURRIED_SECONDS] * _MOST_HURRIES):
                try:
                    _log.speaker.is_at_the_end = True
                    self._end(seconds)
                    _log.say_the_last(max(_SAYING_SECONDS, self._ends_by - monotonic()))
                    break
                except BaseException:  # noqa: BLE001 - the host's (Ctrl-C, a second SIGTERM), which nobody catches any more
                    hurry()
        finally:
            self._has_ended = True

    def _end(self, seconds: float) -> None:
        """Shut down in time, and say what is lost; what comes out of it is a signal handler's."""
        see_to_fork()
        self._is_over = True
        self._ends_by = monotonic() + seconds
        with DELIVERING:
            if not self._worker.runs and not self.queue:
                # nothing but what the SDK client has recorded since, or what no thread could be started for
                self._sinks.hand_on(monotonic() + seconds)
                if not self._sinks.in_memory:
                    return
            self._worker.last_moment = monotonic() + _LAST_RECORDS * seconds
            try:
                self.shutdown(seconds)
            finally:
                self._worker.last_moment = inf
            lost, late = self._lost_and_late()
            if not self._was_reached:
                lost, late = lost + late + self._sinks.in_memory, 0
            if lost:
                _log.warn(
                    "%d spans are lost, for they could not be made ready before the process had to end "
                    "(POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT is %g seconds)",
                    lost,
                    self.shutdown_timeout,
                )
            if late:
                _log.warn("%d spans are lost that other threads recorded while the process ended", late)

    def _lost_and_late(self) -> tuple[int, int]:
        """The spans that were too many for the worker, and those that came after it: it may just be counting some."""
        given_up = self.queue.give_up()
        late = given_up.lost + len(given_up.ends)
        lost, in_hand = self._worker.lost, self._worker.in_hand
        while lost != self._worker.lost:
            lost, in_hand = self._worker.lost, self._worker.in_hand
        return lost, late + in_hand

    def _end_with_others(self) -> None:
        if not self._is_with_others:
            self._is_with_others = True
            with DELIVERING:
                end_with_multiprocessing(self._at_exit)

    def _after_fork(self) -> None:
        _log.begin_anew()
        self._worker.reset()
        self._reset()
        self._sinks.abandon()


def _seconds(timeout: Any, default: float) -> float:
    try:
        return default if timeout is None else min(float(timeout), _LONGEST_WAIT)
    except (TypeError, ValueError, OverflowError) as error:
        if is_hosts(error):
            raise
        _log.warn_once(f"a timeout is a number of seconds, not {shown(timeout)}; {default:g} is taken.")
        return default


delivery = Delivery()


def flush(timeout: float | None = None) -> bool:
    """Wait until everything recorded before the call has been delivered.

    Args:
        timeout: seconds; 30 without it, or where it is no number.

    Returns:
        True only if every sink accepted everything.
    """
    with _WAITING:
        return delivery.flush(timeout)
    return False


def shutdown(timeout: float | None = None) -> bool:
    """Flush, keep what cannot be delivered in the outbox, and stop the worker; a later run starts it again.

    Args:
        timeout: seconds; `shutdown_timeout` of the configuration without it.

    Returns:
        True only if every sink accepted everything.
    """
    with _WAITING:
        return delivery.shutdown(timeout)
    return False


in_forked_child(delivery._after_fork)  # noqa: SLF001 - its own module
