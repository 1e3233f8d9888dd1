"""A server that takes spans and counts them: OTLP over HTTP, and the ingestion API that Langfuse had before.

It runs in a process of its own and needs the standard library only. Bodies are put aside as they come and read when somebody
asks, so that counting costs the measured process nothing. It has no limit of size and never refuses anything.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

OTLP = "/traces"


class Collector:
    """A collector process, seen from the outside.

    Args:
        port: where it listens; 0 takes a free one.
        late: seconds that it lets every request with spans wait for its answer.
    """

    def __init__(self, port: int = 0, late: float = 0.0) -> None:
        self.port = port or free_port()
        self.late = late
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Collector:  # noqa: PYI034 - nobody derives from it
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self._process = subprocess.Popen([sys.executable, __file__, "--port", str(self.port), "--late", str(self.late)])
        for _ in range(200):
            with contextlib.suppress(OSError):
                ask(self.url, "/_/totals")
                return
            time.sleep(0.05)
        raise RuntimeError("the collector did not start")

    def stop(self) -> None:
        """End the process; what it has received is forgotten."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def ask(url: str, path: str, timeout: float = 300.0) -> Any:
    """Ask a collector: "/_/totals" {"bytes", "requests"}, "/_/ids" the span ids since the last "/_/forget"."""
    with urllib.request.urlopen(url + path, timeout=timeout) as response:
        return json.load(response)


class _Received:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.requests = 0
        self.bytes = 0
        self.unread: list[tuple[Path, bool, bool]] = []
        self.ids: dict[str, int] = {}

    def put(self, body: bytes, *, zipped: bool, otlp: bool) -> None:
        with self.lock:
            self.requests += 1
            self.bytes += len(body)
            path = self.folder / str(self.requests)
        path.write_bytes(body)
        with self.lock:
            self.unread.append((path, zipped, otlp))

    def read(self) -> None:
        with self.lock:
            for path, zipped, otlp in self.unread:
                body = path.read_bytes()
                path.unlink()
                if zipped:
                    body = gzip.decompress(body)
                for span_id in spans_of(body) if otlp else observations_of(body):
                    self.ids[span_id] = self.ids.get(span_id, 0) + 1
            self.unread.clear()

    def forget(self) -> None:
        with self.lock:
            for path, _, _ in self.unread:
                path.unlink()
            self.unread.clear()
            self.ids.clear()


def spans_of(body: bytes) -> Iterator[str]:
    """The span ids of an ExportTraceServiceRequest, without building its messages: resource_spans, scope_spans, spans, span_id."""
    view = memoryview(body)
    for resource in _field(view, 1):
        for scope in _field(resource, 2):
            for span in _field(scope, 2):
                for span_id in _field(span, 2):
                    yield span_id.hex()


def _field(message: memoryview, wanted: int) -> Iterator[memoryview]:
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 2:
            size, at = _varint(message, at)
            if tag >> 3 == wanted:
                yield message[at : at + size]
            at += size
        elif kind == 0:
            _, at = _varint(message, at)
        else:
            at += 8 if kind == 1 else 4


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def observations_of(body: bytes) -> Iterator[str]:
    """The observations that a request to the old ingestion API makes."""
    for event in json.loads(body)["batch"]:
        if event["type"] in {"span-create", "generation-create", "observation-create"}:
            yield event["body"]["id"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    received: _Received
    late = 0.0

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        zipped = self.headers.get("Content-Encoding") == "gzip"
        path = self.path.partition("?")[0]
        time.sleep(self.late)
        if path.endswith(OTLP):
            self.received.put(body, zipped=zipped, otlp=True)
            self._answer(200, b"", "application/x-protobuf")
        elif path.endswith("/api/public/ingestion"):
            self.received.put(body, zipped=zipped, otlp=False)
            events = json.loads(gzip.decompress(body) if zipped else body)["batch"]
            done = [{"id": event["id"], "status": 201} for event in events]
            self._answer(207, json.dumps({"successes": done, "errors": []}).encode())
        else:
            self._answer(200, b"{}")

    def do_GET(self) -> None:
        received = self.received
        if self.path == "/_/totals":
            self._answer(200, json.dumps({"bytes": received.bytes, "requests": received.requests}).encode())
        elif self.path == "/_/ids":
            received.read()
            self._answer(200, json.dumps(received.ids).encode())
        elif self.path == "/_/forget":
            received.forget()
            self._answer(200, b"{}")
        elif self.path.endswith("/api/public/projects"):
            project = {"id": "benchmark", "name": "benchmark", "organization": {"id": "o", "name": "o"}, "metadata": {}}
            self._answer(200, json.dumps({"data": [project]}).encode())
        else:
            self._answer(200, json.dumps({"status": "OK", "version": "4.16.0"}).encode())

    def _answer(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the standard library
        """Say nothing."""


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--late", type=float, default=0.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="collector-", ignore_cleanup_errors=True) as folder:
        _Handler.received = _Received(Path(folder))
        _Handler.late = arguments.late
        ThreadingHTTPServer.daemon_threads = True
        ThreadingHTTPServer.request_queue_size = 64
        server = ThreadingHTTPServer(("127.0.0.1", arguments.port), _Handler)
        import signal

        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever()


if __name__ == "__main__":
    main()
