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
    """Takes the entries out of a dict whose objects have gone, whenever it is asked to."""

    __slots__ = ("_gone",)

    def __init__(self) -> None:
        self._gone: list[KeyedRef[Any, Any]] = []

    def watch(self, value: Any, key: Any) -> KeyedRef[Any, Any]:
        """Return a reference to an object, for the entry of that key."""
        return KeyedRef(value, self._gone.append, key)

    def sweep(self, entries: dict[Any, tuple[Any, ...]]) -> None:
        """Take out the entries, each a tuple that begins with its reference, of what has gone."""
        while self._gone:
            try:
                lost = self._gone.pop()
            except IndexError:  # another thread was quicker
                return
            if entries.get(lost.key, _NONE)[0] is not lost:
                continue
            entry = entries.pop(lost.key, _NONE)
            if entry is not _NONE and entry[0] is not lost:  # another thread has put it there meanwhile
                entries.setdefault(lost.key, entry)


_NONE: tuple[Any, ...] = (None,)


class Remembered:
    """Objects of any kind, by their identity, as long as somebody else holds them."""

    __slots__ = ("_gone", "_refs")

    def __init__(self) -> None:
        self._gone = Gone()
        self._refs: dict[Any, tuple[Any, ...]] = {}

    def add(self, value: Any) -> None:
        """Remember one more."""
        self._gone.sweep(self._refs)
        self._refs[id(value)] = (self._gone.watch(value, id(value)),)

    def __iter__(self) -> Iterator[Any]:
        """Those that are still there."""
        return iter([value for (known,) in list(self._refs.values()) if (value := known()) is not None])
