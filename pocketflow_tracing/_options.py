"""What a decorator, `trace_attributes` and the surrounding code say of a run, and which flows are marked."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from . import _kinds, _log
from ._guard import Seam
from .capture import snapshot
from .capture_kinds import key_text, mro_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._pipeline import Pipeline
    from .config import TracingConfig

P = ParamSpec("P")
R = TypeVar("R")
_GIVEN = ("session_id", "user_id", "tags", "metadata")
_EVALUATING = {
    name: Seam(f"evaluating the {name} that trace_flow was given as a function", theirs=True) for name in _GIVEN
}
_ATTRIBUTES = Seam("taking the attributes of trace_attributes")
_MAX_ID = 200
"""Characters of a session id, user id, version or tag: Langfuse takes no longer ones."""


@dataclass(eq=False)
class Options:
    """The parameters of one `trace_flow`, with a copy of its config.

    Copying an Options gives the same object, so that copies of a marked flow stay marked alike; pickling it keeps the
    plain parts (names and texts) and leaves out functions and the config, which may hold a secret key.
    """

    config: TracingConfig | None = None
    flow_name: str | None = None
    session_id: str | Callable[[Any], Any] | None = None
    user_id: str | Callable[[Any], Any] | None = None
    tags: Iterable[str] | Callable[[Any], Any] | None = None
    metadata: Mapping[str, Any] | Callable[[Any], Any] | None = None
    version: str | None = None
    environment: str | None = None
    pipeline: Pipeline | None = field(default=None, repr=False)  # of `config`, resolved at the first run
    evaluated: tuple[Mapping[str, Any], dict[str, Any]] | None = field(
        default=None, repr=False
    )  # where nothing is a function

    def __post_init__(self) -> None:
        if self.tags is not None and not callable(self.tags):
            self.tags = _tags(self.tags)  # an iterator would be empty at the second run

    def __copy__(self) -> Options:
        return self

    def __deepcopy__(self, memo: object) -> Options:
        return self

    def differs(self, other: Options) -> bool:
        """Whether the name, ids and tags given are not those of the other one, as far as plain values show it."""
        return any(
            type(mine) is type(theirs) and type(mine) in {str, list} and mine != theirs
            for mine, theirs in ((getattr(self, name), getattr(other, name)) for name in ("flow_name", *_GIVEN))
        )

    def __reduce__(self) -> tuple[Any, ...]:
        texts = {
            name: value
            for name in ("flow_name", "session_id", "user_id", "version", "environment")
            if type(value := getattr(self, name)) is str
        }
        return _unpickle, (texts,)


def _unpickle(texts: dict[str, str]) -> Options:
    from .frameworks import pocketflow as framework  # noqa: PLC0415 - it imports this module

    framework.install()  # a flow that comes from another process is the first marked one here
    options = Options(**texts)  # type: ignore[arg-type]
    _marked.add(options)
    return options


_KEY = "__pocketflow_tracing__"
_classes: dict[int, tuple[weakref.ref[type], Options]] = {}
"""By id of the class: hashing a class would run its metaclass's `__hash__`. An entry leaves with its class."""
_objects: dict[int, tuple[object, Options]] = {}  # only objects that refuse an attribute
_marked: weakref.WeakSet[Options] = weakref.WeakSet()  # alive as long as what they mark


def mark_class(cls: type, options: Options) -> None:
    """Trace every run of a class's instances; nothing is set on the class."""
    _marked.add(options)
    key = id(cls)
    _classes[key] = (weakref.ref(cls, lambda _: _classes.pop(key, None)), options)


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
        attributes = object.__getattribute__(flow, "__dict__")
        before = attributes.get(_KEY)
        attributes[_KEY] = options
        if type(before) is Options and before.differs(options):
            _log.warn_once(
                "A flow object was given to trace_flow again, with other parameters: the last ones hold for all its runs. "
                "For what differs from run to run there are functions of shared, and trace_attributes around the run."
            )
    except AttributeError:  # __slots__: remembered here instead, for as long as the process lives
        _objects[id(flow)] = (flow, options)


def is_marked_itself(flow: object) -> bool:
    """Whether a flow object was given to `trace_flow`, and not only its class."""
    try:
        return _KEY in object.__getattribute__(flow, "__dict__")
    except AttributeError:
        return id(flow) in _objects


def mark_of(flow: object) -> Options | None:
    """The options a flow object was marked with, by itself or by its nearest marked class; None without a mark."""
    cls = type(flow)
    try:
        own = object.__getattribute__(flow, "__dict__").get(_KEY)
    except AttributeError:
        own = _objects.get(id(flow), (None, None))[1]
    if type(own) is Options:
        return own
    if _classes:
        for base in mro_of(cls):
            found = _classes.get(id(base))
            if found is not None:
                return found[1]
    return None


class _Block(NamedTuple):
    """An open block: what it and those around it say together, whose it is, and the one around it."""

    merged: dict[str, Any]
    owner: trace_attributes
    outer: _Block | None


_around: ContextVar[_Block | None] = ContextVar("pocketflow_tracing_attributes", default=None)
"""The innermost block."""


class trace_attributes:  # noqa: N801 - used like a function, in a with statement
    """Set session, user, tags and metadata for every run inside the `with` block (a web request's user).

    Nested blocks add up: the inner id wins, tags and metadata are joined. As the decorator of a function or coroutine
    function it is a block around each call.

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

    def __enter__(self) -> Self:
        _around.set(self._inside(_around.get()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # its own, which need not be the innermost: generators are closed in any order, and from anywhere
        _around.set(_without(self, _around.get()))

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        called: Any = function
        inside: Any
        if inspect.iscoroutinefunction(function):

            async def inside(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await called(*args, **kwargs)

        else:

            def inside(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return called(*args, **kwargs)

        decorated: Callable[P, R] = functools.wraps(function)(inside)
        return decorated

    def _inside(self, outer: _Block | None) -> _Block:
        merged = farther = outer.merged if outer is not None else {}
        with _ATTRIBUTES:
            merged = merge(self._given, farther)
        return _Block(merged, self, outer)


def _without(owner: trace_attributes, block: _Block | None) -> _Block | None:
    if block is None or block.owner is owner:
        return block and block.outer
    outer = _without(owner, block.outer)
    return block if outer is block.outer else block.owner._inside(outer)  # noqa: SLF001 - of the same module


def around() -> dict[str, Any]:
    """What the `trace_attributes` blocks around the caller say."""
    here = _around.get()
    return here.merged if here is not None else {}


def evaluate(options: Options, shared: Any, farther: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a decorator at one run's start.

    Args:
        options: of the decorator; its functions are asked, and one that fails is left out.
        shared: what the run is given.
        farther: what the configuration says.

    Returns:
        Those of the decorator merged over those of the configuration, a dict of the caller's own.
    """
    known = options.evaluated
    if known is not None and known[0] is farther:
        return {**known[1]}
    values: dict[str, Any] = {"version": options.version, "environment": options.environment}
    constant = True
    for name in _GIVEN:
        value = getattr(options, name)
        if callable(value):
            constant = False
            with _EVALUATING[name]:
                # one at a time through `merge`, so that an answer that cannot be used spoils only itself
                values.update(merge({name: value(shared)}, {}))
        else:
            values[name] = value
    merged = merge(values, farther)
    if constant:
        options.evaluated = farther, {**merged}
    return merged


def merge(nearer: Mapping[str, Any], farther: Mapping[str, Any]) -> dict[str, Any]:
    """Two sets of attributes as one: the nearer id, version and environment win, tags and metadata are joined.

    Returns:
        Only what is set, ids as str, tags as a list of str without doubles, metadata with str keys.
    """
    merged: dict[str, Any] = {}
    for name in ("session_id", "user_id", "version", "environment", "release", "trace_name"):
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


def checked(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a run as Langfuse takes them: long texts cut, an impossible environment left out; said once."""
    for name in ("session_id", "user_id", "version", "environment", "release", "trace_name"):
        text = attributes.get(name)
        if text is not None and len(text) > _MAX_ID:
            _log.warn_once(f"A {name} is cut to {_MAX_ID} characters, which is what Langfuse takes.")
            attributes[name] = text[:_MAX_ID]
    if "tags" in attributes:
        attributes["tags"] = [tag[:_MAX_ID] for tag in attributes["tags"]]
    environment = attributes.get("environment")
    if environment is not None:
        try:
            _kinds.ENVIRONMENT.read(environment)
        except _kinds.RefusedError:
            shown = _kinds.shown(environment, chr(34))
            _log.warn_once(f"environment is {shown}; accepted: {_kinds.ENVIRONMENT.accepts}. It is left out.")
            del attributes["environment"]
    return attributes


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
    several = isinstance(value, Iterable) and not isinstance(value, str)
    items: Iterable[Any] = islice(value, 50) if several else [value]
    return [text for item in items if (text := _text(item))]


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {}
    return {key_text(key): item for key, item in islice(value.items(), 40)}
