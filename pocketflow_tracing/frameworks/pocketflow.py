"""PocketFlow under the recorder: which of its functions are led through us, and what each call means.

Hooks are put on PocketFlow's own classes and nowhere else; `install` and `uninstall` are symmetrical. Two kinds of places:
functions of PocketFlow that are replaced (`run`, `_run`, `_orch` and the retry loop `_exec`, with their async forms), so that
they are seen whoever calls them; and, in the twins of PocketFlow's functions, the calls of methods that users write
(`_rewrite` puts them there, `_phases` and `_visits` say what they mean).
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pocketflow
from pocketflow import AsyncNode, BaseNode, BatchFlow, Flow

from .. import _log, _options
from .._guard import Seam
from .._options import Options
from ..recorder import UNTRACED, current
from ._phases import Retry, open_whole_exec, phase_opener
from ._rewrite import Openers, twins
from ._scopes import Nothing, Untraced
from ._visits import Visit, open_below, open_pass, open_root, open_route, open_visit

_INSTALLING = Seam("putting its hooks on PocketFlow")
_DECIDING = Seam("finding out whether a flow is to be traced")

_VISITS = frozenset({"run", "run_async", "_run", "_run_async"})
_PASSES = frozenset({"_orch", "_orch_async"})
_OPENERS: Openers = {
    **{
        method: phase_opener(method)
        for name in ("prep", "exec", "exec_fallback", "post")
        for method in (name, f"{name}_async")
    },
    "_exec": open_whole_exec,
    "_run": open_visit,
    "_run_async": open_visit,
    "get_next_node": open_route,
}
_replaced: dict[tuple[type, str], tuple[FunctionType, FunctionType]] = {}  # place -> (original, what stands there now)
_lock = threading.RLock()

everything: Options | None = None
"""The options of `instrument()`: set while every flow of the process is traced."""

_nodes_marked = False


def mark(target: BaseNode | type[BaseNode], options: Options) -> None:
    """Trace a flow object, or every instance of a flow class."""
    global _nodes_marked  # noqa: PLW0603 - one fact of the process
    install()
    if issubclass(type(target), type):
        cls: Any = target
        _options.mark_class(cls, options)
    else:
        cls = type(target)
        _options.mark_object(target, options)
    _nodes_marked = _nodes_marked or not issubclass(cls, Flow)


def instrument_all(options: Options) -> None:
    """Trace every flow of the process, and nodes that are run on their own; a second call changes nothing."""
    global everything  # noqa: PLW0603 - one fact of the process
    install()
    if everything is None:
        everything = options


def uninstrument_all() -> None:
    """Undo `instrument_all`; without marked flows PocketFlow is then exactly as it was imported."""
    global everything  # noqa: PLW0603 - one fact of the process
    everything = None
    if not _options.any_marks():
        uninstall()


def options_for(node: Any) -> Options | None:
    """The options a run of this node would be traced with, None when it is not to be traced."""
    if everything is None and not _nodes_marked and not issubclass(type(node), Flow):
        return None
    with _DECIDING:
        return _options.mark_of(node) or everything
    return None


def is_installed() -> bool:
    """Whether hooks stand on PocketFlow now."""
    return bool(_replaced)


def install() -> None:
    """Put the hooks on PocketFlow's classes; does nothing when they are there."""
    with _lock, _INSTALLING:
        if _replaced:
            return
        twin_of = twins(pocketflow, _OPENERS)
        if not twin_of:
            _log.warn_once(
                "PocketFlow's source is not available here, so runs and nodes are traced, but not their prep, exec and post."
            )
        for cls in [
            value for value in vars(pocketflow).values() if isinstance(value, type) and issubclass(value, BaseNode)
        ]:
            for name, original in list(vars(cls).items()):
                if not isinstance(original, FunctionType):
                    continue
                twin = twin_of.get(original, original)
                wrapper = _wrapper(cls, name, original, twin)
                if wrapper is not None:
                    _replaced[cls, name] = (original, wrapper)
                    setattr(cls, name, wrapper)


def uninstall() -> None:
    """Take the hooks away again, but for those that another tool has wrapped since: they go idle."""
    with _lock:
        for (cls, name), (original, wrapper) in _replaced.items():
            if vars(cls).get(name) is wrapper:
                setattr(cls, name, original)
        _replaced.clear()


def _fresh_lock() -> None:
    global _lock  # noqa: PLW0603 - a lock held by another thread at the fork would stay locked in the child
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_lock)


def _wrapper(cls: type, name: str, original: Any, twin: Any) -> Any:
    is_async = issubclass(cls, AsyncNode) and (name.endswith("_async") or name == "_exec")
    if name in _VISITS:
        return (_async_visit if is_async else _sync_visit)(original, twin)
    if name in _PASSES:
        return (_async_pass if is_async else _sync_pass)(original, twin)
    if name == "_exec" and twin is not original:
        if cls is BaseNode:
            return _plain(original, twin)
        return (_async_retry if is_async else _sync_retry)(original, twin)
    return None


# --- functions of PocketFlow that are replaced ---------------------------------------------------------------------
# Each looks first whether anything is traced here: an untraced flow runs PocketFlow's own function after one comparison.
# Each bears the name of what it replaces: "coroutine 'AsyncNode._exec' was never awaited" reads as before.


def _opened(frame: Any, node: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Visit | Untraced | Nothing | None:
    """The scope that a call of a visit's function opens, None where nothing is traced."""
    if frame is UNTRACED:
        return None
    shared = args[0] if args else kwargs.get("shared")
    if frame is not None:
        return open_below(frame, node, shared)
    options = options_for(node)
    return None if options is None else open_root(node, shared, options)


def _sync_visit(original: Any, twin: Any) -> Any:
    @functools.wraps(original)
    def visit(self: Any, *args: Any, **kwargs: Any) -> Any:
        frame = current.get()
        if type(frame) is Visit and frame.node is self:
            return twin(self, *args, **kwargs)  # this visit has been opened already
        scope = _opened(frame, self, args, kwargs)
        if scope is None:
            return original(self, *args, **kwargs)
        try:
            result = (original if type(scope) is Untraced else twin)(self, *args, **kwargs)
        except BaseException as error:
            scope.failed(error)
            raise
        return scope.done(result)

    return visit


def _async_visit(original: Any, twin: Any) -> Any:
    @functools.wraps(original)
    async def visit(self: Any, *args: Any, **kwargs: Any) -> Any:
        frame = current.get()
        if type(frame) is Visit and frame.node is self:
            return await twin(self, *args, **kwargs)  # this visit has been opened already
        scope = _opened(frame, self, args, kwargs)
        if scope is None:
            return await original(self, *args, **kwargs)
        try:
            result = await (original if type(scope) is Untraced else twin)(self, *args, **kwargs)
        except BaseException as error:
            scope.failed(error)
            raise
        return scope.done(result)

    return visit


def _is_pass(frame: Any, flow: Any) -> bool:
    return type(frame) is Visit and frame.node is flow and issubclass(type(flow), BatchFlow)


def _sync_pass(original: Any, twin: Any) -> Any:
    visit = _sync_visit(original, twin)

    @functools.wraps(original)
    def orchestrate(self: Any, *args: Any, **kwargs: Any) -> Any:
        frame = current.get()
        if not _is_pass(frame, self):
            return visit(self, *args, **kwargs)
        index, frame.items = frame.items, frame.items + 1
        scope = open_pass(frame, index, args[1] if len(args) > 1 else kwargs.get("params"))
        try:
            result = twin(self, *args, **kwargs)
        except BaseException as error:
            scope.failed(error)
            raise
        return scope.done(result)

    return orchestrate


def _async_pass(original: Any, twin: Any) -> Any:
    visit = _async_visit(original, twin)

    @functools.wraps(original)
    async def run(flow: Visit, index: int, self: Any, args: Any, kwargs: Any) -> Any:
        scope = open_pass(flow, index, args[1] if len(args) > 1 else kwargs.get("params"))
        try:
            result = await twin(self, *args, **kwargs)
        except BaseException as error:
            scope.failed(error)
            raise
        return scope.done(result)

    # not a coroutine function: a pass gets its number when it is made, in the order of the parameter sets
    @functools.wraps(original)
    def orchestrate(self: Any, *args: Any, **kwargs: Any) -> Any:
        frame = current.get()
        if not _is_pass(frame, self):
            return visit(self, *args, **kwargs)
        index, frame.items = frame.items, frame.items + 1
        return run(frame, index, self, args, kwargs)

    return _mark_coroutine_function(orchestrate)


def _plain(original: Any, twin: Any) -> Any:
    @functools.wraps(original)
    def plain(self: Any, *args: Any, **kwargs: Any) -> Any:
        frame = current.get()
        return (original if frame is None or frame is UNTRACED else twin)(self, *args, **kwargs)

    return plain


def _sync_retry(original: Any, twin: Any) -> Any:
    @functools.wraps(original)
    def retry(self: Any, *args: Any, **kwargs: Any) -> Any:
        frame = current.get()
        if frame is None or frame is UNTRACED:
            return original(self, *args, **kwargs)
        loop = Retry(frame, self)
        token = current.set(loop)
        try:
            result = twin(self, *args, **kwargs)
        except BaseException as error:
            loop.leave(token, error)
            raise
        loop.leave(token, None)
        return result

    return retry


def _async_retry(original: Any, twin: Any) -> Any:
    @functools.wraps(original)
    async def run(loop: Retry, self: Any, args: Any, kwargs: Any) -> Any:
        token = current.set(loop)
        try:
            result = await twin(self, *args, **kwargs)
        except BaseException as error:
            loop.leave(token, error)
            raise
        loop.leave(token, None)
        return result

    # not a coroutine function: an item gets its number when it is made, in the order of the items
    @functools.wraps(original)
    def retry(self: Any, *args: Any, **kwargs: Any) -> Any:
        frame = current.get()
        if frame is None or frame is UNTRACED:
            return original(self, *args, **kwargs)
        return run(Retry(frame, self), self, args, kwargs)

    return _mark_coroutine_function(retry)


def _mark_coroutine_function(function: Callable[..., Any]) -> Callable[..., Any]:
    if sys.version_info >= (3, 12):
        import inspect  # noqa: PLC0415 - only here

        return inspect.markcoroutinefunction(function)
    function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001 - its form before 3.12
    return function
