"""A client that the program makes after its first run began: what it says holds, as it does untraced."""

from __future__ import annotations

import httpx
import pytest
from generating import chat, generate, stored
from langfuse import Langfuse, get_client
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from pocketflow import Flow, Node
from sdk_state import client_of, forget

from pocketflow_tracing import _sdk, flush, trace_flow

SETTINGS = {
    "sample_rate": lambda: 0.0,
    "additional_headers": lambda: {"x-proxy": "1"},
    "environment": lambda: "staging",
    "release": lambda: "r1",
    "timeout": lambda: 17,
    "flush_at": lambda: 1,
    "flush_interval": lambda: 0.2,
    "httpx_client": httpx.Client,
    "media_upload_thread_count": lambda: 2,
    "tracing_enabled": lambda: False,
    "should_export_span": lambda: lambda span: span.name != "chat",
    "mask": lambda: lambda *, data, **kwargs: "masked",
    "blocked_instrumentation_scopes": lambda: ["openinference.instrumentation.openai"],  # langfuse 4
    "tracer_provider": TracerProvider,
    "id_generator": RandomIdGenerator,
    "span_exporter": InMemorySpanExporter,
}


def untraced(flow):
    return flow


def said_by(collector):
    """What the server is told by the SDK and by instrumentations, and the headers of those requests."""
    requests = [
        (request.headers.get("x-proxy"), span)
        for request in collector.exports()
        for span in request.spans
        if span.name in {"generation", "chat"}
    ]
    return sorted(
        (
            span.name,
            str(header),
            *(str(span.resource.get(f"langfuse.{name}")) for name in ("environment", "release")),
            str(span.attributes.get("langfuse.observation.output")),
        )
        for header, span in requests
    )


class Makes(Node):
    """Makes a client in its first visit."""

    def __init__(self, **settings):
        super().__init__()
        self.settings = settings
        self.made = []  # a node is copied for each visit

    def exec(self, prep_res):
        if not self.made:
            self.made.append(Langfuse(**self.settings))
        generate("prompt")
        chat()


def first_run_makes(traced, provider=None, **settings):
    """A program whose first visit of a node makes a client with the settings.

    Args:
        traced: what is done to its flow.
        provider: whether the program has a tracer provider, and sets it "first" or "late".
        settings: of the client.
    """
    node = Makes(**settings)
    flow = traced(Flow(start=node))
    for when in ("first", "late"):
        if when == provider:
            trace.set_tracer_provider(TracerProvider())
        traced(Flow(start=Node())).run({})
    flow.run({})
    flow.run({})
    generate("prompt")
    chat()
    (client,) = node.made
    client.flush()
    return client


@pytest.mark.filterwarnings("ignore:`blocked_instrumentation_scopes`:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "provider"),
    [
        *((name, None) for name in SETTINGS),
        *((name, when) for name in ("environment", "mask", "tracing_enabled") for when in ("first", "late")),
    ],
)
def test_a_client_with_settings_is_used_as_it_is(name, provider, keys, collector):
    """Each setting holds for all that the program records from then on, and nothing arrives twice."""
    settings = {name: SETTINGS[name]()}
    try:
        first_run_makes(untraced, provider, **settings)
    except TypeError:
        pytest.skip("not a setting of this langfuse")
    plain = said_by(collector)
    forget()
    collector.clear()
    settings = {name: SETTINGS[name]()}
    client = first_run_makes(trace_flow, provider, **settings)
    assert flush(10)
    assert plain == said_by(collector)
    assert client._resources is client_of(collector) is get_client()._resources
    if name not in {"sample_rate", "tracer_provider"}:  # langfuse 4.12 takes 0 for "not given"
        assert settings[name] == getattr(client_of(collector), name)


def test_a_client_for_another_server(keys, collector):
    """With the same keys at another address, it is not ours."""
    client = first_run_makes(trace_flow, base_url="http://127.0.0.1:9")
    assert "http://127.0.0.1:9" == client._resources.base_url
    client._resources._shutdown = True
    assert [] == said_by(collector)


@pytest.mark.parametrize("settings", [{}, {"sample_rate": 1.0, "timeout": 5}])
def test_a_client_that_says_nothing_is_ours(settings, collector, tmp_path, monkeypatch):
    """Also where a config or `.env` has said more of it than the environment, which is all that the SDK knows."""
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", collector.public_key)
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", collector.secret_key)
    (tmp_path / ".env").write_text(
        f"LANGFUSE_BASE_URL={collector.url}/\nLANGFUSE_TIMEOUT=20\nLANGFUSE_TRACING_ENVIRONMENT=staging\n"
    )
    client = first_run_makes(trace_flow, **settings)
    assert client._resources.span_exporter.of_pocketflow_tracing
    assert client._resources is get_client()._resources
    assert flush(10)
    assert 6 == len(said_by(collector))


@pytest.mark.parametrize("asks", ["get_client()", "Langfuse()"])
def test_settings_of_a_second_client(asks, keys, collector):
    """The SDK looks at those of the first one that it gives the program, and so do we."""
    trace_flow(Flow(start=Node())).run({})
    first = get_client() if asks == "get_client()" else Langfuse()
    second = Langfuse(environment="staging")
    assert first._resources is second._resources
    assert second._resources.span_exporter.of_pocketflow_tracing


def test_a_mask_that_comes_after_the_first_client(keys, collector):
    """It holds for everything from then on, and nothing gets around it through the provider that both clients share."""
    trace_flow(Flow(start=Node())).run({})
    generate("before")
    chat()
    client = Langfuse(mask=lambda *, data, **kwargs: "masked")
    generate("canary")
    chat()
    client.flush()
    assert flush(10)
    assert ["chat", "chat", "generation", "generation"] == [name for name, *_ in said_by(collector)]
    assert [] == collector.duplicates
    assert "canary" not in repr(collector.spans())


def test_generations_of_a_late_client_are_in_the_store(keys, collector, monkeypatch):
    """Those of the run that made it are, too."""
    monkeypatch.setenv("POCKETFLOW_TRACE_STORE", ".pocketflow/traces.db")
    node = Makes(environment="staging")
    trace_flow(Flow(start=node)).run({})
    node.made[0].flush()
    assert {"generation", "chat"} < {span.name for span in stored()}


def test_the_first_run_after_a_client_was_made_hears_what_it_says(keys, collector):
    """Environment and release hold from that run on, not from the next."""
    flow = trace_flow(Flow(start=Node()))
    flow.run({})
    Langfuse(environment="prod", release="r1")
    flow.run({})
    assert flush(10)
    roots = [span.attributes for span in collector.spans() if span.parent_id is None]
    found = [(span.get("langfuse.environment"), span.get("langfuse.release")) for span in roots]
    assert {(None, None), ("prod", "r1")} == set(found)


def test_a_run_inside_of_an_experiment_is_of_its_environment(keys, collector):
    """Not among those of production: as the spans of the SDK around it and below it are."""
    client = get_client()
    if not hasattr(client, "run_experiment"):
        pytest.skip("no experiments in this langfuse")
    flow = trace_flow(Flow(start=Node()))
    client.run_experiment(name="e", data=[{"input": 1}], task=lambda *, item, **kwargs: flow.run({"item": item}))
    client.flush()
    assert flush(10)
    around, ours = (
        {span.attributes.get("langfuse.environment") for span in collector.spans() if (span.name == name)}
        for name in ("experiment-item-run", "Flow")
    )
    assert around == ours


def test_a_run_inside_of_an_experiment_is_of_its_item(keys, collector):
    """Every span of it carries what those of the SDK do."""
    client = get_client()
    if not hasattr(client, "run_experiment"):
        pytest.skip("no experiments in this langfuse")

    class Ask(Node):
        def exec(self, _):
            client.start_observation(name="call", as_type="generation").end()

    flow = trace_flow(Flow(start=Ask()))
    data = [{"input": number, "metadata": {"n": number, "password": f"hunter{number}"}} for number in range(2)]
    client.run_experiment(name="e", data=data, task=lambda *, item, **kwargs: flow.run({"item": item}))
    client.flush()
    assert flush(10)
    by_trace = {}
    for span in collector.spans():
        said = {key: value for key, value in span.attributes.items() if key.startswith("langfuse.experiment.")}
        by_trace.setdefault(span.trace_id, {})[span.name] = said
    of_items = [spans for spans in by_trace.values() if "call" in spans]
    assert 2 == len(of_items)
    for spans in of_items:
        assert spans["call"]
        for name in ("Flow", "Ask", "Ask.prep", "Ask.exec", "Ask.post"):
            assert spans["call"].keys() == spans[name].keys(), name
            differ = {key for key in spans[name] if spans["call"][key] != spans[name][key]}
            assert all("item.metadata" in key and "hunter" in spans["call"][key] for key in differ), name
            assert "hunter" not in str(
                spans[name]
            )  # the client is the program's own, whose spans are its own to redact


@pytest.mark.parametrize("asked", ["before the first run", "after it"])
def test_a_client_that_is_made_for_another_provider_takes_nothing_from_the_one_in_use(asked, keys, collector):
    """The program goes on recording with the first, and the SDK would have made no second one."""
    if asked == "after it":
        trace_flow(Flow(start=Node())).run({})
    first = get_client()
    trace_flow(Flow(start=Node())).run({})
    Langfuse(mask=lambda data, **_: data, tracer_provider=TracerProvider())
    with first.start_as_current_observation(name="mine"):
        pass
    first.flush()
    assert flush(10)
    assert "mine" in {span.name for span in collector.spans()}


def test_a_run_begins_while_another_thread_is_just_making_the_client(keys, collector, monkeypatch):
    """There is nothing to join the program's provider to yet; the run is recorded, and nothing is said."""
    trace.set_tracer_provider(TracerProvider())
    flow = trace_flow(Flow(start=Node()))
    flow.run({})
    forget()
    trace.set_tracer_provider(TracerProvider())
    monkeypatch.setattr(_sdk.SdkClient, "_create", lambda client: None)
    flow.run({})
    assert flush(10)
    assert 2 == len({span.trace_id for span in collector.spans()})
