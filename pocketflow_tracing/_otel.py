"""The OpenTelemetry context that user code runs in: what makes a generation nest under the phase that made it.

While a phase runs, the current OpenTelemetry span is a non-recording one with our ids; whoever starts a span there
becomes its child. The baggage entry `langfuse_trace_id` keeps the Langfuse SDK from marking that child as an
application root, and the keys `langfuse.propagated.*` are the ones `langfuse.propagate_attributes` uses, so that
session, user and tags reach it too (langfuse 4.12 to 5.x; held by tests against each).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags

from ._guard import is_hosts
from ._sdk import decoded, instances

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_PROPAGATED = ("session_id", "user_id", "tags", "metadata", "version", "environment", "trace_name")
_MAX_TEXT = 200
"""Characters of a propagated metadata value; the SDK takes no longer ones."""


_SPAN_KEY = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
_runtime: Any = otel_context._RUNTIME_CONTEXT  # noqa: SLF001 - `opentelemetry.context.detach` logs what is no error here
_variable = getattr(_runtime, "_current_context", None)
# Straight at its ContextVar, three times a visit, where the context is kept in one (OTEL_PYTHON_CONTEXT may say otherwise).
_get, _set, _reset = (
    (_variable.get, _variable.set, _variable.reset)
    if isinstance(_variable, ContextVar)
    else (_runtime.get_current, _runtime.attach, _runtime.detach)
)


class _Here(NonRecordingSpan):
    """Our span as OpenTelemetry sees it.

    What is asked of it is found out only then, which saves 0.9 µs a phase. In all but its ids it is the program's span
    around the run: what is noted on it is noted there, what is read is read there, and it is sampled as that one is.
    """

    # three attributes, not a tuple: a thousand items in flight are a thousand objects less for the collector to look at
    _trace_id: int
    _span_id: int
    _outside: Context  # the context around

    def get_span_context(self) -> SpanContext:
        around = self._around().get_span_context()
        if around.is_valid:
            flags = around.trace_flags
        else:
            root = self._outside.get(_ROOT_KEY)
            flags = root.flags() if isinstance(root, _Root) else _SAMPLED
        return SpanContext(self._trace_id, self._span_id, is_remote=False, trace_flags=flags)

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # for `isinstance(span, ReadableSpan)`
        return type(self._around())

    def __getattr__(self, name: str) -> Any:
        if name == "_outside":
            raise AttributeError(name)
        return getattr(self._around(), name)

    def end(self, end_time: int | None = None) -> None:
        self._around().end(end_time)

    def _around(self) -> Span:
        span = self._outside.get(_SPAN_KEY)
        while type(span) is _Here:
            span = span._outside.get(_SPAN_KEY)  # noqa: SLF001 - our own class
        return span if isinstance(span, Span) else trace.INVALID_SPAN

    def is_recording(self) -> bool:
        return self._around().is_recording()

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self._around().set_attributes(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        self._around().set_attribute(key, value)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        self._around().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        self._around().add_link(context, attributes)

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        self._around().record_exception(exception, attributes, timestamp, escaped)

    def set_status(self, status: Any, description: str | None = None) -> None:
        self._around().set_status(status, description)

    def update_name(self, name: str) -> None:
        self._around().update_name(name)

    def __reduce__(self) -> tuple[Any, ...]:  # a copy says where it was made, and is nobody's current span
        return NonRecordingSpan, (self.get_span_context(),)

    def __repr__(self) -> str:
        return f"NonRecordingSpan({self.get_span_context()!r})"


class _Root:
    """The beginning of a trace with a run, which the program's own OpenTelemetry might not have sampled.

    Spans of the program below ours are no roots, so that its sampler, if it is one that follows parents, would take our
    word for it. We ask it in their place, once a run.
    """

    __slots__ = ("_flags", "_name", "_trace_id")

    def __init__(self, trace_id: int, name: str) -> None:
        self._trace_id = trace_id
        self._name = name
        self._flags: TraceFlags | None = None

    def flags(self) -> TraceFlags:
        if self._flags is None:
            self._flags = _SAMPLED if self._is_sampled() else TraceFlags(TraceFlags.DEFAULT)
        return self._flags

    def _is_sampled(self) -> bool:
        provider = trace.get_tracer_provider()
        sampler = getattr(provider, "sampler", None)
        # what the Langfuse SDK records through a provider of its own is not for the other one to drop
        if sampler is None or any(client.tracer_provider is not provider for client in [*instances().values()]):
            return True
        try:
            return bool(sampler.should_sample(Context(), self._trace_id, self._name).decision.is_sampled())
        except Exception as error:  # it is asked for the span itself as well, and may raise there
            if is_hosts(error, theirs=True):
                raise
            return True


_ROOT_KEY = otel_context.create_key("pocketflow-tracing-root")
_new_here = _Here.__new__
_put = dict.__setitem__


def surrounding() -> tuple[int, int, bool] | None:
    """The OpenTelemetry span around the caller: (trace id, span id, whether the Langfuse SDK made it), or None."""
    span = trace.get_current_span()
    context = span.get_span_context()
    if not context.is_valid:
        return None
    scope = getattr(span, "instrumentation_scope", None)
    from_langfuse = getattr(scope, "name", None) == "langfuse-sdk"
    claimed = baggage.get_baggage("langfuse_trace_id") == f"{context.trace_id:032x}"
    return context.trace_id, context.span_id, from_langfuse or claimed


def propagated() -> dict[str, Any]:
    """What `langfuse.propagate_attributes` blocks around the caller say, by our names."""
    context = otel_context.get_current()
    if not context:
        return {}
    found = {name: context.get(f"langfuse.propagated.{name}") for name in _PROPAGATED}
    metadata = found["metadata"]
    if isinstance(metadata, dict):  # langfuse 5 keeps each value JSON-encoded, 4 keeps plain texts
        found["metadata"] = {key: decoded(value) for key, value in metadata.items()}
    return {name: value for name, value in found.items() if value is not None}


def root_context(trace_id: int, name: str) -> Context:
    """The context of what begins a trace of this id, for the program's own sampling."""
    return otel_context.set_value(_ROOT_KEY, _Root(trace_id, name))


def run_context(trace_id: int, name: str, attributes: Mapping[str, Any]) -> Context:
    """The context of a whole run: the baggage that claims the trace and the attributes that nested spans take over.

    Args:
        trace_id: of the run.
        name: of the trace, where the attributes have no `trace_name`.
        attributes: of the run, with its metadata as texts under `metadata_texts`.
    """
    context = baggage.set_baggage("langfuse_trace_id", f"{trace_id:032x}", root_context(trace_id, name))
    values = {key: attributes.get(key) for key in ("session_id", "user_id", "version", "environment", "tags")}
    values["trace_name"] = attributes.get("trace_name", name)
    texts = attributes.get("metadata_texts") or {}
    values["metadata"] = {key: text for key, text in texts.items() if len(text) <= _MAX_TEXT}
    for key, value in values.items():
        if value:
            context = otel_context.set_value(f"langfuse.propagated.{key}", value, context)
    return context


def attach(scope: Any, trace_id: int, span_id: int, *, base: Context | None = None) -> None:
    """Make our span the current one for OpenTelemetry, and give the scope its token as `attached`, for `detach`."""
    here = _new_here(_Here)  # past an __init__ that would want the context now
    around = _get()
    outside = base or around
    here._trace_id, here._span_id, here._outside = trace_id, span_id, outside  # noqa: SLF001 - our own class
    context = Context(outside)
    _put(context, _SPAN_KEY, here)  # it is nobody else's yet
    try:
        scope.attached = _set(context)
    except BaseException:  # a Ctrl-C after it was set
        if _get() is context:
            _set(around)
            scope.attached = None
        raise


detach: Callable[[Token[Context]], None] = _reset
"""Put the context back as it was before `attach`.

Raises:
    ValueError: from another context, of a coroutine that is closed from elsewhere (garbage collection of an abandoned
        task). It need not put it back: its context ends with it. `opentelemetry.context.detach` would log that.
"""
