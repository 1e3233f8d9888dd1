"""Whose settings hold for an observation of the program's: those of the run that it stands in, elsewhere the environment's."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import pytest
from langfuse import get_client, observe, propagate_attributes
from opentelemetry import trace
from pocketflow import Flow, Node

from pocketflow_tracing import (
    TracingConfig,
    _sdk_told,
    continue_trace,
    flush,
    instrument,
    trace_flow,
    trace_headers,
    uninstrument,
)
from pocketflow_tracing.store import Store


def hides(value, path):
    """A mask."""
    return "hidden" if "canary" in str(value) else value


@pytest.mark.parametrize("way", ["unmarked", "marked", "instrumented", "a function"])
@pytest.mark.parametrize("is_hidden", [True, False])
def test_what_a_hidden_run_has_started_is_hidden_when_it_is_over_too(way, is_hidden, keys, collector):
    """It goes on in its trace: a thread with the context of a node runs a flow once the run has ended."""
    over = threading.Event()

    class Asks(Node):
        def exec(self, prep_res):
            ask("canary")

    @observe()
    def ask(question):
        return question

    def later():
        assert over.wait(10)
        if way == "a function":
            trace_flow(lambda: Flow(start=Asks()).run({"question": "canary"}))()
        elif way == "marked":
            trace_flow(Flow(start=Asks()), flow_name="Later").run({"question": "canary"})
        else:
            Flow(start=Asks()).run({"question": "canary"})

    class Starts(Node):
        def exec(self, prep_res):
            threads.append(threading.Thread(target=contextvars.copy_context().run, args=(later,)))
            threads[0].start()

    threads = []
    if way == "instrumented":
        instrument(config=TracingConfig())
    hides_all = TracingConfig(trace_inputs=not is_hidden, trace_outputs=not is_hidden)
    trace_flow(Flow(start=Starts()), config=hides_all).run({})
    over.set()
    threads[0].join()
    uninstrument()
    get_client().flush()
    assert flush(10)
    spans = collector.spans()
    assert 1 == len({span.trace_id for span in spans})
    assert "ask" in {span.name for span in spans}
    assert is_hidden == ("canary" not in repr(spans))


@pytest.mark.parametrize(
    "settings",
    [
        {"sample_rate": 0.0},
        {"environment": "batch", "release": "r1"},
        {"trace_inputs": False, "trace_outputs": False, "trace_errors": False},
        {"mask": lambda value, path: "hidden"},
        {"redact": ("question",)},
    ],
    ids=lambda settings: next(iter(settings)),
)
@pytest.mark.parametrize("asked", ["before", "after"])
def test_what_the_config_of_one_flow_says_is_not_for_others(asked, settings, keys, collector):
    """Not for what the program records itself, nor for runs of other flows: the order of runs decides nothing."""

    class Asks(Node):
        def exec(self, prep_res):
            ask(question="in a run")

    @observe()
    def ask(question):
        return "answer"

    @observe()
    def fails():
        raise ValueError("told")

    if asked == "before":
        get_client()
    trace_flow(Flow(start=Asks()), config=TracingConfig(**settings)).run({})
    ask(question="outside")
    with contextlib.suppress(ValueError):
        fails()
    trace_flow(Flow(start=Asks()), flow_name="Other").run({})
    get_client().flush()
    assert flush(10)
    spans = collector.spans()
    others = [span for span in spans if span.name in {"ask", "fails"}][-3:]
    outside, failed, inside = others
    assert ["ask", "fails", "ask"] == [span.name for span in others]
    assert outside.parent_id is None
    assert "outside" in outside.attributes["langfuse.observation.input"]
    assert "in a run" in inside.attributes["langfuse.observation.input"]
    assert all("answer" in span.attributes["langfuse.observation.output"] for span in (outside, inside))
    assert "told" in failed.attributes["langfuse.observation.status_message"]
    for span in others:
        assert "batch" != span.attributes.get("langfuse.environment")
        assert "r1" not in {span.attributes.get("langfuse.release"), span.resource.get("langfuse.release")}
    if "environment" in settings:
        of_the_run = [span for span in spans if span.trace_id == spans[0].trace_id]
        assert {("batch", "r1")} == {
            (span.attributes.get("langfuse.environment"), span.attributes.get("langfuse.release"))
            for span in of_the_run
        }
        assert "ask" in {span.name for span in of_the_run}


def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _by_trace_context(client, ask):
    ids = {"trace_id": client.get_current_trace_id(), "parent_span_id": client.get_current_observation_id()}
    return lambda: client.start_observation(name="ask", trace_context=ids, input={"question": "canary"}).end()


def _by_ids_of_observe(client, ask):
    trace_id, span_id = client.get_current_trace_id(), client.get_current_observation_id()
    return lambda: ask(question="canary", langfuse_trace_id=trace_id, langfuse_parent_observation_id=span_id)


def _by_headers(client, ask):
    headers = trace_headers()

    def work():
        with continue_trace(headers):
            ask(question="canary")

    return work


def _by_handle(client, ask):
    handle = client.start_observation(name="tool")
    handle.end()
    return lambda: handle.start_observation(name="ask", input={"question": "canary"}).end()


def _in_a_tool(way):
    def begin(client, ask):
        with client.start_as_current_observation(name="tool"):
            return way(client, ask)

    return begin


WAYS = {
    "trace_context": _by_trace_context,
    "ids of observe": _by_ids_of_observe,
    "headers": _by_headers,
    "handle": _by_handle,
    "trace_context of a tool": _in_a_tool(_by_trace_context),
    "headers of a tool": _in_a_tool(_by_headers),
}


@pytest.mark.parametrize(
    "settings",
    [
        {"trace_inputs": False},
        {"redact": ("question",)},
        {"mask": hides},
    ],
    ids=lambda settings: next(iter(settings)),
)
@pytest.mark.parametrize("is_around", [False, True], ids=["alone", "in a span"])
@pytest.mark.parametrize("when", ["in the run", "later", "when its flow is gone"])
@pytest.mark.parametrize("way", WAYS)
def test_the_settings_of_a_run_hold_for_what_has_its_ids_alone(
    way, when, is_around, settings, keys, collector, monkeypatch
):
    """In threads without any context, as the SDK's documentation has it; another flow runs before, and very often meanwhile."""
    monkeypatch.setattr(_sdk_told, "_MOST", 20)
    client = get_client()
    gone = threading.Event()
    threads = []

    @observe(as_type="generation")
    def ask(question):
        return "answer"

    class Threads(Node):
        def exec(self, prep_res):
            work = WAYS[way](client, ask)
            client.flush()
            meanwhile = threading.Thread(target=lambda: [others.run({}) for _ in range(25)])
            meanwhile.start()
            meanwhile.join()
            thread = threading.Thread(target=lambda: gone.wait(10) and work())
            threads.append(thread)
            thread.start()
            if when == "in the run":
                gone.set()
                thread.join()

    others = trace_flow(Flow(start=Node()), flow_name="Other")
    others.run({})
    flow = trace_flow(Flow(start=Threads()), config=TracingConfig(**settings))
    with client.start_as_current_observation(name="around") if is_around else contextlib.nullcontext():
        flow.run({})
    client.flush()
    assert flush(10)
    if when == "when its flow is gone":
        del flow
        gc.collect()
    gone.set()
    threads.pop().join()
    client.flush()
    assert flush(10)
    # without its mask nothing of it is shown, not even its name
    (found,) = (span for span in collector.spans() if span.name == "ask" or span.name.startswith("<withheld"))
    assert {"Threads.exec", "tool"} & {span.name for span in collector.spans() if span.span_id == found.parent_id}
    assert "canary" not in repr(collector.spans())


def test_who_ends_an_observation_does_not_decide_on_it(keys, collector):
    """One that began outside of every run is the program's, also when a node ends it."""
    run_first = trace_flow(Flow(start=Node()))
    run_first.run({})
    request = get_client().start_observation(name="request", input="in clear")

    class Ends(Node):
        def exec(self, prep_res):
            request.update(output="out")
            request.end()

    config = TracingConfig(trace_inputs=False, trace_outputs=False, environment="batch")
    trace_flow(Flow(start=Ends()), config=config).run({})
    get_client().flush()
    assert flush(10)
    (found,) = (span for span in collector.spans() if span.name == "request")
    assert "in clear" in found.attributes["langfuse.observation.input"]
    assert "out" in found.attributes["langfuse.observation.output"]
    assert "batch" != found.attributes.get("langfuse.environment")


@pytest.mark.parametrize("when", ["before", "while it goes on", "after"])
@pytest.mark.parametrize("also", [{}, {"redact": ("one", "two")}])
@pytest.mark.parametrize("is_around", [True, False])
def test_what_one_run_of_a_trace_hides_another_does_not_show(when, is_around, also, keys, collector, monkeypatch):
    """What has its ids alone: a judge, or a job that goes on with the trace, may have other settings."""
    monkeypatch.setattr(_sdk_told, "_MOST", 20)
    client = get_client()
    headers, work = {}, []

    @observe(as_type="generation")
    def ask(question):
        return "answer"

    class Strict(Node):
        def exec(self, prep_res):
            if when == "while it goes on":
                in_a_thread(judge)
                in_a_thread(lambda: [other.run({}) for _ in range(25)])  # it goes on whatever ends
            work.append(_by_trace_context(client, ask))
            headers.update(trace_headers())

    def judge():
        with continue_trace(headers or trace_headers()):
            other.run({})

    other = trace_flow(Flow(start=Node()), flow_name="Judge", config=TracingConfig(**also))
    strict = trace_flow(Flow(start=Strict()), config=TracingConfig(mask=hides))
    with client.start_as_current_observation(name="around") if is_around else contextlib.nullcontext():
        headers.update(trace_headers())
        if when == "before":
            judge()
        strict.run({})
    if when == "after":
        judge()
    in_a_thread(work.pop())
    client.flush()
    assert flush(10)
    assert {"Judge", "ask"} <= {span.name for span in collector.spans()}
    assert "canary" not in repr(collector.spans())


def test_nothing_is_kept_of_a_function_that_builds_flows(keys, collector):
    """Its call is nobody's run, and never ends."""

    @trace_flow()
    def build():
        return Flow(start=Node())

    before = len(_sdk_told._going)
    for _ in range(5):
        build().run({})
    assert flush(10)
    assert before == len(_sdk_told._going)


def test_in_a_trace_of_the_programs_only_the_run_has_its_settings(keys, collector):
    """What the program records around it, and what another flow does there, is as without."""

    @observe()
    def ask(question):
        return "answer"

    class Asks(Node):
        def exec(self, prep_res):
            ask(question="in a run")
            get_client().flush()

    strict = trace_flow(Flow(start=Asks()), config=TracingConfig(trace_inputs=False))
    with get_client().start_as_current_observation(name="request", input="in clear"):
        ask(question="before")
        strict.run({})
        ask(question="after")
        trace_flow(Flow(start=Asks())).run({})
        with ThreadPoolExecutor() as pool:
            context = contextvars.copy_context()
            pool.submit(context.run, ask, question="in a thread").result()
    get_client().flush()
    assert flush(10)
    asked = [span.attributes.get("langfuse.observation.input", "") for span in collector.spans() if span.name == "ask"]
    assert ["before", "", "after", "in a run", "in a thread"] == [
        json.loads(shown)["kwargs"]["question"] if shown else shown for shown in asked
    ]
    (request,) = (span for span in collector.spans() if span.name == "request")
    assert "in clear" in request.attributes["langfuse.observation.input"]


def test_what_a_file_says_holds_outside_of_runs_too(collector, tmp_path):
    """It was read by the config of a flow, and no other one knows of it."""
    settings = {**collector.environ, "POCKETFLOW_TRACE_INPUTS": "false", "LANGFUSE_TRACING_ENVIRONMENT": "staging"}
    (tmp_path / "app.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    config = TracingConfig.from_env(tmp_path / "app.env")
    config.release = "r1"
    trace_flow(Flow(start=Node()), config=config).run({})

    with get_client(public_key=collector.public_key).start_as_current_observation(name="outside", input="canary"):
        pass
    get_client(public_key=collector.public_key).flush()
    assert flush(10)
    (found,) = (span for span in collector.spans() if span.name == "outside")
    assert "canary" not in repr(found)
    assert ("staging", None) == tuple(found.attributes.get(f"langfuse.{name}") for name in ("environment", "release"))


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("others", [0, 30])
def test_what_stands_around_a_run_is_the_programs(others, is_first, keys, collector, monkeypatch):
    """However far around, whatever ended meanwhile, and also before there was a client of ours."""
    monkeypatch.setattr(_sdk_told, "_MOST", 20)
    if not is_first:
        trace_flow(Flow(start=Node())).run({})
    config = TracingConfig(trace_inputs=False, trace_outputs=False, environment="batch", mask=hides)
    flow = trace_flow(Flow(start=Node()), config=config)

    @observe()
    def inner(question):
        flow.run({})
        return "answered"

    @observe()
    def middle(question):
        return inner(question)

    @observe()
    def web(question):
        return middle(question)

    @observe()
    def other():
        pass

    with ThreadPoolExecutor() as pool:
        web("canary")
        for _ in range(others):
            pool.submit(other)
        web("canary")
    get_client().flush()
    assert flush(10)
    around = [span for span in collector.spans() if span.name in {"web", "middle", "inner"}]
    assert 6 == len(around)
    for span in around:
        assert "canary" in span.attributes["langfuse.observation.input"]
        assert "answered" in span.attributes["langfuse.observation.output"]
        assert "batch" != span.attributes.get("langfuse.environment")


def test_the_root_around_a_run_is_the_programs_whatever_came_meanwhile(keys, collector, monkeypatch):
    """More ids than are kept: it was said long ago that it stands in no run."""
    monkeypatch.setattr(_sdk_told, "_MOST", 20)
    trace_flow(Flow(start=Node())).run({})
    flow = trace_flow(Flow(start=Node()), config=TracingConfig(trace_inputs=False, trace_outputs=False))

    @observe()
    def other():
        pass

    @observe()
    def web(question):
        flow.run({})
        in_a_thread(lambda: [other() for _ in range(30)])
        return "answered"

    web("in clear")
    get_client().flush()
    assert flush(10)
    (root,) = (span for span in collector.spans() if span.name == "web")
    assert "in clear" in root.attributes["langfuse.observation.input"]
    assert "answered" in root.attributes["langfuse.observation.output"]


@pytest.mark.parametrize("in_environment", [None, "production"])
def test_scores_and_what_has_ids_alone_are_of_the_environment_of_their_run(
    in_environment, keys, collector, monkeypatch
):
    """Else a filter in Langfuse would show a trace without them."""
    if in_environment:
        monkeypatch.setenv("LANGFUSE_TRACING_ENVIRONMENT", in_environment)

    class Scores(Node):
        def exec(self, prep_res):
            client = get_client()
            client.score_current_trace(name="one", value=1)
            client.create_score(name="two", value=2, trace_id=client.get_current_trace_id())
            thread = threading.Thread(target=_by_trace_context(client, None))
            thread.start()
            thread.join()

    flow = trace_flow(Flow(start=Scores()), config=TracingConfig(environment="batch", release="r1"))
    flow.run({})
    get_client().create_score(name="outside", value=3, trace_id="a" * 32)
    get_client().create_score(name="elsewhere", value=3, trace_id="chat-42")
    get_client().flush()
    assert flush(10)
    collector.wait_for(lambda seen: len(seen.scores()) == 4)
    assert {"one": "batch", "two": "batch", "outside": in_environment, "elsewhere": in_environment} == {
        score["name"]: None if score.get("environment") == "default" else score.get("environment")
        for score in (found.get("body", found) for found in collector.scores())
    }
    assert {("batch", "r1")} == {
        (span.attributes["langfuse.environment"], span.attributes["langfuse.release"]) for span in collector.spans()
    }


def test_what_is_said_with_scores_is_redacted(keys, collector, monkeypatch):
    """By the names of their run, and elsewhere by those of the environment; everything else stays as it was given."""
    monkeypatch.setenv("POCKETFLOW_TRACE_REDACT", "pin")
    many = list(range(300))

    class Scores(Node):
        def exec(self, prep_res):
            get_client().score_current_trace(
                name="in it",
                value="password=hunter2 b=1",
                data_type="CATEGORICAL",
                comment="password=hunter2 b=1" + "." * 100_000,
                metadata={"iban": "DE12", "n": [{"iban": 1}, many], "at": datetime(2026, 1, 1, tzinfo=timezone.utc)},
            )

    def mask(value, path):
        raise AssertionError("the program would wait for it")

    trace_flow(Flow(start=Scores()), config=TracingConfig(redact=("iban",))).run({})
    trace_flow(Flow(start=Scores()), config=TracingConfig(mask=mask, trace_outputs=False)).run({})
    get_client().create_score(name="outside", value="yes", trace_id="a" * 32, metadata={"pin": "x", "iban": "DE12"})
    get_client().flush()
    assert flush(10)
    collector.wait_for(lambda seen: len(seen.scores()) == 3)
    first, second, outside = [found.get("body", found) for found in collector.scores()]
    for score in (first, second):
        assert ["password=[redacted] b=1", "password=[redacted] b=1" + "." * 100_000] == [
            score["value"],
            score["comment"],
        ]
    assert ["[redacted]", [{"iban": "[redacted]"}, many]] == [first["metadata"]["iban"], first["metadata"]["n"]]
    assert ["DE12", second["metadata"]["at"]] == [second["metadata"]["iban"], first["metadata"]["at"]]
    assert first["metadata"]["at"].startswith("2026-01-01T00:00:00")  # as the SDK writes it
    assert ("yes", {"pin": "[redacted]", "iban": "DE12"}) == (outside["value"], outside["metadata"])


def test_what_a_run_says_of_another_trace_is_redacted_as_it_says(keys, collector):
    """A flow that judges what others have done."""

    class Judges(Node):
        def exec(self, prep_res):
            get_client().create_score(name="one", value=1, trace_id="a" * 32, metadata={"iban": "DE12"})
            get_client().create_score(name="two", value=1, session_id="chat", metadata={"iban": "DE12", "pin": "1"})

    trace_flow(Flow(start=Judges()), config=TracingConfig(redact=("iban",))).run({})
    get_client().flush()
    collector.wait_for(lambda seen: len(seen.scores()) == 2)
    one, two = [found.get("body", found) for found in collector.scores()]
    assert [{"iban": "[redacted]"}, {"iban": "[redacted]", "pin": "1"}] == [one["metadata"], two["metadata"]]


def test_scores_of_a_trace_of_the_programs_stay_where_that_is(keys, collector, monkeypatch):
    """But for those that are about what the run did in it."""
    monkeypatch.setenv("LANGFUSE_TRACING_ENVIRONMENT", "production")
    client = get_client()

    class Scores(Node):
        def exec(self, prep_res):
            ids = {"trace_id": client.get_current_trace_id(), "observation_id": client.get_current_observation_id()}
            client.create_score(name="of the run", value=1, **ids)

    flow = trace_flow(Flow(start=Scores()), config=TracingConfig(environment="batch"))
    with client.start_as_current_observation(name="web"):
        flow.run({})
        client.score_current_trace(name="of the trace", value=2)
        client.score_current_span(name="of the span", value=3)
    client.flush()
    assert flush(10)
    collector.wait_for(lambda seen: len(seen.scores()) == 3)
    assert {"of the run": "batch", "of the trace": "production", "of the span": "production"} == {
        score["name"]: score["environment"] for score in (found.get("body", found) for found in collector.scores())
    }


def test_a_mask_has_no_say_in_what_a_generation_is(keys, collector):
    """Its type, level, figures, user and session stay, as on the spans of the run."""

    @observe(as_type="generation", name="asks")
    def ask(question):
        get_client().update_current_generation(
            model="model-1",
            usage_details={"input": 3},
            cost_details={"total": 0.5},
            level="WARNING",
            metadata={"a": "b"},
        )
        return "answer"

    class Asks(Node):
        def exec(self, prep_res):
            ask("why")

    config = TracingConfig(mask=lambda value, path: "hidden", user_id="ada", session_id="s-1", tags=("t",))
    trace_flow(Flow(start=Asks()), config=config).run({})
    get_client().flush()
    assert flush(10)
    (found,) = (span for span in collector.spans() if span.attributes["langfuse.observation.type"] == "generation")
    said = {key.rpartition(".")[2]: value for key, value in found.attributes.items()}
    assert ("ada", "s-1", "WARNING") == (found.attributes["user.id"], found.attributes["session.id"], said["level"])
    assert ('{"input": 3}', '{"total": 0.5}') == (said["usage_details"], said["cost_details"])
    assert ("t",) == tuple(found.attributes["langfuse.trace.tags"])
    assert {"hidden"} == {found.name, said["input"].strip('"'), said["output"].strip('"')}
    assert "hidden" == found.attributes["langfuse.observation.metadata.a"].strip('"')


@pytest.mark.parametrize("asked", ["before", "after"])
@pytest.mark.parametrize("settings", [{"sample_rate": 0.0}, {"enabled": False}])
def test_a_run_that_is_not_recorded_in_a_trace_of_the_programs(settings, asked, keys, collector):
    """It takes away nothing of that trace but itself."""

    @observe()
    def helps():
        pass

    class Helps(Node):
        def exec(self, prep_res):
            helps()

    if asked == "before":
        get_client()
    trace_flow(Flow(start=Node())).run({})
    flow = trace_flow(Flow(start=Helps()), config=TracingConfig(**settings))
    with get_client().start_as_current_observation(name="web"):
        flow.run({})
    get_client().flush()
    assert flush(10)
    (web,) = (span for span in collector.spans() if span.name == "web")
    assert [web.span_id] == [span.parent_id for span in collector.spans() if span.name == "helps"]


@pytest.mark.parametrize("how", ["redact", "mask"])
def test_a_name_of_the_users_counts_in_metadata_too(how, keys, collector):
    """The SDK writes each entry as an attribute of its own, under a longer name; and the store has what Langfuse has."""

    @observe(as_type="generation")
    def ask():
        get_client().update_current_generation(metadata={"iban": "canary", "number": 1, "other": "here"})

    class Asks(Node):
        def exec(self, prep_res):
            with propagate_attributes(metadata={"iban": "canary"}):
                ask()
            with trace.get_tracer("app").start_as_current_span(
                "llm", attributes={"gen_ai.system": "x", "app.iban": 12}
            ):
                pass

    named = (
        {"redact": ("iban",)}
        if how == "redact"
        else {"mask": lambda value, path: "…" if path[-1:] == ("iban",) else value}
    )
    trace_flow(Flow(start=Asks()), config=TracingConfig(store="t.db", **named)).run({})
    get_client().flush()
    assert flush(10)
    store = Store("t.db")
    for found in (collector.spans(), store.spans(store.run("last").run_id, payload=True)):
        assert {"ask", "llm"} <= {span.name for span in found}
        assert "canary" not in repr(found)
        assert "here" in repr(found)
        assert how == "mask" or "'app.iban': 12" not in repr(found)
