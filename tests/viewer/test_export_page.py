"""The page of a run as one file, in a browser that has no server to ask."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect
from store.sample import agent_run, now_ns

from pocketflow_tracing.store import StoreWriter


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
