"""What the sender does with each answer: nothing is lost, nothing is asked without end, and the counts are true."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from collector import Collector, Mode
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from pocketflow_tracing import TracingConfig, _sdk, _sdk_spans
from pocketflow_tracing._machine import machine
from pocketflow_tracing.records import RunRecord, SpanRecord
from pocketflow_tracing.sinks import _kept, _memory, _pace
from pocketflow_tracing.sinks import sender as sender_module
from pocketflow_tracing.sinks._batch import Batch, halves, shed, traces_of, without
from pocketflow_tracing.sinks._pace import MOST_REFUSALS
from pocketflow_tracing.sinks.langfuse import LangfuseSink
from pocketflow_tracing.sinks.sender import Sender
from pocketflow_tracing.sinks.sync import sync
from pocketflow_tracing.store import Outbox, OutboxBatch, Store, adopt


def span(trace: int, number: int, name: str = "node") -> Span:
    """A span; number 0 is the root of its trace."""
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=(trace * 10_000 + number + 1).to_bytes(8, "big"),
        parent_span_id=b"" if number == 0 else (trace * 10_000 + 1).to_bytes(8, "big"),
        name=name,
        start_time_unix_nano=1,
        end_time_unix_nano=2,
    )


def body(*spans: Span) -> bytes:
    message = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])])
    return gzip.compress(message.SerializeToString(), 1, mtime=0)


def names(data: bytes) -> list[str]:
    message = ExportTraceServiceRequest.FromString(gzip.decompress(data))
    return [span.name for group in message.resource_spans for scope in group.scope_spans for span in scope.spans]


def config_for(collector, **settings):
    keys = {"langfuse_public_key": collector.public_key, "langfuse_secret_key": collector.secret_key}
    return TracingConfig(**{**keys, "langfuse_host": collector.url, "store": "off", **settings}).resolved()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store" / "traces.db"


@pytest.fixture
def sender(path):
    """Makes senders, and closes them."""
    with contextlib.ExitStack() as stack:

        def make(collector, store=path, **settings):
            made = Sender(config_for(collector, **settings), str(store) if store else None)
            stack.callback(lambda: made.close(time.monotonic(), time.monotonic()))
            return made

        yield make


def soon(seconds=20.0):
    return time.monotonic() + seconds


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 200, 511])
def test_one_bad_span_of_512_is_set_aside_alone(place, sender, path, monkeypatch):
    """The others arrive, the bad one is kept with what the server said of it, in some 20 requests; figures agree."""
    monkeypatch.setattr(Collector, "_answer", saying(Collector._answer, "attribute 3 is no UTF-8\n\x1b[31m"))
    with Collector(Mode.status(400, span_named="bad")) as collector:
        made = sender(collector)
        made.submit(body(*(span(1, number, "bad" if number == place else "good") for number in range(512))), 512)
        assert made.flush(soon())  # one was not accepted, and does not wait
        assert 511 == len(collector.spans())
        assert {"good"} == {span.name for span in collector.spans()}
        assert collector.duplicates == []
        assert len(collector.exports()) <= 2 * 9 + 1
        counts = Store(path).outbox()
        assert (0, 1, 1, 0) == (counts.waiting, counts.refused, counts.refused_spans, counts.dropped_spans)
        (said,) = counts.refusals
        assert said.endswith("refused the spans (400): attribute 3 is no UTF-8 [31m")
        assert (511, 1) == (made.delivered, made.refused)
        figures = {key: value for key, value in Store(path).figures().items() if value}
        assert 1 == figures.pop("refused")
        assert figures in ({}, {"delivered": 511})  # those that were late, and on disk meanwhile


def saying(answer, message):
    def with_message(self, request, mode):
        found = answer(self, request, mode)
        if found.status == 400:
            found.body = ('{"message": ' + repr(message).replace("'", '"').replace("\\x1b", "\\u001b") + "}").encode()
        return found

    return with_message


@pytest.mark.parametrize("form", ["Authorization: {0}", "token {1} is unknown", "{2}", "no such key: {3}"])
def test_keys_that_a_server_quotes_are_not_kept(form, sender, path, monkeypatch):
    """A gateway may answer with the headers of the request, whole or cut: the words that are kept have no key in them."""
    with Collector(Mode.status(400)) as collector:
        pair = base64.b64encode(f"{collector.public_key}:{collector.secret_key}".encode()).decode()
        quoted = form.format(f"Basic {pair}", pair, pair[:20], collector.secret_key)
        monkeypatch.setattr(Collector, "_answer", saying(Collector._answer, quoted))
        made = sender(collector)
        made.submit(body(span(1, 1)), 1)
        assert made.flush(soon())
        (said,) = Store(path).outbox().refusals
    assert pair[:20] not in said
    assert collector.secret_key not in said
    assert "[redacted]" in said


def test_the_figures_of_a_batch_that_was_split(sender, path):
    """Of a batch that had waited on disk only what the server took counts as delivered."""
    with Collector(Mode.status(503)) as collector:
        made = sender(collector)
        made.submit(body(*(span(1, number, "bad" if number == 3 else "good") for number in range(8))), 8)
        assert made.flush(soon()) is False
        assert 1 == Store(path).outbox().waiting
        collector.mode = Mode.status(400, span_named="bad")
        assert made.flush(soon())
        figures = Store(path).figures()
        assert (7, 1) == (figures["delivered"], figures["refused"])
        assert 0 == Store(path).outbox().waiting


def test_a_server_that_refuses_everything_is_not_asked_without_end(sender, path):
    """After some refusals in a row the rest waits: nothing is set aside wholesale, and `sync --refused` delivers all."""
    with Collector(Mode.status(400)) as collector:
        made = sender(collector)
        for trace in range(1, 9):
            made.submit(body(*(span(trace, number) for number in range(512))), 512)
        assert made.flush(soon()) is False
        first = len(collector.exports())
        assert first <= MOST_REFUSALS + 1
        for trace in range(9, 12):
            made.submit(body(*(span(trace, number) for number in range(512))), 512)
        assert made.flush(soon()) is False
        assert made.flush(soon()) is False
        assert len(collector.exports()) <= first + 2  # a flush asks once
        made.close(soon(), soon(5.0))
        counts = Store(path).outbox()
        assert counts.refused_spans <= MOST_REFUSALS
        assert 11 * 512 == counts.refused_spans + counts.waiting_spans
        collector.mode = Mode.healthy()
        report = sync(str(path), config_for(collector), refused=True)
        assert (11 * 512, 0, 0, 0, None) == (
            report.delivered, report.waiting, report.refused, report.dropped, report.reason,
        )  # fmt: skip
        assert 11 * 512 == len(collector.spans())
        assert 0 == Store(path).figures()["refused"]


def test_a_span_that_the_server_never_takes_stands_in_nobodys_way(sender, path):
    """One that is always answered 500 is parted from the others of its batch, put off, and sent again by `sync`."""
    with Collector(Mode.status(500, span_named="bad")) as collector:
        made = sender(collector)
        made.submit(body(*(span(1, number, "bad" if number == 3 else "good") for number in range(8))), 8)
        assert made.flush(soon()) is False
        for trace in range(2, 5):
            made.submit(body(span(trace, 1, "good")), 1)
            assert made.flush(soon()) is False
        assert 7 + 3 == len(collector.spans())
        waiting = Store(path).outbox()
        assert (1, 1, 0) == (waiting.waiting, waiting.waiting_spans, waiting.refused_spans)
        asked = len(collector.exports())
        assert made.flush(soon()) is False
        assert asked == len(collector.exports()), "it is put off"
        collector.mode = Mode.healthy()
        report = sync(str(path), config_for(collector))
        assert (1, 0, None) == (report.delivered, report.waiting, report.reason)


def test_an_outage_parts_nothing(sender, path):
    """Where the server takes nothing, batches stay as they are: each flush asks once, and all arrives in the end."""
    with Collector() as collector:
        made = sender(collector)
        made.submit(body(span(1, 1)), 1)
        assert made.flush(soon())
        collector.mode = Mode.status(500)
        for trace in range(2, 6):
            made.submit(body(*(span(trace, number) for number in range(8))), 8)
            assert made.flush(soon()) is False
        assert len(collector.exports()) <= 1 + 2 * 4
        assert 4 == Store(path).outbox().waiting
        collector.mode = Mode.healthy()
        assert made.flush(soon())
        assert 1 + 4 * 8 == len(collector.spans())


@pytest.mark.parametrize("code", [403, 404, 405, 500])
def test_a_server_that_takes_no_scores_takes_spans(code, sender, path, monkeypatch):
    """What comes after the score arrives; a score that is not taken for good is set aside, and counts as lost."""
    monkeypatch.setattr(Collector, "_answer", for_scores(Collector._answer, code))
    with Collector() as collector:
        made = sender(collector)
        made.submit(b'{"traceId": "' + b"0" * 32 + b'"}', 1)
        made.flush(soon())
        for trace in range(1, 5):
            made.submit(body(span(trace, 1)), 1)
            assert made.flush(soon()) is (code != 500)
        assert 4 == len(collector.spans())
        assert (code != 500) == made.refused
        counts = Store(path).outbox()
        assert (code == 500, code != 500) == (counts.waiting_spans, counts.refused_spans)
        report = sync(str(path), config_for(collector), refused=True)
        assert (0, code == 500, code != 500) == (report.delivered, report.waiting, report.refused)
        assert report.reason


SCORE = b'{"traceId": "' + b"0" * 32 + b'"}'


@pytest.mark.parametrize("takes_lists", [True, False])
def test_scores_go_together_where_the_server_takes_lists(takes_lists, sender, path, monkeypatch):
    """An older one refuses a list; then each goes by itself, and no list is tried any more."""
    answer = Collector._answer

    def with_lists(self, request, mode):
        found = answer(self, request, mode)
        if type(request.json) is list and not takes_lists:
            found.status = 400
        return found

    monkeypatch.setattr(Collector, "_answer", with_lists)
    with Collector() as collector:
        made = sender(collector)
        for portion in range(3):
            lines = [b'{"id": "%d-%d", "traceId": "%032x"}' % (portion, score, score) for score in range(20)]
            made.submit(b"\n".join(lines), 20)
            assert made.flush(soon())
        assert {f"{portion}-{score}" for portion in range(3) for score in range(20)} == {
            score["id"] for score in collector.scores()
        }
        assert (60, 0) == (made.delivered, made.refused)
        assert (3 if takes_lists else 1) == sum(type(request.json) is list for request in collector.requests)
        assert (0 if takes_lists else 60) == sum(type(request.json) is dict for request in collector.requests)
        assert not path.exists()


@pytest.mark.parametrize("says_which", [True, False])
def test_one_score_that_is_refused_takes_no_other_along(says_which, sender, path, monkeypatch):
    """Whether the server takes the others of its list (207), or refuses the list (400); what it says is kept."""
    answer = Collector._answer

    def picky(self, request, mode):
        found = answer(self, request, mode)
        if request.path.endswith("/scores"):
            scores = request.json if type(request.json) is list else [request.json]
            if bad := sum(score["name"] == "bad" for score in scores):
                found.status = 207 if says_which and type(request.json) is list else 400
                errors = {"accepted": len(scores) - bad, "rejected": bad, "errors": [{"message": "no such config"}]}
                found.body = json.dumps(errors if found.status == 207 else {"message": "no such config"}).encode()
        return found

    monkeypatch.setattr(Collector, "_answer", picky)
    with Collector() as collector:
        made = sender(collector)
        names = ["good"] * 12 + ["bad"] + ["good"] * 7
        lines = [
            json.dumps({"id": str(place), "traceId": "1" * 32, "name": name}).encode()
            for place, name in enumerate(names)
        ]
        made.submit(b"\n".join(lines), 20)
        made.flush(soon())
        assert (19, 1) == (made.delivered, made.refused)
        counts = Store(path).outbox()
        assert (0, 1) == (counts.waiting_spans, counts.refused_spans)
        assert "no such config" in counts.refusals[0]
        good = {str(place) for place, name in enumerate(names) if name == "good"}
        assert good <= {score["id"] for score in collector.scores()}


def test_a_list_with_many_scores_that_are_refused_is_not_halved(sender, path, monkeypatch):
    """Each would be sent again and again, and spans wait behind them."""
    answer = Collector._answer

    def picky(self, request, mode):
        found = answer(self, request, mode)
        if request.path.endswith("/scores"):
            scores = request.json if type(request.json) is list else [request.json]
            if bad := sum(score["name"] == "bad" for score in scores):
                found.status = 207 if type(request.json) is list else 400
                found.body = json.dumps({"accepted": len(scores) - bad, "rejected": bad, "errors": []}).encode()
        return found

    monkeypatch.setattr(Collector, "_answer", picky)
    with Collector() as collector:
        made = sender(collector)
        lines = [
            b'{"id": "%d", "traceId": "%032x", "name": "%s"}' % (n, n, b"good" if n % 3 else b"bad") for n in range(60)
        ]
        made.submit(b"\n".join(lines), 60)
        made.flush(soon())
        assert (40, 20) == (made.delivered, made.refused)
        assert 61 == len(collector.requests)
        made.submit(b"\n".join(lines[1:3]), 2)
        made.flush(soon())
        assert 62 == len(collector.requests)  # lists are taken


def for_scores(answer, code):
    def with_code(self, request, mode):
        found = answer(self, request, mode)
        if request.path.endswith("/scores"):
            found.status = code
        return found

    return with_code


def test_a_store_that_cannot_be_read_is_not_taken_for_an_empty_one(sender, path):
    """While another process holds it, who flushes hears that something may wait."""
    with Collector(Mode.status(503)) as collector:
        made = sender(collector)
        made.submit(body(span(1, 1)), 1)
        assert made.flush(soon()) is False
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert made.flush(soon()) is False
        other.execute("ROLLBACK")
        other.close()


def test_a_clock_that_was_ahead_puts_nothing_off(sender, path, monkeypatch):
    """What was kept then is sent at once."""
    with Collector(Mode.status(503)) as collector:
        made = sender(collector)
        with monkeypatch.context() as ahead:
            ahead.setattr(_kept, "time_ns", lambda: time.time_ns() + 300 * 10**9)
            made.submit(body(span(1, 1)), 1)
            assert made.flush(soon()) is False
            made.close(soon(), soon(5.0))
        collector.mode = Mode.healthy()
        assert 1 == sync(str(path), config_for(collector)).delivered


def test_a_split_that_is_broken_off_loses_nothing(sender, path):
    """A process that ends while it looks for the bad span has the whole batch on disk."""
    with Collector(Mode.status(413, above_bytes=10)) as collector:
        made = sender(collector, timeout=1)
        made.submit(body(*(span(1, number) for number in range(256))), 256)
        collector.wait_for(lambda collector: len(collector.exports()) >= 3)
        collector.mode = Mode.silent()
        collector.wait_for(lambda collector: any(request.status is None for request in collector.exports()))
        thread = made._thread
        made.close(soon(0.3), soon(0.2))
        collector.mode = Mode.healthy()
        thread.wait(10)
        counts = Store(path).outbox()
        assert counts.waiting_spans + counts.refused_spans >= 256
        assert 256 == len({span.span_id for span in collector.spans()}) + counts.waiting_spans + counts.refused_spans


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 403])
def test_what_refused_keys_held_back_is_delivered_with_mended_ones(code, sender, path, caplog):
    """Data waits, one line names the settings, and `sync` with a secret key that is right delivers."""
    with Collector(keys=("pk-lf-mine", "sk-lf-right")) as collector:
        made = sender(collector, langfuse_secret_key="sk-lf-wrong")
        if code == 403:
            collector.mode = Mode.status(403)
        for trace in range(1, 4):
            made.submit(body(span(trace, 0)), 1)
            assert made.flush(soon()) is False
        made.close(soon(), soon(5.0))
        lines = [record.getMessage() for record in caplog.records if "LANGFUSE_SECRET_KEY" in record.getMessage()]
        assert 1 == len(lines)
        assert "sk-lf" not in lines[0]
        collector.mode = Mode.healthy()
        report = sync(str(path), config_for(collector))
        assert (3, 0, None) == (report.delivered, report.waiting, report.reason)
        assert 3 == len(collector.spans())


def test_another_projects_data_is_not_sent_to_this_one(sender, path):
    """Spans belong to the project that they were recorded for: another public key gets none, and is told of them."""
    with Collector(Mode.status(401)) as collector:
        made = sender(collector, langfuse_public_key="pk-lf-old")
        made.submit(body(span(1, 0)), 1)
        assert made.flush(soon()) is False
        made.close(soon(), soon(5.0))
        collector.mode = Mode.healthy()
        report = sync(str(path), config_for(collector, langfuse_public_key="pk-lf-new"))
        assert (0, 1) == (report.delivered, report.waiting)
        assert f"1 spans wait for the project of pk-lf-old at {collector.url}" == report.reason
        report = sync(str(path), config_for(collector, langfuse_public_key="pk-lf-old"))
        assert (1, 0, None) == (report.delivered, report.waiting, report.reason)


# --- limits ---------------------------------------------------------------------------------------------------------


def interleaved(traces, visits):
    """Batches as a program with many runs at once makes them: each holds spans of several runs, roots come last."""
    spans = [span(trace, number) for first in range(1, traces + 1, 4) for number in range(visits, -1, -1)
             for trace in range(first, min(first + 4, traces + 1))]  # fmt: skip
    return [spans[start : start + 10] for start in range(0, len(spans), 10)]


def whole(collector, size):
    """The sizes of the traces that arrived, by id."""
    sizes = {}
    for seen in collector.spans():
        sizes[int(seen.trace_id, 16)] = sizes.get(int(seen.trace_id, 16), 0) + 1
    assert set(sizes.values()) == {size}, sizes
    return sizes


@pytest.mark.parametrize("limit", [{"outbox_spans": 60}, {"outbox_mb": 0.0015}])
def test_a_full_outbox_drops_the_oldest_runs_whole(limit, sender, path, caplog):
    """Of 40 runs whose spans lie mixed in the batches, the newest arrive, each whole; what went is counted and said."""
    with Collector(Mode.status(503)) as collector:
        made = sender(collector, **limit)
        for spans in interleaved(40, 6):
            made.submit(body(*spans), len(spans))
            made.flush(soon())
        made.close(soon(), soon(5.0))
        collector.mode = Mode.healthy()
        counts = Store(path).outbox()
        assert counts.dropped_spans == 40 * 7 - counts.waiting_spans > 0
        assert "outbox_spans" not in limit or counts.waiting_spans <= 60
        assert made.dropped == counts.dropped_spans == Store(path).figures()["dropped"]
        report = sync(str(path), config_for(collector))
        assert counts.dropped_spans == report.dropped
        sizes = whole(collector, 7)
        assert 40 in sizes
        assert set(sizes) == set(range(min(sizes), 41))  # the oldest went
        lines = [record.getMessage() for record in caplog.records if "outbox" in record.getMessage()]
        assert 1 == sum("POCKETFLOW_TRACE_OUTBOX_SPANS" in line for line in lines)
        assert any(f"cost {counts.dropped_spans} spans" in line for line in lines)


def test_a_run_that_goes_on_is_dropped_last_and_then_whole(path):
    """Complete runs go before one that still records; once it had to go, its later spans go too."""
    outbox_settings = {"max_spans": 8, "without": without}
    with contextlib.closing(Outbox(path, **outbox_settings)) as outbox:
        put(outbox, [span(1, number) for number in range(1, 4)])  # goes on
        put(outbox, [span(2, number) for number in range(2, -1, -1)])
        put(outbox, [span(3, number) for number in range(2, -1, -1)])
        assert {1, 3} == kept(outbox)
        put(outbox, [span(1, number) for number in range(4, 10)])
        assert set() == kept(outbox)
        put(outbox, [span(1, 0), span(4, 0)])
        assert {4} == kept(outbox)
        assert 3 + 3 + 9 + 1 == outbox.counts().dropped_spans == outbox.dropped


def put(outbox, spans):
    from pocketflow_tracing.store import OutboxBatch

    data = body(*spans)
    outbox.put(OutboxBatch(1, "https://one.example", "pk", len(spans), data, traces=traces_of(data)))


def kept(outbox):
    return {int(trace, 16) for batch in outbox.due(10) for trace in traces_of(batch.body)}


def test_without_a_store_memory_has_a_bound(sender, monkeypatch, caplog):
    """With the store off and the server down the oldest runs go, whole, and it is said."""
    monkeypatch.setattr(_memory, "_MOST_BYTES", 1000)
    with Collector(Mode.status(503)) as collector:
        made = sender(collector, None)
        for spans in interleaved(80, 6):
            made.submit(body(*spans), len(spans))
        assert made.flush(soon()) is False
        assert made._waiting._bytes <= 2 * 1000
        assert made.dropped > 0
        collector.mode = Mode.healthy()
        made.flush(soon())
        sizes = whole(collector, 7)
        assert 80 * 7 == made.dropped + sum(sizes.values())
        assert 80 in sizes
        assert 1 == sum("takes too much memory" in record.getMessage() for record in caplog.records)


def test_without_a_store_one_span_does_not_stand_in_the_way(sender, monkeypatch, caplog):
    """The server takes all others: they are sent, and that one is lost after some tries, which is counted and said."""
    monkeypatch.setattr(_pace, "_FIRST", 0.01)
    with Collector(Mode.status(500, span_named="bad")) as collector:
        made = sender(collector, None)
        made.submit(body(span(1, 0, "bad"), span(1, 1, "beside")), 2)
        sent, deadline = 0, soon(20)
        while not made.refused:
            assert time.monotonic() < deadline
            sent += 1
            made.submit(body(span(2, sent, "good")), 1)
            made.wait(soon(1))
            made.tick()
        made.flush(soon(10))
        assert made.flush(soon(10))
        assert (sent + 1, 1, 0) == (made.delivered, made.refused, made.in_memory)
        assert {"beside", "good"} == {found.name for found in collector.spans()}
    assert 1 == sum("are lost" in record.getMessage() for record in caplog.records)


def test_without_a_store_nothing_is_given_up_that_was_not_tried_alone(sender, monkeypatch):
    """However often a batch failed in an outage: its spans have their own tries once the server takes others."""
    monkeypatch.setattr(_pace, "_FIRST", 0.01)
    with Collector(Mode.status(503)) as collector:
        made = sender(collector, None)
        made.submit(body(span(1, 0, "slow"), span(1, 1)), 2)
        (batch,) = made._unanswered()
        deadline = soon(20)
        while batch.attempts < 5:
            assert time.monotonic() < deadline
            made.flush(soon(1))
        collector.mode = Mode.status(503, span_named="slow", times=3)  # the batch, and twice what is left of it
        sent = 0
        while made.in_memory or not sent:
            assert time.monotonic() < deadline
            sent += 1
            made.submit(body(span(2, sent, "other")), 1)
            made.flush(soon(1))
        assert (2 + sent, 0) == (made.delivered, made.refused)


def test_a_firewall_and_no_store(sender, monkeypatch):
    """Whatever comes before or after: good spans arrive, and those that it does not like are lost, which is counted."""
    monkeypatch.setattr(_pace, "_FIRST", 0.01)
    with Collector(Mode.status(403, span_named="bad")) as collector:
        made = sender(collector, None)
        made.submit(body(span(1, 0, "good")), 1)
        assert made.flush(soon())
        deadline = soon(30)
        for trace in range(2, 6):
            made.submit(body(span(trace, 0, "bad"), *(span(trace, number, "beside") for number in range(1, 9))), 9)
        while made.in_memory:
            assert time.monotonic() < deadline
            made.flush(soon(1))
        assert (1 + 4 * 8, 4) == (made.delivered, made.refused)


# --- cutting --------------------------------------------------------------------------------------------------------


def test_a_part_holds_no_more_than_its_own(sender):
    """Generations each have a resource of their own, and a server may take little at once."""
    with Collector(Mode.status(413, above_bytes=3000)) as collector:
        made = sender(collector)
        attributes = [KeyValue(key="about", value=AnyValue(string_value="x" * 500))]
        messages = [
            ExportTraceServiceRequest(
                resource_spans=[
                    ResourceSpans(
                        resource=Resource(attributes=attributes), scope_spans=[ScopeSpans(spans=[span(1, number)])]
                    )
                ]
            )
            for number in range(40)
        ]
        made.submit(gzip.compress(b"".join(message.SerializeToString() for message in messages)), 40)
        assert made.flush(soon())
        assert 40 == len(collector.spans())


def test_a_firewall_that_does_not_like_a_span_holds_up_no_others(sender, path, caplog):
    """It answers 403 with keys that the server has just accepted: the one is put off, and the rest goes on."""
    with Collector(Mode.status(403, span_named="bad")) as collector:
        made = sender(collector)
        made.submit(body(span(1, 0, "good")), 1)
        assert made.flush(soon())
        made.submit(body(span(2, 0, "bad"), *(span(2, number, "beside") for number in range(1, 9))), 9)
        assert made.flush(soon()) is False
        made.submit(body(span(3, 0, "good")), 1)
        made.flush(soon())
        assert 1 + 8 + 1 == len(collector.spans())
        with contextlib.closing(Outbox(path)) as outbox:
            assert 1 == outbox.counts().waiting_spans
    assert 1 == sum("as a firewall does" in record.getMessage() for record in caplog.records)


def test_who_waits_takes_no_lock_and_touches_no_file(sender, monkeypatch):
    """A time limit or a signal handler may strike there, and the handler flush as well: nothing is left locked."""
    callers = set()

    def noted(method):
        def with_caller(*args, **kwargs):
            callers.add(threading.get_ident())
            return method(*args, **kwargs)

        return with_caller

    for name in ("look", "keep", "waits", "answered"):
        monkeypatch.setattr(_kept.Kept, name, noted(getattr(_kept.Kept, name)))
    with Collector(Mode.status(503)) as collector:
        made = sender(collector)
        made.submit(body(span(1, 1)), 1)
        assert made.wait(soon()) is False
        for healthy in (False, True):
            if healthy:
                collector.mode = Mode.healthy()
            callers.clear()  # before: the sender's thread may be done as soon as it is called
            worker = threading.Thread(target=made.hasten)
            worker.start()
            worker.join()
            monkeypatch.setattr(made._changed, "__class__", Watched)
            Watched.caller = threading.get_ident()
            assert made.wait(soon()) is healthy
            Watched.caller = None
            assert callers
            assert threading.get_ident() not in callers


class Watched(threading.Condition):
    """Fails where one thread takes it."""

    caller = None

    def __enter__(self):
        assert threading.get_ident() != self.caller
        return super().__enter__()


def test_what_a_thread_claims_when_it_was_given_up_is_sent_by_the_next(sender, monkeypatch):
    """It is given back, or nobody would get it for a minute, and a flush would wait for it."""
    begun, go_on, gone = threading.Event(), threading.Event(), threading.Event()
    look = _kept.Kept.look

    def slowly(self, may_wait):
        begun.set()
        go_on.wait(10)
        found = look(self, may_wait)
        gone.set()
        return found

    with Collector(Mode.status(503)) as collector:
        made = sender(collector)
        made.submit(body(span(1, 1)), 1)
        assert made.flush(soon()) is False
        collector.mode = Mode.healthy()
        with monkeypatch.context() as patched:
            patched.setattr(_kept.Kept, "look", slowly)
            made.hasten()
            assert begun.wait(10)
            made.close(soon(0.3), time.monotonic())
            go_on.set()
            assert gone.wait(10)
        deadline = soon()
        while not made.flush(soon(1.0)):
            assert time.monotonic() < deadline
        assert 1 == len(collector.spans())


@pytest.mark.parametrize("store", [True, False])
def test_who_is_closed_waits_for_no_answer(store, sender, path):
    """A program may shut down after each of its jobs: no thread and no connection stays for each of them."""
    with Collector(Mode.silent()) as collector:
        made = sender(collector, path if store else None, timeout=30.0)
        made.submit(body(span(1, 0)), 1)
        thread = made._thread
        made.close(soon(0.3), soon(0.1))
        thread.wait(10)
        assert not thread.is_alive()


def test_what_is_being_put_on_disk_at_the_end_is_in_memory_until_it_is_there(sender, monkeypatch):
    """Who waits for the end no longer counts it as lost."""
    keep, seen = _kept.Kept.keep, []
    monkeypatch.setattr("pocketflow_tracing.sinks.sender._LATE_SECONDS", 60.0)
    with Collector(Mode.silent()) as collector:
        made = sender(collector, timeout=30.0)
        for number in range(3):
            made.submit(body(span(number + 1, 0)), 1)
        monkeypatch.setattr(
            _kept.Kept, "keep", lambda *given, **more: seen.append(made.in_memory) or keep(*given, **more)
        )
        made.close(soon(), soon(0.01))
    assert 3 == seen[0]  # in three batches, or in one that the sender has made of them
    assert seen == sorted(seen, reverse=True)
    assert 0 == made.in_memory


@pytest.mark.parametrize(("becomes", "lost"), [("delivered", 0), ("refused", 2), ("pushed out", 2)])
def test_what_others_make_of_what_waits_is_known(becomes, lost, sender, path, caplog):
    """Processes share an outbox, and each sends what is due: one that flushes hears of what another one has lost."""
    with Collector(Mode.status(503)) as collector:
        ours = sender(collector)
        ours.submit(body(span(1, 0), span(1, 1)), 2)
        assert ours.flush(soon(5.0)) is False
        others = sender(collector, outbox_spans=1 if becomes == "pushed out" else 1000)
        if becomes == "pushed out":
            others.submit(body(span(2, 0)), 1)
            others.flush(soon(5.0))
        collector.mode = Mode.status(400) if becomes == "refused" else Mode.healthy()
        deadline = soon()
        while not others.flush(soon(1.0)) and time.monotonic() < deadline:
            pass
        assert ours.flush(soon())
        assert lost == ours.dropped
        assert bool(lost) is any("when another process sent them" in record.getMessage() for record in caplog.records)
        ours.submit(body(span(3, 0)), 1)
        ours.flush(soon())
        assert lost == ours.dropped


def test_a_score_that_is_lost_is_told(monkeypatch, caplog):
    """It counts as one."""
    monkeypatch.setattr(Collector, "_answer", for_scores(Collector._answer, 503))
    with Collector() as collector:
        made = Sender(config_for(collector), None)
        made.submit(b'{"traceId": "' + b"0" * 32 + b'"}', 1)
        assert made.flush(soon()) is False
        assert 1 == made.in_memory
        made.close(soon(), soon(5.0))
        assert (0, 1) == (made.in_memory, made.dropped)
    assert any("1 scores could not be delivered" in record.getMessage() for record in caplog.records)


def test_scores_of_other_traces_outlast_those_that_were_dropped():
    """Once memory has overflowed, a score goes with its own trace only."""
    waiting = _memory.Memory()
    waiting._gone = {f"{1:032x}": None}
    for trace in (1, 2):
        waiting.put(Batch(b'{"traceId": "%032x"}' % trace, 1))
    assert [b'{"traceId": "%032x"}' % 2] == [batch.body for batch in waiting]


def test_what_came_one_by_one_is_sent_together(sender):
    """Many may flush at once: while one request is under way the others gather, up to a size; scores with scores."""
    waiting = _memory.Memory()
    bodies = [body(span(trace, 1)) for trace in range(5)]
    for data in bodies[:3]:
        waiting.put(Batch(data, 1))
        waiting.put(Batch(SCORE, 1))
    waiting.put(Batch(bodies[3], 1, attempts=1))
    waiting.put(Batch(bodies[4], 1))
    sent = [waiting.take() for _ in range(4)]
    assert [3, 3, 1, 1] == [batch.records for batch in sent]
    assert [False, True, False, False] == [batch.of_scores for batch in sent]
    assert traces_of(sent[0].body).keys() == {f"{trace:032x}" for trace in range(3)}
    assert 3 == len(halves(sent[1])[0].body.splitlines()) + len(halves(sent[1])[1].body.splitlines())
    assert not waiting.take()
    for number in range(3):
        waiting.put(Batch(body(*(span(number, place) for place in range(400))), 400))
    assert [800, 400] == [waiting.take().records, waiting.take().records]


def test_halves_hold_every_span_once():
    """A batch is cut in two, in order; one span is not cut, nor is a score."""
    data = body(*(span(1, number, str(number)) for number in range(5)))
    one, two = halves(Batch(data, 5))
    assert (["0", "1"], ["2", "3", "4"]) == (names(one.body), names(two.body))
    assert (2, 3) == (one.records, two.records)
    assert halves(Batch(body(span(1, 0)), 1)) == halves(Batch(b"{}", 1)) == []


def test_traces_of_a_body():
    """A trace is complete once its root is there; a score belongs to its trace and completes nothing."""
    data = body(span(1, 1), span(2, 0), span(2, 1))
    assert {f"{1:032x}": False, f"{2:032x}": True} == traces_of(data)
    rest, left = without(data, [f"{2:032x}"])
    assert (1, {f"{1:032x}": False}) == (left, traces_of(rest))
    score = b'{"traceId": "ab", "name": "s", "value": 1}'
    assert {"ab": False} == traces_of(score)
    assert (b"", 0) == without(score, ["ab"])


def test_shedding_takes_scores_along():
    """The scores of a dropped trace go with it; those of others stay."""
    batches = [
        Batch(b'{"traceId": "' + f"{1:032x}".encode() + b'", "name": "s", "value": 1}', 1),
        Batch(body(span(1, 0), span(2, 1)), 2),
        Batch(body(span(2, 0)), 1),
    ]
    left, gone = shed(batches, sum(len(batch.body) for batch in batches) - 1)
    assert {f"{1:032x}"} == gone
    assert [{f"{2:032x}": False}, {f"{2:032x}": True}] == [traces_of(batch.body) for batch in left]


def test_what_waits_in_memory_is_not_tried_without_end(sender):
    """Without a disk the sender rests until the pause after a failure is over, and tries again by itself then."""
    with Collector(Mode.status(503)) as collector:
        made = sender(collector, None)
        made.submit(body(span(1, 0)), 1)
        assert made.flush(soon()) is False
        assert not made._has_work()
        collector.mode = Mode.healthy()
        collector.wait_for(1, timeout=soon() - time.monotonic())
        assert made.flush(soon()) is True


def test_the_count_of_dropped_spans_waits_for_no_lock(sender, path):
    """It is written once the store can be: by the worker when it has nothing else to do, or at the end."""
    with Collector() as collector:
        made = sender(collector)
        with contextlib.closing(Outbox(path)) as outbox:
            outbox.put(OutboxBatch(0, "https://other.example", "pk", 1, b""))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            assert made.add_dropped(5)
        assert made._kept.count_dropped() is False
        assert 15 == made.dropped
        other.execute("ROLLBACK")
        made.tick()
        assert 15 == Store(path).figures()["dropped"]
        made.add_dropped(2)
        made.close(soon(), soon(5.0))
        assert 17 == Store(path).figures()["dropped"]
        assert made.flush(soon()) is True
        other.close()


def test_a_thread_that_could_not_be_started_again_does_not_end(sender, monkeypatch):
    """Python 3.12 before 3.12.3, once the main thread has ended: an outage would be the end of delivery."""
    asked, times = threading.Event(), []

    def can_start_later():
        times.append(1)
        if len(times) > 2:
            asked.set()
        return False

    monkeypatch.setattr(sender_module, "_SAFE_SECONDS", 0.01)
    monkeypatch.setattr(sender_module, "can_start_later", can_start_later)
    with Collector(Mode.status(503)) as collector:
        made = sender(collector)
        made.submit(body(span(1, 0)), 1)
        assert asked.wait(10)
        collector.mode = Mode.healthy()
        monkeypatch.setattr(sender_module, "start_thread", lambda *_: None)
        assert made.flush(soon()) is True


def test_it_is_said_where_no_thread_can_be_started(sender, path, monkeypatch, caplog):
    """What is recorded is in the outbox then."""
    monkeypatch.setattr(sender_module, "can_start_later", lambda: False)
    monkeypatch.setattr(sender_module, "start_thread", lambda *_: None)
    with Collector() as collector:
        made = sender(collector)
        for number in range(2):
            made.submit(body(span(1, number)), 1)
        made.close(soon(), soon(0.1))
        assert 1 == sum("starts no thread" in record.getMessage() for record in caplog.records)
        assert 2 == Store(path).outbox().waiting_spans


def test_what_waits_in_memory_does_not_wait_for_a_locked_outbox(sender, path):
    """Somebody writes for long: an editor of databases, a backup. What is recorded meanwhile goes to the server all the same."""
    with Collector() as collector:
        with contextlib.closing(Outbox(path)) as outbox:
            outbox.put(OutboxBatch(0, collector.url, collector.public_key, 1, body(span(9, 9))))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        made = sender(collector)
        made.start()
        began = time.monotonic()
        for number in range(3):
            made.submit(body(span(1, number)), 1)
            collector.wait_for(number + 1, timeout=10)
        assert time.monotonic() - began < 3 * _kept._PATIENCE
        assert made.flush(soon()) is False
        other.execute("ROLLBACK")
        other.close()
        assert made.flush(soon()) is True
        assert 4 == len(collector.spans())


def test_what_a_killed_process_was_sending_is_sent_at_once(sender, path):
    """And what a living one is sending is not, which is said."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host = machine()
    with Collector() as collector, contextlib.closing(Outbox(path)) as outbox:
        for number in range(2):
            data = body(span(number, 0))
            created = time.time_ns()
            batch = OutboxBatch(created, collector.url, collector.public_key, 1, data, reason="answered 503")
            outbox.put(batch, owner=f"{host}:{child.pid}:abcd", lease_ns=60 * 10**9 if number else 0)
        assert [1] == [found.spans for found in outbox.claim(f"{host}:{child.pid}:abcd", time.time_ns())]
        report = sync(str(path), config_for(collector), timeout=0.5)
        assert (0, 2) == (report.delivered, report.waiting)
        assert "2 spans are being sent by another process" in report.reason
        child.communicate()
        report = sync(str(path), config_for(collector))
        assert (2, 0, None) == (report.delivered, report.waiting, report.reason)


@pytest.mark.absorbs
@pytest.mark.parametrize("hook", [None, lambda *, params: None])
def test_a_span_that_cannot_be_encoded_costs_itself_alone(hook, path, absorbed, monkeypatch):
    """The others of its batch arrive, with a `mask_otel_spans` too, and it counts as lost."""
    monkeypatch.setattr(_sdk.SdkClient, "mask_spans", hook)
    monkeypatch.setattr(_sdk_spans, "masked", lambda _hook, _key, spans: spans)
    with Collector() as collector:
        sink = LangfuseSink(config_for(collector, store=str(path)))
        spans = [
            SpanRecord("a" * 16, f"{1:032x}", f"{n:016x}", None, "node", "n", "success", n, n) for n in range(1, 6)
        ]
        spans[2].start_ns = None
        sink.accept([RunRecord("a" * 16, f"{1:032x}", "f", "success", 1, 2)], spans, spans)
        assert sink.flush(soon())
        assert 1 == sink.lost
        assert 4 == len(collector.spans())
        sink.close(soon(), soon(5.0))
        assert 1 == Store(path).figures()["dropped"]
    assert 1 == len(absorbed)


def test_a_disk_that_cannot_be_written_is_not_tried_without_end(sender, tmp_path):
    """The same where the store cannot be written."""
    (tmp_path / "file").write_text("no directory")
    with Collector(Mode.status(503)) as collector:
        made = sender(collector, tmp_path / "file" / "traces.db")
        made.submit(body(span(1, 0)), 1)
        assert made.flush(soon()) is False
        assert not made._has_work()
        collector.mode = Mode.healthy()
        collector.wait_for(1, timeout=soon() - time.monotonic())


def test_what_an_ended_process_left_in_a_file_beside_the_store_is_sent(sender, path):
    """Its own files were lost, and it went on there; one that still runs is left alone."""
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with Collector() as collector, contextlib.closing(Outbox(path)) as outbox:
        outbox.put(OutboxBatch(1, collector.url, collector.public_key, 1, body(span(1, 0, "in the store"))))
        for trace, suffix in enumerate((child.pid, f"{child.pid}-1"), 2):
            beside = path.with_name(f"traces-{suffix}.db")
            with contextlib.closing(Outbox(beside)) as other:
                other.put(
                    OutboxBatch(1, collector.url, collector.public_key, 1, body(span(trace, 0, f"in {beside.name}")))
                )
        assert sender(collector).flush(soon())
        assert ["in the store"] == [found.name for found in collector.spans()]
        child.communicate(b"")
        assert sender(collector).flush(soon())
        assert 3 == len({found.name for found in collector.spans()})
        assert 0 == adopt(path)


@pytest.mark.parametrize("first", ["hasten", "tick"])
def test_whoever_comes_before_its_start_makes_it_deaf_to_nothing(first, sender):
    """A sink that was added in the midst of a round, or a client that a forked child flushes before its first run."""
    with Collector() as collector:
        made = sender(collector)
        getattr(made, first)()
        deadline = soon()
        while not made._changed._waiters:
            assert time.monotonic() < deadline  # until its thread waits
        made.start()
        made.submit(body(span(1, 0)), 1)
        assert made.wait(soon(10))
        assert 1 == made.delivered


def test_who_settles_takes_no_lock(sender):
    """A time limit that struck where one was taken left it taken for good: the caller looks while another thread holds it."""
    with Collector(mode="silent") as collector:
        made = sender(collector)
        made.submit(body(span(1, 0)), 1)
        answers = []
        asker = threading.Thread(target=lambda: answers.append(made.settle(time.monotonic() + 0.1)), daemon=True)
        with made._changed:
            asker.start()
            asker.join(10)
        assert [False] == answers
