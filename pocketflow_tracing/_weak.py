"""Weak references whose callbacks are written in C.

The collector calls them on whichever thread it runs on. A signal that came while it ran is handled by the first line of Python
after that: within a callback of Python's, where what the host's handler raises (a time limit, Ctrl-C) would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import KeyedRef, ref

__all__ = ["Alive", "Gone", "Remembered"]


class Alive:
    """Counts those of some objects that are alive."""

    __slots__ = ("_refs",)

    def __init__(self) -> None:
        self._refs: set[ref[Any]] = set()

    def __len__(self) -> int:
        return len(self._refs)

    def add(self, value: object) -> None:
        """Count an object, which has its identity for equality, as long as somebody else holds it."""
        self._refs.add(ref(value, self._refs.discard))


class Gone:
    """Tells which of the objects that it has watched have gone."""

    __slots__ = ("_gone",)

    def __init__(self) -> None:
        self._gone: list[Any] = []

    def watch(self, value: Any, key: Any) -> KeyedRef[Any, Any]:
        """Return a reference, under whose `key` the object is known; it is among the ones that have gone when it has."""
        return KeyedRef(value, self._gone.append, key)

    def __iter__(self) -> Iterator[KeyedRef[Any, Any]]:
        """Those that have gone since they were asked for last."""
        gone = self._gone
        while gone:
            yield gone.pop()


class Remembered:
    """Objects of any kind, by their identity, as long as somebody else holds them."""

    __slots__ = ("_gone", "_refs")

    def __init__(self) -> None:
        self._gone = Gone()
        self._refs: dict[int, KeyedRef[Any, Any]] = {}

    def add(self, value: Any) -> None:
        """Remember one more."""
        for lost in self._gone:
            if self._refs.get(lost.key) is lost:
                del self._refs[lost.key]
        self._refs[id(value)] = self._gone.watch(value, id(value))

    def __iter__(self) -> Iterator[Any]:
        """Those that are still there."""
        return iter([value for known in list(self._refs.values()) if (value := known()) is not None])
