"""A flow of each kind with the same small graph, and a look at what a run of it left in the store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketflow import (
    AsyncBatchFlow,
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchFlow,
    BatchFlow,
    Flow,
    Node,
)

import pocketflow_tracing
from pocketflow_tracing.store import Store


class Ask(Node):
    def prep(self, shared):
        return shared["question"]

    def exec(self, prep_res):
        return prep_res.upper()

    def post(self, shared, prep_res, exec_res):
        shared["asked"] = exec_res
        return "answer"


class Answer(Node):
    def post(self, shared, prep_res, exec_res):
        shared["answer"] = "42"


class AnswerAsync(AsyncNode):
    async def post_async(self, shared, prep_res, exec_res):
        shared["answer"] = "42"


class AskTwice(BatchFlow):
    def prep(self, shared):
        return [{"number": 0}, {"number": 1}]


class AskTwiceAsync(AsyncBatchFlow):
    async def prep_async(self, shared):
        return [{"number": 0}, {"number": 1}]


class AskTwiceParallel(AsyncParallelBatchFlow):
    async def prep_async(self, shared):
        return [{"number": 0}, {"number": 1}]


@dataclass(frozen=True)
class Kind:
    """One kind of flow.

    Args:
        base: the class of plain flows of this kind.
        is_async: whether it is run with `run_async`; it then holds a sync and an async node.
        is_batch: whether it makes two passes, prepared by a `prep` of its own.
    """

    base: type[Flow]
    is_async: bool = False
    is_batch: bool = False

    def start(self) -> Node:
        ask = Ask()
        ask - "answer" >> (AnswerAsync() if self.is_async else Answer())
        return ask

    def plain(self) -> Flow:
        """A flow as most programs make one."""
        return self.base(start=self.start())

    def subclass(self, name: str = "QA") -> type[Flow]:
        """A flow class that builds its own graph."""
        kind = self

        def __init__(self):
            super(made, self).__init__(start=kind.start())

        made = type(name, (self.base,), {"__init__": __init__, "__module__": __name__})
        return made

    def run(self, flow: Flow, shared: dict[str, Any] | None = None) -> Any:
        shared = {"question": "why"} if shared is None else shared
        return asyncio.run(flow.run_async(shared)) if self.is_async else flow.run(shared)

    async def run_inside(self, flow: Flow, shared: dict[str, Any]) -> Any:
        return await flow.run_async(shared) if self.is_async else flow.run(shared)

    def tree(self, name: str) -> tuple[Any, ...]:
        """What a run looks like, as `trees` shows it."""
        answer = "AnswerAsync" if self.is_async else "Answer"
        nodes = (
            ("Ask", "Ask.prep", "Ask.exec", "Ask.post"),
            (answer, f"{answer}.prep", f"{answer}.exec", f"{answer}.post"),
        )
        if self.is_batch:
            return (name, f"{name}.prep", (f"{name}[0]", *nodes), (f"{name}[1]", *nodes))
        return (name, *nodes)


KINDS = {
    "Flow": Kind(Flow),
    "BatchFlow": Kind(AskTwice, is_batch=True),
    "AsyncFlow": Kind(AsyncFlow, is_async=True),
    "AsyncBatchFlow": Kind(AskTwiceAsync, is_async=True, is_batch=True),
    "AsyncParallelBatchFlow": Kind(AskTwiceParallel, is_async=True, is_batch=True),
}


def stored() -> Store:
    """The store of the working directory, with everything in it that was recorded."""
    assert pocketflow_tracing.flush(10)
    return Store(Path(".pocketflow", "traces.db"))


def runs() -> list[Any]:
    """The recorded runs, the oldest first; none where there is no store."""
    pocketflow_tracing.flush(10)
    if not Path(".pocketflow", "traces.db").exists():
        return []
    return stored().runs()[::-1]


def spans(run: Any) -> list[Any]:
    return stored().spans(run.run_id)


def trees() -> list[tuple[Any, ...]]:
    """Each recorded run as nested tuples of names, siblings in order of their start."""
    found = []
    for run in runs():
        below: dict[str | None, list[Any]] = {}
        for span in spans(run):
            below.setdefault(None if span.span_id == run.run_id else span.parent_id, []).append(span)

        (root,) = below[None]
        found.append(_picture(root, below))
    return found


def _picture(span: Any, below: dict[str | None, list[Any]]) -> Any:
    children = [_picture(child, below) for child in below.get(span.span_id, [])]
    return (span.name, *children) if children else span.name
