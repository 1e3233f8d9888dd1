"""Whose settings hold for an observation of the program's: those of the run that it stands in, elsewhere the environment's."""

from __future__ import annotations

import contextlib
import threading
from functools import partial

import pytest
from generating import run
from langfuse import get_client, observe
from pocketflow import Flow, Node

from pocketflow_tracing import TracingConfig, continue_trace, flush, trace_flow, trace_headers


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


@pytest.mark.parametrize(
    "settings",
    [
        {"trace_inputs": False},
        {"redact": ("question",)},
        {"mask": lambda value, path: "hidden" if "canary" in str(value) else value},
    ],
)
@pytest.mark.parametrize("is_around", [False, True], ids=["alone", "in a span"])
@pytest.mark.parametrize("how", ["trace_context", "ids of observe", "headers", "handle"])
def test_the_settings_of_a_run_hold_for_what_has_its_ids_alone(how, is_around, settings, keys, collector):
    """In threads without any context, as the SDK's documentation has it; another flow has run before."""
    if (how, is_around) == ("handle", True):
        pytest.skip("what has begun in an observation that is gone knows its trace alone, which is the program's own")
    client = get_client()

    @observe(as_type="generation")
    def ask(question):
        return "answer"

    def with_headers(headers):
        with continue_trace(headers):
            ask(question="canary")

    class Threads(Node):
        def exec(self, prep_res):
            trace_id, span_id = client.get_current_trace_id(), client.get_current_observation_id()
            if how == "trace_context":
                ids = {"trace_id": trace_id, "parent_span_id": span_id}
                begin = partial(client.start_observation, name="ask", trace_context=ids, input={"question": "canary"})

                def work():
                    begin().end()

            elif how == "ids of observe":
                work = partial(
                    ask, question="canary", langfuse_trace_id=trace_id, langfuse_parent_observation_id=span_id
                )
            elif how == "headers":
                work = partial(with_headers, trace_headers())
            else:
                handle = client.start_observation(name="handle")
                handle.end()
                client.flush()

                def work():
                    handle.start_observation(name="ask", input={"question": "canary"}).end()

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    run(Node())
    flow = trace_flow(Flow(start=Threads()), config=TracingConfig(**settings))
    with client.start_as_current_observation(name="around") if is_around else contextlib.nullcontext():
        flow.run({})
    client.flush()
    assert flush(10)
    (found,) = (span for span in collector.spans() if span.name == "ask")
    assert {"Threads.exec", "handle"} & {span.name for span in collector.spans() if span.span_id == found.parent_id}
    assert "canary" not in repr(collector.spans())
