"""A host that closes files it did not open (`os.closerange`): nothing of ours goes into what takes their numbers."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from collector import Collector, Mode
from drill import environment

from pocketflow_tracing.store import Store

PROGRAM = """
import os, socket, sys
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

class Ask(Node):
    def post(self, shared, prep_res, exec_res):
        shared["done"] = True

flow = trace_flow(Flow(start=Ask()), flow_name="Drill")

def take(names):  # files of the host, on the numbers that are free now
    return [(open(name, "w+b", buffering=0), name) for name in names]

def untouched(files):
    for file, name in files:
        assert os.stat(file.fileno()).st_ino == os.stat(name).st_ino, "a file of the host was closed"
        file.seek(0)
        assert file.read() == b"", (name, file.read()[:20])
"""


@pytest.fixture
def program(tmp_path):
    """Run code in an empty directory; it must end well."""

    def run(code: str, collector: Collector | None = None, **extra: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM + textwrap.dedent(code)],
            cwd=tmp_path,
            env=environment(collector, **extra),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    return run


@pytest.mark.parametrize("taken", [True, False])
def test_a_store_whose_files_were_closed(taken, program, tmp_path):
    """Runs before and after are on disk, files that took the numbers stay empty and open, and one line says where."""
    stderr = program(
        f"""
        flow.run({{}})
        assert flush(10)
        os.closerange(3, 256)
        files = take(f"host-{{number}}" for number in range(12 * {int(taken)}))
        for _ in range(5):
            flow.run({{}})
        assert flush(10)
        untouched(files)
        flow.run({{}})
        import atexit
        atexit.register(untouched, files)  # runs first
        """,
        POCKETFLOW_TRACE_STORE="traces.db",
    )
    assert stderr.count("are lost (by os.closerange") == 1
    (beside,) = tmp_path.glob("traces-*.db")
    assert beside.name in stderr
    assert [run.status for run in Store(tmp_path / "traces.db").runs()] == ["success"]
    assert [run.status for run in Store(beside).runs()] == ["success"] * 6
    assert [path.stat().st_size for path in tmp_path.glob("host-*")] == [0] * 12 * taken


def test_an_outbox_whose_files_were_closed(program, tmp_path):
    """With the server down and the outbox's files closed, what follows is kept beside, and `sync` sends both."""
    with Collector(Mode.status(503)) as collector:
        stderr = program(
            """
            from pocketflow_tracing.sinks import langfuse

            flow.run({})
            assert flush(10) is False
            (sink,) = langfuse._sinks.values()
            while not sink._sender._kept.waits():  # the thread may still be writing
                os.sched_yield()
            os.closerange(3, 256)
            files = take(f"host-{number}" for number in range(12))
            flow.run({})
            assert flush(10) is False
            untouched(files)
            """,
            collector,
        )
        assert stderr.count("are lost (by os.closerange") == 1
        assert [path.stat().st_size for path in tmp_path.glob("host-*")] == [0] * 12
        stores = list((tmp_path / ".pocketflow").glob("*.db"))
        assert [Store(store).outbox().waiting_spans for store in stores] == [5, 5]


def test_a_connection_that_was_closed(program):
    """With a healthy server runs go on arriving, over a new connection, and nothing is written to the host's socket."""
    with Collector() as collector:
        program(
            """
            flow.run({})
            assert flush(10)
            os.closerange(3, 256)
            pairs = [socket.socketpair() for _ in range(4)]
            for pair in pairs:
                pair[1].setblocking(False)
            flow.run({})
            assert flush(10)
            for pair in pairs:
                for end in pair:
                    end.setblocking(False)
                    try:
                        raise SystemExit(f"written to a socket of the host: {end.recv(20)}")
                    except BlockingIOError:
                        pass
            """,
            collector,
        )
        assert len(collector.spans()) == 2 * 5
        assert collector.problems() == []


def test_one_number_is_enough(program, tmp_path):
    """A single closed number of the store is noticed as well."""
    stderr = program(
        """
        flow.run({})
        assert flush(10)
        names = {number: os.readlink(f"/proc/self/fd/{number}") for number in range(3, 64) if os.path.exists(f"/proc/self/fd/{number}")}
        (number,) = [number for number, name in names.items() if name.endswith("traces.db-wal")]
        os.close(number)
        files = take(["host-1"])
        assert files[0][0].fileno() == number
        flow.run({})
        assert flush(10)
        untouched(files)
        """,
        POCKETFLOW_TRACE_STORE="traces.db",
    )
    assert stderr.count("are lost (by os.closerange") == 1
    assert (tmp_path / "host-1").stat().st_size == 0


def test_a_daemon_records(program, tmp_path):
    """A program that forks twice and closes everything, as daemons do, records before and after into one store."""
    program(
        """
        flow.run({})
        assert flush(10)
        if os.fork():
            os.wait()
            sys.exit(0)
        if os.fork():
            os._exit(0)
        os.setsid()
        os.closerange(3, 256)
        files = take(f"host-{number}" for number in range(12))
        flow.run({})
        assert flush(10)
        untouched(files)
        open("done", "w").close()
        """,
        POCKETFLOW_TRACE_STORE="traces.db",
    )
    assert (tmp_path / "done").exists()
    assert [run.status for run in Store(tmp_path / "traces.db").runs()] == ["success"] * 2
