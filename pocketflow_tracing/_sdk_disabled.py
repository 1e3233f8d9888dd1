"""The SDK's clients without credentials: what they record in runs without an account is kept for the local store.

The SDK gives such a client a tracer that records nothing, and answers everything else without a server. All of that stays
as it is, but for the tracer, in those runs alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from opentelemetry import trace

from . import _sdk_providers
from .recorder import current, span_of

__all__ = ["record", "take"]

_TRACER = "_otel_tracer"
_OF_A_SPAN = ("get_current_trace_id", "get_current_observation_id")

_made: dict[str, Any] = {}  # the provider of what they record, and its tracer
_processors: list[Callable[[], Any]] = []


class _Tracer:
    """The attribute of the SDK's clients that holds their tracer."""

    def __get__(self, client: Any, _owner: Any = None) -> Any:
        if client is None:
            return self
        try:
            tracer = vars(client)[_TRACER]
        except KeyError:
            raise AttributeError(_TRACER) from None
        return _tracer() if _is_disabled(client) and client._tracing_enabled and _is_kept_here() else tracer  # noqa: SLF001 - the SDK's switch for it

    def __set__(self, client: Any, tracer: Any) -> None:
        vars(client)[_TRACER] = tracer


def take() -> None:
    """Let the SDK's clients without credentials ask here for their tracer, and see no span of ours.

    With the id of one they would go on to ask their server for its address, and have none.
    """
    from langfuse._client.client import Langfuse  # noqa: PLC0415 - imported already; a test may have put a mock in `langfuse`

    if _TRACER in vars(Langfuse):
        return
    setattr(Langfuse, _TRACER, _Tracer())
    for name in _OF_A_SPAN:
        setattr(Langfuse, name, _unless_ours(getattr(Langfuse, name)))


def record(make_processor: Callable[[], Any]) -> None:
    """Have what they record seen by a span processor.

    Args:
        make_processor: called once, when the first of them records something.
    """
    if not _processors:
        _processors.append(make_processor)


def _tracer() -> Any:
    found = _made.get("tracer")
    if found is None:
        from langfuse._client.constants import LANGFUSE_TRACER_NAME  # noqa: PLC0415 - imported already

        provider = _sdk_providers.make_provider(None)
        for make_processor in _processors:
            provider.add_span_processor(make_processor())
        _made["provider"] = provider
        found = _made.setdefault("tracer", provider.get_tracer(LANGFUSE_TRACER_NAME))
    return found


def _is_disabled(client: Any) -> bool:
    return client._resources is None  # noqa: SLF001 - how the SDK itself asks


def _is_kept_here() -> bool:
    """Whether this is a run that the local store has, and no project of Langfuse."""
    span = span_of(current.get())
    return span is not None and span.run.pipeline.local is not None and span.run.pipeline.langfuse is None


def _unless_ours(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(method)
    def asked(self: Any) -> Any:
        return None if _is_disabled(self) and _is_ours(trace.get_current_span()) else method(self)

    return asked


def _is_ours(span: Any) -> bool:
    """Whether it would not be there untraced: one of a run, or one that a client without credentials has recorded."""
    from ._otel_span import is_here  # noqa: PLC0415 - which needs the SDK's clients itself

    provider = _made.get("provider")
    return is_here(span) or (provider is not None and getattr(span, "resource", None) is provider.resource)
