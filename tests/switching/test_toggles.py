"""What each toggle takes out of the record, wherever it stands."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict

import kit
import pytest
from collector import Collector
from kinds import KINDS, Kind
from pocketflow import AsyncBatchFlow, AsyncFlow, AsyncNode, BatchFlow, BatchNode, Flow, Node

from pocketflow_tracing import TracingConfig, _log, add_metadata, flush, instrument, trace_flow, uninstrument
from pocketflow_tracing._command import command
from pocketflow_tracing.delivery import delivery

FLOW = KINDS["Flow"]


class Produces(Node):
    def prep(self, shared):
        return "prep-canary"

    def exec(self, prep_res):
        if self.cur_retry == 0:
            raise ValueError("error-canary")
        return "exec-canary"

    def post(self, shared, prep_res, exec_res):
        shared["written"] = "written-canary"
        add_metadata(note="note-canary")


class ManyItems(BatchNode):
    def prep(self, shared):
        return ["item-canary"]

    def exec(self, item):
        return "result-canary"


class Fails(Node):
    def prep(self, shared):
        del shared["doomed"]
        shared["changed"] = "written-canary"

    def exec(self, prep_res):
        raise ValueError("error-canary")


class Passes(BatchFlow):
    def prep(self, shared):
        return [{"name": "pass-canary"}]


def everything(**settings):
    """A flow that touches each kind of value, run once; it fails at its end."""
    produces, last = Produces(max_retries=2), Fails()
    produces >> ManyItems() >> Passes(start=Flow(start=Node())) >> last
    flow = Flow(start=produces)
    flow.set_params({"param": "param-canary"})
    shared = {"given": "shared-canary", "doomed": {"deep": ["shared-canary"]}, "changed": "shared-canary"}
    with pytest.raises(ValueError):
        trace_flow(flow, config=TracingConfig(**settings) if settings else None).run(shared)


CANARIES = {
    "shared": "inputs",
    "param": "inputs",
    "prep": "outputs",
    "exec": "outputs",
    "item": "outputs",  # what prep made is its output, wherever it goes from there
    "pass": "outputs",
    "result": "outputs",
    "written": "inputs outputs",  # in `shared` it is the output of one node and the input of the next
    "error": "errors",
    "note": None,
}
OFF = [
    {"inputs"},
    {"outputs"},
    {"errors"},
    {"inputs", "outputs"},
    {"inputs", "outputs", "errors"},
]


def survivors(text):
    return {name for name in CANARIES if f"{name}-canary" in text}


def expected(off):
    return {name for name, toggles in CANARIES.items() if not off & set((toggles or "").split())}


@pytest.mark.parametrize("off", [set(), *OFF], ids=lambda off: "-".join(sorted(off)) or "none")
def test_a_toggle_removes_every_copy_from_the_records(off, records):
    """What a toggle names is nowhere in the runs and spans that any sink gets; the rest stays."""
    kit.use(records, **{f"trace_{name}": False for name in off})
    everything()
    spans = records.flushed().spans()
    text = json.dumps([asdict(item) for item in (*records.runs.values(), *spans)])
    assert expected(off) == survivors(text)
    if "inputs" in off:
        assert all(span.input is None and "params" not in span.attributes for span in spans)
    if "outputs" in off:
        assert all(span.output is None for span in spans)
    if "errors" in off:
        assert all(span.error is None for span in spans)
        assert "ValueError" not in text
    if {"inputs", "outputs"} & off:
        assert all(span.state is None for span in spans)
    assert "error" == records.run().status


@pytest.mark.parametrize("off", [set(), *OFF], ids=lambda off: "-".join(sorted(off)) or "none")
def test_a_toggle_removes_every_copy_from_what_is_sent(off, monkeypatch):
    """The same of all that arrives at Langfuse: attributes, names, status messages, the trace's own input and output."""
    with Collector() as collector:
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
        for name in off:
            monkeypatch.setenv(f"POCKETFLOW_TRACE_{name.upper()}", "off")
        everything()
        assert flush(10)
        assert expected(off) == survivors(repr(collector.spans()))
        assert [] == collector.problems()


def named(tree):
    """Just the names of a tree of records."""
    return (tree[0], *map(named, tree[2])) if len(tree) > 2 else tree[0]


@pytest.mark.parametrize(
    ("off", "tree"),
    [
        ("prep", ("Flow", ("Outer", ("Outer.exec", ("Flow", ("Inner", "Inner.exec", "Inner.post"))), "Outer.post"))),
        ("exec", ("Flow", ("Outer", "Outer.prep", ("Flow", ("Inner", "Inner.prep", "Inner.post")), "Outer.post"))),
        ("post", ("Flow", ("Outer", "Outer.prep", ("Outer.exec", ("Flow", ("Inner", "Inner.prep", "Inner.exec")))))),
    ],
)
def test_a_phase_that_is_off_hands_its_children_upward(off, tree, records):
    """PREP, EXEC or POST off: no such spans; what ran inside hangs at the span above."""

    class Inner(Node):
        pass

    class Outer(Node):
        def exec(self, prep_res):
            Flow(start=Inner()).run({})

    kit.use(records, **{f"trace_{off}": False})
    trace_flow(Flow(start=Outer())).run({})
    assert tree == named(records.flushed().tree())
    records.check()


@pytest.mark.parametrize("variable", [f"POCKETFLOW_TRACE_{name}" for name in ("PREP", "EXEC", "POST")])
@pytest.mark.parametrize("text", ["0", "false", "No", "OFF"])
def test_phases_are_switched_off_by_the_environment(variable, text, monkeypatch, records, kind):
    """The variables take every form of "no", and hold for sync and async nodes."""
    monkeypatch.setenv(variable, text)
    kit.use(records)
    kind.run(trace_flow(kind.plain()))
    phase = variable.rpartition("_")[2].lower()
    phases = {
        span.attributes.get("phase") for span in records.flushed().spans() if not span.name.startswith("AskTwice")
    }
    assert {None, "prep", "exec", "post"} - {phase} == phases


def test_a_retry_is_known_without_attempts(records):
    """With EXEC off, a node that a retry saved is still `recovered`."""
    kit.use(records, trace_exec=False)
    trace_flow(Flow(start=Produces(max_retries=2))).run({"given": 1})
    assert ("recovered", "recovered") == (records.span("Produces").status, records.flushed().run().status)


# --- kill switch and credentials ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "false", "no", "off", "FALSE"])
def test_the_kill_switch(text, monkeypatch, tmp_path, kind):
    """POCKETFLOW_TRACING_ENABLED=0 and its like: nothing is recorded, sent or written, and no thread is started."""
    import threading

    delivery._sinks.clear()  # of other tests
    with Collector() as collector:
        there = set(threading.enumerate())
        for name, value in {**collector.environ, "POCKETFLOW_TRACING_ENABLED": text}.items():
            monkeypatch.setenv(name, value)
        shared = {"question": "why"}
        kind.run(trace_flow(kind.plain()), shared)
        assert "42" == shared["answer"]
        assert flush(5)
        assert [] == collector.requests
        assert there >= set(threading.enumerate())
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"])
def test_half_of_the_credentials(missing, monkeypatch, caplog, tmp_path):
    """With one key of the two, one warning names the other, and runs are kept locally."""
    from kinds import runs

    with Collector() as collector:
        for name, value in collector.environ.items():
            if name != missing:
                monkeypatch.setenv(name, value)
        flow = trace_flow(FLOW.plain())
        FLOW.run(flow)
        FLOW.run(flow)
        FLOW.run(trace_flow(FLOW.plain(), config=TracingConfig()))
        assert 3 == len(runs())
        assert [] == collector.requests
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith(f"pocketflow-tracing: {missing} is not set")
    assert warning.endswith(
        f"Nothing is sent to Langfuse. Runs are recorded in {tmp_path / '.pocketflow' / 'traces.db'}."
    )


def test_no_credentials_are_no_fault(monkeypatch, caplog, capsys, tmp_path):
    """Without any key one line says where runs are kept; whoever has said where to keep them is told nothing."""
    from kinds import runs

    flow = trace_flow(FLOW.plain())
    FLOW.run(flow)
    FLOW.run(flow)
    assert 2 == len(runs())
    _log.say_the_last(10)  # at the end of the process
    assert [] == caplog.records
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pocketflow-tracing: No Langfuse keys are set")
    assert f"`{command()} show last`" in line
    assert str(tmp_path / ".pocketflow" / "traces.db") in line
    FLOW.run(trace_flow(FLOW.plain(), config=TracingConfig(store="elsewhere.db")))
    assert flush(10)
    assert (tmp_path / "elsewhere.db").exists()
    _log.say_the_last(10)
    assert ([], "") == (caplog.records, capsys.readouterr().err)


@pytest.mark.parametrize("outputs", [True, False])
def test_what_post_returns_is_an_output_unless_it_is_a_way_on(outputs, records, monkeypatch):
    """The last node's `post` may return the answer."""

    class Routes(Node):
        def post(self, shared, prep_res, exec_res):
            return "answer"

    class Answers(Node):
        def post(self, shared, prep_res, exec_res):
            return "canary"

    routes = Routes()
    routes - "answer" >> Answers()
    monkeypatch.setenv("POCKETFLOW_TRACE_OUTPUTS", str(outputs))
    kit.use(records)
    assert "canary" == trace_flow(Flow(start=routes)).run({})
    assert "canary" == trace_flow(Answers()).run({})
    spans = records.flushed().spans()
    assert outputs == ("canary" in repr(spans))
    assert ["answer"] == [span.attributes["action"] for span in spans if (span.name, span.kind) == ("Routes", "node")]


def test_langfuse_host_is_an_alias(monkeypatch):
    """LANGFUSE_HOST, the name of earlier versions, says where Langfuse is."""
    with Collector() as collector:
        for name, value in collector.environ.items():
            monkeypatch.setenv("LANGFUSE_HOST" if name == "LANGFUSE_BASE_URL" else name, value)
        FLOW.run(trace_flow(FLOW.plain()))
        assert flush(10)
        assert (FLOW.tree("Flow"),) == collector.tree()


def test_an_invalid_value_warns_once(monkeypatch, caplog, records):
    """A value that is no boolean names its variable in one warning, and the default holds."""
    monkeypatch.setenv("POCKETFLOW_TRACE_INPUTS", "perhaps")
    kit.use(records)
    kit.use(records)
    FLOW.run(trace_flow(FLOW.plain()))
    assert {"question": "why"} == records.flushed().span("Flow").input
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("pocketflow-tracing: POCKETFLOW_TRACE_INPUTS")
    assert "perhaps" in warning


def test_settings_are_resolved_at_the_first_run(monkeypatch):
    """What the environment says counts when the first run begins, not at import or decoration."""
    from kinds import runs

    flow = trace_flow(FLOW.plain())
    monkeypatch.setenv("POCKETFLOW_SESSION_ID", "late")
    FLOW.run(flow)
    assert ["late"] == [run.session_id for run in runs()]


def test_two_decorators_sharing_a_config_are_apart():
    """A decorator takes a copy: what is done to the config afterwards, or by the other decorator, changes neither."""
    from kinds import runs

    config = TracingConfig(session_id="first", trace_inputs=False)
    first = trace_flow(FLOW.plain(), config=config, flow_name="One")
    config.session_id = "second"
    config.trace_inputs = True
    config.tags = ["t"]
    second = trace_flow(FLOW.plain(), config=config, flow_name="Two")
    config.session_id = "third"
    for flow in (second, first, second, first):
        FLOW.run(flow)
    assert [("Two", "second", ["t"]), ("One", "first", [])] * 2 == [
        (run.name, run.session_id, run.tags) for run in runs()
    ]


def test_two_decorators_for_one_project_keep_their_own_environment(monkeypatch):
    """Environment and release of one decorator's config do not reach the runs of another that sends to the same project."""
    with Collector() as collector:
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
        FLOW.run(trace_flow(FLOW.plain(), flow_name="A", config=TracingConfig(environment="staging", release="r1")))
        FLOW.run(trace_flow(FLOW.plain(), flow_name="B", config=TracingConfig()))
        assert flush(10)
        for span in collector.spans():
            is_first = span.attributes["langfuse.trace.name"] == "A"
            found = {**span.resource, **span.attributes}
            assert (("staging", "r1") if is_first else (None, None)) == (
                found.get("langfuse.environment"),
                found.get("langfuse.release"),
            )


# --- sampling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind(Flow), Kind(AsyncFlow, is_async=True)], ids=["sync", "async"])
def test_sampling_keeps_or_drops_whole_runs(kind, records):
    """At a rate of one half about half of the runs are kept, each of them whole; the user's values are not looked at else."""
    kit.use(records, sample_rate=0.5)
    asked = []
    flow = trace_flow(kind.plain(), session_id=lambda shared: asked.append(1))
    for _ in range(200):
        kind.run(flow)
    kept = len(records.flushed().runs)
    assert 60 < kept < 140
    assert kept == len(asked)
    assert {9} == {len([span for span in records.spans() if span.run_id == run]) for run in records.runs}


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_ends_of_sampling(rate, records):
    """A rate of 0 keeps nothing, one of 1 everything."""
    kit.use(records, sample_rate=rate)
    flow = trace_flow(FLOW.plain())
    for _ in range(20):
        FLOW.run(flow)
    assert 20 * rate == len(records.flushed().runs)


def test_a_dropped_run_drops_what_nests_in_it(records):
    """A decorated flow or function inside a dropped run is not a run of its own."""
    kit.use(records, sample_rate=0.0)
    inner = trace_flow(FLOW.plain())

    class RunsInner(Node):
        def exec(self, prep_res):
            records_before = len(records.runs)
            kit.use(records, sample_rate=1.0)
            inner.run({"question": "why"})
            return records_before

    trace_flow(Flow(start=RunsInner())).run({})
    assert {} == records.flushed().runs
    inner.run({"question": "why"})
    assert 1 == len(records.flushed().runs)


def test_what_a_function_of_the_options_has_started_is_traced(records):
    """Nothing that it runs is a run, while it is called; a task that it starts goes on after that."""
    job = trace_flow(FLOW.plain())
    tasks = []

    async def serve():
        job.run({"question": "why"})

    def session(shared):
        tasks.append(asyncio.create_task(serve()))
        return "s"

    async def main():
        await trace_flow(AsyncFlow(start=AsyncNode()), flow_name="first", session_id=session).run_async({})
        await tasks.pop()

    asyncio.run(main())
    assert ["Flow", "first"] == sorted(run.name for run in records.flushed().runs.values())


@pytest.mark.parametrize("form", ["flow", "function"])
def test_what_a_dropped_run_has_left_running_is_dropped_no_longer(form, records):
    """A job queue that the first run of a process starts serves runs of its own, each with its share."""
    kit.use(records, sample_rate=0.0)
    job = trace_flow(FLOW.plain())
    seen = []

    class Starts(AsyncNode):
        async def exec_async(self, prep_res):
            tasks.append(asyncio.create_task(serve()))

    async def serve():
        await over.wait()
        kit.use(records, sample_rate=1.0)
        job.run({"question": "why"})
        seen.append(1)

    async def main():
        boot = AsyncFlow(start=Starts())
        if form == "flow":
            await trace_flow(boot).run_async({})
        else:
            await trace_flow(boot.run_async)({})
        over.set()
        await tasks.pop()

    tasks, over = [], asyncio.Event()
    asyncio.run(main())
    assert [1] == seen
    assert 1 == len(records.flushed().runs)


@pytest.mark.parametrize("everything", [True, False])
def test_a_flow_that_began_in_a_dropped_run_is_recorded_from_nowhere(everything, records):
    """It goes on after that run is over, and what is not traced at its beginning is no run from its middle on."""
    kit.use(records, sample_rate=0.0)

    class Passes(AsyncBatchFlow):
        async def prep_async(self, shared):
            return [{"number": number} for number in range(3)]

    class Waits(AsyncNode):
        async def exec_async(self, prep_res):
            await over.wait()

    within = AsyncFlow(start=Waits())
    within >> AsyncNode()
    inner = Passes(start=within)
    if not everything:
        trace_flow(inner), trace_flow(within)
    tasks = []

    class Starts(AsyncNode):
        async def exec_async(self, prep_res):
            tasks.append(asyncio.create_task(inner.run_async({})))
            await asyncio.sleep(0)

    async def main():
        await trace_flow(AsyncFlow(start=Starts())).run_async({})
        kit.use(records, sample_rate=1.0)
        over.set()
        await tasks.pop()

    over = asyncio.Event()
    if everything:
        instrument()
    try:
        asyncio.run(main())
    finally:
        uninstrument()
    assert {} == records.flushed().runs
