"""One request to Langfuse: its headers, its answer, and what the answer means for what was sent."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Literal

import httpx

from .._version import __version__
from ..config import TracingConfig
from ..redaction import scan

__all__ = ["Answer", "headers", "is_score", "new_client", "post", "preload", "shown_host"]

PATH = "/api/public/otel/v1/traces"
SCORES_PATH = "/api/public/scores"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    Args:
        outcome: "accepted"; "later": the same request may succeed later; "too large": smaller ones may; "refused": never;
            "unauthorized": not with these keys.
        reason: one sentence for the user, without secrets.
        retry_after: seconds the server asked for.
    """

    outcome: Literal["accepted", "later", "too large", "refused", "unauthorized"]
    reason: str = ""
    retry_after: float | None = None


def headers(config: TracingConfig, body: bytes) -> dict[str, str]:
    """The headers of a request, as the Langfuse SDK sends them."""
    pair = f"{config.langfuse_public_key}:{config.langfuse_secret_key}"
    what = (
        {"Content-Type": "application/json"}
        if is_score(body)
        else {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    )
    return {
        **what,
        "Authorization": "Basic " + base64.b64encode(pair.encode()).decode("ascii"),
        "User-Agent": f"pocketflow-tracing/{__version__}",
        "x-langfuse-sdk-name": "python",
        "x-langfuse-sdk-version": _sdk_version(),
        "x-langfuse-public-key": str(config.langfuse_public_key),
        "x-langfuse-ingestion-version": "4",  # without it a v4 server shows spans minutes later
    }


@lru_cache(maxsize=1)
def _sdk_version() -> str:
    return version("langfuse")  # without importing it


def shown_host(config: TracingConfig) -> str:
    """The address of the server as it may be seen: without a password that stands in it."""
    return scan(config.langfuse_host)


def is_score(body: bytes) -> bool:
    """Whether a body is a score, a JSON object, and not a batch of spans, which begins with gzip's magic number."""
    return body.startswith(b"{")


def new_client(config: TracingConfig) -> httpx.Client:
    """An HTTP client with the environment's proxies and certificate authorities."""
    return httpx.Client(timeout=httpx.Timeout(config.timeout), follow_redirects=False)


@lru_cache(maxsize=1)
def preload() -> None:
    """Have httpx import what it imports with its first client, and look up the SDK's version."""
    httpx.Client().close()
    _sdk_version()


def post(client: httpx.Client, config: TracingConfig, body: bytes) -> Answer:
    """Send one request and say what became of it; a network error is an answer too."""
    url = config.langfuse_host.rstrip("/") + (SCORES_PATH if is_score(body) else PATH)
    try:
        response = client.post(url, content=body, headers=headers(config, body))
    except httpx.HTTPError as error:
        return Answer("later", f"{shown_host(config)} cannot be reached ({type(error).__name__})")
    except (OSError, ValueError, RuntimeError, httpx.InvalidURL) as error:
        return Answer("later", f"{shown_host(config)} cannot be used ({type(error).__name__})")
    return _judge(response, config)


def _judge(response: httpx.Response, config: TracingConfig) -> Answer:
    code = response.status_code
    host = shown_host(config)
    if 200 <= code < 300:
        return Answer("accepted")
    if code in {401, 403}:
        return Answer(
            "unauthorized",
            f"{host} does not accept the keys ({code}); check LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY and LANGFUSE_BASE_URL",
        )
    if code == 413:
        return Answer("too large", f"{host} finds the request too large (413)")
    if 300 <= code < 400:
        where = response.headers.get("location", "elsewhere")[:200]
        return Answer("later", f"{host} redirects to {where} ({code}); set LANGFUSE_BASE_URL to the final address")
    if code in {408, 425, 429} or code >= 500:
        return Answer("later", f"{host} answered {code}", _retry_after(response))
    if code in {404, 405}:
        return Answer("later", f"{host} has no OpenTelemetry endpoint ({code}); check LANGFUSE_BASE_URL")
    return Answer("refused", f"{host} refused the spans ({code})")


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            return None
