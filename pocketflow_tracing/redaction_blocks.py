"""Secrets in texts of data whose name stands above them, not beside: in blocks and lists of YAML and TOML.

What stands there may be prose or code as well (a list of what a password needs), so only what looks like a credential goes, or is
in quotes on a line of its own.
"""

from __future__ import annotations

import re

from .redaction_shapes import REPLACEMENT, compiled
from .redaction_splice import Splice
from .redaction_values import CUT_LINE, QUOTE, Hits, is_credential, value_end

__all__ = ["without_blocks"]

_KEY = r"\n([ \t]{0,80}(?:- ){0,8})(?:[\"'](?=[\w.-]{1,80}[\"']))?([\w.-]{1,80})[\"']?[ \t]{0,4}[:=]([^\n]*)"
_TABLE = r"\n[ \t]{0,20}\[{1,2}[ \t\"']{0,4}([\w.-]{1,80})[ \t\"']{0,4}\]{1,2}[ \t\r]*(?:#[^\n]*)?(?=\n)"
_CUT = rf"{CUT_LINE}\r?\n[^\n]*(?:\n|\Z)"
_DEEPER = "(?:" + _CUT + r"|[ \t]*(?:#[^\n]*)?\r?\n|[ \t]{%d,}[^\n]*\n?)*"
_LISTED = "(?:" + _CUT + r"|[ \t]*(?:#[^\n]*)?\r?\n|[ \t]{%d}- [^\n]*\n?|[ \t]{%d,}[^\n]*\n?)*"
_UP_TO_A_TABLE = r"(?:(?![ \t]{0,20}\[)[^\n]*\n?)*"
_WORD_OR_NONE = r"[&!#|>][^\n]*|[^\s()\[\]{}]*"
"""On the line of a name whose value goes on below: an anchor, a tag or a comment of YAML, or how the value begins."""
_SCALAR = (
    r"(?m)^([ \t]{0,200}(?![ \t])(?:- ){0,8}(?:[\"']?\w[\w .-]{0,80}[\"']?[ \t]{0,4}(?::[ \t]|=)[ \t]{0,40})?)"
    r"(\\{0,3}\"[^\"\n]+\"|\\{0,3}'[^'\n]+'|[^\s\"'`,;(){}\[\]<>]{6,})(?=[ \t\r]*(?:[,;#\\].*)?$)"
)
_IN_LIST = r"()(\"[^\"\n]+\"|'[^'\n]+'|[^\s\"'`,;:=(){}\[\]<>]{6,})"
_LONG_QUOTES = ('"""', "'''")
_LONGEST = 8000


def without_blocks(text: str, hits: Hits) -> str:
    """Replace what stands below a secret's name, or in a list behind it.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.

    Returns:
        The text with "[redacted]" in the place of secrets; in time linear to its length.
    """
    text = f"\n{text}"
    shown = Splice(text)
    for key in compiled(_KEY).finditer(text):
        # a region ends behind its last line's end, where the next name's line begins
        if key.start() + 1 < shown.at or not hits(key[2]):
            continue
        start, end, pattern = _region(text, key)
        if end > start:
            by = REPLACEMENT if pattern is None else _without_credentials(text[start:end], pattern)
            shown.replace(start, end, by)
    text = shown.whole()
    if "[" in text:
        text = _without_tables(text, hits)
    return text[1:]


def _region(text: str, key: re.Match[str]) -> tuple[int, int, str | None]:
    """Where what belongs to a name begins and ends, and the pattern of the values in it; None where all of it is one."""
    rest = key[3].lstrip()
    start = key.end() - len(rest)
    rest = rest.removeprefix(REPLACEMENT).rstrip()
    if text.startswith(REPLACEMENT, start):
        start += len(REPLACEMENT)
    if text[start : start + 1] in {"[", "{"}:
        return start, value_end(text, start, "")[0], _IN_LIST
    if text.startswith(_LONG_QUOTES, start) or (text[start : start + 1] == '"' and rest.count('"') == 1):
        quote = text[start] * (3 if text.startswith(_LONG_QUOTES, start) else 1)
        start += len(quote)
        end = text.find(quote, start, start + _LONGEST)
        return start, max(end, start), None
    if not compiled(_WORD_OR_NONE).fullmatch(rest):
        return start, start, _SCALAR
    start, indent = key.end() + 1, len(key[1])
    # below a name alone a list of YAML may stand as far to the left
    is_deeper = rest[:1] not in {"", "#", "&", "!"}
    lines = _DEEPER % (indent + 1) if is_deeper else _LISTED % (indent, indent + 1)
    found = compiled(lines).match(text, min(start, len(text)))
    return start, found.end() if found is not None else start, _SCALAR


def _without_tables(text: str, hits: Hits) -> str:
    """Replace the values of a table of TOML, or a section of an INI file, that has a secret's name."""
    shown = Splice(text)
    for table in compiled(_TABLE).finditer(text):
        if not hits(table[1]):
            continue
        start = table.end() + 1
        found = compiled(_UP_TO_A_TABLE).match(text, start)
        end = found.end() if found is not None else start
        shown.replace(start, end, _without_credentials(text[start:end], _SCALAR))
    return shown.whole()


def _without_credentials(text: str, pattern: str) -> str:
    """Replace what looks like a credential, or is in quotes on a line of its own."""
    is_line = pattern == _SCALAR

    def shown(found: re.Match[str]) -> str:
        before, word = found.groups()
        found_quote = compiled(QUOTE).match(word)
        quote = found_quote[0] if found_quote is not None else ""
        if not is_credential(word.strip("\\\"'")) and not (quote and is_line):
            return found[0]
        return f"{before}{quote}{REPLACEMENT}{quote}"

    return compiled(pattern).sub(shown, text)
