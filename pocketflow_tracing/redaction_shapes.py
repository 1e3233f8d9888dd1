"""Secrets that are known by their own form, in any text: keys of providers, private keys, passwords in URLs."""

from __future__ import annotations

import re
from functools import cache

from .redaction_splice import Splice

__all__ = ["REPLACEMENT", "compiled", "scan"]


@cache
def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Compile a pattern at its first use: all of them at import would add 5 ms to it."""
    return re.compile(pattern, flags)


REPLACEMENT = "[redacted]"

# Each pattern starts with a literal, which the regex engine looks for at the speed of str.find (a common \b before it
# would cost 10 times as much: 1,000 µs for 50 kB of prose); the repetitions are bounded, so that the time is linear.
_SHAPES = (
    ("AKIA", r"AKIA[A-Z0-9]{16}"),
    ("ASIA", r"ASIA[A-Z0-9]{16}"),
    ("AIza", r"AIza[\w-]{30,60}"),
    ("eyJ", r"eyJ(?<![\w-]eyJ)[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),  # JWT; tried once a word
    ("dapi", r"dapi(?<![A-Za-z0-9]dapi)[0-9a-f]{32}(?:-\d)?(?![A-Za-z0-9])"),  # Databricks
    ("hooks.slack.com/", r"(?<=hooks\.slack\.com/services/)[\w/-]{10,200}"),
    ("/api/webhooks/", r"(?<=/api/webhooks/)\d{5,25}/[\w-]{20,200}"),  # Discord
    ("sig=", r"(?<=[?&]sig=)[\w%+/=-]{16,}"),  # of a signed URL
    ("Signature=", r"(?<=[?&]Signature=)[\w%+/=~-]{16,}"),
    (
        "LS0tLS1CRUdJTiB",
        r"LS0tLS1CRUdJTiB(?:QUklWQVRF|SU0EgUFJJVkFURS|FQyBQUklWQVRF|PUEVOU1NIIFBSSVZBVE)[\w+/]{8,40000}={0,2}",
    ),
    ("/bot", r"(?<=/bot)\d{5,15}:[\w-]{10,60}"),  # Telegram
    (":_authToken=", r"(?<=:_authToken=)[^\s\"']+"),  # npm
    (
        "PRIVATE KEY",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----)[\s\S]){0,20000}(?:-----END [A-Z ]{0,40}-----)?",
    ),
)
_BOT_TOKEN = r":(?<=\d{8}:)AA[\w-]{30,40}"  # noqa: S105 - it finds Telegram's, beside the number of the bot

_TAILS = {
    # not classes of CSS, which have neither digits nor capitals
    r"(?=(?:ant|lf|or|proj)-|[a-z_-]{0,40}[A-Z\d])[\w-]{16,300}": "sk-",  # OpenAI, Anthropic, Langfuse, OpenRouter
    r"[\w-]{10,300}": "xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs-",  # Slack
    r"\d-[\w-]{20,300}": "xapp-",
    # GitHub, Groq, Stripe, Pinecone, LangSmith
    r"\w{20,300}": "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ gsk_ sk_live_ sk_test_ rk_live_ rk_test_ pcsk_ lsv2_pt_ lsv2_sk_",
    # Hugging Face, Perplexity, xAI, Cerebras, Replicate, Jina, E2B, npm, Notion, Linear, DigitalOcean, Shopify, Supabase,
    # Grafana, RubyGems, Sentry, PostHog, Render; no name in code goes on for so long without an underscore
    r"[A-Za-z0-9]{30,300}[\w-]{0,100}": (
        "hf_ pplx- xai- csk- r8_ jina_ e2b_ npm_ ntn_ lin_api_ dop_v1_ doo_v1_ shpat_ shpca_ shppa_ shpss_ sbp_ glsa_ "
        "rubygems_ sntryu_ sntrys_ phx_ rnd_"
    ),
    # Tavily, Together, NVIDIA, Cartesia, GitLab, Google's OAuth clients, Vault, Figma, Docker, Supabase, PlanetScale,
    # Postman, Square, New Relic, Doppler; words in lower case, with hyphens, are none
    r"(?=[a-z_-]{0,30}[A-Z\d])[\w-]{20,300}": (
        "tvly- tgp_v1_ nvapi- sk_car_ glpat- glrt- GOCSPX- hvs. hvb. figd_ dckr_pat_ sb_secret_ pscale_tkn_ pscale_pw_ PMAK- "
        "sq0atp- sq0csp- NRAK- dp.pt. dp.st."
    ),
    r"(?:[a-z]\.)?[\w-]{20,300}": "ya29.",  # Google's OAuth
    r"[0-9a-f]{48}(?!\w)": "sk_",  # ElevenLabs
    r"[0-9a-f]{32}(?![\w-])": "fc- key-",  # Firecrawl, Mailgun
    r"(?=[A-Za-z]{0,24}\d)[A-Za-z0-9]{22,28}(?![\w-])": "fw_",  # Fireworks
    r"(?=[a-z0-9_-]{0,42}[A-Z])[\w-]{43}(?![\w-])": "pa-",  # Voyage
    r"[A-Za-z0-9]{43}(?!\w)": "secret_",  # Notion, older
    r"[A-Za-z0-9+/]{24,300}={0,2}": "whsec_",  # Stripe's webhooks
    r"AgE[\w-]{20,300}": "pypi-",
    r"[\w-]{16,32}\.[\w-]{16,64}": "SG.",  # SendGrid
    r"1[A-Z0-9]{30,90}": "AGE-SECRET-KEY-",
}
"""What comes after the prefixes of keys; each prefix ends with an underscore, a hyphen or a dot."""
_KEYS = {prefix: tail for tail, prefixes in _TAILS.items() for prefix in prefixes.split()}
_LONGEST_PREFIX = max(map(len, _KEYS))


@cache
def _prefixes(last: str) -> tuple[re.Pattern[str], dict[str, list[str]]]:
    """What finds the ends of prefixes that end with a character, and those prefixes by their last three.

    To look for each prefix by itself takes 40 µs for 50 kB, for one character as long as for one of them.
    """
    by_end: dict[str, list[str]] = {}
    for prefix in sorted(_KEYS, key=len, reverse=True):
        if prefix[-1] == last:
            by_end.setdefault(prefix[-3:], []).append(prefix)
    ends = "|".join(map(re.escape, by_end))
    return re.compile(rf"{re.escape(last)}(?<=(?:{ends}))(?=[\w./+-]{{10}})"), by_end


def _without_keys(text: str, last: str) -> str:
    """Replace keys of providers whose prefix ends with a character."""
    shown = Splice(text)
    find, by_end = _prefixes(last)
    for found in find.finditer(text):
        tail = found.end()
        if tail <= shown.at:
            continue
        head = text[max(tail - _LONGEST_PREFIX, shown.at) : tail]
        for prefix in by_end[text[tail - 3 : tail]]:
            start = tail - len(prefix)
            if not head.endswith(prefix) or (start and _goes_on(text[start - 1], prefix)):
                continue
            key = compiled(_KEYS[prefix]).match(text, tail)
            if key is not None:
                shown.replace(start, key.end(), REPLACEMENT)
                break
    return shown.whole()


def _goes_on(before: str, prefix: str) -> bool:
    """Whether a prefix is the end of a longer word; one with underscores is one of an identifier then."""
    return (before.isalnum() and before.isascii()) or (before == "_" and "_" in prefix)


_URL_PASSWORD = r"://([^\s:/?#@\"']{0,200}):([^\s/?#\"']{1,300})@"  # noqa: S105 - it finds them
_URL_USER = r"://(?=[^\s:/?#@\"'\d]{0,300}\d)[^\s:/?#@\"']{20,300}@"  # a token in the place of the user

# in JSON whose slashes are escaped
_ESCAPED_URL_PASSWORD = r":(\\{1,3}/\\{1,3}/[^\s:/?#@\"']{0,200}):([^\s/?#\"']{1,300})@"  # noqa: S105

_CURL_USER = r"((?:(?:-u|--user)(?:[ =]|[\"'], ?)|-u)[\"']?[^\s:\"'@/]{1,80}:)[^\s\"']+"
_SQL_IDENTIFIED_BY = r"((?i:identified (?:with \w{1,80} )?by) ')[^'\n]+"
_SQL_LOGIN = (
    r"'(?:(?<=(?i:with password) ')|(?<=(?i:set password) ')|(?<=(?i:login password) ')|(?<=(?i:with encrypted password) ')"
    r"|(?<=(?i:set encrypted password) ')|(?<=(?i:login encrypted password) '))[^'\n]+"
)
_SQL_STATEMENT = (
    r"((?:ALTER|CREATE|alter|create)\s{1,20}(?i:user|role|login|secret)\b"
    r"(?:(?!(?i:alter|create)\s)[^;]){0,400}?(?<!\w)(?i:password|secret)\s{0,4}=?\s{0,4}N?')[^'\n]+"
)
_SQL_IDENTIFIED = r"((?:USER|user|TO|to)\s{1,20}[^\s;]{1,200}\s{1,20}(?i:identified\s{1,20}by)\s{1,20}\"?)[^\s\"';,]+"
_SQL_SET = r"((?:SET|set)\s{1,20}(?i:password)[^;=\n]{0,200}=\s{0,4}(?:\w{1,20}\()?')[^'\n]+"
_SQL_HINTS = ("assword", "ASSWORD", "SECRET", "secret")
_IDENTIFIED_HINTS = ("dentified", "DENTIFIED")
_COMMAND = (
    r"((?:(?:docker|podman|helm|nerdctl)[^\n|;&]{0,40} login\b[^\n|;&]{0,200}? -p[ ]?|sshpass -p[ ]?"
    r"|redis-cli\b[^\n|;&]{0,200}? -a[ ]?|(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;&]{0,200}? -p(?=\S))[\"']?)[^\s\"']+"
)
"""Of tools whose options have no names."""
_COMMAND_HINTS = (" login ", "sshpass ", "redis-cli ", " -p")


def _behind(found: re.Match[str]) -> str:
    # no template: for one with a group, `re` imports itself, by a `builtins.__import__` that a program may guard
    return f"{found[1]}{REPLACEMENT}"


def scan(text: str) -> str:
    """Replace provider keys, private keys, webhooks, and passwords of URLs, curl and SQL in a text."""
    for hint, shape in _SHAPES:
        if hint in text:
            text = compiled(shape).sub(REPLACEMENT, text)
    for last in "_-.":
        text = _without_keys(text, last)
    text = compiled(_BOT_TOKEN).sub(f":{REPLACEMENT}", text)
    if "@" in text:
        if "://" in text:
            text = compiled(_URL_PASSWORD).sub(lambda found: f"://{found[1]}:{REPLACEMENT}@", text)
            text = compiled(_URL_USER).sub(f"://{REPLACEMENT}@", text)
        if ":\\" in text:
            text = compiled(_ESCAPED_URL_PASSWORD).sub(lambda found: f":{found[1]}:{REPLACEMENT}@", text)
    if "curl" in text:
        text = compiled(_CURL_USER).sub(_behind, text)
    if any(hint in text for hint in _SQL_HINTS):
        text = compiled(_SQL_LOGIN).sub(f"'{REPLACEMENT}", text)
        for statement in (_SQL_STATEMENT, _SQL_SET):
            text = compiled(statement).sub(_behind, text)
    if any(hint in text for hint in _IDENTIFIED_HINTS):
        for statement in (_SQL_IDENTIFIED_BY, _SQL_IDENTIFIED):
            text = compiled(statement).sub(_behind, text)
    if any(hint in text for hint in _COMMAND_HINTS):
        text = compiled(_COMMAND).sub(_behind, text)
    return text
