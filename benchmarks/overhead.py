"""What tracing costs: this package beside no tracing, the Langfuse SDK by hand, raw OpenTelemetry and pocketflow-tracing 0.1.5.

    python benchmarks/overhead.py                                   # everything, under ten minutes
    python benchmarks/overhead.py --rounds 1 --workloads W1,W5 --variants langfuse,sdk

Each figure is taken in a process of its own; the ways of watching take turns within a round, so that a slow moment of the
machine hits all of them. "Added" is the median over the rounds of (the way's median - untraced's median of the same round).
The caller's path is timed by the wall clock around the runs alone, which the bars go by, and by the CPU clock of its thread,
which leaves out the time in which the worker, the server or other users of the machine had the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _collector import Collector, ask
from _variants import VARIANTS
from _workloads import PLANS

HERE = Path(__file__).parent
OLD = "pocketflow-tracing==0.1.5"
HEAVY = (
    "langfuse", "sqlite3", "httpx", "requests", "typer", "rich", "pydantic", "google.protobuf", "opentelemetry.sdk",
    "opentelemetry.proto", "numpy", "http.server",
)  # fmt: skip
ONLY_OURS = {"W2x10", "W3x10"}
IMPORTING = """
import json, sys, time
import pocketflow
start = time.perf_counter()
import pocketflow_tracing
imported = time.perf_counter()
heavy = [name for name in {heavy} if name in sys.modules]
pocketflow_tracing.trace_flow()(pocketflow.Flow())
marked = time.perf_counter()
print(json.dumps([(imported - start) * 1000, (marked - imported) * 1000, heavy]))
"""

Figures = dict[tuple[str, str], list[dict[str, Any]]]  # (workload, variant) -> a round each


# ------------------------------------------------------------------------------------------------------------ measuring


def environment(**more: str) -> dict[str, str]:
    """The environment of a measured process: this repository first, and no settings of whoever starts the benchmark."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("LANGFUSE_", "POCKETFLOW_", "OTEL_"))
    }
    return {**clean, "PYTHONPATH": str(HERE.parent), "PYTHONWARNINGS": "ignore", **more}


def run_worker(python: str, variant: str, workload: str, url: str, folder: str, *options: str) -> dict[str, Any] | None:
    """One process; None (and a line that says why) when it fails."""
    env = environment(BENCHMARK_FOLDER=folder)
    if variant == "old":
        del env["PYTHONPATH"]  # its package has the same name
    command = [python, str(HERE / "_worker.py"), variant, workload, url, *options]
    try:
        done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=400, check=False)
    except subprocess.TimeoutExpired:
        print(f"  {workload} {variant}: no answer in 400 s", file=sys.stderr)
        return None
    if done.returncode:
        print(f"  {workload} {variant} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}", file=sys.stderr)
        return None
    *said, figures = done.stdout.strip().splitlines()
    for line in [line for line in said if "flush answered" in line][:1]:
        print(f"  {workload} {variant}: {line}", file=sys.stderr)
    found: dict[str, Any] = json.loads(figures)
    return found


def python_with_old_package() -> str | None:
    """A virtual environment with pocketflow-tracing 0.1.5, made at the first use; None where that does not work."""
    home = (
        Path(tempfile.gettempdir())
        / f"benchmark-{OLD.replace('==', '-')}-{sys.version_info.major}.{sys.version_info.minor}"
    )
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    ready = home / "ready"
    if not ready.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True, capture_output=True)
            packages = [OLD, "langfuse<3", "pocketflow", "numpy"]
            subprocess.run(
                [python, "-m", "pip", "install", "-q", *packages], check=True, capture_output=True, timeout=300
            )
            ready.touch()
        except (OSError, subprocess.SubprocessError) as error:
            print(
                f"  {OLD} is left out: its virtual environment cannot be made ({type(error).__name__})", file=sys.stderr
            )
            return None
    return str(python)


def measure(workloads: list[str], variants: list[str], rounds: int, url: str) -> Figures:
    """All figures, alternating the variants."""
    figures: Figures = {}
    pythons = dict.fromkeys(variants, sys.executable)
    if "old" in variants:
        pythons["old"] = python_with_old_package() or ""
    with tempfile.TemporaryDirectory(prefix="overhead-", ignore_cleanup_errors=True) as folder:
        for number in range(rounds):
            for workload in workloads:
                order = [v for v in variants if workload not in ONLY_OURS or v in {"untraced", "langfuse", "local"}]
                if number:  # half a minute or more each: once is enough
                    order = [v for v in order if not (v == "old" or (v == "sdk" and workload in {"W3", "W6"}))]
                for variant in order if number % 2 == 0 else order[::-1]:
                    if not pythons[variant]:
                        continue
                    start = time.monotonic()
                    ask(url, "/_/forget")
                    found = run_worker(pythons[variant], variant, workload, url, folder)
                    if found is None:
                        continue
                    found["arrived"] = found["stored"] or len(ask(url, "/_/ids"))
                    figures.setdefault((workload, variant), []).append({"round": number, **found})
                    took = time.monotonic() - start
                    median = statistics.median(found["caller"])
                    print(
                        f"  round {number + 1} {workload:6} {variant:14} {median:10.2f} us  ({took:.1f} s)",
                        file=sys.stderr,
                    )
    return figures


@dataclass
class Imports:
    """What the import takes after `import pocketflow`.

    Args:
        milliseconds: of each try.
        first_use: milliseconds of the first `trace_flow` after it.
        heavy: modules that it loads and should not.
    """

    milliseconds: list[float]
    first_use: list[float]
    heavy: list[str]


def import_time(times: int) -> Imports:
    """Import in so many fresh processes."""
    found = Imports([], [], [])
    code = IMPORTING.replace("{heavy}", repr(HEAVY))
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
        )
        imported, marked, found.heavy = json.loads(done.stdout)
        found.milliseconds.append(imported)
        found.first_use.append(marked)
    return found


# ------------------------------------------------------------------------------------------------------------ reporting


def added(figures: Figures, workload: str, variant: str, what: str = "caller") -> float | None:
    """Median over the rounds of what a variant adds; round by round, for rounds differ more than ways of watching do."""
    plain = {found["round"]: statistics.median(found[what]) for found in figures.get((workload, "untraced"), [])}
    own = figures.get((workload, variant), [])
    differences = [statistics.median(found[what]) - plain[found["round"]] for found in own if found["round"] in plain]
    return statistics.median(differences) if differences else None


def middle(figures: Figures, workload: str, variant: str, what: str) -> float | None:
    """Median over the rounds of one figure."""
    values = [found[what] for found in figures.get((workload, variant), []) if what in found]
    flat = [number for value in values for number in (value if isinstance(value, list) else [value])]
    return statistics.median(flat) if flat else None


def microseconds(value: float | None) -> str:
    """A time for readers."""
    if value is None:
        return "-"
    for limit, divisor, unit in ((1000, 1, "µs"), (1_000_000, 1000, "ms"), (float("inf"), 1_000_000, "s")):
        if abs(value) < limit:
            shown = value / divisor
            return (
                f"{shown:.2f} {unit}"
                if abs(shown) < 10
                else f"{shown:.1f} {unit}"
                if abs(shown) < 100
                else f"{shown:.0f} {unit}"
            )
    return "-"


def size(value: float | None) -> str:
    """A number of bytes for readers."""
    if not value:
        return "-"
    return f"{value:.0f} B" if value < 10_000 else f"{value / 1000:.0f} kB" if value < 1e7 else f"{value / 1e6:.1f} MB"


def table(figures: Figures, workload: str) -> str:
    """The Markdown table of one workload."""
    plan = PLANS[workload]
    per = plan.per
    lines = [
        f"### {workload}: {plan.title}",
        "",
        f"| per {per} | caller's path, added (CPU of its thread) | CPU of the process, added | memory added | bytes | spans arrived |",
        "|---|---|---|---|---|---|",
    ]
    for variant, (_, title) in VARIANTS.items():
        rounds = figures.get((workload, variant))
        if not rounds:
            continue
        arrived, made = sum(found["arrived"] for found in rounds), sum(found["made"] for found in rounds)
        silent = variant in {"untraced", "disabled", "sampled_out"}
        memory = middle(figures, workload, variant, "memory")
        less = middle(figures, workload, "untraced", "memory") or 0.0
        if variant == "untraced":
            cells = [f"({microseconds(middle(figures, workload, variant, 'caller'))} in all)", "-", "-", "-", "-"]
        else:
            cells = [
                f"{microseconds(added(figures, workload, variant))} ({microseconds(added(figures, workload, variant, 'thread'))})",
                microseconds(added(figures, workload, variant, "cpu")),
                f"{max(0.0, (memory or 0.0) - less):.0f} MB",
                size(middle(figures, workload, variant, "bytes")),
                "-" if silent else "all" if arrived == made else f"{arrived:,} of {made:,}",
            ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


class Bars:
    """The table of what the figures should be."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, bool | None]] = []

    def at_most(self, what: str, value: float | None, limit: float | None, show: Any = microseconds) -> None:
        """A figure and the most that it may be; "not measured" where one of the two is missing."""
        if value is None or limit is None:
            self.rows.append((what, "-", "-", None))
        else:
            self.rows.append((what, show(value), f"at most {show(limit)}", value <= limit))

    def holds(self, what: str, shown: str, limit: str, ok: bool) -> None:
        """A bar of another kind."""
        self.rows.append((what, shown, limit, ok))

    def table(self) -> str:
        """As Markdown."""
        words = {True: "met", False: "**missed**", None: "not measured"}
        lines = ["| bar | measured | limit | |", "|---|---|---|---|"]
        return "\n".join(
            lines + [f"| {what} | {shown} | {limit} | {words[ok]} |" for what, shown, limit, ok in self.rows]
        )


def bars(figures: Figures, imports: Imports, curve: list[float] | None) -> str:
    """The bars, met or missed."""
    found = Bars()

    def path(workload: str, variant: str) -> float | None:
        return added(figures, workload, variant)

    def times(value: float | None, by: float) -> float | None:
        return None if value is None else value * by

    def ratio(value: float | None, to: float | None) -> float | None:
        return None if value is None or not to else value / to

    def factor(value: float) -> str:
        return f"{value:.2f} times"

    for workload in ("W1", "W4", "W5"):
        ours = path(workload, "langfuse")
        found.at_most(
            f"{workload} caller's path: 1/20 of the Langfuse SDK by hand",
            ours,
            times(path(workload, "sdk"), 1 / 20),
        )
        found.at_most(
            f"{workload} caller's path: 1/6 of raw OpenTelemetry",
            ours,
            times(path(workload, "opentelemetry"), 1 / 6),
        )
    cpu = added(figures, "W1", "langfuse", "cpu")
    found.at_most(
        "W1 CPU of the process: 1/6 of the Langfuse SDK by hand", cpu, times(added(figures, "W1", "sdk", "cpu"), 1 / 6)
    )
    found.at_most(
        "W1 CPU of the process: 1/2 of raw OpenTelemetry",
        cpu,
        times(added(figures, "W1", "opentelemetry", "cpu"), 1 / 2),
    )
    small = path("W1", "langfuse")
    for workload, limit in (("W2", 4), ("W3", 12)):
        ours = path(workload, "langfuse")
        found.at_most(f"{workload} caller's path against W1", ratio(ours, small), limit, factor)
        found.at_most(f"{workload} ten times larger", ratio(path(f"{workload}x10", "langfuse"), ours), 1.1, factor)
    late, early = middle(figures, "W6", "langfuse", "late"), middle(figures, "W6", "langfuse", "early")
    found.at_most("W6 visit 2,000 against visit 100", ratio(late, early), 1.5, factor)
    whole, half = middle(figures, "W6", "langfuse", "bytes"), middle(figures, "W6", "langfuse", "bytes_of_half")
    found.at_most("W6 bytes per visit, 2,000 visits against 1,000", ratio(whole, half), 1.1, factor)
    for variant in ("langfuse", "local"):
        rounds = [(workload, item) for (workload, name), items in figures.items() if name == variant for item in items]
        if rounds:
            missing = sorted({workload for workload, item in rounds if item["arrived"] != item["made"]})
            total = sum(item["made"] for _, item in rounds)
            shown = f"missing in {', '.join(missing)}" if missing else f"all of {total:,}"
            found.holds(f"every span arrives ({variant})", shown, "all", not missing)
    for variant in ("disabled", "sampled_out"):
        found.at_most(f"W1 {VARIANTS[variant][1]}", path("W1", variant), 1.0)
    found.at_most("import beyond pocketflow", statistics.median(imports.milliseconds) * 1000, 30_000)
    found.holds("no heavy module loaded by the import", ", ".join(imports.heavy) or "none", "none", not imports.heavy)
    for workload in ("W2", "W3"):
        memory, less = middle(figures, workload, "langfuse", "memory"), middle(figures, workload, "untraced", "memory")
        grown = None if memory is None else max(0.0, memory - (less or 0.0))
        found.at_most(f"{workload} memory added", grown, 50, lambda value: f"{value:.0f} MB")
    if curve is not None:
        found.at_most(
            "W6 run 100 times, memory from run 20 to run 100",
            curve[-1] - curve[1],
            2.0,
            lambda value: f"{value:.1f} MB",
        )
    return found.table()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What tracing costs.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workloads", default=",".join(PLANS), help=f"of {', '.join(PLANS)}")
    parser.add_argument("--variants", default=",".join(VARIANTS), help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--json", metavar="FILE", help="keep every figure there")
    parser.add_argument("--no-growth", action="store_true", help="leave out W6 run 100 times (a minute)")
    arguments = parser.parse_args()
    workloads = [name for name in PLANS if name in arguments.workloads.split(",")]
    variants = [name for name in VARIANTS if name in {"untraced", *arguments.variants.split(",")}]
    curve = None
    with Collector() as collector:
        imports = import_time(5 * arguments.rounds)
        figures = measure(workloads, variants, arguments.rounds, collector.url)
        if "W6" in workloads and "langfuse" in variants and not arguments.no_growth:
            with tempfile.TemporaryDirectory(prefix="overhead-", ignore_cleanup_errors=True) as folder:
                found = run_worker(sys.executable, "langfuse", "W6", collector.url, folder, "--growth")
            curve = found and found["curve"]
    for workload in workloads:
        print(f"\n{table(figures, workload)}")
    print(f"\n### Bars\n\n{bars(figures, imports, curve)}")
    print(
        f"\nImport beyond pocketflow: {statistics.median(imports.milliseconds):.1f} ms; the first `trace_flow`: {statistics.median(imports.first_use):.1f} ms more."
    )
    if curve:
        print(f"Memory after each tenth of 100 runs of W6 (MB): {', '.join(f'{value:.0f}' for value in curve)}.")
    if arguments.json:
        every = [
            {"workload": workload, "variant": variant, "rounds": found}
            for (workload, variant), found in figures.items()
        ]
        Path(arguments.json).write_text(
            json.dumps({"figures": every, "import_ms": imports.milliseconds, "growth": curve}, indent=1)
        )


if __name__ == "__main__":
    main()
