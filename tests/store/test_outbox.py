"""The outbox: nothing is sent by two, nothing vanishes without being counted."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time

import pytest
import sample
from sample import small_run

from pocketflow_tracing._machine import machine
from pocketflow_tracing.store import Outbox, OutboxBatch, OutboxCounts, Store, outbox_limits
from pocketflow_tracing.store import outbox as _outbox
from pocketflow_tracing.store.outbox_counts import Waiting

S = 1_000_000_000


def batch(created_ns=0, spans=10, body=b"body", **fields):
    return OutboxBatch(created_ns, "https://one.example", "pk-1", spans, body, **fields)


@pytest.fixture
def outbox(path):
    with contextlib.closing(Outbox(path)) as outbox:
        yield outbox


def test_looking_creates_nothing(outbox, path):
    """Counting, peeking and claiming without a store creates no file."""
    assert OutboxCounts() == outbox.counts()
    assert [] == outbox.due(0) == outbox.claim("me", 0)
    assert not path.parent.exists()


def test_a_batch_comes_back_as_it_was(outbox):
    """What is put comes back, with its id, the oldest first."""
    late, early = batch(2, body=b"\x00\xff"), batch(1)
    late.id, early.id = outbox.put(late), outbox.put(early)
    assert [early, late] == outbox.due(0)
    assert [early] == outbox.due(0, 1)


def test_done_removes_and_counts(outbox, path):
    """Delivered batches are gone and their spans stand in the figures, once."""
    ids = [outbox.put(batch()), outbox.put(batch(spans=5))]
    outbox.done(ids)
    outbox.done(ids)
    assert OutboxCounts() == outbox.counts()
    assert 15 == Store(path).figures()["delivered"]


def test_retry_waits(outbox):
    """A batch given back is due at its next try, with one attempt more and the reason."""
    outbox.put(batch())
    (claimed,) = outbox.claim("me", 0)
    outbox.retry([claimed.id], 5 * S, "503 from https://one.example")
    assert [] == outbox.due(5 * S - 1)
    (due,) = outbox.due(5 * S)
    assert (1, "503 from https://one.example") == (due.attempts, due.reason)
    assert ("503 from https://one.example",) == outbox.counts().reasons


def test_a_claim_is_a_lease(outbox, path):
    """A claimed batch is nobody else's until the lease expires."""
    outbox.put(batch())
    with contextlib.closing(Outbox(path)) as other:
        assert 1 == len(outbox.claim("me", 0, lease_ns=60 * S))
        assert [] == other.claim("you", 59 * S) == other.due(59 * S)
        assert 1 == len(other.claim("you", 60 * S))


def test_a_lease_of_a_process_that_has_ended(outbox):
    """It is worth nothing on the machine where that is known; elsewhere it runs out."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    gone, elsewhere = f"{machine()}:{child.pid}:abcd", f"elsewhere.example:{child.pid}:abcd"
    outbox.put(batch(spans=1), owner=gone, lease_ns=60 * S)
    outbox.put(batch(spans=2), owner=elsewhere, lease_ns=60 * S)
    child.wait()
    assert [1] == [found.spans for found in outbox.claim("me", 0, 10, lease_ns=90 * S)]
    assert [2] == [found.spans for found in outbox.claim("me", 60 * S, 10)]


def test_a_clock_of_another_century(outbox):
    """What waits is sent by a clock beyond SQLite's integers, too."""
    outbox.put(batch(created_ns=2**70))
    (claimed,) = outbox.claim("me", 2**70)
    outbox.retry([claimed.id], 2**70, "503")
    assert [claimed.id] == [due.id for due in outbox.due(2**70)]


def test_a_clock_that_was_set_back(outbox):
    """Neither a pause nor a lease of an hour ago, by a clock that was an hour ahead, holds a batch back."""
    outbox.put(batch(next_try_ns=3600 * S))
    (claimed,) = outbox.claim("me", 3600 * S, lease_ns=60 * S)
    assert [claimed.id] == [due.id for due in outbox.due(2 * S)]
    assert [] == outbox.due(3659 * S)


def test_claims_keep_to_their_project(outbox):
    """A sender gets the batches for its server and project only."""
    outbox.put(batch())
    assert [] == outbox.claim("me", 0, endpoint="https://two.example")
    assert [] == outbox.claim("me", 0, endpoint="https://one.example", public_key="pk-2")
    assert 0 == outbox.counts(public_key="pk-2").waiting
    assert 1 == len(outbox.claim("me", 0, endpoint="https://one.example", public_key="pk-1"))


def test_refused_batches_are_set_aside(outbox, path):
    """A refused batch is never due again and stays visible with its reason."""
    first = outbox.put(batch(spans=3))
    outbox.put(batch())
    outbox.refuse(first, "400: bad span")
    outbox.refuse(first, "400: bad span")
    assert 1 == len(outbox.due(0))
    counts = OutboxCounts(
        waiting=1,
        waiting_spans=10,
        waiting_bytes=4,
        refused=1,
        refused_spans=3,
        refusals=("400: bad span",),
        destinations=(Waiting("https://one.example", "pk-1", 10),),
    )
    assert counts == outbox.counts() == Store(path).outbox()
    assert 3 == Store(path).figures()["refused"]


@pytest.mark.parametrize("limits", [{"max_batches": 2}, {"max_bytes": 8}, {"max_spans": 7}])
def test_limits_drop_the_oldest(path, limits):
    """At a limit the oldest waiting batches go and are counted; refused ones went before, and were counted then."""
    with contextlib.closing(Outbox(path, **limits)) as outbox:
        outbox.refuse(outbox.put(batch(9, spans=1)), "400")
        for created in (3, 2, 1, 4):
            outbox.put(batch(created, spans=created))
        assert [3, 4] == [due.spans for due in outbox.due(10)]
        assert 3 == outbox.counts().dropped_spans
        assert 1 == Store(path).figures()["refused"]


def test_a_batch_larger_than_the_outbox(path):
    """A batch that can never fit is dropped and counted, and pushes nothing out."""
    with contextlib.closing(Outbox(path, max_bytes=8)) as outbox:
        outbox.put(batch())
        assert 0 == outbox.put(batch(body=b"123456789", spans=7))
        assert (1, 7) == (outbox.counts().waiting, outbox.counts().dropped_spans)


def test_it_shares_the_file_with_the_runs(outbox, writer, path):
    """Runs and batches live in one file, written by turns."""
    outbox.put(batch())
    run = small_run()
    writer.write([run.record], run.spans, (run.record.process_id, sample.now_ns()))
    outbox.put(batch())
    assert (1, 2) == (len(Store(path).runs()), Store(path).outbox().waiting)


def test_no_body_is_read_to_find_what_is_next(tmp_path):
    """After a long outage thousands of batches wait: each claim and each put would else read all of them."""
    path = tmp_path / "traces.db"
    with contextlib.closing(Outbox(path)) as outbox:
        outbox.put(OutboxBatch(1, "https://one.example", "pk-lf-1", 1, b"body"))
    read = []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.set_trace_callback(read.append)
        _outbox._due(connection, time.time_ns(), 1, "https://one.example", "pk-lf-1")
        outbox_limits.hold(connection, lambda *_: True, None)
        connection.set_trace_callback(None)
        plans = [row[3] for query in read for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    scans = [
        plan
        for plan in plans
        if plan.startswith(("SCAN", "SEARCH")) and "rowid" not in plan and "PRIMARY KEY" not in plan
    ]
    assert len(scans) == 2
    assert all("COVERING INDEX outbox_next" in plan for plan in scans), plans
