"""A store with runs of every kind, and the command line as a function."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from store.sample import Run, now_ns, process_id

from pocketflow_tracing.cli import main
from pocketflow_tracing.store import StoreWriter


@dataclasses.dataclass
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Command = Callable[..., Result]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces" / "traces.db"


@pytest.fixture
def command(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command on the test's store, as in a pipe."""
    monkeypatch.setenv("POCKETFLOW_TRACE_STORE", str(path))
    hook = sys.excepthook

    def run(*arguments: str) -> Result:
        code = 0
        try:
            main(arguments)
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        assert sys.excepthook is hook
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Result(code, out, err)

    return run


@pytest.fixture
def write(path: Path):
    """Writes runs into the test's store."""
    with contextlib.closing(StoreWriter(path)) as writer:

        def write(*runs: Run, beat_ns: int | None = None, process: str | None = None) -> None:
            for run in runs:
                writer.write(
                    [run.record], run.spans, (process or run.record.process_id or process_id(), beat_ns or now_ns())
                )

        yield write
