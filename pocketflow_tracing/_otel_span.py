"""Our span as OpenTelemetry sees it: the current one while user code of a run runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags

from ._finalisers import guarded
from ._otel_sampling import is_sampled
from ._sdk_told import tell
from .recorder import current, span_of

_LITELLM = "litellm.integrations.opentelemetry"
"""litellm opens a span for a call only where none is current, and writes on that one otherwise, often after a phase has ended.

It is told that there is none, and the span that it opens then stands below ours all the same (litellm 1.110).
"""
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_DROPPED = TraceFlags(TraceFlags.DEFAULT)

SPAN_KEY = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
_runtime: Any = otel_context._RUNTIME_CONTEXT  # noqa: SLF001 - `opentelemetry.context.detach` logs what is no error here
_variable = getattr(_runtime, "_current_context", None)
# Straight at its ContextVar, three times a visit, where the context is kept in one (OTEL_PYTHON_CONTEXT may say otherwise).
context_now, become_context = (
    (_variable.get, _variable.set) if isinstance(_variable, ContextVar) else (_runtime.get_current, _runtime.attach)
)
become_context = guarded(become_context)


class _Held(Span):
    """What a `Here` holds."""

    # two slots, neither a tuple nor a dict: a thousand items in flight are a thousand objects less for the collector to look at
    __slots__ = ("_outside", "_scope")
    _scope: Any
    _outside: Context  # the context around


class Here(_Held):
    """Our span as OpenTelemetry sees it.

    No `NonRecordingSpan`, though it records nothing: a tracer that is switched off hands out the current span where that is one,
    to be named and ended, and what is around ours is the program's.

    What is asked of it is found out only then, which saves 0.9 µs a phase. In all but its ids it is the program's span
    around the run: what is noted on it is noted there, what is read is read there, and it is sampled as that one is.
    """

    __slots__ = ()  # who walks through the attributes of a span finds no run

    def get_span_context(self) -> SpanContext:
        scope = self._scope
        now = span_of(current.get())
        if not self._stands(now):
            return trace.get_current_span(lasting(self._outside, now)).get_span_context()
        if _LITELLM in sys.modules and is_here(self):
            asking = sys._getframe(1).f_globals  # noqa: SLF001 - no other way to know who asks
            if asking.get("__name__") == _LITELLM:
                return trace.INVALID_SPAN_CONTEXT
        span = self._ours()
        if span is None:
            return SpanContext(scope.trace_id, 1, is_remote=False, trace_flags=_DROPPED)
        span.hold()
        if span.run.parent_id is not None:  # else its trace is known
            tell(span.span_id, span.run.pipeline.told)
        around = self._around().get_span_context()
        flags = around.trace_flags if around.is_valid else _SAMPLED if is_sampled(span.run) else _DROPPED
        # what other vendors and samplers keep in the state goes on, and who decides by where the parent is decides as before
        return SpanContext(
            span.run.trace_id,
            span.span_id,
            is_remote=around.is_remote,
            trace_flags=flags,
            trace_state=around.trace_state,
        )

    def _ours(self) -> Any:
        """The span of ours that it is: of its scope; once that is closed, the one that user code of the run runs in."""
        span = span_of(self._scope)
        if self._scope.attached is None and span is not None:
            now = span_of(current.get())
            if now is not None and now.run is span.run:
                return now
        return span

    def _stands(self, now: Any) -> bool:
        """Whether it is more than the span around.

        It is not where the host goes back to it after its run. What the run has left running, with Python's context, still
        belongs to it; a thread with nothing but OpenTelemetry's context belongs to it until it ends.

        Args:
            now: the span of ours that user code runs in; None to count nothing of what a run that is over has left running.
        """
        if self._scope.attached is not None:
            return True
        span = span_of(self._scope)
        if span is None:
            return False
        return (now is not None and now.run is span.run) or not span.run.is_over

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
        span = self._outside.get(SPAN_KEY)
        while type(span) is Here:
            span = span._outside.get(SPAN_KEY)  # noqa: SLF001 - our own class
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


def span_in(context: Context) -> Any:
    """The span of ours that is the current one of a context, None where it is another's, or of a run that is over."""
    here = context.get(SPAN_KEY)
    return here._ours() if type(here) is Here and here._stands(None) else None  # noqa: SLF001 - our own class


def is_here(span: Any) -> bool:
    """Whether a span is ours, and none of the program's is around it."""
    return type(span) is Here and not span._around().get_span_context().is_valid  # noqa: SLF001 - our own class


def lasting(context: Context, now: Any = None) -> Context:
    """A context, or, where the host has gone back to one of a run that is over, the context around that run."""
    while type(here := context.get(SPAN_KEY)) is Here and not here._stands(now):  # noqa: SLF001 - our own class
        context = here._outside  # noqa: SLF001 - as above
    return context
