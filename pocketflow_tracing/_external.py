"""Spans of other instrumentations in a run (LLM generations), seen through a span processor: for the store, and for Langfuse.

Where there is a client of the SDK's, that one sees to what Langfuse gets of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry import trace

from . import _sdk, _sdk_providers
from ._conventions import (
    BESIDE_INPUT,
    INPUT_KEYS,
    MODEL_KEYS,
    OUTPUT_KEYS,
    USAGE_KEYS,
    decoded,
    is_error,
    is_input,
    is_kept,
    is_of_a_model,
    is_output,
    says_what_it_is,
)
from ._guard import Seam
from ._queue_items import External
from ._sdk_clients import AFTER_MAKING
from ._sdk_export import weight_of
from ._sdk_import import imported, when_imported
from ._weak import Gone
from .delivery import delivery
from .recorder import Run, current, span_of
from .records import Json, SpanRecord, Status
from .redaction import redact_text
from .redaction_shapes import REPLACEMENT
from .redaction_spans import names_a_secret, path_of
from .render import render

_STARTED = Seam("noticing a span of another instrumentation")
_ENDED = Seam("recording a span of another instrumentation")
_WATCHING = Seam("getting ready for spans of other instrumentations")
_MAX_OPEN = 100_000
"""Spans that were begun and not ended, and that somebody holds."""

_watched: list[Any] = []  # the providers our processor was added to


def watch() -> None:
    """Add our processor to the tracer providers of the process, each once, for the store."""
    with _WATCHING:
        if not imported():
            when_imported(watch)
        if watch not in AFTER_MAKING:
            AFTER_MAKING.append(watch)  # a client that the program makes in a run may have a provider of its own
        _sdk.record_without_account(_make_processor)
        _watch(trace.get_tracer_provider())
        for _, resources in list(_sdk.instances().items()):
            _watch(resources.tracer_provider)


def watch_for_langfuse() -> None:
    """Add our processor to the program's tracer provider, for a project of Langfuse's without a client of the SDK's."""
    with _WATCHING:
        _watch(trace.get_tracer_provider())


def _watch(provider: Any) -> None:
    # a proxy takes no processors: nothing records spans in this process
    if hasattr(provider, "add_span_processor") and not any(provider is known for known in _watched):
        _watched.append(provider)
        _sdk_providers.add(provider, _make_processor())


def _make_processor() -> Any:
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor  # noqa: PLC0415 - a provider is there, so it is too

    open_spans: dict[int, tuple[weakref.ref[Span], Run]] = {}
    gone = Gone()

    class Processor(SpanProcessor):
        __slots__ = ()  # who walks through a tracer provider finds nothing of the runs, see `_sdk_export`

        def on_start(self, span: Span, parent_context: Any = None) -> None:  # noqa: ARG002 - the run is in our own context
            with _STARTED:
                above = span_of(current.get())
                if above is None or span.context.trace_id != above.run.trace_id or not _is_asked_for(above.run):
                    return
                # one that goes without an end keeps its run until now, and not longer: what the collector has found with it, as a
                # stream that nobody has read to its end, may have ended it later
                gone.sweep(open_spans)
                if len(open_spans) >= _MAX_OPEN:
                    _, run = open_spans.pop(next(iter(open_spans)))
                    delivery.queue.leave_out(run)
                open_spans[span.context.span_id] = gone.watch(span, span.context.span_id), above.run

        def on_end(self, span: ReadableSpan) -> None:
            with _ENDED:
                known = open_spans.pop(span.context.span_id, None) if span.context is not None else None
                if known is not None and (sinks := _sinks_for(run := known[1], span)):
                    delivery.queue.put_external(External(run, partial(_made, run, sinks, span), weight_of(span)))

        def shutdown(self) -> None:
            open_spans.clear()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - it holds nothing back
            return True

    return Processor()


def _is_asked_for(run: Run) -> bool:
    pipeline = run.pipeline
    return pipeline.local is not None or (pipeline.langfuse is not None and not pipeline.langfuse.has_client)


def _sinks_for(run: Run, span: Any) -> list[Any]:
    """The store gets every span, Langfuse those that its SDK would send by itself."""
    pipeline = run.pipeline
    sinks: list[Any] = [] if pipeline.local is None else [pipeline.local]
    if pipeline.langfuse is not None and not pipeline.langfuse.has_client:
        scope = span.instrumentation_scope.name if span.instrumentation_scope else ""
        if is_of_a_model(scope, span.attributes or ()):
            sinks.append(pipeline.langfuse)
    return sinks


def _made(run: Run, sinks: list[Any], span: Any) -> tuple[Run, list[Any], SpanRecord]:
    return run, sinks, external_record(run, span)


def external_record(run: Run, span: Any) -> SpanRecord:
    """The record of an ended OpenTelemetry span, whichever of the usual conventions its attributes follow.

    Args:
        run: the run it belongs to.
        span: an `opentelemetry.sdk.trace.ReadableSpan`.
    """
    attributes = dict(span.attributes or {})
    pipeline = run.pipeline
    failed = span.status.status_code.name == "ERROR" or attributes.get("langfuse.observation.level") == "ERROR"
    status: Status = "error" if failed else "success"
    message = attributes.get("langfuse.observation.status_message") or span.status.description
    other = {
        key: _attribute(key, value, run)
        for key, value in attributes.items()
        if (pipeline.inputs if key.startswith(BESIDE_INPUT) else not (is_input(key) or is_output(key)))
        and _may_be_shown(key, value, run)
    }
    assert run.root is not None  # noqa: S101 - a run is announced by its root
    return SpanRecord(
        run_id=f"{run.root.span_id:016x}",
        trace_id=f"{run.trace_id:032x}",
        span_id=f"{span.context.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}" if span.parent is not None else None,
        kind="external",
        name=str(_rendered(span.name, run)),
        status=status,
        start_ns=span.start_time,
        end_ns=span.end_time,
        input=_first(attributes, INPUT_KEYS, is_input, run) if pipeline.inputs else None,
        output=_first(attributes, OUTPUT_KEYS, is_output, run) if pipeline.outputs else None,
        error={"type": "error", "message": redact_text(str(_rendered(message or "", run)), pipeline.rules)}
        if failed and pipeline.errors
        else None,
        attributes={
            "type": str(
                attributes.get("langfuse.observation.type") or attributes.get("openinference.span.kind") or "span"
            ),
            "scope": span.instrumentation_scope.name if span.instrumentation_scope else None,
            "otel": _plain(other, run),
        },
        model=next((str(_plain(attributes[key], run)) for key in MODEL_KEYS if attributes.get(key)), None),
        usage=_usage(attributes),
        cost=_cost(attributes),
    )


def _may_be_shown(key: str, value: Any, run: Run) -> bool:
    pipeline = run.pipeline
    return is_kept(key, value, inputs=pipeline.inputs, outputs=pipeline.outputs, errors=pipeline.errors)


def _attribute(key: str, value: Any, run: Run) -> Json:
    rules = run.pipeline.plain_rules if says_what_it_is(key) else run.pipeline.rules
    if names_a_secret(key, rules):
        return REPLACEMENT
    read = redact_text(str(value), rules) if is_error(key) else decoded(value)
    return render(run.pipeline.capture.snapshot(read), rules, path_of(key, rules))


def _plain(value: Any, run: Run) -> Json:
    return render(run.pipeline.capture.snapshot(value), run.pipeline.plain_rules)


def _rendered(value: Any, run: Run) -> Json:
    return render(run.pipeline.capture.snapshot(value), run.pipeline.rules)


def _first(attributes: dict[str, Any], keys: tuple[str, ...], belongs: Callable[[str], bool], run: Run) -> Json:
    for key in keys:
        if key in attributes and _may_be_shown(key, attributes[key], run):  # some hold inputs and outputs
            return _rendered(decoded(attributes[key]), run)
    flattened = {key: value for key, value in attributes.items() if belongs(key) and _may_be_shown(key, value, run)}
    return _rendered(flattened, run) if flattened else None


def _usage(attributes: dict[str, Any]) -> dict[str, int] | None:
    details = decoded(attributes.get("langfuse.observation.usage_details"))
    if isinstance(details, dict):
        return {str(key): value for key, value in details.items() if type(value) is int} or None
    usage: dict[str, int] = {}
    for name, keys in USAGE_KEYS.items():
        value = next((attributes[key] for key in keys if type(attributes.get(key)) is int), None)
        if value is not None:
            usage[name] = value
    if usage and "total" not in usage:
        usage["total"] = sum(usage.values())
    return usage or None


_MOST = 1e300


def _cost(attributes: dict[str, Any]) -> float | None:
    details = decoded(attributes.get("langfuse.observation.cost_details"))
    if not isinstance(details, dict):
        return None
    # neither NaN nor infinite, which JSON has no numbers for
    numbers = {
        key: float(value) for key, value in details.items() if type(value) in {int, float} and abs(value) < _MOST
    }
    return numbers.get("total", sum(numbers.values())) if numbers else None
