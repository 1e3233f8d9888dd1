"""`trace_flow` and its kin: the one line that switches tracing on."""

from __future__ import annotations

import inspect
import tempfile  # noqa: F401 - what a first mark imports needs it, as `multiprocessing` does on other threads: not in a child
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from pocketflow import BaseNode

from . import _log
from ._functions import name_of
from ._guard import Seam
from ._options import Options
from ._pipeline import preload
from ._wrappers import traced_coroutine_function, traced_function
from .config import TracingConfig
from .frameworks import pocketflow as framework

__all__ = ["instrument", "trace_flow", "uninstrument"]

_MARKING = Seam("marking what trace_flow was given")

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
        if not _is_config(config):
            return target if target is not None else lambda given: given
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

    A second call says only what the first did not; `uninstrument` undoes it. The parameters are those of `trace_flow`; flows that
    `trace_flow` marked keep theirs, and have this config where they have none.
    """
    with _MARKING:
        if not _is_config(config):
            return
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


def _is_config(config: object) -> bool:
    """Whether this is a configuration or none; anything else is said once, for its settings are not known."""
    if config is None or isinstance(config, TracingConfig):
        return True
    _log.warn_once(f"config is {type(config).__name__!r}; it takes a TracingConfig. Nothing is traced.")
    return False


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
                f"trace_flow cannot trace the generator function {name_of(target)!r}: a trace cannot stay open between "
                "its values. Decorate the flow that it runs instead."
            )
            return target
        if inspect.iscoroutinefunction(target):
            framework.install()
            preload()
            return traced_coroutine_function(target, options)
        if callable(target) and not isinstance(target, type):
            framework.install()
            preload()
            return traced_function(target, options)
        _log.warn_once(
            f"trace_flow was given {type(target).__name__!r}; it takes a flow class, a flow object, or a function that "
            "returns or runs flows. Nothing is traced."
        )
    return target
