"""Clocks, pauses and chance of our own, which a host's tests neither stop nor see used.

Programs put mocks on the `time` module, freeze it (freezegun replaces the functions also where other modules have imported
them, but not within a tuple) and seed the one generator of `random`.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType

__all__ = ["breathe", "chance_as_it_was", "is_in_a_loop", "is_mocked", "jitter", "monotonic", "sleep", "time_ns"]

_REAL = (time.monotonic, time.time_ns, time.sleep)
_chance = random.Random(os.urandom(16))  # noqa: S311 - not for secrecy


def monotonic() -> float:
    """Seconds of a clock that only goes forward."""
    return _REAL[0]()


def time_ns() -> int:
    """The time of day, ns since the epoch."""
    return _REAL[1]()


def sleep(seconds: float) -> None:
    """Pause this thread; where threads are greenlets by now, as gevent makes them whenever it is told to, this greenlet."""
    pause: Callable[[float], object] = _REAL[2]
    start = _thread.start_new_thread
    if type(start) is not BuiltinFunctionType:
        library = str(getattr(start, "__module__", "")).partition(".")[0]
        pause = getattr(sys.modules.get(library), "sleep", pause) if library in {"gevent", "eventlet"} else pause
    pause(seconds)


def is_mocked() -> bool:
    """Whether the time of day is a stand-in of a test: it may have so many answers and no more, and `logging` would take one."""
    return any(
        type(now) is not BuiltinFunctionType and getattr(now, "__module__", None) != "freezegun.api"
        for now in (time.time, time.time_ns)
    )


def breathe() -> None:
    """Let other threads run, if this one has computed for a while: an event loop must not feel it.

    Else they wait for the 5 ms that the interpreter gives to each thread, and for the longest step in C after that.
    """
    global _breathed  # noqa: PLW0603 - one thread of ours computes
    if monotonic() - _breathed > _BREATH_SECONDS:
        sleep(0)
        _breathed = monotonic()


_BREATH_SECONDS = 0.001
_breathed = 0.0


@contextlib.contextmanager
def chance_as_it_was() -> Iterator[None]:
    """Import what may import rich, which draws a number from the host's sequence as it comes, and put that back.

    Not where another thread of the host's has drawn meanwhile: its numbers would come twice.
    """
    is_new = "rich.style" not in sys.modules
    before = random.getstate()
    alone = random.Random()  # noqa: S311 - to see what one draw does
    alone.setstate(before)
    alone.getrandbits(_BITS_OF_RICH)
    after = alone.getstate()
    try:
        yield
    finally:
        if is_new and "rich.style" in sys.modules and random.getstate() == after:
            random.setstate(before)


_BITS_OF_RICH = 24
"""Of the number from which rich counts its links, in `rich.style`."""


def jitter(low: float, high: float) -> float:
    """A random number between two: processes that collided once should not collide again."""
    return _chance.uniform(low, high)


def is_in_a_loop() -> bool:
    """Whether this thread runs an event loop of asyncio's, which waits for whatever waits here."""
    asyncio = sys.modules.get("asyncio")  # who has not imported it has none
    return getattr(asyncio, "_get_running_loop", _nothing)() is not None


def _nothing() -> None:
    return None
