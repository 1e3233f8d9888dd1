"""`tail`: what happens now, a line for each thing that ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import typer
from rich.text import Text

from pocketflow_tracing.records import Json
from pocketflow_tracing.store import Changes, RunRow, SpanNode, SpanRow, Store, StoreError, StoreUnusableError

from .labels import label, node_names, one_line
from .output import StoreOption, as_json, console, print_json, store_path, whole_number
from .symbols import Symbols, style_of, symbols_for
from .words import count, duration, flat

__all__ = ["Follower", "tail"]

_LOOK_EVERY_S = 0.25


def tail(
    *,
    store: StoreOption = None,
    runs: Annotated[
        int, typer.Option("--runs", "-n", parser=whole_number(0), metavar="N", help="Begin with the last runs.")
    ] = 3,
    flow: Annotated[str | None, typer.Option(help="Only runs of this flow.")] = None,
    spans: Annotated[bool, typer.Option("--spans", help="Print every span, phases and attempts too.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print what there is, and leave.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    """Follow runs live, until Ctrl-C."""
    out = console()
    path = store_path(store)
    follower = Follower(Store(path), symbols_for(out), flow, every_span=spans)
    # Waiting for the first run is what one does before starting the program: no store yet is no error.
    must_exist = once
    said_waiting = False
    try:
        while True:
            try:
                for row, line in follower.look(runs):
                    print_json({"type": _type(row), **as_json(row)}, indent=None) if json else out.print(line)
            except StoreUnusableError:
                raise
            except StoreError:
                if must_exist:
                    raise
                if not said_waiting and not path.is_file():
                    console(stderr=True).print(f"Waiting for the first run in {path} (Ctrl-C ends it).")
                    said_waiting = True
            if once:
                return
            time.sleep(_LOOK_EVERY_S)
    except KeyboardInterrupt:
        return


def _type(row: RunRow | SpanRow) -> str:
    return "run" if isinstance(row, RunRow) else "span"


class Follower:
    """Knows what was printed, and finds what is new.

    Args:
        store: to look at.
        symbols: the signs to use.
        flow: only runs of this flow, None for all.
        every_span: whether phases and attempts are printed too.
    """

    def __init__(self, store: Store, symbols: Symbols, flow: str | None = None, *, every_span: bool = False) -> None:
        self._store = store
        self._symbols = symbols
        self._flow = flow
        self._every_span = every_span
        self._revision: int | None = None
        self._names: dict[str, str] = {}  # of flows, by run
        self._graphs: dict[str, dict[str, str]] = {}
        self._params: dict[
            tuple[str, str], dict[str, Json]
        ] = {}  # of passes, by run and span: they stand on their nodes
        self._seen: set[tuple[str, str, bool]] = set()

    def look(self, runs: int = 3) -> Iterator[tuple[RunRow | SpanRow, Text]]:
        """Yield what is new since the last look, each with its line; the first look yields the last runs.

        Args:
            runs: the number of runs that the first look begins with.
        """
        if self._revision is None:
            self._revision = self._store.revision()
            for run in reversed(self._store.runs(limit=runs)):
                if self._is_new(run) and self._flow in {None, run.name}:
                    yield run, self._run_line(run)
            return
        while True:
            changes = self._store.changes(self._revision)
            yield from self._of(changes)
            if changes.revision == self._revision:
                return
            self._revision = changes.revision

    def _of(self, changes: Changes) -> Iterator[tuple[RunRow | SpanRow, Text]]:
        self._names.update((run.run_id, run.name) for run in changes.runs)
        begun = [run for run in changes.runs if run.end_ns is None]
        ended = [run for run in changes.runs if run.end_ns is not None]
        # A run's first line stands above its spans, its last one below them.
        rows: list[RunRow | SpanRow] = [*begun, *changes.spans, *ended]
        # A short run arrives whole: its beginning is said all the same.
        rows = [*(_begun(run) for run in ended if self._is_unknown(run)), *rows]
        for row in rows:
            if self._flow not in {None, self._names.get(row.run_id, "")}:
                continue
            if isinstance(row, RunRow):
                if self._is_new(row):
                    yield row, self._run_line(row)
                continue
            if params := row.attributes.get("params"):
                self._params.setdefault((row.run_id, row.parent_id or ""), params)
            if self._wanted(row) and self._is_new(row):
                yield row, self._span_line(row)

    def _wanted(self, span: SpanRow) -> bool:
        if span.end_ns is None or span.span_id == span.run_id:
            return False
        telling = span.kind in {"node", "flow", "pass", "external"} or span.attributes.get("phase") == "exec_fallback"
        return self._every_span or telling or (span.kind == "attempt" and span.status == "error")

    def _is_unknown(self, run: RunRow) -> bool:
        return not {(run.run_id, "", True), (run.run_id, "", False)} & self._seen

    def _is_new(self, row: RunRow | SpanRow) -> bool:
        # Rows may be written more than once: delivery is at least once.
        key = (row.run_id, "" if isinstance(row, RunRow) else row.span_id, row.end_ns is None)
        if key in self._seen:
            return False
        if len(self._seen) > 200_000:
            self._seen.clear()
            self._params.clear()
        self._seen.add(key)
        return True

    def _run_line(self, run: RunRow) -> Text:
        line = _clock(run.end_ns or run.start_ns, run.run_id)
        line.append_text(self._symbols.of(run.status)).append(f" {flat(run.name)}", "bold")
        if run.end_ns is None:
            return line.append(f"  {'started' if run.status == 'running' else run.status}", "dim")
        line.append(f"  {run.status}", style_of(run.status))
        line.append(f"  {duration(run.duration_ns)}")
        line.append(f"  {count(run.nodes, 'node visit')}", "dim")
        return line.append(f"  {one_line(run.error)}", "red") if run.error else line

    def _span_line(self, span: SpanRow) -> Text:
        line = _clock(span.end_ns or span.start_ns, span.run_id).append("  ")
        if span.kind in {"phase", "attempt"}:
            line.append(f"{flat(span.name.rpartition('.')[0])} ", "dim")
        if span.kind == "pass":
            params = self._params.pop((span.run_id, span.span_id), {})
            span = replace(span, attributes={**span.attributes, "params": params})
        return line.append_text(label(SpanNode(span), self._nodes_of(span.run_id), self._symbols)).append(
            f"  {duration(span.duration_ns)}", "dim"
        )

    def _nodes_of(self, run_id: str) -> dict[str, str]:
        # Changes never load graphs: a run's is read once, when a successor's name is first needed.
        if run_id not in self._graphs:
            if len(self._graphs) > 1000:
                self._graphs.clear()
            self._graphs[run_id] = node_names(self._store.run(run_id))
        return self._graphs[run_id]


def _begun(run: RunRow) -> RunRow:
    """Return a run as it was when it began."""
    return replace(run, status="running", end_ns=None, error=None)


def _clock(ns: int, run_id: str) -> Text:
    return Text.assemble((f"{datetime.fromtimestamp(ns / 1e9).astimezone():%H:%M:%S} {run_id[:8]}  ", "dim"))
