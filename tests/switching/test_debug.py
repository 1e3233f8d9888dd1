"""Debug mode: what it says, and that it is seen."""

from __future__ import annotations

import re

import kit
import pytest
from collector import Collector
from pocketflow import Flow, Node

from pocketflow_tracing import _log, trace_flow

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


FORGED = "x\x1b[2J\x9b31m\n[TRACING] forged\r\x08\u202e\u2028y"


def test_no_name_forges_a_line(caplog):
    """Control characters and line breaks stand as escapes in every line, whatever a flow, a node or a file is named."""

    class Step(Node):
        def exec(self, prep_res):
            raise ValueError(FORGED)

    Step.__name__ = Step.__qualname__ = FORGED
    kit.use(kit.Records(), debug=True)
    with caplog.at_level("DEBUG", logger="pocketflow_tracing"):
        with pytest.raises(ValueError):
            trace_flow(flow_name=FORGED)(Flow(start=Step())).run({})
        _log.warn_once(f"cannot read {FORGED}, https://u:hunter2@h")
        _log.logger.warning("The file %s of %d bytes with token sk-abcdefghijklmnopqrstuv1", FORGED, 3)
    assert len(caplog.messages) > 10
    assert all(message.isprintable() for message in caplog.messages)
    assert (
        r"The file x\x1b[2J\x9b31m\n[TRACING] forged\r\x08\u202e\u2028y of 3 bytes with token [redacted]"
        == caplog.messages[-1]
    )
    assert "hunter2" not in caplog.text


STAND_INS = {
    "mock": "mock.MagicMock()",
    "tee": "Tee()",
}


@pytest.mark.parametrize("stand_in", STAND_INS)
def test_a_stderr_that_is_no_file(stand_in, python, tmp_path):
    """Whatever it answers when it is asked for its number, the run is recorded, and nothing of ours reaches the host."""
    python(f"""
import sys
from unittest import mock
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

class Tee:
    def write(self, text): return len(text)
    def flush(self): pass
    def fileno(self): raise NotImplementedError

with mock.patch("sys.stderr", {STAND_INS[stand_in]}):
    trace_flow(Flow(start=Node())).run({{}})
    assert flush("soon")
""")
    assert (tmp_path / ".pocketflow" / "traces.db").exists()


def test_a_handler_of_logs_that_runs_flows(python):
    """An agent that looks at every line: those of its own runs do not come back to it without end."""
    program = """
import logging
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

flow = trace_flow(Flow(start=Node()))
seen = []

class Agent(logging.Handler):
    def emit(self, record):
        seen.append(record)
        flow.run({})

logging.getLogger().addHandler(Agent())
logging.getLogger().setLevel(logging.INFO)
logging.getLogger("app").warning("disk is full")
flow.run({})
print(flush(10), len(seen) < 100)
"""
    assert "True True\n" == python(program, POCKETFLOW_TRACING_DEBUG="1", POCKETFLOW_TRACE_STORE="traces.db").stdout
