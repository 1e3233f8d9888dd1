"""Pictures of any value, taken on the caller's path in microseconds.

Nothing of the user's runs while a value is read: containers are read with the methods of the builtin classes, classes
through the descriptors of `type`, fields out of instance dicts and slots. Texts and bytes are shared by reference, long
ones by their ends; cutting, encoding and masking happen on the worker, in `render`.

An object that stands in several places of one value is read in the first of them; the others say where that is. So a
reader sees that a change of it is seen in all of them, and a record says the change once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import (  # noqa: F401 - each registers its readers
    capture_arrays,
    capture_builtins,
    capture_clients,
    capture_code,
    capture_pandas,
    capture_polars,
    capture_stdlib,
    capture_web,
)
from ._guard import is_hosts
from .capture_allowance import FEW, Allowance
from .capture_errors import ErrorSnapshot, describe_exception
from .capture_kinds import is_scalar, name_of
from .capture_objects import Serializer
from .capture_texts import shortened
from .capture_types import DEFAULT_LIMITS, Limits, Note, Snapshot
from .capture_walk import SHARE_OF_CLOSE, Walk, read

__all__ = ["Capture", "ErrorSnapshot", "Limits", "Snapshot", "describe_exception", "is_scalar", "snapshot"]


def snapshot(value: Any, limits: Limits = DEFAULT_LIMITS) -> Snapshot:
    """Take a picture of a value that no later change of the value reaches.

    Args:
        value: anything.
        limits: how much of it to keep.

    Returns:
        Plain data, see `capture_types`.
    """
    t = type(value)
    if t is str:
        if len(value) <= limits.longest_text:
            return value
    elif t is int or value is None or t is float or t is bool:
        return value
    return _read_top(value, Walk(limits, ()))


class Capture:
    """Takes snapshots with settings: limits, and the user's serializers by type.

    Args:
        limits: how much of a value to keep.
        serializers: functions from an object to what is recorded in its place, by class; a subclass uses the one of its
            nearest base. They run on the caller's path, because the object changes later. Exact builtins (None, bool,
            int, float, str, bytes, list, tuple, dict) are never passed to them.
        errors: whether errors that stand among values are shown with their messages.
        is_secret: whether what stands under a name is not shown.
        is_ruled: whether a policy says something of objects of a class, by its name; None where none is about classes.
        allowance: of the host's time; where it is used up, little is kept of large values.
    """

    __slots__ = ("_errors", "_is_secret", "_serializers", "allowance", "is_ruled", "limits", "longest")

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        serializers: Mapping[type, Serializer] | None = None,
        *,
        errors: bool = True,
        is_secret: Callable[[str], bool] | None = None,
        is_ruled: Callable[[str], bool] | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self.is_ruled = is_ruled
        self.allowance = allowance or Allowance()
        self.limits = limits
        self.longest = limits.longest_text
        self._errors = errors
        self._is_secret = is_secret
        # Pairs, not a dict: looking a class up would run its metaclass's __hash__.
        self._serializers = tuple((serializers or {}).items())

    def snapshot(self, value: Any) -> Snapshot:
        """Take a picture of a value, as the function `snapshot` does."""
        t = type(value)
        if t is str:
            if len(value) <= self.longest:
                return value
        elif t is int or value is None or t is float or t is bool:
            return value
        walk = self._walk()
        most = walk.left
        if self.allowance.is_used_up:
            walk.left = most = min(most, FEW)
        taken = _read_top(value, walk)
        self.allowance.take(most - walk.left)
        return taken

    def whole(self, value: object, elements: int) -> tuple[Snapshot, int, bool]:
        """Take a picture of a value within so many elements, that refers to long texts as they are.

        Returns:
            The picture, how many elements it took, and whether it has long texts: it is then for comparing only, and what is
            handed on is what `shortened` makes of it.
        """
        walk = self._walk()
        walk.left = elements
        if elements < self.limits.max_elements:
            walk.close = elements - SHARE_OF_CLOSE + 1
        walk.whole = True
        return _read_top(value, walk), elements - walk.left, walk.has_long

    def shortened(self, picture: Snapshot) -> Snapshot:
        """A picture without what long texts hold beyond their ends."""
        return shortened(picture, self._walk())

    def _walk(self) -> Walk:
        return Walk(self.limits, self._serializers, self._errors, self._is_secret, self.is_ruled)


def _read_top(value: object, walk: Walk) -> Snapshot:
    try:
        return read(value, walk, 0)
    except BaseException as error:  # whatever a value is, taking its picture does not raise
        if is_hosts(error):  # a time limit that struck here
            raise
        return Note(f"<unreadable: {name_of(type(error))}>")
