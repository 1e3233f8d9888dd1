"""Without an account: what `@observe` records in a run is in the store, and clients answer as they do untraced."""

from __future__ import annotations

import socket

import pytest
from generating import Calls, generate, run, stored
from langfuse import Langfuse, get_client
from langfuse._client.resource_manager import LangfuseResourceManager
from pocketflow import Flow, Node

from pocketflow_tracing import trace_flow

CALLS = {
    "api": lambda client: client.api.trace.list(),
    "async_api": lambda client: client.async_api,
    "create_dataset": lambda client: client.create_dataset(name="d"),
    "create_dataset_item": lambda client: client.create_dataset_item(dataset_name="d", input=1),
    "create_event": lambda client: type(client.create_event(name="e")),
    "create_prompt": lambda client: client.create_prompt(name="p", prompt="text"),
    "create_score": lambda client: client.create_score(name="s", value=1, trace_id="1" * 32),
    "create_trace_id": lambda client: client.create_trace_id(seed="seed"),
    "delete_dataset_run": lambda client: client.delete_dataset_run(dataset_name="d", run_name="r"),
    "get_dataset": lambda client: client.get_dataset("d"),
    "get_dataset_run": lambda client: client.get_dataset_run(dataset_name="d", run_name="r"),
    "get_dataset_runs": lambda client: client.get_dataset_runs(dataset_name="d"),
    "get_prompt": lambda client: client.get_prompt("p", fallback="f"),
    "resolve_media_references": lambda client: client.resolve_media_references(
        obj={"a": "@@@langfuseMedia:type=image/jpeg|id=1|source=bytes@@@"}, resolve_with="base64_data_uri"
    ),
    "run_batched_evaluation": lambda client: type(
        client.run_batched_evaluation(scope="traces", mapper=lambda *, item: item, evaluators=[])
    ),
    "run_experiment": lambda client: type(
        client.run_experiment(name="e", data=[{"input": 1}], task=lambda *, item, **_: item["input"])
    ),
    "score_current_span": lambda client: client.score_current_span(name="s", value=1),
    "score_current_trace": lambda client: client.score_current_trace(name="s", value=1),
    "set_current_trace_io": lambda client: client.set_current_trace_io(input=1),
    "start_as_current_observation": lambda client: type(client.start_as_current_observation(name="o").__enter__()),
    "start_observation": lambda client: type(client.start_observation(name="o").end()),
    "update_prompt": lambda client: client.update_prompt(name="p", version=1, new_labels=["l"]),
    "get_trace_url of a trace": lambda client: client.get_trace_url(trace_id="1" * 32),
}
"""What is asked of a client where it is not enough to call the method."""


def answers(client):
    """What each public method of a client does: the value, or the type of the exception."""
    found = {}
    for name in sorted({name for name in dir(Langfuse) if not name.startswith("_")} | {"get_trace_url of a trace"}):
        call = CALLS.get(name, lambda client, name=name: getattr(client, name)())
        try:
            found[name] = call(client)
        except Exception as error:
            found[name] = type(error)
    return found


@pytest.fixture
def calls_out(monkeypatch):
    """Attempts to reach a server, other than the collector of a test before, to which its sink may still be trying to send."""
    attempts = []

    def refuse(*args, **kwargs):
        if "127.0.0.1" not in str(args):
            attempts.append(args)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("place", ["in a node", "in an observation"])
@pytest.mark.parametrize("client", ["get_client()", "one made before"])
def test_a_client_answers_as_it_does_untraced(client, place, calls_out):
    """Each of its methods gives the same value or raises the same exception, without a server; its context is not touched."""
    made = Langfuse() if client == "one made before" else None
    seen = []

    class Asks(Node):
        def exec(self, prep_res):
            asked = made or get_client()
            if place == "in a node":
                seen.append(answers(asked))
            else:
                with asked.start_as_current_observation(name="around"):
                    seen.append(answers(asked))

    Flow(start=Asks()).run({})
    trace_flow(Flow(start=Asks())).run({})
    untraced, traced = seen
    assert untraced == traced
    assert False is traced["auth_check"]
    assert None is traced["get_trace_url"]
    assert [] == calls_out


def test_a_client_made_before_records_in_runs():
    """Also one that has no credentials and stands in a module; outside of runs it records nothing."""
    client = Langfuse()

    class Asks(Node):
        def exec(self, prep_res):
            with client.start_as_current_observation(name="inside", as_type="generation", model="model-1"):
                with client.start_as_current_observation(name="deeper"):
                    pass
                assert client.get_current_trace_id() is None

    run(Asks())
    with client.start_as_current_observation(name="outside") as outside:
        assert not outside._otel_span.is_recording()
    spans = {span.name: span for span in stored()}
    assert spans["Asks.exec"].span_id == spans["inside"].parent_id
    assert spans["inside"].span_id == spans["deeper"].parent_id
    assert "model-1" == spans["inside"].model
    assert "outside" not in spans


def test_keys_that_only_this_package_refuses(collector, monkeypatch):
    """The program's client is the SDK's own, and its generations reach their server."""
    for name, value in collector.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "your-secret-key")
    seen = []

    class Asks(Node):
        def exec(self, prep_res):
            client = get_client()
            seen.append((client._resources.public_key, client._resources.span_exporter))
            generate("prompt")

    run(Asks())
    get_client().flush()
    assert [(collector.public_key, None)] == seen
    assert ["generation"] == [span.name for span in collector.spans()]
    assert {"Asks.exec", "generation"} < {span.name for span in stored()}


def test_the_stand_in_is_there_in_runs_only():
    """Without credentials the client that records for the store is seen by traced code and by nobody else."""
    seen = []

    class Looks(Node):
        def exec(self, prep_res):
            generate("prompt")
            seen.append(get_client().auth_check)

    run(Looks())
    assert 1 == len(seen)
    assert {"Looks.exec", "generation"} < {span.name for span in stored()}
    assert 0 == len(LangfuseResourceManager._instances)


def test_the_stand_in_gives_way(collector, monkeypatch):
    """A client that the program makes later is the only one that `get_client()` knows, at once."""
    run(Calls())
    client = Langfuse(public_key=collector.public_key, secret_key=collector.secret_key, base_url=collector.url)
    with client.start_as_current_observation(name="outside"):
        generate("prompt")
    client.flush()
    assert (("outside", "generation"),) == collector.tree()
    monkeypatch.setenv("POCKETFLOW_TRACE_STORE", "off")


def test_the_stand_in_gives_way_in_a_run(collector):
    """A program whose node makes a client, with keys that are nowhere else, has its generations at its server."""

    class Makes(Node):
        def exec(self, prep_res):
            Langfuse(public_key=collector.public_key, secret_key=collector.secret_key, base_url=collector.url)
            return generate("question")

    trace_flow(Flow(start=Makes())).run({})
    trace_flow(Flow(start=Calls())).run({})
    get_client().flush()
    assert ["generation"] * 2 == [span.name for span in collector.spans()]
