"""The nodes of a flow over many runs, in a browser."""

from __future__ import annotations

from playwright.sync_api import expect
from store.sample import MS, Run, now_ns

from pocketflow_tracing.store import StoreWriter


def test_nodes_are_sorted_by_where_the_time_goes(opened, serve, made):
    """SearchWeb takes most of the demo's time; retries and fallbacks have their rates; another column sorts anew."""
    page = opened(f"{serve(made('demo'))}/nodes")
    rows = page.locator("table.nodes tbody tr")
    expect(rows.first).to_contain_text("SearchWeb")
    expect(rows.first).to_contain_text("100 %")
    expect(page.locator("tr", has_text="Proofread")).to_contain_text("in EditBrief")
    page.get_by_role("button", name="Visits").click()
    expect(page.get_by_role("columnheader", name="Visits")).to_have_attribute("aria-sort", "descending")
    expect(rows.first).to_contain_text("DecideNextStep")
    assert "sort=visits" in page.url


def version(number, took, **fields):
    start_ns = now_ns() + number
    run = Run(number, "Versioned", start_ns=start_ns, end_ns=start_ns + took * MS, **fields)
    run.span("flow", "Versioned", 0, took)
    run.span("node", "Work", 0, took, attributes={"node": "Work", "visit": 1, "step": 1})
    return run


def test_versions_stand_against_each_other(opened, serve, tmp_path):
    """When runs carry a version, its figures are told apart, with their difference."""
    path = tmp_path / "traces.db"
    runs = [
        version(number, 100 if number < 6 else 50, version="1.0" if number < 6 else "1.1") for number in range(1, 11)
    ]
    StoreWriter(path).write([run.record for run in runs], [span for run in runs for span in run.spans])
    page = opened(f"{serve(path)}/nodes?flow=Versioned")
    page.get_by_label("Version", exact=True).select_option("1.1")
    expect(page.locator("table.nodes tbody tr")).to_contain_text("50 ms")
    expect(page.locator("main")).to_contain_text("Over 5 runs, which took 250 ms together.")
    page.get_by_label("against").select_option("1.0")
    expect(page.locator(".change-of.faster").first).to_contain_text("50 ms")
    assert "version=1.1&against=1.0" in page.url


def test_the_filters_of_the_runs_hold_here_too(opened, serve, tmp_path):
    """What the address filters by is to be seen, and can be taken away; the flow always stays chosen."""
    path = tmp_path / "traces.db"
    runs = [version(number, 100, version="1.0", session_id=f"s-{number}") for number in range(1, 4)]
    StoreWriter(path).write([run.record for run in runs], [span for run in runs for span in run.spans])
    page = opened(f"{serve(path)}/nodes?flow=Versioned&session=s-2")
    expect(page.locator("main")).to_contain_text("Over 1 run, which took 100 ms.")
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.get_by_label("Flow", exact=True).locator("option")).to_have_text(["Versioned"])
    page.get_by_role("button", name="session s-2").click()
    expect(page.locator("main")).to_contain_text("Over 3 runs, which took 300 ms together.")
    assert page.url.endswith("/nodes?flow=Versioned")
    page.get_by_role("searchbox").fill("nowhere at all")
    expect(page.get_by_role("heading", name="No node was visited in these runs.")).to_be_visible()
