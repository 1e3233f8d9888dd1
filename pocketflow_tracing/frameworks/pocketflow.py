"""PocketFlow under the recorder: which of its functions are led through us, and what each call means.

Hooks are put on PocketFlow's own classes and nowhere else; `install` and `uninstall` are symmetrical. Functions of PocketFlow
are replaced by twins of themselves (`_rewrite`) that tell us of themselves (`run`, `_run`, `_orch` and the retry loop `_exec`,
with their async forms), so that they are seen whoever calls them, and of the calls of methods that users write.
`_visits`, `_routing` and `_phases` say what each means.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any

import pocketflow
from pocketflow import BaseNode, BatchFlow, Flow

from .. import _log, _marks
from .._guard import Seam, Tolerating
from .._options import Options
from .._threads import OwnLock
from ..recorder import Span, Untraced, current, parent_in, span_of
from ._look import class_name
from ._phases import open_whole_exec, phase_opener
from ._retry import Retry
from ._rewrite import Openers, original_of, twins
from ._routing import open_route
from ._scopes import NOTHING, Nothing, NotRecorded
from ._visits import Pass, Visit, open_below, open_pass, open_root, open_visit

_INSTALLING = Seam("putting its hooks on PocketFlow")
_DECIDING = Seam("finding out whether a flow is to be traced")

_twin_at: dict[tuple[type, str], Callable[[Any], Any]] = {}  # place -> what makes the twin of a function there
_replaced: dict[tuple[type, str], tuple[FunctionType, FunctionType]] = {}  # place -> (original, what stands there now)
_lock = OwnLock()

everything: Options | None = None
"""The options of `instrument()`: set while every flow of the process is traced."""


def mark(target: BaseNode | type[BaseNode], options: Options) -> None:
    """Trace a flow object, or every instance of a flow class."""
    install()
    if issubclass(type(target), type):
        cls: Any = target
        _marks.mark_class(cls, options)
    else:
        cls = type(target)
        _marks.mark_object(target, options)
    _marks.are_nodes_marked = _marks.are_nodes_marked or not issubclass(cls, Flow)


def instrument_all(options: Options) -> None:
    """Trace every flow of the process, and nodes that are run on their own; a second call says what the first did not."""
    global everything  # noqa: PLW0603 - one fact of the process
    install()
    # `pocketflow-tracing run` calls it before a program does, and says nothing
    everything = options if everything is None or everything.says_nothing() else everything.with_config_of(options)


def uninstrument_all() -> None:
    """Undo `instrument_all`; without marked flows PocketFlow is then exactly as it was imported."""
    global everything  # noqa: PLW0603 - one fact of the process
    everything = None
    if not _marks.any_marks():
        uninstall()


def options_for(node: Any, left: Span | None = None) -> Options | None:
    """The options a run of this node would be traced with, None when it is not to be traced.

    Args:
        node: that is run.
        left: the span that the caller has been left in by a run that is over, None where there is none.
    """
    if everything is None and left is None and not _marks.are_nodes_marked and not issubclass(type(node), Flow):
        return None
    with _DECIDING:
        mark = _marks.mark_of(node)
        if mark is None and left is None:
            return everything
        return completed(mark or everything or Options(), left, is_marked=mark is not None)
    return None


def completed(options: Options, left: Span | None = None, *, is_marked: bool = True) -> Options:
    """What `trace_flow` or `instrument` was given, with the config that holds where a mark has none: what that hides is hidden.

    Args:
        options: of a mark, or of `instrument`.
        left: the span of a run that is over: what that started goes on in its trace, as it hides.
        is_marked: whether they are a mark's.
    """
    if is_marked and options.config is not None:
        return options
    if left is not None:
        return options.with_config(left.run.pipeline.config, left.run.pipeline)
    return options.with_config_of(everything)


def is_installed() -> bool:
    """Whether hooks stand on PocketFlow now."""
    return bool(_replaced)


def install() -> None:
    """Put the hooks on PocketFlow's classes; does nothing when they are there."""
    with _lock(), _INSTALLING:
        if not _replaced:
            reason = why_not()
            if reason is not None:
                _log.warn_once(reason)
            else:
                _put_on()


def why_not() -> str | None:
    """Why nothing can be traced here, for the user; None where it can."""
    places = None
    with Tolerating(OSError, TypeError):
        places = _places()
    if places is None:
        return "PocketFlow's source is not available here (a frozen program?), and without it nothing can be traced."
    if not any(_standing(place)[1] for place in places):
        return (
            "PocketFlow's functions are not those of its source file (an import hook has rewritten them, or the file has "
            "changed since), and so nothing can be traced."
        )
    return None


def _places() -> dict[tuple[type, str], Callable[[Any], Any]]:
    if not _twin_at:
        _twin_at.update(twins(pocketflow, _OPENERS, _ENTERING))
    return _twin_at


def _standing(place: tuple[type, str]) -> tuple[Any, Any]:
    """What of PocketFlow's stands in a place, and its twin; None where another tool's function stands there."""
    cls, name = place
    original = original_of(vars(cls).get(name))
    return original, _twin_at[place](original)


def _put_on() -> None:
    """Put the hooks on where they can be; where a mock stands just now, it is tried again at the next run."""
    others = []
    for place in _places():
        if place not in _replaced:
            original, twin = _standing(place)
            if twin is not None:
                _replaced[place] = (original, twin)
                setattr(*place, twin)
            else:
                others.append(f"{class_name(place[0])}.{place[1]}")
    if others:
        _log.warn_once(
            f"What goes through {', '.join(others)} is missing from traces: another tool's functions stand there, or mocks."
            " Where such a tool is set up after `trace_flow` or `instrument`, nothing is missing.",
            about="functions of others",
        )


def uninstall() -> None:
    """Take the hooks away again, but for those that another tool has wrapped since: they go idle."""
    with _lock():
        for (cls, name), (original, wrapper) in _replaced.items():
            if vars(cls).get(name) is wrapper:
                setattr(cls, name, original)
        _replaced.clear()


# --- what PocketFlow's functions tell us of themselves ---------------------------------------------------------------


def enter_run(node: Any, args: tuple[Any, ...]) -> Visit | NotRecorded | Nothing | None:
    """The scope of `run`, by which alone what a run that is not recorded has left running begins runs of its own."""
    frame = current.get()
    if type(frame) is Untraced and frame.is_over:
        options = options_for(node)
        return _begin(node, args, options, None) if options is not None else None
    return enter_visit(node, args)


def enter_visit(node: Any, args: tuple[Any, ...]) -> Visit | NotRecorded | Nothing | None:
    """The scope of a function that is a visit, None where nothing is traced."""
    frame = current.get()
    if type(frame) is Untraced:
        return None
    if type(frame) is Visit and frame.node is node:
        return NOTHING  # it has been opened already
    parent = parent_in(frame)
    if parent is None:
        left = span_of(frame)
        options = options_for(node, left)
        if options is None or (options is everything and _is_step(node, sys._getframe(1))):  # noqa: SLF001 - the caller's
            return None
        return _begin(node, args, options, left)
    return open_below(frame, parent, node)


def _begin(node: Any, args: tuple[Any, ...], options: Options, left: Span | None) -> Visit | NotRecorded:
    if len(_replaced) < len(_twin_at):
        with _lock(), _INSTALLING:
            _put_on()
    return open_root(node, args[0], options, left)


def _is_step(node: Any, run: FrameType) -> bool:
    """Whether a node is visited by a flow that is not traced, for it was running when `instrument` was called."""
    caller = run.f_back
    return (
        not issubclass(type(node), Flow)
        and caller is not None
        and caller.f_globals is vars(pocketflow)
        and caller.f_code.co_name in {"_orch", "_orch_async"}
    )


def enter_pass(flow: Any, args: tuple[Any, ...]) -> Pass | Visit | NotRecorded | Nothing | None:
    """The scope of `_orch`: one pass of a batch flow, else part of the flow's visit."""
    frame = current.get()
    if type(frame) is Visit and frame.node is flow and issubclass(type(flow), BatchFlow):
        return open_pass(frame)
    return enter_visit(flow, args)


def enter_retry(node: Any, _args: tuple[Any, ...]) -> Retry | None:
    """The scope of the retry loop around exec, None where nothing is traced."""
    frame = current.get()
    return None if frame is None or type(frame) is Untraced else Retry(frame, node)


_ENTERING: Openers = {
    **dict.fromkeys(("run", "run_async"), enter_run),
    **dict.fromkeys(("_run", "_run_async"), enter_visit),
    **dict.fromkeys(("_orch", "_orch_async"), enter_pass),
    "_exec": enter_retry,
}
_OPENERS: Openers = {
    **{
        method: phase_opener(method)
        for name in ("prep", "exec", "exec_fallback", "post")
        for method in (name, f"{name}_async")
    },
    "_exec": open_whole_exec,
    "_run": open_visit,
    "_run_async": open_visit,
    "get_next_node": open_route,
}
