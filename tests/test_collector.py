"""The test server itself: what it decodes, and that each misbehaviour is what it says."""

import base64
import contextlib
import gzip
import http.client
import json
import socket
import threading

import pytest
from collector import TRACES_PATH, Collector, Mode
from langfuse import Langfuse, propagate_attributes
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from sdk_state import forget

AUTH = {"Authorization": "Basic " + base64.b64encode(b"pk:sk").decode()}


@pytest.fixture
def collector():
    with Collector() as collector:
        yield collector
        forget()


def export(collector, *spans, packed=False, timeout=10):
    """Send (name, span number, parent number) spans as OTLP; the answer's status."""
    body = otlp(*spans)
    headers = {**AUTH, "Content-Type": "application/x-protobuf"}
    if packed:
        body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
    return request(collector, "POST", TRACES_PATH, body, headers, timeout=timeout).status


def otlp(*spans):
    message = ExportTraceServiceRequest()
    scoped = message.resource_spans.add().scope_spans.add()
    for name, number, parent in spans:
        span = scoped.spans.add(name=name, trace_id=b"t" * 16, span_id=number.to_bytes(8, "big"))
        span.start_time_unix_nano, span.end_time_unix_nano = 1_000 + number, 2_000 - number
        if parent is not None:
            span.parent_span_id = parent.to_bytes(8, "big")
    return message.SerializeToString()


def request(collector, method, path, body=None, headers=AUTH, timeout=10):
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.content = answer.read()
        return answer


def connect(collector):
    return socket.create_connection(("127.0.0.1", collector.port), timeout=10)


GET = b"GET /api/public/health HTTP/1.1\r\nHost: x\r\n\r\n"


def test_langfuse_sdk(collector):
    """The real SDK finds the project, and its spans and scores arrive decoded and nested."""
    client = Langfuse(
        public_key=collector.public_key,
        secret_key=collector.secret_key,
        base_url=collector.url,
        tracer_provider=TracerProvider(),
        environment="testing",
    )
    assert client.auth_check()
    with (
        client.start_as_current_observation(name="outer", input={"a": 1}) as outer,
        propagate_attributes(session_id="session-1", tags=["x", "y"]),
        client.start_as_current_observation(name="inner", as_type="generation", model="m") as inner,
    ):
        inner.update(output="answer", usage_details={"input": 3})
        inner.score(name="quality", value=0.5)
    client.flush()

    spans = collector.wait_for(2, timeout=10)

    assert (("outer", "inner"),) == collector.tree()
    assert [] == collector.problems()
    assert [] == collector.duplicates
    assert [outer.id, inner.id] == [span.span_id for span in spans]
    assert {outer.trace_id} == {span.trace_id for span in spans}
    assert "langfuse-sdk" == spans[1].scope
    assert "generation" == spans[1].attributes["langfuse.observation.type"]
    assert {"input": 3} == json.loads(spans[1].attributes["langfuse.observation.usage_details"])
    assert "session-1" == spans[1].attributes["session.id"]
    assert ["x", "y"] == spans[1].attributes["langfuse.trace.tags"]
    assert "service.name" in spans[0].resource
    assert [("quality", 0.5)] == [(score["name"], score["value"]) for score in collector.scores()]


def test_tree_shows_siblings_in_order_and_orphans(collector):
    """The tree is nested names by start time; what has no parent here is named an orphan, and a problem."""
    export(collector, ("second", 3, 1), ("first", 2, 1), ("root", 1, None), packed=True)
    export(collector, ("lost", 9, 8))

    assert (("root", "first", "second"), "orphan: lost") == collector.tree()
    assert ["gzip", None] == [sent.headers.get("content-encoding") for sent in collector.exports()]
    assert ["lost is an orphan: its parent 0000000000000008 has not arrived"] == collector.problems()


def test_problems_names_times_outside_the_parent(collector):
    """A child that starts before its parent is a problem with figures."""
    export(collector, ("root", 5, None), ("early", 1, 5))

    assert ["early leaves its parent root: starts -4 ns after it, ends -4 ns before it"] == collector.problems()


def test_second_arrivals_are_duplicates(collector):
    """A span that is delivered twice stands once in spans and once in duplicates."""
    export(collector, ("a", 1, None))
    export(collector, ("a", 1, None), ("b", 2, 1))

    assert ["a", "b"] == [span.name for span in collector.spans()]
    assert ["a"] == [span.name for span in collector.duplicates]


def test_wait_for_says_what_is_missing(collector):
    """A wait that ends without the spans names those that are here."""
    export(collector, ("only", 1, None))

    with pytest.raises(TimeoutError, match="only"):
        collector.wait_for(2, timeout=0.01)


def test_credentials():
    """Without credentials the answer is 401; keys to insist on refuse every other pair."""
    with Collector() as collector:
        assert 200 == request(collector, "GET", "/api/public/projects").status
        assert 401 == request(collector, "GET", "/api/public/projects", headers={}).status
        assert 200 == request(collector, "GET", "/api/public/health", headers={}).status
    with Collector(keys=("pk", "other")) as collector:
        assert 401 == export(collector, ("a", 1, None))
        assert [] == collector.spans()


def test_connections_are_kept_open(collector):
    """One connection carries many requests."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)) as client:
        for _ in range(3):
            client.request("GET", "/api/public/health")
            assert b"OK" in client.getresponse().read()

    assert {1} == {request.connection for request in collector.requests}


def test_refuse_and_back(collector):
    """A refusing server cuts what is open and takes no connection; back again, it listens on the same port."""
    with connect(collector) as kept:
        kept.sendall(GET)
        assert kept.recv(4096)
        collector.mode = "refuse"
        assert b"" == kept.recv(4096)
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                connect(collector)

        collector.mode = "healthy"
        assert 200 == export(collector, ("a", 1, None))


def test_silent_reads_and_never_answers(collector):
    """A silent server takes the request; nothing comes back, and the spans are not received."""
    collector.mode = "silent"

    with pytest.raises(TimeoutError):
        export(collector, ("a", 1, None), timeout=0.05)

    assert ["a"] == [span.name for span in collector.exports()[0].spans]
    assert [] == collector.spans()


def test_trickle_sends_byte_after_byte(collector):
    """A trickling server answers well, in single bytes."""
    collector.mode = Mode.trickle(0.001)
    with connect(collector) as client:
        client.sendall(GET)
        first = client.recv(4096)
        whole = first + client.makefile("rb").read(len(b"HTTP/1.1 200 OK") - len(first))

    assert len(first) < 10
    assert b"HTTP/1.1 200 OK" == whole


def test_garbage_is_not_http(collector):
    """Garbage breaks an HTTP client."""
    collector.mode = "garbage"

    with pytest.raises(http.client.BadStatusLine):
        export(collector, ("a", 1, None))


def test_drop_breaks_off_in_the_answer(collector):
    """A dropped answer begins well and ends early; its spans are not received."""
    collector.mode = "drop"

    with pytest.raises(http.client.IncompleteRead):
        export(collector, ("a", 1, None))

    assert [] == collector.spans()


def test_redirect_leads_to_a_web_page(collector):
    """Every request is sent to a sign-in page that answers 200."""
    collector.mode = Mode.redirect(307)

    answer = request(collector, "POST", TRACES_PATH, otlp(("a", 1, None)))

    assert (307, f"{collector.url}/login") == (answer.status, answer.headers["Location"])
    assert b"Sign in" in request(collector, "GET", "/login").content
    assert [] == collector.spans()


def test_slow_answers_late(collector):
    """A slow server receives the spans after its delay."""
    collector.mode = Mode.slow(0.01)

    assert 200 == export(collector, ("a", 1, None))
    assert ["a"] == [span.name for span in collector.spans()]


def test_status_for_every_request(collector):
    """A status meets every endpoint; Retry-After travels with it; `times` ends it."""
    collector.mode = Mode.status(429, retry_after=2, times=2)

    assert 429 == export(collector, ("a", 1, None))
    answer = request(collector, "GET", "/api/public/projects")
    assert (429, "2") == (answer.status, answer.headers["Retry-After"])
    assert 200 == export(collector, ("a", 1, None))


def test_status_under_a_condition(collector):
    """413 above a size and 400 for a span's name leave everything else alone."""
    collector.mode = Mode.status(413, above_bytes=len(otlp(("small", 1, None))))
    assert 200 == export(collector, ("small", 1, None))
    assert 413 == export(collector, ("small", 1, None), ("more", 2, None), packed=True)

    collector.mode = Mode.status(400, span_named="poison")
    assert 400 == export(collector, ("good", 3, None), ("poison", 4, None))
    assert 200 == export(collector, ("good", 3, None))
    assert 200 == request(collector, "GET", "/api/public/projects").status


@pytest.mark.parametrize("mode", [Mode.silent(), Mode.trickle(3600), Mode.slow(3600)], ids=lambda mode: mode.kind)
def test_close_releases_stuck_threads(mode):
    """Closing ends conversations that would last for hours, and leaves no thread behind."""
    before = set(threading.enumerate())
    with Collector(mode) as collector, connect(collector) as client:
        client.sendall(GET)
        collector.wait_for(lambda collector: len(collector.requests) == 1)

    assert before == set(threading.enumerate())


def test_close_in_every_state():
    """A collector closes while it refuses, with an idle connection, and twice."""
    with Collector("refuse") as collector:
        collector.mode = "refuse"
    with Collector() as collector, connect(collector):
        collector.close()
    collector.close()


def test_nonsense_is_survived(collector):
    """What is not a request ends that connection only; a body that is no OTLP is answered with 400."""
    for nonsense in (b"\x16\x03\x01\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        with connect(collector) as client:
            client.sendall(nonsense)
            assert b"" == client.recv(4096)

    headers = {**AUTH, "Content-Type": "application/x-protobuf"}
    assert 400 == request(collector, "POST", TRACES_PATH, b"\xff\xff\xff", headers).status
