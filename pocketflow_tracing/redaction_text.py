"""Secrets in free text, where everything that follows a secret's name is taken: messages of errors and logs.

Nobody reads those as prose. Values, such as prompts, are `redaction_data`'s.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .redaction_data import scan_value, without_options
from .redaction_shapes import REPLACEMENT, compiled, scan
from .redaction_splice import Splice
from .redaction_values import HEADER_VALUE, LINE_NAMES, QUOTE, Hits, end_of, is_credential, value_end

if TYPE_CHECKING:
    from .redaction import Rules

__all__ = ["redact_text"]

# Each pattern begins with what is looked for at the speed of str.find; names are looked up backwards from there. To try a name
# at each word would hold the interpreter for 11 ms in 64 kB, and with it the host's threads.
_BEARER = r"\b(Bearer|Basic)(\s{1,8})(?=[\w.~+/=-]{0,80}[\d=]|[\w.~+/=-]{16})[\w.~+/=-]{6,}"
_SEPARATOR = r"(?:={1,3}>?|:{1,2}=?(?!//)|->)\s{0,4}"
_NAME_BACKWARDS = r"\s{0,4}\]?[\"']?\\{0,3}([\w.-]{1,80}(?: (?i:ipa|ssecca|terces|etavirp|htua)(?![\w.-]))?)"
_LONGEST_NAME = 100
"""With what may stand between a name and its separator."""
_SPOKEN = (
    r"[ ](?i:(?<=key )|(?<=token )|(?<=secret )|(?<=password )|(?<=passphrase )|(?<=credential ))"
    r"(?i:(?:provided|supplied|given|is|was|value):?[ ]){0,2}((?:\\{0,3}[\"'])?)([^\s\"'\[\],;]+)\1"
)
_CHOSEN = ("password", "passphrase")
"""By people, and so often of letters alone; behind other names a word in quotes may be what a secret is called, or a parser's."""
_PAIR = r"(\(b?([\"'])([\w.-]{1,80})\2,[ ]?b?([\"']))((?:(?!\4)[^\\\n]|\\.){1,8000})(?=\4\))"
"""The arguments of an error, ('password', '…'), or a header."""
_HEADER = r"(\b[hH]eader value:?[ ]b?([\"']))((?:(?!\2)[^\\\n]|\\.){1,8000})(?=\2)"
"""What HTTP clients say of one that has a line's end in it, as a key that was read from a file has, without its name."""
_ANNOTATION = r"(?:\[[^\]\n]{0,80}\]|[ ]?\|[ ]?[\w.]{1,80}){0,8}[ ]{0,4}=[ ]{0,4}(?!=)"
"""What stands in code between the type of a variable and its value."""
_VALIDATED = r"(?:Value error|Assertion failed), [^\n]{1,4000}?(?= \((?:value|assertion)_error\)| \[type=|\n|\Z)"
"""What a validator of the user's says of a value, in a message of pydantic's."""
_PLAIN_VALUE = (
    r"(?:\[redacted\])?(?:[^\s,;&\"'()\[\]{}]|&(?!\w+=)|'(?=\w)|,(?=[^\s,;&\"'()\[\]{}])(?![\w.-]{1,80}[=:]))+"
)


def redact_text(text: str, rules: Rules) -> str:
    """Replace secrets in free text: an exception's message, a line of code, a log line.

    Args:
        text: any text.
        rules: whose names are looked for in `name=value`, `name: value`, `"name": "value"`, `--name value`, "the name value".

    Returns:
        The text with "[redacted]" in the place of what looks like a secret; in time linear to its length.
    """
    if rules.redact.idle:
        return scan(text)
    hits = rules.redact.hits
    text = _without_named(scan_value(text, hits), hits)
    if "--" in text:
        text = without_options(text, hits, in_prose=False)
    if "('" in text or '("' in text or "(b" in text:
        text = compiled(_PAIR).sub(lambda found: f"{found[1]}{REPLACEMENT}" if hits(found[3]) else found[0], text)
    if "eader value" in text and hits("authorization"):
        text = compiled(_HEADER).sub(_header, text)
    text = compiled(_SPOKEN).sub(lambda found: _spoken(found, hits), text)
    return compiled(_BEARER, re.IGNORECASE).sub(lambda found: f"{found[1]}{found[2]}{REPLACEMENT}", text)


def _without_named(text: str, hits: Hits) -> str:
    """Replace what stands behind a name and a separator."""
    shown = Splice(text)
    for separator in compiled(_SEPARATOR).finditer(text):
        if separator.start() < shown.at:
            continue
        name = _name_before(text, separator.start())
        if not hits(name):
            continue
        start = separator.end()
        is_line = name.lower().endswith(LINE_NAMES)
        end, closing = value_end(text, start, HEADER_VALUE if is_line else _PLAIN_VALUE)
        if (told := compiled(_VALIDATED).match(text, start)) is not None:
            end, closing = told.end(), False
        annotated = end_of(text, end, _ANNOTATION) if separator[0][0] == ":" and not closing else -1
        if annotated > 0:
            start = annotated
            end, closing = value_end(text, start, _PLAIN_VALUE)
        if end > start:
            quote = compiled(QUOTE).match(text, start)
            opening = quote[0] if quote is not None and closing else ""
            if not closing and text[end : end + 1] == "(":  # a call, as in a dataclass's repr
                end, _ = value_end(text, end, "")
            shown.replace(start, end, opening, REPLACEMENT)
    return shown.whole()


def _name_before(text: str, end: int) -> str:
    """The name that ends at a place, "" where none does."""
    found = compiled(_NAME_BACKWARDS).match(text[max(end - _LONGEST_NAME, 0) : end][::-1])
    return "" if found is None else found[1][::-1]


def _spoken(found: re.Match[str], hits: Hits) -> str:
    """What is shown of a sentence that names a secret and its value: "the password 'hunter2' is wrong"."""
    quote, word = found.groups()
    name = _name_before(found.string, found.start())
    is_secret = is_credential(word) or (quote and name.lower().endswith(_CHOSEN))
    if not is_secret or not hits(name):
        return found[0]
    before = found[0].removesuffix(f"{quote}{word}{quote}")
    return f"{before}{quote}{REPLACEMENT}{quote}"


def _header(found: re.Match[str]) -> str:
    is_secret = "\\n" in found[3] or "\\r" in found[3] or is_credential(found[3])
    return f"{found[1]}{REPLACEMENT}" if is_secret else found[0]
