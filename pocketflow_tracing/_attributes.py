"""Session, user, tags and metadata: what the surrounding code says of a run, and how what several say becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from . import _log, _settings_kinds
from ._callables import inside
from ._finalisers import MAY_RUN_INSIDE, guarded, hold, release
from ._guard import Seam
from ._stepwise import is_generator_function, stepwise
from .capture import snapshot
from .capture_kinds import key_text
from .capture_types import Tagged

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["around", "checked", "merge", "tags_of", "trace_attributes"]

P = ParamSpec("P")
R = TypeVar("R")
_ATTRIBUTES = Seam("taking the attributes of trace_attributes")
_MOST_TAGS, _MOST_METADATA = 50, 40
_MAX_ID = 200
"""Characters of a session id, user id, version or tag: Langfuse takes no longer ones."""


class _Block:
    """A block as a context knows it, which may have been copied out of the block and outlast it.

    Args:
        said: what it says itself.
        owner: whose it is.
        outer: the one around it.
        left: whether nobody will leave it any more.
    """

    __slots__ = ("left", "merged", "outer", "owner", "said")

    def __init__(
        self, said: dict[str, Any], owner: trace_attributes, outer: _Block | None, *, left: bool = False
    ) -> None:
        self.said = said
        self.owner = owner
        self.outer = outer
        self.left = left
        # what it and those around it say together
        self.merged: dict[str, Any] = merge(said, outer.merged) if outer is not None else said


_around: ContextVar[_Block | None] = ContextVar("pocketflow_tracing_attributes", default=None)
"""The innermost block."""
_set_around = guarded(_around.set)
_TEXTS = ("session_id", "user_id", "version", "environment", "release", "trace_name")
"""What a trace has one of; its tags and metadata add up."""
_set: list[_Block | None] = [None]
"""What a block that was left has set last: it must not be freed where a `set` of another library's, within which a stream was
closed, has undone it (see `_finalisers`)."""


class trace_attributes:  # noqa: N801 - used like a function, in a with statement
    """Set session, user, tags and metadata for every run inside the `with` block (a web request's user).

    Nested blocks add up: the inner id wins, tags and metadata are joined. As the decorator of a function, coroutine function
    or generator function it is a block around each call; a generator's is around what it does, not what is done with its values.

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
        _set_around(self._inside(_around.get()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # its own, which need not be the innermost: generators are closed in any order, and from anywhere
        block = innermost = _around.get()
        while block is not None and block.owner is not self:
            block = block.outer
        if block is not None:
            block.left = True
            _set[0] = rest = _without(block, innermost)
            _set_around(rest)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if isinstance(function, type):
            _log.warn_once(
                f"trace_attributes was given the class {function.__name__!r}; it takes a function. "
                "For all runs of a flow class, name its attributes in trace_flow."
            )
            return function
        if is_generator_function(function):
            return stepwise(function, self._surroundings)  # cloudpickle takes functions with all that they refer to
        return inside(self, function)

    def _surroundings(self) -> _Inside:
        return _Inside(self._inside(_around.get(), left=True))

    def _inside(self, outer: _Block | None, *, left: bool = False) -> _Block:
        said: dict[str, Any] = {}
        with _ATTRIBUTES:
            said = merge(self._given, {})
            outer = _folded(outer)
        return _Block(said, self, outer, left=left)


class _Inside:
    """Runs the steps of a generator inside a block, and inside of those that it opens itself."""

    def __init__(self, block: _Block) -> None:
        self._block: _Block | None = block

    def __call__(self, step: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        outside = _around.get()
        try:
            _set_around(self._block)
            return step(*args, **kwargs)
        finally:
            self._block = _around.get()
            put_back = _around.set
            held = None
            try:
                held = hold() if MAY_RUN_INSIDE else None
            finally:  # a signal handler may strike in there
                put_back(outside)
            if held is not None:
                release(held)


def _without(gone: _Block, block: Any) -> _Block | None:
    outer: _Block | None = block.outer
    return outer if block is gone else _Block(block.said, block.owner, _without(gone, outer), left=block.left)


def _folded(block: _Block | None) -> _Block | None:
    """A block whose like says the same, with those that nobody will leave any more as one where they follow each other.

    A task that starts the next one from inside of a block takes the block along, and so does the next one: there would be
    one more around each.
    """
    if block is None or block.outer is None:
        return block
    outer: Any = _folded(block.outer)
    if block.left and outer.left:
        return _Block(merge(block.said, outer.said), block.owner, outer.outer, left=True)
    block.outer = outer  # other contexts may have it too, to which it says the same
    return block


def around() -> dict[str, Any]:
    """What the `trace_attributes` blocks around the caller say."""
    here = _around.get()
    return here.merged if here is not None else {}


def merge(nearer: Mapping[str, Any], farther: Mapping[str, Any]) -> dict[str, Any]:
    """Two sets of attributes as one: the nearer id, version and environment win, tags and metadata are joined.

    Returns:
        Only what is set, ids as str, tags as a list of str without doubles, metadata with str keys.
    """
    merged: dict[str, Any] = {}
    for name in _TEXTS:
        for source in (nearer, farther):
            text = text_of(source.get(name))
            if text:
                merged[name] = text
                break
    tags = [*tags_of(farther.get("tags")), *tags_of(nearer.get("tags"))]
    if tags:
        merged["tags"] = list(dict.fromkeys(tags))
    metadata = {**_mapping(farther.get("metadata")), **_mapping(nearer.get("metadata"))}
    if metadata:
        merged["metadata"] = metadata
    return merged


def checked(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a run as Langfuse takes them: long texts cut, an impossible environment left out; said once."""
    for name in _TEXTS:
        text = attributes.get(name)
        if text is not None and len(text) > _MAX_ID:
            _log.warn_once(f"A {name} is cut to {_MAX_ID} characters, which is what Langfuse takes.", elsewhere=True)
            attributes[name] = text[:_MAX_ID]
    if "tags" in attributes:
        attributes["tags"] = [tag[:_MAX_ID] for tag in attributes["tags"]]
    environment = attributes.get("environment")
    if environment is not None:
        try:
            _settings_kinds.ENVIRONMENT.read(environment)
        except _settings_kinds.RefusedError:
            shown = _settings_kinds.shown(environment, chr(34))
            accepted = _settings_kinds.ENVIRONMENT.accepts
            _log.warn_once(f"environment is {shown}; accepted: {accepted}. It is left out.", elsewhere=True)
            del attributes["environment"]
    return attributes


def text_of(value: Any) -> str | None:
    """A text, or as one what is read as one value: a number, a UUID, a member of an enumeration; None for anything else."""
    if type(value) is str:
        return value
    if value is None:
        return None
    return str(value) if type(value) in {int, float} else _as_str(value)


def _as_str(value: Any) -> str | None:
    # a UUID, a subclass of str or a number of NumPy's is a fair session id; what has no text of its own is left out
    taken = snapshot(value)
    if type(taken) is Tagged:
        taken = taken.fields.get("value")
    return str(taken) if type(taken) in {str, int, float} else None


def tags_of(value: Any) -> list[str]:
    """Tags as texts; a text alone is one."""
    several = isinstance(value, Iterable) and not isinstance(value, str)
    items: Iterable[Any] = _first(value, _MOST_TAGS, "tags") if several else [value]
    return [text for item in items if (text := text_of(item))]


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {}
    return {key_text(key): item for key, item in _first(value.items(), _MOST_METADATA, "entries of metadata")}


def _first(items: Iterable[Any], most: int, what: str) -> list[Any]:
    """The first of what may be endless; that others are left out is said once."""
    first = [*islice(items, most + 1)]
    if len(first) > most:
        _log.warn_once(
            f"A run takes the first {most} {what} that one place gives; the others are left out.", elsewhere=True
        )
    return first[:most]
