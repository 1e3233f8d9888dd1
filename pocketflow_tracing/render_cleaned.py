"""Texts without secrets and without what no terminal should be told; a large one is cleaned once."""

from __future__ import annotations

from ._time import breathe
from .redaction import Redactor
from .redaction_data import scan_value
from .render_text import clean

__all__ = ["cleaned", "cleaned_once"]

_LARGE, _LARGEST = 2_000, 100_000
_MOST_REMEMBERED = 64
"""Large texts that are remembered with what became of them."""
_known: dict[int, tuple[str, Redactor, str]] = {}


def cleaned(text: str, redactor: Redactor) -> str:
    """Clean a text.

    Args:
        text: any text.
        redactor: knows secrets by their names.
    """
    return clean(scan_value(text, redactor.hits)) if len(text) > 7 else clean(text)  # no secret is shorter


def cleaned_once(text: str, redactor: Redactor) -> str:
    """Clean a text, unless that has just been done: the same large one goes through several phases of a visit."""
    if not _LARGE < len(text) <= _LARGEST:
        return cleaned(text, redactor)
    breathe()
    known = _known.get(id(text))
    if known is not None and known[0] is text and known[1] == redactor:
        return known[2]
    shown = cleaned(text, redactor)
    if len(_known) >= _MOST_REMEMBERED:
        _known.clear()
    _known[id(text)] = (text, redactor, shown)
    return shown
