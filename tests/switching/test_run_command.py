"""`python -m pocketflow_tracing run`: a program that is traced without being touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kinds import KINDS, runs, trees

SCRIPT = """
import json, sys
from pathlib import Path
import helper
from kinds import KINDS

def main():
    flow = KINDS["Flow"].plain()
    flow.run({"question": helper.QUESTION})
    print(json.dumps([__name__, sys.argv, sys.path, __file__]))
    if "fail" in sys.argv:
        raise RuntimeError("on purpose")
    if "leave" in sys.argv:
        sys.exit(7)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def script(tmp_path):
    """A script in a folder of its own, with a module beside it."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "helper.py").write_text("QUESTION = 'why'\n")
    path = folder / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize(("argument", "code"), [("go", 0), ("fail", 1), ("leave", 7)])
def test_a_script_runs_as_under_python(argument, code, script, python):
    """Arguments, `__name__`, `sys.path`, output and exit code are those of `python script.py`; every flow is traced."""
    (script.parent / "kinds.py").write_text(Path(__file__).with_name("kinds.py").read_text())
    plain = python(str(script), argument, "--flag", check=False)
    traced = python("-m", "pocketflow_tracing", "run", str(script), argument, "--flag", check=False)
    name, arguments, path, file = json.loads(plain.stdout)
    assert ("__main__", [str(script), argument, "--flag"], str(script)) == (name, arguments, file)
    assert str(script.parent) == path[0]
    assert (code, code, plain.stdout) == (plain.returncode, traced.returncode, traced.stdout)
    assert ("RuntimeError: on purpose" in plain.stderr) == ("RuntimeError: on purpose" in traced.stderr)
    assert [KINDS["Flow"].tree("Flow")] == trees()


def test_a_module_runs_as_under_python(tmp_path, python):
    """`run -m package.module` traces what `python -m` would run."""
    (tmp_path / "program.py").write_text(
        "import sys\nfrom pocketflow import Flow, Node\nFlow(start=Node()).run({})\nprint(__name__, sys.argv[1:])\n"
    )
    done = python("-c", "from pocketflow_tracing.runner import run_script; run_script('program', ['x'], module=True)")
    assert "__main__ ['x']\n" == done.stdout
    assert ["Flow"] == [run.name for run in runs()]
