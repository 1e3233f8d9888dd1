"""One walk through a value: what it has seen, what is left of its budget, and how the builtin containers are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from ._guard import is_hosts
from .capture_entries import LARGE_TABLE, is_hollow, taken
from .capture_kinds import key_text
from .capture_labels import COLUMNS
from .capture_objects import Serializer, read_other
from .capture_texts import read_text
from .capture_types import CUT_KEY, Again, Cut, Elided, Ends, Limits, Note, Pairs, Snapshot, Tagged, Unread

__all__ = ["SHARE_OF_CLOSE", "Walk", "read"]

table_bytes = dict.__sizeof__
_Entered = tuple[object, Any, Any, int]
"""An object that is or was read: itself, the one around it in the same form, its key or position in that, and the depth."""


_NEAR_THE_END = 3
"""Levels before the last in which containers are mostly not entered."""

_LONG_KEY = 1 << 64

SHARE_OF_CLOSE = 250
"""Elements of a budget for each object that is read closely, at 40 µs in place of 2."""

_PRICE_OF_CLOSE = 50
"""Elements that one costs beside its own."""


class Walk:
    """The state of one snapshot: what is left of the budget, where it is, and what it has seen.

    Args:
        limits: the budget at the start.
        serializers: the user's functions by class.
        errors: whether errors are shown with their messages.
        is_secret: whether what stands under a name is not shown.
        is_ruled: whether a policy says something of objects of a class, by its name; None where none is about classes.
    """

    __slots__ = (
        "at",
        "close",
        "errors",
        "has_long",
        "inside",
        "is_ruled",
        "is_secret",
        "left",
        "longest",
        "max_depth",
        "max_items",
        "max_medium",
        "max_text",
        "seen",
        "serializers",
        "text_left",
        "whole",
    )

    def __init__(
        self,
        limits: Limits,
        serializers: tuple[tuple[type, Serializer], ...],
        errors: bool = True,
        is_secret: Callable[[str], bool] | None = None,
        is_ruled: Callable[[str], bool] | None = None,
    ) -> None:
        self.errors = errors
        self.is_ruled = is_ruled
        self.is_secret = is_secret
        self.left = limits.max_elements
        self.close = limits.max_elements
        self.max_items = limits.max_items
        self.max_depth = limits.max_depth
        self.max_text = limits.max_text
        self.longest = limits.longest_text
        self.max_medium = limits.max_medium
        self.text_left = limits.max_total_text
        self.whole = False  # whether long texts are referred to, not shortened
        self.has_long = False  # whether there was one
        self.at: Any = None  # a key or position; what a path says of it is found out where there is need of a path
        self.inside: _Entered | None = None
        self.seen: dict[int, _Entered] = {}  # by id; each holds its object, so that the id stays its own
        self.serializers = serializers

    def value(self, value: Any, depth: int) -> Snapshot:
        """Read a part of a value."""
        t = type(value)
        if t is int or value is None or t is float or t is bool:
            return value
        return read(value, self, depth)

    def enter(self, owner: object, name: str, depth: int, *, by_reference: bool = True) -> Snapshot:
        """Go into an object, which `leave` ends.

        Args:
            owner: the object.
            name: of its type.
            depth: of the object.
            by_reference: whether it is to be read in one place only; not what cannot change and means its value.

        Returns:
            None, or what stands in the object's place: that it is around this place, or where it was read before.
        """
        seen = self.seen.get(id(owner))
        if seen is None:
            self.inside = self.seen[id(owner)] = (owner, self.inside, self.at, depth)
            return None
        around = self.inside
        while around is not None:
            if around[0] is owner:
                return Note(f"<cycle: {name}>")
            around = around[1]
        self.inside = entered = (owner, self.inside, self.at, depth)
        if by_reference:
            place = _place(seen, self.is_ruled)
            if not self._is_withheld(place, seen[3], depth):
                self.inside = entered[1]
                return Again(name, place)
            self.seen[id(owner)] = entered
        return None

    def _is_withheld(self, place: tuple[str | int, ...], depth: int, depth_here: int) -> bool:
        """Whether little is shown of an object in another place, for that is secret by its name or near the last level."""
        if depth_here < depth > self.max_depth - _NEAR_THE_END:
            return True
        is_secret = self.is_secret
        return is_secret is not None and any(type(part) is str and is_secret(part) for part in place)

    def leave(self) -> None:
        """Come out of the object that was entered last."""
        assert self.inside is not None  # noqa: S101 - one leaves what one has entered
        self.inside = self.inside[1]

    def fields(
        self, fields: dict[str, Any], owner: object, name: str, depth: int, *, by_reference: bool = False
    ) -> Snapshot:
        """Read an object's fields, whose dict is ours to change, into a Tagged."""
        count = len(fields)
        if depth >= self.max_depth or (count and self.left <= 0):
            return Elided(name, count)
        stands_for_it = self.enter(owner, name, depth, by_reference=by_reference)
        if stands_for_it is not None:
            return stands_for_it
        keep = min(self.max_items, self.left)
        if count > keep:
            fields = dict(islice(fields.items(), keep))
        self.left -= len(fields)
        _fill_dict(fields, self, depth)
        if count > keep:
            fields[CUT_KEY] = Cut(count - keep)
        self.leave()
        return Tagged(name, fields)

    def plain_fields(self, fields: dict[str, Any], elements: int, owner: object, name: str, depth: int) -> Snapshot:
        """Make a Tagged of fields that are plain data already: numbers, texts and lists with so many of them."""
        if depth + 1 >= self.max_depth or self.left < elements + len(fields) or self.max_items < elements:
            return self.fields(fields, owner, name, depth, by_reference=True)
        stands_for_it = self.enter(owner, name, depth)
        if stands_for_it is not None:
            return stands_for_it
        self.left -= elements + len(fields)
        self.leave()
        return Tagged(name, fields)

    def derived(self, value: Snapshot, name: str) -> Snapshot:
        """Make the picture of an object whose class derives from one of Python's scalars: the scalar, unless a policy asks."""
        return Tagged(name, {"value": value}) if self.is_ruled is not None and self.is_ruled(name) else value

    def closely(self) -> bool:
        """Whether one more object is read closely, of those that a library is asked for."""
        if self.close <= 0:
            return False
        self.close -= SHARE_OF_CLOSE
        self.left -= min(_PRICE_OF_CLOSE, self.left // 2)
        return True

    def unread(self, fields: dict[str, Any], elements: int, owner: object, name: str, depth: int) -> Snapshot:
        """Make a Tagged of an object that is not read closely; as `plain_fields`."""
        return self.without_values(self.plain_fields(fields, elements, owner, name, depth), owner)

    @staticmethod
    def without_values(shown: Snapshot, owner: object) -> Snapshot:
        """Say in an object's picture that values of it are not read."""
        if type(shown) is Tagged:
            shown.fields[CUT_KEY] = Unread(id(owner))
        return shown

    def items(self, ends: Ends, owner: object, name: str, depth: int, *, by_reference: bool = True) -> Snapshot:
        """Read a container's elements, in a fresh list, into a list."""
        stands_for_it = self.enter(owner, name, depth, by_reference=by_reference)
        if stands_for_it is not None:
            return stands_for_it
        head, cut, tail = ends
        self.left -= len(head) + len(tail)
        _fill_list(head, self, depth)
        if cut:
            tail = [*tail]
            _fill_list(tail, self, depth, len(head) + cut)
            head = [*head, Cut(cut), *tail]
        self.leave()
        return head

    def mapping(self, value: dict[Any, Any], name: str, depth: int) -> Snapshot:
        """Read a dict of any class, keys and size."""
        count = dict.__len__(value)
        keep = self.window(count, depth)
        if keep < 0 or is_hollow(table_bytes(value), count):
            return Elided(name, count)
        if count <= keep:
            return self.rows(Ends(taken(iter, dict.items(value), keep)), value, name, depth)
        tail = taken(reversed, dict.items(value), keep // 2)[::-1]
        head = taken(iter, dict.items(value), keep - keep // 2)
        return self.rows(Ends(head, count - keep, tail), value, name, depth)

    def rows(self, ends: Ends, owner: object, name: str, depth: int) -> Snapshot:
        """Read a mapping's (key, value) rows."""
        stands_for_it = self.enter(owner, name, depth)
        if stands_for_it is not None:
            return stands_for_it
        head, cut, tail = ends
        self.left -= len(head) + len(tail)
        shown: Snapshot
        if not (_has_text_keys(head) and _has_text_keys(tail)):
            shown = self._pairs(ends, name, depth + 1)
        else:
            filled = _fill_dict(dict(head), self, depth)
            if cut:
                filled[CUT_KEY] = Cut(cut)
                filled.update(_fill_dict(dict(tail), self, depth))
            shown = filled if name == "dict" else Tagged(name, filled)
        self.leave()
        return shown

    def _pairs(self, ends: Ends, name: str, depth: int) -> Snapshot:
        pairs: list[Any] = []
        for rows in (ends.head, ends.tail):
            if rows is ends.tail and ends.cut:
                pairs.append(Cut(ends.cut))
            for key, item in rows:
                self.at = key
                shown = self.value(key, depth)
                if type(shown) is Elided:  # what a value is called is said of each: it may be a secret
                    shown = key_text(key, self.is_ruled)
                pairs.append([shown, self.value(item, depth)])
        return Pairs(name, pairs)

    def window(self, count: int, depth: int) -> int:
        """Say how many of `count` entries may be shown at this depth; -1: the container is not entered."""
        if depth >= self.max_depth or (count and self.left <= 0):
            return -1
        # of what is cut anyway half is left for what stands in its entries
        return min(self.max_items, self.left if count <= self.left else max(self.left // 2, 1))


def read(value: Any, walk: Walk, depth: int) -> Snapshot:
    """Read a value that is no number: a container, a text, bytes or another object."""
    t = type(value)
    if t is dict:
        return _read_dict(value, walk, depth)
    if t is list or t is tuple:
        return _read_list(value, walk, depth)
    if t is str or t is bytes:
        return read_text(value, walk)
    return read_other(value, walk, depth)


def _read_dict(value: dict[Any, Any], walk: Walk, depth: int) -> Snapshot:
    count = len(value)
    if count > walk.max_items or count > walk.left or depth >= walk.max_depth or table_bytes(value) > LARGE_TABLE:
        return walk.mapping(value, "dict", depth)
    # Keys first: copying a dict with other keys could compare two of them.
    try:
        for key in value:
            if type(key) is not str:
                return walk.mapping(value, "dict", depth)
    except RuntimeError as error:  # another thread added a key: the other way of reading is one step
        if is_hosts(error):
            raise
        return walk.mapping(value, "dict", depth)
    stands_for_it = walk.enter(value, "dict", depth)
    if stands_for_it is not None:
        return stands_for_it
    copy = value.copy()
    if len(copy) != count:  # another thread is at it: of its new keys nothing is known
        walk.leave()
        del walk.seen[id(value)]
        return walk.mapping(value, "dict", depth)
    walk.left -= count
    _fill_dict(copy, walk, depth)
    walk.leave()
    return copy


def _fill_dict(copy: dict[str, Any], walk: Walk, depth: int) -> dict[str, Snapshot]:
    """Replace the values of a fresh dict by their snapshots."""
    depth += 1
    for key, item in copy.items():
        t = type(item)
        if t is str:
            if len(item) <= walk.longest:
                continue
        elif t is int or item is None or t is float or t is bool or (t is bytes and len(item) <= walk.longest):
            continue
        walk.at = key
        copy[key] = _read_dict(item, walk, depth) if t is dict else read(item, walk, depth)
    return copy


def _read_list(value: list[Any] | tuple[Any, ...], walk: Walk, depth: int) -> Snapshot:
    count = len(value)
    keep = walk.window(count, depth)
    name = "list" if type(value) is list else "tuple"
    if keep < 0:
        return Elided(name, count)
    ends = (
        Ends([*value[: keep - keep // 2]], count - keep, value[count - keep // 2 :]) if count > keep else Ends([*value])
    )
    shown = walk.items(ends, value, name, depth, by_reference=type(value) is list)
    if (
        type(shown) is Again
        and not ends.cut
        and type(walk.at) is str
        and walk.at in COLUMNS
        and all(type(item) is str for item in ends.head)
    ):
        return [*ends.head]  # the pages of a query may share their labels
    return shown


def _has_text_keys(rows: Iterable[tuple[Any, Any]]) -> bool:
    for key, _ in rows:  # noqa: SIM110 - half the time of all(…) over a generator
        if type(key) is not str:
            return False
    return True


def _fill_list(copy: list[Any], walk: Walk, depth: int, position: int = 0) -> None:
    """Replace the elements of a fresh list, whose first stands at a position, by their snapshots."""
    longest = walk.longest
    for item in copy:  # most lists hold texts and numbers; a loop that only looks takes two thirds of the time
        t = type(item)
        if t is str:
            if len(item) > longest:
                break
        elif t is not int and t is not float and item is not None and t is not bool:
            break
    else:
        return
    depth += 1
    for index, item in enumerate(copy):
        t = type(item)
        if t is str:
            if len(item) <= longest:
                continue
        elif t is int or item is None or t is float or t is bool or (t is bytes and len(item) <= longest):
            continue
        walk.at = position + index
        copy[index] = _read_dict(item, walk, depth) if t is dict else read(item, walk, depth)


def _place(entered: _Entered, is_ruled: Callable[[str], bool] | None) -> tuple[str | int, ...]:
    """Where an object was read: keys and positions from the value to it."""
    path: list[str | int] = []
    at: _Entered | None = entered
    while at is not None:
        if at[2] is not None:  # the value itself is nowhere
            key = at[2]
            path.append(key if type(key) is int and abs(key) < _LONG_KEY else key_text(key, is_ruled))
        at = at[1]
    return tuple(reversed(path))
