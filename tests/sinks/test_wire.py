"""The bytes written directly are those that OpenTelemetry's generated classes read."""

from __future__ import annotations

import gzip

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from pocketflow_tracing import __version__
from pocketflow_tracing.sinks import _wire, otlp
from pocketflow_tracing.sinks._batch import traces_of, without
from pocketflow_tracing.sinks._http import _partial_success

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


@given(st.integers(0, 400), st.dictionaries(texts, st.one_of(texts, st.booleans()), max_size=4))
def test_a_request_is_that_of_the_generated_classes(count, resource):
    """Spans, resource and scope put into a request by hand give the one that the generated classes would give."""
    spans = [Span(name=f"span {number}") for number in range(count)]
    by_hand = otlp.request([span.SerializeToString() for span in spans], "pk-1", resource)
    read = ExportTraceServiceRequest.FromString(gzip.decompress(by_hand))
    (resource_spans,) = read.resource_spans
    (scope_spans,) = resource_spans.scope_spans
    assert list(scope_spans.spans) == spans
    assert {pair.key: _read(pair.value) for pair in resource_spans.resource.attributes} == resource
    assert (scope_spans.scope.name, scope_spans.scope.version) == ("langfuse-sdk", __version__)
    assert {pair.key: _read(pair.value) for pair in scope_spans.scope.attributes} == {"public_key": "pk-1"}


span_messages = st.builds(
    Span,
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    parent_span_id=st.sampled_from([b"", b"12345678"]),
    name=texts,
    start_time_unix_nano=ids,
    flags=st.integers(0, 2**32 - 1),
    links=st.lists(st.builds(Span.Link, trace_id=st.binary(min_size=16, max_size=16)), max_size=2),
    status=st.builds(Status, message=texts),
)
requests = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            schema_url=texts,
            scope_spans=st.lists(
                st.builds(ScopeSpans, schema_url=texts, spans=st.lists(span_messages, max_size=6)), max_size=3
            ),
        ),
        max_size=3,
    ),
)


@given(requests, st.data())
def test_a_request_is_cut_as_the_generated_classes_would(message, data):
    """Each part holds its spans and what stands around them, and no more; which traces are complete is read from the bytes."""
    spans = [span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans]
    body = gzip.compress(message.SerializeToString())
    assert traces_of(body) == {
        span.trace_id.hex(): any(not other.parent_span_id for other in spans if other.trace_id == span.trace_id)
        for span in spans
    }
    going = set(data.draw(st.lists(st.sampled_from([span.trace_id for span in spans] or [b""]))))
    left, count = without(body, {trace_id.hex() for trace_id in going})
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            kept = [span for span in scope.spans if span.trace_id not in going]
            del scope.spans[:]
            scope.spans.extend(kept)
        scopes = [scope for scope in resource.scope_spans if scope.spans]
        del resource.scope_spans[:]
        resource.scope_spans.extend(scopes)
    resources = [resource for resource in message.resource_spans if resource.scope_spans]
    del message.resource_spans[:]
    message.resource_spans.extend(resources)
    assert ExportTraceServiceRequest.FromString(gzip.decompress(left)) == message
    assert count == sum(span.trace_id not in going for span in spans)


@given(rejected=st.integers(-(2**63), 2**63 - 1), words=texts)
def test_an_answer_that_takes_a_part_is_read(rejected, words):
    """The number of spans that were not taken and what is said of them; a negative number is none."""
    answer = ExportTraceServiceResponse(
        partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message=words)
    )
    assert _partial_success(answer.SerializeToString()) == (max(rejected, 0), words)


@given(st.one_of(st.binary(max_size=200), requests.map(lambda message: message.SerializeToString()[:-1])))
def test_what_is_no_message_is_said(message):
    """Whatever bytes come, they are fields that make them up, or a ValueError."""
    try:
        found = list(_wire.fields(message))
    except ValueError:
        return
    assert b"".join(whole for _, _, whole in found) == message
    Span.FromString(
        b"".join(whole for number, _, whole in found if number > 100)
    )  # unknown ones are fields to them, too
