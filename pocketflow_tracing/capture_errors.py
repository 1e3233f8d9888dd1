"""Pictures of exceptions: type, message, the user's frames, and what they came from.

Taken on the caller's path; the picture holds no exception, traceback or frame.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from ._guard import is_hosts
from .capture_kinds import Shape, kind, module_named, name_of, qualified_name_of, shape_of
from .capture_messages import MAX_MEMBERS, arguments_of, members_of, message_of, notes_of, quoted_by, text_of
from .capture_types import CUT_KEY, Cut, Failure, Note, Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk

__all__ = ["ErrorSnapshot", "Frame", "describe_again", "describe_exception", "place_of"]

_MAX_FRAMES = 50
_MAX_CHAIN = 5
_MAX_ERRORS = 30

_exception = BaseException.__dict__
_get_traceback = _exception["__traceback__"].__get__
_get_cause = _exception["__cause__"].__get__
_get_context = _exception["__context__"].__get__
_get_suppress = _exception["__suppress_context__"].__get__

_OWN_DIRECTORY = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 - pathlib is slow to import
_DEMO = _OWN_DIRECTORY + "demo.py"
_OURS = frozenset({"pocketflow", "pocketflow_tracing"})
_DEMO_MODULE = "pocketflow_tracing.demo"


class Frame(NamedTuple):
    """One line of a traceback."""

    file: str
    line: int
    function: str


class ErrorSnapshot(NamedTuple):
    """What is known of an exception.

    Args:
        type_name: with its module, unless that is builtins.
        message: a text, or a list of its arguments' snapshots where no text can be had without running the user's code.
        frames: the user's, outermost first.
        cut_frames: how many are missing in the middle.
        notes: what `add_note` added.
        cause: what it was raised from, or what was being handled.
        explicit: whether that was said with `raise … from`.
        members: of an exception group.
        class_name: as policies know it.
        quoted: the names and texts of its fields, and of those of what it came from, that the message or a note repeats; a
            name may say that one is a secret.
    """

    type_name: str
    message: Snapshot
    frames: tuple[Frame, ...] = ()
    cut_frames: int = 0
    notes: tuple[str, ...] = ()
    cause: ErrorSnapshot | None = None
    explicit: bool = False
    members: tuple[ErrorSnapshot, ...] = ()
    class_name: str = ""
    quoted: tuple[tuple[str, str], ...] = ()


def describe_exception(error: BaseException, snapshot: Callable[[Any], Snapshot] | None = None) -> ErrorSnapshot:
    """Take a picture of an exception, without running its `__str__` or its arguments' `__repr__`.

    Args:
        error: the exception.
        snapshot: takes the picture of arguments that are no plain values.
    """
    try:
        return _describe(error, snapshot or _snapshot, _MAX_CHAIN, [])
    except BaseException as failure:  # the contract: describing an error does not raise another one
        if is_hosts(failure):
            raise
        return ErrorSnapshot(name_of(type(error)), Note(f"<unreadable: {name_of(type(failure))}>"))


def place_of(error: BaseException) -> int:
    """What tells how far an exception has come: it gets on with each level that it leaves."""
    return id(_get_traceback(error))


def describe_again(
    error: BaseException, known: ErrorSnapshot, place: int, snapshot: Callable[[Any], Snapshot]
) -> ErrorSnapshot | None:
    """Take the picture of an exception that leaves one more level: without what stands with the first.

    Args:
        error: the exception.
        known: the picture of one with its id, which an exception that has gone leaves to the next one.
        place: where that was seen, of `place_of`: a traceback grows at its beginning, and is not walked to its end at each
            of a thousand levels.
        snapshot: takes the picture of arguments that are no plain values.

    Returns:
        The picture, None where it is another exception.
    """
    try:
        t = type(error)
        step = _get_traceback(error)
        for _ in range(_MAX_STEPS):
            if id(step) == place or step is None:
                break
            step = step.tb_next
        name = qualified_name_of(t).removeprefix("builtins.")
        if id(step) != place or name != known.type_name:
            return None
        message = message_of(error, snapshot)
        if message is not known.message and message != known.message:
            return None
        notes = notes_of(error)
        return ErrorSnapshot(
            name,
            message,
            notes=notes,
            explicit=known.explicit,
            class_name=known.class_name,
            quoted=quoted_by(error, message, notes),
        )
    except BaseException as failure:  # as above
        if is_hosts(failure):
            raise
        return None


def _snapshot(value: object) -> Snapshot:
    # the two call each other; not by an `import`, for a program may guard `builtins.__import__`
    return import_module(".capture", __package__).snapshot(value)


def _describe(error: BaseException, snapshot: Callable[[Any], Snapshot], chain: int, seen: list[int]) -> ErrorSnapshot:
    t = type(error)
    seen.append(id(error))
    if len(seen) > _MAX_ERRORS:
        chain = 0
    name = qualified_name_of(t).removeprefix("builtins.")
    frames, cut = _frames(_get_traceback(error))
    cause = _get_cause(error)
    explicit = cause is not None
    if cause is None and not _get_suppress(error):
        cause = _get_context(error)
    message, notes = message_of(error, snapshot), notes_of(error)
    return ErrorSnapshot(
        type_name=name,
        message=message,
        frames=frames,
        cut_frames=cut,
        notes=notes,
        cause=None if cause is None or not chain or id(cause) in seen else _describe(cause, snapshot, chain - 1, seen),
        explicit=explicit,
        members=tuple([_describe(e, snapshot, chain - 1, seen) for e in members_of(error)[:MAX_MEMBERS]])
        if chain
        else (),
        class_name=shape_of(t).name,
        quoted=quoted_by(error, message, notes),
    )


def _is_ours(file: str, module: object) -> bool:
    """Whether a frame is this package's or PocketFlow's: by its file, or its module, for a frozen one has no such file."""
    if file.startswith(_OWN_DIRECTORY):
        return file != _DEMO  # a program like a user's, its frames are what its trace is about
    if type(module) is str and module.partition(".")[0] in _OURS:
        return module != _DEMO_MODULE
    path = module_named("pocketflow").get("__file__")
    if type(path) is not str:
        return False
    directory, name = os.path.split(path)
    return file.startswith(directory + os.sep) if name == "__init__.py" else file == path


_MAX_STEPS = 1_000
"""From the place where an exception is to where it was seen last."""
_MAX_WALKED = 2_000
"""Lines of a traceback that are looked at: one exception object that is raised again and again grows a line each time."""


def _frames(traceback: TracebackType | None) -> tuple[tuple[Frame, ...], int]:
    """List the user's frames, at most 50: the first 25 and the last 25, and how many lie between."""
    head: list[TracebackType] = []
    tail: deque[TracebackType] = deque(maxlen=_MAX_FRAMES // 2)
    count = 0
    for step in _users(traceback):
        count += 1
        if len(head) < _MAX_FRAMES // 2:
            head.append(step)
        else:
            tail.append(step)
    return tuple(map(_frame, (*head, *tail))), count - len(head) - len(tail)


def _users(traceback: TracebackType | None) -> Iterator[TracebackType]:
    """The steps of a traceback in the user's code."""
    ours: dict[str, bool] = {}
    walked = 0
    while traceback is not None and walked < _MAX_WALKED:
        walked += 1
        file = traceback.tb_frame.f_code.co_filename
        skip = ours.get(file)
        if skip is None:
            skip = ours[file] = _is_ours(file, dict.get(traceback.tb_frame.f_globals, "__name__"))
        if not skip:
            yield traceback
        traceback = traceback.tb_next


def _frame(traceback: TracebackType) -> Frame:
    """Name a place; to find the line takes longer than the rest, so it is asked for what is shown only."""
    code = traceback.tb_frame.f_code
    # 3.10 has no co_qualname
    return Frame(code.co_filename, traceback.tb_lineno or 0, getattr(code, "co_qualname", code.co_name))


@kind("builtins.BaseException", first=True)
def _read_exception(value: BaseException, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    """An exception that stands in a value: its message and the fields that its class gave it."""
    if not walk.errors:
        return Failure(shape.name, {"message": Note("<hidden>")})
    fields, cut = shape.fields(value, walk.max_items)
    fields.pop("__notes__", None)
    members = members_of(value)
    if members:
        fields["exceptions"] = members
    text = text_of(value)
    shown = walk.fields({"message": arguments_of(value) if text is None else text, **fields}, value, shape.name, depth)
    if type(shown) is not Tagged:
        return shown
    if cut:
        shown.fields[CUT_KEY] = Cut(cut)
    return Failure(*shown, quoted_by(value, text, notes_of(value), of_others=True))
