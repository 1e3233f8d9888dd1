"""Many processes on one file: nobody sees a lock, nothing is lost."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path

import pytest
import sample
from sample import process_id, small_run

from pocketflow_tracing._time import monotonic
from pocketflow_tracing.store import Outbox, OutboxBatch, Store, StoreBusyError, StoreWriter, database, opened
from pocketflow_tracing.store.database import Database

spawn = multiprocessing.get_context("spawn")
WRITERS, RUNS = 8, 25


def write(writer, run):
    writer.write([run.record], run.spans, (process_id(), sample.now_ns()), {"delivered": 1})


def write_many(path: Path, first: int, barrier, failures) -> None:
    try:
        with contextlib.closing(StoreWriter(path)) as writer, contextlib.closing(Outbox(path)) as outbox:
            barrier.wait(60)
            for number in range(first, first + RUNS):
                write(writer, small_run(number))
                outbox.put(OutboxBatch(number, "https://one.example", "pk", 1, b"x"))
                for batch in outbox.claim(str(first), 10**18):
                    outbox.done([batch.id])
                writer.prune(max_runs=10_000)
    except BaseException as error:
        failures.put(repr(error))


def test_eight_writers_and_a_reader(path):
    """Eight processes create, write and prune one file at once while one reads: no error, every row there."""
    barrier, failures = spawn.Barrier(WRITERS + 1), spawn.Queue()
    writers = [
        spawn.Process(target=write_many, args=(path, 1 + RUNS * index, barrier, failures)) for index in range(WRITERS)
    ]
    for process in writers:
        process.start()
    barrier.wait(60)
    store = Store(path)
    seen = 0
    while any(process.is_alive() for process in writers):
        if path.exists() and path.stat().st_size:
            with contextlib.suppress(Empty):
                count = read_count(store)
                assert count >= seen
                seen = count
    for process in writers:
        process.join()
    assert failures.empty(), failures.get()
    runs = store.runs(limit=None)
    assert WRITERS * RUNS == len(runs)
    assert {3} == {run.spans for run in runs}
    figures = store.figures()
    assert WRITERS * RUNS * 2 == figures["delivered"] + store.outbox().waiting
    assert not list(path.parent.glob("*.corrupt*"))


class Empty(Exception):
    """The file is there, its tables not yet."""


def read_count(store: Store) -> int:
    try:
        return len(store.runs(limit=None))
    except Exception as error:
        if "is empty" in str(error):
            raise Empty from error
        raise


ROUNDS = 40


def broken(folder: Path, number: int) -> Path:
    return folder / str(number) / "traces.db"


def break_in(folder: Path, number: int, barrier, failures) -> None:
    for attempt in range(ROUNDS):
        try:
            barrier.wait(60)
            with contextlib.closing(StoreWriter(broken(folder, attempt))) as writer:
                write(writer, small_run(number))
        except BaseException as error:
            failures.put(f"round {attempt}: {error!r}")


def test_a_broken_file_found_by_many(tmp_path):
    """Of several processes that find the file broken at once, one sets it aside; every batch lands in the new one."""
    for attempt in range(ROUNDS):  # the harmful moments are short
        broken(tmp_path, attempt).parent.mkdir()
        broken(tmp_path, attempt).write_bytes(b"broken" * 5000)
    barrier, failures = spawn.Barrier(6), spawn.Queue()
    processes = [spawn.Process(target=break_in, args=(tmp_path, number, barrier, failures)) for number in range(1, 7)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert failures.empty(), failures.get()
    for attempt in range(ROUNDS):
        assert 6 == len(Store(broken(tmp_path, attempt)).runs())
        assert 1 == len(list(broken(tmp_path, attempt).parent.glob("*.corrupt*")))


def write_and_die(path: Path) -> None:
    writer = StoreWriter(path)
    run = small_run(1, status="running", end_ns=None)
    run.spans[-1].status, run.spans[-1].end_ns = "running", None
    write(writer, run)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_killed_writer(path):
    """What a killed process had written is there, interrupted, and the file goes on being written."""
    process = spawn.Process(target=write_and_die, args=(path,))
    process.start()
    process.join()
    (run,) = Store(path).runs()
    assert "interrupted" == run.status
    assert ["interrupted", "success", "interrupted"] == [span.status for span in Store(path).spans(run.run_id)]
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, small_run(2))
    assert 2 == len(Store(path).runs())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child(path):
    """A forked child that goes on with the parent's objects gets its own connection; the parent's goes on working."""
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, small_run(1))
        inherited = writer._database._connection
        child = os.fork()
        if not child:
            code = 1
            try:
                write(writer, small_run(2))
                code = 0 if writer._database._connection is not inherited else 2
                writer.close()
            finally:
                os._exit(code)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        write(writer, small_run(3))
        assert writer._database._connection is inherited
    assert 3 == len(Store(path).runs())


def test_a_file_that_is_being_set_aside_is_not_used(path):
    """A writer that opens the file while another process renames it waits, and writes into what comes after."""
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, small_run(1))
    mark = Path(f"{path}.setting-aside")
    mark.mkdir()
    with contextlib.closing(StoreWriter(path, patience_s=0.05)) as writer:
        with pytest.raises(StoreBusyError):
            write(writer, small_run(2))
        os.utime(mark, (1, 1))  # of a process that died long ago
        write(writer, small_run(2))
    assert 2 == len(Store(path).runs())


def test_connections_of_one_process_do_not_take_each_other_for_lost(path, caplog):
    """Threads that open, write, read and close one file at once find their own files open, always."""
    failures = []

    def work(number):
        try:
            for _ in range(30):
                with contextlib.closing(StoreWriter(path)) as writer:
                    write(writer, small_run(number))
                    Store(path).runs()
                    write(writer, small_run(number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [] == [record.getMessage() for record in caplog.records]
    assert [] == list(path.parent.glob("traces-*.db"))
    assert 4 == len(Store(path).runs())


def test_a_process_with_many_stores_has_few_files_open(tmp_path):
    """Those that were not written for longest are closed, none in the middle of writing, and opened again when it is needed."""
    writers = [StoreWriter(tmp_path / f"{number}.db") for number in range(30)]
    written = []

    def write_all(connection):
        for writer in writers[1:]:
            write(writer, small_run(1))
            written.append(writer._database.is_open)
        assert sum(writer._database.is_open for writer in writers) <= database._MOST_OPEN + 1
        connection.execute("SELECT count(*) FROM runs").fetchone()

    try:
        writers[0]._database.transaction(write_all)
        assert all(written)
        for writer in writers:
            write(writer, small_run(2))
        assert [writer._database.is_open for writer in writers] == [False] * 14 + [True] * 16
    finally:
        for writer in writers:
            writer.close()
    assert [len(Store(tmp_path / f"{number}.db").runs()) for number in range(30)] == [1] + [2] * 29


def test_a_fork_does_not_wait_for_another_process(path):
    """While the worker waits for whoever holds the file, nothing has begun, and a child gets the file in order."""
    database = Database(path)
    database.transaction(lambda _: None)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    done = threading.Event()
    thread = threading.Thread(target=lambda: (database.transaction(lambda _: None), done.set()))
    thread.start()
    try:
        for _ in range(20):
            assert database.hold_for_fork(monotonic() + 0.5)
            assert not done.is_set()
            database.go_on_after_fork()
    finally:
        other.execute("ROLLBACK")
        other.close()
        thread.join()
        database.close()
    assert done.is_set()


def test_only_the_first_fork_waits_for_a_disk_that_is_stuck(path, monkeypatch):
    """A server that forks would else stand still with each, as long as one transaction takes seconds."""
    database, waits = Database(path), []
    hold = Database.hold_for_fork
    monkeypatch.setattr(
        Database, "hold_for_fork", lambda self, until: noted(self, until - monotonic()) or hold(self, until)
    )
    stuck, going_on = threading.Event(), threading.Event()

    def noted(of, wait):  # others of this process may not be collected yet
        if of is database:
            waits.append(wait)

    def work(_connection):
        stuck.set()
        assert going_on.wait(30)

    thread = threading.Thread(target=lambda: database.transaction(work))
    thread.start()
    assert stuck.wait(30)
    try:
        for _ in range(3):
            opened._before_fork()
            opened._after_fork_in_parent()
        assert [wait > 0 for wait in waits] == [True, False, False]
    finally:
        going_on.set()
        thread.join()
    opened._before_fork()
    opened._after_fork_in_parent()
    assert waits[-1] > 0
    database.close()


def test_what_the_log_holds_is_in_the_file_before_it_is_closed(path):
    """Closing has nothing left to do: on Python 3.10 it holds the interpreter, however slow the disk is."""
    writer, statements = StoreWriter(path), []
    write(writer, small_run(1))
    writer._database._connection.set_trace_callback(statements.append)
    size = path.stat().st_size
    writer.close()
    assert ["PRAGMA wal_checkpoint(PASSIVE)"] == statements
    assert path.stat().st_size > size
    assert [1, False] == [len(Store(path).runs()), Path(f"{path}-wal").exists()]


def test_a_mock_in_the_place_of_the_process_number(path, monkeypatch):
    """A test of the host's may say that this is another process: the store stays where it is, and is not taken for a parent's."""
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, small_run(1))
        monkeypatch.setattr(os, "getpid", lambda: 1234)
        write(writer, small_run(2))
        monkeypatch.undo()
        write(writer, small_run(3))
    assert 3 == len(Store(path).runs())
    assert [path.name] == [found.name for found in path.parent.glob("*.db")]
