"""Who flushes waits, and nobody else; and what comes after a flush or a shutdown is nobody's loss."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import subprocess
import sys

import pytest
from collector import Collector, Mode
from drill import FLOW, environment

from pocketflow_tracing.store import Store

BEGIN = f"""
import threading
{FLOW}
flow = make_flow()
flow.run({{"question": "0"}})
"""
IN_A_THREAD = f"""{BEGIN}
threading.Thread(target=flush, daemon=True).start()
from pocketflow_tracing.delivery import delivery
while delivery.queue:  # the worker has not come to the flush
    time.sleep(0.01)
for number in range(20):
    flow.run({{"question": str(number)}})
"""
WITH_A_CLIENT = f"""
from langfuse import Langfuse
client = Langfuse(timeout=3)
{BEGIN}
client.start_observation(name="theirs").end()
began = time.monotonic()
assert flush(0.5) is False
assert time.monotonic() - began < 3
for number in range(20):
    flow.run({{"question": str(number)}})
"""


@pytest.mark.parametrize("code", [IN_A_THREAD, WITH_A_CLIENT], ids=["in a thread", "with a client"])
@pytest.mark.parametrize("server", ["silent", "refuse"])
def test_what_others_record_meanwhile_is_kept(code, server, tmp_path):
    """The server takes nothing: everything is in the outbox, whoever still waits for the server."""
    with Collector(Mode.silent() if server == "silent" else Mode.refuse()) as collector:
        program(tmp_path, code, collector)
    with contextlib.closing(sqlite3.connect(tmp_path / ".pocketflow" / "traces.db")) as store:
        assert [(21 * 5,)] == store.execute("SELECT sum(spans) FROM outbox").fetchall()


PROJECTS = f"""
from pocketflow_tracing import TracingConfig
{FLOW}
for number in range(8):
    config = TracingConfig(langfuse_public_key=f"pk-lf-{{number}}")
    trace_flow(Flow(start=Ask()), config=config).run({{"question": "?"}})
"""


def test_no_project_waits_so_long_that_the_others_have_no_time(tmp_path):
    """At the end all of them wait for a silent server together, and each then keeps what is its own."""
    with Collector(Mode.silent()) as collector:
        program(tmp_path, PROJECTS, collector)
    with contextlib.closing(sqlite3.connect(tmp_path / ".pocketflow" / "traces.db")) as store:
        assert [(5,)] * 8 == store.execute("SELECT sum(spans) FROM outbox GROUP BY public_key").fetchall()


AFTERWARDS = {
    "shutdown": "shutdown(5)\nmine()",
    "fork": "flush(5)\nif os.fork() == 0:\n    mine()\n    sys.exit()\nos.wait()",
    "shutdown, fork": "shutdown(5)\nif os.fork() == 0:\n    mine()\n    sys.exit()\nos.wait()",
}


@pytest.mark.parametrize("how", AFTERWARDS)
def test_an_observation_after_the_last_run_arrives(how, tmp_path, sync):
    """The program's own `@observe`, through the client that we have made, as it would untraced."""
    code = f"""
from langfuse import observe
from pocketflow_tracing import shutdown
{BEGIN}
@observe(name="mine")
def mine():
    return 1

{AFTERWARDS[how]}
"""
    with Collector() as collector:
        program(tmp_path, code, collector)
        if sys.version_info[:2] == (3, 12) and "shutdown" in how:  # which starts no thread at the end: it is kept
            sync(collector)
        assert [1, 5] == [sum((span.name == "mine") is mine for span in collector.spans()) for mine in (True, False)]


@pytest.mark.skipif(sys.platform != "linux", reason="of /proc and its limits")
def test_where_no_thread_can_be_started_everything_is_kept(tmp_path):
    """Neither a flush nor the end lose what no thread can be had for."""
    code = f"""
import resource
{FLOW}
flow = make_flow()
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + 3_000_000  # a thread's stack takes 8 MB
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for number in range(20):
    flow.run({{"question": str(number)}})
assert flush(1) is False
"""
    with Collector() as collector:
        program(tmp_path, code, collector)
        assert [] == collector.spans()
    with contextlib.closing(sqlite3.connect(tmp_path / ".pocketflow" / "traces.db")) as store:
        assert [(20 * 5,)] == store.execute("SELECT sum(spans) FROM outbox").fetchall()


def program(folder, code, collector):
    """Run a program to its end."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(collector),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "lost" not in done.stderr


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("what", ["the directory", "the file"])
def test_what_went_with_a_removed_store_is_told(what, goes_on, tmp_path):
    """It waited there for the server, which is back; the next flush after that is True again, as is what came into a new file."""
    code = f"""
import shutil
from pathlib import Path
{FLOW}
flow = make_flow()
flow.run({{"question": "?"}})
assert flush(2) is False
store = Path(".pocketflow")
for path in [store] if {what == "the directory"} else list(store.glob("traces.db*")):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
if {goes_on}:
    flow.run({{"question": "!"}})
    assert flush(2) is False
print("removed", flush=True)
input()
assert flush(10) is {goes_on}
if not {goes_on}:
    flow.run({{"question": "!"}})
    assert flush(10) is True
"""
    with Collector(Mode.refuse()) as collector:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment(collector),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "removed\n"
        collector.mode = Mode.healthy()
        _, said = process.communicate("\n", timeout=60)
        assert process.returncode == 0, said
        assert 5 == len(collector.spans())
    assert "5 spans that waited for Langfuse are lost" in said


@pytest.mark.parametrize("taken", ["by what stands in for stderr", "by a log handler"])
def test_a_lock_that_lines_of_a_log_take_is_held_around_a_first_run(taken, python, tmp_path):
    """The line that says where runs are kept comes at the end of the process, and where somebody types what it does at once."""
    done = python(
        f"""
        import logging, threading
        sys.ps1 = ">>> "
        lock, lines, said = threading.Lock(), [], threading.Event()
        class Pane:
            def write(self, text):
                with lock:
                    lines.append(text)
                if "show last" in text:
                    said.set()
            def flush(self):
                pass
        class Handler(logging.Handler):
            def emit(self, record):
                Pane().write(record.getMessage())
        if {taken!r} == "by a log handler":
            logging.getLogger().addHandler(Handler())
        else:
            sys.stderr = Pane()
        flow = make_flow()
        with lock:
            flow.run({{"question": "?"}})
        assert said.wait(10)
        assert 1 == sum("show last" in line for line in lines)
        """
    )
    assert "" == done.stderr
    (run,) = Store(tmp_path / ".pocketflow" / "traces.db").runs()
    assert "success" == run.status


def test_a_programs_tests_find_no_line_of_ours_among_theirs(python, tmp_path):
    """Where runs are kept is said when they are through."""
    done = python(
        """
        import unittest
        class Tests(unittest.TestCase):
            def test_0_runs_a_flow(self):
                make_flow().run({"question": "?"})
            def test_1_logs_nothing(self):
                with self.assertNoLogs():
                    assert flush(10)
        unittest.main(argv=["tests"], exit=False)
        print("through", file=sys.stderr)
        """
    )
    said = done.stderr.split("through")
    assert ("OK" in said[0], "show last" in said[0], said[1].count("show last")) == (True, False, 1)


def test_what_a_run_brings_about_is_said_on_no_thread_of_its_own(python):
    """A log handler may take its time, or a lock that who runs the flow holds."""
    done = python(
        """
        import logging, threading
        from pocketflow_tracing import add_score, continue_trace, flush, trace_attributes, trace_flow
        said = []
        class Noting(logging.Handler):
            def emit(self, record):
                said.append((threading.current_thread() is threading.main_thread(), record.getMessage()))
        logging.getLogger().addHandler(Noting())

        class Busy(Node):
            def exec(self, _):
                add_score("x", float("nan"))
                for number in range(1001):
                    add_score(str(number), 1)

        @trace_flow()
        def several():
            make_flow().run({"question": "?"})
            return (number for number in range(2))

        with trace_attributes(tags=["tag %d" % number for number in range(60)], environment="NOT ONE"), continue_trace(5):
            trace_flow(Flow(start=Busy()), session_id=lambda shared: shared["none"], user_id="x" * 300).run({})
        several()
        for _ in range(200):
            make_flow().run({"question": "?" * 100000})
        flush(10)
        print(any(on_main for on_main, _ in said), len(said))
        print(*[line for _, line in said], sep="\\n", file=sys.stderr)
        """,
        POCKETFLOW_TRACE_QUEUE_SIZE="100",
    )
    for words in ("score is a finite", "more than 1,000 scores", "is cut to", "environment is", "first 50 tags", "takes headers",
                  "returned a generator", "could not finish", "more was recorded than"):  # fmt: skip
        assert 1 == done.stderr.count(words), words
    assert "False 9\n" == done.stdout


@pytest.mark.parametrize("server", ["none", "down"])
@pytest.mark.parametrize("returns", ["never", "late"])
def test_a_log_handler_that_does_not_return_holds_up_neither_records_nor_the_end(returns, server, python, tmp_path):
    """As one of the standard library's does not whose server never answers: it has no time limit."""
    silent = socket.create_server(("127.0.0.1", 0))
    keys = {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1", "LANGFUSE_BASE_URL": "http://127.0.0.1:1",
        "POCKETFLOW_TRACE_STORE": str(tmp_path / ".pocketflow" / "traces.db"),
    }  # fmt: skip
    with silent:
        done = python(
            f"""
            import logging, time
            from logging.handlers import HTTPHandler
            class Late(logging.Handler):
                def emit(self, record):
                    time.sleep(3000)
            handler = HTTPHandler("127.0.0.1:{silent.getsockname()[1]}", "/") if {returns!r} == "never" else Late()
            handler.setLevel(logging.WARNING)
            logging.getLogger().addHandler(handler)
            sys.ps1 = ">>> "
            for _ in range(5):
                make_flow().run({{"question": "?"}})
            print("ran")
            """,
            **(keys if server == "down" else {}),
        )
    assert ("ran\n", "", 0) == (done.stdout, done.stderr, done.returncode)
    assert 5 == len(list(Store(tmp_path / ".pocketflow" / "traces.db").runs()))


def test_what_was_said_nowhere_is_said_at_the_end(python):
    """Where the worker never comes to it; a forked child leaves it to its parent."""
    done = python(
        """
        from pocketflow_tracing import _log, delivery
        make_flow().run({"question": "?"})
        delivery.shutdown(5)
        _log._last.clear()
        _log.warn_at_the_end("a line of the end")
        if child := os.fork():
            os.waitpid(child, 0)
        """
    )
    assert 1 == done.stderr.count("a line of the end")


@pytest.mark.parametrize("said", ["on stderr", "by handlers of ours", "nowhere"])
def test_where_runs_are_kept_is_said_past_handlers_that_are_closed_by_then(said, python):
    """A program's own may write to what its tests have captured; whoever has said what becomes of our lines is heard."""
    done = python(
        f"""
        import io, logging
        captured = io.StringIO()
        logging.basicConfig(stream=captured)
        ours = logging.getLogger("pocketflow_tracing")
        if {said!r} == "by handlers of ours":
            ours.addHandler(logging.StreamHandler(sys.stdout))
            ours.propagate = False
        elif {said!r} == "nowhere":
            ours.setLevel("CRITICAL")
        make_flow().run({{"question": "?"}})
        captured.close()
        """
    )
    expected = {"on stderr": (0, 1), "by handlers of ours": (1, 0), "nowhere": (0, 0)}[said]
    assert expected == (done.stdout.count("No Langfuse keys"), len(done.stderr.splitlines()))
