"""Runs inside other spans, and attributes of the SDK around runs."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import dataclasses
import gc
import json
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import pytest
from generating import Calls, CallsAsync, decoded, expected, generate, run, stored
from kit import use
from langfuse import Langfuse, get_client, observe, propagate_attributes
from langfuse._utils.serializer import EventSerializer
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from pocketflow import AsyncFlow, AsyncNode, Flow, Node
from sdk_state import client_of

from pocketflow_tracing import (
    TracingConfig,
    _otel,
    _otel_span,
    current_trace_id,
    flush,
    instrument,
    recorder,
    trace_attributes,
    trace_flow,
    uninstrument,
)

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


def test_propagated_metadata_reaches_a_generation_as_it_would_untraced(keys, collector):
    """A text that looks like a number stays a text, in whatever way this SDK writes it."""
    client = Langfuse()

    class Generates(Node):
        def exec(self, _):
            client.start_observation(name="inside", as_type="generation").end()

    given = {"a": "123", "b": "true", "c": "[1]", "d": '"quoted"', "e": "plain"}
    with propagate_attributes(metadata=given):
        client.start_observation(name="outside").end()
        run(Generates())
    client.flush()
    assert flush(10)
    inside, outside = (
        {key: value for key, value in span.attributes.items() if ".metadata." in key}
        for name in ("inside", "outside")
        for span in collector.spans()
        if span.name == name
    )
    assert len(given) == len(outside)
    assert outside == inside


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


LITELLM = """
from opentelemetry import trace
def complete():
    current = trace.get_current_span()
    if current.get_span_context().is_valid:
        current.set_attribute("gen_ai.request.model", "model-1")
    else:
        trace.get_tracer("litellm").start_span("litellm_request", attributes={"gen_ai.request.model": "model-1"}).end()
"""
"""How it decides (`OpenTelemetry._get_span_context` and what follows, litellm 1.110)."""


@pytest.mark.parametrize("around", [False, True])
def test_litellm_opens_a_span_where_none_of_the_programs_is_current(around, keys, collector, monkeypatch):
    """It writes on the current span in place of that, after a phase has ended even; on one of the program's it does as untraced."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    name = "litellm.integrations.opentelemetry"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    module = vars(sys.modules[name])
    exec(LITELLM, module)

    class Asks(Node):
        def exec(self, prep_res):
            module["complete"]()

    if around:
        with trace.get_tracer("web").start_as_current_span("request"):
            run(Asks())
    else:
        run(Asks())
    assert flush(10)
    (called,) = exporter.get_finished_spans()
    assert "model-1" == called.attributes["gen_ai.request.model"]
    if around:
        assert "request" == called.name
    else:
        (above,) = [span for span in collector.spans() if span.name == "Asks.exec"]
        assert (above.trace_id, above.span_id) == (f"{called.context.trace_id:032x}", f"{called.parent.span_id:016x}")


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


# --- what a node leaves behind for the nodes after it --------------------------------------------------------------------


@pytest.fixture
def theirs():
    """A tracer of the program's, with a backend of its own: `finished()` shows its spans as (name, name of the parent)."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("theirs")

    def finished():
        spans = exporter.get_finished_spans()
        names = {span.context.span_id: span.name for span in spans}
        return [(span.name, names.get(span.parent.span_id, "ours") if span.parent else None) for span in spans]

    tracer.finished = finished
    tracer.exporter = exporter
    return tracer


class Opens(Node):
    """Opens a span in prep and closes it in post."""

    def __init__(self, tracer, **options):
        super().__init__(**options)
        self.tracer = tracer

    def prep(self, shared):
        self.block = self.tracer.start_as_current_span("work")
        self.block.__enter__()

    def exec(self, prep_res):
        with self.tracer.start_as_current_span("query"):
            pass

    def post(self, shared, prep_res, exec_res):
        self.block.__exit__(None, None, None)
        with self.tracer.start_as_current_span("after"):
            pass


@pytest.mark.parametrize("off", [None, "prep", "exec", "post"])
def test_a_span_that_prep_opens_goes_on_until_post_closes_it(off, theirs, records):
    """What exec starts is its child, as untraced; what post starts after it belongs to post."""
    use(records, **({f"trace_{off}": False} if off else {}))
    first = Opens(theirs)
    first >> Opens(theirs)
    trace_flow(Flow(start=first)).run({})
    assert [("query", "work"), ("work", "ours"), ("after", "ours")] * 2 == theirs.finished()
    ids = {int(span.span_id, 16): span.name.replace("#2", "") for span in records.spans()}
    parents = [ids[span.parent.span_id] for span in theirs.exporter.get_finished_spans() if span.name != "query"]
    expected = ["Opens" if off == "prep" else "Opens.prep", "Opens" if off == "post" else "Opens.post"]
    assert expected * 2 == parents
    assert {} == otel_context.get_current()


def test_baggage_that_a_node_attaches_reaches_the_nodes_after_it(theirs):
    """The context that a node attaches for good lasts over later phases, their spans stand on it, and outlasts the run."""
    seen = []

    class Login(Node):
        def exec(self, prep_res):
            otel_context.attach(baggage.set_baggage("user", "ada"))

    class Looks(Node):
        def exec(self, prep_res):
            seen.append(baggage.get_baggage("user"))
            with theirs.start_as_current_span("query") as span:
                return span.parent.span_id, int(current_trace_id(), 16) == span.get_span_context().trace_id

    login = Login()
    login >> Looks() >> Looks()
    before = otel_context.attach(otel_context.Context({"kept": 1}))
    try:
        trace_flow(Flow(start=login), user_id="bob").run({})
        assert ["ada", "ada"] == seen
        assert [("query", "ours")] * 2 == theirs.finished()
        assert {"kept": 1, **baggage.set_baggage("user", "ada", otel_context.Context())} == otel_context.get_current()
    finally:
        otel_context.detach(before)


def test_context_in_async_phases_lasts_within_their_task(theirs):
    """As untraced: over the phases of the task, and not out of it."""
    seen = []

    class Sets(AsyncNode):
        async def prep_async(self, shared):
            shared["token"] = otel_context.attach(baggage.set_baggage("tenant", "acme"))

        async def exec_async(self, prep_res):
            await asyncio.sleep(0)
            seen.append(baggage.get_baggage("tenant"))

    async def main():
        flow = trace_flow(AsyncFlow(start=Sets()), session_id="s")
        await asyncio.gather(flow.run_async({}), flow.run_async({}))
        assert {} == otel_context.get_current()
        shared = {}
        await flow.run_async(shared)
        seen.append(baggage.get_baggage("tenant"))
        otel_context.detach(shared["token"])
        assert {} == baggage.get_all()
        assert not trace.get_current_span().get_span_context().is_valid
        assert not [key for key in otel_context.get_current() if key.startswith("langfuse")]

    asyncio.run(main())
    assert ["acme"] * 4 == seen


def test_a_long_loop_of_nodes_that_attach_keeps_no_context(theirs):
    """Nothing of the phases before hangs at the context that is current."""

    class Loops(Opens):
        def post(self, shared, prep_res, exec_res):
            super().post(shared, prep_res, exec_res)
            otel_context.attach(baggage.set_baggage("round", shared["rounds"]))
            shared["rounds"] -= 1
            if not shared["rounds"]:
                gc.collect()
                shared["contexts"] = sum(type(each) is otel_context.Context for each in gc.get_objects())
                return "end"
            return "again"

    found = []
    for rounds in (3, 100):
        shared = {"rounds": rounds}
        loop = Loops(theirs)
        loop - "again" >> loop
        loop - "end" >> Node()
        trace_flow(Flow(start=loop)).run(shared)
        found.append(shared["contexts"])
    assert found[1] <= found[0] + 3


def test_a_span_that_outlasts_the_run_leaves_nothing_of_it(theirs, records):
    """Closed by the caller it puts a context of the run back: that one is no run's any more, and runs after it are new ones."""
    use(records)

    class Leaves(Node):
        def post(self, shared, prep_res, exec_res):
            shared["block"] = theirs.start_as_current_span("session")
            shared["block"].__enter__()

    flow = trace_flow(Flow(start=Leaves()), user_id=lambda shared: shared.get("user"))
    for user in ("ada", None, None):
        shared = {"user": user}
        flow.run(shared)
        shared["block"].__exit__(None, None, None)
        assert not trace.get_current_span().get_span_context().is_valid
        assert not [key for key in otel_context.get_current() if key.startswith("langfuse")]
        with theirs.start_as_current_span("unrelated"):
            pass
    assert [("session", "ours"), ("unrelated", None)] * 3 == theirs.finished()
    records.flushed()
    assert 3 == len({run.trace_id for run in records.runs.values()})
    assert ["ada", None, None] == [run.user_id for run in sorted(records.runs.values(), key=lambda run: run.start_ns)]


def test_a_context_of_a_run_is_no_ones_after_it(theirs, records):
    """Attached again when the run is over it reads as the span around, in another thread too, where it still stood during it."""
    use(records)
    kept = []

    class Keeps(Node):
        def exec(self, prep_res):
            kept.append(otel_context.get_current())
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(starts).result()

        def post(self, shared, prep_res, exec_res):
            shared["parent"] = exec_res

    def starts():
        token = otel_context.attach(kept[0])
        try:
            with theirs.start_as_current_span("in a thread") as span:
                return span.parent and span.parent.span_id
        finally:
            otel_context.detach(token)

    shared = {}
    with theirs.start_as_current_span("request") as request:
        trace_flow(Flow(start=Keeps()), user_id="ada").run(shared)
    assert int(records.span("Keeps.exec").span_id, 16) == shared["parent"]
    assert request.get_span_context().span_id == starts()
    token = otel_context.attach(kept[0])
    try:
        trace_flow(Flow(start=Node())).run({})
    finally:
        otel_context.detach(token)
    (later,) = [run for run in records.flushed().runs.values() if run.user_id is None]
    (root,) = [span for span in records.spans() if span.span_id == later.run_id]
    assert f"{request.get_span_context().span_id:016x}" == root.parent_id


def test_what_a_run_has_left_running_still_belongs_to_it(theirs, records):
    """A task that outlasts its run starts spans below the phase that made it."""
    use(records)
    tasks = []

    async def later(go):
        await go.wait()
        with theirs.start_as_current_span("later") as span:
            return span.parent.span_id

    class Starts(AsyncNode):
        async def exec_async(self, prep_res):
            go = asyncio.Event()
            tasks.append((go, asyncio.create_task(later(go))))

    async def main():
        await trace_flow(AsyncFlow(start=Starts())).run_async({})
        ((go, task),) = tasks
        go.set()
        return await task

    assert asyncio.run(main()) == int(records.span("Starts.exec").span_id, 16)


class Again(AsyncNode):
    """Sees to the next run of what it is told to run, until there have been enough."""

    async def post_async(self, shared, prep_res, exec_res):
        loop = asyncio.get_running_loop()
        shared["left"] -= 1
        if not shared["left"]:
            return shared["done"].set_result(None)
        loop.call_soon(lambda: shared["tasks"].append(loop.create_task(shared["job"](shared))))
        shared["tasks"] = [task for task in shared["tasks"] if not task.done()]
        return None


async def chain(job, rounds):
    shared = {"left": rounds, "done": asyncio.get_running_loop().create_future(), "tasks": [], "job": job}
    await job(shared)
    await asyncio.wait_for(shared["done"], 20)
    await asyncio.gather(*shared["tasks"])


def kept():
    assert flush(10)
    gc.collect()
    of_a_run = (recorder.Run, recorder.Span, _otel_span.Here, otel_context.Context)
    return sum(issubclass(type(value), of_a_run) for value in gc.get_objects())


def chained(what, tracer):
    """A job that runs a flow, function or node, as the name of the case says."""
    flow, node = AsyncFlow(start=Again()), Again()
    if what == "node":
        instrument()
        return node.run_async
    if what == "span":  # one of the program's around each
        trace_flow(flow)

        async def inside(shared):
            with tracer.start_as_current_span("poll"):
                await flow.run_async(shared)

        return inside
    if what == "function":

        @trace_flow
        async def poll(shared):
            await flow.run_async(shared)

        return poll
    if what == "marked":
        trace_flow(flow)
        return flow.run_async
    first = trace_flow(AsyncFlow(start=Again()))
    flows = iter([first])
    return lambda shared: next(flows, flow).run_async(shared)  # in the context of a traced run, but not marked


@pytest.mark.parametrize("what", ["marked", "unmarked", "node", "function", "span"])
def test_a_job_that_starts_its_own_next_run(what, theirs, records):
    """Each is a run of its own, in one trace, below the node that started it by its id; nothing is kept of those before."""
    use(records)
    try:
        job = chained(what, theirs)
        asyncio.run(chain(job, 5))
        records.flushed()
        runs = sorted(records.runs.values(), key=lambda run: run.start_ns)
        assert (5, 1) == (len(runs), len({run.trace_id for run in runs}))
        posts = [span.span_id for span in records.spans("Again.post")]
        above = [records.by_id[run.run_id].parent_id for run in runs]
        if what == "span":
            made = theirs.exporter.get_finished_spans()
            assert posts[:-1] == [f"{span.parent.span_id:016x}" for span in made[1:]]
            assert above == [f"{span.context.span_id:016x}" for span in made]
        else:
            assert above == [None, *posts[:-1]]
        records.clear()
        job = chained(what, theirs)
        before = kept()
        counts = []
        counting = chain(job, 60)

        async def main():
            await counting
            counts.append(kept())

        asyncio.run(main())
        assert counts[0] - before < 30
    finally:
        uninstrument()


def test_a_run_that_another_has_left_running_says_its_own(records):
    """It stays in the session of the trace; its tags and metadata are what its own flow says, and what stands around it."""
    use(records)
    flow = trace_flow(
        AsyncFlow(start=Again()),
        session_id=lambda shared: "first" if shared["left"] == 2 else None,
        tags=lambda shared: [f"left {shared['left']}"],
        metadata=lambda shared: {"left": shared["left"]},
    )

    async def main():
        with propagate_attributes(tags=["around"]):
            await chain(flow.run_async, 2)

    asyncio.run(main())
    first, second = sorted(records.flushed().runs.values(), key=lambda run: run.start_ns)
    assert ("first", {"left 2", "around"}, {"left": 2}) == (first.session_id, {*first.tags}, first.metadata)
    assert ("first", {"left 1", "around"}, {"left": 1}) == (second.session_id, {*second.tags}, second.metadata)


def test_a_flow_that_was_left_running_goes_on_in_its_run(records):
    """Its nodes that begin when the run is over are still its nodes, and its nested flows."""
    use(records)
    tasks = []

    class Waits(AsyncNode):
        async def exec_async(self, go):
            await tasks[0][0].wait()

    class Inner(AsyncNode):
        async def exec_async(self, _):
            await AsyncFlow(start=AsyncNode()).run_async({})

    def left_running():
        waits = Waits()
        waits >> AsyncFlow(start=Inner())
        return AsyncFlow(start=waits)

    class Starts(AsyncNode):
        async def exec_async(self, _):
            tasks.append((asyncio.Event(), asyncio.create_task(left_running().run_async({}))))
            await asyncio.sleep(0)

    async def main():
        await trace_flow(AsyncFlow(start=Starts())).run_async({})
        ((go, task),) = tasks
        go.set()
        await task

    asyncio.run(main())
    run = records.run()
    assert {run.run_id} == {span.run_id for span in records.spans()}
    assert 1 == len(records.spans("Inner.exec"))


def test_a_dropped_run_is_nobodys_parent(theirs, records):
    """Spans of the program in a run that sampling dropped are as untraced."""
    use(records, sample_rate=0.0)
    login = Opens(theirs)
    login >> Opens(theirs)
    trace_flow(Flow(start=login)).run({})
    assert [("query", "work"), ("work", None), ("after", None)] * 2 == theirs.finished()
    assert 4 == len({span.context.trace_id for span in theirs.exporter.get_finished_spans()})


def test_langfuse_spans_left_open_have_what_follows_below_them(keys, collector):
    """A generation of exec hangs at the observation that prep has opened."""
    from generating import generate

    client = Langfuse()

    class Works(Node):
        def prep(self, shared):
            self.block = client.start_as_current_observation(name="work")
            self.block.__enter__()

        def exec(self, prep_res):
            return generate("prompt")

        def post(self, shared, prep_res, exec_res):
            self.block.__exit__(None, None, None)

    run(Works())
    assert flush(10)
    assert (
        ("Flow", ("Works", ("Works.prep", ("work", "generation")), "Works.exec", "Works.post")),
    ) == collector.tree()


def test_a_scope_that_was_left_open_ends_with_the_one_around():
    """A time limit between two instructions may leave one behind that nobody knows: it ends with that around it."""
    outer, inner, innermost = (SimpleNamespace(span=None, trace_id=1, attached=None) for _ in range(3))
    for scope in (outer, inner, innermost):
        _otel.attach(scope)
    _otel.detach(outer.attached)
    assert {} == otel_context.get_current()
    assert not trace.get_current_span().get_span_context().is_valid


def test_what_the_host_has_attached_outlasts_the_run_it_was_attached_in(records):
    """A job that a node has handed on with its context runs a flow when the node's run is over, and knows the tenant there."""
    kept = {}

    class Order(Node):
        def exec(self, prep_res):
            token = otel_context.attach(baggage.set_baggage("tenant", "acme"))
            kept["context"] = otel_context.get_current()
            otel_context.detach(token)

    class Mail(Node):
        def exec(self, prep_res):
            kept["tenant"] = baggage.get_baggage("tenant")

    def job():
        otel_context.attach(kept["context"])
        trace_flow(Flow(start=Mail()), flow_name="mail").run({})

    trace_flow(Flow(start=Order()), flow_name="order", user_id="ada").run({})
    contextvars.Context().run(job)
    assert kept["tenant"] == "acme"
    records.flushed()
    order, mail = sorted(records.runs.values(), key=lambda run: run.name, reverse=True)
    assert (order.user_id, mail.user_id) == ("ada", None)
    assert order.trace_id != mail.trace_id


def test_a_run_that_langfuse_does_not_get_claims_nothing_there(collector):
    """Without keys in the environment runs go to the store; generations of the program's own client are roots where they go."""
    names = {"secret_key": "LANGFUSE_SECRET_KEY", "base_url": "LANGFUSE_BASE_URL", "public_key": "LANGFUSE_PUBLIC_KEY"}
    client = Langfuse(**{key: collector.environ[name] for key, name in names.items()})
    run(Calls())
    client.flush()
    (generation,) = collector.spans()
    assert "generation" == generation.name
    assert generation.attributes[ROOT_MARK]


class Steps(Node):
    """A node whose tool is a flow of its own."""

    def exec(self, prep_res):
        observe(name="step")(lambda: Flow(start=Calls()).run({}))()


STEPS = ("Flow", ("Steps", "Steps.prep", ("Steps.exec", ("step", expected(Calls()))), "Steps.post"))


@pytest.mark.parametrize("destination", ["langfuse", "store"])
def test_a_flow_in_a_span_that_a_node_has_opened_stands_below_it(destination, request, monkeypatch):
    """As generations do, and as an untraced flow's would."""
    if destination == "langfuse":
        request.getfixturevalue("keys")
        collector = request.getfixturevalue("collector")
    run(Steps())
    assert flush(10)
    if destination == "langfuse":
        assert (STEPS,) == collector.tree()
    else:
        by_id = {span.span_id: span.name for span in stored()}
        above = {span.name: by_id.get(span.parent_id) for span in stored() if span.parent_id is not None}
        above = {name: above[name] for name in ("Flow", "step", "generation")}
        assert {"Flow": "step", "step": "Steps.exec", "generation": "Calls.exec"} == above


class KeepsOpen(Node):
    """A node whose span goes on over its phases."""

    def prep(self, shared):
        self.opened = get_client().start_as_current_observation(name="open")
        self.opened.__enter__()

    def exec(self, prep_res):
        trace_flow(named)()

    def post(self, shared, prep_res, exec_res):
        self.opened.__exit__(None, None, None)


def named():
    Flow(start=Calls()).run({})


def test_a_span_that_is_left_open_takes_no_flow_out_of_its_place(keys, collector):
    """It is around all that comes while it is open, and tells nothing of where that was begun."""
    run(KeepsOpen())
    assert flush(10)
    (tree,) = collector.tree()
    flow = ("Flow", ("Calls", "Calls.prep", "Calls.exec", "Calls.post"))  # the generation stands below the open span
    assert ("KeepsOpen.exec", ("named", flow)) in tree[1]


def test_a_flow_in_a_span_that_a_filter_may_drop_stays_below_its_phase(keys, collector):
    """Nobody knows yet whether Langfuse gets that span."""
    Langfuse(should_export_span=lambda span: span.name != "step")
    run(Steps())
    assert flush(10)
    get_client().flush()
    (tree,) = collector.tree()
    assert ("Steps.exec", expected(Calls())) in tree[1]


def test_a_flow_in_the_span_around_its_run_stays_in_the_run(keys, collector):
    """A node that makes that span current again moves nothing out of the run."""

    class Back(Node):
        def exec(self, prep_res):
            with trace.use_span(around):
                Flow(start=Calls()).run({})

    with get_client().start_as_current_observation(name="around"):
        around = trace.get_current_span()
        run(Back())
    get_client().flush()
    assert flush(10)
    (tree,) = collector.tree()
    assert ("around", ("Flow", ("Back", "Back.prep", ("Back.exec", expected(Calls())), "Back.post"))) == tree


def test_a_flow_in_a_span_that_langfuse_does_not_get_stays_below_its_phase(keys, collector):
    """It would have no parent there."""
    provider = TracerProvider()

    class Other(Node):
        def exec(self, prep_res):
            with provider.get_tracer("other").start_as_current_span("other"):
                trace_flow(Flow(start=Calls())).run({})

    run(Other())
    assert flush(10)
    assert (("Flow", ("Other", "Other.prep", ("Other.exec", expected(Calls())), "Other.post")),) == collector.tree()


def test_a_flow_of_a_task_that_outlives_its_span_stands_below_that(keys, collector):
    """As its generations do: the span is around the task, though it has ended."""

    class Dispatches(AsyncNode):
        async def exec_async(self, prep_res):
            with get_client().start_as_current_observation(name="dispatch"):
                task = asyncio.create_task(AsyncFlow(start=CallsAsync()).run_async({}))
            await task

    run(Dispatches())
    assert flush(10)
    (tree,) = collector.tree()
    assert ("Dispatches.exec", ("dispatch", expected(CallsAsync()))) in tree[1]


class ReplacesItsDefault(TracerProvider):
    """A provider as Phoenix's: the first processor that is added ends its own exporter, unless it is told not to."""

    def __init__(self, exporter):
        super().__init__()
        self.default = SimpleSpanProcessor(exporter)
        super().add_span_processor(self.default)

    def add_span_processor(self, span_processor, replace_default_processor=True):
        if replace_default_processor:
            self.default.shutdown()
            self._active_span_processor._span_processors = ()
        super().add_span_processor(span_processor)


@pytest.mark.parametrize("has_keys", [True, False])
def test_a_provider_keeps_its_own_exporter(has_keys, request):
    """Whatever is added to it for a run."""
    if has_keys:
        request.getfixturevalue("keys")
    exporter = InMemorySpanExporter()
    provider = ReplacesItsDefault(exporter)
    trace.set_tracer_provider(provider)

    class Opens(Node):
        def exec(self, prep_res):
            provider.get_tracer("mine").start_span("in a node").end()

    run(Opens())
    provider.get_tracer("mine").start_span("after").end()
    assert ["in a node", "after"] == [span.name for span in exporter.get_finished_spans()]


def test_spans_of_a_mask_leave_nothing_behind(keys, collector):
    """They are not exported, and nothing waits for their end."""
    ask = observe(name="ask")(lambda: None)

    def mask(value, path):
        ask()
        return value

    run(Calls(), config=TracingConfig(mask=mask))
    assert flush(10)
    (processor,) = client_of(collector).span_exporter.made_by._ours.processors
    assert {} == getattr(processor, "_span_export_expectation_by_id", {})
    assert "ask" not in {span.name for span in collector.spans()}


def test_what_walks_through_objects_finds_nothing_of_a_run(keys, collector, monkeypatch):
    """The SDK writes all that it finds in what an `@observe` function is given: in a client, a span, a flow."""
    monkeypatch.setenv("POCKETFLOW_TRACE_STORE", ".pocketflow/traces.db")
    found = []

    class Gives(Node):
        def exec(self, prep_res):
            generate("prompt")
            around = otel_context.get_current()
            with get_client().start_as_current_observation(name="open"):
                for given in (get_client(), trace.get_tracer_provider(), around, self, flow):
                    found.append(json.dumps(given, cls=EventSerializer))

    flow = trace_flow(Flow(start=Gives()), config=TracingConfig(redact=["canary"], mask=lambda value, path: value))
    flow.run({"note": "canary"})
    assert 5 == len(found)
    assert "canary" not in "".join(found)
    assert not dataclasses.is_dataclass(vars(flow)["__pocketflow_tracing__"])


@pytest.mark.parametrize("nested", [False, True])
def test_a_generation_in_a_thread_with_the_context_of_opentelemetry_alone(nested, keys, collector):
    """What its run hides is hidden there as well, and in what stands below it."""

    @observe(name="outer")
    def outer(prompt):
        return generate({"canary_key": prompt})

    class Private(Node):
        def exec(self, prep_res):
            around = otel_context.get_current()

            def work():
                otel_context.attach(around)
                (outer if nested else generate)("canary")

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    run(Calls())  # the project's own settings hide nothing
    run(Private(), config=TracingConfig(trace_inputs=False, trace_outputs=False))
    assert flush(10)
    assert 2 == [span.name for span in collector.spans()].count("generation")
    assert "canary" not in repr([span.attributes for span in collector.spans()])
