"""Calls of users' methods: prep, exec, exec_fallback and post."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from typing import Any

from pocketflow import BatchNode, Flow

from .. import _otel
from .._finalisers import MAY_RUN_INSIDE, hold, release
from .._guard import is_hosts
from .._ids import source
from .._otel_span import become_context, context_now
from .._state import SharedState
from ..capture import Capture
from ..capture_entries import taken
from ..capture_kinds import key_text
from ..delivery import delivery
from ..recorder import Branch, Span, Untraced, current, set_current, span_of
from ._look import is_pocketflows
from ._retry import Retry
from ._scopes import NOTHING, SCOPE, Nothing, Scope, is_to_leave, restore

_KEYS_SHOWN = 40
queue = delivery.queue


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
        if retry is not None and phase == "exec":
            retry.attempts += 1
        try:
            _otel.attach(self)
            self.token = set_current(self)
        except BaseException:
            restore(self)
            raise

    def done(self, result: Any) -> Any:
        """End, and give the result back."""
        restore(self)
        if self.retry is not None and (self.retry.attempts > 1 or self.phase == "exec_fallback"):
            self.span.recovered = True
        return result

    def failed(self, _error: BaseException) -> None:
        """End; what it means the retry loop decides."""
        restore(self)


class Phase(Scope, Span):
    """A call of a user's method: a phase (prep, post, fallback, the exec of a whole batch) or an attempt of exec.

    It is the current one once it is made.

    Args:
        above: the span that the call was made in.
        retry: the retry loop that the call was made in.
        node: whose method is called.
        phase: "prep", "exec", "exec_fallback" or "post".
        args: of the call.
        special: for the fallback, and for an exec that is a phase: of a whole batch, or one that the user has written
            around PocketFlow's.
    """

    __slots__ = ("item", "retry", "special", *SCOPE)

    def __init__(
        self, above: Any, retry: Retry | None, node: Any, phase: str, args: tuple[Any, ...], special: bool
    ) -> None:
        run = above.run
        pipeline = run.pipeline
        self.retry = retry
        self.item = None if retry is None else retry.item
        if phase != "exec" or special:
            Span.__init__(self, run, above, "phase", phase, node)
            attributes: dict[str, Any] = {"phase": phase}
        else:
            Span.__init__(self, run, above, "attempt", phase, node)
            if retry is None:
                attributes = {"phase": phase, "attempt": 1}
            else:
                number = retry.attempts = retry.attempts + 1
                attributes = {"phase": phase, "attempt": number, "max_attempts": retry.max_attempts}
        if self.item is not None:
            attributes["item"] = self.item
        self.attributes = attributes
        self.special = special or pipeline.debug
        self.left = False
        self.token = self.attached = None
        if phase == "exec_fallback":
            self.child_error = above.child_error  # what it may raise again
        if (
            args and pipeline.inputs and (phase == "prep" or pipeline.outputs)
        ):  # of exec and post they are others' outputs
            handed, above.handed = above.handed, None
            self.input = _input(phase, args, pipeline.capture, handed)
        try:
            _otel.attach(self)
            self.token = set_current(self)
        except BaseException:
            restore(self)
            raise

    def shown_name(self) -> str:
        """Node.phase, of an item Node.phase[item]; put together only when a record is made."""
        above = self.parent
        if above is not None and above.parent is not None and not isinstance(above, Branch):
            above = above.parent  # past the exec of the whole batch
        name = f"{above.name}.{self.name}" if above is not None else self.name
        return name if self.item is None else f"{name}[{self.item}]"

    def done(self, result: Any, error: BaseException | None = None) -> Any:
        """End with the result of the call, which is given back, or with the exception that left it."""
        token, attached = self.token, self.attached
        if error is not None or self.special or token is None or attached is None:
            return super().done(result, error)
        # What `Scope.done` comes to where nothing went wrong, without the six calls: a tenth of what a visit costs.
        try:
            try:
                put_back = current.reset
                held = hold() if MAY_RUN_INSIDE else None
                self.token = None  # see `restore`
                put_back(token)
                if held is not None:
                    release(held)
                ours, outside = attached
                if context_now() is ours:
                    become_context(outside)
                else:
                    _otel.detach(attached)
            except ValueError as misplaced:
                if is_hosts(misplaced):
                    raise
            self.attached = None
            self.left = True
            self.end = source.clock()
            self.status = "success"
            self.node = self.retry = None
            run = self.run
            pipeline = run.pipeline
            if result is not None and pipeline.outputs:
                output = self.output = pipeline.capture.snapshot(result)
                self.charge(output)
                above = self.parent
                if output is not result and pipeline.hands_on and above.kind == "node":  # type: ignore[union-attr]
                    above.handed = (self.name, result, output)  # type: ignore[union-attr]
            self.complete = True
            run.spans += 1
            pipeline.enqueue(self)
        except BaseException as failure:
            restore(self)
            self.left = True
            self.failed_itself(failure, None)
            if is_hosts(failure):
                raise
        return result

    def finish(self, error: BaseException | None, result: Any = None) -> None:
        retry, node = self.retry, self.node
        self.retry = None
        failed = error is not None and retry is not None and self.kind == "attempt" and isinstance(error, Exception)
        try:
            self.stop(error)
            whole = self.kind == "phase" and self.attributes["phase"] == "exec"
            if whole and (self.items or issubclass(type(node), BatchNode)):
                self.attributes["items"] = self.items
            if error is None:
                if retry is not None and retry.span is not None and self.kind == "phase":  # the fallback
                    retry.span.recovered = True
                pipeline = self.run.pipeline
                if pipeline.outputs:
                    output = self.output = pipeline.capture.snapshot(result)
                    self.charge(output)
                    above = self.parent
                    if output is not result and pipeline.hands_on and above is not None and above.kind == "node":
                        above.handed = (self.name, result, output)
        finally:
            if failed and retry is not None:
                retry.keep(self)  # complete when it is known whether it was saved
                self.announce()
            else:
                self.deliver()


def _input(
    phase: str,
    args: tuple[Any, ...],
    capture: Capture,
    handed: tuple[str, Any, Any] | None = None,
) -> Any:
    """The picture of what a phase was given; of `shared` only the keys, for the visit tells what changed in it.

    What the phase before of the same node has returned is handed on with its picture: between the two PocketFlow runs no code
    of the user's. Others hand nothing on: below an `_exec` of the user's, say, it may have been let go of.
    """
    snapshot = capture.snapshot
    if phase == "post":
        if len(args) < 3:
            return snapshot(args)
        is_known = handed is not None and handed[0] == "exec" and handed[1] is args[2]
        return {"prep_res": snapshot(args[1]), "exec_res": handed[2] if is_known else snapshot(args[2])}  # type: ignore[index]
    given = args[0]
    if handed is not None and handed[1] is given and phase == "exec" and handed[0] == "prep":
        return handed[2]
    if phase != "prep" or not SharedState.can_picture(given):
        return snapshot(given)
    count = dict.__len__(given)
    first = [*dict.keys(given)] if count <= _KEYS_SHOWN else taken(iter, dict.keys(given), _KEYS_SHOWN)
    keys = [key if type(key) is str else key_text(key, capture.is_ruled) for key in first]
    more = count - len(keys)
    return {"shared": [*keys, f"… {more:,} more keys"] if more > 0 else keys}


Opener = Callable[[Any, tuple[Any, ...], Any], Phase | Inside | Nothing]
"""(node, the call's arguments, the scope of the function that makes it) -> the scope of the call."""


def phase_opener(method: str) -> Opener:
    """What opens the scope of a call of one of the user's methods.

    Args:
        method: "prep", "exec", "exec_fallback", "post" or its async form.
    """
    phase = method.removesuffix("_async")
    setting = phase if phase in {"prep", "post"} else "exec"
    special = phase == "exec_fallback"

    def open_phase(node: Any, args: tuple[Any, ...], within: Any) -> Phase | Inside | Nothing:
        retry: Retry | None
        above: Any
        if type(within) is Retry:
            retry, above, frame = within, within.span, within.frame
        else:
            retry = above = None
            frame = current.get()
            if frame is None or type(frame) is Untraced:
                return NOTHING
        try:
            if retry is None:
                if issubclass(type(node), Flow) and is_pocketflows(node, method):
                    return NOTHING  # a flow that defines no prep or post of its own shows its nodes only
                above = frame if isinstance(frame, Span) else frame.span
            if getattr(above.run.pipeline, setting) and not (queue.is_full and queue.leaves_out(above.run)):
                return Phase(above, retry, node, phase, args, special)
            return Inside(above, retry, phase)
        except BaseException as error:
            if is_to_leave(error, frame):
                raise
            return NOTHING

    return open_phase


def open_whole_exec(node: Any, args: tuple[Any, ...], _within: Any) -> Phase | Inside | Nothing:
    """Open the scope of `_exec`, which is a phase where it is more than PocketFlow's loop around one exec."""
    frame = current.get()
    if frame is None or type(frame) is Untraced:
        return NOTHING
    try:
        if not issubclass(type(node), BatchNode) and is_pocketflows(node, "_exec"):
            return NOTHING  # the attempts of a plain node stand directly below it
        above: Any = span_of(frame)
        if above.run.pipeline.exec and not (queue.is_full and queue.leaves_out(above.run)):
            return Phase(above, None, node, "exec", args, True)
        return Inside(above, None, "exec")
    except BaseException as error:
        if is_to_leave(error, frame):
            raise
        return NOTHING
