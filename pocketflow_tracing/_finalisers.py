"""Finalisers that run inside of `ContextVar.set`, which CPython before 3.12 lets happen.

Its collector may begin at any allocation, also at those of `set` and `reset`. A finaliser that sets a variable of its own there
(`decimal.localcontext`, a stream that is closed within a block) frees what they are working on, and what it has set is lost, but
answered with from the variable's cache: the process crashes. Who sets one of ours is therefore between `hold` and `release`.

While a thread is, a callback of the collector's holds what is set in that thread when a collection begins and when it ends: as
one may begin at every allocation, where other threads make garbage meanwhile, a copy that is made before would not be enough.
It is put together from what is written in C: where a signal handler (a Ctrl-C, a time limit) raises in a callback that is a
function, Python swallows it.
"""

from __future__ import annotations

import gc
import sys
from _thread import _local
from collections import defaultdict
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

__all__ = ["MAY_RUN_INSIDE", "Held", "guarded", "hold", "release"]

MAY_RUN_INSIDE = sys.implementation.name == "cpython" and sys.version_info < (3, 12)
A = TypeVar("A")
R = TypeVar("R")


class Held(defaultdict[str, Any]):
    """Copies of a thread's context, made where they are first asked for, while that is what it makes: `start` and `stop`.

    Args:
        outer: that of the `set` within which a finaliser runs that sets one itself, None where there is none.
    """

    __slots__ = ("outer",)
    __getattr__ = dict.__getitem__

    def __init__(self, outer: Held | None) -> None:
        super().__init__(bool)
        self.outer = outer


# gevent and eventlet put a class in the place of `local` that runs Python, and fails when it is asked at the end of the process;
# where threads are greenlets one is enough
_OfAThread: Any = _local if _local.__module__ == "_thread" else object


class _Here(_OfAThread):  # type: ignore[misc]  # a class either way
    held: Held | None = None  # one a thread, which `hold` makes
    start = property(attrgetter("held.start"))
    stop = property(attrgetter("held.stop"))


_here = _Here()
if MAY_RUN_INSIDE:
    gc.callbacks.append(partial(getattr, _here))  # called with "start" or "stop", and what for `getattr` is a default


def hold() -> Held:
    """Keep alive what finalisers take away from one `set` or `reset`, which comes right after it and allocates alone.

    Bind it before: that allocates too.
    """
    held = _here.held
    if held is None or held.default_factory is copy_context:  # a signal handler may have struck the last one down, too
        held = _here.held = Held(held)
    elif held:
        held.clear()
    held.default_factory = copy_context
    return held


def release(held: Held) -> None:
    """End that; what the caches of variables say is forgotten where there was a collection."""
    held.default_factory = bool
    if held.outer is not None:
        _here.held = held.outer
    if held:
        held["start"].run(bool)
        held.clear()


def guarded(operation: Callable[[A], R]) -> Callable[[A], R]:
    """A bound `set` or `reset` that is between the two; not for where a signal handler must not strike right before it."""

    def call(argument: A) -> R:
        held = hold()
        try:
            return operation(argument)
        finally:
            release(held)

    return call if MAY_RUN_INSIDE else operation
