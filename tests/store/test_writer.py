"""What is written comes back, whatever the order, the repetition or the state of the file."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest
import sample
from sample import MS, START, agent_run, process_id, small_run

from pocketflow_tracing.store import (
    RunFilter,
    Store,
    StoreBusyError,
    StoreError,
    StoreGoneError,
    StoreUnusableError,
    StoreWriter,
    UnfitRecordError,
    database,
    prune,
    schema,
)

BEAT = (process_id(), START)


def write(writer, run, **kwargs):
    writer.write([run.record], run.spans, (run.record.process_id, sample.now_ns()), **kwargs)


def test_a_run_comes_back_as_it_was_recorded(writer, path):
    """Every field of a run and its spans survives the way through the file."""
    run = agent_run(
        items=3, graph={"flows": [{"id": "f"}]}, metadata={"a": [1, None]}, version="1", environment="e", release="r"
    )
    write(writer, run)
    found = Store(path).run(run.run_id)
    only_for_langfuse = {"trace_name", "is_app_root", "experiment"}
    for field in dataclasses.fields(run.record):
        if field.name not in only_for_langfuse:
            assert getattr(run.record, field.name) == getattr(found, field.name), field.name
    for expected, actual in zip(
        sorted(run.spans, key=lambda span: span.start_ns), Store(path).spans(run.run_id), strict=True
    ):
        stored = dataclasses.asdict(actual)
        assert stored == {name: value for name, value in dataclasses.asdict(expected).items() if name != "media"}


def test_counts_are_kept_on_the_run(writer, path):
    """The run's row carries the counts of its spans, however often and in whichever pieces they were written."""
    run = agent_run(items=10)
    for span in run.spans:
        running = dataclasses.replace(span, status="running", end_ns=None, usage=None, cost=None)
        writer.write([], [running, span], BEAT)
    write(writer, run)
    write(writer, run)
    found = Store(path).run("last")
    assert (len(run.spans), 4, 14 - 1, 0, 3) == (
        found.spans,
        found.nodes,
        found.attempts,
        found.errors,
        found.recovered,
    )
    assert (412, pytest.approx(0.00042)) == (found.tokens, found.cost)
    with sqlite3.connect(path) as raw:
        assert (found.bytes,) == raw.execute("SELECT sum(bytes) FROM spans").fetchone()
    raw.close()


def test_late_running_rows_change_nothing(writer, path):
    """A finished run or span stays finished when its running row arrives late, alone or in the same batch."""
    run = small_run()
    late_run = dataclasses.replace(run.record, status="running", end_ns=None)
    late_spans = [dataclasses.replace(span, status="running", end_ns=None) for span in run.spans]
    writer.write([run.record, late_run], [*run.spans, *late_spans], BEAT)
    writer.write([late_run], late_spans, BEAT)
    assert "success" == Store(path).run("last").status
    assert {"success"} == {span.status for span in Store(path).spans(run.run_id)}
    assert 3 == Store(path).run("last").spans


def test_the_graph_of_the_running_row_stays(writer, path):
    """A finished row without a graph keeps the graph that the running row brought."""
    run = small_run()
    writer.write([dataclasses.replace(run.record, status="running", end_ns=None, graph={"flows": []})], [], BEAT)
    write(writer, run)
    assert {"flows": []} == Store(path).run("last").graph


def test_spans_before_their_run(writer, path):
    """Spans may be written before their run's row."""
    run = small_run()
    writer.write([], run.spans, BEAT)
    writer.write([run.record], [], BEAT)
    found = Store(path).run(run.run_id)
    assert ("Small", "success", 3, 2) == (found.name, found.status, found.spans, found.nodes)


def test_a_failed_batch_leaves_nothing(writer, path):
    """A batch is written whole or not at all."""
    run = small_run()
    known = run.spans[-1].parent_id
    run.spans[-1].parent_id = object()
    with pytest.raises(UnfitRecordError):
        write(writer, run)
    assert [] == Store(path).runs()
    run.spans[-1].parent_id = known
    write(writer, run)
    assert 1 == len(Store(path).runs())


def test_odd_values_are_stored(writer, path):
    """Lone surrogates, huge token counts and NULs do not stop a batch."""
    run = small_run(name="bad \ud800 name", session_id="\udfff")
    run.spans[0].output = {"text": "\ud800 \x00 ü"}
    run.spans[1].usage = {"total": 10**30}
    run.spans[2].usage = {"total": 10**30}
    write(writer, run)
    assert "bad ? name" == Store(path).run("last").name
    assert {"text": "\ud800 \x00 ü"} == Store(path).spans(run.run_id)[0].output
    assert 2**61 < Store(path).run("last").tokens


@pytest.mark.parametrize("time", [2**70, -(2**70), 2**63, float("nan"), float("inf"), "now", 1.5])
def test_times_that_fit_no_integer(time, writer, path):
    """A span of another instrumentation may carry any; it is stored with the nearest one, or 0, and read back."""
    run = small_run()
    run.record.start_ns = run.record.end_ns = time
    run.spans[0].start_ns = run.spans[0].end_ns = time
    writer.write([run.record], run.spans, (process_id(), 2**70))
    found = Store(path).run(run.run_id)
    assert type(found.start_ns) is type(found.end_ns) is int
    if time == "now" or time != time:
        assert 0 == found.start_ns
    assert {int} == {type(span.start_ns) for span in Store(path).spans(run.run_id)}


@pytest.mark.parametrize("bad", [None, object()])
def test_a_record_that_does_not_fit_is_told_from_a_disk(bad, writer, path):
    """Nothing is written of its batch, which would not fit later either."""
    run = small_run()
    run.spans[1].trace_id = bad
    with pytest.raises(UnfitRecordError, match="cannot take a record"):
        write(writer, run)
    assert [] == Store(path).runs()


def test_the_first_cause_is_told(path):
    """Taking back a transaction that has not begun does not hide why it has not."""
    path.parent.mkdir()
    Path(f"{path}-wal").mkdir()
    with pytest.raises(StoreError, match="cannot be written") as told:
        StoreWriter(path).write([], [], BEAT)
    assert "rollback" not in str(told.value)


@pytest.mark.parametrize("mark", ["file", "full"])
def test_a_mark_that_nobody_takes_away(mark, writer, path):
    """Something of the mark's name beside a damaged store is named in an error, and no lock is held meanwhile."""
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1000)
    stays = Path(f"{path}.setting-aside")
    if mark == "file":
        stays.touch()
    else:
        stays.mkdir()
        (stays / "more").touch()
    os.utime(stays, (1, 1))
    writer.patience_s = 0.0
    with pytest.raises(StoreError, match="setting-aside"):
        write(writer, small_run())
    os.utime(stays)  # as if another process were at it just now
    writer.patience_s = 60.0
    waits = threading.Event()
    pause = database.paused

    def paused(seconds):
        waits.set()
        return pause(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "paused", paused)
        thread = threading.Thread(target=write, args=(writer, small_run()))
        thread.start()
        assert waits.wait(10)
        assert writer._database._lock.acquire(timeout=10)  # as a fork does
        writer._database._lock.release()
        shutil.rmtree(stays) if mark == "full" else stays.unlink()
        thread.join(30)
    assert 1 == len(Store(path).runs())


def test_the_file_is_the_owners_alone(writer, path):
    """Directory, file and SQLite's companions are for the owner only; git ignores the directory."""
    old = os.umask(0)
    try:
        write(writer, small_run())
    finally:
        os.umask(old)
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
    for file in path.parent.glob("traces.db*"):
        assert 0o600 == stat.S_IMODE(file.stat().st_mode), file
    assert "*\n" == (path.parent / ".gitignore").read_text()


def test_directories_of_others_stay_as_they_are(tmp_path):
    """In a directory that was there before, nothing but the file is created."""
    writer = StoreWriter(tmp_path / "traces.db")
    writer.write([], [], BEAT)
    writer.close()
    assert ["traces.db"] == [file.name for file in tmp_path.iterdir()]


def test_a_corrupt_file_is_set_aside(writer, path, caplog):
    """A file that is no database is renamed, never deleted, and writing goes on in a new one; one warning says so."""
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 1000)
    write(writer, small_run())
    write(writer, small_run(2))
    (aside,) = path.parent.glob("traces.db.corrupt-*")
    assert b"not a database" * 1000 == aside.read_bytes()
    assert 2 == len(Store(path).runs())
    assert [True] == [str(aside) in record.message for record in caplog.records]


@pytest.mark.parametrize("text", ["mine: größer\n", "é", "你好世界\n", "\x1b[1m a log\x1b[0m\n"])
@pytest.mark.parametrize("name", ["notes.txt", "config.yaml", "traces"])
def test_a_text_of_somebody_is_left_alone(name, text, tmp_path):
    """A store setting that names a text file by mistake takes nothing away."""
    path = tmp_path / name
    path.write_text(text * 500, encoding="utf-8")
    writer = StoreWriter(path)
    with pytest.raises(StoreUnusableError, match="text file"):
        write(writer, small_run())
    assert [name] == [found.name for found in tmp_path.iterdir()]
    assert path.read_text(encoding="utf-8") == text * 500


def test_a_device_is_no_store(tmp_path):
    """`/dev/null` would get a journal beside it."""
    path = tmp_path / "null"
    path.symlink_to("/dev/null")
    with pytest.raises(StoreUnusableError, match="no file"):
        write(StoreWriter(path), small_run())
    assert ["null"] == [found.name for found in tmp_path.iterdir()]


def test_a_file_that_breaks_while_open_is_set_aside(writer, path):
    """Pages destroyed under an open connection: the batch lands in a new file."""
    for number in range(30):
        write(writer, small_run(number, nodes=20))
    writer.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    write(writer, small_run(77))
    assert 1 == len(list(path.parent.glob("traces.db.corrupt-*")))
    assert ["Small"] == [run.name for run in Store(path).runs()]


def test_a_newer_store_is_not_touched(writer, path):
    """A file of a newer version is refused in words, and stays byte for byte."""
    write(writer, small_run())
    writer.close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnusableError, match="newer version"):
        write(writer, small_run(2))
    with pytest.raises(StoreUnusableError, match="newer version"):
        Store(path).runs()
    assert before == path.read_bytes()


def test_databases_of_other_programs_are_not_touched(tmp_path):
    """Pointing the store at another program's database is refused."""
    path = tmp_path / "other.db"
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE theirs (a)")
    raw.commit()
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnusableError, match="another program"):
        StoreWriter(path).write([], [], BEAT)
    assert before == path.read_bytes()


def test_a_deleted_store_is_begun_anew(writer, path):
    """When the file is deleted under an open writer, the next batch makes a new one instead of vanishing."""
    write(writer, small_run(1))
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    write(writer, small_run(2))
    assert ["0002" + "a" * 12] == [run.run_id for run in Store(path).runs()]


@pytest.mark.parametrize("store", ["traces.db", ".pocketflow/traces.db", "new/new/traces.db"])
@pytest.mark.parametrize("is_open", [True, False])
def test_a_directory_that_was_removed_is_not_made_again(is_open, store, tmp_path):
    """What stood before the store and is removed is the program's to make: then the store is begun anew in it."""
    job = tmp_path / "above" / "job"
    job.mkdir(parents=True)
    with contextlib.closing(StoreWriter(job / store)) as writer:
        if is_open:
            write(writer, small_run(1))
        shutil.rmtree(job.parent)
        for _ in range(2):
            with pytest.raises(StoreGoneError, match=rf"job/{store} is gone: its directory was removed"):
                write(writer, small_run(2))
            assert list(tmp_path.iterdir()) == []
        job.mkdir(parents=True)
        write(writer, small_run(3))
    assert ["0003" + "a" * 12] == [run.run_id for run in Store(job / store).runs()]


def test_directories_of_ours_are_made_again(tmp_path):
    """Those that were missing at first, and `.pocketflow`, which stood already."""
    for store in ("a/b/traces.db", ".pocketflow/traces.db"):
        (tmp_path / ".pocketflow").mkdir(exist_ok=True)
        with contextlib.closing(StoreWriter(tmp_path / store)) as writer:
            for number in range(2):
                write(writer, small_run(number))
                shutil.rmtree(tmp_path / Path(store).parts[0])
            write(writer, small_run(2))
        assert 1 == len(Store(tmp_path / store).runs())


def test_a_file_that_was_just_deleted_is_not_made_at_once(path):
    """Somebody may be removing the directory around it, and would find it full again."""
    with contextlib.closing(StoreWriter(path, patience_s=0.0)) as writer:
        write(writer, small_run(1))
        shutil.rmtree(path.parent)
        with pytest.raises(StoreBusyError):
            write(writer, small_run(2))
        assert not path.parent.exists()
        writer.patience_s = 30.0
        write(writer, small_run(2))
    assert 1 == len(Store(path).runs())


def test_who_has_little_time_waits_less_for_a_file_that_was_just_deleted(path):
    """At the end of a process there may be half a second."""
    with contextlib.closing(StoreWriter(path, patience_s=0.4)) as writer:
        write(writer, small_run(1))
        shutil.rmtree(path.parent)
        write(writer, small_run(2))
    assert 1 == len(Store(path).runs())


def test_a_directory_that_cannot_be_made(tmp_path):
    """A store that cannot be created is one StoreError with the path in it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/x/traces\.db cannot be written"):
        StoreWriter(tmp_path / "file" / "x" / "traces.db").write([], [], BEAT)


def test_a_file_system_without_shared_memory(writer, path, monkeypatch):
    """Where WAL is impossible the rollback journal serves."""
    real = sqlite3.connect

    def without_wal(database, **kwargs):
        return real(f"file:{database}?vfs=unix-dotfile", uri=True, **kwargs)

    monkeypatch.setattr(database.sqlite3, "Connection", without_wal)
    write(writer, small_run())
    writer.close()
    raw = real(path)
    assert ("delete",) == raw.execute("PRAGMA journal_mode").fetchone()
    raw.close()
    monkeypatch.undo()
    assert 1 == len(Store(path).runs())


def test_a_held_file_is_an_error_after_patience(writer, path, monkeypatch):
    """When another process holds the file beyond the patience, the caller learns it and may try the batch again.

    Writers beside it are no trouble to speak of; a file that stays held is.
    """
    write(writer, small_run(1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer.patience_s = 0.0
    with pytest.raises(StoreBusyError, match="written by other processes"):
        write(writer, small_run(2))
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.0)
    with pytest.raises(StoreError, match="locked") as told:
        write(writer, small_run(2))
    assert not isinstance(told.value, StoreBusyError)
    other.execute("ROLLBACK")
    other.close()
    write(writer, small_run(2))
    assert 2 == len(Store(path).runs())


def test_migrations_run_in_order(path, writer, monkeypatch):
    """An older file is brought to the newest version; its rows stay."""
    write(writer, small_run())
    writer.close()
    migrations = (
        *schema.MIGRATIONS,
        "ALTER TABLE runs ADD COLUMN later TEXT; CREATE TABLE more (a);",
        "INSERT INTO more VALUES (1);",
    )
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(migrations))
    monkeypatch.setattr(schema.migrate, "__defaults__", (migrations,))
    write(writer, small_run(2))
    raw = sqlite3.connect(path)
    assert [(1,)] == raw.execute("SELECT a FROM more").fetchall()
    assert (len(migrations),) == raw.execute("PRAGMA user_version").fetchone()
    raw.close()
    assert 2 == len(Store(path).runs())


def test_a_failed_migration_leaves_the_old_version(path, writer, monkeypatch):
    """A migration is whole or not at all."""
    write(writer, small_run())
    writer.close()
    migrations = (*schema.MIGRATIONS, "CREATE TABLE more (a); CREATE TABLE more (a);")
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(migrations))
    monkeypatch.setattr(schema.migrate, "__defaults__", (migrations,))
    with pytest.raises(StoreError):
        write(writer, small_run(2))
    monkeypatch.undo()
    write(writer, small_run(2))
    assert 2 == len(Store(path).runs())


def test_figures_add_up(writer, path):
    """Counters are added by name, with a batch or alone."""
    writer.write([], [], BEAT, {"dropped": 2})
    writer.add_figures({"dropped": 3, "delivered": 1, "refused": 0})
    assert {"dropped": 5, "delivered": 1} == Store(path).figures()


class TestPrune:
    def fill(self, writer, count=10, **fields):
        for number in range(count):
            write(writer, small_run(number, **fields))

    def test_the_newest_runs_stay(self, writer, path):
        """A limit in runs removes the oldest, with their spans, and counts them."""
        self.fill(writer)
        pruned = writer.prune(max_runs=3)
        assert (7, 21) == (pruned.runs, pruned.spans)
        assert [9, 8, 7] == [int(run.run_id[:4], 16) for run in Store(path).runs()]
        assert [] == Store(path).spans("0000" + "a" * 12)
        assert 7 == Store(path).figures()["pruned_runs"]

    def test_the_file_shrinks(self, writer, path):
        """A limit in bytes holds, and the space goes back to the file system."""
        for number in range(200):
            run = small_run(number)
            run.spans[0].input = "x" * 20_000
            write(writer, run)
        pruned = writer.prune(max_bytes=1_000_000)
        assert 1_000_000 >= sum(run.bytes for run in Store(path).runs(limit=None)) > 900_000
        assert pruned.bytes > 2_000_000
        writer.close()
        assert path.stat().st_size < 1_400_000

    def test_old_runs_go(self, writer, path):
        """A limit in age removes what began before it."""
        self.fill(writer)
        writer.prune(older_than_ns=START + 4000 * MS)
        assert 6 == len(Store(path).runs())

    def test_running_runs_stay_and_interrupted_ones_go(self, writer, path):
        """A run that goes on is never removed; one whose process is gone is."""
        writer.write([small_run(1, status="running", end_ns=None).record], [], (process_id(), sample.now_ns()))
        gone = process_id(host="elsewhere")
        writer.write([small_run(2, status="running", end_ns=None, process_id=gone).record], [], (gone, START))
        assert 1 == writer.prune(max_runs=0).runs
        assert ["running"] == [run.status for run in Store(path).runs()]

    def test_more_than_one_transaction(self, writer, path):
        """Removing many runs takes several transactions and ends where the limits say."""
        self.fill(writer, 130)
        assert 125 == writer.prune(max_runs=5).runs
        assert 5 == len(Store(path).runs())

    def fill_largely(self, writer):
        for number in range(300):
            run = small_run(number)
            run.spans[0].input = "x" * 20_000
            write(writer, run)

    def test_others_write_in_between(self, writer, path, monkeypatch):
        """While runs are removed, and while the space that they took goes back: of a large store that takes seconds."""
        monkeypatch.setattr(database, "_PAGES_AT_ONCE", 100)
        self.fill_largely(writer)
        other = sqlite3.connect(path, isolation_level=None, timeout=0)
        sizes = []

        def turn():
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
            sizes.append(other.execute("PRAGMA freelist_count").fetchone()[0])

        monkeypatch.setattr(database, "give_others_a_turn", turn)
        monkeypatch.setattr(prune, "give_others_a_turn", turn)
        assert writer.prune(max_runs=0).is_done
        other.close()
        steps = [before - after for before, after in itertools.pairwise(sizes)]
        assert [-1] * 5 == [-1 if step < 0 else step for step in steps][:5]  # 50 runs each
        assert len(steps) > 15
        assert max(steps) <= 100

    def test_what_does_not_end_in_time_goes_on_the_next_time(self, writer, path):
        """What was removed and given back until then stays so."""
        self.fill_largely(writer)
        left = []
        while not writer.prune(max_runs=1, deadline=time.monotonic()).is_done:
            left.append(len(Store(path).runs(limit=None)))
        assert [250, 200, 150, 100, 50] == left[:5]
        writer.close()
        assert path.stat().st_size < 1_400_000

    def large_run(self, nodes):
        run = small_run(1, nodes=nodes)
        for span in run.spans:
            span.input = "x" * 20_000
        return run

    def spans_left(self, path):
        with contextlib.closing(sqlite3.connect(path)) as raw:
            return raw.execute("SELECT count(*) FROM spans").fetchone()[0]

    def test_a_large_run_goes_in_parts(self, writer, path, monkeypatch):
        """Nobody sees the half of it, and what a part takes does not grow with the run."""
        monkeypatch.setattr(prune, "_BYTES_AT_ONCE", 100_000)
        run = self.large_run(40)
        write(writer, run)
        write(writer, small_run(2))
        left = []
        removed = prune.Pruned(is_done=False)
        while not removed.is_done:
            removed += writer.prune(max_runs=1, deadline=time.monotonic())
            left.append(self.spans_left(path))
            assert [2] == [int(kept.run_id[:4], 16) for kept in Store(path).runs()]
            assert removed.runs == Store(path).figures()["pruned_runs"] == 1
        assert 41 == removed.spans
        assert [39, 34, 29, 24, 19, 14, 9, 4, 3] == left

    def test_spans_that_come_late_go_with_their_run(self, writer, path, monkeypatch):
        """What a run has left running may end while the run is removed: it does not bring the half of it back."""
        monkeypatch.setattr(prune, "_BYTES_AT_ONCE", 100_000)
        run = self.large_run(12)
        write(writer, run)
        assert not writer.prune(max_runs=0, deadline=time.monotonic()).is_done
        writer.write([], [run.span("node", "Late", 1, 2)], BEAT)
        while not writer.prune(max_runs=0, deadline=time.monotonic()).is_done:
            pass
        assert [] == Store(path).runs()
        assert 0 == self.spans_left(path)

    def test_a_file_that_gives_no_space_back(self, writer, path):
        """One that another program made, or packed: what is free in it is used again, and pruning ends."""
        path.parent.mkdir()
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA auto_vacuum = 0")
            other.execute("PRAGMA journal_mode = wal")
        self.fill_largely(writer)
        assert 300 == writer.prune(max_runs=0).runs
        assert [] == Store(path).runs()

    def test_no_store_is_created(self, writer, path):
        """Pruning a store that does not exist creates nothing."""
        assert 0 == writer.prune(max_runs=0).runs
        assert not path.parent.exists()


def test_json_stays_searchable(writer, path):
    """Text is stored readable: umlauts, quotes and line breaks are found by what the user types."""
    run = small_run()
    run.spans[1].output = {"text": 'Grüße: "50%_off"\nnext'}
    write(writer, run)
    for needle in ("Grüße", '"50%_off"', 'off"\nnext', "GR"):
        assert 1 == len(Store(path).runs(RunFilter(text=needle))), needle
    for needle in ("Gruße", "50%off", "%%", "5__"):
        assert [] == Store(path).runs(RunFilter(text=needle)), needle
    assert json.dumps(run.spans[1].output) != ""


def test_a_file_of_the_first_version_is_brought_here(path, writer):
    """What waits in the outbox of a file of version 1 is there after the migration, and may be dropped as a whole."""
    from pocketflow_tracing.store import Outbox, OutboxBatch

    path.parent.mkdir()
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN")
    schema.migrate(raw, schema.MIGRATIONS[:1])
    raw.execute("COMMIT")
    raw.execute(
        "INSERT INTO outbox (created_ns, endpoint, public_key, spans, bytes, attempts, next_try_ns, state, body)"
        " VALUES (1, 'https://one.example', 'pk', 7, 3, 0, 0, 'waiting', x'616263')"
    )
    raw.close()
    outbox = Outbox(path, max_spans=8, without=lambda body, _: (body, 0))
    assert [7] == [batch.spans for batch in outbox.due(10)]
    outbox.put(OutboxBatch(2, "https://one.example", "pk", 5, b"new", traces={"t": True}))
    assert [5] == [batch.spans for batch in outbox.due(10)]
    assert 7 == outbox.counts().dropped_spans
    outbox.close()


def test_the_log_of_a_store_that_is_read_all_the_time_is_bounded(path):
    """Its content cannot go to the file meanwhile: nothing is written beyond the bound, and everything once the reader is gone."""
    with contextlib.closing(StoreWriter(path, max_log_bytes=500_000)) as writer:
        write(writer, small_run())
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM runs").fetchone()
            with pytest.raises(StoreError, match=r"its log has grown to 0\.5 MB"):
                for number in range(2, 1000):
                    write(writer, large_run(number))
            assert 1_000_000 > path.with_name("traces.db-wal").stat().st_size
        write(writer, small_run(1000))
    assert number == len(Store(path).runs(limit=None))


def large_run(number):
    run = small_run(number)
    run.spans[0].output = "x" * 50_000
    return run
