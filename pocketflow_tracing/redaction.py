"""What of a value may leave the process: secrets by name, by shape, by the user's mask and by policy.

Everything here runs on the worker, before any sink. Names are compared in snake case (`X-API-Key`, `apiKey` and `API_KEY` are
all `api_key`) with glob patterns; texts are searched for the forms in which secrets appear in messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase, translate
from typing import Any, Literal

from pocketflow_tracing.capture_types import DEFAULT_LIMITS, Limits

__all__ = ["DEFAULT_EXCEPTIONS", "DEFAULT_PATTERNS", "NO_RULES", "Mask", "Policy", "Redactor", "Rules", "redact_text"]

Mask = Callable[[Any, tuple[str | int, ...]], Any]
Policy = Literal["record", "summarise", "hide"]

DEFAULT_PATTERNS = (
    "*api_key*", "*apikey*", "*api_token*",
    "*password*", "*passwd*", "*passphrase*", "*passcode*", "pwd", "*_pwd",
    "secret", "secrets", "secret_*", "secrets_*", "*_secret", "*_secrets", "*_secret_*", "*clientsecret",
    "token", "*_token", "*_token_value", "*accesstoken", "*refreshtoken", "*authtoken",
    "access_tokens", "refresh_tokens", "api_tokens", "auth_tokens", "*_access_tokens", "*_refresh_tokens",
    "*authorization", "*authorisation", "auth", "*_auth", "auth_header*", "bearer", "bearer_*", "*_bearer",
    "cookie", "cookies", "*_cookie", "*_cookies",
    "*private_key*", "*privatekey*", "*access_key*", "*accesskey*", "*secret_key*", "*secretkey*",
    "*signing_key*", "*encryption_key*", "*ssh_key*", "*account_key*", "*subscription_key*", "*master_key*",
    "credential", "credentials", "*_credential", "*_credentials", "credentials_*", "creds", "*_creds",
    "jwt", "*_jwt", "*connection_string*",
)  # fmt: skip
"""Globs over names in snake case that are secrets."""

DEFAULT_EXCEPTIONS = (
    "max_token", "min_token", "num_token", "n_token", "per_token", "*_per_token", "next_token", "*_next_token",
    "first_token", "last_token", "*_to_first_token", "time_to_*", "stop_token", "eos_token", "bos_token", "pad_token",
    "unk_token", "cls_token", "sep_token", "mask_token", "special_token", "prompt_token", "completion_token",
    "input_token", "output_token", "total_token", "page_token", "*_page_token", "continuation_token",
    "require_auth", "requires_auth", "needs_auth", "use_auth", "is_auth",
)  # fmt: skip
"""Globs over names in snake case that the patterns hit and that are no secrets: tokens of a language model or of a page."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")
_LONGEST_NAME = 200
_MOST_NAMES = 10_000


def _any_of(globs: tuple[str, ...]) -> Callable[[str], object]:
    return re.compile("|".join(translate(glob) for glob in globs) or r"(?!)").match


@dataclass(frozen=True, slots=True)
class Redactor:
    """Knows secrets by the names they have.

    Args:
        extra: globs of your own, beside the patterns: "ssn", "*_iban".
        patterns: replaces the built-in list of globs.
        exceptions: globs of names that are never secrets; replaces the built-in list.
    """

    extra: tuple[str, ...] = ()
    patterns: tuple[str, ...] = DEFAULT_PATTERNS
    exceptions: tuple[str, ...] = DEFAULT_EXCEPTIONS
    _known: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    _hits: Callable[[str], object] = field(init=False, repr=False, compare=False)
    _misses: Callable[[str], object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        extra = tuple(_snake(glob, keep="*?[]!") for glob in self.extra)
        object.__setattr__(self, "_hits", _any_of((*extra, *self.patterns)))
        # What a user adds goes before the built-in exceptions.
        object.__setattr__(self, "_misses", _any_of(tuple(e for e in self.exceptions if e not in extra)))

    def hits(self, name: str) -> bool:
        """Tell whether a key, field, header or parameter of this name holds a secret."""
        known = self._known.get(name)
        if known is None:
            known = self._decide(name)
            if len(self._known) >= _MOST_NAMES:  # data as keys: forget, do not grow
                self._known.clear()
            if len(name) <= _LONGEST_NAME:
                self._known[name] = known
        return known

    def _decide(self, name: str) -> bool:
        if len(name) > _LONGEST_NAME:
            half = _LONGEST_NAME // 2
            return self._decide(name[:half]) or self._decide(name[-half:])
        plain = _snake(name)
        return bool(self._hits(plain)) and not self._misses(plain)


def _snake(name: str, keep: str = "") -> str:
    spaced = _CAMEL.sub("_", name)
    if keep:
        return "".join(c if c.isalnum() or c in keep else "_" for c in spaced).lower()
    return _SEPARATORS.sub("_", spaced).strip("_").lower()


@dataclass(frozen=True, slots=True)
class Rules:
    """All that decides what of a value is recorded, and in what form.

    Args:
        redact: secrets by name.
        mask: a function of the user's from a JSON-ready value and its path to what is recorded instead; called for every
            value, containers after their contents. If it raises, the value is withheld.
        policy: what to do with parts of a value, by their path: "record", "summarise" (type and size only) or "hide". A
            pattern is the path's parts joined with dots, "*" stands for any one part, and "shared." at its start may be left
            out: "documents", "shared.documents", "prep_res", "users.*.email". The first pattern that fits decides.
        limits: how much of a value is shown.
        scan_text: look for secrets inside of texts too, by their form: provider keys, passwords in URLs.
    """

    redact: Redactor = field(default_factory=Redactor)
    mask: Mask | None = None
    policy: Mapping[str, Policy] = field(default_factory=dict)
    limits: Limits = DEFAULT_LIMITS
    scan_text: bool = True

    def policy_at(self, path: tuple[str | int, ...]) -> Policy:
        """Return what the policy says of one path, "record" if nothing."""
        if not self.policy:
            return "record"
        for pattern, action in self.policy.items():
            parts = pattern.split(".")
            if _fits(parts, path) or (path[:1] == ("shared",) and _fits(parts, path[1:])):
                return action
        return "record"


def _fits(parts: list[str], path: tuple[str | int, ...]) -> bool:
    return len(parts) == len(path) and all(
        fnmatchcase(str(at), part) for part, at in zip(parts, path, strict=True)
    )


NO_RULES = Rules(Redactor(patterns=()), scan_text=False)
"""Records everything as it is."""

REPLACEMENT = "[redacted]"

# Every part of these patterns is anchored at a literal and followed by one bounded repetition: the time is linear.
_SHAPES = re.compile(
    r"\b(?:"
    r"sk-(?:ant-|lf-|proj-|or-|svcacct-)?[\w-]{16,300}"
    r"|pk-lf-[\w-]{16,100}"
    r"|gh[pousr]_\w{20,300}|github_pat_\w{20,300}|glpat-[\w-]{16,100}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|AIza[\w-]{30,60}"
    r"|xox[abeoprs]-[\w-]{10,300}"
    r"|hf_[A-Za-z0-9]{20,100}|gsk_\w{20,100}|tvly-[\w-]{16,100}|npm_\w{30,50}|pypi-[\w-]{30,300}"
    r"|(?:sk|rk|whsec)_(?:live|test)_\w{10,300}|SG\.[\w-]{16,40}\.[\w-]{16,80}"
    r"|eyJ[\w-]{8,4000}\.eyJ[\w-]{2,8000}(?:\.[\w-]{0,4000})?"
    r")"
)
_HINTS = (
    "sk-", "pk-lf-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "AKIA", "ASIA", "AIza", "xox", "hf_",
    "gsk_", "tvly-", "npm_", "pypi-", "_live_", "_test_", "SG.", "eyJ",
)  # fmt: skip
_URL_PASSWORD = re.compile(r"(?<=://)([^\s:/?#@\"']{0,200}):([^\s/?#@\"']{1,300})@")
_PEM = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,20000}(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?")

_BEARER = re.compile(r"\b(Bearer|Basic|Token)(\s{1,8})(?=[\w.~+/=-]{0,20}[\d.~+/=-]|[\w]{16})[\w.~+/=-]{6,8000}", re.I)
_ASSIGNMENT = re.compile(
    r"(?<![\w.-])([\"']?)([A-Za-z][\w.-]{0,80})\1(\s{0,4}(?:=>|=|:)\s{0,4})"
    r"(\"(?:[^\"\\\n]|\\.){0,4000}\"?|'(?:[^'\\\n]|\\.){0,4000}'?|[^\s,;&\"')\]}]{1,4000})"
)


def scan(text: str) -> str:
    """Replace provider keys, private keys and passwords of URLs in a text."""
    # Looking for the literals first costs 1/10 of running the pattern over a text that holds none.
    for hint in _HINTS:
        if hint in text:
            text = _SHAPES.sub(REPLACEMENT, text)
            break
    if "://" in text and "@" in text:
        text = _URL_PASSWORD.sub(rf"\1:{REPLACEMENT}@", text)
    if "PRIVATE KEY-----" in text:
        text = _PEM.sub(REPLACEMENT, text)
    return text


def redact_text(text: str, rules: Rules) -> str:
    """Replace secrets in free text: an exception's message, a line of code, a log line.

    Args:
        text: any text.
        rules: whose names are looked for in `name=value`, `name: value` and `"name": "value"`.

    Returns:
        The text with "[redacted]" in the place of what looks like a secret; in time linear to its length.
    """
    redactor = rules.redact

    def replaced(match: re.Match[str]) -> str:
        quote, name, between, value = match.groups()
        if not redactor.hits(name):
            return match[0]
        mark = value[0] if value[0] in "\"'" else ""
        return f"{quote}{name}{quote}{between}{mark}{REPLACEMENT}{mark}"

    if rules.scan_text:
        text = scan(text)
    if redactor.patterns or redactor.extra:
        text = _BEARER.sub(rf"\1\2{REPLACEMENT}", text)
        text = _ASSIGNMENT.sub(replaced, text)
    return text
