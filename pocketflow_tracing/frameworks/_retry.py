"""The retry loop around an exec: it numbers the attempts, and keeps those that failed until it is known whether one was saved."""

from __future__ import annotations

from typing import Any

from pocketflow import BatchNode

from .._guard import is_hosts
from .._queue_items import let_values_go
from ..recorder import Span
from ._look import peek
from ._scopes import ENDING, is_to_leave

_MOST_WITH_VALUES = 50
"""Failed attempts of one retry loop that are waiting for its end, with their values."""
_MOST_BYTES = 8_000_000
"""Of these values, estimated."""
_MOST = 1000
"""Failed attempts of one retry loop that are waiting for its end: of a node that polls, one before them stays an error."""


class Retry:
    """The scope of PocketFlow's retry loop around one exec.

    It numbers the attempts, and knows in the end whether a failed one was saved. The loop itself runs no code of the user's:
    the scope is handed on to those of the calls in it, and is never the current one.

    Args:
        frame: the node's span, or that of its batch, whose items are numbered in the order in which they begin (which is
            theirs, also under gather).
        node: whose exec it is.
    """

    __slots__ = ("attempts", "bare", "failures", "frame", "item", "max_attempts", "span", "weight")

    def __init__(self, frame: Any, node: Any) -> None:
        self.frame = frame
        self.span: Span | None = None
        self.attempts = 0
        self.failures: list[Span] | None = None
        self.bare = 0  # of the failures, those whose values have been let go
        self.weight = 0  # estimated bytes of the others
        self.item: int | None = None
        self.max_attempts: int | None = None
        try:
            span = self.span = frame if isinstance(frame, Span) else frame.span
            if span is not None and issubclass(type(node), BatchNode):
                self.item = span.items
                span.items += 1
            retries = peek(node, "max_retries")
            self.max_attempts = retries if type(retries) is int else None
        except Exception as error:
            if is_to_leave(error, frame):
                raise

    def begin(self, _args: tuple[Any, ...]) -> None:
        """Change nothing: it is never the current one."""

    def keep(self, failure: Span) -> None:
        """Keep an attempt that failed until the end; of many, or of large ones, the values of the last."""
        failures = self.failures
        if failures is None:
            failures = self.failures = []
        failures.append(failure)
        self.weight += failure.weight
        while self.bare < len(failures) - 1 and (
            self.weight > _MOST_BYTES or len(failures) - self.bare > _MOST_WITH_VALUES
        ):
            oldest = failures[self.bare]
            self.bare += 1
            self.weight -= oldest.weight
            let_values_go(oldest)
        if len(failures) > _MOST:
            self.bare -= 1
            failures.pop(0).deliver()

    def done(self, result: Any, error: BaseException | None = None) -> Any:
        """Tell the node and the failed attempts how it ended."""
        failures, self.failures = self.failures, None
        if failures:
            try:
                self._settle(failures, error)
            except Exception as failure:
                if is_hosts(failure):
                    raise
                ENDING.absorb(failure)
        return result

    def failed(self, error: BaseException) -> None:
        """End with an error."""
        self.done(None, error)

    def _settle(self, failures: list[Span], error: BaseException | None) -> None:
        if error is None and self.span is not None:
            self.span.recovered = True
        for failure in failures:
            if error is None:
                failure.attributes["level"] = "WARNING"
            with ENDING:  # each for itself
                failure.deliver()
