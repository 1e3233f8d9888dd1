"""The queue's bounds: memory does not grow, whole runs go, and what went is counted and said."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap

import pytest
from collector import Collector
from drill import environment

from pocketflow_tracing.capture_types import weigh
from pocketflow_tracing.store import Store, build_tree

SETUP = """
import json, sys, threading
from pocketflow import BatchFlow, Flow, Node
from pocketflow_tracing import add_metadata, add_score, flush, trace_flow
from pocketflow_tracing.delivery import delivery

class Ask(Node):
    def prep(self, shared):
        return shared["question"]
    def exec(self, question):
        return question + "?"
    def post(self, shared, question, answer):
        shared["answer"] = answer
        shared["left"] = shared.get("left", 0) - 1
        return "again" if shared["left"] > 0 else "done"

class Part:
    def __init__(self, **parts):
        self.__dict__.update(parts)

class Completes(Ask):  # an answer of the form that LLM clients give
    def prep(self, shared):
        return [{"role": "user", "content": [{"type": "text", "text": {"value": shared["question"] + "x" * size}}]}]
    def exec(self, messages):
        text = messages[0]["content"][0]["text"]["value"] + "?"
        return Part(choices=[Part(message=Part(content=[Part(text=text)]))])
    def post(self, shared, messages, answer):
        pass

class Notes(Ask):  # what is no output
    def exec(self, question):
        add_metadata(document=question + "x" * size)
        add_score("s", 0.5, comment=question + "y" * size)
    def post(self, shared, question, answer):
        pass

class Passes(BatchFlow):
    def prep(self, shared):
        return ({"document": str(number) + "x" * size} for number in range(300))

class Keys(Ask):
    def exec(self, question):
        return {question + "x" * size: 1}
    def post(self, shared, question, answer):
        pass

class Files(Ask):
    def post(self, shared, question, answer):
        shared[question + "x" * size] = shared["by_text"][question + "y" * size] = answer

class Fails(Ask):
    def exec(self, question):
        raise ValueError(question + "x" * size)
    def exec_fallback(self, question, error):
        pass

ask = Ask()
ask - "again" >> ask
flow = trace_flow(Flow(start=ask), flow_name="Drill")

router = Node()
for number in range(1000):
    router - f"tool {number}" >> Node()
wide = trace_flow(Flow(start=router))

gate, standing = threading.Event(), threading.Event()
deliver = delivery._worker._deliver
def held(batch):  # the worker stands still until the gate opens, as on a machine that is too slow
    standing.set()
    gate.wait(30)
    return deliver(batch)
delivery._worker._deliver = held
import warnings; warnings.simplefilter("ignore")
"""


def _run(code, tmp_path, collector=None, **extra):
    done = subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(code)],
        cwd=tmp_path,
        env=environment(collector, **extra),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_the_oldest_complete_runs_go_first_and_none_by_halves(tmp_path):
    """With a queue of 500 spans and 5,000 recorded, the newest runs are there whole, and the dropped ones are counted."""
    report, stderr = _run(
        """
        for number in range(1000):
            flow.run({"question": str(number)})
        waiting = len(delivery.queue)
        gate.set()
        print(json.dumps({"waiting": waiting, "flushed": flush(30)}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_SIZE="500",
    )
    assert report["flushed"] is False
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    runs = list(store.runs(limit=2000))
    assert 0 < len(runs) < 1000
    questions = set()
    for run in runs:
        spans = store.spans(run.run_id)
        assert len(spans) == 5
        assert run.status == "success"
        build_tree(run, spans)
        questions.add(int(next(span.output for span in spans if span.name == "Ask.prep")))
    assert 999 in questions
    dropped = store.figures()["dropped"]
    assert dropped == 5 * (1000 - len(runs))
    assert stderr.count("POCKETFLOW_TRACE_QUEUE_SIZE") == 1


LARGE = {
    "a loop": """
        class Again(Ask):
            def post(self, shared, question, answer):
                return "again" if next(turns, None) else "done"
        again = Again()
        again - "again" >> again
        large = Flow(start=again)
        """,
    "a batch flow": """
        class Rows(BatchFlow):
            def prep(self, shared):
                return ({"row": number} for number in turns)
        large = Rows(start=Node())
        """,
    "flows in a loop": """
        class Inner(Flow):
            def post(self, shared, prep_res, action):
                return "again" if next(turns, None) else "done"
        inner = Inner(start=Node())
        inner - "again" >> inner
        large = Flow(start=inner)
        """,
    "flows in an exec": """
        class Runs(Node):
            def exec(self, question):
                for _ in turns:
                    Flow(start=Node()).run({})
        large = Flow(start=Runs())
        """,
    "functions in an exec": """
        nested = trace_flow(flow_name="nested")(lambda: Flow(start=Node()).run({}))
        class Calls(Node):
            def exec(self, question):
                for _ in turns:
                    nested()
        large = Flow(start=Calls())
        """,
    "items": """
        class Items(BatchNode):
            def prep(self, shared):
                return turns
            def exec(self, item):
                return Flow(start=Node()).run({}) if item % 7 == 0 else item
        large = Flow(start=Items())
        """,
    "generations": """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        class Calls(AsyncParallelBatchNode):
            async def prep_async(self, shared):
                return range(400)
            async def exec_async(self, item):
                trace.get_tracer("app").start_span("llm").end()
                await asyncio.sleep(0)
        class Items(BatchNode):
            def prep(self, shared):
                return turns
        class Large(AsyncFlow):
            def run(self, shared):
                return asyncio.run(self.run_async(shared))
        large = Large(start=Calls())
        large.start_node >> Items()
        """,
    "generations of an exec": """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        class Calls(Node):
            def exec(self, question):
                for _ in turns:
                    trace.get_tracer("app").start_span("llm").end()
        large = Flow(start=Calls())
        """,
    "items side by side": """
        class Items(AsyncParallelBatchNode):
            async def prep_async(self, shared):
                return turns
            async def exec_async(self, item):
                await asyncio.sleep(0)
                return item
        class Large(AsyncFlow):
            def run(self, shared):
                return asyncio.run(self.run_async(shared))
        large = Large(start=Items())
        """,
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_run_larger_than_the_queue_is_bounded_and_says_what_it_lost(kind, tmp_path):
    """Whatever it consists of: no more waits than there is room for, each span that stays has the one above, and none runs on."""
    report, stderr = _run(
        f"""
        import asyncio
        from pocketflow import AsyncFlow, AsyncParallelBatchNode, BatchNode
        turns = iter(range(1, 3000))
        {LARGE[kind]}
        longest = 0
        put = delivery.queue.put
        def measured(span):
            global longest
            put(span)
            longest = max(longest, len(delivery.queue))
        flow.run({{"question": "first"}})
        standing.wait(30)
        from pocketflow_tracing import TracingConfig
        marked = trace_flow(flow_name="Large", config=TracingConfig(flush_interval=0.01))(large)
        from pocketflow_tracing import _pipeline
        init = _pipeline.Pipeline.__init__
        def watched(pipeline, config):
            init(pipeline, config)
            pipeline.enqueue = measured
        _pipeline.Pipeline.__init__ = watched
        marked.run({{"question": "large"}})
        gate.set()
        print(json.dumps({{"longest": longest, "flushed": flush(60), "again": flush(60), "is_full": delivery.queue.is_full}}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_SIZE="500",
    )
    assert report == {"longest": report["longest"], "flushed": False, "again": True, "is_full": False}
    assert 500 < report["longest"] < 1050  # complete ones, and as many that have begun at most
    assert stderr.count("POCKETFLOW_TRACE_QUEUE_SIZE") == 1
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    run = store.run("last")
    spans = store.spans(run.run_id)
    assert 400 < len(spans) < 900
    known = {span.span_id: span for span in spans}
    root = known[run.run_id]
    assert all(span.parent_id in known for span in spans if span is not root)
    assert {span.status for span in spans} == {"success"}
    assert root.attributes["lost_spans"] == store.figures()["dropped"] > 0


def test_a_run_larger_than_the_queue_goes_on_when_there_is_room(tmp_path):
    """What is left out is counted as a visit and a step; what comes later is whole, and its `shared` is right."""
    report, _ = _run(
        """
        class Change(Ask):
            def post(self, shared, prep_res, exec_res):
                shared["turn"] += 1
                shared["list"].append(shared["turn"])
                seen.add(current_trace_id())
                if shared["turn"] == 900:
                    gate.set()
                    flush(60)
                return "again" if shared["turn"] < 1000 else "done"
        from pocketflow_tracing import current_trace_id
        seen = set()
        change = Change()
        change - "again" >> change
        trace_flow(Flow(start=change)).run({"question": "long", "turn": 0, "list": []})
        print(json.dumps({"flushed": flush(60), "traces": len(seen - {None}), "some": len(seen)}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_SIZE="500",
    )
    assert report == {"flushed": True, "traces": 1, "some": 1}
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    run = store.run("last")
    spans = store.spans(run.run_id)
    visits = {span.attributes["visit"]: span for span in spans if span.kind == "node"}
    assert {*range(1, 100), *range(901, 1001)} <= visits.keys()
    assert len(visits) < 500  # of what waits the worker takes some before it stands still
    assert {visit: span.attributes["step"] for visit, span in visits.items()} == {visit: visit for visit in visits}
    below = {number: sum(other.parent_id == span.span_id for other in spans) for number, span in visits.items()}
    assert all(below[number] == 3 for number in (*range(1, 100), *range(901, 1001)))
    last = store.state_at(run.run_id, visits[1000].state["seq"])
    assert last["turn"] == 1000
    build_tree(run, spans)


@pytest.mark.parametrize("client", ["ours", "the program's"])
def test_no_generation_of_what_is_left_out_hangs_in_the_air(client, tmp_path):
    """It stands below what is there, with the settings of its run; the root says what is missing."""
    with Collector() as collector:
        report, _ = _run(
            f"""
            from langfuse import Langfuse, observe
            @observe(as_type="generation")
            def ask_model(api_key):
                return "answer"
            class Generates(Ask):
                def exec(self, question):
                    return ask_model(api_key="secret-number-" + str(shared["left"]))
            generates = Generates()
            generates - "again" >> generates
            shared = {{"question": "long", "left": 300}}
            client = Langfuse(environment="own") if {client != "ours"} else None
            flow.run({{"question": "first"}})
            standing.wait(30)  # or the worker makes room once, and two visits meet a full queue
            trace_flow(Flow(start=generates)).run(shared)
            gate.set()
            print(json.dumps({{"flushed": flush(60)}}))
            if client is not None:
                client.flush()
            """,
            tmp_path,
            collector,
            POCKETFLOW_TRACE_QUEUE_SIZE="200",
        )
        spans = [span for span in collector.spans() if span.attributes["langfuse.trace.name"] != "Drill"]
    assert report["flushed"] is False
    known = {span.span_id for span in spans}
    (root,) = (span for span in spans if span.parent_id not in known)
    visits = sum(span.name == "Generates" for span in spans)
    lost = int(root.attributes["langfuse.observation.metadata.lost_spans"]) - (300 - visits)
    assert 0 <= lost <= 3  # phases of the visit during which the queue became full
    generations = [span.parent_id == root.span_id for span in spans if span.name == "ask_model"]
    assert (sum(generations), len(generations)) == (300 - visits, 300)
    assert client != "ours" or "secret-number" not in str([span.attributes for span in spans])


def test_a_queue_that_fills_is_not_left_to_gather(tmp_path):
    """Else no more could be recorded a second than it holds, however fast it is written."""
    report, _ = _run(
        """
        import time
        gate.set()
        for number in range(60):
            flow.run({"question": str(number)})
        deadline = time.monotonic() + 20
        while len(delivery.queue) > 250 and time.monotonic() < deadline:
            time.sleep(0.01)
        print(json.dumps({"waiting": len(delivery.queue)}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_SIZE="1000",
        POCKETFLOW_TRACE_FLUSH_INTERVAL="60",
    )
    assert report["waiting"] <= 250


def test_what_is_let_go_of_at_the_end_is_said_while_it_is_being_counted(tmp_path):
    """A full queue takes its time: the process may end before the worker knows the number."""
    _, stderr = _run(
        """
        import time
        gate.set()
        for number in range(400):
            flow.run({"question": str(number)})
        take, give_up = delivery.queue.take, delivery.queue.give_up
        def late(most):
            while time.monotonic() <= delivery.last_moment:
                time.sleep(0.01)
            return take(most)
        def long():
            found = give_up()
            if threading.current_thread() is not threading.main_thread():
                threading.Event().wait(30)
            return found
        delivery.queue.take, delivery.queue.give_up = late, long
        print("{}")
        """,
        tmp_path,
        POCKETFLOW_TRACE_FLUSH_INTERVAL="60",
        POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT="0.5",
    )
    # all but the first run, which is taken at once; at most the one that waits for the end is counted as well
    assert any(
        line.startswith(("1995 spans are lost", "1996 spans are lost")) for line in stderr.split("pocketflow-tracing: ")
    )


@pytest.mark.parametrize("kind", ["a loop", "a batch flow", "flows in a loop", "items", "generations of an exec"])
def test_a_run_that_the_end_cuts_short_has_its_root_and_says_so(kind, tmp_path):
    """What has been delivered of it stands below what it stood below, also where it ended while its beginning was in hand."""
    _, stderr = _run(
        f"""
        from pocketflow import BatchNode
        from pocketflow_tracing import _sink_shares
        def numbers():
            standing.wait(30)  # the worker has taken the beginning of the run
            yield from range(1, 3000)
        turns = numbers()
        {LARGE[kind]}
        shutdown, add, added = delivery.shutdown, _sink_shares.Shares.add, []
        def ends(seconds):
            gate.set()
            return shutdown(seconds)
        def counted(*args):
            add(*args)
            added.append(args)
            if len(added) == 20:
                delivery._worker.last_moment = 0.0  # there is no time for more
        delivery.shutdown, _sink_shares.Shares.add = ends, counted
        trace_flow(large, flow_name="Large").run({{"question": "large"}})
        print("{{}}")
        """,
        tmp_path,
        POCKETFLOW_TRACE_FLUSH_INTERVAL="0.01",
        POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT="20",
    )
    assert "spans are lost" in stderr
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    run = store.run("last")
    spans = store.spans(run.run_id)
    known = {span.span_id for span in spans}
    root = next(span for span in spans if span.span_id == run.run_id)
    assert root.attributes["lost_spans"] == store.figures()["dropped"] > 1000
    assert all(span.parent_id in known for span in spans if span is not root)
    assert "running" not in {span.status for span in spans}


def test_small_runs_beside_one_that_fills_the_queue_are_whole(tmp_path):
    """They are recorded as long as there is room for them, and dropped whole; none is there by halves."""
    report, _ = _run(
        """
        class Opens(Ask):  # begins while the queue is full, and ends when it is not
            def exec(self, question):
                full.append(delivery.queue.is_full)
                gate.set()
                flush(60)
                full.append(delivery.queue.is_full)
        opens = trace_flow(Flow(start=Opens()), flow_name="Opens")
        class Fills(Ask):
            def post(self, shared, question, answer):
                shared["left"] -= 1
                if shared["left"] % 10 == 0:  # in a thread, where they are runs of their own
                    small = threading.Thread(target=(flow if shared["left"] else opens).run, args=({"question": "small"},))
                    small.start()
                    small.join()
                return "again" if shared["left"] else "done"
        fills = Fills()
        fills - "again" >> fills
        full = []
        trace_flow(Flow(start=fills)).run({"question": "large", "left": 2000})
        print(json.dumps({"flushed": flush(60), "full": full}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_SIZE="500",
    )
    assert report == {"flushed": False, "full": [True, False]}
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    small = {run.run_id: run.name for run in store.runs(limit=None) if run.name != "Flow"}
    assert "Opens" in small.values()
    assert {len(store.spans(run_id)) for run_id in small} == {5}


def test_a_queue_in_bytes_holds_too(tmp_path):
    """Large results in many runs are dropped by their size before the count is reached."""
    report, stderr = _run(
        """
        for number in range(400):
            flow.run({"question": str(number) + "x" * 100_000})
        gate.set()
        print(json.dumps({"flushed": flush(30)}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_MB="4",
    )
    assert report["flushed"] is False
    assert "POCKETFLOW_TRACE_QUEUE_MB" in stderr
    assert len(list(Store(tmp_path / ".pocketflow" / "traces.db").runs(limit=1000))) < 400


@pytest.mark.parametrize(
    "runs",
    [
        'for number in range(300): flow.run({"question": str(number) + "x" * size})',
        'flow.run({"question": "x" * size, "left": 300})',
        'for number in range(300): trace_flow(Flow(start=Completes())).run({"question": str(number)})',
        'for number in range(300): trace_flow(Flow(start=Fails())).run({"question": str(number)})',
        'for number in range(300): trace_flow(Flow(start=Notes())).run({"question": str(number)})',
        'for number in range(300): trace_flow(Flow(start=Keys())).run({"question": str(number)})',
        'for number in range(300): trace_flow(lambda text: flow.run({"question": ""}))(str(number) + "x" * size)',
        'for number in range(300): trace_flow(Flow(start=Node()), metadata={"profile": str(number) + "x" * size}).run({})',
        "trace_flow(Passes(start=Node())).run({})",
        'for number in range(300): trace_flow(Flow(start=Files())).run({"question": str(number), "by_text": {"": 0}})',
        "for _ in range(300): wide.run({})",
    ],
    ids=[
        "many runs",
        "one run",
        "deep",
        "errors",
        "notes",
        "keys",
        "arguments",
        "metadata",
        "passes",
        "keys of shared",
        "graphs",
    ],
)
@pytest.mark.parametrize("size", [200_000, 2_000_000])
def test_large_values_do_not_fill_the_memory(runs, size, tmp_path):
    """While the worker stands still, values take no more than the bound: runs go, of the newest one its values."""
    report, _ = _run(
        f"""
        import resource
        size = {size}
        flow.run({{"question": "first"}})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        {runs}
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        gate.set()
        print(json.dumps({{"grown": (after - before) / 1024, "flushed": flush(60)}}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_MB="8",
    )
    # 8 MB in the queue, 8 MB that were taken out of it, and what the program itself holds
    assert report["flushed"] is False  # something had to go
    assert report["grown"] < 40
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    run = store.run("last")
    assert run.status == ("recovered" if "Fails" in runs else "success")
    if "left" in runs:
        spans = store.spans(run.run_id)
        assert len(spans) == 1 + 300 * 4
        withheld = [span for span in spans if span.output == "<not kept: more was recorded than can be delivered>"]
        assert len(withheld) > 100
        assert report["flushed"] is False
        assert store.figures()["dropped"] >= len(withheld)


def test_a_text_weighs_what_it_takes_in_memory():
    """One with an emoji in it has four bytes for each character, a Chinese one two."""
    for text in ("a" * 10_000, "é" * 10_000, "字" * 10_000, "😀" * 10_000):
        taken = sys.getsizeof(text)
        assert taken - 100 <= weigh(text) <= taken + 100
        assert taken - 100 <= weigh({"text": text}) <= taken + 200


def test_the_bound_in_bytes_is_free_again_when_the_queue_is_empty(tmp_path):
    """Whatever was let go on the way, the runs after a flood are kept whole."""
    report, _ = _run(
        """
        flow.run({"question": "x" * 8000, "left": 2000})
        gate.set()
        flush(60)
        flow.run({"question": "after"})
        print(json.dumps({"flushed": flush(60), "bytes": delivery.queue._bytes}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_MB="16",
        POCKETFLOW_TRACE_QUEUE_SIZE="1000",
    )
    assert report == {"flushed": True, "bytes": 0}
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    assert {"after", "after?"} <= {span.output for span in store.spans(store.run("last").run_id) if span.kind != "flow"}


def test_the_state_of_a_run_that_was_not_kept_is_unknown_and_never_wrong(tmp_path):
    """Where values were let go, what a visit changed has no value; what was kept later is right."""
    report, _ = _run(
        """
        class Change(Node):
            def post(self, shared, prep_res, exec_res):
                turn = shared["turn"] = shared["turn"] + 1
                shared["text"] = str(turn) * 50_000
                shared["list"].append(turn)
                shared[f"k{turn % 7}"] = turn
                shared.pop(f"k{turn * 3 % 7}", None)
                if turn == 250:
                    gate.set()  # from here on there is room again
                    flush(60)
                return "again" if turn < 300 else "done"
        change = Change()
        change - "again" >> change
        change - "done" >> Node()
        shared = {"turn": 0, "list": []}
        trace_flow(Flow(start=change)).run(shared)
        print(json.dumps({"flushed": flush(60), "shared": {**shared, "text": None}}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_MB="1",
    )
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    run_id = store.run("last").run_id
    steps = [span.state for span in store.spans(run_id) if span.state]
    assert len(steps) >= 300
    for step in steps:
        rebuilt = store.state_at(run_id, step["seq"])
        turn = rebuilt.get("turn")
        assert turn in (step["seq"] - 1, "<not kept: more was recorded than can be delivered>")
    final = store.state_at(run_id, steps[-1]["seq"])
    for key, value in report["shared"].items():
        assert final[key] == value or "not kept" in str(final[key]) or key in {"list", "text"}
    assert final.keys() == report["shared"].keys()


def test_what_is_dropped_is_counted_once(tmp_path):
    """Also where a span's values went first, and then its run: with what is stored it is what was recorded."""
    report, _ = _run(
        """
        flow.run({"question": "first"})
        assert standing.wait(30)
        for number in range(300):
            flow.run({"question": str(number) + "x" * 30_000})
        gate.set()
        print(json.dumps({"flushed": flush(60)}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_MB="1",
    )
    assert report == {"flushed": False}
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    stored = sum(len(store.spans(run.run_id)) for run in store.runs(limit=None))
    assert 301 * 5 == stored + store.outbox().dropped_spans


def test_small_runs_beside_one_that_fills_the_queue_are_not_slowed(tmp_path):
    """While the worker stands still, each would else have the whole queue walked through to make room."""
    report, _ = _run(
        """
        class Fills(Ask):
            def post(self, shared, question, answer):
                shared["left"] -= 1
                if not shared["left"]:  # in a thread, where they are runs of their own
                    small = threading.Thread(target=lambda: [flow.run({"question": "small"}) for _ in range(50)])
                    small.start()
                    small.join()
                return "again" if shared["left"] else "done"
        fills = Fills()
        fills - "again" >> fills
        fills - "done" >> Node()
        from pocketflow_tracing._queue_line import Line
        walks = []
        walk = Line.look_anew
        Line.look_anew = lambda line: walks.append(len(line)) or walk(line)
        trace_flow(Flow(start=fills)).run({"question": "x" * 3000, "left": 500})
        gate.set()
        print(json.dumps({"walks": walks, "flushed": flush(60)}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_MB="1",
    )
    assert report["flushed"] is False
    assert len(report["walks"]) < 5


def test_spans_of_other_instrumentations_are_bounded_too(tmp_path):
    """What has no room is counted, by `flush`, by the store and by its run."""
    report, stderr = _run(
        """
        import resource
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        class Calls(Ask):
            def exec(self, question):
                for number in range(2000):
                    with trace.get_tracer("app").start_as_current_span("llm") as span:
                        span.set_attribute("gen_ai.prompt", str(number) + "x" * 25_000)
                        span.set_attribute("embedding.vector", [0.5] * 800)
        flow.run({"question": "first"})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        trace_flow(Flow(start=Calls())).run({"question": "why"})
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        gate.set()
        print(json.dumps({"grown": (after - before) / 1024, "flushed": flush(60)}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_MB="8",
    )
    assert report["grown"] < 40
    assert report["flushed"] is False
    assert "POCKETFLOW_TRACE_QUEUE_MB" in stderr
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    spans = store.spans(store.run("last").run_id)
    kept = sum(span.kind == "external" for span in spans)
    assert 100 < kept < 200
    assert (
        2000 - kept
        == store.figures()["dropped"]
        == next(span.attributes["lost_spans"] for span in spans if span.parent_id is None)
    )


def test_nothing_of_ours_grows_over_ten_thousand_runs(tmp_path):
    """After 10,000 runs there are no more threads, files and objects of ours than after 1,000."""
    report, _ = _run(
        """
        import gc, os
        gate.set()
        def census():
            assert flush(60)
            gc.collect()
            ours = sum(1 for thing in gc.get_objects() if type(thing).__module__.startswith("pocketflow_tracing"))
            return {"threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd")), "objects": ours}
        for number in range(1000):
            flow.run({"question": "small"})
        first = census()
        for _ in range(9):
            for number in range(1000):
                flow.run({"question": "small"})
            flush(60)
        print(json.dumps([first, census()]))
        """,
        tmp_path,
        POCKETFLOW_TRACE_STORE_MAX_RUNS="100",
    )
    first, last = report
    assert last["threads"] == first["threads"]
    assert last["files"] == first["files"]
    assert last["objects"] <= first["objects"] + 20


@pytest.mark.parametrize("to", ["store", "server"])
def test_nothing_of_ours_grows_with_a_store_for_each_job(to, tmp_path):
    """When 60 jobs with stores of their own are over, nothing of them is left: no thread, no file, no object."""
    with Collector() if to == "server" else contextlib.nullcontext() as collector:
        report, _ = _run(
            """
            import gc, os, time
            from pocketflow_tracing import TracingConfig, _uses
            _uses._REST_SECONDS = 0.0
            gate.set()
            del flow
            def census():
                assert flush(60)
                assert flush(60)  # the worker has looked around after the first
                gc.collect()
                ours = sum(1 for thing in gc.get_objects() if type(thing).__module__.startswith("pocketflow_tracing"))
                return {"threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd")), "objects": ours}
            def work(first):
                for number in range(first, first + 30):
                    config = TracingConfig(store=f"{number}/traces.db")
                    trace_flow(Flow(start=Ask()), config=config).run({"question": "small"})
                    if number % 10 == 9:
                        gc.collect()
                        flush(60)
                gc.collect()
            work(0)
            first = census()
            work(30)
            deadline = time.monotonic() + 30
            while (last := census())["threads"] > first["threads"] and time.monotonic() < deadline:
                os.sched_yield()
            print(json.dumps([first, last, len(delivery._sinks)]))
            """,
            tmp_path,
            collector,
        )
        first, last, sinks = report
        assert sinks <= 1 + (to == "server")
        assert last["threads"] <= first["threads"]
        assert last["files"] <= first["files"]
        assert last["objects"] <= first["objects"] + 20
        if collector is not None:
            assert len(collector.spans()) == 60 * 5
    assert [len(Store(tmp_path / f"{number}" / "traces.db").runs()) for number in range(60)] == [1] * 60


def test_a_text_that_many_spans_refer_to_counts_once(tmp_path):
    """Documents that are handed on from node to node take the memory that they take."""
    report, _ = _run(
        """
        class Hands(Node):
            def prep(self, shared):
                return shared["documents"]
            def exec(self, documents):
                return documents
            def post(self, shared, documents, same):
                shared["turn"] += 1
                return "again" if shared["turn"] < 100 else "done"
        hands = Hands()
        hands - "again" >> hands
        hands - "done" >> Node()
        trace_flow(Flow(start=hands)).run({"turn": 0, "documents": [str(n) + "x" * 50_000 for n in range(20)]})
        gate.set()
        print(json.dumps({"flushed": flush(60)}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_MB="8",
    )
    assert report == {"flushed": True}


@pytest.mark.parametrize("ending", ["drop", "give up"])
def test_runs_that_are_not_delivered_are_freed_without_the_garbage_collector(tmp_path, ending):
    """An interpreter that ends collects garbage: with a full queue of circles that took a second beyond the deadline."""
    report, _ = _run(
        f"""
        import gc
        from pocketflow_tracing.recorder import Span
        def spans():
            return sum(isinstance(thing, Span) for thing in gc.get_objects())
        gc.disable()
        flow.run({{"question": "first"}})
        assert standing.wait(30)
        for number in range(1000):
            flow.run({{"question": str(number)}})
        if {ending == "drop"}:
            gate.set()
            flush(30)
        else:
            held = spans()
            assert held > 400, held
            assert delivery.queue.give_up().lost >= 400
        print(json.dumps({{"left": spans()}}))
        gate.set()
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_SIZE="500",
    )
    assert report["left"] < 20  # the worker has the first run in hand


def test_room_is_made_in_steps(tmp_path):
    """To look through a full queue at once took 100 ms of who recorded into it; none of what is left is lost, or out of order."""
    report, _ = _run(
        """
        from pocketflow_tracing._queue import SpanQueue
        looks = []
        put, stays = SpanQueue.put, SpanQueue._stays
        def counted(queue, item):
            looks[-1] += 1
            return stays(queue, item)
        SpanQueue._stays = counted
        def counting(queue, span):
            looks.append(0)
            put(queue, span)
        delivery.queue.put = lambda span: counting(delivery.queue, span)
        flow.run({"question": "-1"})
        assert standing.wait(30)
        for number in range(5000):
            flow.run({"question": str(number)})
        waiting = len(delivery.queue)
        gate.set()
        flushed = flush(60)
        print(json.dumps({"most": max(looks), "all": sum(looks), "waiting": waiting, "flushed": flushed}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_SIZE="2000",
    )
    assert report["most"] == 64
    assert report["all"] > 10_000
    assert report["waiting"] < 2 * 2000 + 100
    assert report["flushed"] is False
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    runs = [run.run_id for run in store.runs(limit=None)]
    questions = [next(span.output for span in store.spans(run) if span.name.endswith("prep")) for run in runs]
    kept = sorted(map(int, questions))[1:]  # the worker had the first in hand
    assert 300 < len(kept)
    assert list(range(5000 - len(kept), 5000)) == kept


def test_no_more_goes_than_has_to(tmp_path):
    """What went before is taken out by and by, and until then it is not missing room: as much waits as there is room for."""
    report, _ = _run(
        """
        flow.run({"question": "-1"})
        assert standing.wait(30)
        sizes = []
        for number in range(2000):
            flow.run({"question": str(number) + "x" * 4000})
            sizes.append(delivery.queue._bytes)
        weights = [run.weight for run in delivery.queue._complete]
        gate.set()
        print(json.dumps({"flushed": flush(60), "most": max(sizes), "weight": max(weights)}))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_MB="12",
    )
    most = 12 * 1024 * 1024
    assert report["most"] <= 1.25 * most
    store = Store(tmp_path / ".pocketflow" / "traces.db")
    names = [{span.name: span.output for span in store.spans(run.run_id)} for run in store.runs(limit=None)]
    whole = [outputs for outputs in names if "xxx" in str(outputs["Ask.prep"])]
    assert len(whole) > 0.7 * most / report["weight"]


def test_a_loop_of_many_failed_attempts_is_not_searched_with_each(tmp_path):
    """They wait, for they may be saved yet, and take up room: to look for what can go, again and again, would take seconds."""
    report, _ = _run(
        """
        from pocketflow_tracing._queue_line import Line
        searched = []
        search = Line.look_anew
        def count(line):
            searched.append(len(line))
            search(line)
        Line.look_anew = count

        class Polls(Node):
            def exec(self, prep_res):
                if self.cur_retry < 4999:
                    raise ConnectionError("not ready")

        trace_flow(Flow(start=Polls(max_retries=5000))).run({})
        gate.set()
        flush(30)
        print(json.dumps(searched))
        """,
        tmp_path,
        POCKETFLOW_TRACE_QUEUE_SIZE="500",
    )
    assert len(report) < 10
