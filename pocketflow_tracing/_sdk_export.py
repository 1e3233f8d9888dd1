"""The exporter of the Langfuse client that we make: what generations hold waits here until the worker makes it ready to be sent.

The SDK exports on a thread of its own, on that of whoever flushes, and at the end of the process: nowhere there may a mask
of the user's run, or a text of megabytes be looked through.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from gzip import compress
from typing import TYPE_CHECKING, Any

from . import _log
from ._finalisers import guarded
from ._guard import Seam
from ._sdk_spans import SettingsOfSpans
from ._sdk_told import Switches
from ._time import breathe, monotonic
from .capture import Limits
from .delivery import delivery
from .redaction import Rules, rules_of
from .redaction_spans import leave_out, redact

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExportResult

    from .config import TracingConfig

__all__ = ["TOGETHER", "Unready", "is_exporting", "make_exporter", "weight_of"]

_READYING = Seam("making a generation ready to be sent")
_KEEPING = Seam("keeping what exit handlers have recorded")
TOGETHER = 50
"""Spans that are made ready before the worker looks at what else waits."""
_MOST_SPANS = 500
"""Of one request: each waits for an answer before the next one goes."""
_LONGEST_SECONDS = 0.5
"""That it may take to gather one: a mask of the program's may be slow, and what is ready is in memory only."""
MOST_BYTES = 3 * 1024 * 1024
"""Of one request before compression; Langfuse's default limit is 4.5 MB."""
_ENCODER = "opentelemetry.exporter.otlp.proto.common.trace_encoder"
_MANY = 1 << 40
_WHOLE = Limits(max_items=_MANY, max_elements=_MANY, max_depth=200, max_text=_MANY, max_total_text=_MANY)

is_exporting: ContextVar[bool] = ContextVar("pocketflow_tracing_exporting", default=False)
"""Whether spans are being made ready, for which a mask of the program's is called."""
_enter, _leave = guarded(is_exporting.set), guarded(is_exporting.reset)


def weight_of(span: Any) -> int:
    """Estimate the bytes of a span: a kilobyte for itself and each event and link, and the values of its attributes."""
    parts = [span, *getattr(span, "events", ()), *getattr(span, "links", ())]
    return sum(1024 + sum(map(_weight_of, (part.attributes or {}).values())) for part in parts)


def _weight_of(value: Any) -> int:
    if type(value) is str:
        return len(value)
    if type(value) is tuple and value:  # of texts or of numbers, and of None
        return 64 * len(value) + sum(len(item) for item in value if type(item) is str)
    return 0


class Unready:
    """Exported spans that wait to be made ready: redacted, masked and encoded.

    Args:
        config: its toggles and rules hold for what is recorded outside of runs; for what is in a run that one's do.
        submit: takes (gzip of an OTLP request, number of spans).
        drop: takes the number of spans that are lost.
        wake: has the worker call `make_ready`.
    """

    def __init__(
        self,
        config: TracingConfig,
        submit: Callable[[bytes, int], None],
        drop: Callable[[int], object],
        wake: Callable[[], None],
    ) -> None:
        self.elsewhere = Switches.of(config), rules_of(config)
        self._queue_mb = config.queue_mb
        self.lead_to(submit, drop, wake)
        self._most_bytes = int(config.queue_mb * 1024 * 1024)
        self.encoder: Any = None
        """OpenTelemetry's module, once the SDK is there that has imported it."""
        self.settings = SettingsOfSpans()  # the same in a forked child, for the processors note there what they see
        self.abandon()

    def lead_to(
        self, submit: Callable[[bytes, int], None], drop: Callable[[int], object], wake: Callable[[], None]
    ) -> None:
        """Hand over there from now on."""
        self._submit, self._drop, self._wake = submit, drop, wake

    def abandon(self) -> None:
        """Forget what waits: in a forked child it is the parent's."""
        self._waiting: deque[tuple[ReadableSpan, int, Switches, Rules]] = deque()
        self._bytes = 0
        self.came = 0
        """Spans that were put here, so far."""
        self._in_hand = 0  # spans that do not wait any more, and are not handed over
        self._ready: list[bytes] = []
        self._size = 0
        self._began = 0.0  # with them, of `time.monotonic`

    def __len__(self) -> int:
        return len(self._waiting) + self._in_hand

    @property
    def gone(self) -> int:
        """Of them those that wait no more: they go as they came."""
        return self.came - len(self)

    def put(self, spans: Sequence[ReadableSpan]) -> bool:
        """Take what the SDK exports; False where there is no room for all of it."""
        dropped = 0
        for span in spans:
            weight = weight_of(span)
            if self._waiting and self._bytes + weight > self._most_bytes:
                dropped += 1
                continue
            self._bytes += weight
            said = self.settings.take(span.context.span_id) or self.elsewhere
            self._waiting.append((span, weight, *said))
            self.came += 1
        if dropped:
            self._drop(dropped)
            _log.warn_once(
                "more generations came than can be delivered; the newest are dropped "
                f"(POCKETFLOW_TRACE_QUEUE_MB is {self._queue_mb:g}).",
                elsewhere=True,
            )
        self._wake()
        return not dropped

    def make_ready(self, until: float, most: int | None = None) -> bool:
        """Make spans ready and hand them over, on the worker (or at exit, after it); True if nothing is left.

        Args:
            until: of `time.monotonic`; the end of the process may come first.
            most: spans; None for all that wait now.
        """
        left = len(self._waiting) if most is None else most
        while left > 0 and self._waiting and not _is_late(until):
            left -= self._make_some_ready(until, min(left, TOGETHER))
        if most is None:  # who asks for all of it waits for what is ready, too
            self._hand_over()
        return not self._waiting

    def _make_some_ready(self, until: float, most: int) -> int:
        """Make at most so many ready, and hand over what comes to a request, or all there is; returns how many were taken."""
        taken = 0
        while taken < most and self._waiting and not self._is_a_request() and not _is_late(until):
            self._in_hand += 1
            span, weight, switches, rules = self._waiting.popleft()
            self._bytes -= min(self._bytes, weight)
            taken += 1
            breathe()
            entered = _enter(True)
            if not self._ready:
                self._began = monotonic()
            with _READYING:
                made = self._made_ready(span, switches, rules)
                self._ready.append(made)
                self._size += len(made)
            _leave(entered)
        if (lost := self._in_hand - len(self._ready)) > 0:
            self._in_hand -= lost
            self._drop(lost)
        if self._is_a_request() or not self._waiting:
            self._hand_over()
        return taken

    def _is_a_request(self) -> bool:
        is_large = len(self._ready) >= _MOST_SPANS or self._size >= MOST_BYTES
        return is_large or (bool(self._ready) and monotonic() - self._began > _LONGEST_SECONDS)

    def _hand_over(self) -> None:
        ready, self._ready, self._size = self._ready, [], 0
        if ready:  # a message of protobuf that follows another one adds to it what is repeated
            self._submit(compress(b"".join(ready), 1, mtime=0), len(ready))
        self._in_hand = 0

    def _made_ready(self, span: ReadableSpan, switches: Switches, rules: Rules) -> bytes:
        # Where it was thrown out of `sys.modules`, as tests do, the one that was there goes on: to import a second one
        # ends the process, for protobuf's messages of the first no longer hold.
        message = (sys.modules.get(_ENCODER) or self.encoder).encode_spans([span])
        rules = replace(rules, limits=_WHOLE)  # what is cut the SDK decides
        for resource in message.resource_spans:
            for scope in resource.scope_spans:
                for encoded in scope.spans:
                    leave_out(encoded, switches)
                    if switches is not self.elsewhere[0]:
                        _place(encoded, switches, self.elsewhere[0])
                    redact(encoded, rules)
        return bytes(message.SerializeToString())

    def give_up(self) -> int:
        """Forget what waits, at the end of the process; returns how many spans that are."""
        lost = len(self)
        self.abandon()
        self._drop(lost)
        return lost


def _place(span: Any, switches: Switches, elsewhere: Switches) -> None:
    """Let a span be of the environment and release of its run, where it says nothing else than the client that exports it."""
    for name in ("environment", "release"):
        ours: str | None = getattr(switches, name)
        key = f"langfuse.{name}"
        there = next((pair for pair in span.attributes if pair.key == key), None)
        if ours is None or (there is not None and there.value.string_value != getattr(elsewhere, name)):
            continue
        (span.attributes.add(key=key) if there is None else there).value.string_value = ours


def _is_late(until: float) -> bool:
    return monotonic() > min(until, delivery.last_moment)


def make_exporter(unready: Unready, made_by: Any) -> Any:
    """A span exporter that hands over, and neither encodes nor waits.

    Args:
        unready: takes the spans.
        made_by: the `SdkClient` whose client it exports for.
    """
    from opentelemetry.exporter.otlp.proto.common import trace_encoder  # noqa: PLC0415 - imported already
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415 - likewise

    unready.encoder = trace_encoder
    owner = [made_by]

    class Exporter(SpanExporter):
        # it has no attributes of its own: the SDK writes what it finds in them into the observation of a function that is
        # given a client, and what waits here would be in there
        __slots__ = ()
        of_pocketflow_tracing = True

        @property
        def made_by(self) -> Any:
            return owner[0]

        @made_by.setter
        def made_by(self, client: Any) -> None:
            owner[0] = client

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return SpanExportResult.SUCCESS if unready.put(spans) else SpanExportResult.FAILURE

        def shutdown(self) -> None:
            # of a provider that was there before us, whose exit handler runs after ours and after those of the program
            with _KEEPING:
                delivery.keep_late()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - what it exports is handed over at once
            return True

    return Exporter()
