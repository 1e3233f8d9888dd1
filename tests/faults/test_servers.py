"""A server that misbehaves: the program does not wait for it, the process ends, and nothing is lost."""

from __future__ import annotations

import pytest
from collector import Collector, Mode

from pocketflow_tracing.store import Store

SPANS_PER_RUN = 9  # the flow, and two nodes with prep, exec and post
RUNS = 50
ALL = (RUNS + 1) * SPANS_PER_RUN  # the program warms up with one more run
TELLS = RUNS + 1

BROKEN = {
    "refuse": Mode.refuse(),
    "silent": Mode.silent(),
    "trickle": Mode.trickle(),
    "500": Mode.status(500),
    "429": Mode.status(429, retry_after=1),
    "401": Mode.status(401),
    "403": Mode.status(403),
    "404": Mode.status(404),
    "garbage": Mode.garbage(),
    "redirect": Mode.redirect(),
    "drop": Mode.drop(),
    "slow": Mode.slow(3.0),
    "endless": Mode.endless(500),
}
REFUSING = {"413": Mode.status(413), "400": Mode.status(400)}


@pytest.mark.parametrize("kind", BROKEN)
def test_nothing_waits_and_nothing_is_lost(kind, in_time, sync):
    """Runs and the exit take as long as they may, and all spans arrive once the server is well again."""
    with Collector(BROKEN[kind]) as collector:
        ended = in_time(collector, RUNS)
        assert ended.code == 0
        before = len(collector.spans())
        collector.mode = Mode.healthy()
        report = sync(collector)
        spans = collector.spans()
        assert len(spans) == ALL * ended.times
        assert report["waiting"] == report["refused"] == report["dropped"] == 0
        assert report["delivered"] >= ALL * ended.times - before
        assert collector.problems() == []


@pytest.mark.parametrize("kind", REFUSING)
def test_a_server_that_takes_nothing_is_not_asked_without_end(kind, in_time, sync):
    """With a server that refuses all there is, nothing waits, requests are few, and nothing is lost either."""
    with Collector(REFUSING[kind]) as collector:
        ended = in_time(collector, RUNS)
        assert ended.code == 0
        assert len(collector.exports()) <= 40 * ended.times  # 32 are looked into, then there are pauses
        collector.mode = Mode.healthy()
        report = sync(collector, refused=True)
        assert len(collector.spans()) == ALL * ended.times
        assert report["waiting"] == report["refused"] == report["dropped"] == 0


def test_an_address_that_does_not_resolve_costs_nothing(in_time, tmp_path):
    """A host name without an address is an outage like any other; what was recorded for it waits for it."""
    with Collector() as collector:
        ended = in_time(collector, RUNS, LANGFUSE_BASE_URL="http://langfuse.invalid:3000")
        assert ended.code == 0
    counts = Store(tmp_path / ".pocketflow" / "traces.db").outbox()
    assert counts.waiting_spans == ALL * ended.times
    assert [to.endpoint for to in counts.destinations] == ["http://langfuse.invalid:3000"]


def test_too_large_requests_are_split(program):
    """413 halves a request until it is small enough."""
    with Collector(Mode.status(413, above_bytes=1500)) as collector:
        ended = program(collector, RUNS, ending="flush", FLUSH_SECONDS="40")
        assert ended.flushed is True
        assert len(collector.spans()) == ALL
        assert collector.problems() == []


def test_a_span_that_is_refused_for_good_is_set_aside_alone(program, sync):
    """400 because of one kind of span costs those spans only, and the report counts them."""
    with Collector(Mode.status(400, span_named="Tell")) as collector:
        # a slow machine does not find them all in the time that an exit has
        ended = program(collector, RUNS, ending="flush", FLUSH_SECONDS="40")
        assert "refused" in ended.stderr
        report = sync(collector)
        assert len(collector.spans()) == ALL - TELLS
        assert (report["waiting"], report["refused"], report["dropped"]) == (0, TELLS, 0)


@pytest.mark.parametrize("kind", ["401", "403"])
def test_refused_keys_are_named_once(kind, program):
    """A 401 or 403 names the settings to look at, in one line, and never a key."""
    with Collector(BROKEN[kind]) as collector:
        ended = program(collector, RUNS)
        assert ended.stderr.count("LANGFUSE_SECRET_KEY") == 1
        assert collector.environ["LANGFUSE_SECRET_KEY"] not in ended.stderr


@pytest.mark.parametrize("say", ["flush", "shutdown"])
@pytest.mark.parametrize(("kind", "expected"), [("healthy", True), ("500", False), ("silent", False), ("401", False)])
def test_flush_and_shutdown_tell_the_truth(kind, expected, say, program):
    """They are True only when the server has accepted everything."""
    with Collector(Mode.healthy() if kind == "healthy" else BROKEN[kind]) as collector:
        ended = program(collector, RUNS, ending=say, POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT="1")
        assert ended.flushed is expected
        assert (len(collector.spans()) == ALL) is expected
