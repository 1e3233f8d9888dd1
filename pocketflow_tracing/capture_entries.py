"""The entries of containers that the host's other threads may be changing, read without running anything of the user's."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice
from typing import Any

from ._guard import is_hosts

__all__ = ["LARGE_TABLE", "is_hollow", "taken"]

_TRIES = 5
LARGE_TABLE = 2_000_000
"""Bytes of a table that is looked through in half a millisecond, however few entries it has."""
_BYTES_PER_ENTRY = 1000
"""More than ten times of what a table has that is filled as usual."""


def taken(iterate: Callable[[Any], Any], container: Any, count: int) -> list[Any]:
    """Return the first entries of a container that other threads may be changing.

    Its iterator is made and used up within one call, during which no other thread runs: one that was made before would
    notice any change. Only a collection of garbage can let another thread in; then it is tried again.

    Args:
        iterate: makes the iterator, in C: `iter`, `reversed`, or the `__iter__` of a builtin class.
        container: what it is made of.
        count: how many entries at most.
    """
    for _ in range(_TRIES):
        try:
            return list(islice(chain.from_iterable(map(iterate, (container,))), count))
        except RuntimeError as error:  # noqa: PERF203 - changed during iteration
            if is_hosts(error):
                raise
    return list(islice(iterate(container), count))


def is_hollow(size: int, count: int) -> bool:
    """Whether a set or dict had many more entries once: its table does not shrink, and who iterates looks at every place.

    Args:
        size: of the table, in bytes.
        count: entries that it has now.
    """
    return size > LARGE_TABLE and size > _BYTES_PER_ENTRY * count
