"""What a host does to the clocks and to chance is its own: it does not reach us, and we do not show in it."""

from __future__ import annotations

import importlib
import os
import pkgutil
import random
import subprocess
import sys
import time
from unittest import mock

import pytest
from collector import Collector, Mode
from kit import use
from pocketflow import Flow, Node

import pocketflow_tracing
from pocketflow_tracing import TracingConfig, _log, flush, trace_flow

CLOCKS = {time.monotonic, time.time, time.time_ns, time.sleep, time.perf_counter, time.perf_counter_ns}


def test_no_module_holds_a_clock_by_name():
    """freezegun replaces a clock wherever a module has imported it: the worker's waiting would never end."""
    found = [
        (module.name, name)
        for module in pkgutil.walk_packages(pocketflow_tracing.__path__, "pocketflow_tracing.")
        if not module.name.endswith("__main__")
        for name, value in vars(importlib.import_module(module.name)).items()
        if type(value) is type(time.sleep) and value in CLOCKS
    ]
    assert found == []


def test_a_clock_that_stands_still_keeps_nothing_back(monkeypatch, records):
    """With the `time` module frozen a run is recorded and delivered."""
    use(records)
    for name in ("time", "time_ns", "monotonic", "monotonic_ns"):
        frozen = getattr(time, name)()
        monkeypatch.setattr(time, name, lambda frozen=frozen: frozen)
    trace_flow(Flow(start=Node())).run({})
    assert flush(10)
    assert records.spans()


@pytest.mark.parametrize("clock", ["time", "time_ns"])
def test_a_clock_with_so_many_answers_keeps_them(clock, caplog):
    """`logging` asks for the time of day: what is to be said waits until it is real again."""
    with mock.patch(f"time.{clock}", side_effect=[1, 2]):
        _log.warn("first %d", 1)
        assert [1, 2] == [getattr(time, clock)() for _ in range(2)]
        assert "" == caplog.text
    _log.warn("second")
    assert ["pocketflow-tracing: first 1", "pocketflow-tracing: second"] == [
        record.getMessage() for record in caplog.records
    ]


def succeeds(code, directory):
    """Whether a program with keys, in which httpx is not imported yet, ends without an error."""
    code = f"import random, threading\nfrom pocketflow import Flow\nfrom pocketflow_tracing import trace_flow\n{code}"
    keys = {"LANGFUSE_PUBLIC_KEY": "pk-lf-x", "LANGFUSE_SECRET_KEY": "sk-lf-x"}
    done = subprocess.run([sys.executable, "-c", code], cwd=directory, env={**os.environ, **keys}, check=False)
    return done.returncode == 0


def test_marking_a_flow_draws_no_number(tmp_path):
    """Importing httpx does, where rich is installed."""
    code = (
        "random.seed(42); before = random.getstate()\n"
        "trace_flow(Flow())\n"
        "assert random.getstate() == before"
    )  # fmt: skip
    assert succeeds(code, tmp_path)


def test_no_number_of_another_thread_comes_twice(tmp_path):
    """Where threads draw while a flow is marked, as a service does that makes its ids so."""
    code = (
        "drawn, begun, ends = [], threading.Event(), threading.Event()\n"
        "def draw():\n"
        "    while not ends.wait(0.001): drawn.append(random.getrandbits(120)); begun.set()\n"
        "thread = threading.Thread(target=draw); thread.start(); begun.wait()\n"
        "count = len(drawn); trace_flow(Flow()); enough = len(drawn) > count + 1\n"
        "ends.set(); thread.join()\n"
        "drawn += [random.getrandbits(120) for _ in range(1000)]\n"
        "assert enough and len(drawn) == len(set(drawn))"
    )
    assert succeeds(code, tmp_path)


@pytest.mark.parametrize("mode", [Mode.refuse(), Mode.status(503)], ids=["refused", "503"])
def test_the_seeded_numbers_of_a_host_stay_as_they_are(mode, store_path):
    """Waiting with jitter for a server takes no number out of the sequence of `random`."""
    random.seed(42)
    before = random.getstate()
    with Collector(mode) as collector:
        config = TracingConfig(
            langfuse_public_key="pk-lf-chance", langfuse_secret_key="sk-lf-chance", langfuse_host=collector.url
        )
        trace_flow(Flow(start=Node()), config=config).run({})
        assert not flush(2)
    assert random.getstate() == before
