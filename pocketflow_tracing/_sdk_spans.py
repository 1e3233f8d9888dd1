"""OpenTelemetry SDK objects for the Langfuse client of ours: its provider, its exporter, and masks over spans.

The only module that imports `opentelemetry.sdk`, and only inside functions: langfuse has imported it by then.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import gzip
import json
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from . import _log
from ._time import monotonic
from ._version import __version__
from .capture import Limits, snapshot
from .recorder import UNTRACED, current
from .records import SpanRecord
from .redaction import Rules, redact_text, rules_of
from .redaction_shapes import REPLACEMENT
from .render import render

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.proto.common.v1 import common_pb2
    from opentelemetry.proto.trace.v1 import trace_pb2
    from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExportResult

    from .config import TracingConfig

_MOST_WAITING = 20_000
"""Spans that may wait to be exported."""
_NUMBERS = frozenset({"int_value", "double_value"})
_MANY = 1 << 40
_WHOLE = Limits(max_items=_MANY, max_elements=_MANY, max_depth=200, max_text=_MANY, max_total_text=_MANY)

SCOPE = "langfuse-sdk"
"""The instrumentation scope of the SDK's spans, and of ours: the server takes their attributes as they are."""

INPUT_KEYS = (
    "langfuse.observation.input",
    "input.value",
    "gen_ai.input.messages",
    "gen_ai.prompt",
    "traceloop.entity.input",
    "gen_ai.tool.call.arguments", "tool.parameters", "llm.prompts", "embedding.text", "reranker.query",
    "pydantic_ai.all_messages", "langfuse.trace.input",
)  # fmt: skip
OUTPUT_KEYS = (
    "langfuse.observation.output", "output.value", "gen_ai.output.messages", "gen_ai.completion",
    "traceloop.entity.output", "gen_ai.tool.call.result", "final_result", "pydantic_ai.all_messages", "langfuse.trace.output",
)  # fmt: skip
INPUT_PREFIXES = (
    "gen_ai.prompt.", "llm.input_messages.", "gen_ai.system_instructions", "llm.prompts.", "embedding.embeddings.",
    "reranker.input_",
)  # fmt: skip
OUTPUT_PREFIXES = ("gen_ai.completion.", "llm.output_messages.", "retrieval.documents.", "reranker.output_")
"""Where the usual conventions keep the inputs and outputs of a span: whole, or flattened under a prefix."""
ERROR_KEYS = ("langfuse.observation.status_message", "error.message", "exception.message", "exception.stacktrace")


def is_input(key: str) -> bool:
    """Whether an attribute holds inputs."""
    return key in INPUT_KEYS or key.startswith(INPUT_PREFIXES)


def is_output(key: str) -> bool:
    """Whether an attribute holds outputs."""
    return key in OUTPUT_KEYS or key.startswith(OUTPUT_PREFIXES)


def make_provider(config: TracingConfig | None) -> TracerProvider:
    """A tracer provider of our own; in a run it follows the run's sampling, elsewhere it decides as the SDK does.

    Args:
        config: of the project, whose environment and release the SDK would have it name; None for what the store alone has.
    """
    from langfuse._utils.environment import get_common_release_envs
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

    elsewhere = ParentBased(TraceIdRatioBased(config.sample_rate if config is not None else 1.0))
    named = {
        "langfuse.environment": config.environment if config is not None else None,
        "langfuse.release": (config.release if config is not None else None) or get_common_release_envs(),
    }

    class OfTheRun(Sampler):
        of_pocketflow_tracing = True

        def should_sample(self, *args: Any, **kwargs: Any) -> Any:
            frame = current.get()
            sampler = elsewhere if frame is None else ALWAYS_OFF if frame is UNTRACED else ALWAYS_ON
            return sampler.should_sample(*args, **kwargs)

        def get_description(self) -> str:
            return "by the run"

    resource = Resource.create({name: value for name, value in named.items() if value is not None})
    return TracerProvider(sampler=OfTheRun(), resource=resource)


def is_ours(provider: Any) -> bool:
    """Whether a tracer provider is one that `make_provider` made."""
    return hasattr(getattr(provider, "sampler", None), "of_pocketflow_tracing")


def make_exporter(config: TracingConfig, submit: Callable[[bytes, int], None]) -> Any:
    """A span exporter that encodes and hands over, and never waits.

    Args:
        config: its toggles hold for generations as well.
        submit: takes (gzip of an OTLP request, number of spans).
    """
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    rules = replace(rules_of(config), limits=_WHOLE)  # what is cut the SDK decides

    class Exporter(SpanExporter):
        of_pocketflow_tracing = True
        made_by: Any = None  # the `SdkClient` whose client it exports for
        until = inf  # of `time.monotonic`: the process ends, and its provider would wait for all that is queued
        left = 0  # spans that came too late

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            if monotonic() > self.until:
                self.left += len(spans)
                return SpanExportResult.FAILURE
            message = encode_spans(spans)
            entered = is_exporting.set(True)
            try:
                covered = self._cover(message)
            finally:
                is_exporting.reset(entered)
            self.left += len(spans) - covered
            if covered:
                submit(gzip.compress(message.SerializeToString(), 1, mtime=0), covered)
            return SpanExportResult.SUCCESS

        def _cover(self, message: Any) -> int:
            """Redact a request, and take out of it what is too late for that; returns how many spans are left."""
            partly = not (config.trace_inputs and config.trace_outputs and config.trace_errors)
            covered = 0
            for resource in message.resource_spans:
                for scope in resource.scope_spans:
                    for place, span in enumerate(scope.spans):
                        if monotonic() > self.until:
                            del scope.spans[place:]
                            break
                        if partly:
                            _leave_out(span, config)
                        _redact(span, rules)
                        covered += 1
            return covered

        def shutdown(self) -> None:
            if self.left:
                _log.warn(
                    "pocketflow-tracing: %d generations are lost, for they could not be made ready before the process had to end "
                    "(POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT is %g seconds)",
                    self.left,
                    config.shutdown_timeout,
                )

        def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - what it exports is handed over at once
            return True

    return Exporter()


def _leave_out(span: trace_pb2.Span, config: TracingConfig) -> None:
    kept = [
        pair
        for pair in span.attributes
        if (config.trace_inputs or not is_input(pair.key))
        and (config.trace_outputs or not is_output(pair.key))
        and (config.trace_errors or pair.key not in ERROR_KEYS)
    ]
    del span.attributes[:]
    span.attributes.extend(kept)
    if not config.trace_errors:
        span.status.message = ""
    del span.events[:]  # messages and exceptions, in the older conventions
    for link in span.links:
        del link.attributes[:]


def _redact(span: trace_pb2.Span, rules: Rules) -> None:
    """Pass everything that user code put into a span through the rules that hold for our own."""
    span.name = _shown_text(span.name, rules)
    span.status.message = _shown_text(span.status.message, rules)
    for pair in span.attributes:
        _redact_value(pair, rules)
    for event in span.events:
        event.name = _shown_text(event.name, rules)
        for pair in event.attributes:
            _redact_value(pair, rules)
    for link in span.links:
        for pair in link.attributes:
            _redact_value(pair, rules)


def _shown_text(text: str, rules: Rules) -> str:
    shown = render(redact_text(text, rules), rules) if text else text
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def _redact_value(pair: common_pb2.KeyValue, rules: Rules) -> None:
    value = pair.value
    for item in value.array_value.values if value.WhichOneof("value") == "array_value" else [value]:
        kind = item.WhichOneof("value")
        if kind == "string_value":
            item.string_value = _redacted(pair.key, item.string_value, rules)
        elif kind in _NUMBERS and rules.redact.hits(pair.key):
            item.string_value = REPLACEMENT


def _redacted(key: str, text: str, rules: Rules) -> str:
    where = "input" if is_input(key) else "output" if is_output(key) else key
    try:
        read = json.loads(text) if text[:1] in '{["' else text
    except (ValueError, RecursionError):
        read = text
    is_message = type(read) is str and (key in ERROR_KEYS or key.startswith("exception."))
    shown = render(snapshot(redact_text(read, rules) if is_message else read, rules.limits), rules, (where,))
    if shown == read:
        return text
    return shown if isinstance(shown, str) and not text.startswith('"') else json.dumps(shown, ensure_ascii=False)


def make_forwarder(processor: Any) -> Any:
    """A span processor that leads to another one, but for its end: that provider's shutdown is not ours."""
    from opentelemetry.sdk.trace import SpanProcessor

    class Forwarder(SpanProcessor):
        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            processor.on_start(span, parent_context)

        def on_end(self, span: ReadableSpan) -> None:
            processor.on_end(span)

        def shutdown(self) -> None:
            pass

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return bool(processor.force_flush(timeout_millis))

    return Forwarder()


def widen(processor: Any) -> None:
    """Let more spans wait for a processor than OpenTelemetry does by itself, which drops what is beyond 2,048 of them.

    Ours are redacted on their way, which takes longer than to send them as they are.
    """
    batch = getattr(processor, "_batch_processor", None)
    queue = getattr(batch, "_queue", None)
    if batch is not None and type(queue) is deque and "OTEL_BSP_MAX_QUEUE_SIZE" not in os.environ:
        batch._queue = deque(queue, _MOST_WAITING)  # noqa: SLF001 - nothing else reaches it behind the SDK's back
        batch._max_queue_size = _MOST_WAITING  # noqa: SLF001 - as above


def silence(processor: Any) -> None:
    """Let a span processor take no more spans: OpenTelemetry has no way to take it from its provider.

    What it has taken it still exports.
    """

    def nothing(*_args: Any, **_kwargs: Any) -> None: ...

    processor.on_start = processor.on_end = nothing


is_exporting: ContextVar[bool] = ContextVar("pocketflow_tracing_exporting", default=False)
"""Whether an exporter of ours is at work, which has OpenTelemetry's lock for it and calls the program's mask."""

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
