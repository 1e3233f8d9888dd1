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
    r"(\\{0,3}\"[^\"\n]+\"|\\{0,3}'[^'\n]+'|(?:(?<==)[^\s\"'`,;(){}\[\]<>]|[^\s\"'`,;(){}\[\]<>]{6})"
    r"[^\s\"'`,;(){}\[\]<>]*)(?=[ \t\r]*(?:[,;#\\].*)?$)"
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
    keys = [key for key in compiled(_KEY).finditer(text) if hits(key[2])]
    if keys:
        text = _without_enclosed(text, keys)
        text = _without_lines_below(text, hits)
    if "[" in text:
        text = _without_tables(text, hits)
    return text[1:]


def _without_enclosed(text: str, keys: list[re.Match[str]]) -> str:
    """Replace what stands behind names in brackets or quotes, over any number of lines."""
    shown = Splice(text)
    for key in keys:
        start, rest = _value(key)
        if key.start() < shown.at or not _is_enclosed(rest):
            continue
        if rest[0] in "[{":
            end, _ = value_end(text, start, "")
            shown.replace(start, end, _without_credentials(text[start:end], _IN_LIST))
        else:
            quote = rest[0] * (3 if rest.startswith(_LONG_QUOTES) else 1)
            start += len(quote)
            if (end := text.find(quote, start, start + _LONGEST)) > start:
                shown.replace(start, end, REPLACEMENT)
    return shown.whole()


def _without_lines_below(text: str, hits: Hits) -> str:
    """Replace what looks like a credential in the lines that belong to a name; of what is enclosed in these that is done."""
    shown = Splice(text)
    for key in compiled(_KEY).finditer(text):
        # they end behind a line's end, where the next name's line begins
        if key.start() + 1 < shown.at or not hits(key[2]):
            continue
        start, end = _lines_below(text, key)
        if end > start:
            shown.replace(start, end, _without_credentials(text[start:end], _SCALAR))
    return shown.whole()


def _value(key: re.Match[str]) -> tuple[int, str]:
    """Where the value behind a name begins, and what of it stands on the line; what is replaced already does not count."""
    rest = key[3].lstrip()
    start = key.end() - len(rest)
    shown = rest.removeprefix(REPLACEMENT)
    return start + len(rest) - len(shown), shown.rstrip()


def _is_enclosed(rest: str) -> bool:
    return rest[:1] in {"[", "{"} or rest.startswith(_LONG_QUOTES) or (rest[:1] == '"' and rest.count('"') == 1)


def _lines_below(text: str, key: re.Match[str]) -> tuple[int, int]:
    """Where the lines begin and end that belong to a name."""
    _, rest = _value(key)
    start, indent = key.end() + 1, len(key[1])
    if _is_enclosed(rest) or not compiled(_WORD_OR_NONE).fullmatch(rest):
        return start, start
    # below a name alone a list of YAML may stand as far to the left
    is_deeper = rest[:1] not in {"", "#", "&", "!"}
    lines = _DEEPER % (indent + 1) if is_deeper else _LISTED % (indent, indent + 1)
    found = compiled(lines).match(text, min(start, len(text)))
    return start, found.end() if found is not None else start


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
        whole = before.strip(" \t-") + word if before[-1:] == "=" else word  # a short one may be, with its name
        if not (is_credential(word.strip("\\\"'")) or is_credential(whole) or (quote and is_line)):
            return found[0]
        return f"{before}{quote}{REPLACEMENT}{quote}"

    return compiled(pattern).sub(shown, text)
