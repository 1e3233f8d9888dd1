"""Whether everything arrives: bursts, slow servers, outages, restarts, and memory while the server is away.

    python benchmarks/load.py                       # everything, about three minutes
    python benchmarks/load.py --only burst,outage

Every part starts a program of its own and a collector of its own, and counts span ids on the collector's side.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _collector import Collector, ask
from _variants import PUBLIC, SECRET
from overhead import environment

HERE = Path(__file__).parent


class Program:
    """A running `_load_worker.py`.

    Args:
        what: which part of it.
        url: of the collector, there or not.
        folder: its working directory, which holds the store.
        options: more arguments.
    """

    def __init__(self, what: str, url: str, folder: str, **options: Any) -> None:
        command = [sys.executable, str(HERE / "_load_worker.py"), what, url]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        self.process = subprocess.Popen(
            command, env=program_environment(url, folder), cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(Path(folder) / "stderr").open("a"), text=True,
        )  # fmt: skip
        self.folder = folder

    def answer(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        said = (Path(self.folder) / "stderr").read_text().strip().splitlines() or ["nothing"]
        raise RuntimeError(f"the program ended early, with code {self.process.wait()}; it said: {said[-1]}")

    def go(self) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> float:
        """Wait for its end; the seconds that took."""
        start = time.monotonic()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(120)
        return time.monotonic() - start


def store_in(folder: str) -> Path:
    """The store of a program that runs there."""
    return Path(folder) / ".pocketflow" / "traces.db"


def program_environment(url: str, folder: str) -> dict[str, str]:
    """What a user's program has: keys, address, a store."""
    return environment(
        LANGFUSE_PUBLIC_KEY=PUBLIC,
        LANGFUSE_SECRET_KEY=SECRET,
        LANGFUSE_BASE_URL=url,
        BENCHMARK_STORE="auto",  # with Langfuse: only what must be kept
    )


@contextmanager
def a_folder() -> Any:
    """A folder for one part."""
    with tempfile.TemporaryDirectory(prefix="load-", ignore_cleanup_errors=True) as folder:
        yield folder


def wait_for(url: str, number: int, seconds: float) -> tuple[int, float]:
    """Wait until so many spans are there, or in vain: (how many, seconds)."""
    start = time.monotonic()
    while True:
        arrived = len(ask(url, "/_/ids"))
        took = time.monotonic() - start
        if arrived >= number or took > seconds:
            return arrived, took
        time.sleep(0.1)


def waiting_in(folder: str) -> tuple[int, int]:
    """(waiting, dropped) spans by the store's own figures."""
    sys.path.insert(0, str(HERE.parent))
    from pocketflow_tracing.store import Outbox

    outbox = Outbox(store_in(folder))
    counts = outbox.counts()
    outbox.close()
    return counts.waiting_spans, counts.dropped_spans


# --------------------------------------------------------------------------------------------------------------- parts


def burst(spans: int, late: float = 0.0) -> None:
    """Many spans at once, by this package and by the plain SDK."""
    rows = []
    for variant, title in (("langfuse", "this package"), ("sdk", "Langfuse SDK by hand")):
        with a_folder() as folder, Collector(late=late) as collector:
            program = Program("burst", collector.url, folder, variant=variant, count=spans)
            program.answer()
            ask(collector.url, "/_/forget")
            program.go()
            found = program.answer()
            program.end()
            ids = ask(collector.url, "/_/ids")
            missing = len(set(found["seen"]) - ids.keys())
            exact = "yes" if len(ids) == spans and not missing else f"no, {spans - len(ids):,} missing"
            twice = sum(number - 1 for number in ids.values())
            rows.append(
                (
                    title,
                    f"{spans:,}",
                    f"{len(ids):,}",
                    exact,
                    f"{twice:,}",
                    f"{found['recorded']:.1f} s",
                    f"{found['seconds']:.1f} s",
                )
            )
    server = f", to a server that takes {late:g} s for each answer" if late else ""
    show(
        f"Burst of {spans:,} spans{server}",
        ("", "made", "arrived", "exactly those", "doubles", "caller's path", "until flushed"),
        rows,
    )


def soak(visits: int, rate: int) -> None:
    """Memory while the server is down."""
    rows = []
    for pace in (rate, 0):
        with a_folder() as folder, Collector() as collector:
            collector.stop()
            program = Program("soak", collector.url, folder, count=visits, rate=pace)
            curve = [program.answer() for _ in range(11)]
            shutdown = program.answer()["shutdown"]
            program.end()
            kept, dropped = waiting_in(folder)
            made = (visits + 1000) // 10 * 41
            memory = ", ".join(f"{point['mb']:.0f}" for point in curve)
            title = f"{pace:,} visits a second" if pace else "as fast as it goes"
            rows.append(
                (
                    title,
                    memory,
                    f"{curve[-1]['seconds']:.0f} s",
                    f"{made:,}",
                    f"{kept:,}",
                    f"{dropped:,}",
                    f"{made - kept - dropped:,}",
                    f"{shutdown:.1f} s",
                )
            )
    show(
        f"Soak: {visits:,} node visits with the server down",
        (
            "pace",
            "memory in MB, every 10 %",
            "took",
            "spans made",
            "kept on disk",
            "dropped and counted",
            "unaccounted",
            "shutdown",
        ),
        rows,
    )


def outage(runs: int) -> None:
    """The server is down for so many runs and comes back."""
    with a_folder() as folder, Collector() as collector:
        collector.stop()
        program = Program("outage", collector.url, folder, count=runs)
        found = program.answer()
        collector.start()
        arrived, took = wait_for(collector.url, found["made"], 180)
        program.go()
        program.end()
    row = (
        f"{runs:,}",
        f"{found['seconds']:.1f} s",
        f"{found['made']:,}",
        f"{arrived:,}",
        f"{found['made'] - arrived:,}",
        f"{took:.1f} s",
    )
    show(
        "Outage: down for some runs, then up again",
        ("runs", "down for", "made", "arrived", "lost", "all there after"),
        [row],
    )


def restart(runs: int) -> None:
    """A process ends while the server is down; who comes next delivers."""
    rows = []
    cases: tuple[tuple[str, Callable[[str, str], tuple[int, float]]], ...] = (
        ("the next process", next_process),
        ("`sync`", sync),
    )
    for title, deliver in cases:
        with a_folder() as folder, Collector() as collector:
            collector.stop()
            program = Program("once", collector.url, folder, count=runs)
            found = program.answer()
            exit_took = program.end()
            collector.start()
            more, took = deliver(collector.url, folder)
            made = found["made"] + more
            arrived, _ = wait_for(collector.url, made, 5)
            rows.append(
                (title, f"{made:,}", f"{arrived:,}", f"{made - arrived:,}", f"{exit_took:.1f} s", f"{took:.1f} s")
            )
    show(
        "Restart: the process ends while the server is down",
        ("delivered by", "made", "arrived", "lost", "exit took", "delivery took"),
        rows,
    )


def next_process(url: str, folder: str) -> tuple[int, float]:
    """A process that makes one run and lives until the outbox is empty."""
    program = Program("outage", url, folder, count=1)
    start = time.monotonic()
    more = program.answer()["made"]
    while waiting_in(folder)[0] and time.monotonic() - start < 120:
        time.sleep(0.1)
    took = time.monotonic() - start
    program.end()
    return more, took


def sync(url: str, folder: str) -> tuple[int, float]:
    """The command."""
    start = time.monotonic()
    command = [sys.executable, "-m", "pocketflow_tracing", "sync", "--store", str(store_in(folder))]
    done = subprocess.run(
        command, env=program_environment(url, folder), cwd=folder, capture_output=True, text=True, check=False
    )
    print(f"  {done.stdout.strip() or done.stderr.strip()}", file=sys.stderr)
    return 0, time.monotonic() - start


def show(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a Markdown table."""
    print(f"\n### {title}\n")
    for line in (head, ("---",) * len(head), *rows):
        print(f"| {' | '.join(line)} |")
    sys.stdout.flush()


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description="Whether everything arrives.")
    parser.add_argument("--only", default="burst,late,outage,restart,soak")
    parser.add_argument("--spans", type=int, default=50_000, help="of the burst")
    parser.add_argument("--runs", type=int, default=500, help="of the outage and restart drills")
    parser.add_argument("--visits", type=int, default=200_000, help="of the soak")
    parser.add_argument("--rate", type=int, default=3000, help="node visits a second of the paced soak")
    arguments = parser.parse_args()
    os.environ.pop("BENCHMARK_FOLDER", None)
    parts: dict[str, Callable[[], None]] = {
        "burst": lambda: burst(arguments.spans),
        "late": lambda: burst(5000, late=2.0),
        "outage": lambda: outage(arguments.runs),
        "restart": lambda: restart(arguments.runs),
        "soak": lambda: soak(arguments.visits, arguments.rate),
    }
    for name, part in parts.items():
        if name in arguments.only.split(","):
            part()


if __name__ == "__main__":
    main()
