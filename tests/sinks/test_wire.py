"""The bytes written directly are those that OpenTelemetry's generated classes read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from pocketflow_tracing.sinks import _wire

texts = st.text(max_size=300)
ids = st.integers(min_value=1, max_value=2**64 - 1)
values = st.one_of(
    texts,
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(texts, max_size=5),
)


def _read(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [item.string_value for item in value.array_value.values]
    return getattr(value, kind)


@given(
    trace=ids,
    span=ids,
    parent=st.one_of(st.none(), ids),
    name=texts,
    start=st.integers(-(2**70), 2**70),
    end=st.integers(-(2**70), 2**70),
    attributes=st.dictionaries(texts, values, max_size=12),
    error=st.one_of(st.none(), texts),
)
def test_every_field_is_read_back(trace, span, parent, name, start, end, attributes, error):
    """Names, times, ids, attributes of every type, status and flags survive the way over the wire."""
    written = _wire.span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=span.to_bytes(8, "big"),
        parent_id=parent.to_bytes(8, "big") if parent else b"",
        name=name,
        start_ns=start,
        end_ns=end,
        attributes=_wire.attributes(attributes.items()),
        error=error,
    )
    read = Span()
    read.ParseFromString(written)
    assert int.from_bytes(read.trace_id, "big") == trace
    assert int.from_bytes(read.span_id, "big") == span
    assert read.parent_span_id == (parent.to_bytes(8, "big") if parent else b"")
    times = tuple(min(max(time, 0), 2**64 - 1) for time in (start, end))  # of clocks that are set to other centuries
    assert (read.name, read.start_time_unix_nano, read.end_time_unix_nano) == (name, *times)
    assert {pair.key: _read(pair.value) for pair in read.attributes} == attributes
    assert read.kind == Span.SPAN_KIND_INTERNAL
    assert read.flags == 0x101
    expected = Status() if error is None else Status(code=Status.STATUS_CODE_ERROR, message=error)
    assert read.status == expected


@given(st.integers(0, 400))
def test_the_envelope_is_that_of_the_generated_classes(count):
    """Spans put into the envelope by hand give the request that the generated classes would give."""
    spans = [Span(name=f"span {number}") for number in range(count)]
    by_hand = _wire.request_envelope(
        b"".join(_wire.field_2(part) for part in [b"".join(_wire.field_2(span.SerializeToString()) for span in spans)])
    )
    read = ExportTraceServiceRequest()
    read.ParseFromString(by_hand)
    assert read == ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])])
