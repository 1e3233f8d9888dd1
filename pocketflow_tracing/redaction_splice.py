"""A text of which some places are replaced."""

from __future__ import annotations

__all__ = ["Splice"]


class Splice:
    """A text that is gone through from left to right, with other texts in the place of parts of it.

    Args:
        text: any text.
    """

    __slots__ = ("_pieces", "_text", "at")

    def __init__(self, text: str) -> None:
        self._text = text
        self._pieces: list[str] = []
        self.at = 0
        """Up to where the text is settled: what begins before has been replaced or kept."""

    def replace(self, start: int, end: int, *by: str) -> None:
        """Keep what stands from `at` to `start`, and put other texts in the place of what follows up to `end`."""
        self._pieces += (self._text[self.at : start], *by)
        self.at = end

    def whole(self) -> str:
        """Return the text as it is now; itself where nothing was replaced."""
        return "".join((*self._pieces, self._text[self.at :])) if self._pieces else self._text
