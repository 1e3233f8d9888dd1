"""The README's code blocks run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_code_blocks_run_in_their_order(tmp_path):
    """One program made of all Python blocks ends well, and every run of it is in the local store."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 8
    program = tmp_path / "readme.py"
    program.write_text("\n\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    from pocketflow_tracing.store import Store

    names = {run.name for run in Store(tmp_path / ".pocketflow" / "traces.db").runs()}
    assert {"QAFlow", "QA", "Nightly", "Flow", "Ask", "Support"} <= names


def test_every_command_stands_in_the_table():
    """The table of commands names each command that the program has."""
    text = README.read_text(encoding="utf-8")
    shown = subprocess.run(
        [sys.executable, "-m", "pocketflow_tracing", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = re.findall(r"^\W*(demo|runs|show|tail|export|prune|sync|doctor|run|ui)\b", shown, re.MULTILINE)
    assert len(set(commands)) >= 9
    for command in set(commands):
        assert f"`pocketflow-tracing {command}" in text, command
