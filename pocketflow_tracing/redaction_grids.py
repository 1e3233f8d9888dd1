"""Secrets in texts of JSON or Python whose names stand apart from them: {"columns": ["password"], "data": [["hunter2"]]}."""

from __future__ import annotations

from bisect import bisect

from .capture_labels import COLUMNS, NAMES, TABLES
from .redaction_shapes import REPLACEMENT, compiled
from .redaction_splice import Splice
from .redaction_values import CUT_LINE, QUOTE, Hits, value_end

__all__ = ["without_grids"]

_LABELS = rf"\\{{0,3}}[\"'](?:{'|'.join(COLUMNS)})\\{{0,3}}[\"']\s{{0,8}}:\s{{0,8}}[\[(]"
_TABLE = rf"\\{{0,3}}[\"'](?:{'|'.join(TABLES)})\\{{0,3}}[\"']\s{{0,8}}:\s{{0,8}}[\[(]"
_LABEL = r"[\"']([^\"'\\\n]{0,200})\\{0,3}[\"']"
_NAMED = rf"[\"'](?:{'|'.join(NAMES)})\\{{0,3}}[\"']\s{{0,8}}:\s{{0,8}}\\{{0,3}}{_LABEL}"
"""A column may be a dict that describes it."""
_LONGEST_LABELS = 8000
_ROW = r"\s{0,200},?\s{0,200}[\[(]\s{0,200}"
_BARE = r"[^,\])\s]*"
_BEHIND_CELL = r"\\{0,3}[\"']?\s{0,200}([,\])])\s{0,200}"
_NEXT_ROW = r"[\])]\s{0,200},\s{0,200}(?=[\[(])"
_LONGEST_ROW = 8000
_NOTHING = frozenset({"null", "None", "true", "True", "false", "False"})


def without_grids(text: str, hits: Hits) -> str:
    """Replace the cells of rows whose column is called as a secret is, before or behind them.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.

    Returns:
        The text with "[redacted]" in the place of secrets; in time linear to its length.
    """
    if not any(word in text for word in COLUMNS):
        return text
    labels = _labels(text, hits)
    if not any(secret for _, secret in labels):
        return text
    starts = [start for start, _ in labels]
    shown = Splice(text)
    walked = 0
    for table in compiled(_TABLE).finditer(text):
        if table.start() < walked:
            continue
        at = bisect(starts, table.start())
        secret = {place for _, places in labels[max(at - 1, 0) : at + 1] for place in places}
        walked = _hide_cells(shown, text, table.end(), secret) if secret else walked
    return shown.whole()


def _labels(text: str, hits: Hits) -> list[tuple[int, set[int]]]:
    """Where columns are named, and the places of those that are called as a secret is."""
    found = []
    walked = 0
    for labels in compiled(_LABELS).finditer(text):
        if labels.start() < walked:
            continue
        end = text.find("]" if text[labels.end() - 1] == "[" else ")", labels.end(), labels.end() + _LONGEST_LABELS)
        walked = end = end if end >= 0 else labels.end() + _LONGEST_LABELS
        names = compiled(_NAMED if "{" in text[labels.end() : end] else _LABEL).findall(text, labels.end(), end)
        found.append((labels.start(), {place for place, name in enumerate(names) if hits(name)}))
    return found


def _hide_cells(shown: Splice, text: str, at: int, secret: set[int]) -> int:
    """Replace these cells of each row from a place on; where the rows end is returned."""
    while True:
        row = compiled(_ROW).match(text, at)
        end = _hide_cells_of_row(shown, text, row.end(), secret) if row is not None else -1
        if end < 0:  # what is behind a cut may be the rest of a row, whose cells nobody knows
            cut = text.find(CUT_LINE, at, at + _LONGEST_ROW)
            going_on = compiled(_NEXT_ROW).search(text, cut, cut + _LONGEST_ROW) if cut >= 0 else None
            if going_on is None:
                return max(at, shown.at)
            end = going_on.end()
            shown.replace(max(cut + len(CUT_LINE) + 1, shown.at), going_on.start(), REPLACEMENT)
        at = end


def _hide_cells_of_row(shown: Splice, text: str, at: int, secret: set[int]) -> int:
    """Replace these cells of a row; where it ends is returned, -1 where that is not to be seen."""
    place = 0
    while True:
        quote = compiled(QUOTE).match(text, at)
        end, _ = value_end(text, at, _BARE)
        if end < 0 or CUT_LINE in text[at:end]:
            return -1
        if place in secret and end > at and text[at:end] not in _NOTHING:
            shown.replace(at, end, quote[0] if quote is not None else "", REPLACEMENT)
        behind = compiled(_BEHIND_CELL).match(text, end)
        if behind is None:
            return -1
        if behind[1] != ",":
            return behind.end(1)
        at, place = behind.end(), place + 1
