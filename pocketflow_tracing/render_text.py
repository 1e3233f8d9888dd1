"""Small forms of text for records: sizes, shortened and clean text, numbers that JSON cannot say."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from math import isfinite
from typing import Any

__all__ = [
    "LONGEST_KEY",
    "MOST_BITS",
    "agreeing",
    "clean",
    "is_json",
    "not_finite",
    "one_line",
    "short",
    "size_of",
    "unused",
]

MOST_BITS = 2000
"""Of an int that is written out, about 600 digits: below the least limit that Python can be given for it."""

LONGEST_KEY = 200
"""Characters of a key that are shown."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNITS: tuple[tuple[int, str], ...] = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"))


def clean(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode; two that belong together become their character."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def one_line(text: str) -> str:
    """Write control characters and line breaks as escapes: a text can then neither steer a terminal nor forge a line."""
    return text if text.isprintable() else _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def short(text: str, limit: int = LONGEST_KEY, rest: int = 0) -> str:
    """Keep the beginning of a text, and say how much was left out.

    Args:
        text: a text, or its beginning.
        limit: how many characters of it to keep.
        rest: how many characters come after it that are not in hand; 0 or less for none.
    """
    left_out = len(text) - limit + max(rest, 0)
    return text if left_out <= 0 else f"{text[:limit]}… {size_of(left_out)} more"


def size_of(characters: int) -> str:
    """Write a size for readers: 1.9 MB."""
    for unit, name in _UNITS:
        if characters >= unit:
            return f"{characters / unit:.1f} {name}"
    return f"{characters} B"


def not_finite(value: float) -> str:
    """Name a float that JSON has no number for."""
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 - that is what NaN is


def is_json(value: Any, depth: int = 100) -> bool:
    """Whether a value can stand in a record as it is: data of JSON, of text that can be encoded and of so many levels."""
    t = type(value)
    if t is dict:
        parts = value.items()
        return depth > 0 and all(type(key) is str and is_json(key) and is_json(part, depth - 1) for key, part in parts)
    if t is list:
        return depth > 0 and all(is_json(part, depth - 1) for part in value)
    if t is str:
        return bool(clean(value) == value)
    if t is float:
        return isfinite(value)
    return value is None or t is bool or (t is int and value.bit_length() <= MOST_BITS)


def unused(key: str, shown: Container[str]) -> str:
    """Return a key, numbered if it is used already."""
    if key not in shown:
        return key
    number = 2
    while f"{key} ({number})" in shown:
        number += 1
    return f"{key} ({number})"


def agreeing(most: int, agree: Callable[[int], bool]) -> int:
    """The largest size, up to `most`, at which two texts agree: by halving, for comparing slices is fast."""
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        if agree(middle):
            least = middle
        else:
            most = middle - 1
    return least
