"""The Langfuse SDK and OpenTelemetry as a program finds them when it starts, and a server to send to."""

from __future__ import annotations

import langfuse
import pytest
from collector import Collector
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry import trace
from opentelemetry.util._once import Once

from pocketflow_tracing import _foreign, _sdk


def forget():
    """End every client and forget the process's tracer provider."""
    assert langfuse.Langfuse
    clients = [client for _, client in LangfuseResourceManager._instances.items()]
    providers = [*(client.tracer_provider for client in clients), trace._TRACER_PROVIDER]
    LangfuseResourceManager._instances = {}
    for client in clients:
        client.shutdown()
    for provider in {id(provider): provider for provider in providers if hasattr(provider, "shutdown")}.values():
        provider.shutdown()
    trace._TRACER_PROVIDER = None
    trace._TRACER_PROVIDER_SET_ONCE = Once()
    _foreign._watched.clear()


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


def client_of(collector):
    """What the SDK keeps of the client for a collector, None when there is none."""
    return _sdk.instances().get(collector.public_key)
