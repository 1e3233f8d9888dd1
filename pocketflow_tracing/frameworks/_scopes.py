"""The scope of one call in a running flow: opened before the call and closed after it, whichever way the call ends.

A scope is a class and not a generator, for a generator would turn a user's StopIteration into a RuntimeError. Sync and
async calls use the same scopes. `enter` and `leave` are the seams of the guard: they raise nothing and hide nothing.
"""

from __future__ import annotations

from contextvars import Token
from typing import Any

from .. import _otel
from .._guard import Seam, is_hosts
from ..recorder import Span, current

BEGINNING = Seam("recording the beginning of a call")
ENDING = Seam("recording the end of a call")


class Nothing:
    """The scope of a call that shows no span."""

    __slots__ = ()

    @staticmethod
    def done(result: Any) -> Any:
        """Give the result back."""
        return result

    @staticmethod
    def failed(error: BaseException) -> None:
        """Let it fly."""


NOTHING = Nothing()


class Scope(Span):
    """A span that is the scope of the call it records; it begins in `begin`, and not before.

    Subclasses say what begins and what ends; this class keeps the context tidy and the errors in.
    """

    __slots__ = ("attached", "left", "token")

    def __init__(self) -> None:
        self.start = 0
        self.left = False
        self.token: Token[Any] | None = None
        self.attached: Any = None

    def done(self, result: Any, error: BaseException | None = None) -> Any:
        """End with the result of the call, which is given back, or with the exception that left it.

        The context goes back first, whatever fails after that.
        """
        self.left = True
        restore(self)
        if self.start:  # it has begun
            try:
                self.finish(error, result)
            except Exception as failure:
                if is_hosts(failure):
                    self.ended_badly(failure)
                    raise
                ENDING.absorb(failure)
                self.ended_badly(error)
        return result

    def failed(self, error: BaseException) -> None:
        """End with an error, unless the call was done and the rest of its statement failed."""
        if not self.left:
            self.done(None, error)

    def enter(self) -> None:
        """Begin; nothing is raised but a Ctrl-C that comes meanwhile, and then nothing stays behind."""
        try:
            self.begin()
        except Exception as error:
            if is_hosts(error):
                self.failed(error)
                raise
            BEGINNING.absorb(error)
            self.begun_badly()
        except BaseException as error:
            self.failed(error)
            raise

    def begin(self) -> None:
        """Open what the call opens."""
        raise NotImplementedError

    def finish(self, error: BaseException | None, result: Any = None) -> None:
        """Close it, with the exception that left the call or with its result."""
        raise NotImplementedError

    def begun_badly(self) -> None:
        """Do what is to be done when `begin` has failed."""

    def ended_badly(self, error: BaseException | None) -> None:
        """Deliver what `finish` has not, so that no span seems to run on."""
        if self.end is None:
            with ENDING:
                self.node = None
                self.end = self.start  # nothing better is known
                self.status = "success" if error is None else "error"
                self.deliver()


def restore(scope: Any) -> None:
    """Put back what was current before a scope: its `token` and what it `attached`; raises nothing."""
    token, attached = scope.token, scope.attached
    scope.token = scope.attached = None
    try:
        if token is not None:
            current.reset(token)
        if attached is not None:
            _otel.detach(attached)
    except ValueError:  # closed from another context (an abandoned task): that context ends with the task
        pass
    except Exception as failure:  # noqa: BLE001 - the seam
        ENDING.absorb(failure)
