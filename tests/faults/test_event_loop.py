"""The event loop of a program does not feel the tracer, whatever the server does."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from collector import Collector, Mode
from drill import environment

PROGRAM = """
import asyncio, json, time
from pocketflow import AsyncFlow, AsyncNode
from pocketflow_tracing import trace_flow

class Ask(AsyncNode):
    async def prep_async(self, shared):
        return shared["question"]
    async def exec_async(self, question):
        await asyncio.sleep(0.001)
        return question
    async def post_async(self, shared, question, answer):
        shared["answer"] = answer

async def watched(flow):
    longest, done = 0.0, False
    async def beat():
        nonlocal longest
        last = time.perf_counter()
        while not done:
            await asyncio.sleep(0.0005)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
    beating = asyncio.create_task(beat())
    for _ in range(60):
        await asyncio.gather(*(flow.run_async({"question": "why"}) for _ in range(3)))
    done = True
    await beating
    return longest

first = Ask()
first >> Ask()
plain, traced = AsyncFlow(start=first), trace_flow(AsyncFlow(start=first))
asyncio.run(traced.run_async({"question": "warm"}))
rounds = [(asyncio.run(watched(plain)), asyncio.run(watched(traced))) for _ in range(8)]
while len(rounds) < 40 and min(late for _, late in rounds) > 0.005 + min(late for late, _ in rounds):
    rounds.append((asyncio.run(watched(plain)), asyncio.run(watched(traced))))
print(json.dumps(rounds))
"""


@pytest.mark.parametrize("server", ["silent", "trickle", "500", "refuse", "413"])
def test_no_stall_above_five_milliseconds(server, tmp_path):
    """A beat every half millisecond beside 180 runs is late by 5 ms because of us in no round.

    The best round counts, beside the best one without a tracer, and on a busy machine there are more of them: there a
    round is late for other reasons, but a stall that the tracer causes (a network call, a lock, a long computation that
    holds the interpreter) is there in each.
    """
    mode = {
        "silent": Mode.silent(),
        "trickle": Mode.trickle(),
        "500": Mode.status(500),
        "refuse": Mode.refuse(),
        "413": Mode.status(413, above_bytes=2000),
    }[server]
    with Collector(mode) as collector:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=tmp_path,
            env=environment(collector),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    plain, traced = zip(*json.loads(done.stdout), strict=True)
    assert min(traced) < min(plain) + 0.005
