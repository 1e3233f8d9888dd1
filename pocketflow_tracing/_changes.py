"""Where inside a value something changed, and the way back: pure functions over JSON-ready values.

A change of one value is {"old": …, "new": …}, or {"inside": [step, …]} where that is smaller. Each step has the "path"
from the value to where it applies, of keys and positions, and one of these forms; they are applied in their order:

- {"path", "old", "new"}: what stood there is another value now;
- {"path", "added": value}: a key came into a dict, the last part of the path;
- {"path", "removed": true}: a key left a dict;
- {"path", "at": position, "removed": count, "added": list or text}: a list or a long text lost so many entries or
  characters at a position, and got these in their place.

Positions are those of the recorded value: of a list that is shown by its head and tail, the mark "… 900 more items"
counts as one.
"""

from __future__ import annotations

from itertools import compress
from operator import is_, is_not, ne, not_
from typing import Any

from .records import Json
from .render_text import agreeing

__all__ = ["apply", "difference", "same"]

_MOST_STEPS = 100
_MOST_COMPARISONS = 20_000
_FARTHEST = 64
"""Entries over which a list is searched for the place where it goes on as before."""
_LONG_TEXT = 200
_STEP_WEIGHT = 32

Path = tuple[str | int, ...]


def same(one: Json, other: Json) -> bool:
    """Whether two values are the same in JSON: 1 is neither 1.0 nor true there, and 0.0 is not -0.0.

    Takes snapshots as well, whose marks are tuples, and in which each NaN of an array is an object of its own.
    """
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    return _alike((one,), (other,)) if one == other else _differ_in_nan(one, other)


def _differ_in_nan(one: Json, other: Json) -> bool:
    """Whether values that Python calls different are the same but for NaN, which equals nothing."""
    kind = type(one)
    if kind is float:
        return bool(one != one and other != other)  # noqa: PLR0124 - what tells NaN
    if kind is dict:
        if one.keys() != other.keys():
            return False
        ones, others = list(one.values()), [other[key] for key in one]
    elif issubclass(kind, (list, tuple)) and len(one) == len(other):
        ones, others = one, other
    else:
        return False
    differs = [*map(ne, ones, others)]
    for value, beside in compress(
        zip(ones, others, strict=True), differs
    ):  # most changes are found here, without a walk
        if type(value) is not type(beside) or not _differ_in_nan(value, beside):
            return False
    equal = [*map(not_, differs)]
    return _alike(tuple(compress(ones, equal)), tuple(compress(others, equal)))


_DISTINCT = frozenset({str, int, bool, bytes, type(None)})
"""Types whose equal values are the same."""


def _alike(one: Any, other: Any) -> bool:
    """Whether two equal containers hold values of the same types.

    Two pictures of the same thing share their texts and numbers, so most of the work is to see that they do; in thirty
    messages it takes 10 µs, however long they are.
    """
    ones, others = one, other
    if type(one) is dict:
        ones, others = one.values(), other.values() if [*one] == [*other] else [other[key] for key in one]
    for value, beside in compress(zip(ones, others, strict=True), map(is_not, ones, others)):
        kind = type(value)
        if kind is not type(beside):
            return False
        if kind is dict and [*value] == [*beside] and all(map(is_, value.values(), beside.values())):
            continue
        if kind is float:
            if value == 0.0 and str(value) != str(beside):
                return False
        elif kind not in _DISTINCT and not _alike(value, beside):
            return False
    return True


def difference(old: Json, new: Json) -> dict[str, Json]:
    """What makes the new value of the old one; see the module's docstring.

    The answer holds parts of both values, which must not be changed afterwards.
    """
    whole = {"old": old, "new": new}
    if type(old) is not type(new) or not isinstance(new, (dict, list, str)):
        return whole
    search = _Search()
    try:
        search.compare(old, new, ())
    except _TooMuchError:
        return whole
    if any(not step["path"] and "new" in step for step in search.steps):
        return whole
    size = sum(_weight(list(step.values()), 1 << 40) + _STEP_WEIGHT for step in search.steps)
    return {"inside": search.steps} if size < _weight([old, new], size + 1) else whole


def apply(old: Json, change: dict[str, Json]) -> Json:
    """The new value, from the old one and what `difference` returned; the old one stays as it is.

    Raises:
        ValueError: the change was made from another value.
    """
    if "inside" not in change:
        return change.get("new")
    try:
        value = old
        for step in change["inside"]:
            value = _applied(value, step["path"], step)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError("the change was made from another value") from error
    return value


class _TooMuchError(Exception):
    """The values differ in more places than it pays to list."""


class _Search:
    """Looks for the steps from one value to another."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Json]] = []
        self.left = _MOST_COMPARISONS
        self.types: dict[int, Any] | None = None

    def add(self, path: Path, **form: Json) -> None:
        if len(self.steps) >= _MOST_STEPS:
            raise _TooMuchError
        self.steps.append({"path": list(path), **form})

    def compare(self, old: Json, new: Json, path: Path) -> None:
        if self.same(old, new):
            return
        kind = type(new)
        if kind is not type(old):
            self.add(path, old=old, new=new)
        elif kind is dict and (not old or not new or not old.keys().isdisjoint(new)):
            self.dicts(old, new, path)
        elif kind is list:
            self.lists(old, new, path)
        elif kind is str and len(old) > _LONG_TEXT and len(new) > _LONG_TEXT:
            self.texts(old, new, path)
        else:
            self.add(path, old=old, new=new)

    def same(self, old: Json, new: Json) -> bool:
        self.left -= 1
        if self.left < 0:
            raise _TooMuchError
        if old is new:
            return True
        kind = type(new)
        if kind is not type(old) or old != new:
            return False
        if self.types is None or (kind is not dict and kind is not list):
            if _alike((old,), (new,)):
                return True
            # Where 0 became false once it may have a thousand times, and each such value would be walked through again
            # for every place that it is compared with: from here on the types in each are noted once.
            self.types = {}
            return False
        return bool(self.types_in(old) == self.types_in(new))

    def types_in(self, value: Json) -> Any:
        """The types of the values in a container, in its form: what tells two apart that Python calls equal."""
        assert self.types is not None  # noqa: S101 - asked for when there is something to tell apart
        known = self.types.get(id(value))
        if known is None:
            if type(value) is dict:
                known = {key: self.type_of(item) for key, item in value.items()}
            else:
                known = [self.type_of(item) for item in value]
            self.types[id(value)] = known
        return known

    def type_of(self, value: Json) -> Any:
        kind = type(value)
        if kind is dict or kind is list:
            return self.types_in(value)
        return str(value) if kind is float and value == 0.0 else kind

    def dicts(self, old: dict[str, Json], new: dict[str, Json], path: Path) -> None:
        for key in old:
            if key not in new:
                self.add((*path, key), removed=True)
        for key, value in new.items():
            if key in old:
                self.compare(old[key], value, (*path, key))
            else:
                self.add((*path, key), added=value)

    def lists(self, old: list[Json], new: list[Json], path: Path) -> None:
        here, there = 0, 0
        while here < len(old) and there < len(new):
            if self.same(old[here], new[there]):
                here, there = here + 1, there + 1
                continue
            lost, come = self.go_on(old, here, new, there)
            if lost == come:
                for _ in range(lost):
                    self.compare(old[here], new[there], (*path, there))
                    here, there = here + 1, there + 1
            else:
                self.add(path, at=there, removed=lost, added=new[there : there + come])
                here, there = here + lost, there + come
        if here < len(old) or there < len(new):
            self.add(path, at=there, removed=len(old) - here, added=new[there:])

    def go_on(self, old: list[Json], here: int, new: list[Json], there: int) -> tuple[int, int]:
        """How many entries of each list stand before the nearest place where they agree again."""
        most_lost, most_come = len(old) - here, len(new) - there
        for distance in range(1, min(_FARTHEST, most_lost + most_come - 2) + 1):
            for lost in range(max(0, distance - most_come + 1), min(distance, most_lost - 1) + 1):
                if self.same(old[here + lost], new[there + distance - lost]):
                    return lost, distance - lost
        return most_lost, most_come

    def texts(self, old: str, new: str, path: Path) -> None:
        most = min(len(old), len(new))
        begin = agreeing(most, lambda size: old[:size] == new[:size])
        end = agreeing(most - begin, lambda size: not size or old[-size:] == new[-size:])
        if 2 * (begin + end) < most:
            self.add(path, old=old, new=new)
        else:
            self.add(path, at=begin, removed=len(old) - begin - end, added=new[begin : len(new) - end])


def _weight(value: Json, enough: int) -> int:
    """About the characters of a value in JSON, counted until they are enough."""
    kind = type(value)
    if kind is str:
        return len(value) + 3
    if kind is not dict and kind is not list:
        return 5
    weight = 2
    for part in value.items() if kind is dict else value:
        if kind is dict:
            weight += len(part[0]) + 4 + _weight(part[1], enough - weight)
        else:
            weight += 1 + _weight(part, enough - weight)
        if weight >= enough:
            break
    return weight


def _applied(value: Json, path: list[str | int], step: dict[str, Json]) -> Json:
    if not path:
        return _changed(value, step)
    first, rest = path[0], path[1:]
    if type(value) not in {dict, list} or (type(value) is list) is not (type(first) is int):
        raise TypeError("no such place")
    copy: Any = value.copy()
    if rest or "at" in step:
        copy[first] = _applied(value[first], rest, step)
    elif "removed" in step:
        del copy[first]
    elif "added" in step:
        copy[first] = step["added"]
    else:
        copy[first] = _changed(value[first], step)
    return copy


def _changed(value: Json, step: dict[str, Json]) -> Json:
    if "at" not in step:
        return step["new"]
    at, end = step["at"], step["at"] + step["removed"]
    if type(value) not in {list, str} or end > len(value):
        raise IndexError("no such entries")
    return value[:at] + step["added"] + value[end:]
