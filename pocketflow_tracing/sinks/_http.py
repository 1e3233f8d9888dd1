"""One request to Langfuse: its headers, its answer, and what the answer means for what was sent."""

from __future__ import annotations

import contextlib
import re
from base64 import b64encode
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from json import loads
from typing import Literal
from urllib.parse import urlsplit

from httpx import Client, HTTPError, InvalidURL, ProxyError, TimeoutException

from .._forks import unforked
from .._guard import Tolerating
from .._time import time_ns
from .._version import __version__
from ..config import TracingConfig
from ..redaction import Rules, redact_text, scan
from ..redaction_shapes import REPLACEMENT
from ..render_text import one_line
from . import _scores, _wire
from ._causes import cause
from ._channel import Channel, ChannelError, Reply
from ._scores import are_scores

__all__ = ["Answer", "headers", "post", "preload", "shown_host"]

_PROXIES = "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
_NO_SCORES = frozenset({403, 404, 405})
_TELLING = 12
"""Characters by which a key is known, also where a server has cut it."""
_MOST_SAID = 300
"""Characters of a server's own words that are kept with what it refused."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    Args:
        outcome: "accepted"; "later": the same request may succeed later; "too large": smaller ones may; "refused": never;
            "unwanted": nor will any other of its kind; "unauthorized": not with these keys; "forbidden": likewise, or it is
            what a firewall does not like of this one.
        reason: one sentence for the user, without secrets.
        retry_after: seconds the server asked for.
        rejected: how many it did not take, where it took the others; 0: none of them.
        words: the server's own; they may quote what was sent, so they are kept beside it and never logged.
    """

    outcome: Literal["accepted", "later", "too large", "refused", "unwanted", "unauthorized", "forbidden"]
    reason: str = ""
    retry_after: float | None = None
    rejected: int = 0
    words: str = ""


def headers(config: TracingConfig, *, json: bool) -> dict[str, str]:
    """The headers of a request, as the Langfuse SDK sends them.

    Args:
        config: with the keys.
        json: whether the body is JSON, and not a compressed protobuf message.
    """
    return {
        **({"Content-Type": "application/json"} if json else _PROTOBUF),
        "Authorization": f"Basic {_credentials(config)}",
        "User-Agent": f"pocketflow-tracing/{__version__}",
        "x-langfuse-sdk-name": "python",
        "x-langfuse-sdk-version": _sdk_version(),
        "x-langfuse-public-key": str(config.langfuse_public_key),
        "x-langfuse-ingestion-version": "4",  # without it a v4 server shows spans minutes later
    }


def _credentials(config: TracingConfig) -> str:
    return b64encode(f"{config.langfuse_public_key}:{config.langfuse_secret_key}".encode()).decode("ascii")


_PROTOBUF = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
_OLDEST_SDK = "4.12.0"
"""The oldest version that is supported, for a server that asks in vain."""


@lru_cache(maxsize=1)
def _sdk_version() -> str:
    try:
        return version("langfuse")  # without importing it
    except PackageNotFoundError:  # a zipped or frozen program has the package without its metadata
        return _OLDEST_SDK


def shown_host(config: TracingConfig) -> str:
    """The address of the server as it may be seen: without a password that stands in it."""
    address = one_line(scan(config.langfuse_host))
    return address if len(address) <= _MOST_SAID else f"{address[:_MOST_SAID]}…"


@lru_cache(maxsize=1)
def preload() -> None:
    """Have httpx import what it imports with its first client, and look up the SDK's version."""
    # bad settings are said when something is to be sent
    with unforked(), Tolerating(OSError, ValueError, ImportError, InvalidURL):
        Client().close()
        "".encode(
            "idna"
        )  # which is how a host's name is looked up first: not on a thread of ours, in the midst of a fork
    _sdk_version()


def post(channel: Channel, config: TracingConfig, body: bytes) -> Answer:
    """Send one request and say what became of it; a network error is an answer too."""
    of_scores = are_scores(body)
    path = _scores.PATH if of_scores else config.traces_path
    url = f"{config.langfuse_host.rstrip('/')}/{path.lstrip('/')}"
    try:
        reply = channel.request(
            "POST", url, _scores.request(body) if of_scores else body, headers(config, json=of_scores)
        )
    except ChannelError as error:
        return Answer("later", str(error))
    except ProxyError:
        return Answer("later", f"the proxy on the way to {shown_host(config)} lets nothing through; check {_PROXIES}")
    except HTTPError as error:
        host, hint = shown_host(config), ""
        if channel.is_at_proxy:
            host, hint = f"the proxy on the way to {host}", f"; check {_PROXIES}"
        if isinstance(error, TimeoutException):
            return Answer("later", f"{host} does not answer in time ({type(error).__name__}){hint}")
        return Answer("later", f"{host} cannot be reached: {cause(error)}{hint}")
    except (OSError, ValueError, RuntimeError, InvalidURL) as error:
        return Answer("later", f"{shown_host(config)} cannot be used ({type(error).__name__})")
    if of_scores and reply.status in _NO_SCORES:  # what takes spans need not take scores
        answer = Answer("unwanted", f"{shown_host(config)} takes no scores ({reply.status})")
    else:
        answer = _judge(reply, config, "scores" if of_scores else "spans")
    return replace(answer, words=_shown(answer.words, config)) if answer.words else answer


def _judge(reply: Reply, config: TracingConfig, what: str) -> Answer:
    code = reply.status
    host = shown_host(config)
    if 200 <= code < 300:
        return _judge_success(reply, host, what)
    if code in {401, 403}:
        return Answer(
            "unauthorized" if code == 401 else "forbidden",
            f"{host} does not accept the keys ({code}); check LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY and LANGFUSE_BASE_URL",
        )
    if code == 407:
        return Answer(
            "later",
            f"the proxy on the way to {host} does not accept its user and password (407); check {_PROXIES}",
        )
    if code == 413:
        return Answer("too large", f"{host} finds the request too large (413)")
    if 300 <= code < 400:
        where = _shown_location(reply.headers.get("location", ""))
        return Answer("later", f"{host} redirects to {where} ({code}); set LANGFUSE_BASE_URL to the final address")
    if code in {408, 425, 429} or code >= 500:
        return Answer("later", f"{host} answered {code}", _retry_after(reply))
    if code in {404, 405}:
        return Answer("later", f"{host} has no OpenTelemetry endpoint ({code}); check LANGFUSE_BASE_URL")
    return Answer("refused", f"{host} refused the {what} ({code})", words=_words(reply.body))


def _shown_location(location: str) -> str:
    """Where a server redirects to, as it may be seen: a login's address holds credentials beside host and path."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(location)
        path = parts.path.partition(";")[0]
        path = "/".join(path.split("/")[:2])  # what follows may be a ticket of this one request
        if parts.port != 0 and parts.hostname:  # a port that is none raises
            return _flat(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}")[:200]
        if path.startswith("/"):
            return _flat(path)[:200]
    return "elsewhere"


def _judge_success(reply: Reply, host: str, what: str) -> Answer:
    """What an answer that begins well comes to: some server on the way may have given it, or it takes a part only."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html":
        return Answer("later", f"{host} answers with a web page, as a login would; check LANGFUSE_BASE_URL")
    rejected, words = 0, ""
    if kind == "application/x-protobuf":
        with contextlib.suppress(ValueError):
            rejected, words = _partial_success(reply.body)
    elif kind == "application/json":
        with contextlib.suppress(ArithmeticError, ValueError, RecursionError, AttributeError, TypeError):
            said = loads(reply.body)
            if what == "scores":  # langfuse 5, `create_score_batch_results.py`
                rejected = int(said.get("rejected") or 0)
                words = "; ".join(str(error["message"]) for error in said.get("errors") or ())
            else:
                said = said.get("partialSuccess") or {}
                rejected, words = int(said.get("rejectedSpans") or 0), str(said.get("errorMessage") or "")
    if rejected > 0:
        return Answer("refused", f"{host} refused {rejected:,} of the {what}", rejected=rejected, words=_flat(words))
    return Answer("accepted")


def _partial_success(body: bytes) -> tuple[int, str]:
    """Of an `ExportTraceServiceResponse` the number of spans that were not taken, and what is said of them.

    Raises:
        ValueError: it is none.
    """
    rejected, words = 0, ""
    for number, partial, _ in _wire.fields(body):
        if number != 1 or type(partial) is not bytes:
            continue
        for number_below, value, _ in _wire.fields(partial):
            if number_below == 1 and type(value) is int:
                rejected = value if value < 1 << 63 else 0  # a negative one, in two's complement
            elif number_below == 2 and type(value) is bytes:
                words = value.decode("utf-8", "replace")
    return rejected, words


def _words(body: bytes) -> str:
    """What a server says in its answer, in one line: the message in its JSON, else its text."""
    text = body.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        said = loads(text)
        if isinstance(said, dict):
            text = str(said.get("message") or said.get("error") or text)
    return _flat(text)


def _flat(text: str) -> str:
    return scan(" ".join("".join(c if c.isprintable() else " " for c in text).split()))


def _shown(words: str, config: TracingConfig) -> str:
    """What a server says, without the keys of the request, which it may quote in any form."""
    for secret in (_credentials(config), str(config.langfuse_secret_key)):
        words = re.sub(re.escape(secret[:_TELLING]) + r"[\w+/=-]*", REPLACEMENT, words)
    return redact_text(words, Rules())[:_MOST_SAID]


def _retry_after(reply: Reply) -> float | None:
    value = reply.headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time_ns() / 1e9)
        except (ValueError, OverflowError):
            return None
