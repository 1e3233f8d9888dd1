"""What a decorator, `trace_attributes` and the surrounding code say of a run, and which flows are marked to be traced."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._guard import Seam
from .capture import snapshot

if TYPE_CHECKING:
    from ._pipeline import Pipeline
    from .config import TracingConfig

_EVALUATING = Seam("evaluating a trace attribute given as a function")


@dataclass(eq=False)
class Options:
    """The parameters of one `trace_flow`, with a copy of its config.

    Copying an Options gives the same object, so that copies of a marked flow stay marked alike; pickling it keeps the plain
    parts (names and texts) and leaves out functions and the config, which may hold a secret key.
    """

    config: TracingConfig | None = None
    flow_name: str | None = None
    session_id: str | Callable[[Any], Any] | None = None
    user_id: str | Callable[[Any], Any] | None = None
    tags: Iterable[str] | Callable[[Any], Any] | None = None
    metadata: Mapping[str, Any] | Callable[[Any], Any] | None = None
    version: str | None = None
    environment: str | None = None
    pipeline: Pipeline | None = field(default=None, repr=False)  # resolved from `config` at the first run

    def __copy__(self) -> Options:
        return self

    def __deepcopy__(self, memo: object) -> Options:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        texts = {
            name: value
            for name in ("flow_name", "session_id", "user_id", "version", "environment")
            if type(value := getattr(self, name)) is str
        }
        return _unpickle, (texts,)


def _unpickle(texts: dict[str, str]) -> Options:
    return Options(**texts)  # type: ignore[arg-type]


_KEY = "__pocketflow_tracing__"
_classes: weakref.WeakKeyDictionary[type, Options] = weakref.WeakKeyDictionary()
_objects: dict[int, tuple[object, Options]] = {}  # only objects that refuse an attribute
_marked: weakref.WeakSet[Options] = weakref.WeakSet()  # alive as long as what they mark


def mark_class(cls: type, options: Options) -> None:
    """Trace every run of a class's instances; nothing is set on the class."""
    _marked.add(options)
    _classes[cls] = options


def keep_mark(options: Options) -> None:
    """Count options that a decorated function holds, so that `any_marks` knows of it."""
    _marked.add(options)


def any_marks() -> bool:
    """Whether anything that `trace_flow` marked is still alive."""
    return len(_marked) > 0


def mark_object(flow: object, options: Options) -> None:
    """Trace every run of one flow object and of its copies."""
    _marked.add(options)
    try:
        object.__getattribute__(flow, "__dict__")[_KEY] = options
    except AttributeError:  # __slots__: remembered here instead, for as long as the process lives
        _objects[id(flow)] = (flow, options)


def mark_of(flow: object) -> Options | None:
    """The options a flow object was marked with, by itself or by its nearest marked class; None when it is not marked."""
    cls = type(flow)
    try:
        own = object.__getattribute__(flow, "__dict__").get(_KEY)
    except AttributeError:
        own = _objects.get(id(flow), (None, None))[1]
    if type(own) is Options:
        return own
    if _classes:
        for base in cls.__mro__:
            found = _classes.get(base)
            if found is not None:
                return found
    return None


_around: ContextVar[dict[str, Any] | None] = ContextVar("pocketflow_tracing_attributes", default=None)


class trace_attributes:  # noqa: N801 - used like a function, in a with statement
    """Set session, user, tags and metadata for every run inside the `with` block (a web request's user).

    Nested blocks add up: the inner id wins, tags and metadata are joined.

    Args:
        session_id: groups runs into a conversation.
        user_id: whom the runs are for.
        tags: labels to filter by.
        metadata: JSON-ready facts by name.
        version: version of the program.
        environment: "production", "staging" …
    """

    def __init__(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        tags: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        version: str | None = None,
        environment: str | None = None,
    ) -> None:
        self._given: dict[str, Any] = {
            "session_id": session_id,
            "user_id": user_id,
            "tags": tags,
            "metadata": metadata,
            "version": version,
            "environment": environment,
        }
        self._tokens: list[Token[dict[str, Any] | None]] = []

    def __enter__(self) -> trace_attributes:
        self._tokens.append(_around.set(merge(self._given, _around.get() or {})))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _around.reset(self._tokens.pop())


def around() -> dict[str, Any]:
    """What the `trace_attributes` blocks around the caller say."""
    return _around.get() or {}


def evaluate(options: Options, shared: Any) -> dict[str, Any]:
    """The attributes of a decorator at one run's start: functions are called with `shared`; one that fails is left out."""
    values: dict[str, Any] = {"version": options.version, "environment": options.environment}
    for name in ("session_id", "user_id", "tags", "metadata"):
        value = getattr(options, name)
        if callable(value):
            with _EVALUATING:
                values[name] = value(shared)
        else:
            values[name] = value
    return values


def merge(nearer: Mapping[str, Any], farther: Mapping[str, Any]) -> dict[str, Any]:
    """Two sets of attributes as one: the nearer id, version and environment win, tags and metadata are joined.

    Returns:
        Only what is set, ids as str, tags as a list of str without doubles, metadata with str keys.
    """
    merged: dict[str, Any] = {}
    for name in ("session_id", "user_id", "version", "environment", "release"):
        for source in (nearer, farther):
            text = _text(source.get(name))
            if text:
                merged[name] = text
                break
    tags = [*_tags(farther.get("tags")), *_tags(nearer.get("tags"))]
    if tags:
        merged["tags"] = list(dict.fromkeys(tags))
    metadata = {**_mapping(farther.get("metadata")), **_mapping(nearer.get("metadata"))}
    if metadata:
        merged["metadata"] = metadata
    return merged


def _text(value: Any) -> str | None:
    if type(value) is str:
        return value
    if value is None:
        return None
    return str(value) if type(value) in {int, float} else _as_str(value)


def _as_str(value: Any) -> str | None:
    # a UUID or a str subclass is a fair session id; what has no text of its own is left out
    taken = snapshot(value)
    return taken if type(taken) is str else None


def _tags(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    return [text for item in list(value)[:50] if (text := _text(item))]


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {}
    return {str(key): item for key, item in list(value.items())[:40]}
