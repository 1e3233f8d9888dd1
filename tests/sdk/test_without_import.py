"""Generations of OpenTelemetry instrumentations reach Langfuse in a program that never imports langfuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from collector import Collector
from langfuse import span_filter

from pocketflow_tracing._conventions import is_of_a_model
from pocketflow_tracing.store import Store

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

SCOPES = {"gen_ai": "any", "openinference": "openinference.instrumentation.openai", "pydantic_ai": "pydantic-ai"}
SAID = {
    "gen_ai": {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "model-1", "gen_ai.request.temperature": 0.5,
        "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 4,
        "gen_ai.prompt.0.content": "prompt-1", "gen_ai.completion.0.content": "answer-1",
    },
    "openinference": {
        "openinference.span.kind": "LLM", "llm.model_name": "model-1",
        "llm.token_count.prompt": 3, "llm.token_count.completion": 4, "llm.token_count.total": 7,
        "input.value": '{"api_key": "hunter2hunter2", "prompt": "prompt-1"}', "output.value": "answer-1",
    },
    "pydantic_ai": {
        "gen_ai.request.model": "model-1",
        "pydantic_ai.all_messages": '[{"role": "user", "content": "prompt-1"}, {"role": "assistant", "content": "answer-1"}]',
    },
}

class Calls(Node):
    def exec(self, kind):
        with trace.get_tracer(SCOPES[kind]).start_as_current_span("chat", attributes=SAID[kind]):
            trace.get_tracer("requests").start_span("POST").end()

    def prep(self, shared):
        return shared["kind"]

calls = Calls()
flow = trace_flow(Flow(start=calls), session_id="s-1")
trace.set_tracer_provider(TracerProvider())
"""


def run(tmp_path, code, collector, **extra):
    """Run the program and what follows it; it is to leave langfuse alone where it does not import it itself."""
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("LANGFUSE_", "POCKETFLOW_", "OTEL_"))
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + textwrap.dedent(code)],
        cwd=tmp_path,
        env={**clean, **collector.environ, "PYTHONPATH": str(ROOT), **extra},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)


TREE = ("Flow", ("Calls", "Calls.prep", ("Calls.exec", "chat"), "Calls.post"))


@pytest.mark.parametrize("kind", ["gen_ai", "openinference"])
@pytest.mark.parametrize("with_store", [False, True])
def test_a_generation_is_below_its_attempt_in_langfuse(kind, with_store, tmp_path):
    """It is a generation with model, tokens, input and output; what the SDK would not send is not sent, but in the store."""
    store = {"POCKETFLOW_TRACE_STORE": "traces.db"} if with_store else {}
    with Collector() as collector:
        code = f"""
        flow.run({{"kind": "{kind}"}})
        assert flush(20)
        assert "langfuse" not in sys.modules
        """
        run(tmp_path, code, collector, **store)
        assert (TREE,) == collector.tree()
        assert [] == [*collector.duplicates, *collector.problems()]
        chat = next(span for span in collector.spans() if span.name == "chat")
        assert "hunter2" not in str([span.attributes for span in collector.spans()])
    said = {name.removeprefix("langfuse.observation."): value for name, value in chat.attributes.items()}
    assert ("generation", "model-1", "DEFAULT", "s-1") == (
        said["type"],
        said["model.name"],
        said["level"],
        said["session.id"],
    )
    assert {"input": 3, "output": 4, "total": 7} == json.loads(said["usage_details"])
    assert ("prompt" in said["input"], "answer" in said["output"]) == (True, True)
    if kind == "gen_ai":
        assert ("0.5", "any") == (said["metadata.gen_ai.request.temperature"], said["metadata.scope"])
    if with_store:
        found = Store(tmp_path / "traces.db")
        assert {"chat", "POST"} <= {span.name for span in found.spans(found.run("last").run_id)}


@pytest.mark.parametrize("off", [("INPUTS",), ("OUTPUTS",), ("INPUTS", "OUTPUTS")])
@pytest.mark.parametrize("kind", ["gen_ai", "openinference", "pydantic_ai"])
@pytest.mark.parametrize("with_store", [False, True])
def test_what_is_switched_off_is_not_sent(off, kind, with_store, tmp_path):
    """Inputs and outputs of a generation are those of the run; what holds both of them goes with either."""
    store = {"POCKETFLOW_TRACE_STORE": "traces.db"} if with_store else {}
    with Collector() as collector:
        code = f'flow.run({{"kind": "{kind}"}})'
        run(tmp_path, code, collector, **{f"POCKETFLOW_TRACE_{what}": "false" for what in off}, **store)
        chat = next(span for span in collector.spans() if span.name == "chat")
    shown = [str(chat.attributes)]
    if with_store:
        found = Store(tmp_path / "traces.db")
        shown.append(str([span for span in found.spans(found.run("last").run_id) if span.name == "chat"]))
    for text in shown:
        assert ("prompt-1" in text) is ("INPUTS" not in off and kind != "pydantic_ai")
        assert ("answer-1" in text) is ("OUTPUTS" not in off and kind != "pydantic_ai")
    assert "model-1" == chat.attributes["langfuse.observation.model.name"]


def test_what_a_failed_call_says_is_said_as_it_says_it(tmp_path):
    """An error of the span's own, with its level."""
    with Collector() as collector:
        code = """
        class Fails(Node):
            def exec(self, _):
                with trace.get_tracer("any").start_as_current_span("failed", attributes=SAID["gen_ai"]):
                    raise ValueError("no such model")
            def exec_fallback(self, _, error):
                pass
        trace_flow(Flow(start=Fails())).run({})
        """
        run(tmp_path, code, collector)
        failed = next(span for span in collector.spans() if span.name == "failed")
    said = [failed.attributes[f"langfuse.observation.{name}"] for name in ("level", "status_message")]
    assert ["ERROR", "ValueError: no such model"] == said


def test_each_goes_once_when_the_program_imports_langfuse_later(tmp_path):
    """From then on the SDK's client sends them: also what was open at that moment."""
    with Collector() as collector:
        code = """
        class Imports(Node):
            def exec(self, _):
                with trace.get_tracer("any").start_as_current_span("open", attributes=SAID["gen_ai"]):
                    import langfuse
        calls >> Imports()
        for kind in ("gen_ai", "openinference", "gen_ai"):
            flow.run({"kind": kind})
        assert flush(20)
        """
        run(tmp_path, code, collector)
        names = sorted(span.name for span in collector.spans() if span.name in {"chat", "open"})
        assert (["chat"] * 3 + ["open"] * 3, []) == (names, collector.duplicates)


def test_a_provider_that_comes_after_the_first_run_is_seen(tmp_path):
    """As it is with the store."""
    with Collector() as collector:
        code = """
        trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE._done = None, False
        flow.run({"kind": "gen_ai"})
        trace.set_tracer_provider(TracerProvider())
        flow.run({"kind": "gen_ai"})
        """
        run(tmp_path, code, collector)
        assert 1 == [span.name for span in collector.spans()].count("chat")


SCOPES = [
    *span_filter.KNOWN_LLM_INSTRUMENTATION_SCOPE_PREFIXES,
    *(f"{prefix}.more" for prefix in span_filter.KNOWN_LLM_INSTRUMENTATION_SCOPE_PREFIXES),
    *(f"{prefix}more" for prefix in span_filter.KNOWN_LLM_INSTRUMENTATION_SCOPE_PREFIXES),
    "requests",
    "",
]


class Recorded:
    """As much of a span as the SDK's filter asks for."""

    def __init__(self, scope, *names):
        self.attributes = dict.fromkeys(names, 1)
        self.instrumentation_scope = type("Scope", (), {"name": scope})


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", ["gen_ai.system", "http.method"])
def test_the_same_spans_are_sent_as_by_the_sdk(scope, name):
    """Ours is the SDK's own filter, without its import."""
    expected = span_filter.is_default_export_span(Recorded(scope, name))
    assert expected == is_of_a_model(scope, [name])
