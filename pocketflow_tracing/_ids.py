"""Clock and ids: the two sources of chance in a recording, replaceable so that tests are exact."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

from ._forks import in_forked_child

_LOOKS = 3
_CLOSE_NS = 1_000


class Source:
    """Where times and ids come from.

    Args:
        clock: a monotonic clock in ns; durations come from it, so that a wall clock that jumps does not bend them.
        wall: ns since the epoch; read at the start of each run.
        bits: n -> a random integer of n bits.
    """

    __slots__ = ("bits", "clock", "wall")

    def __init__(
        self,
        clock: Callable[[], int] = time.perf_counter_ns,
        wall: Callable[[], int] = time.time_ns,
        bits: Callable[[int], int] | None = None,
    ) -> None:
        self.clock = clock
        self.wall = wall
        # a generator of our own: a host that calls random.seed() must neither repeat our ids nor see its sequence moved
        self.bits = bits or random.Random(os.urandom(16)).getrandbits  # noqa: S311 - ids, not secrets

    def offset(self) -> int:
        """What to add to the clock for the time of day, ns.

        The clock is read between two looks at the time of day, again when somebody else had the processor in between: spans of
        other instrumentations take their times from the day, and must stay within those that they ran in.
        """
        best = offset = 0
        for turn in range(_LOOKS):
            before = self.wall()
            clock = self.clock()
            after = self.wall()
            if turn == 0 or after - before < best:
                best, offset = after - before, (before + after) // 2 - clock
            if best < _CLOSE_NS:
                break
        return offset

    def span_id(self) -> int:
        """A new span id, 64 bits, never 0 (the invalid id of W3C trace context)."""
        return self.bits(64) or 1

    def trace_id(self) -> int:
        """A new trace id, 128 bits, never 0."""
        return self.bits(128) or 1


source = Source()


def _reseed() -> None:
    # a forked child would repeat the ids of its parent
    source.bits = random.Random(os.urandom(16)).getrandbits  # noqa: S311 - ids, not secrets


in_forked_child(_reseed)
