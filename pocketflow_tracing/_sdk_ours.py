"""A client of the Langfuse SDK that leads into our delivery: what it has exported, and who waits for that."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, NamedTuple

from . import _sdk_spans
from ._guard import Seam, on_our_thread
from ._sdk_export import TOGETHER, Unready, is_exporting, make_exporter
from ._sdk_flush import Left, exports, left_in
from ._sdk_media import hold_back_media
from ._sdk_scores import place_scores
from ._sdk_spans import Former
from ._time import monotonic, sleep
from .config import TracingConfig
from .delivery import delivery

__all__ = ["OurClient", "Way"]

_FLUSHING = Seam("flushing the Langfuse client")
_FORMER_SECONDS = 0.1
"""Between two looks whether the SDK is through with what was under way when its client became ours."""
_SHORTEST_LOOK, _LONGEST_LOOK = 0.001, 0.02
"""Between two looks whether the worker has made ready what a client has exported."""


class Way(NamedTuple):
    """Where a client of ours leads to.

    Args:
        submit: takes (gzip of an OTLP request, number of spans).
        drop: takes the number of spans that are lost.
        settle: waits until what was submitted is delivered or on disk, or for a time of `time.monotonic`.
        wake: has the worker call `tick`.
    """

    submit: Callable[[bytes, int], None]
    drop: Callable[[int], object]
    settle: Callable[[float], bool]
    wake: Callable[[], None]


class OurClient:
    """The client of a project whose spans come to us, once there is one.

    Args:
        config: of the project.
        way: where its spans go.
    """

    def __init__(self, config: TracingConfig, way: Way) -> None:
        self._config = config
        self._settle = way.settle
        self.unready = Unready(config, way.submit, way.drop, way.wake)
        self.exporter: Any = None
        self.resources: Any = None
        self.processors: list[Any] = []  # at its own provider
        self.former = Former()  # where its spans were gathered before it became ours

    def lead_to(self, config: TracingConfig, way: Way) -> None:
        """Hand over there from now on, to another object of the project."""
        self._config = config
        self._settle = way.settle
        self.unready.lead_to(way.submit, way.drop, way.wake)

    def make_exporter(self, made_by: Any) -> Any:
        """Make the exporter of the client that is to be ours; `made_by` is who is asked about it."""
        self.exporter = make_exporter(self.unready, made_by)
        return self.exporter

    def take(self, processor: Any) -> None:
        """Take the span processor of a client that is being made, before anybody holds a method of it."""
        _sdk_spans.widen(processor)
        self._attend(processor)

    def take_over(self, processor: Any, resources: Any, made_by: Any) -> bool:
        """Take the span processor of a client that the SDK has made; False if it has to stay as it is."""
        exporter = make_exporter(self.unready, made_by)
        former = _sdk_spans.renew(processor, resources, exporter)
        if former is None:
            return False
        self.former = former
        self.exporter = resources.span_exporter = exporter
        self._attend(processor)
        return True

    def own(self, resources: Any) -> None:
        """The client is there."""
        self.resources = resources
        exporters = [*map(_sdk_spans.exporter_of, self.processors), *self.former.exporters]
        place_scores(resources, self.unready.elsewhere)
        hold_back_media(resources, exporters, self.unready.settings, self.unready.elsewhere)
        atexit.unregister(resources.shutdown)  # it would wait for a dead server

    def _attend(self, processor: Any) -> None:
        _sdk_spans.attend(processor, self.unready.settings)
        _sdk_spans.hasten(processor, self._config.flush_interval)
        self.processors = [processor]
        processor.force_flush = partial(self._flushed, processor)

    @property
    def left(self) -> Left:
        """What it sends by itself and has not sent yet: nobody else waits for it."""
        return Left(0, 0) if self.resources is None else left_in(self.resources, self.former)

    def hand_over(self, deadline: float) -> bool:
        """Have it hand over to us the spans that it holds, and make them ready."""
        with _FLUSHING:
            self.former.empty(is_the_end=delivery.is_ending)
            asked = [processor for processor in self.processors if not _sdk_spans.is_over(processor)]
            handed_over = all([exports(processor, deadline) for processor in asked])  # noqa: C419 - each of them
            return self.unready.make_ready(deadline) and handed_over
        return False

    def tick(self) -> float | None:
        """Take and make ready some spans; returns seconds until there is more to do, None where nothing waits."""
        with _FLUSHING:
            self.former.empty(is_the_end=False)
        if not self.unready.make_ready(inf, TOGETHER):
            return 0.0
        return _FORMER_SECONDS if self.former.left else None

    def is_safe(self, deadline: float) -> bool:
        """Wait until what it has exported is delivered or on disk; what was under way before it was ours is the SDK's."""
        pause, asked = _SHORTEST_LOOK, self.unready.came  # what comes after it is for others to wait for
        while (self.former.left or self.unready.gone < asked) and (left := deadline - monotonic()) > 0:
            sleep(min(left, pause))  # the worker is at it
            pause = min(2 * pause, _LONGEST_LOOK)
        return not self.former.left and self.unready.gone >= asked and self._settle(deadline)

    def _flushed(self, processor: Any, timeout_millis: int | None = None) -> bool:
        """What the program gets that flushes the client, or its provider: it may end the hard way right after it."""
        if is_exporting.get():  # a mask of the program's that flushes would wait for itself
            return False
        seconds = self._config.timeout  # which the SDK's own exporter would wait, whatever it is told
        if timeout_millis is not None:
            seconds = min(seconds, timeout_millis / 1000)
        deadline = monotonic() + seconds
        exported = exports(processor, deadline)
        if on_our_thread.get():  # as above
            return exported
        with _FLUSHING:
            return self.is_safe(deadline) and exported
        return False
