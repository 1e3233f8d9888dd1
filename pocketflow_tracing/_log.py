"""The package's logger: warnings that are said once, and the lines of debug mode."""

from __future__ import annotations

import contextlib
import logging
import select
import signal
import sys
from collections import deque
from collections.abc import Iterator
from importlib import import_module
from threading import get_ident
from typing import Any

from . import _time
from ._speaker import Speaker

logger = logging.getLogger("pocketflow_tracing")
# No NullHandler: without one, Python's last resort shows warnings on stderr in programs that configured no logging,
# and "half of your credentials is missing" must be seen exactly there.

_NAME = "pocketflow-tracing: "  # programs show warnings without the logger they come from
_said: set[str] = set()
_MOST_SAID = 1000
_speaking: set[int] = set()
"""Threads in the midst of a line: a handler may run flows, whose lines would come back to it."""
_waiting: deque[tuple[Any, ...]] = deque(maxlen=_MOST_SAID)
"""Lines that wait for the time of day."""
_last: deque[str] = deque(maxlen=_MOST_SAID)
"""What waits for the end of the process."""


def warn(message: str, *args: object, elsewhere: bool = False) -> None:
    """Log a warning that begins with the package's name; what a handler of the host's raises concerns nobody who records.

    Args:
        message: in a sentence or two, with a `%s` for each argument.
        args: what the sentence is about.
        elsewhere: on a thread of ours, for a run brought it about, which waits for no log handler. Without that who marks a
            flow or sets something reads it where it came up.
    """
    _log(logging.WARNING, _NAME + message, *args, elsewhere=elsewhere)


def warn_once(message: str, about: str = "", *, elsewhere: bool = False) -> None:
    """Log a warning the first time it is said in this process.

    Args:
        message: in a sentence or two.
        about: what of it counts as said, where the rest may be another each time; all of it without that.
        elsewhere: as of `warn`.
    """
    if _is_new(about or message):
        warn("%s", message, elsewhere=elsewhere)


def warn_at_the_end(message: str) -> None:
    """Have a line said on stderr at the end of the process; where somebody types what it does, as others and at once.

    It is of those that are no fault of the program's. Its tests look at what is logged while they run, a lock that its log
    handlers take may be held by who runs a flow, and at the end they may be closed.
    """
    if not _is_new(message):
        return
    if hasattr(sys, "ps1"):  # which IPython and its kernels set as well
        speaker.put(logging.WARNING, f"{_NAME}%s", message)
    else:
        _last.append(message)


def _is_new(about: str) -> bool:
    """Note that something is said; False where it was before."""
    if about in _said:
        return False
    if len(_said) >= _MOST_SAID:
        _said.clear()
    _said.add(about)
    return True


def debug_line(message: str) -> None:
    """Log one line of debug mode, beginning with `[TRACING]`; none of what a handler does with another line of ours."""
    if get_ident() not in _speaking:
        _log(logging.INFO, "[TRACING] %s", message)


def say_waiting() -> None:
    """Have said what could not be said while a test had a time of its own, and what is not to be said where it came up."""
    if _time.is_mocked():
        return
    while _waiting:
        with contextlib.suppress(IndexError):  # another thread was faster
            speaker.put(*_waiting.popleft())
    speaker.rouse()


def say_the_last(seconds: float) -> None:
    """Say at the end of the process what is left, in so many seconds at most."""
    while _last:
        _write(_last.popleft())
    say_waiting()
    speaker.finish(seconds)


def begin_anew() -> None:
    """Leave to the parent of this forked process what it says by itself."""
    _last.clear()
    speaker.begin_anew()


def _write(message: str) -> None:
    """Say a line on stderr, unless the program has said what is to become of ours."""
    if logger.handlers or not logger.propagate:
        _log(logging.WARNING, f"{_NAME}%s", message)
    elif logger.isEnabledFor(logging.WARNING) and sys.stderr is not None and _has_room():
        with _guard().Tolerating(Exception, theirs=True), _without_sigpipe():  # it is closed, say
            sys.stderr.write(f"{_NAME}{_shown(message)}\n")


def _log(level: int, message: str, *args: object, elsewhere: bool = False) -> None:
    if _time.is_mocked():
        _waiting.append((level, message, *args))
    elif get_ident() not in _speaking and (elsewhere or speaker.is_at_the_end or _guard().on_our_thread.get()):
        speaker.put(level, message, *args)
        say_waiting()
    else:
        while _waiting:
            with contextlib.suppress(IndexError):  # another thread was faster
                _speak(*_waiting.popleft())
        _speak(level, message, *args)


def _speak(level: int, message: str, *args: object) -> None:
    if not (logger.hasHandlers() or _has_room()):
        return
    ident = get_ident()
    is_outer = ident not in _speaking
    try:
        _speaking.add(ident)
        with _without_sigpipe() if logger.isEnabledFor(level) else contextlib.nullcontext():
            logger.log(level, message, *args)
    except Exception as failure:  # stderr is closed, say
        if _guard().is_hosts(failure, theirs=True):
            raise
    finally:
        if is_outer:
            _speaking.discard(ident)


def _guard() -> Any:
    """The module, which logs too. Not by an `import`: a program may guard `builtins.__import__`, and this is about that."""
    return import_module("._guard", __package__)


def _has_room() -> bool:
    """Whether stderr takes a line: a pipe that is full, and read only once the process has ended, would keep it from that."""
    try:
        poll = select.poll()
        poll.register(sys.stderr.fileno(), select.POLLOUT)
        return bool(poll.poll(0))
    except Exception as failure:
        if _guard().is_hosts(failure):
            raise
        return True


@contextlib.contextmanager
def _without_sigpipe() -> Iterator[None]:
    """Let no line of ours end a program that is to die of writing where nobody reads, as tools of the command line are."""
    if not hasattr(signal, "sigtimedwait") or signal.getsignal(signal.SIGPIPE) is not signal.SIG_DFL:
        yield
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    if signal.SIGPIPE in blocked or signal.SIGPIPE in signal.sigpending():
        yield
        return
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})  # a handler of the host's may run in it, and raise
        yield
    finally:
        try:
            signal.sigtimedwait({signal.SIGPIPE}, 0)  # what our line has caused; that of a write is its thread's
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _cleaned(record: logging.LogRecord) -> bool:
    """Let every line through, without secrets."""
    record.msg, record.args = _shown(record.getMessage()), ()
    return True


def _shown(message: str) -> str:
    """A message without secrets and on one line: names in it may be anything."""
    # not for programs in which nothing is said
    scan = import_module(".redaction", __package__).scan
    one_line: str = import_module(".render_text", __package__).one_line(scan(message))
    return one_line


logger.addFilter(_cleaned)  # of all lines: some are logged past the functions above


speaker = Speaker(_speak, logger)


def show_debug_lines() -> None:
    """Make debug lines visible, on stderr where the program configured no logging for them."""
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    if not logger.hasHandlers():
        handler = _UntilConfigured(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)


class _UntilConfigured(logging.StreamHandler):  # type: ignore[type-arg]  # generic only for type checkers before 3.11
    """Writes to stderr until the program configures logging itself."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            super().emit(record)
