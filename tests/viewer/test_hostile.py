"""What hostile texts can do in a page: nothing."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import expect
from store.sample import now_ns, small_run

from pocketflow_tracing.store import Store, StoreWriter
from pocketflow_tracing.viewer.export import export_html
from pocketflow_tracing.viewer.shell import self_contained


@pytest.mark.parametrize("view", ["timeline", "graph", "state"])
def test_hostile_texts_are_only_text(opened, serve, made, view):
    """Markup and Markdown images in names, prompts, errors, actions and keys are shown, and neither run nor loaded."""
    path = made("hostile")
    run = Store(path).run("last")
    page = opened(f"{serve(path)}/runs/{run.run_id}?view={view}")
    expect(page.locator("h1")).to_contain_text("</script>")
    for _ in range(8):
        page.keyboard.press("j")
        expect(page.locator(".panel-head h2")).to_be_visible()
        buttons = page.locator(".panel").get_by_role("button", name="As Markdown")
        while buttons.count():
            buttons.first.click()
    assert "pwned" not in page.title().replace("document.title = 'pwned'", "").replace("document.title='pwned'", "")
    assert 0 == page.locator("img, iframe, object, embed, main script, .panel a").count()


def test_hostile_texts_in_lists_and_comparisons(opened, serve, made):
    """The same on the other pages."""
    path = made("hostile")
    base, run = serve(path), Store(path).run("last")
    for address in (
        "/",
        f"/nodes?flow={httpx.QueryParams({'f': run.name})['f']}",
        f"/compare?left={run.run_id}&right={run.run_id}",
    ):
        page = opened(base + address)
        expect(page.locator("table:is(.runs, .nodes, .pairs) tbody tr").first).to_be_visible()
        assert 0 == page.locator("img, iframe, main script").count()


def test_no_text_turns_the_order_of_what_is_read(opened, serve, tmp_path):
    """Signs that turn the reading order stand as their numbers, in names, keys, values and labels; copying gives the text itself."""
    path = tmp_path / "traces.db"
    turned = "safe\u202eexe.txt\u2066"
    run = small_run(1, turned, start_ns=now_ns(), tags=[turned])
    run.spans[1].name, run.spans[1].output, run.spans[1].state = turned, turned, {"seq": 1, "added": {turned: turned}}
    run.spans[1].attributes = {"node": turned, "action": turned}
    StoreWriter(path).write([run.record], run.spans)
    page = opened(f"{serve(path)}/runs/{run.run_id}?span={run.spans[1].span_id}")
    shown = r"safe\u202eexe.txt\u2066"
    expect(page.locator("h1")).to_have_text(shown)
    expect(page.locator(".panel-head")).to_contain_text(shown)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy output").click()
    assert turned == page.evaluate("navigator.clipboard.readText()")
    page.keyboard.press("3")
    expect(page.locator(".key-name")).to_have_text(shown)
    base = serve(path)
    for address in (
        f"/runs/{run.run_id}",
        "/",
        f"/nodes?flow={quote(turned)}",
        f"/compare?left={run.run_id}&right={run.run_id}",
    ):
        page.goto(base + address)
        expect(page.locator("main")).to_contain_text(shown)
        texts = "[document.title, document.body.innerText, ...[...document.querySelectorAll('[title], [aria-label]')].map((one) => one.title + one.ariaLabel)].join()"
        assert not set("\u202e\u2066") & set(page.evaluate(texts))


def test_hostile_texts_in_an_exported_page(opened, made, tmp_path):
    """And in the file that is attached to an issue."""
    store = Store(made("hostile"))
    run = store.run("last")
    (tmp_path / "run.html").write_text(export_html(run, store.spans(run.run_id)), encoding="utf-8")
    page = opened((tmp_path / "run.html").as_uri())
    expect(page.locator("h1")).to_contain_text("</script>")
    assert 0 == page.locator("img, main script").count()
    assert page.title().startswith("Hostile")


def test_the_title_of_a_printed_page_steers_no_terminal():
    """`export --html -` is looked at in one."""
    page = self_contained("a\x1b[31m\u202e <b>", {})
    assert "<title>a\ufffd[31m\ufffd &lt;b&gt;</title>" in page
    assert "\x1b" not in page
