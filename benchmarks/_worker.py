"""One measured process: one way of watching, one workload. Prints its figures as a line of JSON."""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from _collector import ask
from _variants import SLOW, VARIANTS, Watching
from _workloads import PLANS, Workload, loop

MB = 1024 * 1024


def resident_mb() -> float:
    """Memory of this process now."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MB
    return peak_mb()


def peak_mb() -> float:
    """The most memory of this process since `forget_peak`, or since its start where the system cannot forget."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MB if sys.platform == "darwin" else peak / 1024


def forget_peak() -> None:
    """Let the peak begin anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


class Meter:
    """Bytes that left the process, to the collector or to disk."""

    def __init__(self, url: str, watching: Watching) -> None:
        self.url = url
        self.watching = watching

    def read(self) -> int:
        """Bytes so far."""
        return int(ask(self.url, "/_/totals")["bytes"]) + self.watching.stored()


def rows_in_stores(watching: Watching) -> int:
    """Spans in the store file, for the variant that has one."""
    import sqlite3

    total = 0
    for path in watching.folder.glob("*.db") if watching.folder else ():
        with contextlib.closing(sqlite3.connect(path)) as connection:
            total += connection.execute("SELECT count(*) FROM spans").fetchone()[0]
    return total


def warm_up(watching: Watching, work: Workload, *, slow: bool) -> None:
    """Run before measuring: classes are met, threads started, connections made. A slow variant gets a small state."""
    shared = work.shared
    work.shared = lambda: {"number": 0}
    work.run(3)
    work.shared = shared
    if not slow:
        work.run(2)
    for _ in range(2):
        watching.flush()
        time.sleep(0.3)
    watching.flush()


def measure(variant: str, workload: str, url: str) -> dict[str, Any]:
    """Measure one workload under one way of watching."""
    watching = VARIANTS[variant][0](url)
    plan = PLANS[workload]
    slow = variant in SLOW
    work = plan.make(watching.kit, plan.scale)
    work.flow = watching.mark(work.flow)
    warm_up(watching, work, slow=slow)
    ask(url, "/_/forget")
    runs = plan.slow_runs if slow else plan.runs
    samples = 1 if slow else plan.samples
    if variant == "old":  # half a second of flush per run
        runs, samples = min(plan.runs, 3), 1
    elif variant in {"untraced", "disabled", "sampled_out"}:
        samples *= 3
    visits = runs * work.visits
    meter = Meter(url, watching)
    there = rows_in_stores(watching)
    caller, thread, cpu = [], [], []
    early, late = [], []
    gc.collect()
    sent = meter.read()
    forget_peak()
    base = resident_mb()
    for _ in range(samples):
        gc.collect()
        work.stamps.clear()
        used, own = time.process_time(), time.thread_time()
        caller.append(work.run(runs) / visits * 1e6)
        thread.append((time.thread_time() - own) / visits * 1e6)
        watching.flush()
        cpu.append((time.process_time() - used) / visits * 1e6)
        if work.stamps:
            steps = [after - before for before, after in itertools.pairwise(work.stamps)]
            early.append(statistics.median(steps[50:150]) * 1e6)
            late.append(statistics.median(steps[-150:]) * 1e6)
    found: dict[str, Any] = {
        "caller": caller,
        "thread": thread,
        "cpu": cpu,
        "memory": peak_mb() - base,
        "bytes": (meter.read() - sent) / visits / samples,
        "made": work.spans * runs * samples,
        "stored": rows_in_stores(watching) - there,
        "early": early,
        "late": late,
    }
    if workload == "W6" and variant == "langfuse":
        half = loop(watching.kit, visits=work.visits // 2)
        found["bytes_of_half"] = bytes_of(watching, meter, half)
        found["made"] += half.spans
    return found


def bytes_of(watching: Watching, meter: Meter, work: Workload) -> float:
    """Bytes per visit of one run."""
    work.flow = watching.mark(work.flow)
    before = meter.read()
    work.run(1)
    watching.flush()
    return (meter.read() - before) / work.visits


def growth(variant: str, workload: str, url: str, times: int = 100) -> dict[str, Any]:
    """Memory after each tenth of many runs."""
    watching = VARIANTS[variant][0](url)
    work = PLANS[workload].make(watching.kit)
    work.flow = watching.mark(work.flow)
    curve = []
    for _ in range(10):
        for _ in range(times // 10):
            work.stamps.clear()
            work.run(1)
            watching.flush()
        ask(url, "/_/forget")
        gc.collect()
        curve.append(round(resident_mb(), 1))
    return {"curve": curve}


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("variant")
    parser.add_argument("workload")
    parser.add_argument("url")
    parser.add_argument("--growth", action="store_true")
    arguments = parser.parse_args()
    what = growth if arguments.growth else measure
    found = what(arguments.variant, arguments.workload, arguments.url)
    print("\n" + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
