"""`trace_flow` and its kin: the one line that switches tracing on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextvars import Token
from itertools import islice
from typing import Any, TypeVar, overload

from pocketflow import BaseNode

from . import _log, _options, _otel
from ._guard import Seam
from ._options import Options
from ._pipeline import preload
from ._runs import open_run
from .config import TracingConfig
from .frameworks import _look
from .frameworks import pocketflow as framework
from .frameworks._scopes import Untraced, become_current, restore
from .recorder import UNTRACED, Branch, Run, current, span_of

__all__ = ["instrument", "trace_flow", "uninstrument"]

_MARKING = Seam("marking what trace_flow was given")
_BEGINNING = Seam("recording the beginning of a traced function")
_ENDING = Seam("recording the end of a traced function")

T = TypeVar("T")


@overload
def trace_flow(target: T, /) -> T: ...
@overload
def trace_flow(
    target: None = None,
    /,
    *,
    config: TracingConfig | None = None,
    flow_name: str | None = None,
    session_id: str | Callable[[Any], Any] | None = None,
    user_id: str | Callable[[Any], Any] | None = None,
    tags: Iterable[str] | Callable[[Any], Any] | None = None,
    metadata: Mapping[str, Any] | Callable[[Any], Any] | None = None,
    version: str | None = None,
    environment: str | None = None,
) -> Callable[[T], T]: ...
@overload
def trace_flow(
    target: T,
    /,
    *,
    config: TracingConfig | None = None,
    flow_name: str | None = None,
    session_id: str | Callable[[Any], Any] | None = None,
    user_id: str | Callable[[Any], Any] | None = None,
    tags: Iterable[str] | Callable[[Any], Any] | None = None,
    metadata: Mapping[str, Any] | Callable[[Any], Any] | None = None,
    version: str | None = None,
    environment: str | None = None,
) -> T: ...
def trace_flow(
    target: Any = None,
    /,
    *,
    config: TracingConfig | None = None,
    flow_name: str | None = None,
    session_id: str | Callable[[Any], Any] | None = None,
    user_id: str | Callable[[Any], Any] | None = None,
    tags: Iterable[str] | Callable[[Any], Any] | None = None,
    metadata: Mapping[str, Any] | Callable[[Any], Any] | None = None,
    version: str | None = None,
    environment: str | None = None,
) -> Any:
    """Trace a flow: as a decorator, with or without parentheses, or as a function around a flow object.

    Args:
        target: a flow class; a flow object; a function that returns a flow (the flow is then traced); or a function or
            coroutine function that runs flows (one trace around all of them). Without it, a decorator is returned.
        config: settings; a copy is taken. Without it, the environment and `.env` decide.
        flow_name: name of the trace; the name of the class or function without it.
        session_id: groups runs into a conversation; a text, or a function of `shared` evaluated at each run's start.
        user_id: whom the run is for; likewise.
        tags: labels to filter by; likewise.
        metadata: JSON-ready facts by name; likewise.
        version: version of the program.
        environment: "production", "staging" …

    Returns:
        What it was given: the same class or object, marked; for a function a wrapper with its name and signature.
        Something that cannot be traced comes back unchanged, with one warning on the `pocketflow_tracing` logger.
    """
    with _MARKING:
        options = Options(
            config=config.copy() if config is not None else None,
            flow_name=flow_name,
            session_id=session_id,
            user_id=user_id,
            tags=tags,
            metadata=metadata,
            version=version,
            environment=environment,
        )
        if target is None:
            return lambda given: _traced(given, options)
        return _traced(target, options)
    return target if target is not None else lambda given: given


def instrument(
    *,
    config: TracingConfig | None = None,
    session_id: str | Callable[[Any], Any] | None = None,
    user_id: str | Callable[[Any], Any] | None = None,
    tags: Iterable[str] | Callable[[Any], Any] | None = None,
    metadata: Mapping[str, Any] | Callable[[Any], Any] | None = None,
    version: str | None = None,
    environment: str | None = None,
) -> None:
    """Trace every flow of this process, without a decorator, and nodes that are run on their own.

    A second call changes nothing; `uninstrument` undoes it. The parameters are those of `trace_flow`; flows that
    `trace_flow` marked keep theirs.
    """
    with _MARKING:
        preload()
        framework.instrument_all(
            Options(
                config=config.copy() if config is not None else None,
                session_id=session_id,
                user_id=user_id,
                tags=tags,
                metadata=metadata,
                version=version,
                environment=environment,
            )
        )


def uninstrument() -> None:
    """Undo `instrument`: PocketFlow is again as it was before, flows marked by `trace_flow` stay traced."""
    with _MARKING:
        framework.uninstrument_all()


def _traced(target: Any, options: Options) -> Any:
    with _MARKING:
        if isinstance(target, BaseNode) or (isinstance(target, type) and issubclass(target, BaseNode)):
            framework.mark(target, options)
            preload()
            return target
        if isinstance(target, (staticmethod, classmethod)):
            return type(target)(_traced(target.__func__, options))
        if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
            _log.warn_once(
                f"trace_flow cannot trace the generator function {_name(target)!r}: a trace cannot stay open between "
                "its values. Decorate the flow that it runs instead."
            )
            return target
        if inspect.iscoroutinefunction(target):
            framework.install()
            preload()
            return _coroutine_function(target, options)
        if callable(target) and not isinstance(target, type):
            framework.install()
            preload()
            return _function(target, options)
        _log.warn_once(
            f"trace_flow was given {type(target).__name__!r}; it takes a flow class, a flow object, or a function that "
            "returns or runs flows. Nothing is traced."
        )
    return target


def _function(function: Any, options: Options) -> Any:
    _options.keep_mark(options)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        scope = FunctionRun(function, options, args, kwargs)
        try:
            scope.begin()
            return scope.done(function(*args, **kwargs))
        except BaseException as error:
            scope.failed(error)
            raise

    return wrapper


def _coroutine_function(function: Any, options: Options) -> Any:
    _options.keep_mark(options)

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        scope = FunctionRun(function, options, args, kwargs)
        try:
            scope.begin()
            return scope.done(await function(*args, **kwargs))
        except BaseException as error:
            scope.failed(error)
            raise

    return wrapper


class FunctionRun:
    """The scope of a call of a decorated function: a span around the flows that it runs, or a mark on the flows that it returns.

    Which of the two it is shows only when the call has ended; until a flow runs in it, nothing is sent. It changes nothing
    when it is made: `begin`, `done` and `failed` stand inside one `try`, as those of PocketFlow's functions do.
    """

    def __init__(self, function: Any, options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.options = options
        self.args = args
        self.kwargs = kwargs
        self.span: Branch | None = None
        self.token: Token[Any] | None = None
        self.attached: Any = None
        self.untraced: Untraced | None = None
        self.left = False

    def begin(self) -> None:
        """Become current, in a run of its own or in that around."""
        with _BEGINNING:
            self._begin()

    def done(self, result: Any, error: BaseException | None = None) -> Any:
        """End with the result of the call, which is given back, or with the exception that left it."""
        self._restore()
        self.left = True
        with _ENDING:
            self._finish(error, result)
        return result

    def failed(self, error: BaseException) -> None:
        """End with an error, unless the call was done."""
        if not self.left:
            self.done(None, error)

    def _restore(self) -> None:
        restore(self)
        if self.untraced is not None:
            restore(self.untraced)
        self.args, self.kwargs = (), {}  # whoever keeps the context keeps this scope

    def _begin(self) -> None:
        frame = current.get()
        if frame is UNTRACED:
            return
        name = self.options.flow_name or _name(self.function)
        parent = span_of(frame)
        if parent is not None:
            run = parent.run
        else:
            opened = open_run(self.options, name, self._shared(), _look)
            if not isinstance(opened, Run):
                self.untraced = Untraced(opened.trace_id)
                self.untraced.begin(())
                return
            run = opened
        span = self.span = Branch(run, parent, "function", name)
        if parent is None:
            run.root = span
        if run.pipeline.inputs:
            span.input = run.pipeline.capture.snapshot(self._arguments())
        base = None
        if parent is None:
            base = _otel.run_context(run.trace_id, run.name, run.attributes)
        _otel.attach(self, base=base)
        become_current(self, span)

    def _finish(self, error: BaseException | None, result: Any) -> None:
        returned = [node for node in _members(result) if issubclass(type(node), BaseNode)]
        for node in returned:
            if not _options.is_marked_itself(node):
                framework.mark(node, self.options)
        span = self.span
        if span is None:
            return
        if span.parent is None:
            span.run.states.clear()
        if returned and span.next_step == 1:
            span.end = span.start
            return  # a factory: its own call is nobody's run
        if error is None and span.run.pipeline.outputs:
            span.output = span.run.pipeline.capture.snapshot(result)
        span.stop(error)
        span.deliver()

    def _shared(self) -> Any:
        for value in (*self.args, *self.kwargs.values()):
            if issubclass(type(value), dict):  # not isinstance: that would ask the value's `__class__`
                return value
        return {}

    def _arguments(self) -> dict[str, Any]:
        named = {f"arg{position}": value for position, value in enumerate(self.args)}
        try:
            named = dict(inspect.signature(self.function).bind(*self.args, **self.kwargs).arguments)
        except (TypeError, ValueError):  # a builtin without a signature, or a call that will fail by itself
            named.update(self.kwargs)
        return named


def _name(function: Any) -> str:
    name = getattr(function, "__name__", None)
    return name if type(name) is str else type(function).__name__  # a partial, a callable object


def _members(result: Any) -> list[Any]:
    """What a factory returned: one flow, or a few in a tuple, list or dict; nobody returns flows by the hundred."""
    if type(result) is dict:
        return list(islice(result.values(), 100))
    return list(islice(result, 100)) if type(result) in {tuple, list} else [result]
