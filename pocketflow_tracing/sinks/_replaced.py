"""Whether a test of the host's stands in the place of HTTP: what we send must not land on its tape, nor be answered from it.

Tools that watch a program wrap the functions of httpx and let requests through; those that replay or invent answers put their own
in the place of them. Where that is so nothing is sent, and what is recorded waits until it is over.
"""

from __future__ import annotations

import inspect
import socket
import time
from typing import Any

import httpcore
import httpx

__all__ = ["mocked", "replaced_by"]

_PLACES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (httpx.Client, ("__init__", "request", "send", "stream", "_send_single_request")),
    (httpx.HTTPTransport, ("__init__", "handle_request")),
    (httpcore.ConnectionPool, ("__init__", "handle_request")),
    (httpcore.HTTPConnection, ("__init__", "handle_request")),
    (httpcore.HTTPProxy, ("__init__",)),
    (httpcore.HTTP11Connection, ("__init__", "handle_request")),
)
_THEIRS = frozenset({"httpx", "httpcore"})
_TAPES = frozenset({"vcr"})
"""Tools that wrap functions and do not let requests through."""


_ASKED: tuple[tuple[Any, str], ...] = (
    *((httpx, name) for name in ("Client", "HTTPTransport")),
    *((time, name) for name in ("time", "monotonic", "perf_counter")),
    *((socket, name) for name in ("socket", "create_connection", "getaddrinfo")),
    (socket.socket, "connect"),
)
"""What httpx asks for a request: a mock counts its calls, and its answers may end or be nobody's. Ours is another client than the
one that a program's test mocks as a whole, but who does that counts on there being no network."""
_MOCKS = frozenset({"unittest", "mock"})
_SOCKET_TOOLS = frozenset({"pytest_socket", "httpretty", "mocket"})
"""Tools that put functions and classes of their own there, and fail or note what goes through them. What else stands there (a
proxy, a cache of addresses, gevent) lets requests out."""


def mocked() -> str | None:
    """Return what a request needs and a test has put a mock in the place of, None where there is no mock."""
    return next((f"{owner.__name__}.{name}" for owner, name in _ASKED if _is_mock(getattr(owner, name, None))), None)


def _is_mock(value: object) -> bool:
    return _top(type(value).__module__) in _MOCKS or _top(getattr(value, "__module__", None)) in _SOCKET_TOOLS


def replaced_by() -> str | None:
    """Return the package that stands in the place of HTTP, None where requests go out."""
    for owner, names in _PLACES:
        for name in names:
            package = _stranger(inspect.getattr_static(owner, name, None))
            if package is not None:
                return package
    return None


def _stranger(function: Any) -> str | None:
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        if _package_of(function) in _TAPES:
            return _package_of(function)
        function = inner
    # by its surroundings: frozen code has no file, and a wrapper may have any name
    if _top(getattr(function, "__globals__", {}).get("__name__")) in _THEIRS:
        return None
    return _package_of(function) or "something else"


def _package_of(function: Any) -> str:
    # a wrapper has the name of what it wraps, and not its surroundings
    return _top(getattr(function, "__globals__", {}).get("__name__") or getattr(function, "__module__", None))


def _top(module: object) -> str:
    return module.partition(".")[0] if type(module) is str else ""
