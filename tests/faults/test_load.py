"""Many spans: all of a burst arrive, exactly those recorded; with the server down memory stays where it is."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

from collector import Collector, Mode
from drill import environment

SETUP = """
import json, os, sys
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

class Ask(Node):
    def prep(self, shared):
        return shared["question"]
    def exec(self, question):
        return question + "?"
    def post(self, shared, question, answer):
        shared["answer"] = answer
        shared["left"] -= 1
        return "again" if shared["left"] > 0 else "done"

class Rest(Node):
    pass

ask = Ask()
ask - "again" >> ask
ask - "done" >> Rest()
flow = trace_flow(Flow(start=ask), flow_name="Drill")

def resident():  # MB
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
"""


def _run(code, tmp_path, collector, **extra):
    done = subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(code)],
        cwd=tmp_path,
        env=environment(collector, **extra),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_burst_arrives_whole(tmp_path):
    """50,000 spans without a pause arrive, each run with its number of spans, and `flush` says so."""
    with Collector() as collector:
        report = _run(
            """
            for number in range(500):
                flow.run({"question": str(number), "left": 24})
            print(json.dumps({"flushed": flush(120)}))
            """,
            tmp_path,
            collector,
        )
        assert report["flushed"] is True
        spans = collector.spans()
        assert len(spans) == 500 * (1 + 24 * 4 + 4) == 50_500
        of_trace = {}
        for span in spans:
            of_trace[span.trace_id] = of_trace.get(span.trace_id, 0) + 1
        assert set(of_trace.values()) == {101}
        assert collector.problems() == []


def test_memory_is_flat_with_the_server_down(tmp_path):
    """40,000 node visits with a dead server and a small outbox: after the first quarter memory grows no more."""
    with Collector(Mode.refuse()) as collector:
        report = _run(
            """
            seen = []
            for _ in range(8):
                for number in range(200):
                    flow.run({"question": "x" * 200, "left": 24})
                flush(60)  # it says False as soon as all is safe
                seen.append(resident())
            print(json.dumps(seen))
            """,
            tmp_path,
            collector,
            POCKETFLOW_TRACE_OUTBOX_MB="2",
            POCKETFLOW_TRACE_STORE="traces.db",
        )
        assert max(report[2:]) < report[1] + 15, report
