"""Texts without secrets and without what no terminal should be told; what comes again and again is cleaned once."""

from __future__ import annotations

from ._time import breathe
from .redaction import Redactor
from .redaction_data import scan_value
from .render_text import clean

__all__ = ["cleaned", "cleaned_once"]

_LONG, _LARGE, _LARGEST = 100, 2_000, 100_000
_MOST_REMEMBERED = 4_000_000
"""Characters of texts that are remembered with what became of them: a conversation of some hundred messages, in several runs."""
_known: dict[str, tuple[Redactor, str]] = {}
_remembered = 0  # characters of these


def cleaned(text: str, redactor: Redactor) -> str:
    """Clean a text.

    Args:
        text: any text.
        redactor: knows secrets by their names.
    """
    return clean(scan_value(text, redactor.hits)) if len(text) > 7 else clean(text)  # no secret is shorter


def cleaned_once(text: str, redactor: Redactor) -> str:
    """Clean a text, unless that has been done lately: the same goes through the phases of a visit, and a history through all."""
    global _remembered  # noqa: PLW0603 - of the process
    length = len(text)
    if not _LONG < length <= _LARGEST:
        return cleaned(text, redactor)
    known = _known.get(text)
    if known is not None and known[0] == redactor:
        return known[1]
    if length > _LARGE:
        breathe()
    shown = cleaned(text, redactor)
    if _remembered > _MOST_REMEMBERED:
        _known.clear()
        _remembered = 0
    _known[text] = redactor, shown if shown != text else text
    _remembered += length
    return shown
