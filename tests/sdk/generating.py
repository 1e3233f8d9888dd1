"""Nodes that call a language model, and where to look for what became of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from langfuse import get_client, observe
from opentelemetry import trace
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode, BatchNode, Flow, Node

import pocketflow_tracing
from pocketflow_tracing.store import Store


def fill_in(prompt):
    get_client().update_current_generation(
        model="model-1", usage_details={"input": 3, "output": 4, "total": 7}, cost_details={"total": 0.25}
    )
    return f"answer to {prompt}"


@observe(as_type="generation", name="generation")
def generate(prompt):
    return fill_in(prompt)


@observe(as_type="generation", name="generation")
async def generate_async(prompt):
    await asyncio.sleep(0)
    return fill_in(prompt)


def chat():
    """Record what an instrumentation does, in the instrumented library's scope."""
    tracer = trace.get_tracer("openinference.instrumentation.openai")
    tracer.start_span("chat", attributes={"openinference.span.kind": "LLM", "input.value": "prompt"}).end()


class Calls(Node):
    def prep(self, shared):
        return "prompt"

    def exec(self, prep_res):
        return generate(prep_res)


class CallsAsync(AsyncNode):
    async def prep_async(self, shared):
        return "prompt"

    async def exec_async(self, prep_res):
        return await generate_async(prep_res)


class CallsForEach(BatchNode):
    def prep(self, shared):
        return ["prompt", "prompt"]

    def exec(self, prep_res):
        return generate(prep_res)


class CallsInParallel(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return ["prompt", "prompt"]

    async def exec_async(self, prep_res):
        return await generate_async(prep_res)


NODES = [Calls, CallsAsync, CallsForEach, CallsInParallel]


def run(node, shared=None, **options):
    """Run a node in a traced flow of its own."""
    shared = {} if shared is None else shared
    if isinstance(node, AsyncNode):
        return asyncio.run(pocketflow_tracing.trace_flow(AsyncFlow(start=node), **options).run_async(shared))
    return pocketflow_tracing.trace_flow(Flow(start=node), **options).run(shared)


def expected(node):
    """The tree of such a run, as `Collector.tree` shows it."""
    name = type(node).__name__
    if isinstance(node, (BatchNode, AsyncParallelBatchNode)):
        execs = (f"{name}.exec", *((f"{name}.exec[{item}]", "generation") for item in range(2)))
    else:
        execs = (f"{name}.exec", "generation")
    return ("AsyncFlow" if isinstance(node, AsyncNode) else "Flow", (name, f"{name}.prep", execs, f"{name}.post"))


def stored():
    """The spans of the one run in the store of the working directory, by name."""
    assert pocketflow_tracing.flush(10)
    store = Store(Path(".pocketflow", "traces.db"))
    (found,) = store.runs()
    return store.spans(found.run_id)


def decoded(value):
    """An attribute as the server reads it: JSON, or the text itself."""
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value
