"""langfuse is imported by the program, when and as it likes; or something stands in for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pocketflow_tracing.store import Store

SETUP = """
import sys, types
from unittest import mock
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

class Asks(Node):
    def exec(self, prep_res):
        if sys.modules.get("langfuse") is None:
            return None
        from langfuse import observe
        return observe(name="generation")(lambda: 1)()

class Finds:
    def find_spec(self, name, path=None, target=None):
        return None

flow = trace_flow(Flow(start=Asks()))
before = list(sys.meta_path)

def others():
    return [finder for finder in sys.meta_path if not type(finder).__module__.startswith("pocketflow_tracing")]
"""

OTHERS = {
    "one that is pushed and popped": """
sys.meta_path.insert(0, Finds())
flow.run({})
assert type(sys.meta_path.pop(0)) is Finds
import langfuse
assert others() == before
""",
    "one that is there from the start": """
finds = Finds()
sys.meta_path.insert(0, finds)
flow.run({})
assert sys.meta_path[0] is finds
import langfuse
assert others() == [finds, *before]
""",
    "a list of another's": """
sys.meta_path = list(before)
flow.run({})
sys.meta_path = before
import langfuse
""",
    "ours is taken away": """
flow.run({})
sys.meta_path[:] = before
import langfuse
""",
    "ours is put back": """
flow.run({})
kept = list(sys.meta_path)
import langfuse
sys.meta_path[:] = kept
import importlib, langfuse.media
importlib.reload(langfuse.media)
""",
    "it is moved to the front": """
flow.run({})
sys.meta_path.sort(key=lambda finder: finder in before)
import langfuse
assert others() == before
""",
    "it is only asked whether there is one": """
import importlib.util
flow.run({})
assert importlib.util.find_spec("langfuse") is not None
import langfuse
""",
    "one that is just being asked": """
flow.run({})
walk = iter(sys.meta_path)
while next(walk) in before:
    pass
import langfuse  # while another thread stands at ours
assert next(walk).__name__ == "PathFinder"
""",
    "none but the one that finds it": """
finders = sys.meta_path[:]
del sys.meta_path[:-1]
(path_finder,) = sys.meta_path
flow.run({})
assert sys.meta_path[0] is path_finder
sys.meta_path[:] = finders
import langfuse
""",
}


def ran(program, tmp_path, **environ):
    """The spans of the newest run in the store of a program, by name; and what it has said."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("LANGFUSE_", "POCKETFLOW_"))}
    environ = {**clean, "POCKETFLOW_TRACE_STORE": str(tmp_path / "traces.db"), **environ}
    done = subprocess.run(
        [sys.executable, "-c", SETUP + program + "\nflow.run({})\nassert flush(10)\n"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    store = Store(tmp_path / "traces.db")
    return {span.name for span in store.spans(store.run("last").run_id)}, done.stderr


@pytest.mark.parametrize("others", OTHERS)
def test_finders_of_others(others, tmp_path):
    """Whoever puts a finder on `sys.meta_path` for a while takes the same one away; nothing else depends on ours."""
    names, said = ran(OTHERS[others], tmp_path)
    assert {"Asks.exec", "generation"} < names
    assert "pocketflow" not in said


STAND_INS = {
    "a mock": """sys.modules["langfuse"] = mock.MagicMock()""",
    "a namespace": """sys.modules["langfuse"] = types.SimpleNamespace(observe=lambda **_: lambda function: function)""",
    "a bare module": """
sys.modules["langfuse"] = types.ModuleType("langfuse")
sys.modules["langfuse"].observe = lambda **_: lambda function: function
""",
    "a module of the program's": """
open("langfuse.py", "w").write("def observe(**_): return lambda function: function")
import langfuse
""",
    "a mock after the real one": """
import langfuse
sys.modules["langfuse"] = mock.MagicMock()
""",
    "nothing": """sys.modules["langfuse"] = None""",
}


@pytest.mark.parametrize("keys", ["keys", "no keys"])
@pytest.mark.parametrize("stand_in", STAND_INS)
def test_what_stands_in_for_langfuse(stand_in, keys, collector, tmp_path):
    """Runs are recorded and nothing is said, with keys and without."""
    names, said = ran(STAND_INS[stand_in], tmp_path, **(collector.environ if keys == "keys" else {}))
    assert {"Flow", "Asks", "Asks.exec"} <= names
    assert "" == said
    assert (5 if keys == "keys" else 0) == len(collector.spans())


WITHOUT_SQLITE = """
import gc, sys

class Hides:
    def find_spec(self, name, path=None, target=None):
        if name == "_sqlite3":
            raise ModuleNotFoundError("No module named '_sqlite3'", name=name)

sys.meta_path.insert(0, Hides())
from pocketflow import Flow, Node
from pocketflow_tracing import _pipeline, flush, trace_flow

resolved = []
init = _pipeline.Pipeline.__init__
_pipeline.Pipeline.__init__ = lambda *given: (resolved.append(1), init(*given))[1]

@trace_flow
def work():
    Flow(start=Node()).run({})

flow = trace_flow(Flow(start=Node()))
for _ in range(3):
    flow.run({})
    work()
print(len(resolved), flush(10))
"""


@pytest.mark.parametrize("with_keys", [False, True], ids=["without keys", "with keys"])
@pytest.mark.parametrize("store", ["auto", "kept.db"])
def test_a_python_without_sqlite(with_keys, store, collector, tmp_path, monkeypatch):
    """It is said once; with keys everything is sent, without nothing is recorded, and the settings are read once."""
    for name, value in collector.environ.items() if with_keys else ():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POCKETFLOW_TRACE_STORE", store)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SQLITE], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert ("1 True\n", 0) == (done.stdout, done.returncode), done.stderr
    said = "This Python has no sqlite3, so nothing is recorded in a store."
    assert [f"pocketflow-tracing: {said}"] == done.stderr.splitlines()
    assert not [*tmp_path.iterdir()]
    assert (6 if with_keys else 0) == sum(span.parent_id is None for span in collector.spans())
