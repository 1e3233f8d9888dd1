"""What each sink gets of a batch that the worker took: the records of its runs' spans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._media import Made
from ._queue_items import Begun, External
from ._span_records import run_record, span_record

if TYPE_CHECKING:
    from ._sink import Sink
    from .recorder import Run
    from .records import SpanRecord

__all__ = ["Share", "Shares"]


class Share:
    """A sink's part of a batch."""

    __slots__ = ("finished", "runs", "sink", "spans")

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.runs: dict[int, Run] = {}
        self.spans: list[SpanRecord] = []
        self.finished: list[SpanRecord] = []

    def hand_on(self) -> None:
        """Give the sink what is its own."""
        self.sink.accept([run_record(run) for run in self.runs.values()], self.spans, self.finished)

    def let_go(self) -> None:
        """Let the runs go of what nobody asks for any more."""
        for run in self.runs.values():
            run.let_go()


class Shares:
    """The parts of all sinks."""

    def __init__(self) -> None:
        self._of: dict[int, Share] = {}
        self._made = Made()

    def __iter__(self) -> Iterator[Share]:
        return iter(self._of.values())

    def add(self, item: Any) -> None:
        """Make a record of what came from the queue: a span, or one of another instrumentation."""
        if type(item) is External:
            run, sinks, record = item.make()
            done = True
        else:
            done = type(item) is not Begun
            span = item if done else item.span
            # what has begun and ended since comes again, behind all that may still be counted as lost below it
            if span.delivered or (not done and (span.complete or (span.end is not None and span.kind != "attempt"))):
                return
            run = span.run
            span.delivered = done
            record, sinks = span_record(span, self._made), run.pipeline.sinks
            if done:
                span.forget()
        for sink in sinks:
            share = self._of.get(id(sink))
            if share is None:
                share = self._of[id(sink)] = Share(sink)
            share.runs[id(run)] = run
            share.spans.append(record)
            if done:
                share.finished.append(record)
