"""Secrets that a label beside them names, not their own key: headers, parameters, options, rows and columns.

Everything here looks at snapshots; `hits` tells whether a name is a secret's (`Redactor.hits`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from .capture_types import Cut, Elided, Long, Note, Snapshot
from .redaction_shapes import REPLACEMENT, scan
from .render_text import LONGEST_KEY

__all__ = ["MAY_NAME", "is_a_type", "is_label", "is_of_a_model", "without_named", "without_words"]

Hits = Callable[[str], bool]

_NAMES = ("name", "key", "field", "header", "variable", "param", "parameter", "Name", "Key", "ParameterKey")
_VALUES = frozenset({"value", "Value", "ParameterValue", "head"})
_TYPE = re.compile(
    r"string|integer|number|boolean|object|array|null|str|int|float|bool|TEXT|INTEGER|INT|BIGINT|REAL|BLOB|BOOLEAN|DATE|TIMESTAMP"
    r"|JSONB?|UUID|N?(?:VAR)?CHAR(?:\(\d+\))?"
)
"""Of JSON Schema, SQL and Python."""
_SAYS_WHAT_BELONGS = frozenset(
    {
        "type",
        "title",
        "description",
        "format",
        "pattern",
        "items",
        "properties",
        "required",
        "nullable",
        "readOnly",
        "writeOnly",
    }
    | {
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minimum",
        "maximum",
        "deprecated",
        "primary_key",
    }
)
"""Words of a schema beside which stands no value: of "default", "value", "examples" and what else there may be, nobody knows."""
_PROBABILITIES = frozenset({"logprob", "top_logprobs"})
_USERS = frozenset({"user", "username", "login", "email", "User", "Username"})
_NETLOCS = frozenset({"netloc", "_netloc"})
_COLUMNS = ("columns", "headers", "fields", "column_names")
_TABLES = ("data", "rows", "values", "records")
MAY_NAME = _VALUES | _NETLOCS | {*_COLUMNS, "params", "loc", "pass"}
"""Fields of which at least one is there where `without_named` has something to do."""
_WORD = re.compile(r"\w+")
_LONGEST_STATEMENT = 10_000
_CURL_USER = ("-u", "--user")


def is_of_a_model(fields: dict[str, Snapshot]) -> bool:
    """Tell whether "token" in a dict is one of a language model's: with its probability, or as a number with its text."""
    token = fields.get("token")
    return token is not None and (
        not _PROBABILITIES.isdisjoint(fields) or (type(token) is int and "token_str" in fields)
    )


def is_a_type(value: Snapshot) -> bool:
    """Tell whether what stands under a secret's name says what kind of value belongs there: of a schema, or an empty text."""
    if type(value) is str:
        return not value or (len(value) < LONGEST_KEY and _TYPE.fullmatch(value) is not None)
    if type(value) is not dict:
        return False
    kind = value.get("type")
    return (
        type(kind) is str
        and _TYPE.fullmatch(kind) is not None
        and all(key in _SAYS_WHAT_BELONGS or item is None or type(item) is bool for key, item in value.items())
        and ("items" not in value or is_a_type(value["items"]))
    )


def is_label(value: Snapshot, hits: Hits) -> bool:
    """Tell whether a value is the name of a secret: a text, or the bytes of a header as ASGI has it."""
    t = type(value)
    if t is bytes:
        return len(value) < LONGEST_KEY and hits(value.decode("latin-1"))
    return t is str and hits(value)


def without_named(fields: dict[str, Snapshot], hits: Hits) -> dict[str, Snapshot]:
    """Hide what a dict's other fields say is a secret: headers, variables, cookies, series, rows and columns of frames.

    Args:
        fields: of a dict or an object; {"name": "Authorization", "value": …}, {"columns": ["password"], "data": [[…]]}.
        hits: tells whether a name is one of a secret.
    """
    if _names_its_value(fields, hits):
        return {key: _hidden(value) if key in _VALUES else value for key, value in fields.items()}
    if type(fields.get("pass")) is str and not _USERS.isdisjoint(fields) and hits("password"):  # "3 pass" has no user
        fields = {**fields, "pass": _hidden(fields["pass"])}
    if "input" in fields and _labelled(fields.get("loc"), hits):  # one of pydantic's errors
        return {**fields, "input": _hidden(fields["input"])}
    shown = fields
    if "params" in fields and _names_a_secret(fields.get("statement"), hits):  # of SQL that failed
        shown = {**shown, "params": _hidden(fields["params"])}
    for key in _NETLOCS & fields.keys():  # of a URL in its parts
        if type(netloc := fields[key]) is str and "@" in netloc:
            shown = {**shown, key: scan(f"://{netloc}").removeprefix("://")}
    if type(fields.get("index")) is list and (secret := _labelled(fields.get("index_names"), hits)):
        shown = {**shown, "index": [_without_part(label, secret) for label in fields["index"]]}
    if "head" in fields and "index" in fields:
        shown = {**shown, "head": _without(fields["head"], _labelled(fields["index"], hits))}
    tables = [key for key in _TABLES if type(fields.get(key)) is list]
    for labels in _COLUMNS if tables else ():
        if type(fields.get(labels)) is Elided and fields[labels].type_name in {"list", "tuple"}:  # nobody knows
            shown = {**shown, **{key: [_without_texts(row) for row in shown[key]] for key in tables}}
        elif secret := _labelled(fields.get(labels), hits):
            shown = {**shown, **{key: [_without(row, secret) for row in shown[key]] for key in tables}}
    return shown


def _names_a_secret(statement: Snapshot, hits: Hits) -> bool:
    """Whether a statement of SQL names a column that holds secrets."""
    return type(statement) is str and any(map(hits, set(_WORD.findall(statement[:_LONGEST_STATEMENT]))))


def _names_its_value(fields: dict[str, Snapshot], hits: Hits) -> bool:
    if "domain" in fields and "name" in fields and ("path" in fields or "httpOnly" in fields):
        return True  # a cookie of a browser: any may be a session's
    return any(type(name := fields.get(key)) is str and hits(name) for key in _NAMES)


def _without_part(label: Snapshot, secret: set[int]) -> Snapshot:
    """Hide the secret levels of a row's label; one of a single level is secret as a whole."""
    return _without(label, secret) if type(label) is list else _hidden(label)


def _hidden(value: Snapshot) -> Snapshot:
    return value if value is None or type(value) is bool else Note(REPLACEMENT)


def _labelled(labels: Snapshot, hits: Hits) -> set[int]:
    """The places of the labels that are, or may be, the name of a secret, or have it as a part: of a frame's rows or columns."""
    if type(labels) is not list:
        return set()
    return {
        place
        for place, label in _places(labels)
        if type(label) is Elided or any(is_label(part, hits) for part in _parts(label))
    }


def _parts(label: Snapshot) -> list[Snapshot]:
    """What a label is called: a column may be a dict that describes it, or have several levels."""
    if type(label) is dict:
        return [label[key] for key in _NAMES if key in label]
    return label if type(label) is list else [label]


def _without(items: Snapshot, secret: set[int]) -> Snapshot:
    if type(items) is not list:
        return items
    return [Note(REPLACEMENT) if place in secret and item is not None else item for place, item in _places(items)]


def _without_texts(row: Snapshot) -> Snapshot:
    return [_hidden(cell) if type(cell) in {str, bytes, Long} else cell for cell in row] if type(row) is list else row


def _places(items: list[Snapshot]) -> Iterator[tuple[int, Snapshot]]:
    """Items with the place that they had before the list was cut."""
    place = 0
    for item in items:
        yield place, item
        place += item.entries if type(item) is Cut else 1


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
