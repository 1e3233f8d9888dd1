"""What `flush` and `shutdown` answer."""

from __future__ import annotations

import gc
import os
import threading

import pytest
from kit import Raising, Records, use
from pocketflow import Flow, Node

from pocketflow_tracing import TracingConfig, _queue_items, _uses, _worker, trace_flow
from pocketflow_tracing._queue_line import Line
from pocketflow_tracing._threads import OwnLock, Wake, start_thread
from pocketflow_tracing._time import monotonic
from pocketflow_tracing.delivery import Delivery, delivery
from pocketflow_tracing.store import StoreError


class Late:
    """A wake that the worker sets only once somebody waits for it."""

    def __init__(self):
        self._wake = Wake()
        self._waited = threading.Event()

    def set(self):
        self._waited.wait(10)
        self._wake.set()

    def wait(self, timeout=None):
        self._waited.set()
        return self._wake.wait(timeout)


def test_a_timeout_that_is_no_number(records):
    """It is said, and another one is taken, whatever it is."""
    trace_flow(Flow(start=Node())).run({})
    assert delivery.flush(timeout=type("Bad", (), {"__repr__": lambda self: 1 / 0})()) is True


def test_a_worker_that_ends_before_it_is_waited_for_has_delivered(records, monkeypatch):
    """It has let go of its thread by then, which does not mean that there never was one."""
    use(records)
    trace_flow(Flow(start=Node())).run({})
    rouse = delivery._worker.rouse

    def roused():
        rouse()
        worker = delivery._worker._thread
        ended = monotonic() + 10
        while worker is not None and delivery._worker._thread is worker and monotonic() < ended:
            threading.Event().wait(0.001)

    monkeypatch.setattr(_queue_items, "Wake", Late)
    monkeypatch.setattr(delivery._worker, "rouse", roused)
    assert delivery.shutdown(10)


@pytest.mark.absorbs
def test_no_error_of_a_sink_ends_the_worker(monkeypatch):
    """The host's hook for errors of threads never hears of it, and flush tells that something is missing, once."""
    heard = []
    monkeypatch.setattr(threading, "excepthook", heard.append)
    sink = use(Records())
    monkeypatch.setattr(sink, "accept", refuse)
    trace_flow(Flow(start=Node())).run({})
    worker = delivery._worker._thread
    assert delivery.flush(10) is False
    assert delivery.flush(10) is True
    assert delivery._worker._thread is worker
    assert worker.is_alive()
    assert heard == []


def refuse(*_):
    raise StoreError("a class of ours")


@pytest.mark.absorbs
def test_a_sink_that_fails_is_asked_again_after_a_pause():
    """Without one the worker would ask it for ever; the others are asked all the same."""
    made = Delivery()
    made._sinks[:] = [Raising(), Records(), Raising()]
    assert made._sinks.tick() == [1.0, 1.0]


def test_each_thread_is_told_of_what_was_lost():
    """Once, and whichever of them recorded it: another thread's flush takes nothing away."""
    sink = use(Records())
    trace_flow(Flow(start=Node())).run({})
    assert delivery.flush(10)
    sink.lost = 3
    heard = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: heard.append([delivery.flush(10), delivery.flush(10)]))
        thread.start()
        thread.join()
    assert [delivery.flush(10), delivery.flush(10)] == [False, True]
    assert heard == [[False, True]] * 2


class Leaving(Records):
    """A sink that can be let go of, and has lost something by the time it is closed."""

    done_with = True
    closed = 0

    def is_done(self):
        return self.done_with

    def close(self, deadline, answers_by):
        self.closed += 1
        return False


class User:
    """A pipeline, as far as sinks know one."""


def test_a_sink_is_let_go_of_without_users_and_done_and_what_it_lost_is_told(monkeypatch):
    """Not before it has rested; the next flush is False, and the one after it True."""
    now = [0.0]
    monkeypatch.setattr(_uses, "monotonic", lambda: now[0])
    made, sink, user, always = Delivery(), Leaving(), User(), Records()
    made.add_sink(sink)
    made.add_sink(always)  # nobody was ever said to use it
    made.use(sink, user)
    assert made._sinks.tick() == []
    del user
    sink.done_with = False
    assert made._sinks.tick() == []
    sink.done_with = True
    assert made._sinks.tick() == [_uses._REST_SECONDS]
    now[0] += _uses._REST_SECONDS - 1
    assert made._sinks.tick() == [1.0]
    made._sinks.uses.had(sink)  # something came
    assert made._sinks.tick() == [_uses._REST_SECONDS]
    assert sink.closed == 0
    now[0] += _uses._REST_SECONDS
    assert made._sinks.tick() == []
    assert sink.closed == 1
    assert made._sinks == [always]
    assert made.flush(1) is False
    assert made.flush(1) is True


def test_a_sink_that_is_let_go_of_before_it_is_started_is_not_started(monkeypatch):
    """Nobody would end its thread."""
    started = []

    class Idle(Leaving):
        def start(self):
            started.append(self)

    monkeypatch.setattr(_uses, "_REST_SECONDS", 0.0)
    made, sink, user = Delivery(), Idle(), User()
    made._sinks.append(sink)
    made.use(sink, user)
    del user
    gc.collect()
    made._sinks.hand_on(monotonic() + 1)
    made._sinks.start()
    assert ([], []) == (made._sinks, started)


def test_what_a_sink_has_lost_is_told_once_however_often_it_comes_and_goes(monkeypatch):
    """A service may make the flow of a tenant anew for each request."""
    monkeypatch.setattr(_uses, "_REST_SECONDS", 0.0)
    made, sink = Delivery(), Leaving()
    sink.close = lambda deadline, answers_by: True
    made.add_sink(sink)
    made.use(sink, User())
    sink.lost = 5
    assert made.flush(5) is False
    for _ in range(3):
        made._sinks.tick()
        assert [] == made._sinks
        assert 5 == made._sinks.lost
        assert made.flush(5) is True
        made.add_sink(sink)
        made.use(sink, User())
        assert 5 == made._sinks.lost


def test_of_many_sinks_that_rest_the_first_go_at_once():
    """However long the last have rested."""
    made, sinks = Delivery(), [Leaving() for _ in range(_uses._MOST_RESTING + 5)]
    for sink in sinks:
        made.add_sink(sink)
        made.use(sink, User())
    made._sinks.tick()
    assert made._sinks == sinks[5:]
    assert [sink.closed for sink in sinks] == [1] * 5 + [0] * _uses._MOST_RESTING


def test_a_sink_that_is_given_something_after_all_is_asked_again():
    """A run may begin just when its sink is let go of."""
    sink, user = use(Leaving()), User()
    delivery.use(sink, user)
    delivery._sinks.remove(sink)
    flow = trace_flow(Flow(start=Node()))
    flow.run({})
    assert delivery.flush(10)
    assert sink in delivery._sinks
    assert len(sink.done) == 5


def test_a_flush_on_our_own_thread_waits_for_nobody():
    """A log handler or a mask of the host's may flush: on the worker it would wait for itself."""

    class Flushing(Records):
        answers = ()

        def accept(self, runs, spans, done):
            super().accept(runs, spans, done)
            self.answers += (delivery.flush(20),)

    sink = use(Flushing())
    trace_flow(Flow(start=Node())).run({})
    began = monotonic()
    assert delivery.flush(20)
    assert monotonic() - began < 10
    assert set(sink.answers) == {False}


def test_what_a_sink_lost_that_was_let_go_of_is_told_where_no_sink_is_left():
    """The last one may have gone."""
    made = Delivery()
    made._sinks._lost = 2
    assert [made.flush(1), made.flush(1)] == [False, True]


def test_sinks_are_started_on_the_worker_before_the_host_goes_on(monkeypatch):
    """A signal handler that flushed would else wait for a lock that the code it interrupts holds while it starts a thread."""
    on = []

    class Started(Records):
        def start(self):
            on.append(threading.current_thread().name)

    made = Delivery()
    monkeypatch.setattr(made, "_at_exit_registered", True)
    made.add_sink(Started())
    made.ready()
    assert ["pocketflow-tracing"] == on
    made.add_sink(Started())
    assert made.shutdown(10)
    assert ["pocketflow-tracing"] * 2 == on


def test_a_time_limit_within_the_start_of_the_worker_leaves_nothing_behind(monkeypatch):
    """The next record starts it."""
    worker = _worker.Worker(delivery._sinks, lambda: None)

    def strikes():
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_worker, "Wake", strikes)
        with pytest.raises(KeyboardInterrupt):
            worker.start()
    started = []
    monkeypatch.setattr(_worker, "start_thread", lambda *_: started.append(True))
    worker.start()
    assert [True] == started


def test_a_flush_from_within_the_start_of_the_worker_is_not_waited_for(monkeypatch):
    """A signal handler may flush there: the worker that would answer may not run before the handler returns."""
    answers = []

    def start(*args):
        answers.append(made.flush(60))
        return start_thread(*args)

    made = Delivery()
    monkeypatch.setattr(made, "_at_exit_registered", True)
    made.add_sink(Records())
    monkeypatch.setattr(_worker, "start_thread", start)
    began = monotonic()
    made.ready()
    assert [False] == answers
    assert monotonic() - began < 30
    assert made.shutdown(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_lock_of_the_parent_is_free_in_a_forked_child():
    """Also where another thread of the parent holds it; who holds it himself gives it back in both."""
    lock, held, done = OwnLock(), threading.Event(), threading.Event()

    def hold():
        with lock():
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if lock().acquire(blocking=False) else 1)
    done.set()
    holder.join()
    assert os.waitpid(pid, 0)[1] == 0
    with lock():
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_sink_with_more_to_do_does_not_wait_for_a_batch_to_gather(fresh_delivery, monkeypatch):
    """Spans that keep coming while it is at it would else cost it the interval each time."""

    class Steady(Records):
        left = 200
        done_all = threading.Event()

        def tick(self):
            self.left -= self.left > 0
            delivery.queue.put_other(_queue_items.External(None, str, 0))  # something comes meanwhile
            if not self.left:
                self.done_all.set()
                return None
            return 0.0

    sink = use(Steady())
    monkeypatch.setattr(delivery._worker, "interval", 5.0)
    monkeypatch.setattr(_worker.Worker, "_deliver", lambda worker, batch: None)
    delivery.rouse(sink)
    assert sink.done_all.wait(20)
    sink.tick = lambda: None


def test_a_line_is_read_while_others_append():
    """At the end of the process threads of the host's may still record."""
    line = Line()
    line.append(1)
    line.look_anew()
    line.look(1, lambda _: True)
    line.append(2)
    for item in line:
        line.append(item)
    assert [1, 2, 1, 2] == list(line)


@pytest.mark.parametrize("where", ["langfuse", "local"])
def test_a_time_limit_while_a_sink_is_made_known_leaves_none_that_is_not(where, monkeypatch, tmp_path):
    """The next flow makes one anew, which flush and the end of the process know of."""
    from pocketflow_tracing.sinks import langfuse, local

    config = TracingConfig(langfuse_public_key="pk", langfuse_secret_key="sk", store="off").resolved()

    def opened():
        return langfuse.open_sink(config) if where == "langfuse" else local.open_sink(str(tmp_path / "t.db"), config)

    def strikes(sink):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(delivery, "add_sink", strikes)
        with pytest.raises(KeyboardInterrupt):
            opened()
    assert opened() in delivery._sinks
