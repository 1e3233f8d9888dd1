"""What the tests of this folder share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kinds import KINDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=KINDS, name="kind")
def _kind(request):
    """Each kind of flow."""
    return KINDS[request.param]


@pytest.fixture
def python(tmp_path):
    """Run code, or a file with arguments, in a Python of its own; answers with what it left behind."""

    def run(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["-c", *arguments] if len(arguments) == 1 else list(arguments)
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith(("LANGFUSE_", "POCKETFLOW_", "OTEL_"))
        }
        process = subprocess.run(
            [sys.executable, "-W", "error", *command],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or process.returncode == 0, process.stderr
        return process

    return run
