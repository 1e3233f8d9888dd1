"""Programs of their own, with no settings but those given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def program_environment():
    """The environment without settings of tracing, with the package importable."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LANGFUSE_", "POCKETFLOW_", "OTEL_"))
    }
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}
