"""The picture of a run in the terminal: its tree, with durations in a column and a bar for when each span ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.text import Text

from pocketflow_tracing.store import RunRow, SpanNode, SpanRow, build_tree

from .details import io_lines, state_lines
from .frames import frame_lines
from .labels import error_text, label, node_names, one_line
from .symbols import Symbols, style_of, symbols_for
from .words import count, duration, flat, moment, money

__all__ = ["TreeOptions", "render_run"]

_DURATION_CELLS = 9
_PIPE_CELLS = 90
"""Where durations stand in a pipe: longer lines are not cut, they push theirs to the right."""
_FIRST, _LAST = 5, 2
_MANY_ITEMS = 12
_MANY_NODES = 60


@dataclass(frozen=True)
class TreeOptions:
    """What a picture shows.

    Args:
        io: inputs and outputs.
        state: changes of shared.
        everything: every item of large batches, long values whole.
    """

    io: bool = False
    state: bool = False
    everything: bool = False


@dataclass
class _Line:
    text: Text
    span: SpanRow | None = None


def render_run(run: RunRow, spans: Sequence[SpanRow], console: Console, options: TreeOptions | None = None) -> Group:
    """Return the picture of a run: a heading, an empty line, the tree.

    Args:
        run: with its graph.
        spans: of the run, in any order; with payload where the options ask for it.
        console: that it is made for: its width, its characters, whether it is a terminal.
        options: what to show.
    """
    symbols = symbols_for(console)
    root = build_tree(run, spans)
    lines = list(_lines(root, node_names(run), symbols, console, options or TreeOptions()))
    return Group(*_heading(run, spans, symbols), Text(), *_laid_out(run, spans, lines, symbols, console))


def _heading(run: RunRow, spans: Sequence[SpanRow], symbols: Symbols) -> Iterator[Text]:
    first = Text.assemble(
        symbols.of(run.status), " ", (flat(run.name), "bold"), "  ", (run.status, style_of(run.status))
    )
    if run.duration_ns is not None:
        first.append(f"{symbols.dot}{duration(run.duration_ns)}")
    yield first.append(f"{symbols.dot}{moment(run.start_ns)}", "dim")
    facts = [count(run.nodes, "node visit")]
    facts += [count(run.attempts, "attempt")] if run.attempts else []
    facts += [count(run.tokens, "token")] if run.tokens else []
    facts += [money(run.cost)] if run.cost is not None else []
    facts += [f"session {run.session_id}"] if run.session_id else []
    facts += [f"user {run.user_id}"] if run.user_id else []
    facts += [f"version {run.version}"] if run.version else []
    facts += [f"#{tag}" for tag in run.tags]
    yield Text(f"  {flat(symbols.dot.join(facts))}", "dim")
    yield Text(f"  run {run.run_id}{symbols.dot}trace {run.trace_id}", "dim")
    if run.error:
        yield Text(f"  {one_line(run.error)}", "red")
    if run.status == "interrupted":
        yield Text(f"  The process that recorded it ended{_was_running(spans)}.", style_of("interrupted"))
    lost = next((span.attributes.get("lost_spans") for span in spans if span.span_id == run.run_id), None)
    if type(lost) is int:
        missing = f"{count(lost, 'span')}, and what was in them"
        yield Text(f"  Parts of it are missing ({missing}): more was recorded than could be delivered.", "yellow")


def _was_running(spans: Sequence[SpanRow]) -> str:
    open_spans = [span for span in spans if span.status == "interrupted" and span.kind != "flow"]
    return f" while {flat(max(open_spans, key=lambda span: span.start_ns).name)} was running" if open_spans else ""


def _lines(
    root: SpanNode, names: dict[str, str], symbols: Symbols, console: Console, options: TreeOptions
) -> Iterator[_Line]:
    # Each entry: the guides before the line, those before what hangs below it, and the span or a finished text.
    pending: list[tuple[str, str, SpanNode | Text]] = [("", "", root)]
    while pending:
        lead, below, entry = pending.pop()
        if isinstance(entry, Text):
            yield _Line(Text.assemble((lead, "dim"), entry))
            continue
        yield _Line(Text.assemble((lead, "dim"), label(entry, names, symbols)), entry.span)
        children = list(_children(entry, symbols, everything=options.everything))
        guide = below + (symbols.through if children else symbols.blank)
        for detail in _details(entry, symbols, _width(console) - len(guide), options):
            yield _Line(Text.assemble((guide, "dim"), detail))
        for index, child in reversed(list(enumerate(children))):
            is_last = index == len(children) - 1
            here = symbols.last if is_last else symbols.branch
            pending.append((below + here, below + (symbols.blank if is_last else symbols.through), child))


def _details(node: SpanNode, symbols: Symbols, width: int, options: TreeOptions) -> Iterator[Text]:
    span = node.span
    if error_text(node) is not None:
        yield from frame_lines(span.error, everything=options.io)
    if options.io:
        yield from io_lines(span, symbols, width, everything=options.everything)
    if options.state:
        yield from state_lines(span, symbols, width, everything=options.everything)


def _children(node: SpanNode, symbols: Symbols, *, everything: bool) -> Iterator[SpanNode | Text]:
    """Yield the children to show: of very many, the first, the last and those that failed."""
    children = [child for child in _side_by_side(node.children) if everything or not _only_raises_again(child)]
    items = [child for child in children if "item" in child.span.attributes or child.span.kind == "pass"]
    many, what = (_MANY_ITEMS, "item") if len(items) > len(children) / 2 else (_MANY_NODES, "span")
    if everything or len(children) <= many:
        yield from children
        return
    failed = {id(child) for child in children if child.span.status not in {"success", "recovered"}}
    kept = {id(child) for child in (*children[:_FIRST], *children[-_LAST:])}
    kept |= {id(child) for child in [child for child in children if id(child) in failed][:10]}
    hidden: list[SpanNode] = []
    for child in children:
        if id(child) not in kept:
            hidden.append(child)
            continue
        if hidden:
            yield _more(hidden, what, symbols)
            hidden = []
        yield child


def _side_by_side(children: list[SpanNode]) -> list[SpanNode]:
    """Return the attempts at one item beside each other: parallel ones come in any order."""
    places: dict[object, int] = {}
    for index, child in enumerate(children):
        if child.span.kind == "attempt" and "item" in child.span.attributes:
            places.setdefault(child.span.attributes["item"], index)
    order = [
        places.get(child.span.attributes.get("item"), index) if child.span.kind == "attempt" else index
        for index, child in enumerate(children)
    ]
    return [child for _, child in sorted(zip(order, children, strict=True), key=lambda pair: pair[0])]


def _only_raises_again(node: SpanNode) -> bool:
    """Whether this is a fallback that raised the same error again, as PocketFlow's own does: no line of its own."""
    span = node.span
    return (
        span.attributes.get("phase") == "exec_fallback"
        and span.status == "error"
        and isinstance(span.error, dict)
        and "traceback" not in span.error  # it stands where the error happened first
        and not (node.children or span.scores or span.metadata)
    )


def _more(hidden: list[SpanNode], what: str, symbols: Symbols) -> Text:
    statuses = [child.span.status for child in hidden]
    others = [f"{statuses.count(status)} {status}" for status in ("recovered", "error") if status in statuses]
    took = [child.span.duration_ns for child in hidden if child.span.duration_ns is not None]
    facts = [f"{symbols.more} {count(len(hidden), f'more {what}')}", *others]
    facts += [f"{duration(sum(took) // len(took))} each"] if took else []
    return Text(symbols.dot.join(facts), "dim italic")


def _laid_out(
    run: RunRow, spans: Sequence[SpanRow], lines: list[_Line], symbols: Symbols, console: Console
) -> Iterator[Text]:
    width = _width(console)
    longest = max((line.text.cell_len for line in lines if line.span), default=0)
    # The tree comes first; bars take what it leaves, and stay away where that is too little to tell anything.
    bars = min(32, width - min(longest, 72) - _DURATION_CELLS - 4) if console.is_terminal else 0
    bars = bars if bars >= 12 else 0
    room = width - _DURATION_CELLS - 2 - (bars + 2 if bars else 0)
    column = min(longest, room if console.is_terminal else _PIPE_CELLS)
    end_ns = max([run.end_ns or 0, *(span.end_ns or span.start_ns for span in spans), run.start_ns + 1])
    for line in lines:
        if line.span is None:
            line.text.truncate(width, overflow="ellipsis")
            line.text.rstrip()
            yield line.text
            continue
        if console.is_terminal:
            line.text.truncate(column, overflow="ellipsis")
        line.text.pad_right(max(0, column - line.text.cell_len))
        line.text.append(f"  {duration(line.span.duration_ns):>{_DURATION_CELLS}}", _duration_style(line.span))
        if bars:
            line.text.append_text(_bar(line.span, run.start_ns, end_ns, bars, symbols))
        line.text.rstrip()
        yield line.text


def _bar(span: SpanRow, start_ns: int, end_ns: int, cells: int, symbols: Symbols) -> Text:
    scale = cells / (end_ns - start_ns)
    first = min(cells - 1, max(0, int((span.start_ns - start_ns) * scale)))
    until = end_ns if span.end_ns is None else span.end_ns
    length = min(cells - first, round((until - span.start_ns) * scale))
    style = "dim" if span.kind in {"phase", "attempt"} and span.status == "success" else style_of(span.status)
    return Text(f"  {' ' * first}").append(symbols.bar * length if length > 0 else symbols.tick, style)


def _duration_style(span: SpanRow) -> str:
    return "" if span.kind in {"flow", "node", "pass", "function"} else "dim"


def _width(console: Console) -> int:
    # In a pipe nothing is cut: lines are as long as they are.
    return console.width if console.is_terminal else 100_000
