"""What stands in a record in the place of a value: marks of what was left out, summaries of what is withheld."""

from __future__ import annotations

from typing import Any

from .capture_types import CUT_KEY, MARGIN, Again, Cut, Elided, Failure, Long, Note, Pairs, Snapshot, Tagged, Unread
from .records import Json
from .redaction_shapes import scan
from .render_text import LONGEST_KEY, clean, short

__all__ = ["SHORT_KEY", "TYPE_KEY", "is_short_scalar", "mark", "shown_name", "summary"]

TYPE_KEY = "__type__"
SHORT_KEY = 20
"""Characters below which a key holds no secret of any provider's form."""


def shown_name(name: str) -> str:
    """Clean the name of a class, which a program may have made of anything."""
    return clean(name if len(name) < SHORT_KEY else scan(name))


def mark(value: Snapshot) -> str:
    """Say how much was left out, or what the tracer remarks."""
    if type(value) is Cut:
        return f"{CUT_KEY} {value.entries:,} more item{'s' * (value.entries != 1)}"
    if type(value) is Elided:
        if value.entries < 0:
            return f"{CUT_KEY} {shown_name(value.type_name)}"
        return f"{CUT_KEY} {shown_name(value.type_name)} of {value.entries:,} item{'s' * (value.entries != 1)}"
    if type(value) is Again:
        return f"<same {shown_name(value.type_name)} as {_place(value.path)}>"
    if type(value) is Unread:
        return "values not read"
    return clean(value.text) if type(value) is Note else "<unknown>"


def _name(key: str) -> str:
    near = scan(key[: LONGEST_KEY + MARGIN])
    return clean(short(near, rest=len(key) - LONGEST_KEY - MARGIN))


def _place(path: tuple[str | int, ...]) -> str:
    """Write a path as one follows it: documents[3].title."""
    parts = [f".{_name(part)}" if isinstance(part, str) else f"[{part}]" for part in path]
    return "".join(parts).removeprefix(".")


def summary(value: Snapshot) -> Json:
    """Say a value's type and size, and nothing of its content."""
    t = type(value)
    if t is Note:
        return mark(value)
    if t is str or t is bytes:
        return {TYPE_KEY: t.__name__, "size": len(value)}
    if t is Long:
        return {TYPE_KEY: type(value.begin).__name__, "size": value.size}
    if t is list or t is dict:
        return {TYPE_KEY: t.__name__, "size": _count(value)}
    if t is Tagged or t is Failure:
        inner = value.fields.get("items", value.fields)
        return {
            TYPE_KEY: shown_name(value.type_name),
            "size": _count(inner if type(inner) in {list, dict} else value.fields),
        }
    if t is Pairs:
        return {TYPE_KEY: shown_name(value.type_name), "size": _count(value.rows)}
    if t is Elided and value.entries >= 0:
        return {TYPE_KEY: shown_name(value.type_name), "size": value.entries}
    if t is Again or t is Elided:
        return {TYPE_KEY: shown_name(value.type_name)}
    return {TYPE_KEY: "NoneType" if value is None else t.__name__}


def _count(container: list[Any] | dict[str, Any]) -> int:
    parts = container.values() if type(container) is dict else container
    return sum(part.entries if type(part) is Cut else 1 for part in parts)


def is_short_scalar(value: Snapshot) -> bool:
    """Whether a value is no longer than its summary would be."""
    t = type(value)
    return (
        value is None
        or t is bool
        or t is float
        or (t is int and value.bit_length() < 200)
        or (t is str and len(value) < 100)
    )
