"""Many processes on one file: nobody sees a lock, nothing is lost."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest
import sample
from sample import process_id, small_run

from pocketflow_tracing.store import Outbox, OutboxBatch, Store, StoreWriter

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


def break_in(path: Path, number: int, barrier, failures) -> None:
    try:
        barrier.wait(60)
        with contextlib.closing(StoreWriter(path)) as writer:
            write(writer, small_run(number))
    except BaseException as error:
        failures.put(repr(error))


def test_a_broken_file_found_by_many(path):
    """Of several processes that find the file broken at once, one sets it aside; every batch lands in the new one."""
    path.parent.mkdir()
    path.write_bytes(b"broken" * 5000)
    barrier, failures = spawn.Barrier(6), spawn.Queue()
    processes = [spawn.Process(target=break_in, args=(path, number, barrier, failures)) for number in range(1, 7)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert failures.empty(), failures.get()
    assert 6 == len(Store(path).runs())
    assert 1 == len(list(path.parent.glob("*.corrupt*")))


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
        child = os.fork()
        if not child:
            try:
                write(writer, small_run(2))
                writer.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        write(writer, small_run(3))
    assert 3 == len(Store(path).runs())
