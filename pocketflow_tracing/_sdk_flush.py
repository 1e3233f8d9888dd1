"""What the Langfuse SDK sends by itself: the spans of a client of the program's own, and scores and media of any."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from ._ends import answer_seconds
from ._guard import Seam
from ._sdk_spans import Former
from ._threads import start_thread
from ._time import monotonic, sleep

__all__ = ["Client", "Flushes", "Left", "exports", "left_in"]

_FLUSHING = Seam("flushing the Langfuse client")
_LOOK_SECONDS = 0.02
_QUEUE_SECONDS = 10.0
"""How long the SDK may take for its scores and media, which know no deadline of their own."""


class Left(NamedTuple):
    """What a client has and has not sent yet.

    Args:
        scores: that it was given.
        media: likewise.
        spans: where it was the program's before it became ours: those that wait, and one for those that are under way.
    """

    scores: int
    media: int
    spans: int = 0

    def __str__(self) -> str:
        said = [f"{number} {name}" for number, name in ((self.scores, "scores"), (self.media, "media")) if number]
        if self.spans:
            said.append("spans that were under way before the first run")
        return ", ".join(said)


class Client(NamedTuple):
    """A client that is to send what it holds.

    Args:
        resources: what the SDK keeps of it.
        processors: of its spans, where it is the program's own: those of ours are handed over another way.
        former: where it gathered its spans before it became ours.
    """

    resources: Any
    processors: list[Any]
    former: Former


class Flushes:
    """Flushes of a project's clients, on a thread, one at a time: the SDK keeps to no deadline but that of its requests."""

    def __init__(self) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Begin anew, in a forked child too: the thread is the parent's."""
        self._lock = threading.RLock()
        self._asked = self._answered = 0
        self._is_sent = True  # whether all was, the last time
        self._is_running = False  # whether a thread is at it
        self._clients: list[Client] = []  # that are to be flushed
        self._unbegun: list[Client] = []  # of them, where no thread could be started for it

    def begin(self, clients: list[Client]) -> None:
        """Have clients send what they hold."""
        with self._lock:
            self._asked += 1
            self._clients = clients
            if self._is_running:
                return
            self._is_running = start_thread(self._run, "pocketflow-tracing-flush") is not None
            if self._is_running:
                return
            # at the end of the process, on Python 3.12: who waits does it for ours, and the program's own end by themselves
            self._unbegun = [client for client in clients if not client.processors]
            if not self._unbegun:
                self._answered, self._is_sent = self._asked, False

    def pass_over(self) -> None:
        """Note that there is nothing to send any more: what an earlier flush came to is over."""
        with self._lock:
            if not self._is_running:
                self._is_sent = True

    def wait(self, deadline: float) -> bool:
        """Wait for what has begun, until the deadline of `time.monotonic`; it takes no lock, see `Sender.wait`."""
        asked = self._asked
        if self._unbegun:
            clients, self._unbegun = self._unbegun, []
            self._is_sent = _sent(clients, deadline)
            self._answered = asked
        while self._answered < asked and (left := answer_seconds(deadline)) > 0:
            sleep(min(left, _LOOK_SECONDS))
        return self._answered >= asked and self._is_sent

    def _run(self) -> None:
        while True:
            with self._lock:
                asked, clients = self._asked, self._clients
                if self._answered >= asked:
                    self._is_running, self._clients = False, []
                    return
            self._is_sent = _sent(clients, monotonic() + _QUEUE_SECONDS)
            self._answered = asked


def exports(processor: Any, deadline: float) -> bool:
    """Have a span processor of the SDK's export what it holds; past what waits for the server, where it is ours."""
    return bool(type(processor).force_flush(processor, max(1, int((deadline - monotonic()) * 1000))))


def left_in(resources: Any, former: Former) -> Left:
    """What a client has that is not sent yet, but for spans that come to us."""
    scores, media = (0 if queue is None else int(queue.unfinished_tasks) for queue in _queues_of(resources))
    return Left(scores, media, former.left)


def _queues_of(resources: Any) -> tuple[Any, Any]:
    """The queues of scores and of media, None for one that is not there."""
    # of scores langfuse 5 has the first, and 4 the second
    first, second, media = (
        getattr(resources, f"_{name}_queue", None) for name in ("score", "score_ingestion", "media_upload")
    )
    return first or second, media


def _sent(clients: list[Client], deadline: float) -> bool:
    with _FLUSHING:
        sent = True
        for resources, processors, former in clients:
            for processor in processors:
                sent = exports(processor, deadline) and sent
            for consumer in getattr(resources, "_score_consumers", ()):
                getattr(consumer, "wake", int)()  # it gathers for a second otherwise
            while any(left_in(resources, former)) and (seconds := answer_seconds(deadline)) > 0:
                sleep(min(seconds, _LOOK_SECONDS))  # the `join` of its queues knows no deadline
            sent = sent and not any(left_in(resources, former))
        return sent
    return False
