"""What all rules about names in texts share: where a secret's value ends, and whether a word looks like one."""

from __future__ import annotations

from collections.abc import Callable

from .redaction_shapes import REPLACEMENT, compiled

__all__ = ["CUT_LINE", "HEADER_VALUE", "LINE_NAMES", "QUOTE", "Hits", "end_of", "is_credential", "value_end"]

Hits = Callable[[str], bool]
"""Tells whether a name is a secret's: `Redactor.hits`."""
CUT_LINE = "#\0cut\0"
"""Stands where a text is cut: for YAML a comment, for tables no row; the line below it may have lost its beginning."""
QUOTE = r"(?:[bBrRuUfF]{1,2}(?=\\{0,3}[\"']))?(\\{0,3}[\"'])"
HEADER_VALUE = (
    r"(?:[A-Za-z][\w-]{1,30} \\{0,3}\"[^\s\"\\]{6,4000}\\{0,3}\""
    r"|[^\n\"']{1,8000}[^\s\"']*(?:(?:(?<==)|(?<==\\)|(?<==\\{2})|(?<==\\{3}))\"[^\"\\\n]{0,4000}\\{0,3}\"[^\n\"']{0,1000}){0,50})"
)
"""Up to a quote that may be one around the header, but past those of its own: Digest username="…", response="…"."""
LINE_NAMES = ("authorization", "authorisation", "cookie")
"""Headers whose values take the rest of the line."""
_LONGEST_VALUE = 8000
"""Characters of a secret in quotes that are never closed, beside the word that stands there."""
_LONGEST_CLOSED = 100_000
"""Characters in which the end of quotes and brackets is looked for."""
_REST_OF_WORD = r"[^\s\"']*"
_IN_BRACKETS = r"[\[\]{}()]|\\{0,3}\"|(?<=[\s\[{(,:=])\\{0,3}'"
"""Brackets, and texts in which there may be others; an apostrophe within a word begins none."""


def end_of(text: str, start: int, pattern: str) -> int:
    """Where what begins at `start` ends by a pattern; -1 if it does not fit."""
    found = compiled(pattern).match(text, min(start, len(text)))
    return -1 if found is None else found.end()


def is_credential(word: str) -> bool:
    """Whether a word looks like a password or key, and not like one of prose, a name in code or a placeholder."""
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
        end = _closing_quote(text, quote.end(), quote[1])
        return (end if end >= 0 else end_of(text, quote.end() + _LONGEST_VALUE, _REST_OF_WORD)), True
    if text[start : start + 1] in {"{", "[", "("} and not text.startswith(REPLACEMENT, start):
        return _closing_bracket(text, start), False
    return max(end_of(text, start, plain), start), False


def _closing_quote(text: str, start: int, quote: str) -> int:
    """Where the quote stands that closes one before `start`; -1 where there is none.

    Args:
        text: any text.
        start: behind the quote that opens.
        quote: with the backslashes before it, in JSON that is a text in JSON. One of as many that is a character of the
            value has a backslash more there, and each of those one more.
    """
    mark, backslashes = quote[-1], len(quote) - 1
    if not backslashes and text.startswith(2 * mark, start) and (end := text.find(3 * mark, start + 2)) >= 0:
        return end  # three of Python's
    period = 2 * (backslashes + 1)
    limit = start + _LONGEST_CLOSED
    hopeless = _hopeless_in(text)
    at = text.find(mark, max(start, hopeless.get(quote, 0)), limit)
    while at >= 0:
        before = at
        while before > start and text[before - 1] == "\\" and at - before <= _LONGEST_VALUE:
            before -= 1
        if (at - before) % period == backslashes:
            return at - backslashes
        at = text.find(mark, at + 1, limit)
    hopeless[quote] = limit
    return text.find(quote, start, start + _LONGEST_VALUE)  # backslashes that mean themselves, as in a path


_looked_at: tuple[str, dict[str, int]] = ("", {})
"""The text that is looked at, and up to where there is no end of the quotes of a kind: to look from each would be quadratic."""


def _hopeless_in(text: str) -> dict[str, int]:
    global _looked_at  # noqa: PLW0603 - of the process; another thread looks at another text, and costs this one a second look
    looked_at = _looked_at
    if looked_at[0] is not text:
        looked_at = _looked_at = text, {}
    return looked_at[1]


def _closing_bracket(text: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed, or how far that was looked for: what is looked at goes, once."""
    depth = 0
    at, limit = start, start + _LONGEST_CLOSED
    has_texts = True
    while found := compiled(_IN_BRACKETS).search(text, at, limit):
        at = found.end()
        if found[0] in "[{(":
            depth += 1
        elif found[0] in ")}]":
            depth -= 1
            if not depth:
                return at
        elif has_texts:
            end = _closing_quote(text, at, found[0])
            has_texts = end >= 0
            at = end + len(found[0]) if has_texts else at
    return end_of(text, limit, _REST_OF_WORD)
