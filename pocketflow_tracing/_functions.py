"""Decorated functions: a trace around the flows that they run, or a mark on the flows that they return."""

from __future__ import annotations

import inspect
from contextvars import Token
from itertools import islice
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from pocketflow import BaseNode

from . import _log, _marks, _options, _otel
from ._callables import is_plain_function
from ._guard import Seam, is_hosts
from ._options import Options
from ._runs import open_run
from ._sdk_told import end
from .delivery import delivery
from .frameworks import pocketflow as framework
from .frameworks._scopes import NotRecorded, become_current, restore
from .recorder import Branch, Run, Untraced, current, parent_in, span_of

_BEGINNING = Seam("recording the beginning of a traced function")
_ENDING = Seam("recording the end of a traced function")


class FunctionRun:
    """The scope of a call of a decorated function: a span around the flows that it runs, or a mark on the flows that it returns.

    Which of the two it is shows only when the call has ended; until a flow runs in it, nothing is sent. It changes nothing
    when it is made: `begin`, `done` and `failed` stand inside one `try`, as those of PocketFlow's functions do.
    """

    def __init__(self, function: Any, options: Options, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.options = options
        self.args = args
        self.kwargs = kwargs
        self.span: Branch | None = None
        self.token: Token[Any] | None = None
        self.attached: Any = None
        self.dropped: NotRecorded | None = None
        self.left = False

    def begin(self) -> None:
        """Become current, in a run of its own or in that around."""
        with _BEGINNING:
            self._begin()

    def done(self, result: Any, error: BaseException | None = None) -> Any:
        """End with the result of the call, which is given back, or with the exception that left it."""
        self._restore()
        self.left = True
        if self.dropped is not None:
            self.dropped.done(None)
        with _ENDING:
            self._finish(error, result)
        return result

    def failed(self, error: BaseException) -> None:
        """End with an error, unless the call was done."""
        if not self.left:
            self.done(None, error)

    def pause(self) -> None:
        """Let what runs until `go_on` be none of it."""
        self._restore()

    def go_on(self) -> None:
        """Become current once more, in the context of now."""
        with _BEGINNING:
            if self.dropped is not None:
                self.dropped.begin(())
            elif self.span is not None:
                self._become_current(self.span)

    def _restore(self) -> None:
        restore(self)
        if self.dropped is not None:
            restore(self.dropped)
        self.args, self.kwargs = (), {}  # whoever keeps the context keeps this scope

    def _begin(self) -> None:
        frame = current.get()
        if type(frame) is Untraced:
            if not frame.is_over:
                return
            frame = None
        parent = parent_in(frame)
        left = span_of(frame) if parent is None else None
        options = framework.completed(self.options, left)
        name = options.flow_name or name_of(self.function)
        if parent is not None:
            opened: Run | NotRecorded = parent.run
            _options.say_whose_config_holds(self.options, parent.run.pipeline.config)
            if delivery.queue.is_full and delivery.queue.leaves_out(parent.run):
                opened = NotRecorded(None)
        else:
            opened = open_run(options, name, self._shared(), left)
        if isinstance(opened, NotRecorded):
            self.dropped = opened
            self.dropped.begin(())
            return
        run = opened
        span = self.span = Branch(run, parent, "function", name)
        if parent is None:
            run.root = span
        else:
            span.within = _otel.opened_within(parent)
        if run.pipeline.inputs:
            span.input = run.pipeline.capture.snapshot(self._arguments())
            span.charge(span.input)
        self._become_current(span)

    def _become_current(self, span: Branch) -> None:
        run = span.run
        base = _otel.run_context(run) if span.parent is None else None
        _otel.attach(self, base=base)
        become_current(self, span)

    def _finish(self, error: BaseException | None, result: Any) -> None:
        returned = [node for node in _members(result) if issubclass(type(node), BaseNode)]
        for node in returned:
            own = _marks.mark_of(node) if _marks.is_marked_itself(node) else None
            options = self.options if own is None else own.with_config_of(self.options)
            if options is not own:
                framework.mark(node, options)
        span = self.span
        if span is None:
            return
        if span.parent is None:
            span.run.states.clear()
        is_empty = span.next_step == 1 and not (span.parent is None and (span.run.spans or span.run.has_external))
        if returned and is_empty:
            span.end = span.start
            if span.parent is None:
                end(span.run.trace_id)
            return  # a factory: its own call is nobody's run
        if type(result) in {GeneratorType, AsyncGeneratorType}:
            _log.warn_once(
                f"{span.name} returned a generator: what that does comes after the call and is not in its trace. Give trace_flow "
                "the flow that it runs, or the function that goes through it.",
                elsewhere=True,
            )
        if error is None and span.run.pipeline.outputs:
            span.output = span.run.pipeline.capture.snapshot(result)
            span.charge(span.output)
        span.stop(error)
        span.deliver()

    def _shared(self) -> Any:
        for value in (*self.args, *self.kwargs.values()):
            if issubclass(type(value), dict):  # not isinstance: that would ask the value's `__class__`
                return value
        return {}

    def _arguments(self) -> dict[str, Any]:
        """The arguments by their names: one may be that of a secret."""
        names: list[str] = []
        try:
            signature, first = _signature(self.function)
            names = [name for name, parameter in signature.parameters.items() if parameter.kind in _POSITIONAL][
                len(first) :
            ]
            named = dict(signature.bind(*first, *self.args, **self.kwargs).arguments)
        except (TypeError, ValueError) as error:  # a builtin without a signature, or a call that will fail by itself
            if is_hosts(error):
                raise
            places = enumerate(self.args)
            return {names[at] if at < len(names) else f"arg{at}": value for at, value in places} | self.kwargs
        return dict(islice(named.items(), len(first), None))


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _signature(function: Any) -> tuple[inspect.Signature, tuple[Any, ...]]:
    """How a function is called, and what stands before the arguments where that is asked of an object's class.

    An object with an `__eq__` of its own would be compared, which a mock remembers.
    """
    kind: Any = type(function)
    if is_plain_function(function) or kind.__eq__ is object.__eq__:
        return inspect.signature(function), ()
    return inspect.signature(kind.__call__), (function,)


def name_of(function: Any) -> str:
    """A function's name; of what has none, that of its class."""
    name = getattr(function, "__name__", None)
    return name if type(name) is str else type(function).__name__  # a partial, a callable object


def _members(result: Any) -> list[Any]:
    """What a factory returned: one flow, or a few in a tuple, list or dict; nobody returns flows by the hundred."""
    if type(result) is dict:
        return list(islice(result.values(), 100))
    return list(islice(result, 100)) if type(result) in {tuple, list} else [result]
