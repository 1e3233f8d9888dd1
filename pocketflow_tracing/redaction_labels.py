"""Secrets that a label beside them names, not their own key: headers, parameters, options; tables are `redaction_tables`'.

Everything here looks at snapshots; `hits` tells whether a name is a secret's (`Redactor.hits`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any

from .capture_aliases import other_names
from .capture_labels import COLUMNS, NAMES, PASSES, TEXTS, USERS, VALUES
from .capture_messages import texts_in
from .capture_types import CUT_KEY, Cut, Note, Snapshot
from .redaction_shapes import REPLACEMENT, scan
from .redaction_tables import (
    hidden,
    is_label,
    labelled,
    without_columns,
    without_labels,
    without_places,
)
from .redaction_values import Hits, is_credential
from .render_text import LONGEST_KEY

__all__ = [
    "MAY_NAME",
    "is_a_type",
    "is_of_a_model",
    "without_aliased",
    "without_named",
    "without_quoted",
    "without_words",
]

_TYPE = re.compile(
    r"string|integer|number|boolean|object|array|null|str|int|float|bool|TEXT|INTEGER|INT|BIGINT|REAL|BLOB|BOOLEAN|DATE|TIMESTAMP"
    r"|JSONB?|UUID|N?(?:VAR)?CHAR(?:\(\d+\))?"
)
"""Of JSON Schema, SQL and Python."""
_SAYS_WHAT_BELONGS = frozenset({
    "type", "title", "description", "format", "pattern", "items", "properties", "required", "nullable", "readOnly", "writeOnly",
    "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minimum", "maximum", "deprecated", "primary_key",
})  # fmt: skip
"""Words of a schema beside which stands no value: of "default", "value", "examples" and what else there may be, nobody knows."""
_SHORTEST_QUOTED = 6
"""Characters of a secret that is looked for in a text: shorter ones stand in words by chance, unless they are quoted …"""
_SHORTEST_CODE = 3
"""… or have digits and stand alone, as a code does."""
_PROBABILITIES = frozenset({"logprob", "top_logprobs"})
_NETLOCS = frozenset({"netloc", "_netloc"})
MAY_NAME = VALUES | TEXTS | _NETLOCS | PASSES | {*COLUMNS, "params", "loc", CUT_KEY}
"""Fields of which at least one is there where `without_named` has something to do."""
_WORD = re.compile(r"\w+")
_LONGEST_STATEMENT = 10_000
_CURL_USER = ("-u", "--user")
_FEW_FIELDS = 12
"""Of what has a name and a value; wider ones are data, or the columns of a frame."""


def is_of_a_model(fields: dict[str, Snapshot]) -> bool:
    """Whether "token" in a dict is one of a language model's: with its probability, or as a number with its text."""
    token = fields.get("token")
    return token is not None and (
        not _PROBABILITIES.isdisjoint(fields) or (type(token) is int and "token_str" in fields)
    )


def is_a_type(value: Snapshot) -> bool:
    """Whether what stands under a secret's name says what kind of value belongs there: of a schema, or an empty text."""
    if type(value) is str:
        return not value or (len(value) < LONGEST_KEY and _TYPE.fullmatch(value) is not None)
    if type(value) is not dict:
        return False
    others = value.get("anyOf")
    if type(others) is list and others and all(type(other) is dict and is_a_type(other) for other in others):
        return all(key == "anyOf" or key in _SAYS_WHAT_BELONGS or item is None for key, item in value.items())
    kind = value.get("type")
    kinds = kind if type(kind) is list else [kind]
    return (
        bool(kinds)
        and all(type(one) is str and _TYPE.fullmatch(one) is not None for one in kinds)
        and all(key in _SAYS_WHAT_BELONGS or item is None or type(item) is bool for key, item in value.items())
        and ("items" not in value or is_a_type(value["items"]))
    )


def without_named(fields: dict[str, Snapshot], hits: Hits) -> dict[str, Snapshot]:
    """Hide what a dict's other fields say is a secret: headers, variables, cookies, series, rows and columns of frames.

    Args:
        fields: of a dict or an object; {"name": "Authorization", "value": …}, {"columns": ["password"], "data": [[…]]}.
        hits: tells whether a name is one of a secret.
    """
    shown = fields
    if any(is_label(fields[key], hits) for key in NAMES if key in fields) or _is_of_a_connection(fields, hits):
        shown = _without_its_value(shown)
    elif _holds_a_secret(fields, hits) or _may_have_lost_its_name(fields):
        shown = _without_those(shown, VALUES & fields.keys())
    if not (PASSES.isdisjoint(fields) or USERS.isdisjoint(fields)) and hits("password"):
        shown = _without_those(shown, {key for key in PASSES & fields.keys() if type(fields[key]) is str})
    if "input" in fields and labelled(fields.get("loc"), hits):  # one of pydantic's errors
        shown = _without_those(shown, {"input", "ctx"})
        if "msg" in fields:
            repeated = [text for _, text in texts_in([("input", fields["input"])])]
            shown = {**shown, "msg": _without(fields["msg"], repeated)}
    if "params" in fields and _names_a_secret(fields.get("statement"), hits):  # of SQL that failed
        shown = _without_those(shown, {"params"})
    for key in _NETLOCS & fields.keys():  # of a URL in its parts
        if type(netloc := fields[key]) is str and "@" in netloc:
            shown = {**shown, key: scan(f"://{netloc}").removeprefix("://")}
    if type(fields.get("index")) is list and (secret := labelled(fields.get("index_names"), hits)):
        shown = {**shown, "index": [_without_part(label, secret) for label in fields["index"]]}
    if "head" in fields and "index" in fields:
        shown = {**shown, "head": without_places(shown["head"], labelled(fields["index"], hits))}
    return without_columns(without_labels(shown, hits), hits)


def _without_those(fields: dict[str, Snapshot], secret: AbstractSet[str]) -> dict[str, Snapshot]:
    return {key: hidden(value) if key in secret else value for key, value in fields.items()} if secret else fields


def _without_its_value(fields: dict[str, Snapshot]) -> dict[str, Snapshot]:
    """Hide the value of what has a secret's name, and where it stands once more, as the encoded one of a form's field."""
    texts = [key for key in TEXTS & fields.keys() if type(fields[key]) in {str, bytes} and fields[key]]
    secret = {*(VALUES & fields.keys()), *texts}
    held = [value for key in secret if type(value := fields[key]) in {str, bytes}]
    encoded = [value if type(value) is bytes else value.encode(errors="replace") for value in held]
    repeated = [value for value in held if type(value) is str and is_credential(value)]

    def shown(key: str, value: Snapshot) -> Snapshot:
        if key in secret or (type(value) is bytes and value in encoded):
            return hidden(value)
        return _without(value, repeated) if repeated and key not in NAMES else value

    return {key: shown(key, value) for key, value in fields.items()}


def without_aliased(fields: dict[str, Snapshot], cls: str, hits: Hits) -> dict[str, Snapshot]:
    """Hide the fields of an object that have the name of a secret elsewhere: as a model's alias, say."""
    secret = {name for name, others in other_names(cls).items() if any(map(hits, others))}
    return _without_those(fields, secret)


def without_quoted(message: Snapshot, fields: Iterable[tuple[str, Snapshot]], hits: Hits) -> Snapshot:
    """Hide in an exception's message what its own fields say is a secret: `raise Rejected(key)`, which has it as `api_key`."""
    secrets = [text for name, text in texts_in(fields) if hits(name)]
    return _without(message, secrets) if secrets else message


def _without(message: Snapshot, secrets: list[str]) -> Snapshot:
    if type(message) is list:
        return [_without(part, secrets) for part in message]
    if type(message) is dict:
        return {key: _without(part, secrets) for key, part in message.items()}
    if type(message) is not str:
        return message
    for secret in secrets:
        if len(secret) >= _SHORTEST_QUOTED or message == secret:
            message = message.replace(secret, REPLACEMENT)
        elif len(secret) >= _SHORTEST_CODE and any(map(str.isdigit, secret)):
            message = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", REPLACEMENT, message)
        else:
            message = message.replace(repr(secret), REPLACEMENT)
    return message


def _names_a_secret(statement: Snapshot, hits: Hits) -> bool:
    """Whether a statement of SQL names a column that holds secrets."""
    return type(statement) is str and any(map(hits, set(_WORD.findall(statement[:_LONGEST_STATEMENT]))))


def _holds_a_secret(fields: dict[str, Snapshot], hits: Hits) -> bool:
    """Whether its value is one whatever it is called: a browser's cookie, any of which may be a session's, a form's field."""
    if "domain" in fields and "name" in fields and ("path" in fields or "httpOnly" in fields):
        return True
    return fields.get("type") == "password" and hits("password")


def _is_of_a_connection(fields: dict[str, Snapshot], hits: Hits) -> bool:
    """Whether it is an option of a connection of libpq's; beside another field a keyword is what somebody looks for."""
    return "val" in fields and is_label(fields.get("keyword"), hits)


def _may_have_lost_its_name(fields: dict[str, Snapshot]) -> bool:
    """Whether a value stands alone because there was no room for what it is called."""
    cut = fields.get(CUT_KEY)
    return type(cut) is Cut and len(fields) + cut.entries <= _FEW_FIELDS and fields.keys().isdisjoint(NAMES)


def _without_part(label: Snapshot, secret: set[int]) -> Snapshot:
    """Hide the secret levels of a row's label; one of a single level is secret as a whole."""
    return without_places(label, secret) if type(label) is list else hidden(label)


def without_words(words: list[Snapshot] | tuple[Snapshot, ...], hits: Hits) -> list[Snapshot] | tuple[Snapshot, ...]:
    """Hide the words of a command that are the values of secret options: ["--password", …]."""
    is_curl = bool(words) and type(words[0]) is str and words[0].endswith("curl")
    secrets = [
        at + 1
        for at, word in enumerate(words)
        if type(word) is str and (_is_option(word, hits) or (is_curl and word in _CURL_USER))
    ]
    if not secrets:
        return words
    shown: list[Any] = list(words)
    for at in secrets:
        if at < len(shown) and type(shown[at]) is str and not shown[at].startswith("-"):
            shown[at] = Note(REPLACEMENT)
    return shown


def _is_option(word: str, hits: Hits) -> bool:
    return word[:1] == "-" and word[1:].replace("-", "").isidentifier() and hits(word)
