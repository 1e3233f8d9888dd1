"""An encoded request on its way, and how it is cut in two when the server does not take it whole."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ._http import is_score

__all__ = ["Batch", "halves"]


@dataclass(slots=True, eq=False)
class Batch:
    """An encoded request on its way.

    Args:
        body: gzip of the protobuf.
        spans: the number of spans in it.
        kept: its id in the outbox, 0 while it is in memory only.
        since: `time.monotonic` of when it was handed over.
        answered: whether the server has answered, so that a late copy on disk is not made any more.
    """

    body: bytes
    spans: int
    kept: int = 0
    since: float = 0.0
    answered: bool = False


def halves(batch: Batch) -> list[Batch]:
    """A batch as two, or [] when it holds one span (or is a score)."""
    if is_score(batch.body):
        return []
    message = ExportTraceServiceRequest()
    message.ParseFromString(gzip.decompress(batch.body))
    scopes = [scope for resource in message.resource_spans for scope in resource.scope_spans]
    spans = [list(scope.spans) for scope in scopes]
    total = sum(len(part) for part in spans)
    if total < 2:
        return []
    made: list[Batch] = []
    for first, last in ((0, total // 2), (total // 2, total)):
        position = 0
        for scope, part in zip(scopes, spans, strict=True):
            del scope.spans[:]
            scope.spans.extend(part[max(0, first - position) : max(0, last - position)])
            position += len(part)
        made.append(Batch(gzip.compress(message.SerializeToString(), 1, mtime=0), last - first, since=batch.since))
    return made
