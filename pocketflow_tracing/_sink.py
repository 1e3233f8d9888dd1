"""What delivery asks of the places where records go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .records import RunRecord, SpanRecord

__all__ = ["Sink"]


class Sink(Protocol):
    """Where records go. All methods but `describe` and `watch` are called on the worker (or, at exit, after it)."""

    def describe(self) -> str:
        """Name the sink in a sentence of debug mode."""

    def start(self) -> None:
        """Start the threads that the sink needs.

        Called together with the worker's start, in time: none can be started any more once the interpreter shuts down
        (Python 3.12), and a short program delivers only then.
        """

    def watch(self) -> None:
        """Called at each run's start, on the caller's path: get ready to see spans of other instrumentations."""

    def expect(self) -> None:
        """Get ready: a run has begun, and its first records will come when a batch has gathered."""

    def accept(self, runs: list[RunRecord], spans: list[SpanRecord], done: list[SpanRecord]) -> None:
        """Take records. `spans` holds unfinished ones too, `done` only those of which nothing will change any more."""

    def add_dropped(self, spans: int) -> bool:
        """Count spans that the queue's bounds dropped; True where the sink keeps figures."""
        ...

    def tick(self) -> float | None:
        """Do what is due. Returns the seconds until it wants to be called again, None when it need not."""

    def is_done(self) -> bool:
        """Whether nothing is left to be delivered: it may be closed and forgotten, once nobody uses it."""
        ...

    def flush(self, deadline: float) -> bool:
        """Deliver everything by the deadline (of `time.monotonic`); True only if everything was accepted."""

    def close(self, deadline: float) -> bool:
        """Flush, keep what cannot be delivered, and let go of threads and files."""

    def abandon(self) -> None:
        """Forget threads, files and pending records: they belong to the parent of this forked process."""
