"""Two runs side by side, in a browser."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from store.sample import Run, now_ns

from pocketflow_tracing.store import Store, StoreWriter


def test_the_first_point_where_runs_part_is_named(opened, serve, made):
    """Two tickets part at the classification; inputs, outputs and state that differ are shown as such."""
    path = made("examples")
    left, right = [run.run_id for run in Store(path).runs() if run.name.startswith("CustomerSupport")][1::-1]
    page = opened(f"{serve(path)}/compare?left={left}&right={right}")
    expect(page.locator(".parting")).to_contain_text("The runs part at ClassifyTicket")
    expect(page.locator(".pairs tbody tr.one-sided")).to_have_count(2)
    page.locator(".pairs").get_by_role("button", name="Show").first.click()
    detail = page.locator(".pair-detail").first
    for heading in ("Input", "Output", "Written to shared"):
        expect(detail.get_by_role("heading", name=heading)).to_be_visible()
    expect(detail.locator(".diff .del").first).to_be_visible()
    page.get_by_role("link", name="Swap sides").click()
    expect(page).to_have_url(re.compile(f"left={right}&right={left}"))


def test_a_run_is_compared_with_the_one_before(opened, serve, made):
    """From a run one click leads to the comparison with the previous run of its flow."""
    path = made("demo")
    page = opened(f"{serve(path)}/runs/{Store(path).run('last').run_id}")
    page.get_by_role("link", name="Compare with previous").click()
    expect(page.locator(".parting")).to_contain_text("Both runs took the same way")
    expect(page.locator(".pairs tbody tr:not(.pair-detail)")).to_have_count(8)


def test_runs_are_chosen_on_the_page_itself(opened, serve, made):
    """Without runs in the address, two clicks choose them."""
    page = opened(f"{serve(made('demo'))}/compare")
    page.locator("tbody a").first.click()
    expect(page.locator("tbody a")).to_have_count(1)
    page.locator("tbody a").first.click()
    expect(page.locator(".pairs")).to_be_visible()


def decided(number, action, took, **fields):
    """A run whose node Choose ended with an action, or failed where that is None."""
    error = None if action else {"type": "ValueError", "message": "no way on"}
    status = "success" if action else "error"
    run = Run(number, "Choosing", start_ns=now_ns() + number, status=status, **fields)
    run.record.error = error
    run.span("flow", "Choosing", 0, took, status=status, error=error)
    facts = {"node": "Choose", "visit": 1, "step": 1} | ({"action": action} if action else {})
    run.span(
        "node",
        "Choose",
        0,
        took,
        status=status,
        error=error,
        attributes=facts,
        state={"seq": 1, "added": {"n": number}},
    )
    return run


def test_a_visit_that_failed_is_told_in_words(opened, serve, tmp_path):
    """A node that failed has no action: the page says that it failed and why, on which side, and what the other chose."""
    runs = [decided(1, None, 10), decided(2, "go", 40)]
    StoreWriter(tmp_path / "traces.db").write(
        [run.record for run in runs], [span for run in runs for span in run.spans]
    )
    page = opened(f"{serve(tmp_path / 'traces.db')}/compare?left={runs[0].run_id}&right={runs[1].run_id}")
    expect(page.locator(".parting")).to_contain_text(
        "The runs part at Choose: it failed on the left, and chose “go” on the right."
    )
    expect(page.locator(".sides")).to_contain_text("ValueError: no way on")
    expect(page.locator(".pairs .apart")).to_have_text("+30 ms")
    page.get_by_role("button", name="Show").click()
    detail = page.locator(".pair-detail")
    expect(detail.get_by_role("heading")).to_have_text(["How it ended", "Written to shared"])
    expect(detail).to_contain_text("The same on both sides: input, output.")


def test_what_cannot_be_compared_is_told(opened, serve, made):
    """A run that is not there gives a sentence and the way to choose others."""
    page = opened(f"{serve(made('demo'))}/compare?left=ffff&right=eeee", accepts="404")
    expect(page.get_by_role("heading", name="These runs cannot be compared.")).to_be_visible()
    page.get_by_role("link", name="Choose two runs").click()
    expect(page.locator("tbody a").first).to_be_visible()


def test_what_does_not_differ_is_folded(opened, serve, tmp_path):
    """Of a long way that both runs went alike only the ends stand there; the rest comes by a click."""
    path = tmp_path / "traces.db"
    runs = []
    for number in (1, 2):
        run = Run(number, "Loop", start_ns=now_ns() + number)
        run.span("flow", "Loop", 0, 100)
        for step in range(40):
            facts = {"node": "Step", "visit": step + 1, "action": "other" if (number, step) == (2, 30) else "go"}
            run.span("node", "Step", step, step + 1, attributes=facts)
        runs.append(run)
    StoreWriter(path).write([run.record for run in runs], [span for run in runs for span in run.spans])
    page = opened(f"{serve(path)}/compare?left={runs[0].run_id}&right={runs[1].run_id}")
    expect(page.locator(".parting")).to_contain_text(
        "Step (visit 31): it chose “go” on the left, and chose “other” on the right."
    )
    rows = page.locator(".pairs tbody tr:not(.folded-row, .parting-row)")
    expect(rows).to_have_count(2 + 2 + 1 + 2 + 2)
    page.get_by_role("button", name="26 visits that differ in nothing").click()
    expect(rows).to_have_count(2 + 26 + 2 + 1 + 2 + 2)
