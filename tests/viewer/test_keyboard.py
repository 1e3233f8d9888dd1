"""The view without a mouse, and while things change under the reader's hand."""

from __future__ import annotations

from playwright.sync_api import expect
from store.sample import now_ns, process_id, small_run

from pocketflow_tracing.store import Store, StoreWriter

FOCUS = """() => {
  const at = document.activeElement;
  const style = getComputedStyle(at);
  const box = at.getBoundingClientRect();
  return { name: at.getAttribute("aria-label") || at.textContent.trim() || at.value, seen: at === document.body || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) || at.matches(".graph-node"), inside: box.width > 0 && box.height > 0 };
}"""


def walk(page, most=60):
    """Goes through a page by Tab; returns the names of what was focused."""
    names = []
    for _ in range(most):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUS)
        if page.evaluate("document.activeElement === document.body"):
            break
        assert found["seen"], f"the focus on {found['name']!r} is not to be seen"
        assert found["inside"], f"the focus on {found['name']!r} is on nothing"
        names.append(found["name"])
    return names


def test_the_runs_are_reached_by_tab(opened, serve, made):
    """Skip link, pages, filters, then each run with its box; every focus can be seen."""
    page = opened(serve(made("demo")))
    expect(page.locator("table.runs tbody tr")).to_have_count(2)
    names = walk(page)
    assert "Skip to the content" == names[0]
    for name in (
        "Runs",
        "Nodes",
        "Compare",
        "Text in names, errors, inputs and outputs",
        "Status",
        "ResearchAssistant",
    ):
        assert name in names
    assert 2 == sum(name.startswith("Choose run") for name in names)


def test_a_run_is_gone_through_without_a_mouse(opened, serve, made):
    """From the list into a run, through its spans to an error, on to the state and back, by keys alone."""
    page = opened(serve(made("demo")))
    link = page.locator(".run-link").first
    expect(link).to_be_visible()
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".tree-row").first).to_be_visible()
    names = walk(page)
    assert ["Timeline", "Find a span", "Spans of the run"] == [
        name for name in names if name in {"Timeline", "Find a span", "Spans of the run"}
    ]
    page.locator(".tree-scroll").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    expect(page.locator(".tree-row.selected")).to_contain_text("post")
    page.keyboard.press("Home")
    page.keyboard.press("e")
    expect(page.get_by_role("complementary")).to_contain_text("ConnectionError")
    page.locator("#tab-timeline").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="State")).to_be_focused()
    expect(page.get_by_role("slider")).to_be_enabled()
    page.get_by_role("slider").focus()
    page.keyboard.press("Home")
    expect(page.locator(".state-where")).to_contain_text("before the first node")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".state-where")).to_contain_text("step 1 of 8")


def test_the_graph_is_gone_through_without_a_mouse(opened, serve, made):
    """Each visited node takes the focus, says what happened there, and opens its visits by Enter."""
    path = made("demo")
    page = opened(f"{serve(path)}/runs/{Store(path).run('last').run_id}?view=graph")
    expect(page.locator(".graph-node").first).to_be_visible()
    assert 8 == sum(" visit" in name for name in walk(page))


def test_new_runs_leave_the_focus_where_it_was(opened, serve, tmp_path):
    """A run that appears above does not take the keyboard away from the one below; it is told once to screen readers."""
    path = tmp_path / "traces.db"
    writer = StoreWriter(path)
    first = small_run(1)
    writer.write([first.record], first.spans)
    page = opened(serve(path))
    link = page.locator(f"tr[data-run='{first.run_id}'] .run-link")
    link.focus()
    second = small_run(2, "Second", start_ns=now_ns())
    writer.write([second.record], second.spans)
    expect(page.locator("table.runs tbody tr")).to_have_count(2)
    expect(link).to_be_focused()
    expect(page.locator("#announcements")).to_have_text("1 new run: Second")


def test_a_running_run_does_not_close_what_is_open(opened, serve, tmp_path):
    """While spans come in, the search in a value, the focus in the heading and the chosen step stay."""
    path = tmp_path / "traces.db"
    run = small_run(1, nodes=6, start_ns=now_ns(), status="running", end_ns=None)
    run.spans[0].status, run.spans[0].end_ns = "running", None
    run.spans[1].output = {"text": "needle in a haystack " * 20, "more": list(range(40))}
    writer = StoreWriter(path)
    writer.write([run.record], run.spans[:2], (run.record.process_id, now_ns()))
    page = opened(f"{serve(path)}/runs/{run.run_id}?span={run.spans[1].span_id}")
    search = page.get_by_label("Find in output")
    search.fill("needle")
    expect(page.locator(".panel mark").first).to_be_visible()
    for number in range(2, 6):
        writer.write([], [run.spans[number]], (run.record.process_id, now_ns()))
        expect(page.locator(".tree-row", has_text=f"Node{number - 1}")).to_be_visible()
    expect(search).to_be_focused()
    expect(search).to_have_value("needle")
    tab = page.get_by_role("tab", name="Timeline")
    tab.focus()
    run.record.status, run.record.end_ns = "success", run.record.start_ns + 4_000_000
    run.spans[0].status, run.spans[0].end_ns = "success", run.record.end_ns
    writer.write([run.record], [run.spans[0], run.spans[6]], (process_id(), now_ns()))
    expect(page.locator(".run-title .status")).to_contain_text("success")
    expect(tab).to_be_focused()
    expect(page.locator("#announcements")).to_have_text("The run ended: success")
