"""A secret in every place that data can enter is found nowhere that data can leave."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from collector import Collector

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECRET_KEY = "sk-lf-canary-0000-4000-8000-canary000000"


def run(code: list[str], environ: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE.parent)])}
    return subprocess.run([sys.executable, *code], cwd=folder, env=environ, capture_output=True, text=True, timeout=120)


def found(where: dict[str, bytes | str]) -> dict[str, list[str]]:
    """Every place where the secret stands, with what is around it."""
    places: dict[str, list[str]] = {}
    for name, content in where.items():
        text = content if isinstance(content, str) else content.decode("utf-8", "replace")
        at = text.find("canary")
        while at >= 0:
            places.setdefault(name, []).append(text[max(0, at - 80) : at + 40])
            at = text.find("canary", at + 1)
    return {name: contexts[:8] for name, contexts in places.items()}


def assert_clean(where: dict[str, bytes | str]) -> None:
    leaks = found(where)
    assert not leaks, "\n".join(f"{name}: {context!r}" for name, contexts in leaks.items() for context in contexts)


def files(folder: Path) -> dict[str, bytes]:
    """The raw bytes of the store's files, and what the outbox holds, uncompressed."""
    contents = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in folder.rglob("*.db"):
        connection = sqlite3.connect(path)
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for row in connection.execute("SELECT * FROM outbox") if "outbox" in names else ():
            for cell in row:
                if isinstance(cell, bytes):
                    contents[f"outbox {len(contents)}"] = gzip.decompress(cell) if cell[:2] == b"\x1f\x8b" else cell
        connection.close()
    return contents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_no_secret_reaches_langfuse_the_store_or_a_log(folder):
    """With a server that takes everything: not the server, not the store, not stderr in debug mode, no repr."""
    with Collector() as server:
        environ = {
            **server.environ,
            "LANGFUSE_SECRET_KEY": SECRET_KEY,
            "POCKETFLOW_TRACE_STORE": str(folder / "s" / "traces.db"),
        }
        done = run([str(HERE / "program.py"), "20"], environ, folder)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.rstrip().endswith("True"), (done.stdout, done.stderr[-2000:])
        spans = server.spans()
        assert {"ask", "chat", "Fail.exec", "Items.exec[0]", "Keep.exec_fallback"} <= {span.name for span in spans}
        sent = {f"span {span.name}": repr(span) for span in spans}
        sent |= {f"{request.method} {request.path} {n}": request.body for n, request in enumerate(server.requests)}
    assert_clean({**sent, **files(folder), "stdout": done.stdout, "stderr": done.stderr})
    assert any("[redacted]" in text for text in sent.values() if isinstance(text, str))


def test_no_secret_waits_in_the_outbox_or_shows_in_doctor(folder):
    """With a server that is down: not the outbox, not what doctor, list and show print, with a password in the address."""
    environ = {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
        "LANGFUSE_SECRET_KEY": SECRET_KEY,
        "LANGFUSE_BASE_URL": "http://user:canary@127.0.0.1:9",
        "POCKETFLOW_TRACE_STORE": str(folder / "s" / "traces.db"),
    }
    done = run([str(HERE / "program.py"), "3"], environ, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    contents = files(folder)
    assert any(name.startswith("outbox") and len(body) > 1000 for name, body in contents.items())
    printed = {}
    for command in (
        ["doctor"],
        ["doctor", "--json"],
        ["runs"],
        ["runs", "--json"],
        ["runs", "--text", "x"],
        ["show", "last", "--io", "--state", "--all"],
        ["show", "last", "--json"],
        ["export", "last"],
        ["export", "last", "--jsonl"],
        ["export", "last", "--html", str(folder / "run.html")],
        ["sync"],
    ):
        result = run(["-m", "pocketflow_tracing", *command], environ, folder)
        assert "Traceback" not in result.stderr
        assert result.returncode == 0 or command[0] in {"doctor", "sync"}, (command, result.stderr)
        printed[" ".join(command)] = result.stdout + result.stderr
    assert len((folder / "run.html").read_bytes()) > 1000
    assert_clean({**contents, **files(folder), **printed, "stdout": done.stdout, "stderr": done.stderr})


def test_the_store_is_the_owners(folder):
    """File and directory are for the owner alone, whatever the umask of the program."""
    code = (
        "import os; os.umask(0); from pocketflow import Flow, Node; from pocketflow_tracing import trace_flow, flush;"
        "trace_flow(Flow(start=Node())).run({}); assert flush(timeout=20);"
        "import glob; print([(p, oct(os.stat(p).st_mode & 0o777)) for p in glob.glob('.pocketflow/*') + ['.pocketflow']])"
    )
    done = run(["-c", code], {}, folder)
    assert "traces.db" in done.stdout, done.stderr
    for path in [folder / ".pocketflow", *(folder / ".pocketflow").glob("traces.db*")]:
        assert 0 == stat.S_IMODE(path.stat().st_mode) & 0o077, (path, done.stdout)
    assert "-wal" not in done.stdout or "0o666" not in done.stdout.split("-wal")[1][:20]


def test_the_secret_key_stays_out_of_what_a_failure_shows(folder):
    """Neither a bad address nor an unexpected failure shows the secret key: not in reprs, logs or tracebacks."""
    code = f"""
import logging; logging.basicConfig(level=logging.DEBUG)
from pocketflow import Flow, Node
from pocketflow_tracing import TracingConfig, trace_flow, flush
from pocketflow_tracing.sinks import langfuse
config = TracingConfig(langfuse_public_key="pk-lf-1", langfuse_secret_key={SECRET_KEY!r}, langfuse_host="http://[bad")
print(repr(config), config.problems(), config.describe(), vars(TracingConfig))
flow = trace_flow(config=config)(Flow(start=Node()))
flow.run({{"config": config, "all": vars(config), "sink": langfuse.LangfuseSink(config.resolved())}})
print(flush(timeout=1), repr(flow))
try:
    import copy, pickle; print(copy.deepcopy(config)); print(pickle.dumps(flow)[:0])
except Exception as error: print(repr(error))
"""
    done = run(["-c", code], {"POCKETFLOW_TRACING_DEBUG": "1"}, folder)
    assert done.returncode == 0, done.stderr
    assert_clean({"stdout": done.stdout, "stderr": done.stderr, **files(folder)})


def test_a_repr_and_json_of_settings(folder):
    """`describe` and the JSON of doctor show of keys what tells them apart, and no more."""
    environ = {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
        "LANGFUSE_SECRET_KEY": SECRET_KEY,
        "POCKETFLOW_TRACE_STORE": "off",
        "LANGFUSE_BASE_URL": "http://127.0.0.1:9",
    }
    done = run(["-m", "pocketflow_tracing", "doctor", "--json"], environ, folder)
    settings = {setting["name"]: setting["value"] for setting in json.loads(done.stdout)["settings"]}
    assert "sk-lf-…0000" == settings["langfuse_secret_key"]
