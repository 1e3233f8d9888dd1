"""What hangs below a span's line on request: its input and output, its changes of shared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rich.cells import cell_len
from rich.text import Text

from pocketflow_tracing.records import Json
from pocketflow_tracing.store import SpanRow

from .symbols import Symbols
from .values import value_lines
from .words import clean, compact, count, flat

__all__ = ["io_lines", "state_lines"]


def io_lines(span: SpanRow, symbols: Symbols, width: int, *, everything: bool) -> Iterator[Text]:
    """Yield the lines of a span's input and output, its metadata and what was said with its scores.

    Args:
        span: with its payload.
        symbols: the signs to use.
        width: cells for a line; a value that does not fit stands indented below its title.
        everything: whether long values are shown whole.
    """
    for title, value in (("in ", span.input), ("out", span.output)):
        if value is not None:
            yield from value_lines(_dim_title(title), value, symbols, width, everything=everything)
    if span.metadata:
        yield from value_lines(_dim_title("meta"), span.metadata, symbols, width, everything=everything)
    for score in span.scores:
        if score.get("comment"):
            said = clean(f"{score.get('name')}: {score['comment']}").splitlines()
            yield Text.assemble((f"{symbols.score} ", "cyan"), " ".join(said))


def state_lines(span: SpanRow, symbols: Symbols, width: int, *, everything: bool) -> Iterator[Text]:
    """Yield what a visit did to shared: `=` the first picture, `+` added, `~` changed, `-` removed."""
    state = span.state or {}
    for sign, style, values in (("=", "dim", state.get("full")), ("+", "green", state.get("added"))):
        for key, value in (values or {}).items():
            yield from value_lines(_title(sign, style, flat(key)), value, symbols, width, everything=everything)
    for key, change in (state.get("changed") or {}).items():
        for step in change.get("inside") or [{"path": [], **change}]:
            yield from _step_lines(flat(key), step, symbols, width, everything=everything)
    for key in state.get("removed") or ():
        yield _title("-", "red", flat(key))
    for key in state.get("unwatched") or ():
        yield _title(symbols.more, "dim", flat(key)) + Text("no longer watched", "dim italic")
    if "end" in state:  # the visit that took the first picture, when it ended
        ended = replace(span, state=state["end"])
        yield from state_lines(ended, symbols, width, everything=everything)


def _step_lines(key: str, step: dict[str, Json], symbols: Symbols, width: int, *, everything: bool) -> Iterator[Text]:
    """Yield one change: of a whole value, or of a place inside of it."""
    name = key + "".join(f"[{part}]" if isinstance(part, int) else f".{flat(str(part))}" for part in step["path"])
    if "at" in step:
        name += f"[{step['at']}:]"
        if step.get("removed"):
            yield _title("-", "red", name) + Text(count(step["removed"], "place"), "dim")
        if step.get("added"):
            yield from value_lines(_title("+", "green", name), step["added"], symbols, width, everything=everything)
    elif step.get("removed") is True:
        yield _title("-", "red", name)
    elif "added" in step:
        yield from value_lines(_title("+", "green", name), step["added"], symbols, width, everything=everything)
    else:
        title, old, new = _title("~", "yellow", name), compact(step.get("old")), compact(step.get("new"))
        if title.cell_len + cell_len(old) + cell_len(new) + 4 <= width:
            yield Text.assemble(title, (old, "dim"), f" {symbols.arrow} ", new)
            return
        yield title
        for sign, value in ((" -", step.get("old")), (" +", step.get("new"))):
            yield from value_lines(_dim_title(sign), value, symbols, width, everything=everything)


def _dim_title(title: str) -> Text:
    # as a span of the text, not as its base style: what is added to it must not be dim
    return Text.assemble((f"{title} ", "dim cyan"))


def _title(sign: str, style: str, name: str) -> Text:
    return Text.assemble((f"{sign} ", style), (name, "bold"), " ")
