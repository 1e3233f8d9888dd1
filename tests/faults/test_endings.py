"""The ways in which a process ends: each stays as it was, within the deadline, and what was recorded is kept."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from collector import Collector, Mode
from drill import PROGRAM, environment

CODES = {
    "return": 0,
    "sys.exit": 3,
    "raise": 1,
    "interrupt": -signal.SIGINT,
    "terminate": -signal.SIGTERM,
    "asyncio": 0,
    "daemon": 0,
}


@pytest.mark.parametrize("server", ["healthy", "silent", "refuse"])
@pytest.mark.parametrize("ending", CODES)
def test_every_ending_keeps_its_code_and_its_deadline(ending, server, program, sync):
    """The exit code is the program's own, the exit is bounded, and the spans are delivered or kept."""
    mode = {"healthy": Mode.healthy(), "silent": Mode.silent(), "refuse": Mode.refuse()}[server]
    with Collector(mode) as collector:
        ended = program(collector, 20, ending)
        assert ended.code in {CODES[ending], 130 if ending == "interrupt" else CODES[ending]}
        assert ended.exit_seconds < 2.0 + ended.slack_seconds
        if ending == "raise":
            assert "the program's own error" in ended.stderr
        if ending == "terminate":
            return  # killed on the spot: what is promised then is in test_kill
        collector.mode = Mode.healthy()
        expected = 21 * 9 + {"asyncio": 5, "daemon": 9}.get(ending, 0)
        if server != "healthy" or ended.exit_seconds > 1.5:  # on a machine so busy the deadline may have come first
            sync(collector)
        assert len(collector.spans()) == expected


def test_no_signal_handler_is_installed(tmp_path):
    """The handlers after a traced run are those of before."""
    code = (
        "import signal\n"
        "before = [signal.getsignal(number) for number in signal.valid_signals()]\n"
        "from pocketflow import Flow, Node\n"
        "from pocketflow_tracing import trace_flow, flush\n"
        "trace_flow(Flow(start=Node())).run({}); flush(5)\n"
        "assert before == [signal.getsignal(number) for number in signal.valid_signals()]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(None), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


LONG_RUN = """
import sys, time
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

class Quick(Node):
    def post(self, shared, prep_res, exec_res):
        shared["done"] = True

class Stuck(Node):
    def exec(self, prep_res):
        print("stuck", flush=True)
        time.sleep(60)

quick = Quick()
quick >> Stuck()
trace_flow(Flow(start=quick), flow_name="Long").run({})
"""


def _rows(path, sql):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_kill_shows_an_interrupted_run_with_the_node_that_was_running(tmp_path):
    """After `kill -9` the store shows the run as interrupted, its finished node and the one that was running."""
    process = subprocess.Popen(
        [sys.executable, "-c", LONG_RUN], cwd=tmp_path, env=environment(None), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "stuck\n"
        store = tmp_path / ".pocketflow" / "traces.db"
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if store.exists() and _rows(store, "SELECT 1 FROM sqlite_master WHERE name = 'spans'"):
                if _rows(store, "SELECT 1 FROM spans WHERE name = 'Stuck'"):
                    break
            os.sched_yield()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
        process.stdout.close()
    from pocketflow_tracing.store import Store

    reader = Store(store)
    run = reader.run("last")
    assert run.status == "interrupted"
    status = {span.name: span.status for span in reader.spans(run.run_id)}
    assert status["Quick"] == "success"
    assert status["Stuck"] in {"running", "interrupted"}


def test_kill_with_a_silent_server_loses_nothing_older_than_a_second(tmp_path, sync):
    """What waits for an answer is on disk within a second, so the next process delivers it."""
    with Collector(Mode.silent()) as collector:
        code = PROGRAM.read_text().replace(
            '    if ending == "sys.exit":', '    time.sleep(60)\n    if ending == "sys.exit":'
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, "20"],
            cwd=tmp_path,
            env=environment(collector),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            process.stdout.readline()
            store = tmp_path / ".pocketflow" / "traces.db"
            deadline = time.monotonic() + 10
            spans = 0
            while time.monotonic() < deadline and spans < 21 * 9:
                if store.exists() and _rows(store, "SELECT 1 FROM sqlite_master WHERE name = 'outbox'"):
                    spans = _rows(store, "SELECT coalesce(sum(spans), 0) FROM outbox")[0][0]
                os.sched_yield()
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        finally:
            process.kill()
            process.stdout.close()
        assert spans == 21 * 9
        collector.mode = Mode.healthy()
        # the dead process had leased the batches: they are free again when the lease ends
        deadline = time.monotonic() + 30
        while len(collector.spans()) < 21 * 9 and time.monotonic() < deadline:
            sync(collector)
        assert len(collector.spans()) == 21 * 9


def test_a_test_run_ends_as_fast_as_without(tmp_path):
    """pytest with a traced flow and a silent server ends within the deadline."""
    (tmp_path / "test_it.py").write_text(
        "from pocketflow import Flow, Node\n"
        "from pocketflow_tracing import trace_flow\n"
        "def test_it():\n"
        "    trace_flow(Flow(start=Node())).run({})\n"
    )

    def seconds(environ):
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "test_it.py"],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return time.monotonic() - began

    with Collector(Mode.silent()) as collector:
        without = seconds(environment(None, POCKETFLOW_TRACING_ENABLED="false"))
        assert seconds(environment(collector)) < 2.0 + 1.0 + 2 * without
