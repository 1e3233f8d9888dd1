"""Fault tests: real servers that misbehave, real processes that end badly."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from collector import Collector
from drill import FLOW, PROGRAM, environment


def pytest_collection_modifyitems(items):
    """Everything in this folder is a fault test."""
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.faults)


DEADLINE = 2.0
"""Seconds that the exit may take, by default."""
TRIES = 3
"""Machines are busy at times: what a program takes is the best of so many, unless the first is good enough."""


@dataclass
class Ended:
    """How the program ended, and what it said of itself."""

    code: int
    run_seconds: float
    """Of one run, in the best of ten rounds."""
    exit_seconds: float
    flushed: bool | None
    stderr: str
    times: int = 1
    """How often the program was run."""


@pytest.fixture(scope="session")
def healthy_seconds(tmp_path_factory):
    """What a run takes with a healthy server: too little for any request to fit in."""
    with Collector() as collector:
        seconds = [_run(tmp_path_factory.mktemp("healthy"), collector).run_seconds for _ in range(3)]
    assert min(seconds) < 0.003, seconds
    return max(seconds)


@pytest.fixture
def in_time(program, healthy_seconds):
    """Run the program: its runs must take as long as with a healthy server, and its exit no longer than allowed.

    The slightest wait for a server, of a millisecond, is many times what a run takes.
    """

    def run(*args, allowed: float = DEADLINE, runs_matter: bool = True, **kwargs) -> Ended:
        for times in range(1, TRIES + 1):
            ended = program(*args, **kwargs)
            ended.times = times
            runs_well = ended.run_seconds < 3 * healthy_seconds + 0.0005 or not runs_matter
            if runs_well and ended.exit_seconds < allowed + 0.5:  # the interpreter has an end of its own
                return ended
        raise AssertionError(f"too slow, {TRIES} times: {ended}, {healthy_seconds} s a run with a healthy server")

    return run


@pytest.fixture
def program(tmp_path):
    """Run the program in an empty directory."""
    return lambda *args, **kwargs: _run(tmp_path, *args, **kwargs)


def _run(folder: Path, collector: Collector | None, runs: int = 50, ending: str = "return", **extra: str) -> Ended:
    process = subprocess.run(
        [sys.executable, str(PROGRAM), str(runs), ending],
        cwd=folder,
        env=environment(collector, **extra),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ended = time.time()
    assert process.stdout, process.stderr
    report = json.loads(process.stdout.splitlines()[0])
    return Ended(
        process.returncode, report["seconds"], ended - report["began_exit"], report.get("flushed"), process.stderr
    )


@pytest.fixture
def sync(tmp_path):
    """Deliver what the directory's outbox holds, as `pocketflow-tracing sync` does, in a process of its own."""

    def run(collector: Collector, *, refused: bool = False) -> dict[str, int]:
        code = (
            "import json, dataclasses\n"
            "from pocketflow_tracing import TracingConfig\n"
            "from pocketflow_tracing.sinks.sync import sync\n"
            f"report = sync('.pocketflow/traces.db', TracingConfig.from_env(), refused={refused})\n"
            "print(json.dumps(dataclasses.asdict(report)))\n"
        )
        process = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment(collector),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout.splitlines()[-1])

    return run


@pytest.fixture
def python(tmp_path):
    """Run a program in an empty directory; it must end well."""

    def run(code: str, collector: Collector | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "program.py").write_text(FLOW + textwrap.dedent(code))
        done = subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=environment(collector, **extra),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run
