"""Why a server cannot be reached, in words."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx

__all__ = ["cause"]

_UNKNOWN_ISSUER = {2, 18, 19, 20, 21}
"""OpenSSL's codes for certificates that nobody known has signed; others are of no use or for another host."""
_OWN_AUTHORITY = "; for a certificate authority of your own, set SSL_CERT_FILE, SSL_CERT_DIR or REQUESTS_CA_BUNDLE"


def cause(error: BaseException) -> str:
    """Why a request failed on its way: a part of a sentence, without secrets."""
    for found in _chain(error):
        if isinstance(found, ssl.SSLCertVerificationError):
            hint = _OWN_AUTHORITY if found.verify_code in _UNKNOWN_ISSUER else ""
            return f"its certificate is not trusted ({found.verify_message.rstrip('.')}){hint}"
        if isinstance(found, ssl.SSLError):
            return f"there is no TLS with it ({found.reason or type(found).__name__})"
        if isinstance(found, socket.gaierror):
            return f"its name does not resolve ({found.strerror})"
        if isinstance(found, ConnectionRefusedError):
            return "the connection was refused"
        if isinstance(found, OSError) and found.strerror:
            return found.strerror[:1].lower() + found.strerror[1:]
    if isinstance(error, httpx.RemoteProtocolError):
        return "it gives no answer in HTTP"
    return type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    # httpx raises its error from httpcore's, and that while the system's is handled
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
