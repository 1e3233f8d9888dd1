"""Forks, several processes, and stores that cannot be written: each has one result, and the program does not notice."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from collector import Collector, Mode
from drill import FLOW, environment

from pocketflow_tracing.store import Outbox, Store, StoreError, build_tree

SPANS = 5  # of one run: the flow, the node, prep, exec, post
PATIENT = {"POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT": "20"}  # where it is not the deadline that is tried


@pytest.mark.parametrize("server", ["langfuse", "store"])
def test_a_preloaded_program_that_forks_records_in_every_worker(server, python, tmp_path):
    """Parent and forked workers each deliver their own runs, once."""
    code = """
    flow = make_flow()
    flow.run({"question": "parent"})
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            flow.run({"question": f"child {number}"})
            sys.exit(0)
        children.append(pid)
    flow.run({"question": "parent again"})
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    """
    if server == "langfuse":
        with Collector() as collector:
            python(code, collector, **PATIENT)
            assert len(collector.spans()) == 5 * SPANS
            assert collector.problems() == []
            assert collector.duplicates == {} or not collector.duplicates
    else:
        python(code)
        runs = list(Store(tmp_path / ".pocketflow" / "traces.db").runs())
        assert [run.status for run in runs] == ["success"] * 5


@pytest.mark.parametrize("before", ["", 'flow.run({"question": "before"}); assert flush(10)'], ids=["cold", "warm"])
@pytest.mark.parametrize("server", ["langfuse", "store"])
def test_a_fork_that_python_is_not_told_of(server, before, python, tmp_path):
    """uWSGI's: parent and child have ids of their own, and the child a thread of its own."""
    code = f"""
    import ctypes
    from pocketflow_tracing import flush
    flow = make_flow()
    {before}
    pid = ctypes.PyDLL(None).fork()
    flow.run({{"question": "after"}})
    assert flush(10)
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    """
    runs = 3 if before else 2
    if server == "langfuse":
        with Collector() as collector:
            python(code, collector, **PATIENT)
            assert len(collector.spans()) == runs * SPANS
            assert len({span.trace_id for span in collector.spans()}) == runs
    else:
        python(code)
        found = list(Store(tmp_path / ".pocketflow" / "traces.db").runs())
        assert [run.status for run in found] == ["success"] * runs


def test_a_forked_child_that_flushes_a_client_before_its_first_run(python):
    """A health check ends with the flush of every request: what comes after it is delivered."""
    code = """
    from langfuse import get_client, observe
    asks = observe(as_type="generation")(lambda: None)

    class Asks(Node):
        def exec(self, prep_res):
            asks()

    flow = trace_flow(Flow(start=Asks()))
    flow.run({})
    get_client().flush()
    if os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
    get_client().flush()
    for _ in range(3):
        flow.run({})
        get_client().flush()
    assert flush(10)
    """
    with Collector() as collector:
        python(code, collector, LANGFUSE_TIMEOUT="1")
        assert 4 * (SPANS + 1) == len(collector.spans())


def test_children_that_outlive_their_parent_keep_the_store_whole(python, tmp_path):
    """A parent that ends while its forked child goes on recording takes nothing away from it, and breaks no file."""
    code = """
    flow = make_flow()
    flow.run({"question": "parent"})
    assert flush(10)
    if os.fork():
        os.wait()
        sys.exit(0)
    if os.fork():
        os._exit(0)
    flow.run({"question": "child"})
    assert flush(10)
    """
    path = tmp_path / "traces.db"
    for round_ in range(1, 7):
        python(code, POCKETFLOW_TRACE_STORE=str(path))
        assert [run.status for run in Store(path).runs()] == ["success"] * 2 * round_
    assert not list(tmp_path.glob("*.corrupt*"))
    assert not list(tmp_path.glob("traces-*"))


@pytest.mark.parametrize("server", ["store", "langfuse", "down"])
@pytest.mark.parametrize("end", ["sys.exit(3)", "return", "1 / 0"])
def test_a_child_that_a_thread_forked_ends_with_that_thread(end, server, python, tmp_path):
    """No exit handler runs there, and the system waits for the last thread: it is not one of ours."""
    code = f"""
    import threading
    flow = make_flow()
    def job():
        if pid := os.fork():
            assert os.waitpid(pid, 0)[1] == 0
            done.append(pid)
        else:
            flow.run({{"question": "child"}})
            {end}
    done = []
    thread = threading.Thread(target=job)
    thread.start()
    thread.join(30)
    assert done, "the child is still there"
    """
    with Collector() as collector:
        if server == "down":
            collector.mode = "refuse"
        done = python(code, collector if server != "store" else None)
        assert server != "langfuse" or len(collector.spans()) == SPANS
    if server == "store":
        assert [run.status for run in Store(tmp_path / ".pocketflow" / "traces.db").runs()] == ["success"]
    elif server == "down":
        assert Outbox(tmp_path / ".pocketflow" / "traces.db").counts().waiting_spans == SPANS
    assert "lost" not in done.stderr


def test_forks_in_the_middle_of_writing(python, tmp_path):
    """Children that are forked while the worker writes, and end after their parent, lose nothing and break nothing."""
    code = """
    flow = make_flow()
    for number in range(8):
        for _ in range(30):
            flow.run({"question": "x" * 2000})
        if os.fork() == 0:
            flow.run({"question": "child"})
            assert flush(20)
            flow.run({"question": "child again"})
            sys.exit(0)
    """
    path = tmp_path / "traces.db"
    done = python(code, POCKETFLOW_TRACE_STORE=str(path), POCKETFLOW_TRACE_FLUSH_INTERVAL="0.001", **PATIENT)
    assert "Traceback" not in done.stderr
    assert "locked" not in done.stderr
    stores = list(tmp_path.glob("*.db"))
    runs = [run for store in stores for run in Store(store).runs(limit=None)]
    assert [(run.status, run.spans) for run in runs] == [("success", SPANS)] * (8 * 30 + 8 * 2)
    for store in stores:
        with contextlib.closing(sqlite3.connect(store)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_children_deliver_before_they_end(method, python):
    """A child of multiprocessing leaves past atexit; its runs arrive all the same."""
    code = f"""
    import multiprocessing

    def work(number):
        make_flow().run({{"question": str(number)}})

    if __name__ == "__main__":
        context = multiprocessing.get_context({method!r})
        work("parent")
        children = [context.Process(target=work, args=(number,)) for number in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0
    """
    with Collector() as collector:
        python(code, collector, **PATIENT)
        assert len(collector.spans()) == 3 * SPANS


@pytest.mark.parametrize(
    ("package", "told"), [("billiard", "finalizer"), ("billiard", "signal"), ("multiprocess", "finalizer")]
)
def test_children_of_celery_and_pathos_deliver_before_they_end(package, told, python):
    """A child of billiard, which has finalizers of its own, and a worker of its pool, which only tells celery of its end."""
    code = f"""
    import os, sys, types

    ends = {{"finalizer": [], "signal": []}}

    class Finalize:
        def __init__(self, obj, callback, exitpriority):
            ends["finalizer"].append(callback)

    class Signal:
        def connect(self, receiver, weak, dispatch_uid):
            ends["signal"].append(receiver)

    class Process:
        _parent_pid = None

    modules = {{
        "{package}.util": {{"Finalize": Finalize}},
        "{package}.process": {{"current_process": Process}},
        "celery.signals": {{"worker_process_shutdown": Signal()}},
    }}
    for name, contents in modules.items():
        sys.modules[name] = types.SimpleNamespace(**contents)
    make_flow().run({{"question": "parent"}})
    assert not any(ends.values())
    Process._parent_pid = os.getpid()
    child = os.fork()
    if not child:
        make_flow().run({{"question": "child"}})
        for end in ends[{told!r}]:
            end(**({{"pid": os.getpid(), "exitcode": 0}} if {told!r} == "signal" else {{}}))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    """
    with Collector() as collector:
        python(code, collector, **PATIENT)
        assert len(collector.spans()) == 2 * SPANS


def test_a_fork_in_the_middle_of_a_run_leaves_both_sides_whole(python):
    """Parent and child both finish the run that was going on; what they share has the same ids."""
    code = """
    class Forks(Ask):
        def exec(self, question):
            self.pid = os.fork()
            return "child" if self.pid == 0 else "parent"
        def post(self, shared, question, answer):
            shared["answer"] = answer
            if answer == "parent":
                assert os.waitpid(self.pid, 0)[1] == 0

    shared = {"question": "who"}
    trace_flow(Flow(start=Forks()), flow_name="Split").run(shared)
    print(shared["answer"])
    """
    with Collector() as collector:
        done = python(code, collector, **PATIENT)
        assert sorted(done.stdout.split()) == ["child", "parent"]
        # the flow, the node, prep and exec are one and the same span in both; each side has a post of its own
        spans = collector.spans()
        assert len(spans) == SPANS + 1
        ids = {span.span_id for span in spans}
        assert all(span.parent_id in ids for span in spans if span.parent_id is not None)


@pytest.mark.parametrize(
    ("store", "word"),
    [("/proc/no/such/place/traces.db", "/proc/no/such"), ("program.py/traces.db", "program.py")],
)
def test_a_store_that_cannot_be_made_costs_two_lines(store, word, python):
    """A place where nothing can be written is named in one warning, what is lost at the end in another; flows run as before."""
    done = python(
        """
        shared = {"question": "why"}
        flow = make_flow()
        for _ in range(3):
            flow.run(shared)
        assert shared["answer"] == "why?"
        assert flush(5) is False
        """,
        POCKETFLOW_TRACE_STORE=store,
    )
    first, last = [line for line in done.stderr.splitlines() if word in line]
    assert "cannot be written" in first
    assert f"{3 * SPANS} spans could not be written" in last
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_survived_and_said_once(python, tmp_path):
    """A file that may not grow costs the program nothing; once it may again, what was recorded meanwhile is there."""
    done = python(
        """
        import resource
        flow = make_flow()
        flow.run({"question": "fits"})
        assert flush(5)
        before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, most))
        for number in range(50):
            shared = {"question": "x" * 20_000}
            flow.run(shared)
            assert len(shared["answer"]) == 20_001
            if number % 10 == 9:
                assert flush(1) is False
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
        assert flush(20) is True
        """,
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.count("cannot be written") == 1
    runs = list(Store(tmp_path / ".pocketflow" / "traces.db").runs(limit=None))
    assert [(run.status, run.spans) for run in runs] == [("success", SPANS)] * 51


@pytest.fixture
def disk(tmp_path):
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("server", ["none", "down"])
def test_a_disk_without_space(server, disk, python, tmp_path):
    """Runs that do not fit are kept in memory, for the store and the outbox alike, and are written when there is space."""
    code = """
    flow = make_flow()
    flow.run({"question": "first"})
    flush(5)
    with open("disk/filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass
    for number in range(20):
        shared = {"question": os.urandom(10_000).hex()}
        flow.run(shared)
        assert len(shared["answer"]) == 20_001
        if number % 5 == 4:
            assert flush(1) is False
    os.remove("disk/filler")
    mount = os.system("mount -o remount,size=64m disk")
    assert mount == 0
    print(flush(20))
    """
    with Collector(Mode.status(503)) as collector:
        done = python(code, collector if server == "down" else None, POCKETFLOW_TRACE_STORE="disk/traces.db")
        assert "Traceback" not in done.stderr
        assert done.stderr.count("cannot be written") >= 1
        store = Store(disk / "traces.db")
        assert [run.status for run in store.runs(limit=None)] == ["success"] * 21
        if server == "down":
            assert store.outbox().waiting_spans == 21 * SPANS
        else:
            assert done.stdout.split() == ["True"]


def test_a_directory_that_may_only_be_read(disk, python):
    """A store where nothing may be written is named once; the program goes on."""
    assert subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=False).returncode == 0
    done = python(
        """
        shared = {"question": "why"}
        make_flow().run(shared)
        assert shared["answer"] == "why?"
        assert flush(5) is False
        """,
        POCKETFLOW_TRACE_STORE="disk/traces.db",
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.count("cannot be written") == 1


def test_eight_programs_on_one_store(tmp_path):
    """Eight programs record into one file while one reads it: all runs are there, whole, and nobody hears of a lock."""
    (tmp_path / "program.py").write_text(
        FLOW + textwrap.dedent(
            """
            flow = make_flow()
            for number in range(40):
                flow.run({"question": "why"})
                time.sleep(0.01)
            assert flush(30)
            """
        )
    )  # fmt: skip
    path = tmp_path / "traces.db"
    Path(tmp_path / "traces.db").touch(0o600)
    programs = [
        subprocess.Popen(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=environment(None, POCKETFLOW_TRACE_STORE=str(path)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    seen = 0
    while any(program.poll() is None for program in programs):
        with contextlib.suppress(StoreError):
            found = len(Store(path).runs(limit=None))
            assert found >= seen
            seen = found
    said = [program.communicate(timeout=10)[1] for program in programs]
    assert said == [""] * 8
    assert [program.returncode for program in programs] == [0] * 8
    runs = Store(path).runs(limit=None)
    assert [(run.status, run.spans) for run in runs] == [("success", SPANS)] * 8 * 40


@pytest.mark.parametrize("damage", ["garbage", "newer"])
def test_a_store_that_is_broken_or_newer_is_kept(damage, python, tmp_path):
    """A corrupt file is set aside and a newer one left alone; neither is deleted, and one line says so."""
    path = tmp_path / "mine.db"
    if damage == "garbage":
        path.write_bytes(b"not a database" * 1000)
    else:
        python("make_flow().run({'question': 'first'})", POCKETFLOW_TRACE_STORE=str(path))
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 999")
        connection.close()
    before = path.read_bytes()
    done = python("make_flow().run({'question': 'why'})", POCKETFLOW_TRACE_STORE=str(path))
    assert "Traceback" not in done.stderr
    kept = [file for file in tmp_path.glob("mine.db*") if not file.name.endswith(("-wal", "-shm"))]
    assert any(file.read_bytes() == before for file in kept)
    if damage == "garbage":
        assert Store(path).run("last").status == "success"
    else:
        assert "newer version" in done.stderr


def test_a_wall_clock_that_jumps_back_bends_no_duration(tmp_path):
    """Durations come from a monotonic clock; a run after the jump is a run like any other."""
    code = """
    from pocketflow_tracing import _ids
    import time
    flow = make_flow()
    flow.run({"question": "before"})
    _ids.source.wall = lambda: time.time_ns() - 3_600_000_000_000
    flow.run({"question": "after"})
    """
    (tmp_path / "program.py").write_text(FLOW + textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment(None), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    reader = Store(tmp_path / ".pocketflow" / "traces.db")
    runs = list(reader.runs())
    assert len(runs) == 2
    for run in runs:
        for span in reader.spans(run.run_id):
            assert 0 <= span.end_ns - span.start_ns < 10_000_000_000
        assert build_tree(run, reader.spans(run.run_id)) is not None


def test_an_outage_ends_within_the_process(tmp_path):
    """A process that lives through the outage delivers by itself once the server is back."""
    code = """
    flow = make_flow()
    for number in range(30):
        flow.run({"question": str(number)})
    assert flush(3) is False
    print("recorded", flush=True)
    sys.stdin.readline()
    """
    (tmp_path / "program.py").write_text(FLOW + textwrap.dedent(code))
    with Collector(Mode.status(503)) as collector:
        process = subprocess.Popen(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=environment(collector),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout.readline() == "recorded\n"
            assert collector.spans() == []
            collector.mode = Mode.healthy()
            assert len(collector.wait_for(30 * SPANS, timeout=20)) == 30 * SPANS
            _, stderr = process.communicate("\n", timeout=20)
            assert process.returncode == 0
            assert stderr.count("answered 503") == 1
        finally:
            process.kill()
            process.wait()


def test_retry_after_is_honoured(tmp_path):
    """A server that asks for two seconds gets no request before they are over."""
    code = """
    flow = make_flow()
    flow.run({"question": "busy"})
    print("recorded", flush=True)
    sys.stdin.readline()
    """
    (tmp_path / "program.py").write_text(FLOW + textwrap.dedent(code))
    with Collector(Mode.status(429, retry_after=2, times=1)) as collector:
        process = subprocess.Popen(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=environment(collector),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout.readline() == "recorded\n"
            collector.wait_for(SPANS, timeout=20)
            first, second = collector.exports()[:2]
            assert second.time - first.time >= 1.9
        finally:
            process.communicate("\n", timeout=20)


def test_a_fork_waits_for_an_import_of_ours(python):
    """Else the module would be locked for ever in the child, which would hang where it imports it."""
    code = """
import os, signal, sys, threading
from pocketflow_tracing._forks import unforked

sys.begun, sys.go_on = threading.Event(), threading.Event()
open("slow.py", "w").write("import sys; sys.begun.set(); sys.go_on.wait(10)")
sys.path.insert(0, "")

def slowly():
    with unforked():
        import slow

threading.Thread(target=slowly).start()
sys.begun.wait(10)
threading.Timer(0.3, sys.go_on.set).start()
child = os.fork()
if child == 0:
    signal.alarm(10)
    import slow
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
    done = python(code)
    assert done.stdout == "0\n", done.stderr


def test_a_fork_and_a_first_run_do_not_wait_for_each_other(python):
    """A service that warms up in a thread while it starts its workers: the locks are taken in one order."""
    code = """
import os, threading, time
from pocketflow_tracing._forks import unforked
from pocketflow_tracing.store import opened
from pocketflow_tracing.store.database import Database

begun, forks = threading.Event(), threading.Event()
before_fork = opened._before_fork

def open_one():
    with unforked():  # as the first run does
        begun.set()
        forks.wait(0.5)  # a fork that took the store's locks first would have them by now
        Database("traces.db")

os.register_at_fork(before=forks.set)
opening = threading.Thread(target=open_one)
opening.start()
begun.wait(10)
began = time.monotonic()
child = os.fork()
if child == 0:
    os._exit(0)
print(time.monotonic() - began < 3)
opening.join()
os.waitpid(child, 0)
"""
    done = python(code)
    assert done.stdout == "True\n", done.stderr


def test_a_fork_waits_for_a_tls_context_of_ours(python):
    """OpenSSL is locked while it reads certificates: a child that was forked then could make no context of its own."""
    code = """
import os, signal, sys, threading, time
import httpx
from pocketflow_tracing.sinks import _channel

begun, go_on, forked = threading.Event(), threading.Event(), []

class Client(httpx.Client):
    def __init__(self, *args, **kwargs):
        begun.set()
        go_on.wait(10)
        forked.append(len(forked))
        super().__init__(*args, **kwargs)

_channel.Client = Client
channel = _channel.Channel(0.5)

def send():
    try:
        channel.request("POST", "http://127.0.0.1:9/", b"", {})
    except httpx.HTTPError:
        pass

thread = threading.Thread(target=send)
thread.start()
begun.wait(10)
threading.Timer(0.3, go_on.set).start()
child = os.fork()
if child == 0:
    os._exit(len(forked))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = python(code)
    assert done.stdout == "1\n", done.stderr


SLOWLY = """
import os, signal, sys, threading
import pocketflow_tracing as tracing

begun, go_on = threading.Event(), threading.Event()

def first(work):
    threading.Thread(target=work).start()
    assert begun.wait(10)
    threading.Timer(0.3, go_on.set).start()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        work()
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""


def test_a_fork_waits_for_the_first_use_of_a_name(python):
    """The modules behind it are imported then."""
    code = f"""{SLOWLY}
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "pocketflow_tracing.decorator":
            begun.set()
            go_on.wait(10)

sys.modules.pop("pocketflow_tracing.decorator", None)
vars(tracing).pop("trace_flow", None)
sys.meta_path.insert(0, Slow())
first(lambda: tracing.trace_flow)
"""
    done = python(code)
    assert done.stdout == "0\n", done.stderr


def test_a_fork_waits_for_the_client_of_a_first_run(python):
    """The SDK imports modules while it makes one, which would stay locked in the child."""
    code = f"""{SLOWLY}
from langfuse._client.resource_manager import LangfuseResourceManager

sys.begun, sys.go_on = begun, go_on
open("slow.py", "w").write("import sys; sys.begun.set(); sys.go_on.wait(10)")
made = LangfuseResourceManager._initialize_instance

def slowly(*args, **kwargs):
    import slow
    return made(*args, **kwargs)

LangfuseResourceManager._initialize_instance = slowly
flow = make_flow()

def work():
    flow.run({{"question": "why"}})
    import slow

first(work)
"""
    with Collector() as collector:
        done = python(code, collector)
    assert done.stdout == "0\n", done.stderr


def test_a_fork_takes_no_lock_that_is_wanted_where_it_waits(tmp_path):
    """OpenTelemetry runs an executor while it finds out where it runs, and a fork takes the lock of all executors."""
    code = """
import os, threading, time
from pocketflow_tracing._forks import unforked

inside, forking = threading.Event(), threading.Event()

def work():
    with unforked():
        inside.set()
        assert forking.wait(10)
        from concurrent.futures import ThreadPoolExecutor
        ThreadPoolExecutor().submit(int).result()

thread = threading.Thread(target=work)
thread.start()
assert inside.wait(10)
from concurrent.futures import ThreadPoolExecutor
os.register_at_fork(before=forking.set)
began = time.monotonic()
child = os.fork()
if not child:
    os._exit(0)
assert time.monotonic() - began < 4
assert 0 == os.waitpid(child, 0)[1]
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_a_child_that_was_forked_while_the_program_made_a_client(python):
    """The SDK's lock is held by a thread that is not there: a flow in the child waits for nobody."""
    code = f"""{SLOWLY}
from langfuse._client.resource_manager import LangfuseResourceManager

def hold():
    with LangfuseResourceManager._lock:
        begun.set()
        go_on.wait(10)

flow = make_flow()
threading.Thread(target=hold).start()
assert begun.wait(10)
child = os.fork()
if child == 0:
    signal.alarm(10)
    flow.run({{"question": "why"}})
    os._exit(0)
print(os.waitpid(child, 0)[1])
go_on.set()
"""
    with Collector() as collector:
        done = python(code, collector)
    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize("server", [True, False])
def test_where_nothing_can_be_imported_any_more(server, python, tmp_path):
    """As after a chroot, or as a user who may not read Python's library: what was marked before is recorded all the same."""
    with Collector() if server else contextlib.nullcontext() as collector:
        python(
            """
            flow = make_flow()
            for name in ("shutil", "shlex"):
                sys.modules.pop(name, None)
            sys.meta_path.clear()
            flow.run({"question": "why"})
            assert flush(20) is True
            """,
            collector,
        )
        if server:
            assert SPANS == len(collector.spans())
        else:
            assert ["success"] == [run.status for run in Store(tmp_path / ".pocketflow" / "traces.db").runs()]


FORKED_BY_THREADS = """
import multiprocessing
import threading

from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

def job():
    trace_flow(Flow(start=Node())).run({})

def fork(hung):
    process = multiprocessing.get_context("fork").Process(target=job)
    process.start()
    process.join(10)  # imports what the first mark in a child needs as well
    if process.is_alive():
        hung.append(process)
        process.kill()

hung = []
threads = [threading.Thread(target=fork, args=(hung,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not hung
"""


@pytest.mark.parametrize("attempt", range(4))
def test_children_that_several_threads_fork_at_once(attempt, tmp_path):
    """What is imported in the parent just then is locked in the child for ever: what a first mark needs of it is there."""
    with Collector() as collector:
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORKED_BY_THREADS],
            cwd=tmp_path, env=environment(collector), check=True, timeout=60,
        )  # fmt: skip
    assert SPANS * 4 == len(collector.spans())
