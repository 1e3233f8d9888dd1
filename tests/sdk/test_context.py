"""Runs inside other spans, and attributes of the SDK around runs."""

from __future__ import annotations

import asyncio
import copy
import pickle

import pytest
from generating import Calls, CallsAsync, decoded, expected, run
from kit import use
from langfuse import Langfuse, get_client, observe, propagate_attributes
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from pocketflow import AsyncFlow, Flow, Node

from pocketflow_tracing import current_trace_id, flush, trace_attributes, trace_flow

ROOT_MARK = "langfuse.internal.is_app_root"


def roots(collector):
    return [span.name for span in collector.spans() if span.attributes.get(ROOT_MARK)]


def test_propagated_attributes_apply(keys, collector):
    """What `langfuse.propagate_attributes` says around a run reaches all its spans, and wins over the decorator."""
    with propagate_attributes(
        user_id="around", session_id="session", tags=["x"], metadata={"k": "v"}, version="9", trace_name="Named"
    ):
        run(Calls(), user_id="decorator", tags=["d"], metadata={"own": "1"})
    assert flush(10)
    assert 6 == len(collector.spans())
    for span in collector.spans():
        found = span.attributes
        assert ("around", "session", "9", "Named") == tuple(
            found.get(key) for key in ("user.id", "session.id", "langfuse.version", "langfuse.trace.name")
        )
        assert {"d", "x"} == set(found["langfuse.trace.tags"])
        assert ("v", "1") == tuple(
            decoded(found[f"langfuse.trace.metadata.{key}"]) if key == "k" else found[f"langfuse.trace.metadata.{key}"]
            for key in ("k", "own")
        )


def test_trace_attributes_win_over_propagated_ones(keys, collector):
    """Our own block around a run is nearer than the SDK's."""
    with propagate_attributes(user_id="sdk"), trace_attributes(user_id="ours"):
        run(Calls())
    assert flush(10)
    assert {"ours"} == {span.attributes["user.id"] for span in collector.spans()}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("client", ["of the program", "ours"])
def test_a_run_inside_a_langfuse_span_is_its_child(kind, client, keys, collector):
    """A flow run in an `@observe` function becomes its child; the trace has one application root, the function."""
    if client == "of the program":
        Langfuse()
    else:
        run(Node())
        assert flush(10)
        collector.clear()

    @observe(name="request")
    def request():
        trace_flow(Flow(start=Calls())).run({})

    @observe(name="request")
    async def request_async():
        await trace_flow(AsyncFlow(start=CallsAsync())).run_async({})

    if kind == "sync":
        request()
        tree = expected(Calls())
    else:
        asyncio.run(request_async())
        tree = expected(CallsAsync())
    assert flush(10)
    assert (("request", tree),) == collector.tree()
    assert [] == collector.problems()
    assert ["request"] == roots(collector)
    (flow,) = [span for span in collector.spans() if span.name.endswith("Flow")]
    assert "chain" == flow.attributes["langfuse.observation.type"]


def test_a_run_inside_a_span_of_another_tool(keys, collector):
    """Below a span that Langfuse never gets (a web framework's), the run is the application root."""
    trace.set_tracer_provider(TracerProvider())
    with trace.get_tracer("fastapi").start_as_current_span("GET /") as outer:
        run(Calls())
    assert flush(10)
    context = outer.get_span_context()
    (flow,) = [span for span in collector.spans() if span.name == "Flow"]
    assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == (flow.trace_id, flow.parent_id)
    assert ["Flow"] == roots(collector)
    assert {flow.trace_id} == {span.trace_id for span in collector.spans()}


def test_two_runs_inside_one_span_share_its_trace(keys, collector):
    """Two flows of one request stand in one trace."""
    client = Langfuse()
    with client.start_as_current_observation(name="request"):
        run(Calls())
        run(Calls())
    assert flush(10)
    assert (("request", expected(Calls()), expected(Calls())),) == collector.tree()
    assert ["request"] == roots(collector)


def test_a_run_after_a_span_is_a_trace_of_its_own(keys, collector):
    """Nothing of a surrounding span, or of a run, outlasts it."""
    client = Langfuse()
    with client.start_as_current_observation(name="request"):
        run(Calls())
    run(Calls())
    with client.start_as_current_observation(name="later"):
        pass
    assert not trace.get_current_span().get_span_context().is_valid
    assert flush(10)
    assert (("request", expected(Calls())), expected(Calls()), "later") == collector.tree()
    assert ["request", "Flow", "later"] == roots(collector)


def test_the_sdk_knows_the_trace_of_a_run(keys, collector):
    """Inside a node the SDK's current trace is ours."""
    seen = []

    class Looks(Node):
        def exec(self, prep_res):
            seen.append((get_client().get_current_trace_id(), current_trace_id()))

    run(Looks())
    assert seen[0][0] == seen[0][1] is not None


def test_a_function_around_flows_is_the_root_of_generations(keys, collector):
    """In a decorated function, generations beside the flows hang at the function."""
    from generating import generate

    @trace_flow(session_id="s")
    def answer():
        generate("before")
        Flow(start=Calls()).run({})

    answer()
    assert flush(10)
    assert (("answer", "generation", expected(Calls())),) == collector.tree()
    assert {"s"} == {span.attributes["session.id"] for span in collector.spans()}
    assert ["answer"] == roots(collector)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_what_a_node_notes_on_the_span_around_reaches_it(rate, records):
    """Attributes and events that user code sets on the current span go to the program's own span around the run, as untraced."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(rate)))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("theirs")

    class Notes(Node):
        def exec(self, prep_res):
            span = trace.get_current_span()
            span.set_attribute("documents", 3)
            span.set_attributes({"more": True})
            span.add_event("cache miss")
            with tracer.start_as_current_span("query"):
                return span.is_recording()

        def post(self, shared, prep_res, exec_res):
            shared["recording"] = exec_res

    shared = {}
    with tracer.start_as_current_span("request"):
        trace_flow(Flow(start=Notes())).run(shared)
    finished = {span.name: span for span in exporter.get_finished_spans()}
    assert shared["recording"] is (rate == 1.0)
    assert sorted(finished) == (["query", "request"] if rate == 1.0 else [])
    if finished:
        request = finished["request"]
        assert dict(request.attributes) == {"documents": 3, "more": True}
        assert [event.name for event in request.events] == ["cache miss"]


@pytest.mark.parametrize(("rate", "most"), [(0.0, 0), (0.2, 60), (1.0, 100)])
@pytest.mark.parametrize("ours", [0.0, 1.0], ids=["dropped", "recorded"])
def test_the_head_sampling_of_the_program_holds_in_its_nodes(ours, rate, most, records, monkeypatch):
    """Spans that would begin traces of their own untraced are sampled at the program's rate, once a run."""
    use(records, sample_rate=ours)
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(rate)))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    tracer = provider.get_tracer("theirs")

    class Works(Node):
        def exec(self, prep_res):
            with tracer.start_as_current_span("work"), tracer.start_as_current_span("below"):
                pass

    flow = trace_flow(Flow(start=Works()))
    for _ in range(100):
        flow.run({})
    found = exporter.get_finished_spans()
    assert (2 if rate else 0) <= len(found) <= 2 * most
    assert len(found) == 2 * len({span.context.trace_id for span in found})
    assert flush(10)
    assert sum(span.name == "Flow" for span in records.spans()) == 100 * ours


def test_generations_of_a_client_with_a_provider_of_its_own_are_kept(keys, collector, monkeypatch):
    """What the program's other provider samples does not drop what goes to Langfuse."""
    monkeypatch.setattr(
        trace, "get_tracer_provider", lambda: TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.0)))
    )
    Langfuse(tracer_provider=TracerProvider())
    run(Calls())
    assert flush(10)
    assert (expected(Calls()),) == collector.tree()


def test_the_current_span_reads_as_the_span_around():
    """What a node asks of a recording span is answered by the program's own."""
    tracer = TracerProvider().get_tracer("theirs")
    seen = []

    class Reads(Node):
        def exec(self, prep_res):
            span = trace.get_current_span()
            seen.append((isinstance(span, ReadableSpan), getattr(span, "name", None), getattr(span, "kind", None)))
            if isinstance(span, ReadableSpan):
                seen.append((span.attributes["a"], span.parent, span.status.is_ok, span.end_time))
                span.end()
                seen.append(span.is_recording())

    with tracer.start_as_current_span("request", attributes={"a": 1}, end_on_exit=False):
        trace_flow(Flow(start=Reads())).run({})
    assert seen == [(True, "request", trace.SpanKind.INTERNAL), (1, None, True, None), False]
    del seen[:]
    trace_flow(Flow(start=Reads())).run({})
    assert seen == [(False, None, None)]


def test_the_current_span_can_be_copied_and_pickled():
    """As the one of the API can that stands there untraced."""
    seen = []

    class Copies(Node):
        def exec(self, prep_res):
            span = trace.get_current_span()
            seen.extend([copy.copy(span), copy.deepcopy(span), pickle.loads(pickle.dumps(span))])
            return span.get_span_context()

        def post(self, shared, prep_res, exec_res):
            assert [span.get_span_context() for span in seen] == [exec_res] * 3

    trace_flow(Flow(start=Copies())).run({})
    assert {type(span) for span in seen} == {trace.NonRecordingSpan}
