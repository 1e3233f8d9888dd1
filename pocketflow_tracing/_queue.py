"""What waits for the worker: a queue that the caller appends to without a lock, and its bounds in count and bytes.

At a bound the oldest complete runs go first, whole. Where there are none, for one run fills the queue by itself, what begins
in it is left out until there is room. What went is counted, for the store's figures and for `flush`.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _log
from ._queue_items import NOT_KEPT, Begun, External, GivenUp, Marker, count_spans, ends_of, let_values_go
from ._queue_line import Line
from .capture_types import bytes_of, weigh

if TYPE_CHECKING:
    from .recorder import Run, Span

__all__ = ["SpanQueue"]

_HEAVY = 64 * 1024
"""Bytes from which it is looked at whether a span's texts have been charged already."""

_FEW = 1000
"""Entries of the queue that are looked through in half a millisecond."""

_STEP = 64
"""Entries that are looked at with one span when there are more."""

_MOST_HEAVY = 10_000
"""Large texts that are remembered."""


class SpanQueue:
    """Complete spans, spans that have begun, spans of other instrumentations, and markers, as they came.

    A span that has begun stands here as `Begun`, and is passed over if it is complete by the time it is taken: it comes again.

    Args:
        rouse: wakes the worker (or starts it); called by the first item after `idle` was set.
    """

    def __init__(self, rouse: Callable[[], None]) -> None:
        self._rouse = rouse
        self.most_spans = 100_000  # that may wait
        self.bound_bytes(128 * 1024 * 1024)
        self.reset()

    def reset(self) -> None:
        """Begin anew, empty: what is here belongs to the parent of this forked process."""
        self.idle = True  # whether the worker must be roused by the next item
        self.is_full = False  # whether what begins is to be left out, see `leaves_out`
        self._was_pressed = False  # whether the worker was roused since so many wait
        self.dropped = 0  # since somebody last asked for it, see `take_dropped`
        self._items = Line()
        self._complete: deque[Run] = deque()  # ended runs of which the worker may not have seen anything yet
        self._taking = threading.Lock()  # held while items are taken or room is made, never while one is appended
        self._ghosts = self._ghost_bytes = 0  # spans in the queue whose run was dropped
        self._begun = 0  # entries of spans that have begun, about
        self._meant = 0  # entries that were left when those that mean nothing were last looked for
        self._bytes = 0
        self._heavy: dict[int, int] = {}  # large texts by id: the number of the span that was charged with each
        self._came = self._left = 0  # spans that weigh something, so far: those with a number between the two wait

    def give_up(self) -> GivenUp:
        """Forget what waits, at the end of the process, but for what runs that have been begun to deliver need to make sense.

        Ended runs are taken apart, or they would be left to the garbage collector, which needs a second for a full queue.
        """
        items, dropped = self._items, self.dropped
        self.reset()
        spans = [item for item in items if type(item) not in {Marker, Begun}]
        ends = ends_of(spans)
        for span in spans:
            if type(span) is not External and span.run.root is span and span not in ends:
                span.run.give_up()
        return GivenUp(ends, dropped + count_spans(spans) - len(ends), [item for item in items if type(item) is Marker])

    def put_back(self, items: list[Any]) -> None:
        """Put items that were taken where they were."""
        with self._taking:
            self._items.put_back(items)

    def bound_bytes(self, most: int) -> None:
        """Set how many bytes the values of what waits may take, estimated."""
        self.most_bytes = most
        self.few_bytes = most // 4  # up to which nobody need hurry

    def __len__(self) -> int:
        return len(self._items)

    def put(self, span: Span) -> None:
        """Append a complete span, and make room when there are too many or too large ones."""
        items = self._items
        items.append(span)
        weight = span.weight
        if weight:
            if weight > _HEAVY and span.large:
                weight = span.weight = self._charge(span.large, weight)
            self._came += 1
            self._bytes += weight
            span.run.weight += weight
        if self._bytes > self.few_bytes:
            self._press(span)
        count = len(items.fresh) + len(items.looked)
        if count > self.most_spans // 4:
            if not self._was_pressed:
                self._was_pressed = True
                self._rouse()
            if count > self.most_spans:
                self._make_room()
        if self.idle:
            self._rouse()

    def _press(self, span: Span) -> None:
        """Do something about the bytes that wait: no time to let a batch gather, or no room for what came last.

        Inputs are weighed only now: they are outputs of spans just before, which weigh there as long as they wait.
        """
        self._rouse()
        large: list[str | bytes] = []
        weight = weigh(span.input, large)
        if large:
            weight = self._charge(large, weight)
            span.large = [*(span.large or ()), *large]
        span.weight += weight
        span.run.weight += weight
        self._bytes += weight
        if self._bytes > self.most_bytes:
            self._make_room()
            # room is made in steps; what it takes meanwhile is little
            if self._bytes > self.most_bytes * (1.25 if self._items.is_being_looked_through else 1):
                self._strip(span)

    def _charge(self, large: list[str | bytes], weight: int) -> int:
        """The weight of values with large texts, without those that a span which still waits was charged with."""
        heavy = self._heavy
        if len(heavy) > _MOST_HEAVY:
            heavy.clear()
        again = 0
        for text in large:
            if heavy.get(id(text), 0) > self._left:
                again += bytes_of(text)
            else:
                heavy[id(text)] = self._came + 1
        return max(weight - again, 1)

    def put_begun(self, span: Span) -> None:
        """Append a span that is not complete."""
        self._begun += 1
        self.put_other(Begun(span))

    def put_external(self, item: External) -> None:
        """Append a span of another instrumentation; where there is no room it is counted and left out, and its run says so."""
        item.run.has_external = True
        if len(self._items) >= self.most_spans or self._bytes - self._ghost_bytes + item.weight > self.most_bytes:
            self.leave_out(item.run)
            self._rouse()
            return
        self._bytes += item.weight
        self.put_other(item)

    def leaves_out(self, run: Run | None) -> bool:
        """Whether what begins is left out, with all that happens in it, while the queue `is_full`; it is counted as one then.

        A small run is recorded beside one that fills the queue, as long as there are not too many of them: it may be dropped
        whole when it has ended.

        Args:
            run: that it begins in, None where it is a run.
        """
        tenth = self.most_spans // 10
        if (run is None or run.spans < tenth) and self.waiting < self.most_spans + 2 * tenth:
            return False
        self.leave_out(run)
        return True

    def leave_out(self, run: Run | None) -> None:
        """Count what there is no room for, in its run as well."""
        self.dropped += 1
        if run is not None:
            run.lost += 1
        self._warn()

    def put_other(self, item: Begun | External | Marker) -> None:
        """Append what is no complete span of ours."""
        self._items.append(item)
        if self.idle:
            self._rouse()

    def completed(self, run: Run) -> None:
        """Note that a run has ended: from now on it may be dropped whole."""
        self._complete.append(run)

    def first_run(self) -> Run | None:
        """The run of what waits longest, where that is a span that has just begun."""
        with contextlib.suppress(IndexError):  # room may be made meanwhile
            if type(first := self._items.first()) is Begun:
                return first.span.run
        return None

    def take(self, most: int) -> tuple[list[Any], Marker | None]:
        """Take the oldest items, up to a marker, which is taken too; fewer where they are large."""
        batch: list[Any] = []
        most_bytes = self._bytes - self.most_bytes // 32
        marker: Marker | None = None
        with self._taking:
            items = self._items
            while items and len(batch) < most and (self._bytes > most_bytes or not batch):
                item = items.popleft()
                if type(item) is Marker:
                    marker = item
                    break
                if type(item) is Begun:
                    self._begun -= 1
                    if item.span.complete or item.span.run.dropped:
                        continue
                    item.span.run.seen = True
                elif type(item) is External:
                    self._bytes -= min(self._bytes, item.weight)
                else:
                    if item.run.dropped:
                        self._pass_over(item)
                        continue
                    item.run.seen = True
                    self._left += item.weight > 0
                    self._bytes -= min(self._bytes, item.weight)
                    item.weight = 0
                batch.append(item)
            while self._complete and self._complete[0].seen:
                self._complete.popleft()
            if not items:
                self._left = self._came
                self._bytes = self._begun = self._ghosts = self._ghost_bytes = 0  # estimates, of threads without a lock
            self._was_pressed = self._was_pressed and self.is_pressing
            # not from one to the next, or of every visit a part would be missing
            self.is_full = self.is_full and self.waiting > self.most_spans - self.most_spans // 10
        return batch, marker

    @property
    def is_pressing(self) -> bool:
        """Whether there is no time to let a batch gather: at a quarter of what may wait."""
        return len(self._items) > self.most_spans // 4 or self._bytes > self.few_bytes

    @property
    def most_items(self) -> int:
        """Entries after which those that mean nothing any more are taken out: spans of dropped runs, and what has ended since."""
        return max(2 * self.most_spans, 2 * self._meant)

    @property
    def waiting(self) -> int:
        """Complete spans that are to be delivered, about."""
        return len(self._items) - self._ghosts - self._begun

    def take_dropped(self) -> int:
        """The number of spans dropped since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _make_room(self) -> None:
        """Drop the oldest complete runs that nobody has begun to deliver, until a tenth of the queue is free.

        Of a run that is larger than the queue by itself what begins from now on is left out, and its root says how much, or it
        loses the values of its newest spans: the caller must not wait, and memory must not grow.
        """
        if self.waiting <= self.most_spans and self._bytes <= self.most_bytes and len(self._items) <= self.most_items:
            return  # what is too much has been dropped, and is passed over when its turn comes
        taking = self._taking  # at the end of the process another one takes its place
        if taking.locked():
            return  # the worker is taking a batch, or a signal handler runs a flow in here: the next span tries again
        with taking:  # nothing of the host's strikes between this and what gives it back, as it may behind `acquire`
            self._drop()
        self._warn()

    def _drop(self) -> None:
        is_heavy = self._bytes > self.most_bytes
        needed = 0 if is_heavy or self.waiting <= self.most_spans else self.most_spans // 10
        needed_bytes = self._needed_bytes() if is_heavy else 0
        while (needed > 0 or needed_bytes > 0) and self._complete:
            run = self._complete.popleft()
            if not run.seen:
                run.dropped = True  # the worker passes its spans over
                needed -= run.spans
                needed_bytes -= run.weight
                self._ghosts += run.spans
                self._ghost_bytes += run.weight
        # to look through a long queue has to be worth it: behind a run that fills it, each small one would cause that
        is_worth_it = self._ghost_bytes > self.most_bytes // 10 or self._is_short
        is_due = len(self._items) > self.most_items or (is_heavy and self._ghosts and is_worth_it)
        if is_due or self._items.is_being_looked_through:
            self._remove_ghosts()
        if self.waiting > self.most_spans:
            self.is_full = True
            self._remove_newest()  # what was open already, as thousands of items that wait side by side

    @property
    def _is_short(self) -> bool:
        return len(self._items) < _FEW

    def _needed_bytes(self) -> int:
        """How many bytes of runs have to go: those that went before are taken out only by and by."""
        tenth = self.most_bytes // 10
        too_many = self._bytes - self._ghost_bytes - self.most_bytes
        if too_many > 0:
            return too_many + tenth
        is_under_way = self._is_short or self._items.is_being_looked_through
        return 0 if is_under_way else tenth + 1 - self._ghost_bytes  # as many as it is worth to look for them

    def _warn(self) -> None:
        _log.warn_once(
            "more was recorded than can be delivered; the oldest runs are dropped, or, of a run that is "
            "too large by itself, the newest visits and phases or their values "
            f"(POCKETFLOW_TRACE_QUEUE_SIZE is {self.most_spans}, POCKETFLOW_TRACE_QUEUE_MB "
            f"{self.most_bytes // (1024 * 1024)}). `pocketflow-tracing doctor` shows how many.",
            elsewhere=True,
        )

    def _strip(self, span: Span) -> None:
        """Let the values of a span go: it stays in its place, and says that they are not there."""
        self._discharge(span)
        self.dropped += 1
        self._bytes -= min(self._bytes, span.weight)
        span.run.weight -= span.weight
        let_values_go(span)

    def _discharge(self, span: Span) -> None:
        """Let others be charged with the large texts of a span that goes out of turn."""
        self._left += span.weight > 0
        for text in span.large or ():
            self._heavy.pop(id(text), None)

    def _remove_ghosts(self) -> None:
        """Take out what means nothing any more, in steps: with 100,000 entries it would take 100 ms at once."""
        items = self._items
        if not items.is_being_looked_through:
            items.look_anew()
        items.look(_FEW if len(items) < _FEW else _STEP, self._stays)
        if not items.is_being_looked_through:
            self._meant = len(
                items.looked
            )  # that means something still, such as failed attempts of a loop that goes on

    def _stays(self, item: Any) -> bool:
        """Whether an entry means something still; one that does not is let go of."""
        if type(item) is Begun:
            if not (item.span.complete or item.span.run.dropped):
                return True
            self._begun -= 1
            return False
        if type(item) is External or type(item) is Marker or not item.run.dropped:
            return True
        self._pass_over(item)
        return False

    def _pass_over(self, item: Span) -> None:
        self._ghosts -= 1 if self._ghosts else 0
        self._ghost_bytes -= min(self._ghost_bytes, item.weight)
        if item.complete and not item.delivered:
            item.delivered = True
            item.run.let_go()
            self._discharge(item)
            self._bytes -= min(self._bytes, item.weight)
            self.dropped += item.input is not NOT_KEPT  # else it is counted already

    def _remove_newest(self) -> None:
        item = self._items.pop()
        if type(item) in {External, Marker, Begun} or item.special:
            self._items.append(item)  # what holds the tree together stays
        else:
            self._discharge(item)
            self._bytes -= min(self._bytes, item.weight)
            item.run.weight -= item.weight
            item.run.lost += 1
            self.dropped += 1
