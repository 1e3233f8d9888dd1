"""What `flush` and `shutdown` answer."""

from __future__ import annotations

import threading

from kit import use
from pocketflow import Flow, Node

from pocketflow_tracing import _queue, trace_flow
from pocketflow_tracing._threads import Wake
from pocketflow_tracing._time import monotonic
from pocketflow_tracing.delivery import delivery


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
