"""A program that reads the store's files itself: closing them takes all locks of its process away, and nobody is to notice."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest
import sample
from sample import process_id, small_run

from pocketflow_tracing.store import Outbox, OutboxBatch, Store, StoreWriter
from pocketflow_tracing.store.locks import SHARED_MEMORY_BYTES, opened

spawn = multiprocessing.get_context("spawn")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locks of others cannot be seen there")


def write(writer, number):
    run = small_run(number)
    writer.write([run.record], run.spans, (process_id(), sample.now_ns()), {"delivered": 1})


def in_another_process(work, *args):
    process = spawn.Process(target=work, args=args)
    process.start()
    process.join(60)
    return process.exitcode


def read_all(path):
    """As a backup, a search or a checksum does."""
    for file in path.parent.iterdir():
        file.read_bytes()


def write_one(path, number):
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, number)


def write_one_and_die(path, number):
    writer = StoreWriter(path)
    write(writer, number)
    os.kill(os.getpid(), signal.SIGKILL)


def look(path, runs):
    assert runs == len(Store(path).runs())


def runs_and_health(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        health = connection.execute("PRAGMA integrity_check").fetchall()
    return len(Store(path).runs()), health


@pytest.mark.parametrize("is_link", [False, True])
def test_another_process_comes_and_goes(is_link, path):
    """It takes itself for the last one and removes the log; what is written afterwards is there, by every connection."""
    target = path
    if is_link:  # the log stands beside what it leads to
        target = path.parent.parent / "elsewhere" / "traces.db"
        target.parent.mkdir()
        path.parent.mkdir()
        path.symlink_to(target)
    with contextlib.closing(StoreWriter(path)) as writer, contextlib.closing(Outbox(path)) as outbox:
        write(writer, 1)
        for number in range(2, 10, 2):
            outbox.put(OutboxBatch(number, "https://one.example", "pk", 1, b"x"))
            read_all(target)
            assert 0 == in_another_process(write_one, path, number)
            write(writer, number + 1)
    assert (9, [("ok",)]) == runs_and_health(path)
    assert 4 == Store(path).outbox().waiting
    assert ["traces.db"] == [file.name for file in target.parent.iterdir() if file.name.startswith("traces")]


def test_who_looks_on_cuts_nothing(path):
    """The shared memory stays as large as it is mapped: else the next write would kill this process."""
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, 1)
        read_all(path)
        assert 0 == in_another_process(look, path, 1)
        assert SHARED_MEMORY_BYTES <= path.with_name("traces.db-shm").stat().st_size
        write(writer, 2)
    assert (2, [("ok",)]) == runs_and_health(path)


def test_another_process_is_killed(path):
    """What it has written is there, and goes on being written."""
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, 1)
        read_all(path)
        assert 0 == in_another_process(write_one, path, 2)
        assert -signal.SIGKILL == in_another_process(write_one_and_die, path, 3)
        write(writer, 4)
    assert (4, [("ok",)]) == runs_and_health(path)


def test_the_program_has_a_connection_of_its_own(path):
    """It goes on to see what is written, before and after other processes have come and gone."""
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, 1)
    with contextlib.closing(sqlite3.connect(path)) as own:
        assert [(1,)] == own.execute("SELECT count(*) FROM runs").fetchall()
        with contextlib.closing(StoreWriter(path)) as writer:
            for number in (2, 4):
                write(writer, number)
                assert [(number,)] == own.execute("SELECT count(*) FROM runs").fetchall()
                read_all(path)
                assert 0 == in_another_process(write_one, path, number + 1)
        assert [(5,)] == own.execute("SELECT count(*) FROM runs").fetchall()
    assert (5, [("ok",)]) == runs_and_health(path)


def cut(path):
    os.truncate(path.with_name("traces.db-shm"), 3)


def remove(path):
    for suffix in ("-wal", "-shm"):
        path.with_name(f"traces.db{suffix}").unlink()


@pytest.mark.parametrize("harm", [cut, remove])
def test_what_others_do_to_the_log_and_its_memory(harm, path, caplog):
    """What is recorded from then on goes to a file beside the store: SQLite would go on with what is not there."""
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, 1)
        harm(path)
        write(writer, 2)
    assert "goes to" in caplog.text
    (beside,) = path.parent.glob(f"traces-{os.getpid()}*.db")
    assert 1 == len(Store(beside).runs())


def test_who_writes_keeps_others_out_whatever_the_program_reads(path):
    """SQLite's own lock is gone by then; who comes meanwhile waits for its turn."""
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, 1)

        def work(connection):
            read_all(path)
            other = spawn.Process(target=write_one, args=(path, 2))
            other.start()
            other.join(1.0)
            assert other.is_alive()
            return other

        other = writer._database.transaction(work)
        other.join(60)
        assert 0 == other.exitcode
        write(writer, 3)
    assert (3, [("ok",)]) == runs_and_health(path)


def test_no_descriptor_stays(path):
    """Whatever order connections of a process are closed in, also one of the program's own."""

    def is_open():
        numbers = [number for number in Path("/proc/self/fd").iterdir() if number.exists()]
        return any(str(path) in str(number.readlink()) for number in numbers)

    with contextlib.closing(StoreWriter(path)) as writer, contextlib.closing(Outbox(path)) as outbox:
        write(writer, 1)
        outbox.put(OutboxBatch(1, "https://one.example", "pk", 1, b"x"))
        assert is_open()
    assert not is_open()
    with contextlib.closing(sqlite3.connect(path)) as own:
        own.execute("SELECT count(*) FROM runs").fetchall()
        write_one(path, 2)
    write_one(path, 3)
    assert not is_open()


def test_a_store_behind_a_link_is_read_with_its_log(path, tmp_path):
    """The log stands beside what the link leads to."""
    with contextlib.closing(StoreWriter(path)) as writer:
        write(writer, 1)
        (tmp_path / "link.db").symlink_to(path)
        assert 1 == len(Store(tmp_path / "link.db").runs())


def test_one_connection_does_not_rest_on_a_lock_of_another(tmp_path):
    """Whose descriptor is closed while the first goes on: its files would be taken for lost, and it would leave the store."""
    path = tmp_path / "traces.db"
    of_others = dict(opened)
    first, second = StoreWriter(path), StoreWriter(path)
    for number, writer in enumerate((first, second)):
        write(writer, number)
    held = second._database._held
    assert held._memory is not None
    assert held._memory not in opened
    first.close()
    write(second, 2)
    assert not held.are_lost
    second.close()
    assert (3, [("ok",)]) == runs_and_health(path)
    assert opened.items() <= of_others.items()


def test_descriptors_of_connections_that_come_and_go_are_used_again(tmp_path):
    """While another one is there none may be closed: a store that cannot be written would use up the host's."""
    path = tmp_path / "traces.db"
    stays, goes = StoreWriter(path), StoreWriter(path)
    write(stays, 0)
    write(goes, 1)
    goes.close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(2, 12):
        write(goes, number)
        goes.close()
    assert before == len(list(Path("/proc/self/fd").iterdir()))
    assert 0 == in_another_process(write_one, path, 20)
    stays.close()
    assert (13, [("ok",)]) == runs_and_health(path)
