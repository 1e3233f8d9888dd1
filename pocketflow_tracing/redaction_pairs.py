"""Secrets in texts whose name and value are two members of one object: {"name": "DB_PASSWORD", "value": "…"}, of JSON or YAML."""

from __future__ import annotations

from .redaction_shapes import REPLACEMENT, compiled
from .redaction_splice import Splice
from .redaction_values import QUOTE, Hits, value_end

__all__ = ["without_paired"]

_NAME = r"(?i:name|key|field|header|variable|param|parameter|parameterkey)"
_VALUE = r"alue\\{0,3}[\"']?\s{0,3}:\s{0,3}(?=\S)"
_NAMED = rf"(?<![\w.-]){_NAME}\\{{0,3}}[\"']?\s{{0,3}}:\s{{0,3}}\\{{0,3}}[\"']?([\w./-]{{1,80}})"
_ANY_MEMBER = r":(?<=[eEyYdDrRmM\"'\\\s]:)\s{0,3}\\{0,3}[\"']?([\w./-]{1,80})"
"""What stands behind any name like these: to look for a colon is ten times as fast as for one of the names."""
_NAMED_IN_QUOTES = rf"\"{_NAME}\\{{0,3}}\"\s{{0,3}}:\s{{0,3}}\\{{0,3}}\"([\w./-]{{1,80}})"
_NEXT_LINE = rf"[\"']?[ \t]{{0,4}}\r?\n[ \t]{{1,80}}{_NAME}:[ \t]{{1,4}}[\"']?([\w./-]{{1,80}})"
"""Of YAML, where a member of the same entry follows."""
_ENTRY = r"(?:\n|\A)[ \t]{0,80}- "
_COOKIE = r"[\"']domain\\{0,3}[\"']\s{0,3}:"
_NEAR = 400
"""Characters between a name and its value, in which other members may stand …"""
_NEAR_WITHOUT_BRACES = 120
"""… and without braces other lines."""
_LINE = r"(?!(?:null|true|false|None|True|False)\b)[^\s\"',{}\[\]]+"


def without_paired(text: str, hits: Hits) -> str:
    """Replace the values of members named "value" where another member of the object says that they are secret.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.

    Returns:
        The text with "[redacted]" in the place of secrets; in time linear to its length.
    """
    if "alue" not in text or not (
        all(any(map(hits, set(compiled(members).findall(text)))) for members in (_ANY_MEMBER, _NAMED))
        or (compiled(_COOKIE).search(text) and hits("cookie"))
    ):
        return text
    shown = Splice(text)
    for found in compiled(_VALUE).finditer(text):
        start = found.end()
        if found.start() < shown.at or text[found.start() - 1 : found.start()] not in {"v", "V"}:
            continue
        end = _end(text, found.start(), start, hits)
        if end > start:
            quote = compiled(QUOTE).match(text, start)
            shown.replace(start, end, quote[0] if quote is not None else "", REPLACEMENT)
    return shown.whole()


def _end(text: str, name_end: int, start: int, hits: Hits) -> int:
    """Where a value ends that is a secret; -1 where it is none."""
    before = text[max(name_end - _NEAR, 0) : name_end]
    brace = max(before.rfind("{"), before.rfind("}"))
    if brace >= 0:
        names = compiled(_NAMED).findall(before, brace + 1)
    else:  # YAML: what stands before may belong to the entry before
        start_of_entry = max((entry.end() for entry in compiled(_ENTRY).finditer(before)), default=0)
        names = compiled(_NAMED).findall(before, max(len(before) - _NEAR_WITHOUT_BRACES, start_of_entry))[-1:]
    end, _ = value_end(text, start, _LINE)
    if any(map(hits, names)):
        return end
    if brace < 0 and (next_line := compiled(_NEXT_LINE).match(text, end)) and hits(next_line[1]):
        return end
    if compiled(QUOTE).match(text, start) is None:
        return -1
    after = text[end : end + _NEAR].partition("}")[0].partition("{")[0]
    if any(map(hits, compiled(_NAMED_IN_QUOTES).findall(after))):
        return end
    is_cookie = compiled(_COOKIE).search(before, brace + 1) or compiled(_COOKIE).search(after)  # any may be a session's
    return end if is_cookie and hits("cookie") else -1
