"""What a thread of ours must not be forked in the midst of: others' locks, which nobody in the child would give back.

A module that is being imported is locked until it is there, OpenSSL while it reads certificates. Who imports that module in
a child that was forked meanwhile, or makes a TLS context there, waits for ever. So a fork waits for us to be through.
"""

from __future__ import annotations

import _thread
import contextlib
import logging  # noqa: F401 - before ours below: its own lock, which forks take as well, is wanted by what is said inside
import os
from collections.abc import Callable, Iterator
from typing import Any

with contextlib.suppress(RuntimeError):  # the main thread has ended, and a thread is the first to import us
    import concurrent.futures.thread  # noqa: F401 - as logging: its lock is wanted where OpenTelemetry finds out where it runs

__all__ = ["before_forks", "in_forked_child", "see_to_fork", "unforked"]

# the system's, also where gevent has put its own in the place of `threading.RLock`: that wakes none of another thread's greenlets
_lock: Any = _thread.RLock()
_FORK_PATIENCE = 5.0
"""Seconds that a fork waits; an import or a TLS context takes a tenth of one, on a busy machine one."""


@contextlib.contextmanager
def unforked() -> Iterator[None]:
    """Let no fork fall into what is done inside."""
    lock = _lock
    if lock._is_owned():  # noqa: SLF001 - as below
        yield  # within another one, which gives it back
        return
    try:  # at once: a signal handler may strike right behind the call that takes it
        lock.acquire(timeout=_FORK_PATIENCE)  # one may have struck where a fork gives it back
        yield
    finally:
        _let_go(lock)  # which may not be taken any more: a signal handler may have forked in here


def before_forks(prepare: Callable[[], None]) -> None:
    """Have a function called before each fork, while nobody is inside of `unforked`.

    The locks that it takes may be wanted in there: taken first, a fork and a thread would wait for each other.
    """
    _preparing.append(prepare)


_preparing: list[Callable[[], None]] = []


def _before_fork() -> None:
    try:
        _lock.acquire(timeout=_FORK_PATIENCE)
    finally:
        for prepare in _preparing:
            prepare()


def _after_fork_in_parent() -> None:
    _let_go(_lock)


def _let_go(lock: Any) -> None:
    """Give it back as often as this thread has taken it, also where a signal handler strikes meanwhile."""
    try:
        while lock._is_owned():  # noqa: SLF001 - what threading.Condition asks it
            lock.release()
    finally:
        while lock._is_owned():  # noqa: SLF001
            lock.release()


_getpid = os.getpid
_pid = _getpid()
_noticing: Any = _thread.RLock()
_in_child: list[Callable[[], None]] = []


def in_forked_child(begin_anew: Callable[[], None]) -> None:
    """Have a function called in each forked child, in the order in which they are given."""
    _in_child.append(begin_anew)


def see_to_fork() -> None:
    """Begin anew where this is a forked child and Python was not told: uWSGI forks by itself (without `py-call-osafterfork`)."""
    if _getpid() != _pid:
        with _noticing:  # a worker's first requests may come on several threads
            if _getpid() != _pid:
                _after_fork_in_child()


def _after_fork_in_child() -> None:
    global _lock, _pid  # noqa: PLW0603 - the owner of the lock is a thread of the parent
    _lock = _thread.RLock()
    for begin_anew in _in_child:
        begin_anew()
    _pid = _getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
