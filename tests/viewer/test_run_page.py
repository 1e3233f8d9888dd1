"""The page of a run, in a browser: the timeline and the selected span."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect
from store.sample import agent_run, now_ns, small_run

from pocketflow_tracing.store import Store, StoreWriter
from pocketflow_tracing.viewer.export import export_html


def row(page, name, number=0):
    return page.locator(".tree-row", has=page.locator(".label", has_text=re.compile(f"^{re.escape(name)}$"))).nth(
        number
    )


def test_the_demo_can_be_understood_from_the_timeline(demo):
    """Order, decisions, attempts, fallback, items and the nested flow are all there to read."""
    page = demo()
    expect(page.get_by_role("heading", name="ResearchAssistant")).to_be_visible()
    expect(row(page, "DecideNextStep")).to_contain_text("search→ SearchWeb")
    expect(row(page, "DecideNextStep", 1)).to_contain_text("visit 2write→ DraftSections")
    expect(page.locator(".tree-row", has_text="attempt 1 of 3")).to_contain_text(
        "ConnectionError: search engine is busy"
    )
    expect(page.locator(".tree-row", has_text="attempt 2 of 3").locator(".wait")).to_have_attribute(
        "title", re.compile("waited 3")
    )
    items = page.locator(".tree-row", has_text="3 items").first
    expect(items.locator(".part.lanes-3")).to_have_count(3)  # parallel items stand above each other
    page.locator(".tree-scroll").evaluate("box => box.scrollTop = 100000")
    expect(row(page, "exec_fallback")).to_contain_text("fallback")
    expect(row(page, "EditBrief")).to_have_attribute("aria-level", "2")
    expect(row(page, "Proofread")).to_have_attribute("aria-level", "3")


def test_a_failed_attempt_shows_its_error_and_frames(demo):
    """The panel of an attempt holds the error, the user's frame and the line of code; its input can be copied."""
    page = demo()
    page.locator(".tree-row", has_text="attempt 1 of 3").click()
    panel = page.get_by_role("complementary")
    expect(panel).to_contain_text("failed, saved later")
    expect(panel.locator(".error-box")).to_contain_text("ConnectionError")
    expect(panel.locator(".frames li").first).to_contain_text("raise ConnectionError")
    expect(panel).to_contain_text("Is tea better than coffee?")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.get_by_role("button", name="Copy input").click()
    assert page.evaluate("navigator.clipboard.readText()") == "Is tea better than coffee?"


def test_the_keyboard_goes_through_a_run(demo):
    """j and k step, e finds problems, arrows fold, numbers switch views, Escape closes the panel."""
    page = demo()
    expect(row(page, "DecideNextStep")).to_be_visible()
    selected = page.locator(".tree-row.selected")
    page.keyboard.press("j")
    expect(selected).to_contain_text("ResearchAssistant")
    page.keyboard.press("j")
    expect(selected).to_contain_text("DecideNextStep")
    page.keyboard.press("e")
    expect(selected).to_contain_text("attempt 1 of 3")
    page.keyboard.press("k")
    expect(selected).to_contain_text("prep")
    page.locator(".tree-scroll").focus()
    page.keyboard.press("ArrowLeft")
    expect(selected).to_contain_text("SearchWeb")
    page.keyboard.press("ArrowLeft")
    expect(selected).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".tree-scroll")).to_have_attribute("aria-activedescendant", re.compile("^row-"))
    page.keyboard.press("2")
    expect(page.get_by_role("tab", name="Graph")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    expect(selected).to_have_count(0)
    assert "span=" not in page.url


def test_the_axis_zooms_and_comes_back(demo):
    """Zooming in makes the bars longer, 0 shows the whole run again; a dragged part fills the axis."""
    page = demo()
    bars = row(page, "ReadSources").locator(".bar-box")
    bar = bars.locator(".bar")
    expect(bar).to_be_visible()
    before = bar.bounding_box()["width"]
    page.keyboard.press("+")
    expect(page.locator(".overview")).not_to_have_class(re.compile("whole"))
    page.wait_for_function(
        "([bars, before]) => bars.querySelector('.bar').getBoundingClientRect().width > before * 1.3",
        arg=[bars.element_handle(), before],
    )
    page.keyboard.press("0")
    expect(page.locator(".overview")).to_have_class(re.compile("whole"))
    axis = page.locator(".axis").bounding_box()
    page.mouse.move(axis["x"] + 10, axis["y"] + 10)
    page.mouse.down()
    page.mouse.move(axis["x"] + axis["width"] / 3, axis["y"] + 10)
    page.mouse.up()
    expect(page.locator(".overview")).not_to_have_class(re.compile("whole"))


def test_selection_and_view_live_in_the_url(demo):
    """The address of what is on the screen opens the same thing."""
    page = demo()
    page.locator(".tree-scroll").evaluate("box => box.scrollTop = 600")
    page.locator(".tree-row", has_text="attempt 2 of 2").click()
    page.get_by_role("tab", name="Graph").click()
    query = page.url.partition("?")[2]
    again = demo(f"?{query}")
    expect(again.get_by_role("tab", name="Graph")).to_have_attribute("aria-selected", "true")
    expect(again.get_by_role("complementary")).to_contain_text("TimeoutError")


def test_an_error_is_told_on_top_and_where_it_happened(opened, serve, made):
    """The run's heading names the error; the attempt holds the frames, and what caused it."""
    path = made("failing")
    page = opened(f"{serve(path)}/runs/{Store(path).run('last').run_id}")
    expect(page.locator(".run-problem")).to_contain_text("ValueError: cannot parse 'tea'")
    page.get_by_role("button", name="Next problem").click()
    expect(page.get_by_role("complementary").locator(".error-box")).to_contain_text("caused by")
    expect(page.get_by_role("complementary").locator(".error-box")).to_contain_text("KeyError")
    page.get_by_role("tab", name="State").click()
    page.get_by_role("slider").fill("1")
    expect(page.locator(".key-row .diff .add")).to_have_text(["+line 39"])
    expect(page.locator(".key-row.changed .diff .same").last).to_contain_text("line 38")


def test_a_generation_shows_messages_model_tokens_and_cost(opened, serve, tmp_path):
    """A conversation reads as one; model, tokens and cost stand beside it."""
    path = tmp_path / "traces.db"
    run = agent_run(items=3, start_ns=now_ns())
    StoreWriter(path).write([run.record], run.spans)
    page = opened(f"{serve(path)}/runs/{run.run_id}")
    row(page, "OpenAI-generation").click()
    panel = page.get_by_role("complementary")
    expect(panel.locator(".message.role-user")).to_contain_text("Question: who won?")
    for text in ("gpt-4o-mini", "312", "100", "$0.00042"):
        expect(panel).to_contain_text(text)


def test_every_example_opens_in_every_view(opened, serve, made):
    """The runs of all examples draw as timeline, graph and state; nothing complains."""
    path = made("examples")
    page = opened("about:blank")
    for run in Store(path).runs():
        page.goto(f"{serve(path)}/runs/{run.run_id}")
        expect(page.locator(".tree-row").first).to_contain_text(run.name)
        page.keyboard.press("2")
        expect(page.locator(".graph-node.visited").first).to_be_visible()
        page.keyboard.press("3")
        expect(page.locator(".key-row").first).to_be_visible()


def test_an_interrupted_run_says_so_and_where(opened, serve, made):
    """A killed process leaves a run that is called interrupted, with the node that was going on."""
    path = made("killed")
    page = opened(f"{serve(path)}/runs/{Store(path).run('last').run_id}")
    expect(page.locator(".run-title")).to_contain_text("interrupted")
    expect(page.locator(".run-problem")).to_contain_text("The process that recorded it ended")
    page.keyboard.press("3")
    expect(page.locator(".key-name")).to_have_text(["quick"])


def test_a_run_that_is_not_there_whole_says_so(opened, serve, tmp_path):
    """What there was no room for would else seem never to have happened."""
    path = tmp_path / "traces.db"
    run = small_run(1, nodes=4)
    run.spans[0].attributes["lost_spans"] = 1204
    StoreWriter(path).write([run.record], run.spans)
    page = opened(f"{serve(path)}/runs/{run.run_id}")
    expect(page.locator(".run-problem")).to_contain_text("Parts of it are missing (1,204 spans")


def test_a_running_run_fills_in(opened, serve, tmp_path):
    """Spans appear as they are written; when the run ends the page says so; selection stays."""
    path = tmp_path / "traces.db"
    run = small_run(1, nodes=4, start_ns=now_ns(), status="running", end_ns=None)
    run.spans[0].status, run.spans[0].end_ns = "running", None
    writer = StoreWriter(path)
    writer.write([run.record], run.spans[:2], (run.record.process_id, now_ns()))
    page = opened(f"{serve(path)}/runs/{run.run_id}")
    expect(page.locator(".run-took")).to_contain_text("running for")
    row(page, "Node0").click()
    writer.write([], run.spans[2:4])
    expect(row(page, "Node2")).to_be_visible()
    run.record.status, run.record.end_ns = "success", run.record.start_ns + 4_000_000
    run.spans[0].status, run.spans[0].end_ns = "success", run.record.end_ns
    writer.write([run.record], [run.spans[0], run.spans[4]])
    expect(page.locator(".run-title .status")).to_contain_text("success")
    expect(row(page, "Node3")).to_be_visible()
    expect(page.locator(".tree-row.selected")).to_contain_text("Node0")


def test_a_long_run_keeps_the_document_small(opened, serve, tmp_path):
    """Of a batch of 3,000 items only the rows in sight are in the document; search finds any of them."""
    path = tmp_path / "traces.db"
    run = agent_run(items=3000, start_ns=now_ns())
    StoreWriter(path).write([run.record], run.spans)
    page = opened(f"{serve(path)}/runs/{run.run_id}")
    batch = page.locator(".tree-row", has_text="3,000 items")
    expect(batch).to_contain_text("folded, 1 failed")
    batch.locator("[data-twist]").click()
    page.locator(".tree-scroll").evaluate("box => box.scrollTop = 40000")
    expect(
        page.locator(".tree-row", has_text="exec[1200]").or_(page.locator(".tree-row", has_text="exec[1320]")).first
    ).to_be_attached()
    assert page.locator(".tree-row").count() < 80
    page.get_by_role("searchbox", name="Find a span").fill("exec[2999]")
    expect(page.locator(".tree-row")).to_have_count(1)
    page.get_by_role("searchbox", name="Find a span").fill("")
    page.keyboard.press("Escape")


def test_an_unknown_run_is_told(opened, serve, made):
    """A run that is not there leads back to the list."""
    page = opened(f"{serve(made('demo'))}/runs/ffff", accepts="404")
    expect(page.get_by_role("heading", name="There is no such run in this store.")).to_be_visible()
    page.get_by_role("link", name="All runs").click()
    expect(page.locator("table.runs")).to_be_visible()


def test_a_node_shows_what_it_got_and_made(demo):
    """The visit of a node holds what prep and the last attempt of exec returned, and what it wrote, without another click."""
    page = demo()
    row(page, "SearchWeb").click()
    panel = page.get_by_role("complementary")
    expect(panel.get_by_role("heading", name="prep returned")).to_be_visible()
    expect(panel).to_contain_text("Is tea better than coffee?")
    made = panel.locator(".panel-section", has=page.get_by_role("heading", name="exec returned"))
    expect(made).to_contain_text("coffee.example/facts")
    row(page, "CheckFacts").scroll_into_view_if_needed()


def test_problems_are_counted_and_led_to(demo, opened, serve, made):
    """The button says how many there are; a run without any says so; the heading of a failed run leads to the place."""
    page = demo()
    expect(page.get_by_role("button", name="Next problem (5)")).to_be_enabled()
    path = made("examples")
    ticket = next(run for run in Store(path).runs() if run.name.startswith("CustomerSupport"))
    expect(opened(f"{serve(path)}/runs/{ticket.run_id}").get_by_role("button", name="No problems")).to_be_disabled()
    for store, name in (("failing", "exec"), ("killed", "Slow")):
        page = opened(f"{serve(made(store))}/runs/{Store(made(store)).run('last').run_id}?view=graph")
        page.get_by_role("button", name="Show where").click()
        expect(page.locator(".tree-row.selected .label")).to_have_text(name)


def test_all_is_folded_and_unfolded(demo):
    """One button, which says what it will do."""
    page = demo()
    rows = page.locator(".tree-row")
    page.get_by_role("button", name="Fold all").click()
    expect(rows).to_have_count(10)
    page.get_by_role("button", name="Unfold all").click()
    expect(page.get_by_role("button", name="Fold all")).to_be_visible()
    expect(page.locator(".tree-row", has_text="attempt 1 of 3")).to_be_visible()


def test_on_a_phone_the_selected_row_stands_above_the_panel(demo):
    """The panel covers the lower part of a small screen, never the row that it is about."""
    page = demo(width=360, height=780)
    expect(page.locator(".tree-row").first).to_be_visible()
    for _ in range(3):
        page.keyboard.press("e")
        expect(page.locator(".panel .error-box, .panel .panel-section").first).to_be_visible()
        box, panel = page.locator(".tree-row.selected").bounding_box(), page.locator(".panel").bounding_box()
        assert 0 <= box["y"] < box["y"] + box["height"] <= panel["y"] + 1


def test_a_very_long_value_is_searched_by_its_places(opened, serve, tmp_path):
    """Of ten million characters a part is in the document; what is looked for is found, however far behind."""
    path = tmp_path / "traces.db"
    run = small_run(1, start_ns=now_ns())
    run.spans[1].output = {"text": "hay " * 2_500_000 + "needle", "list": [{"n": number} for number in range(20_000)]}
    StoreWriter(path).write([run.record], run.spans)
    page = opened(f"{serve(path)}/runs/{run.run_id}?span={run.spans[1].span_id}")
    panel = page.get_by_role("complementary")
    panel.get_by_role("button", name="all of 10.0 MB").click()
    expect(panel.get_by_role("button", name="9.8 MB more")).to_be_visible()
    panel.get_by_label("Find in output").fill("needle")
    expect(panel.locator("mark")).to_have_text(["needle"])
    panel.get_by_label("Find in output").fill("19999")
    expect(panel.locator("mark")).to_have_text(["19999", "19999"])


@pytest.mark.parametrize("query", ["?span={}", "?view=graph&span={}", "?view=state&key=text"])
def test_a_page_of_a_run_never_grows_beyond_the_window(opened, serve, tmp_path, query):
    """Long values, graphs and histories scroll in their own place, under a heading and beside views that stay."""
    path = tmp_path / "traces.db"
    run = small_run(1, nodes=100, start_ns=now_ns())
    run.spans[1].output = "line\n" * 500
    for number, span in enumerate(run.spans[1:]):
        span.state = {"seq": number, "changed": {"text": {"new": f"line {number}\n" * 50}}}
    StoreWriter(path).write([run.record], run.spans)
    page = opened(f"{serve(path)}/runs/{run.run_id}{query.format(run.spans[1].span_id)}", width=1280, height=700)
    expect(page.locator(".panel .long-text, .writes li.current").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollHeight") <= 700


@pytest.mark.parametrize("exported", [False, True])
def test_whole_numbers_keep_their_digits(opened, serve, tmp_path, exported):
    """Ids of messages and times in nanoseconds are larger than what JavaScript's numbers hold."""
    path = tmp_path / "traces.db"
    before, now, huge = 1790000000000000001, 1790000000000000002, 2**70
    run = small_run(1, start_ns=now_ns())
    node = run.spans[1]
    node.output = {"tweet": now, "rows": [huge, -before], "near": 1.5, "small": 7}
    node.state = {"seq": 1, "full": {"since": now}}
    node.scores = [{"name": "at", "value": before}]
    node.usage = {"input": before, "output": 2, "total": before}
    StoreWriter(path).write([run.record], run.spans)
    if exported:
        (tmp_path / "run.html").write_text(
            export_html(Store(path).run("last"), Store(path).spans(run.run_id)), encoding="utf-8"
        )
        page = opened((tmp_path / "run.html").as_uri())
        page.locator(".tree-row").nth(1).click()
    else:
        page = opened(f"{serve(path)}/runs/{run.run_id}?span={node.span_id}")
    panel = page.locator(".panel")
    for number in (str(now), str(huge), f"-{before}", "1.5", "7", str(before)):
        expect(panel).to_contain_text(number)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    if not exported:
        page.get_by_role("button", name="Copy output").click()
        assert node.output == json.loads(page.evaluate("navigator.clipboard.readText()"))
    page.keyboard.press("3")
    expect(page.locator("main")).to_contain_text(str(now))
