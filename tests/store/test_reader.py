"""Reading: lists, references, states, on live files and copies, without leaving anything behind."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
import sample
from sample import MS, START, Run, agent_run, process_id, small_run

from pocketflow_tracing._machine import machine
from pocketflow_tracing.store import AmbiguousRunError, RunFilter, RunNotFoundError, Store, StoreError
from pocketflow_tracing.store.statistics import run_figures


def write(writer, run):
    writer.write([run.record], run.spans, (run.record.process_id, sample.now_ns()))


def ids(runs):
    return [int(run.run_id[:4], 16) for run in runs]


def test_pages_by_key(writer, path):
    """Newest first; the key of the last run of a page leads to the next, also where starts are equal."""
    for number in range(10):
        write(writer, small_run(number, start_ns=START + number // 3))
    store, seen, before = Store(path), [], None
    while page := store.runs(limit=4, before=before):
        seen += ids(page)
        before = (page[-1].start_ns, page[-1].run_id)
    assert list(range(9, -1, -1)) == seen


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"flow": "Alpha"}, [3, 1]),
        ({"status": "error"}, [2]),
        ({"session": "s1"}, [1]),
        ({"user": "u2"}, [2]),
        ({"tag": "blue"}, [2]),
        ({"tag": "blu"}, []),
        ({"since_ns": START + 2000 * MS}, [3, 2]),
        ({"until_ns": START + 2000 * MS}, [1]),
        ({"text": "node0"}, [3, 2, 1]),
        ({"text": "BOOM"}, [2]),
        ({"text": "needle"}, [3]),
        ({"text": "pin"}, [1]),
        ({"text": "needle", "flow": "Beta"}, []),
    ],
)
def test_filters(writer, path, filters, expected):
    """Each filter finds its runs, and all of them together must hold."""
    one = small_run(1, "Alpha", session_id="s1")
    one.spans[1].input = {"a": "pin"}
    two = small_run(
        2, "Beta", status="error", user_id="u2", tags=["blue", "red"], error={"type": "E", "message": "boom"}
    )
    three = small_run(3, "Alpha")
    three.spans[2].output = ["a needle"]
    for run in (one, two, three):
        write(writer, run)
    assert expected == ids(Store(path).runs(RunFilter(**filters)))


class TestReferences:
    def test_prefixes(self, writer, path):
        """The beginning of a run id or a trace id is enough, in any case; `last` is the newest."""
        write(writer, small_run(0x1234))
        write(writer, small_run(0x1999))
        store = Store(path)
        for reference in ("123", "1234AAAA", "1234bb", "1234" + "b" * 28):
            assert 0x1234 == ids([store.run(reference)])[0], reference
        assert 0x1999 == ids([store.run("last")])[0]

    def test_ambiguous(self, writer, path):
        """Several runs that answer are listed."""
        write(writer, small_run(0x1234))
        write(writer, small_run(0x1999))
        with pytest.raises(AmbiguousRunError, match=r"1234aaaaaaaaaaaa \(Small\), 1999a"):
            Store(path).run("1")

    def test_runs_of_one_trace(self, writer, path):
        """A trace id that several runs share is ambiguous, their run ids are not."""
        one, two = small_run(1), small_run(2)
        two.record.trace_id = one.record.trace_id
        write(writer, one)
        write(writer, two)
        with pytest.raises(AmbiguousRunError):
            Store(path).run(one.trace_id)
        assert [2] == ids([Store(path).run(two.run_id)])

    @pytest.mark.parametrize("reference", ["", "ffff", "xyz", "%", "'"])
    def test_none(self, writer, path, reference):
        """What no run answers to is said."""
        write(writer, small_run())
        with pytest.raises(RunNotFoundError):
            Store(path).run(reference)

    def test_last_of_nothing(self, writer, path):
        """`last` in an empty store is said."""
        writer.add_figures({"dropped": 1})
        with pytest.raises(RunNotFoundError, match="no runs yet"):
            Store(path).run("last")


class TestInterrupted:
    def running(self, writer, beat_ns, process):
        run = small_run(1, status="running", end_ns=None, process_id=process)
        run.spans[-1].status, run.spans[-1].end_ns = "running", None
        writer.write([run.record], run.spans, (process, beat_ns))

    def look(self, path):
        run = Store(path).run("last")
        return {
            run.status,
            Store(path).runs()[0].status,
            Store(path).spans(run.run_id)[-1].status,
            *run_figures(Store(path), RunFilter()).flows[0].by_status,
        }

    def test_a_living_process(self, writer, path):
        """A running run of a living process with a fresh heartbeat runs."""
        self.running(writer, sample.now_ns(), process_id())
        assert {"running"} == self.look(path)
        assert [1] == ids(Store(path).runs(RunFilter(status="running")))
        assert [] == Store(path).runs(RunFilter(status="interrupted"))

    def test_a_dead_process_of_this_host(self, writer, path):
        """The process is gone: interrupted at once, heartbeat or not."""
        child = multiprocessing.get_context("spawn").Process(target=int)
        child.start()
        child.join()
        self.running(writer, sample.now_ns(), process_id(child.pid))
        assert {"interrupted"} == self.look(path)
        assert [1] == ids(Store(path).runs(RunFilter(status="interrupted")))
        assert [] == Store(path).runs(RunFilter(status="running"))

    @pytest.mark.parametrize(("age_s", "status"), [(14, "running"), (16, "interrupted")])
    def test_another_host(self, writer, path, age_s, status):
        """For other hosts the heartbeat decides, after 15 seconds."""
        self.running(writer, sample.now_ns() - age_s * 1_000_000_000, process_id(host="elsewhere"))
        assert {status} == self.look(path)

    def test_a_container_that_shares_the_name_of_this_host(self, writer, path):
        """Its process numbers are not those of here."""
        child = multiprocessing.get_context("spawn").Process(target=int)
        child.start()
        child.join()
        host = machine().partition("/")[0]
        self.running(writer, sample.now_ns(), process_id(child.pid, host=f"{host}/1"))
        assert {"running"} == self.look(path)


class TestState:
    def test_every_step(self, writer, path):
        """`shared` is rebuilt from the first picture and every change after it."""
        run = agent_run(items=1)
        write(writer, run)
        store, start = Store(path), {"question": "Who won the 2024 Nobel prize in physics?", "visits": 0}
        assert start == store.state_at(run.run_id, 0)
        assert {**start, "visits": 1, "query": "nobel physics 2024"} == store.state_at(run.run_id, 1)
        assert {**start, "visits": 1, "results": ["a", "b"]} == store.state_at(run.run_id, 2)
        assert {"question", "visits", "results", "summaries"} == set(store.state_at(run.run_id, 99))
        assert {} == store.state_at(run.run_id, -1)

    def test_a_later_full_picture(self, writer, path):
        """A full picture replaces everything before it, whatever the order of the spans' times."""
        run = Run(1)
        run.span("flow", "F", 0, 9, state={"seq": 0, "full": {"a": 1}})
        run.span("node", "N", 5, 6, state={"seq": 2, "full": {"b": 2}})
        run.span("node", "N", 6, 7, state={"seq": 1, "added": {"c": 3}})
        write(writer, run)
        assert {"b": 2} == Store(path).state_at(run.run_id, 2)


def test_flows(writer, path):
    """Figures of each flow: counts by status, median and 95th percentile, the one that ran last first."""
    for number in range(20):
        write(
            writer,
            small_run(
                number,
                "Many",
                end_ns=START + number * 1000 * MS + (number + 1) * MS,
                status="error" if number == 3 else "success",
            ),
        )
    write(writer, small_run(99, "Last"))
    many, last = run_figures(Store(path), RunFilter()).flows
    assert ("Last", 1) == (last.name, last.runs)
    assert (20, {"success": 19, "error": 1}, 10 * MS, 19 * MS) == (many.runs, many.by_status, many.p50_ns, many.p95_ns)


def test_changes(writer, path):
    """A view that asks with its last revision sees every later write once."""
    write(writer, small_run(1))
    store = Store(path)
    first = store.changes(0)
    assert ([1], 3) == (ids(first.runs), len(first.spans))
    assert ([], []) == (store.changes(first.revision).runs, store.changes(first.revision).spans)
    write(writer, small_run(2))
    write(writer, small_run(3))
    half = store.changes(first.revision, limit=1)
    assert [2] == ids(half.runs)
    assert [3] == ids(store.changes(half.revision).runs)
    assert store.revision() == store.changes(half.revision).revision


class TestWithoutATrace:
    def listing(self, path):
        return sorted((file.name, file.stat().st_mtime_ns) for file in path.parent.iterdir())

    def test_a_copy_in_a_read_only_directory(self, writer, path, tmp_path):
        """A copied file is read where nothing can be created, and nothing is."""
        write(writer, small_run())
        writer.close()
        copy = tmp_path / "copy?#%20" / "mine.db"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        copy.chmod(stat.S_IRUSR)
        copy.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
        before = self.listing(copy)
        try:
            assert 1 == len(Store(copy).runs())
            assert before == self.listing(copy)
        finally:
            copy.parent.chmod(0o700)

    def test_a_closed_store(self, writer, path):
        """Reading a store that nobody has open creates no files beside it."""
        write(writer, small_run())
        writer.close()
        before = self.listing(path)
        Store(path).runs()
        assert before == self.listing(path)

    def test_while_a_writer_is_open(self, writer, path):
        """What another connection wrote a moment ago is seen."""
        for number in range(5):
            write(writer, small_run(number))
            assert number == ids(Store(path).runs(limit=1))[0]

    def test_a_writer_that_comes_in_between(self, writer, path):
        """A write during a reading without locks is noticed, and the reading is done again."""
        from pocketflow_tracing.store.readonly import read

        write(writer, small_run(1))
        writer.close()
        counts = []

        def query(connection):
            counts.append(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
            if len(counts) == 1:
                write(writer, small_run(2))
                writer.close()
            return counts[-1]

        assert 2 == read(path, query)
        assert 2 == len(counts)

    def test_no_file(self, path):
        """A missing store is said with its path, and stays missing."""
        with pytest.raises(StoreError, match="There is no trace store at"):
            Store(path).runs()
        assert not path.parent.exists()

    def test_no_database(self, tmp_path):
        """A file that is no database is said, and stays as it is."""
        path = tmp_path / "traces.db"
        path.write_text("hello " * 1000)
        with pytest.raises(StoreError, match="cannot be read: file is not a database"):
            Store(path).runs()
        assert "hello " * 1000 == path.read_text()

    def test_an_empty_file(self, tmp_path):
        """An empty file is said to be empty."""
        path = tmp_path / "traces.db"
        path.touch()
        with pytest.raises(StoreError, match="is empty"):
            Store(path).runs()

    def test_a_database_of_another_program(self, tmp_path):
        """Another program's database is said to be that."""
        path = tmp_path / "other.db"
        raw = sqlite3.connect(path)
        raw.execute("CREATE TABLE theirs (a)")
        raw.commit()
        raw.close()
        with pytest.raises(StoreError, match="another program"):
            Store(path).runs()


def test_threads_may_share_a_store(writer, path):
    """One Store object serves many threads while another connection writes."""
    write(writer, small_run(0))
    store, failures = Store(path), []

    def look():
        try:
            for _ in range(50):
                assert store.runs(limit=1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(1, 50):
        write(writer, small_run(number))
    for thread in threads:
        thread.join()
    assert [] == failures


def test_handles_do_not_grow(writer, path):
    """Reading leaves no open file behind."""
    write(writer, small_run())
    Store(path).runs()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        Store(path).runs()
        with pytest.raises(RunNotFoundError):
            Store(path).run("fff")
    assert before == len(list(Path("/proc/self/fd").iterdir()))


def test_what_other_readers_of_json_refuse(writer, path):
    """Python writes NaN and Infinity; they are read as texts, so that an export is JSON."""
    run = small_run(1, metadata={"a": float("nan"), "b": [float("-inf")]})
    write(writer, run)
    assert {"a": "NaN", "b": ["-Infinity"]} == Store(path).run(run.run_id).metadata
