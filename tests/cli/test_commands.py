"""Each command on a store: what it prints in a pipe, its JSON, its exit code, its sentence when it cannot."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
from collector import Collector, Mode
from store.sample import MS, START, Run, agent_run, now_ns, small_run

from pocketflow_tracing import TracingConfig
from pocketflow_tracing._command import command as command_to_type
from pocketflow_tracing._pipeline import Pipeline
from pocketflow_tracing.cli.symbols import UNICODE
from pocketflow_tracing.cli.tail import Follower
from pocketflow_tracing.records import SpanRecord
from pocketflow_tracing.sinks import otlp
from pocketflow_tracing.store import Outbox, OutboxBatch, Store
from pocketflow_tracing.store.filters import STATUSES

DROP = "DROP TABLE runs; DROP TABLE spans"
FIRST, SECOND = "0001" + "a" * 12, "0002" + "a" * 12


@pytest.fixture
def two(write):
    write(
        small_run(1, "Alpha", session_id="s1", user_id="ada", tags=["blue"]),
        small_run(
            2,
            "Beta",
            status="error",
            start_ns=now_ns(),
            end_ns=None,
            error={"type": "ValueError", "message": "no\tticket\nx"},
        ),
    )


class TestRuns:
    def test_in_a_pipe(self, two, command):
        """A heading, a line a run, newest first, tabs between the columns, ids whole, no column ever missing."""
        heading, *rows = [line.split("\t") for line in command("runs").lines]
        assert ["run", "status", "flow", "started"] == heading[:4]
        assert {len(heading)} == {len(row) for row in rows}
        assert [[SECOND, "error", "Beta"], [FIRST, "success", "Alpha"]] == [row[:3] for row in rows]
        assert ["s1", "ada", ""] == rows[1][9:]
        assert ["", "", "ValueError: no ticket"] == rows[0][9:]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--flow", "Alpha"], [FIRST]),
            (["--status", "error"], [SECOND]),
            (["--session", "s1"], [FIRST]),
            (["--user", "ada"], [FIRST]),
            (["--tag", "blue"], [FIRST]),
            (["--since", "1h"], [SECOND]),
            (["--text", "ticket"], [SECOND]),
            (["--limit", "1"], [SECOND]),
            (["--flow", "None"], []),
        ],
    )
    def test_filters(self, two, command, arguments, expected):
        """Each filter reaches the store; JSON holds what was found."""
        assert expected == [run["run_id"] for run in json.loads(command("runs", "--json", *arguments).out)]

    @pytest.mark.parametrize("arguments", [["--status", "odd"], ["--since", "soon"], ["--limit", "0"]])
    def test_wrong_calls(self, two, command, arguments):
        """A wrong option ends with 2 and its name."""
        result = command("runs", *arguments)
        assert (2, True) == (result.code, arguments[0] in result.err)

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["runs", "--limit", "x"], "--limit: 'x' is no whole number."),
            (["runs", "--limit", "0"], "--limit: 0 is too little; the least is 1."),
            (["runs", "--limit", "9" * 21], f"--limit: {'9' * 21} is too much; the most is {2**63 - 1}."),
            (["tail", "--once", "--runs", "9" * 21], f"--runs: {'9' * 21} is too much; the most is {2**63 - 1}."),
            (["runs", "--since", "1000000000d"], "--since: '1000000000d' is no time: give an age such as "),
            (["prune", "--older-than", "9999-12-31"], "--older-than: '9999-12-31' is no time: give an age such as "),
            (["runs", "--status", "odd"], f"--status: 'odd' is none of {', '.join(STATUSES)}."),
            (["prune", "--max-mb", "x"], "--max-mb: 'x' is no number."),
            (["prune"], "say what may stay: --keep-runs, --max-mb or --older-than."),
            (["ui", "--port", "99999"], "--port: 99999 is too much; the most is 65535."),
            (["odd"], "No such command 'odd'."),
            (["run", "--store", "foo.db", "x.py"], "`run` has no option --store; POCKETFLOW_TRACE_STORE says"),
            (["run"], "Name a script: "),
        ],
    )
    def test_a_wrong_call_is_a_sentence(self, command, arguments, sentence):
        """Whatever is wrong with a call is one plain line that begins with `Error:`, and exit code 2."""
        result = command(*arguments)
        assert (2, "") == (result.code, result.out)
        assert result.err.startswith(f"Error: {sentence}")
        assert 1 == len(result.err.splitlines())

    def test_on_a_terminal(self, two, path):
        """On a terminal: a heading, short ids, signs besides colours, no line wider than the terminal."""
        out = on_a_terminal("runs", "--store", str(path), columns=110)
        assert out[0].split() == ["run", "flow", "status", "started", "took", "nodes", "session", "user", "error"]
        assert out[1].startswith("0002aaaa  Beta   ✗ error")
        assert 110 >= max(len(line) for line in out)


class TestShow:
    def test_references(self, two, command):
        """A prefix is enough, `last` is the default."""
        assert "Alpha" in command("show", "0001").lines[0]
        assert command("show").out == command("show", "last").out
        assert "Beta" in command("show").lines[0]

    @pytest.mark.parametrize(
        ("reference", "sentence"), [("000", "is ambiguous"), ("ff", "No run begins"), ("zz", "is not a run id")]
    )
    def test_no_such_run(self, two, command, reference, sentence):
        """What cannot be shown is one sentence and exit code 1."""
        result = command("show", reference)
        assert (1, "") == (result.code, result.out)
        assert sentence in result.err
        assert 1 == len(result.err.splitlines())

    def test_json(self, two, command):
        """JSON holds the run and its spans."""
        document = json.loads(command("show", "0001", "--json").out)
        assert (FIRST, 3) == (document["run"]["run_id"], len(document["spans"]))
        assert 10 * MS == document["spans"][0]["duration_ns"]

    def test_io_and_state(self, write, command):
        """Inputs, outputs and changes are shown when asked for."""
        write(agent_run(items=1))
        plain, asked = command("show").out, command("show", "--io", "--state").out
        assert "Hopfield" not in plain
        assert 'out {"answer": "Hopfield and Hinton"' in asked
        assert "~ visits 0 → 1" in asked


class TestStoreFile:
    @pytest.mark.parametrize(
        "arguments", [["runs"], ["show"], ["export"], ["prune", "--keep-runs", "1"], ["tail", "--once"]]
    )
    def test_missing(self, command, path, arguments):
        """Without a store every reading command says where it looked and how to have one, and creates nothing."""
        result = command(*arguments)
        assert 1 == result.code
        assert result.err.startswith(f"Error: There is no trace store at {path}. `")
        assert " run your_script.py` records there" in result.err
        assert not path.parent.exists()

    def test_broken(self, command, path):
        """A file that is no store is one sentence."""
        path.parent.mkdir()
        path.write_text("hello " * 1000)
        assert "cannot be read: file is not a database" in command("runs").err

    def test_newer(self, two, command, path):
        """A newer version's store is one sentence that says what to do."""
        raw = sqlite3.connect(path)
        raw.execute("PRAGMA user_version = 99")
        raw.close()
        assert "upgrade it, or choose another store" in command("runs").err

    def test_a_directory(self, two, command, path, monkeypatch):
        """`--store` takes the directory too, and beats the environment."""
        monkeypatch.setenv("POCKETFLOW_TRACE_STORE", "elsewhere.db")
        assert 3 == len(command("runs", "--store", str(path.parent)).lines)

    def test_the_default(self, command, tmp_path, monkeypatch):
        """Without any setting the store of the working directory is meant."""
        monkeypatch.delenv("POCKETFLOW_TRACE_STORE")
        assert str(tmp_path / ".pocketflow" / "traces.db") in command("runs").err


class TestExport:
    def test_document(self, write, command):
        """The document is ASCII JSON that holds everything of the run."""
        write(agent_run(items=2))
        result = command("export", "last")
        document = json.loads(result.out)
        assert result.out.isascii()
        assert ("ResearchAgent", 18) == (document["run"]["name"], len(document["spans"]))
        assert "Hopfield and Hinton" == document["spans"][0]["output"]["answer"]

    def test_lines(self, two, command):
        """`--jsonl` is one line a span."""
        lines = command("export", "0001", "--jsonl").lines
        assert ["Alpha", "Node0", "Node1"] == [json.loads(line)["name"] for line in lines]

    def test_to_a_file(self, two, command, tmp_path):
        """`-o` writes the file and says so on stderr."""
        result = command("export", "0001", "-o", str(tmp_path / "run.json"))
        assert ("", f"Wrote 3 spans of run {FIRST} to {tmp_path / 'run.json'}.\n") == (result.out, result.err)
        assert FIRST == json.loads((tmp_path / "run.json").read_text())["run"]["run_id"]

    def test_a_file_that_cannot_be_written(self, two, command, tmp_path):
        """An output that cannot be written is one sentence."""
        result = command("export", "-o", str(tmp_path / "none" / "run.json"))
        assert (1, f"Error: {tmp_path / 'none' / 'run.json'}: No such file or directory.\n") == (
            result.code,
            result.err,
        )

    def test_a_page_to_stdout(self, two, command, tmp_path, monkeypatch):
        """`--html -` writes the page to stdout and no file."""
        monkeypatch.chdir(tmp_path)
        assert command("export", "0001", "--html", "-").out.startswith("<!DOCTYPE html>")
        assert not (tmp_path / "-").exists()


class TestPrune:
    def test_it_says_what_it_removed(self, two, command, path):
        """The number of runs and spans is said."""
        assert "Removed 1 run (3 spans, about " in command("prune", "--keep-runs", "1").out
        assert [SECOND] == [run.run_id for run in Store(path).runs()]
        assert "Nothing to remove" in command("prune", "--keep-runs", "1").out

    def test_by_age_and_size(self, two, command, path):
        """`--older-than` and `--max-mb` reach the store."""
        assert 1 == json.loads(command("prune", "--older-than", "1h", "--json").out)["runs"]
        command("prune", "--max-mb", "0")
        assert [] == Store(path).runs()

    def test_without_a_limit(self, two, command):
        """Without a limit nothing is removed, and the call is wrong."""
        assert 2 == command("prune").code


class TestTail:
    def test_once(self, two, command):
        """`--once` prints the last runs, the newest last, and leaves."""
        lines = command("tail", "--once").lines
        assert ["✓ Alpha", "✗ Beta"] == [" ".join(line.split()[2:4]) for line in lines]

    def test_what_comes(self, write, path):
        """What is written later is printed once: the start, nodes, failures and generations, the end."""
        write(small_run(1))
        follower = Follower(Store(path), UNICODE)
        list(follower.look())
        done = agent_run(items=3, start_ns=START)
        running = agent_run(items=3, status="running", end_ns=None)
        running.spans = []
        write(running)
        assert ["▶ ResearchAgent  started"] == [line.plain[19:] for _, line in follower.look()]
        write(done)
        write(done)
        said = [line.plain[19:].strip() for _, line in follower.look()]
        assert "DecideAction ✗ exec  attempt 1 of 3  TimeoutError: the model did not answer in 0.1 s  100 ms" in said
        assert "SearchWeb ✓ exec_fallback  50 ms" in said
        assert "◆ OpenAI-generation  gpt-4o-mini · 312 + 100 tokens · $0.00042  195 ms" in said
        assert "↻ ResearchAgent  recovered  1.24 s  4 node visits" == said[-1]
        assert len(said) == len(set(said)) == 10
        assert [] == list(follower.look())

    def test_a_short_run_with_passes(self, write, path):
        """A run that arrives whole begins with a line too, and each pass of a batch flow has one, with its parameters."""
        write(small_run(1))
        follower = Follower(Store(path), UNICODE)
        list(follower.look())
        run = Run(2, "All", end_ns=START + 10 * MS)
        run.span("flow", "All", 0, 10)
        one = run.span("pass", "All[0]", 0, 5, attributes={"item": 0})
        run.span("node", "File", 1, 2, one, attributes={"params": {"file": "a.csv"}})
        write(run)
        rows = list(follower.look())
        assert [
            "▶ All  started",
            "✓ File  1.0 ms",
            '✓ All[0] file="a.csv"  5.0 ms',
            "✓ All  success  10 ms  1 node visit",
        ] == [line.plain[19:].strip() for _, line in rows]
        assert ("running", None) == (rows[0][0].status, rows[0][0].end_ns)
        assert [] == list(follower.look())

    def test_it_waits_for_the_first_run(self, path, tmp_path):
        """Where there is no store yet, it says that it waits, and for what."""
        process = subprocess.Popen(
            [sys.executable, "-m", "pocketflow_tracing", "tail", "--store", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        limit = threading.Timer(20, process.kill)
        limit.start()
        with process:
            assert f"Waiting for the first run in {path} (Ctrl-C ends it).\n" == process.stderr.readline()
            process.send_signal(signal.SIGINT)
            limit.cancel()
            assert ("", "") == process.communicate(timeout=20)
        assert 0 == process.returncode

    @pytest.mark.parametrize("broken", ["damaged", "a text", "another program's", "without tables"])
    def test_what_is_no_trace_store_is_said(self, two, path, command, broken):
        """Waiting would be in vain: it ends with the sentence that `runs` ends with."""
        other = path.with_name("other.db")
        if broken in {"damaged", "a text"}:
            other.write_bytes(os.urandom(9000) if broken == "damaged" else b"hello\n" * 200)
        else:
            with contextlib.closing(sqlite3.connect(other)) as connection:
                if broken == "without tables":
                    with contextlib.closing(sqlite3.connect(path)) as source:
                        source.backup(connection)
                connection.executescript(DROP if broken == "without tables" else "CREATE TABLE a (b)")
        ended = subprocess.run(
            [sys.executable, "-m", "pocketflow_tracing", "tail", "--store", str(other)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        runs = command("runs", "--store", str(other))
        assert (1, "", runs.err) == (ended.returncode, ended.stdout, ended.stderr)
        assert 1 == len(runs.err.splitlines())

    def test_ctrl_c(self, two, path):
        """Ctrl-C ends it with 0 and without a word."""
        process = subprocess.Popen(
            [sys.executable, "-m", "pocketflow_tracing", "tail", "--store", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        with process:
            assert "Alpha" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        assert (0, "") == (process.returncode, err)


class TestSync:
    @pytest.fixture
    def sync(self, command, monkeypatch):
        def run(answer, *arguments):
            def sync(path, config, *, refused):
                if isinstance(answer, Exception):
                    raise answer
                return answer

            from pocketflow_tracing.sinks import sync as module

            monkeypatch.setattr(module, "sync", sync)
            monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
            monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-1")
            return command("sync", *arguments)

        return run

    def report(self, *counts, reason=None):
        from pocketflow_tracing.sinks.sync import SyncReport

        return SyncReport(*counts, reason=reason)

    def test_everything_sent(self, sync):
        """The four counts are said; everything sent is 0."""
        result = sync(self.report(1200, 0, 0, 3))
        assert (0, "Spans: 1,200 delivered, 0 waiting, 0 refused, 3 dropped.\n") == (result.code, result.out)

    def test_something_left(self, sync):
        """What is left is 1, with the reason."""
        result = sync(self.report(0, 5, 0, 0, reason="the server refused the key"))
        assert (1, "Error: the server refused the key\n") == (result.code, result.err)

    def test_json(self, sync):
        """JSON holds the report."""
        assert 5 == json.loads(sync(self.report(5, 0, 0, 0), "--json").out)["delivered"]

    def test_an_unexpected_error(self, sync):
        """Whatever goes wrong is one sentence."""
        result = sync(RuntimeError("boom"))
        assert (1, "Error: Nothing could be sent (RuntimeError: boom).\n") == (result.code, result.err)


def keep_waiting(path, spans: int, **fields) -> None:
    """Put spans into the outbox that wait for Langfuse."""
    with contextlib.closing(Outbox(path)) as outbox:
        outbox.put(OutboxBatch(1, "https://one.example", "pk-lf-1", spans, b"waits", **fields))


class TestWhatWaits:
    """Spans that wait for Langfuse, in a store that holds no runs."""

    def test_sync_without_keys(self, command, path):
        """Without keys `sync` says what waits and which keys would send it; where nothing waits, all is done."""
        assert (0, "") == ((result := command("sync")).code, result.err)
        keep_waiting(path, 34)
        result = command("sync")
        assert (1, "Spans: 0 delivered, 34 waiting, 0 refused, 0 dropped.\n") == (result.code, result.out)
        keys = "LANGFUSE_SECRET_KEY, LANGFUSE_PUBLIC_KEY=pk-lf-1, LANGFUSE_BASE_URL=https://one.example"
        said = f"Error: 34 spans wait for Langfuse, but there are no usable keys: set {keys}.\n"
        assert said == result.err

    def test_sync_says_its_reason_once(self, command, path, monkeypatch):
        """A server that cannot be reached is said once: the log, which says it too, is not heard."""
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-1")
        monkeypatch.setenv("LANGFUSE_BASE_URL", "http://127.0.0.1:9")
        with contextlib.closing(Outbox(path)) as outbox:
            outbox.put(OutboxBatch(1, "http://127.0.0.1:9", "pk-lf-1", 2, b"waits"))
        done = subprocess.run([sys.executable, "-m", "pocketflow_tracing", "sync"], capture_output=True, text=True)
        assert 1 == done.returncode
        assert 1 == done.stderr.count("127.0.0.1:9") == len(done.stderr.splitlines())

    def test_sync_says_what_was_refused(self, command, path, monkeypatch):
        """A server that refuses what it is sent, now or once more, is a failure with its reason; what is left alone is none."""
        with Collector(Mode.status(400, span_named="Bad")) as collector:
            for name, value in collector.environ.items():
                monkeypatch.setenv(name, value)
            with contextlib.closing(Outbox(path)) as outbox:
                for number, name in enumerate(("Bad", "Good")):
                    record = SpanRecord(f"{number:016x}", "a" * 32, "b" * 16, None, "flow", name, "success", 1, 2)
                    body = otlp.request([otlp.encode_span(record, {})], collector.public_key, {})
                    outbox.put(OutboxBatch(1, collector.url, collector.public_key, 1, body))
            for arguments in (["sync"], ["sync", "--refused"]):
                result = command(*arguments)
                assert (1, True) == (result.code, "0 waiting, 1 refused" in result.out)
                assert result.err.startswith(f"Error: 1 span was refused: {collector.url} refused the spans (400)")
            assert (0, "") == ((result := command("sync")).code, result.err)

    def test_runs(self, command, path):
        """`runs` says what is there instead of runs, beside the table in a pipe."""
        keep_waiting(path, 34)
        result = command("runs")
        said = f"No runs here. 34 spans wait for Langfuse: `{command_to_type()} sync` sends them; set"
        assert result.err.startswith(said)
        assert 1 == len(result.lines)
        assert on_a_terminal("runs", "--store", str(path), columns=200)[0].startswith("No runs here. 34 spans wait")


class TestRunAndDemo:
    @pytest.fixture
    def calls(self, monkeypatch):
        calls = []
        runner = types.ModuleType("pocketflow_tracing.runner")
        runner.run_script = lambda path, argv, **options: calls.append((path, list(argv), options))
        monkeypatch.setitem(sys.modules, "pocketflow_tracing.runner", runner)
        return calls

    def test_a_script_gets_all_its_arguments(self, command, calls, tmp_path):
        """Everything after the script is the script's, also options that the command knows."""
        (tmp_path / "s.py").touch()
        command("run", "s.py", "--help", "-m", "x", "--", "--store", "y")
        assert [("s.py", ["--help", "-m", "x", "--", "--store", "y"], {"module": False})] == calls

    def test_a_module(self, command, calls):
        """`-m` names a module; what follows is its own."""
        command("run", "-m", "pkg.mod", "--flag", "value")
        assert [("pkg.mod", ["--flag", "value"], {"module": True})] == calls

    @pytest.mark.parametrize("arguments", [["run"], ["run", "none.py"]])
    def test_no_script(self, command, calls, arguments):
        """Without a script there is a sentence."""
        result = command(*arguments)
        assert (2, []) == (result.code, calls)
        assert "script" in result.err

    def test_help_after_a_module_is_the_modules(self, command, calls):
        """`--help` after a module is for the module."""
        command("run", "-m", "pkg.mod", "--help")
        assert [("pkg.mod", ["--help"], {"module": True})] == calls

    def test_demo(self, write, command, monkeypatch, path):
        """The demo's run is shown, with where it is and what to do next."""
        fake = types.ModuleType("pocketflow_tracing.demo")
        run = agent_run(items=2)

        def run_demo(store_path):
            assert store_path == str(path)
            write(run)
            return run.trace_id

        fake.run_demo = run_demo
        monkeypatch.setitem(sys.modules, "pocketflow_tracing.demo", fake)
        import pocketflow_tracing

        monkeypatch.setattr(pocketflow_tracing, "demo", fake, raising=False)
        out = command("demo").out
        for part in ("↻ ResearchAgent", f"The trace is in {path}", " show last --io", "trace_flow"):
            assert part in out
        assert "├─ ↻ DecideAction" in out

    def test_the_real_demo(self, command, path):
        """The demo records a run of a few seconds at most, and its tree has every node."""
        result = command("demo")
        assert 0 == result.code
        for part in ("├─ ↻ SearchWeb", "✗ exec  attempt 1 of 3", "exec_fallback", "│  │  └─ ✓ exec[2]"):
            assert part in result.out

    def test_the_demo_is_local(self, command, monkeypatch, tmp_path):
        """With keys, sampling and the store off the demo is recorded all the same, here, and sent nowhere."""
        monkeypatch.chdir(tmp_path)
        with Collector() as collector:
            for name, value in collector.environ.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("LANGFUSE_SAMPLE_RATE", "0")
            monkeypatch.setenv("POCKETFLOW_TRACE_STORE", "off")
            result = command("demo")
            assert (0, "") == (result.code, result.err)
            assert [] == collector.requests
        where = tmp_path / ".pocketflow" / "traces.db"
        assert f"The trace is in {where} and nowhere else" in result.out
        assert 1 == len(Store(where).runs())
        assert 0 == Store(where).outbox().waiting_spans

    def test_the_demo_when_tracing_is_off(self, command, monkeypatch):
        """With tracing switched off the demo says that."""
        monkeypatch.setenv("POCKETFLOW_TRACING_ENABLED", "0")
        result = command("demo")
        assert (1, True) == (result.code, "switched off by POCKETFLOW_TRACING_ENABLED" in result.err)


class TestDoctor:
    def checks(self, result):
        return {check["name"]: check for check in json.loads(result.out)["checks"]}

    def test_without_credentials(self, two, command):
        """Versions, settings and the store are examined; without credentials nothing is sent."""
        result = command("doctor", "--json")
        checks = self.checks(result)
        assert (0, True) == (result.code, json.loads(result.out)["ok"])
        assert {
            "pocketflow-tracing",
            "python",
            "pocketflow",
            "langfuse",
            "opentelemetry-sdk",
            "settings",
            "store",
        } < set(checks)
        assert "writable, 2 runs" in checks["store"]["detail"]
        assert "info" == checks["langfuse"]["result"]

    def test_what_nothing_can_be_traced_with(self, command, monkeypatch):
        """Where no hooks can be put on PocketFlow, it is not well."""
        from pocketflow_tracing.frameworks import pocketflow as framework

        monkeypatch.setattr(framework, "_twin_at", {})
        monkeypatch.setattr("inspect.getsource", lambda module: (_ for _ in ()).throw(OSError("frozen")))
        result = command("doctor", "--json")
        assert (1, "failed") == (result.code, self.checks(result)["hooks"]["result"])
        assert "source is not available" in self.checks(result)["hooks"]["detail"]

    def test_it_creates_no_store(self, command, path):
        """A store that does not exist is looked at, not created."""
        assert "can be created" in self.checks(command("doctor", "--json"))["store"]["detail"]
        assert not path.parent.exists()

    def test_a_store_behind_a_link_that_leads_to_nothing(self, command, path):
        """A directory on a volume that is not mounted cannot be made."""
        path.parent.symlink_to("nowhere/at/all")
        result = command("doctor", "--json")
        assert (1, "failed") == (result.code, self.checks(result)["store"]["result"])
        assert "leads to nothing" in self.checks(result)["store"]["detail"]

    def test_a_store_that_cannot_be_used(self, command, path):
        """A store that cannot be opened fails the examination."""
        path.parent.mkdir()
        raw = sqlite3.connect(path)
        raw.execute("CREATE TABLE theirs (a)")
        raw.commit()
        raw.close()
        result = command("doctor", "--json")
        assert (1, "failed") == (result.code, self.checks(result)["store"]["result"])

    def test_a_store_that_cannot_grow(self, two, command, path):
        """On a full disk, or one that takes nothing at all, it fails the examination; where there is room, nothing of the examination stays."""
        resource = pytest.importorskip("resource")
        before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
        try:
            store = self.checks(command("doctor", "--json"))["store"]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
        assert ("failed", True) == (store["result"], "cannot be written" in store["detail"])
        figures = Store(path).figures()
        assert "ok" == self.checks(command("doctor", "--json"))["store"]["result"]
        assert figures == Store(path).figures()

    def test_what_stands_in_the_outbox(self, command, monkeypatch, path):
        """Counts, why spans wait, what the server said of refused ones, and spans of another project are told."""
        from pocketflow_tracing.sinks import probe

        outbox = Outbox(path)
        ours, other = ("https://one.example", "pk-lf-new"), ("https://one.example", "pk-lf-old")
        outbox.put(OutboxBatch(1, *ours, 3, b"waits", attempts=3, reason="https://one.example answered 503"))
        refused = outbox.put(OutboxBatch(2, *ours, 1, b"bad"))
        outbox.refuse(refused, "https://one.example refused the spans (400): no name")
        outbox.put(OutboxBatch(3, *other, 7, b"other"))
        outbox.close()
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-new")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-secret")
        monkeypatch.setenv("LANGFUSE_BASE_URL", "https://one.example")
        monkeypatch.setattr(probe, "probe", lambda config: probe.ProbeResult(True, "fine", None))
        result = command("doctor", "--json")
        told = [(check["name"], check["result"], check["detail"]) for check in json.loads(result.out)["checks"]]
        assert 1 == result.code
        waits = "10 spans waiting (10 B), 0 delivered, 1 refused, 0 dropped. Why they wait: https://one.example answered 503"
        said = "https://one.example refused the spans (400): no name"
        refused = f"1 span set aside; `{command_to_type()} sync --refused` tries again. Langfuse said: {said}"
        settings = "LANGFUSE_PUBLIC_KEY=pk-lf-old and LANGFUSE_BASE_URL=https://one.example"
        other = f"7 spans wait for another project or server: `{command_to_type()} sync` sends them with {settings}"
        stuck = "3 spans of them were sent several times and never taken: see the server's log"
        expected = [
            ("outbox", "info", waits),
            ("outbox", "warning", stuck),
            ("refused", "failed", refused),
            ("outbox", "info", other),
        ]
        assert expected == [check for check in told if check[0] in {"outbox", "refused"}]

    @pytest.mark.parametrize(
        ("environment", "why"),
        [
            ({"POCKETFLOW_TRACING_ENABLED": "false"}, "POCKETFLOW_TRACING_ENABLED switches tracing off"),
            ({"LANGFUSE_SAMPLE_RATE": "0"}, "LANGFUSE_SAMPLE_RATE is 0"),
            (
                {"POCKETFLOW_TRACE_STORE": "off"},
                "there are no usable keys for Langfuse, and POCKETFLOW_TRACE_STORE is off",
            ),
            (
                {
                    "POCKETFLOW_TRACE_STORE": "off",
                    "LANGFUSE_TRACING_ENABLED": "false",
                    "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
                    "LANGFUSE_SECRET_KEY": "sk-lf-1",
                },
                "LANGFUSE_TRACING_ENABLED switches Langfuse off, and POCKETFLOW_TRACE_STORE is off",
            ),
        ],
    )
    def test_nothing_is_recorded(self, command, monkeypatch, environment, why):
        """Where runs are recorded nowhere, it says so and why; it may be meant, so nothing has failed."""
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        result = command("doctor")
        assert (0, f"Runs are recorded nowhere: {why}.") == (result.code, result.lines[-1])
        assert "All is well" not in result.out
        assert "warning" == self.checks(command("doctor", "--json"))["tracing"]["result"]

    def test_langfuse_is_switched_off_in_a_file(self, command):
        """As in the environment: nothing is sent, here and by a program."""
        keys = "LANGFUSE_PUBLIC_KEY=pk-lf-1\nLANGFUSE_SECRET_KEY=sk-lf-1\n"
        Path(".env").write_text(f"{keys}LANGFUSE_TRACING_ENABLED=no\n", encoding="utf-8")
        result = command("doctor", "--json")
        assert 0 == result.code
        assert "switched off by LANGFUSE_TRACING_ENABLED: nothing is sent" == self.checks(result)["langfuse"]["detail"]
        assert Pipeline(TracingConfig()).langfuse is None

    def test_an_address_that_cannot_be_used(self, command, path, monkeypatch):
        """Where the keys are fine, they are not what is called missing; the settings say what is wrong."""
        for name, value in {"PUBLIC_KEY": "pk-lf-1", "SECRET_KEY": "sk-lf-1", "BASE_URL": "https://h:99999"}.items():
            monkeypatch.setenv(f"LANGFUSE_{name}", value)
        keep_waiting(path, 34)
        result = command("doctor", "--json")
        checks = self.checks(result)
        assert 1 == result.code
        assert "nothing is sent, for there is no usable address" == checks["langfuse"]["detail"]
        assert "LANGFUSE_BASE_URL" in checks["settings"]["detail"]
        assert "keys" not in "".join(check["detail"] for check in checks.values())
        assert "there is no usable address: set" in command("sync").err

    def test_spans_wait_without_keys(self, command, path):
        """Spans that nothing will send are said at the end too."""
        keep_waiting(path, 34)
        result = command("doctor")
        assert (0, "34 spans wait for Langfuse, but there are no usable keys: nothing sends them.") == (
            result.code,
            result.lines[-1],
        )

    def test_in_a_pipe(self, two, command, path):
        """Lines are as long as they are and end without blanks; settings that have their default are shown on request."""
        result = command("doctor")
        assert "All is well." == result.lines[-1]
        assert [line.rstrip() for line in result.lines] == result.lines
        assert any(str(path) in line and "writable, 2 runs" in line for line in result.lines)
        assert any(line.startswith("POCKETFLOW_TRACE_STORE") for line in result.lines)
        assert "POCKETFLOW_TRACE_MAX_DEPTH" not in result.out
        assert f"`{command_to_type()} doctor --all` shows them" in result.out
        assert "POCKETFLOW_TRACE_MAX_DEPTH" in command("doctor", "--all").out

    @pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
    def test_with_credentials(self, command, monkeypatch, ok, code):
        """With credentials one span is sent, and its answer decides; no secret is shown."""
        from pocketflow_tracing.sinks import probe

        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-12345678-public")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-12345678-very-secret")
        monkeypatch.setattr(probe, "probe", lambda config: probe.ProbeResult(ok, "what the server said", None))
        for arguments in (["doctor"], ["doctor", "--json"]):
            result = command(*arguments)
            assert code == result.code
            assert "what the server said" in result.out
            assert "very-secret" not in result.out + result.err

    def test_a_bad_setting(self, command, monkeypatch):
        """A setting that cannot be used fails the examination, by its name."""
        monkeypatch.setenv("LANGFUSE_SAMPLE_RATE", "a lot")
        result = command("doctor")
        assert 1 == result.code
        assert "LANGFUSE_SAMPLE_RATE" in result.out


def test_an_unexpected_error_is_a_sentence(two, command, monkeypatch):
    """Even a mistake of ours is a sentence, not a traceback."""
    monkeypatch.setattr(Store, "runs", lambda *_, **__: 1 / 0)
    result = command("runs")
    assert (1, True) == (result.code, "ZeroDivisionError" in result.err)


def test_version_and_help(command):
    """`--version` and `--help` answer; so does `python -m pocketflow_tracing`."""
    assert command("--version").out.startswith("pocketflow-tracing ")
    for name in ("demo", "runs", "show", "tail", "export", "prune", "sync", "doctor", "run"):
        result = command(name, "--help")
        assert 0 == result.code
        assert not [sign for sign in ("<bool>", "╭") if sign in result.out]
    answer = subprocess.run(
        [sys.executable, "-m", "pocketflow_tracing", "--version"], capture_output=True, text=True, check=True
    )
    assert command("--version").out == answer.stdout


def test_a_closed_pipe(two, path):
    """A reader that leaves early, as `head` does, causes no traceback."""
    command = f"{sys.executable} -m pocketflow_tracing export --store {path} | head -c 1"
    answer = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True)
    assert "" == answer.stderr


def test_no_color(two, path):
    """NO_COLOR takes the colours away, on a terminal too."""
    assert "\x1b[3" in "\n".join(on_a_terminal("show", "--store", str(path), raw=True))
    assert "\x1b[3" not in "\n".join(on_a_terminal("show", "--store", str(path), raw=True, NO_COLOR="1"))


@pytest.mark.parametrize("columns", ["0", "00", ""])
def test_no_columns(columns, two, path):
    """COLUMNS=0 says that the width is not known, not that there is no room."""
    assert on_a_terminal("show", "--store", str(path)) == on_a_terminal("show", "--store", str(path), COLUMNS=columns)


def on_a_terminal(*arguments: str, columns: int = 100, raw: bool = False, **environment: str) -> list[str]:
    """Return what a command prints on a terminal of a size."""
    import fcntl
    import pty
    import re
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in {"NO_COLOR", "COLUMNS", "PY_COLORS", "FORCE_COLOR"}
    }
    env |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "pocketflow_tracing", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    found, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end was closed: everything is read
            break
        if not piece:
            break
        found += piece
    os.close(ours)
    assert 0 == process.wait(30)
    text = found.decode().replace("\r\n", "\n")
    return (text if raw else re.sub(r"\x1b\[[0-9;]*m", "", text)).splitlines()


class TestCommandToType:
    """How hints name the command: so that it works where they are read."""

    def hint(self, *program: str, cwd, **environment: str) -> str:
        """The command that `run` without a script names."""
        done = subprocess.run(
            [*program, "run"], capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}
        )
        assert 2 == done.returncode
        return done.stderr.removeprefix("Error: Name a script: ").partition(" run ")[0]

    def test_on_the_path(self, monkeypatch, tmp_path):
        """Its name where PATH finds it, its path as short as possible where not."""
        folder = tmp_path / ".venv" / "bin"
        folder.mkdir(parents=True)
        script = folder / "pocketflow-tracing"
        script.write_text(f"#!{sys.executable}\nfrom pocketflow_tracing.cli import main\nmain()\n")
        script.chmod(0o755)
        assert "pocketflow-tracing" == self.hint(str(script), cwd=tmp_path, PATH=f"{folder}:/usr/bin")
        assert ".venv/bin/pocketflow-tracing" == self.hint(str(script), cwd=tmp_path, PATH="/usr/bin")

    def test_in_a_folder_that_is_gone(self, tmp_path, monkeypatch):
        """Where the working directory was removed, there is still a name to say."""
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        monkeypatch.setattr(sys, "argv", ["program.py"])
        monkeypatch.setenv("PATH", "/nowhere")
        assert "pocketflow-tracing" == command_to_type()

    @pytest.mark.parametrize("argv", [["program"], None])
    def test_in_a_program_with_python_in_it(self, argv, tmp_path, monkeypatch):
        """A frozen one would only run itself again; and it may have no arguments."""
        monkeypatch.setattr(sys, "executable", str(tmp_path / "program"))
        monkeypatch.setenv("PATH", "/nowhere")
        if argv is None:
            monkeypatch.delattr(sys, "argv")
        else:
            monkeypatch.setattr(sys, "argv", argv)
        assert "pocketflow-tracing" == command_to_type()

    def test_as_a_module(self, tmp_path):
        """`python -m pocketflow_tracing` where it was started so, with the path of a Python that PATH does not find."""
        start = [sys.executable, "-m", "pocketflow_tracing"]
        folder = str(Path(sys.executable).parent)
        assert "python -m pocketflow_tracing" == self.hint(*start, cwd=tmp_path, PATH=folder)
        assert f"{sys.executable} -m pocketflow_tracing" == self.hint(*start, cwd=tmp_path, PATH="/nowhere")


ODD = [
    "UPDATE spans SET attributes = '{bad'",
    "UPDATE spans SET attributes = '[1]'",
    "UPDATE spans SET start_ns = 'now'",
    "UPDATE spans SET end_ns = 9e999",
    "UPDATE runs SET tags = 'x'",
    "UPDATE runs SET graph = '[]'",
    "UPDATE runs SET start_ns = x'ff'",
    "UPDATE spans SET name = CAST(x'ff' AS TEXT)",
]


@pytest.mark.parametrize("statement", ODD)
def test_a_store_that_holds_odd_things_is_told(two, path, command, tmp_path, statement):
    """Whatever another program wrote into the rows: one sentence, exit code 1, and a browser gets the same one."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    page = str(tmp_path / "run.html")
    for arguments in (
        ["show", "--all", "--io", "--state"],
        ["export"],
        ["export", "--jsonl"],
        ["export", "--html", page],
    ):
        result = command(*arguments)
        assert (1, 1) == (result.code, len(result.err.splitlines()))
        assert result.err.startswith(f"Error: The trace store {path} cannot be read: ")
    create_app = pytest.importorskip("pocketflow_tracing.viewer.app").create_app
    client = pytest.importorskip("starlette.testclient").TestClient(create_app(path), base_url="http://127.0.0.1")
    answer = client.get(f"/api/runs/{SECOND}")
    assert (503, True) == (answer.status_code, "cannot be read: " in answer.json()["error"])
    assert 200 == client.get("/api/runs?before=9999999999999999999-a&limit=1").status_code or "runs" in statement


def test_times_that_are_no_whole_numbers_are_shown(two, path, command):
    """OpenTelemetry takes any number for a time."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE spans SET start_ns = start_ns / 3.0, end_ns = 1e18 + 0.5 WHERE end_ns IS NOT NULL")
        connection.commit()
    for arguments in (["show", "--all"], ["export"]):
        assert 0 == command(*arguments).code
