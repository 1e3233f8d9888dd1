"""What a run's `shared` held, and what each node visit changed in it.

A run keeps one picture per shared object: a snapshot of every watched key. After each visit the picture is compared with
the real thing and brought up to date; the difference is what the visit added, changed and removed. With more keys than the
limit, the first and the last are watched, so that a visit costs the same however large `shared` has become.
"""

from __future__ import annotations

from typing import Any

from ._changes import same
from ._sharing import ENTRY_BYTES, Sharing
from .capture import Capture, is_scalar
from .capture_allowance import FEW
from .capture_entries import taken
from .capture_kinds import key_text
from .capture_labels import TELLING, TOLD
from .capture_types import LARGE, WEIGHTLESS, Elided, Snapshot, weigh
from .render_text import unused

MAX_KEYS = 128
"""Keys of `shared` that are watched: the first half and the last half of them."""

VALUES = 2
"""Of so many values the elements are read at each visit, if `shared` holds more that are large; else each has its own limit."""

_LARGEST_LABEL = 30_000
"""Bytes, estimated: a statement, or what a wide table's columns are called."""
_LEAST = 16
"""Elements that each value has, however many there are."""

_PER_VALUE = 3
"""Elements that it costs to begin with one."""

_MISSING = object()


class SharedState:
    """The picture of one shared object.

    Args:
        shared: the object itself, kept so that its id stays its own; only dicts (and subclasses) are pictured.
        capture: takes the snapshots.
        number: tells the shared objects of one run apart, the first is 0.
    """

    __slots__ = (
        "_capture",
        "_each",
        "_is_large",
        "_is_partial",
        "_keys",
        "_long",
        "_pictures",
        "_texts",
        "is_behind",
        "large",
        "number",
        "shared",
        "turn",
        "weight",
    )

    def __init__(self, shared: Any, capture: Capture, number: int = 0) -> None:
        self.shared = shared
        self.number = number
        self._keys: dict[str, Any] = {}  # scalar keys that are no strings, by their text
        self._texts: dict[
            int, tuple[Any, str]
        ] = {}  # (key, its text) by id, of keys of which only the type can be said
        self._capture = capture
        self._each = capture.limits.max_elements
        self.is_behind = False  # whether a visit was passed over since it was looked at last
        self._is_large = False  # whether many elements were read of what has changed, or may have
        self._is_partial = False  # whether there were more keys than watched ones when it was looked at last
        self._pictures: dict[str, Any] = {}
        self._long: set[str] = set()  # keys in whose pictures there are long texts
        self.weight = 0  # estimated bytes of what `full` or `changes` found last
        self.large: list[str | bytes] = []  # the large texts among them
        self.turn: dict[str, Any] = {}  # whose it is to ask for `changes`: nodes may run in several threads

    @staticmethod
    def can_picture(shared: Any) -> bool:
        """Whether a shared object is a dict, whose changes can be told by key."""
        return issubclass(type(shared), dict)

    def _watched(self) -> list[tuple[Any, Any]]:
        shared = self.shared
        if dict.__len__(shared) <= MAX_KEYS:
            return taken(iter, dict.items(shared), MAX_KEYS)
        head = taken(iter, dict.items(shared), MAX_KEYS // 2)
        tail = taken(reversed, dict.items(shared), MAX_KEYS // 2)
        return head + tail[::-1]

    def full(self) -> dict[str, Any]:
        """Take the whole picture: {key: snapshot}; a small one where pictures have had their time."""
        rows = self._watched()
        if self._capture.allowance.is_used_up:  # many runs may begin at once
            self._each = max(FEW // max(len(rows), 1), 1)
        self._is_partial = dict.__len__(self.shared) > MAX_KEYS
        for (key, _), (picture, has_long) in zip(rows, self._taken(rows), strict=True):
            self._keep(key if type(key) is str else self._text(key), picture, has_long)
        shown = self.picture()
        self.large = []
        self.weight = weigh(shown, self.large)
        return shown

    def _keep(self, text: str, picture: Snapshot, has_long: bool) -> Snapshot:
        """Keep a picture of a key; returns what is shown of it."""
        self._pictures[text] = picture
        if has_long:
            self._long.add(text)
        else:
            self._long.discard(text)
        return self._shown(text, picture)

    def _shown(self, text: str, picture: Snapshot) -> Snapshot:
        return self._capture.shortened(picture) if text in self._long else picture

    def _taken(self, rows: list[tuple[Any, Any]]) -> list[tuple[Snapshot, bool]]:
        """Take the pictures of values, and say of each whether it has long texts, to which it refers as long as it is kept.

        Where the values are too large together, all get less from now on: a budget that each visit spent anew, key by key, would
        show the same values larger or smaller as others come and go, which are changes that no node made.
        """
        whole, each, most = self._capture.whole, self._each, self._capture.limits.max_elements * VALUES
        longest = self._capture.longest
        pictures: list[tuple[Snapshot, bool]] = []
        taken = 0
        for _, value in rows:
            t = type(value)
            if t is int or value is None or t is float or t is bool or (t is str and len(value) <= longest):
                pictures.append((value, False))
                continue
            picture, elements, has_long = whole(value, each)
            pictures.append((picture, has_long))
            taken += elements
            if taken > most and each > _LEAST:
                large = sum(not is_scalar(value) for _, value in rows)
                while each > _LEAST and (each == self._each or each * large > most):
                    each = max(each // 2, _LEAST)
                self._each = each
                return self._taken(rows)
        taken += _PER_VALUE * len(pictures)
        self._is_large = taken > FEW
        if self._is_large:
            self._capture.allowance.take(taken)
        return pictures

    @property
    def may_wait(self) -> bool:
        """Whether to look for changes would cost more of the host's time than pictures may take just now."""
        return self._is_large and self._capture.allowance.is_used_up

    def _text(self, key: Any) -> str:
        known = self._texts.get(id(key))
        if known is not None:
            return known[1]
        text = key_text(key, self._capture.is_ruled)
        if is_scalar(key):
            # 1 and "1" are two keys: one that is no string says what it is where a string has its text
            text = f"{text} ({type(key).__name__})" if dict.__contains__(self.shared, text) else text
            if len(self._keys) < 4 * MAX_KEYS:
                self._keys[text] = key
        elif text.startswith("<") and len(self._texts) < 4 * MAX_KEYS:
            # only the type can be said, so they are numbered
            names = {known for _, known in self._texts.values()}
            text = unused(text, names | {text} if dict.__contains__(self.shared, text) else names)
            self._texts[id(key)] = (key, text)
        return text

    def picture(self) -> dict[str, Any]:
        """The last picture taken, {key: snapshot}."""
        pictures = dict(self._pictures)  # at once: another thread may be at `changes`
        return {text: self._shown(text, picture) for text, picture in pictures.items()} if self._long else pictures

    def changes(self) -> dict[str, Any] | None:
        """What differs from the last picture, which is brought up to date.

        Returns:
            {"added": {key: new}, "changed": {key: (old, new)}, "removed": [key], "unwatched": [key], "shown": {key: value},
            "labels": {key: value}}, each left out when empty, or None when nothing differs. Unwatched keys still exist but have
            moved out of the watched ends; what is shown is as it was, and has a new picture: a smaller one, or its first one
            again; labels are what says of these what they hold: what the columns of a table are called, say.
        """
        self.is_behind = False
        pictures = self._pictures
        known = pictures.get
        watched = self._watched()
        # Most keys at most visits hold the object that they held: a snapshot that is its value is a scalar, which cannot
        # change. One comprehension finds the others, at 0.05 µs a key.
        rows = [row for row in watched if type(row[0]) is not str or known(row[0], _MISSING) is not row[1]]
        if not rows and len(pictures) == len(watched):
            return None
        result: dict[str, Any] = {}
        self.weight, self.large = 0, []
        self._compare(rows, watched, result)
        self._is_partial = dict.__len__(self.shared) > len(watched)
        if len(pictures) > len(watched):
            self._forget(watched, result)
        has_none = TOLD.isdisjoint
        if not (
            has_none(result.get("changed", ()))
            and has_none(result.get("added", ()))
            and has_none(result.get("shown", ()))
        ):
            result.update(self._telling())
        return result or None

    def _telling(self) -> dict[str, Any]:
        """The values of keys that say what others hold; of a large one, that it is there: it waits as often as it is named."""
        labels: dict[str, Snapshot] = {}
        for text in TELLING & self._pictures.keys():
            shown = self._shown(text, self._pictures[text])
            weight = weigh(shown)
            if weight > _LARGEST_LABEL:
                shown, weight = Elided("list") if type(shown) is list else None, 0
            labels[text] = shown
            self.weight += weight + ENTRY_BYTES
        return {"labels": labels} if labels else {}

    def _compare(self, rows: list[tuple[Any, Any]], watched: list[tuple[Any, Any]], result: dict[str, Any]) -> None:
        """Find what came, what changed, and what is only shown otherwise, and bring its pictures up to date."""
        added: dict[str, Any] = {}
        changed: dict[str, Any] = {}
        again: dict[str, Any] = {}
        were_there: set[str] | None = None
        each = self._each
        for (key, value), (picture, has_long) in zip(rows, self._taken(rows), strict=True):
            text = key if type(key) is str else self._text(key)
            old = self._pictures.get(text, _MISSING)
            if old is value:  # of a key that is no string
                continue
            if old is _MISSING:
                were_there = self._come_back(watched) if were_there is None else were_there
                shown = self._keep(text, picture, has_long)
                (again if text in were_there else added)[text] = shown
                self.weight += len(text) + weigh(shown, self.large)
                continue
            if type(old) in WEIGHTLESS and type(picture) in WEIGHTLESS:  # a counter, a flag, what was None before
                if not same(old, picture):
                    self._pictures[text] = picture
                    changed[text] = (old, picture)
                    self.weight += 2 * ENTRY_BYTES
                    if type(picture) is int and picture.bit_length() > LARGE:
                        self.weight += weigh(old) + weigh(picture)
                continue
            sharing = Sharing()
            new = sharing.of(old, picture)
            if new is old:
                continue
            before = self._shown(text, old)
            if self._each < each and same(old, self._capture.whole(value, each)[0]):
                shown = again[text] = self._keep(text, new, has_long)
                self.weight += weigh(shown, self.large)
                continue
            shown = self._keep(text, new, has_long)
            changed[text] = (before, shown)
            if before is old and shown is new:
                self.weight += sharing.weight
                self.large += sharing.large
            else:  # of each the ends of long texts
                self.weight += weigh(before, self.large) + weigh(shown, self.large)
        if added:
            result["added"] = added
        if changed:
            result["changed"] = changed
        if again:
            result["shown"] = again

    def _come_back(self, rows: list[tuple[Any, Any]]) -> set[str]:
        """Keys without a picture that were there before: they stand before one with a picture, and what is added comes last."""
        found: set[str] = set()
        is_before = False
        for key, _ in reversed(rows if self._is_partial else []):
            text = key if type(key) is str else self._text(key)
            if text in self._pictures:
                is_before = True
            elif is_before:
                found.add(text)
        return found

    def _forget(self, rows: list[tuple[Any, Any]], result: dict[str, Any]) -> None:
        watched = {key if type(key) is str else self._text(key) for key, _ in rows}
        missing = self._pictures.keys() - watched
        gone = list(missing) if len(missing) == 1 else [text for text in self._pictures if text in missing]
        removed: list[str] = []
        unwatched: list[str] = []
        for text in gone:
            (unwatched if dict.__contains__(self.shared, self._keys.get(text, text)) else removed).append(text)
            del self._pictures[text]
            self._long.discard(text)
            self._keys.pop(text, None)
            if text.startswith("<"):
                self._texts = {at: known for at, known in self._texts.items() if known[1] != text}
        if removed:
            result["removed"] = removed
            self.weight += weigh(removed, self.large)
        if unwatched:
            result["unwatched"] = unwatched
