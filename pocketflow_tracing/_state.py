"""What a run's `shared` held, and what each node visit changed in it.

A run keeps one picture per shared object: a snapshot of every watched key. After each visit the picture is compared with
the real thing and brought up to date; the difference is what the visit added, changed and removed. With more keys than the
limit, the first and the last are watched, so that a visit costs the same however large `shared` has become.
"""

from __future__ import annotations

from typing import Any

from ._changes import same
from .capture import Capture, is_scalar
from .capture_kinds import key_text, taken
from .capture_types import Snapshot, weigh
from .render_text import unused

MAX_KEYS = 128
"""Keys of `shared` that are watched: the first half and the last half of them."""

VALUES = 3
"""Of so many values the elements are read at each visit, if `shared` holds more that are large; else each has its own limit."""

_LEAST = 16
"""Elements that each value has, however many there are."""

_MISSING = object()


class SharedState:
    """The picture of one shared object.

    Args:
        shared: the object itself, kept so that its id stays its own; only dicts (and subclasses) are pictured.
        capture: takes the snapshots.
        number: tells the shared objects of one run apart, the first is 0.
    """

    __slots__ = ("_capture", "_each", "_keys", "_pictures", "_texts", "number", "shared", "weight")

    def __init__(self, shared: Any, capture: Capture, number: int = 0) -> None:
        self.shared = shared
        self.number = number
        self._keys: dict[str, Any] = {}  # scalar keys that are no strings, by their text
        self._texts: dict[
            int, tuple[Any, str]
        ] = {}  # (key, its text) by id, of keys of which only the type can be said
        self._capture = capture
        self._each = capture.limits.max_elements
        self._pictures: dict[str, Any] = {}
        self.weight = 0  # estimated bytes of what `full` or `changes` found last

    @staticmethod
    def can_picture(shared: Any) -> bool:
        """Whether a shared object is a dict, whose changes can be told by key."""
        return issubclass(type(shared), dict)

    def _watched(self) -> list[tuple[Any, Any]]:
        shared = self.shared
        if dict.__len__(shared) <= MAX_KEYS:
            return list(dict.items(shared))
        head = taken(iter, dict.items(shared), MAX_KEYS // 2)
        tail = taken(reversed, dict.items(shared), MAX_KEYS // 2)
        return head + tail[::-1]

    def full(self) -> dict[str, Any]:
        """Take the whole picture: {key: snapshot}."""
        rows = self._watched()
        pictures = self._taken(rows)
        self._pictures = {
            key if type(key) is str else self._text(key): picture
            for (key, _), picture in zip(rows, pictures, strict=True)
        }
        self.weight = weigh(self._pictures)
        return dict(self._pictures)

    def _taken(self, rows: list[tuple[Any, Any]]) -> list[Snapshot]:
        """Take the pictures of values; where they are too large together, all get less from now on.

        A budget that each visit spent anew, key by key, would show the same values larger or smaller as others come and
        go: changes that no node made.
        """
        measured, each, most = self._capture.measured, self._each, self._capture.limits.max_elements * VALUES
        longest = self._capture.longest
        pictures: list[Snapshot] = []
        taken = 0
        for _, value in rows:
            t = type(value)
            if t is int or value is None or t is float or t is bool or (t is str and len(value) <= longest):
                pictures.append(value)
                continue
            picture, elements = measured(value, each)
            pictures.append(picture)
            taken += elements
            if taken > most and each > _LEAST:
                large = sum(not is_scalar(value) for _, value in rows)
                while each > _LEAST and (each == self._each or each * large > most):
                    each = max(each // 2, _LEAST)
                self._each = each
                return self._taken(rows)
        return pictures

    def _text(self, key: Any) -> str:
        known = self._texts.get(id(key))
        if known is not None:
            return known[1]
        text = key_text(key)
        if is_scalar(key):
            # 1 and "1" are two keys: one that is no string says what it is where a string has its text
            text = f"{text} ({type(key).__name__})" if dict.__contains__(self.shared, text) else text
            if len(self._keys) < 4 * MAX_KEYS:
                self._keys[text] = key
        elif (
            text.startswith("<") and len(self._texts) < 4 * MAX_KEYS
        ):  # one of those that are told apart by what they are
            names = {known for _, known in self._texts.values()}
            text = unused(text, names | {text} if dict.__contains__(self.shared, text) else names)
            self._texts[id(key)] = (key, text)
        return text

    def picture(self) -> dict[str, Any]:
        """The last picture taken, {key: snapshot}."""
        return dict(self._pictures)

    def changes(self) -> dict[str, Any] | None:
        """What differs from the last picture, which is brought up to date.

        Returns:
            {"added": {key: new}, "changed": {key: (old, new)}, "removed": [key], "unwatched": [key]}, each left out when empty,
            or None when nothing differs. Unwatched keys still exist but have moved out of the watched ends.
        """
        pictures = self._pictures
        known = pictures.get
        watched = self._watched()
        # Most keys at most visits hold the object that they held: a snapshot that is its value is a scalar, which cannot
        # change. One comprehension finds the others, at 0.05 µs a key.
        rows = [row for row in watched if type(row[0]) is not str or known(row[0], _MISSING) is not row[1]]
        if not rows and len(pictures) == len(watched):
            return None
        added: dict[str, Any] = {}
        changed: dict[str, Any] = {}
        self.weight = 0
        for (key, value), new in zip(rows, self._taken(rows), strict=True):
            text = key if type(key) is str else self._text(key)
            old = known(text, _MISSING)
            if old is value:
                continue  # a key that is no string
            if old is _MISSING:
                added[text] = new
            elif same(old, new):
                continue
            else:
                changed[text] = (old, new)
                self.weight += weigh(old)
            pictures[text] = new
            self.weight += weigh(new)
        result: dict[str, Any] = {}
        if added:
            result["added"] = added
        if changed:
            result["changed"] = changed
        if len(pictures) > len(watched):
            self._forget(watched, result)
        return result or None

    def _forget(self, rows: list[tuple[Any, Any]], result: dict[str, Any]) -> None:
        watched = {key if type(key) is str else self._text(key) for key, _ in rows}
        missing = self._pictures.keys() - watched
        gone = list(missing) if len(missing) == 1 else [text for text in self._pictures if text in missing]
        removed: list[str] = []
        unwatched: list[str] = []
        for text in gone:
            (unwatched if dict.__contains__(self.shared, self._keys.get(text, text)) else removed).append(text)
            del self._pictures[text]
            self._keys.pop(text, None)
            if text.startswith("<"):
                self._texts = {at: known for at, known in self._texts.items() if known[1] != text}
        if removed:
            result["removed"] = removed
        if unwatched:
            result["unwatched"] = unwatched
