"""The ways in which a process ends: each stays as it was, within the deadline, and what was recorded is kept."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from collector import Collector, MediaCollector, Mode
from drill import PROGRAM, environment

from pocketflow_tracing.store import Store

CODES = {
    "return": 0,
    "sys.exit": 3,
    "raise": 1,
    "interrupt": -signal.SIGINT,
    "terminate": -signal.SIGTERM,
    "asyncio": 0,
    "asyncio sys.exit": 3,
    "asyncio interrupt": -signal.SIGINT,
    "daemon": 0,
    "running": 0,
}


@pytest.mark.parametrize("server", ["healthy", "silent", "refuse"])
@pytest.mark.parametrize("ending", CODES)
def test_every_ending_keeps_its_code_and_its_deadline(ending, server, in_time, sync):
    """The exit code is the program's own, the exit is bounded, and the spans are delivered or kept."""
    mode = {"healthy": Mode.healthy(), "silent": Mode.silent(), "refuse": Mode.refuse()}[server]
    with Collector(mode) as collector:
        ended = in_time(collector, 20, ending, runs_matter=False)
        interrupted = CODES[ending] == -signal.SIGINT
        assert ended.code in ({CODES[ending], 130} if interrupted else {CODES[ending]})
        if ending == "raise":
            assert "the program's own error" in ended.stderr
        assert ("Traceback" in ended.stderr) == (ending == "raise" or interrupted)
        if ending == "terminate":
            return  # killed on the spot: what is promised then is in the tests of kill
        collector.mode = Mode.healthy()
        if server != "healthy":
            sync(collector)
        expected = 21 * 9 + {"asyncio": 5, "daemon": 9, "asyncio sys.exit": 4, "asyncio interrupt": 4}.get(ending, 0)
        if ending == "running":
            assert len(collector.spans()) >= (expected + 9) * ended.times
        else:
            assert len(collector.spans()) == expected * ended.times


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
    reader = Store(store)
    run = reader.run("last")
    assert run.status == "interrupted"
    status = {span.name: span.status for span in reader.spans(run.run_id)}
    assert status["Quick"] == "success"
    assert status["Stuck"] in {"running", "interrupted"}


RECORDS_ON = """
import itertools, sys, time
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

class Ask(Node):
    def exec(self, prep_res):
        time.sleep(0.002)

flow = trace_flow(Flow(start=Ask()), flow_name="Drill")
for number in itertools.count():
    flow.run({"number": number})
    sys.stdout.write(f"{number} {time.time_ns()}\\n")
    sys.stdout.flush()
"""


def _killed_after(seconds, folder, collector):
    """Kill the program so many seconds after its first run; the wall clock then, and of the end of each of its runs."""
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", RECORDS_ON],
        cwd=folder,
        env=environment(collector),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        deadline = threading.Timer(60, process.kill)
        deadline.start()
        ended = []
        for line in process.stdout:
            ended.append(int(line.split()[1]))
            if ended[-1] - ended[0] > seconds * 1e9:
                break
        process.kill()
        killed = time.time_ns()
        deadline.cancel()
        ended += [int(line.split()[1]) for line in process.stdout]
    return killed, ended


@pytest.mark.parametrize("where", ["store", "langfuse"])
def test_kill_loses_at_most_the_last_second(where, tmp_path):
    """Of a program that records all the time and is killed, every run that ended a second before is there.

    The best of five programs counts: a busy machine may keep the worker from its work for a second.
    """
    late = []
    while len(late) < 5 and (not late or late[-1] > 1.0):
        folder = tmp_path / str(len(late))
        with Collector(Mode.silent()) as collector:
            killed, ended = _killed_after(3.0, folder, collector if where == "langfuse" else None)
        assert len(ended) > 100
        store = Store(folder / ".pocketflow" / "traces.db")
        if where == "store":
            there = sum(run.status == "success" for run in store.runs(limit=None))
        else:
            there = store.outbox().waiting_spans // 5  # spans of a run
        assert there > 0
        late.append((killed - ended[there]) / 1e9 if there < len(ended) else 0.0)
    assert late[-1] <= 1.0, f"what was lost had been recorded so many seconds before the end: {late}"


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
    """pytest with a traced flow and a silent server takes no longer than with a healthy one, but for the deadline."""
    (tmp_path / "test_it.py").write_text(
        "from pocketflow import Flow, Node\n"
        "from pocketflow_tracing import trace_flow\n"
        "def test_it():\n"
        "    trace_flow(Flow(start=Node())).run({})\n"
    )

    def seconds(mode):
        with Collector(mode) as collector:
            began = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "test_it.py"],
                cwd=tmp_path,
                env=environment(collector),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return time.monotonic() - began

    healthy = max(seconds(Mode.healthy()) for _ in range(2))
    assert any(seconds(Mode.silent()) < healthy + 2.0 + 0.5 for _ in range(3))


@pytest.mark.parametrize("first", [True, False], ids=["first run", "later run"])
def test_a_run_while_the_interpreter_is_taken_down(first, tmp_path):
    """A flow that a finalizer runs after `atexit` neither hangs nor says more than it would untraced."""
    code = (
        "import sys\n"
        "from pocketflow import Flow, Node\n"
        "if sys.argv[1] == 'traced':\n"
        "    import pocketflow_tracing\n"
        "    pocketflow_tracing.instrument()\n"
        "class Same(Node):\n"
        "    def __copy__(self): return self\n"
        "class Ends:\n"
        "    def __del__(self):\n"
        "        Flow(start=Same()).run({})\n"
        "        print('ended')\n"
        "sys.modules['ends'] = Ends()\n"
        f"{'' if first else 'Flow(start=Same()).run({})'}\n"
    )
    traced, untraced = (
        subprocess.run(
            [sys.executable, "-c", code, which],
            cwd=tmp_path,
            env=environment(None),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,  # of SIGKILL: it had blocked every other signal
        )
        for which in ("traced", "untraced")
    )
    assert traced.returncode == untraced.returncode == 0
    assert traced.stdout == untraced.stdout == "ended\n"


@pytest.mark.parametrize("first", ["before", "after"])
def test_a_run_when_no_thread_can_be_started_any_more(first, tmp_path):
    """Python 3.12 starts none once the main thread has ended: what a thread that lives on records is written at exit."""
    code = (
        "import threading\n"
        "from pocketflow import Flow, Node\n"
        "import pocketflow_tracing\n"
        "pocketflow_tracing.instrument()\n"
        "def late():\n"
        "    threading.main_thread().join()\n"
        "    Flow(start=Node()).run({'late': 1})\n"
        f"{'Flow(start=Node()).run({})' if first == 'before' else ''}\n"
        "threading.Thread(target=late).start()\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(None), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "not delivered" not in done.stderr
    runs = list(Store(tmp_path / ".pocketflow" / "traces.db").runs())
    assert len(runs) == (2 if first == "before" else 1)
    assert time.monotonic() - began < 10


SUB_INTERPRETER = """
import sys

program = '''
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

trace_flow(Flow(start=Node()), flow_name="Inside").run({})
'''
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
for _ in range(2):
    # on 3.12 the isolated kind takes no module of PocketFlow's imports; a web server's (mod_wsgi) is of the other kind
    inside = interpreters.create(isolated=False) if sys.version_info[:2] == (3, 12) else interpreters.create()
    interpreters.run_string(inside, program)
    interpreters.destroy(inside)
"""


def test_a_sub_interpreter_ends_and_its_runs_are_kept(tmp_path):
    """Also the isolated kind (Python 3.13), in which no daemon thread can be started."""
    done = subprocess.run(
        [sys.executable, "-c", SUB_INTERPRETER],
        cwd=tmp_path,
        env={**environment(None), "POCKETFLOW_TRACE_STORE": str(tmp_path / "t.db")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [run.status for run in Store(tmp_path / "t.db").runs()] == ["success"] * 2


SLOW = """
import re, time
from pocketflow import Flow, Node
from pocketflow_tracing import TracingConfig, trace_flow

class Ask(Node):
    def exec(self, prep_res):
        return ["a", "b"]

def slow(value, path):  # as a model that looks for names of persons is
    time.sleep(0.002)
    return value

flow = trace_flow(Flow(start=Ask()), config=TracingConfig(mask=slow))
for number in range(200):
    flow.run({"number": number})
print(time.time(), flush=True)
"""


def test_what_cannot_be_made_ready_in_time_is_counted_and_the_rest_is_kept(tmp_path):
    """A mask that would take longer than the deadline loses records; those before are stored, and the number is the true one."""
    began, ended, said = _end(tmp_path, SLOW, POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT="1")
    assert ended - began < 2.5
    store = Store(tmp_path / "t.db")
    kept = sum(run.spans for run in store.runs(limit=None))
    (lost,) = [int(word) for word in said.split() if word.isdigit()][:1]
    assert kept
    assert kept + lost == 200 * 5
    assert store.figures()["dropped"] == lost


def _end(tmp_path, code, **extra):
    """Run a program that prints the time of its end; returns that, when it was gone, and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environment(None), "POCKETFLOW_TRACE_STORE": str(tmp_path / "t.db"), **extra},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout), time.time(), done.stderr


@pytest.mark.parametrize("first", [True, False])
def test_a_flow_in_an_exit_handler_is_recorded(tmp_path, first):
    """Also where it is the first one, and our own handler comes too late."""
    code = f"""
import atexit, time
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

atexit.register(lambda: trace_flow(Flow(start=Node())).run({{}}))
if not {first}:
    trace_flow(Flow(start=Node())).run({{}})
print(time.time())
"""
    _, _, said = _end(tmp_path, code)
    assert said == ""
    assert ["success"] * (1 if first else 2) == [run.status for run in Store(tmp_path / "t.db").runs()]


@pytest.mark.parametrize("seconds", ["", "60"])
@pytest.mark.parametrize("server", ["healthy", "silent"])
def test_a_program_that_joins_every_thread_that_there_is_ends(server, seconds, tmp_path):
    """It means its own, and ours go on until the process ends."""
    code = """
import threading
from pocketflow import Flow, Node
from pocketflow_tracing import instrument

instrument()
for _ in range(4):
    threading.Thread(target=Flow(start=Node()).run, args=({},)).start()
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(SECONDS)
print("joined")
""".replace("SECONDS", seconds)
    with Collector(Mode(server)) as collector:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment(collector),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert ("joined\n", 0) == (done.stdout, done.returncode)
        if server == "healthy":
            assert 20 == len(collector.spans())


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="pipes of POSIX")
def test_a_program_whose_stderr_is_full_ends(tmp_path):
    """Who started it reads that once it has ended."""
    code = """
import os
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

os.set_blocking(2, False)
try:
    while os.write(2, b"x" * 512):
        pass
except BlockingIOError:
    os.set_blocking(2, True)
trace_flow(Flow(start=Node())).run({})
"""
    with Collector(Mode.refuse()) as collector:
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment(collector), stderr=subprocess.PIPE
        )
        try:
            assert 0 == process.wait(20)
        finally:
            process.kill()
            process.communicate()


def test_generations_that_wait_at_the_end_keep_to_the_deadline_too(tmp_path):
    """Their provider would wait until all are redacted; what is not made ready in time is counted and said."""
    code = """
import time
from langfuse import get_client, observe
from langfuse.media import LangfuseMedia
from pocketflow import Flow, Node
from pocketflow_tracing import TracingConfig, trace_flow

class Generates(Node):
    def exec(self, prep_res):
        for number in range(300):
            get_client().start_observation(name="call", as_type="generation", input={"q": number}).end()

def slow(value, path):
    time.sleep(0.01)
    return value

trace_flow(Flow(start=Generates()), config=TracingConfig(mask=slow)).run({})
print(time.time(), flush=True)
"""
    with Collector() as collector:
        began, ended, said = _end(tmp_path, code, **collector.environ)
        arrived = sum(span.name == "call" for span in collector.spans())
    assert ended - began < 6
    assert f"{300 - arrived} generations are lost" in said


def test_threads_of_a_host_with_little_stack(tmp_path):
    """Servers with thousands of threads choose the least that Python allows; ours need more, and the host's stay as they are."""
    code = """
import threading
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

threading.stack_size(32 * 1024)
deep = {"x": 1}
for _ in range(11):
    deep = {"k": [deep], "text": "password=hunter2; x: y <a>b</a> " * 100}
trace_flow(Flow(start=Node())).run({"deep": deep})
assert flush(20)
assert 32 * 1024 == threading.stack_size()
"""
    with Collector() as collector:
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(collector), check=False)
        assert (0, 5) == (done.returncode, len(collector.spans()))


def test_a_flow_that_begins_when_the_main_thread_has_ended_is_stored(tmp_path):
    """A thread of the program goes on; from Python 3.12 on it can start none of ours, and records by itself."""
    code = """
import os, threading, time
from pathlib import Path
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow
from pocketflow_tracing.store import Store, StoreError

def works():
    threading.main_thread().join()
    flow.run({})
    deadline = time.monotonic() + 10
    while not (Path("t.db").exists() and finished()) and time.monotonic() < deadline:
        time.sleep(0.01)
    os._exit(0)

def finished():
    try:
        return [run.status for run in Store("t.db").runs()] == ["success"]
    except StoreError:  # it is just being made
        return False

flow = trace_flow(Flow(start=Node()))
threading.Thread(target=works).start()
print(time.time(), flush=True)
"""
    _end(tmp_path, code)
    assert ["success"] == [run.status for run in Store(tmp_path / "t.db").runs()]


def test_a_flow_in_a_thread_of_an_exit_handler_is_recorded(tmp_path):
    """A time limit, or what runs a coroutine's blocking part, puts it there."""
    code = """
import atexit, threading, time
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

def last():
    thread = threading.Thread(target=flow.run, args=({},))
    thread.start()
    thread.join()

flow = trace_flow(Flow(start=Node()))
atexit.register(last)  # before ours, which ends before it
flow.run({})
print(time.time(), flush=True)
"""
    if sys.version_info >= (3, 12):
        pytest.skip("no thread can be started there")
    _end(tmp_path, code)
    assert 2 == len(Store(tmp_path / "t.db").runs())


def test_flows_of_an_exit_handler_share_the_time_that_the_end_may_take(tmp_path):
    """However many it runs, with a server that never answers; all of them are kept."""
    code = """
import atexit, time
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

flow = trace_flow(Flow(start=Node()))
atexit.register(lambda: [flow.run({}) for _ in range(8)])
flow.run({})
print(time.time(), flush=True)
"""
    for seconds in (3, 6, 20):  # so that a busy machine has time for the ninth
        folder = tmp_path / str(seconds)
        folder.mkdir()
        with Collector(Mode.silent()) as collector:
            extra = {**collector.environ, "POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT": str(seconds)}
            began, ended, _ = _end(folder, code, **extra)
        kept = _rows(folder / "t.db", "SELECT sum(spans) FROM outbox")
        if ended - began < 2 * seconds and kept == [(9 * 5,)]:
            return
    pytest.fail(f"the end took {ended - began} s, and {kept} of {9 * 5} spans are there")


@pytest.mark.parametrize("unheard", ["sys.stderr.close()", "logging.getLogger().addHandler(Deaf())"])
def test_what_cannot_be_said_costs_no_record(tmp_path, unheard):
    """The first run says where it is recorded; with nowhere to say it, it is recorded all the same."""
    code = f"""
import logging, sys, time
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

class Deaf(logging.Handler):
    def emit(self, record):
        raise ValueError("no words")

{unheard}
trace_flow(Flow(start=Node())).run({{}})
print(time.time())
"""
    env = environment(None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0
    assert ["success"] == [run.status for run in Store(tmp_path / ".pocketflow" / "traces.db").runs()]


def test_ctrl_c_while_the_exit_waits(tmp_path):
    """Whoever is in a hurry is let go, without a traceback, and what had waited for its answer is in the outbox."""
    with Collector(Mode.silent()) as collector:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "20"],
            cwd=tmp_path,
            env={**environment(collector), "POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT": "30"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.stdout.readline()
        store = tmp_path / ".pocketflow" / "traces.db"
        deadline = time.monotonic() + 20
        while not (store.exists() and _rows(store, "SELECT 1 FROM sqlite_master WHERE name = 'outbox'")):
            assert time.monotonic() < deadline
        while not _rows(store, "SELECT 1 FROM outbox"):
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert "Traceback" not in said
    assert process.returncode == 0


HANDLERS = {
    "default": "",
    "sys.exit": "signal.signal(signal.SIGINT, lambda *_: sys.exit(7))",
    "time limit": "signal.signal(signal.SIGINT, lambda *_: (_ for _ in ()).throw(OutOfTime))",
}


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("presses", [1, 3])
def test_what_a_signal_during_the_exit_finds_is_kept(handler, presses, tmp_path):
    """However early it comes: the process ends at once as it would have, and everything is in the outbox."""
    code = f"""
import atexit, os, signal, sys, threading, time
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

class OutOfTime(Exception):
    pass

{HANDLERS[handler]}
from pocketflow_tracing.delivery import delivery
asked, first, ask = [], threading.Event(), delivery._worker.ask

def press():  # a thread of now: Python 3.12 starts none at the end
    first.wait()
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press, daemon=True).start()

def seen(*args, **kwargs):
    asked.append(True)
    first.set()
    if 1 < len(asked) <= {presses}:
        signal.raise_signal(signal.SIGINT)
    return ask(*args, **kwargs)

flow = trace_flow(Flow(start=Node()))
for _ in range(100):
    flow.run({{}})
delivery._worker.ask = seen
atexit.register(lambda: print(time.time(), flush=True))  # before ours: the signals are sent in there
"""
    with Collector(Mode.silent()) as collector:
        env = {**environment(collector), "POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT": "30"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60
        )
        ended = time.time()
    assert (0, "") == (done.returncode, done.stderr)
    assert ended - float(done.stdout) < 5
    assert [(500,)] == _rows(tmp_path / ".pocketflow" / "traces.db", "SELECT sum(spans) FROM outbox")


@pytest.mark.parametrize("server", ["healthy", "silent"])
def test_what_the_sdk_sends_by_itself_is_sent_before_the_end_or_said(server, tmp_path):
    """Its own exit handler, which waits for them, does not run for a client that we made."""
    code = """
from langfuse import get_client, observe
from langfuse.media import LangfuseMedia
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

@observe(as_type="generation")
def draw(number):
    picture = bytes([137, 80, 78, 71, 13, 10, 26, 10, number]) * 100
    get_client().update_current_generation(input=LangfuseMedia(content_bytes=picture, content_type="image/png"))

class Rate(Node):
    def prep(self, shared):
        return shared["number"]

    def exec(self, number):
        draw(number)
        get_client().create_score(name="mine", value=1.0, trace_id="a" * 32)

flow = trace_flow(Flow(start=Rate()))
for number in range(3):
    flow.run({"number": number})
"""
    with MediaCollector(Mode.healthy() if server == "healthy" else Mode.silent()) as collector:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path, env=environment(collector), capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        if server == "healthy":
            assert ["mine"] * 3 == [score["name"] for score in collector.scores()]
            assert 3 == len(collector.stored)
        assert ("may be lost: 3 scores, 3 media." in done.stderr) == (server == "silent")


def test_media_of_the_last_moment_are_sent_before_the_end_or_said(tmp_path):
    """Python 3.12 before 3.12.3 starts no thread for them any more."""
    code = """
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

flow = trace_flow(Flow(start=Node()))
for number in range(4):
    flow.run({"picture": bytes([137, 80, 78, 71, 13, 10, 26, 10, number]) * 100})
"""
    with MediaCollector() as collector:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment(collector),
            check=True,
            timeout=60,
            capture_output=True,
        )
        is_said = b"no thread can be started for media" in done.stderr
        assert not is_said or (3, 12) <= sys.version_info < (3, 12, 3)
        assert is_said == (len(collector.stored) < 4)


@pytest.mark.parametrize("how", ["flush", "end"])
def test_scores_of_our_client_are_sent_when_one_of_the_programs_takes_its_place(how, tmp_path):
    """They are in the queue of the former one, which nobody else asks."""
    code = f"""
from langfuse import Langfuse, get_client
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

class Rate(Node):
    def exec(self, _):
        for number in range(10):
            get_client().create_score(name=f"mine {{number}}", value=1.0, trace_id="a" * 32)

trace_flow(Flow(start=Rate())).run({{}})
Langfuse(mask=lambda *, data, **_: data)
if {how == "flush"}:
    assert flush(10)
    import os; os._exit(0)
"""
    with Collector() as collector:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(collector), check=True, timeout=60)
        assert 10 == len(collector.scores())


@pytest.mark.parametrize("where", ["after shutdown", "in a child"])
def test_scores_that_come_when_the_worker_does_not_run_are_sent_before_the_end(where, tmp_path):
    """A program that has shut down, or a child that runs no flow, may give the SDK scores as well."""
    code = f"""
import os, sys
from langfuse import get_client
from pocketflow import Flow, Node
from pocketflow_tracing import flush, shutdown, trace_flow

class Ask(Node):
    def exec(self, _):
        get_client()

trace_flow(Flow(start=Ask())).run({{}})
if {where == "after shutdown"}:
    shutdown()
else:
    flush()
    if child := os.fork():
        os.waitpid(child, 0)
        sys.exit()
for number in range(20):
    get_client().create_score(name=f"mine {{number}}", value=1.0, trace_id="a" * 32)
"""
    with Collector() as collector:
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=tmp_path,
            env=environment(collector),
            check=True,
            timeout=60,
        )
        assert 20 == len(collector.scores())


@pytest.mark.parametrize("timeout", ["inf", "1e30", "10**400", "timedelta(seconds=1)", "'soon'", "None", "True"])
def test_a_flush_takes_any_timeout(tmp_path, timeout):
    """None is too long, and what is no number is said and left."""
    code = f"""
from datetime import timedelta
from math import inf
from pocketflow import Flow, Node
from pocketflow_tracing import flush, shutdown, trace_flow
import time

trace_flow(Flow(start=Node())).run({{}})
assert flush({timeout})
assert shutdown({timeout})
print(time.time())
"""
    _, _, said = _end(tmp_path, code)
    assert ("is a number of seconds" in said) == (timeout not in {"inf", "1e30", "None", "True"})


def test_what_a_locked_store_loses_at_the_end_is_said(tmp_path):
    """Another program writes all the time: the end comes in time, and the number is that of what is not there."""
    code = """
import time
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

flow = trace_flow(Flow(start=Node()))
flow.run({})
assert flush(10)
import sqlite3, os
other = sqlite3.connect(os.environ["POCKETFLOW_TRACE_STORE"], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
for _ in range(20):
    flow.run({})
print(time.time(), flush=True)
"""
    began, ended, said = _end(tmp_path, code)
    assert ended - began < 4
    assert f"{20 * 5} spans could not be written" in said


def test_what_flows_of_an_exit_handler_lose_to_a_locked_store_is_said(tmp_path):
    """The server takes nothing either."""
    code = """
import atexit, os, sqlite3, time
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow
from pocketflow_tracing.store import StoreWriter

flow = trace_flow(Flow(start=Node()))
StoreWriter(os.environ["POCKETFLOW_TRACE_STORE"]).open()
other = sqlite3.connect(os.environ["POCKETFLOW_TRACE_STORE"], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
atexit.register(lambda: [flow.run({}) for _ in range(5)])
print(time.time(), flush=True)
"""
    with Collector(Mode.refuse()) as collector:
        began, ended, said = _end(tmp_path, code, **collector.environ)
    assert ended - began < 5
    # without a thread (Python 3.12) each flow waits for the store by itself, and says what became of its spans
    in_all = "5 spans could not be delivered to Langfuse and are lost"
    assert 1 == said.count("what is not when the process ends is lost") or 5 == said.count(in_all)


@pytest.mark.parametrize("how", ["flush", "shutdown"])
def test_a_flush_in_an_exit_handler_that_runs_after_ours_tells_the_truth(tmp_path, how):
    """Everything has arrived by then, and no thread can be started to see that (Python 3.12)."""
    code = f"""
import atexit, time
from pocketflow import Flow, Node
from pocketflow_tracing import {how}, trace_flow

ended = time.time
atexit.register(lambda: print(ended() if {how}(5) else "not delivered"))
trace_flow(Flow(start=Node())).run({{}})
"""
    with Collector() as collector:
        _, _, said = _end(tmp_path, code, **collector.environ)
        assert 5 == len(collector.spans())
    assert said == ""


def test_what_a_daemon_thread_records_at_the_end_is_told_for_what_it_is(tmp_path):
    """There was time enough; but it never stops."""
    code = """
import threading, time
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

flow = trace_flow(Flow(start=Node()))


def go_on():
    while True:
        flow.run({})
        time.sleep(0.005)


flow.run({})
flush(10)
threading.Thread(target=go_on, daemon=True).start()
print(time.time(), flush=True)
"""
    with Collector(Mode.slow(0.3)) as collector:
        _, _, said = _end(tmp_path, code, **collector.environ)
    assert "that other threads recorded while the process ended" in said
    assert "could not be made ready" not in said


def test_what_daemon_threads_record_at_the_end_is_said_though_the_worker_is_just_counting_it(tmp_path):
    """Thousands of spans, of which it had said 0 to 35."""
    code = """
import atexit, threading, time
recorded = [0, 0, 0]
atexit.register(lambda: print(sum(recorded) * 5, flush=True))  # last, when ours is done
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

flow = trace_flow(Flow(start=Node()))


def go_on(number):
    while True:
        flow.run({})
        recorded[number] += 1
        time.sleep(0.001)


for number in range(3):
    threading.Thread(target=go_on, args=(number,), daemon=True).start()
while min(recorded) < 250:
    time.sleep(0.001)
"""
    with Collector(Mode.slow(0.4)) as collector:
        recorded, _, said = _end(tmp_path, code, **collector.environ)
        collector.mode = "healthy"
        sync = [sys.executable, "-m", "pocketflow_tracing", "sync", "--store", str(tmp_path / "t.db")]
        subprocess.run(sync, env=environment(collector), capture_output=True, check=True, timeout=60)
        arrived = len({span.span_id for span in collector.spans()})  # what had no answer yet is sent again
    lost = sum(int(number) for number in re.findall(r"(\d+) spans are lost", said))
    assert lost > 1000
    assert abs(recorded - arrived - lost) < 300


def test_a_flush_after_a_flow_in_an_exit_handler_tells_what_was_lost(tmp_path):
    """That the flow's own end has heard of it takes nothing from who asks."""
    code = """
import atexit, time
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

flow, ended = trace_flow(Flow(start=Node())), time.time
atexit.register(lambda: (flow.run({}), print(ended() if flush(1) is False else "told nothing")))
"""
    with Collector(Mode.silent()) as collector:
        _, _, said = _end(tmp_path, code, **collector.environ, POCKETFLOW_TRACE_STORE="off")
    assert "5 spans could not be delivered" in said


@pytest.mark.parametrize("mode", [Mode.healthy(), Mode.status(503)], ids=["healthy", "503"])
def test_many_flows_of_an_exit_handler_are_delivered_or_kept(mode, tmp_path):
    """Each by itself, for any may be the last one; with a server that answers it takes them no longer than that."""
    code = """
import atexit, time
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

flow = trace_flow(Flow(start=Node()))
atexit.register(lambda: [flow.run({}) for _ in range(59)])  # before ours, and so called after it
flow.run({})
print(time.time(), flush=True)
"""
    with Collector(mode) as collector:
        began, ended, said = _end(tmp_path, code, **collector.environ)
        arrived = len({span.span_id for span in collector.spans()})
    store = tmp_path / "t.db"  # on Python 3.12, which starts no thread there, all of them are in it
    waiting = Store(store).outbox().waiting_spans if store.exists() else 0
    assert 60 * 5 <= arrived + waiting  # what arrived too late for its answer waits as well
    assert "lost" not in said
    assert ended - began < 5


@pytest.mark.parametrize("server", ["store", "healthy", "refuse", "silent"])
@pytest.mark.parametrize(
    "alone", ["threading.active_count() == 1", "not any(t.is_alive() for t in threading.enumerate() if t is not main)"]
)
def test_a_program_that_waits_until_no_other_thread_is_left_ends(alone, server, python):
    """Ours do nothing by then, and are not counted; afterwards they record as before."""
    code = f"""
    import threading, time
    flow = make_flow()
    main = threading.current_thread()
    threading.Thread(target=lambda: flow.run({{"question": "why"}})).start()
    deadline = time.monotonic() + 20  # of a request to the silent server: 60
    while not ({alone}):
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)
    flow.run({{"question": "again"}})
    assert flush(1) is {server in {"store", "healthy"}}
    """
    with Collector() as collector:
        if server != "store":
            collector.mode = Mode.silent() if server == "silent" else server
        python(code, collector if server != "store" else None, LANGFUSE_TIMEOUT="60")
        assert server != "healthy" or 10 == len(collector.spans())


def test_where_runs_are_kept_is_not_said_where_none_could_be(python, tmp_path):
    """What says why they were not stands alone."""
    (tmp_path / ".pocketflow").write_text("a file in the place of the store's directory")
    done = python('make_flow().run({"question": "?"})')
    assert (0, 1) == (done.stderr.count("No Langfuse keys"), done.stderr.count("cannot be written"))


def test_where_runs_of_an_exit_handler_are_kept_is_said(python):
    """The end of the process, at which that is said, is over by then."""
    done = python(
        """
        import atexit
        flow = make_flow()
        atexit.register(lambda: flow.run({"question": "?"}))
        """
    )
    assert 1 == done.stderr.count("No Langfuse keys")
