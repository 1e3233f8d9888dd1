"""Which runs are meant: the filters of lists, and the words that users have for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

__all__ = ["STATUSES", "RunFilter", "parse_age"]

STATUSES = ("running", "interrupted", "success", "recovered", "error", "cancelled")
"""Of a run, as the store answers: "interrupted" where the process of a running one is gone."""

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_FARTHEST_NS = 2**63 - 1
"""From 1970: what the store can hold."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are meant; everything that is given must hold.

    Args:
        flow: the flow's name.
        status: one of `STATUSES`.
        session: session id.
        user: user id.
        tag: one of the run's tags.
        since_ns: started at this wall clock or later.
        until_ns: started before this wall clock.
        text: stands in a name, an error, an input or an output of the run, in any case of its ASCII letters.
    """

    flow: str | None = None
    status: str | None = None
    session: str | None = None
    user: str | None = None
    tag: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    text: str | None = None


def parse_age(text: str, now_ns: int) -> int:
    """Return the wall clock that "2h", "1d" or an ISO date or time means, in ns.

    Raises:
        ValueError: it is neither, or lies centuries away.
    """
    try:
        if found := _AGE.fullmatch(text.strip().lower()):
            meant = now_ns - int(float(found[1]) * _UNITS[found[2]] * 1e9)
        else:
            meant = int(datetime.fromisoformat(text.strip().replace("Z", "+00:00")).astimezone().timestamp() * 1e9)
    except (ValueError, OverflowError, OSError):
        meant = _FARTHEST_NS + 1
    if abs(meant) > _FARTHEST_NS:
        raise ValueError(f"{text!r} is no time: give an age such as 30m, 2h or 7d, or a date such as 2026-05-31.")
    return meant
