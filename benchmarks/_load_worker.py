"""The program whose spans must not get lost. Answers its driver in lines of JSON, and waits for a line where it has to."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import sys
import time
from typing import Any

from _variants import VARIANTS, langfuse
from _worker import resident_mb
from _workloads import Kit, small


def say(**figures: Any) -> None:
    """Tell the driver."""
    print(json.dumps(figures), flush=True)


def thousand_spans(kit: Kit, seen: set[str]) -> Any:
    """A flow of exactly 1,000 spans: flow, node, prep, exec of the batch, 995 items, post. `seen` gets the ids that the items see."""
    from opentelemetry import trace

    class Items(kit.batch_node):  # type: ignore[name-defined]
        def prep(self, shared):
            return range(995)

        def exec(self, item):
            seen.add(f"{trace.get_current_span().get_span_context().span_id:016x}")
            return item

        def post(self, shared, prep_res, exec_res):
            shared["items"] = len(exec_res)

    return kit.flow(start=Items())


def burst(url: str, variant: str, spans: int) -> None:
    """Record so many spans as fast as it goes, then flush."""
    watching = VARIANTS[variant][0](url)
    seen: set[str] = set()
    flow = watching.mark(thousand_spans(watching.kit, seen))
    flow.run({})
    watching.flush()
    time.sleep(0.5)
    watching.flush()
    say(ready=True)
    sys.stdin.readline()
    seen.clear()
    start = time.perf_counter()
    for _ in range(spans // 1000):
        flow.run({})
    recorded = time.perf_counter() - start
    watching.flush()
    say(recorded=recorded, seconds=time.perf_counter() - start, seen=sorted(seen))


def soak(url: str, visits: int, rate: int) -> None:
    """Visit nodes while the server is down; tell the memory ten times."""
    watching = langfuse(url)
    work = small(watching.kit)
    work.flow = watching.mark(work.flow)
    work.run(100)
    time.sleep(2.0)
    gc.collect()
    say(visits=0, mb=resident_mb())
    start = time.monotonic()
    for tenth in range(10):
        for batch in range(visits // 1000):
            work.run(10)
            if rate:
                done = (tenth * (visits // 1000) + batch + 1) * 100
                time.sleep(max(0.0, start + done / rate - time.monotonic()))
        say(visits=(tenth + 1) * visits // 10, mb=resident_mb(), seconds=time.monotonic() - start)
    end = time.monotonic()
    import pocketflow_tracing

    pocketflow_tracing.shutdown(10.0)
    say(shutdown=time.monotonic() - end)


def outage(url: str, runs: int) -> None:
    """Run with the server down, say so, live on until the driver has seen enough."""
    watching = langfuse(url)
    work = small(watching.kit)
    work.flow = watching.mark(work.flow)
    start = time.perf_counter()
    for _ in range(runs):
        work.run(1)
        time.sleep(0.01)
    say(made=runs * work.spans, seconds=time.perf_counter() - start)
    sys.stdin.readline()


def once(url: str, runs: int) -> None:
    """Run and end, without a flush."""
    watching = langfuse(url)
    work = small(watching.kit)
    work.flow = watching.mark(work.flow)
    work.run(runs)
    say(made=runs * work.spans, ended=time.time())


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("burst", "soak", "outage", "once"))
    parser.add_argument("url")
    parser.add_argument("--variant", default="langfuse")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--rate", type=int, default=0)
    arguments = parser.parse_args()
    with contextlib.suppress(BrokenPipeError):
        if arguments.what == "burst":
            burst(arguments.url, arguments.variant, arguments.count)
        elif arguments.what == "soak":
            soak(arguments.url, arguments.count, arguments.rate)
        else:
            {"outage": outage, "once": once}[arguments.what](arguments.url, arguments.count)


if __name__ == "__main__":
    main()
