"""What keeps the view to its reader: which hosts it answers to, what pages may load, and that nothing can be changed."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "Guard", "allowed_hosts"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - recognised, not bound to
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:]+))(?::\d{1,5})?")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Sent with every answer: only the view's own files run, nobody frames it, nobody else's page reads it."""


def allowed_hosts(bound_to: str) -> frozenset[str]:
    """Return the host names that requests may name.

    A page of a stranger can make its own name mean 127.0.0.1 (DNS rebinding), but not what a browser sends as Host.

    Args:
        bound_to: the address that the server listens on.
    """
    names = {*_LOOPBACK, bound_to.lower()} - {*_EVERY_ADDRESS}
    if bound_to not in _LOOPBACK:
        names.add(socket.gethostname().lower())
    return frozenset(names)


class Guard:
    """Lets pass what a reader of this machine asks for, and adds the headers to every answer.

    Args:
        app: what answers.
        hosts: names that requests may give as Host.
        any_address: whether a bare IP address will do too: where the server listens on all of them.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], *, any_address: bool = False) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._any_address = any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Return a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app = self._refusal(scope) or self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, scope: MutableMapping[str, Any]) -> ASGIApp | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._knows(hosts[0].decode("latin-1")):
            return PlainTextResponse("This address is not served here.\n", 421)
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("This view only reads.\n", 405, {"Allow": "GET, HEAD"})
        return None

    def _knows(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = (found["v6"] or found["name"]).lower()
        return name in self._hosts or (self._any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
