"""Serving the view until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn

from .app import create_app

__all__ = ["address", "listen", "serve"]

_FIRST_PORT, _PORTS = 7717, 20


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on the address.

    Args:
        host: name or address to bind to.
        port: to listen on; 0 for any that is free, None for the usual one or, when it is taken, one of those after it.

    Raises:
        OSError: the address cannot be had.
    """
    if port is not None:
        return _bound(host, port)
    for candidate in range(_FIRST_PORT, _FIRST_PORT + _PORTS):
        try:
            return _bound(host, candidate)
        except OSError as error:  # noqa: PERF203 - a port that is taken is what this is about
            if error.errno != errno.EADDRINUSE:
                raise
    return _bound(host, 0)


def address(listening: socket.socket, host: str) -> str:
    """Return the URL to open on this machine."""
    port = listening.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}/"


def serve(store: Path, listening: socket.socket, host: str, *, on_ready: Callable[[], None] | None = None) -> None:
    """Serve a store on a socket until the process is asked to stop.

    Args:
        store: the store file; it may appear later.
        listening: from `listen`.
        host: that it listens on.
        on_ready: is called, on a thread of its own, once requests are answered.
    """
    config = uvicorn.Config(
        create_app(store, host),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
        ws="none",
    )
    server = uvicorn.Server(config)
    if on_ready is not None:
        # The socket listens already: whoever connects now is answered as soon as the server runs.
        threading.Thread(target=on_ready, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def open_browser(url: str) -> None:
    """Open the URL in the user's browser, if there is one."""
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(url)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except BaseException:
        listening.close()
        raise
    return listening
