"""Taking the current node's context along to where Python does not take it by itself: pools, processes, HTTP.

`asyncio` tasks and `asyncio.to_thread` carry it already.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ._guard import Seam

__all__ = ["continue_trace", "trace_headers", "with_context"]

P = ParamSpec("P")
R = TypeVar("R")
_READING = Seam("reading the headers of a trace to go on with")
_w3c = TraceContextTextMapPropagator()  # not the process's global propagator: whoever set that, both sides must agree


def with_context(function: Callable[P, R]) -> Callable[P, R]:
    """Bind a function to the caller's context, for a `ThreadPoolExecutor` or a `threading.Thread`.

    Args:
        function: what is to run in the other thread; it may run several times and at once.

    Returns:
        A function that does the same, and whose generations land under the node that called `with_context`.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        # a context can be entered once at a time: each call gets a copy
        return context.copy().run(function, *args, **kwargs)

    return bound


def trace_headers() -> dict[str, str]:
    """The W3C trace context of the current node, to go along with a request or a job: {"traceparent": …}, {} outside a run."""
    headers: dict[str, str] = {}
    _w3c.inject(headers)
    return headers


@contextmanager
def continue_trace(headers: Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None) -> Iterator[None]:
    """Go on, in another process, with the trace that `trace_headers` described: what is traced inside lands under its node.

    Args:
        headers: of the request or job, texts or bytes, in a mapping or in pairs; without a `traceparent` that can be read
            nothing changes.
    """
    token = None
    with _READING:
        token = otel_context.attach(_w3c.extract(_texts(headers)))
    try:
        yield
    finally:
        if token is not None:
            otel_context.detach(token)


def _texts(headers: Any) -> dict[str, list[str]]:
    if headers is None:
        return {}
    pairs = headers.items() if hasattr(headers, "items") else headers
    named = [(_text(key), value) for key, value in pairs]
    return {
        key.lower(): [
            text for part in (value if isinstance(value, (list, tuple)) else [value]) if (text := _text(part))
        ]
        for key, value in named
    }


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("latin-1")
    return value if isinstance(value, str) else ""
