"""The sink of the local store: what cannot be written waits within bounds, and what is lost is counted once."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest
from kit import use
from pocketflow import Flow, Node

from pocketflow_tracing import TracingConfig, trace_flow
from pocketflow_tracing.delivery import delivery
from pocketflow_tracing.sinks import _backlog, local
from pocketflow_tracing.sinks.local import LocalSink, open_sink
from pocketflow_tracing.store import Store
from pocketflow_tracing.store.database import Database
from pocketflow_tracing.store.prune import Pruned

sys.path.append(str(Path(__file__).parents[1] / "store"))
from sample import Run, small_run

MB = 1024 * 1024


@pytest.fixture
def path(tmp_path):
    return tmp_path / "traces.db"


@pytest.fixture
def sink(path):
    """Makes sinks for the store, and closes them."""
    made = []

    def make(**settings):
        made.append(LocalSink(str(path), TracingConfig(**settings).resolved()))
        return made[-1]

    yield make
    for each in made:
        each.close(soon(), soon())


@pytest.fixture
def locked(path, sink):
    """The store, made already, while another program writes; `rollback` ends that."""
    accept(sink(), small_run(99))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def soon(seconds=10.0):
    return time.monotonic() + seconds


def written(sink):
    """What the worker does for a flush, and what who flushes sees then."""
    return sink.hand_on(soon()) and sink.flush(soon())


def accept(sink: LocalSink, *runs: Run) -> None:
    spans = [span for run in runs for span in run.spans]
    sink.accept([run.record for run in runs], spans, spans)


def numbers(path: Path) -> list[int]:
    return sorted(int(run.run_id[:4], 16) for run in Store(path).runs(limit=None) if run.run_id[:4] != "0063")


def test_the_count_of_dropped_spans_waits_for_no_lock(sink, locked, path):
    """It is kept, and stands in the figures with the next write."""
    made = sink()
    made._writer.patience_s = 60.0  # it would show
    began = time.monotonic()
    assert made.add_dropped(3)
    assert made.add_dropped(4)
    assert time.monotonic() - began < 5
    locked.execute("ROLLBACK")
    assert written(made)
    assert 7 == Store(path).figures()["dropped"]


def test_a_locked_store_holds_the_worker_up_once(sink, locked, path, monkeypatch):
    """What comes while a write has just failed is kept without another wait."""
    monkeypatch.setattr(local, "_RETRY_SECONDS", 1000.0)
    made = sink()
    tries = []
    monkeypatch.setattr(
        made._writer, "write", lambda *args: tries.append(1) or type(made._writer).write(made._writer, *args)
    )
    made._writer.patience_s = 0.0
    for number in range(5):
        accept(made, small_run(number))
    assert 1 == len(tries)
    assert 1000.0 == made.tick()
    assert 1 == len(tries)
    locked.execute("ROLLBACK")
    assert written(made)
    assert [0, 1, 2, 3, 4] == numbers(path)


@pytest.mark.absorbs
@pytest.mark.parametrize("of", ["span", "run"])
@pytest.mark.parametrize("bad", [{"attributes": {"no": object()}}, {"trace_id": None}, {"trace_id": object()}])
def test_a_record_that_cannot_be_stored_costs_itself_alone(bad, of, sink, path, absorbed):
    """The other records of its batch are there, and so is what comes later; flush is False once."""
    if of == "run" and "attributes" in bad:
        bad = {"metadata": bad["attributes"]}
    runs = [small_run(number) for number in range(10)]
    if of == "span":
        runs[4].spans[1] = dataclasses.replace(runs[4].spans[1], **bad)
    else:
        runs[4].record = dataclasses.replace(runs[4].record, **bad)
    made = sink()
    accept(made, *runs)
    assert written(made)
    assert (of == "span") == made.lost  # the spans of a run have made a row for it
    accept(made, small_run(11))
    assert written(made)
    assert [*range(10), 11] == numbers(path)
    assert {3} == {len(Store(path).spans(run.run_id)) for run in [*runs[:4], *runs[5:], small_run(11)]}
    assert 3 - (of == "span") == len(Store(path).spans(runs[4].run_id))
    assert (of == "span") == Store(path).figures().get("dropped", 0)
    assert 1 == len(absorbed)


def test_all_that_waits_is_counted():
    """Values stand in many places of a record."""
    text, run = "x" * 100_000, small_run(1)
    run.spans[0].scores = [{"name": "a", "value": 1.0, "comment": text + "1"}]
    run.spans[0].error = {"type": "E", "message": text + "2"}
    run.record.metadata = {"profile": text + "3"}
    size = _backlog.Unwritten([run.record], run.spans, frozenset()).size
    assert 300_000 < size < 310_000


@pytest.mark.parametrize("bound", ["spans", "bytes"])
def test_what_waits_is_bounded_and_what_goes_is_counted(bound, sink, locked, path, monkeypatch, caplog):
    """The oldest go; once the store can be written again, flush is False, its figures hold them, and the next is True."""
    if bound == "spans":
        monkeypatch.setattr(_backlog, "_MOST_SPANS", 30)
    made = sink(queue_mb=100 if bound == "spans" else 1)
    made._writer.patience_s = 0.0
    for number in range(50):
        run = small_run(number)
        run.spans[0].output = ("✓" if bound == "bytes" else "") * 50_000 + str(number)
        accept(made, run)
    kept = made._backlog.spans // 3
    assert 10 == kept or (bound == "bytes" and 8 <= kept < 10)  # of 100 kB and more
    assert any("could not be written for so long" in record.message for record in caplog.records)
    locked.execute("ROLLBACK")
    assert written(made)
    assert (50 - kept) * 3 == made.lost
    assert list(range(50 - kept, 50)) == numbers(path)
    assert (50 - kept) * 3 == Store(path).figures()["dropped"]


def test_the_limit_in_megabytes_holds_while_much_is_written(sink, path):
    """However few batches that are, and however large."""
    made = sink(store_max_mb=2)
    peak = 0
    for batch in range(4):
        runs = [small_run(batch * 30 + number) for number in range(30)]
        for run in runs:
            run.spans[0].output = "x" * 100_000 + str(run.number)
        accept(made, *runs)
        peak = max(peak, path.stat().st_size)
    made.close(soon(), soon(5.0))
    assert peak < 4 * MB
    assert 119 == max(numbers(path))
    assert 10 < len(numbers(path)) < 25


def test_a_run_is_complete_when_its_spans_are_there(sink, path, monkeypatch):
    """What is complete may be pruned, by any process: spans that came after it would bring it back without a name."""
    monkeypatch.setattr(local, "_MOST_WRITTEN", 1)
    made = sink(store_max_runs=1)
    write, seen = made._writer.write, []

    def watched(runs, spans, *more):
        seen.append((len(runs), len(spans)))
        written = write(runs, spans, *more)
        made._writer.prune(1)
        return written

    monkeypatch.setattr(made._writer, "write", watched)
    accept(made, *[small_run(number) for number in range(4)])
    made.close(soon(), soon(5.0))
    assert len(seen) > 4
    (left,) = Store(path).runs()
    assert left.name
    assert left.status != "running"


@pytest.mark.parametrize("is_unfinished", [True, False])
def test_pruning_that_does_not_end_in_time_goes_on_between_batches(is_unfinished, sink, path, monkeypatch):
    """What is recorded meanwhile is written, and the end of the process is not held up."""
    now, asked = [1000.0], []
    made = sink()

    def prune(*_, deadline):
        asked.append(deadline - now[0])
        return Pruned(1, is_done=not is_unfinished)

    monkeypatch.setattr(local, "monotonic", lambda: now[0])
    monkeypatch.setattr(made._writer, "prune", prune)
    for number in range(10):
        accept(made, small_run(number))
        now[0] += 0.2
    assert pytest.approx([0.5] * (4 if is_unfinished else 1)) == asked
    accept(made, small_run(10))
    made.close(now[0] + 0.04, now[0])
    assert pytest.approx([0.01] if is_unfinished else []) == asked[4:]
    assert list(range(11)) == numbers(path)


def test_pruning_goes_on_while_nothing_comes(sink, path, monkeypatch):
    """What was not removed in time, and space that was not given back, do not wait for the next run."""
    now, left = [1000.0], [3]
    made = sink()

    def prune(*_, deadline):
        left[0] -= 1
        return Pruned(1, is_done=not left[0])

    monkeypatch.setattr(local, "monotonic", lambda: now[0])
    monkeypatch.setattr(made._writer, "prune", prune)
    accept(made, small_run(1))
    assert 2 == left[0]
    ticks = 0
    while (due := made.tick()) is not None:
        now[0] += due
        ticks += 1
    assert 0 == left[0]
    assert 2 == ticks


def test_jobs_one_after_the_other_keep_to_the_limits(sink, path):
    """Each records more than may stay, and ends: what it leaves, the next one removes."""
    for job in range(6):
        made = sink(store_max_runs=100)
        accept(made, *[small_run(1500 * job + number) for number in range(1500)])
        made.close(soon(2.0), soon(2.0))
    assert len(numbers(path)) <= 2500


def test_a_working_directory_that_was_removed(tmp_path, monkeypatch, caplog):
    """Nothing can be recorded in it: that is said, and flush is False."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    use(open_sink(str(Path(".pocketflow", "traces.db")), TracingConfig().resolved()))
    trace_flow(Flow(start=Node())).run({})
    assert delivery.flush(10) is False
    assert any("traces.db cannot be written" in record.message for record in caplog.records)
    os.chdir(tmp_path)
    delivery.shutdown(10)


def test_a_directory_that_was_removed_after_the_run(tmp_path, caplog):
    """It stays away; what was recorded in it is dropped, which is said once, and flush is False once."""
    job = tmp_path / "job"
    job.mkdir()
    made = LocalSink(str(job / ".pocketflow" / "traces.db"), TracingConfig().resolved())
    job.rmdir()
    for number in range(3):
        accept(made, small_run(number))
    made.add_dropped(1)
    assert written(made)
    assert 9 == made.lost
    assert made.is_done()
    assert made.tick() is None
    made.abandon()  # in a forked child
    accept(made, small_run(4))
    made.close(soon(), soon(5.0))
    assert 3 == made.lost
    assert list(tmp_path.iterdir()) == []
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"{made.path} is gone: its directory was removed. What is recorded there is dropped." in said


def test_the_store_is_made_while_the_first_run_goes_on(tmp_path):
    """Whoever removes its directory after the run finds no file in it that has just come."""
    for path in (tmp_path / "one" / "traces.db", tmp_path / "other" / "traces.db"):  # with the worker, and beside it

        class Waits(Node):
            def exec(self, prep_res, last=Path(f"{path}-shm")):
                ended = soon()
                while not last.exists() and time.monotonic() < ended:
                    os.sched_yield()

        flow = trace_flow(Flow(start=Waits()), config=TracingConfig(store=str(path), flush_interval=60))
        flow.run({})
        made = set(path.parent.iterdir())
        assert {path, Path(f"{path}-wal")} <= made
        assert delivery.flush(10)
        assert made == set(path.parent.iterdir())
        assert len(Store(path).runs()) == 1


def test_a_run_ends_when_its_store_is_made(tmp_path, monkeypatch, fresh_delivery):
    """A program that removes the directory around it right after its first run must not find it full again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LocalSink, "_waited", 0.0)
    ends, said = threading.Event(), []
    real = Database.transaction

    def transaction(database, *args):
        assert ends.wait(10)
        result = real(database, *args)
        said.append("made")
        return result

    monkeypatch.setattr(Database, "transaction", transaction)

    class Last(Node):
        def post(self, shared, prep_res, exec_res):
            ends.set()

    flow = trace_flow(Flow(start=Last()))
    flow.run({})
    assert said
    assert (tmp_path / ".pocketflow" / "traces.db").exists()


def test_no_run_waits_long_for_a_store(sink, path, monkeypatch):
    """Not for one that is there; for those that nobody makes a quarter of a second in all, in an event loop much less."""
    monkeypatch.setattr(LocalSink, "_waited", 0.0)

    def waited(each):
        began = time.monotonic()
        each.await_making()
        return time.monotonic() - began

    async def waited_in_a_loop(each):
        return waited(each)

    assert asyncio.run(waited_in_a_loop(sink())) < local._MAKING_SECONDS / 2
    first = sink()
    assert local._MAKING_SECONDS / 2 < waited(first)
    assert LocalSink._waited >= local._MAKING_SECONDS
    assert waited(first) < local._MAKING_SECONDS / 2
    assert waited(sink()) < local._MAKING_SECONDS / 2
    monkeypatch.setattr(LocalSink, "_waited", 0.0)
    accept(first, small_run(1))
    assert waited(sink()) < local._MAKING_SECONDS / 2


def test_a_run_without_a_node_waits_no_longer(tmp_path, monkeypatch, fresh_delivery):
    """The worker makes the store at once, though nothing has begun that would tell it to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LocalSink, "_waited", 0.0)

    @trace_flow()
    def cached():
        return "answer"

    assert "answer" == cached()
    assert (tmp_path / ".pocketflow" / "traces.db-wal").exists()
