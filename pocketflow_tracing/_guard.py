"""The one boundary between this package and its host: an error of ours never reaches the flow that is watched.

Everything else in the package lets errors fly; the few places where the host calls into us, and the worker, stand inside
a `Seam`. It absorbs `Exception` only: KeyboardInterrupt and its kin belong to the host.
"""

from __future__ import annotations

import signal
import traceback
from pathlib import Path
from types import TracebackType

from ._log import logger

_PACKAGE = str(Path(__file__).parent)
_said: set[tuple[str, type[BaseException], str]] = set()

on_absorbed: list[BaseException] | None = None
"""Where the test suite collects what was absorbed; None outside of it."""


class Seam:
    """A place where the host and this package meet; `with seam:` absorbs and reports what fails inside.

    Args:
        doing: what fails when it fails, in words for the user: "recording a node".
    """

    __slots__ = ("doing",)

    def __init__(self, doing: str) -> None:
        self.doing = doing

    def __enter__(self) -> None:
        """Nothing to prepare: a seam has no state, so one object serves all threads."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        self.absorb(error)
        return True

    def absorb(self, error: Exception) -> None:
        """Report an error of ours, once per place and type; its message stays out, for it may hold the user's data."""
        try:
            if on_absorbed is not None:
                on_absorbed.append(error)
            self._report(error)
        except Exception:  # noqa: BLE001 - a log handler of the host's that raises, or no stack left (RecursionError)
            return

    def _report(self, error: Exception) -> None:
        place = _place(error)
        key = (self.doing, type(error), place)
        if key in _said:
            return
        _said.add(key)
        logger.warning(
            "pocketflow-tracing could not finish %s (%s in %s). Your program runs on as before, with less in its trace.",
            self.doing,
            type(error).__name__,
            place,
        )


def is_hosts(error: BaseException) -> bool:
    """Whether an exception was raised by a signal handler of the host that happened to run in our code (a time limit)."""
    codes = set()
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        function = getattr(handler, "__func__", handler)
        code = getattr(function, "__code__", None)
        if code is not None:
            codes.add(code)
    return bool(codes) and any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(_PACKAGE)] or list(frames)
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "an unknown place"
