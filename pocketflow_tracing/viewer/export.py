"""A run as one HTML file that opens offline and can be attached to an issue."""

from __future__ import annotations

from typing import Any

from pocketflow_tracing._version import __version__
from pocketflow_tracing.store import RunRow, SpanRow

from .layout import lay_out
from .shape import COLUMNS, run_json, span_json, span_rows
from .shell import self_contained
from .states import states_json

__all__ = ["export_html"]


def export_html(run: RunRow, spans: list[SpanRow]) -> str:
    """Return the page of a run with everything in it.

    Args:
        run: with its graph.
        spans: of the run, sorted by start, with payload.
    """
    written = sorted((span for span in spans if span.state), key=lambda span: span.state.get("seq", 0))
    data: dict[str, Any] = {
        "version": __version__,
        "run": run.run_id,
        "answer": {
            "run": run_json(run),
            "columns": COLUMNS,
            "spans": span_rows(run, spans),
            "graph": lay_out(run.graph),
        },
        "details": {span.span_id: span_json(run.start_ns, span) for span in spans},
        "states": states_json([(span.span_id, span.state) for span in written], whole=True),
    }
    return self_contained(f"{run.name} · {run.status}", data)
