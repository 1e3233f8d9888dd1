"""The browser view against its bars: a store of 10,000 runs and 1,000,000 spans, and a run of 10,000 spans.

    python benchmarks/viewer.py                    every measurement, about three minutes, most of it making the store
    python benchmarks/viewer.py --store big.db     keeps the store, or uses the one that is there

Server times are what the application spends on a request, over HTTP and as the median of several; page weights are what a
browser transfers; frame times are measured in Chromium while a run of 10,000 spans is scrolled and zoomed.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import uvicorn

from pocketflow_tracing.records import RunRecord, SpanRecord
from pocketflow_tracing.store import Store, StoreWriter
from pocketflow_tracing.viewer.app import create_app

RUNS, SPANS_PER_RUN, LONG_RUN = 10_000, 100, 10_000
MS = 1_000_000
FLOWS = ("ResearchAgent", "SupportDesk", "NightlyReport", "Translate", "Chat")
GRAPH = {
    "flows": [
        {
            "id": "Flow",
            "name": "Flow",
            "start": "Node0",
            "nodes": [{"id": f"Node{n}", "name": f"Node{n}", "kind": "node", "class": f"Node{n}"} for n in range(8)],
            "edges": [{"from": f"Node{n}", "action": "default", "to": f"Node{(n + 1) % 8}"} for n in range(8)],
        }
    ]
}
CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]


def make_run(number: int, start_ns: int, visits: int, chance: random.Random) -> tuple[RunRecord, list[SpanRecord]]:
    """A run of node visits with three phases and, now and then, a failed attempt: about four spans a visit."""
    run_id, trace_id = f"{number:016x}", f"{number:032x}"
    spans: list[SpanRecord] = []
    at = start_ns
    failed = chance.random() < 0.03

    def span(kind, name, start, took, parent, **fields):
        made = SpanRecord(
            run_id, trace_id, f"{number:08x}{len(spans):08x}" if spans else run_id, parent, kind, name, fields.pop("status", "success"),
            start, start + took, **fields,
        )  # fmt: skip
        spans.append(made)
        return made

    root = span("flow", "Flow", start_ns, 1, None, state={"seq": 0, "full": {"question": "why?"}})
    for visit in range(visits):
        name = f"Node{visit % 8}"
        took = int(chance.lognormvariate(3, 0.8) * MS)
        retried = chance.random() < 0.05
        node = span(
            "node", name, at, took, root.span_id, status="recovered" if retried else "success",
            attributes={"node": name, "class": name, "step": visit + 1, "visit": visit // 8 + 1, "action": "default", "successor": f"Node{(visit + 1) % 8}"},
            state={"seq": visit + 1, "added": {f"key{visit}": "x" * 40}},
        )  # fmt: skip
        span(
            "phase",
            f"{name}.prep",
            at,
            took // 50,
            node.span_id,
            attributes={"phase": "prep"},
            output="what the node was asked " * 3,
        )
        if retried:
            error = {
                "type": "TimeoutError",
                "message": "no answer",
                "traceback": [{"file": "a.py", "line": 1, "function": "exec", "code": "call()"}],
            }
            span("attempt", f"{name}.exec", at + took // 50, took // 4, node.span_id, status="error", error=error,
                 attributes={"phase": "exec", "attempt": 1, "max_attempts": 2, "level": "WARNING"})  # fmt: skip
        span("attempt", f"{name}.exec", at + took // 3, took // 2, node.span_id, input="a prompt of some length " * 6, output="an answer " * 10,
             attributes={"phase": "exec", "attempt": 2 if retried else 1, "max_attempts": 2})  # fmt: skip
        span("phase", f"{name}.post", at + took - took // 50, took // 60, node.span_id, attributes={"phase": "post"})
        at += took
    root.end_ns = at
    status = "error" if failed else chance.choice(["success"] * 5 + ["recovered"])
    root.status = status
    record = RunRecord(
        run_id, trace_id, FLOWS[number % len(FLOWS)], status, start_ns, at, session_id=f"session-{number % 200}", user_id=f"user-{number % 50}",
        tags=["nightly"] if number % 3 else ["beta"], version=f"1.{number // 4000}", graph=GRAPH, process_id="host:1:aa",
        error={"type": "ValueError", "message": "the page was empty"} if failed else None,
    )  # fmt: skip
    return record, spans


def make_store(path: Path, runs: int, spans: int, long_run: int) -> None:
    chance = random.Random(7)
    now = time.time_ns()
    with contextlib.closing(StoreWriter(path)) as writer:
        for first in range(0, runs, 50):
            made = [
                make_run(number + 1, now - (runs - number) * 60_000 * MS, spans // 4, chance)
                for number in range(first, min(runs, first + 50))
            ]
            writer.write([run for run, _ in made], [span for _, of_run in made for span in of_run])
            if first % 1000 == 0:
                print(f"\r  {first:,} runs", end="", file=sys.stderr)
        record, of_run = make_run(runs + 1, now, long_run // 4, chance)
        writer.write([record], of_run)
    print("\r", end="", file=sys.stderr)


@contextlib.contextmanager
def serving(path: Path):
    server = uvicorn.Server(uvicorn.Config(create_app(path), port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def measure_server(base: str, long_run: str, rounds: int) -> None:
    print(f"\nserver time, median (worst) of {rounds}, and bytes transferred")
    with httpx.Client(base_url=base) as client:
        for name, path in {
            "runs page, HTML": "/",
            "runs, the newest 50": "/api/runs",
            "runs with an error": "/api/runs?status=error",
            "runs of a session": "/api/runs?session=session-7",
            "runs with a text": "/api/runs?text=empty",
            "runs with a text that none has": "/api/runs?text=zzzzzz&since=24h",
            "… in any run of the store": "/api/runs?text=zzzzzz",
            "figures of all runs": "/api/figures",
            "figures of one flow": "/api/figures?flow=Chat",
            "choices of the filters": "/api/choices",
            "nodes of a flow": "/api/nodes?flow=Chat",
            f"a run of {LONG_RUN:,} spans": f"/api/runs/{long_run}",
            f"states of a run of {LONG_RUN:,} spans": f"/api/runs/{long_run}/states",
            "one span": f"/api/runs/{long_run}/spans/{long_run}",
        }.items():
            times, size = [], 0
            for _ in range(rounds):
                began = time.perf_counter()
                with client.stream("GET", path) as answer:
                    answer.raise_for_status()
                    size = sum(len(chunk) for chunk in answer.iter_raw())
                times.append((time.perf_counter() - began) * 1000)
            print(f"  {name:<38} {statistics.median(times):8.1f} ms ({max(times):.1f})  {size:>10,} B")


FRAMES = """async (act) => {
  const scroller = document.querySelector(".tree-scroll");
  const axis = document.querySelector(".axis").getBoundingClientRect();
  const times = [];
  let last = performance.now();
  for (let frame = 0; frame < 180; frame += 1) {
    if (act === "scroll") scroller.scrollTop += 400;
    else scroller.dispatchEvent(new WheelEvent("wheel", { deltaY: frame < 90 ? -40 : 40, ctrlKey: true, bubbles: true, cancelable: true, clientX: axis.x + axis.width / 2 }));
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - last);
    last = performance.now();
  }
  times.sort((a, b) => a - b);
  return { median: times[90], p95: times[171], worst: times[179], rows: document.querySelectorAll(".tree-row").length, spans: document.querySelector(".tree-tools .quiet").textContent };
}"""


def measure_browser(base: str, long_run: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        weights: list[int] = []
        page.on("requestfinished", lambda request: weights.append(request.sizes()["responseBodySize"]))
        print("\npage weights as transferred, scripts and styles included")
        for name, path in {
            "runs": "/",
            "nodes": "/nodes?flow=Chat",
            f"run of {LONG_RUN:,} spans": f"/runs/{long_run}",
        }.items():
            weights.clear()
            began = time.perf_counter()
            page.goto(base + path)
            page.wait_for_selector(".runs tbody tr, .nodes tbody tr, .pairs tbody tr, .tree-row")
            shown = (time.perf_counter() - began) * 1000
            page.wait_for_load_state("networkidle")
            print(f"  {name:<38} {sum(weights):>10,} B, shown after {shown:.0f} ms")
        for _ in range(2):  # everything folded, everything open
            page.locator(".tree-tools button", has_text="old all").click()
        print(f"\nframes of a run of {LONG_RUN:,} spans (ms; 16.7 is 60 a second)")
        for act in ("scroll", "zoom"):
            found = page.evaluate(FRAMES, act)
            print(
                f"  {act:<8} median {found['median']:.1f}, p95 {found['p95']:.1f}, worst {found['worst']:.1f}; {found['rows']} rows drawn of {found['spans']}"
            )
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = options.store or Path(directory, "traces.db")
        if not path.exists():
            print(f"making a store of {options.runs:,} runs …", file=sys.stderr)
            make_store(path, options.runs, SPANS_PER_RUN, LONG_RUN)
        store = Store(path)
        long_run = store.run("last").run_id
        figures = store.figures()
        print(f"{path}: {path.stat().st_size / 1e6:,.0f} MB, revision {figures['revision']}")
        with serving(path) as base:
            measure_server(base, long_run, options.rounds)
            if not options.no_browser:
                measure_browser(base, long_run)


if __name__ == "__main__":
    main()
