"""What `flush` and `shutdown` answer."""

from __future__ import annotations

import threading

import pytest
from kit import Raising, Records, use
from pocketflow import Flow, Node

from pocketflow_tracing import _queue, trace_flow
from pocketflow_tracing._threads import Wake
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


def test_a_worker_that_ends_before_it_is_waited_for_has_delivered(records, monkeypatch):
    """It has let go of its thread by then, which does not mean that there never was one."""
    use(records)
    trace_flow(Flow(start=Node())).run({})
    rouse = delivery._rouse

    def roused():
        rouse()
        worker = delivery._thread
        ended = monotonic() + 10
        while worker is not None and delivery._thread is worker and monotonic() < ended:
            threading.Event().wait(0.001)

    monkeypatch.setattr(_queue, "Wake", Late)
    monkeypatch.setattr(delivery, "_rouse", roused)
    assert delivery.shutdown(10)


@pytest.mark.absorbs
def test_no_error_of_a_sink_ends_the_worker(monkeypatch):
    """The host's hook for errors of threads never hears of it, and flush tells that something is missing, once."""
    heard = []
    monkeypatch.setattr(threading, "excepthook", heard.append)
    sink = use(Records())
    monkeypatch.setattr(sink, "accept", refuse)
    trace_flow(Flow(start=Node())).run({})
    worker = delivery._thread
    assert delivery.flush(10) is False
    assert delivery.flush(10) is True
    assert delivery._thread is worker
    assert worker.is_alive()
    assert heard == []


def refuse(*_):
    raise StoreError("a class of ours")


@pytest.mark.absorbs
def test_a_sink_that_fails_is_asked_again_after_a_pause():
    """Without one the worker would ask it for ever; the others are asked all the same."""
    made = Delivery()
    made._sinks = [Raising(), Records(), Raising()]
    assert made._tick() == [1.0, 1.0]


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
