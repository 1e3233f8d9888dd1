"""The identity and the records hold under a PocketFlow of another branch, too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.mark.parametrize("suite", ["test_facts.py", "test_records.py", "test_guard.py"])
def test_under_the_variant(suite, tmp_path):
    """The same tests, in a process whose `pocketflow` is the variant."""
    shutil.copy(HERE / "pocketflow_variant.py", tmp_path / "pocketflow.py")
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            str(HERE / suite),
            f"--basetemp={tmp_path / 'tmp'}",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-4000:]


def test_the_variant_is_what_they_ran_under(tmp_path):
    """The copied file is what `import pocketflow` finds there, and its functions get twins."""
    shutil.copy(HERE / "pocketflow_variant.py", tmp_path / "pocketflow.py")
    code = (
        "import pocketflow; from pocketflow_tracing import instrument; from pocketflow_tracing.frameworks import pocketflow as f;"
        "instrument(); from pocketflow_tracing.frameworks._rewrite import twins;"
        "from pocketflow_tracing.frameworks.pocketflow import uninstall; uninstall();"
        "print(pocketflow.__file__, len(twins(pocketflow, f._OPENERS, f._ENTERING)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert process.stdout.split() == [str(tmp_path / "pocketflow.py"), "14"]


def test_a_source_that_has_changed_since_the_import(tmp_path):
    """Functions that are not what the file says get no twins: a flow must not run other code than was imported."""
    path = tmp_path / "pocketflow.py"
    shutil.copy(HERE / "pocketflow_variant.py", path)
    code = (
        "import pathlib, pocketflow; path = pathlib.Path(pocketflow.__file__);"
        "path.write_text(path.read_text().replace('return self.exec(prep_res)', 'return [self.exec(prep_res)]'));"
        "from pocketflow_tracing.frameworks._rewrite import twins;"
        "found = twins(pocketflow, {'exec': print, 'prep': print}, {});"
        "print(sorted(f'{cls.__name__}.{name}' for (cls, name), twin in found.items() if twin(vars(cls)[name])))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "BaseNode._run" in process.stdout
    assert "BaseNode._exec" not in process.stdout
