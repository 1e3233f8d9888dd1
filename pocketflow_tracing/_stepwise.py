"""A function of any kind (coroutine function, generator function …) whose every step runs in surroundings of its own.

A context must not stay entered across a `yield`: it would be that of the consumer too.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["is_generator_function", "stepwise", "wraps"]

P = ParamSpec("P")
R = TypeVar("R")


def stepwise(function: Callable[P, R], surroundings: Callable[[], Callable[..., Any]]) -> Callable[P, R]:
    """Make a function of the same kind that does the same.

    Args:
        function: what is to be called.
        surroundings: is asked at each call; returns what calls a step, with its arguments, as `Context.run` does.
    """
    called: Any = function
    bound: Any

    if _is_kind(inspect.iscoroutinefunction, function):

        async def bound(*args: Any, **kwargs: Any) -> Any:
            async def body() -> Any:  # whatever can be awaited
                return await called(*args, **kwargs)

            return await _steps(body(), surroundings())

    elif _is_kind(inspect.isasyncgenfunction, function):

        async def bound(*args: Any, **kwargs: Any) -> Any:
            run = surroundings()
            values = run(called, *args, **kwargs)
            step, given = functools.partial(_without_hooks, values.asend), None
            while True:
                try:
                    value = await _steps(step(given), run)
                except StopAsyncIteration:
                    return
                try:
                    step, given = values.asend, (yield value)
                except GeneratorExit:
                    await _steps(values.aclose(), run)
                    raise
                except BaseException as error:  # noqa: BLE001 - it is for the function to say what becomes of it
                    step, given = values.athrow, error

    elif _is_kind(inspect.isgeneratorfunction, function):

        def bound(*args: Any, **kwargs: Any) -> Any:
            run = surroundings()
            return (yield from _steps(run(called, *args, **kwargs), run))

        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & inspect.CO_ITERABLE_COROUTINE:  # of types.coroutine: it is awaited
            bound = types.coroutine(bound)

    else:

        def bound(*args: Any, **kwargs: Any) -> Any:
            return surroundings()(called, *args, **kwargs)

    wrapped: Callable[P, R] = wraps(function)(bound)
    return wrapped


def wraps(function: Any) -> Callable[[Any], Any]:
    """Do as `functools.wraps` does, also with what has something of its own for any name: a method of a remote object."""

    def dressed(wrapper: Any) -> Any:
        try:
            return functools.update_wrapper(wrapper, function)
        except (AttributeError, TypeError, ValueError):
            wrapper.__wrapped__ = function
            return wrapper

    return dressed


def _without_hooks(step: Callable[[Any], Any], given: Any) -> Any:
    """Take the first step of an async generator that no event loop is to know: it would close it beside the one around it."""
    hooks = sys.get_asyncgen_hooks()
    try:  # at once: a signal handler may strike right behind the call
        sys.set_asyncgen_hooks(
            _nothing, _nothing
        )  # without a finalizer Python would close it itself, outside of the loop
        return step(given)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _nothing(_generator: Any) -> None:
    """See `_without_hooks`."""


def is_generator_function(function: Any) -> bool:
    """Whether what a function returns runs later, step by step, between those of whoever asks for the values."""
    return _is_kind(inspect.isgeneratorfunction, function) or _is_kind(inspect.isasyncgenfunction, function)


def _is_kind(asks: Callable[[Any], bool], function: Any) -> bool:
    """Whether a function, or an object that is called like one, is of a kind."""
    return asks(function) or asks(getattr(type(function), "__call__", None))  # noqa: B004 - not whether, but which


@types.coroutine
def _steps(steps: Any, run: Callable[..., Any]) -> Any:
    """Do what `yield from` does, each step through `run`.

    Args:
        steps: a generator or coroutine.
        run: calls a step.
    """
    step, given = steps.send, None
    while True:
        try:
            value = run(step, given)
        except StopIteration as done:
            return done.value
        try:
            step, given = steps.send, (yield value)
        except GeneratorExit:
            run(steps.close)
            raise
        except BaseException as error:  # noqa: BLE001 - it is for the function to say what becomes of it
            step, given = steps.throw, error
