"""Debug mode: what it says, and that it is seen."""

from __future__ import annotations

import re

import pytest
from collector import Collector

PROGRAM = """
import logging, sys
{configure}
from pocketflow import Flow, Node
from pocketflow_tracing import TracingConfig, flush, trace_flow

class Step(Node):
    pass

config = TracingConfig()
{debug}
trace_flow(Flow(start=Step()), config=config, flow_name="Demo").run({{}})
print(flush(10))
"""
LINES = [
    r"initialised: .+",
    r"trace started: Demo \([0-9a-f]{32}\)",
    r"flow started: Demo",
    r"node started: Step",
    r"phase started: Step.prep",
    r"phase ended: Step.prep \(success, \d+\.\d ms\)",
    r"attempt started: Step.exec",
    r"attempt ended: Step.exec \(success, \d+\.\d ms\)",
    r"phase started: Step.post",
    r"phase ended: Step.post \(success, \d+\.\d ms\)",
    r"node ended: Step \(success, \d+\.\d ms\)",
    r"flow ended: Demo \(success, \d+\.\d ms\)",
]
LOGGING = {
    "nothing": ("", ""),
    "info": ("logging.basicConfig(level=logging.INFO, format='%(message)s')", ""),
    "warnings": ("logging.basicConfig(format='%(message)s')", ""),
    "prefixed": ("logging.basicConfig(level=logging.DEBUG, format='%(name)s: %(message)s')", "pocketflow_tracing: "),
}


@pytest.mark.parametrize("destination", ["local", "langfuse"])
@pytest.mark.parametrize("switch", ["field", "environment"])
@pytest.mark.parametrize("configured", LOGGING)
def test_every_line_is_seen_once(configured, switch, destination, python):
    """Whatever logging the program configured, stderr shows each line once, beginning with [TRACING]; stdout is the program's."""
    configure, prefix = LOGGING[configured]
    program = PROGRAM.format(configure=configure, debug="config.debug = True" if switch == "field" else "")
    environment = {"POCKETFLOW_TRACING_DEBUG": "1"} if switch == "environment" else {}
    with Collector() as collector:
        done = python(program, **environment, **(collector.environ if destination == "langfuse" else {}))
        where = collector.url if destination == "langfuse" else "traces.db"
    assert "True\n" == done.stdout
    ours = [line.removeprefix(prefix) for line in done.stderr.splitlines() if "[TRACING]" in line]
    assert all(line.startswith("[TRACING] ") for line in ours)
    said = [line.removeprefix("[TRACING] ") for line in ours]
    delivered = [line for line in said if line.startswith("delivered")]
    steps = [line for line in said if not line.startswith("delivered")]
    assert len(LINES) == len(steps), done.stderr
    for pattern, line in zip(LINES, steps, strict=True):
        assert re.fullmatch(pattern, line)
    assert where in steps[0]
    assert delivered
    assert all(where in line for line in delivered)


def test_nothing_is_said_without_debug(python):
    """A program that did not ask for debug mode sees no line of ours."""
    program = PROGRAM.format(configure="logging.basicConfig(level=logging.INFO)", debug="")
    done = python(program, POCKETFLOW_TRACE_STORE="traces.db")
    assert ("True\n", "") == (done.stdout, done.stderr)


def test_what_is_off_is_said(python):
    """Debug mode says that tracing is switched off, or that there is nowhere to trace to."""
    program = PROGRAM.format(configure="", debug="")
    off = python(program, POCKETFLOW_TRACING_DEBUG="1", POCKETFLOW_TRACING_ENABLED="0")
    assert "[TRACING] switched off (POCKETFLOW_TRACING_ENABLED)\n" == off.stderr
    nowhere = python(program, POCKETFLOW_TRACING_DEBUG="1", POCKETFLOW_TRACE_STORE="off")
    assert "[TRACING] nothing to trace to: no Langfuse credentials, and the store is off\n" == nowhere.stderr
