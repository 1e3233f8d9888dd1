"""The threads of this package, and how they are woken: safe beside whatever a host does with signals and forks."""

from __future__ import annotations

import _thread
import contextlib
import contextvars
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType
from typing import Any

from opentelemetry import context as otel_context

from ._guard import is_hosts, on_our_thread

__all__ = [
    "STARTS_LATE",
    "OwnLock",
    "OwnThread",
    "Wake",
    "can_start",
    "can_start_later",
    "of_now",
    "start_thread",
    "unseen",
    "wait_unseen",
]

_SUPPRESSING = (
    otel_context._SUPPRESS_INSTRUMENTATION_KEY,  # noqa: SLF001 - what every OpenTelemetry exporter sets
    otel_context._SUPPRESS_HTTP_INSTRUMENTATION_KEY,  # noqa: SLF001 - as above
)

_start = threading.Thread.start  # tests of a host's put a mock in its place
_getpid = os.getpid  # a test of the host's may put a mock there
_native_id = _thread.get_native_id
_sigmask: Any = getattr(signal, "pthread_sigmask", None)  # as above; not on Windows
_START_SECONDS = 1.0
"""How long a host waits at most for a thread of ours to begin."""

_STACK_BYTES = 512 * 1024
"""That a thread of ours has at least: TLS and SQLite want more than the 32 kB that a host may choose for its own."""

_OF_THE_THREAD = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"}
"""Signals that a thread gets for what it does itself."""


def start_thread(target: Callable[..., Any], name: str, *args: Any) -> OwnThread | None:
    """Start a daemon thread that takes no signals, and of whose requests OpenTelemetry's instrumentations record nothing.

    A process that blocks a signal to wait for it (`sigwait`, `signalfd`) would else find it delivered to this thread, by
    whose default action the process ends.

    Args:
        target: what runs.
        name: of the thread.
        args: of the target.

    Returns:
        The thread; None where none can be started: see `can_start`, or the interpreter shuts down, or is one that allows no
        daemon threads, or what was meant for the thread that starts it has struck it down.
    """
    if not can_start():
        return None
    try:
        thread = OwnThread(target, name, args)
    except RuntimeError as error:  # an isolated sub-interpreter (Python 3.12)
        if is_hosts(error):
            raise
        return None
    if _sigmask is None or not _has_a_thread_of_its_own():
        return _started(thread)
    theirs = {number for number in signal.valid_signals() if getattr(number, "name", "") not in _OF_THE_THREAD}
    before = _sigmask(signal.SIG_BLOCK, ())  # by itself: with each call a handler of the host's may run, and raise
    try:
        _sigmask(signal.SIG_BLOCK, theirs)  # a new thread has the mask of the one that makes it
        return _started(thread)
    finally:
        _sigmask(signal.SIG_SETMASK, before)


def _has_a_thread_of_its_own() -> bool:
    """Whether a thread of Python's is one of the system's: under gevent it is a greenlet, and has the host's mask for its own."""
    return isinstance(_thread.start_new_thread, BuiltinFunctionType)


def can_start() -> bool:
    """Whether what is started here runs on: a greenlet is one of the system's thread that starts it.

    One of gevent's pool runs greenlets only while its job waits for something. Elsewhere than on Linux nothing tells it.
    """
    if _has_a_thread_of_its_own() or sys.platform != "linux":
        return True
    return _native_id() == _getpid()


STARTS_LATE = not (3, 12) <= sys.version_info < (3, 12, 3)
"""Whether this Python starts threads once the main thread has ended."""


def can_start_later() -> bool:
    """Whether a thread that ends now could be started again.

    Python 3.12.0 to 3.12.2 start none once the main thread has ended, also while others go on (CPython, gh-113964).
    """
    return STARTS_LATE or threading.main_thread().is_alive()


_SYSTEMS_LOCK = type(threading.RLock()) if _has_a_thread_of_its_own() else None


def of_now(condition: threading.Condition) -> threading.Condition:
    """Return a condition, or where threads have become greenlets since it was made a new one, that holds up only who waits.

    gevent makes greenlets of them, in a forked worker say. It is for before a thread of ours waits for the condition.
    """
    is_old = not _has_a_thread_of_its_own() and type(condition._lock) is _SYSTEMS_LOCK  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
    return threading.Condition() if is_old else condition


class OwnThread(threading.Thread):
    """A thread that is not waited for without end.

    An exception that another thread sets in the one that starts it (`PyThreadState_SetAsyncExc`, a time limit) may come out
    in this one instead, before it has said that it runs: until then CPython takes it for the other.
    """

    def __init__(self, target: Callable[..., Any], name: str, args: tuple[Any, ...]) -> None:
        super().__init__(target=self._unseen, args=(target, *args), name=name, daemon=True)
        self._started: threading.Event = _Bounded()
        self._turn = threading.Lock()  # taken once: by the thread as it begins, or by who waits for it no longer

    def _unseen(self, target: Callable[..., Any], *args: Any) -> None:
        if self._turn.acquire(blocking=False):
            # a context of its own: some tools hand on to every thread what was current where it was started
            contextvars.Context().run(_suppressed, target, *args)

    def join(self, timeout: float | None = None) -> None:
        """Do not wait: it goes on until the process ends, and who joins all that `threading.enumerate` says means his own."""

    def wait(self, timeout: float) -> None:
        """Wait for its end for so many seconds."""
        super().join(timeout)

    def was_struck_down(self) -> bool:
        """Whether it has not begun, and never will."""
        return not self._started.is_set() and self._turn.acquire(blocking=False)


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Let a script that waits until it is alone not wait for this thread of ours, which only waits for others meanwhile.

    `threading.active_count` and `enumerate` do not tell of it then. Another thread is seen as ever.
    """
    ident = threading.get_ident()
    # without its lock, which a frame may hold that a signal handler has interrupted, and who flushes there waits for us
    counted: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
    thread = counted.get(ident)
    if type(thread) is not OwnThread or not _has_a_thread_of_its_own():
        yield
        return
    counted.pop(ident, None)
    try:
        yield
    finally:
        counted[ident] = thread


def wait_unseen(wait: Callable[[float | None], bool], seconds: float | None) -> bool:
    """Wait `unseen`.

    Args:
        wait: takes the seconds, None for any time, and returns whether it was woken.
        seconds: how long.
    """
    with unseen():
        return wait(seconds)


class _Bounded(threading.Event):
    """What `Thread.start` waits for, which waits a while for what else would have no end."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(_START_SECONDS if timeout is None else timeout)


def _suppressed(target: Callable[..., Any], *args: Any) -> None:
    context = otel_context.get_current()
    for key in _SUPPRESSING:
        context = otel_context.set_value(key, True, context)
    otel_context.attach(context)
    on_our_thread.set(True)
    target(*args)


def _started(thread: OwnThread) -> OwnThread | None:
    if sys.is_finalizing():  # it would end at once, and before Python 3.12 `start` would wait for it for ever
        return None
    theirs = threading.stack_size()  # of each new thread: servers with thousands of them may have chosen very little
    try:
        if 0 < theirs < _STACK_BYTES:
            threading.stack_size(_STACK_BYTES)
        _start(thread)
    except RuntimeError as error:
        if is_hosts(error):
            raise
        return None
    finally:
        if 0 < theirs < _STACK_BYTES:
            threading.stack_size(theirs)
    return None if thread.was_struck_down() else thread


class Wake:
    """An event that one thread waits for, made of one bare lock.

    `threading.Event` holds a lock of its own while it is set: a signal handler that runs there and sets it again, by a flow or
    a flush, would wait for itself.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake who waits, or who waits next."""
        try:
            self._lock.release()
        except RuntimeError:  # it is set already
            return

    def clear(self) -> None:
        """Take it back, if it is set."""
        self._lock.acquire(blocking=False)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, and take it back; False if that did not happen within so many seconds."""
        return self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout))


class OwnLock:
    """A re-entrant lock of each process: that of the parent may be held by a thread that is not there in a forked child.

    Re-entrant, for a signal handler may run a flow while one is being prepared. The system's, as in `_forks`.
    """

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: dict[int, Any] = {}

    def __call__(self) -> Any:
        """The lock of this process, for a `with` statement."""
        pid = _getpid()
        return self._locks.get(pid) or self._locks.setdefault(pid, _thread.RLock())
