"""The list of runs, in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from store.sample import agent_run, now_ns, process_id, small_run

from pocketflow_tracing.store import StoreWriter


def test_runs_are_listed_with_what_they_are_told_by(opened, serve, made):
    """A row says status, flow, when, how long, nodes and attempts; the figures above say how many failed and how long they took."""
    page = opened(serve(made("demo")))
    row = page.locator("table.runs tbody tr").first
    for text in ("recovered", "ResearchAssistant", "demo", "8", "15"):
        expect(row).to_contain_text(text)
    expect(row.locator(".took")).to_contain_text("ms")
    expect(row.locator("time")).to_have_attribute("title", __import__("re").compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"))
    expect(page.locator(".figures")).to_contain_text("2 of 2")
    expect(page.locator(".flow-table")).to_contain_text("2 recovered")


def test_filters_live_in_the_url(opened, serve, made):
    """Choosing a filter changes list and address; opening the address shows the same list; a chip takes it away."""
    base = serve(made("examples"))
    page = opened(base)
    rows = page.locator("table.runs tbody tr")
    everything = rows.count() if rows.first.is_visible() else 0
    page.get_by_label("Status").select_option("recovered")
    expect(page).to_have_url(f"{base}/?status=recovered")
    expect(page.locator("table.runs .status-success")).to_have_count(0)
    page.get_by_label("Flow", exact=True).select_option("FetchFlow")
    expect(rows).to_have_count(1)
    again = opened(page.url)
    expect(again.locator("table.runs tbody tr")).to_have_count(1)
    again.get_by_role("button", name="Clear all").click()
    expect(again.locator("table.runs tbody tr")).to_have_count(max(everything, 8))
    expect(again).to_have_url(f"{base}/")


def test_text_is_found_in_outputs(opened, serve, made):
    """The search looks into what nodes returned; a text that nowhere stands says so and offers the way back."""
    page = opened(serve(made("examples")))
    page.get_by_role("searchbox").fill("bon matin")
    expect(page.locator("table.runs tbody tr")).to_have_count(1)
    expect(page.locator("table.runs")).to_contain_text("TranslateLibrary")
    page.get_by_role("searchbox").fill("nowhere at all")
    expect(page.get_by_role("heading", name="No runs match.")).to_be_visible()
    page.get_by_role("button", name="Clear all filters").click()
    expect(page.locator("table.runs tbody tr").first).to_be_visible()


def test_a_store_that_is_not_there_yet_says_what_to_do(opened, serve, tmp_path):
    """Without a store the page tells the command that makes one, and shows the first run when it comes."""
    path = tmp_path / "nowhere" / "traces.db"
    page = opened(serve(path))
    expect(page.get_by_role("heading", name="There is no store here yet.")).to_be_visible()
    expect(page.locator("main")).to_contain_text("pocketflow-tracing demo")
    run = small_run()
    StoreWriter(path).write([run.record], run.spans)
    expect(page.locator("table.runs tbody tr")).to_have_count(1)
    expect(page.locator(".figures")).to_be_visible()


def test_an_empty_store_says_what_to_do(opened, serve, tmp_path):
    """So does a store without runs, on every page."""
    StoreWriter(tmp_path / "traces.db").write([], [], (process_id(), now_ns()))
    base = serve(tmp_path / "traces.db")
    expect(opened(base).get_by_role("heading", name="No runs yet.")).to_be_visible()
    expect(opened(f"{base}/nodes").get_by_role("heading", name="No runs yet.")).to_be_visible()
    expect(opened(f"{base}/compare").get_by_role("heading", name="There is nothing to compare yet.")).to_be_visible()


def test_runs_appear_and_end_by_themselves(opened, serve, tmp_path):
    """A run that begins while the page is open appears; when it ends, its status changes; nobody reloads."""
    path = tmp_path / "traces.db"
    writer = StoreWriter(path)
    first = small_run(1)
    writer.write([first.record], first.spans)
    page = opened(serve(path))
    expect(page.locator("table.runs tbody tr")).to_have_count(1)
    second = small_run(2, "Second", start_ns=now_ns(), status="running", end_ns=None)
    writer.write([second.record], second.spans[:2], (second.record.process_id, now_ns()))
    row = page.locator("table.runs tbody tr").first
    expect(row).to_contain_text("Second")
    expect(row).to_contain_text("running")
    second.record.status, second.record.end_ns = "error", second.record.start_ns + 5_000_000
    second.record.error = {"type": "ValueError", "message": "it broke\nsecond line"}
    writer.write([second.record], [])
    expect(row.locator(".status")).to_contain_text("error")
    expect(row).to_contain_text("ValueError: it broke")


def test_older_runs_are_paged_by_key(opened, serve, tmp_path):
    """Fifty at a time; older ones come on request, none twice."""
    path = tmp_path / "traces.db"
    runs = [small_run(number) for number in range(1, 121)]
    StoreWriter(path).write([run.record for run in runs], [span for run in runs for span in run.spans])
    page = opened(serve(path))
    rows = page.locator("table.runs tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Show older runs").click()
    expect(rows).to_have_count(100)
    page.get_by_role("button", name="Show older runs").click()
    expect(rows).to_have_count(120)
    ids = rows.evaluate_all("rows => rows.map(row => row.dataset.run)")
    assert ids == [run.run_id for run in reversed(runs)]


def test_two_runs_are_chosen_and_compared(opened, serve, made):
    """Two ticks and a button lead to the comparison, the older run on the left."""
    page = opened(serve(made("demo")))
    boxes = page.locator("table.runs input[type=checkbox]")
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.get_by_role("link", name="Compare", exact=True).last.click()
    expect(page.get_by_role("heading", name="Compare two runs")).to_be_visible()
    expect(page.locator(".parting")).to_contain_text("same way")


@pytest.mark.parametrize("session", ["s-1", None])
def test_columns_that_would_be_empty_are_left_out(opened, serve, tmp_path, session):
    """Sessions have a column where there are any; tokens and cost likewise."""
    path = tmp_path / "traces.db"
    run = agent_run(items=3, start_ns=now_ns()) if session else small_run(start_ns=now_ns())
    StoreWriter(path).write([run.record], run.spans)
    head = opened(serve(path)).locator("table.runs thead")
    expect(head).to_be_visible()
    for title in ("Session", "Tokens", "Cost"):
        expect(head.get_by_text(title)).to_have_count(1 if session else 0)
