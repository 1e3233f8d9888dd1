"""The one boundary between this package and its host: an error of ours never reaches the flow that is watched.

Everything else in the package lets errors fly; the few places where the host calls into us, and the worker, stand inside
a `Seam`. What is the host's passes it: KeyboardInterrupt and its kin, and what `is_hosts` says.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import itertools
import opcode
import os
import signal
import sys
import traceback
from collections.abc import Container
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from ._log import warn

_PACKAGE = os.path.dirname((lambda: None).__code__.co_filename) + os.sep  # noqa: PTH120 - as frames have it, frozen ones too
_WITHOUT_WORDS = (MemoryError, StopAsyncIteration, StopIteration)
_LIBRARIES = frozenset({"numpy", "pandas", "polars", "pydantic_core", "pyo3_runtime", "torch"})
"""Those that raise errors of their own in compiled code, past any frame, some without a message; panics of Rust are pyo3's."""

_OF_LIMITS = ("abort", "cancel", "deadline", "exit", "interrupt", "kill", "limit", "shutdown", "stop", "time")
"""Words in the names of exceptions that another thread sets."""

_OF_OTHERS = ("CancelledError", "Cancelled")
"""Names of exceptions that say of something else that it was cancelled, or strike where somebody awaits: never here."""

_RAISE = opcode.opmap["RAISE_VARARGS"]
_module_of = type.__dict__["__module__"].__get__
_name_of = type.__dict__["__name__"].__get__
_args_of = BaseException.__dict__["args"].__get__
_said: set[tuple[str, str, str]] = set()
_MOST_SAID = 200
"""Reports in all: a program may make a class for each of its errors."""

on_our_thread: contextvars.ContextVar[bool] = contextvars.ContextVar("pocketflow_tracing_thread", default=False)
"""Whether this is a thread of ours: of the host's, nothing runs on it but what we call."""

on_absorbed: list[BaseException] | None = None
"""Where the test suite collects what was absorbed; None outside of it."""


class Seam:
    """A place where the host and this package meet; `with seam:` absorbs and reports what fails inside.

    Args:
        doing: what fails when it fails, in words for the user: "recording a node".
        theirs: whether it calls a function of the user's, whose line is then the one to name.
    """

    __slots__ = ("doing", "theirs")

    def __init__(self, doing: str, *, theirs: bool = False) -> None:
        self.doing = doing
        self.theirs = theirs

    def __enter__(self) -> None:
        """Nothing to prepare: a seam has no state, so one object serves all threads."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or is_hosts(error, theirs=self.theirs):
            return False
        self.absorb(error)
        return True

    def absorb(self, error: BaseException) -> None:
        """Report an error of ours, once per place and type; its message stays out, for it may hold the user's data."""
        try:
            if on_absorbed is not None:
                on_absorbed.append(error)
            self._report(error)
        except Exception as failure:  # a log handler of the host's that raises, or no stack left (RecursionError)
            if is_hosts(failure, theirs=True):
                raise

    def _report(self, error: BaseException) -> None:
        place = _place(error, theirs=self.theirs)
        key = (self.doing, _name_of(type(error)), place)
        if key in _said or len(_said) >= _MOST_SAID:
            return
        _said.add(key)
        warn(
            "could not finish %s (%s in %s). Your program runs on as before, with less in its trace.",
            self.doing,
            type(error).__name__,
            place,
            elsewhere=True,
        )


class Tolerating:
    """`contextlib.suppress` for what may go wrong where we ask: what is the host's passes, as the TimeoutError of a time limit.

    Args:
        kinds: of exceptions.
        theirs: whether it calls code of the user's.
    """

    __slots__ = ("kinds", "theirs")

    def __init__(self, *kinds: type[BaseException], theirs: bool = False) -> None:
        self.kinds = kinds
        self.theirs = theirs

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return isinstance(error, self.kinds) and not is_hosts(error, theirs=self.theirs)


def is_hosts(error: BaseException, *, theirs: bool = False) -> bool:
    """Whether an exception that appeared in our code is the host's: of a time limit or a debugger that struck there.

    A signal handler of the host's stands in its traceback: it is a handler now, or it was called as one, with the frame that
    was interrupted; so is a trace function. What another thread has set (`PyThreadState_SetAsyncExc`) comes out of nowhere, in
    our code or in a library's that we called: no `raise` stands there, and it has nothing to say, which errors of functions in
    C have, or is of a class of somebody else's. Out of a function of the user's such errors come as well, of whatever library it
    uses (`_queue.Empty` has no message); there the class has to be named as a limit is, and what was cancelled is
    something else. On our own threads nothing strikes.

    Args:
        error: the exception.
        theirs: whether it came out of a function of the user's that we call, which may raise anything, also from C.
    """
    if type(error) is RecursionError or on_our_thread.get():  # at the limit there is no room to ask
        return False
    if _is_of(_LIBRARIES, error):
        return False
    if not isinstance(error, Exception):  # Ctrl-C and its kin
        if not theirs or isinstance(error, KeyboardInterrupt):
            return True
        if isinstance(error, GeneratorExit) or _name_of(type(error)) in _OF_OTHERS:
            return False
    steps: list[TracebackType] = []
    step = error.__traceback__
    while step is not None:
        steps.append(step)
        step = step.tb_next
    frames = [step.tb_frame for step in steps]
    if not all(frame.f_code.co_filename.startswith(_PACKAGE) for frame in frames):  # to ask all signals takes 60 µs
        handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
        if any(frame.f_code in handlers for frame in frames):
            return True
        if any(_was_given(handler, interrupted) for interrupted, handler in itertools.pairwise(frames)):
            return True
    if not steps or _is_raised_at(steps[-1]):
        return False
    has_words = _args_of(error) or isinstance(error, _WITHOUT_WORDS)
    if theirs:
        return not has_words and any(word in _name_of(type(error)).lower() for word in _OF_LIMITS)
    if not has_words:
        return True
    called = {_top(frame.f_globals.get("__name__")) for frame in frames}
    return not (_is_of(sys.stdlib_module_names, error) or _is_of(called, error))


def _is_of(packages: Container[str], error: BaseException) -> bool:
    """Whether an exception's class was defined in one of these packages."""
    return _top(_module_of(type(error))) in packages


def _top(module: object) -> str:
    return module.partition(".")[0] if type(module) is str else ""


def _is_raised_at(step: TracebackType) -> bool:
    """Whether an exception comes from a `raise` or `assert`, or from compiled code, which has no instructions of Python's."""
    code, last = step.tb_frame.f_code.co_code, step.tb_lasti
    if last < 0:  # before the first one: Python 3.10 lets others in there
        return not code or sys.version_info >= (3, 11)
    return last >= len(code) or code[last] == _RAISE


def _was_given(frame: FrameType, interrupted: FrameType) -> bool:
    """Whether a function was called with the frame in which it was called, as a signal handler or a trace function is."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    given = frame.f_locals
    for value in [given.get(name) for name in code.co_varnames[:count]]:
        for part in value if type(value) is tuple else (value,):
            # of a trace function that is told of a call, the frame that was just made
            if type(part) is FrameType and (part is interrupted or part.f_back is interrupted):
                return True
    return False


def _code_of(handler: Any) -> Any:
    """The code that a signal handler runs, None for what has none in Python."""
    while type(handler) is functools.partial:
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    code = getattr(handler, "__code__", None)
    return code or getattr(getattr(type(handler), "__call__", None), "__code__", None)  # noqa: B004 - of a callable object


def _place(error: BaseException, *, theirs: bool) -> str:
    places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [place for place in places if place[0].startswith(_PACKAGE) and not theirs] or places
    return f"{Path(ours[-1][0]).name}:{ours[-1][1]}" if ours else "an unknown place"
