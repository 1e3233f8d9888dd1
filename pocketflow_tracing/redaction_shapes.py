"""Secrets that are known by their own form, in any text: keys of providers, private keys, passwords in URLs."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["REPLACEMENT", "compiled", "scan"]


@cache
def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
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
    ("hooks.slack.com/", r"(?<=hooks\.slack\.com/services/)[\w/-]{10,200}"),
    ("/api/webhooks/", r"(?<=/api/webhooks/)\d{5,25}/[\w-]{20,200}"),  # Discord
    ("sig=", r"(?<=[?&]sig=)[\w%+/=-]{16,}"),  # of a signed URL
    ("/bot", r"(?<=/bot)\d{5,15}:[\w-]{10,60}"),  # Telegram
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
_URL_USER = r"://(?=[^\s:/?#@\"'\d]{0,300}\d)[^\s:/?#@\"']{20,300}@"  # a token in the place of the user

# in JSON whose slashes are escaped
_ESCAPED_URL_PASSWORD = r":(\\{1,3}/\\{1,3}/[^\s:/?#@\"']{0,200}):([^\s/?#\"']{1,300})@"  # noqa: S105

_CURL_USER = r"((?:-u|--user)[ =][\"']?[^\s:\"'@/]{1,80}:)[^\s\"']+"
_SQL_PASSWORD = r"((?i:identified by|(?:with|set) (?:encrypted )?password) ')[^'\n]+"  # noqa: S105 - it finds them
_SQL_HINTS = (" by '", " BY '", "assword '", "ASSWORD '")


def scan(text: str) -> str:
    """Replace provider keys, private keys, webhooks, and passwords of URLs, curl and SQL in a text."""
    for hint, shape in _SHAPES:
        if hint in text:
            text = compiled(shape).sub(REPLACEMENT, text)
    if "_" in text:
        for hint, shape in _UNDERSCORE_SHAPES:
            if hint in text:
                text = compiled(shape).sub(REPLACEMENT, text)
    if "@" in text:
        if "://" in text:
            text = compiled(_URL_PASSWORD).sub(rf"://\1:{REPLACEMENT}@", text)
            text = compiled(_URL_USER).sub(f"://{REPLACEMENT}@", text)
        if ":\\" in text:
            text = compiled(_ESCAPED_URL_PASSWORD).sub(rf":\1:{REPLACEMENT}@", text)
    if "curl " in text:
        text = compiled(_CURL_USER).sub(rf"\1{REPLACEMENT}", text)
    if any(hint in text for hint in _SQL_HINTS):
        text = compiled(_SQL_PASSWORD).sub(rf"\1{REPLACEMENT}", text)
    return text
