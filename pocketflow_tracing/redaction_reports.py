"""Secrets in texts that Python and its libraries make of data: the words of a command, pairs, and what errors quote.

An error object is shown by its parts; as a text (`str(error)`, in another error's message or in a value) it is this.
"""

from __future__ import annotations

import re

from .redaction_shapes import REPLACEMENT, compiled
from .redaction_splice import Splice
from .redaction_values import QUOTE, Hits, is_credential, value_end

__all__ = ["without_reported"]

_WORDS = r"([\"']--?([A-Za-z][\w-]{0,80})\\{0,3}[\"'],\s{0,20}(\\{0,3}[\"']))((?:(?!\3)(?:[^\n\\]|\\.)){1,4000})(?=\3)"
"""Of a command as a list: '--password', '…'; also in JSON, and in a CalledProcessError's message."""
_LISTED_WORDS = (
    r"(\n[ \t]{0,80}- [\"']?--?([A-Za-z][\w-]{0,80})[\"']?[ \t\r]*\n[ \t]{0,80}- [\"']?)([^\s\"'-][^\n\"']{0,4000})"
)
"""Of a command as a list of YAML."""
_PAIR = r"([\[({]\s{0,4}b?([\"'])([\w.-]{1,80})\2,\s{0,20}b?([\"']))((?:(?!\4)[^\n\\]|\\.){1,4000})(?=\4\s{0,4}[\])])"
"""A header in a list of them: ('X-Api-Key', '…')."""
_INLINE = (
    r"([{,(]\s{0,4}([\w.-]{1,80})[ \t]{0,4}[=:][ \t]{1,4})"
    r"(\"(?:[^\"\\\n]|\\.){1,4000}\"|'(?:[^'\\\n]|\\.){1,4000}'|[^\s\"'`,(){}\[\]<>]{6,}(?=[ \t]{0,4}[,}]))"
)
"""In a table of TOML, an object of JavaScript or a mapping of YAML, within a line."""
_INPUT = r"((?:\A|\n)([\w.-]{1,200})\n  [^\n]{0,500}?input_value=)([^\n]{1,8000}?)(?=, input_type=)"
"""Of pydantic's ValidationError, whose line before names the field."""
_LOCATED = r"\"loc\\{0,3}\"\s{0,4}:\s{0,4}\[([^\[\]]{1,400})\][^{}]{0,400}?\"input\\{0,3}\"\s{0,4}:\s{0,4}"
"""The same as JSON, as FastAPI answers it."""
_SHORTEST_QUOTED = 6
"""Characters of an input that a validator's own words may repeat."""
_NEAR = 200
"""Characters behind it in which they may."""
_LINE = r"[^\s,}\]]+"
_STATEMENT, _PARAMETERS = "[SQL: ", "[parameters: "
"""Of SQLAlchemy's errors."""
_LONGEST_STATEMENT, _LONGEST_PARAMETERS = 8000, 20_000

_KEY = (
    r"((?<!\w)Key \(((?:[^()\n]|\([^()\n]{0,200}\)){1,500})\)=\()((?:(?!Key \()[^\n]){1,8000}?)"
    r"(?=\)(?: (?:already|is|conflicts)\b|[.\s\"'\\]|\Z))"
)
"""Of PostgreSQL: Key (email, token)=(…) already exists."""
_ENTRY = r"(Duplicate entry ')((?:(?!Duplicate entry ')[^\n]){1,8000}?)(?=' for key '([^'\n]{1,200})')"
"""Of MySQL, which names the column or index behind it."""


def without_reported(text: str, hits: Hits) -> str:
    """Replace secrets by the names that stand beside them in such texts.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.

    Returns:
        The text with "[redacted]" in the place of secrets; in time linear to its length.
    """
    if "--" in text and ("'," in text or '",' in text):
        text = compiled(_WORDS).sub(lambda found: f"{found[1]}{REPLACEMENT}" if hits(found[2]) else found[0], text)
    if "- --" in text or "- '--" in text or '- "--' in text:
        text = compiled(_LISTED_WORDS).sub(
            lambda found: f"{found[1]}{REPLACEMENT}" if hits(found[2]) else found[0], text
        )
    if "('" in text or '("' in text or "['" in text or '["' in text or "(b" in text:
        text = compiled(_PAIR).sub(lambda found: _pair(found, hits), text)
    if "{" in text or ("(" in text and any(start in text for start in (": '", ': "'))):
        text = compiled(_INLINE).sub(lambda found: _inline(found, hits), text)
    if "input_value=" in text:
        text = compiled(_INPUT).sub(lambda found: _input(found, hits), text)
    if '"loc' in text:
        text = _without_located(text, hits)
    if "[parameters: " in text:
        text = _without_parameters(text, hits)
    if "Key (" in text:
        text = compiled(_KEY).sub(lambda found: _row(found[1], found[2], found[0], hits), text)
    if "Duplicate entry" in text:
        text = compiled(_ENTRY).sub(lambda found: _row(found[1], found[3], found[0], hits), text)
    return text


def _row(before: str, names: str, found: str, hits: Hits) -> str:
    """What is shown of the values of some columns, which do not say which is whose."""
    return f"{before}{REPLACEMENT}" if any(map(hits, compiled(r"\w{2,80}").findall(names))) else found


def _pair(found: re.Match[str], hits: Hits) -> str:
    """What is shown of two texts: a header's name has a hyphen, others may be a choice of a form ('password', 'Password')."""
    before, name, value = found[1], found[3], found[5]
    return f"{before}{REPLACEMENT}" if hits(name) and ("-" in name or is_credential(value)) else found[0]


def _inline(found: re.Match[str], hits: Hits) -> str:
    quote = found[3][0] if found[3][0] in "\"'" else ""
    is_secret = hits(found[2]) and (quote or is_credential(found[3]))
    return f"{found[1]}{quote}{REPLACEMENT}{quote}" if is_secret else found[0]


def _input(found: re.Match[str], hits: Hits) -> str:
    if not hits(found[2].rpartition(".")[2]):
        return found[0]
    word = found[3].strip("'\"")
    said = found[1].replace(word, REPLACEMENT) if len(word) >= _SHORTEST_QUOTED else found[1]
    return f"{said}{REPLACEMENT}"


def _without_located(text: str, hits: Hits) -> str:
    """Replace the inputs of validation errors in JSON, of which "loc" says what they are."""
    shown = Splice(text)
    for located in compiled(_LOCATED).finditer(text):
        if located.start() < shown.at or not any(map(hits, compiled(r"[\w.-]{2,80}").findall(located[1]))):
            continue
        start = located.end()
        end, _ = value_end(text, start, _LINE)
        if end > start:
            quote = compiled(QUOTE).match(text, start)
            word = text[start if quote is None else quote.end() : end]
            quoted = len(word) >= _SHORTEST_QUOTED  # it may be repeated by a validator's own words, before and behind
            if quoted and (at := text.find(word, located.start(), start)) >= 0:
                shown.replace(at, at + len(word), "", REPLACEMENT)
            shown.replace(start, end, quote[0] if quote is not None else "", REPLACEMENT)
            if quoted and (at := text.find(word, end, end + _NEAR)) >= 0:
                shown.replace(at, at + len(word), "", REPLACEMENT)
    return shown.whole()


def _without_parameters(text: str, hits: Hits) -> str:
    """Replace a statement's parameters, which do not say which is whose.

    No pattern over all of it: one that begins at each statement holds the interpreter for seconds in a text of nothing else.
    """
    shown = Splice(text)
    before = 0  # where the parameters before begin
    while (mark := text.find(_PARAMETERS, max(shown.at, before))) >= 0:
        start = text.rfind(_STATEMENT, max(shown.at, before, mark - _LONGEST_STATEMENT), mark)
        before = mark + len(_PARAMETERS)
        if start < 0 or not any(map(hits, compiled(r"\w{2,80}").findall(text, start, mark))):
            continue
        end = text.find("]\n", before, before + _LONGEST_PARAMETERS)
        if end < 0:
            end = min(len(text), before + _LONGEST_PARAMETERS)
            end -= text.endswith("]") and end == len(text)
        shown.replace(before, end, REPLACEMENT)
    return shown.whole()
