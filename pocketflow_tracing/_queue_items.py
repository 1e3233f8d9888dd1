"""What stands in the queue beside complete spans, and what is left of a span there that there is no room for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ._threads import Wake
from .capture_types import Note

if TYPE_CHECKING:
    from .recorder import Run, Span

__all__ = ["NOT_KEPT", "Begun", "External", "GivenUp", "Marker", "count_spans", "ends_of", "let_values_go"]

NOT_KEPT = Note("<not kept: more was recorded than can be delivered>")
"""Stands where the values of a span were let go."""


def _without_values(state: dict[str, Any]) -> dict[str, Any]:
    """What a visit did to `shared`, by its keys alone."""
    bare = dict(state)
    for kind in ("full", "added", "shown"):
        if kind in bare:
            bare[kind] = dict.fromkeys(bare[kind], NOT_KEPT)
    if "changed" in bare:
        bare["changed"] = dict.fromkeys(bare["changed"], (None, NOT_KEPT))
    if "end" in bare:
        bare["end"] = _without_values(bare["end"])
    return bare


def let_values_go(span: Span) -> None:
    """Keep of a span only what holds the tree together, and say that its values are not there."""
    span.withhold(NOT_KEPT)
    if span.state is not None:
        span.state = _without_values(span.state)
    if span.error is not None:
        span.error = type(span.error)(span.error.type_name, NOT_KEPT)
    span.weight = 0


class Marker:
    """Stands in the queue behind everything recorded before a flush.

    Args:
        deadline: of `time.monotonic`.
        closing: whether the sinks are to be closed, too.
    """

    def __init__(self, deadline: float, closing: bool) -> None:
        self.deadline = deadline
        self.closing = closing
        self.reached = Wake()
        self.delivered = False


class Begun(NamedTuple):
    """A span that has begun, or an attempt that has failed and may be saved yet."""

    span: Span


class External:
    """A span of another instrumentation: a function that gives (run, the sinks, the record).

    Args:
        run: that it belongs to.
        make: the function.
        weight: estimated bytes that it keeps alive.
    """

    __slots__ = ("make", "run", "weight")

    def __init__(self, run: Run, make: Callable[[], Any], weight: int) -> None:
        self.run = run
        self.make = make
        self.weight = weight


def count_spans(items: list[Any]) -> int:
    """The number of spans among items of the queue that are complete, and that nobody has delivered or dropped."""
    return sum(
        type(item) is External or (type(item) is not Begun and not (item.delivered or item.run.dropped))
        for item in items
    )


class GivenUp(NamedTuple):
    """What a queue held that is too late to be delivered.

    Args:
        ends: spans that are to be delivered all the same.
        lost: the number of the others.
        markers: who waits for them.
    """

    ends: list[Span]
    lost: int
    markers: list[Marker]


def ends_of(items: list[Any]) -> list[Span]:
    """The spans above the first of each run that is given up: above what has been delivered, and the root says what is lost.

    Args:
        items: complete spans and spans of other instrumentations, all of which are given up.
    """
    chains: dict[int, list[Span]] = {}
    for item in items:
        if item.run.dropped or item.run.ids is None or (type(item) is not External and item.delivered):
            continue  # of a run of which no record was made there is nothing to make sense of
        item.run.lost += 1
        if type(item) is not External and id(item.run) not in chains:
            chain = chains[id(item.run)] = []
            at = item
            while at is not None:
                if at.special and at.complete and not at.delivered:
                    chain.append(at)
                at = at.parent
    for chain in filter(None, chains.values()):
        chain[0].run.lost -= len(chain)
    return [span for chain in chains.values() for span in chain]
