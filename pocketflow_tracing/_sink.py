"""What delivery asks of the places where records go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .records import RunRecord, SpanRecord

__all__ = ["Sink"]


class Sink(Protocol):
    """Where records go.

    All methods but `describe`, `watch`, `await_making`, `flush` and `abandon` are called on the worker, or, at exit, after it;
    the two numbers are read anywhere.
    """

    @property
    def lost(self) -> int:
        """Spans that will never be delivered, refused ones too, so far."""
        ...

    @property
    def in_memory(self) -> int:
        """Spans that the sink has taken, and neither delivered nor kept on disk."""
        ...

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

    def await_making(self) -> None:
        """Called at each run's end, on the caller's path: the program may remove what `expect` is just being at, or at last."""

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

    def hand_on(self, deadline: float) -> bool:
        """Send everything on its way, and wait for no server; False if something stays here."""
        ...

    def flush(self, deadline: float) -> bool:
        """Wait until everything has been delivered, or the deadline (of `time.monotonic`); True if nothing is left.

        Called on the thread of whoever waits, while the worker goes on.
        """
        ...

    def close(self, deadline: float, answers_by: float) -> bool:
        """Let go of threads and files by the deadline; True if nothing is left.

        What has no answer of a server until `answers_by` is kept on disk.
        """

    def abandon(self) -> None:
        """Forget threads, files and pending records: they belong to the parent of this forked process."""
