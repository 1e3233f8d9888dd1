"""How long a server is left alone that takes nothing, and whether it does."""

from __future__ import annotations

from math import inf

from .._time import jitter, monotonic
from ._http import Answer

__all__ = ["MOST_REFUSALS", "Pace"]

_FIRST, _LAST = 1.0, 60.0
_LONGEST_PAUSE = 300.0
"""Seconds until a span that its server does not take, while it takes others, is sent again."""
_LONGEST_ASKED = 600.0
MOST_REFUSALS = 32
"""Refusals in a row that are looked into at once; after them each costs a pause, for the server refuses whatever it gets."""


class Pace:
    """What the answers of one server come to."""

    def __init__(self) -> None:
        self.blocked_until = 0.0  # of `time.monotonic`
        self.look_at = inf  # when a batch may be sent again that was put off
        self.is_well = False  # whether the server took the last batch that it has answered for
        self.last_reason = ""
        self._failures = 0
        self._refusals = 0

    @property
    def is_blocked(self) -> bool:
        """Whether nothing is to be sent just now."""
        return monotonic() < self.blocked_until

    def accepted(self) -> None:
        """Note that the server has taken something."""
        self._failures = self._refusals = 0
        self.is_well = True

    def refused(self) -> bool:
        """Note that it has not taken this; True where it takes nothing at all and is better left alone."""
        self._refusals += 1
        return self._refusals > MOST_REFUSALS

    def failed(self, answer: Answer) -> None:
        """Leave it alone for a while: longer each time, and as long as it asks for."""
        self._failures += 1
        self.is_well = False
        self.last_reason = answer.reason
        wait = min(_LAST, _FIRST * 2 ** min(self._failures - 1, 10)) * jitter(0.5, 1.0)
        if answer.outcome in {"unauthorized", "forbidden"}:
            wait = _LAST
        if answer.retry_after is not None:
            wait = max(wait, min(answer.retry_after, _LONGEST_ASKED))
        self.blocked_until = monotonic() + wait

    def put_off(self, attempts: int, answer: Answer) -> float:
        """Return for how many seconds a batch by itself is put off, that was sent so often in vain."""
        self.last_reason = answer.reason
        return float(min(_FIRST * 2.0 ** min(attempts, 20), _LONGEST_PAUSE))

    def look_in(self, seconds: float | None) -> None:
        """Look again in so many seconds at what was put off; None: nothing was."""
        self.look_at = inf if seconds is None else monotonic() + seconds

    def has_come(self) -> bool:
        """Whether the time of something has come that was put off; says so once."""
        if monotonic() < self.look_at:
            return False
        self.look_at = inf
        return True
