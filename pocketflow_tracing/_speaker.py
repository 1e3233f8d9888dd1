"""The thread that says our lines: a log handler of the program's (mail, HTTP) may take its time, or never return.

Nothing that is recorded waits for it, and the end of the process no longer than for the delivery.
"""

from __future__ import annotations

import _thread
import logging
from collections import deque
from collections.abc import Callable
from importlib import import_module
from threading import get_ident
from typing import Any

from . import _time

__all__ = ["Speaker"]

_NAME = "pocketflow-tracing-log"
_MOST_LINES = 1000
_LOOK_SECONDS = 0.002
_ENDING_SECONDS = 0.3
"""For the thread to end that has said everything: a sub-interpreter must not end before it."""


class Speaker:
    """Says lines on a thread that does nothing else, and is there while there is something to say.

    Args:
        speak: says a line, given its level, message and arguments.
        logger: whose handlers take it.
    """

    def __init__(self, speak: Callable[..., None], logger: logging.Logger) -> None:
        self._speak = speak
        self._logger = logger
        self.begin_anew()

    def begin_anew(self) -> None:
        """Leave to the parent of this forked process what it says by itself."""
        self._lines: deque[tuple[Any, ...]] = deque(maxlen=_MOST_LINES)
        self._turn = _thread.allocate_lock()  # held by who says them
        self._speaking: int | None = None
        self._thread: Any = None
        self._standby: Any = None  # what wakes the thread where it has to be there before the end of the process
        self._is_stuck = False  # whether a handler has not returned in the time that the end may take
        self.is_at_the_end = False  # of the process: whatever is said is to be said here

    def put(self, *line: Any) -> None:
        """Take a line, given its level, message and arguments; `rouse` has it said."""
        self._lines.append(line)

    def rouse(self) -> None:
        """Have said what waits."""
        if not self._lines or self._turn.locked():
            return
        if self._standby is not None:
            self._standby.set()
            return
        self._thread = _threads().start_thread(self._say, _NAME)
        if self._thread is None:
            self._say()

    def stand_by(self) -> None:
        """Have the thread ready where none can be started at the end of the process (`STARTS_LATE`)."""
        threads = _threads()
        if not threads.STARTS_LATE and self._standby is None:
            wake = self._standby = threads.Wake()
            self._thread = threads.start_thread(self._say_when_told, _NAME, wake)
            if self._thread is None:
                self._standby = None

    def wait(self, seconds: float) -> None:
        """Wait until everything is said, for so many seconds at most; not within a line itself."""
        until = _time.monotonic() + seconds
        while (self._lines or self._turn.locked()) and not (_time.is_mocked() or self._speaking == get_ident()):
            if _time.monotonic() > until:
                return
            _time.sleep(_LOOK_SECONDS)

    def finish(self, seconds: float) -> None:
        """Say at the end of the process what is left, and have a handler that does not return in time not waited for."""
        self.rouse()
        self.wait(0.0 if self._is_stuck else seconds)
        self.is_at_the_end = self._is_stuck = self._turn.locked()
        if self._is_stuck:
            self._free_handlers()
            return
        standby, self._standby = self._standby, None
        if standby is not None:
            standby.set()
        if self._thread is not None:
            self._thread.wait(_ENDING_SECONDS)

    def _say_when_told(self, wake: Any) -> None:
        while self._standby is wake:
            _threads().wait_unseen(wake.wait, None)
            self._say()

    def _say(self) -> None:
        turn = self._turn  # a log handler may fork
        while self._lines and not _time.is_mocked() and turn.acquire(blocking=False):
            try:
                self._speaking = get_ident()
                while self._lines and not _time.is_mocked():
                    self._speak(*self._lines.popleft())
            finally:
                self._speaking = None
                turn.release()

    def _free_handlers(self) -> None:
        """Give those a new lock in which a line of ours is stuck: `logging.shutdown` takes each one's."""
        of: logging.Logger | None = self._logger
        while of is not None:
            for handler in of.handlers:
                if handler.lock is None or handler.lock.acquire(blocking=False):
                    handler.release()
                else:
                    handler.createLock()
            of = of.parent if of.propagate else None


def _threads() -> Any:
    """The module, which needs this one. Not by an `import`: a program may guard `builtins.__import__`, and this is about that."""
    return import_module("._threads", __package__)
