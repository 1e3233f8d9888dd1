"""The functions that stand for decorated ones.

They have the names of what they stand for, and dill takes such a function of a script by value, with all the globals of the
module that it is made in: so this one holds nothing that cannot be pickled, and no modules of ours.
"""

from __future__ import annotations

import inspect
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ._callables import is_plain_function, traced_callable
from ._functions import FunctionRun
from ._marks import keep
from ._stepwise import wraps

if TYPE_CHECKING:
    from ._options import Options

__all__ = ["traced_coroutine_function", "traced_function"]


def traced_function(function: Any, options: Options) -> Any:
    """A function that does the same, inside a trace; one that returns a coroutine has it on until that has ended."""
    keep(options)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        scope = FunctionRun(function, options, args, kwargs)
        try:
            scope.begin()
            result = function(*args, **kwargs)
            return _rest_of(scope, result) if type(result) is CoroutineType else scope.done(result)
        except BaseException as error:
            scope.failed(error)
            raise

    return wrapper if is_plain_function(function) else traced_callable(function, wrapper)


def traced_coroutine_function(function: Any, options: Options) -> Any:
    """A coroutine function that does the same, inside a trace."""
    keep(options)

    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        scope = FunctionRun(function, options, args, kwargs)
        try:
            scope.begin()
            return scope.done(await function(*args, **kwargs))
        except BaseException as error:
            scope.failed(error)
            raise

    return wrapper if is_plain_function(function) else traced_callable(function, wrapper)


def _rest_of(scope: FunctionRun, coroutine: CoroutineType[Any, Any, Any]) -> CoroutineType[Any, Any, Any]:
    """The coroutine that a function has returned, going on with the scope that the function began."""
    scope.pause()
    rest: Any = _awaited(scope, _Unawaited(coroutine))
    rest.__name__, rest.__qualname__ = coroutine.__name__, coroutine.__qualname__
    return rest  # type: ignore[no-any-return]


async def _awaited(scope: FunctionRun, held: _Unawaited) -> Any:
    try:
        scope.go_on()
        return scope.done(await held.coroutine)
    except BaseException as error:
        scope.failed(error)
        raise


class _Unawaited:
    """A coroutine that another one will await; if that one never runs, Python has said so of it, and once is enough."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: CoroutineType[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    def __del__(self) -> None:
        if inspect.getcoroutinestate(self.coroutine) == inspect.CORO_CREATED:
            self.coroutine.close()
