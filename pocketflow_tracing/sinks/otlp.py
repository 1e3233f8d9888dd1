"""Records as OTLP: the protobuf messages that Langfuse's OpenTelemetry endpoint takes, with the attributes its views read.

Attribute names are those of the Langfuse SDK (`langfuse._client.attributes`) and of the server's graph panel
(`langgraph_node`, `langgraph_step`, as raw strings: a JSON-encoded one would show its quotes on older servers).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from .._version import __version__
from ..records import Json, RunRecord, SpanRecord

__all__ = ["encode_span", "request"]

MAX_METADATA = 39
"""Metadata entries of ours on one span; OpenTelemetry allows 128 attributes in all and drops the rest silently."""

_LEVELS = {"success": "DEFAULT", "recovered": "WARNING", "error": "ERROR", "cancelled": "WARNING", "running": "DEFAULT"}
_TYPES = {"flow": "chain", "pass": "chain", "node": "chain", "function": "chain", "phase": "span", "attempt": "span"}

Mask = Callable[[Any], Any]


def encode_span(record: SpanRecord, run: RunRecord, mask: Mask | None = None, *, is_app_root: bool = True) -> Span:
    """One span as a protobuf message.

    Args:
        record: of an ended span.
        run: the run it belongs to, whose session, user, tags … every span carries.
        mask: the `mask` of the user's own Langfuse client: gets and returns a JSON-ready value.
        is_app_root: whether the run's root is the root of what Langfuse shows.
    """
    is_root = record.span_id == run.run_id
    attributes: dict[str, Any] = _run_attributes(run)
    if is_root and is_app_root:
        attributes["langfuse.internal.is_app_root"] = True
    attributes["langfuse.observation.type"] = "agent" if is_root else _TYPES.get(record.kind, "span")
    level = record.attributes.get("level") or _LEVELS[record.status]
    attributes["langfuse.observation.level"] = level
    message = _status_message(record)
    if message:
        attributes["langfuse.observation.status_message"] = message
    apply = mask or (lambda value: value)
    shown_in, shown_out = _input(record), _output(record)
    if shown_in is not None:
        attributes["langfuse.observation.input"] = _text(apply(shown_in))
    if shown_out is not None:
        attributes["langfuse.observation.output"] = _text(apply(shown_out))
    for key, value in _metadata(record):
        attributes[f"langfuse.observation.metadata.{key}"] = _text(apply(value))
    failed = level == "ERROR"
    return Span(
        trace_id=bytes.fromhex(record.trace_id),
        span_id=bytes.fromhex(record.span_id),
        parent_span_id=bytes.fromhex(record.parent_id) if record.parent_id else b"",
        name=record.name,
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=record.start_ns,
        end_time_unix_nano=record.end_ns or record.start_ns,
        attributes=_key_values(attributes),
        status=Status(code=Status.STATUS_CODE_ERROR, message=message or "") if failed else Status(),
        flags=0x101,  # sampled, and the parent is known to be local
    )


def request(spans: Iterable[Span], public_key: str, resource: Mapping[str, str]) -> bytes:
    """A request body, gzip of the protobuf.

    Args:
        spans: encoded spans.
        public_key: of the project; the server refuses SDK spans of another one.
        resource: attributes of the process.
    """
    scope = InstrumentationScope(
        name="langfuse-sdk", version=__version__, attributes=_key_values({"public_key": public_key})
    )
    message = ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=_key_values(resource)),
                scope_spans=[ScopeSpans(scope=scope, spans=spans)],
            )
        ]
    )
    # level 1: a quarter of the time of level 6 for a tenth more bytes
    return gzip.compress(message.SerializeToString(), compresslevel=1, mtime=0)


def _run_attributes(run: RunRecord) -> dict[str, Any]:
    attributes: dict[str, Any] = {"langfuse.trace.name": run.name}
    for key, value in (
        ("session.id", run.session_id),
        ("user.id", run.user_id),
        ("langfuse.trace.tags", run.tags or None),
        ("langfuse.environment", run.environment),
        ("langfuse.release", run.release),
        ("langfuse.version", run.version),
    ):
        if value is not None:
            attributes[key] = value
    for key, value in run.metadata.items():
        attributes[f"langfuse.trace.metadata.{key}"] = _text(value)
    return attributes


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
    changes = {key: value for key, value in (record.state or {}).items() if key in {"added", "changed", "removed"}}
    if changes:
        shown["shared"] = changes
    return shown or None


def _metadata(record: SpanRecord) -> list[tuple[str, Json]]:
    facts = record.attributes
    metadata: dict[str, Json] = {"status": record.status}
    if record.kind == "node" and "step" in facts:
        metadata["langgraph_node"] = str(facts["node"])
        metadata["langgraph_step"] = str(facts["step"])
    for key in (
        "action", "successor", "no_successor", "visit", "phase", "attempt", "max_attempts", "item", "items", "params",
        "class", "changed_keys",
    ):  # fmt: skip
        if key in facts:
            metadata[key] = facts[key]
    if record.error is not None and record.error.get("traceback"):
        metadata["traceback"] = "\n".join(
            f"{frame['file']}:{frame['line']} in {frame['function']}: {frame.get('code') or ''}".rstrip(": ")
            for frame in record.error["traceback"]
        )
    for key, value in record.metadata.items():
        metadata.setdefault(key, value)
    return list(metadata.items())[:MAX_METADATA]


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_any_value(value)) for key, value in attributes.items()]


def _any_value(value: Any) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=str(item)) for item in value]))
