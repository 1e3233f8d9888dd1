"""What the Langfuse SDK and OpenTelemetry keep for a whole process."""

from __future__ import annotations

from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry import trace
from opentelemetry.util._once import Once

from pocketflow_tracing import _external, _sdk


def forget():
    """End every client and forget the process's tracer provider.

    The SDK's `shutdown` leaves the client's connections to the server open; a test closes them, or they end as a
    ResourceWarning in whichever test the next collection falls into.
    """
    clients = [client for _, client in LangfuseResourceManager._instances.items()]
    providers = [*(client.tracer_provider for client in clients), trace._TRACER_PROVIDER]
    LangfuseResourceManager._instances = {}
    for client in clients:
        client.shutdown()
        client.httpx_client.close()
    for provider in {id(provider): provider for provider in providers if hasattr(provider, "shutdown")}.values():
        provider.shutdown()
    trace._TRACER_PROVIDER = None
    trace._TRACER_PROVIDER_SET_ONCE = Once()
    _external._watched.clear()


def client_of(collector):
    """What the SDK keeps of the client for a collector, None when there is none."""
    return _sdk.instances().get(collector.public_key)
