"""What an exception says, had without running its `__str__` or the `__repr__` of what it holds."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, islice
from math import inf
from types import MemberDescriptorType, WrapperDescriptorType
from typing import Any

from .capture_kinds import attributes_of, is_genuine, module_named, mro_of, qualified_name_of, shape_of
from .capture_types import Snapshot, Tagged

__all__ = ["MAX_MEMBERS", "arguments_of", "members_of", "message_of", "notes_of", "quoted_by", "text_of", "texts_in"]

MAX_MEMBERS = 10
"""Of a group that are shown, and notes."""
_MAX_MESSAGE = 10_000
_MAX_FIELDS = 500
_MAX_LEVELS = 3
_MAX_PROBLEMS = 100
_MOST_STEPS, _FEW_STEPS = 3000, 300
"""Through an exception's fields, for the texts that its message may repeat: some 2 ms, and where it is one of many values."""
_STEP = 500
"""Characters of a text that cost as much as one more field."""
_MOST_SEARCHED = 2_000_000
"""Characters that are gone through where an exception is seen, about 1 ms."""
_MOST_KEPT = 1_000_000
"""Characters that are kept for the worker to look for where that is too much."""
_MAX_RELATED = 12
"""Exceptions whose fields a message may repeat."""
_PAIR = 2
_SEVERAL = (list, tuple, set, frozenset, deque)
_LARGEST_NUMBER = 128
"""Bits of one that is looked for in a message, as a code of so many digits."""

_exception = BaseException.__dict__
_get_args = _exception["args"].__get__
_get_dict = _exception["__dict__"].__get__
_get_cause = _exception["__cause__"].__get__
_get_context = _exception["__context__"].__get__


def quoted_by(
    error: BaseException, message: Snapshot, notes: tuple[str, ...], *, of_others: bool = False
) -> tuple[tuple[str, str], ...]:
    """Find the fields that the class of an exception gave it whose texts are repeated in what it says.

    Those of what it came from and of a group's members count as well: `raise Failed(f"no login: {error}")`, from None or not.

    Args:
        error: the exception.
        message: what it says.
        notes: likewise.
        of_others: whether its own fields are known already, for it is a value.
    """
    texts: list[tuple[str, str]] = []
    steps = Steps(_FEW_STEPS if of_others else _MOST_STEPS)
    for known in _related(error):
        if not (of_others and known is error):
            fields, _ = shape_of(type(known)).fields(known, _MAX_FIELDS)
            texts += texts_in(fields.items(), steps)
        texts += texts_in(_validated_by(known), steps)
        if steps.left < 0:
            break
    if not texts or type(message) is not str:  # of other messages there is no text yet
        return tuple(texts)
    said = (message, *notes)
    if sum(map(len, said)) * len(texts) > _MOST_SEARCHED:  # the worker may look
        kept = accumulate(len(text) for _, text in texts)
        return tuple([row for row, size in zip(texts, kept, strict=True) if size <= _MOST_KEPT])
    return tuple([row for row in texts if any(row[1] in text for text in said)])


def _related(error: BaseException) -> list[BaseException]:
    """An exception, what it came from, whether that is shown or not, and the members of groups; the nearest, each once."""
    found = [error]
    for known in found:
        others = (_get_cause(known), _get_context(known), *members_of(known)[:MAX_MEMBERS])
        found += [other for other in others if other is not None and not any(other is one for one in found)]
        if len(found) >= _MAX_RELATED:
            break
    return found[:_MAX_RELATED]


def _validated_by(error: BaseException) -> list[tuple[str, Any]]:
    """What a library has found wrong, by the names that it has in data: an error of pydantic's, attrs' or jsonschema's."""
    cls = type(error)
    if module_named("pydantic_core._pydantic_core").get("ValidationError") is cls:
        known: Any = error
        if known.error_count() > _MAX_PROBLEMS:
            return []
        problems = known.errors(include_url=False, include_context=False)
        return [(part, problem["input"]) for problem in problems for part in problem["loc"] if type(part) is str]
    of_schema = module_named("jsonschema.exceptions").get("ValidationError")
    if of_schema is not None and any(base is of_schema for base in mro_of(cls)):
        held = _get_dict(error)
        path = held.get("path")
        return [(part, held.get("instance")) for part in path] if type(path) is deque else []
    attribute = module_named("attr._make").get("Attribute")
    args: tuple[Any, ...] = () if attribute is None else _get_args(error)
    return [(part.name, args[-1]) for part in args[:_MAX_PROBLEMS] if type(part) is attribute]


class Steps:
    """So many steps may be taken, by all who share it."""

    __slots__ = ("left",)

    def __init__(self, left: int = _MOST_STEPS) -> None:
        self.left = left


def texts_in(fields: Iterable[tuple[Any, Any]], steps: Steps | None = None) -> Iterator[tuple[str, str]]:
    """What stands in fields, under each name that it has, as the message of an exception may repeat it.

    Args:
        fields: names and values, or what has been read of these.
        steps: that may be taken.
    """
    steps = steps or Steps()
    return (text for name, value in fields if type(name) is str for text in _texts(name, value, _MAX_LEVELS, steps))


def _texts(name: str, value: Any, levels: int, steps: Steps) -> Iterator[tuple[str, str]]:
    steps.left -= 1
    if steps.left < 0:
        return
    t = type(value)
    if t is Tagged:  # what has been read of a set
        value, t = value.fields, dict
    if issubclass(t, str):
        text = str.__str__(value)
        if 0 < len(text) <= _MAX_MESSAGE:
            steps.left -= len(text) // _STEP
            yield name, text
            if not text.isalnum() and (quoted := repr(text)[1:-1]) != text:
                yield name, quoted
    elif t is bytes and 0 < len(value) <= _MAX_MESSAGE:
        steps.left -= len(value) // _STEP
        yield name, value.decode("latin-1")
        yield name, repr(value)[2:-1]
    elif t is int and value.bit_length() <= _LARGEST_NUMBER:
        yield name, str(value)
    elif t is dict and levels:
        for key, item in islice(dict.items(value), _MAX_FIELDS):
            if steps.left < 0:
                return
            if type(key) is str:
                yield from _texts(key, item, levels - 1, steps)
            yield from _texts(name, item, levels - 1, steps)
    elif levels and any(t is kind for kind in _SEVERAL):  # a class would be hashed by its metaclass
        for item in islice(value, _MAX_FIELDS):
            if steps.left < 0:
                return
            yield from _texts(name, item, levels - 1, steps)
        if (t is list or t is tuple) and len(value) == _PAIR and type(value[0]) is str:  # of a header
            yield from _texts(value[0], value[1], levels - 1, steps)


def notes_of(error: BaseException) -> tuple[str, ...]:
    """Return the first ten notes that `add_note` added."""
    notes = dict.get(_get_dict(error), "__notes__")
    return tuple([note for note in notes[:MAX_MEMBERS] if type(note) is str]) if type(notes) is list else ()


def message_of(error: BaseException, snapshot: Callable[[Any], Snapshot]) -> Snapshot:
    """Return an exception's text; the snapshot of its arguments where it has none for us."""
    text = text_of(error)
    return snapshot(arguments_of(error)) if text is None else text


def arguments_of(error: BaseException) -> object:
    """Return the arguments that an exception was made with; the only one where there is one."""
    args = _get_args(error)
    return args[0] if type(args) is tuple and len(args) == 1 else args


def text_of(error: BaseException) -> str | None:
    """Return an exception's text, None where that would need code of the user's."""
    if _has_builtin_str(error):
        return str(error)
    members = members_of(error)
    if members:
        text = attributes_of(_group_of(error))["message"].__get__(error)
        return f"{str.__str__(text)} ({len(members)} sub-exception{'s' * (len(members) != 1)})"
    return _validation_message(error)


def _has_builtin_str(error: BaseException) -> bool:
    """Whether `str(error)` runs only C code of Python's own, on exact builtins that are soon written out."""
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
    """Whether values are exact scalars, or exact tuples of them, of a bounded size in total."""
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


def members_of(error: BaseException) -> tuple[BaseException, ...]:
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
