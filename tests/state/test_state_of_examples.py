"""Every example: `shared` rebuilt from the store is the bounded picture of the real one at every step."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from state.test_state_of_runs import bounded, canonical

from pocketflow_tracing import _state, flush
from pocketflow_tracing.store import Store

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_step_of_an_example(path, monkeypatch, store_path, capsys):
    """The real `shared` is looked at wherever its picture is brought up to date."""
    steps: list[list[str]] = []  # of each run

    class Watched(_state.SharedState):
        def full(self) -> dict[str, Any]:
            steps.append([canonical(bounded(self.shared))])
            return super().full()

        def changes(self) -> dict[str, Any] | None:
            found = super().changes()
            picture = canonical(bounded(self.shared))
            if found is not None:
                steps[-1].append(picture)
            else:
                assert steps[-1][-1] == picture
            return found

    monkeypatch.setattr("pocketflow_tracing.frameworks._visits.SharedState", Watched)
    runpy.run_path(str(path), run_name="__main__")
    assert flush(timeout=20)
    store = Store(store_path)
    runs = store.runs(limit=None)[::-1]
    assert len(runs) == len(steps)
    for found, pictures in zip(runs, steps, strict=True):
        for seq, picture in enumerate(pictures, 1):
            assert picture == canonical(store.state_at(found.run_id, seq)), (found.name, seq)
