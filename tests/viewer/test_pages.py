"""Comparison, nodes and the exported page, in a browser."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect
from store.sample import Run, agent_run, now_ns, small_run

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


def test_nodes_are_sorted_by_where_the_time_goes(opened, serve, made):
    """SearchWeb takes most of the demo's time; retries and fallbacks have their rates; another column sorts anew."""
    page = opened(f"{serve(made('demo'))}/nodes")
    rows = page.locator("table.nodes tbody tr")
    expect(rows.first).to_contain_text("SearchWeb")
    expect(rows.first).to_contain_text("100 %")
    expect(page.locator("tr", has_text="Proofread")).to_contain_text("in EditBrief")
    page.get_by_role("button", name="Visits").click()
    expect(rows.first).to_contain_text("DecideNextStep")
    assert "sort=visits" in page.url


def version(number, took, **fields):
    run = Run(number, "Versioned", start_ns=now_ns() + number, version=fields.pop("version"), **fields)
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
    page.get_by_label("against").select_option("1.0")
    expect(page.locator(".change-of.faster").first).to_contain_text("50 ms")
    assert "version=1.1&against=1.0" in page.url


@pytest.mark.parametrize("name", ["demo", "examples", "killed", "failing"])
def test_an_exported_page_opens_offline(opened, made, tmp_path, name):
    """One file with all three views, the details of spans and the state; nothing is asked of any server."""
    path = made(name)
    file = tmp_path / "run.html"
    subprocess.run(
        [sys.executable, "-m", "pocketflow_tracing", "export", "last", "--store", str(path), "--html", str(file)],
        check=True,
        capture_output=True,
    )
    text = file.read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!#)', text.replace('href="/', ""))
    page = opened(file.as_uri())
    expect(page.locator(".tree-row").first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".panel-head h2")).to_be_visible()
    expect(page.get_by_role("complementary")).to_contain_text("Details")
    page.keyboard.press("2")
    expect(page.locator(".graph-node.visited").first).to_be_visible()
    page.keyboard.press("3")
    expect(page.locator(".key-row").first).to_be_visible()
    assert page.url.startswith("file:")


def test_an_exported_page_of_a_long_run(opened, tmp_path):
    """A thousand items, a generation and a nested flow fit in one file as well."""
    path = tmp_path / "traces.db"
    run = agent_run(items=1000, start_ns=now_ns())
    StoreWriter(path).write([run.record], run.spans)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pocketflow_tracing",
            "export",
            "--store",
            str(path),
            "--html",
            str(tmp_path / "run.html"),
        ],
        check=True,
        capture_output=True,
    )
    page = opened((tmp_path / "run.html").as_uri())
    page.get_by_role("searchbox", name="Find a span").fill("openai")
    page.locator(".tree-row", has_text="OpenAI-generation").click()
    expect(page.get_by_role("complementary")).to_contain_text("gpt-4o-mini")


def test_pages_of_an_unknown_address(opened, serve, made):
    """Leads back to the runs."""
    page = opened(f"{serve(made('demo'))}/nowhere", accepts="404")
    expect(page.get_by_role("heading", name="There is nothing at this address.")).to_be_visible()


def test_a_copied_store_without_its_companions(opened, serve, tmp_path, made):
    """A store file copied from elsewhere, read-only, shows its runs."""
    copy = tmp_path / "copy.db"
    copy.write_bytes(made("examples").read_bytes())
    copy.chmod(0o400)
    expect(opened(serve(copy)).locator("table.runs tbody tr").first).to_be_visible()
    assert [copy] == list(tmp_path.iterdir())


def test_the_theme_is_chosen_and_kept(opened, serve, tmp_path):
    """System, light, dark: the button changes it, the next page remembers."""
    path = tmp_path / "traces.db"
    run = small_run(start_ns=now_ns())
    StoreWriter(path).write([run.record], run.spans)
    page = opened(serve(path))
    button = page.get_by_role("button", name=re.compile("^Theme: "))
    ground = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = ground()
    button.click()
    assert light == ground()
    button.click()
    assert light != ground()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert light != ground()
