"""A generation that is made in another thread, task, process or program lands under the node that caused it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from contextvars import ContextVar

import pytest
from collector import Collector
from kit import use
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pocketflow import Flow, Node

from pocketflow_tracing import continue_trace, trace_attributes, trace_flow, trace_headers, with_context

PROGRAM = """
import asyncio, json, os, subprocess, sys, threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import multiprocessing

from langfuse import get_client, observe
from pocketflow import AsyncFlow, AsyncNode, Flow, Node
from pocketflow_tracing import continue_trace, flush, trace_flow, trace_headers, with_context

@observe(as_type="generation")
def generate(prompt):
    get_client().update_current_generation(model="stand-in")
    return prompt.upper()

def over_there(headers, prompt):
    with continue_trace(headers):
        answer = generate(prompt)
    get_client().flush()
    return answer

class Remote(Node):
    def exec(self, _):
        return self.work()
"""

WAYS = {
    "thread pool": """
        class Remote(Remote):
            def work(self):
                with ThreadPoolExecutor(2) as pool:
                    return list(pool.map(with_context(generate), ["a", "b"]))
        trace_flow(Flow(start=Remote()), flow_name="Drill").run({})
    """,
    "thread": """
        class Remote(Remote):
            def work(self):
                threads = [threading.Thread(target=with_context(generate), args=(text,)) for text in "ab"]
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
        trace_flow(Flow(start=Remote()), flow_name="Drill").run({})
    """,
    "to_thread": """
        class Remote(AsyncNode):
            async def exec_async(self, _):
                return await asyncio.gather(asyncio.to_thread(generate, "a"), asyncio.to_thread(generate, "b"))
        asyncio.run(trace_flow(AsyncFlow(start=Remote()), flow_name="Drill").run_async({}))
    """,
    "process pool": """
        class Remote(Remote):
            def work(self):
                headers = trace_headers()
                with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
                    return [future.result() for future in [pool.submit(over_there, headers, text) for text in "ab"]]
        if __name__ == "__main__":
            trace_flow(Flow(start=Remote()), flow_name="Drill").run({})
    """,
    "http": """
        if len(sys.argv) > 1:  # the other program, with the headers of the request
            headers = json.loads(sys.argv[1])
            over_there(headers, "a"); over_there(headers, "b")
            sys.exit()
        class Remote(Remote):
            def work(self):
                subprocess.run([sys.executable, __file__, json.dumps(trace_headers())], check=True)
        trace_flow(Flow(start=Remote()), flow_name="Drill").run({})
    """,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_generation_lands_under_its_node(way, tmp_path, program_environment):
    """Both generations are children of the attempt that asked for them, in one trace."""
    (tmp_path / "program.py").write_text(PROGRAM + textwrap.dedent(WAYS[way]))
    with Collector() as collector:
        done = subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env={**program_environment, **collector.environ},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        collector.wait_for(7, timeout=10)
        assert collector.tree() == (
            ("Drill", ("Remote", "Remote.prep", ("Remote.exec", "generate", "generate"), "Remote.post")),
        )


def test_a_flow_in_another_program_continues_the_trace(tmp_path, program_environment):
    """A traced flow inside `continue_trace` is a child of the node whose headers it got."""
    code = """
        if len(sys.argv) > 1:
            class Inner(Node):
                pass
            with continue_trace(json.loads(sys.argv[1])):
                trace_flow(Flow(start=Inner()), flow_name="Inner").run({})
            sys.exit()
        class Outer(Node):
            def exec(self, _):
                subprocess.run([sys.executable, __file__, json.dumps(trace_headers())], check=True)
        trace_flow(Flow(start=Outer()), flow_name="Drill").run({})
    """
    (tmp_path / "program.py").write_text(PROGRAM + textwrap.dedent(code))
    with Collector() as collector:
        done = subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env={**program_environment, **collector.environ},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        inner = ("Inner", ("Inner", "Inner.prep", "Inner.exec", "Inner.post"))
        assert collector.tree() == (("Drill", ("Outer", "Outer.prep", ("Outer.exec", inner), "Outer.post")),)


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": PARENT},
        {"TraceParent": PARENT.encode()},
        {b"traceparent": bytearray(PARENT.encode()), 1: 2, "other": None},
        [("content-type", b"x"), ("traceparent", PARENT.encode())],
        ((b"traceparent", PARENT),),
        {"traceparent": [PARENT.encode()]},
        {"PATH_INFO": "/", "HTTP_TRACEPARENT": PARENT, "wsgi.version": (1, 0)},
        {"HTTP_TRACEPARENT": PARENT, "TRACEPARENT": PARENT.replace("7", "1")},
    ],
)
def test_headers_as_clients_of_queues_give_them(headers, records):
    """Kafka and RabbitMQ give bytes, ASGI pairs of them, WSGI and Django its environ, with the process's variables."""
    use(records)
    with continue_trace(headers):
        trace_flow(Flow(start=Node())).run({})
    assert PARENT[3:35] == records.run().trace_id
    assert PARENT[36:52] == records.span("Flow").parent_id


@pytest.mark.parametrize("headers", [None, {}, [], {"traceparent": None}, {"traceparent": b"\xff"}, {None: object()}])
def test_headers_without_a_trace(headers, records):
    """Nothing changes."""
    use(records)
    with continue_trace(headers):
        trace_flow(Flow(start=Node())).run({})
    assert records.span("Flow").parent_id is None


def test_a_trace_that_is_gone_on_with_inside_of_a_run(records):
    """A worker whose loop is traced takes jobs of several traces; what leads to the run itself stays in it."""
    use(records)

    class Inner(Flow):
        pass

    class Work(Node):
        def exec(self, _):
            with continue_trace({"traceparent": PARENT}):
                Inner(start=Node()).run({})
            with continue_trace(trace_headers()):
                Inner(start=Node()).run({})
            Inner(start=Node()).run({})

    trace_flow(Inner)
    trace_flow(Flow(start=Work())).run({})
    flows = [span for span in records.flushed().spans() if span.kind == "flow"]
    outer = next(span for span in flows if span.name == "Flow")
    inside = sorted((span for span in flows if span.name == "Inner"), key=lambda span: span.start_ns)
    assert [PARENT[3:35], outer.trace_id, outer.trace_id] == [span.trace_id for span in inside]
    assert PARENT[36:52] == inside[0].parent_id
    assert {outer.run_id} == {span.run_id for span in inside[1:]}


@pytest.mark.parametrize("headers", [5, ["traceparent"], PARENT, object()])
def test_what_is_no_headers_never_raises(headers, records, caplog):
    """It is said in words, without what it is, and the message is handled all the same."""
    use(records)
    with continue_trace(headers):
        trace_flow(Flow(start=Node())).run({})
    assert records.span("Flow").parent_id is None
    assert f"a mapping or in pairs of name and value, not a {type(headers).__name__}" in caplog.text
    assert PARENT not in caplog.text


VALUE: ContextVar[str] = ContextVar("value", default="not bound")


class Kinds:
    """Functions of each kind that say what they see before and after they have been left for a while."""

    def plain(self, given):
        return [VALUE.get(), given, VALUE.get()]

    async def coroutine(self, given):
        before = VALUE.get()
        await asyncio.sleep(0)
        return [before, given, VALUE.get()]

    def generator(self, given):
        yield VALUE.get()
        yield given
        yield VALUE.get()

    async def async_generator(self, given):
        yield VALUE.get()
        await asyncio.sleep(0)
        yield given
        yield VALUE.get()


class Called:
    async def __call__(self, given):
        return await Kinds().coroutine(given)


IS_KIND = {
    "coroutine": inspect.iscoroutinefunction,
    "generator": inspect.isgeneratorfunction,
    "async_generator": inspect.isasyncgenfunction,
}


def bound_here(function):
    token = VALUE.set("bound")
    try:
        return with_context(function)
    finally:
        VALUE.reset(token)


def seen(called):
    """What a call of a function of any kind answers."""

    async def everything():
        if hasattr(called, "__aiter__"):
            return [value async for value in called]
        return await called

    if hasattr(called, "__await__") or hasattr(called, "__aiter__"):
        return asyncio.run(everything())
    return [*called]


@pytest.mark.parametrize("name", ["plain", "coroutine", "generator", "async_generator"])
@pytest.mark.parametrize("form", ["method", "partial"])
def test_a_function_of_any_kind_is_bound_and_stays_of_its_kind(name, form):
    method = getattr(Kinds(), name)
    bound = bound_here(method if form == "method" else functools.partial(method))
    assert {kind for kind, ask in IS_KIND.items() if ask(bound)} == {name} - {"plain"}
    for _ in range(2):
        assert seen(bound("given")) == ["bound", "given", "bound"]
    assert VALUE.get() == "not bound"


def test_an_object_that_is_called_like_a_coroutine_function_is_bound():
    assert seen(bound_here(Called())("given")) == ["bound", "given", "bound"]


@pytest.mark.parametrize("bind", [with_context, trace_attributes(user_id="u"), trace_flow()])
def test_a_method_of_a_remote_object_is_bound(bind):
    """It has something of its own for any name that is asked for, as a method of `xmlrpc.client.ServerProxy`."""

    class Remote:
        def __getattr__(self, name):
            return Remote()

        def __call__(self, one, two):
            return one + two

    assert 3 == bind(Remote())(1, 2)


def test_what_is_sent_and_thrown_reaches_a_bound_generator():
    said = []

    @bound_here
    def generator():
        try:
            while True:
                try:
                    said.append((yield VALUE.get()))
                except KeyError as error:
                    said.append(error)
        finally:
            said.append(VALUE.get())

    values, error = generator(), KeyError()
    assert (next(values), values.send(1), values.throw(error)) == ("bound",) * 3
    values.close()
    assert said == [1, error, "bound"]


def test_what_is_sent_and_thrown_reaches_a_bound_async_generator():
    said = []

    @bound_here
    async def generator():
        try:
            while True:
                try:
                    said.append((yield VALUE.get()))
                except KeyError as error:
                    said.append(error)
        finally:
            await asyncio.sleep(0)
            said.append(VALUE.get())

    async def main():
        values = generator()
        assert [await values.asend(None), await values.asend(1), await values.athrow(error)] == ["bound"] * 3
        await values.aclose()

    error = KeyError()
    asyncio.run(main())
    assert said == [1, error, "bound"]


def test_a_bound_coroutine_is_cancelled_and_raises_as_any_other():
    said = []

    @bound_here
    async def waits(started):
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            said.append(VALUE.get())
            raise

    @bound_here
    async def fails():
        await asyncio.sleep(0)
        raise KeyError("a")

    async def main():
        started = asyncio.Event()
        task = asyncio.create_task(waits(started))
        await asyncio.wait_for(started.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(KeyError, match="a"):
            await fails()

    asyncio.run(main())
    assert said == ["bound"]


def jobs():
    with continue_trace({"traceparent": PARENT}):
        yield 1


def test_a_trace_that_is_gone_on_with_until_after_the_run(records):
    """A generator that is begun in a node and closed later leaves nothing of the run, nor of the other trace."""
    use(records)
    values = jobs()

    class Begin(Node):
        def exec(self, _):
            next(values)

    trace_flow(Flow(start=Begin()), flow_name="First").run({})
    values.close()
    assert not get_current_span().get_span_context().is_valid
    trace_flow(Flow(start=Node()), flow_name="After").run({})
    after = records.span("After")
    assert after.parent_id is None
    assert after.trace_id not in {PARENT[3:35], records.span("First").trace_id}


def test_a_trace_that_is_left_in_another_context(records, caplog):
    """As a dependency with a `yield` is by FastAPI: OpenTelemetry says nothing of a context that it cannot detach."""
    values = jobs()
    contextvars.copy_context().run(next, values)
    contextvars.copy_context().run(values.close)
    assert [] == caplog.records


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_trace_that_is_gone_on_with_in_a_run_that_is_not_recorded(rate, records, monkeypatch):
    """The job's trace is its own, whatever became of the worker's."""
    use(records)
    monkeypatch.setattr("pocketflow_tracing._pipeline.Pipeline.samples", lambda _, trace_id: rate or is_jobs(trace_id))

    def is_jobs(trace_id):
        return f"{trace_id:032x}" == PARENT[3:35]

    job = trace_flow(Flow(start=Node()), flow_name="Job")

    class Work(Node):
        def exec(self, _):
            for _ in jobs():
                job.run({})

    trace_flow(Flow(start=Work())).run({})
    assert PARENT[3:35] == records.span("Job").trace_id
    assert PARENT[36:52] == records.span("Job").parent_id


@pytest.mark.parametrize("how", [with_context, trace_attributes(tags=["stream"])])
@pytest.mark.parametrize("end", ["of the loop", "by the collector"])
def test_an_async_generator_that_is_left_open_is_closed_once(how, end, caplog):
    """By its loop, which knows of the one around it alone; its own `finally` may await."""
    closed = []

    @how
    async def tokens():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(1)

    async def leave():
        values = tokens()
        async for _ in values:
            break
        if end == "by the collector":
            circle = [values]
            circle.append(circle)
            del values, circle
            gc.collect()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        else:
            left.append(values)

    left = []
    asyncio.run(leave())
    assert [1] == closed
    assert [] == caplog.records


@pytest.mark.parametrize("headers", [{}, {"traceparent": PARENT}])
def test_the_programs_own_context_stays(headers):
    """Baggage and whatever else it has there; a trace to go on with adds to it."""
    token = otel_context.attach(baggage.set_baggage("tenant", "7", otel_context.set_value("mine", 1)))
    try:
        with continue_trace(headers):
            assert "7" == baggage.get_baggage("tenant")
            assert 1 == otel_context.get_value("mine")
    finally:
        otel_context.detach(token)


def test_what_a_run_says_of_itself_is_not_said_of_another_trace(records):
    """That a worker goes on with in it."""
    use(records)

    class Work(Node):
        def exec(self, _):
            with continue_trace({"traceparent": PARENT}):
                trace_flow(Flow(start=Node()), flow_name="Job").run({})

    trace_flow(Flow(start=Work()), session_id="worker", tags=["loop"]).run({})
    job = next(run for run in records.flushed().runs.values() if run.trace_id == PARENT[3:35])
    assert (None, []) == (job.session_id, job.tags)


@pytest.mark.parametrize("is_around", [True, False])
def test_a_tracer_that_is_switched_off_leaves_the_programs_span_alone(is_around, records):
    """A library in a node may have one: OpenTelemetry's own hands out the current span where that one records nothing."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    here = []

    class UsesLibrary(Node):
        def exec(self, prep_res):
            with contextlib.suppress(ValueError), NoOpTracer().start_as_current_span("library") as span:
                here.append(span.get_span_context().span_id)
                span.update_name("renamed")
                span.set_attribute("prompt", "secret")
                raise ValueError("seen by the library")

    with provider.get_tracer("program").start_as_current_span("request") if is_around else nullcontext() as request:
        trace_flow(Flow(start=UsesLibrary())).run({})
        if request is not None:
            request.set_attribute("answer", 42)
    ((name, attributes),) = [(span.name, dict(span.attributes)) for span in exporter.get_finished_spans()] or [("", {})]
    assert (("request", {"answer": 42}) if is_around else ("", {})) == (name, attributes)
    (attempt,) = records.spans("UsesLibrary.exec")
    assert [int(attempt.span_id, 16)] == here
    assert "success" == records.run().status


@pytest.mark.parametrize("is_local", [True, False])
def test_the_state_of_a_trace_that_came_in_goes_on(is_local, records):
    """Vendors and samplers keep their own in `tracestate`; spans and requests of a node have it as without a run around them."""
    incoming = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "ot=th:c,vendor=abc",
    }
    tracer = TracerProvider().get_tracer("program")

    def told():
        sent: dict[str, str] = {}
        w3c.inject(sent)
        with tracer.start_as_current_span("child") as span:
            state = span.get_span_context().trace_state.to_header()
            return sent["traceparent"][:35], sent["tracestate"], state, span.parent.is_remote

    class Asks(Node):
        def exec(self, prep_res):
            return told()

        def post(self, shared, prep_res, exec_res):
            shared["told"] = exec_res

    w3c = TraceContextTextMapPropagator()
    token = otel_context.attach(w3c.extract(incoming))
    try:
        with tracer.start_as_current_span("server") if is_local else nullcontext():
            untraced = told()
            shared = {}
            trace_flow(Flow(start=Asks())).run(shared)
    finally:
        otel_context.detach(token)
    assert untraced == shared["told"]
