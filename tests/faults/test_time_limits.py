"""A time limit that the host puts on its flow works, wherever in our code it strikes."""

from __future__ import annotations

import signal

import pytest
from pocketflow import Flow, Node

from pocketflow_tracing import recorder, trace_flow
from pocketflow_tracing.frameworks import _phases, _visits


class OutOfTimeError(Exception):
    """The host's own."""


@pytest.mark.parametrize(
    "place", [(_visits.Visit, "begin"), (_phases.Phase, "begin"), (recorder.Span, "stop"), (_phases.Phase, "finish")]
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
