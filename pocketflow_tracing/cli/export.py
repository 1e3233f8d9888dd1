"""`export`: a run as JSON, for other programs and for issues."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from pocketflow_tracing.store import RunRow, SpanRow, Store

from .output import StoreOption, as_json, console, store_path
from .words import count

__all__ = ["export"]


def export(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", show_default=False, help="The beginning of a run id or trace id; default: the last run."
        ),
    ] = "last",
    store: StoreOption = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One line a span instead of one document.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", help="Write the run's page as one file that opens in any browser, offline; - for stdout."
        ),
    ] = None,
) -> None:
    """Print a run with all its spans as JSON: {"run": …, "spans": […]}."""
    source = Store(store_path(store))
    found = source.run(run)
    spans = source.spans(found.run_id)
    if html is not None:
        from pocketflow_tracing.viewer.export import export_html  # noqa: PLC0415 - only this option needs it

        page = export_html(found, spans)
        if str(html) == "-":
            sys.stdout.buffer.write(page.encode("utf-8"))
            return
        html.write_text(page, encoding="utf-8")
        console(stderr=True).print(f"Wrote the page of run {found.run_id} to {html}.")
        return
    lines = _jsonl(spans) if jsonl else iter([_document(found, spans)])
    if output is None:
        for line in lines:
            typer.echo(line)
        return
    with output.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    console(stderr=True).print(f"Wrote {count(len(spans), 'span')} of run {found.run_id} to {output}.")


def _document(run: RunRow, spans: list[SpanRow]) -> str:
    return _dumped({"run": as_json(run), "spans": [as_json(span) for span in spans]}, indent=2)


def _jsonl(spans: list[SpanRow]) -> Iterator[str]:
    return (_dumped(as_json(span)) for span in spans)


def _dumped(value: Any, indent: int | None = None) -> str:
    # ASCII: the file means the same whatever encoding a terminal or a mail program believes in.
    return json.dumps(value, indent=indent)
