"""From spans to records, on the worker: redaction, masking and cutting happen here and nowhere else.

`span_record` and `run_record` are the only ways from captured data to a sink, so what they return is all that ever leaves.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from ._ids import source
from .recorder import Run, Span
from .records import Json, RunRecord, SpanRecord
from .render import render, render_exception

__all__ = ["process_id", "run_record", "span_record"]

_MOST_NAMES, _LONGEST_NAME = 5_000, 300
_PLAIN = 1 << 53
_process: tuple[int, str] | None = None


def process_id() -> str:
    """The name of this process in records: host, pid and a random part, for pids come again."""
    global _process  # noqa: PLW0603 - one fact of the process, renewed in a forked child
    if _process is None or _process[0] != os.getpid():
        _process = (os.getpid(), f"{socket.gethostname()}:{os.getpid()}:{source.bits(32):08x}")
    return _process[1]


def run_record(run: Run) -> RunRecord:
    """The record of a run, as far as it is known now."""
    root = run.root
    assert root is not None  # noqa: S101 - a run is announced by its root
    attributes = run.attributes
    return RunRecord(
        run_id=f"{root.span_id:016x}",
        trace_id=f"{run.trace_id:032x}",
        name=_text(run.name, run),
        status=root.status if root.done else "running",
        start_ns=root.start + run.offset,
        end_ns=root.end + run.offset if root.end is not None and root.done else None,
        session_id=_optional_text(attributes.get("session_id"), run),
        user_id=_optional_text(attributes.get("user_id"), run),
        tags=[_text(tag, run) for tag in attributes.get("tags", ())],
        metadata=_rendered_dict(attributes.get("metadata"), run, "metadata"),
        version=_optional_text(attributes.get("version"), run),
        environment=_optional_text(attributes.get("environment"), run),
        release=_optional_text(attributes.get("release"), run),
        graph=render(run.graph.plain(), run.pipeline.plain_rules),
        error=_error(root, traceback=False),
        process_id=process_id(),
        trace_name=_optional_text(attributes.get("trace_name"), run),
        is_app_root=run.is_app_root,
    )


def span_record(span: Span) -> SpanRecord:
    """The record of a span, as far as it is known now."""
    run = span.run
    root = run.root
    assert root is not None  # noqa: S101 - a run is announced by its root
    parent = span.parent.span_id if span.parent is not None else run.parent_id
    ended = span.end is not None
    # a visit that has ended but whose successor is not known yet reads as running, for more will come of it
    status = span.status if span.done or span.kind == "attempt" else "running"
    return SpanRecord(
        run_id=f"{root.span_id:016x}",
        trace_id=f"{run.trace_id:032x}",
        span_id=f"{span.span_id:016x}",
        parent_id=f"{parent:016x}" if parent is not None else None,
        kind=span.kind,
        name=_text(span.name, run),
        status=status,
        start_ns=span.start + run.offset,
        end_ns=span.end + run.offset if ended and status != "running" and span.end is not None else None,
        input=_rendered(span.input, run, "input"),
        output=_rendered(span.output, run, "output"),
        state=_state(span.state, run),
        error=_error(span, traceback=True),
        attributes=_attributes(span, run),
        metadata=_rendered_dict(span.metadata, run, "metadata"),
        scores=[_rendered_dict(score, run, "score") for score in span.scores or ()],
    )


def _text(value: str, run: Run) -> str:
    known = run.pipeline.names.get(value)
    if known is None:
        rendered = render(value, run.pipeline.plain_rules)
        known = rendered if isinstance(rendered, str) else str(rendered)
        if len(run.pipeline.names) < _MOST_NAMES and len(value) < _LONGEST_NAME:
            run.pipeline.names[value] = known  # names of nodes, phases and actions come again with every visit
    return known


def _optional_text(value: str | None, run: Run) -> str | None:
    return None if value is None else _text(value, run)


def _rendered(value: Any, run: Run, *path: str) -> Json:
    if value is None:
        return None
    rules = run.pipeline.rules
    if (type(value) is bool or (type(value) is int and -_PLAIN < value < _PLAIN)) and rules.mask is None and not rules.policy:
        return value  # nothing to cut, redact or mask
    return render(value, rules, path)


def _rendered_dict(value: dict[str, Any] | None, run: Run, *path: str) -> dict[str, Json]:
    if not value:
        return {}
    rendered = render(value, run.pipeline.rules, path)
    return rendered if isinstance(rendered, dict) else {"value": rendered}


def _attributes(span: Span, run: Run) -> dict[str, Json]:
    plain = {
        key: value for key, value in span.attributes.items() if value is not None and key not in {"params", "flow"}
    }
    rendered = render(plain, run.pipeline.plain_rules)
    assert isinstance(rendered, dict)  # noqa: S101 - a dict renders as a dict
    if span is run.root and run.lost:
        rendered["lost_spans"] = run.lost
    if "params" in span.attributes:
        rendered["params"] = _rendered(span.attributes["params"], run, "params")
    return rendered


def _state(state: dict[str, Any] | None, run: Run) -> Json:
    if state is None:
        return None
    rules = run.pipeline.rules
    made: dict[str, Json] = {"seq": state["seq"]}
    for kind in ("full", "added"):
        if kind in state:
            made[kind] = render(state[kind], rules, ("shared",))
    if "changed" in state:
        old = render({key: pair[0] for key, pair in state["changed"].items()}, rules, ("shared",))
        new = render({key: pair[1] for key, pair in state["changed"].items()}, rules, ("shared",))
        made["changed"] = {key: {"old": old.get(key), "new": value} for key, value in new.items()}
    for kind in ("removed", "unwatched"):
        if kind in state:
            made[kind] = [_text(key, run) for key in state[kind]]
    return made


def _error(span: Span, *, traceback: bool) -> Json:
    if span.error is None:
        return None
    rendered = render_exception(span.error, span.run.pipeline.rules)
    if not traceback or not rendered.get("traceback"):
        rendered = {"type": rendered["type"], "message": rendered["message"]}
    return rendered
