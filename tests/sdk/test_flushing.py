"""The program flushes the SDK's client where ours takes its place: what it held is safe when that returns."""

from __future__ import annotations

import math
import threading
import time
from contextlib import closing

import pytest
import wrapt
from collector import Collector, Mode
from generating import Calls, expected, generate, run
from langfuse import Langfuse, get_client
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from pocketflow import Flow, Node
from sdk_state import client_of

from pocketflow_tracing import TracingConfig, _sdk_ours, flush, trace_flow
from pocketflow_tracing._sdk_export import Unready
from pocketflow_tracing._sdk_flush import exports
from pocketflow_tracing.delivery import delivery
from pocketflow_tracing.sinks.sender import Sender
from pocketflow_tracing.store import Outbox

FLUSHES = {
    "flush()": lambda: get_client().flush(),
    "shutdown()": lambda: get_client().shutdown(),
    "of the provider": lambda: trace.get_tracer_provider().force_flush(),
}


class Behind(trace.TracerProvider):
    """A provider in front of another one, as logfire's."""

    def __init__(self):
        self.provider = TracerProvider()

    def get_tracer(self, *args, **kwargs):
        return self.provider.get_tracer(*args, **kwargs)

    def add_span_processor(self, processor):
        self.provider.add_span_processor(processor)

    def force_flush(self, timeout_millis=30_000):
        return self.provider.force_flush(timeout_millis)


class Filtering(TracerProvider):
    """A provider that puts each processor into one of its own."""

    def add_span_processor(self, processor):
        super().add_span_processor(Filter(processor))


class Delegating(TracerProvider):
    """Likewise, into one that leads everything else to what it holds."""

    def add_span_processor(self, processor):
        class Leads(Filter):
            force_flush = shutdown = property()  # as if its class had none

            def __getattribute__(self, name):
                if name in {"__dict__", "__class__", "inner", "on_start", "on_end", "_on_ending"}:
                    return object.__getattribute__(self, name)
                return getattr(processor, name)

        super().add_span_processor(Leads(processor))


class Wrapping(TracerProvider):
    """Likewise, by wrapt."""

    def add_span_processor(self, processor):
        super().add_span_processor(wrapt.ObjectProxy(processor))


class Closing(TracerProvider):
    """Likewise, into one that shows nothing of what it holds, not even that it holds something."""

    def add_span_processor(self, processor):
        super().add_span_processor(Closed(processor.on_start, processor.on_end, processor.force_flush))


class Closed(SpanProcessor):
    __slots__ = ("_on_end", "_on_flush", "_on_start")

    def __init__(self, on_start, on_end, on_flush):
        self._on_start, self._on_end, self._on_flush = on_start, on_end, on_flush

    def on_start(self, span, parent_context=None):
        self._on_start(span, parent_context)

    def on_end(self, span):
        self._on_end(span)

    def force_flush(self, timeout_millis=30_000):
        return self._on_flush(timeout_millis)


class Filter:
    def __init__(self, inner):
        self.inner = inner

    def on_start(self, span, parent_context=None):
        self.inner.on_start(span, parent_context)

    def _on_ending(self, span):
        pass

    def on_end(self, span):
        self.inner.on_end(span)

    def shutdown(self):
        self.inner.shutdown()

    def force_flush(self, timeout_millis=30_000):
        return self.inner.force_flush(timeout_millis)


@pytest.mark.parametrize("provider", [Behind, Filtering, Delegating, Wrapping, Closing])
@pytest.mark.parametrize("how", [flush, lambda timeout: get_client().flush()], ids=["ours", "the SDK's"])
def test_a_processor_that_does_not_stand_where_the_sdk_puts_it(how, provider, keys, collector):
    """What generations hold is waited for and redacted as ever."""
    trace.set_tracer_provider(provider())
    trace_flow(Flow(start=Node())).run({})
    config = TracingConfig(redact=["iban"], trace_outputs=False)

    class Pays(Node):
        def exec(self, _):
            generate({"iban": "DE00", "to": "ada"})

    trace_flow(Flow(start=Pays()), config=config).run({})
    how(10)
    (found,) = [span for span in collector.spans() if span.name == "generation"]
    assert "DE00" not in str(found.attributes)
    assert "ada" in str(found.attributes["langfuse.observation.input"])
    assert "langfuse.observation.output" not in found.attributes


def test_what_a_client_of_ours_adds_to_the_programs_provider(keys, collector, tmp_path):
    """The SDK's processor and the one for the store, each once; the client knows the provider itself."""
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    for _ in range(2):
        trace_flow(Flow(start=Node()), config=TracingConfig(store=str(tmp_path / "traces.db"))).run({})
    assert provider is client_of(collector).tracer_provider
    assert 2 == len(provider._active_span_processor._span_processors)


def test_a_client_of_the_programs_whose_processor_nobody_finds(keys, collector):
    """Its provider is flushed as a whole."""
    trace.set_tracer_provider(Closing())
    Langfuse(flush_interval=60, flush_at=500)
    run(Calls())
    assert flush(10)
    assert "generation" in {span.name for span in collector.spans()}


def test_a_flush_does_not_wait_for_what_comes_after_it(keys, collector, monkeypatch):
    """Other threads may record faster than all of it is made ready."""
    run(Calls())
    assert flush(10)
    made = client_of(collector).span_exporter.made_by
    ours = made._ours
    unready, make_ready = ours.unready, Unready.make_ready
    monkeypatch.setattr(Unready, "make_ready", lambda self, until, most=None: True)  # the worker does nothing
    generate("before")
    exports(ours.processors[0], time.monotonic() + 5)
    answers, waits = [], threading.Event()
    monkeypatch.setattr(_sdk_ours, "sleep", lambda seconds: (waits.set(), time.sleep(seconds)))
    asker = threading.Thread(target=lambda: answers.append(ours.is_safe(time.monotonic() + 20)))
    asker.start()
    assert waits.wait(10)
    generate("after")
    exports(ours.processors[0], time.monotonic() + 5)
    make_ready(unready, math.inf, 1)
    unready._hand_over()
    asker.join(10)
    assert [True] == answers
    assert 1 == len(unready)
    monkeypatch.setattr(Unready, "make_ready", make_ready)
    assert flush(10)


@pytest.mark.parametrize("provider", ["ours", "set before", "set after"])
@pytest.mark.parametrize("how", FLUSHES)
def test_a_flush_waits_for_the_server(how, provider, keys, collector):
    """Nothing of the program's generations is in this process alone any more: it may be killed now."""
    if provider == "set before":
        trace.set_tracer_provider(TracerProvider())
    trace_flow(Flow(start=Node())).run({})
    if provider == "set after":
        trace.set_tracer_provider(TracerProvider())
    assert flush(10)
    run(Calls())
    collector.mode = Mode.slow(0.2)
    FLUSHES[how]()
    assert "generation" in {span.name for span in collector.spans()}


@pytest.mark.parametrize("state", ["silent", "refuse"])
def test_a_flush_without_a_server(state, keys, collector, tmp_path, monkeypatch):
    """It keeps to the SDK's timeout, and what the client held is on disk."""
    monkeypatch.setenv("LANGFUSE_TIMEOUT", "1")
    trace_flow(Flow(start=Node())).run({})
    assert flush(10)
    collector.mode = state
    generate("prompt")
    began = time.monotonic()
    get_client().flush()
    assert time.monotonic() - began < 4.0
    with closing(Outbox(tmp_path / ".pocketflow" / "traces.db")) as outbox:
        counts = outbox.counts()
        assert 1 == counts.waiting_spans
    collector.mode = "healthy"
    assert flush(20) or flush(20)  # the first may have heard of the request that had no answer
    assert 1 == sum(span.name == "generation" for span in collector.spans())


def test_a_flush_without_a_server_and_a_disk(keys, collector, monkeypatch):
    """It ends, too."""
    monkeypatch.setenv("LANGFUSE_TIMEOUT", "1")
    monkeypatch.setenv("POCKETFLOW_TRACE_STORE", "off")
    trace_flow(Flow(start=Node())).run({})
    assert flush(10)
    collector.mode = "silent"
    generate("prompt")
    began = time.monotonic()
    get_client().flush()
    assert time.monotonic() - began < 4.0
    collector.mode = "healthy"


def test_a_flush_in_a_mask(keys, collector, monkeypatch):
    """On a thread of ours, and while ours exports, it waits for nothing: a mask of the program's that flushes would wait for itself."""
    waits = []
    monkeypatch.setattr(Sender, "settle", lambda self, deadline: waits.append(threading.current_thread().name) or True)
    flushed = []

    def mask(value, path):
        get_client().flush()
        flushed.append(threading.current_thread().name)
        return value

    trace_flow(Flow(start=Calls()), config=TracingConfig(mask=mask)).run({})
    assert flush(10)
    ours = {name for name in flushed if name.startswith("pocketflow-tracing")}
    assert ours
    assert not ours & set(waits)
    assert client_of(collector).span_exporter.of_pocketflow_tracing


def test_a_secret_key_that_was_corrected_is_used(fresh_sdk, tmp_path):
    """A notebook's cell that is run again has a config of its own for the same project; what waited is delivered with it.

    One that is wrong takes nothing from those that are right, in whichever order they come.
    """
    with Collector(keys=("pk-lf-rotated", "sk-lf-right")) as collector:

        def flow(secret):
            config = TracingConfig(
                langfuse_public_key="pk-lf-rotated",
                langfuse_secret_key=secret,
                langfuse_host=collector.url,
                store=str(tmp_path / "traces.db"),
            )
            return trace_flow(Flow(start=Node()), config=config)

        def flush_all():
            deadline = time.monotonic() + 30
            while not flush(10):  # what waits on disk may be with the wrong one just now
                assert time.monotonic() < deadline

        flow("sk-lf-wrong").run({})
        assert not flush(3)
        right = flow("sk-lf-right")
        right.run({})
        flush_all()
        flow("sk-lf-wrong").run({})
        right.run({})
        flush_all()
        assert 4 == len({span.trace_id for span in collector.spans()})


def test_a_flush_does_not_wait_until_a_batch_has_gathered(keys, collector):
    """A program flushes at the end of each of its requests."""
    trace_flow(Flow(start=Node())).run({})
    assert flush(10)
    delivery.configure(60.0, 2.0, 100_000, 1 << 27)
    run(Calls())
    get_client().flush()
    assert "generation" in {span.name for span in collector.spans()}


def test_a_provider_that_was_shut_down_holds_nothing_back(keys, collector):
    """What was recorded before has arrived, and what comes later is the program's word."""
    run(Calls())
    trace.get_tracer_provider().shutdown()
    assert flush(10)
    assert (expected(Calls()),) == collector.tree()
    run(Node())
    assert flush(10)
