"""Between Python values and the text of the store's columns."""

from __future__ import annotations

import json
from json import dumps
from typing import Any

from pocketflow_tracing._json import encode
from pocketflow_tracing.records import Json

__all__ = ["MAX_INTEGER", "dump", "dump_or_none", "integer", "like", "load", "text"]

MAX_INTEGER = 2**63 - 1
"""The largest integer of SQLite."""


_decode = json.JSONDecoder(
    parse_constant=str
).decode  # Python writes NaN and Infinity, which other readers of JSON refuse


def dump(value: Json) -> str:
    """Return the value as compact JSON; text stays readable, so that it can be searched for."""
    if not value and (type(value) is list or type(value) is dict):
        return "[]" if type(value) is list else "{}"  # most scores and metadata
    encoded = encode(value)
    if encoded.isascii():
        return encoded
    try:
        encoded.encode()
    except UnicodeEncodeError:  # lone surrogates: only their escapes can be stored
        return dumps(value, separators=(",", ":"))
    return encoded


def dump_or_none(value: Json) -> str | None:
    """Return the value as JSON, None for None."""
    return None if value is None else dump(value)


def load(encoded: str | None, kind: type | None = None) -> Any:
    """Return the value of a JSON column, None for NULL.

    Args:
        encoded: what stands there.
        kind: of what it holds, if it is not null; None for any.

    Raises:
        ValueError: it is no JSON, or of another kind.
    """
    value = None if encoded is None else _decode(encoded)
    if kind is not None and value is not None and type(value) is not kind:
        raise ValueError(f"a {kind.__name__} is expected, not a {type(value).__name__}")
    return value


def text(value: str) -> str:
    """Return a string that can be stored: lone surrogates become question marks."""
    return value.encode("utf-8", "replace").decode()


def integer(value: float) -> int:
    """Return a number that fits SQLite's integers; what is no number counts as 0."""
    try:
        return int(max(-MAX_INTEGER, min(MAX_INTEGER, value))) if value == value else 0  # noqa: PLR0124 - NaN is not
    except (TypeError, ValueError):
        return 0


def like(needle: str) -> str:
    r"""Return the LIKE pattern (escape character `\`) for text that contains `needle`."""
    escaped = needle.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"
