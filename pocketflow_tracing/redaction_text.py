"""Secrets inside of texts, by the forms in which they appear there.

Three levels, each with the false alarms that its texts can bear:

- `scan` knows secrets by their own form: keys of providers, private keys, passwords in URLs. For any text.
- `scan_value` also knows them by their name where the text is data: a member of JSON, a parameter of a URL, a line of an
  environment file, a header. For texts among values, such as prompts: prose and code stay as they are ("password: at
  least 8 characters", `token = next(tokens)`).
- `redact_text` takes everything that follows a secret's name. For messages of errors and logs, which nobody reads as prose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .redaction import Rules

__all__ = ["REPLACEMENT", "redact_text", "scan", "scan_value"]

Hits = Callable[[str], bool]


@cache
def _compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Compile a pattern at its first use: all of them at import would add 5 ms to it."""
    return re.compile(pattern, flags)


REPLACEMENT = "[redacted]"

# Each pattern starts with a literal, which the regex engine looks for at the speed of str.find (a common \b before it
# would cost 10 times as much: 1,000 µs for 50 kB of prose); the repetitions are bounded, so that the time is linear.
# Some are looked for only if the text has an underscore at all.
_SHAPES = (
    ("sk-", r"sk-(?<![A-Za-z0-9]sk-)[\w-]{16,300}"),  # OpenAI, Anthropic, Langfuse, OpenRouter
    ("AKIA", r"AKIA[A-Z0-9]{16}"),
    ("ASIA", r"ASIA[A-Z0-9]{16}"),
    ("AIza", r"AIza[\w-]{30,60}"),
    ("xox", r"xox[abeoprs]-[\w-]{10,300}"),
    ("eyJ", r"eyJ(?<![\w-]eyJ)[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),  # JWT; tried once a word
    (
        "PRIVATE KEY-----",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:(?!-----)[\s\S]){0,20000}(?:-----END [A-Z ]{0,40}-----)?",
    ),
)
_UNDERSCORE_SHAPES = tuple(
    (hint, rf"{hint}(?<!\w{hint})\w{{20,300}}")
    for hint in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_", "gsk_", "sk_live_", "sk_test_")
)
_URL_PASSWORD = r"://([^\s:/?#@\"']{0,200}):([^\s/?#\"']{1,300})@"  # noqa: S105 - it finds them

# in JSON whose slashes are escaped
_ESCAPED_URL_PASSWORD = r":(\\{1,3}/\\{1,3}/[^\s:/?#@\"']{0,200}):([^\s/?#\"']{1,300})@"  # noqa: S105

_BEARER = r"\b(Bearer|Basic)(\s{1,8})(?=[\w.~+/=-]{0,80}[\d=]|[\w.~+/=-]{16})[\w.~+/=-]{6,}"
_NAME = (
    r"(?<![\w.-])((?:(?:api|access|secret|private|auth)[ ])?[A-Za-z][\w.-]{0,80})"  # its start is tried once per word
    r"(\\{0,3}[\"']?\s{0,4}(?:=>|=|:(?!//))\s{0,4})"
)
_QUOTE = r"[bru]?(\\{0,3}[\"'])"
_PLAIN_VALUE = r"(?!\[redacted\])[^\s,;&\"'()\[\]{}]+"
_HEADER_VALUE = r"[^\n\"']{1,8000}[^\s\"']*"
_LINE_NAMES = ("authorization", "authorisation", "cookie")
_LONGEST_VALUE = 8000
"""Characters of a secret in quotes or brackets that are never closed, beside the word that stands there."""
_REST_OF_WORD = r"[^\s\"']*"


def scan(text: str) -> str:
    """Replace provider keys, private keys and passwords of URLs in a text."""
    for hint, shape in _SHAPES:
        if hint in text:
            text = _compiled(shape).sub(REPLACEMENT, text)
    if "_" in text:
        for hint, shape in _UNDERSCORE_SHAPES:
            if hint in text:
                text = _compiled(shape).sub(REPLACEMENT, text)
    if "@" in text:
        if "://" in text:
            text = _compiled(_URL_PASSWORD).sub(rf"://\1:{REPLACEMENT}@", text)
        if ":\\" in text:
            text = _compiled(_ESCAPED_URL_PASSWORD).sub(rf":\1:{REPLACEMENT}@", text)
    return text


# Names of data end where a literal stands, for the same reason; where they begin is looked up from there.
_PARAMETER = r"=(?<=[\w\]]=)(?=[^\s=])"
_QUOTED_NAME = r":(?<=[\"'\s]:)"  # some write spaces before the colon
_MEMBER_NAMES = (r'"([^"\\]{1,80})\\{0,3}"\s{0,4}:', r"'([^'\\]{1,80})\\{0,3}'\s{0,4}:")
_MEMBER = rf"{_QUOTED_NAME}\s{{0,4}}(?=\S)"
_HEADER = r":(?<=[yYnNeEtThHdD]:)(?<=(?i:-key|oken|tion|okie|cret|auth|word):)\s{0,4}(?=\S)"
_HEADER_NAME = r"(?i)(?<![\w-])(?:x-[\w-]{1,80}|api-key|(?:proxy-)?authori[sz]ation|(?:set-)?cookie)\Z"
_HEADER_START = r"(?:[A-Za-z]{2,20} [^\s\"']{6}|[^\s\"'\\]{8}|[^\s=;\"']{1,80}=)"
"""How the value of a header begins: with a scheme and a credential, a long word, or a cookie."""
_QUERY_VALUE = r"[^&\s\"'#<>()\[\]{}\\]+"
_LINE_VALUE = r"[^\s\"']+"
_SCALAR = r"(?!null\b|None\b|true\b|false\b|True\b|False\b)[\w.+-]+"
_CREDENTIAL = r"Bearer [\w.~+/=-]{0,4}(?=[\w.~+/=-]{0,80}\d|[\w.~+/=-]{20})[\w.~+/=-]{6,}"
_LONGEST_PARAMETER = 80


def scan_value(text: str, hits: Hits) -> str:
    """Replace secrets in a text that is a value or a part of one.

    Args:
        text: any text.
        hits: tells whether a name is one of a secret.

    Returns:
        The text with "[redacted]" in the place of secrets; in time linear to its length.
    """
    text = scan(text)
    if "Bearer " in text:
        text = _compiled(_CREDENTIAL).sub(f"Bearer {REPLACEMENT}", text)
    if "=" in text:
        text = _without_named(text, _PARAMETER, _end_of_parameter, hits)
    if ":" in text:
        # a regex looks for two characters in a third of the time that `in` takes
        if _compiled(_QUOTED_NAME).search(text) and any(
            any(map(hits, set(_compiled(names).findall(text)))) for names in _MEMBER_NAMES
        ):
            text = _without_named(text, _MEMBER, _end_of_member, hits)
        text = _without_named(text, _HEADER, _end_of_header, hits)
    return text


def _without_named(text: str, separator: str, end_of: Callable[[str, int, int, Hits], int], hits: Hits) -> str:
    """Replace what follows a separator, up to where `end_of` says that a secret ends; -1 says that there is none."""
    pieces: list[str] = []
    at = 0  # the text before is in pieces
    for match in _compiled(separator).finditer(text):
        start = match.end()
        if start < at:
            continue
        end = end_of(text, match.start(), start, hits)
        if end > start:
            quote = _compiled(_QUOTE).match(text, start)
            opening = quote[0] if quote is not None and quote.end() < end else ""
            pieces += (text[at:start], opening, REPLACEMENT)
            at = end
    return "".join((*pieces, text[at:])) if pieces else text


def _end_of_parameter(text: str, name_end: int, start: int, hits: Hits) -> int:
    """Where the value of a URL's parameter ends, of a command's option, or of a variable in capitals that begins a line."""
    least = max(name_end - _LONGEST_PARAMETER, 0)
    mark = max(text.rfind("?", least, name_end), text.rfind("&", least, name_end))
    name = text[mark + 1 : name_end] if mark >= 0 else ""
    if (not name or "#" in name) and (mark := text.rfind("#", least, name_end)) >= 0:
        name = text[mark + 1 : name_end]
    if name.isascii() and name.replace("_", "").replace("-", "").replace(".", "").isalnum():
        return _end(text, start, _QUERY_VALUE) if hits(name) else -1
    dashes = text.rfind("--", least, name_end)
    option = text[dashes + 2 : name_end] if dashes >= 0 else ""
    if option.replace("-", "").isidentifier() and hits(option):
        return _value_end(text, start, _LINE_VALUE)[0]
    line = max(text.rfind("\n", least, name_end) + 1, least)
    name = text[line:name_end].removeprefix("export ")
    if (name.isupper() or (not line and " " not in text)) and name.isidentifier() and hits(name):
        return _value_end(text, start, _LINE_VALUE if name.isupper() else _QUERY_VALUE)[0]
    return -1


def _end_of_member(text: str, name_end: int, start: int, hits: Hits) -> int:
    """Where the value of a member of JSON ends, or of a Python dict."""
    quote = name_end - 1
    while text[quote].isspace() and quote > max(name_end - 5, 0):
        quote -= 1
    if text[quote] not in "\"'":
        return -1
    begin = text.rfind(text[quote], max(quote - _LONGEST_PARAMETER - 4, 0), quote) + 1
    name = text[begin:quote].rstrip("\\")
    return _value_end(text, start, _SCALAR)[0] if name and hits(name) else -1


def _end_of_header(text: str, name_end: int, start: int, hits: Hits) -> int:
    """Where the value of an HTTP header ends."""
    name = _compiled(_HEADER_NAME).search(text, max(name_end - _LONGEST_PARAMETER, 0), name_end)
    if name is None or not hits(name[0]) or not _compiled(_HEADER_START).match(text, start):
        return -1
    return _end(text, start, _HEADER_VALUE if name[0].lower().endswith(_LINE_NAMES) else _LINE_VALUE)


def _end(text: str, start: int, pattern: str) -> int:
    found = _compiled(pattern).match(text, min(start, len(text)))
    return -1 if found is None else found.end()


def redact_text(text: str, rules: Rules) -> str:
    """Replace secrets in free text: an exception's message, a line of code, a log line.

    Args:
        text: any text.
        rules: whose names are looked for in `name=value`, `name: value` and `"name": "value"`.

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
    find_name = _compiled(_NAME, re.IGNORECASE).search
    while (match := find_name(text, position)) is not None:
        position = match.end()
        if not rules.redact.hits(match[1]):
            continue
        is_line = match[1].lower().endswith(_LINE_NAMES)
        end, closing = _value_end(text, position, _HEADER_VALUE if is_line else _PLAIN_VALUE)
        if end > position:
            start = _compiled(_QUOTE).match(text, position)
            opening = start[0] if start is not None and closing else ""
            pieces += (text[at:position], opening, REPLACEMENT)
            at = position = end
    return _compiled(_BEARER, re.IGNORECASE).sub(rf"\1\2{REPLACEMENT}", "".join((*pieces, text[at:])))


def _value_end(text: str, start: int, plain: str) -> tuple[int, bool]:
    """Find where a value ends that begins at `start`, before its closing quote, and whether it is quoted."""
    quote = _compiled(_QUOTE).match(text, start)
    if quote is not None:
        end = text.find(quote[1], quote.end(), quote.end() + _LONGEST_VALUE)
        return (end if end >= 0 else _end(text, quote.end() + _LONGEST_VALUE, _REST_OF_WORD)), True
    if text[start : start + 1] in {"{", "["} and not text.startswith(REPLACEMENT, start):
        return _closing(text, start), False
    return max(_end(text, start, plain), start), False


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed, or the most that a value may be long."""
    depth = 0
    for bracket in _compiled(r"[\[\]{}]").finditer(text, start, start + _LONGEST_VALUE):
        depth += 1 if bracket[0] in "[{" else -1
        if not depth:
            return bracket.end()
    return _end(text, start + _LONGEST_VALUE, _REST_OF_WORD)
