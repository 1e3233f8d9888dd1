"""The flows that are measured. A workload knows the flow and its data, not how the flow is watched."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pocketflow


@dataclass
class Kit:
    """The base classes that a workload's nodes are made of; a way of watching may put its own in their place."""

    node: type = pocketflow.Node
    batch_node: type = pocketflow.BatchNode
    parallel_node: type = pocketflow.AsyncParallelBatchNode
    flow: type = pocketflow.Flow
    async_flow: type = pocketflow.AsyncFlow


@dataclass
class Workload:
    """One workload, ready to run.

    Args:
        flow: the flow; some ways of watching mark it.
        shared: makes the state of one run; cheap, for it is called within the measured time.
        visits: node visits (or batch items) of one run: what "per visit" divides by.
        spans: a full tree of one run: flow, visits, phases, attempts.
        stamps: clock readings within a run, one per visit.
    """

    flow: Any
    shared: Callable[[], dict[str, Any]]
    visits: int
    spans: int
    is_async: bool = False
    stamps: list[float] = field(default_factory=list)

    def run(self, times: int) -> float:
        """Run so many times; the seconds on the caller's path."""
        if self.is_async:
            return asyncio.run(self._run_async(times))
        flow, shared = self.flow, self.shared
        start = time.perf_counter()
        for _ in range(times):
            flow.run(shared())
        return time.perf_counter() - start

    async def _run_async(self, times: int) -> float:
        flow, shared = self.flow, self.shared
        start = time.perf_counter()
        for _ in range(times):
            await flow.run_async(shared())
        return time.perf_counter() - start


def _chain(kit: Kit, shared: Callable[[], dict[str, Any]], length: int = 10) -> Workload:
    class Small(kit.node):  # type: ignore[name-defined]
        def prep(self, shared):
            return shared["number"]

        def exec(self, number):
            return number + 1

        def post(self, shared, prep_res, exec_res):
            shared["number"] = exec_res

    nodes = [type(f"Small{position}", (Small,), {})() for position in range(length)]
    for before, after in itertools.pairwise(nodes):
        before >> after
    return Workload(kit.flow(start=nodes[0]), shared, length, 1 + 4 * length)


def small(kit: Kit, scale: int = 1) -> Workload:
    """W1: a chain of ten small nodes."""
    return _chain(kit, lambda: {"number": 0})


def texts(kit: Kit, scale: int = 1) -> Workload:
    """W2: the same chain over a state of 1 MB of texts and 10,000 floats."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(2000)]
    documents = [" ".join(chance.choices(words, k=3100))[:20_000] for _ in range(50 * scale)]
    numbers = [chance.random() for _ in range(10_000 * scale)]
    return _chain(kit, lambda: {"number": 0, "documents": documents, "scores": numbers})


def arrays(kit: Kit, scale: int = 1) -> Workload:
    """W3: the same chain over a state of a 1000 x 1536 float32 array and 50,000 dicts."""
    import numpy as np

    embeddings = np.random.default_rng(1).random((1000 * scale, 1536), dtype=np.float32)
    rows = [{"id": number, "title": f"Document {number}", "score": number / 7} for number in range(50_000 * scale)]
    return _chain(kit, lambda: {"number": 0, "embeddings": embeddings, "rows": rows})


def parallel(kit: Kit, scale: int = 1) -> Workload:
    """W4: an AsyncParallelBatchNode of 1,000 items, each of which waits once."""

    class Items(kit.parallel_node):  # type: ignore[name-defined]
        async def prep_async(self, shared):
            return range(1000)

        async def exec_async(self, item):
            await asyncio.sleep(0)
            return item + 1

        async def post_async(self, shared, prep_res, exec_res):
            shared["sum"] = sum(exec_res)

    return Workload(kit.async_flow(start=Items()), dict, 1000, 1005, is_async=True)


def batch(kit: Kit, scale: int = 1) -> Workload:
    """W5: a BatchNode of 1,000 items."""

    class Items(kit.batch_node):  # type: ignore[name-defined]
        def prep(self, shared):
            return range(1000)

        def exec(self, item):
            return item + 1

        def post(self, shared, prep_res, exec_res):
            shared["sum"] = sum(exec_res)

    return Workload(kit.flow(start=Items()), dict, 1000, 1005)


def loop(kit: Kit, scale: int = 1, visits: int = 2000) -> Workload:
    """W6: a loop of 2,000 visits that adds a key at each."""
    stamps: list[float] = []

    class Grow(kit.node):  # type: ignore[name-defined]
        def prep(self, shared):
            stamps.append(time.perf_counter())
            return len(shared)

        def exec(self, number):
            return number

        def post(self, shared, prep_res, exec_res):
            shared[f"key{exec_res}"] = exec_res
            return "done" if exec_res + 1 >= visits else "again"

    grow = Grow()
    grow - "again" >> grow
    return Workload(kit.flow(start=grow), dict, visits, 1 + 4 * visits, stamps=stamps)


@dataclass(frozen=True)
class Plan:
    """How a workload is measured.

    Args:
        make: makes it.
        scale: of its state.
        runs: in one sample.
        samples: of a fast way of watching, in one process.
        slow_runs: in the one sample of a way of watching that encodes on the caller's path.
    """

    title: str
    make: Callable[..., Workload]
    scale: int = 1
    runs: int = 12
    samples: int = 5
    slow_runs: int = 12
    per: str = "visit"


PLANS = {
    "W1": Plan("chain of 10 small nodes", small, runs=200, slow_runs=200),
    "W2": Plan("`shared` with 1 MB of texts and 10,000 floats", texts, slow_runs=2),
    "W3": Plan("`shared` with a 1000 x 1536 float32 array and 50,000 dicts", arrays, slow_runs=1),
    "W2x10": Plan("W2 with ten times larger state", texts, 10),
    "W3x10": Plan("W3 with ten times larger state", arrays, 10),
    "W4": Plan("AsyncParallelBatchNode of 1,000 items", parallel, runs=5, slow_runs=5, per="item"),
    "W5": Plan("BatchNode of 1,000 items", batch, runs=5, slow_runs=5, per="item"),
    "W6": Plan("loop of 2,000 visits that adds a key at each", loop, runs=1, samples=3, slow_runs=1),
}
