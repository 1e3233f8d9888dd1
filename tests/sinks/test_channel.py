"""Requests of ours: bounded, unheard in the host's log, through the host's certificates and proxies, on sockets of ours only."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from types import FunctionType
from unittest import mock

import httpcore
import httpx
import pytest
from collector import Collector, Mode
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from pocketflow_tracing import TracingConfig
from pocketflow_tracing.sinks import _channel, _http
from pocketflow_tracing.sinks._channel import _MOST_READ, Channel, Reply
from pocketflow_tracing.sinks._http import _judge, post, preload
from pocketflow_tracing.sinks._replaced import mocked, replaced_by
from pocketflow_tracing.sinks._scores import PATH as SCORES_PATH
from pocketflow_tracing.sinks.probe import probe

SCORE = b'{"traceId": "t", "name": "n", "value": 1}'


@contextlib.contextmanager
def server(serve, context=None):
    """A server on the loopback: `serve` gets each connection, on a thread of its own, after its request's head was read."""
    listening = socket.create_server(("127.0.0.1", 0))
    closing = threading.Event()

    def handle(connection):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
                stack.callback(connection.close)
            serve(connection, closing)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=handle, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        closing.set()
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def head_of(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(65536)
        if not more:
            return b""
        head += more
    return head


@contextlib.contextmanager
def channel(timeout=5.0):
    made = Channel(timeout)
    try:
        yield made
    finally:
        made.close()


def config_for(port, scheme="http", **settings):
    return TracingConfig(
        langfuse_public_key="pk-lf-1",
        langfuse_secret_key="sk-lf-1",
        langfuse_host=f"{scheme}://127.0.0.1:{port}",
        store="off",
        **settings,
    ).resolved()


@pytest.mark.parametrize("code", [200, 500])
def test_an_endless_answer_is_not_read_to_its_end(code):
    """A server that sends without end is heard for some kB: no memory grows, and the thread is free at once."""

    def endless(connection, closing):
        head_of(connection)
        connection.sendall(f"HTTP/1.1 {code} So\r\nContent-Length: 1000000000\r\n\r\n".encode())
        while not closing.is_set():
            connection.sendall(b"x" * 65536)

    with server(endless) as port, channel() as made:
        tracemalloc.start()
        try:
            began = time.monotonic()
            reply = made.request("POST", f"http://127.0.0.1:{port}/", b"", {})
            took = time.monotonic() - began
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (code, _MOST_READ) == (reply.status, len(reply.body))
        assert peak < 8 * 1024 * 1024
        assert took < 3.0


def test_a_compressed_answer_is_not_unpacked():
    """The server is asked for plain bytes, and what it compresses all the same is left as it is."""

    def bomb(connection, _):
        assert b"accept-encoding: identity" in head_of(connection).lower()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08")

    with server(bomb) as port, channel() as made:
        assert b"\x1f\x8b\x08" == made.request("GET", f"http://127.0.0.1:{port}/", b"", {}).body


@pytest.mark.parametrize("what", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_a_trickling_answer_can_be_cut(what):
    """An answer that comes byte by byte, in its head or its body, ends when its time is over."""

    def trickle(connection, closing):
        head_of(connection)
        connection.sendall(what)
        while not closing.wait(0.05):
            connection.sendall(b"x")

    with server(trickle) as port, channel(0.3) as made:
        done = threading.Event()
        failed = []

        def ask():
            try:
                made.request("POST", f"http://127.0.0.1:{port}/", b"", {})
            except httpx.HTTPError as error:
                failed.append(error)
            done.set()

        threading.Thread(target=ask, daemon=True).start()
        assert not done.wait(0.4)
        made.cut_if_late()
        assert not done.is_set()  # its steps may take 0.3 s each
        deadline = time.monotonic() + 10
        while not done.wait(0.05) and time.monotonic() < deadline:
            made.cut_if_late()
        assert [httpx.ReadTimeout] == [type(error) for error in failed]


def test_a_request_over_a_socket_of_another_kind_can_be_cut(monkeypatch):
    """As eventlet's, which stands in the place of Python's: what its class does not have each of them has."""

    class Green:
        def __init__(self, sock):
            self.fileno, self.shutdown = sock.fileno, sock.shutdown

    near, far = socket.socketpair()
    with near, far, channel() as made:
        monkeypatch.setattr(socket, "socket", Green)
        made._sockets, made._late_at = [(Green(near), None)], 0.0
        made.cut()
        assert b"" == far.recv(1)


def test_the_hosts_log_hears_nothing_of_our_requests(caplog):
    """With the root at DEBUG, our requests add no line, and the host's own use of httpx still does."""
    for name in (None, "httpx", "httpcore"):  # other packages set levels of their own
        caplog.set_level(logging.DEBUG, name)
    with Collector() as collector:
        config = config_for(collector.port)
        with channel() as made:
            assert "accepted" == post(made, config, SCORE).outcome
        ours = [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))]
        assert ours == []
        httpx.get(f"{collector.url}/api/public/health")
    theirs = {record.name for record in caplog.records}
    assert {"httpx", "httpcore.http11"} <= theirs


def test_a_record_factory_of_the_hosts_is_not_asked_for_our_requests(caplog):
    """One that wants the request being served fails on our thread: it came before the server was asked, or after it had taken all."""
    for name in (None, "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    before = logging.getLogRecordFactory()

    def factory(*args, **kwargs):
        raise LookupError("no request here")

    logging.setLogRecordFactory(factory)
    try:
        with Collector() as collector, channel() as made:
            assert "accepted" == post(made, config_for(collector.port), SCORE).outcome
            with pytest.raises(LookupError):
                httpx.get(f"{collector.url}/api/public/health")
    finally:
        logging.setLogRecordFactory(before)


def test_a_number_that_was_taken_is_left_alone(tmp_path):
    """After `os.closerange` the number of our socket may be the host's file: nothing is written to it, and it stays open."""
    with Collector() as collector, channel() as made:
        config = config_for(collector.port)
        assert "accepted" == post(made, config, SCORE).outcome
        ((sock, _),) = made._sockets
        taken = sock.fileno()
        left, right = socket.socketpair()
        theirs = os.dup2(left.fileno(), taken)  # closes ours, as `os.closerange` would
        right.setblocking(False)
        try:
            assert "accepted" == post(made, config, SCORE).outcome
            made.close()
            with pytest.raises(BlockingIOError):
                right.recv(1)
            os.fstat(theirs)
            assert 2 == len([request for request in collector.requests if request.path == SCORES_PATH])
        finally:
            os.close(theirs)
            left.close()
            right.close()


def test_a_socket_closed_under_a_request_is_not_closed_again():
    """A request whose socket the host closed and whose number it took fails, and the host's file stays open."""
    with Collector(Mode.silent()) as collector, channel(0.5) as made:
        done = threading.Event()
        answers = []

        def ask():
            answers.append(post(made, config_for(collector.port), SCORE))
            done.set()

        threading.Thread(target=ask, daemon=True).start()
        collector.wait_for(lambda collector: len(collector.requests) == 1)
        ((sock, _),) = made._sockets
        taken = sock.fileno()
        left, right = socket.socketpair()
        os.dup2(left.fileno(), taken)
        try:
            assert done.wait(10)
            assert "later" == answers[0].outcome
            os.fstat(taken)
        finally:
            os.close(taken)
            left.close()
            right.close()


def test_a_kept_connection_that_the_server_closed_is_no_outage():
    """A request that ends without a byte of an answer where a former one was answered goes once more, on a new connection."""
    heads = []

    def closes_before_the_second(connection, _):
        for number in range(2):
            heads.append(head_of(connection))
            if number == 0:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with server(closes_before_the_second) as port, channel() as made:
        assert [b"{}"] * 3 == [made.request("GET", f"http://127.0.0.1:{port}/", b"", {}).body for _ in range(3)]
        assert 5 == len(heads)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}"])
def test_a_new_connection_that_ends_is_not_tried_again(answer):
    """A server that closes a new connection, or ends in the middle of its answer on any, gets each request once."""
    heads = []

    def breaks_off(connection, _):
        heads.append(head_of(connection))
        if answer and len(heads) == 1:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            heads.append(head_of(connection))
        connection.sendall(answer)

    with server(breaks_off) as port, channel() as made:
        if answer:
            made.request("GET", f"http://127.0.0.1:{port}/", b"", {})
        with pytest.raises(httpx.HTTPError):
            made.request("GET", f"http://127.0.0.1:{port}/", b"", {})
        assert (2 if answer else 1) == len(heads)


# --- certificates and proxies ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority of one's own, and a certificate for 127.0.0.1 that it signed."""
    folder = tmp_path_factory.mktemp("ca")

    def openssl(*arguments):
        try:
            subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)
        except FileNotFoundError:
            pytest.skip("no openssl here")

    new = ("-newkey", "rsa:2048", "-nodes", "-subj")
    (folder / "ca.ext").write_text(
        "[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\n"
        "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
    )
    openssl(
        "req", "-x509", "-config", "ca.ext", *new, "/CN=Own CA", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"
    )
    openssl("req", "-config", "ca.ext", *new, "/CN=127.0.0.1", "-keyout", "server.key", "-out", "server.csr")
    (folder / "ext").write_text(
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:false\nauthorityKeyIdentifier=keyid\n"
    )
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "ext", "-out", "server.pem")  # fmt: skip
    (folder / "folder").mkdir()
    shutil.copy(folder / "ca.pem", folder / "folder")
    openssl("rehash", "folder")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return folder / "ca.pem", context


def answers_well(connection, _):
    while head := head_of(connection):
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = head.split(b"\r\n\r\n", 1)[1]
        while len(body) < length:
            body += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    "name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "REQUESTS_CA_BUNDLE"]
)
def test_an_own_certificate_authority(name, authority, monkeypatch):
    """A server whose certificate an own authority signed is trusted when the environment names it; doctor goes that way."""
    certificate, context = authority
    for other in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(other, raising=False)
    with server(answers_well, context) as port:
        config = config_for(port, "https")
        said = probe(config).detail
        assert "cannot be reached: its certificate is not trusted (" in said
        assert "for a certificate authority of your own, set SSL_CERT_FILE, SSL_CERT_DIR or REQUESTS_CA_BUNDLE" in said
        monkeypatch.setenv(name, str(certificate.parent / "folder" if name.endswith("DIR") else certificate))
        assert probe(config).ok, probe(config).detail
        with channel() as made:
            assert "accepted" == post(made, config, SCORE).outcome


def test_a_certificate_for_another_host(authority, monkeypatch):
    """It is called what it is: no authority of one's own would help."""
    certificate, context = authority
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server(answers_well, context) as port:
        said = probe(replace(config_for(port), langfuse_host=f"https://localhost:{port}")).detail
    assert said.startswith(f"https://localhost:{port} cannot be reached: its certificate is not trusted (")
    assert "localhost" in said.partition("trusted")[2]
    assert "authority" not in said


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("http://127.0.0.1:9", "the connection was refused"),
        ("http://nope.invalid", "its name does not resolve"),
        ("https://{plain}", "there is no TLS with it"),
        ("http://{closes}", "it gives no answer in HTTP"),
    ],
)
def test_why_a_server_cannot_be_reached(host, why):
    """A refused connection, a name that is none and a wrong protocol are told apart."""

    def closes(connection, _):
        head_of(connection)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):  # what is not read would be answered by a reset
            pass

    def answers(connection, _):
        connection.recv(1)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with server(closes) as silent, server(answers) as plain:
        host = host.format(closes=f"127.0.0.1:{silent}", plain=f"127.0.0.1:{plain}")
        said = probe(replace(config_for(9), langfuse_host=host)).detail
    assert said.startswith(f"{host} cannot be reached: {why}")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_cannot_be_reached(scheme, monkeypatch):
    """The proxy is named as what cannot be reached, with its settings, without the password that stands in them."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{scheme}_proxy", "http://user:hunter2@127.0.0.1:9")
    said = probe(config_for(10, scheme)).detail
    assert said == (
        f"the proxy on the way to {scheme}://127.0.0.1:10 cannot be reached: the connection was refused; "
        "check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
    )


def test_a_server_behind_a_proxy_that_cannot_be_trusted(proxy, authority, monkeypatch):
    """What fails past a tunnel is the server's, not the proxy's."""
    url, _ = proxy
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", url)
    with server(answers_well, authority[1]) as port:
        said = probe(config_for(port, "https")).detail
    assert said.startswith(f"https://127.0.0.1:{port} cannot be reached: its certificate is not trusted")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/no/such/file"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no"),
        ("REQUESTS_CA_BUNDLE", "/no"),
        ("HTTPS_PROXY", "nonsense://x"),
        ("NO_PROXY", "[::bad"),
    ],
)
def test_bad_settings_are_named(name, value, monkeypatch):
    """A certificate file or proxy that cannot be used is a reason to wait that names the settings, and stops nothing else."""
    monkeypatch.setenv(name, value)
    preload.cache_clear()
    preload()
    answer = probe(config_for(9))
    assert not answer.ok
    assert name.replace("OTLP_CERT", "OTLP_TRACES_CERT") in answer.detail


@pytest.fixture
def proxy():
    """A proxy that passes on what it is asked for, and remembers it."""
    asked = []

    def serve(connection, _):
        head = head_of(connection)
        method, target = head.split()[:2]
        asked.append((method.decode(), target.decode()))
        address = target if method == b"CONNECT" else target.split(b"/")[2]
        host, port = address.decode().split(":")
        with socket.create_connection((host, int(port))) as onward:
            if method == b"CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                path = b"/" + target.split(b"/", 3)[3]
                onward.sendall(head.replace(target, path, 1))
            back = threading.Thread(target=pump, args=(onward, connection), daemon=True)
            back.start()
            pump(connection, onward)
            back.join(5)

    with server(serve) as port:
        yield f"http://127.0.0.1:{port}", asked


def pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_a_proxy_for_https(proxy, authority, monkeypatch):
    """HTTPS_PROXY carries the export and the doctor's span; NO_PROXY takes a host out of it."""
    url, asked = proxy
    certificate, context = authority
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", url)
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with server(answers_well, context) as port:
        config = config_for(port, "https")
        with channel() as made:
            assert "accepted" == post(made, config, SCORE).outcome
        assert probe(config).ok
        assert [("CONNECT", f"127.0.0.1:{port}")] * 2 == asked
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert probe(config).ok
        assert 2 == len(asked)


def test_a_proxy_for_http(proxy, monkeypatch):
    """HTTP_PROXY carries requests to a server without TLS."""
    url, asked = proxy
    monkeypatch.setenv("HTTP_PROXY", url)
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Collector() as collector:
        assert probe(config_for(collector.port)).ok
        assert 1 == len(collector.spans())
        assert [("POST", f"{collector.url}/api/public/otel/v1/traces")] == asked


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password_refuses_no_spans(scheme, monkeypatch):
    """They are sent once its settings are mended, which is said; not the password that stands in them."""

    def wants_a_password(connection, _):
        head_of(connection)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    with server(wants_a_password) as port, channel() as made:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://user:hunter2@127.0.0.1:{port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        answer = post(made, config_for(9, scheme), SCORE)
    assert answer.outcome == "later"
    assert answer.reason.startswith("the proxy on the way to")
    assert "HTTPS_PROXY" in answer.reason
    assert "hunter2" not in answer.reason


def test_a_trickling_server_does_not_hold_the_doctor():
    """The doctor's request ends as well when its time is over."""
    with Collector(Mode.trickle(0.05)) as collector:
        began = time.monotonic()
        answer = probe(config_for(collector.port, timeout=0.2))
        assert not answer.ok
        assert time.monotonic() - began < 10


def answered(content_type, body):
    return _judge(Reply(200, httpx.Headers({"content-type": content_type}), body), config_for(9), "spans")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("application/json", b"[]"),
        ("application/json", b"no json"),
        ("application/json", b'{"partialSuccess": {"errorMessage": "a warning"}}'),
        ("application/json", b'{"partialSuccess": {"rejectedSpans": 1e999}}'),
        ("application/json", b'{"partialSuccess": {"rejectedSpans": -1}}'),
        ("application/x-protobuf", b""),
        ("application/x-protobuf", b"\xff no message"),
        ("text/plain", b"OK"),
        ("", b""),
    ],
)
def test_an_answer_of_200_is_a_delivery(content_type, body):
    """Whatever else it says, if it does not say that something was left out."""
    assert answered(content_type, body).outcome == "accepted"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json; charset=utf-8", b'{"partialSuccess": {"rejectedSpans": "5", "errorMessage": "too old"}}'),
        (
            "application/x-protobuf",
            ExportTraceServiceResponse(
                partial_success=ExportTracePartialSuccess(rejected_spans=5, error_message="too old")
            ).SerializeToString(),
        ),
    ],
)
def test_a_partial_success_is_no_delivery(content_type, body):
    """The spans that a server took out of a batch are found by sending its halves, and set aside with its words."""
    answer = answered(content_type, body)
    assert (answer.outcome, answer.words) == ("refused", "too old")
    assert "5 of the spans" in answer.reason


def test_a_login_page_is_no_delivery():
    answer = answered("text/html; charset=utf-8", b"<html>please log in")
    assert answer.outcome == "later"
    assert "LANGFUSE_BASE_URL" in answer.reason


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://bob:hunter2@sso.example:8443/login;sid=hunter2?client_secret=hunter2#access_token=hunter2", "https://sso.example:8443/login"),
        ("//bob:hunter2@sso.example/x?hunter2", "://sso.example/x"), ("/login?token=hunter2", "/login"),
        ("https://h/\x9b31mX?n=\x1b[2J", "https://h/ 31mX"), ("https://[::1]:3000/a", "https://[::1]:3000/a"),
        ("https://bob:hunter2/x@h/", "elsewhere"), ("https://[h/?hunter2", "elsewhere"), ("login?hunter2", "elsewhere"), ("", "elsewhere"),
        ("https://h/sk-abcdefghijklmnopqrstuv1", "https://h/[redacted]"), ("https://h/ticket/17/login", "https://h/ticket"),
    ],
)  # fmt: skip
def test_a_redirect_is_shown_by_host_and_path(location, shown):
    """Userinfo, query and fragment of a login's address hold credentials: they are not kept, and nothing steers a terminal."""
    answer = _judge(Reply(302, httpx.Headers({"location": location.encode("latin-1")}), b""), config_for(9), "spans")
    assert answer.reason.startswith(f"http://127.0.0.1:9 redirects to {shown} (302);")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("-1", 0.0),
        ("nan", 0.0),
        ("soon", None),
        ("Mon, 01 Jan 2024 00:00:00 GMT", 0.0),
        ("Mon, 01 Jan 2024 00:00:00 +" + "9" * 30, None),
        ("Mon, " + "1" * 40 + " Jan 2024 00:00:00 GMT", None),
    ],
)
def test_when_a_server_wants_to_be_asked_again(value, seconds):
    """Whatever it says; what is no time is none."""
    assert seconds == _http._retry_after(Reply(429, {"retry-after": value}, b""))


def wrapped(name, lets_through):
    """What a tool of some package puts around a function, or in its place."""
    space = {"__name__": name, "functools": functools}
    code = "def wrap(real):\n    def tool(*args, **kwargs):\n        return real(*args, **kwargs)\n"
    exec(code + ("    return functools.wraps(real)(tool)" if lets_through else "    return tool"), space)
    return space["wrap"]


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (httpx.Client, "send"),
        (httpx.HTTPTransport, "handle_request"),
        (httpcore.ConnectionPool, "handle_request"),
        (httpcore.HTTPConnection, "handle_request"),
    ],
)
@pytest.mark.parametrize("tool", ["vcr.stubs", "respx.mocks", "sentry_sdk.integrations", "my.tests"])
def test_nothing_is_sent_where_a_tape_or_a_mock_stands_in_the_place_of_http(owner, method, tool, monkeypatch):
    """The tape would have our key on it, and answer in the server's place; what only watches is let be."""
    lets_through = tool in {"vcr.stubs", "sentry_sdk.integrations"}  # by what it looks like
    with Collector() as collector, contextlib.closing(Channel(5.0)) as made:
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, wrapped(tool, lets_through)(getattr(owner, method)))
            answer = post(made, config_for(collector.port), SCORE)
            assert (answer.outcome == "accepted") == (tool == "sentry_sdk.integrations")
            assert (f"{tool.partition('.')[0]} stands in the place of HTTP" in answer.reason) == (
                answer.outcome == "later"
            )
        assert "accepted" == post(made, config_for(collector.port), SCORE).outcome


def test_what_unittest_puts_in_the_place_of_http_is_seen():
    """A mock says that it has everything."""
    with mock.patch("httpx.HTTPTransport.handle_request"):
        assert "unittest" == replaced_by()
    with mock.patch("httpx.Client.send", autospec=True):
        assert replaced_by() is not None
    for name in ("httpx.Client", "httpx.HTTPTransport"):
        for autospec in (None, True):
            with mock.patch(name, autospec=autospec):
                assert name == mocked()


@pytest.mark.parametrize("name", ["httpx.Client", "time.time", "socket.create_connection"])
def test_what_a_program_puts_in_the_place_of_http_for_good_keeps_nothing_back(name, monkeypatch):
    """A client with the company's certificates, say."""
    module, _, attribute = name.partition(".")
    owner = {"httpx": httpx, "time": time, "socket": socket}[module]
    monkeypatch.setattr(owner, attribute, functools.partial(getattr(owner, attribute)))
    with Collector() as collector, contextlib.closing(Channel(5.0)) as made:
        assert "accepted" == post(made, config_for(collector.port), SCORE).outcome
    assert replaced_by() is None


@pytest.mark.parametrize(
    "name",
    [
        "time.time",
        "time.monotonic",
        "time.perf_counter",
        "socket.socket",
        "socket.create_connection",
        "socket.getaddrinfo",
    ],
)
def test_a_mock_keeps_its_answers(name):
    """A test that measures, or connects, gives so many, and what asks for one more raises in the program."""
    module, _, function = name.partition(".")
    real, here, asked = getattr({"time": time, "socket": socket}[module], function), threading.current_thread(), []

    def answer(*args, **kwargs):
        if threading.current_thread() is here:  # the SDK's threads of other tests ask, too
            asked.append(name)
        return real(*args, **kwargs)

    with Collector() as collector, contextlib.closing(Channel(5.0)) as made:
        with mock.patch(name, side_effect=answer):
            assert "later" == post(made, config_for(collector.port), SCORE).outcome
            assert [] == asked
        assert "accepted" == post(made, config_for(collector.port), SCORE).outcome


def test_a_mock_in_the_place_of_http_sees_nothing_of_ours():
    """A program's test counts what its mocks were called with, also where they come right before a request of ours."""
    names = (
        "logging.getLogger",
        "httpx.URL",
        "httpx.Timeout",
        "httpx.create_ssl_context",
        "gzip.compress",
        "base64.b64encode",
    )
    with contextlib.ExitStack() as stack, Collector() as collector, contextlib.closing(Channel(5.0)) as made:
        mocks = [stack.enter_context(mock.patch(name)) for name in names]
        assert "accepted" == post(made, config_for(collector.port), SCORE).outcome
        stack.enter_context(mock.patch.object(_channel, "mocked", return_value=None))
        mocks.append(stack.enter_context(mock.patch("httpx.Client")))
        made.close()
        assert "accepted" == post(made, config_for(collector.port), SCORE).outcome
        assert [] == [str(one) for one in mocks if one.mock_calls]


def test_a_gateway_that_takes_spans_elsewhere(monkeypatch):
    """The SDK's own variable says where, with or without a slash before it."""
    monkeypatch.setenv("LANGFUSE_OTEL_TRACES_EXPORT_PATH", "gateway/api/public/otel/v1/traces")
    with Collector() as collector:
        assert probe(config_for(collector.port)).ok
        assert "/gateway/api/public/otel/v1/traces" == collector.requests[-1].path


@pytest.mark.parametrize("name", ["socket", "getaddrinfo", "socket.connect"])
@pytest.mark.parametrize("tool", ["pytest_socket", "httpretty.core", "socks", "my.addresses"])
def test_tools_for_tests_that_guard_or_answer_sockets(name, tool, monkeypatch):
    """Nothing is sent through them, and all through what a program has there for good: a proxy, a cache of addresses."""
    if name == "socket":
        stand_in = type("Guarded", (socket.socket,), {"__module__": tool})
    else:
        real = socket.getaddrinfo if name == "getaddrinfo" else socket.socket.connect

        def stand_in(*args, **kwargs):
            return real(*args, **kwargs)

        stand_in.__module__ = tool
    owner, _, attribute = f"socket.{name}".rpartition(".")
    monkeypatch.setattr(socket.socket if owner == "socket.socket" else socket, attribute, stand_in)
    is_open = tool in {"socks", "my.addresses"}
    assert (mocked() is None) == is_open
    with Collector() as collector, contextlib.closing(Channel(5.0)) as made:
        assert ("accepted" if is_open else "later") == post(made, config_for(collector.port), SCORE).outcome


def test_in_a_frozen_program_nothing_stands_in_the_place_of_http(monkeypatch):
    """Its code has relative names of files."""
    send = httpx.Client.send
    code = send.__code__.replace(co_filename="httpx/_client.py")
    monkeypatch.setattr(
        httpx.Client, "send", FunctionType(code, send.__globals__, "send", send.__defaults__, send.__closure__)
    )
    assert replaced_by() is None


def test_a_program_without_the_metadata_of_langfuse_sends_all_the_same(monkeypatch):
    """A zipped or frozen one has its modules only."""

    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_http, "version", version)
    _http._sdk_version.cache_clear()
    try:
        with Collector() as collector:
            config = TracingConfig(
                langfuse_public_key=collector.public_key,
                langfuse_secret_key=collector.secret_key,
                langfuse_host=collector.url,
            )
            assert probe(config).ok
            assert "4.12.0" == collector.requests[-1].headers["x-langfuse-sdk-version"]
    finally:
        _http._sdk_version.cache_clear()


def test_clients_share_what_is_trusted_while_they_are_there(monkeypatch):
    """To read certificates takes tens of milliseconds: a program with a project for each customer would do nothing else."""
    made, make = [], _channel.create_ssl_context
    monkeypatch.setattr(_channel, "create_ssl_context", lambda: made.append(1) or make())
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent-but-set")
    clients = [_channel._new_client(1.0) for _ in range(5)]
    assert 1 == len(made)
    for client in clients:
        client.close()
    del clients, client
    gc.collect()
    _channel._new_client(1.0).close()
    assert 2 == len(made)
