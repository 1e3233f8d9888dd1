"""`pocketflow-tracing ui` as a user starts and ends it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from store.sample import small_run

import pocketflow_tracing
from pocketflow_tracing.store import StoreWriter


@pytest.fixture
def start():
    """Start the command; what a failing test leaves running ends with the test."""
    started = []

    def start(*arguments, **variables):
        program = subprocess.Popen(
            [sys.executable, "-m", "pocketflow_tracing", "ui", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1", **variables},
        )  # fmt: skip
        started.append(program)
        return program

    yield start
    for program in started:
        with program:
            program.kill()


@pytest.fixture
def store(tmp_path):
    run = small_run()
    writer = StoreWriter(tmp_path / "traces.db")
    writer.write([run.record], run.spans)
    writer.close()
    return tmp_path / "traces.db"


def test_it_says_where_it_is_and_ends_with_ctrl_c(start, store):
    """The address stands on the first line, answers, and Ctrl-C ends everything with exit code 0 and no noise."""
    program = start("--store", str(store), "--port", "0", "--no-open")
    line = program.stdout.readline()
    url = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
    assert str(store) in line
    with urllib.request.urlopen(f"{url}api/runs", timeout=10) as answer:
        assert small_run().run_id in answer.read().decode()
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)
    assert (0, "", "") == (program.returncode, out, err)


def test_it_opens_the_browser(start, store, tmp_path):
    """The browser of the user gets the address, unless --no-open."""
    told = tmp_path / "told"
    browser = tmp_path / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}.part && mv {told}.part {told}\n')
    browser.chmod(0o755)
    program = start("--store", str(store), "--port", "0", BROWSER=str(browser))
    url = re.search(r"http://\S+/", program.stdout.readline())[0]
    for _ in range(100):
        if told.exists():
            break
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.1)
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=30)
    assert url == told.read_text().strip()


def test_a_port_that_is_taken_is_told(start, store):
    """A port that was asked for is not silently replaced by another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = start("--store", str(store), "--port", str(port), "--no-open")
        _, err = program.communicate(timeout=30)
    assert 1 == program.returncode
    assert f"Cannot listen on 127.0.0.1:{port}" in err


def test_a_store_that_is_not_there_yet_is_told(start, tmp_path):
    """It is served all the same: the page fills when the first run begins."""
    program = start("--store", str(tmp_path / "later.db"), "--port", "0", "--no-open")
    lines = program.stdout.readline() + program.stdout.readline()
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=30)
    assert "There is no store there yet" in lines
    assert not (tmp_path / "later.db").exists()


def test_without_the_extra_it_says_what_to_install(store, tmp_path):
    """One sentence with the command, and a code that is not 0."""
    code = "import sys; sys.modules['starlette'] = sys.modules['uvicorn'] = None\nfrom pocketflow_tracing.cli import main\nmain(['ui', '--no-open'])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}
    )
    assert 1 == answer.returncode
    assert "Error: The browser view needs its extra: pip install 'pocketflow-tracing[ui]'.\n" == answer.stderr


def test_the_page_as_a_file_needs_no_extra(store, tmp_path):
    """`export --html` works without the web server."""
    code = f"import sys; sys.modules['starlette'] = sys.modules['uvicorn'] = None\nfrom pocketflow_tracing.cli import main\nmain(['export', '--store', {str(store)!r}, '--html', {str(tmp_path / 'run.html')!r}])"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "run.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("module", ["app", "api", "export", "server"])
def test_the_view_does_not_load_the_write_half(module):
    """The browser view loads nothing of the recording half, nor what it needs."""
    bare = f"import sys, types; p = types.ModuleType('pocketflow_tracing'); p.__path__ = [{str(Path(pocketflow_tracing.__file__).parent)!r}]; sys.modules[p.__name__] = p"
    answer = subprocess.run(
        [sys.executable, "-c", f"{bare}\nimport pocketflow_tracing.viewer.{module}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    forbidden = {"pocketflow", "langfuse", "opentelemetry", "httpx"}
    forbidden |= {f"pocketflow_tracing.{name}" for name in ("recorder", "delivery", "decorator", "sinks", "frameworks")}
    assert set() == forbidden & set(answer.stdout.split())
