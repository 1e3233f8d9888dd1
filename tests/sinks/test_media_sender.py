"""The thread that sends media: it is not held by a server that never comes to an end."""

from __future__ import annotations

import time

import pytest
from collector import Collector, Mode

from pocketflow_tracing import TracingConfig
from pocketflow_tracing._media import Medium
from pocketflow_tracing.records import SpanRecord
from pocketflow_tracing.sinks.media import MediaSender


@pytest.mark.parametrize("mode", [Mode.trickle(0.15), Mode.endless(200), Mode.endless(503)])
def test_an_answer_that_does_not_end(mode, caplog):
    """The worker's looks cut it; the medium is given up, and that is said once."""
    medium = Medium("id", "hash", "image/png", 3, b"abc", "bytes")
    record = SpanRecord("1" * 16, "2" * 32, "1" * 16, None, "flow", "F", "success", 1, 2)
    record.media = [medium]
    with Collector(mode) as collector:
        config = TracingConfig(
            langfuse_public_key=collector.public_key,
            langfuse_secret_key=collector.secret_key,
            langfuse_host=collector.url,
            store="off",
            timeout=0.2,
        ).resolved()
        sender = MediaSender(config)
        place = sender.placing(record)
        assert place({"mime": "image/png", "id": "id"}, "input") == medium.reference
        deadline = time.monotonic() + 10
        while sender.tick() is not None and time.monotonic() < deadline:
            sender.hasten()
            sender.wait(time.monotonic() + 0.05)
        assert sender.tick() is None
        sender.close(time.monotonic() + 1)
    said = [entry for entry in caplog.records if "media" in entry.getMessage()]
    assert len(said) == 1
