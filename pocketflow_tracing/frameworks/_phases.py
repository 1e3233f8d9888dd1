"""Calls of users' methods (prep, exec, exec_fallback, post), and the retry loop that numbers the attempts of exec."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from itertools import islice
from typing import Any

from pocketflow import BatchNode, Flow

from .. import _otel
from .._guard import is_hosts
from .._state import SharedState, key_text
from ..capture_types import weigh
from ..recorder import UNTRACED, Span, current, span_of
from ._look import is_pocketflows, peek
from ._scopes import BEGINNING, ENDING, NOTHING, Nothing, Scope, restore

_KEYS_SHOWN = 40


class Retry:
    """PocketFlow's retry loop around one exec: numbers the attempts, and knows in the end whether a failed one was saved.

    Args:
        frame: the node's span, or that of its batch, whose items are numbered in the order in which they are made.
        node: whose exec it is.
    """

    __slots__ = ("attempts", "failures", "item", "max_attempts", "span")

    def __init__(self, frame: Any, node: Any) -> None:
        self.span: Span | None = None
        self.attempts = 0
        self.failures: list[Span] | None = None
        self.item: int | None = None
        self.max_attempts: int | None = None
        try:
            span = self.span = span_of(frame)
            if span is not None and issubclass(type(node), BatchNode):
                self.item = span.items
                span.items += 1
            retries = peek(node, "max_retries")
            self.max_attempts = retries if type(retries) is int else None
        except Exception as error:
            if is_hosts(error):
                raise
            BEGINNING.absorb(error)

    def leave(self, token: Token[Any], error: BaseException | None) -> None:
        """Tell the node and the failed attempts how it ended; the context goes back first."""
        try:  # noqa: SIM105 - contextlib.suppress costs half a microsecond
            current.reset(token)
        except ValueError:  # closed from another context (an abandoned task): that context ends with the task
            pass
        if self.failures:
            try:
                self._settle(self.failures, error)
            except Exception as failure:
                if is_hosts(failure):
                    raise
                ENDING.absorb(failure)

    def _settle(self, failures: list[Span], error: BaseException | None) -> None:
        if error is None and self.span is not None:
            self.span.recovered = True
        for failure in failures:
            if error is None:
                failure.attributes["level"] = "WARNING"
            with ENDING:  # each for itself
                failure.deliver()


class Inside:
    """The scope and the frame of a call that is not recorded: what happens in it belongs to the span above.

    Args:
        span: the span above.
        retry: the retry loop that the call was made in; the node's status tells of a retry even where no attempt is recorded.
        phase: as of `Phase`.
    """

    __slots__ = ("attached", "phase", "retry", "span", "token")

    def __init__(self, span: Span, retry: Retry | None, phase: str) -> None:
        self.span = span
        self.retry = retry
        self.phase = phase
        self.token: Token[Any] | None = None
        self.attached: Any = None

    def begin(self) -> None:
        """Become current."""
        if self.retry is not None and self.phase == "exec":
            self.retry.attempts += 1
        self.token = current.set(self)
        self.attached = _otel.attach(self.span.run.trace_id, self.span.span_id)

    def done(self, result: Any) -> Any:
        """End, and give the result back."""
        restore(self)
        if self.retry is not None and (self.retry.attempts > 1 or self.phase == "exec_fallback"):
            self.span.recovered = True
        return result

    def failed(self, _error: BaseException) -> None:
        """End; what it means the retry loop decides."""
        restore(self)


class Phase(Scope):
    """A call of a user's method: a phase (prep, post, fallback, the exec of a whole batch) or an attempt of exec.

    It begins when it is made; `enter` makes it current. This happens three times a visit and more, so a few steps that
    would read better as calls stand here in one.

    Args:
        above: the span that the call was made in.
        retry: the retry loop that the call was made in.
        node: whose method is called.
        phase: "prep", "exec", "exec_fallback" or "post".
        whole: whether it is the exec of a whole batch, or one that the user has written around PocketFlow's.
    """

    __slots__ = ("phase", "retry", "whole")

    def __init__(self, above: Any, retry: Retry | None, node: Any, phase: str, whole: bool) -> None:
        self.left = False
        self.token = None
        self.attached = None
        self.phase = phase
        self.retry = retry
        self.whole = whole
        visit = above if above.kind in _VISITS or above.parent is None else above.parent
        name = f"{visit.name}.{phase}"
        attributes: dict[str, Any] = {"phase": phase}
        if retry is not None and retry.item is not None:
            name = f"{name}[{retry.item}]"
            attributes["item"] = retry.item
        if phase != "exec" or whole:
            Span.__init__(self, above.run, above, "phase", name, node)
        else:
            if retry is None:
                attributes["attempt"] = 1
            else:
                attributes["attempt"] = retry.attempts = retry.attempts + 1
                attributes["max_attempts"] = retry.max_attempts
            Span.__init__(self, above.run, above, "attempt", name, node)
        self.attributes = attributes
        if phase == "exec_fallback":
            self.child_error = above.child_error  # what it may raise again

    def begin(self, args: tuple[Any, ...] = ()) -> None:
        """Become current, and take the picture of what goes in."""
        self.token = current.set(self)
        self.attached = _otel.attach(self.run.trace_id, self.span_id)
        pipeline = self.run.pipeline
        phase = self.phase
        if not args or not pipeline.inputs or (phase != "prep" and not pipeline.outputs):
            return  # the inputs of exec and post are outputs of others
        snapshot = pipeline.capture.snapshot
        if phase == "post" and len(args) > 2:
            self.input = {"prep_res": snapshot(args[1]), "exec_res": snapshot(args[2])}
        elif phase == "prep" and SharedState.can_picture(args[0]):
            shared = args[0]
            keys = [key if type(key) is str else key_text(key) for key in islice(dict.keys(shared), _KEYS_SHOWN)]
            more = dict.__len__(shared) - len(keys)
            self.input = {"shared": [*keys, f"… {more:,} more keys"] if more > 0 else keys}
        else:
            self.input = snapshot(args[0])

    def finish(self, error: BaseException | None, result: Any = None) -> None:
        retry, node = self.retry, self.node
        self.retry = None
        failed = error is not None and retry is not None and self.kind == "attempt" and isinstance(error, Exception)
        try:
            self.stop(error)
            if self.whole and (self.items or issubclass(type(node), BatchNode)):
                self.attributes["items"] = self.items
            if error is None:
                if self.phase == "exec_fallback" and retry is not None and retry.span is not None:
                    retry.span.recovered = True
                pipeline = self.run.pipeline
                if pipeline.outputs:
                    output = self.output = pipeline.capture.snapshot(result)
                    self.weight = weigh(output)  # inputs mostly refer to the same texts
        finally:
            if failed and retry is not None:
                if retry.failures is None:
                    retry.failures = []
                retry.failures.append(self)  # complete when it is known whether it was saved
                self.announce()
            else:
                self.deliver()


_VISITS = frozenset({"node", "flow"})


def phase_opener(method: str) -> Callable[[Any, tuple[Any, ...]], Phase | Inside | Nothing]:
    """A function that opens the scope of a call of one of the user's methods.

    Args:
        method: "prep", "exec", "exec_fallback", "post", their async forms, or "_exec".

    Returns:
        (node, the call's arguments) -> its scope.
    """
    whole = method == "_exec"
    phase = method.removesuffix("_async").removeprefix("_")
    setting = phase if phase in {"prep", "post"} else "exec"

    def open_phase(node: Any, args: tuple[Any, ...]) -> Phase | Inside | Nothing:
        frame = current.get()
        if frame is None or frame is UNTRACED:
            return NOTHING
        scope: Phase | Inside | None = None
        try:
            if whole:
                if not issubclass(type(node), BatchNode) and is_pocketflows(node, method):
                    return NOTHING  # the attempts of a plain node stand directly below it
            elif issubclass(type(node), Flow) and is_pocketflows(node, method):
                return NOTHING  # a flow that defines no prep or post of its own shows its nodes only
            retry = frame if type(frame) is Retry else None
            above: Any = frame.span if retry is not None else span_of(frame)
            if getattr(above.run.pipeline, setting):
                scope = Phase(above, retry, node, phase, whole)
                scope.begin(args)
            else:
                scope = Inside(above, retry, phase)
                scope.begin()
        except BaseException as error:
            if not isinstance(error, Exception) or is_hosts(error):
                if scope is not None:
                    scope.failed(error)
                raise
            BEGINNING.absorb(error)
            return scope or NOTHING
        return scope

    return open_phase
