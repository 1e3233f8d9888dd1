"""Secrets in texts whose name stands once for many: columns of CSV and Markdown, of an INSERT of SQL, the parts of a form."""

from __future__ import annotations

from .redaction_shapes import REPLACEMENT, compiled
from .redaction_splice import Splice
from .redaction_values import CUT_LINE, Hits, is_credential

__all__ = ["without_rows"]

_NAME_CELL = r"(?:[\w \"'`*./#$+@%&-]|\([^(),;\t|\n]{0,40}\)){0,60}"
_HEAD = rf"\n(?=[^\n]{{0,2000}}[,;\t|]){_NAME_CELL}(?:[,;\t|]{_NAME_CELL}){{1,100}}\r?(?=\n)"
"""Names beside each other; that of the first column may be missing, as in what pandas writes."""
_RULE = r"[ \t]{0,20}[|]?[ :]{0,4}--[|:+ -]*\r?\n"
"""Below the names of a table of Markdown."""
_CELL = r"(?:(?<=%s)|^)[ \t]*(\"(?:[^\"\n]|\"\"){0,8000}\"|[^%s\n]*)"
_MOST_WORDS = 3
_LABEL = (
    r"(\n[ \t]{0,20}\|[ \t]{0,80}[*`]{0,2}([\w.-]{1,80}(?: [\w.-]{1,40})?)[*`:]{0,3}[ \t]{0,80}\|[ \t]{0,80}`?)"
    r"([^\s|`]{6,8000})"
)
"""A row of Markdown that begins with a name."""
_INSERT = r"(?i)\bINSERT\s{1,20}INTO\s{1,20}[\w.\"`\[\]]{1,200}\s{0,20}\(([^()]{1,4000})\)\s{0,20}VALUES\s{0,20}"
_CALL = r"\([^()',]{0,40}\)"
"""The end of NOW() and its like, among values."""
_QUOTED = r"'(?:[^']|'')*'(?!')"
"""A quote that is doubled is of the text, and ends none: that each run of quotes has one meaning keeps the time linear."""
_ESCAPED = r"'(?:[^'\\]|''|\\.)*'(?!')"
"""As MySQL writes them."""
_ROW = rf"\s{{0,20}},?\s{{0,20}}\((?:%s|[^()']|{_CALL})+\)"
_NEXT_ROW = r"\)\s{0,20},\s{0,20}\("
_LONGEST_ROW = 8000
_LITERAL = rf"(?<=[(,])[ \t\n]*([NE]?%s|(?:[^,()']|{_CALL})*)"
_PART = r"(form-data;[ \t]{0,4}name=\"([^\"\n]{1,80})\"[ \t]{0,4}\r?\n(?:[A-Za-z-]{1,40}:[^\n]{0,200}\n){0,5}\r?\n)([^\r\n]+)"


def without_rows(text: str, hits: Hits) -> str:
    """Replace the cells below and beside a secret's name.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.

    Returns:
        The text with "[redacted]" in the place of secrets; in time linear to its length.
    """
    text = f"\n{text}"
    if "form-data;" in text:
        text = compiled(_PART).sub(lambda part: f"{part[1]}{REPLACEMENT}" if hits(part[2]) else part[0], text)
    if "|" in text:
        text = compiled(_LABEL).sub(
            lambda row: f"{row[1]}{REPLACEMENT}" if hits(row[2]) and is_credential(row[3]) else row[0], text
        )
    if "insert" in text.lower() and "values" in text.lower():
        text = _without_inserted(text, hits)
    return _without_columns(text, hits)[1:]


def _without_columns(text: str, hits: Hits) -> str:
    shown = Splice(text)
    walked = 0  # each line is a head or a row once: to go through all that follow each would be quadratic
    for head in compiled(_HEAD).finditer(text):
        if head.start() < walked:
            continue
        separator = next(found for found in "|\t;," if found in head[0])
        names = [name.strip("\"'`* \r") for name in head[0][1:].split(separator)]
        is_of_names = all(" " not in name for name in names) and any(map(str.isidentifier, names))
        if not names[-1] and head[0][1] == " ":  # a line of code goes on
            continue
        secret = [place for place, name in enumerate(names) if name.count(" ") < _MOST_WORDS and hits(name)]
        if not secret and not is_of_names:
            continue
        rule = compiled(_RULE).match(text, head.end() + 1)
        if separator == "|" and rule is None and head.start():  # code has such lines in its middle
            continue
        walked = rule.end() if rule is not None else head.end() + 1
        while walked < len(text):
            end = text.find("\n", walked)
            end = end if end >= 0 else len(text)
            if not secret:  # of a table whose names are known nothing below is one
                if text.count(separator, walked, end) != len(names) - 1:
                    break
                walked = end + 1
                continue
            cells = _cells(text[walked:end].rstrip("\r"), separator)
            if len(cells) != len(names):
                behind = _behind_cut(text, walked, end)
                if behind < 0:
                    break
                walked = behind
                continue
            for place in secret:
                start, stop = cells[place]
                _hide(shown, text, walked + start, walked + stop, whole=is_of_names or rule is not None)
            walked = end + 1
    return shown.whole()


def _behind_cut(text: str, start: int, end: int) -> int:
    """Where the table goes on whose row is cut, or whose next one is; -1 where it is at its end."""
    cut = text.find(CUT_LINE, start, end + 1 + len(CUT_LINE))
    line = text.find("\n", cut + len(CUT_LINE) + 1) if cut >= 0 else -1
    return line + 1 if line >= 0 else -1


def _cells(line: str, separator: str) -> list[tuple[int, int]]:
    """Where the cells of a row begin and end."""
    between = "\\" + separator
    return [cell.span(1) for cell in compiled(_CELL % (between, between)).finditer(line)]


def _hide(shown: Splice, text: str, start: int, end: int, *, whole: bool) -> None:
    """Replace what a cell holds; below names that may be prose only what looks like a credential."""
    cell = text[start:end].rstrip()
    word = cell.strip("\"'`")
    if word and (whole or is_credential(word)):
        shown.replace(start, start + len(cell), REPLACEMENT)


def _without_inserted(text: str, hits: Hits) -> str:
    shown = Splice(text)
    for insert in compiled(_INSERT).finditer(text):
        secret = [place for place, name in enumerate(insert[1].split(",")) if hits(name.strip(" \t\n\"`[]'"))]
        if insert.start() < shown.at or not secret:
            continue
        at = insert.end()
        quoted = _ESCAPED if "\\'" in text[at : at + _LONGEST_ROW] else _QUOTED
        a_row, literal = compiled(_ROW % quoted), compiled(_LITERAL % quoted)
        while row := a_row.match(text, at, at + _LONGEST_ROW):
            cells = [cell.span(1) for cell in literal.finditer(text, text.index("(", at) + 1, row.end())]
            for start, end in (cells[place] for place in secret if place < len(cells)):
                if "'" in text[start:end]:
                    _hide(shown, text, start, end, whole=True)
            at = row.end()
            if (cut := text.find(CUT_LINE, at, at + _LONGEST_ROW)) >= 0 and not a_row.match(
                text, at, at + _LONGEST_ROW
            ):
                going_on = compiled(_NEXT_ROW).search(text, cut, cut + _LONGEST_ROW)
                at = going_on.start() + 1 if going_on is not None else at
    return shown.whole()
