"""Two ways through a flow: what they have in common, in order."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

__all__ = ["stretches"]

_WHOLE, _WINDOW = 300, 120
"""Visits of each side that are compared at once: of ways that have no more left, and of longer ones."""


def stretches(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield where two ways are the same and where they are not, in order.

    Args:
        left: the nodes of one way.
        right: those of the other.

    Returns:
        (from, to, from, to): places on the left, places on the right; together they cover both ways.
    """
    at_l = at_r = 0
    while at_l < len(left) or at_r < len(right):
        same = _common(left, at_l, right, at_r)
        if same:
            yield at_l, at_l + same, at_r, at_r + same
            at_l, at_r = at_l + same, at_r + same
            continue
        # difflib finds the longest stretches that both went through. It takes cubic time on long loops of few nodes: those are
        # looked at in windows, up to the last stretch that both have in them.
        whole = max(len(left) - at_l, len(right) - at_r) <= _WHOLE
        wide = _WHOLE if whole else _WINDOW
        ways = left[at_l : at_l + wide], right[at_r : at_r + wide]
        blocks = difflib.SequenceMatcher(None, *ways, autojunk=False).get_matching_blocks()
        if not whole and len(blocks) > 1:
            blocks.pop()  # the empty one at the end of the window, beyond which the next one looks
        start_l, start_r = at_l, at_r
        for block in blocks:
            yield at_l, start_l + block.a, at_r, start_r + block.b
            at_l, at_r = start_l + block.a + block.size, start_r + block.b + block.size
            yield start_l + block.a, at_l, start_r + block.b, at_r


def _common(left: Sequence[str], at_l: int, right: Sequence[str], at_r: int) -> int:
    number = 0
    while at_l + number < len(left) and at_r + number < len(right) and left[at_l + number] == right[at_r + number]:
        number += 1
    return number
