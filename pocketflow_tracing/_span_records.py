"""From spans to records, on the worker: redaction, masking and cutting happen here and nowhere else.

`span_record` and `run_record` are the only ways from captured data to a sink, so what they return is all that ever
leaves.
"""

from __future__ import annotations

from os import urandom
from typing import Any

from . import _system
from ._json import encode
from ._machine import machine
from ._media import Made
from ._values import Values, rendered_text
from .recorder import Run, Span
from .records import Json, RunRecord, SpanRecord
from .redaction import Rules
from .render import HIDDEN, render
from .render_errors import render_exception

__all__ = ["process_id", "run_record", "span_record"]

_process: tuple[int, str] | None = None


def process_id() -> str:
    """The name of this process in records: machine, pid and a random part, for pids come again."""
    global _process  # noqa: PLW0603 - one fact of the process, renewed in a forked child
    if _process is None or _process[0] != _system.pid():
        _process = (_system.pid(), f"{machine()}:{_system.pid()}:{urandom(4).hex()}")
    return _process[1]


def run_record(run: Run) -> RunRecord:
    """The record of a run, as far as it is known now."""
    root = run.root
    assert root is not None  # noqa: S101 - a run is announced by its root
    attributes = run.attributes
    return RunRecord(
        run_id=f"{root.span_id:016x}",
        trace_id=f"{run.trace_id:032x}",
        name=rendered_text(run.name, run),
        status=root.status if root.complete else "running",
        start_ns=root.start + run.offset,
        end_ns=root.end + run.offset if root.end is not None and root.complete else None,
        session_id=_optional_text(attributes.get("session_id"), run),
        user_id=_optional_text(attributes.get("user_id"), run),
        tags=[rendered_text(tag, run) for tag in attributes.get("tags", ())],
        metadata=_rendered_dict(attributes.get("metadata"), run.pipeline.rules, "metadata"),
        version=_optional_text(attributes.get("version"), run),
        environment=_optional_text(attributes.get("environment"), run),
        release=_optional_text(attributes.get("release"), run),
        graph=None if run.pipeline.sinks == (run.pipeline.langfuse,) else _graph(run),  # Langfuse draws from the spans
        error=_short_error(root.error, run, run.pipeline.rules.of_node(str(root.attributes.get("class") or ""))),
        process_id=process_id(),
        trace_name=_optional_text(attributes.get("trace_name"), run),
        is_app_root=run.is_app_root,
        experiment=_experiment(attributes.get("experiment", {}), run),
    )


def _experiment(attributes: dict[str, Any], run: Run) -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, value in attributes.items():
        if isinstance(value, dict):  # metadata, each under its name: it may be that of a secret
            shown = _rendered_dict(run.pipeline.capture.snapshot(value), run.pipeline.plain_rules, "metadata")
            texts.update(
                (f"{key}.{name}", text if isinstance(text, str) else encode(text)) for name, text in shown.items()
            )
        else:
            texts[key] = rendered_text(value, run)
    return texts


def _graph(run: Run) -> Json:
    def clean(parts: list[dict[str, str]]) -> list[Json]:
        return [
            {key: _action(value, run) if key == "action" else rendered_text(value, run) for key, value in part.items()}
            for part in parts
        ]

    return {
        "flows": [
            {
                "id": rendered_text(flow["id"], run),
                "name": rendered_text(flow["name"], run),
                "start": _optional_text(flow["start"], run),
                "nodes": clean(flow["nodes"]),
                "edges": clean(flow["edges"]),
            }
            for flow in run.graph.plain()["flows"]
        ]
    }


def span_record(span: Span, made: Made) -> SpanRecord:
    """The record of a span, as far as it is known now.

    Args:
        span: of any kind.
        made: the media of the spans that are recorded with it.
    """
    run = span.run
    root = run.root
    assert root is not None  # noqa: S101 - a run is announced by its root
    if run.ids is None:
        run.ids = f"{root.span_id:016x}", f"{run.trace_id:032x}"
    run_id, trace_id = run.ids
    parent = span.within or span.parent.span_id if span.parent is not None else run.parent_id
    ended = span.end is not None
    # a visit that has ended but whose successor is not known yet reads as running, for more will come of it
    status = span.status if span.complete or span.kind == "attempt" else "running"
    values = Values(span, made)
    return SpanRecord(
        run_id=run_id,
        trace_id=trace_id,
        span_id=f"{span.span_id:016x}",
        parent_id=f"{parent:016x}" if parent is not None else None,
        kind=span.kind,
        name=rendered_text(span.shown_name(), run),
        status=status,
        start_ns=span.start + run.offset,
        end_ns=span.end + run.offset if ended and status != "running" and span.end is not None else None,
        input=values.input(),
        output=values.output(),
        state=values.state(),
        error=_error(span, values.rules),
        attributes=_attributes(span, run, values),
        metadata=_rendered_dict(span.metadata.copy(), values.rules, "metadata") if span.metadata else {},
        scores=[_rendered_dict(score, values.rules, "score") for score in span.scores.copy()] if span.scores else [],
        media=values.settle(),
    )


def _optional_text(value: str | None, run: Run) -> str | None:
    return None if value is None else rendered_text(value, run)


def _rendered_dict(value: dict[str, Any] | None, rules: Rules, *path: str) -> dict[str, Json]:
    if not value:
        return {}
    rendered = render(value, rules, path)
    return rendered if isinstance(rendered, dict) else {"value": rendered}


def _action(value: str, run: Run) -> str:
    """An action, of a visit or of an edge that is to be told by it; a router may return any text."""
    rules = run.pipeline.rules
    if rules.mask is None:
        return rendered_text(value, run)
    shown = render(value, rules, ("action",))
    return shown if isinstance(shown, str) else encode(shown)


def _may_show(action: str, run: Run, rules: Rules) -> bool:
    """Whether an action is shown: without outputs only where it is a way on, for `post` may return an answer."""
    return rules.policy_at(("action",)) == "record" and (run.pipeline.outputs or run.graph.has_action(action))


def _attributes(span: Span, run: Run, values: Values) -> dict[str, Json]:
    rendered: dict[str, Json] = {}
    for key, value in span.attributes.copy().items():  # the run may go on, and add to them
        kind = type(value)
        if kind is str:
            if key == "action":
                rendered[key] = _action(value, run) if _may_show(value, run, values.rules) else HIDDEN
            elif key != "flow":
                rendered[key] = rendered_text(value, run)
        elif kind is int or kind is bool:
            rendered[key] = value
        elif value is not None and key != "params":
            rendered[key] = render(value, run.pipeline.plain_rules)
    if run.lost and span.parent is None:
        rendered["lost_spans"] = run.lost
    if "params" in span.attributes:
        rendered["params"] = values.at(span.attributes["params"], "params")
    return rendered


def _error(span: Span, rules: Rules) -> Json:
    if span.error is None:
        return None
    rendered = render_exception(span.error, _error_rules(span.run, span.error, rules))
    return rendered if rendered.get("traceback") else _shortened(rendered)


def _short_error(error: Any, run: Run, rules: Rules) -> Json:
    return None if error is None else _shortened(render_exception(error, _error_rules(run, error, rules)))


def _error_rules(run: Run, error: Any, rules: Rules) -> Rules:
    """The rules for an error: on spans above the one that raised it, those of any node that may have raised it."""
    if not rules.policy or error.frames:
        return rules
    for flow in run.graph.plain()["flows"]:
        for node in flow["nodes"]:
            of_node = run.pipeline.rules.of_node(node["class"])
            if of_node.policy_at(("error", "message")) != "record":
                return of_node
    return rules


def _shortened(rendered: dict[str, Json]) -> dict[str, Json]:
    return {"type": rendered["type"], "message": rendered["message"]}
