"""Stores that are broken, foreign, newer, locked away or mended: told in a sentence, never a traceback or an empty page."""

from __future__ import annotations

import os
import sqlite3

import pytest
from playwright.sync_api import expect
from store.sample import now_ns, small_run

from pocketflow_tracing.store import StoreWriter


def filled(path, number=3):
    runs = [small_run(number_, start_ns=now_ns()) for number_ in range(1, number + 1)]
    writer = StoreWriter(path)
    writer.write([run.record for run in runs], [span for run in runs for span in run.spans])
    writer.close()
    return runs


def change(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def truncated(path):
    os.truncate(path, path.stat().st_size * 2 // 3)


BREAKS = {
    "no database": (lambda path: path.write_bytes(os.urandom(9000)), "cannot be read"),
    "truncated": (truncated, "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "newer": (lambda path: change(path, "PRAGMA user_version = 99"), "written by a newer version"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_store_is_told(opened, serve, tmp_path, how):
    """The list says what is wrong with the file, in a sentence; so do the other pages."""
    path = tmp_path / "traces.db"
    runs = filled(path)
    (broken, sentence), base = BREAKS[how], serve(path)
    broken(path)
    page = opened(base, accepts="503")
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(page.get_by_role("status").first).to_have_text("waiting")
    for address in (
        "/nodes?flow=Small",
        f"/compare?left={runs[0].run_id}&right={runs[1].run_id}",
        f"/runs/{runs[0].run_id}",
    ):
        page.goto(base + address)
        expect(page.locator("main")).to_contain_text(sentence)


def test_a_store_that_is_mended_is_shown_without_reloading(opened, serve, tmp_path):
    """What was wrong is told only as long as it is."""
    path = tmp_path / "traces.db"
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(b"")
    page = opened(serve(path), accepts="503")
    expect(page.get_by_role("alert")).to_contain_text("is empty")
    path.write_bytes(whole)
    expect(page.locator("table.runs tbody tr")).to_have_count(3)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_store_in_a_folder_that_cannot_be_written(opened, serve, tmp_path):
    """A folder for reading only is no hindrance: nothing is made beside the store."""
    folder = tmp_path / "shared"
    folder.mkdir()
    filled(folder / "traces.db")
    (folder / "traces.db").chmod(0o400)
    folder.chmod(0o500)
    try:
        expect(opened(serve(folder / "traces.db")).locator("table.runs tbody tr")).to_have_count(3)
        assert ["traces.db"] == [file.name for file in folder.iterdir()]
    finally:
        folder.chmod(0o700)
