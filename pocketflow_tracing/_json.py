"""JSON as it is stored and sent, and large values in pieces, so that the worker does not hold the interpreter for long."""

from __future__ import annotations

import json
from typing import Any

from ._time import breathe
from .records import Json

__all__ = ["decode", "encode"]

_LARGE = 100_000
"""Characters from which a value is encoded in pieces: they take half a millisecond."""
_MANY = 300
"""Entries that are looked at to find that out."""
_LEVELS = 4
"""Of a large text of JSON, whose entries are read one by one."""

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


_decoder: Any = json.JSONDecoder()
_array: Any = getattr(json.decoder, "JSONArray", None)
_object: Any = getattr(json.decoder, "JSONObject", None)


def decode(text: str) -> Any:
    """Return what a text of JSON says.

    Args:
        text: without a byte-order mark.

    Raises:
        ValueError, RecursionError: as `json.loads` does.
    """
    if len(text) < _LARGE or _array is None or _object is None:
        return _decoder.decode(text)
    try:
        value, end = _read(text, len(text) - len(text.lstrip(_BLANKS)), _LEVELS)
    except StopIteration as error:
        raise json.JSONDecodeError("Expecting value", text, error.value) from None
    if text[end:].strip(_BLANKS):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


_BLANKS = " \t\n\r"


def _read(text: str, at: int, levels: int) -> tuple[Any, int]:
    """What begins at a place, and where it ends; StopIteration with the place where nothing does."""
    opening = text[at : at + 1]
    if not levels or opening not in {"[", "{"}:
        value: tuple[Any, int] = _decoder.scan_once(text, at)
        return value
    breathe()

    def read(text: str, at: int) -> tuple[Any, int]:
        return _read(text, at, levels - 1)

    found: tuple[Any, int] = (
        _array((text, at + 1), read) if opening == "[" else _object((text, at + 1), True, read, None, None)
    )
    return found
