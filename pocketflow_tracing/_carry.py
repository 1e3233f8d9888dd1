"""Taking the current node's context along to where Python does not take it by itself: pools, processes, HTTP.

`asyncio` tasks and `asyncio.to_thread` carry it already.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import types
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
    called: Any = function
    bound: Any

    # A context can be entered once at a time: each call gets a copy.
    if _is_kind(inspect.iscoroutinefunction, function):

        async def bound(*args: Any, **kwargs: Any) -> Any:
            async def body() -> Any:  # whatever can be awaited
                return await called(*args, **kwargs)

            return await _steps(body(), here.copy())

    elif _is_kind(inspect.isasyncgenfunction, function):

        async def bound(*args: Any, **kwargs: Any) -> Any:
            context = here.copy()
            values = context.run(called, *args, **kwargs)
            step, given = values.asend, None
            while True:
                try:
                    value = await _steps(step(given), context)
                except StopAsyncIteration:
                    return
                try:
                    step, given = values.asend, (yield value)
                except GeneratorExit:
                    await _steps(values.aclose(), context)
                    raise
                except BaseException as error:  # noqa: BLE001 - it is for the function to say what becomes of it
                    step, given = values.athrow, error

    elif _is_kind(inspect.isgeneratorfunction, function):

        def bound(*args: Any, **kwargs: Any) -> Any:
            context = here.copy()
            return (yield from _steps(context.run(called, *args, **kwargs), context))

    else:

        def bound(*args: Any, **kwargs: Any) -> Any:
            return here.copy().run(called, *args, **kwargs)

    wrapped: Callable[P, R] = functools.wraps(function)(bound)
    return wrapped


def _is_kind(asks: Callable[[Any], bool], function: Any) -> bool:
    """Tell whether a function, or an object that is called like one, is of a kind."""
    return asks(function) or asks(getattr(type(function), "__call__", None))  # noqa: B004 - not whether, but which


@types.coroutine
def _steps(steps: Any, context: contextvars.Context) -> Any:
    """Do what `yield from` does, each step in a context.

    Args:
        steps: a generator or coroutine.
        context: that nobody else enters.
    """
    step, given = steps.send, None
    while True:
        try:
            value = context.run(step, given)
        except StopIteration as done:
            return done.value
        try:
            step, given = steps.send, (yield value)
        except GeneratorExit:
            context.run(steps.close)
            raise
        except BaseException as error:  # noqa: BLE001 - it is for the function to say what becomes of it
            step, given = steps.throw, error


def trace_headers() -> dict[str, str]:
    """The W3C trace context of the current node, to go along with a request or a job: {"traceparent": …}, {} outside a run."""
    headers: dict[str, str] = {}
    _w3c.inject(headers)
    return headers


@contextmanager
def continue_trace(headers: Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None) -> Iterator[None]:
    """Go on, in another process, with the trace that `trace_headers` described: what is traced inside lands under its node.

    Args:
        headers: of the request or job, texts or bytes, in a mapping or in pairs, or the environ of WSGI (`request.META` of
            Django); without a `traceparent` that can be read nothing changes.
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
