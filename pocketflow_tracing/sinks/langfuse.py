"""The sink that delivers to Langfuse, and the SDK client that generations inside nodes go through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

from pocketflow_tracing import _external, _log, _sdk, _sdk_spans
from pocketflow_tracing._guard import Seam
from pocketflow_tracing._sdk_export import MOST_BYTES
from pocketflow_tracing._sdk_ours import Way
from pocketflow_tracing._sdk_said import Said
from pocketflow_tracing.config import TracingConfig
from pocketflow_tracing.delivery import delivery
from pocketflow_tracing.records import RunRecord, SpanRecord

from .._threads import OwnLock
from . import _scores, otlp
from ._http import preload, shown_host
from .media import MediaSender
from .sender import Sender

__all__ = ["LangfuseSink", "open_sink", "preload"]

_MASKING = Seam("calling the mask of the Langfuse client", theirs=True)
_ENCODING = Seam("encoding a span for Langfuse")
_WITHHELD = "<withheld: the mask failed>"
_MAX_SPANS = 1000


class LangfuseSink:
    """Delivers records to one Langfuse project.

    Args:
        config: resolved, with both keys.
    """

    def __init__(self, config: TracingConfig) -> None:
        self.config = config
        store = config.store_path()
        self._sender = Sender(config, store)
        self._media = MediaSender(config)
        sender = self._sender
        way = Way(sender.submit, sender.add_dropped, sender.settle, lambda: delivery.rouse(self))
        # what one decorator's config says is not for the program's own observations, nor for the runs of others
        self._client = _sdk.SdkClient(config.outside_of_runs(), way)
        self.project_id: str | None = None

    def describe(self) -> str:
        """Name the sink in a sentence of debug mode."""
        return f"Langfuse at {shown_host(self.config)}"

    def start(self) -> None:
        """Start the threads that send."""
        self._sender.start()
        self._media.start()

    def watch(self) -> None:
        """Have an SDK client ready, so that generations inside nodes reach the same project; or see them ourselves."""
        self._client.prepare()
        if not self.has_client:
            _external.watch_for_langfuse()

    @property
    def has_client(self) -> bool:
        """Whether a client of the SDK's is there, which sees to the spans of other instrumentations."""
        return self._client.resources is not None

    @property
    def says(self) -> Said:
        """What the program's own client says of the project."""
        return self._client.says

    def expect(self) -> None:
        """Nothing to do: the sender has its thread, and may need no store."""

    def await_making(self) -> None:
        """Nothing is made at the first run."""

    def trace_url(self, trace_id: str) -> str:
        """The address of a trace; without the project's id (not known yet) the one that redirects to it."""
        host = shown_host(self.config).rstrip("/")
        return f"{host}/project/{self.project_id}/traces/{trace_id}" if self.project_id else f"{host}/trace/{trace_id}"

    def accept(self, runs: list[RunRecord], spans: list[SpanRecord], done: list[SpanRecord]) -> None:  # noqa: ARG002 - the server takes only ended spans
        """Encode what is complete and hand it to the sender, unless the program's own client is switched off."""
        if not self.says.is_on:
            return
        by_id = {run.run_id: run for run in runs}
        encoded: list[bytes] = []
        size = 0
        for span in self._encoded(by_id, done):
            if encoded and (size + len(span) > MOST_BYTES or len(encoded) >= _MAX_SPANS):
                self._submit(encoded)
                encoded, size = [], 0
            encoded.append(span)
            size += len(span)
        if encoded:
            self._submit(encoded)
        # not through the SDK: a score is as safe from an outage as the span it belongs to
        lines = [line for record in done for line in _scores.lines_of(record, by_id[record.run_id])]
        for portion in _scores.most_together(lines):
            self._sender.submit(b"\n".join(portion), len(portion))

    def add_dropped(self, spans: int) -> bool:
        """Keep the number of dropped spans in the figures of the outbox's store."""
        return self._sender.add_dropped(spans)

    def tick(self) -> float | None:
        """Do what is due."""
        ticks = (self._client.tick(), self._sender.tick(), self._media.tick())
        due = [seconds for seconds in ticks if seconds is not None]
        return min(due) if due else None

    @property
    def lost(self) -> int:
        """Spans that were refused or dropped, and media that could not be sent, so far."""
        return self._sender.refused + self._sender.dropped + self._media.failed

    @property
    def in_memory(self) -> int:
        """Spans that are neither delivered nor in the outbox, and scores and media that our client has not sent."""
        return self._sender.in_memory + self._client.unready + sum(self._client.left)

    def hand_on(self, deadline: float) -> bool:
        """Take over what the SDK client holds that we made, and have everything sent at once; nobody waits here."""
        handed_over = self._client.hand_over(deadline)
        self._sender.hasten()
        self._sender.look()
        self._client.begin_flush()
        self._media.hasten()
        return handed_over

    def is_done(self) -> bool:
        """Whether everything is delivered, and nobody need ask the SDK's client for what it holds, or some other sink does."""
        is_done = self._sender.is_done() and self._media.is_done() and not self._client.unready
        return is_done and (self._client.may_rest or not self._client.is_the_one)

    def flush(self, deadline: float) -> bool:
        """Wait until everything is delivered, what the program's own SDK client holds included."""
        done = [self._sender.wait(deadline), self._client.wait(deadline), self._media.wait(deadline)]
        return all(done)

    def close(self, deadline: float, answers_by: float) -> bool:
        """Deliver what there is time for and keep the rest in the outbox; the user's own client ends by itself."""
        handed_over = self._client.hand_over(answers_by)
        is_the_end = delivery.is_ending
        if is_the_end and (lost := self._client.give_up()):
            _log.warn(
                "%d generations are lost, for they could not be made ready before the process had to end "
                "(POCKETFLOW_TRACE_SHUTDOWN_TIMEOUT is %g seconds)",
                lost,
                self.config.shutdown_timeout,
            )
        self._client.begin_flush()
        sent = self._sender.close(deadline, answers_by)
        done = [self._client.wait(answers_by), self._media.close(answers_by), sent, handed_over]
        if not is_the_end:
            self._client.rest()
        elif any(left := self._client.left):
            _log.warn_once(f"what the Langfuse client was given has no answer of the server and may be lost: {left}.")
        return all(done)

    def abandon(self) -> None:
        """Begin anew in a forked child."""
        self._sender.abandon()
        self._media.abandon()
        self._client.abandon()

    def _encoded(self, runs: dict[str, RunRecord], done: list[SpanRecord]) -> Iterator[bytes]:
        """The spans as protobuf messages."""
        mask = self._mask()
        hook = self._client.mask_spans
        if hook is None:
            encoder = otlp.Encoder(runs, mask)
            for record in done:
                yield from self._alone(encoder.span, record, self._media.placing(record) if record.media else None)
            return
        # media go nowhere before every mask has had its say, and this hook has it last
        described = [(record, otlp.span_attributes(record, runs[record.run_id], mask)) for record in done]
        let_out: list[_sdk_spans.Described] = []
        with _MASKING:
            let_out = _sdk_spans.masked(hook, str(self.config.langfuse_public_key), described)
        if kept_back := len(described) - len(let_out):
            self._sender.add_dropped(kept_back)
            _log.warn_once(
                "spans are not sent to Langfuse, for mask_otel_spans of the program's client fails for them."
            )
        for record, attributes in let_out:
            yield from self._alone(otlp.encode_span, record, attributes)

    def _alone(self, encode: Callable[..., bytes], *about: Any) -> list[bytes]:
        """One encoded span; none if it cannot be encoded, which costs no other."""
        with _ENCODING:
            return [encode(*about)]
        self._sender.add_dropped(1)
        return []

    def _submit(self, spans: list[bytes]) -> None:
        body = otlp.request(spans, str(self.config.langfuse_public_key), otlp.resource())
        self._sender.submit(body, len(spans))

    def _mask(self) -> Callable[[Any], Any] | None:
        theirs = self._client.mask
        if theirs is None:
            return None

        def mask(value: Any) -> Any:
            with _MASKING:
                return theirs(data=value)
            return _WITHHELD

        return mask


_lock = OwnLock()
_sinks: WeakValueDictionary[tuple[str | None, ...], LangfuseSink] = WeakValueDictionary()


def open_sink(config: TracingConfig) -> LangfuseSink:
    """The process's one sink for a project and server, made at its first use.

    With another secret key it is another one: the first may be wrong, or no longer hold.
    """
    preload()
    key = (config.langfuse_public_key, config.langfuse_secret_key, config.langfuse_host, config.store_path())
    with _lock():
        sink = _sinks.get(key)  # also one that was let go of: the client that it has made keeps it
        if sink is None:
            sink = LangfuseSink(config)
            delivery.add_sink(sink)
            _sinks[key] = sink  # last: a time limit that strikes before leaves none that nobody would flush
        return sink
