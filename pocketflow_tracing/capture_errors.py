"""Pictures of exceptions: type, message, the user's frames, and what they came from.

Taken on the caller's path; the picture holds no exception, traceback or frame.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from importlib import import_module
from math import inf
from types import MemberDescriptorType, TracebackType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any, NamedTuple

from ._guard import is_hosts
from .capture_kinds import (
    Shape,
    attributes_of,
    is_genuine,
    kind,
    module_named,
    mro_of,
    name_of,
    qualified_name_of,
    shape_of,
)
from .capture_types import CUT_KEY, Cut, Failure, Note, Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk

__all__ = ["ErrorSnapshot", "Frame", "describe_again", "describe_exception", "place_of"]

_MAX_FRAMES = 50
_MAX_CHAIN = 5
_MAX_MEMBERS = 10
_MAX_ERRORS = 30
_MAX_MESSAGE = 10_000

_exception = BaseException.__dict__
_get_args = _exception["args"].__get__
_get_traceback = _exception["__traceback__"].__get__
_get_cause = _exception["__cause__"].__get__
_get_context = _exception["__context__"].__get__
_get_suppress = _exception["__suppress_context__"].__get__
_get_dict = _exception["__dict__"].__get__

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
        message = _message_of(error, snapshot)
        if message is not known.message and message != known.message:
            return None
        return ErrorSnapshot(
            name, message, notes=_notes_of(error), explicit=known.explicit, class_name=known.class_name
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
    return ErrorSnapshot(
        type_name=name,
        message=_message_of(error, snapshot),
        frames=frames,
        cut_frames=cut,
        notes=_notes_of(error),
        cause=None if cause is None or not chain or id(cause) in seen else _describe(cause, snapshot, chain - 1, seen),
        explicit=explicit,
        members=tuple([_describe(e, snapshot, chain - 1, seen) for e in _members(error)[:_MAX_MEMBERS]])
        if chain
        else (),
        class_name=shape_of(t).name,
    )


def _notes_of(error: BaseException) -> tuple[str, ...]:
    notes = dict.get(_get_dict(error), "__notes__")
    return tuple([note for note in notes[:_MAX_MEMBERS] if type(note) is str]) if type(notes) is list else ()


def _message_of(error: BaseException, snapshot: Callable[[Any], Snapshot]) -> Snapshot:
    """Return an exception's text; the snapshot of its arguments where it has none for us."""
    text = _text_of(error)
    return snapshot(_arguments(error)) if text is None else text


def _arguments(error: BaseException) -> object:
    args = _get_args(error)
    return args[0] if type(args) is tuple and len(args) == 1 else args


def _text_of(error: BaseException) -> str | None:
    """Return an exception's text, None where that would need code of the user's."""
    if _has_builtin_str(error):
        return str(error)
    members = _members(error)
    if members:
        text = attributes_of(_group_of(error))["message"].__get__(error)
        return f"{str.__str__(text)} ({len(members)} sub-exception{'s' * (len(members) != 1)})"
    return _validation_message(error)


def _has_builtin_str(error: BaseException) -> bool:
    """Tell whether `str(error)` runs only C code of Python's own, on exact builtins that are soon written out."""
    args = _get_args(error)
    for cls in mro_of(type(error)):
        method = attributes_of(cls).get("__str__")
        if method is not None:
            if type(method) is not WrapperDescriptorType or not qualified_name_of(cls).startswith("builtins."):
                return False
            # One text is the message itself and is not copied, however long it is; others quote it, as KeyError does.
            is_message = cls is BaseException and len(args) == 1 and type(args[0]) is str
            if not (is_message or _is_plain(args)):
                return False
            break
    # OSError, SyntaxError and others format their own members, which may be assigned.
    for cls in mro_of(type(error)):
        if cls is BaseException:
            return True
        for name, attribute in [*attributes_of(cls).items()]:
            if type(attribute) is MemberDescriptorType and name not in {"value", "code", "obj", "exceptions"}:
                try:
                    member = attribute.__get__(error)
                except AttributeError:
                    continue
                if not _is_plain((member,)):
                    return False
    return True


def _is_plain(values: tuple[object, ...]) -> bool:
    """Tell whether values are exact scalars, or exact tuples of them, of a bounded size in total."""
    return _size_of(values, 1) <= _MAX_MESSAGE


def _size_of(values: tuple[Any, ...], levels: int) -> float:
    """About the characters of some values; infinite where they are no scalars, too many, or more than so many levels deep."""
    if len(values) > 20:
        return inf
    size = 0.0
    for value in values:
        t = type(value)
        if t is str or (t is bytes and not sys.flags.bytes_warning):  # which `python -b` warns of
            size += len(value)
        elif t is tuple and levels:
            size += _size_of(value, levels - 1)
        elif not (value is None or t is bool or t is float or (t is int and value.bit_length() < 2000)):
            return inf
    return size


def _validation_message(error: BaseException) -> str | None:
    """Word a pydantic ValidationError without its inputs, whose `__repr__` its own text would run."""
    cls = type(error)
    if module_named("pydantic_core._pydantic_core").get("ValidationError") is not cls:
        return None
    known: Any = error
    if known.error_count() > 100:
        return f"{known.error_count()} validation errors for {known.title}"
    problems = known.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{len(problems)} validation error{'s' * (len(problems) != 1)} for {known.title}"]
    lines += [f"{'.'.join(str(part) for part in p['loc'])}: {p['msg']} ({p['type']})" for p in problems]
    return "\n".join(lines)


def _members(error: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions of a group, () for any other."""
    group = _group_of(error)
    found = None if group is None else attributes_of(group)["exceptions"].__get__(error)
    return found if type(found) is tuple else ()


def _group_of(error: BaseException) -> Any:
    """Return BaseExceptionGroup if the error is one (Python 3.10 has none)."""
    for cls in mro_of(type(error)):
        if qualified_name_of(cls) == "builtins.BaseExceptionGroup" and is_genuine(cls):
            return cls
    return None


def _is_ours(file: str, module: object) -> bool:
    """Tell whether a frame is this package's or PocketFlow's: by its file, or its module, for a frozen one has no such file."""
    if file.startswith(_OWN_DIRECTORY):
        return file != _DEMO  # a program like a user's, its frames are what its trace is about
    if type(module) is str and module.partition(".")[0] in _OURS:
        return module != _DEMO_MODULE
    path = module_named("pocketflow").get("__file__")
    if type(path) is not str:
        return False
    directory, name = os.path.split(path)
    return file.startswith(directory + os.sep) if name == "__init__.py" else file == path


_MAX_WALKED = 2_000
_MAX_STEPS = 1_000
"""From the place where an exception is to where it was seen last."""
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
    own = shape.instance_dict(value)
    # Slots of the builtin exceptions (errno, lineno …) say again what the message says.
    fields = {name: field for name, field in fields.items() if name in own and name != "__notes__"}
    members = _members(value)
    if members:
        fields["exceptions"] = members
    text = _text_of(value)
    shown = walk.fields({"message": _arguments(value) if text is None else text, **fields}, value, shape.name, depth)
    if type(shown) is not Tagged:
        return shown
    if cut:
        shown.fields[CUT_KEY] = Cut(cut)
    return Failure(*shown)
