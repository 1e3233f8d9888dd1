"""Signals and the handlers that a host has for them are its own, whatever we are doing when one comes."""

from __future__ import annotations

import _thread
import contextvars
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from drill import environment
from opentelemetry import context as otel_context

from pocketflow_tracing import _log, _threads
from pocketflow_tracing._threads import start_thread
from pocketflow_tracing.store.database import Database

SUPPRESSING = (otel_context._SUPPRESS_INSTRUMENTATION_KEY, otel_context._SUPPRESS_HTTP_INSTRUMENTATION_KEY)

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals of POSIX"),
]


@pytest.mark.parametrize("kind", ["Exception", "KeyboardInterrupt"])
@pytest.mark.parametrize("what", ["flow", "function", "sampled out"])
def test_a_storm_of_time_limits(kind, what, python):
    """Each one leaves the flow as itself, and none leaves a context of ours behind."""
    done = python(
        f"""
        import random, signal
        from opentelemetry import trace
        from pocketflow_tracing import current_trace_id, recorder

        class Limit({kind}):
            pass

        struck = []
        def limit(*_):
            struck.append(1)
            raise Limit

        flow = make_flow()
        run = trace_flow(lambda shared: flow.run(shared)) if {what == "function"} else flow.run
        run({{"question": "warm"}})
        signal.signal(signal.SIGALRM, limit)
        seen = 0
        while len(struck) < 400:
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.0015))
                while True:
                    run({{"question": "why"}})
            except Limit:
                seen += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert current_trace_id() is None
            assert not trace.get_current_span().get_span_context().is_valid
            assert recorder.current.get() is None
        assert seen == len(struck), (seen, len(struck))
        """,
        LANGFUSE_SAMPLE_RATE="0" if what == "sampled out" else "1",
    )
    assert "Traceback" not in done.stderr


def test_a_handler_that_flushes(python):
    """A handler may run flows and flush, also while the interrupted flow is waking the worker; its timeout holds."""
    done = python(
        """
        import random, signal

        flow = make_flow()
        flow.run({"question": "warm"})
        struck = []
        def handler(*_):
            struck.append(flush(timeout=0.2))
            flow.run({"question": "in the handler"})

        signal.signal(signal.SIGALRM, handler)
        while len(struck) < 200:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))
            for _ in range(5):
                flow.run({"question": "why"})
                flush(timeout=0.05)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("done")
        """,
        POCKETFLOW_TRACE_FLUSH_INTERVAL="0.001",
    )
    assert "done" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_host_that_waits_for_its_signals(python):
    """A signal that the host blocks and waits for comes to the host, and not to a thread of ours."""
    done = python(
        """
        import os, signal

        make_flow().run({"question": "why"})
        assert flush(5)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)
        print(signal.sigwait({signal.SIGTERM}).name)
        """,
    )
    assert "SIGTERM" in done.stdout


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no SIGPIPE there")
@pytest.mark.parametrize("setting", ["POCKETFLOW_TRACE_INPUTS", "OF_NOBODY"])
def test_a_line_of_ours_ends_no_program_that_dies_of_writing_to_nobody(setting, tmp_path):
    """Tools of the command line give SIGPIPE its default action; this one writes nothing, and nobody reads its stderr."""
    code = """
import signal
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
trace_flow(Flow(start=Node())).run({})
assert not signal.sigpending() and not signal.pthread_sigmask(signal.SIG_BLOCK, ())
print("done", flush=True)
"""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**environment(None), setting: "maybe"},
            stdout=subprocess.PIPE,
            stderr=write,
            check=False,
        )
    finally:
        os.close(write)
    assert (0, b"done\n") == (done.returncode, done.stdout)


def test_instrumentations_record_nothing_of_our_threads():
    """What we send and write is no part of the program: OpenTelemetry's instrumentations see the exporters' own mark."""
    seen = []
    thread = start_thread(
        lambda: seen.append([otel_context.get_value(key) for key in SUPPRESSING]),
        "test",
    )
    thread.wait(10)
    assert seen == [[True, True]]


def test_the_signals_of_a_host_whose_threads_are_none_stay_as_they_are(monkeypatch):
    """Under gevent a thread is a greenlet of the host's own, and may start another one before it has begun itself."""
    begun = _thread.start_new_thread

    def as_gevent(*args):
        return begun(*args)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    monkeypatch.setattr(_thread, "start_new_thread", as_gevent)
    masks = []
    thread = start_thread(lambda: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "ours")
    thread.wait(10)
    assert [before] == masks


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("which", ["thread", "line"])
def test_a_handler_that_strikes_while_signals_are_blocked(number, which, monkeypatch):
    """It runs within the very call, whose change stands then: the host gets its signals again all the same."""
    sigmask, calls = signal.pthread_sigmask, []

    def struck(how, signals):
        before = sigmask(how, signals)
        calls.append(how)
        if len(calls) == number:
            raise KeyboardInterrupt
        return before

    before = sigmask(signal.SIG_BLOCK, ())
    handler = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(_threads, "_sigmask", struck)
            patched.setattr(signal, "pthread_sigmask", struck)
            with pytest.raises(KeyboardInterrupt):
                if which == "thread":
                    start_thread(lambda: None, "ours")
                else:
                    with _log._without_sigpipe():
                        pass
        assert before == sigmask(signal.SIG_BLOCK, ())
    finally:
        sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGPIPE, handler)


def test_our_threads_take_over_no_context(monkeypatch):
    """Sentry hands its transaction on to every thread that is started, and its headers would go with our requests."""
    variable = contextvars.ContextVar("transaction", default=None)
    run = threading.Thread.run

    def handed_on(thread):
        variable.set("theirs")
        run(thread)

    monkeypatch.setattr(threading.Thread, "run", handed_on)
    seen = []
    start_thread(lambda: seen.append(variable.get()), "test").wait(10)
    assert seen == [None]


@pytest.mark.parametrize("comes", ["never", "late"])
def test_a_thread_that_is_struck_down_as_it_starts_is_not_waited_for(comes, monkeypatch):
    """CPython may let a time limit for the thread that starts it come out in the new one, which then never says that it runs."""
    go, ran, started, ended = threading.Event(), [], [], threading.Event()
    bootstrap = threading.Thread._bootstrap

    def struck(thread):
        if thread.name != "test":
            bootstrap(thread)
        elif comes == "late":
            go.wait(20)
            bootstrap(thread)
            ended.set()

    monkeypatch.setattr(threading.Thread, "_bootstrap", struck)
    monkeypatch.setattr(_threads, "_START_SECONDS", 0.01, raising=False)
    host = threading.Thread(target=lambda: started.append(start_thread(ran.append, "test", 1)), daemon=True)
    host.start()
    host.join(20)
    assert [None] == started
    go.set()
    assert comes == "never" or ended.wait(20)
    assert not ran


def test_the_store_is_opened_past_what_watches_sqlite(tmp_path, monkeypatch):
    """ddtrace and others put their own in the place of `sqlite3.connect`."""
    monkeypatch.setattr(sqlite3, "connect", None)
    database = Database(tmp_path / "traces.db")
    database.transaction(lambda _: None)
    database.close()


FORKS = """
import os, random, signal, time
from pocketflow_tracing.store import opened

class Limit(Exception):
    pass

def limit(*_):
    raise Limit

import sys
sys.unraisablehook = lambda unraisable: None  # Python says of each limit that strikes in a fork hook that it is ignored
flow = make_flow()
flow.run({"question": "warm"})
assert flush(10)
signal.signal(signal.SIGALRM, limit)
parent, ends = os.getpid(), time.monotonic() + 4
while time.monotonic() < ends:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.003))
        flow.run({"question": "why"})
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
    except Limit:
        pass
    finally:
        if os.getpid() != parent:  # the limit struck there first
            os._exit(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
for known in list(opened._databases):
    assert not known._lock._is_owned()
assert not opened._registry._is_owned()
assert flush(10)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_time_limits_around_forks_leave_no_lock_taken(python):
    """One may strike while the store is held for a fork: later forks do not wait, and what is recorded is written."""
    done = python(FORKS)
    assert "lost" not in done.stderr
