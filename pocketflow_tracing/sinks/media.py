"""Images, audio and PDFs to Langfuse, on a thread of their own: neither a slow upload nor a failing one holds up spans.

In a span stands the reference string of the Langfuse SDK (`langfuse.media`), and the content goes the way that the SDK's
goes: ask for an upload URL, put the content there, report how it went. A medium that cannot be taken, because it is too
large, too many wait or the last ones failed, stays the summary that it is in the record.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from json import dumps, loads
from typing import Any

import httpx

from .. import _log
from .._ends import answer_seconds
from .._guard import Seam
from .._media import Medium
from .._threads import STARTS_LATE, OwnThread, of_now, start_thread, wait_unseen
from .._time import monotonic, sleep
from ..config import TracingConfig
from ..records import Json, SpanRecord
from ._causes import cause
from ._channel import Channel, ChannelError
from ._http import headers, shown_host

__all__ = ["MediaSender"]

_SENDING = Seam("sending media to Langfuse")
_PATH = "/api/public/media"
_MOST_WAITING = 1000
"""Media that wait, known ones too: each costs a request, one after the other."""
_MAX_WAITING = 64 * 1024 * 1024
"""Bytes of content that may wait in memory."""
_MOST_KNOWN = 10_000
_TRIES = 3
_PAUSE = 0.5
"""Seconds before the second try; each later pause is twice as long."""
_LOOK_SECONDS = 0.02
_BLOCKED = 60.0
"""Seconds without new media after one that failed for good."""
_OF_ONE = frozenset({400, 413, 415, 422})
"""Answers to one medium, that say nothing of others."""
_FAILURES = (ChannelError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RuntimeError)


@dataclass(slots=True)
class _Job:
    medium: Medium
    trace_id: str
    span_id: str
    field: str
    tries: int = 0


@dataclass(slots=True)
class _Content:
    """What waits of one medium: its content is held once.

    Args:
        medium: with its content.
        jobs: that wait for it to be sent, or are at it.
    """

    medium: Medium
    jobs: int = 0


class _FailedError(Exception):
    """One try did not work.

    Args:
        reason: one sentence part for the user, without secrets.
        again: whether another try may work.
        others: whether it says something of other media as well.
    """

    def __init__(self, reason: str, *, again: bool, others: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.others = others


class MediaSender:
    """Sends the media of one project.

    Args:
        config: keys, address and timeout.
    """

    def __init__(self, config: TracingConfig) -> None:
        self._config = config
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._places: set[tuple[str, str, str]] = set()  # of those that wait: what, and where it is shown
        self._bytes = 0
        self._in_flight = False
        self.failed = 0  # media that could not be sent, so far
        self._blocked_until = 0.0
        self._resting_until = 0.0
        self._known: set[str] = set()  # media that the server has
        self._contents: dict[str, _Content] = {}  # of the others, by id
        self._thread: OwnThread | None = None
        self._stopping = False
        self._channel = Channel(self._config.timeout)

    def start(self) -> None:
        """Start the thread where that would be too late when the first medium comes, at the end of a short program."""
        if not STARTS_LATE and self._config.media:
            with self._condition():
                self._start()

    # --- the worker's side -------------------------------------------------------------------------------------------

    def placing(self, record: SpanRecord) -> Callable[[Json, str], Json] | None:
        """What puts a reference in the place of each medium of a record that will be sent; None when it has none.

        The function gets a value and the field that it stands in, "input" or "output".
        """
        if not record.media:
            return None
        media = {medium.id: medium for medium in record.media}
        return lambda value, field: self._placed(value, media, record, field)

    def _placed(self, value: Json, media: dict[str, Medium], record: SpanRecord, field: str) -> Json:
        if type(value) is list:
            return [self._placed(item, media, record, field) for item in value]
        if type(value) is not dict:
            return value
        medium = media.get(value["id"]) if "mime" in value and type(value.get("id")) is str else None
        if medium is None:
            return {key: self._placed(item, media, record, field) for key, item in value.items()}
        taken = self._take(_Job(medium, record.trace_id, record.span_id, field))
        return medium.reference if taken else value

    def _take(self, job: _Job) -> bool:
        size = len(job.medium.content)
        with self._condition():
            if self._stopping or monotonic() < self._blocked_until:
                self.failed += 1
                return False
            place = job.medium.id, job.span_id, job.field
            if place in self._places:
                return True  # twice in one field
            content = None
            if job.medium.id in self._known:
                job.medium, size = job.medium._replace(content=b""), 0
            elif (content := self._contents.get(job.medium.id)) is not None:
                job.medium, size = content.medium, 0
            else:
                content = _Content(job.medium)
            has_room = self._bytes + size <= _MAX_WAITING and len(self._waiting) < _MOST_WAITING
            if has_room and self._start():
                self._waiting.append(job)
                self._places.add(place)
                self._bytes += size
                if content is not None:
                    self._contents[job.medium.id] = content
                    content.jobs += 1
                self._changed.notify_all()
                return True
            self.failed += 1
        why = (
            "no thread can be started for media"
            if has_room
            else "more media come than can be sent to Langfuse meanwhile"
        )
        _log.warn_once(f"{why}; some are shown by type and size.")
        return False

    def tick(self) -> float | None:
        """Cut an upload that takes too long; seconds until the next look, None when nothing is on its way."""
        self._channel.cut_if_late()
        return 1.0 if self._in_flight or self._waiting else None

    def is_done(self) -> bool:
        """Whether nothing is left to be sent."""
        return not (self._waiting or self._in_flight)

    def hasten(self) -> None:
        """Send at once what waits: somebody wants to know."""
        with self._changed:
            self._resting_until = 0.0
            self._changed.notify_all()

    def wait(self, deadline: float) -> bool:
        """Wait until nothing is left, or one more cannot be sent, or the deadline; True if nothing is left.

        It takes no lock, see `Sender.wait`.
        """
        failed = self.failed
        while not self.is_done() and self.failed == failed and (left := answer_seconds(deadline)) > 0:
            sleep(min(left, _LOOK_SECONDS))
        return self.is_done()

    def close(self, deadline: float) -> bool:
        """Flush by the deadline and let go of the rest, which is said."""
        self.hasten()
        sent = self.wait(deadline)
        with self._changed:
            self._stopping = True
            left = len(self._waiting) + self._in_flight
            self._waiting.clear()
            self._places.clear()
            self._contents.clear()
            self._bytes = 0
            self._changed.notify_all()
            thread, self._thread = self._thread, None
        if thread is not None and not left:
            thread.wait(max(0.0, answer_seconds(deadline)))
        with self._changed:
            self._stopping = False
        if left:
            _log.warn_once(f"{left} media could not be sent to Langfuse before the end and are lost.")
        return sent

    def abandon(self) -> None:
        """Begin anew in a forked child."""
        self._reset()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _condition(self) -> threading.Condition:
        """Return the one for who may start a thread."""
        if self._thread is None:
            self._changed = of_now(self._changed)
        return self._changed

    def _start(self) -> bool:
        if self._thread is None or not self._thread.is_alive():
            self._thread = start_thread(self._run, "pocketflow-tracing-media")
        return self._thread is not None

    def _run(self) -> None:
        own = threading.current_thread()
        channel = self._channel = Channel(self._config.timeout)
        while True:
            with self._changed:
                while not self._stopping and self._thread is own and not self._is_due():
                    resting = self._resting_until - monotonic() if self._waiting else 30.0
                    if not wait_unseen(self._changed.wait, max(0.01, resting)) and not self._waiting:
                        channel.close()  # an idle process holds no connection
                if self._stopping or self._thread is not own:
                    break
                self._in_flight = True  # before it waits no more: who looks without the lock sees one of the two
                job = self._waiting.popleft()
                self._places.discard((job.medium.id, job.span_id, job.field))
            with _SENDING:
                self._send(channel, job)
            with self._changed:
                self._in_flight = False
                self._changed.notify_all()
        channel.close()

    def _is_due(self) -> bool:
        return bool(self._waiting) and monotonic() >= self._resting_until

    def _send(self, channel: Channel, job: _Job) -> None:
        try:
            self._upload(channel, job)
        except _FailedError as failure:
            job.tries += 1
            with self._changed:
                if failure.again and job.tries < _TRIES:
                    self._waiting.appendleft(job)
                    self._places.add((job.medium.id, job.span_id, job.field))
                    self._resting_until = monotonic() + _PAUSE * 2 ** (job.tries - 1)
                    return
                self.failed += 1
                self._let_go(job)
                if failure.others:
                    self._blocked_until = monotonic() + _BLOCKED
            others = ", and for a minute other media by type and size" if failure.others else ""
            _log.warn_once(
                f"{failure.reason}. What could not be sent is shown without its content{others}; "
                "POCKETFLOW_TRACE_MEDIA=false stops trying."
            )
        else:
            with self._changed:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known.add(job.medium.id)
                self._let_go(job)

    def _let_go(self, job: _Job) -> None:
        """Note that a job is over; the lock is held."""
        content = self._contents.get(job.medium.id)
        if content is None or content.medium is not job.medium:
            return
        content.jobs -= 1
        if not content.jobs:
            del self._contents[job.medium.id]
            self._bytes -= len(job.medium.content)

    def _upload(self, channel: Channel, job: _Job) -> None:
        medium = job.medium
        content = medium.content
        asked = {
            "traceId": job.trace_id,
            "observationId": job.span_id,
            "contentType": medium.mime,
            "contentLength": medium.size,
            "sha256Hash": medium.hash,
            "field": job.field,
        }
        answer = self._request(channel, "POST", _PATH, asked)
        url = answer.get("uploadUrl")
        if not url:
            return  # the server has it already
        if not content:  # it had it, and has lost it
            with self._changed:
                self._known.discard(medium.id)
            raise _FailedError(
                f"{shown_host(self._config)} asks again for a medium that it has taken", again=False, others=False
            )
        if answer.get("mediaId") != medium.id:
            raise _FailedError(f"{shown_host(self._config)} gave a medium another id", again=False)
        began = monotonic()
        put = {"Content-Type": medium.mime}
        if "storage.googleapis.com" not in url:
            put.update({"x-ms-blob-type": "BlockBlob", "x-amz-checksum-sha256": medium.hash})
        try:
            stored = channel.request("PUT", url, content, put)
        except _FAILURES as error:
            raise _FailedError(f"the media storage cannot be reached: {cause(error)}", again=True) from None
        report: dict[str, Any] = {
            "uploadedAt": datetime.now(timezone.utc).isoformat(),
            "uploadHttpStatus": stored.status,
            "uploadTimeMs": int((monotonic() - began) * 1000),
        }
        failed = not 200 <= stored.status < 300
        if failed:
            report["uploadHttpError"] = stored.body[:1000].decode("utf-8", "replace")
            if job.tries + 1 < _TRIES and _may_pass(stored.status):
                raise _FailedError(f"the media storage answered {stored.status}", again=True)
        self._request(channel, "PATCH", f"{_PATH}/{medium.id}", report)
        if failed:
            others = stored.status not in _OF_ONE
            raise _FailedError(f"the media storage answered {stored.status}", again=False, others=others)

    def _request(self, channel: Channel, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        host = shown_host(self._config)
        url = self._config.langfuse_host.rstrip("/") + path
        try:
            reply = channel.request(method, url, dumps(body).encode(), headers(self._config, json=True))
            if 200 <= reply.status < 300:
                found = loads(reply.body) if reply.body else {}
                return found if isinstance(found, dict) else {}
        except ChannelError as error:
            raise _FailedError(str(error), again=False) from None
        except _FAILURES as error:
            raise _FailedError(f"{host} cannot take media: {cause(error)}", again=True) from None
        again, others = _may_pass(reply.status), reply.status not in _OF_ONE
        raise _FailedError(f"{host} does not take media ({reply.status})", again=again, others=others)


def _may_pass(code: int) -> bool:
    return code >= 500 or code in {408, 425, 429}
