"""The plain data that a snapshot consists of.

A snapshot is an exact None, bool, int, float, str or bytes, a dict with str keys, a list, or one of the marks below.
The marks are tuples, so that two snapshots compare at C speed and no comparison ever reaches an object of the user's. A
user's tuple becomes a list: a plain tuple never stands in a snapshot, and the marks cannot be confused with data.
"""

from __future__ import annotations

from dataclasses import dataclass
from sys import getsizeof
from typing import Any, NamedTuple

__all__ = [
    "CUT_KEY",
    "DEFAULT_LIMITS",
    "LARGE",
    "MARGIN",
    "REDACTED",
    "Again",
    "Cut",
    "Elided",
    "Ends",
    "Failure",
    "Head",
    "Limits",
    "Long",
    "Note",
    "Pairs",
    "Snapshot",
    "Tagged",
    "Unread",
    "weigh",
]

Snapshot = Any
"""What `snapshot` returns; see the module's docstring."""

MARGIN = 8400
"""Characters beyond a cut that mask and scan also see, so that a secret on the edge is whole for them, with its name."""

CUT_KEY = "…"
"""The key under which a dict says how many of its entries are not shown."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one value is recorded; the defaults keep prompts, answers and message lists whole.

    There is no limit in seconds: nothing of the user's runs while a value is read, so that elements bound the time
    (2,000 elements are about 0.3 ms).

    Args:
        max_items: entries shown of one container, half from its head and half from its tail.
        max_elements: entries shown in total, over all containers of one value; what is neither a number, text, list nor
            dict counts as five. Of frames, tensors and their like one for each 250 elements is read closely, the others by
            type and size.
        max_depth: containers within containers. A level of an object that declares no fields (no dataclass, attrs or
            pydantic model) counts as three: graphs of clients, pools and locks are deep and say little.
        max_text: characters of one text; beyond it, its beginning and its end are kept. A prompt of 30 kB is whole.
        max_total_text: characters in total, over all texts of one value.
        max_medium: bytes of an image, a sound or a PDF that is kept whole, because it is sent.
    """

    max_items: int = 100
    max_elements: int = 2000
    max_depth: int = 12
    max_text: int = 65_536
    max_total_text: int = 1_000_000
    max_medium: int = 0

    @property
    def longest_text(self) -> int:
        """Characters or bytes beyond which a value is not kept whole until the worker cuts it."""
        return 4 * self.max_text


DEFAULT_LIMITS = Limits()


class Tagged(NamedTuple):
    """Anything that JSON has no form for: its type's name and what is worth reading of it."""

    type_name: str
    fields: dict[str, Snapshot]


class Failure(NamedTuple):
    """An error that stands among values: as Tagged, and what is said in it is read as messages of errors are.

    `quoted` has names and texts of the fields of what it came with, which its message repeats.
    """

    type_name: str
    fields: dict[str, Snapshot]
    quoted: tuple[tuple[str, str], ...] = ()


class Pairs(NamedTuple):
    """A mapping with keys that are not all strings, as [key, value] rows; a Cut stands between head and tail."""

    type_name: str
    rows: list[Any]


class Cut(NamedTuple):
    """Stands where entries were left out."""

    entries: int


class Elided(NamedTuple):
    """Stands for what was not read, because the depth or the budget ended there; -1: how many entries it has is not known."""

    type_name: str
    entries: int = -1


class Again(NamedTuple):
    """Stands for an object that was read in another place of the same value: its type's name, and the path to there."""

    type_name: str
    path: tuple[str | int, ...]


class Head(NamedTuple):
    """The first bytes of something, of which fewer are shown."""

    data: bytes


class Long(NamedTuple):
    """The ends of a long text or bytes, how long it is, and how many characters of it may be shown: the rest is margin.

    `between` is a sample of it, for comparing only.
    """

    begin: str | bytes
    end: str | bytes
    size: int
    shown: int
    between: str | bytes = ""


class Unread(NamedTuple):
    """Stands for values of an object that are not read: others that are dear to read came first, or it is not safe to.

    Its id is for comparing only: another object in its place is a change.
    """

    identity: int


class Note(NamedTuple):
    """A remark of the tracer's own in the place of a value; always shown as it is."""

    text: str


class Ends(NamedTuple):
    """What is read of a container: its head, how many entries are left out, and its tail. Not part of a snapshot."""

    head: list[Any]
    cut: int = 0
    tail: tuple[Any, ...] | list[Any] = ()


REDACTED = Note("[redacted]")


LARGE = 4096
"""Characters or bytes from which a text is large, and bits of a number."""


WEIGHTLESS = frozenset({int, float, bool, type(None)})
"""Types of snapshots that weigh nothing by themselves."""


def bytes_of(text: str | bytes) -> int:
    """The bytes that a text takes in memory: one with an emoji in it has four for each character."""
    return len(text) if type(text) is bytes or text.isascii() else getsizeof(text)


def weigh(value: Snapshot, large: list[str | bytes] | None = None) -> int:
    """Estimate the bytes that a snapshot keeps alive: its texts and bytes, and 64 for each entry; 0 for a number by itself.

    Args:
        value: the snapshot.
        large: gets its large texts and bytes, of which others may hold the same.
    """
    kind = type(value)
    if kind is str or kind is bytes:
        size = len(value)
        if size >= LARGE:
            size = bytes_of(value)
            if large is not None:
                large.append(value)
        return size + 64
    if kind is int:
        return 0 if (bits := value.bit_length()) < LARGE else bits // 8
    if value is None or kind is float or kind is bool:
        return 0
    weight = 64
    if kind is dict:
        weight += sum(map(len, value))
    for item in value.values() if kind is dict else value:
        t = type(item)
        if t is str or t is bytes:
            size = len(item)
            if size >= LARGE:
                size = bytes_of(item)
                if large is not None:
                    large.append(item)
            weight += size + 64
        elif t is int:
            weight += 64 if (bits := item.bit_length()) < LARGE else bits // 8
        elif item is None or t is float or t is bool:
            weight += 64
        else:
            weight += weigh(item, large)
    return weight
