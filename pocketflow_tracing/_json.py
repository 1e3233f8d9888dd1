"""JSON as it is stored and sent, and large values in pieces, so that the worker does not hold the interpreter for long."""

from __future__ import annotations

import json
from typing import Any

from ._time import breathe
from .records import Json

__all__ = ["encode"]

_LARGE = 100_000
"""Characters from which a value is encoded in pieces: they take half a millisecond."""
_MANY = 300
"""Entries that are looked at to find that out."""

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_make_chunks: Any = getattr(json.encoder, "c_make_encoder", None)
# What `JSONEncoder.encode` makes anew for each value, at 1.5 µs of its 2.5.
_chunks: Any = (
    _make_chunks(None, _encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, True)
    if _make_chunks
    else _encoder.iterencode
)


def encode(value: Json) -> str:
    """Return compact JSON, with text as it is.

    Args:
        value: its dicts have texts as keys.

    Raises:
        TypeError, ValueError, RecursionError: as `json.dumps` does.
    """
    if type(value) is dict or type(value) is list:
        breathe()  # before each: many that are just not large take as long as one that is
        if _is_large(value):
            if type(value) is dict:
                return f"{{{','.join([f'{encode(key)}:{encode(part)}' for key, part in value.items()])}}}"
            return f"[{','.join([encode(part) for part in value])}]"
    return "".join(_chunks(value, 0))


def _is_large(value: dict[str, Json] | list[Json]) -> bool:
    """Whether a container holds much, as far as its first entries tell."""
    size = seen = 0
    pending: list[Any] = [value]
    while pending:
        container = pending.pop()
        parts = container.values() if type(container) is dict else container
        seen += len(parts)
        for part in parts:
            t = type(part)
            if t is str:
                size += len(part)
            elif (t is dict or t is list) and part:
                pending.append(part)
        if size > _LARGE or seen > _MANY:
            return True
    return False
