"""Many runs at once: of one flow object, of one node, in tasks and in threads; and runs that are cut off."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchFlow, AsyncParallelBatchNode, Flow, Node

from pocketflow_tracing import instrument, trace_flow, uninstrument
from pocketflow_tracing.delivery import delivery

DEADLINE = 20.0


class Count(Node):
    """Loops until its number is reached, meeting the others at a barrier when there is one."""

    def prep(self, shared):
        if "barrier" in shared:
            shared["barrier"].wait(DEADLINE)
        return shared["id"], shared["n"]

    def exec(self, given):
        return given

    def post(self, shared, prep_res, exec_res):
        shared["n"] -= 1
        return "again" if shared["n"] else "done"


class AsyncCount(AsyncNode):
    """The same, giving way between all phases."""

    async def prep_async(self, shared):
        await asyncio.sleep(0)
        return shared["id"], shared["n"]

    async def exec_async(self, given):
        await asyncio.sleep(0)
        return given

    async def post_async(self, shared, prep_res, exec_res):
        await asyncio.sleep(0)
        shared["n"] -= 1
        return "again" if shared["n"] else "done"


def loop(cls):
    node = cls()
    node - "again" >> node
    node - "done" >> (Node() if cls is Count else AsyncNode())
    return node


def check_runs(records, expected):
    """Each run holds its own spans and nobody else's: {id: visits}."""
    records.check()
    found = {}
    for run in records.runs.values():
        spans = [span for span in records.by_id.values() if span.run_id == run.run_id]
        root = records.by_id[run.run_id]
        mine = root.input["id"]
        visits = [
            span for span in spans if span.kind == "node" and span.attributes.get("class") in {"Count", "AsyncCount"}
        ]
        preps = [span.output for span in spans if span.name.endswith("Count.prep")]
        assert sorted(preps) == [[mine, n] for n in range(1, expected[mine] + 1)]
        assert [span.attributes["visit"] for span in sorted(visits, key=lambda s: s.start_ns)] == list(
            range(1, expected[mine] + 1)
        )
        assert {span.trace_id for span in spans} == {run.trace_id}
        found[mine] = len(visits)
    assert found == expected


def test_one_flow_object_in_gather(records):
    """Concurrent runs of one object are runs of their own."""
    flow = trace_flow(AsyncFlow(start=loop(AsyncCount)))

    async def main():
        return await asyncio.gather(*(flow.run_async({"id": i, "n": i % 5 + 1}) for i in range(40)))

    assert asyncio.run(main()) == [None] * 40
    check_runs(records, {i: i % 5 + 1 for i in range(40)})


def test_one_flow_object_in_threads(records):
    """The same in threads that run at the same time."""
    flow = trace_flow(Flow(start=loop(Count)))
    barrier = threading.Barrier(8)
    shareds = [{"id": i, "n": 5, "barrier": barrier} for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(flow.run, shareds))
    check_runs(records, dict.fromkeys(range(8), 5))


def test_many_threads_and_tasks_at_once(records):
    """Threads with loops of their own, each with many tasks, some sharing flows."""
    flow = trace_flow(AsyncFlow(start=loop(AsyncCount)))
    plain = trace_flow(Flow(start=loop(Count)))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def work(number):
        async def main():
            tasks = [flow.run_async({"id": number * 100 + i, "n": 3}) for i in range(20)]
            await asyncio.gather(*tasks)
            for i in range(20, 25):
                plain.run({"id": number * 100 + i, "n": 3})

        asyncio.run(main())

    try:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
    finally:
        sys.setswitchinterval(interval)
    check_runs(records, {number * 100 + i: 3 for number in range(6) for i in range(25)})


def test_one_node_in_two_flows_at_once(records):
    """A node that stands in two flows reports into the run that visits it."""
    node = loop(AsyncCount)
    one, two = trace_flow(AsyncFlow(start=node), flow_name="one"), trace_flow(AsyncFlow(start=node), flow_name="two")

    async def main():
        await asyncio.gather(*(flow.run_async({"id": f"{i}", "n": 3}) for i, flow in enumerate([one, two] * 5)))

    asyncio.run(main())
    check_runs(records, {f"{i}": 3 for i in range(10)})
    for run in records.runs.values():
        assert run.name == ("one", "two")[int(records.by_id[run.run_id].input["id"]) % 2]


def test_traced_and_untraced_side_by_side(records):
    """An untraced flow beside a traced one records nothing."""
    traced, untraced = trace_flow(AsyncFlow(start=loop(AsyncCount))), AsyncFlow(start=loop(AsyncCount))

    async def main():
        await asyncio.gather(*((traced if i % 2 else untraced).run_async({"id": i, "n": 2}) for i in range(10)))

    asyncio.run(main())
    check_runs(records, {i: 2 for i in range(1, 10, 2)})


def test_flows_nested_in_tasks_of_a_node(records):
    """Flows that a node runs in gather, or in a thread with its context, are its children."""
    inner = AsyncFlow(start=loop(AsyncCount))
    plain = Flow(start=loop(Count))

    class Outer(AsyncNode):
        async def exec_async(self, prep_res):
            await asyncio.gather(*(inner.run_async({"id": i, "n": 1}) for i in range(3)))
            await asyncio.to_thread(plain.run, {"id": 3, "n": 1})
            copied = contextvars.copy_context()
            await asyncio.get_running_loop().run_in_executor(None, copied.run, plain.run, {"id": 4, "n": 1})

    asyncio.run(trace_flow(AsyncFlow(start=Outer())).run_async({}))
    attempt = records.span("Outer.exec")
    below = [span for span in records.spans(kind="flow") if span.parent_id == attempt.span_id]
    assert sorted(span.input["id"] for span in below) == [0, 1, 2, 3, 4]
    assert len(records.runs) == 1
    records.check()


def test_parallel_items_keep_their_spans(records):
    """Each parallel item has its own attempts and data, whatever order they end in."""

    class Items(AsyncParallelBatchNode):
        async def prep_async(self, shared):
            return list(range(20))

        async def exec_async(self, item):
            for _ in range(20 - item):
                await asyncio.sleep(0)
            if item % 3 == 0 and item not in failed:
                failed.add(item)
                raise ValueError(item)
            return item * 10

    failed = set()
    asyncio.run(trace_flow(AsyncFlow(start=Items(max_retries=50))).run_async({}))
    for item in range(20):
        spans = records.spans(f"Items.exec[{item}]")
        assert [span.input for span in spans] == [item] * len(spans)
        assert [span.attributes["attempt"] for span in spans] == list(range(1, len(spans) + 1))
        assert spans[-1].output == item * 10
        assert len(spans) == (2 if item % 3 == 0 else 1)


def test_parallel_passes_keep_their_spans(records):
    """Each pass holds its own nodes, with its own params."""

    class Leaf(AsyncNode):
        async def exec_async(self, prep_res):
            for _ in range(10 - self.params["n"]):
                await asyncio.sleep(0)
            return self.params["n"]

    class Sweep(AsyncParallelBatchFlow):
        async def prep_async(self, shared):
            return [{"n": n} for n in range(10)]

    start = Leaf()
    start >> Leaf()
    asyncio.run(trace_flow(Sweep(start=start)).run_async({}))
    for n in range(10):
        one = records.span(f"Sweep[{n}]")
        below = [span for span in records.spans(kind="node") if span.parent_id == one.span_id]
        assert [(span.name, span.attributes["params"]) for span in below] == [("Leaf", {"n": n}), ("Leaf#2", {"n": n})]
        assert [span.attributes.get("successor") for span in below] == ["Leaf#2", None]
    records.check()


def stuck():
    """A flow whose node waits for what never comes, and an event that says it has begun."""
    begun = asyncio.Event()

    class Stuck(AsyncNode):
        async def exec_async(self, prep_res):
            begun.set()
            await asyncio.Event().wait()

    return trace_flow(AsyncFlow(start=Stuck())), begun


CUT_OFF = ("AsyncFlow", "cancelled", [("Stuck", "cancelled", [("Stuck.prep", "success"), ("Stuck.exec", "cancelled")])])


def test_a_cancelled_task(records):
    """Its spans are closed as cancelled, and the next run is whole."""

    async def main():
        flow, begun = stuck()
        task = asyncio.create_task(flow.run_async({}))
        await asyncio.wait_for(begun.wait(), DEADLINE)
        task.cancel("stop")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    assert records.tree() == CUT_OFF
    records.check()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with 3.11")
def test_a_timeout(records):
    """asyncio.timeout turns the cancellation into TimeoutError outside of the flow."""

    async def main():
        flow, _ = stuck()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await flow.run_async({})

    asyncio.run(main())
    assert records.tree() == CUT_OFF


def test_a_timeout_inside_a_node(records):
    """wait_for around a nested flow: the flow is cancelled, the node that catches it goes on."""

    async def main():
        flow, _ = stuck()

        class Careful(AsyncNode):
            async def exec_async(self, prep_res):
                try:
                    await asyncio.wait_for(flow.run_async({}), 0.01)
                except asyncio.TimeoutError:
                    return "late"

        await trace_flow(AsyncFlow(start=Careful())).run_async({})

    asyncio.run(main())
    statuses = {span.name: span.status for span in records.spans()}
    assert (statuses["Careful.exec"], statuses["Careful"], statuses["Stuck"]) == ("success", "success", "cancelled")
    assert records.run().status == "success"
    records.check()


def test_parallel_items_that_outlive_their_flow(records):
    """One failure leaves at once; the spans of the others end later, and are delivered."""

    async def main():
        go = asyncio.Event()

        class Items(AsyncParallelBatchNode):
            async def prep_async(self, shared):
                return [0, 1, 2]

            async def exec_async(self, item):
                if item == 1:
                    raise ValueError("item")
                await go.wait()
                if item == 2:
                    raise KeyError("too late")

        with pytest.raises(ValueError):
            await trace_flow(AsyncFlow(start=Items())).run_async({})
        go.set()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert len(others) == 2
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(main())
    assert [records.span(f"Items.exec[{item}]").status for item in range(3)] == ["success", "error", "error"]
    assert records.span("Items.exec[2]").end_ns > records.span("AsyncFlow").end_ns
    assert (records.span("Items").status, records.run().status) == ("error", "error")
    records.check(sync=False)


def test_a_loop_that_is_closed_on_a_running_flow(records):
    """asyncio.run cancels what is left: those spans are closed, too."""

    async def main():
        flow, begun = stuck()
        task = asyncio.create_task(flow.run_async({}))
        await asyncio.wait_for(begun.wait(), DEADLINE)
        return task

    assert asyncio.run(main()).cancelled()
    assert records.tree() == CUT_OFF


def test_a_coroutine_that_is_thrown_away(records):
    """A flow whose coroutine is closed in another context ends as cancelled; that context keeps its own."""

    async def main():
        flow, _ = stuck()
        coroutine = flow.run_async({})
        contextvars.copy_context().run(coroutine.send, None)
        coroutine.close()

    asyncio.run(main())
    assert records.tree() == CUT_OFF


def test_uninstrument_in_the_middle(records):
    """A flow that is running while the hooks are taken away, from a node or from another thread, runs on to its end."""

    class Off(Node):
        def exec(self, prep_res):
            uninstrument()
            return "off"

        def post(self, shared, prep_res, exec_res):
            shared["off"] = exec_res

    instrument()
    node = Off(max_retries=2)
    node >> Count()
    shared = {"id": 1, "n": 1}
    assert Flow(start=node).run(shared) == "done"
    assert shared == {"id": 1, "n": 0, "off": "off"}
    assert records.flushed().run().status == "success"


def test_marking_from_many_threads(records):
    """Hooks are put on once, whoever comes first."""
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait(DEADLINE)
        trace_flow(Flow(start=loop(Count))).run({"id": number, "n": 2})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    check_runs(records, dict.fromkeys(range(8), 2))


def test_a_thread_without_context(records):
    """A thread that a node starts by itself has no context: a flow in it is a run of its own if it is marked."""
    inner = trace_flow(Flow(start=loop(Count)), flow_name="inner")

    class Starts(Node):
        def exec(self, prep_res):
            thread = threading.Thread(target=contextvars.Context().run, args=(inner.run, {"id": 0, "n": 1}))
            thread.start()
            thread.join(DEADLINE)

    trace_flow(Flow(start=Starts()), flow_name="outer").run({})
    records.flushed()
    assert sorted(run.name for run in records.runs.values()) == ["inner", "outer"]
    records.check()


def test_nothing_grows(records):
    """After many runs nothing of ours is held but what the sink keeps."""
    import gc

    from pocketflow_tracing.recorder import Run, Span

    def held():
        assert delivery.flush(timeout=DEADLINE)
        gc.collect()
        return sum(isinstance(value, (Run, Span)) for value in gc.get_objects())

    before = held()
    flow = trace_flow(Flow(start=loop(Count)))
    for i in range(200):
        flow.run({"id": i, "n": 2})
    assert held() - before < 20
