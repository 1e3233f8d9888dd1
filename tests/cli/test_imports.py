"""The two halves stay apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pocketflow_tracing

HEAVY = {"pocketflow", "langfuse", "opentelemetry", "httpx"}
WRITING = {
    "pocketflow_tracing.recorder",
    "pocketflow_tracing.delivery",
    "pocketflow_tracing.decorator",
    "pocketflow_tracing.sinks",
    "pocketflow_tracing.frameworks",
}


def loaded(code: str) -> set[str]:
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(answer.stdout.split())


@pytest.mark.parametrize("module", ["pocketflow_tracing.store", "pocketflow_tracing.cli.app"])
def test_the_read_half_does_not_load_the_write_half(module):
    """Store and command line load nothing of the recording half, nor what it needs; the package's own front door is left out."""
    bare = f"import sys, types; p = types.ModuleType('pocketflow_tracing'); p.__path__ = [{str(Path(pocketflow_tracing.__file__).parent)!r}]; sys.modules[p.__name__] = p"
    assert set() == (HEAVY | WRITING) & loaded(f"{bare}\nimport {module}")


def test_reading_commands_do_not_load_the_write_half(tmp_path):
    """Listing runs loads neither langfuse nor OpenTelemetry nor the recording half either."""
    bare = f"import sys, types; p = types.ModuleType('pocketflow_tracing'); p.__path__ = [{str(Path(pocketflow_tracing.__file__).parent)!r}]; sys.modules[p.__name__] = p"
    call = "from pocketflow_tracing.cli import main\ntry: main(['runs'])\nexcept SystemExit: pass"
    assert set() == (HEAVY | WRITING) & loaded(f"{bare}\n{call}")


def test_the_command_loads_no_langfuse():
    """Through the package's front door too, looking at a store loads neither langfuse nor an HTTP client."""
    assert set() == {"langfuse", "httpx"} & loaded(
        "from pocketflow_tracing.cli import main\ntry: main(['runs'])\nexcept SystemExit: pass"
    )
