"""What of a value may leave the process: secrets by name, by shape, by the user's mask and by policy.

Everything here runs on the worker, before any sink. Names are compared in snake case (`X-API-Key`, `apiKey` and
`API_KEY` are all `api_key`) with glob patterns; texts are searched for the forms in which secrets appear in messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase, translate
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast

from .capture_types import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from .config import TracingConfig

__all__ = [
    "DEFAULT_EXCEPTIONS",
    "DEFAULT_PATTERNS",
    "NO_RULES",
    "Mask",
    "Policy",
    "Redactor",
    "Rules",
    "redact_text",
    "rules_of",
]

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
"""Globs over names that the patterns hit and that are no secrets: tokens of a language model or of a page."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")
_LONGEST_NAME = 200
_MOST_NAMES = 10_000


@cache
def _compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Compile a pattern at its first use: all of them at import would add 5 ms to it."""
    return re.compile(pattern, flags)


@lru_cache(64)
def _any_of(globs: tuple[str, ...]) -> Callable[[str], object]:
    return re.compile("|".join(translate(glob) for glob in globs) or r"(?!)").match


@dataclass(frozen=True, slots=True)
class Redactor:
    """Knows secrets by the names they have.

    Args:
        extra: globs of your own over names in snake case: "ssn", "*_iban". They go before every exception.
        defaults: whether the built-in list counts too; without it, `extra` replaces it.
        exceptions: globs of names that are no secrets although the built-in list hits them.
    """

    extra: tuple[str, ...] = ()
    defaults: bool = True
    exceptions: tuple[str, ...] = DEFAULT_EXCEPTIONS
    _known: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra", tuple(_snake(glob, keep="*?[]!") for glob in self.extra))

    @property
    def idle(self) -> bool:
        """Whether no name at all is a secret."""
        return not (self.defaults or self.extra)

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
        if _any_of(self.extra)(plain):
            return True
        return self.defaults and bool(_any_of(DEFAULT_PATTERNS)(plain)) and not _any_of(self.exceptions)(plain)


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
        mask: a function of the user's from a JSON-ready value and its path to what is recorded instead; called for
            every value, containers after their contents, and for the beginning and the end of a text that is cut. If it
            raises, the value is withheld.
        policy: what to do with parts of a value, by their path: "record", "summarise" (type and size only) or "hide". A
            pattern is the path's parts joined with dots, "*" stands for any one part, and "shared." at its start may be
            left out: "documents", "shared.documents", "prep_res", "users.*.email". The class of a node or flow before
            it means that node's values alone ("Summarize.prep_res"), by itself all of them ("Summarize");
            "class:Customer" means objects of a class, wherever they stand. The first pattern that fits decides.
        limits: how much of a value is shown.
        scan_text: look for secrets inside of texts too, by their form: provider keys, passwords in URLs.
    """

    redact: Redactor = field(default_factory=Redactor)
    mask: Mask | None = None
    policy: Mapping[str, Policy] = field(default_factory=dict)
    limits: Limits = DEFAULT_LIMITS
    scan_text: bool = True
    _of_nodes: dict[str, Rules] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def has_classes(self) -> bool:
        """Whether the policy says something of objects by their class."""
        return bool(self.policy) and any(pattern.startswith(_CLASS) for pattern in self.policy)

    def policy_of_class(self, name: str) -> Policy:
        """Return what the policy says of objects of a class, "record" if nothing."""
        for pattern, action in self.policy.items():
            if pattern.startswith(_CLASS) and fnmatchcase(name, pattern[len(_CLASS) :]):
                return action
        return "record"

    def of_node(self, name: str) -> Rules:
        """Return the rules as they are for the values of one class of nodes: what the policy says of it holds too."""
        if not self.policy:
            return self
        known = self._of_nodes.get(name)
        if known is None:
            policy: dict[str, Policy] = {}
            for pattern, action in self.policy.items():
                first, _, rest = pattern.partition(".")
                if fnmatchcase(name, first) and not pattern.startswith(_CLASS):
                    for value in [rest] if rest else _NODE_VALUES:
                        policy.setdefault(value, action)
                policy.setdefault(pattern, action)
            known = self._of_nodes[name] = replace(self, policy=policy)
        return known

    def without_mask(self) -> Rules:
        """Return the same rules without the user's mask, for what is the tracer's own."""
        return self if self.mask is None else replace(self, mask=None)

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
    return len(parts) == len(path) and all(fnmatchcase(str(at), part) for part, at in zip(parts, path, strict=True))


def rules_of(config: TracingConfig) -> Rules:
    """Return the rules that a resolved configuration says."""
    return Rules(
        redact=Redactor(tuple(config.redact), defaults=config.redact_defaults),
        mask=config.mask,
        policy=cast("dict[str, Policy]", config.policies),  # checked when the config was resolved
        limits=Limits(
            max_items=config.max_items,
            max_elements=config.max_elements,
            max_depth=config.max_depth,
            max_text=config.max_text,
            max_total_text=config.max_total_text,
        ),
    )


_CLASS = "class:"
_NODE_VALUES = ("prep_res", "exec_res", "params", "metadata", "action", "error.message", "score")

NO_RULES = Rules(Redactor(defaults=False), scan_text=False)
"""Records everything as it is."""

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
    ("eyJ", r"eyJ[\w-]{8,4000}\.[\w-]{8,8000}(?:\.[\w-]{0,4000})?"),  # JWT
    (
        "PRIVATE KEY-----",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:(?!-----)[\s\S]){0,20000}(?:-----END [A-Z ]{0,40}-----)?",
    ),
)
_UNDERSCORE_SHAPES = tuple(
    (hint, rf"{hint}\w{{20,300}}")
    for hint in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_", "gsk_", "sk_live_", "sk_test_")
)
_URL_PASSWORD = r"://([^\s:/?#@\"']{0,200}):([^\s/?#\"']{1,300})@"  # noqa: S105 - it finds them

_BEARER = r"\b(Bearer|Basic)(\s{1,8})(?=[\w.~+/=-]{0,80}[\d=]|[\w.~+/=-]{16})[\w.~+/=-]{6,8000}"
_NAME = (
    r"(?<![\w.-])((?:(?:api|access|secret|private|auth)[ ])?[A-Za-z][\w.-]{0,80})"  # its start is tried once per word
    r"(\\{0,3}[\"']?\s{0,4}(?:=>|=|:(?!//))\s{0,4})"
)
_QUOTE = r"[bru]?(\\{0,3}[\"'])"
_PLAIN_VALUE = r"(?!\[redacted\])[^\s,;&\"'()\[\]{}]{1,4000}"
_HEADER_VALUE = r"[^\n\"']{1,8000}"
_LINE_NAMES = ("authorization", "authorisation", "cookie")
_LONGEST_VALUE = 8000


def scan(text: str) -> str:
    """Replace provider keys, private keys and passwords of URLs in a text."""
    for hint, shape in _SHAPES:
        if hint in text:
            text = _compiled(shape).sub(REPLACEMENT, text)
    if "_" in text:
        for hint, shape in _UNDERSCORE_SHAPES:
            if hint in text:
                text = _compiled(shape).sub(REPLACEMENT, text)
    if "@" in text and "://" in text:
        text = _compiled(_URL_PASSWORD).sub(rf"://\1:{REPLACEMENT}@", text)
    return text


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
        end, closing = _value_end(text, position, match[1])
        if end > position:
            start = _compiled(_QUOTE).match(text, position)
            opening = start[0] if start is not None and closing else ""
            pieces += (text[at:position], opening, REPLACEMENT)
            at = position = end
    return _compiled(_BEARER, re.IGNORECASE).sub(rf"\1\2{REPLACEMENT}", "".join((*pieces, text[at:])))


def _value_end(text: str, start: int, name: str) -> tuple[int, bool]:
    """Find where a value ends that begins at `start`, before its closing quote, and whether it is quoted."""
    quote = _compiled(_QUOTE).match(text, start)
    if quote is not None:
        end = text.find(quote[1], quote.end(), quote.end() + _LONGEST_VALUE)
        return (end if end >= 0 else min(len(text), quote.end() + _LONGEST_VALUE)), True
    pattern = _HEADER_VALUE if name.lower().endswith(_LINE_NAMES) else _PLAIN_VALUE
    plain = _compiled(pattern).match(text, start)
    return (plain.end() if plain is not None else start), False
