"""A recorded value as lines: on one line what fits, JSON with short inner values on one line where it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.cells import cell_len, chop_cells
from rich.text import Text

from pocketflow_tracing.records import Json

from .symbols import Symbols
from .words import clean, compact

__all__ = ["value_lines"]

_LINES = 12
"""Lines of a value, and of each key of a dict, unless everything is asked for."""
_SLACK = 3
"""So many lines are rather shown than replaced by a line that says that they are hidden."""
_KEYS = 20
_LEAST_CELLS = 20


def value_lines(title: Text, value: Json, symbols: Symbols, width: int, *, everything: bool) -> Iterator[Text]:
    """Yield a value's title and the value: beside it where that fits, else indented below it.

    Args:
        title: with a blank at its end.
        value: JSON-ready.
        symbols: the signs to use.
        width: cells for a line.
        everything: whether long values are shown whole.
    """
    short = compact(value)
    if "⏎" not in short and title.cell_len + cell_len(short) <= width:
        yield Text.assemble(title, short)
        return
    title = title.copy()
    title.rstrip()
    yield title
    room = max(_LEAST_CELLS, width - 2)
    if isinstance(value, str):
        parts = [_chopped(clean(value).splitlines(), room)]
    elif isinstance(value, dict) and value:
        parts = _keys(value, room)
    else:
        parts = [_chopped(_pretty(value, room), room)]
    shown = parts if everything or len(parts) <= _KEYS + _SLACK else parts[:_KEYS]
    for lines in shown:
        yield from _cut(lines, symbols, everything=everything)
    if len(shown) < len(parts):
        yield _hidden(len(parts) - len(shown), "keys", symbols)


def _keys(value: dict[str, Json], room: int) -> list[list[str]]:
    """Return the lines of each key; the braces stand on the first and the last one."""
    parts = []
    for index, (key, inner) in enumerate(value.items()):
        lines = _entry(f"{json.dumps(key, ensure_ascii=False)}: ", inner, room - 2)
        lines[-1] += "," if index < len(value) - 1 else "}"
        parts.append(_chopped([f"{' ' if at or index else '{'}{line}" for at, line in enumerate(lines)], room))
    return parts


def _cut(lines: list[str], symbols: Symbols, *, everything: bool) -> Iterator[Text]:
    shown = lines if everything or len(lines) <= _LINES + _SLACK else lines[:_LINES]
    for line in shown:
        yield Text(f"  {line}")
    if len(shown) < len(lines):
        yield _hidden(len(lines) - len(shown), "lines", symbols)


def _hidden(number: int, what: str, symbols: Symbols) -> Text:
    return Text(f"  {symbols.more} {number:,} more {what} (--all shows them)", "dim italic")


def _pretty(value: Json, room: int) -> list[str]:
    flat = clean(json.dumps(value, ensure_ascii=False))
    return [flat] if cell_len(flat) <= room else _opened(value, room)


def _opened(value: Json, room: int) -> list[str]:
    """Return a list or dict on several lines, anything else on one."""
    if not isinstance(value, (dict, list)) or not value:
        return [clean(json.dumps(value, ensure_ascii=False))]
    if isinstance(value, dict):
        entries = [_entry(f"{json.dumps(key, ensure_ascii=False)}: ", inner, room - 2) for key, inner in value.items()]
        opening, closing = "{}"
    else:
        entries = [_pretty(inner, room - 2) for inner in value]
        opening, closing = "[]"
    for entry in entries[:-1]:
        entry[-1] += ","
    # numbers and other short things stand beside each other, as many as fit
    packed = _packed(entries, room - 2) if isinstance(value, list) else [line for entry in entries for line in entry]
    return [opening, *(f"  {line}" for line in packed), closing]


def _entry(key: str, value: Json, room: int) -> list[str]:
    first = clean(json.dumps(value, ensure_ascii=False))
    if cell_len(key) + cell_len(first) <= room:
        return [key + first]
    first, *rest = _opened(value, room)
    return [clean(key) + first, *rest]


def _packed(entries: list[list[str]], room: int) -> list[str]:
    lines: list[str] = []
    open_line = False
    for entry in entries:
        beside = open_line and len(entry) == 1 and cell_len(lines[-1]) + 1 + cell_len(entry[0]) <= room
        if beside:
            lines[-1] += f" {entry[0]}"
        else:
            lines += entry
        open_line = len(entry) == 1 and not entry[0].startswith(("{", "["))
    return lines


def _chopped(lines: list[str], room: int) -> list[str]:
    return [part for line in lines for part in chop_cells(line, room) or [""]]
