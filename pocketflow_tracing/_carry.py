"""Taking the current node's context along to where Python does not take it by itself: pools, processes, HTTP.

`asyncio` tasks and `asyncio.to_thread` carry it already.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["continue_trace", "trace_headers", "with_context"]

P = ParamSpec("P")
R = TypeVar("R")
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
def continue_trace(headers: Mapping[str, str]) -> Iterator[None]:
    """Go on, in another process, with the trace that `trace_headers` described: what is traced inside lands under its node.

    Args:
        headers: of the request or job; without a `traceparent` nothing changes.
    """
    token = otel_context.attach(_w3c.extract({key.lower(): value for key, value in headers.items()}))
    try:
        yield
    finally:
        otel_context.detach(token)
