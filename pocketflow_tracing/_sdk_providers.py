"""The tracer provider of the Langfuse client of ours, the program's that may stand in its place, and the processors in them.

OpenTelemetry SDK objects are made inside functions, where langfuse has imported `opentelemetry.sdk` already.
"""
# ruff: noqa: PLC0415, SLF001 - imported already, and OpenTelemetry has no other way to these

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._guard import Tolerating
from .recorder import Untraced, current, span_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider

    from .config import TracingConfig

_MOST_HELD = 20
"""Processors in one that are looked at: it may be one that gathers spans."""
_MOST_BEHIND = 3
"""Providers, one behind the other."""


def make_provider(config: TracingConfig | None) -> TracerProvider:
    """A tracer provider of our own; in a run it follows the run's sampling, elsewhere it decides as the SDK does.

    Args:
        config: of the project, whose environment and release the SDK would have it name; None for what the store alone has.
    """
    from langfuse._utils.environment import get_common_release_envs
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

    named = {
        "langfuse.environment": config.environment if config is not None else None,
        "langfuse.release": (config.release if config is not None else None) or get_common_release_envs(),
    }
    resource = Resource.create({name: value for name, value in named.items() if value is not None})
    rate = config.sample_rate if config is not None else 1.0
    # at a rate of 1 the SDK leaves it to OpenTelemetry, which has variables of its own
    provider = TracerProvider(sampler=TraceIdRatioBased(rate) if rate < 1 else None, resource=resource)
    by_itself = provider.sampler
    by_trace_id = isinstance(by_itself, TraceIdRatioBased)
    elsewhere = ParentBased(by_itself) if by_trace_id else by_itself
    kind: Any = TraceIdRatioBased if by_trace_id else Sampler  # the SDK asks that kind alone about the traces of scores

    class OfTheRun(kind):  # type: ignore[misc]
        of_pocketflow_tracing = True

        def should_sample(self, *args: Any, **kwargs: Any) -> Any:
            frame = current.get()
            if type(frame) is Untraced and not frame.is_over:  # a run that is not recorded, in a trace that may be
                return (ALWAYS_OFF if frame.is_sampled_out else by_itself).should_sample(*args, **kwargs)
            return (elsewhere if span_of(frame) is None else ALWAYS_ON).should_sample(*args, **kwargs)

        def get_description(self) -> str:
            return "by the run"

    provider.sampler = OfTheRun(by_itself.rate) if isinstance(by_itself, TraceIdRatioBased) else OfTheRun()
    return provider


def is_ours(provider: Any) -> bool:
    """Whether a tracer provider is one that `make_provider` made."""
    return hasattr(getattr(provider, "sampler", None), "of_pocketflow_tracing")


def add(provider: Any, processor: Any) -> None:
    """Add a span processor to a tracer provider, and take none away: Phoenix's ends its own exporter for the first that comes."""
    parameters: Any = ()
    with contextlib.suppress(TypeError, ValueError):  # it says of itself what it takes
        parameters = inspect.signature(provider.add_span_processor).parameters
    settings = {"replace_default_processor": False} if "replace_default_processor" in parameters else {}
    provider.add_span_processor(processor, **settings)


class Ahead:
    """A tracer provider ahead of another one, that sees the SDK's span processor on its way: beyond, nobody may find it.

    Args:
        provider: that this one leads to; the program's may put a processor into one of its own.
        see: takes the processor.
    """

    def __init__(self, provider: Any, see: Callable[[Any], None]) -> None:
        self._provider = provider
        self._see = see

    def add_span_processor(self, processor: Any) -> None:
        self._see(processor)
        add(self._provider, processor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def step_aside(self, resources: Any) -> None:
        """Let a client that has been made have the provider itself."""
        resources.tracer_provider = self._provider


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


def move(resources: Any, provider: Any) -> None:
    """Let a client record at another tracer provider.

    Args:
        resources: of the client, which nobody has yet.
        provider: has what leads to the client's processor.
    """
    from langfuse import __version__ as version
    from langfuse._client.constants import LANGFUSE_TRACER_NAME

    about = {"public_key": resources.public_key}
    resources._otel_tracer = provider.get_tracer(LANGFUSE_TRACER_NAME, version, attributes=about)
    resources.tracer_provider = provider


def processors_of(provider: Any) -> Any:
    """The object that holds the span processors of a tracer provider, which may stand behind another one, as logfire's does."""
    for _ in range(_MOST_BEHIND):
        several = getattr(provider, "_active_span_processor", None)
        if several is not None:
            return several
        provider = getattr(provider, "provider", None)
    return None


def sdks_in(processor: Any, depth: int = 4) -> list[Any]:
    """The SDK's own span processors in one of a provider's: itself, or those that it holds, filters or has several of."""
    from langfuse._client.span_processor import LangfuseSpanProcessor

    if issubclass(type(processor), LangfuseSpanProcessor):
        return [processor]
    if depth == 0:
        return []
    held: list[Any] = []
    with Tolerating(Exception, theirs=True):  # it is the program's, and may answer anything
        held = [getattr(processor, "__wrapped__", None), *vars(processor).values()]
    several = [one for value in held for one in (value[:_MOST_HELD] if type(value) in {list, tuple} else [value])]
    return [
        found
        for one in several
        if issubclass(type(one), LangfuseSpanProcessor) or hasattr(type(one), "on_end")
        for found in sdks_in(one, depth - 1)
    ]


def exporting(resources: Any) -> list[Any]:
    """What exports the spans of a client: its span processor, or its whole provider where that one is not found in it."""
    provider = resources.tracer_provider
    return own_processors(resources) or ([] if provider is None else [provider])


def own_processors(resources: Any) -> list[Any]:
    """The client's own span processor, among those of the provider it may share with others."""
    several = getattr(processors_of(resources.tracer_provider), "_span_processors", ())
    found = {id(item): item for one in several for item in sdks_in(one)}
    return [item for item in found.values() if item.public_key == resources.public_key]
