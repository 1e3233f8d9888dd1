"""Figures over many runs: of all of them, by flow, by node, by version."""

from __future__ import annotations

import pytest
from store.sample import MS, Run, agent_run, small_run

from pocketflow_tracing.store import RunFilter, Store, StoreWriter
from pocketflow_tracing.store.statistics import choices, node_figures, percentile, run_figures


def stored(tmp_path, *runs):
    writer = StoreWriter(tmp_path / "traces.db")
    for run in runs:
        writer.write([run.record], run.spans)
    writer.close()
    return Store(tmp_path / "traces.db")


def test_figures_of_runs(tmp_path):
    """Together and by flow: how many, how they ended, how long they took."""
    store = stored(
        tmp_path,
        *[
            small_run(number, name, status=status)
            for number, (name, status) in enumerate([("A", "success"), ("A", "error"), ("B", "recovered")], 1)
        ],
    )
    found = run_figures(store, RunFilter())
    assert (3, {"success": 1, "error": 1, "recovered": 1}) == (found.total.runs, found.total.by_status)
    assert [("A", 2), ("B", 1)] == [(row.name, row.runs) for row in found.flows]
    assert 1240 * MS == found.total.p50_ns
    assert 1 == run_figures(store, RunFilter(status="error")).total.runs
    assert ["A", "B"] == choices(store).flows


def test_figures_of_nodes(tmp_path):
    """Retries count once a visit, of items too; fallbacks and errors likewise; the flow's own attempts are nobody's."""
    store = stored(tmp_path, agent_run(items=500))
    found = {row.name: row for row in node_figures(store, RunFilter(flow="ResearchAgent")).nodes}
    assert {"DecideAction", "SearchWeb", "SummarizeAll", "Critique"} == set(found)
    assert (1, 1, 0) == (found["DecideAction"].visits, found["DecideAction"].retried, found["DecideAction"].fallbacks)
    assert (0, 1) == (found["SearchWeb"].retried, found["SearchWeb"].fallbacks)
    assert 1 == found["SummarizeAll"].retried
    assert 398 * MS == found["SummarizeAll"].p50_ns


def test_figures_of_versions(tmp_path):
    """Each version has its own runs, time and medians; those of all together are of all visits, not of one version."""
    runs = []
    for number, (version, took) in enumerate([("1", 10), ("1", 10), ("1", 10), ("2", 90), ("2", 90)], 1):
        run = Run(number, version=version)
        run.span("flow", "F", 0, took)
        run.span("node", "Work", 0, took, attributes={"node": "Work"})
        runs.append(run)
    found = node_figures(stored(tmp_path, *runs), RunFilter())
    assert (5, 10 * MS, 90 * MS) == (found.nodes[0].visits, found.nodes[0].p50_ns, found.nodes[0].p95_ns)
    by_version = {one.version: one for one in found.versions}
    assert (3, 10 * MS) == (by_version["1"].runs, by_version["1"].nodes[0].p95_ns)
    assert (2, 90 * MS) == (by_version["2"].runs, by_version["2"].nodes[0].p50_ns)
    assert 2 * 1240 * MS == by_version["2"].run_ns


def test_a_fallback_that_failed_saved_nothing(tmp_path):
    """PocketFlow's own exec_fallback raises the error again: a visit that failed did not fall back."""
    run = Run(1)
    run.span("flow", "F", 0, 10)
    for number, status in enumerate(("success", "error"), 1):
        node = run.span("node", f"N{number}", number, number + 1, attributes={"node": f"N{number}"})
        run.span(
            "phase", "exec_fallback", number, number + 1, node, status=status, attributes={"phase": "exec_fallback"}
        )
    found = {row.name: row for row in node_figures(stored(tmp_path, run), RunFilter()).nodes}
    assert (1, 0) == (found["N1"].fallbacks, found["N2"].fallbacks)


@pytest.mark.parametrize(
    ("values", "percent", "expected"), [([], 50, None), ([7], 95, 7), ([1, 2], 50, 1), (list(range(1, 101)), 95, 95)]
)
def test_percentiles(values, percent, expected):
    """What so many of a hundred do not exceed."""
    assert expected == percentile(values, percent)
