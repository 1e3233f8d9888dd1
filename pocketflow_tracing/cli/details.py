"""What hangs below a span's line on request: its input and output, its changes of shared."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.text import Text

from pocketflow_tracing.records import Json
from pocketflow_tracing.store import SpanRow

from .symbols import Symbols
from .words import clean, compact

__all__ = ["io_lines", "state_lines"]

_LINES = 12
"""Lines of one value that are shown, unless everything is asked for."""


def io_lines(span: SpanRow, symbols: Symbols, width: int, *, everything: bool) -> Iterator[Text]:
    """Yield the lines of a span's input and output.

    Args:
        span: with its payload.
        symbols: the signs to use.
        width: cells for a line; a value that does not fit stands indented below its title.
        everything: whether long values are shown whole.
    """
    for title, value in (("in ", span.input), ("out", span.output)):
        if value is not None:
            yield from _value_lines(Text(f"{title} ", "dim cyan"), value, symbols, width, everything=everything)


def state_lines(span: SpanRow, symbols: Symbols, width: int, *, everything: bool) -> Iterator[Text]:
    """Yield what a visit did to shared: `=` the first picture, `+` added, `~` changed, `-` removed."""
    state = span.state or {}
    for sign, style, values in (("=", "dim", state.get("full")), ("+", "green", state.get("added"))):
        for key, value in (values or {}).items():
            title = Text.assemble((f"{sign} ", style), (clean(key), "bold"), " ")
            yield from _value_lines(title, value, symbols, width, everything=everything)
    for key, change in (state.get("changed") or {}).items():
        title = Text.assemble(("~ ", "yellow"), (clean(key), "bold"), " ")
        old, new = compact(change.get("old")), compact(change.get("new"))
        if title.cell_len + len(old) + len(new) + 4 <= width:
            yield title + Text.assemble((old, "dim"), f" {symbols.arrow} ", new)
        else:
            yield title
            for sign, value in (("- ", change.get("old")), ("+ ", change.get("new"))):
                yield from _value_lines(Text(f"  {sign}", "dim"), value, symbols, width, everything=everything)
    for key in state.get("removed") or ():
        yield Text.assemble(("- ", "red"), (clean(key), "bold"))


def _value_lines(title: Text, value: Json, symbols: Symbols, width: int, *, everything: bool) -> Iterator[Text]:
    short = compact(value)
    if "⏎" not in short and title.cell_len + len(short) <= width:
        yield title + Text(short)
        return
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    lines = [part for line in clean(text).splitlines() for part in _wrapped(line, max(20, width - 2))]
    shown = lines if everything or len(lines) <= _LINES + 1 else lines[:_LINES]
    title.rstrip()
    yield title
    for line in shown:
        yield Text(f"  {line}")
    if len(shown) < len(lines):
        yield Text(f"  {symbols.more} {len(lines) - len(shown)} more lines (--all shows them)", "dim italic")


def _wrapped(line: str, width: int) -> list[str]:
    return [line[start : start + width] for start in range(0, len(line), width)] or [""]
