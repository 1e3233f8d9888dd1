"""What of a value may leave the process: secrets by name, by shape, by the user's mask and by policy.

Everything here runs on the worker, before any sink. Names are compared in snake case (`X-API-Key`, `apiKey` and
`API_KEY` are all `api_key`) with glob patterns. Inside of texts look `redaction_shapes`, `redaction_data` and
`redaction_text`, beside other values `redaction_labels`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase, translate
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast

from .capture_kinds import bases_of
from .capture_types import DEFAULT_LIMITS, Limits
from .redaction_shapes import scan
from .redaction_text import redact_text

if TYPE_CHECKING:
    from .config import TracingConfig

__all__ = [
    "DEFAULT_EXCEPTIONS",
    "DEFAULT_PATTERNS",
    "Mask",
    "Policy",
    "Redactor",
    "Rules",
    "redact_text",
    "rules_of",
    "scan",
]

Mask = Callable[[Any, tuple[str | int, ...]], Any]
Policy = Literal["record", "summarise", "hide"]

DEFAULT_PATTERNS = (
    "*api_key*", "*apikey*", "*api_token*",
    "*password*", "*passwd*", "*passphrase*", "*passcode*", "pwd", "*_pwd",
    "secret", "secrets", "secret_*", "secrets_*", "*_secret", "*_secrets", "*_secret_*",
    "*clientsecret", "*apisecret", "*appsecret", "*webhooksecret",
    "token", "*_token", "*_token_value", "*accesstoken", "*refreshtoken", "*authtoken", "*bearertoken", "*bottoken",
    "access_tokens", "refresh_tokens", "api_tokens", "auth_tokens", "*_access_tokens", "*_refresh_tokens",
    "*authorization", "*authorisation", "auth", "*_auth", "auth_header*", "bearer", "bearer_*", "*_bearer",
    "cookie", "cookies", "*_cookie", "*_cookies",
    "*private_key*", "*privatekey*", "*access_key*", "*accesskey*", "*secret_key*", "*secretkey*", "*auth_key*", "*authkey*",
    "*hmac_key*", "*signing_key*", "*encryption_key*", "*ssh_key*", "*account_key*", "*subscription_key*", "*master_key*",
    "credential", "credentials", "*_credential", "*_credentials", "credentials_*", "creds", "*_creds",
    "sessionid", "jsessionid", "phpsessid", "connect_sid", "*sessiontoken", "*idtoken", "*csrftoken", "*xsrftoken",
    "csrfmiddlewaretoken", "*sharedaccesssignature", "*shared_access_signature",
    "jwt", "*_jwt", "*connection_string*", "*authorization_header", "userinfo",
    "*openai_key", "*anthropic_key", "*storage_key", "*session_key", "*service_role_key",
    "*functions_key", "*license_key", "*accountkey", "*sas_url",
    "*amz_signature", "*goog_signature",
    "otp", "*_otp", "seed_phrase", "*recovery_codes", "*deploy_key", "*fernet_key", "*signingkey",
    "azure_key", "cvv", "app_key", "*_app_key", "*application_key",
    "connstr", "*_pat", "dbpass", "userpass", "psk", "mnemonic", "pass_word", "pass_phrase", "*client_key_data",
    "gemini_key", "groq_key", "mistral_key", "cohere_key", "unseal_key", "priv_key", "google_key", "stripe_key", "supabase_key",
    "pinecone_key", "tavily_key", "deepseek_key", "serper_key", "aes_key", "enc_key", "kms_key",
    "pw", "*_pw", "*_pass", "*shared_key", "*_psk", "recovery_phrase", "*_service_key", "azure_*_key", "cosmos_key", "speech_key",
    "sendgrid_key", "elevenlabs_key",
    "cvc", "hmac", "passkey", "totp", "*_totp", "otp_code", "totp_code", "*recovery_code", "*backup_codes",
    "client_assertion", "service_account_json", "*credential_json", "*credentials_json",
)  # fmt: skip
"""Globs over names in snake case that are secrets."""

DEFAULT_EXCEPTIONS = (
    "max_token", "min_token", "num_token", "n_token", "per_token", "*_per_token", "next_token", "*_next_token",
    "first_token", "last_token", "*_to_first_token", "time_to_*", "stop_token", "eos_token", "bos_token", "pad_token",
    "unk_token", "cls_token", "sep_token", "mask_token", "special_token", "prompt_token", "completion_token",
    "input_token", "output_token", "total_token", "page_token", "*_page_token", "continuation_token",
    "first_pass", "second_pass", "last_pass", "next_pass", "final_pass", "one_pass", "two_pass", "single_pass", "multi_pass",
    "*forward_pass", "*backward_pass", "render_pass", "proxy_pass", "low_pass", "high_pass", "band_pass", "by_pass",
    "*tests_pass", "*checks_pass", "num_pass", "is_pass", "did_pass", "must_pass", "should_pass", "will_pass", "can_pass",
    "require_auth", "requires_auth", "needs_auth", "use_auth", "is_auth",
    "*password_policy", "*password_rules", "*password_strength", "*password_length", "*password_*_length",
    "*password_count", "*api_key_name", "*api_key_env", "*api_key_env_*", "*api_key_header", "bearer_format",
)  # fmt: skip
"""Globs over names that the patterns hit and that are no secrets: tokens of a language model or of a page, and what is
said about a secret without being one. Where a name could be either (`secret_id`, `password_hint`) it counts as one."""

_WORDS = (
    "apikey",
    "password",
    "passphrase",
    "jwttoken",
    "csrftoken",
    "githubtoken",
    "apitoken",
    "authtoken",
    "secretkey",
    "openaikey",
)
"""Of names that are written so that no rule tells where a word begins: APIkey, passWord."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\W_]+")
_WHICH = re.compile(r"(?<!auth)_?\d+$|_(?:old|new|prod|production|staging|dev|test|live|primary|secondary|backup)$")
"""Which of several it is, at the end of a name: they are rotated, and there is one of each environment. Auth0 is a service."""
_BETWEEN = ", "
"""Stands between the parts of a key that is a tuple, and between the levels of what a frame's column is called."""
_LONGEST_NAME = 200
_MOST_NAMES = 10_000


@lru_cache(64)
def _any_of(globs: tuple[str, ...]) -> Callable[[str], object]:
    return re.compile("|".join(translate(glob) for glob in globs) or r"(?!)").match


@dataclass(frozen=True, slots=True)
class Redactor:
    """Knows secrets by the names they have.

    Args:
        extra: globs of your own over names in snake case: "ssn", "*_iban". They go before every exception.
        defaults: whether the built-in list counts too; without it, `extra` replaces it.
    """

    extra: tuple[str, ...] = ()
    defaults: bool = True
    _known: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra", tuple(_snake(glob, keep="*?[]!") for glob in self.extra))

    @property
    def idle(self) -> bool:
        """Whether no name at all is a secret."""
        return not (self.defaults or self.extra)

    def hits(self, name: str) -> bool:
        """Whether a key, field, header or parameter of this name holds a secret."""
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
        return self._is_named(name) or (_BETWEEN in name and any(map(self._is_named, name.split(_BETWEEN))))

    def _is_named(self, name: str) -> bool:
        plain = _snake(name)
        if _any_of(self.extra)(plain):
            return True
        return self.defaults and (self._is_secret(plain) or self._is_secret(_WHICH.sub("", plain)))

    def _is_secret(self, plain: str) -> bool:
        hit = _any_of(DEFAULT_PATTERNS)(plain) or plain.replace("_", "").endswith(_WORDS)
        return bool(hit) and not _any_of(DEFAULT_EXCEPTIONS)(plain)


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
            it means that node's values alone ("Summarize.prep_res"), by itself all of them ("Summarize") but for what
            stood in `shared` before; "class:Customer" means objects of a class or its subclasses, wherever they stand.
            The first pattern that fits decides.
        limits: how much of a value is shown.
    """

    redact: Redactor = field(default_factory=Redactor)
    mask: Mask | None = None
    policy: Mapping[str, Policy] = field(default_factory=dict)
    limits: Limits = DEFAULT_LIMITS
    _of_nodes: dict[str, Rules] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def has_classes(self) -> bool:
        """Whether the policy says something of objects by their class."""
        return bool(self.policy) and any(pattern.startswith(_CLASS) for pattern in self.policy)

    def policy_of_class(self, name: str) -> Policy:
        """Return what the policy says of objects of a class, "record" if nothing."""
        names = (name, name.rpartition(".")[2], *bases_of(name))
        for pattern, action in self.policy.items():
            if pattern.startswith(_CLASS) and any(fnmatchcase(known, pattern[len(_CLASS) :]) for known in names):
                return action
        return "record"

    def is_ruled(self, name: str) -> bool:
        """Whether the policy says something of objects of a class."""
        return self.policy_of_class(name) != "record"

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
            if len(self._of_nodes) >= _MOST_NAMES:  # a program may make classes as it goes
                self._of_nodes.clear()
            known = self._of_nodes[name] = replace(self, policy=policy)
        return known

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
            max_medium=int(config.media_max_mb * 1_000_000) if config.media and config.has_langfuse else 0,
        ),
    )


_CLASS = "class:"
_NODE_VALUES = ("prep_res", "exec_res", "params", "metadata", "action", "error.message", "score", "shared.*")
