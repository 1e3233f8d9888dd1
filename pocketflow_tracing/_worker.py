"""The thread that empties the queue: it makes records of spans and gives them to the sinks of their run.

It starts with the first record and sleeps while there is nothing to do. Where no thread can be started any more, who asks
for a flush does its work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from math import inf
from typing import Any

from . import _log
from ._queue import SpanQueue
from ._queue_items import Marker, count_spans
from ._sinks import DELIVERING, Sinks
from ._threads import Wake, can_start, start_thread, wait_unseen
from ._time import breathe, monotonic

__all__ = ["Worker"]

_OF_THE_SYSTEM = threading._MainThread  # type: ignore[attr-defined]  # noqa: SLF001 - no other way to tell it
_BATCH = 1000
"""Spans taken from the queue at a time: few enough that one transaction or request stays short."""
_STARTING_SECONDS = 1.0
"""How long who starts the worker waits for its sinks: none of their threads can be started when the interpreter shuts down."""
_ENDS_SECONDS = 0.1
"""For the roots of runs that are given up, at the end of the process."""
_ALONE_SECONDS = 0.2
"""Between two looks whether the program has ended, in a child that a thread of its parent's forked."""
_CLOSING_SECONDS = 2.0
"""For the sinks, in such a child."""
_STARTING_WAIT = 0.2
"""Seconds that a signal handler waits for a worker which the code that it interrupts is just starting."""


class Worker:
    """One a process, with its queue.

    Args:
        sinks: that get what it makes.
        on_start: is called once its thread runs, in each process.
    """

    def __init__(self, sinks: Sinks, on_start: Callable[[], None]) -> None:
        self._sinks = sinks
        self._on_start = on_start
        self.interval = 0.5  # seconds in which a batch gathers
        self.queue = SpanQueue(self.rouse)
        self.reset()

    def reset(self) -> None:
        """Begin anew, without a thread: the one that there was is not in this forked process."""
        self.queue.reset()
        self.dropped = 0  # spans, so far
        self.lost = 0  # those among them that came too late at the end of the process
        self.in_hand = 0  # complete spans that it has taken and not handed on
        self.last_moment = inf  # of `time.monotonic`, from which on no more records are made: the process ends
        self.threadless = False  # none can be started any more: the interpreter shuts down
        self._wake = Wake()
        self._urgent = False  # whether somebody waits for a flush
        self._hurried = False  # whether a sink has something to do that is not to wait until a batch has gathered
        self._starting = threading.RLock()
        self._starter: int | None = None  # the thread in the midst of it: a flow may run in a signal handler there
        self._thread: threading.Thread | None = None

    @property
    def runs(self) -> bool:
        """Whether it has a thread."""
        return self._thread is not None

    def ask(self, deadline: float, *, closing: bool) -> tuple[bool, bool]:
        """Wait until it comes to what is put into the queue now, and flushes or closes the sinks.

        Args:
            deadline: of `time.monotonic`.
            closing: whether the sinks are to be closed, and its thread is to end.

        Returns:
            Whether it came there in time, and whether every sink answered that all is accepted.
        """
        marker = Marker(deadline, closing)
        self._urgent = True
        self.queue.put_other(marker)
        self.rouse()
        seconds = deadline - monotonic()
        if self.threadless:
            self.work_here(deadline)
            seconds = 0.0
        elif self._starter == threading.get_ident():
            seconds = min(seconds, _STARTING_WAIT)  # it may not run before we return
        reached = marker.reached.wait(max(0.0, seconds))
        return reached, reached and marker.delivered

    def rouse(self) -> None:
        """Wake it, or start it."""
        self.queue.idle = False
        if self._thread is None or not self._thread.is_alive():
            self.start()
        self._wake.set()

    def hurry(self) -> None:
        """Have it come to the sinks at once."""
        self._hurried = True
        self.rouse()

    def start(self) -> None:
        """Start its thread, if there is none."""
        if not can_start():
            self.queue.idle = True  # the next record that comes elsewhere does it
            return
        with self._starting:
            if self._starter is not None or (self._thread is not None and self._thread.is_alive()):
                return
            try:
                self._starter = threading.get_ident()
                # beside its thread: both are of gevent's kind or neither, whenever that comes into a program
                self._wake, sinks_are_ready = Wake(), Wake()
                self._thread = start_thread(self._work, "pocketflow-tracing", sinks_are_ready)
            finally:
                self._starter = None
            self.threadless = self._thread is None
            if self._thread is None:
                return
            sinks_are_ready.wait(_STARTING_SECONDS)
            self._on_start()

    def work_here(self, deadline: float) -> None:
        """Do its work on the caller's thread, for none can be started; one thread at a time."""
        with self._starting, DELIVERING:
            while self.queue and monotonic() < deadline and not self._round():
                pass

    def _work(self, sinks_are_ready: Wake) -> None:
        # not on the host's thread, where a signal handler may strike and flush: it would wait for what it interrupts
        self._sinks.start(anew=True)
        sinks_are_ready.set()
        if self._is_of_the_system(threading.main_thread()):
            _log.speaker.stand_by()
        while True:
            with DELIVERING:
                if self._round() or self._ends_alone():
                    return

    def _round(self) -> bool:
        """One turn; True when it is to stop."""
        _log.say_waiting()
        self._sinks.start()
        if not self.queue:
            self._hurried = False
            due = self._sinks.tick()
            has_more = bool(due) and min(due) <= 0.0  # to do at once
            self.queue.idle = True
            if not self.queue:  # a record that came in between has seen `idle` False and woke nobody
                wait_unseen(self._wake.wait, self._until(min(due) if due else None))
            self._wake.clear()
            self.queue.idle = False
            self._sinks.start()  # a new one may have woken us
            if not self.queue:
                return False  # something is due, or was done already
            if not (self._urgent or self._hurried or has_more or self.queue.is_pressing):
                self._sinks.expect(self.queue.first_run())
                self._wake.wait(self.interval)  # let a batch gather; a flush wakes us
        self._hurried = False
        if monotonic() > self.last_moment:
            batch: list[Any] = []
            marker = self._give_up()
        else:
            batch, marker = self.queue.take(_BATCH)
        try:
            if batch and (late := self._deliver(batch)):
                # to be given up with what is behind them
                self.queue.put_back(late if marker is None else [*late, marker])
                marker = None
            batch.clear()  # and with it its runs, which use their sinks
        finally:
            stop = self._answer(marker) if marker is not None else False
        if not stop:
            self._sinks.tick()
        return stop

    def _until(self, seconds: float | None) -> float | None:
        """How long it may sleep."""
        if self._is_of_the_system(threading.main_thread()):
            return seconds
        return _ALONE_SECONDS if seconds is None else min(seconds, _ALONE_SECONDS)

    def _ends_alone(self) -> bool:
        """Close the sinks and stop where the program has ended; True then.

        A child that a thread forked ends when that one does and no other is left, and runs no exit handlers: daemon threads
        would keep it for ever, ours too.
        """
        main = threading.main_thread()
        if self._is_of_the_system(main) or main.is_alive() or self.queue:
            return False
        if any(not thread.daemon and thread.is_alive() for thread in threading.enumerate()):
            return False
        self._sinks.close(monotonic() + _CLOSING_SECONDS)
        return self._stops()

    @staticmethod
    def _is_of_the_system(main: threading.Thread) -> bool:
        """Whether the main thread is the one with which the process began, and not one that was forked."""
        return type(main) is _OF_THE_SYSTEM

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

    def _deliver(self, batch: list[Any]) -> list[Any]:
        """Make records of a batch and give them to the sinks; returns those that are too late, at the end of the process."""
        # rendering is only needed on the worker, and there since a flow was marked; an `import` would ask
        # `builtins.__import__`, which a program may guard while it runs code of others
        shares = import_module("._sink_shares", __package__).Shares()
        self.in_hand = count_spans(batch)
        late: list[Any] = []
        for number, item in enumerate(batch):
            if monotonic() > self.last_moment:
                late = batch[number:]
                break
            breathe()
            with DELIVERING:
                shares.add(item)
                continue
            self.dropped += 1  # no record could be made of it
        self._hand_on(shares)
        self.in_hand = 0
        if dropped := self.queue.take_dropped():
            self.dropped += dropped
            self._sinks.add_dropped(dropped)
        return late

    def _hand_on(self, shares: Any) -> None:
        for share in shares:
            if not self._sinks.give(share):
                self.dropped += len(share.finished)
            self.in_hand = max(self.in_hand - len(share.finished), 0)  # from now on it is the sinks' to say
        for share in shares:
            share.let_go()

    def _give_up(self) -> Marker | None:
        """Let go of what waits and is too late to be delivered; returns who ends the process."""
        self.in_hand = self.queue.waiting  # for who ends meanwhile
        given_up = self.queue.give_up()
        self._count_lost(given_up.lost)
        self.in_hand = 0
        if given_up.ends:
            shares = import_module("._sink_shares", __package__).Shares()
            until = monotonic() + _ENDS_SECONDS
            for number, span in enumerate(given_up.ends):
                if monotonic() > until:
                    self._count_lost(len(given_up.ends) - number)
                    break
                with DELIVERING:
                    shares.add(span)
            self._hand_on(shares)
        for marker in given_up.markers[:-1]:
            marker.reached.set()
        return given_up.markers[-1] if given_up.markers else None

    def _count_lost(self, spans: int) -> None:
        self.lost += spans
        self.dropped += spans
        self._sinks.add_dropped(spans)
