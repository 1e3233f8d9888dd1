"""What the Langfuse SDK sends by itself: the spans of a client of the program's own, and scores and media of any."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from ._ends import answer_seconds
from ._guard import Seam
from ._threads import start_thread
from ._time import monotonic, sleep

__all__ = ["Flushes", "Left", "exports", "left_in"]

_FLUSHING = Seam("flushing the Langfuse client")
_LOOK_SECONDS = 0.02
_QUEUE_SECONDS = 10.0
"""How long the SDK may take for its scores and media, which know no deadline of their own."""


class Left(NamedTuple):
    """What a client has and has not sent yet."""

    scores: int
    media: int


class Flushes:
    """Flushes of one client, on a thread of their own, one at a time: the SDK keeps to no deadline but that of its requests."""

    def __init__(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Begin anew, in a forked child too: the thread is the parent's."""
        self._lock = threading.RLock()
        self._asked = self._answered = 0
        self._is_sent = True  # whether all was, the last time
        self._is_running = False  # whether a thread is at it
        self._unbegun: Any = None  # the resources of a client, where no thread could be started for it

    def begin(self, resources: Any, processors: list[Any]) -> None:
        """Have a client send what it holds.

        Args:
            resources: what the SDK keeps of it.
            processors: of its spans, where they are not ours to send.
        """
        with self._lock:
            self._asked += 1
            if self._is_running:
                return
            self._is_running = start_thread(self._run, "pocketflow-tracing-flush", resources, processors) is not None
            if not self._is_running and not processors:
                self._unbegun = resources  # at the end of the process, on Python 3.12: who waits does it
            elif not self._is_running:
                self._answered, self._is_sent = self._asked, False  # likewise, but the SDK ends by itself

    def pass_over(self) -> None:
        """Note that a client has nothing to send any more: what an earlier flush came to is over."""
        with self._lock:
            if not self._is_running:
                self._is_sent = True

    def wait(self, deadline: float) -> bool:
        """Wait for what has begun, until the deadline of `time.monotonic`; it takes no lock, see `Sender.wait`."""
        asked = self._asked
        if (resources := self._unbegun) is not None:
            self._unbegun = None
            self._is_sent = _sent(resources, [], deadline)
            self._answered = asked
        while self._answered < asked and (left := answer_seconds(deadline)) > 0:
            sleep(min(left, _LOOK_SECONDS))
        return self._answered >= asked and self._is_sent

    def _run(self, resources: Any, processors: list[Any]) -> None:
        while True:
            with self._lock:
                asked = self._asked
                if self._answered >= asked:
                    self._is_running = False
                    return
            self._is_sent = _sent(resources, processors, monotonic() + _QUEUE_SECONDS)
            self._answered = asked


def exports(processor: Any, deadline: float) -> bool:
    """Have a span processor of the SDK's export what it holds; past what waits for the server, where it is ours."""
    return bool(type(processor).force_flush(processor, max(1, int((deadline - monotonic()) * 1000))))


def left_in(resources: Any) -> Left:
    """What a client has that is not sent yet, spans aside."""
    return Left(*(0 if queue is None else int(queue.unfinished_tasks) for queue in _queues_of(resources)))


def _queues_of(resources: Any) -> tuple[Any, Any]:
    """The queues of scores and of media, None for one that is not there."""
    scores = getattr(resources, "_score_queue", None) or getattr(
        resources, "_score_ingestion_queue", None
    )  # langfuse 5 and 4
    return scores, getattr(resources, "_media_upload_queue", None)


def _sent(resources: Any, processors: list[Any], deadline: float) -> bool:
    with _FLUSHING:
        exported = True
        for processor in processors:
            exported = exports(processor, deadline) and exported
        for consumer in getattr(resources, "_score_consumers", ()):
            getattr(consumer, "wake", int)()  # it gathers for a second otherwise
        return all([_is_empty_by(queue, deadline) for queue in _queues_of(resources)]) and exported  # noqa: C419 - each of them
    return False


def _is_empty_by(queue: Any, deadline: float) -> bool:
    if queue is None:
        return True
    with queue.all_tasks_done:  # its `join` knows no deadline
        empty: bool = queue.all_tasks_done.wait_for(
            lambda: not queue.unfinished_tasks, max(0.0, deadline - monotonic())
        )
    return empty
