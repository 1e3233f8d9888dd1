"""A new picture of a value, with the parts of the last one in the place of those that have not changed.

So what a visit did to a large `shared` costs, in memory and to look at, what it changed, and not what there is.
"""

from __future__ import annotations

from typing import Any

from ._changes import same
from .capture_types import Cut, Pairs, Snapshot, Tagged, weigh

__all__ = ["ENTRY_BYTES", "Sharing"]

_MISSING = object()
ENTRY_BYTES = 64
"""That an entry costs beside what it holds."""


class Sharing:
    """Brings one picture up to date.

    `weight` is about the bytes of what one of the two pictures has for itself, `large` the large texts in there.
    """

    __slots__ = ("large", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.large: list[str | bytes] = []

    def of(self, old: Snapshot, new: Snapshot) -> Snapshot:
        """The old picture where both are the same in JSON, else the new one, which gets the parts of the old one that are.

        Args:
            old: stays as it is.
            new: is nobody else's yet.
        """
        if new is old:
            return old
        kind = type(new)
        if kind is type(old):
            if kind is dict:
                return self._dict(old, new)
            if kind is list:
                return self._list(old, new)
            if kind is Tagged and old.type_name == new.type_name:
                return old if self._dict(old.fields, new.fields) is old.fields else new
            if kind is Pairs and old.type_name == new.type_name:
                return old if self._list(old.rows, new.rows) is old.rows else new
            if same(old, new):
                return old
        self._count(old)
        self._count(new)
        return new

    def _count(self, part: Snapshot) -> None:
        self.weight += ENTRY_BYTES + weigh(part, self.large)

    def _dict(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        is_same = len(old) == len(new)
        for key, item in new.items():
            before = old.get(key, _MISSING)
            if before is item:
                continue
            if before is _MISSING:
                self._count(item)
                self.weight += len(key)
                is_same = False
                continue
            shared = self.of(before, item)
            if shared is before:
                new[key] = before
            else:
                is_same = False
        if is_same:
            return old
        if len(old) > len(new) or not old.keys() <= new.keys():
            for key, gone in old.items():
                if key not in new:
                    self._count(gone)
                    self.weight += len(key)
        self.weight += ENTRY_BYTES * len(new)
        return new

    def _list(self, old: list[Any], new: list[Any]) -> list[Any]:
        """Entries are compared with those at their place; behind a cut, with those that were there before it grew."""
        is_same = len(old) == len(new)
        shift = 0
        for place, item in enumerate(new):
            at = place + shift
            if at >= len(old):
                self._count(item)
                continue
            before = old[at]
            if before is item:
                continue
            if type(item) is Cut and type(before) is Cut and not shift:
                shift = max(item.entries - before.entries, 0)
                is_same = is_same and item == before
                for gone in old[at + 1 : at + 1 + shift]:
                    self._count(gone)
                continue
            shared = self.of(before, item)
            if shared is before:
                new[place] = before
            else:
                is_same = False
        if is_same:
            return old
        for gone in old[len(new) + shift :]:
            self._count(gone)
        self.weight += ENTRY_BYTES * len(new)
        return new
