"""Tests of a host's that put files of their own in the place of the real ones, and modules in the place of libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pocketflow_tracing.store import Store

PROGRAM = """
import contextlib
from unittest import mock
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow
flow = trace_flow(Flow(start=Node()), flow_name="Faked")
with {faking}:
    flow.run({{}})
print("still here", flush=True)
trace_flow(Flow(start=Node()), flow_name="Real").run({{}})
print(flush(10), flush=True)
"""

PYFAKEFS = "__import__('pyfakefs.fake_filesystem_unittest').fake_filesystem_unittest.Patcher()"


def _run(code, cwd, **environment):
    with (cwd / "stdout").open("w") as stdout:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=cwd,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(cwd), **environment},
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    return (cwd / "stdout").read_text().split("\n"), done.stderr


@pytest.mark.parametrize(
    "faking",
    [PYFAKEFS, "mock.patch('pathlib.Path')", "mock.patch('pathlib.Path', autospec=True)", "contextlib.nullcontext()"],
)
def test_a_first_run_among_faked_files_is_not_recorded_and_the_next_one_is(faking, tmp_path):
    """It would take them for its own: a mock's number is that of the host's stdout, which was closed so."""
    said, stderr = _run(PROGRAM.format(faking=faking), tmp_path)
    assert ["still here", "True", ""] == said
    is_faked = "nullcontext" not in faking
    assert is_faked == ("files stand in the place of the real ones" in stderr)
    names = [run.name for run in Store(tmp_path / ".pocketflow" / "traces.db").runs()]
    assert ["Real", "Faked"][: 2 - is_faked] == names


@pytest.mark.parametrize("function", ["absolute", "joinpath", "expanduser", "exists", "__truediv__"])
def test_a_mock_on_a_method_of_paths_misplaces_nothing(function, tmp_path):
    """What it answers is no path of ours."""
    said, _ = _run(PROGRAM.format(faking=f"mock.patch('pathlib.Path.{function}')"), tmp_path)
    assert ["still here", "True", ""] == said
    assert ["Real", "Faked"] == [run.name for run in Store(tmp_path / ".pocketflow" / "traces.db").runs()]
    assert {"stdout", ".pocketflow"} == {path.name for path in tmp_path.iterdir()}


COUNTING = """
import json, os
from unittest import mock
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow
with mock.patch("os.path.{function}", return_value="config.json") as mocked:
    trace_flow(Flow(start=Node())).run({{}})
    assert not mocked.called, mocked.mock_calls
print(json.load(open("config.json")), flush(10))
"""


@pytest.mark.parametrize("function", ["expanduser", "isabs", "join", "dirname", "normpath", "realpath"])
@pytest.mark.parametrize("store", ["auto", "~/runs.db", "runs.db"])
def test_a_mock_on_a_function_of_paths_is_not_asked(function, store, tmp_path):
    """It counts its calls, and answers with a file of the host's, which must not become the store."""
    (tmp_path / "config.json").write_text("{}")
    said, _ = _run(COUNTING.format(function=function), tmp_path, HOME=str(tmp_path), POCKETFLOW_TRACE_STORE=store)
    assert ["{} True", ""] == said


def test_what_cannot_be_imported_is_tried_once_and_runs_are_in_the_store(tmp_path):
    """A file of the program's has the name of the HTTP library, say."""
    (tmp_path / "httpx.py").write_text("print('imported')\n")
    keys = {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
        "LANGFUSE_SECRET_KEY": "sk-lf-1",
        "LANGFUSE_BASE_URL": "http://127.0.0.1:9",
    }
    said, stderr = _run(PROGRAM.format(faking="contextlib.nullcontext()"), tmp_path, **keys)
    assert ["still here", "True"] == [line for line in said if line and line != "imported"]
    assert 1 == stderr.count("getting ready to send to Langfuse")
    assert ["Real", "Faked"] == [run.name for run in Store(tmp_path / ".pocketflow" / "traces.db").runs()]
