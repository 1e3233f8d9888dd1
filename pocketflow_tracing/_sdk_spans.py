"""The span processors of the Langfuse client of ours, whose settings hold for what they export, and masks over spans.

OpenTelemetry SDK objects are made inside functions, where langfuse has imported `opentelemetry.sdk` already.
"""
# ruff: noqa: PLC0415, SLF001 - imported already, and OpenTelemetry has no other way to these

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ._conventions import SCOPE
from ._guard import on_our_thread
from ._sdk_providers import is_ours, processors_of
from ._sdk_told import tell, tell_outside, told
from ._time import time_ns
from ._version import __version__
from .recorder import current, span_of
from .records import SpanRecord

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExportResult

    from ._sdk_told import Switches
    from .redaction import Rules

_MOST_WAITING = _MOST_NOTED = 20_000
"""Spans that may wait to be exported, and of which it is known whose settings hold."""
_LOOK_SECONDS = 0.05
"""In which a thread of the SDK's takes from its queue what it sends next."""


def widen(processor: Any) -> None:
    """Let more spans wait for a processor than OpenTelemetry does by itself, which drops what is beyond 2,048 of them.

    Ours are redacted on their way, which takes longer than to send them as they are.
    """
    batch = getattr(processor, "_batch_processor", None)
    queue = getattr(batch, "_queue", None)
    if batch is not None and type(queue) is deque and "OTEL_BSP_MAX_QUEUE_SIZE" not in os.environ:
        batch._queue = deque(queue, _MOST_WAITING)
        batch._max_queue_size = _MOST_WAITING


def hasten(processor: Any, seconds: float) -> None:
    """Let a processor export what it holds after so many seconds; after five, as the SDK does, a killed process loses more."""
    batch: Any = getattr(processor, "_batch_processor", None)
    awaken = getattr(batch, "_worker_awaken", None)
    if awaken is not None and hasattr(batch, "_schedule_delay"):
        batch._schedule_delay = min(batch._schedule_delay, seconds)
        awaken.set()  # it would first wait as long as it was told before


def attend(processor: Any, settings: SettingsOfSpans) -> None:
    """Note whose settings hold for what a processor exports, and let it export nothing that is recorded on threads of ours.

    A mask may ask a model there, and would be asked about that in turn.

    Args:
        processor: of a client that we made.
        settings: where it is noted.
    """
    from ._otel_span import context_now, span_in

    def note(span: Any, parent_context: Context | None) -> None:
        # a thread may have OpenTelemetry's context without Python's (opentelemetry-instrumentation-threading)
        around = span_of(current.get()) or span_in(context_now() if parent_context is None else parent_context)
        if around is None:
            remember(span)
            return
        pipeline = around.run.pipeline
        known = pipeline.told
        settings.begin(span.context.span_id, known.switches, pipeline.rules)
        if around.run.parent_id is not None:  # else all of its trace is the run
            tell(span.context.span_id, known)

    def remember(span: Any) -> None:
        """Find out by ids what holds for a span that began in no run that is seen here, or before this client was ours."""
        above = [span.parent.span_id] if span.parent is not None else []
        is_older = span.start_time < since  # than that this client is ours: it began before every run
        known = None if is_older else told(span.context.trace_id, span.context.span_id, *above)
        if known is None:
            tell_outside(span.context.span_id)
        else:
            settings.begin(span.context.span_id, known.switches, known.rules)
            tell(span.context.span_id, known)

    def on_start(span: Any, parent_context: Context | None = None) -> None:
        if on_our_thread.get():  # nor is it to keep what only `on_end` lets go of
            return
        type(processor).on_start(processor, span, parent_context)
        note(span, parent_context)

    def on_end(span: ReadableSpan) -> None:
        try:
            if span.context.span_id not in settings:  # whoever ends it, and wherever
                remember(span)
            if batch is None:
                settings.keep(span.context.span_id)
            if not on_our_thread.get():
                type(processor).on_end(processor, span)
        finally:
            settings.end(span.context.span_id)

    def emit(span: ReadableSpan) -> None:  # what on_end does with those that are to be exported
        settings.keep(span.context.span_id)
        type(batch).emit(batch, span)

    since = time_ns()
    batch: Any = getattr(processor, "_batch_processor", None)
    processor.on_start, processor.on_end = on_start, on_end
    if batch is not None:  # as since OpenTelemetry 1.34
        batch.emit = emit


class SettingsOfSpans:
    """Whose settings hold for spans that have begun in runs: until they end, and of those to be exported until then.

    Where spans are lost on their way, those of the oldest are forgotten.
    """

    def __init__(self) -> None:
        self._open: dict[int, tuple[Switches, Rules]] = {}
        self._going: dict[int, tuple[Switches, Rules]] = {}

    def begin(self, span_id: int, switches: Switches, rules: Rules) -> None:
        """Note them for a span."""
        _put(self._open, span_id, (switches, rules))

    def __contains__(self, span_id: int) -> bool:
        return span_id in self._open

    def of(self, span_id: int) -> tuple[Switches, Rules] | None:
        """Those of a span that has begun in a run and is not exported yet."""
        return self._open.get(span_id) or self._going.get(span_id)

    def keep(self, span_id: int) -> None:
        """A span is to be exported."""
        if (known := self._open.get(span_id)) is not None:
            _put(self._going, span_id, known)

    def end(self, span_id: int) -> None:
        """A span has ended."""
        self._open.pop(span_id, None)

    def take(self, span_id: int) -> tuple[Switches, Rules] | None:
        """A span is exported; None for one that has begun in no run."""
        return self._going.pop(span_id, None)


def _put(known: dict[int, Any], span_id: int, settings: Any) -> None:
    if len(known) >= _MOST_NOTED:
        with contextlib.suppress(RuntimeError, StopIteration, KeyError):  # others begin spans at the same time
            del known[next(iter(known))]
    known[span_id] = settings


def exporter_of(processor: Any) -> Any:
    """What a processor of the SDK's exports with; None where OpenTelemetry keeps it elsewhere."""
    return getattr(getattr(processor, "_batch_processor", None), "_exporter", None)


def is_over(processor: Any) -> bool:
    """Whether a processor of the SDK's was shut down, with its provider, and has exported all that it had."""
    batch: Any = getattr(processor, "_batch_processor", None)
    is_shut_down = getattr(batch, "_shutdown", False) is True
    return is_shut_down and not (batch._queue or batch._worker_thread.is_alive())


class Former:
    """Where the processor of a client gathered its spans before the client became ours: what is under way is the SDK's to send.

    Args:
        batch: OpenTelemetry's, which the SDK's thread empties; None where the client has always been ours.
    """

    def __init__(self, batch: Any = None) -> None:
        self._batch = batch

    @property
    def exporters(self) -> list[Any]:
        """What exports it."""
        return [] if self._batch is None else [self._batch._exporter]

    @property
    def left(self) -> int:
        """Spans that wait there, and one for those that are under way."""
        batch = self._batch
        return 0 if batch is None else len(batch._queue) + batch._export_lock.locked()

    def empty(self, *, is_the_end: bool) -> None:
        """Export what waits there.

        Args:
            is_the_end: take it also from behind what is under way, whose end nobody can wait for: the SDK's thread waits for it.
        """
        batch = self._batch
        if batch is None or not batch._queue:
            return
        is_held = batch._export_lock.acquire(timeout=_LOOK_SECONDS if is_the_end else 0)
        try:
            if is_held or is_the_end:
                waiting: list[Any] = []
                with contextlib.suppress(IndexError):
                    while True:
                        waiting.append(batch._queue.pop())
                batch._exporter.export(waiting)
        finally:
            if is_held:
                batch._export_lock.release()


def renew(processor: Any, resources: Any, exporter: Any) -> Former | None:
    """Have the SDK's processor gather its spans anew, for another exporter, past the media that it sees to.

    Args:
        processor: of a client of the program's.
        resources: of that client.
        exporter: takes the place of the one which the SDK has made, also of what waits already.

    Returns:
        Where it has gathered them before; None if it has to stay as it is.
    """
    from langfuse._client.span_exporter import LangfuseTransformingSpanExporter
    from langfuse._client.span_processor import LangfuseSpanProcessor
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    batch: Any = getattr(processor, "_batch_processor", None)
    last: Any = getattr(batch, "_exporter", None)
    kinds = type(last), type(getattr(last, "_exporter", None))
    if kinds != (LangfuseTransformingSpanExporter, OTLPSpanExporter) or not hasattr(batch, "_export_lock"):
        return None
    made: Any = LangfuseSpanProcessor(
        public_key=resources.public_key,
        secret_key=resources.secret_key,
        base_url=resources.base_url,
        timeout=resources.timeout,
        span_exporter=exporter,
        media_manager=resources._media_manager,
    )
    widen(made)
    last._exporter = exporter
    processor._batch_processor = made._batch_processor
    return Former(batch)


def silence(processor: Any) -> None:
    """Let a span processor take no more spans: OpenTelemetry has no way to take it from its provider.

    What it has taken it still exports.
    """

    def nothing(*_args: Any, **_kwargs: Any) -> None: ...

    processor.on_start = processor.on_end = nothing


def end(resources: Any, processors: Sequence[Any]) -> None:
    """End what `shutdown` of the SDK's client leaves running: the threads of its processors and of its cache of prompts.

    Args:
        resources: of the client.
        processors: of its spans, which no other client has.
    """
    provider = resources.tracer_provider
    if is_ours(provider):
        provider.shutdown()  # its processors as well, and it is to be called at exit no more
    else:
        several = processors_of(provider)
        if several is not None:
            with several._lock:
                several._span_processors = tuple(
                    one for one in several._span_processors if not any(one is gone for gone in processors)
                )
        for processor in processors:
            processor.shutdown()
    manager = getattr(getattr(resources, "prompt_cache", None), "_task_manager", None)
    if manager is not None:
        manager.shutdown()


Described = tuple[SpanRecord, dict[str, Any]]


def masked(hook: Callable[..., Any], public_key: str, spans: Sequence[Described]) -> list[Described]:
    """Spans as the user's `mask_otel_spans` lets them out; the SDK's own rules say what a bad answer drops.

    Args:
        hook: of the user's client.
        public_key: of the project.
        spans: records with the attributes they are to be sent with.
    """
    from langfuse._client.span_exporter import LangfuseTransformingSpanExporter
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, TraceFlags

    let_out: dict[str, dict[str, Any]] = {}

    class Taker(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            let_out.update(
                {f"{span.context.span_id:016x}": dict(span.attributes or {}) for span in spans if span.context}
            )
            return SpanExportResult.SUCCESS

    def place(record: SpanRecord, span_id: str) -> SpanContext:
        return SpanContext(int(record.trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1))

    scope = InstrumentationScope(SCOPE, __version__, attributes={"public_key": public_key})
    exporter = LangfuseTransformingSpanExporter(exporter=Taker(), media_manager=None, mask_otel_spans=hook)
    exporter.export(
        [
            ReadableSpan(
                record.name,
                context=place(record, record.span_id),
                parent=place(record, record.parent_id) if record.parent_id else None,
                attributes=attributes,
                instrumentation_scope=scope,
            )
            for record, attributes in spans
        ]
    )
    return [(record, let_out[record.span_id]) for record, _ in spans if record.span_id in let_out]
