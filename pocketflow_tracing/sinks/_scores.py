"""Scores on their way to Langfuse: each a line of JSON, so that many go together and any of them by itself.

Its endpoint takes one score as an object; that of newer servers takes a list of them as well, and says how many of a list it
did not take (langfuse 5, `api/scores/client.py`).
"""

from __future__ import annotations

import uuid
from hashlib import sha1
from json import dumps, loads
from typing import Any

from ..records import RunRecord, SpanRecord

__all__ = ["MOST_SCORES", "PATH", "are_scores", "lines_of", "lines_with", "most_together", "request", "trace_of"]

PATH = "/api/public/scores"
_DATA_TYPES: dict[type, str] = {str: "CATEGORICAL", bool: "BOOLEAN"}
"""As Langfuse's API names them."""
_MOST_BYTES = 500_000
"""Of one request; the endpoint's limit is 1 MiB (langfuse 5, `score_consumer.py`)."""
MOST_SCORES = 200
"""Of one request: an older server, which takes them one by one only, keeps spans waiting for so many."""


def are_scores(body: bytes) -> bool:
    """Whether a body holds scores, and not spans, which begin with gzip's magic number."""
    return body.startswith(b"{")


def lines_of(record: SpanRecord, run: RunRecord) -> list[bytes]:
    """The scores of a span; their ids are derived, so that a second delivery changes nothing."""
    return [_line(record, run, score, number) for number, score in enumerate(record.scores)]


def _line(record: SpanRecord, run: RunRecord, score: dict[str, Any], number: int) -> bytes:
    identity = f"{record.trace_id}{record.span_id}{score.get('name')}{score.get('value')}"
    if number:  # a node may give many alike, one for each of its items
        identity += f"#{number}"
    body = {
        "id": _derived(identity),
        "traceId": record.trace_id,
        "observationId": record.span_id,
        "dataType": _DATA_TYPES.get(type(score.get("value")), "NUMERIC"),
        **score,
    }
    if body["dataType"] == "BOOLEAN":
        body["value"] = int(body["value"])
    if run.environment:
        body["environment"] = run.environment
    return dumps(body).encode()


def _derived(identity: str) -> str:
    # what `uuid.uuid5` answers; that imports at each call, by a `builtins.__import__` that a program may guard
    digest = sha1(uuid.NAMESPACE_OID.bytes + identity.encode(), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def most_together(lines: list[bytes]) -> list[list[bytes]]:
    """Scores in portions that one request may hold."""
    portions: list[list[bytes]] = []
    size = 0
    for line in lines:
        if not portions or len(portions[-1]) >= MOST_SCORES or size + len(line) > _MOST_BYTES:
            portions.append([])
            size = 0
        portions[-1].append(line)
        size += len(line)
    return portions


def lines_with(body: bytes) -> list[bytes]:
    """The lines of a body."""
    return body.split(b"\n")


def trace_of(line: bytes) -> str:
    """The id of the trace that a score belongs to."""
    return str(loads(line)["traceId"])


def request(body: bytes) -> bytes:
    """The body as the server reads it: one score as an object, which every server takes, several as a list."""
    lines = lines_with(body)
    return body if len(lines) == 1 else b"[" + b",".join(lines) + b"]"
