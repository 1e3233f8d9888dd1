"""The scope of one call in a running flow: opened before the call and closed after it, whichever way the call ends.

A scope is a class and not a generator, for a generator would turn a user's StopIteration into a RuntimeError. Sync and
async calls use the same scopes. The functions that open scopes and the methods that close them are the seams of the
guard: they raise nothing and hide nothing.
"""

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING, Any

from .. import _otel, _otel_sampling
from .._finalisers import MAY_RUN_INSIDE, hold, release
from .._guard import Seam, is_hosts
from ..recorder import Untraced, current, set_current

BEGINNING = Seam("recording the beginning of a call")
ENDING = Seam("recording the end of a call")


class Nothing:
    """The scope of a call that shows no span."""

    __slots__ = ()

    @staticmethod
    def begin(_args: tuple[Any, ...]) -> None:
        """Change nothing."""

    @staticmethod
    def done(result: Any) -> Any:
        """Give the result back."""
        return result

    @staticmethod
    def failed(error: BaseException) -> None:
        """Let it fly."""


NOTHING = Nothing()


class Scope:
    """Makes a span the scope of the call that it records; a class of spans lists `SCOPE` among its slots.

    Making it current, and what else belongs to its beginning, is up to the class, as is what belongs to its end. This one
    keeps the context tidy and the errors in.
    """

    __slots__ = ()
    if TYPE_CHECKING:
        left: bool  # whether it has been closed
        token: Any  # of the context in which it is current
        attached: Any  # likewise, of OpenTelemetry's

    def done(self, result: Any, error: BaseException | None = None) -> Any:
        """End with the result of the call, which is given back, or with the exception that left it.

        The context goes back first, whatever fails after that.
        """
        restore(self)
        self.left = True  # type: ignore[misc]  # a slot of the class of spans
        try:
            self.finish(error, result)
        except BaseException as failure:
            self.failed_itself(failure, error)
            if is_hosts(failure):
                raise
        return result

    def failed_itself(self, failure: BaseException, error: BaseException | None) -> None:
        """See that nothing seems to run on where `finish` has failed, or was interrupted."""
        if not is_hosts(failure):
            ENDING.absorb(failure)
            self.ended_badly(error)
        else:
            self.ended_badly(failure)

    def failed(self, error: BaseException) -> None:
        """End with an error, unless the call was done and the rest of its statement failed."""
        if not self.left:
            self.done(None, error)

    def finish(self, error: BaseException | None, result: Any = None) -> None:
        """Complete the span, with the exception that left the call or with its result."""
        raise NotImplementedError

    def ended_badly(self, error: BaseException | None) -> None:
        """Deliver what `finish` has not, so that no span seems to run on."""
        span: Any = self
        if not span.complete:
            with ENDING:
                span.node = None
                if span.status == "running":
                    span.end = span.end or span.start  # nothing better is known
                    span.status = "success" if error is None else "error"
                span.deliver()


class Whole(Scope):
    """The scope of a whole function of PocketFlow's, which begins after it was made."""

    __slots__ = ()

    def begin(self, args: tuple[Any, ...]) -> None:
        """Become current, and note what the function was called with."""
        become_current(self, self)
        with BEGINNING:
            self._begin(args)

    def _begin(self, args: tuple[Any, ...]) -> None:
        raise NotImplementedError


SCOPE = ("attached", "left", "token")
"""What a scope has beside a span."""


class NotRecorded:
    """The scope of a run that is not recorded.

    Args:
        trace_id: of a run that sampling dropped, None where there is none to hand on. What nests below belongs to it: the
            SDK's sampler decides by the trace id and drops it too, while spans that the program records for itself are
            left alone.
    """

    __slots__ = ("attached", "frame", "token", "trace_id")
    span: None = None

    def __init__(self, trace_id: int | None) -> None:
        self.frame = Untraced(is_sampled_out=trace_id is not None)
        self.trace_id = trace_id
        self.token: Token[Any] | None = None
        self.attached: Any = None

    def begin(self, _args: tuple[Any, ...]) -> None:
        """Let nothing be traced from here on."""
        if self.trace_id is not None:
            with BEGINNING:
                if _otel_sampling.drops(self.trace_id):
                    _otel.attach(self)
        become_current(self, self.frame)

    def done(self, result: Any) -> Any:
        """End, and give the result back."""
        self.frame.is_over = True
        restore(self)
        return result

    def failed(self, _error: BaseException) -> None:
        """End."""
        self.done(None)


def become_current(scope: Any, frame: Any) -> None:
    """Make a frame the current one until the scope ends."""
    before = current.get()
    try:
        scope.token = set_current(frame)
    except BaseException:  # a Ctrl-C after it was set
        set_current(before)
        raise


def restore(scope: Any) -> None:
    """Put back what was current before a scope: its `token` and what it `attached`; raises nothing of ours.

    The token is forgotten right before it is used: a Ctrl-C comes after that call and not before it, and what was
    attached is then put back when the scope is closed with that Ctrl-C.
    """
    put_back, held = current.reset, None
    try:
        if (token := scope.token) is not None:
            held = hold() if MAY_RUN_INSIDE else None
            scope.token = None
            put_back(token)
    except LookupError as undone:  # by a finaliser, see `_finalisers`: nothing is current
        if is_hosts(undone):
            raise
    except ValueError as misplaced:  # closed from another context (an abandoned task): that context ends with the task
        if is_hosts(misplaced):
            raise
        scope.attached = None
    try:
        if held is not None:
            release(held)
        if (attached := scope.attached) is not None:
            _otel.detach(attached)
            scope.attached = None
    except Exception as failure:
        if is_hosts(failure):
            raise
        scope.attached = None
        ENDING.absorb(failure)


def is_to_leave(error: BaseException, frame: Any) -> bool:
    """What a seam does with an error that came up while a scope was opened.

    Args:
        error: a Ctrl-C or another exception of the host's, or one of ours.
        frame: what was current before; a scope that is current now is closed before the error leaves.

    Returns:
        Whether the error is the host's and must leave; one of ours has been absorbed.
    """
    if not is_hosts(error):
        BEGINNING.absorb(error)
        return False
    opened = current.get()
    if opened is not frame and type(opened) is not Untraced:
        opened.failed(error)
    if current.get() is not frame:
        set_current(frame)
    return True
