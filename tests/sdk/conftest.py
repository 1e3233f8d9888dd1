"""The Langfuse SDK and OpenTelemetry as a program finds them when it starts, and a server to send to."""

from __future__ import annotations

import pytest
from collector import Collector
from sdk_state import forget


@pytest.fixture(autouse=True)
def fresh_sdk(fresh_delivery):
    """No client and no tracer provider of another test."""
    forget()
    yield
    forget()


@pytest.fixture
def collector(fresh_sdk):
    """A Langfuse server; it outlives the clients that send to it."""
    with Collector() as collector:
        yield collector
        forget()


@pytest.fixture
def keys(collector, monkeypatch):
    """The collector's keys and address in the environment."""
    for name, value in collector.environ.items():
        monkeypatch.setenv(name, value)
    return collector.environ
