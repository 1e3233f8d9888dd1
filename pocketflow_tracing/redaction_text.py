"""Secrets in free text, where everything that follows a secret's name is taken: messages of errors and logs.

Nobody reads those as prose. Values, such as prompts, are `redaction_data`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from .redaction_data import without_options
from .redaction_shapes import REPLACEMENT, compiled, scan
from .redaction_values import HEADER_VALUE, LINE_NAMES, QUOTE, is_credential, value_end

if TYPE_CHECKING:
    from .redaction import Rules

__all__ = ["redact_text"]

_BEARER = r"\b(Bearer|Basic)(\s{1,8})(?=[\w.~+/=-]{0,80}[\d=]|[\w.~+/=-]{16})[\w.~+/=-]{6,}"
_NAME = (
    r"(?<![\w.-])((?:(?:api|access|secret|private|auth)[ ])?[A-Za-z][\w.-]{0,80})"  # its start is tried once per word
    r"(\\{0,3}[\"']?\s{0,4}(?:=>|=|:(?!//))\s{0,4})"
)
_SPOKEN = (
    r"((?<![\w.-])((?:(?:api|access|secret|private|auth)[ ])?(?:key|token|secret|pass(?:word|phrase)|credential))"
    r"(?:[ ](?:provided|supplied|given|is|was|value)){0,2}:?[ ])([\"']?)([^\s\"'\[\],;]{6,})\3"
)
_PLAIN_VALUE = r"(?!\[redacted\])[^\s,;&\"'()\[\]{}]+"


def redact_text(text: str, rules: Rules) -> str:
    """Replace secrets in free text: an exception's message, a line of code, a log line.

    Args:
        text: any text.
        rules: whose names are looked for in `name=value`, `name: value`, `"name": "value"`, `--name value`, "the name value".

    Returns:
        The text with "[redacted]" in the place of what looks like a secret; in time linear to its length.
    """
    if rules.scan_text:
        text = scan(text)
    if rules.redact.idle:
        return text
    pieces: list[str] = []
    at = 0  # the text before is in pieces
    position = 0
    find_name = compiled(_NAME, re.IGNORECASE).search
    while (match := find_name(text, position)) is not None:
        position = match.end()
        if not rules.redact.hits(match[1]):
            continue
        is_line = match[1].lower().endswith(LINE_NAMES)
        end, closing = value_end(text, position, HEADER_VALUE if is_line else _PLAIN_VALUE)
        if end > position:
            start = compiled(QUOTE).match(text, position)
            opening = start[0] if start is not None and closing else ""
            pieces += (text[at:position], opening, REPLACEMENT)
            at = position = end
    text = "".join((*pieces, text[at:]))
    if "--" in text:
        text = without_options(text, rules.redact.hits, in_prose=False)
    text = compiled(_SPOKEN, re.IGNORECASE).sub(lambda found: _spoken(found, rules.redact.hits), text)
    return compiled(_BEARER, re.IGNORECASE).sub(rf"\1\2{REPLACEMENT}", text)


def _spoken(found: re.Match[str], hits: Callable[[str], bool]) -> str:
    """What is shown of a sentence that names a secret and its value: "the password 'hunter2' is wrong"."""
    before, name, _, word = found.groups()
    is_secret = hits(name) and is_credential(word)
    return f"{before}{found[3]}{REPLACEMENT}{found[3]}" if is_secret else found[0]
