"""What `shared` held at each step, in a browser."""

from __future__ import annotations

from playwright.sync_api import expect
from store.sample import Run, now_ns

from pocketflow_tracing.store import StoreWriter


def test_the_state_leads_from_a_value_to_its_writer(demo):
    """At each step shared stands as it was; a key's history names every visit that wrote it."""
    page = demo("?view=state")
    keys = page.locator(".key-name")
    expect(keys).to_have_text(["question", "notes", "sources", "sections", "verdict", "brief", "trace_id"])
    slider = page.get_by_role("slider")
    slider.fill("3")
    expect(page.locator(".state-where")).to_contain_text("ReadSources")
    expect(page.locator(".state-where")).to_contain_text("1 changed")
    expect(keys).to_have_text(["question", "notes", "sources"])
    expect(page.locator(".key-row.changed .diff .add").nth(1)).to_contain_text("tea.example/health")
    page.locator(".key-name", has_text="notes").click()
    history = page.get_by_role("region", name="History of a key")
    expect(history.locator("li")).to_have_count(2)
    expect(history).to_contain_text("start of ResearchAssistant")
    history.locator("button.write-head").first.click()
    expect(keys).to_have_text(["question", "notes"])
    assert "key=notes" in page.url
    page.keyboard.press("1")
    expect(page.locator(".timeline")).to_be_visible()


def test_a_node_leads_to_its_key(demo):
    """From what a node wrote to the key's history in one click."""
    page = demo()
    page.locator(".tree-row.kind-node", has_text="SearchWeb→").click()
    page.get_by_role("complementary").get_by_role("button", name="sources").click()
    expect(page.get_by_role("tab", name="State")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("region", name="History of a key")).to_contain_text("SearchWeb")


def test_a_value_that_is_shown_anew_was_not_written(opened, serve, tmp_path):
    """With fewer elements, as others have come, it stands there since who wrote it."""
    path = tmp_path / "traces.db"
    run = Run(1, "Grow", start_ns=now_ns())
    run.span("flow", "Grow", 0, 9, state={"seq": 0, "full": {"log": list(range(50))}})
    node = {"node": "Add", "visit": 1, "step": 1}
    run.span("node", "Add", 1, 2, attributes=node, state={"seq": 1, "added": {"more": 1}, "shown": {"log": ["fewer"]}})
    StoreWriter(path).write([run.record], run.spans)
    page = opened(f"{serve(path)}/runs/{run.run_id}?view=state&key=log")
    expect(page.locator(".state-where")).to_contain_text("1 added")
    expect(page.locator(".state-where")).not_to_contain_text("shown")
    expect(page.locator(".key-row", has_text="fewer")).to_contain_text("since start of Grow")
    expect(page.get_by_role("region", name="History of a key")).to_contain_text("1 write")


def test_the_history_of_a_key_in_a_long_loop(opened, serve, tmp_path):
    """Of many writes the latest hundred stand there at first, each with what it changed and not with all that it held."""
    path = tmp_path / "traces.db"
    run = Run(1, "Loop", start_ns=now_ns())
    run.span("flow", "Loop", 0, 400, state={"seq": 0, "full": {"log": []}})
    for number in range(250):
        change = {"log": {"inside": [{"path": [], "at": number, "removed": 0, "added": [f"line {number}"]}]}}
        run.span(
            "node",
            "Add",
            number,
            number + 1,
            attributes={"node": "Add", "visit": number + 1, "step": number + 1},
            state={"seq": number + 1, "changed": change},
        )
    StoreWriter(path).write([run.record], run.spans)
    page = opened(f"{serve(path)}/runs/{run.run_id}?view=state&key=log")
    history = page.get_by_role("region", name="History of a key")
    expect(history).to_contain_text("251 writes")
    expect(history.locator(".write-head")).to_have_count(100)
    expect(history.locator(".write-value").last).to_have_text('+[249:] ["line 249"]')
    expect(history.locator("li.current")).to_be_in_viewport()
    history.get_by_role("button", name="151 earlier writes").click()
    history.get_by_role("button", name="51 earlier writes").click()
    expect(history.locator(".write-head")).to_have_count(251)
    history.locator(".write-head").nth(2).click()
    expect(page.locator(".state-where")).to_contain_text("Add visit 2")
    expect(page.locator(".key-row .diff .add").last).to_contain_text("line 1")
