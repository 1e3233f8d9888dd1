"""Clients and providers that belong to the program: used, honoured, and left as they are."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import unittest.mock
from contextlib import closing
from pathlib import Path

import pytest
from collector import Collector, Mode
from generating import Calls, chat, expected, generate, run, stored
from langfuse import Langfuse, get_client, observe
from langfuse.types import MaskOtelSpansResult, OtelSpanPatch
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pocketflow import Flow, Node
from sdk_state import client_of, forget

from pocketflow_tracing import TracingConfig, _sdk, _uses, add_metadata, flush, shutdown, trace_flow
from pocketflow_tracing._sdk import instances
from pocketflow_tracing.delivery import delivery
from pocketflow_tracing.sinks.langfuse import LangfuseSink
from pocketflow_tracing.store import Outbox, Store


class Tells(Node):
    def prep(self, shared):
        return "canary in prep"

    def exec(self, prep_res):
        add_metadata(note="canary in metadata")
        return {"deep": ["canary in exec"]}

    def post(self, shared, prep_res, exec_res):
        shared["result"] = "canary in post"


def cover(data):
    """A mask as users write them: texts anywhere in a JSON-like value."""
    if isinstance(data, str):
        return data.replace("canary", "***")
    if isinstance(data, dict):
        return {key: cover(value) for key, value in data.items()}
    return [cover(value) for value in data] if isinstance(data, list) else data


def run_tells():
    trace_flow(Flow(start=Tells()), metadata={"about": "canary of the run"}).run({"given": "canary at the start"})
    assert flush(10)


def test_the_mask_of_the_programs_client_holds_for_us(keys, collector):
    """The `mask` of a client that the program made is applied to our inputs, outputs and metadata; the graph stays."""
    Langfuse(mask=lambda *, data, **kwargs: cover(data))
    run_tells()
    assert "canary" not in repr(collector.spans())
    assert "***" in repr(collector.spans())
    (node,) = [span for span in collector.spans() if span.name == "Tells"]
    assert "Tells" == node.attributes["langfuse.observation.metadata.langgraph_node"]
    assert "*** in metadata" == node.attributes["langfuse.observation.metadata.note"]


def test_our_mask_covers_the_names_of_generations(keys, collector):
    """And what they say of their failure and their events."""

    class Names(Node):
        def exec(self, prep_res):
            with get_client().start_as_current_observation(name="canary asks", as_type="generation") as generation:
                generation._otel_span.add_event("canary happened")
                generation._otel_span.set_status(StatusCode.ERROR, "canary failed")

    config = TracingConfig(mask=lambda value, path: value.replace("canary", "***") if isinstance(value, str) else value)
    trace_flow(Flow(start=Names()), config=config).run({})
    get_client().flush()
    assert flush(10)
    assert "canary" not in repr(collector.spans())
    assert "*** asks" in {span.name for span in collector.spans()}
    assert not any(b"canary" in request.body for request in collector.requests)


def test_a_mask_that_gives_something_else(keys, collector):
    """A mask may answer with a text for everything."""
    Langfuse(mask=lambda *, data, **kwargs: "gone")
    run_tells()
    assert "canary" not in repr(collector.spans())
    assert {"gone"} == {
        span.attributes["langfuse.observation.output"]
        for span in collector.spans()
        if "langfuse.observation.output" in span.attributes
    }


def test_a_mask_that_comes_late(keys, collector):
    """A client with a mask that the program makes in a run takes the place of ours; one without shares ours."""

    class Late(Node):
        def exec(self, prep_res):
            bare = Langfuse()
            assert bare._resources.span_exporter.of_pocketflow_tracing
            generate("canary before")
            masked = Langfuse(mask=lambda *, data, **kwargs: cover(data))
            assert masked._resources.span_exporter is None
            assert get_client()._resources is masked._resources
            generate("canary after")
            return "canary in exec"

    trace_flow(Flow(start=Late())).run({})
    get_client().flush()
    assert flush(10)
    first, second = (span for span in collector.spans() if span.name == "generation")
    assert "canary before" in repr(first)
    assert "*** after" in repr(second)
    assert "*** in exec" in repr(next(span for span in collector.spans() if span.name == "Late.exec"))


LAZY = """
import sys
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

class Lazy(Node):
    def exec(self, prep_res):
        from langfuse import observe

        @observe(as_type="generation", name="lazy")
        def generate(prompt, api_key):
            return prompt

        return generate("a question", api_key="the canary")

before = list(sys.meta_path)
flow = trace_flow(Flow(start=Lazy()))
flow.run({})
assert [finder for finder in sys.meta_path if not type(finder).__module__.startswith("pocketflow_tracing")] == before
assert "exec_module" not in vars(sys.modules["langfuse"].__spec__.loader)
assert flush(10)
"""


@pytest.mark.parametrize("place", ["environment", ".env", "no account"])
def test_langfuse_is_first_imported_in_a_node(collector, tmp_path, place):
    """A generation in the next line is recorded, and redacted, as if langfuse had been imported before."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("LANGFUSE_", "POCKETFLOW_"))}
    if place == "environment":
        environ.update(collector.environ)
    elif place == ".env":
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in collector.environ.items()))
    done = subprocess.run(
        [sys.executable, "-c", LAZY], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    if place == "no account":
        store = Store(tmp_path / ".pocketflow" / "traces.db")
        (lazy,) = [span for span in store.spans(store.run("last").run_id) if span.name == "lazy"]
        assert lazy.input["args"] == ["a question"]
    else:
        (lazy,) = [span for span in collector.spans() if span.name == "lazy"]
        assert "a question" in repr(lazy)
    assert "canary" not in repr(lazy)


@pytest.mark.absorbs
def test_a_mask_that_fails_withholds(keys, collector):
    """Where the mask raises, the value is withheld and the spans arrive without it."""

    def broken(*, data, **kwargs):
        raise LookupError("no")

    Langfuse(mask=broken)
    run_tells()
    assert 5 == len(collector.spans())
    assert "canary" not in repr(collector.spans())


def test_the_span_mask_of_the_programs_client_holds_for_us(keys, collector):
    """`mask_otel_spans` sees our spans as the SDK's own, and its patches are what is sent."""
    seen = {}

    def mask_otel_spans(*, params):
        patches = {}
        for identifier, span in params.spans.items():
            seen[span.name] = (span.instrumentation_scope_name, span.parent_span_id, identifier.span_id)
            covered = {key: cover(value) for key, value in span.attributes.items() if "canary" in str(value)}
            patches[identifier] = OtelSpanPatch(
                set_attributes={**covered, "seen": True, "count": 2, "share": 0.5},
                delete_attributes=["langfuse.observation.metadata.phase"],
            )
        return MaskOtelSpansResult(span_patches=patches)

    Langfuse(mask_otel_spans=mask_otel_spans)
    run_tells()
    spans = {span.name: span for span in collector.spans()}
    assert {"Flow", "Tells", "Tells.prep", "Tells.exec", "Tells.post"} == set(spans) == set(seen)
    assert "canary" not in repr(spans)
    for span in spans.values():
        assert (True, 2, 0.5) == tuple(span.attributes[key] for key in ("seen", "count", "share"))
        assert "langfuse.observation.metadata.phase" not in span.attributes
        assert ("langfuse-sdk", span.parent_id, span.span_id) == seen[span.name]


def test_a_span_mask_that_fails_lets_nothing_out(keys, collector, caplog):
    """As in the SDK: when `mask_otel_spans` raises, the batch is dropped; that is said, and a flush is not True."""

    def broken(*, params):
        raise LookupError("no")

    Langfuse(mask_otel_spans=broken)
    trace_flow(Flow(start=Tells())).run({"given": "canary"})
    assert flush(10) is False
    assert [] == collector.spans()
    assert 1 == sum(
        "mask_otel_spans" in record.getMessage() and record.name == "pocketflow_tracing" for record in caplog.records
    )


def test_the_programs_client_stays_as_it_is(keys, collector):
    """A client that the program made keeps its exporter, provider and life: not shut down, not even by `shutdown()`."""
    client = Langfuse(environment="theirs", timeout=17)
    resources = client_of(collector)
    before = dict(vars(resources))
    run(Calls())
    assert shutdown(10)
    run(Calls())
    assert flush(10)
    assert resources is client_of(collector)
    assert {key: before[key] for key in before if key != "_shutdown"} == {
        key: vars(resources)[key] for key in before if key != "_shutdown"
    }
    assert not getattr(resources, "_shutdown", False)
    assert (expected(Calls()),) * 2 == collector.tree()
    with client.start_as_current_observation(name="theirs"):
        pass
    client.flush()
    assert "theirs" in {span.name for span in collector.spans()}


@pytest.fixture
def two(fresh_sdk):
    """Two servers with a project each, and a config for each of them."""
    with Collector() as one, Collector() as other:
        yield [(collector, config_for(collector)) for collector in (one, other)]
        forget()


def config_for(collector):
    return TracingConfig(
        langfuse_public_key=collector.public_key,
        langfuse_secret_key=collector.secret_key,
        langfuse_host=collector.url,
    )


def test_two_projects_in_one_process(two):
    """Runs and their generations go to the project of their decorator's config, and to no other."""
    flows = [trace_flow(Flow(start=Calls()), config=config) for _, config in two]
    for flow in flows * 2:
        flow.run({})
    assert flush(10)
    for collector, _ in two:
        assert (expected(Calls()),) * 2 == collector.tree()
        assert [] == collector.problems()


def test_a_project_of_a_decorator_beside_the_programs_own(two, monkeypatch):
    """A decorator with another project's keys takes nothing from the program's client: `get_client()` stays what it was."""
    (own, _), (other, config) = two
    for name, value in own.environ.items():
        monkeypatch.setenv(name, value)
    client = Langfuse()
    flow = trace_flow(Flow(start=Calls()), config=config)
    flow.run({})
    with client.start_as_current_observation(name="outside"):
        generate("prompt")
    client.flush()
    assert flush(10)
    assert (("outside", "generation"),) == own.tree()
    assert (expected(Calls()),) == other.tree()


def client_for(collector):
    return Langfuse(public_key=collector.public_key, secret_key=collector.secret_key, base_url=collector.url)


@pytest.mark.parametrize("when", ["before", "in a run"])
@pytest.mark.parametrize(
    "clients", ["one of another project", "one of each", "the default one, then one of another project"]
)
def test_generations_go_to_the_project_that_they_go_to_untraced(clients, when, two, monkeypatch, caplog):
    """Where the program has clients of its own, they decide; the run's project gets what is ours."""
    (default, _), (another, _) = two
    for name, value in default.environ.items():
        monkeypatch.setenv(name, value)

    def program(traced):
        caplog.clear()
        made = []

        def make():
            if not made:
                made.extend([get_client()] if clients.startswith("the default") else [])
                made.extend([client_for(default)] if clients == "one of each" else [])
                made.append(client_for(another))

        class Makes(Node):
            def exec(self, prep_res):
                make()
                generate("prompt")
                generate("prompt", langfuse_public_key=another.public_key)

        if when == "before":
            make()
        flow = traced(Flow(start=Makes()))
        flow.run({})
        flow.run({})
        generate("prompt")
        for client in made:
            client.flush()
        assert flush(10)
        names = [
            [span.name for span in collector.spans() if span.name == "generation"] for collector in (default, another)
        ]
        return names, [record.message for record in caplog.records if record.name == "langfuse"]

    plain = program(untraced)
    assert [[], ["generation"] * (5 if clients == "one of another project" else 2)] == plain[0]
    forget()
    default.clear()
    another.clear()
    assert plain == program(trace_flow)
    assert "Makes" in {span.name for span in default.spans()}
    assert {"generation"} == {span.name for span in another.spans()}


def test_generations_after_a_run_of_another_project(two, monkeypatch):
    """The SDK makes its client for the keys of the environment, whatever project the runs before had."""
    (default, _), (another, config) = two
    for name, value in default.environ.items():
        monkeypatch.setenv(name, value)
    trace_flow(Flow(start=Calls()), config=config).run({})
    generate("prompt")
    get_client().flush()
    trace_flow(Flow(start=Calls()), config=config).run({})
    trace_flow(Flow(start=Calls()), config=config_for(default)).run({})  # its client is the program's by now
    assert flush(10)
    assert ("generation", expected(Calls())) == default.tree()
    assert (expected(Calls()),) * 2 == another.tree()


def test_an_instrumentation_beside_two_projects(two, monkeypatch):
    """Its spans go where they go untraced, to the project of the client that the program has asked for, and to no other."""
    (own, _), (other, config) = two
    for name, value in own.environ.items():
        monkeypatch.setenv(name, value)
    trace_flow(Flow(start=Asks(ASKS["get_client()"]))).run({})
    flow = trace_flow(Flow(start=Asks(chat)), config=config)
    flow.run({})
    flow.run({})
    get_client().flush()
    assert flush(10)
    assert 3 == len(said_by(own))
    assert [] == said_by(other)


def test_a_run_of_another_project_takes_nothing_from_the_programs_client(two, monkeypatch):
    """Its own client is the one that it gets outside of runs, also where the environment names the run's project."""
    (own, _), (other, config) = two
    for name, value in other.environ.items():
        monkeypatch.setenv(name, value)
    Langfuse(public_key=own.public_key, secret_key=own.secret_key, base_url=own.url)
    trace_flow(Flow(start=Calls()), config=config).run({})
    generate("outside")
    get_client().flush()
    assert flush(10)
    assert ["generation"] == [span.name for span in own.spans()]


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_of_the_sinks_of_a_project_one_stays_to_ask_its_client(whose, keys, collector, tmp_path):
    """Each job may have a store of its own; what generations the SDK's client holds, a flush must know."""
    if whose == "theirs":
        Langfuse()
    sinks = [LangfuseSink(TracingConfig(store=str(tmp_path / name)).resolved()) for name in "abc"]
    for sink in sinks:
        sink.watch()
        assert sink.hand_on(time.monotonic() + 10)
        assert sink.flush(time.monotonic() + 10)
    assert [sink.is_done() for sink in sinks] == [False, True, True]
    forget()
    assert all(sink.is_done() for sink in sinks)
    for sink in sinks:
        sink.close(time.monotonic() + 10, time.monotonic() + 5)


def test_generations_survive_an_outage(keys, collector):
    """With the server away, generations are kept like the spans around them, and arrive once when it is back."""
    collector.mode = "refuse"
    run(Calls())
    assert not flush(2)
    assert [] == collector.spans()
    collector.mode = "healthy"
    assert flush(20)
    assert (expected(Calls()),) == collector.tree()
    assert [] == collector.duplicates


# --- providers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", ["environment", ".env", "none"])
def test_the_global_provider_stays_the_programs_to_set(account, collector, monkeypatch):
    """Where the SDK would not have set a tracer provider, the program can still set its own after runs, and it is used."""
    if account == "environment":
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
    elif account == ".env":
        Path(".env").write_text("".join(f"{name}={value}\n" for name, value in collector.environ.items()))
    node = Node() if account == "environment" else Calls()  # there the SDK sets one when it is asked for a client
    run(node)
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    assert provider is trace.get_tracer_provider()
    run(node)
    assert flush(10)


def seen_by_a_provider_that_is_set_late(traced):
    """What a program's own exporter gets, whose provider is set between two runs, before it asks for a client."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traced(Flow(start=Node())).run({})
    trace.set_tracer_provider(provider)
    traced(Flow(start=Calls())).run({})
    get_client().flush()
    assert provider is get_client()._resources.tracer_provider
    return [(span.name, span.instrumentation_scope) for span in exporter.get_finished_spans()]


def test_a_provider_that_is_set_late_gets_what_the_client_records(keys, collector):
    """As it does untraced, and Langfuse has it once."""
    plain = seen_by_a_provider_that_is_set_late(untraced)
    assert plain
    forget()
    collector.clear()
    assert plain == seen_by_a_provider_that_is_set_late(trace_flow)
    assert flush(10)
    assert 1 == [span.name for span in collector.spans()].count("generation")


@observe(name="connects")
def connect(host, *, password):
    return {"host": host, "api_key": f"{password} of the answer"}


class Connects(Node):
    def exec(self, prep_res):
        connect("db", password="canary")


@pytest.mark.parametrize("provider", ["the SDK's", "the program's"])
@pytest.mark.parametrize(
    "ask", [get_client, Langfuse, observe(lambda: None)], ids=["get_client", "Langfuse", "observe"]
)
def test_a_client_that_was_only_asked_for_before_the_first_run(ask, provider, keys, collector, monkeypatch, tmp_path):
    """The order of a module's lines does not decide: what it records is redacted and kept as where it is asked for later."""
    monkeypatch.setenv("LANGFUSE_TIMEOUT", "1")
    if provider == "the program's":
        trace.set_tracer_provider(TracerProvider())
    ask()
    resources = client_of(collector)
    trace_flow(Flow(start=Connects()), config=TracingConfig(redact=["host"])).run({})
    assert flush(10)
    assert resources is client_of(collector) is get_client()._resources
    (connected,) = [span for span in collector.spans() if span.name == "connects"]
    assert "canary" not in repr(connected)
    collector.mode = "refuse"
    with get_client().start_as_current_observation(name="kept", input={"password": "canary"}):
        pass
    get_client().flush()
    with closing(Outbox(tmp_path / ".pocketflow" / "traces.db")) as outbox:
        assert 1 == outbox.counts().waiting_spans
    collector.mode = "healthy"
    assert flush(20) or flush(20)
    assert "kept" in {span.name for span in collector.spans()}
    assert "canary" not in repr(collector.spans())
    assert [] == collector.duplicates


def test_a_client_that_is_sending_when_it_becomes_ours(keys, collector, monkeypatch):
    """Nobody waits for that request longer than a flush wants to, and what waits behind it is not lost."""
    monkeypatch.setenv("LANGFUSE_FLUSH_AT", "1")
    collector.mode = Mode.slow(1.5)
    generate("first")
    deadline = time.monotonic() + 10
    while not collector.requests:
        assert time.monotonic() < deadline
    generate("second")  # waits behind it
    collector.mode = "healthy"
    run(Calls())
    began = time.monotonic()
    assert flush(0.3) is False
    assert time.monotonic() - began < 1.0
    assert flush(10)
    assert 3 == [span.name for span in collector.spans()].count("generation")
    assert [] == collector.duplicates
    generate("third")
    get_client().flush()
    assert 4 == [span.name for span in collector.spans()].count("generation")


def test_a_flush_after_the_first_run_waits_for_no_schedule_of_the_sdks(keys, collector, monkeypatch):
    """What the client had gathered before that run is sent at once: the program may end the hard way after it."""
    monkeypatch.setenv("LANGFUSE_FLUSH_INTERVAL", "60")
    get_client()
    generate("before")
    run(Calls())
    began = time.monotonic()
    get_client().flush()
    assert time.monotonic() - began < 3.0
    assert 2 == [span.name for span in collector.spans()].count("generation")


def test_a_client_that_another_thread_asks_for_as_ours_is_made(keys, collector, monkeypatch):
    """The SDK hands out that one, which is ours from then on as where it was there before."""
    original, askers = _sdk.stand_back, []

    def another_is_first():
        original()
        if not askers:
            askers.append(threading.Thread(target=get_client))
            askers[0].start()
            askers[0].join(10)

    monkeypatch.setattr(_sdk, "stand_back", another_is_first)
    run(Connects())
    assert client_of(collector).span_exporter.of_pocketflow_tracing
    assert flush(10)
    assert "connects" in {span.name for span in collector.spans()}
    assert "canary" not in repr(collector.spans())


@pytest.mark.parametrize("provider", [trace.NoOpTracerProvider, TracerProvider])
def test_where_no_processor_can_be_added(provider, keys, collector):
    """OpenTelemetry that is switched off, or another vendor's: a client of ours has a provider of its own."""
    trace.set_tracer_provider(provider())
    run(Calls())
    assert flush(10)
    assert "generation" in {span.name for span in collector.spans()}


@pytest.mark.absorbs
def test_a_client_that_cannot_be_made_is_tried_once(keys, collector, monkeypatch):
    """Each try leaves a thread of the SDK's behind."""
    tries = []

    def fails(self, **arguments):
        tries.append(arguments)
        raise RuntimeError("no client")

    with monkeypatch.context() as patched:
        patched.setattr(Langfuse, "__init__", fails)
        for _ in range(3):
            run(Node())
    assert 1 == len(tries)
    assert flush(10)
    assert 3 * 5 == len(collector.spans())


ENDS_WHILE_IT_IS_SENDING = """
import time
from langfuse import get_client, observe
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

@observe(name="asked")
def ask(): pass

client = get_client()
batch = client._resources.tracer_provider._active_span_processor._span_processors[0]._batch_processor
ask()
while batch._queue or not batch._export_lock.locked():
    time.sleep(0.001)
ask()  # waits behind it
trace_flow(Flow(start=Node())).run({})
ask()
print(time.time())
"""


def test_a_program_that_ends_while_its_client_is_sending(keys, collector, tmp_path):
    """It ends in time; what waits is on disk, and what is under way with the SDK's exporter is said."""
    collector.mode = "silent"
    environ = os.environ | collector.environ | {"LANGFUSE_FLUSH_AT": "1", "LANGFUSE_TIMEOUT": "15"}
    done = subprocess.run(
        [sys.executable, "-c", ENDS_WHILE_IT_IS_SENDING], env=environ, capture_output=True, text=True, check=True
    )
    assert time.time() - float(done.stdout) < 5.0
    assert "no answer of the server and may be lost: spans that were under way before the first run." in done.stderr
    with closing(Outbox(tmp_path / ".pocketflow" / "traces.db")) as outbox:
        assert 2 + 5 == outbox.counts().waiting_spans


RECORDS_IN_AN_EXIT_HANDLER = """
import atexit
from langfuse import get_client, observe
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

@observe(name="bye")
def bye():
    get_client().create_score(name="good", value=1.0, trace_id="b" * 32)

get_client()
atexit.register(bye)
trace_flow(Flow(start=Node())).run({})
"""


@pytest.mark.parametrize("mode", ["healthy", "refuse"])
def test_what_an_exit_handler_records_after_our_own_end(mode, keys, collector, tmp_path):
    """The program asked for the client before its first run: the SDK would have sent it."""
    collector.mode = mode
    environ = os.environ | collector.environ
    subprocess.run([sys.executable, "-c", RECORDS_IN_AN_EXIT_HANDLER], env=environ, check=True)
    if mode == "healthy":  # else the SDK, or we, say that it is lost
        assert 1 == len(collector.scores())
    with closing(Outbox(tmp_path / ".pocketflow" / "traces.db")) as outbox:
        waiting = outbox.counts().waiting_spans
    assert 5 + 1 == len(collector.spans()) + waiting  # Python 3.12.1 starts no thread there, and keeps it


@pytest.mark.parametrize("how", [{"tracer_provider": TracerProvider()}, {"flush_at": 7}, {"environment": "theirs"}])
def test_a_client_with_settings_stays_the_programs(how, keys, collector):
    """It has said how it is to be made."""
    client = Langfuse(**how)
    run(Node())
    assert client._resources is client_of(collector)
    assert client_of(collector).span_exporter is None


@pytest.mark.parametrize("variable", ["LANGFUSE_TIMEOUT", "LANGFUSE_SAMPLE_RATE"])
def test_what_a_client_says_is_heard_beside_a_variable_that_nobody_can_read(variable, keys, collector, monkeypatch):
    """The client has said what it holds."""
    monkeypatch.setenv(variable, "a lot")
    Langfuse(timeout=5, sample_rate=1.0, tracing_enabled=False)
    run(Node())
    assert flush(10)
    assert [] == collector.spans()


def test_an_observation_around_the_first_run(keys, collector):
    """A request handler, say, with which the SDK makes its client: what it ends with is redacted as well."""

    @observe(name="handler")
    def handle(shared):
        trace_flow(Flow(start=Connects())).run(shared)
        return {"api_key": "canary"}

    handle({"password": "canary"})
    assert flush(10)
    (root,) = [span for span in collector.spans() if span.name == "handler"]
    assert {"handler"} < {span.name for span in collector.spans() if span.trace_id == root.trace_id}
    assert "canary" not in repr(collector.spans())


ASKS = {
    "@observe": observe(chat, name="around"),
    "get_client()": lambda: (get_client(), chat()),
    "Langfuse()": lambda: (Langfuse(), chat()),
}


class Asks(Node):
    """Asks for the SDK's client, and calls a model that an instrumentation looks at."""

    def __init__(self, ask):
        super().__init__()
        self.ask = ask

    def exec(self, prep_res):
        self.ask()


def untraced(flow):
    return flow


def said_by(collector):
    """What the server is told by instrumentations, and about what."""
    return sorted(
        (span.name, *(str(span.resource.get(f"langfuse.{name}")) for name in ("environment", "release")))
        for span in collector.spans()
        if span.name == "chat"
    )


@pytest.mark.parametrize("how", ASKS)
def test_spans_of_an_instrumentation_where_the_client_is_made_lazily(how, keys, collector, monkeypatch):
    """From the moment on that the program asks for a client, they reach Langfuse as they do untraced, once each."""
    monkeypatch.setenv("LANGFUSE_TRACING_ENVIRONMENT", "staging")
    monkeypatch.setenv("LANGFUSE_RELEASE", "r1")

    def program(traced):
        flow = traced(Flow(start=Asks(ASKS[how])))
        chat()  # nobody has asked yet
        flow.run({})
        flow.run({})
        chat()
        get_client().flush()
        return type(trace.get_tracer_provider())

    assert program(untraced) is TracerProvider
    plain = said_by(collector)
    assert 3 == len(plain)
    forget()
    collector.clear()
    assert program(trace_flow) is TracerProvider
    assert flush(10)
    assert plain == said_by(collector)
    assert [] == collector.duplicates


@pytest.mark.parametrize("when", ["first", "before it asks", "after it has asked"])
def test_a_program_that_sets_a_provider_and_asks_for_a_client(when, keys, collector, caplog):
    """What is used, recorded and warned of is what it is untraced, whenever the program sets its provider."""

    def program(traced):
        caplog.clear()
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))

        def set_provider(now):
            if now == when:
                trace.set_tracer_provider(provider)

        set_provider("first")
        traced(Flow(start=Node())).run({})
        set_provider("before it asks")
        get_client()
        chat()
        set_provider("after it has asked")
        chat()
        traced(Flow(start=Asks(chat))).run({})
        get_client().flush()
        names = [span.name for span in exporter.get_finished_spans()]
        warnings = [
            record.message for record in caplog.records if record.name.startswith(("opentelemetry", "langfuse"))
        ]
        return trace.get_tracer_provider() is provider, names, warnings

    plain = program(untraced)
    chats = said_by(collector)
    assert 3 == len(chats)
    forget()
    collector.clear()
    assert plain == program(trace_flow)
    assert flush(10)
    assert chats == said_by(collector)
    assert [] == collector.duplicates


def test_a_provider_of_the_program_is_shared(keys, collector):
    """With a provider set beforehand, generations are recorded on it, as the SDK alone would do."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    run(Calls())
    assert flush(10)
    assert provider is client_of(collector).tracer_provider
    assert (expected(Calls()),) == collector.tree()
    assert ["generation"] == [span.name for span in exporter.get_finished_spans()]


def test_the_first_run_does_not_wait_for_the_server(keys, collector):
    """With a server that never answers, runs with generations take no longer than with one that does."""
    flow = trace_flow(Flow(start=Calls()))

    def seconds():
        began = time.monotonic()
        for _ in range(20):
            flow.run({})
        return time.monotonic() - began

    collector.mode = "silent"
    flow.run({})
    unanswered = seconds()
    collector.mode = "healthy"
    assert flush(20)
    assert 21 == len(collector.tree())
    assert unanswered < 1.0 + 5 * seconds()
    assert flush(20)


# --- what a client of the program's says of the project -------------------------------------------------------------------


def places(collector):
    """The environment and release of each span that arrived, by its name."""
    return {
        span.name: tuple(
            span.attributes.get(f"langfuse.{of}") or span.resource.get(f"langfuse.{of}")
            for of in ("environment", "release")
        )
        for span in collector.spans()
    }


@pytest.mark.parametrize("in_environment", ["", "production"])
def test_environment_and_release_of_the_programs_client(in_environment, keys, collector, monkeypatch):
    """They hold for the spans of its project's runs as for the generations in them."""
    if in_environment:
        monkeypatch.setenv("LANGFUSE_TRACING_ENVIRONMENT", in_environment)
        monkeypatch.setenv("LANGFUSE_RELEASE", in_environment)
    client = Langfuse(environment="staging", release="r1")
    run(Calls())
    client.flush()
    assert flush(10)
    assert {"Flow", "generation"} < places(collector).keys()
    assert {("staging", "r1")} == set(places(collector).values())


def test_a_config_says_more_than_the_programs_client(keys, collector):
    """What stands in Python for a flow holds for it."""
    Langfuse(environment="staging", release="r1")
    run(Node(), config=TracingConfig(environment="flows"))
    assert flush(10)
    assert ("flows", "r1") == places(collector)["Flow"]
    collector.clear()
    run(Node(), environment="of-the-run")
    assert flush(10)
    assert ("of-the-run", "r1") == places(collector)["Flow"]


@pytest.mark.parametrize("how", [{"tracing_enabled": False}, {"sample_rate": 1e-9}])
def test_a_client_of_the_programs_that_sends_nothing(how, keys, collector):
    """Nor do runs of its project, which are no loss then."""
    client = Langfuse(**how)
    run(Calls(), config=TracingConfig(store=".pocketflow/traces.db"))
    client.flush()
    assert flush(10)
    assert [] == collector.spans()
    if "tracing_enabled" in how:  # which is about the server; a rate is about what is recorded
        assert "Calls.exec" in {span.name for span in stored()}


def test_the_rate_of_the_programs_client(keys, collector):
    """A trace arrives whole or not at all; a rate that stands in Python for a flow holds for it."""
    client = Langfuse(sample_rate=0.5)
    for _ in range(30):
        run(Calls())
    client.flush()
    assert flush(10)
    tree = collector.tree()
    assert {expected(Calls())} == set(tree)
    assert 2 < len(tree) < 28
    collector.clear()
    for _ in range(10):
        run(Node(), config=TracingConfig(sample_rate=1.0))
    assert flush(10)
    assert 10 == len(collector.tree())


@pytest.mark.parametrize("provider", ["ours", "the program's"])
def test_clients_of_projects_that_nobody_uses_any_more_are_ended(provider, collector, monkeypatch, request):
    """A program with a project for each customer would else have threads for each, for ever; who comes back gets one again."""
    monkeypatch.setattr(_uses, "_REST_SECONDS", 0.0)
    monkeypatch.setattr(_sdk, "_MOST_RESTING", 8)
    processors = lambda: ()
    if provider == "the program's":
        theirs = TracerProvider()
        trace.set_tracer_provider(theirs)
        request.addfinalizer(theirs.shutdown)
        of = lambda one: hasattr(one, "public_key")
        processors = lambda: [*filter(of, theirs._active_span_processor._span_processors)]

    def threads():
        names = ("OtelBatchSpanRecordProcessor", "PromptCacheRefreshConsumer", "ScoreConsumer", "MediaUploadConsumer")
        return sum(
            f"{type(one).__name__} {one.name}".startswith(names) or one.name in names for one in threading.enumerate()
        )

    others = threads()
    keys = [f"pk-lf-{provider}-{number}" for number in range(12)]

    def serve(key):
        config = TracingConfig(
            langfuse_public_key=key, langfuse_secret_key="sk-lf-x", langfuse_host=collector.url, store="off"
        )
        trace_flow(Flow(start=Calls()), config=config).run({})

    def clients():
        return [key for key in keys if key in instances()]

    for key in keys:
        serve(key)
        assert flush(10)
        gc.collect()
    deadline = time.monotonic() + 20
    while len(clients()) > _sdk._MOST_RESTING + 1 and time.monotonic() < deadline:
        assert flush(10)
    assert len(clients()) <= _sdk._MOST_RESTING + 1
    assert threads() - others <= 4 * len(clients())
    assert len(processors()) <= len(clients())
    serve(keys[0])
    assert flush(10)
    assert 13 == sum(span.name == "generation" for span in collector.spans())


def test_a_client_whose_sink_was_let_go_of_still_delivers(collector, monkeypatch):
    """The program may get it later: what is recorded through it has the worker take its sink up again."""
    monkeypatch.setattr(_uses, "_REST_SECONDS", 0.0)
    config = TracingConfig(
        langfuse_public_key="pk-lf-let-go", langfuse_secret_key="sk-lf-x", langfuse_host=collector.url, store="off"
    )
    trace_flow(Flow(start=Calls()), config=config).run({})
    del config
    deadline = time.monotonic() + 20
    while any(isinstance(sink, LangfuseSink) for sink in delivery._sinks) and time.monotonic() < deadline:
        gc.collect()
        assert flush(10)
    assert not any(isinstance(sink, LangfuseSink) for sink in delivery._sinks)
    generate("outside")
    get_client().flush()
    assert flush(10)
    assert 2 == sum(span.name == "generation" for span in collector.spans())


@pytest.mark.parametrize("has_keys", [True, False])
def test_a_mock_in_the_place_of_the_client_sees_the_program_alone(has_keys, request):
    """What a test counts is what the code that it is about has asked for."""
    if has_keys:
        request.getfixturevalue("keys")
    with unittest.mock.patch("langfuse.Langfuse", autospec=True) as asked:
        for _ in range(2):
            trace_flow(Flow(start=Node())).run({})
    asked.assert_not_called()
