"""Takes batches to the server, and does with each what the answer asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import _log
from ..config import TracingConfig
from ._batch import Batch, halves, singles
from ._channel import Channel
from ._http import Answer, post, shown_host
from ._pace import Pace

if TYPE_CHECKING:
    from ._kept import Kept

__all__ = ["Courier"]


_TRIES_IN_MEMORY = 3
"""Of a span or score by itself, where there is no disk to put it off to: what waits behind it comes first."""
_HALVINGS = 8
"""That it takes to find one score among those of a list: with more bad ones than that it is dearer than each by itself."""


class Courier:
    """Sends on one thread.

    Args:
        config: keys and address.
        kept: the outbox, None where there is none.
        keep: puts a batch there, for a number of seconds or until the server is asked again; False when that did not work.
        hold: takes back a batch that could not be put there.
    """

    def __init__(
        self,
        config: TracingConfig,
        kept: Kept | None,
        keep: Callable[[Batch, str, float], bool],
        hold: Callable[[Batch], None],
    ) -> None:
        self._config = config
        self._kept = kept
        self._keep = keep
        self._hold = hold
        self.pace = Pace()
        self.delivered = 0
        self.refused = 0
        self._takes_lists = True  # of scores; older servers do not

    def send(self, batch: Batch, channel: Channel, is_given_up: Callable[[], bool], *, alone: bool = False) -> int:
        """Send a batch; returns how many of its spans or scores were delivered.

        Args:
            batch: to be sent.
            channel: of this thread.
            is_given_up: whether the thread is: what was its own has been put on disk, and is others' to send.
            alone: whether it is a part of a batch that the server does not take, while it takes others.
        """
        if is_given_up():
            return 0
        if batch.of_scores and batch.records > 1 and not self._takes_lists:
            return self._send_parts(batch, singles(batch), channel, is_given_up, alone=alone)
        blocked = self.pace.is_blocked
        answer = Answer("later", self.pace.last_reason) if blocked else post(channel, self._config, batch.body)
        if answer.outcome == "accepted":
            self.delivered += batch.records
            self.pace.accepted()
            if self._config.debug:
                what = "scores" if batch.of_scores else "spans"
                _log.debug_line(f"delivered {batch.records} {what} to {shown_host(self._config)}")
            self._answered(batch, batch.records)
            return batch.records
        if is_given_up():
            return 0
        if answer.outcome == "forbidden" and self.delivered:  # with keys that it has accepted before
            reason = f"{shown_host(self._config)} answers 403 to some spans and takes others, as a firewall does"
            _log.warn_once(f"{reason}. They are tried again, less and less often.")
            answer, alone = replace(answer, outcome="later", reason=reason), True
        else:  # tried before, and others were taken since: it is this batch
            alone = not blocked and answer.outcome == "later" and (alone or (self.pace.is_well and batch.attempts > 0))
        if answer.outcome == "unwanted":
            self._set_aside(batch, answer)
            return 0
        if alone or answer.outcome in {"too large", "refused"}:
            if self.pace.refused():
                self.block(answer)
            is_refused = batch.of_scores and answer.outcome == "refused"
            one_by_one = is_refused and not 0 < answer.rejected * _HALVINGS < batch.records
            parts = singles(batch) if one_by_one else halves(batch)
            if parts:
                delivered = self._send_parts(batch, parts, channel, is_given_up, alone=alone)
                if one_by_one and not answer.rejected and delivered == batch.records:
                    self._takes_lists = False  # each of them was good
                return delivered
            if alone:
                self._put_off(batch, answer)
            else:
                self._set_aside(batch, answer)
            return 0
        if not blocked:
            self.block(answer)
            batch.attempts += 1
        if not self._keep(batch, answer.reason, 0.0):
            self._hold(batch)
        return 0

    def _send_parts(
        self, batch: Batch, parts: list[Batch], channel: Channel, is_given_up: Callable[[], bool], *, alone: bool
    ) -> int:
        delivered = sum(self.send(part, channel, is_given_up, alone=alone) for part in parts)
        if not is_given_up():
            self._answered(batch, delivered)
        return delivered

    def block(self, answer: Answer) -> None:
        """Leave the server alone for a while."""
        self.pace.failed(answer)
        kept = "kept in the outbox and sent later" if self._kept is not None else "kept in memory"
        _log.warn_once(f"{answer.reason}. What is recorded is {kept}.")

    def _put_off(self, batch: Batch, answer: Answer) -> None:
        """Keep a span that the server does not take, while it takes others: it is sent again, less and less often."""
        batch.attempts += 1
        pause = self.pace.put_off(batch.attempts, answer)
        if self._keep(batch, answer.reason, pause):
            return
        batch.alone += 1
        if batch.alone >= _TRIES_IN_MEMORY:
            self._set_aside(batch, answer)
        else:
            self._hold(batch)
            self.block(answer)  # there is no disk to put it off to

    def _set_aside(self, batch: Batch, answer: Answer) -> None:
        self.refused += batch.records
        what = "such scores" if batch.of_scores else "such spans"
        words = f"{answer.reason}: {answer.words}" if answer.words else answer.reason
        if self._kept is None:
            fate = "are lost, for POCKETFLOW_TRACE_STORE is off"
        elif self._kept.set_aside(batch, words):
            fate = "are set aside"
        else:
            fate = "are lost, for the store cannot be written"
        _log.warn_once(f"{answer.reason}; {what} {fate} (see `pocketflow-tracing doctor`).")

    def _answered(self, batch: Batch, delivered: int) -> None:
        if self._kept is not None:
            self._kept.answered(batch, delivered)
