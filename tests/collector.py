"""A Langfuse server for tests: real sockets on the loopback, decoded spans, and misbehaviour on demand.

    with Collector() as collector:
        os.environ.update(collector.environ)  # or pass collector.url and the two keys
        ...
        collector.wait_for(4)
        assert collector.tree() == (("MyFlow", ("MyNode", "MyNode.prep", "MyNode.exec", "MyNode.post")),)
        assert collector.problems() == []
        collector.mode = Mode.status(503)

A batch of spans counts as received (`spans`, `tree`, `duplicates`) once it is answered with success. A batch that met a
misbehaviour stands in `requests` alone: whoever sent it must send it again.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import itertools
import json
import select
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, BinaryIO

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

__all__ = ["Collector", "Mode", "Request", "Seen"]

TRACES_PATH = "/api/public/otel/v1/traces"
MAX_BODY_BYTES = 256 * 1024 * 1024
_serial = itertools.count(1)


@dataclass(frozen=True)
class Mode:
    """How the server answers; made by the functions below, or by name for those that need no argument."""

    kind: str
    code: int = 200
    retry_after: float | None = None
    above_bytes: int | None = None
    span_named: str | None = None
    times: int | None = None
    seconds: float = 0.0

    @staticmethod
    def healthy() -> Mode:
        """Answer at once, and well."""
        return Mode("healthy")

    @staticmethod
    def refuse() -> Mode:
        """Stop listening and cut every connection; the port stays reserved."""
        return Mode("refuse")

    @staticmethod
    def silent() -> Mode:
        """Accept, read the request, never answer."""
        return Mode("silent")

    @staticmethod
    def trickle(seconds: float = 1.0) -> Mode:
        """Answer well, one byte every so many seconds."""
        return Mode("trickle", seconds=seconds)

    @staticmethod
    def slow(seconds: float) -> Mode:
        """Answer well, so many seconds late."""
        return Mode("slow", seconds=seconds)

    @staticmethod
    def garbage() -> Mode:
        """Answer with bytes that are not HTTP."""
        return Mode("garbage")

    @staticmethod
    def drop() -> Mode:
        """Close the connection in the middle of the answer."""
        return Mode("drop")

    @staticmethod
    def endless(code: int = 500) -> Mode:
        """Answer with this status and a body that does not end."""
        return Mode("endless", code=code)

    @staticmethod
    def redirect(code: int = 302) -> Mode:
        """Send every request to `/login`, which answers 200 with a web page, as a proxy before a server does."""
        return Mode("redirect", code=code)

    @staticmethod
    def status(
        code: int,
        *,
        retry_after: float | None = None,
        above_bytes: int | None = None,
        span_named: str | None = None,
        times: int | None = None,
    ) -> Mode:
        """Answer with this status.

        Args:
            code: the HTTP status.
            retry_after: seconds for the Retry-After header.
            above_bytes: only for batches of spans whose uncompressed body is larger.
            span_named: only for batches that hold a span of this name.
            times: only so often, healthy afterwards.
        """
        return Mode("status", code, retry_after, above_bytes, span_named, times)

    def applies_to(self, request: Request) -> bool:
        """Whether a status with a condition is meant for this request."""
        if self.above_bytes is None and self.span_named is None:
            return True
        if not request.is_export:
            return False
        if self.above_bytes is not None and request.body_bytes <= self.above_bytes:
            return False
        return self.span_named is None or any(span.name == self.span_named for span in request.spans)


@dataclass(frozen=True)
class Seen:
    """One span as it arrived; ids are hex, attributes are Python values."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    status_code: str
    status_message: str
    scope: str
    scope_attributes: dict[str, Any]
    resource: dict[str, Any]
    set_twice: tuple[str, ...] = ()
    """Keys that the span carried more than once, which OTLP forbids; the last value stands in `attributes`."""


@dataclass
class Request:
    """One request as it arrived, and what became of it."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    size: int
    """Bytes of the body on the wire."""
    time: float
    """`time.monotonic()` when the body was read."""
    connection: int
    """Number of the connection that carried it; equal numbers mean a connection that was kept open."""
    body: bytes = b""
    """The uncompressed body; left out for spans, which are decoded instead."""
    body_bytes: int = 0
    spans: tuple[Seen, ...] = ()
    status: int | None = None
    """The status that was sent, None while there is no answer or there will be none."""

    @property
    def is_export(self) -> bool:
        """Whether it delivers spans."""
        return self.method == "POST" and self.path.split("?")[0].endswith(TRACES_PATH)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class _Answer:
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}", f"Content-Type: {self.content_type}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body


class Collector:
    """A Langfuse server on the loopback, for the time of a `with` block; `mode` may be switched while it runs.

    Args:
        mode: how it behaves at first.
        keys: public and secret key to insist on; without them any pair is accepted, and their absence is answered with 401.
    """

    def __init__(self, mode: Mode | str = "healthy", *, keys: tuple[str, str] | None = None) -> None:
        # Langfuse keeps one client per public key and process, so each collector has a key of its own.
        self.public_key, self.secret_key = keys or (f"pk-lf-test-{next(_serial)}", "sk-lf-test")
        self.duplicates: list[Seen] = []
        self.requests: list[Request] = []
        self._insist = keys is not None
        self._spans: dict[tuple[str, str], Seen] = {}
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._connections: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._mode = Mode("healthy")
        self._times_left: int | None = None
        self._waker, self._wake = socket.socketpair()
        self._socket = self._bind(0)
        self.port: int = self._socket.getsockname()[1]
        self._socket.listen(128)
        self._listening = True
        self.mode = mode
        self._acceptor = threading.Thread(target=self._accept, name="collector", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The base URL that takes the place of `https://cloud.langfuse.com`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables that point a program here."""
        return {
            "LANGFUSE_PUBLIC_KEY": self.public_key,
            "LANGFUSE_SECRET_KEY": self.secret_key,
            "LANGFUSE_BASE_URL": self.url,
        }

    @property
    def mode(self) -> Mode:
        """How requests are answered from now on; one that is being answered keeps its mode, unless it is cut by refuse."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode | str) -> None:
        if isinstance(mode, str):
            mode = getattr(Mode, mode)()
        with self._changed:
            self._mode, self._times_left = mode, mode.times
            if mode.kind == "refuse" and self._listening:
                _close(self._socket)
                # Bound and not listening: the kernel refuses, and nobody else can take the port meanwhile.
                self._socket = self._bind(self.port)
                self._listening = False
                self._cut_connections()
            elif mode.kind != "refuse" and not self._listening:
                self._socket.listen(128)
                self._listening = True
            self._wake.send(b"x")
            self._changed.notify_all()

    def close(self) -> None:
        """Stop, release every thread at once, and wait for them."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._changed:
            self._listening = False
            self._wake.send(b"x")
            self._cut_connections()
            self._changed.notify_all()
        self._acceptor.join(10)
        for sock in (self._socket, self._waker, self._wake):
            _close(sock)
        for thread in self._threads:
            thread.join(10)
        assert not [thread for thread in (self._acceptor, *self._threads) if thread.is_alive()]

    # What arrived

    def spans(self) -> list[Seen]:
        """Every span that was received, once, by start time."""
        with self._changed:
            return sorted(self._spans.values(), key=lambda span: (span.start_ns, span.end_ns, span.name))

    def exports(self) -> list[Request]:
        """The requests that delivered spans, or tried to."""
        with self._changed:
            return [request for request in self.requests if request.is_export]

    def scores(self) -> list[dict[str, Any]]:
        """The scores that were accepted, from either of the endpoints that take them."""
        with self._changed:
            posted = [
                request for request in self.requests if request.method == "POST" and request.status in {200, 202, 207}
            ]
        found = []
        for request in posted:
            if request.path.endswith("/api/public/scores"):
                found += request.json if isinstance(request.json, list) else [request.json]
            elif request.path.endswith("/api/public/ingestion"):
                found += [event["body"] for event in request.json["batch"] if event["type"] == "score-create"]
        return found

    def tree(self, trace_id: str | None = None) -> tuple[Any, ...]:
        """The names of the received spans as nested tuples, siblings by start time: a name, or (name, child, …).

        A span whose parent has not arrived stands at the top as "orphan: name".
        """
        spans = [span for span in self.spans() if trace_id in {None, span.trace_id}]
        known = {(span.trace_id, span.span_id) for span in spans}
        children: dict[tuple[str, str | None], list[Seen]] = {}
        for span in spans:
            children.setdefault((span.trace_id, span.parent_id), []).append(span)

        def picture(span: Seen, prefix: str = "") -> Any:
            below = [picture(child) for child in children.get((span.trace_id, span.span_id), [])]
            return (prefix + span.name, *below) if below else prefix + span.name

        roots = [span for span in spans if (span.trace_id, span.parent_id) not in known]
        return tuple(picture(span, "" if span.parent_id is None else "orphan: ") for span in roots)

    def problems(self) -> list[str]:
        """What is wrong with the received spans, a sentence each: bad ids, orphans, no end, children outside their parent's times."""
        by_id = {(span.trace_id, span.span_id): span for span in self.spans()}
        found = []
        for span in by_id.values():
            if (len(span.trace_id), len(span.span_id)) != (32, 16):
                found.append(f"{span.name} has malformed ids: {span.trace_id!r} {span.span_id!r}")
            if span.set_twice:
                found.append(f"{span.name} sets attributes twice: {', '.join(span.set_twice)}")
            if span.end_ns < span.start_ns or span.start_ns <= 0:
                found.append(f"{span.name} has no end: {span.start_ns} to {span.end_ns}")
            if span.parent_id is None:
                continue
            parent = by_id.get((span.trace_id, span.parent_id))
            if parent is None:
                found.append(f"{span.name} is an orphan: its parent {span.parent_id} has not arrived")
            elif not parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns:
                found.append(
                    f"{span.name} leaves its parent {parent.name}: starts {span.start_ns - parent.start_ns} ns after it, "
                    f"ends {parent.end_ns - span.end_ns} ns before it"
                )
        return found

    def wait_for(self, what: int | Callable[[Collector], bool], timeout: float = 10.0) -> list[Seen]:
        """Wait until so many different spans have arrived, or until the predicate on the collector holds.

        Raises:
            TimeoutError: it did not happen within `timeout` seconds; the message says what is here.
        """

        def there() -> bool:
            return len(self._spans) >= what if isinstance(what, int) else what(self)

        with self._changed:
            if not self._changed.wait_for(there, timeout):
                raise TimeoutError(
                    f"waited {timeout} s for {what}; {len(self._spans)} spans are here: {self.tree()}; "
                    f"requests: {[(request.path, request.status) for request in self.requests]}"
                )
            return self.spans()

    def clear(self) -> None:
        """Forget what arrived so far."""
        with self._changed:
            self.requests.clear()
            self.duplicates.clear()
            self._spans.clear()

    # Serving

    @staticmethod
    def _bind(port: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.setblocking(False)
        return sock

    def _cut_connections(self) -> None:
        for connection in self._connections.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        for number in itertools.count(1):
            connection = self._next_connection()
            if connection is None:
                return
            connection.setblocking(True)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(
                target=self._serve, args=(number, connection), name=f"collector-{number}", daemon=True
            )
            with self._changed:
                if self._closing.is_set() or not self._listening:
                    _close(connection)
                    continue
                self._connections[number] = connection
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                thread.start()
                self._threads.append(thread)

    def _next_connection(self) -> socket.socket | None:
        """The next client, or None when the collector closes."""
        while not self._closing.is_set():
            with self._changed:
                sources = [self._waker, self._socket] if self._listening else [self._waker]
            # The listening socket may be closed under the call by another thread; the waker ends the wait then.
            with contextlib.suppress(OSError, ValueError):
                ready, _, _ = select.select(sources, [], [])
                if self._waker in ready:
                    self._waker.recv(4096)
                elif ready:
                    return ready[0].accept()[0]
        return None

    def _serve(self, number: int, connection: socket.socket) -> None:
        try:
            # A client that goes away, or a collector that closes, or nonsense, ends the conversation wherever it stands.
            with contextlib.suppress(OSError, ValueError), connection.makefile("rb") as stream:
                while (request := _read(stream, number)) is not None:
                    with self._changed:
                        self.requests.append(request)
                        mode = self._mode_for(request)
                        self._changed.notify_all()
                    if not self._respond(connection, request, mode):
                        return
        finally:
            with self._changed:
                del self._connections[number]
            _close(connection)

    def _mode_for(self, request: Request) -> Mode:
        if not self._mode.applies_to(request) or (self._mode.kind == "redirect" and request.path == "/login"):
            return Mode("healthy")
        if self._times_left is not None:
            if self._times_left <= 0:
                return Mode("healthy")
            self._times_left -= 1
        return self._mode

    def _respond(self, connection: socket.socket, request: Request, mode: Mode) -> bool:
        """Answer; False when the connection is to be closed."""
        if mode.kind == "refuse":
            return False
        if mode.kind == "silent":
            while connection.recv(4096):
                pass
            return False
        if mode.kind == "garbage":
            connection.sendall(b"\x16\x03\x00SSH-2.0-\xff\xfe not what you expect\r\n\r\n")
            return False
        if mode.kind == "drop":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{")
            return False
        if mode.kind == "endless":
            connection.sendall(
                f"HTTP/1.1 {mode.code} {_phrase(mode.code)}\r\nContent-Length: {10**12}\r\n\r\n".encode()
            )
            while not self._closing.is_set():
                connection.sendall(b"x" * 65_536)
            return False
        if mode.kind == "slow" and self._closing.wait(mode.seconds):
            return False
        answer = self._answer(request, mode)
        data = answer.to_bytes()
        if mode.kind == "trickle":
            for byte in data[:-1]:
                connection.sendall(bytes([byte]))
                if self._closing.wait(mode.seconds):
                    return False
            data = data[-1:]
        # Before the last byte is sent, so that whoever has read the answer finds the spans here.
        with self._changed:
            request.status = answer.status
            if request.is_export and answer.status == HTTPStatus.OK:
                self._receive(request)
            self._changed.notify_all()
        connection.sendall(data)
        return "close" not in request.headers.get("connection", "")

    def _receive(self, request: Request) -> None:
        for span in request.spans:
            key = (span.trace_id, span.span_id)
            if key in self._spans:
                self.duplicates.append(span)
            else:
                self._spans[key] = span

    def _answer(self, request: Request, mode: Mode) -> _Answer:
        if mode.kind == "status":
            after = {} if mode.retry_after is None else {"Retry-After": f"{mode.retry_after:g}"}
            return _Answer(mode.code, _json({"message": _phrase(mode.code)}), headers=after)
        if mode.kind == "redirect":
            return _Answer(mode.code, headers={"Location": f"{self.url}/login"})
        path = request.path.split("?")[0]
        if path == "/login":
            return _Answer(200, b"<html><body>Sign in</body></html>", "text/html")
        if path.endswith("/api/public/health"):
            return _Answer(200, _json({"status": "OK", "version": "4.16.0"}))
        if not self._is_authorized(request):
            return _Answer(401, _json({"error": "Unauthorized", "message": "Invalid credentials"}))
        if request.is_export:
            if "protobuf" not in request.headers.get("content-type", ""):
                return _Answer(415, _json({"message": "this collector reads protobuf only"}))
            if request.body_bytes and not request.spans:
                return _Answer(400, _json({"message": "not an ExportTraceServiceRequest, or one without spans"}))
            return _Answer(200, content_type="application/x-protobuf")
        if request.method == "GET" and path.endswith("/api/public/projects"):
            organization = {"id": "org-1", "name": "Test"}
            project = {"id": "proj-1", "name": "test", "organization": organization, "metadata": {}}
            return _Answer(200, _json({"data": [project]}))
        if request.method == "POST" and path.endswith("/api/public/scores"):
            # One score is answered with its id, a list of them with "Accepted".
            if isinstance(request.json, list):
                return _Answer(202, _json({"message": "Accepted"}))
            return _Answer(200, _json({"id": request.json.get("id") or "score-1"}))
        if request.method == "POST" and path.endswith("/api/public/ingestion"):
            events = [{"id": event["id"], "status": 201} for event in request.json["batch"]]
            return _Answer(207, _json({"successes": events, "errors": []}))
        return _Answer(404, _json({"message": f"nothing at {path}"}))

    def _is_authorized(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        pair = base64.b64decode(token).decode()
        return pair == f"{self.public_key}:{self.secret_key}" if self._insist else ":" in pair


def _read(stream: BinaryIO, connection: int) -> Request | None:
    """Read one request; None when the client is gone or does not speak HTTP."""
    first = stream.readline(65_536).decode("latin-1").split()
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while line := stream.readline(65_536).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        wire = b"".join(_chunks(stream))
    else:
        length = min(int(headers.get("content-length", "0")), MAX_BODY_BYTES)
        wire = stream.read(length)
        if len(wire) < length:
            return None
    request = Request(first[0], first[1], headers, len(wire), time.monotonic(), connection)
    try:
        body = gzip.decompress(wire) if headers.get("content-encoding") == "gzip" else wire
    except (OSError, EOFError, zlib.error):
        body = wire
    request.body_bytes = len(body)
    if request.is_export:
        request.spans = tuple(_decode(body))
    else:
        request.body = body
    return request


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while size := int(stream.readline().split(b";")[0], 16):
        yield stream.read(size)
        stream.readline()
    stream.readline()


def _decode(body: bytes) -> Iterator[Seen]:
    """The spans of an OTLP request; none when it is not one."""
    message = ExportTraceServiceRequest()
    try:
        message.ParseFromString(body)
    except Exception:  # the error's type depends on the protobuf implementation
        return
    for group in message.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_spans:
            scope_attributes = _attributes(scoped.scope.attributes)
            for span in scoped.spans:
                yield Seen(
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex() or None,
                    name=span.name,
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    set_twice=tuple(
                        key for key, count in Counter(pair.key for pair in span.attributes).items() if count > 1
                    ),
                    status_code=("UNSET", "OK", "ERROR")[span.status.code],
                    status_message=span.status.message,
                    scope=scoped.scope.name,
                    scope_attributes=scope_attributes,
                    resource=resource,
                )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)


def _close(sock: socket.socket) -> None:
    # shutdown() reaches copies of the descriptor in forked children too, and wakes a thread that reads from it.
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class MediaCollector(Collector):
    """A Langfuse server with media storage.

    `fails` maps "POST", "PUT" or "PATCH" to the status that it is answered with.
    """

    def __init__(self, mode: Mode | str | None = None) -> None:
        self.fails: dict[str, int] = {}
        self.stored: dict[str, bytes] = {}
        self.asked: list[dict[str, Any]] = []
        self.patched: list[tuple[str, dict[str, Any]]] = []
        self.put_headers: list[dict[str, str]] = []
        super().__init__(mode or Mode.healthy())

    def _answer(self, request: Any, mode: Any) -> _Answer:
        path = request.path
        if "media" not in path and "/upload/" not in path:
            return super()._answer(request, mode)
        if request.method in self.fails:
            return _Answer(self.fails[request.method], _json({"message": "no"}))
        if request.method == "POST":
            if not self._is_authorized(request):
                return _Answer(401)
            self.asked.append(request.json)
            name = request.json["sha256Hash"].replace("+", "-").replace("/", "_")[:22]
            there = name in self.stored
            return _Answer(201, _json({"mediaId": name, "uploadUrl": None if there else f"{self.url}/upload/{name}"}))
        if request.method == "PUT":
            self.put_headers.append(request.headers)
            self.stored[path.rpartition("/")[2]] = request.body
            return _Answer(200)
        self.patched.append((path.rpartition("/")[2], request.json))
        return _Answer(200, b"{}")
