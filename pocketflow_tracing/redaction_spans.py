"""What other instrumentations put into their spans, passed through the rules that hold for our own."""

from __future__ import annotations

from dataclasses import replace
from json import dumps
from typing import TYPE_CHECKING, Any

from ._conventions import is_error, is_input, is_kept, is_output, says_what_it_is
from ._json import decode
from .capture import snapshot
from .records import Json
from .redaction import Rules, redact_text
from .redaction_shapes import REPLACEMENT
from .render import render

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1 import common_pb2
    from opentelemetry.proto.trace.v1 import trace_pb2

    from ._sdk_told import Switches

__all__ = ["leave_out", "names_a_secret", "path_of", "redact"]

_METADATA = ".metadata."
_NUMBERS = frozenset({"int_value", "double_value"})


def leave_out(span: trace_pb2.Span, switches: Switches) -> None:
    """Take out of a span what the toggles of a configuration leave out."""
    if switches.trace_inputs and switches.trace_outputs and switches.trace_errors:
        return
    kept = [
        pair
        for pair in span.attributes
        if is_kept(
            pair.key,
            _read(pair.value),
            inputs=switches.trace_inputs,
            outputs=switches.trace_outputs,
            errors=switches.trace_errors,
        )
    ]
    del span.attributes[:]
    span.attributes.extend(kept)
    if not switches.trace_errors:
        span.status.message = ""
    del span.events[:]  # messages and exceptions, in the older conventions
    for link in span.links:
        del link.attributes[:]


def names_a_secret(key: str, rules: Rules) -> bool:
    """Whether an attribute has the name of a secret, whole or behind its last dot: `langfuse.observation.metadata.iban`."""
    if rules.redact.hits(key):
        return True
    return not says_what_it_is(key) and rules.redact.hits(key.rpartition(".")[2])


def path_of(key: str, rules: Rules) -> tuple[str, ...]:
    """Where an attribute stands, for names, masks and policies: "input", "output", ("metadata", name), or its own name."""
    if is_input(key) or is_output(key):
        return ("input",) if is_input(key) else ("output",)
    path = ("metadata", key.partition(_METADATA)[2]) if key.startswith("langfuse.") and _METADATA in key else (key,)
    return (key.rpartition(".")[2],) if names_a_secret(key, rules) and not rules.redact.hits(path[-1]) else path


def redact(span: trace_pb2.Span, rules: Rules) -> None:
    """Pass everything that user code put into a span through the rules that hold for our own."""
    span.name = _shown_text(span.name, rules)
    span.status.message = _shown_text(span.status.message, rules)
    bare = replace(rules, mask=None, policy={})
    for pair in span.attributes:
        _redact_value(pair, bare if says_what_it_is(pair.key) else rules)
    for event in span.events:
        event.name = _shown_text(event.name, rules)
        for pair in event.attributes:
            _redact_value(pair, rules)
    for link in span.links:
        for pair in link.attributes:
            _redact_value(pair, rules)


def _shown_text(text: str, rules: Rules) -> str:
    shown = render(redact_text(text, rules), rules) if text else text
    return shown if isinstance(shown, str) else dumps(shown, ensure_ascii=False)


def _redact_value(pair: common_pb2.KeyValue, rules: Rules) -> None:
    value = pair.value
    kind = value.WhichOneof("value")
    if kind not in {"array_value", "kvlist_value"}:
        _redact_item(pair.key, value, rules)
        return
    read = _read(value)  # whole: the words of a command say of each other what they are, and a map what is below it
    shown = _shown(pair.key, read, rules)
    if shown != read:
        value.Clear()
        _write(value, shown)


def _read(value: common_pb2.AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_read(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _read(pair.value) for pair in value.kvlist_value.values}
    read = None if kind is None else getattr(value, kind)
    return read.decode("utf-8", "replace") if type(read) is bytes else read


def _write(value: common_pb2.AnyValue, shown: Json) -> None:
    if isinstance(shown, bool):
        value.bool_value = shown
    elif isinstance(shown, int):
        value.int_value = shown
    elif isinstance(shown, float):
        value.double_value = shown
    elif isinstance(shown, str):
        value.string_value = shown
    elif isinstance(shown, list):
        value.array_value.SetInParent()
        for item in shown:
            _write(value.array_value.values.add(), item)
    elif isinstance(shown, dict):
        value.kvlist_value.SetInParent()
        for key, item in shown.items():
            _write(value.kvlist_value.values.add(key=key).value, item)


def _redact_item(key: str, item: common_pb2.AnyValue, rules: Rules) -> None:
    kind = item.WhichOneof("value")
    if kind == "string_value":
        item.string_value = _redacted(key, item.string_value, rules)
    elif kind == "bytes_value":
        text = item.bytes_value.decode("utf-8", "replace")
        if (shown := _redacted(key, text, rules)) != text:
            item.string_value = shown
    elif kind in _NUMBERS and names_a_secret(key, rules):
        item.string_value = REPLACEMENT


def _redacted(key: str, text: str, rules: Rules) -> str:
    try:
        read = decode(text) if text[:1] in '{["' else text
    except (ValueError, RecursionError):
        read = text
    is_message = type(read) is str and is_error(key)
    shown = _shown(key, redact_text(read, rules) if is_message else read, rules)
    if shown == read:
        return text
    return shown if isinstance(shown, str) and not text.startswith('"') else dumps(shown, ensure_ascii=False)


def _shown(key: str, value: Any, rules: Rules) -> Json:
    return render(snapshot(value, rules.limits), rules, path_of(key, rules))
