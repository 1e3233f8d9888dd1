"""PocketFlow in the manner of its newer branches: typed, methods called by keyword, attempts of async nodes in cur_retry.

The tests run under it as the module `pocketflow`; it behaves as the released one does, in other words.
"""

# ruff: noqa: B020, B028 (as PocketFlow does it)
from __future__ import annotations

import asyncio
import copy
import time
import warnings
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class BaseNode(Generic[S]):
    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.successors: dict[str, BaseNode] = {}

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def next(self, node: BaseNode, action: str = "default") -> BaseNode:
        if action in self.successors:
            warnings.warn(f"Overwriting successor for action '{action}'")
        self.successors[action] = node
        return node

    def prep(self, shared: S) -> Any:
        pass

    def exec(self, prep_res: Any) -> Any:
        pass

    def post(self, shared: S, prep_res: Any, exec_res: Any) -> Any:
        pass

    def _exec(self, prep_res: Any) -> Any:
        return self.exec(prep_res)

    def _run(self, shared: S) -> Any:
        prep_res = self.prep(shared=shared)
        exec_res = self._exec(prep_res=prep_res)
        return self.post(shared=shared, prep_res=prep_res, exec_res=exec_res)

    def run(self, shared: S) -> Any:
        if self.successors:
            warnings.warn("Node won't run successors. Use Flow.")
        return self._run(shared=shared)

    def __rshift__(self, other: BaseNode) -> BaseNode:
        return self.next(other)

    def __sub__(self, action: str) -> _ConditionalTransition:
        if isinstance(action, str):
            return _ConditionalTransition(self, action)
        raise TypeError("Action must be a string")


class _ConditionalTransition:
    def __init__(self, src: BaseNode, action: str) -> None:
        self.src, self.action = src, action

    def __rshift__(self, tgt: BaseNode) -> BaseNode:
        return self.src.next(tgt, self.action)


class Node(BaseNode[S]):
    def __init__(self, max_retries: int = 1, wait: float = 0) -> None:
        super().__init__()
        self.max_retries, self.wait = max_retries, wait

    def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
        raise exc

    def _exec(self, prep_res: Any) -> Any:
        for self.cur_retry in range(self.max_retries):
            try:
                return self.exec(prep_res)
            except Exception as e:
                if self.cur_retry == self.max_retries - 1:
                    return self.exec_fallback(prep_res=prep_res, exc=e)
                if self.wait > 0:
                    time.sleep(self.wait)


class BatchNode(Node[S]):
    def _exec(self, prep_res: Any) -> Any:
        return [super(BatchNode, self)._exec(prep_res=i) for i in (prep_res or [])]


class Flow(BaseNode[S]):
    def __init__(self, start: BaseNode | None = None) -> None:
        super().__init__()
        self.start_node = start

    def start(self, start: BaseNode) -> BaseNode:
        self.start_node = start
        return start

    def get_next_node(self, curr: BaseNode, action: Any) -> BaseNode | None:
        nxt = curr.successors.get(action or "default")
        if not nxt and curr.successors:
            warnings.warn(f"Flow ends: '{action}' not found in {list(curr.successors)}")
        return nxt

    def _orch(self, shared: S, params: dict[str, Any] | None = None) -> Any:
        curr, p, last_action = copy.copy(self.start_node), (params or {**self.params}), None
        while curr:
            curr.set_params(params=p)
            last_action = curr._run(shared=shared)
            curr = copy.copy(self.get_next_node(curr=curr, action=last_action))
        return last_action

    def _run(self, shared: S) -> Any:
        prep_res = self.prep(shared=shared)
        orch_res = self._orch(shared=shared)
        return self.post(shared=shared, prep_res=prep_res, exec_res=orch_res)

    def post(self, shared: S, prep_res: Any, exec_res: Any) -> Any:
        return exec_res


class BatchFlow(Flow[S]):
    def _run(self, shared: S) -> Any:
        prep_res = self.prep(shared=shared) or []
        for batch_params in prep_res:
            self._orch(shared=shared, params={**self.params, **batch_params})
        return self.post(shared=shared, prep_res=prep_res, exec_res=None)


class AsyncNode(Node[S]):
    async def prep_async(self, shared: S) -> Any:
        pass

    async def exec_async(self, prep_res: Any) -> Any:
        pass

    async def exec_fallback_async(self, prep_res: Any, exc: Exception) -> Any:
        raise exc

    async def post_async(self, shared: S, prep_res: Any, exec_res: Any) -> Any:
        pass

    async def _exec(self, prep_res: Any) -> Any:
        for self.cur_retry in range(self.max_retries):
            try:
                return await self.exec_async(prep_res)
            except Exception as e:
                if self.cur_retry == self.max_retries - 1:
                    return await self.exec_fallback_async(prep_res=prep_res, exc=e)
                if self.wait > 0:
                    await asyncio.sleep(self.wait)

    async def run_async(self, shared: S) -> Any:
        if self.successors:
            warnings.warn("Node won't run successors. Use AsyncFlow.")
        return await self._run_async(shared=shared)

    async def _run_async(self, shared: S) -> Any:
        prep_res = await self.prep_async(shared=shared)
        exec_res = await self._exec(prep_res=prep_res)
        return await self.post_async(shared=shared, prep_res=prep_res, exec_res=exec_res)

    def _run(self, shared: S) -> Any:
        raise RuntimeError("Use run_async.")


class AsyncBatchNode(AsyncNode[S], BatchNode[S]):
    async def _exec(self, prep_res: Any) -> Any:
        return [await super(AsyncBatchNode, self)._exec(prep_res=i) for i in prep_res]


class AsyncParallelBatchNode(AsyncNode[S], BatchNode[S]):
    async def _exec(self, prep_res: Any) -> Any:
        return await asyncio.gather(*(super(AsyncParallelBatchNode, self)._exec(prep_res=i) for i in prep_res))


class AsyncFlow(Flow[S], AsyncNode[S]):
    async def _orch_async(self, shared: S, params: dict[str, Any] | None = None) -> Any:
        curr, p, last_action = copy.copy(self.start_node), (params or {**self.params}), None
        while curr:
            curr.set_params(params=p)
            if isinstance(curr, AsyncNode):
                last_action = await curr._run_async(shared=shared)
            else:
                last_action = curr._run(shared=shared)
            curr = copy.copy(self.get_next_node(curr=curr, action=last_action))
        return last_action

    async def _run_async(self, shared: S) -> Any:
        p = await self.prep_async(shared=shared)
        o = await self._orch_async(shared=shared)
        return await self.post_async(shared=shared, prep_res=p, exec_res=o)

    async def post_async(self, shared: S, prep_res: Any, exec_res: Any) -> Any:
        return exec_res


class AsyncBatchFlow(AsyncFlow[S], BatchFlow[S]):
    async def _run_async(self, shared: S) -> Any:
        pr = await self.prep_async(shared=shared) or []
        for bp in pr:
            await self._orch_async(shared=shared, params={**self.params, **bp})
        return await self.post_async(shared=shared, prep_res=pr, exec_res=None)


class AsyncParallelBatchFlow(AsyncFlow[S], BatchFlow[S]):
    async def _run_async(self, shared: S) -> Any:
        pr = await self.prep_async(shared=shared) or []
        await asyncio.gather(*(self._orch_async(shared=shared, params={**self.params, **bp}) for bp in pr))
        return await self.post_async(shared=shared, prep_res=pr, exec_res=None)
