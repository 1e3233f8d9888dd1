"""What stands in a URL: filters, cursors, choices. A URL may be edited by hand, so every part may be wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pocketflow_tracing.store import RunFilter
from pocketflow_tracing.store.filters import STATUSES, parse_age

__all__ = ["BadRequestError", "cursor_of", "filters_of", "number_of", "parse_cursor"]


class BadRequestError(ValueError):
    """A part of the URL says nothing that is understood; the message is for the reader."""


def filters_of(query: Mapping[str, str], **fixed: str) -> RunFilter:
    """Return the filters that a query string names.

    Args:
        query: its parameters; empty ones count as absent.
        fixed: filters that the page itself gives.

    Raises:
        BadRequestError: one of them cannot be understood.
    """
    given = {name: value for name, value in query.items() if value} | fixed
    status = given.get("status")
    if status is not None and status not in STATUSES:
        raise BadRequestError(f"{status!r} is no status: it is one of {', '.join(STATUSES)}.")
    return RunFilter(
        flow=given.get("flow"),
        status=status,
        session=given.get("session"),
        user=given.get("user"),
        tag=given.get("tag"),
        since_ns=_moment(given.get("since")),
        until_ns=_moment(given.get("until")),
        text=given.get("text"),
    )


def number_of(query: Mapping[str, str], name: str, usual: int, most: int) -> int:
    """Return a whole number from 0 to `most` that the query string names."""
    try:
        return max(0, min(most, int(query.get(name) or usual)))
    except ValueError:
        raise BadRequestError(f"{query[name]!r} is no number for {name!r}.") from None


def cursor_of(start_ns: int, run_id: str) -> str:
    """Return the name of a place in the list of runs: what follows it is the next page."""
    return f"{start_ns}-{run_id}"


def parse_cursor(text: str | None) -> tuple[int, str] | None:
    """Return the place that a cursor names, None for the beginning.

    Raises:
        BadRequestError: it names none.
    """
    if not text:
        return None
    start, _, run_id = text.partition("-")
    if not (start.isascii() and start.isdigit() and len(start) < 20 and run_id):
        raise BadRequestError(f"{text!r} is no place in the list of runs.")
    return int(start), run_id


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_age(text, time.time_ns())
    except ValueError as error:
        raise BadRequestError(str(error)) from None
