"""Taking the current node's context along to where Python does not take it by itself: pools, processes, HTTP.

`asyncio` tasks and `asyncio.to_thread` carry it already.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from . import _otel
from ._guard import Seam, is_hosts
from ._log import warn_once
from ._otel_span import context_now
from ._stepwise import stepwise

__all__ = ["continue_trace", "trace_headers", "with_context"]

P = ParamSpec("P")
R = TypeVar("R")
_READING = Seam("reading the headers of a trace to go on with")
_WSGI = "http_"
_w3c = TraceContextTextMapPropagator()  # not the process's global propagator: whoever set that, both sides must agree


def with_context(function: Callable[P, R]) -> Callable[P, R]:
    """Bind a function to the caller's context, for a `ThreadPoolExecutor`, a `threading.Thread` or a task that runs later.

    Args:
        function: what is to run there; it may run several times and at once.

    Returns:
        A function of the same kind (coroutine function, generator function …) that does the same, and whose generations
        land under the node that called `with_context`.
    """
    here = contextvars.copy_context()
    return stepwise(function, lambda: here.copy().run)  # a context can be entered once at a time: each call gets a copy


def trace_headers() -> dict[str, str]:
    """The W3C trace context of the current node, to go along with a request or a job; {} outside a run.

    Returns:
        {"traceparent": …}, with a "tracestate" where the program has one.
    """
    headers: dict[str, str] = {}
    _w3c.inject(headers)
    return headers


@contextmanager
def continue_trace(headers: Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None) -> Iterator[None]:
    """Go on, in another process, with the trace that `trace_headers` described: what is traced inside lands under its node.

    Inside of a run it leads out of that, unless the headers are those of its own trace.

    Args:
        headers: of the request or job, texts or bytes, in a mapping or in pairs, or the environ of WSGI (`request.META` of
            Django); without a `traceparent` that can be read nothing changes.
    """
    way = None
    try:
        with _READING:
            way = _otel.go_elsewhere(_w3c.extract(_texts(headers), context_now()))
        yield
    finally:
        if way is not None:
            _otel.come_back(way)


def _texts(headers: Any) -> dict[str, list[str]]:
    if headers is None:
        return {}
    try:
        pairs = headers.items() if hasattr(headers, "items") else headers
        named = [(_text(key), value) for key, value in pairs]
    except (TypeError, ValueError) as error:  # its value stays out of the log: headers hold secrets
        if is_hosts(error):
            raise
        kind = type(headers).__name__
        warn_once(
            f"continue_trace takes headers, in a mapping or in pairs of name and value, not a {kind}; it does nothing.",
            elsewhere=True,
        )
        return {}
    texts = {
        key.lower(): [
            text for part in (value if isinstance(value, (list, tuple)) else [value]) if (text := _text(part))
        ]
        for key, value in named
    }
    # WSGI: beside the variables of the process, which may have a trace of their own
    of_request = {key.removeprefix(_WSGI): value for key, value in texts.items() if key.startswith(_WSGI)}
    return {**texts, **of_request}


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("latin-1")
    return value if isinstance(value, str) else ""
