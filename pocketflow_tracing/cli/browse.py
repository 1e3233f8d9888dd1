"""`runs` and `show`: find a run, and look at it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pocketflow_tracing._command import command
from pocketflow_tracing.store import RunFilter, RunRow, Store
from pocketflow_tracing.store.filters import STATUSES, parse_age

from .labels import one_line
from .output import JsonOption, StoreOption, as_json, console, print_json, store_path, whole_number
from .render_tree import TreeOptions, render_run
from .symbols import symbols_for
from .words import ago, clean, count, duration, flat, moment, money

__all__ = ["runs", "show"]

_PLAIN_COLUMNS = [
    "run",
    "status",
    "flow",
    "started",
    "took",
    "nodes",
    "attempts",
    "tokens",
    "cost",
    "session",
    "user",
    "error",
]


def runs(
    *,
    store: StoreOption = None,
    flow: Annotated[str | None, typer.Option(help="Only runs of this flow.")] = None,
    status: Annotated[str | None, typer.Option(help=f"Only runs with this status: {', '.join(STATUSES)}.")] = None,
    session: Annotated[str | None, typer.Option(help="Only runs of this session.")] = None,
    user: Annotated[str | None, typer.Option(help="Only runs of this user.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    since: Annotated[str | None, typer.Option(help="Only runs since: an age (30m, 2h, 7d) or a date.")] = None,
    text: Annotated[str | None, typer.Option(help="Only runs with this in names, errors, inputs or outputs.")] = None,
    limit: Annotated[int, typer.Option(parser=whole_number(1), metavar="N", help="How many runs.")] = 20,
    json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    now_ns = time.time_ns()
    if status is not None and status not in STATUSES:
        raise typer.BadParameter(f"{status!r} is none of {', '.join(STATUSES)}.", param_hint="--status")
    filters = RunFilter(flow, status, session, user, tag, parse_since(since, now_ns), None, text)
    source = Store(store_path(store))
    found = source.runs(filters, limit=limit)
    waiting = "" if found or filters != RunFilter() else _waiting(source)
    out = console()
    if json:
        print_json([as_json(run) for run in found])
    elif not out.is_terminal:
        typer.echo("\t".join(_PLAIN_COLUMNS))
        for run in found:
            typer.echo("\t".join(_plain_row(run)))  # rich would make spaces of the tabs
        if waiting:
            console(stderr=True).print(waiting)
    elif found:
        for line in _listing(found, out, now_ns):
            out.print(line)
    else:
        out.print("No runs match." if filters != RunFilter() else waiting or "No runs yet.")


def show(
    *,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", show_default=False, help="The beginning of a run id or trace id; default: the last run."
        ),
    ] = "last",
    store: StoreOption = None,
    io: Annotated[bool, typer.Option("--io", help="Show inputs and outputs.")] = False,
    state: Annotated[bool, typer.Option("--state", help="Show what each visit changed in shared.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every item of large batches, long values whole.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show a run as a tree: durations, decisions, attempts, errors."""
    source = Store(store_path(store))
    found = source.run(run)
    spans = source.spans(found.run_id, payload=io or state or json)
    if json:
        print_json({"run": as_json(found), "spans": [as_json(span) for span in spans]})
        return
    out = console()
    out.print(render_run(found, spans, out, TreeOptions(io, state, everything)))


def _waiting(source: Store) -> str:
    """Return a sentence where a store holds only what waits for Langfuse, else ""."""
    spans = source.outbox().waiting_spans
    if not spans:
        return ""
    waits = count(spans, "span waits", "spans wait")
    kept = "set POCKETFLOW_TRACE_STORE to a path to have runs here as well"
    return f"No runs here. {waits} for Langfuse: `{command()} sync` sends them; {kept}."


def parse_since(since: str | None, now_ns: int, option: str = "--since") -> int | None:
    """Return the wall clock that an option means, in ns; a wrong one ends the command with a sentence."""
    try:
        return None if since is None else parse_age(since, now_ns)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _plain_row(run: RunRow) -> list[str]:
    # For cut and awk: every column always there, ids whole, times exact; one line a run whatever the texts hold.
    row = [run.run_id, run.status, run.name, moment(run.start_ns), duration(run.duration_ns), str(run.nodes)]
    row += [str(run.attempts), str(run.tokens), "" if run.cost is None else str(run.cost)]
    row += [run.session_id or "", run.user_id or "", one_line(run.error) if run.error else ""]
    return [clean(cell).replace("\t", " ").replace("\n", " ") for cell in row]


def _listing(found: list[RunRow], out: Console, now_ns: int) -> Iterator[Text]:
    symbols = symbols_for(out)
    columns = [
        _column("run", [Text(run.run_id[:8], "dim") for run in found]),
        _column("flow", [Text(flat(run.name), "bold") for run in found], most=32),
        _column("status", [symbols.of(run.status).append(f" {run.status}") for run in found]),
        _column("started", [Text(ago(run.start_ns, now_ns), "dim") for run in found]),
        _column("took", [Text(duration(run.duration_ns)) for run in found], right=True),
        _column("nodes", [Text(f"{run.nodes:,}") for run in found], right=True),
    ]
    # Most programs have no sessions or costs: columns that would be empty are left out, and those that find no room.
    optional = [
        _column("tokens", [Text(f"{run.tokens:,}" if run.tokens else "") for run in found], right=True),
        _column("cost", [Text("" if run.cost is None else money(run.cost)) for run in found], right=True),
        _column("session", [Text(flat(run.session_id or "")) for run in found], most=16),
        _column("user", [Text(flat(run.user_id or "")) for run in found], most=16),
    ]
    room = out.width - sum(column[0].cell_len + 2 for column in columns)
    errors = [Text(one_line(run.error) if run.error else "", "red") for run in found]
    if any(errors):
        room -= 24  # an error is worth more than what follows
    for column in optional:
        if any(cell.plain.strip() for cell in column[1:]) and column[0].cell_len + 2 <= room:
            columns.append(column)
            room -= column[0].cell_len + 2
    if any(errors) and room + 24 >= 12:
        columns.append(_column("error", errors, most=room + 24))
    for row in zip(*columns, strict=True):
        line = Text("  ").join(row)
        line.rstrip()
        yield line


def _column(title: str, cells: list[Text], *, most: int = 1000, right: bool = False) -> list[Text]:
    """Return the title and the cells, all of one width."""
    column = [Text(title, "dim italic"), *cells]
    width = min(most, max(cell.cell_len for cell in column))
    for cell in column:
        cell.truncate(width, overflow="ellipsis")
        missing = width - cell.cell_len
        cell.pad_left(missing) if right else cell.pad_right(missing)
    return column
