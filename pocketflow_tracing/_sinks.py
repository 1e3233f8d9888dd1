"""The sinks of the process: each is asked for itself, so that one that fails takes nothing from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from ._guard import Seam
from ._time import monotonic
from ._uses import Uses

if TYPE_CHECKING:
    from ._sink import Sink
    from ._sink_shares import Share
    from .recorder import Run

__all__ = ["DELIVERING", "Sinks"]

DELIVERING = Seam("delivering what it had recorded")
_KEEPING_SECONDS = 0.5
"""Of an exit's time, for putting on disk what has no answer yet; no more than a quarter of it."""
_CLOSING_SECONDS = 1.0
"""For a sink that is let go of, which has nothing left to do."""
_AFTER_AN_ERROR = 1.0
"""Seconds until a sink that failed is asked again: without a pause the worker would do nothing else."""


class Sinks(list["Sink"]):
    """The list of them. Sinks that had users and have none any more are let go of once they are done."""

    def __init__(self) -> None:
        super().__init__()
        self.uses = Uses()
        self._fresh: list[Sink] = []
        self._lost = 0  # spans, by sinks that were let go of
        self._lost_by: WeakKeyDictionary[Sink, int] = WeakKeyDictionary()  # each of them

    @property
    def lost(self) -> int:
        """Spans that will never be delivered, so far."""
        return self._lost + self._sum("lost")

    @property
    def in_memory(self) -> int:
        """Spans that sinks have taken, and neither delivered nor kept on disk."""
        return self._sum("in_memory")

    def append(self, sink: Sink) -> None:
        """Add one, which may have been here before."""
        self._lost -= self._lost_by.pop(sink, 0)  # it says so itself
        super().append(sink)
        self._fresh.append(sink)

    def start(self, *, anew: bool = False) -> None:
        """Start the threads of those that have come since the last call, or anew of all."""
        if anew:
            self._fresh = list(self)
        while self._fresh:
            sink = self._fresh.pop()
            if sink in self:  # else it was let go of meanwhile, and nobody would end its thread
                with DELIVERING:
                    sink.start()

    def expect(self, run: Run | None) -> None:
        """Get those of a run ready that has begun."""
        for sink in () if run is None else run.pipeline.sinks:
            with DELIVERING:
                sink.expect()

    def await_making(self, run: Run) -> None:
        """Let nothing be half made when a run ends: the program may remove the directory that it is made in."""
        for sink in run.pipeline.sinks:
            with DELIVERING:
                sink.await_making()

    def give(self, share: Share) -> bool:
        """Give a sink its part of a batch; False when that failed."""
        if self.uses.had(share.sink) and share.sink not in self:
            self.append(share.sink)  # the next flush asks it again
        with DELIVERING:
            share.hand_on()
            return True
        return False

    def tick(self) -> list[float]:
        """Have them do what is due; returns the seconds until each wants to be asked again."""
        due: list[float] = []
        for sink in list(self):
            seconds: float | None = _AFTER_AN_ERROR
            with DELIVERING:
                seconds = sink.tick()
            if seconds is not None:
                due.append(seconds)
        self._let_go()
        return due + self.uses.due()

    def hand_on(self, deadline: float) -> bool:
        """Have them send everything on its way; on the worker."""
        self._let_go()  # before they are asked: where each job flushes, none of those before it would ever be seen at rest
        return self._ask("hand_on", deadline)

    def flush(self, deadline: float) -> bool:
        """Wait until everything has been delivered; not on the worker, for others need it meanwhile."""
        return self._ask("flush", deadline)

    def close(self, deadline: float) -> bool:
        """Close them by the deadline."""
        # each keeps on disk what has no answer by then: one that waited to the end would leave the others no time for it
        return self._ask("close", deadline, deadline - min(_KEEPING_SECONDS, max(0.0, deadline - monotonic()) / 4))

    def add_dropped(self, spans: int) -> None:
        """Count dropped spans in the figures of a store, once: several sinks may have the same one."""
        with DELIVERING:
            any(sink.add_dropped(spans) for sink in self)

    def abandon(self) -> None:
        """Begin anew in a forked child."""
        for sink in self:
            with DELIVERING:
                sink.abandon()

    def _ask(self, what: Literal["hand_on", "flush", "close"], *until: float) -> bool:
        """Whether all of them say yes; each is asked, whatever the others do."""
        accepted = True
        for sink in list(self):
            with DELIVERING:
                accepted = getattr(sink, what)(*until) and accepted
                continue
            accepted = False
        return accepted

    def _sum(self, what: Literal["lost", "in_memory"]) -> int:
        spans = 0
        for sink in list(self):
            with DELIVERING:
                spans += getattr(sink, what)
        return spans

    def _let_go(self) -> None:
        for sink in self.uses.over(self):
            self.remove(sink)
            is_clean = False
            with DELIVERING:
                now = monotonic()
                is_clean = sink.close(now + _CLOSING_SECONDS, now + _CLOSING_SECONDS)
                self._lost_by[sink] = sink.lost
                self._lost += self._lost_by[sink]
            self._lost += not is_clean
