"""What every test stands on: a clean environment, nothing absorbed unseen, no hook left behind."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FunctionType

import kit
import pocketflow
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

from pocketflow_tracing import _guard, _log, _marks, _pipeline, recorder, uninstrument
from pocketflow_tracing.delivery import delivery
from pocketflow_tracing.frameworks import pocketflow as framework


def _functions() -> dict[tuple[str, str], FunctionType]:
    classes = [value for value in vars(pocketflow).values() if isinstance(value, type)]
    return {
        (cls.__name__, name): value
        for cls in classes
        for name, value in vars(cls).items()
        if isinstance(value, FunctionType)
    }


assert not framework.is_installed(), "the hooks were put on before any test asked for them"
# A shell starts what runs in the background with Ctrl-C ignored, and programs that tests start and interrupt inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PRISTINE = _functions()
NAMES = set(vars(pocketflow))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """A failure among objects whose class does not even tell its name is reported by its lines: pytest itself would end."""
    try:
        return (yield)
    except Exception:
        if call.excinfo is None:
            raise
        runner = (f"{os.sep}_pytest{os.sep}", f"{os.sep}pluggy{os.sep}")
        frames = traceback.extract_tb(call.excinfo.tb)
        shown = traceback.format_list([frame for frame in frames if not any(part in frame.filename for part in runner)])
        try:
            error = call.excinfo.exconly()
        except Exception:
            error = "an exception that does not tell its name"
        text = f"{error} (shown without values: one of them does not answer)\n\n{''.join(shown)}"
        keywords = dict.fromkeys(item.keywords, 1)
        return pytest.TestReport(item.nodeid, item.location, keywords, "failed", text, call.when)


@pytest.fixture(autouse=True)
def fresh_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no `.env` of the machine reaches a test; a store that a test makes by default is its own."""
    for name in list(os.environ):
        if name.startswith(("LANGFUSE_", "POCKETFLOW_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_pipeline._allowance, "_owed", 0.0)  # what other tests have captured is not this one's


@pytest.fixture
def store_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The store that runs of this test go to."""
    path = tmp_path / "store" / "traces.db"
    monkeypatch.setenv("POCKETFLOW_TRACE_STORE", str(path))
    return path


class Said(pytest.LogCaptureFixture):
    """What was logged, once our own thread has said what it has to say."""

    @property
    def records(self):
        _log.speaker.wait(10)
        return super().records

    @property
    def text(self):
        _log.speaker.wait(10)
        return super().text


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What a run brings about is said elsewhere than on its own thread."""
    caplog.__class__ = Said
    return caplog


@pytest.fixture(autouse=True)
def absorbed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Errors of ours that the guard kept from the host; they fail the test, unless it is marked `absorbs`."""
    errors: list[BaseException] = []
    monkeypatch.setattr(_guard, "on_absorbed", errors)
    _guard._said.clear()
    _log._said.clear()
    yield errors
    _log._last.clear()
    _log.speaker.wait(10)  # else the next test hears of it
    if errors and request.node.get_closest_marker("absorbs") is None:
        raise AssertionError(f"absorbed: {errors!r}") from errors[0]


@pytest.fixture(autouse=True)
def fresh_delivery(absorbed: list[BaseException]):
    """Pipelines and sinks of one test are not those of the next."""
    _pipeline.forget_default()
    before = list(delivery._sinks)
    delivery._told = threading.local()  # other tests may have lost something, and their sinks are gone
    delivery._told.lost = delivery._worker.dropped + delivery.queue.dropped + delivery._sinks.lost
    yield
    _pipeline.forget_default()
    if delivery._sinks != before:
        try:
            # one whose every method raises would raise out of the worker's start as well
            if any(isinstance(sink, kit.Raising) for sink in delivery._sinks):
                gc.collect()  # tasks that outlive their flow record into it where they are collected, in a later test
            for sink in [sink for sink in delivery._sinks if isinstance(sink, kit.Raising)]:
                sink.is_over = True
                delivery._sinks.remove(sink)
            delivery.shutdown(timeout=5)
        finally:  # a sink that stayed would fail every test after this one
            delivery._sinks[:] = before
        for module in ("pocketflow_tracing.sinks.local", "pocketflow_tracing.sinks.langfuse"):
            getattr(sys.modules.get(module), "_sinks", {}).clear()


@pytest.fixture(autouse=True, scope="module")
def light_collections():
    """What is imported by now is left out of collections: one after each test would else walk through all of pandas."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_hook_left(fresh_delivery: None):
    """After a test PocketFlow is as it was imported, but for what something decorated and still alive needs."""
    yield
    left = recorder.current.get(), trace.get_current_span().get_span_context().is_valid
    recorder.current.set(None)
    otel_context.attach(otel_context.Context())
    assert left == (None, False), "a span stayed current after the test, ours or OpenTelemetry's"
    uninstrument()
    if framework.is_installed():
        gc.collect()
        uninstrument()
    if framework.is_installed():
        assert _marks.any_marks(), "hooks without anything decorated"
    else:
        assert _functions() == PRISTINE
        assert set(vars(pocketflow)) - {"__warningregistry__"} == NAMES - {"__warningregistry__"}


@pytest.fixture
def records(fresh_delivery: None) -> kit.Records:
    """A sink that keeps what it is given, for every flow without a config of its own."""
    return kit.use(kit.Records())


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> kit.Exact:
    """Clock and ids that count: 1 µs a reading, ids 1, 2, 3 …"""
    exact = kit.Exact()
    for name in ("clock", "wall", "bits"):
        monkeypatch.setattr(kit.source, name, getattr(exact, name))
    return exact
