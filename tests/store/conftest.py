"""A store file of its own for each test."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from pocketflow_tracing.store import StoreWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".pocketflow" / "traces.db"


@pytest.fixture
def writer(path: Path):
    with contextlib.closing(StoreWriter(path)) as writer:
        yield writer
