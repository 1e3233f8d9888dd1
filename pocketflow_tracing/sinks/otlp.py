"""Records as OTLP: what Langfuse's OpenTelemetry endpoint takes, with the attributes that its views read.

Attribute names are those of the Langfuse SDK (`langfuse._client.attributes`) and of the server's graph panel
(`langgraph_node`, `langgraph_step`, as raw strings: a JSON-encoded one would show its quotes on older servers).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from gzip import compress
from typing import Any

from pocketflow_tracing._conventions import SCOPE, observation_type
from pocketflow_tracing._json import encode
from pocketflow_tracing._system import variable
from pocketflow_tracing._version import __version__
from pocketflow_tracing.records import Json, RunRecord, SpanRecord

from . import _wire

__all__ = ["Encoder", "encode_span", "request", "resource", "span_attributes"]

MAX_METADATA = 39
"""Metadata entries on one span, the last of which holds what is more; a span has room for 128 attributes in all."""

_LEVEL = "langfuse.observation.level"
_MESSAGE = "langfuse.observation.status_message"
_GRAPH = ("langgraph_node", "langgraph_step")
_FACTS = (
    "action", "successor", "no_successor", "visit", "phase", "attempt", "max_attempts", "item", "items", "class",
    "lost_spans",
)  # fmt: skip

_METADATA_KEY = {key: f"langfuse.observation.metadata.{key}" for key in ("status", *_FACTS, *_GRAPH)}

_LEVELS = {"success": "DEFAULT", "recovered": "WARNING", "error": "ERROR", "cancelled": "WARNING", "running": "DEFAULT"}
_TYPES = {"flow": "chain", "pass": "chain", "node": "chain", "function": "chain", "phase": "span", "attempt": "span"}

Mask = Callable[[Any], Any]
Place = Callable[[Json, str], Json]


def span_attributes(record: SpanRecord, run: RunRecord, mask: Mask | None = None) -> dict[str, Any]:
    """The attributes of one span, as the SDK would name them.

    Args:
        record: of an ended span.
        run: the run it belongs to, whose session, user, tags … every span carries.
        mask: the `mask` of the user's own Langfuse client: gets and returns a JSON-ready value.
    """
    return {**run_attributes(run, mask), **_facts(record, run, mask), **_values(record, mask, None)}


def _facts(record: SpanRecord, run: RunRecord, mask: Mask | None) -> dict[str, Any]:
    """All attributes of a span itself but its input and output."""
    is_root = record.span_id == run.run_id and run.is_app_root
    attributes: dict[str, Any] = {"langfuse.internal.is_app_root": True} if is_root else {}
    if record.kind == "external":
        attributes.update(_about_a_model(record))
    else:
        attributes["langfuse.observation.type"] = "agent" if is_root else _TYPES.get(record.kind, "span")
    attributes[_LEVEL] = record.attributes.get("level") or _LEVELS[record.status]
    message = _status_message(record)
    if message:
        attributes[_MESSAGE] = message
    attributes.update(_metadata(record, mask or _as_it_is))
    return attributes


def _about_a_model(record: SpanRecord) -> dict[str, Any]:
    """What Langfuse knows of a span of another instrumentation, by its own names; all else is metadata."""
    said = record.attributes
    operation = (said.get("otel") or {}).get("gen_ai.operation.name")
    found = {
        "type": observation_type(str(said.get("type")), operation, has_model=record.model is not None),
        "model.name": record.model,
        "usage_details": encode(record.usage) if record.usage else None,
        "cost_details": encode({"total": record.cost}) if record.cost is not None else None,
    }
    return {f"langfuse.observation.{name}": value for name, value in found.items() if value is not None}


def _values(record: SpanRecord, mask: Mask | None, place: Place | None) -> dict[str, str]:
    """Input and output of a span."""
    attributes: dict[str, str] = {}
    for name, value in (("input", _input(record)), ("output", _output(record))):
        if value is not None:
            shown = value if mask is None else mask(value)
            attributes[f"langfuse.observation.{name}"] = _text(shown if place is None else place(shown, name))
    return attributes


def _as_it_is(value: Any) -> Any:
    return value


def resource() -> dict[str, str]:
    """What the process says of itself, once a request."""
    # environment and release stand on the spans: decorators that share this project may differ in them
    return {
        "service.name": variable("OTEL_SERVICE_NAME", "unknown_service"),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.distro.name": "pocketflow-tracing",
        "telemetry.distro.version": __version__,
        "process.runtime.version": sys.version.split()[0],
    }


class Encoder:
    """Encodes the spans of a batch.

    What a span carries beside its times, ids, input and output comes again with the next run of the same flow: it is
    looked up instead of made, which saves half of the encoding.

    Args:
        runs: of the batch, by id.
        mask: as of `span_attributes`.
    """

    def __init__(self, runs: Mapping[str, RunRecord], mask: Mask | None) -> None:
        self._runs = runs
        self._mask = mask
        self._of_run = {run_id: _wire.attributes(run_attributes(run, mask).items()) for run_id, run in runs.items()}

    def span(self, record: SpanRecord, place: Place | None) -> bytes:
        """One span as a serialized protobuf message.

        Args:
            record: of an ended span.
            place: puts references in the place of media; gets a value and "input" or "output".
        """
        attributes = b"".join(
            (
                self._of_run[record.run_id],
                self._encoded_facts(record),
                _wire.attributes(_values(record, self._mask, place).items()),
            )
        )
        failed = (record.attributes.get("level") or _LEVELS[record.status]) == "ERROR"
        return _encoded(record, attributes, (_status_message(record) or "") if failed else None)

    def _encoded_facts(self, record: SpanRecord) -> bytes:
        run = self._runs[record.run_id]
        facts = record.attributes
        is_alone = record.kind == "external" or record.error is not None or record.metadata
        if is_alone or not facts.keys().isdisjoint(_THEIRS):
            return _wire.attributes(_facts(record, run, self._mask).items())
        is_root = run.is_app_root and record.span_id == run.run_id
        key = (record.kind, record.status, is_root, *facts.items())
        encoded = _known_facts.get(key)
        if encoded is None:
            if len(_known_facts) >= _MOST_KNOWN:
                _known_facts.clear()
            encoded = _known_facts[key] = _wire.attributes(_facts(record, run, None).items())
        return encoded


_THEIRS = ("params", "changed_keys")
"""Facts that hold values of the user's, which a mask may change."""
_MOST_KNOWN = 4096
_known_facts: dict[tuple[Any, ...], bytes] = {}


def encode_span(record: SpanRecord, attributes: Mapping[str, Any]) -> bytes:
    """One span as a serialized protobuf message.

    Args:
        record: of an ended span.
        attributes: what `span_attributes` answered, masked or not.
    """
    error = attributes.get(_MESSAGE, "") if attributes.get(_LEVEL) == "ERROR" else None
    return _encoded(record, _wire.attributes(attributes.items()), error)


def _encoded(record: SpanRecord, attributes: bytes, error: str | None) -> bytes:
    return _wire.span(
        trace_id=bytes.fromhex(record.trace_id),
        span_id=bytes.fromhex(record.span_id),
        parent_id=bytes.fromhex(record.parent_id) if record.parent_id else b"",
        name=record.name,
        start_ns=record.start_ns,
        end_ns=record.end_ns or record.start_ns,
        attributes=attributes,
        error=error,
    )


def request(spans: Iterable[bytes], public_key: str, resource: Mapping[str, str]) -> bytes:
    """A request body, gzip of the protobuf.

    Args:
        spans: serialized spans, as `encode_span` gives them.
        public_key: of the project; the server refuses SDK spans of another one.
        resource: attributes of the process.
    """
    scope = b"".join(
        (
            _wire.field(1, SCOPE.encode()),
            _wire.field(2, __version__.encode()),
            _wire.key_values(3, [("public_key", public_key)]),
        )
    )
    scope_spans = _wire.field(1, scope) + b"".join(_wire.field(2, span) for span in spans)
    resource_spans = _wire.field(1, _wire.key_values(1, resource.items())) + _wire.field(2, scope_spans)
    # level 1: a quarter of the time of level 6 for a tenth more bytes
    return compress(_wire.field(1, resource_spans), compresslevel=1, mtime=0)


def run_attributes(run: RunRecord, mask: Mask | None) -> dict[str, Any]:
    """The attributes that every span of a run carries."""
    apply = mask or _as_it_is
    attributes: dict[str, Any] = {
        "langfuse.trace.name": run.trace_name or (run.name if run.is_app_root else None),
        "session.id": run.session_id,
        "user.id": run.user_id,
        "langfuse.trace.tags": run.tags or None,
        "langfuse.environment": run.environment,
        "langfuse.release": run.release,
        "langfuse.version": run.version,
        **run.experiment,
    }
    metadata = _flat(apply(run.metadata) if run.metadata else None)
    attributes.update((f"langfuse.trace.metadata.{key}", value) for key, value in metadata)
    return {key: value for key, value in attributes.items() if value is not None}


def _flat(metadata: Json) -> list[tuple[str, str]]:
    # a mask may answer with something else than a dict
    named = metadata if isinstance(metadata, dict) else {} if metadata is None else {"value": metadata}
    return [(str(key), _text(value)) for key, value in named.items()]


def _status_message(record: SpanRecord) -> str | None:
    error = record.error
    if error is not None and record.kind == "external":  # it says of itself what kind of error that is
        return str(error["message"] or record.status)
    if error is not None:
        return f"{error['type']}: {error['message']}" if error["message"] else str(error["type"])
    if record.status == "recovered":
        return "a retry or the fallback saved it"
    return None if record.status == "success" else record.status


def _input(record: SpanRecord) -> Json:
    if record.kind == "node" and record.input is None and "params" in record.attributes:
        return {"params": record.attributes["params"]}
    return record.input


def _output(record: SpanRecord) -> Json:
    if record.output is not None or record.kind not in {"node", "flow", "pass"}:
        return record.output
    shown: dict[str, Json] = {}
    if "action" in record.attributes:
        shown["action"] = record.attributes["action"]
    state: dict[str, Json] = record.state or {}
    step: dict[str, Json] = state.get("end", state)  # of the visit that took the first picture, what it changed itself
    changes = {key: value for key, value in step.items() if key in {"added", "changed", "removed"}}
    if changes:
        shown["shared"] = changes
    return shown or None


def _metadata(record: SpanRecord, apply: Mask) -> list[tuple[str, str]]:
    facts = record.attributes
    found: dict[str, str] = {"status": record.status}
    for key in _FACTS:
        value = facts.get(key)
        if value is not None:
            found[key] = value if type(value) is str else _text(value)
    theirs: dict[str, Json] = {key: facts[key] for key in _THEIRS if key in facts}
    if record.kind == "external":
        theirs.update({"scope": facts.get("scope"), **(facts.get("otel") or {})})
    if record.error is not None and record.error.get("traceback"):
        theirs["traceback"] = "\n".join(map(_place, record.error["traceback"]))
    if record.metadata:
        theirs.update(record.metadata)
    if theirs:
        found.update(_flat(apply(theirs)))
    if record.kind == "node" and "step" in facts:  # drawn as it stands, whatever a node calls its own metadata
        found["langgraph_node"] = str(facts["node"])
        found["langgraph_step"] = str(facts["step"])
    if len(found) > MAX_METADATA:
        graph = {key: found.pop(key) for key in _GRAPH if key in found}
        names = list(found)
        room = MAX_METADATA - len(graph) - 1
        more = _text({key: found[key] for key in names[room:]})
        found = {**{key: found[key] for key in names[:room]}, **graph, "more": more}
    return [(_METADATA_KEY.get(key) or f"langfuse.observation.metadata.{key}", text) for key, text in found.items()]


def _place(frame: dict[str, Json]) -> str:
    if "line" not in frame:  # says how many there are between
        return str(frame["file"])
    return f"{frame['file']}:{frame['line']} in {frame['function']}: {frame.get('code') or ''}".rstrip(": ")


def _text(value: Json) -> str:
    if type(value) is str:
        return value
    return repr(value) if type(value) is int else encode(value)
