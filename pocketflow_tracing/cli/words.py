"""Times, sizes and counts as people read them."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING

from pocketflow_tracing.records import Json

if TYPE_CHECKING:
    from pocketflow_tracing.config import TracingConfig

__all__ = ["ago", "clean", "clean_json", "compact", "count", "duration", "flat", "lacking", "moment", "money", "size"]

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def duration(ns: int | None) -> str:
    """Return a duration: "<0.1 ms", "0.4 ms", "310 ms", "1.24 s", "2 m 03 s", "1 h 02 m"; "" for none."""
    if ns is None:
        return ""
    ms = ns / 1e6
    if ms < 0.05:
        return "<0.1 ms"
    if ms < 9.95:
        return f"{ms:.1f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} m"


def moment(ns: int) -> str:
    """Return a wall clock time in the local time zone, to the second."""
    return datetime.fromtimestamp(ns / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ago(ns: int, now_ns: int) -> str:
    """Return how long ago it was, the date after a week."""
    seconds = (now_ns - ns) / 1e9
    if seconds < 0 or seconds >= 7 * 86_400:
        return moment(ns)[:16]
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h"), (7 * 86_400, 86_400, "days")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit} ago"
    return moment(ns)[:16]


def count(number: int, one: str, many: str | None = None) -> str:
    """Return "1 node", "1,000 nodes"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def money(cost: float) -> str:
    """Return a cost with at least two digits that mean something."""
    if cost == 0 or cost >= 0.995:
        return f"${cost:,.2f}"
    digits = next((digits for digits in range(2, 9) if round(cost, digits) >= 10 ** (1 - digits)), 9)
    return f"${cost:.{digits}f}"


def size(number: float) -> str:
    """Return a number of bytes."""
    if number < 1000:
        return f"{number:.0f} B"
    for unit in ("kB", "MB"):
        number /= 1000
        if number < 999.5:
            return f"{number:.1f} {unit}"
    return f"{number / 1000:.1f} GB"


def compact(value: Json) -> str:
    """Return a value on one line; a text stands without quotes."""
    return flat(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def clean(text: str) -> str:
    """Return text that cannot steer the terminal: control characters stand as escapes, line breaks and tabs stay."""
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def clean_json(encoded: str) -> str:
    """Return the same of a JSON text, which stays one."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded)


def flat(text: str) -> str:
    """Return the same on one line: a name with a line break in it forges no line."""
    return clean(text).replace("\n", "⏎")


def lacking(config: TracingConfig) -> str:
    """Return what is not there where nothing can be sent to Langfuse: "there …"."""
    has_keys = config.langfuse_public_key and config.langfuse_secret_key
    return "is no usable address" if has_keys else "are no usable keys"
