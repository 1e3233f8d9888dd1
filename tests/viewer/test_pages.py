"""What all pages share: addresses that lead nowhere, copied stores, the theme."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from store.sample import now_ns, small_run

from pocketflow_tracing.store import StoreWriter


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
