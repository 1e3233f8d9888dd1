"""A time limit that the host puts on its flow works, wherever in our code it strikes."""

from __future__ import annotations

import _thread
import ctypes
import decimal
import functools
import gc
import json
import pickle
import signal
import sqlite3
import struct
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pocketflow import Flow, Node

from pocketflow_tracing import (
    TracingConfig,
    _command,
    _forks,
    _machine,
    _settings_env,
    _settings_kinds,
    _system,
    _threads,
    _travelling,
    capture,
    capture_entries,
    capture_errors,
    recorder,
    trace_flow,
)
from pocketflow_tracing._guard import is_hosts
from pocketflow_tracing._queue import SpanQueue
from pocketflow_tracing._sdk import SdkClient
from pocketflow_tracing._sdk_ours import Way
from pocketflow_tracing._threads import start_thread
from pocketflow_tracing.frameworks import _phases, _retry, _visits
from pocketflow_tracing.frameworks import pocketflow as pocketflow_hooks
from pocketflow_tracing.sinks import _http
from pocketflow_tracing.store import StoreError
from pocketflow_tracing.store.database import Database


class OutOfTimeError(Exception):
    """The host's own."""


@pytest.mark.parametrize(
    "place",
    [(_visits.Visit, "_begin"), (recorder.Span, "__init__"), (_phases.Phase, "__init__"), (recorder.Span, "stop")],
)
def test_an_exception_of_a_signal_handler_reaches_the_host(place, monkeypatch):
    """A handler that raises while we are recording ends the flow, as it would without us."""
    cls, name = place
    original = getattr(cls, name)
    struck = []

    def limit(*_):
        raise OutOfTimeError

    def strikes(self, *args):
        if not struck:
            struck.append(True)
            signal.raise_signal(signal.SIGALRM)
        return original(self, *args)

    before = signal.signal(signal.SIGALRM, limit)
    monkeypatch.setattr(cls, name, strikes)
    try:
        with pytest.raises(OutOfTimeError):
            trace_flow(Flow(start=Node())).run({})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert recorder.current.get() is None


def test_a_time_limit_when_a_retry_has_been_saved(monkeypatch):
    """It leaves as itself also from the end of the retry loop."""
    original = _retry.Retry._settle

    def strikes(self, *args):
        signal.raise_signal(signal.SIGALRM)
        return original(self, *args)

    class Flaky(Node):
        def exec(self, prep_res):
            if self.cur_retry == 0:
                raise ValueError("once")

    before = signal.signal(signal.SIGALRM, strike)
    monkeypatch.setattr(_retry.Retry, "_settle", strikes)
    try:
        with pytest.raises(OutOfTimeError):
            trace_flow(Flow(start=Flaky(max_retries=2))).run({})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert recorder.current.get() is None


class Limit:
    """A handler that is no function."""

    def __call__(self, *_):
        raise TypeError("out of time")


def test_a_time_limit_in_the_middle_of_a_picture():
    """It ends the flow also where reading a value would else go on after an error."""
    before = signal.signal(signal.SIGALRM, strike)
    config = TracingConfig(serializers={Late: lambda late: signal.raise_signal(signal.SIGALRM)})
    try:
        with pytest.raises(OutOfTimeError):
            trace_flow(Flow(start=Node()), config=config).run({"late": Late()})
    finally:
        signal.signal(signal.SIGALRM, before)


def strike(*_):
    raise OutOfTimeError


class Late:
    """Something whose serializer runs out of time."""


@pytest.mark.parametrize("handler", [Limit(), functools.partial(Limit.__call__, Limit()), Limit().__call__])
def test_a_handler_of_any_shape(handler, monkeypatch):
    """What a callable object, a partial or a bound method raises as a handler is the host's, whatever its class."""
    original = recorder.Span.stop
    struck = []

    def strikes(self, *args):
        if not struck:
            struck.append(True)
            signal.raise_signal(signal.SIGALRM)
        return original(self, *args)

    before = signal.signal(signal.SIGALRM, handler)
    monkeypatch.setattr(recorder.Span, "stop", strikes)
    try:
        with pytest.raises(TypeError, match="out of time"):
            trace_flow(Flow(start=Node())).run({})
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("place", [(_visits.Visit, "__init__"), (_phases.Phase, "done"), (capture.Capture, "snapshot")])
def test_an_exception_that_another_thread_sets(place, monkeypatch):
    """A limit that sets an exception in the thread of the flow ends the flow, also when that happens to be in our code."""
    cls, name = place
    original = getattr(cls, name)
    struck = []

    def strikes(*args, **kwargs):
        result = original(*args, **kwargs)
        if not struck:
            struck.append(True)
            from_another_thread(OutOfTimeError)
        return result

    monkeypatch.setattr(cls, name, strikes)
    monkeypatch.setattr(
        "pocketflow_tracing._guard._PACKAGE", str(Path(__file__).parent)
    )  # `strikes` counts as our code
    with pytest.raises(OutOfTimeError):
        trace_flow(Flow(start=Node())).run({"a": 1})
    assert recorder.current.get() is None


def _number():
    return 1


def once_plain(number, interrupted):
    signal.signal(number, signal.SIG_DFL)
    raise RuntimeError("out of time")


def once_starred(*about):
    signal.signal(about[0], signal.SIG_DFL)
    raise RuntimeError("out of time")


class Once:
    def __call__(self, number, _):
        signal.signal(number, signal.SIG_DFL)
        raise RuntimeError("out of time")


@pytest.mark.parametrize(
    "handler", [once_plain, once_starred, Once(), Once().__call__, functools.partial(once_starred)]
)
@pytest.mark.parametrize("place", [(recorder.Span, "stop"), (_phases.Phase, "__init__"), (capture_entries, "islice")])
def test_a_handler_that_is_gone_when_what_it_raised_arrives(handler, place, monkeypatch):
    """One that takes itself away before it raises is told by what it was called with."""
    holder, name = place
    original = getattr(holder, name)
    struck = []

    def strikes(*args):
        if not struck:
            struck.append(True)
            signal.raise_signal(signal.SIGALRM)
        return original(*args)

    before = signal.signal(signal.SIGALRM, handler)
    monkeypatch.setattr(holder, name, strikes)
    try:
        with pytest.raises(RuntimeError, match="out of time"):
            trace_flow(Flow(start=Node())).run({"set": {1, 2}})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert recorder.current.get() is None
    assert struck


@pytest.mark.parametrize("event", ["call", "line", "return"])
@pytest.mark.parametrize("function", ["stop", "snapshot", "weigh"])
def test_a_trace_function_that_raises(function, event):
    """A limit by `sys.settrace`, and `q` in a debugger, end the flow also where they strike in our code."""
    before = sys.gettrace()

    def trace(frame, what, _):
        if frame.f_code.co_name == function and "pocketflow_tracing" in frame.f_code.co_filename and what == event:
            raise OutOfTimeError
        return trace

    class Answers(Node):
        def exec(self, prep_res):
            return [{"a": [1]}]

    flow = trace_flow(Flow(start=Answers()))
    sys.settrace(trace)
    try:
        with pytest.raises(OutOfTimeError):
            flow.run({"a": [1]})
    finally:
        sys.settrace(before)
    assert recorder.current.get() is None


class JobTimeoutError(Exception):
    """One that says how long it has been, as those of job queues do."""

    __module__ = "jobs.timeouts"

    def __init__(self):
        super().__init__("10 s")


@pytest.mark.parametrize("error", [RuntimeError, TimeoutError, InterruptedError, OutOfTimeError, JobTimeoutError])
@pytest.mark.parametrize("value", [Path("a"), {"in": [Path("a")]}, ValueError(1, Path("a"))])
def test_an_exception_that_another_thread_sets_while_a_library_is_asked(error, value, monkeypatch):
    """It leaves also where it strikes in code of others that a picture calls, and whatever its class."""
    original = PurePath.__str__

    def strikes(path):
        from_another_thread(error)
        return original(path)

    class Fails(Node):
        def exec(self, prep_res):
            raise ValueError(1, Path("a"))

        def exec_fallback(self, prep_res, exc):
            return None

    monkeypatch.setattr(PurePath, "__str__", strikes)
    with pytest.raises(error):
        trace_flow(Flow(start=Node())).run({"value": value})
    with pytest.raises(error):
        trace_flow(Flow(start=Fails())).run({})
    assert recorder.current.get() is None


def from_another_thread(error):
    thread = ctypes.c_ulong(threading.get_ident())
    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(error))
    for _ in range(100):  # it is raised at one of the next instructions, here
        _number()


@pytest.mark.parametrize("error", [RuntimeError, ValueError, InterruptedError, OutOfTimeError, JobTimeoutError])
def test_an_error_that_nobody_raised_is_of_another_thread(error):
    """No `raise` stands where it came up, and it has no message, which what comes out of C has, or is a stranger."""
    assert is_hosts(raised(lambda: from_another_thread(error)))
    assert not is_hosts(raised(lambda: throw(error())))
    assert not is_hosts(raised(lambda: [].pop()))
    assert not is_hosts(raised(lambda: decimal.Decimal("sNaN").normalize()))
    assert not is_hosts(raised(lambda: np.array([[1], [2]]).sum(axis=5)))
    assert not is_hosts(raised(lambda: np.array([1, "a"], dtype=object).astype("m8[s]")))
    assert not is_hosts(raised(lambda: pd.Index([1, 2]).get_loc(3)))


def test_an_error_that_comes_up_before_the_first_instruction():
    """There Python 3.10 raises what another thread has set; later it is where compiled code stands."""
    trace = types.TracebackType(None, sys._getframe(), -2, 1)
    assert is_hosts(RuntimeError().with_traceback(trace)) is (sys.version_info < (3, 11))


def test_a_time_limit_while_an_error_is_described(monkeypatch):
    """A picture of an exception that cannot be taken is a remark, unless what went wrong is that time is up."""
    original = capture_errors._frames

    def strikes(*args):
        signal.raise_signal(signal.SIGALRM)
        return original(*args)

    class Fails(Node):
        def exec(self, prep_res):
            raise ValueError("bad row")

    before = signal.signal(signal.SIGALRM, strike)
    monkeypatch.setattr(capture_errors, "_frames", strikes)
    try:
        with pytest.raises(OutOfTimeError):
            trace_flow(Flow(start=Fails())).run({})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert recorder.current.get() is None


@pytest.mark.parametrize(
    ("asked", "name", "asks", "kind"),
    [
        (_system, "here", _settings_env.find_env_file, TimeoutError),
        (_system, "absolute", TracingConfig(store="traces.db").store_path, TimeoutError),
        (_system, "_stat", lambda: _system.identity("traces.db"), TimeoutError),
        (_command, "_command", _command.command, TimeoutError),
        (_machine, "gethostname", _machine.machine, TimeoutError),
        (pocketflow_hooks, "twins", pocketflow_hooks.why_not, TimeoutError),
        (_http, "Client", _http.preload.__wrapped__, TimeoutError),
        (pickle, "dumps", lambda: _travelling.taken_along(TracingConfig(mask=print).resolved()), TimeoutError),
        (_threads.OwnThread, "__init__", lambda: start_thread(print, "a thread"), RuntimeError),
        (
            _settings_kinds,
            "shown",
            lambda: _settings_kinds.Kind("any", lambda value: _settings_kinds.shown(value)).read(1),
            ValueError,
        ),
    ],
)
def test_a_time_limit_where_what_goes_wrong_is_passed_over(asked, name, asks, kind, monkeypatch):
    """TimeoutError is an OSError, and one of a file that cannot be read is none of the host's; so with other kinds."""

    def limit(*_):
        raise kind("out of time")

    def strikes(*_):
        signal.raise_signal(signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, limit)
    monkeypatch.setattr(pocketflow_hooks, "_twin_at", {})
    monkeypatch.setattr(asked, name, strikes)
    try:
        with pytest.raises(kind):
            asks()
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "fails",
    [
        lambda: throw(StoreError("the store is locked")),
        lambda: throw(StoreError()),
        lambda: struct.pack("<Q", -1),
        lambda: sqlite3.connect("/no/such/directory/traces.db"),
        lambda: throw(json.JSONDecodeError("no JSON", "", 0)),
        lambda: "\ud800".encode(),
    ],
)
def test_an_error_of_what_we_call_is_ours(fails, monkeypatch):
    """Classes of this package and of the standard library are raised here, with a word of what is wrong."""
    monkeypatch.setattr("pocketflow_tracing._guard._PACKAGE", str(Path(__file__).parent))  # these count as our code
    assert not is_hosts(raised(fails))


def struck():
    """Fail with an exception that comes out of nowhere."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), ctypes.py_object(OutOfTimeError))
    for _ in range(100):
        _number()


def test_nothing_of_the_hosts_strikes_on_our_threads(monkeypatch):
    """Whatever fails there is ours, of any class."""
    monkeypatch.setattr("pocketflow_tracing._guard._PACKAGE", str(Path(__file__).parent))
    told = []
    start_thread(lambda: told.append(is_hosts(raised(struck))), "ours").join(10)
    assert told == [False]
    assert is_hosts(raised(struck))


def test_an_error_of_our_own_is_told_without_asking_every_signal(monkeypatch):
    """A value of hundreds of unreadable objects would else take 40 ms."""
    monkeypatch.setattr("signal.getsignal", lambda _: pytest.fail("asked"))
    released = memoryview(b"x")
    released.release()
    shown = capture.snapshot([released] * 3)
    assert all(item.fields == {"unreadable": "ValueError"} for item in shown)


def test_what_a_function_of_the_users_raises_from_c_is_no_time_limit():
    """A serializer may be a function of a library that raises the library's own errors, without a frame of its own."""
    config = TracingConfig(serializers={decimal.Decimal: decimal.Decimal.normalize})
    trace_flow(Flow(start=Node()), config=config).run({"number": decimal.Decimal("sNaN")})

    def looks(_):
        caller = sys._getframe(1)
        raise ValueError(caller.f_code.co_name)

    config = TracingConfig(serializers={decimal.Decimal: looks})
    trace_flow(Flow(start=Node()), config=config).run({"number": decimal.Decimal(1)})


def throw(error):
    raise error


def raised(function):
    try:
        function()
    except Exception as error:
        return error


@pytest.mark.parametrize("kind", ["serializer", "session_id"])
def test_a_limit_of_another_thread_in_a_function_of_the_users(kind):
    """It comes out of nowhere, also where a function is called for the tracer, which may else raise what it likes."""

    def strikes(_):
        struck()
        return "never"

    config = TracingConfig(serializers={Late: strikes}) if kind == "serializer" else None
    flow = trace_flow(Flow(start=Node()), config=config, session_id=strikes if kind == "session_id" else None)
    with pytest.raises(OutOfTimeError):
        flow.run({"late": Late()})
    assert recorder.current.get() is None


class StrikesOnReturn:
    """Raises, as a signal handler may, right behind the given return from a function in C in some code of ours."""

    def __init__(self, *codes: types.CodeType) -> None:
        self.codes = codes
        self.left = 0
        self.seen = 0

    def __call__(self, frame: types.FrameType, event: str, _arg: object) -> None:
        if event == "c_return" and frame.f_code in self.codes:
            self.seen += 1
            self.left -= 1
            if self.left == 0:
                raise OutOfTimeError

    def until(self, number: int, call: Callable[[], Any]) -> bool:
        """Call a function with a strike at the return of that number; False when there are not so many."""
        self.left = number
        sys.setprofile(self)
        try:
            call()
        except OutOfTimeError:
            return True
        finally:
            sys.setprofile(None)
        return False


def test_a_time_limit_while_room_is_made():
    """It leaves the queue to the worker: with its lock kept nothing would be delivered any more, and nothing be bounded."""
    strikes = StrikesOnReturn(SpanQueue._make_room.__code__, SpanQueue._drop.__code__)
    number = 1
    while True:
        queue = SpanQueue(lambda: None)
        queue.most_spans = 1
        for _ in range(3):
            queue._items.append(
                types.SimpleNamespace(parent=None, special=True, run=types.SimpleNamespace(dropped=False))
            )
        if not strikes.until(number, queue._make_room):
            break
        assert not queue._taking.locked()
        number += 1
    assert number > 3


def test_a_time_limit_while_a_visit_notes_what_changed(tmp_path, monkeypatch):
    """It leaves the turn to the visits that come."""
    strikes = StrikesOnReturn(_visits.Visit._note_changes.__code__)
    found = []
    original = _visits.Visit._note_changes

    def note(self, run, state):
        try:
            if len(found) == 0:
                strikes.left, strikes.seen = note.number, 0
                sys.setprofile(strikes)
            original(self, run, state)
        finally:
            sys.setprofile(None)
            found.append(dict(state.turn))

    monkeypatch.setattr(_visits.Visit, "_note_changes", note)
    flow = trace_flow(Flow(start=Node()), config=TracingConfig(store=str(tmp_path / "traces.db")))
    for number in range(1, 10):
        note.number = number
        found.clear()
        try:
            flow.run({"a": 1})
        except OutOfTimeError:
            assert all(turn == {} for turn in found)
            continue
        break
    assert number > 1


def test_a_time_limit_right_behind_the_call_that_keeps_forks_away(monkeypatch):
    """The lock is given back: other threads, and ours, would wait for it at each import."""

    class Strikes:
        def __init__(self):
            self.lock = _thread.RLock()
            self.release, self._is_owned = self.lock.release, self.lock._is_owned

        def acquire(self, timeout):
            self.lock.acquire()
            raise OutOfTimeError

    lock = Strikes()
    monkeypatch.setattr(_forks, "_lock", lock)
    with pytest.raises(OutOfTimeError), _forks.unforked():
        pass
    assert not lock._is_owned()
    lock.acquire = lambda timeout: lock.lock.acquire()
    with _forks.unforked():
        with _forks.unforked():
            assert lock._is_owned()
        assert lock._is_owned()
    assert not lock._is_owned()


@pytest.mark.parametrize("number", [2, 3])
def test_a_time_limit_right_before_forks_may_begin_again(number, monkeypatch):
    """Likewise."""
    taken = _thread.RLock()
    looks = []

    class Strikes:
        acquire, release = taken.acquire, taken.release

        def _is_owned(self):
            looks.append(taken._is_owned())
            if len(looks) == number:
                raise OutOfTimeError
            return looks[-1]

    monkeypatch.setattr(_forks, "_lock", Strikes())
    with pytest.raises(OutOfTimeError), _forks.unforked():
        pass
    assert not taken._is_owned()


def test_the_collector_runs_no_code_of_ours_where_it_frees_a_flow(records):
    """A signal that came meanwhile would be handled there, and what its handler raises be lost."""

    def request():
        class Value:
            pass

        @trace_flow(config=TracingConfig(store="off"))
        class Agent(Flow):
            pass

        @trace_flow(config=TracingConfig(store="off"), session_id=lambda _: Told)
        class Told(Flow):
            pass

        class Ask(Node):
            def post(self, shared, prep_res, exec_res):
                shared["value"] = Value()
                return "end"

        ask = Ask()
        ask - "again" >> ask
        ask - "end" >> Node()
        Agent(start=ask).run({})
        Told(start=ask).run({})
        trace_flow(Flow(start=ask), config=TracingConfig(store="off")).run({})
        trace_flow(Flow(start=ask)).run({})

    called = []
    ours = str(Path(recorder.__file__).parent)

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(ours):  # hypothesis has a callback of its own
            called.append(frame.f_code.co_name)

    request()
    records.clear()
    gc.collect()
    request()
    records.clear()
    sys.setprofile(note)
    try:
        gc.collect()
    finally:
        sys.setprofile(None)
    assert [] == called


@pytest.mark.parametrize("of", ["a database", "an SDK client"])
def test_no_function_of_pythons_is_called_when_a_first_run_that_was_cut_short_is_let_go_of(of, tmp_path):
    """What the next time limit raised in it would be lost: Python prints what a callback of a weak reference raises."""
    if of == "a database":
        made = Database(tmp_path / "traces.db")
    else:
        way = Way(submit=print, drop=print, settle=bool, wake=print)
        made = SdkClient(TracingConfig(langfuse_public_key="pk", langfuse_secret_key="sk").resolved(), way)
    callbacks = [reference.__callback__ for reference in weakref.getweakrefs(made)]
    assert callbacks
    assert all(isinstance(callback, types.BuiltinFunctionType) for callback in callbacks)
