"""Where a secret's value ends, and whether a word looks like one."""

from __future__ import annotations

from .redaction_shapes import REPLACEMENT, compiled

__all__ = ["HEADER_VALUE", "LINE_NAMES", "QUOTE", "end_of", "is_credential", "value_end"]

QUOTE = r"(?:[bBrRuUfF]{1,2}(?=\\{0,3}[\"']))?(\\{0,3}[\"'])"
HEADER_VALUE = r"[^\n\"']{1,8000}[^\s\"']*"
LINE_NAMES = ("authorization", "authorisation", "cookie")
"""Headers whose values take the rest of the line."""
_LONGEST_VALUE = 8000
"""Characters of a secret in quotes or brackets that are never closed, beside the word that stands there."""
_REST_OF_WORD = r"[^\s\"']*"


def end_of(text: str, start: int, pattern: str) -> int:
    """Where what begins at `start` ends by a pattern; -1 if it does not fit."""
    found = compiled(pattern).match(text, min(start, len(text)))
    return -1 if found is None else found.end()


def is_credential(word: str) -> bool:
    """Tell whether a word looks like a password or key, and not like one of prose, a name in code or a placeholder."""
    word = word.rstrip(".!?:")
    if len(word) < 6 or word[0] in "<${%":
        return False
    if not any(map(str.isdigit, word)) or not any(map(str.isalpha, word)):
        return False
    return "." not in word or not word.replace(".", "").isidentifier()


def value_end(text: str, start: int, plain: str) -> tuple[int, bool]:
    """Find where a value ends that begins at `start`, before its closing quote, and whether it is quoted."""
    quote = compiled(QUOTE).match(text, start)
    if quote is not None:
        end = text.find(quote[1], quote.end(), quote.end() + _LONGEST_VALUE)
        return (end if end >= 0 else end_of(text, quote.end() + _LONGEST_VALUE, _REST_OF_WORD)), True
    if text[start : start + 1] in {"{", "[", "("} and not text.startswith(REPLACEMENT, start):
        return _closing(text, start), False
    return max(end_of(text, start, plain), start), False


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed, or the most that a value may be long."""
    depth = 0
    for bracket in compiled(r"[\[\]{}()]").finditer(text, start, start + _LONGEST_VALUE):
        depth += 1 if bracket[0] in "[{(" else -1
        if not depth:
            return bracket.end()
    return end_of(text, start + _LONGEST_VALUE, _REST_OF_WORD)
