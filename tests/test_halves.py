"""What importing loads: two halves that stay apart, and nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    "langfuse", "sqlite3", "_sqlite3", "httpx", "httpcore", "typer", "click", "rich", "pydantic", "requests", "dotenv",
    "numpy", "pandas", "google.protobuf", "opentelemetry.sdk", "opentelemetry.proto", "opentelemetry.exporter", "http.server",
}  # fmt: skip
WRITE_HALF = {"pocketflow", "langfuse", "opentelemetry", "pocketflow_tracing.recorder", "pocketflow_tracing.delivery"}


def loaded_by(code: str, tmp_path: Path, **environment: str) -> set[str]:
    """The modules that a program has loaded when its last line has run."""
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("LANGFUSE_", "POCKETFLOW_", "OTEL_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"],
        cwd=tmp_path,
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def found(names: set[str], modules: set[str]) -> set[str]:
    return {name for name in names if any(module == name or module.startswith(f"{name}.") for module in modules)}


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    """`import pocketflow_tracing` loads no SDK, database, HTTP client, terminal library or OpenTelemetry SDK."""
    assert set() == found(HEAVY, loaded_by("import pocketflow_tracing", tmp_path))


def test_marking_a_flow_loads_what_its_runs_need(tmp_path):
    """Decorating loads what a run will use, on the importing thread, and neither an SDK nor what the terminal needs."""
    code = "from pocketflow import Flow; import pocketflow_tracing as t\nt.trace_flow(Flow()); t.instrument()"
    never = {
        "langfuse",
        "opentelemetry.sdk",
        "opentelemetry.exporter",
        "typer",  # rich: httpx imports it where click is installed
        "numpy",
        "pandas",
        "http.server",
    }
    keys = {"LANGFUSE_PUBLIC_KEY": "pk-lf-x", "LANGFUSE_SECRET_KEY": "sk-lf-x"}
    assert set() == found(never, loaded_by(code, tmp_path, **keys))
    assert set() == found(never | {"httpx", "google.protobuf"}, loaded_by(code, tmp_path))


def test_a_run_to_langfuse_does_not_import_the_sdk(tmp_path):
    """Without generations to record, sending to Langfuse needs no langfuse and no OpenTelemetry SDK."""
    from collector import Collector

    code = (
        "from pocketflow import Flow, Node; import pocketflow_tracing as t\n"
        "t.trace_flow(Flow(start=Node())).run({}); assert t.flush(10)"
    )
    with Collector() as collector:
        modules = loaded_by(code, tmp_path, **collector.environ)
        assert (("Flow", ("Node", "Node.prep", "Node.exec", "Node.post")),) == collector.tree()
    assert set() == found(
        {"langfuse", "opentelemetry.sdk", "typer"}, modules
    )  # rich: httpx imports it where click is installed


def test_no_thread_of_ours_imports_anything(tmp_path):
    """A fork in the middle of it would leave the module locked in the child: all is there when the first run begins."""
    from collector import Collector

    code = """
import json, sys
from pocketflow import Flow, Node
import pocketflow_tracing as t

class Works(Node):
    def exec(self, _):
        t.add_score("quality", 1)
        return {"image": b"\\x89PNG\\r\\n\\x1a\\n" + b"0" * 100, "text": "t" * 100_000}

    def post(self, shared, _, found):
        shared["found"] = found
        if "again" in shared:
            raise ValueError("with a traceback")

flow = t.trace_flow(Flow(start=Works()))
flow.run({})
begun = set(sys.modules)
t.flush(10)
try:
    flow.run({"again": 1})
except ValueError:
    t.flush(10)
assert set(sys.modules) == begun, set(sys.modules) - begun
"""
    with Collector() as collector:
        url = collector.environ["LANGFUSE_BASE_URL"].replace("127.0.0.1", "localhost")
        loaded_by(code, tmp_path, **{**collector.environ, "LANGFUSE_BASE_URL": url})
        assert collector.spans()
    loaded_by(code, tmp_path)


# `pocketflow_tracing` itself is the write half's door; a reader of modules below it would go through it.
LOAD_ALONE = """
import types
package = types.ModuleType("pocketflow_tracing")
package.__path__ = [__import__("os").environ["PYTHONPATH"] + "/pocketflow_tracing"]
sys.modules["pocketflow_tracing"] = package
import importlib
importlib.import_module("pocketflow_tracing.{0}")
"""


READ_HALF = ["store", "records", *(path.stem for path in sorted((ROOT / "pocketflow_tracing").glob("viewer*")))]


@pytest.mark.parametrize("module", READ_HALF)
def test_the_read_half_knows_nothing_of_the_write_half(module, tmp_path):
    """The store can be read with neither the recorder nor pocketflow, langfuse or opentelemetry loaded."""
    modules = loaded_by(f"import sys; sys.modules['pocketflow'] = None\n{LOAD_ALONE.format(module)}", tmp_path)
    assert set() == found(WRITE_HALF - {"pocketflow"}, modules)


def test_the_core_does_not_import_the_read_half(tmp_path):
    """Recording loads neither the command line nor the views."""
    code = (
        "from pocketflow import Flow, Node; import pocketflow_tracing as t\n"
        "t.trace_flow(Flow(start=Node())).run({}); assert t.flush(10)"
    )
    modules = loaded_by(code, tmp_path)
    assert set() == found({"pocketflow_tracing.cli", "pocketflow_tracing.demo", "pocketflow_tracing.runner"}, modules)
