"""A small program with traced flows, run by the fault tests as a process of its own.

    program.py RUNS [ENDING]

It prints, as JSON, when it began, the seconds its runs took and what `flush` said, when asked; ENDING says how it ends.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time

from pocketflow import AsyncFlow, AsyncNode, Flow, Node

from pocketflow_tracing import flush, trace_flow


class Ask(Node):
    def prep(self, shared):
        return shared["question"]

    def exec(self, question):
        return question + "?"

    def post(self, shared, question, answer):
        shared["answer"] = answer


class Tell(Ask):
    pass


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
    report = {"began": time.time()}
    began = time.perf_counter()
    for number in range(runs):
        flow.run({"question": str(number)})
    took = time.perf_counter() - began
    report["seconds"] = took
    if ending == "flush":
        report["flushed"] = flush(timeout=float(os.environ.get("FLUSH_SECONDS", "5")))
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
    if ending == "daemon":
        thread = threading.Thread(target=lambda: flow.run({"question": "thread"}), daemon=True)
        thread.start()
        thread.join()


if __name__ == "__main__":
    main()
