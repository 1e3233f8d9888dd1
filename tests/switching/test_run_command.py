"""`python -m pocketflow_tracing run`: a program that is traced without being touched."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
import zipapp
from pathlib import Path

import pocketflow
import pytest
from kinds import KINDS, runs, spans, trees

ROOT = Path(__file__).parents[2]
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


def test_a_script_is_named_as_it_was_typed(script, python):
    """`sys.argv[0]` is the path as it was typed, `__file__` is absolute, and `__main__` stays until the end."""
    script.write_text(
        "import atexit, sys\nprint(sys.argv[0], __file__)\nWORD = 'still there'\n"
        "atexit.register(lambda: print(sys.modules['__main__'].WORD))\n"
    )
    plain = python("app/script.py", "x")
    traced = python("-m", "pocketflow_tracing", "run", "app/script.py", "x")
    assert f"app/script.py {script}\nstill there\n" == plain.stdout == traced.stdout


@pytest.mark.parametrize(
    "code",
    ["def f():\n    1 / 0\nf()\n", "raise SystemExit('no')", "1 +\n", "import nowhere\n", "raise KeyboardInterrupt\n"],
)
def test_what_a_program_raises_is_shown_as_python_shows_it(code, script, python):
    """A traceback holds no frame of ours or of runpy: it is the text that `python script.py` prints."""
    script.write_text(code)
    plain, traced = (
        python(*start, str(script), "x", check=False) for start in ((), ("-m", "pocketflow_tracing", "run"))
    )
    assert (plain.returncode, plain.stderr) == (traced.returncode, traced.stderr)


def test_a_folder_runs_as_under_python(script, python):
    """A folder with a `__main__.py` runs as `python folder` runs it."""
    (script.parent / "__main__.py").write_text(
        "import sys, helper\nprint(__name__, sys.argv[1:], sys.path[0], sys.path[1][:5])\n"
    )
    plain = python("app", "x")
    assert plain.stdout == python("-m", "pocketflow_tracing", "run", "app", "x").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-m", "nomod"), "No module named nomod."),
        (("-m", "nomod.inside"), "No module named 'nomod'."),
        (("app",), "Can't find '__main__' module in '{}'."),
        (("none.py",), "There is no script none.py."),
    ],
)
def test_what_cannot_be_run_is_a_sentence(arguments, sentence, script, python):
    """A module, folder or file that cannot be run is one sentence and exit code 2, as with python."""
    done = python("-m", "pocketflow_tracing", "run", *arguments, check=False)
    assert (2, f"Error: {sentence.format(script.parent)}\n") == (done.returncode, done.stderr)


def test_a_module_runs_as_under_python(tmp_path, python):
    """`run -m package.module` traces what `python -m` would run."""
    (tmp_path / "program.py").write_text(
        "import sys\nfrom pocketflow import Flow, Node\nFlow(start=Node()).run({})\nprint(__name__, sys.argv[1:])\n"
    )
    done = python("-c", "from pocketflow_tracing.runner import run_script; run_script('program', ['x'], module=True)")
    assert "__main__ ['x']\n" == done.stdout
    assert ["Flow"] == [run.name for run in runs()]


def test_a_script_finds_what_it_finds_under_python(tmp_path):
    """A symlinked script imports its real neighbours, and `__builtins__` is the module that it is in a script."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "helper.py").write_text("X = 1\n")
    (tmp_path / "real" / "tool.py").write_text(
        "import helper, sys\nprint(helper.X, __builtins__.len('abc'), sys.argv)\n"
    )
    (tmp_path / "tool").symlink_to(tmp_path / "real" / "tool.py")

    def said(*command):
        return subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert said("-m", "pocketflow_tracing", "run", "tool", "a") == said("tool", "a")


WORLD = """
import __main__, atexit, sys
print(sys.path[:2], sys.argv, __name__, __package__, __annotations__ if sys.version_info < (3, 14) else {})
print(__builtins__.len("abc"), __file__, __spec__ and (__spec__.name, __spec__.parent), type(__loader__).__name__)
WORD = "still there"
atexit.register(lambda: print(sys.modules["__main__"].WORD))
"""


@pytest.mark.parametrize("safe", [False, True], ids=["path", "safe path"])
@pytest.mark.parametrize(
    "form", [["app/world.py"], ["app/world.pyc"], ["app"], ["app.zip"], ["-m", "app.world"], ["-m", "app"]]
)
def test_every_form_of_a_program_finds_the_world_of_python(form, safe, tmp_path, python):
    """The same path, names and arguments; with a safe path nothing is put on it, or taken away, that Python would not."""
    app = tmp_path / "app"
    app.mkdir()
    for name in ("world", "__main__"):
        (app / f"{name}.py").write_text(WORLD)
    py_compile.compile(str(app / "world.py"), str(app / "world.pyc"))
    zipapp.create_archive(app, tmp_path / "app.zip")
    environment = {"PYTHONSAFEPATH": "1"} if safe else {}
    if safe:
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(tmp_path)])
    plain, traced = (
        python(*start, *form, "x", **environment).stdout for start in ((), ("-m", "pocketflow_tracing", "run"))
    )
    assert plain == traced
    assert plain.endswith("still there\n")


def test_a_program_that_instruments_itself_hides_what_it_hides_alone(script, python):
    """`run` is there first, and says nothing; what the program says holds."""
    script.write_text(
        "from pocketflow import Flow, Node\n"
        "from pocketflow_tracing import TracingConfig, instrument\n"
        "instrument(config=TracingConfig(redact=('name',)), session_id='s')\n"
        "instrument(session_id='other')\n"
        "Flow(start=Node()).run({'name': 'Jane'})\n"
    )
    python("-m", "pocketflow_tracing", "run", str(script))
    (run,) = runs()
    assert ("s", False) == (run.session_id, "Jane" in repr(spans(run)))


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_program_keeps_its_own_copy_of_pocketflow(is_whole, script, python):
    """100 lines are copied into projects and changed there; what is no PocketFlow that we know runs untraced, with a word."""
    source = Path(pocketflow.__file__).read_text()
    own = f"{source}\nOWN = 1\n" if is_whole else "OWN = 1\n"
    (script.parent / "pocketflow.py").write_text(own)
    flow = "from pocketflow import Flow, Node\nFlow(start=Node()).run({})\n" if is_whole else ""
    script.write_text(f"import pocketflow\nprint(pocketflow.OWN)\n{flow}")
    done = python("-m", "pocketflow_tracing", "run", str(script))
    assert ("1\n", not is_whole) == (done.stdout, "It runs untraced." in done.stderr)
    assert ["Flow"] * is_whole == [run.name for run in runs()]
