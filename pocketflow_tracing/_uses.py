"""Who uses a sink: a program may give each of its jobs a store of its own, and threads and files are the host's too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ._guard import Seam
from ._time import monotonic
from ._weak import Alive

if TYPE_CHECKING:
    from ._sink import Sink

__all__ = ["Uses"]

_ASKING = Seam("asking a sink whether it is done")
_REST_SECONDS = 5.0
"""How long a sink is kept that nobody uses: a program may make the same flow anew for each of its runs."""
_MOST_RESTING = 16
"""Sinks that rest; with more, the first goes at once."""


class Uses:
    """Tells which sinks can be let go of: those that had users, have none any more, and are done."""

    def __init__(self) -> None:
        self._users: WeakKeyDictionary[Sink, Alive] = WeakKeyDictionary()
        self._resting: dict[Sink, float] = {}  # each with when it was first seen so, the first in front

    def add(self, sink: Sink, user: object) -> None:
        """Note that a sink is used for as long as an object is there."""
        self._users.setdefault(sink, Alive()).add(user)

    def had(self, sink: Sink) -> bool:
        """Note that a sink was given something; True where it may have been let go of before."""
        self._resting.pop(sink, None)
        return sink in self._users

    def over(self, sinks: Iterable[Sink]) -> list[Sink]:
        """The sinks that have rested for long enough."""
        now = monotonic()
        free = dict.fromkeys(sink for sink in sinks if self._is_free(sink))
        known = {sink: since for sink, since in self._resting.items() if sink in free}
        self._resting = known | {sink: now for sink in free if sink not in known}
        many = len(self._resting) - _MOST_RESTING
        over = [
            sink
            for place, (sink, since) in enumerate(self._resting.items())
            if place < many or now - since >= _REST_SECONDS
        ]
        for sink in over:
            del self._resting[sink]
        return over

    def due(self) -> list[float]:
        """The seconds until the next sink has rested for long enough; [] while none rests."""
        return [max(0.0, since + _REST_SECONDS - monotonic()) for since in list(self._resting.values())[:1]]

    def _is_free(self, sink: Sink) -> bool:
        users = self._users.get(sink)
        with _ASKING:
            return users is not None and not users and sink.is_done()
        return False
