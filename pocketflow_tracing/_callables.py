"""Objects that are called as functions are: the call is traced, and everything else about them stays their own."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar

from ._stepwise import wraps

__all__ = ["inside", "is_plain_function", "traced_callable"]

P = ParamSpec("P")
R = TypeVar("R")


def is_plain_function(target: Any) -> bool:
    """Whether a function made of another one has all that it has: not so of a partial, a cached function, an object."""
    return isinstance(target, (FunctionType, MethodType, BuiltinFunctionType))


def inside(block: AbstractContextManager[Any], function: Callable[P, R]) -> Callable[P, R]:
    """A function, or a coroutine function, that does the same inside a context manager, which is entered at each call.

    It is made here, where no global keeps dill from taking it by value, as it takes those of a script.
    """
    called: Any = function
    within: Any
    if inspect.iscoroutinefunction(function):

        async def within(*args: Any, **kwargs: Any) -> Any:
            with block:
                return await called(*args, **kwargs)

    else:

        def within(*args: Any, **kwargs: Any) -> Any:
            with block:
                return called(*args, **kwargs)

    dressed: Callable[P, R] = (
        wraps(function)(within) if is_plain_function(function) else traced_callable(function, within)
    )
    return dressed


def traced_callable(target: Any, call: Callable[..., Any]) -> Any:
    """Stand for an object that is called.

    Args:
        target: any callable object.
        call: is called in its place.

    Returns:
        What answers as the object does: attributes, `isinstance`, operators; copies and pickles are the object's own.
    """
    kind = type(target)
    special = {
        name: _forwarded(name)
        for name in dir(kind)
        if name[:2] == "__" == name[-2:]
        and name not in _NOT_FORWARDED
        and getattr(kind, name) is not getattr(object, name, None)
        and callable(getattr(kind, name))
    }
    standing = type(kind.__name__, (_Standing,), {**special, "__slots__": (), "__module__": kind.__module__})
    return standing(target, call)


class _Standing:
    __slots__ = ("__weakref__", "_call", "_target")

    def __init__(self, target: Any, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_call", call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _of(self, "_call")(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        target = _of(self, "_target")
        if not hasattr(type(target), "__get__"):
            return self
        bound = target.__get__(instance, owner)
        if bound is target:
            return self
        return MethodType(self, instance) if type(bound) is MethodType and bound.__func__ is target else bound

    def __getattribute__(self, name: str) -> Any:
        target = _of(self, "_target")
        if name == "__class__":
            return target.__class__  # which is how a mock is one of what it stands for
        if name == "__signature__":
            try:
                return inspect.signature(target)
            except (TypeError, ValueError) as error:
                raise AttributeError(name) from error
        return getattr(target, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_of(self, "_target"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_of(self, "_target"), name)

    def __repr__(self) -> str:
        return repr(_of(self, "_target"))

    def __str__(self) -> str:
        return str(_of(self, "_target"))

    def __dir__(self) -> list[str]:
        return dir(_of(self, "_target"))

    def __eq__(self, other: object) -> Any:
        return _target_of(self) == _target_of(other)

    def __hash__(self) -> int:
        return hash(_of(self, "_target"))

    def __copy__(self) -> Any:
        return copy.copy(_of(self, "_target"))

    def __deepcopy__(self, memo: Any) -> Any:
        return copy.deepcopy(_of(self, "_target"), memo)

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return _itself, (_of(self, "_target"),)


_of = object.__getattribute__


_NOT_FORWARDED = {
    *vars(_Standing), "__class__", "__new__", "__init__", "__del__", "__getattr__", "__dict__",
    "__weakref__", "__reduce__", "__getstate__", "__setstate__", "__init_subclass__", "__subclasshook__",
    "__class_getitem__",
}  # fmt: skip
"""What a stand-in has of its own, and what a class is asked for: `__del__` is for when the object itself goes."""


def _target_of(value: Any) -> Any:
    return _of(value, "_target") if issubclass(type(value), _Standing) else value


def _itself(target: Any) -> Any:
    return target


def _forwarded(name: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(type(_of(self, "_target")), name)(_of(self, "_target"), *args, **kwargs)

    return method
