"""Secrets by name in elements of XML, their attributes, and what stands in elements below them."""

from __future__ import annotations

import re

from .redaction_shapes import REPLACEMENT, compiled
from .redaction_splice import Splice
from .redaction_values import Hits, is_credential

__all__ = ["without_elements"]

_ELEMENT = r"(<([A-Za-z][\w:.-]{0,80})(?:\s[^<>]{0,200})?>)(<!\[CDATA\[[^<>\]]+\]\]>|[^<>\s][^<>]*)(?=</)"
_ENTRY = (
    r"(<(?:\w+\s[^<>]{0,80}(?<=\s)(?:key|name)=[\"']|key>)([^\"'<>]{1,80})(?:[\"'][^<>]{0,80}|</key>\s{0,80}<string)>(?:\s{0,80}<value>)?)"
    r"([^<>\s][^<>]*)(?=</)"
)
"""Of Java's properties, and of Apple's."""
_ATTRIBUTES = r"((?:key|name)=[\"']([^\"'<>]{1,80})[\"'][^<>]{0,120}?(?<=\s)(?:value|content)=[\"'])([^\"'<>]+)"
_VALUE_FIRST = r"(?<=\s)(value=[\"'])([^\"'<>]+)([\"'][^<>]{0,120}?(?<=\s)(?:key|name)=[\"'])([^\"'<>]{1,80})"
_NAME_AND_VALUE = r"(<(?:name|key)>([^<>]{1,80})</(?:name|key)>\s{0,80}<value>)([^<>]+)(?=</)"
_TAG = r"<([A-Za-z][\w:.-]{0,80})(?:\s[^<>]{0,200})?>(?:([^<>]{1,80})</key>\s{0,80}<(array|dict)>)?"
_NESTED = r"\s{0,200}<[A-Za-z]"
_TEXT_NODE = r"(>\s{0,200}(?:<!\[CDATA\[)?)([^<>\s\]]{6,8000})(?=(?:\]\]>)?\s{0,200}<)"
_LONGEST_ELEMENT = 100_000


def without_elements(text: str, hits: Hits) -> str:
    """Replace the contents of elements with a secret's name, and values of those whose attributes say it.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.

    Returns:
        The text with "[redacted]" in the place of secrets; in time linear to its length.
    """
    if "</" in text:
        for element in (_ELEMENT, _ENTRY, _NAME_AND_VALUE):
            text = compiled(element).sub(lambda found: _shown(found, hits), text)
        text = _without_nested(text, hits)
    if "value=" in text or "content=" in text:
        text = compiled(_ATTRIBUTES).sub(lambda found: _shown(found, hits), text)
        text = compiled(_VALUE_FIRST).sub(
            lambda found: f"{found[1]}{REPLACEMENT}{found[3]}{found[4]}" if hits(found[4]) else found[0], text
        )
    return text


def _shown(found: re.Match[str], hits: Hits) -> str:
    """What is shown of a match of what stands before a value, of its name, and of the value."""
    return f"{found[1]}{REPLACEMENT}" if hits(found[2]) else found[0]


def _without_nested(text: str, hits: Hits) -> str:
    """Replace what looks like a credential in elements below one with a secret's name, or in it on lines of its own."""
    shown = Splice(text)
    ends: dict[str, int] = {}  # of elements, by name: where the next one ends, or how far none does
    for tag in compiled(_TAG).finditer(text):
        start, name = tag.end(), tag[3] or tag[1]  # of Apple's, a key stands before what it names
        if tag.start() < shown.at or not hits(tag[2] or name):
            continue
        end = ends.get(name, 0)
        if end <= start:
            found = text.find(f"</{name}", start, start + _LONGEST_ELEMENT)
            end = ends[name] = found if found >= 0 else start + _LONGEST_ELEMENT
        is_cut = end >= len(text) and compiled(_NESTED).match(text, start) is not None
        if is_cut or text.startswith("</", end):
            end = min(end, len(text))
            inside = compiled(_TEXT_NODE).sub(_credential, text[start - 1 : end + 1])
            shown.replace(start, end, inside[1 : -1 if end < len(text) else None])
    return shown.whole()


def _credential(found: re.Match[str]) -> str:
    return f"{found[1]}{REPLACEMENT}" if is_credential(found[2].strip("\\\"'")) else found[0]
