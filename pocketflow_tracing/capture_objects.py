"""Objects of any class but the plainest: by the user's serializer, or by the reader of their kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._guard import is_hosts
from .capture_kinds import mro_of, name_of, shape_of
from .capture_types import Elided, Note, Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk

__all__ = ["Serializer", "read_other"]

Serializer = Callable[[Any], Any]

_PRICE = 4
"""Elements that any other object costs beside its own: to read a date, a path or a set takes five to ten times what an
entry of a dict takes (0.25 µs)."""


def read_other(value: object, walk: Walk, depth: int) -> Snapshot:
    """Read an object; one that cannot be read is shown as that."""
    t = type(value)
    if walk.left <= 0 and depth:
        return Elided(name_of(t))
    walk.left -= _PRICE
    inside, known = walk.inside, len(walk.seen)
    try:
        if walk.serializers:
            for cls in mro_of(t):
                for wanted, serialize in walk.serializers:
                    if wanted is cls:
                        return _serialized(value, serialize, walk, depth)
        shape = shape_of(t)
        return shape.read(value, shape, walk, depth)
    except BaseException as error:  # one unreadable object must not cost the rest of the picture
        if is_hosts(error):
            raise
        walk.inside = inside
        while len(walk.seen) > known:  # what was read of it is not shown
            walk.seen.popitem()
        return Tagged(name_of(t), {"unreadable": name_of(type(error))})


def _serialized(value: object, serialize: Serializer, walk: Walk, depth: int) -> Snapshot:
    name = name_of(type(value))
    if depth >= walk.max_depth:
        return Elided(name)
    cycle = walk.enter(value, name, depth, by_reference=False)
    if cycle is not None:
        return cycle
    try:
        result = serialize(value)
    except BaseException as error:  # the user's function fails for itself, not for the run
        if is_hosts(error, theirs=True):
            raise
        walk.leave()
        return Note(f"<serializer failed: {name_of(type(error))}>")
    walk.at = None  # what it returned stands where the object does
    shown = walk.value(result, depth + 1)
    walk.leave()
    return shown
