"""The plain data between recording and every sink: what is known of a run and of each of its spans.

Records are made on the worker, after redaction and cutting: whatever stands in them is JSON-ready, bounded and free of
masked values. They import nothing, so that the store and the command line can use them without the recording half.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Json", "Kind", "RunRecord", "SpanRecord", "Status"]

Json = Any
"""A value that `json.dumps` takes as it is: None, bool, int, float, str, list and dict with str keys."""

Kind = Literal["flow", "pass", "node", "phase", "attempt", "function", "external"]
"""flow: a flow's visit; pass: one parameter set of a batch flow; node: a node's visit; phase: prep, post, exec_fallback or
the exec of a whole batch; attempt: one call of exec; function: a decorated function around flows; external: a span of
another OpenTelemetry instrumentation (an LLM generation) that belongs to the run."""

Status = Literal["running", "success", "recovered", "error", "cancelled"]
"""recovered: a retry or the fallback saved it; cancelled: CancelledError, KeyboardInterrupt, SystemExit … left it."""


@dataclass(slots=True)
class RunRecord:
    """One run: everything below one root span.

    Args:
        run_id: span id of the root, 16 hex digits.
        trace_id: 32 hex digits; several runs share it when they ran inside one surrounding OpenTelemetry span.
        name: the flow's name.
        status: "running" until the root has ended.
        start_ns: wall clock, ns since the epoch.
        end_ns: the same, None while it runs.
        graph: {"flows": [{"id", "name", "start", "nodes": [{"id", "name", "kind", "class"}],
            "edges": [{"from", "action", "to"}]}]}.
            Node ids are unique in the run; a nested flow is a node whose id is also a flow's id.
        error: {"type", "message"} of what ended the run, if something did.
        process_id: names the process that records it: "machine:pid:random".
        trace_name: of the whole trace, where the surrounding code says another one than the flow's.
        is_app_root: False inside a span that Langfuse shows as the root of the trace already.
        experiment: of the Langfuse SDK's around the run, as the attributes that each of its spans carries.
    """

    run_id: str
    trace_id: str
    name: str
    status: Status
    start_ns: int
    end_ns: int | None = None
    session_id: str | None = None
    user_id: str | None = None
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Json] = field(default_factory=dict)
    version: str | None = None
    environment: str | None = None
    release: str | None = None
    graph: Json = None
    error: Json = None
    process_id: str = ""
    trace_name: str | None = None
    is_app_root: bool = True
    experiment: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class SpanRecord:
    """One span of a run.

    Args:
        span_id: 16 hex digits.
        parent_id: the span above; for the root, the surrounding foreign span or None.
        run_id: span id of the run's root.
        start_ns: wall clock, ns since the epoch.
        end_ns: the same, None while it runs.
        input: what went in; None where there is nothing or it is switched off.
        output: what came out.
        state: what the visit did to `shared`: {"seq": order within the run, "full": {…}} for the first picture, else
            {"seq", "added": {key: value}, "changed": {key: change}, "removed": [key], "unwatched": [key], "shown": {key: value}},
            each left out when empty. A change is {"old", "new"}, or {"inside": [step, …]} where it is smaller to say what
            changed in a dict, list or long text (the forms stand in `_changes`); unwatched keys still exist, but are no
            longer among those that are watched; shown values are as they were, and recorded anew: with fewer elements, or
            watched again. "of" (absent: 0) tells the pictures of several shared dicts in one run apart; the visit that took
            a first picture and changed it by itself at its end has "end": {"seq", "added" …}. `Store.state_at` puts all of
            it together.
        error: {"type", "message", "traceback": [{"file", "line", "function", "code"}]} where it happened; ancestors carry
            {"type", "message"} only.
        attributes: facts of the framework, absent where they do not apply: node (id in the run's graph), class, visit (1-based,
            per node), step (1-based), attempt (1-based), max_attempts, item (0-based), items (count), action (what the node
            returned, "default" for a falsy one), successor (node id), no_successor (true), params, phase ("prep", "exec",
            "exec_fallback", "post"), level ("WARNING" on a failed attempt that was saved later), scope and otel (external spans).
        metadata: what user code added with `add_metadata`.
        scores: what user code added with `add_score`: [{"name", "value", "comment"}].
        model: of a generation.
        usage: of a generation, tokens by kind: {"input": 12, "output": 30, "total": 42}.
        cost: of a generation, in the account's currency.
        media: images, audio and PDFs that stand in the record as summaries with an id (`_media.Medium`), for sinks that
            can send them; no part of what is stored.
    """

    run_id: str
    trace_id: str
    span_id: str
    parent_id: str | None
    kind: Kind
    name: str
    status: Status
    start_ns: int
    end_ns: int | None = None
    input: Json = None
    output: Json = None
    state: Json = None
    error: Json = None
    attributes: dict[str, Json] = field(default_factory=dict)
    metadata: dict[str, Json] = field(default_factory=dict)
    scores: list[dict[str, Json]] = field(default_factory=list)
    model: str | None = None
    usage: dict[str, int] | None = None
    cost: float | None = None
    media: list[Any] = field(default_factory=list)
