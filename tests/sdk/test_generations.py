"""LLM calls inside nodes stand below the attempt that made them, in Langfuse and in the local store."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import weakref
from base64 import b64encode
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pydantic
import pytest
from collector import MediaCollector
from generating import NODES, Calls, CallsAsync, expected, generate, run, stored
from langfuse import Langfuse, get_client, observe
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pocketflow import AsyncFlow, Flow, Node
from sdk_state import client_of, forget

from pocketflow_tracing import (
    TracingConfig,
    _sdk_export,
    _sdk_media,
    _sdk_spans,
    flush,
    recorder,
    redaction_spans,
    trace_flow,
)
from pocketflow_tracing._conventions import is_input, is_output
from pocketflow_tracing.cli.output import as_json
from pocketflow_tracing.redaction import Redactor, Rules

GENERATION = {
    "langfuse.observation.type": "generation",
    "langfuse.observation.model.name": "model-1",
    "langfuse.observation.usage_details": '{"input": 3, "output": 4, "total": 7}',
    "langfuse.observation.cost_details": '{"total": 0.25}',
}


def provide(where, collector, monkeypatch):
    """Make the collector's keys known in one of the ways there are; answers with a config, where that is the way."""
    if where == "env file":
        Path(".env").write_text("".join(f"{name}={value}\n" for name, value in collector.environ.items()))
        return None
    if where == "config":
        return TracingConfig(
            langfuse_public_key=collector.public_key,
            langfuse_secret_key=collector.secret_key,
            langfuse_host=collector.url,
        )
    for name, value in collector.environ.items():
        monkeypatch.setenv(name, value)
    if where == "client of the program":
        Langfuse()
    return None


@pytest.mark.parametrize("where", ["environment", "env file", "config", "client of the program"])
@pytest.mark.parametrize("node", NODES)
def test_a_generation_is_a_child_of_its_attempt_in_langfuse(node, where, collector, monkeypatch):
    """An `@observe(as_type="generation")` in `exec` arrives below the attempt, wherever the keys stand."""
    import os

    config = provide(where, collector, monkeypatch)
    before = dict(os.environ)
    run(node(), config=config)
    assert flush(10)
    assert before == dict(os.environ)
    assert (expected(node()),) == collector.tree()
    assert [] == collector.problems()
    for span in collector.spans():
        if span.name == "generation":
            assert GENERATION == {key: span.attributes.get(key) for key in GENERATION}
            assert "langfuse.internal.is_app_root" not in span.attributes


@pytest.mark.parametrize("node", NODES)
def test_a_generation_is_a_child_of_its_attempt_in_the_store(node):
    """Without any account the same stands in the local store, with model, tokens and cost."""
    run(node())
    spans = stored()
    by_id = {span.span_id: span for span in spans}
    generations = [span for span in spans if span.name == "generation"]
    assert len(generations) == str(expected(node())).count("generation")
    for span in generations:
        assert ("attempt", "external") == (by_id[span.parent_id].kind, span.kind)
        assert ("model-1", {"input": 3, "output": 4, "total": 7}, 0.25) == (span.model, span.usage, span.cost)
        assert ("generation", "answer to prompt") == (span.attributes["type"], span.output)
        assert "prompt" in str(span.input)
    assert len(generations) == len({span.parent_id for span in generations})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "-1e400", "9" * 400])
def test_what_json_has_no_number_for_is_exported_as_json(number):
    """Other readers of JSON refuse NaN and Infinity, which an attribute of OpenTelemetry may hold in any place."""
    provider = TracerProvider()
    trace.set_tracer_provider(provider)

    class Chats(Node):
        def exec(self, prep_res):
            attributes = {
                "langfuse.observation.type": float("nan"),
                "gen_ai.usage.input_tokens": float("inf"),
                "langfuse.observation.cost_details": f'{{"input": 0.5, "total": {number}}}',
                "langfuse.observation.input": f'{{"a": {number}}}',
                "odd": [float("nan")],
                "some": ["text", None],
            }
            provider.get_tracer("x").start_span("chat", attributes=attributes).end()

    run(Chats())
    (chat,) = [span for span in stored() if span.name == "chat"]
    json.dumps(as_json(chat), allow_nan=False)
    assert ("nan", 0.5) == (chat.attributes["type"], chat.cost)


def test_what_a_generation_says_of_its_failure_is_redacted_in_the_store():
    """Its status message stands among its attributes too, and is a message of an error there."""

    class Fails(Node):
        def exec(self, prep_res):
            with get_client().start_as_current_observation(name="fails", as_type="generation") as generation:
                generation.update(level="ERROR", status_message="failed: password=hunter2")

    run(Fails())
    (fails,) = [span for span in stored() if span.name == "fails"]
    assert "password=[redacted]" in repr(fails)
    assert "hunter2" not in repr(fails)


def test_a_burst_of_generations_arrives(keys, collector, monkeypatch):
    """More of them than OpenTelemetry lets wait by itself, made faster than they are redacted."""
    made, redact = threading.Event(), redaction_spans.redact
    monkeypatch.setattr(_sdk_export, "redact", lambda *args: made.wait(30) and redact(*args))

    class Many(Node):
        def exec(self, prep_res):
            client = get_client()
            for number in range(5000):
                client.start_observation(name="call", as_type="generation", input=str(number)).end()
            made.set()

    run(Many())
    get_client().flush()
    assert flush(60)
    assert 5000 == sum(span.name == "call" for span in collector.spans())


def test_numbers_and_links_are_redacted_by_their_names():
    """A password may be a number, and what a link says is sent like everything else."""
    span = Span(name="call")
    span.attributes.add(key="user.password").value.int_value = 493021
    span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 3
    pins = span.attributes.add(key="user.otp").value.array_value
    pins.values.add().int_value = 493021
    span.links.add().attributes.add(key="authorization").value.string_value = "Bearer hunter2"
    redaction_spans.redact(span, Rules())
    assert ["[redacted]", 3] == [span.attributes[0].value.string_value, span.attributes[1].value.int_value]
    assert "493021" not in str(span)
    assert "hunter2" not in str(span)


def test_names_of_a_users_do_not_hide_what_langfuse_sorts_by():
    """A "name" or "id" of the user's is no trace name and no user."""
    span = Span(name="call")
    kept = (
        "langfuse.trace.name",
        "user.id",
        "session.id",
        "langfuse.observation.type",
        "langfuse.observation.model.name",
    )
    for key in (*kept, "langfuse.observation.metadata.name", "app.id"):
        span.attributes.add(key=key).value.string_value = key
    redaction_spans.redact(span, Rules(Redactor(("name", "id", "type"))))
    shown = {pair.key: pair.value.string_value for pair in span.attributes}
    assert [*kept, "[redacted]", "[redacted]"] == list(shown.values())


def test_maps_and_lists_of_them_are_redacted_and_masked_too():
    """OpenTelemetry takes them as attributes, and its conventions for messages want them so."""
    span = Span(name="call")
    messages = span.attributes.add(key="gen_ai.input.messages").value.array_value
    fields = messages.values.add().kvlist_value
    fields.values.add(key="content").value.string_value = 'canary {"api_key": "hunter2"}'
    parts = fields.values.add(key="parts").value.array_value
    parts.values.add().kvlist_value.values.add(key="password").value.string_value = "hunter3"
    fields.values.add(key="number").value.int_value = 7
    secret = span.attributes.add(key="app.credentials").value.kvlist_value
    secret.values.add(key="user").value.string_value = "hunter4"
    plain = span.attributes.add(key="plain").value.array_value
    plain.values.add().kvlist_value.values.add(key="a").value.double_value = 0.5
    before = plain.SerializeToString()
    mask = lambda value, path: value.replace("canary", "…") if isinstance(value, str) else value
    redaction_spans.redact(span, Rules(mask=mask))
    assert not any(word in str(span) for word in ("canary", "hunter"))
    assert before == plain.SerializeToString()
    (shown,) = (pair.value for pair in span.attributes if pair.key == "gen_ai.input.messages")
    content, parts, number = shown.array_value.values[0].kvlist_value.values
    assert ("content", "parts", "number", 7) == (content.key, parts.key, number.key, number.value.int_value)


def test_a_generation_with_json_deeper_than_python_reads_is_kept_as_a_text():
    """Its text is there all the same."""
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    deep = "[" * 100_000

    class Chats(Node):
        def exec(self, prep_res):
            provider.get_tracer("x").start_span("chat", attributes={"gen_ai.prompt": deep, "other": deep}).end()

    run(Chats())
    assert ["chat"] == [span.name for span in stored() if span.name == "chat"]


def test_a_stream_that_is_found_by_the_collector_has_its_generation():
    """Instrumentations end it where the stream goes that nobody has read to its end, which may be in a cycle."""
    provider = TracerProvider()
    trace.set_tracer_provider(provider)

    class Stream:
        def __init__(self):
            self.span = provider.get_tracer("x").start_span("chat")
            self.itself = self

        def __del__(self):
            self.span.end()

    class Streams(Node):
        def exec(self, prep_res):
            for _ in range(3):
                Stream()

    run(Streams())
    gc.collect()
    assert flush(10)
    assert 3 == sum(span.name == "chat" for span in stored())


def test_a_span_that_is_never_ended_keeps_no_run():
    """The next one that is begun lets go of what the former held."""
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    runs = []

    class Streams(Node):
        def exec(self, prep_res):
            provider.get_tracer("x").start_span("chat")
            runs.append(id(recorder.span_of(recorder.current.get()).run))

    for _ in range(3):
        run(Streams())
    assert flush(10)
    gc.collect()
    assert 1 == sum(id(thing) in runs for thing in gc.get_objects() if type(thing) is recorder.Run)


def test_langfuse_and_the_store_at_once(keys, collector, monkeypatch):
    """With an account and a store that was asked for, generations are in both."""
    monkeypatch.setenv("POCKETFLOW_TRACE_STORE", ".pocketflow/traces.db")
    run(Calls())
    assert (expected(Calls()),) == (assert_flushed(collector).tree())
    assert {span.span_id for span in collector.spans()} == {span.span_id for span in stored()}


def assert_flushed(collector):
    assert flush(10)
    return collector


@pytest.mark.parametrize("off", ["inputs", "outputs", None])
@pytest.mark.parametrize("destination", ["langfuse", "store"])
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("gen_ai.tool.call.arguments", "inputs"), ("gen_ai.tool.call.result", "outputs"), ("llm.prompts.0.prompt.text", "inputs"),
        ("embedding.embeddings.0.embedding.text", "inputs"), ("retrieval.documents.0.document.content", "outputs"),
        ("tool.parameters", "inputs"), ("langfuse.trace.input", "inputs"), ("langfuse.trace.output", "outputs"),
        ("final_result", "outputs"), ("llm.prompt_template.variables", "inputs"), ("llm.choices.0.completion.text", "outputs"),
        ("llm.invocation_parameters", "inputs"), ("model_request_parameters", "inputs"), ("gen_ai.tool.definitions", "inputs"),
        ("tool_arguments", "inputs"), ("tool_response", "outputs"), ("request_data", "inputs"), ("response_data", "outputs"),
        ("gcp.vertex.agent.llm_request", "inputs"), ("gcp.vertex.agent.tool_response", "outputs"), ("mlflow.spanInputs", "inputs"),
        ("lk.input_text", "inputs"), ("lk.response.text", "outputs"),
    ],
)  # fmt: skip
def test_toggles_know_where_conventions_keep_values(key, kind, off, destination, collector, monkeypatch):
    """Of OpenTelemetry, OpenInference and Langfuse itself."""
    if destination == "langfuse":
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
    if off:
        monkeypatch.setenv(f"POCKETFLOW_TRACE_{off.upper()}", "false")

    class Calls(Node):
        def exec(self, prep_res):
            with get_client().start_as_current_observation(name="call", as_type="generation") as generation:
                generation._otel_span.set_attribute(key, "canary")

    run(Calls())
    shown = repr(assert_flushed(collector).spans() if destination == "langfuse" else stored())
    assert "call" in shown
    assert (off != kind) == ("canary" in shown)


@pytest.mark.parametrize("off", ["inputs", "outputs", "errors", None])
@pytest.mark.parametrize("destination", ["langfuse", "store"])
def test_of_conventions_that_nobody_knows_what_may_be_a_copy_goes(off, destination, collector, monkeypatch):
    """LiteLLM's own spans have `llm.openai.messages`; what a span is, its figures and its metadata stay."""
    if destination == "langfuse":
        provide("environment", collector, monkeypatch)
    if off:
        monkeypatch.setenv(f"POCKETFLOW_TRACE_{off.upper()}", "false")
    held = {"llm.openai.messages": "text-canary", "embedding.of.mine": (0.25, 11.75), "error.details": "error-canary"}
    says = {
        "gen_ai.response.id": "id-canary",
        "llm.openai.temperature": 0.125,
        "langfuse.observation.metadata.team": "team-canary",
    }
    says["error.type"] = "type-canary"

    class Calls(Node):
        def exec(self, prep_res):
            with get_client().start_as_current_observation(name="call", as_type="generation") as generation:
                generation._otel_span.set_attributes({**held, **says})

    run(Calls())
    shown = repr(assert_flushed(collector).spans() if destination == "langfuse" else stored())
    assert [True] * 4 == [value in shown for value in ("id-canary", "0.125", "team-canary", "type-canary")]
    assert [off not in {"inputs", "outputs"}] * 2 == [value in shown for value in ("text-canary", "11.75")]
    assert (off != "errors") == ("error-canary" in shown)


def test_what_holds_both_goes_with_either():
    """The messages of an agent's whole run are its inputs and its outputs."""
    for key in ("pydantic_ai.all_messages", "events", "all_messages_events"):
        assert is_input(key)
        assert is_output(key)


def test_what_is_sent_with_an_input_is_no_part_of_it():
    """The parameters of a model stand among the attributes in the store, and the messages alone are the input."""

    class Calls(Node):
        def exec(self, prep_res):
            with get_client().start_as_current_observation(name="call", as_type="generation") as generation:
                generation._otel_span.set_attribute("input.value", "hello")
                generation._otel_span.set_attribute("llm.invocation_parameters", '{"temperature": 0}')

    run(Calls())
    assert flush(10)
    (call,) = [span for span in stored() if span.name == "call"]
    assert ("hello", {"temperature": 0}) == (call.input, call.attributes["otel"]["llm.invocation_parameters"])


@pytest.mark.parametrize("off", ["inputs", "outputs", "errors"])
@pytest.mark.parametrize("destination", ["langfuse", "store"])
def test_toggles_hold_for_generations(off, destination, collector, monkeypatch):
    """INPUTS, OUTPUTS and ERRORS off hold for the generations below a run as well."""

    @observe(as_type="generation", name="generation")
    def failing(prompt):
        get_client().update_current_generation(output="output-canary")
        raise ValueError("error-canary")

    class CallsFailing(Node):
        def exec(self, prep_res):
            try:
                failing("input-canary")
            except ValueError:
                pass

    if destination == "langfuse":
        provide("environment", collector, monkeypatch)
    monkeypatch.setenv(f"POCKETFLOW_TRACE_{off.upper()}", "false")
    run(CallsFailing())
    if destination == "langfuse":
        text = repr(assert_flushed(collector).spans())
    else:
        text = repr(stored())
    kept = {name for name in ("input", "output", "error") if f"{name}-canary" in text}
    assert {"input", "output", "error"} - {off.removesuffix("s")} == kept
    assert "generation" in text


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_generations_leave_as_soon_as_the_spans_around_them(is_asked_for, collector, monkeypatch):
    """A process that is killed has lost what is young, and no generation of four seconds ago."""
    provide("environment", collector, monkeypatch)
    if is_asked_for:
        get_client()
    run(Calls())
    collector.wait_for(lambda seen: expected(Calls()) in seen.tree(), timeout=3)


@pytest.mark.parametrize("rate", [0.0, 0.5])
@pytest.mark.parametrize("where", ["environment", "client of the program"])
def test_sampling_holds_for_generations(rate, where, collector, monkeypatch):
    """A run that sampling drops takes its generations with it; one that is kept keeps them."""
    monkeypatch.setenv("LANGFUSE_SAMPLE_RATE", str(rate))
    provide(where, collector, monkeypatch)
    flow = trace_flow(Flow(start=Calls()))
    for _ in range(30):
        flow.run({})
    trees = assert_flushed(collector).tree()
    assert {expected(Calls())} >= set(trees)
    assert len(trees) < 30
    assert (rate > 0) == (len(trees) > 0)


PICTURE = "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n" + bytes(3000)).decode()
HIDES = {
    "inputs off": {"trace_inputs": False},
    "media off": {"media": False},
    "a mask": {"mask": lambda value, path: value},
    "a name": {"redact": ["picture"]},
}


@pytest.mark.parametrize("asked", [False, True], ids=["ours", "asked for before"])
@pytest.mark.parametrize("hides", [None, *HIDES])
def test_media_of_a_generation_that_are_hidden_go_nowhere(hides, asked, fresh_sdk, monkeypatch):
    """The SDK looks for them before any rule of ours has its say; what nothing hides it sends as ever."""
    with MediaCollector() as collector:
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
        if asked:
            get_client()

        class Shows(Node):
            def exec(self, prep_res):
                get_client().start_observation(name="shows", as_type="generation", input={"picture": PICTURE}).end()

        trace_flow(Flow(start=Shows()), config=TracingConfig(**HIDES.get(hides, {}))).run({})
        get_client().flush()
        assert_flushed(collector)
        assert (hides is None) == bool(collector.stored)
        (found,) = [span for span in collector.spans() if span.name == "shows"]
        assert "base64," not in repr(found.attributes)
        forget()


def shows(**given):
    get_client().start_observation(name="shows", as_type="generation", **given).end()


def shows_attribute():
    trace.get_tracer("openinference.instrumentation.x").start_span(
        "shows", attributes={"tool.parameters": PICTURE}
    ).end()


@pytest.mark.parametrize(
    "show",
    [
        lambda: shows(input=OrderedDict(password=PICTURE)),
        lambda: shows(metadata={"password": PICTURE}),
        lambda: shows(metadata={"password": [PICTURE]}),
        shows_attribute,
    ],
    ids=["a kind of dict", "metadata", "a list in metadata", "an input by another name"],
)
def test_media_are_hidden_wherever_they_stand(show, fresh_sdk, monkeypatch):
    """The SDK makes attributes of metadata, and knows fewer names of inputs."""
    with MediaCollector() as collector:
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
        get_client()

        class Shows(Node):
            def exec(self, prep_res):
                show()

        trace_flow(Flow(start=Shows()), config=TracingConfig(trace_inputs=show is not shows_attribute)).run({})
        get_client().flush()
        assert_flushed(collector)
        assert {} == collector.stored
        assert "base64," not in repr(collector.spans())
        forget()


def test_names_are_asked_about_only_beside_media():
    """The host's thread looks: a value without any costs what it takes to see that."""

    class Asked:
        def hits(self, name):
            raise AssertionError(name)

    rules = SimpleNamespace(redact=Asked())
    many = {f"name {number}": [number, "text"] for number in range(2_000)}
    assert _sdk_media._names_a_secret(many, rules) is False
    assert _sdk_media._names_a_secret({**many, "picture": PICTURE}, rules) is True  # too many to ask about


def test_what_has_a_medium_is_looked_through_without_the_programs_code():
    """A model's own `model_dump` is for the SDK to call, once; a class among the values is none of its objects."""

    class Answer(pydantic.BaseModel):
        api_key: str = "x"
        extra: dict[str, str] = {}

        def model_dump(self, **how):
            raise AssertionError

    class Items(dict):
        def values(self):
            raise AssertionError

    rules = Rules()
    assert _sdk_media._names_a_secret({"format": Answer, "picture": PICTURE}, rules) is False
    assert _sdk_media._names_a_secret([Answer(), PICTURE], rules) is True
    assert _sdk_media._names_a_secret(Items(token="x", picture=PICTURE), rules) is True


@observe(name="job")
def job():
    get_client().score_current_trace(name="good", value=1.0)


@pytest.mark.parametrize("variable", ["LANGFUSE_SAMPLE_RATE", "OTEL_TRACES_SAMPLER_ARG"])
def test_outside_of_runs_a_client_of_ours_samples_as_the_sdks(variable, keys, collector, monkeypatch):
    """By its rate, and where it has none by OpenTelemetry's variables; langfuse 5 drops the scores of such traces as well."""
    monkeypatch.setenv(variable, "0")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")

    def scores_of_jobs():
        for _ in range(5):
            job()
        get_client().flush()
        assert "job" not in {span.name for span in collector.spans()}
        return len(collector.scores())

    plain = scores_of_jobs()
    forget()
    collector.clear()
    trace_flow(Flow(start=Node())).run({})
    assert plain == scores_of_jobs()
    assert client_of(collector).span_exporter.of_pocketflow_tracing
    assert_flushed(collector)


def test_a_kept_run_keeps_its_generations(keys, collector, monkeypatch):
    """What decides is the run: a decorator that keeps all runs keeps their generations, whatever rate the others have."""
    monkeypatch.setenv("LANGFUSE_SAMPLE_RATE", "0.01")
    run(Calls())
    flow = trace_flow(Flow(start=Calls()), config=TracingConfig(sample_rate=1.0), flow_name="Kept")
    for _ in range(20):
        flow.run({})
    trees = [tree for tree in assert_flushed(collector).tree() if tree[0] == "Kept"]
    assert [("Kept", *expected(Calls())[1:])] * 20 == trees


@pytest.mark.parametrize("off", ["prep", "exec", "post"])
def test_a_generation_of_a_phase_that_is_off_hangs_at_the_node(off, keys, collector, monkeypatch):
    """With the phase switched off, what it generated is a child of the node."""

    class CallsEverywhere(Node):
        def prep(self, shared):
            generate("in prep")

        def exec(self, prep_res):
            generate("in exec")

        def post(self, shared, prep_res, exec_res):
            generate("in post")

    monkeypatch.setenv(f"POCKETFLOW_TRACE_{off.upper()}", "0")
    run(CallsEverywhere())
    phases = [
        "generation" if phase == off else (f"CallsEverywhere.{phase}", "generation")
        for phase in ("prep", "exec", "post")
    ]
    assert (("Flow", ("CallsEverywhere", *phases)),) == assert_flushed(collector).tree()


def test_generations_of_concurrent_runs_do_not_mix(keys, collector):
    """Each generation of twenty concurrent runs of one flow object stands in its own run."""
    flow = trace_flow(AsyncFlow(start=CallsAsync()))

    async def main():
        await asyncio.gather(*(flow.run_async({}) for _ in range(20)))

    asyncio.run(main())
    assert (expected(CallsAsync()),) * 20 == assert_flushed(collector).tree()
    assert 20 == len({span.trace_id for span in collector.spans()})


# --- spans of other instrumentations -----------------------------------------------------------------------------------

CONVENTIONS = {
    "gen_ai": {
        "gen_ai.request.model": "model-1",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.prompt.0.content": "prompt",
        "gen_ai.completion.0.content": "answer",
    },
    "openinference": {
        "openinference.span.kind": "LLM",
        "llm.model_name": "model-1",
        "llm.token_count.prompt": 3,
        "llm.token_count.completion": 4,
        "llm.token_count.total": 7,
        "input.value": "prompt",
        "output.value": "answer",
    },
}


def instrumented(convention, scope="opentelemetry.instrumentation.openai.v1"):
    """A node whose model call is seen by an OpenTelemetry instrumentation."""

    class CallsModel(Node):
        def exec(self, prep_res):
            with trace.get_tracer(scope).start_as_current_span("chat", attributes=CONVENTIONS[convention]):
                return "answer"

    return CallsModel()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_spans_of_an_instrumentation_are_in_the_store(convention):
    """Spans on the program's own tracer provider stand below the attempt, with model and tokens; its exporter gets them too."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    run(instrumented(convention))
    spans = {span.name: span for span in stored()}
    chat = spans["chat"]
    assert spans["CallsModel.exec"].span_id == chat.parent_id
    assert ("model-1", {"input": 3, "output": 4, "total": 7}) == (chat.model, chat.usage)
    assert ("prompt" in str(chat.input), "answer" in str(chat.output)) == (True, True)
    assert ["chat"] == [span.name for span in exporter.get_finished_spans()]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("when", ["before the first run", "after the first run"])
def test_spans_of_an_instrumentation_reach_langfuse(convention, when, keys, collector):
    """They reach Langfuse when langfuse is imported, whether the provider was set before or after the first run."""
    scope = "openinference.instrumentation.openai" if convention == "openinference" else "any"
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    if when == "before the first run":
        trace.set_tracer_provider(provider)
    else:
        run(Node())
        trace.set_tracer_provider(provider)
        assert_flushed(collector).clear()
    assert provider is trace.get_tracer_provider()
    run(instrumented(convention, scope))
    tree = ("Flow", ("CallsModel", "CallsModel.prep", ("CallsModel.exec", "chat"), "CallsModel.post"))
    assert (tree,) == assert_flushed(collector).tree()
    assert [] == collector.duplicates
    assert ["chat"] == [span.name for span in exporter.get_finished_spans()]


def test_a_providers_end_is_not_ours(keys, collector):
    """When the program shuts its tracer provider down, generations through the Langfuse client go on."""
    run(Node())
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    run(Node())
    provider.shutdown()
    assert_flushed(collector).clear()
    run(Calls())
    assert (expected(Calls()),) == assert_flushed(collector).tree()


def test_spans_outside_of_runs_are_not_in_the_store():
    """What an instrumentation records outside of a run is not ours to keep."""
    trace.set_tracer_provider(TracerProvider())
    run(instrumented("gen_ai"))
    with trace.get_tracer("any").start_as_current_span("elsewhere"):
        pass
    assert "elsewhere" not in {span.name for span in stored()}


def test_a_generation_in_a_thread_of_a_node():
    """A thread that carries the node's context brings its generations home."""
    import contextvars

    class CallsInThread(Node):
        def exec(self, prep_res):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(generate, "prompt"))
            thread.start()
            thread.join(10)

    run(CallsInThread())
    spans = {span.name: span for span in stored()}
    assert spans["CallsInThread.exec"].span_id == spans["generation"].parent_id


@pytest.mark.parametrize("form", ["flow", "function"])
def test_sampling_drops_no_span_of_the_programs_own(form, keys, collector, monkeypatch):
    """Spans that the program records for another backend are recorded in runs that are sampled out, under their parents."""
    monkeypatch.setenv("LANGFUSE_SAMPLE_RATE", "0")
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("theirs")

    class Works(Node):
        def exec(self, prep_res):
            with tracer.start_as_current_span("inside"):
                return generate("text")

    flow = Flow(start=Works())
    traced = trace_flow(flow).run if form == "flow" else trace_flow()(lambda shared: flow.run(shared))
    traced({})
    traced({})  # the first one has asked for a client, with which the SDK sets the global provider
    with tracer.start_as_current_span("around"):
        traced({})
    assert flush(10)
    *alone, below, around = exporter.get_finished_spans()
    assert [span.name for span in (*alone, below, around)] == ["inside", "inside", "inside", "around"]
    assert below.parent.span_id == around.context.span_id
    assert collector.spans() == []


@pytest.mark.parametrize("strict_first", [False, True])
@pytest.mark.parametrize(
    "strictly", [{"trace_inputs": False}, {"mask": lambda value, _path: "masked" if "prompt" in str(value) else value}]
)
def test_what_a_generation_shows_its_run_decides(strictly, strict_first, collector, monkeypatch):
    """Of two flows in one project, each with settings of its own, whichever was used first."""
    provide("environment", collector, monkeypatch)
    flows = {"strict": TracingConfig(**strictly), "loose": None}
    for name in sorted(flows, reverse=strict_first):
        run(Calls(), flow_name=name, config=flows[name])
    assert flush(10)
    shown = {
        span.attributes["langfuse.trace.name"]: "prompt" in str(span.attributes.get("langfuse.observation.input"))
        for span in collector.spans()
        if span.name == "generation"
    }
    assert {"loose": True, "strict": False} == shown


def test_settings_of_runs_are_kept_for_spans_that_are_exported_alone(collector, monkeypatch):
    """Spans of other libraries that the SDK leaves out keep the configuration of no request, and what its mask refers to."""
    provide("environment", collector, monkeypatch)

    class Asks(Node):
        def exec(self, prep_res):
            get_client()
            with trace.get_tracer("http.client").start_as_current_span("GET"):
                return generate("prompt")

    masks = []
    for _ in range(3):

        def mask(value, _path):
            return value

        masks.append(weakref.ref(mask))
        run(Asks(), config=TracingConfig(mask=mask))
        del mask
    assert flush(10)
    assert 3 == len([span for span in collector.spans() if span.name == "generation"])
    gc.collect()
    assert [] == [mask for mask in masks[1:] if mask() is not None]  # the first is that of the project


def test_settings_hold_for_a_generation_around_many_spans(collector, monkeypatch):
    """Those that begin in it and never end push its settings out, which hold for it all the same."""
    provide("environment", collector, monkeypatch)
    monkeypatch.setattr(_sdk_spans, "_MOST_NOTED", 5)

    @observe(as_type="generation", name="generation")
    def imports(prompt):
        for _ in range(10):
            trace.get_tracer("http.client").start_span("GET")

    class Asks(Node):
        def exec(self, prep_res):
            imports("prompt")

    run(Node())
    run(Asks(), config=TracingConfig(trace_inputs=False))
    assert flush(10)
    (generation,) = (span for span in collector.spans() if span.name == "generation")
    assert "langfuse.observation.input" not in generation.attributes
