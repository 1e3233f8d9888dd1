"""The Langfuse SDK in this process: the client that generations inside nodes go through.

A client that the user made for the same project is theirs: it is used, its mask is honoured, it is never shut down. Where
there is none, one is made, with an exporter that leads into our delivery, so that generations are as safe from outages as
the spans around them. langfuse is only imported on the caller's path when the program has imported it already.
"""

from __future__ import annotations

import atexit
import gzip
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ._guard import Seam
from .config import TracingConfig

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExportResult

_FLUSHING = Seam("flushing the Langfuse client")

LOCAL_KEY = "pocketflow-tracing-local"
"""Public key of the client that stands in where there are no credentials; nothing of it leaves the process."""


def imported() -> bool:
    """Whether the program has imported langfuse, and to the end.

    We never import it ourselves while the program runs: importing the same packages in two threads at once can deadlock, and
    Python would then break the import of the program.
    """
    module = sys.modules.get("langfuse")
    return module is not None and not getattr(module.__spec__, "_initializing", False)


def instances() -> dict[str, Any]:
    """The clients of this process by public key; empty when langfuse has not been imported."""
    if not imported():
        return {}
    manager = sys.modules.get("langfuse._client.resource_manager")
    found: dict[str, Any] = getattr(getattr(manager, "LangfuseResourceManager", None), "_instances", {})
    return found


class SdkClient:
    """The SDK client of one project: the user's, or one of ours.

    Args:
        config: resolved, with both keys.
        submit: takes (gzip of an OTLP request, number of spans) of what our client exports.
    """

    def __init__(self, config: TracingConfig, submit: Callable[[bytes, int], None]) -> None:
        self._config = config
        self._submit = submit
        self._lock = threading.Lock()
        self._ours: Any = None
        self.ready = False
        self.wanted = False  # whether the worker is to make the client

    @property
    def _resources(self) -> Any:
        return instances().get(str(self._config.langfuse_public_key))

    @property
    def mask(self) -> Callable[..., Any] | None:
        """The mask of the user's client, None when there is none."""
        resources = self._resources
        return None if resources is None or self._ours is not None else resources.mask

    def prepare(self) -> None:
        """Have a client ready before user code asks for one, without making the caller wait where that can be avoided.

        With the keys in the environment, the SDK makes the same client by itself, whoever comes first: the worker makes it.
        Keys that stand only in `.env` or in the config are unknown to the SDK, so the client must be there beforehand.
        """
        if self._resources is not None:
            self.ready = True
        elif imported():
            if self._in_environment():
                self.wanted = True
            else:
                self._create()

    def create_in_background(self) -> None:
        """Make the client, on the worker, if a run has asked for it."""
        if self.wanted and not self.ready:
            self.wanted = False
            self._create()

    def abandon(self) -> None:
        """Forget a lock that another thread may have held when this process was forked."""
        self._lock = threading.Lock()

    def flush(self, deadline: float) -> bool:
        """Have the client export what it holds."""
        resources = self._resources
        if resources is None:
            return True
        with _FLUSHING:
            flushed = True
            for processor in _processors(resources):
                left = max(1, int((deadline - time.monotonic()) * 1000))
                flushed = processor.force_flush(left) and flushed
            return flushed
        return False

    def _in_environment(self) -> bool:
        environ = os.environ
        host = environ.get("LANGFUSE_BASE_URL") or environ.get("LANGFUSE_HOST") or "https://cloud.langfuse.com"
        config = self._config
        return (environ.get("LANGFUSE_PUBLIC_KEY"), environ.get("LANGFUSE_SECRET_KEY"), host.rstrip("/")) == (
            config.langfuse_public_key,
            config.langfuse_secret_key,
            config.langfuse_host.rstrip("/"),
        )

    def _create(self) -> None:
        with self._lock:
            if self._resources is not None:
                self.ready = True
                return
            from langfuse import Langfuse  # noqa: PLC0415 - imported already

            self._ours = Langfuse(**self._config.to_langfuse_kwargs(), span_exporter=make_exporter(self._submit))
            resources = self._resources
            if resources is not None:
                # ours to end: its own exit handler would wait for a dead server
                atexit.unregister(resources.shutdown)
            self.ready = True


def _processors(resources: Any) -> list[Any]:
    """The client's own span processor, among those of the provider it may share with others."""
    provider = resources.tracer_provider
    multi = getattr(provider, "_active_span_processor", None)
    found = getattr(multi, "_span_processors", ())
    return [item for item in found if getattr(item, "public_key", None) == resources.public_key]


def make_exporter(submit: Callable[[bytes, int], None]) -> Any:
    """A span exporter that encodes and hands over, and never waits."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: PLC0415 - comes with langfuse
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415 - comes with langfuse

    class Exporter(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            body = gzip.compress(encode_spans(spans).SerializeToString(), 1, mtime=0)
            submit(body, len(spans))
            return SpanExportResult.SUCCESS

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return True

    return Exporter()


def local_client() -> None:
    """Let `@observe` and `langfuse.openai` record without an account, for the local store.

    Without credentials the SDK records nothing at all. So where the program has imported langfuse and has no client, a
    stand-in is put in its place that exports nothing and answers every request with 401, without a network. It gives way
    as soon as the program makes a client of its own.
    """
    clients = instances()
    if LOCAL_KEY in clients:
        if len(clients) > 1:
            clients.pop(LOCAL_KEY)
        return
    if clients or not imported():
        return
    import httpx  # noqa: PLC0415 - langfuse has imported it
    from langfuse import Langfuse  # noqa: PLC0415 - imported already
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - langfuse has imported it

    refuse = httpx.MockTransport(
        lambda _: httpx.Response(401, json={"message": "no Langfuse credentials are configured"})
    )
    Langfuse(
        public_key=LOCAL_KEY,
        secret_key="none",  # noqa: S106 - not a secret: there is none
        base_url="http://localhost",
        httpx_client=httpx.Client(transport=refuse),
        tracer_provider=TracerProvider(),  # its own: the process's global provider stays the program's to set
        span_exporter=make_exporter(lambda _body, _spans: None),
    )
    resources = instances().get(LOCAL_KEY)
    if resources is not None:
        atexit.unregister(resources.shutdown)


def decoded(value: Any) -> Any:
    """A value out of an attribute text: what is JSON is decoded, everything else is the text."""
    if type(value) is not str or value[:1] not in '{["0123456789-tfn':
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
