"""One real span through the real export path, for the command `doctor`."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from pocketflow_tracing._ids import source
from pocketflow_tracing.config import TracingConfig
from pocketflow_tracing.records import RunRecord, SpanRecord

from .._time import time_ns
from . import otlp
from ._channel import Channel
from ._http import post, shown_host

__all__ = ["ProbeResult", "probe"]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What became of the one span that `doctor` sends.

    Args:
        ok: the server took it.
        detail: one sentence.
        url: of the trace, when it was taken.
    """

    ok: bool
    detail: str
    url: str | None = None


def probe(config: TracingConfig) -> ProbeResult:
    """Send one real span through the real export path and report the answer."""
    config = config.resolved()
    trace_id, span_id, now = f"{source.trace_id():032x}", f"{source.span_id():016x}", time_ns()
    run = RunRecord(span_id, trace_id, "pocketflow-tracing doctor", "success", now - 1_000_000, now)
    record = SpanRecord(
        span_id, trace_id, span_id, None, "flow", run.name, "success", now - 1_000_000, now, output="it works"
    )
    span = otlp.encode_span(record, otlp.span_attributes(record, run))
    body = otlp.request([span], str(config.langfuse_public_key), otlp.resource())
    channel = Channel(config.timeout)
    limit = threading.Timer(2 * config.timeout, channel.cut)
    limit.start()
    try:
        answer = post(channel, config, body)
    finally:
        limit.cancel()
        channel.close()
    if answer.outcome == "accepted":
        host = shown_host(config).rstrip("/")
        return ProbeResult(True, f"{host} accepted a test span", f"{host}/trace/{trace_id}")
    return ProbeResult(False, f"{answer.reason}: {answer.words}" if answer.words else answer.reason)
