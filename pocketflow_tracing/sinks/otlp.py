"""Records as OTLP: what Langfuse's OpenTelemetry endpoint takes, with the attributes that its views read.

Attribute names are those of the Langfuse SDK (`langfuse._client.attributes`) and of the server's graph panel
(`langgraph_node`, `langgraph_step`, as raw strings: a JSON-encoded one would show its quotes on older servers).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from pocketflow_tracing._sdk_spans import SCOPE
from pocketflow_tracing._version import __version__
from pocketflow_tracing.records import Json, RunRecord, SpanRecord

from . import _wire

__all__ = ["encode_span", "request", "run_attributes", "span_attributes"]

MAX_METADATA = 39
"""Metadata entries on one span, the last of which holds what is more; a span has room for 128 attributes in all."""

_LEVEL = "langfuse.observation.level"
_MESSAGE = "langfuse.observation.status_message"
_GRAPH = ("langgraph_node", "langgraph_step")
_FACTS = (
    "action", "successor", "no_successor", "visit", "phase", "attempt", "max_attempts", "item", "items", "class",
)  # fmt: skip

_METADATA_KEY = {key: f"langfuse.observation.metadata.{key}" for key in ("status", *_FACTS, *_GRAPH)}

_LEVELS = {"success": "DEFAULT", "recovered": "WARNING", "error": "ERROR", "cancelled": "WARNING", "running": "DEFAULT"}
_TYPES = {"flow": "chain", "pass": "chain", "node": "chain", "function": "chain", "phase": "span", "attempt": "span"}

Mask = Callable[[Any], Any]
Place = Callable[[Json, str], Json]


def span_attributes(
    record: SpanRecord,
    run: RunRecord,
    mask: Mask | None = None,
    place: Place | None = None,
    of_run: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The attributes of one span, as the SDK would name them.

    Args:
        record: of an ended span.
        run: the run it belongs to, whose session, user, tags … every span carries.
        mask: the `mask` of the user's own Langfuse client: gets and returns a JSON-ready value.
        place: puts references in the place of media; gets a value and "input" or "output".
        of_run: what `run_attributes` gave for the run, when it is known.
    """
    is_root = record.span_id == run.run_id
    apply = mask or (lambda value: value)
    attributes: dict[str, Any] = run_attributes(run, mask) if of_run is None else {**of_run}
    if is_root and run.is_app_root:
        attributes["langfuse.internal.is_app_root"] = True
    attributes["langfuse.observation.type"] = (
        "agent" if is_root and run.is_app_root else _TYPES.get(record.kind, "span")
    )
    attributes[_LEVEL] = record.attributes.get("level") or _LEVELS[record.status]
    message = _status_message(record)
    if message:
        attributes[_MESSAGE] = message
    for name, value in (("input", _input(record)), ("output", _output(record))):
        if value is not None:
            shown = apply(value)
            attributes[f"langfuse.observation.{name}"] = _text(place(shown, name) if place is not None else shown)
    attributes.update(_metadata(record, apply))
    return attributes


def encode_span(record: SpanRecord, attributes: Mapping[str, Any]) -> bytes:
    """One span as a serialized protobuf message.

    Args:
        record: of an ended span.
        attributes: what `span_attributes` answered, masked or not.
    """
    failed = attributes.get(_LEVEL) == "ERROR"
    return _wire.span(
        trace_id=bytes.fromhex(record.trace_id),
        span_id=bytes.fromhex(record.span_id),
        parent_id=bytes.fromhex(record.parent_id) if record.parent_id else b"",
        name=record.name,
        start_ns=record.start_ns,
        end_ns=record.end_ns or record.start_ns,
        with_attributes=attributes,
        error=attributes.get(_MESSAGE, "") if failed else None,
    )


def request(spans: Iterable[bytes], public_key: str, resource: Mapping[str, str]) -> bytes:
    """A request body, gzip of the protobuf.

    Args:
        spans: serialized spans, as `encode_span` gives them.
        public_key: of the project; the server refuses SDK spans of another one.
        resource: attributes of the process.
    """
    scope = InstrumentationScope(name=SCOPE, version=__version__, attributes=_key_values({"public_key": public_key}))
    # A message on the wire is the concatenation of its fields, so the envelope goes around spans that are serialized
    # already: serializing hundreds at once would hold the interpreter for milliseconds, and the program's event loop
    # with it.
    scope_spans = ScopeSpans(scope=scope).SerializeToString() + b"".join(map(_wire.field_2, spans))
    resource_spans = ResourceSpans(resource=Resource(attributes=_key_values(resource))).SerializeToString()
    # level 1: a quarter of the time of level 6 for a tenth more bytes
    body = _wire.request_envelope(resource_spans + _wire.field_2(scope_spans))
    return gzip.compress(body, compresslevel=1, mtime=0)


def run_attributes(run: RunRecord, mask: Mask | None) -> dict[str, Any]:
    """The attributes that every span of a run carries."""
    apply = mask or (lambda value: value)
    attributes: dict[str, Any] = {
        "langfuse.trace.name": run.trace_name or (run.name if run.is_app_root else None),
        "session.id": run.session_id,
        "user.id": run.user_id,
        "langfuse.trace.tags": run.tags or None,
        "langfuse.environment": run.environment,
        "langfuse.release": run.release,
        "langfuse.version": run.version,
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
    theirs: dict[str, Json] = {key: facts[key] for key in ("params", "changed_keys") if key in facts}
    if record.error is not None and record.error.get("traceback"):
        theirs["traceback"] = "\n".join(
            f"{frame['file']}:{frame['line']} in {frame['function']}: {frame.get('code') or ''}".rstrip(": ")
            for frame in record.error["traceback"]
        )
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


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _text(value: Json) -> str:
    if type(value) is str:
        return value
    return repr(value) if type(value) is int else _encoder.encode(value)


def _key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any_value(value)) for key, value in attributes.items()]


def _any_value(value: Any) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=str(item)) for item in value]))
