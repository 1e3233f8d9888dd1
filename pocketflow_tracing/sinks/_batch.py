"""An encoded request on its way: which traces it holds, and how it is cut when the server does not take it whole."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from gzip import compress, decompress
from typing import NamedTuple

from . import _wire
from ._scores import are_scores, lines_with, trace_of

__all__ = ["Batch", "Found", "halves", "joined", "shed", "singles", "traces_of", "without"]


@dataclass(eq=False)
class Batch:
    """An encoded request on its way.

    Args:
        body: gzip of the protobuf, or lines of scores.
        records: the number of spans, or of scores, in it.
        kept: its id in the outbox, 0 while it is in memory only, -1 when the outbox's limits left nothing of it.
        since: `time.monotonic` of when it was handed over.
        attempts: how often it was sent in vain, or what it is a part of was.
        alone: how often while the server took others, and it could not be cut any more.
        answered: whether the server has answered, so that a late copy on disk is not made any more.
        traces: what `traces_of` says of the body, once it was asked.
    """

    body: bytes
    records: int
    kept: int = 0
    since: float = 0.0
    attempts: int = 0
    alone: int = 0
    answered: bool = False
    traces: dict[str, bool] | None = None

    @property
    def of_scores(self) -> bool:
        """Whether it holds scores, and not spans."""
        return are_scores(self.body)


class Found(NamedTuple):
    """What was found on disk.

    Args:
        batch: to be sent now.
        is_left: whether something is there that cannot be sent yet, or nobody can know.
        due_in: seconds until it is looked again for what was put off; None where nothing was.
        is_put_off: whether it is to be looked again as soon as the caller has nothing better to do.
    """

    batch: Batch | None
    is_left: bool = False
    due_in: float | None = None
    is_put_off: bool = False


def halves(batch: Batch) -> list[Batch]:
    """A batch as two, or [] when it holds one span or score."""
    if batch.records < 2:
        return []
    middle = batch.records // 2
    parts = (_only(batch.body, lambda place, _: place < middle), _only(batch.body, lambda place, _: place >= middle))
    return [_part(batch, body, records) for body, records in parts]


def singles(batch: Batch) -> list[Batch]:
    """A batch of scores as one of each, or [] when it holds one."""
    return [_part(batch, line, 1) for line in lines_with(batch.body)] if batch.records > 1 else []


def _part(batch: Batch, body: bytes, records: int) -> Batch:
    return Batch(body, records, since=batch.since, attempts=batch.attempts)


def joined(batches: list[Batch]) -> Batch:
    """Batches of spans, or of scores, that are in memory only as one request."""
    if len(batches) == 1:
        return batches[0]
    if batches[0].of_scores:
        body = b"\n".join(batch.body for batch in batches)
    else:  # a message of protobuf that follows another one adds to it what is repeated
        body = compress(b"".join(decompress(batch.body) for batch in batches), 1, mtime=0)
    return Batch(body, sum(batch.records for batch in batches), since=batches[0].since)


def traces_of(body: bytes) -> dict[str, bool]:
    """The ids of the traces in a body, each with whether its root is there: then the trace is complete."""
    if are_scores(body):
        return dict.fromkeys(map(trace_of, lines_with(body)), False)
    found: dict[str, bool] = {}

    def note(span: bytes) -> bytes:
        trace_id, has_parent = _identity(span)
        found[trace_id] = found.get(trace_id, False) or not has_parent
        return span

    _with_spans(body, note)
    return found


def without(body: bytes, traces: Collection[str]) -> tuple[bytes, int]:
    """A body without the spans or scores of some traces, and the number of those that it has left."""
    going = set(traces)
    return _only(body, lambda _, trace_id: trace_id not in going)


def shed(batches: list[Batch], most_bytes: int) -> tuple[list[Batch], set[str]]:
    """The newest traces of batches that are in memory only, whole, within so many bytes.

    Args:
        batches: the oldest first.
        most_bytes: of all bodies together.

    Returns:
        What is left, and the ids of the traces that are not.
    """
    gone: set[str] = set()
    while batches and sum(len(batch.body) for batch in batches) > most_bytes:
        going: set[str] = set()
        for batch in batches:
            batch.traces = traces_of(batch.body) if batch.traces is None else batch.traces
            going = going or {trace_id for trace_id, complete in batch.traces.items() if complete}
        going = going or set(batches[0].traces or ())
        for batch in batches:
            if batch.traces and going & batch.traces.keys():
                batch.body, batch.records = without(batch.body, going)
                batch.traces = {trace_id: batch.traces[trace_id] for trace_id in batch.traces.keys() - going}
        batches = [batch for batch in batches if batch.traces]
        gone |= going
    return batches, gone


def _with_spans(body: bytes, rewrite: Callable[[bytes], bytes | None]) -> bytes:
    """A request with each of its spans as `rewrite` has it, and nothing of the others; not compressed."""

    def of_scope(scope_spans: bytes) -> bytes | None:
        return _with_some(scope_spans, rewrite)

    def of_resource(resource_spans: bytes) -> bytes | None:
        return _with_some(resource_spans, of_scope)

    return _wire.rewritten(decompress(body), 1, of_resource)


def _with_some(message: bytes, rewrite: Callable[[bytes], bytes | None]) -> bytes | None:
    """A message with what `rewrite` leaves of its second field, None where that is nothing: a resource, or a scope in one."""
    is_some = False

    def noted(part: bytes) -> bytes | None:
        nonlocal is_some
        left = rewrite(part)
        is_some = is_some or left is not None
        return left

    left = _wire.rewritten(message, 2, noted)
    return left if is_some else None


def _identity(span: bytes) -> tuple[str, bool]:
    """The id of a span's trace, and whether it has a parent."""
    trace_id, has_parent = b"", False
    for number, value, _ in _wire.fields(span):
        if number > 4:  # what writes these bodies, `_wire` and OpenTelemetry's classes, does so in the order of numbers
            break
        if number == 1 and type(value) is bytes:
            trace_id = value
        elif number == 4:
            has_parent = bool(value)
    return trace_id.hex(), has_parent


def _only(body: bytes, wanted: Callable[[int, str], bool]) -> tuple[bytes, int]:
    """A body with the spans or scores that are wanted, by their place in it and their trace's id, and their number."""
    if are_scores(body):
        lines = [line for place, line in enumerate(lines_with(body)) if wanted(place, trace_of(line))]
        return b"\n".join(lines), len(lines)
    place = kept = 0

    def keep(span: bytes) -> bytes | None:
        nonlocal place, kept
        is_wanted = wanted(place, _identity(span)[0])
        place += 1
        kept += is_wanted
        return span if is_wanted else None

    return compress(_with_spans(body, keep), 1, mtime=0), kept
