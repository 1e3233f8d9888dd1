"""`runs` and `show`: find a run, and look at it."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pocketflow_tracing.store import RunFilter, RunRow, Store

from .labels import one_line
from .output import JsonOption, StoreOption, as_json, console, print_json, store_path
from .render_tree import TreeOptions, render_run
from .symbols import symbols_for
from .words import ago, clean, duration, moment, money, parse_age

__all__ = ["runs", "show"]

STATUSES = ("running", "interrupted", "success", "recovered", "error", "cancelled")


def runs(
    store: StoreOption = None,
    flow: Annotated[str | None, typer.Option(help="Only runs of this flow.")] = None,
    status: Annotated[str | None, typer.Option(help=f"Only runs with this status: {', '.join(STATUSES)}.")] = None,
    session: Annotated[str | None, typer.Option(help="Only runs of this session.")] = None,
    user: Annotated[str | None, typer.Option(help="Only runs of this user.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    since: Annotated[str | None, typer.Option(help="Only runs since: an age (30m, 2h, 7d) or a date.")] = None,
    text: Annotated[str | None, typer.Option(help="Only runs with this in names, errors, inputs or outputs.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many runs.")] = 20,
    json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    now_ns = time.time_ns()
    if status is not None and status not in STATUSES:
        raise typer.BadParameter(f"{status!r} is none of {', '.join(STATUSES)}.", param_hint="--status")
    filters = RunFilter(flow, status, session, user, tag, parse_since(since, now_ns), None, text)
    found = Store(store_path(store)).runs(filters, limit=limit)
    out = console()
    if json:
        print_json([as_json(run) for run in found])
    elif not out.is_terminal:
        for run in found:
            out.print("\t".join(_plain_row(run)))
    elif found:
        out.print(_table(found, out, now_ns))
    else:
        out.print("No runs match." if filters != RunFilter() else "No runs yet.")


def show(
    run: Annotated[str, typer.Argument(help="The beginning of a run id or trace id, or 'last'.")] = "last",
    store: StoreOption = None,
    io: Annotated[bool, typer.Option("--io", help="Show inputs and outputs.")] = False,
    state: Annotated[bool, typer.Option("--state", help="Show what each visit changed in shared.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show every item of large batches, long values whole.")] = False,
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


def _table(found: list[RunRow], out: Console, now_ns: int) -> Table:
    symbols = symbols_for(out)
    table = Table(box=box.SIMPLE_HEAD if symbols.arrow == "→" else box.ASCII2, header_style="dim", pad_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("flow", style="bold", overflow="ellipsis", no_wrap=True, min_width=8)
    table.add_column("status", no_wrap=True)
    table.add_column("started", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("nodes", justify="right", no_wrap=True)
    # Columns that would be empty are left out: most programs have no sessions or costs.
    optional = {
        "tokens": any(run.tokens for run in found),
        "cost": any(run.cost is not None for run in found),
        "session": any(run.session_id for run in found),
        "user": any(run.user_id for run in found),
        "error": any(run.error for run in found),
    }
    for title, there in optional.items():
        if there:
            right = title in {"tokens", "cost"}
            table.add_column(title, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for run in found:
        cells = {
            "tokens": Text(f"{run.tokens:,}" if run.tokens else ""),
            "cost": Text("" if run.cost is None else money(run.cost)),
            "session": Text(clean(run.session_id or "")),
            "user": Text(clean(run.user_id or "")),
            "error": Text(one_line(run.error) if run.error else "", "red"),
        }
        table.add_row(
            Text(run.run_id[:8], "dim"),
            Text(clean(run.name)),
            Text.assemble(symbols.of(run.status), f" {run.status}"),
            Text(ago(run.start_ns, now_ns), "dim"),
            Text(duration(run.duration_ns)),
            Text(f"{run.nodes:,}"),
            *(cells[title] for title, there in optional.items() if there),
        )
    return table
