"""Fault tests: real servers that misbehave, real processes that end badly."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from collector import Collector
from drill import PROGRAM, environment


def pytest_collection_modifyitems(items):
    """Everything in this folder is a fault test."""
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.faults)


@dataclass
class Ended:
    """How the program ended, and what it said of itself."""

    code: int
    run_seconds: float
    exit_seconds: float
    slack_seconds: float
    """What an exit may take beyond its deadline: the interpreter's own end, measured by its beginning on this machine now."""
    flushed: bool | None
    stderr: str


@pytest.fixture
def program(tmp_path):
    """Run the program in an empty directory."""

    def run(collector: Collector | None, runs: int = 50, ending: str = "return", **extra: str) -> Ended:
        started = time.time()
        process = subprocess.run(
            [sys.executable, str(PROGRAM), str(runs), ending],
            cwd=tmp_path,
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
            code=process.returncode,
            run_seconds=report["seconds"],
            exit_seconds=ended - report["began_exit"],
            slack_seconds=max(1.0, 2 * (report["began"] - started)),
            flushed=report.get("flushed"),
            stderr=process.stderr,
        )

    return run


@pytest.fixture
def sync(tmp_path):
    """Deliver what the directory's outbox holds, as `pocketflow-tracing sync` does, in a process of its own."""

    def run(collector: Collector) -> dict[str, int]:
        code = (
            "import json, dataclasses\n"
            "from pocketflow_tracing import TracingConfig\n"
            "from pocketflow_tracing.sinks.langfuse import sync\n"
            "print(json.dumps(dataclasses.asdict(sync('.pocketflow/traces.db', TracingConfig.from_env()))))\n"
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
