"""The ways of watching that are compared. Each is set up in a process of its own, before anything else is imported."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PUBLIC, SECRET = "pk-lf-00000000-0000-0000-0000-000000000001", "sk-lf-00000000-0000-0000-0000-000000000002"


class Watching:
    """One way of watching.

    Args:
        kit: the classes that nodes are made of.
        mark: makes a flow watched.
        flush: waits until everything is delivered.
        folder: where a local store stands.
    """

    def __init__(
        self,
        kit: Any = None,
        mark: Callable[[Any], Any] = lambda flow: flow,
        flush: Callable[[], Any] = lambda: None,
        folder: Path | None = None,
    ) -> None:
        from _workloads import Kit

        self.kit = kit or Kit()
        self.mark = mark
        self.flush = flush
        self.folder = folder

    def stored(self) -> int:
        """Bytes on disk so far."""
        return sum(path.stat().st_size for path in self.folder.iterdir()) if self.folder else 0


def untraced(url: str) -> Watching:
    """PocketFlow as it is."""
    return Watching()


def _ours(url: str, **environment: str) -> Watching:
    folder = Path(tempfile.mkdtemp(prefix="watching-", dir=os.environ.get("BENCHMARK_FOLDER")))
    os.environ["POCKETFLOW_TRACE_STORE"] = os.environ.get("BENCHMARK_STORE", "off")
    os.environ["POCKETFLOW_TRACE_QUEUE_SIZE"] = "100000"
    for name, value in environment.items():
        os.environ[name] = value.replace("{folder}", str(folder))
    import pocketflow_tracing

    def flush() -> None:
        if not pocketflow_tracing.flush(120.0):
            print("flush answered False", flush=True)

    return Watching(mark=pocketflow_tracing.trace_flow(), flush=flush, folder=folder)


def _langfuse_environment(url: str) -> dict[str, str]:
    return {
        "LANGFUSE_BASE_URL": url,
        "LANGFUSE_HOST": url,
        "LANGFUSE_PUBLIC_KEY": PUBLIC,
        "LANGFUSE_SECRET_KEY": SECRET,
    }


def langfuse(url: str) -> Watching:
    """This package, delivering to Langfuse."""
    return _ours(url, **_langfuse_environment(url))


def local(url: str) -> Watching:
    """This package, writing to the local store."""
    return _ours(url, POCKETFLOW_TRACE_STORE="{folder}/traces.db")


def disabled(url: str) -> Watching:
    """This package, switched off."""
    return _ours(url, POCKETFLOW_TRACING_ENABLED="false", **_langfuse_environment(url))


def sampled_out(url: str) -> Watching:
    """This package with a sample rate of 0."""
    return _ours(url, LANGFUSE_SAMPLE_RATE="0", **_langfuse_environment(url))


def sdk(url: str) -> Watching:
    """The Langfuse SDK by hand: an observation per flow, node, phase and item, with input and output."""
    os.environ.update(_langfuse_environment(url))
    import langfuse as package

    client = package.Langfuse()

    def observe(name: str, given: Any) -> Any:
        return client.start_as_current_observation(name=name, input=given)

    return Watching(_by_hand(observe, lambda span, output: span.update(output=output)), flush=client.flush)


def opentelemetry(url: str) -> Watching:
    """Raw OpenTelemetry spans: the same places, with JSON of input and output as attributes."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces")))
    tracer = provider.get_tracer("benchmark")

    def observe(name: str, given: Any) -> Any:
        return tracer.start_as_current_span(name, attributes={"input": json.dumps(given, default=str)})

    def end(span: Any, output: Any) -> None:
        span.set_attribute("output", json.dumps(output, default=str))

    return Watching(_by_hand(observe, end), flush=lambda: provider.force_flush(120_000))


def _by_hand(observe: Callable[[str, Any], Any], end: Callable[[Any, Any], None]) -> Any:
    """Nodes as somebody writes them who traces by hand: `shared` is the input of the node and of prep."""
    import pocketflow
    from _workloads import Kit

    class Hand:
        def _run(self, shared):
            name = type(self).__name__
            with observe(name, shared) as node:
                with observe(f"{name}.prep", shared) as span:
                    prepared = self.prep(shared)
                    end(span, prepared)
                done = self._exec(prepared)
                with observe(f"{name}.post", {"shared": shared, "prep_res": prepared, "exec_res": done}) as span:
                    action = self.post(shared, prepared, done)
                    end(span, action)
                end(node, action)
            return action

    def attempts(cls: type, exec_: Any) -> None:
        """Put a span around the `exec` of a class when it is made."""

        def traced(self, item):
            with observe(f"{type(self).__name__}.exec", item) as span:
                result = exec_(self, item)
                end(span, result)
            return result

        cls.exec = traced

    class HandNode(Hand, pocketflow.Node):
        def __init_subclass__(cls, **options):
            if "exec" in vars(cls):
                attempts(cls, cls.exec)

    class HandBatchNode(Hand, pocketflow.BatchNode):
        def __init_subclass__(cls, **options):
            attempts(cls, cls.exec)

        def _exec(self, items):
            with observe(f"{type(self).__name__}.exec", items) as span:
                results = super()._exec(items)
                end(span, results)
            return results

    class HandParallelNode(pocketflow.AsyncParallelBatchNode):
        def __init_subclass__(cls, **options):
            exec_ = cls.exec_async

            async def traced(self, item):
                with observe(f"{type(self).__name__}.exec", item) as span:
                    result = await exec_(self, item)
                    end(span, result)
                return result

            cls.exec_async = traced

        async def _run_async(self, shared):
            name = type(self).__name__
            with observe(name, shared) as node:
                with observe(f"{name}.prep", shared) as span:
                    prepared = await self.prep_async(shared)
                    end(span, prepared)
                with observe(f"{name}.exec", prepared) as span:
                    done = await self._exec(prepared)
                    end(span, done)
                with observe(f"{name}.post", {"shared": shared, "prep_res": prepared, "exec_res": done}) as span:
                    action = await self.post_async(shared, prepared, done)
                    end(span, action)
                end(node, action)
            return action

    class HandFlow(pocketflow.Flow):
        def run(self, shared):
            with observe("Flow", shared) as span:
                action = super().run(shared)
                end(span, shared)
            return action

    class HandAsyncFlow(pocketflow.AsyncFlow):
        async def run_async(self, shared):
            with observe("Flow", shared) as span:
                action = await super().run_async(shared)
                end(span, shared)
            return action

    return Kit(HandNode, HandBatchNode, HandParallelNode, HandFlow, HandAsyncFlow)


def old(url: str) -> Watching:
    """pocketflow-tracing 0.1.5, in a virtual environment of its own."""
    os.environ.update(_langfuse_environment(url))
    from _workloads import Kit

    from pocketflow_tracing import TracingConfig, trace_flow

    config = TracingConfig(langfuse_public_key=PUBLIC, langfuse_secret_key=SECRET, langfuse_host=url)
    kit = Kit()
    kit.flow = trace_flow(config=config)(type("OldFlow", (kit.flow,), {}))
    kit.async_flow = trace_flow(config=config)(type("OldAsyncFlow", (kit.async_flow,), {}))
    return Watching(kit)


VARIANTS: dict[str, tuple[Callable[[str], Watching], str]] = {
    "untraced": (untraced, "untraced"),
    "langfuse": (langfuse, "this package, Langfuse"),
    "local": (local, "this package, local store"),
    "disabled": (disabled, "this package, disabled"),
    "sampled_out": (sampled_out, "this package, sampled out"),
    "sdk": (sdk, "Langfuse SDK by hand"),
    "opentelemetry": (opentelemetry, "raw OpenTelemetry"),
    "old": (old, "pocketflow-tracing 0.1.5"),
}
SLOW = ("sdk", "opentelemetry")  # they encode on the caller's path
