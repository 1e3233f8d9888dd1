"""How much of the host's time the pictures of large values may take: bursts of them would hold up an event loop for seconds."""

from __future__ import annotations

from ._time import is_in_a_loop, monotonic

__all__ = ["FEW", "Allowance"]

_AT_ONCE, _AT_ONCE_IN_A_LOOP = 0.5, 0.05
"""Seconds of captures that may come at once, where no event loop waits and where one does …"""
_SHARE = 0.1
"""… and the part of the time that they may take after that."""
_SECONDS_PER_ELEMENT = 1.5e-6
"""About; a count of elements, for the clock would say the same of a thread that was not given its turn."""
FEW = 100
"""Elements of one value that cost so little that they are not counted, and that are read in any case."""


class Allowance:
    """Of one process, for all its threads together. Small values cost nothing."""

    __slots__ = ("_at", "_owed")

    def __init__(self) -> None:
        self._owed = 0.0  # seconds
        self._at = 0.0  # of `time.monotonic`, when that was so

    def take(self, elements: int) -> None:
        """Note that so many elements of one value were read."""
        if elements > FEW:
            self._pay_back()
            self._owed += elements * _SECONDS_PER_ELEMENT

    @property
    def is_used_up(self) -> bool:
        """Whether large values had better be read in part."""
        if self._owed < _AT_ONCE_IN_A_LOOP:
            return False
        self._pay_back()
        return self._owed >= (_AT_ONCE_IN_A_LOOP if is_in_a_loop() else _AT_ONCE)

    def _pay_back(self) -> None:
        now = monotonic()
        self._owed = max(0.0, self._owed - (now - self._at) * _SHARE)
        self._at = now
