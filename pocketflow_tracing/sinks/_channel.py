"""HTTP over one client: bounded in size and time, no lines in the host's log, no bytes into files that took our numbers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from logging import Logger, getLogger
from typing import Any
from weakref import WeakValueDictionary

# by name: a test of the host's may put mocks in their places
from httpx import (
    URL,
    Client,
    HTTPError,
    InvalidURL,
    NetworkError,
    ReadTimeout,
    RemoteProtocolError,
    Response,
    Timeout,
    create_ssl_context,
)

from .. import _system
from .._forks import unforked
from .._system import identity, variable
from .._threads import unseen
from .._time import monotonic
from ._replaced import mocked, replaced_by

__all__ = ["Channel", "ChannelError", "Reply"]

_MOST_READ = 16 * 1024
"""Bytes of an answer that are read; whoever sends more is not listened to."""
_SLOWEST = 64 * 1024
"""Bytes a second that a connection must carry: an upload may take longer the larger it is."""
_CERTIFICATES = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE", "REQUESTS_CA_BUNDLE")
"""Authorities that the SDK's exporter trusts, besides those of httpx, in its order; the last may be a folder."""
_PORTS = {"http": 80, "https": 443}
_LOGGERS = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")))
"""The libraries' loggers, each by its name: those below one are asked by themselves."""
_BEGINNINGS = tuple(f".{step}.started" for step in ("connect_tcp", "send_request_headers", "receive_response_headers"))
"""Steps that a request which nobody waits for does not take."""

_here = threading.local()


class ChannelError(Exception):
    """No request can be sent at all; the message is a sentence part for the user, without secrets."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Args:
        status: of HTTP.
        headers: of the answer.
        body: its beginning, undecoded, at most some kB.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Channel:
    """Sends requests for one thread, with the environment's proxies and certificate authorities.

    Args:
        timeout: seconds that each step of a request may take (to connect, to wait for the next bytes).
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._client: Client | None = None
        self._sockets: list[tuple[Any, tuple[int, int] | None]] = []
        self._late_at: float | None = None  # while a request is going on
        self._was_cut = False
        self._has_ended = False  # whether nobody waits for an answer any more
        self._server = ("", 0)
        self._is_new = False  # whether the connection of the request is
        self._is_answered = False  # whether the head of an answer came
        self.is_at_proxy = False
        """Whether the last connection that was tried is one to a proxy, and has no way through it."""

    def request(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Reply:
        """Send one request and read the beginning of the answer.

        Raises:
            ChannelError: the environment's settings do not allow any.
            HTTPError: it failed on its way, or took too long.
            OSError, ValueError, RuntimeError, InvalidURL: it cannot be sent.
        """
        if (package := replaced_by()) is not None:
            raise ChannelError(f"{package} stands in the place of HTTP in this program, which hides the server")
        if (name := mocked()) is not None:
            raise ChannelError(f"a mock stands in the place of {name} in this program")
        with _quietly(), unseen():
            if self._let_go():
                self.close()
            if self._client is None:
                with unforked():  # it reads certificates
                    self._client = _new_client(self._timeout)
            self._was_cut = False
            self._late_at = monotonic() + 2 * self._timeout + len(content) / _SLOWEST
            try:
                try:
                    return self._exchange(self._client, method, url, content, headers)
                except (NetworkError, RemoteProtocolError):
                    if self._is_new or self._is_answered or self._was_cut:
                        raise
                # servers close idle connections, and may do so just as a request comes
                return self._exchange(self._client, method, url, content, headers)
            except HTTPError:
                if self._was_cut:
                    raise ReadTimeout("the answer came too slowly") from None
                raise
            finally:
                self._late_at = None

    def _exchange(self, client: Client, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> Reply:
        address = URL(url)
        self._server = address.raw_host.decode("ascii"), address.port or _PORTS.get(address.scheme, 0)
        self._is_new = self._is_answered = False
        with client.stream(
            method,
            address,
            content=content,
            headers={**headers, "Accept-Encoding": "identity"},  # a few bytes must stay few
            extensions={"trace": self._watch},
        ) as response:
            return Reply(response.status_code, response.headers, _beginning(response))

    def cut_if_late(self) -> None:
        """Cut a request that takes longer than all its steps may together; for another thread to call.

        The steps have a time limit each, so a server that sends a byte a second would hold the thread for hours.
        """
        late_at = self._late_at
        if late_at is not None and monotonic() > late_at:
            self.cut()

    def cut(self) -> None:
        """End the request that is going on, if there is one; for another thread to call."""
        if self._late_at is None:
            return
        self._was_cut = True
        for sock, known in list(self._sockets):
            if known is None or identity(sock.fileno()) == known:
                with contextlib.suppress(OSError):
                    if hasattr(socket.socket, "shutdown"):
                        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not the TLS layer's: its thread is in it
                    else:
                        sock.shutdown(socket.SHUT_RDWR)  # eventlet's

    def end(self) -> None:
        """End the request that is going on or about to begin; for another thread to call."""
        self._has_ended = True
        self.cut()

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            with _quietly():
                self._let_go()
                client.close()
        self._sockets.clear()

    def _watch(self, event: str, info: dict[str, Any]) -> None:
        # httpcore tells each step of a request, also before it closes a connection that failed
        self._let_go()
        if self._has_ended and event.endswith(_BEGINNINGS):
            raise ReadTimeout("nobody waits for the answer")
        if event.endswith(".connect_tcp.started"):
            self._is_new, self.is_at_proxy = True, (info["host"], info["port"]) != self._server
        elif event in {"proxy.start_tls.started", "socks.start_tls.started"}:
            self.is_at_proxy = False
        elif event.endswith(".receive_response_headers.complete"):
            self._is_answered = True
        elif event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            sock = info["return_value"].get_extra_info("socket")
            if isinstance(sock, socket.socket):
                self._sockets.append((sock, identity(sock.fileno())))

    def _let_go(self) -> bool:
        """Forget sockets whose number is another file's by now, as after `os.closerange`; True when there were any."""
        lost = False
        still = []
        for sock, known in self._sockets:
            if sock.fileno() < 0:
                continue
            if known is not None and identity(sock.fileno()) != known:
                sock.detach()  # not closed: it is not ours any more
                lost = True
            else:
                still.append((sock, known))
        self._sockets = still
        return lost


def _new_client(timeout: float) -> Client:
    for name in _LOGGERS:
        _hush(getLogger(name))
    try:
        return Client(timeout=Timeout(timeout), follow_redirects=False, verify=_trusted())
    # ImportError: a SOCKS proxy without its package; InvalidURL: NO_PROXY
    except (OSError, ValueError, ImportError, InvalidURL) as error:
        raise ChannelError(
            f"the proxy or certificate settings cannot be used ({type(error).__name__}); check HTTPS_PROXY, HTTP_PROXY,"
            f" ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, {_CERTIFICATES[0]} and REQUESTS_CA_BUNDLE"
        ) from None


_contexts: WeakValueDictionary[tuple[str, ...], ssl.SSLContext] = WeakValueDictionary()
"""Those in use, by the settings that they were made from: to read certificates takes tens of milliseconds, and forks wait."""


def _trusted() -> ssl.SSLContext:
    """The authorities that are trusted, shared by all clients that are there at a time."""
    settings = tuple(map(variable, (*_CERTIFICATES, "SSL_CERT_FILE", "SSL_CERT_DIR")))
    known = _contexts.get(settings)
    if known is None:
        known = create_ssl_context()
        certificates = next((path for path in settings[: len(_CERTIFICATES)] if path), None)
        if certificates not in {None, variable("SSL_CERT_FILE")}:
            is_folder = _system.is_dir(certificates)
            known.load_verify_locations(*(None, certificates) if is_folder else (certificates,))
        _contexts[settings] = known
    return known


def _beginning(response: Response) -> bytes:
    read = b""
    for chunk in response.iter_raw():
        read += chunk
        if len(read) >= _MOST_READ:
            break
    return read[:_MOST_READ]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    before = getattr(_here, "quiet", False)
    _here.quiet = True
    try:
        yield
    finally:
        _here.quiet = before


def _hush(logger: Logger) -> None:
    """Let a logger tell what the host's own use of its library does, and not what ours does.

    Before a record is made, as a filter would not be asked: that runs the host's record factory, which may want a request.
    """

    def is_enabled_for(level: int) -> bool:
        return not getattr(_here, "quiet", False) and type(logger).isEnabledFor(logger, level)

    if "isEnabledFor" not in vars(logger):
        vars(logger)["isEnabledFor"] = is_enabled_for
