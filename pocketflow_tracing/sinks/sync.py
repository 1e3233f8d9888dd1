"""Sending what waits in a store's outbox, for the command `sync`."""

from __future__ import annotations

from dataclasses import dataclass

from pocketflow_tracing.config import TracingConfig

from .._time import monotonic
from ._http import shown_host
from .sender import Sender

__all__ = ["SyncReport", "sync"]


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What `sync` did; a score counts as one span.

    Args:
        delivered: spans that the server took now.
        waiting: spans that still wait, those for other projects and servers included.
        refused: spans that are set aside.
        dropped: spans that the limits pushed out, ever.
        reason: why something waits or was refused now, None when nothing is and was.
    """

    delivered: int
    waiting: int
    refused: int
    dropped: int
    reason: str | None = None


def sync(store_path: str, config: TracingConfig, timeout: float = 60.0, *, refused: bool = False) -> SyncReport:
    """Send what waits in a store's outbox for the project and server of a configuration.

    Args:
        store_path: of the store file.
        config: with the keys and the address.
        timeout: seconds.
        refused: send what the server refused once more, too.
    """
    from pocketflow_tracing.store import Outbox  # noqa: PLC0415 - sending alone needs no sqlite3

    config = config.resolved()
    sender = Sender(config, store_path)
    sender.hurry(refused=refused)
    sender.flush(monotonic() + timeout)
    sender.close(monotonic() + 1.0, monotonic())
    outbox = Outbox(store_path)
    counts = outbox.counts()
    outbox.close()
    own = (shown_host(config), config.langfuse_public_key)
    elsewhere = [to for to in counts.destinations if (to.endpoint, to.public_key) != own]
    reason = sender.last_reason
    if not reason and counts.sending_spans:
        reason = f"{counts.sending_spans:,} spans are being sent by another process, which has no answer yet"
    reason = reason or (counts.reasons[0] if counts.reasons else "")
    if len(elsewhere) == len(counts.destinations):
        reason = ""
    reasons = [reason] if reason else []
    reasons += [f"{to.spans:,} spans wait for the project of {to.public_key} at {to.endpoint}" for to in elsewhere]
    if sender.refused:
        were = "span was" if sender.refused == 1 else "spans were"
        reasons.append(f"{sender.refused:,} {were} refused: {'; '.join(counts.refusals)}")
    return SyncReport(
        delivered=sender.delivered,
        waiting=counts.waiting_spans,
        refused=counts.refused_spans,
        dropped=counts.dropped_spans,
        reason=". ".join(reasons) or None,
    )
