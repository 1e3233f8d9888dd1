"""Long texts and bytes: of what is recorded their ends are kept, of what is compared they are referred to whole.

Of what is compared, too, the largest are not: what a node takes out of `shared` to make room for something else would live on
until its visit has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _media
from .capture_types import MARGIN, Failure, Long, Pairs, Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk

__all__ = ["read_text", "shortened"]

_LEAST_TEXT = 200
"""Characters that are shown of a text when the others of its value have taken all."""

_PRICE_OF_LONG = 20
"""Elements that a long text costs: two slices of 40 kB take 5 µs."""


_MOST_WHOLE = 4_000_000
"""Characters or bytes of one that is referred to."""

_SAMPLES = 256
"""Characters that are compared of a larger one beside its ends, in some microseconds."""


def read_text(value: str | bytes, walk: Walk) -> Snapshot:
    """Read a text or bytes.

    Of a long one the ends are kept: waiting for the worker, thousands of whole ones would fill the memory.
    """
    if len(value) <= walk.longest:
        return value
    if walk.whole and len(value) <= _MOST_WHOLE:
        walk.has_long = True
        return value
    walk.left -= _PRICE_OF_LONG
    picture = shortened(value, walk)
    if walk.whole and type(picture) is Long:
        return picture._replace(between=value[:: len(value) // _SAMPLES])
    return picture


def shortened(picture: Snapshot, walk: Walk) -> Snapshot:
    """A picture with the ends of its long texts and bytes in their place; what a walk that kept them whole has read."""
    t = type(picture)
    if t is str or t is bytes:
        return picture if len(picture) <= walk.longest or _is_sent(picture, walk) else _ends_of(picture, walk)
    if t is dict:
        return {key: shortened(part, walk) for key, part in picture.items()}
    if t is list:
        return [shortened(part, walk) for part in picture]
    if t is Tagged or t is Failure:
        return t(picture.type_name, shortened(picture.fields, walk))
    if t is Pairs:
        return Pairs(picture.type_name, shortened(picture.rows, walk))
    return picture


def _is_sent(value: str | bytes, walk: Walk) -> bool:
    """Whether this is a medium that goes to Langfuse whole."""
    if isinstance(value, bytes):
        return len(value) <= walk.max_medium and _media.mime_of_bytes(value) is not None
    is_medium = walk.max_medium > 0 and _media.mime_of_text(value) is not None
    return is_medium and _media.size_of_text(value) <= walk.max_medium


def _ends_of(value: str | bytes, walk: Walk) -> Long:
    if isinstance(value, bytes) or _media.mime_of_text(value) is not None:  # its type, size and first bytes are shown
        return Long(value[:MARGIN], value[:0], len(value), 0)
    shown = min(walk.max_text, max(walk.text_left, _LEAST_TEXT))
    walk.text_left -= shown
    half = shown // 2 + MARGIN
    return Long(value[:half], value[-half:], len(value), shown)
