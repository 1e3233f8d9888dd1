"""Fault injection: whatever of ours fails, the flow does not notice, and what comes later is recorded."""

from __future__ import annotations

import contextvars

import cases
import kit
import pytest
from kit import World, observe
from pocketflow import Flow, Node

from pocketflow_tracing import (
    _attributes,
    _functions,
    _graph,
    _guard,
    _ids,
    _marks,
    _options,
    _otel,
    _pipeline,
    _runs,
    _span_records,
    _state,
    capture,
    recorder,
    trace_flow,
)
from pocketflow_tracing._queue import SpanQueue
from pocketflow_tracing._worker import Worker
from pocketflow_tracing.delivery import delivery, flush, shutdown
from pocketflow_tracing.frameworks import _look, _phases, _retry, _routing, _visits
from pocketflow_tracing.frameworks import pocketflow as framework

pytestmark = pytest.mark.absorbs

ON_THE_PATH = [
    *[(recorder.Span, name) for name in ("__init__", "announce", "stop", "deliver", "_describe")],
    *[(recorder.Branch, name) for name in ("__init__", "deliver", "settle")],
    (recorder.Run, "__init__"),
    (recorder, "describe_exception"),
    (capture.Capture, "snapshot"),
    (capture.Capture, "whole"),
    *[(_graph.Graph, name) for name in ("__init__", "root_flow", "add_flow", "locate", "_walk")],
    (_graph.FlowPicture, "add"),
    *[(_state.SharedState, name) for name in ("__init__", "can_picture", "full", "picture", "changes", "_watched")],
    (_state, "key_text"),
    (_state, "is_scalar"),
    *[
        (_visits, name)
        for name in ("open_run", "peek", "class_name", "key_text", "parent_in", "mark_of", "action_text", "_own_name")
    ],
    *[(_routing, name) for name in ("peek", "_is_an_end")],
    *[(_phases, name) for name in ("is_pocketflows", "key_text", "span_of", "_input")],
    (recorder, "weigh"),
    *[(_state, name) for name in ("weigh", "Sharing")],
    (capture.Allowance, "take"),
    *[(_graph.Graph, name) for name in ("opened", "closed")],
    *[(_look, name) for name in ("peek", "place", "look", "start")],
    *[
        (scope, name)
        for scope in (_visits.Visit, _visits.Pass, _routing.Route, _phases.Phase, _phases.Inside)
        for name in ("__init__", "_begin", "finish")
        if name in vars(scope)
    ],
    *[(_retry.Retry, name) for name in ("keep", "_settle")],
    *[(_retry, name) for name in ("peek", "let_values_go")],
    *[(_visits.Visit, name) for name in ("_picture", "_note_changes")],
    *[(_otel, name) for name in ("attach", "detach", "run_context", "surrounding", "propagated", "opened_within")],
    (_marks, "mark_of"),
    *[(_options, name) for name in ("evaluate", "merge")],
    *[(_attributes, name) for name in ("merge", "around", "checked")],
    (_runs, "pipeline_for"),
    (_pipeline.Pipeline, "samples"),
    (_ids.Source, "trace_id"),
    *[(_ids.source, name) for name in ("clock", "wall", "bits")],
    *[(_functions.FunctionRun, name) for name in ("_begin", "_finish", "_shared", "_arguments")],
    (_functions, "_members"),
    *[(SpanQueue, name) for name in ("put", "completed")],
    *[(Worker, name) for name in ("rouse", "start")],
]
ON_THE_WORKER = [
    *[(_span_records, name) for name in ("span_record", "run_record")],
    *[(Worker, name) for name in ("_deliver",)],
    *[(kit.Records, name) for name in ("accept", "tick", "watch")],
]


def name_of(place):
    owner, name = place
    return f"{getattr(owner, '__name__', type(owner).__name__).rpartition('.')[2]}.{name}"


@pytest.mark.parametrize("ask", [flush, shutdown])
def test_who_waits_for_delivery_hears_of_no_error(ask, caplog):
    """An audit hook of the host's may refuse our threads, with an error of its own; nothing has been accepted then."""
    trace_flow(Flow(start=Node())).run({})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "ask", failing(Worker.ask, lambda _: True))
        assert ask(5) is False
    assert "waiting for what was recorded to be delivered" in warned(caplog)[-1]
    assert ask(5)


def everything(w: World):
    """A flow with a loop, a retry, a fallback, a batch, a nested flow, a batch flow and an error at the end."""
    left = [1]

    def flaky(self, prep_res):
        w.say("flaky", getattr(self, "cur_retry", None))
        if left:
            left.pop()
            raise ValueError("once")
        return 1

    def loop(self, shared, prep_res, exec_res):
        shared["n"] = shared.get("n", 0) + 1
        return "again" if shared["n"] < 3 else "on"

    def fails(self, *args):
        raise LookupError("fails")

    first = w.node("First", exec=flaky, post=loop)(max_retries=2)
    weak = w.node(
        "Weak", exec=fails, exec_fallback=lambda self, prep_res, exc: "b", post=lambda self, s, p, e: w.say(e)
    )()
    batch = w.node(
        "Batch",
        "BatchNode",
        prep=lambda self, s: [1, 2],
        exec=lambda self, i: i,
        post=lambda self, s, p, e: w.say(list(e)),
    )()
    leaf = w.node("Leaf", exec=lambda self, p: w.say(self.params))()
    passes = w.flow(leaf, "BatchFlow", prep=lambda self, s: [{"a": 1}, {"a": 2}])
    first - "again" >> first
    first - "on" >> weak >> batch >> passes >> w.node("Bad", prep=fails)()
    flow = w.flow(w.flow(first))
    shared = {"big": list(range(300)), 5: None}
    try:
        w.run(flow, shared)
    finally:
        w.say(shared)


everything.leaves = (LookupError,)
COUNTED = {}


def failing(original, when):
    """A function that raises at the calls whose number `when` accepts, and counts them."""
    calls = [0]

    def fails(*args, **kwargs):
        calls[0] += 1
        if when(calls[0]):
            raise RuntimeError("injected")
        return original(*args, **kwargs)

    fails.calls = calls
    return fails


def broken(monkeypatch, place, when):
    owner, name = place
    in_class = vars(owner).get(name) if isinstance(owner, type) else None
    fails = failing(in_class.__func__ if isinstance(in_class, staticmethod) else getattr(owner, name), when)
    monkeypatch.setattr(owner, name, staticmethod(fails) if isinstance(in_class, staticmethod) else fails)
    if owner is SpanQueue:  # pipelines hold the bound methods
        for pipeline in filter(None, [_pipeline._default]):
            monkeypatch.setattr(pipeline, "enqueue", delivery.queue.put)
            monkeypatch.setattr(pipeline, "completed", delivery.queue.completed)
    return fails


def warned(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("how", "flavour"),
    [("object", "sync"), ("object", "async"), ("object", "parallel"), ("function", "sync"), ("function", "async")],
)
@pytest.mark.parametrize("place", ON_THE_PATH, ids=name_of)
def test_a_fault_on_the_callers_path(place, how, flavour, records, monkeypatch, caplog):
    """At every call, or at one of the first ones only: the flow is as untraced, and the next run is recorded whole."""
    untraced = observe(everything, "untraced", flavour)
    assert untraced.error["type"] is LookupError
    observe(everything, how, flavour)
    whole = sorted((span.name, span.status) for span in records.spans())
    records.clear()

    for number in (0, 1, 2, 3, 7):
        with monkeypatch.context() as patch:
            fails = broken(patch, place, (lambda n: True) if number == 0 else number.__eq__)
            context = contextvars.copy_context()
            traced = context.run(observe, everything, how, flavour)
        assert context.get(recorder.current) is None
        assert not list(kit.first_difference(traced, untraced)), f"call {number}"
        # what is lost, is lost around that call; what did arrive is complete
        if number and place[1] not in {"_finish", "_members"}:
            for span in records.spans():
                assert span.status != "running", (number, span)
                assert span.end_ns is not None
        if number == 0 and fails.calls[0]:
            said = warned(caplog)
            assert said
            assert all("Your program runs on as before" in line for line in said), said
            assert len(set(said)) == len(said)
        records.clear()

    observe(everything, how, flavour)
    assert sorted((span.name, span.status) for span in records.spans()) == whole


@pytest.mark.parametrize("place", ON_THE_WORKER, ids=name_of)
def test_a_fault_on_the_worker(place, records, monkeypatch):
    """The worker goes on with the next batch, and the next run arrives."""
    untraced = observe(everything, "untraced")
    with monkeypatch.context() as patch:
        broken(patch, place, lambda n: True)
        assert not list(kit.first_difference(observe(everything, "object"), untraced))
        delivery.flush(timeout=5)
    records.__init__()
    observe(everything, "object")
    records.check()
    assert len(records.spans(kind="flow")) == 3


@pytest.mark.parametrize(
    "case", [cases.recursion_through_exec, cases.deletions_happen_when_they_did, cases.no_suspension_is_added]
)
@pytest.mark.parametrize(
    "place",
    [(recorder.Span, "__init__"), (capture.Capture, "snapshot"), (_otel, "attach"), (recorder.Span, "stop")],
    ids=name_of,
)
def test_facts_hold_with_faults(case, place, records, monkeypatch):
    """Turns of the loop, lifetimes and nesting are the same while recording fails."""
    flavour = "async" if case in cases.ASYNC else "sync"
    untraced = observe(case, "untraced", flavour)
    monkeypatch.setattr(_guard, "on_absorbed", None)  # it would keep the errors, and with them the user's objects
    broken(monkeypatch, place, lambda n: True)
    assert not list(kit.first_difference(observe(case, "object", flavour), untraced))


def test_one_line_in_words_for_the_user(records, monkeypatch, caplog):
    """The log says once what failed, where, and that the program goes on; not what the values were."""
    broken(monkeypatch, (capture.Capture, "snapshot"), lambda n: True)
    flow = trace_flow(kit.Flow(start=kit.Node()))
    for _ in range(3):
        flow.run({"secret": [1]})
    assert "injected" not in " ".join(warned(caplog))
    assert len(warned(caplog)) == len(set(warned(caplog)))
    assert any(" recording the beginning of a call (RuntimeError in _phases.py:" in line for line in warned(caplog))
    assert all(line.endswith("Your program runs on as before, with less in its trace.") for line in warned(caplog))


@pytest.mark.absorbs
@pytest.mark.parametrize("name", ["Same", "Other{}"])
def test_classes_made_for_each_error_fill_neither_the_log_nor_the_memory(name, records, caplog):
    """A program may make the class of an error where it raises it."""
    numbers = iter(range(1000))

    def session(_shared):
        raise type(name.format(next(numbers)), (Exception,), {})("why")

    flow = trace_flow(kit.Flow(start=kit.Node()), session_id=session)
    for _ in range(300):
        flow.run({})
    assert (1 if name == "Same" else _guard._MOST_SAID) == len(warned(caplog))
    assert len(_guard._said) <= _guard._MOST_SAID


def test_a_log_handler_that_raises(records, monkeypatch):
    """A handler of the host's that fails while we report is no reason to break the flow."""
    import logging

    class Bad(logging.Handler):
        def emit(self, record):
            raise OSError("the log is full")

    handler = Bad()
    logging.getLogger("pocketflow_tracing").addHandler(handler)
    try:
        broken(monkeypatch, (recorder.Span, "__init__"), lambda n: True)
        untraced = observe(cases.a_nested_flow, "untraced")
        assert not list(kit.first_difference(observe(cases.a_nested_flow, "object"), untraced))
    finally:
        logging.getLogger("pocketflow_tracing").removeHandler(handler)


def test_a_bad_sink_beside_a_good_one(fresh_delivery):
    """A sink that fails takes nothing from the others."""
    records = kit.use(kit.Records(), kit.Raising())
    observe(everything, "object")
    delivery.flush(timeout=5)
    names = {span.name for span in records.by_id.values()}
    assert {"First", "Weak", "Batch", "Leaf", "Bad"} <= names
    records = kit.use(kit.Raising(), good := kit.Records())
    observe(everything, "object")
    delivery.flush(timeout=5)
    assert {span.name for span in good.by_id.values()} == names


def test_flush_tells_of_a_bad_sink(fresh_delivery):
    """flush() is True only if every sink accepted everything."""
    kit.use(kit.Records(), kit.Raising())
    trace_flow(kit.Flow(start=kit.Node())).run({})
    assert delivery.flush(timeout=5) is False


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(
    "place",
    [(recorder.Span, "deliver"), (capture.Capture, "snapshot"), (_otel, "attach"), (_visits.Visit, "_picture")],
    ids=name_of,
)
def test_ctrl_c_while_we_record(place, error, number, records, monkeypatch):
    """It leaves the flow, and no context of ours stays behind: the next flow is a run of its own."""
    owner, name = place
    original = getattr(owner, name)
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == number:
            raise error
        return original(*args, **kwargs)

    flow = trace_flow(kit.Flow(start=kit.Node()))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        number = min(number, {"_picture": 1, "deliver": 2}.get(name, number))  # there is one picture, and two visits
        with pytest.raises(error):
            flow.run({"a": [1]})
    assert recorder.current.get() is None
    records.flushed().__init__()
    flow.run({})
    assert records.span("Flow").parent_id is None
    records.check()


def test_hooks_that_cannot_be_put_on(monkeypatch, caplog):
    """Without PocketFlow's source, or with a twin that fails, nothing is traced, one line says so and flows run as ever."""
    records = kit.use(kit.Records())
    untraced = observe(cases.a_nested_flow, "untraced")
    framework.uninstall()
    with monkeypatch.context() as patch:
        patch.setattr(framework, "_twin_at", {})
        patch.setattr("inspect.getsource", lambda module: (_ for _ in ()).throw(OSError("frozen")))
        assert not list(kit.first_difference(observe(cases.a_nested_flow, "instrument"), untraced))
        assert records.spans() == []
        assert any("source is not available" in line for line in warned(caplog))
    framework.uninstall()
    with monkeypatch.context() as patch:
        patch.setattr(framework, "_twin_at", {})
        broken(patch, (framework, "twins"), lambda n: True)
        assert not list(kit.first_difference(observe(cases.a_nested_flow, "instrument"), untraced))
        assert not framework.is_installed()


def test_a_record_that_cannot_be_made_is_no_delivery(records, monkeypatch):
    """It is lost, so `flush` does not say that everything was accepted; the next one is about what came since."""
    kit.use(records)
    monkeypatch.setattr(_span_records.Values, "input", lambda _: 1 / 0)
    trace_flow(Flow(start=Node())).run({})
    assert not delivery.flush(10)
    monkeypatch.undo()
    kit.use(records)
    trace_flow(Flow(start=Node())).run({})
    assert delivery.flush(10)
