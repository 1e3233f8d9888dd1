"""A small program with traced flows, run by the fault tests as a process of its own.

    program.py RUNS [ENDING]

It prints, as JSON, the seconds that a run took in the best of ten rounds, and what `flush` or `shutdown` said when asked;
ENDING says how it ends.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time

from pocketflow import AsyncFlow, AsyncNode, Flow, Node

from pocketflow_tracing import flush, shutdown, trace_flow


class Ask(Node):
    def prep(self, shared):
        return shared["question"]

    def exec(self, question):
        return question + "?"

    def post(self, shared, question, answer):
        shared["answer"] = answer


class Tell(Ask):
    pass


ROUNDS = 10


class AskAsync(AsyncNode):
    async def prep_async(self, shared):
        return shared["question"]

    async def exec_async(self, question):
        await asyncio.sleep(0)
        return question + "?"

    async def post_async(self, shared, question, answer):
        shared["answer"] = answer


def make_flow():
    ask = Ask()
    ask >> Tell()
    return trace_flow(Flow(start=ask), flow_name="Drill")


def main():
    runs = int(sys.argv[1])
    ending = sys.argv[2] if len(sys.argv) > 2 else "return"
    flow = make_flow()
    flow.run({"question": "warm"})
    took = []
    for first in range(0, runs, max(1, runs // ROUNDS)):
        numbers = range(first, min(runs, first + max(1, runs // ROUNDS)))
        began = time.perf_counter()
        for number in numbers:
            flow.run({"question": str(number)})
        took.append((time.perf_counter() - began) / len(numbers))
    report = {"seconds": min(took), "began_exit": None}
    if ending in {"flush", "shutdown"}:
        say = flush if ending == "flush" else shutdown
        report["flushed"] = say(timeout=float(os.environ.get("FLUSH_SECONDS", "5")))
    report["began_exit"] = time.time()
    print(json.dumps(report), flush=True)
    if ending == "sys.exit":
        sys.exit(3)
    if ending == "raise":
        raise RuntimeError("the program's own error")
    if ending == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(30)
    if ending == "terminate":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    if ending == "asyncio":
        traced = trace_flow(AsyncFlow(start=AskAsync()), flow_name="Drill")
        asyncio.run(traced.run_async({"question": "async"}))
    if ending in {"asyncio sys.exit", "asyncio interrupt"}:

        class Ends(AskAsync):
            async def exec_async(self, question):
                if ending == "asyncio sys.exit":
                    sys.exit(3)
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(30)

        asyncio.run(trace_flow(AsyncFlow(start=Ends()), flow_name="Drill").run_async({"question": "async"}))
    if ending == "running":
        begun = threading.Event()

        def go_on():
            while True:
                flow.run({"question": "thread"})
                begun.set()
                time.sleep(0.002)  # at full speed the queue would be longer than what an exit can write

        threading.Thread(target=go_on, daemon=True).start()
        begun.wait()
    if ending == "daemon":
        thread = threading.Thread(target=lambda: flow.run({"question": "thread"}), daemon=True)
        thread.start()
        thread.join()


if __name__ == "__main__":
    main()
