"""Secrets that a label beside them names, not their own key: headers as pairs, parameters, rows of frames, options.

Everything here looks at snapshots; `hits` tells whether a name is a secret's (`Redactor.hits`).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from .capture_types import Note, Snapshot
from .redaction_shapes import REPLACEMENT
from .render_text import LONGEST_KEY

__all__ = ["is_label", "names_its_value", "without_rows", "without_words"]

Hits = Callable[[str], bool]


def is_label(value: Snapshot, hits: Hits) -> bool:
    """Tell whether a value is the name of a secret: a text, or the bytes of a header as ASGI has it."""
    t = type(value)
    if t is bytes:
        return len(value) < LONGEST_KEY and hits(value.decode("latin-1"))
    return t is str and hits(value)


def names_its_value(fields: dict[str, Snapshot], hits: Hits) -> bool:
    """Tell whether a dict is a header, variable or series in the form {"name": "Authorization", "value": …}."""
    name = fields.get("name") or fields.get("key")
    return type(name) is str and hits(name)


def without_rows(head: Snapshot, index: Snapshot, hits: Hits) -> Snapshot:
    """Hide the rows of a series or frame whose label is the name of a secret, or a part of their label."""
    if type(head) is not list or type(index) is not list:
        return head
    labels = [label if type(label) is list else [label] for label in index]
    secret = [any(is_label(part, hits) for part in label) for label in labels]
    return [
        Note(REPLACEMENT) if hide and row is not None else row for row, hide in zip_longest(head, secret[: len(head)])
    ]


def without_words(words: list[Snapshot] | tuple[Snapshot, ...], hits: Hits) -> list[Snapshot] | tuple[Snapshot, ...]:
    """Hide the words of a command that are the values of secret options: ["--password", …]."""
    secrets = [at + 1 for at, word in enumerate(words) if type(word) is str and _is_option(word, hits)]
    if not secrets:
        return words
    shown: list[Any] = list(words)
    for at in secrets:
        if at < len(shown) and type(shown[at]) is str and not shown[at].startswith("-"):
            shown[at] = Note(REPLACEMENT)
    return shown


def _is_option(word: str, hits: Hits) -> bool:
    return word[:1] == "-" and word[1:].replace("-", "").isidentifier() and hits(word)
