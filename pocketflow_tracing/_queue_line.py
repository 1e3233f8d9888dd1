"""Items in order, which can be looked through in steps: who needs room must not be held up by 100,000 of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Line"]


class Line:
    """A queue. Any thread appends at any time; everything else is for one thread at a time."""

    def __init__(self) -> None:
        self.looked: deque[Any] = deque()  # the oldest, which have been looked at and stay
        self.fresh: deque[Any] = deque()
        self.append = self.fresh.append
        self._to_look_at = 0

    def __len__(self) -> int:
        return len(self.looked) + len(self.fresh)

    def __iter__(self) -> Iterator[Any]:
        return iter([*self.looked, *self.fresh])  # at once: others go on appending

    def first(self) -> Any:
        """The oldest item; IndexError when there is none."""
        return (self.looked or self.fresh)[0]

    def popleft(self) -> Any:
        """Take the oldest item; IndexError when there is none."""
        return (self.looked or self.fresh).popleft()

    def pop(self) -> Any:
        """Take the newest item; IndexError when there is none."""
        return (self.fresh or self.looked).pop()

    def put_back(self, items: list[Any]) -> None:
        """Put items that were taken before the oldest."""
        (self.looked or self.fresh).extendleft(reversed(items))

    @property
    def is_being_looked_through(self) -> bool:
        """Whether a look that has begun is not at its end yet."""
        return self._to_look_at > 0

    def look_anew(self) -> None:
        """Begin to look at everything that is here now."""
        self.fresh.extendleft(reversed(self.looked))
        self.looked.clear()
        self._to_look_at = len(self.fresh)

    def look(self, most: int, stays: Callable[[Any], bool]) -> None:
        """Look at the next items, and take out those that do not stay.

        Args:
            most: items looked at.
            stays: whether one does.
        """
        fresh, looked = self.fresh, self.looked
        number = min(most, self._to_look_at, len(fresh))
        self._to_look_at = self._to_look_at - number if number else 0
        for _ in range(number):
            item = fresh.popleft()
            if stays(item):
                looked.append(item)
