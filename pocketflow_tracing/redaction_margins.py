"""What stands before each line of a text that quotes another: numbers, the signs of a diff, a mail's `>`, grep's file names."""

from __future__ import annotations

from collections.abc import Callable

from .redaction_shapes import compiled

__all__ = ["without_margins"]

_NUMBER = (
    r"(?m)^(?:[^\s:]{1,200}:\d{1,7}:|[\w./-]{1,200}\.\w{1,8}-\d{1,7}-|[ \t]{0,10}\d{1,7}(?:[ \t]{0,2}[:|│→]|\t))[ ]?"
)
_QUOTE = r"(?m)^[>│](?:[ ]|$)"
_DIFF = r"(?m)^[+ -](?![+-]{2})"
_HUNK = "@@ -"
_ENOUGH = 4000
"""Characters at the beginning of a text whose lines are looked at."""


def without_margins(text: str, look: Callable[[str], str]) -> str:
    """Look at a text as if its lines had no margins, and put them back.

    Args:
        text: any text.
        look: makes a text of one.

    Returns:
        What `look` returned, with the margins where it left the lines as many as they were.
    """
    pattern = _pattern(text)
    text = look(text)  # what looks like numbers of lines may be the first column of a table
    if pattern is None:
        return text
    found = [compiled(pattern).match(line) for line in text.split("\n")]
    margins = [margin[0] if margin is not None else "" for margin in found]
    bare = [line[len(margin) :] for line, margin in zip(text.split("\n"), margins, strict=True)]
    shown = look("\n".join(bare)).split("\n")
    if len(shown) != len(bare):
        return "\n".join(shown)
    return "\n".join(margin + line for margin, line in zip(margins, shown, strict=True))


def _pattern(text: str) -> str | None:
    """What margins look like, where half of the first lines have one; those of a diff are a sign each."""
    if _HUNK in text:
        return _DIFF
    beginning = text[:_ENOUGH]
    least = (beginning.count("\n") + 1) / 2
    return next((pattern for pattern in (_NUMBER, _QUOTE) if len(compiled(pattern).findall(beginning)) >= least), None)
