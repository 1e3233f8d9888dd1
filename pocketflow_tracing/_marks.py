"""Which flows are marked, and with which options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import _log
from ._options import Options
from ._weak import Alive, Gone
from .capture_kinds import mro_of

_KEY = "__pocketflow_tracing__"
_dict_of: Callable[[type], Mapping[str, object]] = type.__dict__["__dict__"].__get__
_classes: dict[int, tuple[Any, ...]] = {}  # of (reference to the class, Options)
"""Those that take no attribute, by id, as long as they are there: to hash a class would run its metaclass's `__hash__`."""
_gone = Gone()  # of these classes
_objects: dict[int, tuple[object, Options]] = {}  # only objects that refuse an attribute
_marked = Alive()  # options, as long as what they mark
are_nodes_marked = False
"""Whether anything but flows was marked, ever."""


def mark_class(cls: type, options: Options) -> None:
    """Trace every run of a class's instances: the mark stands on the class, and goes along where that goes by value."""
    options = options.with_config_of(_mark_of_class(cls))
    _marked.add(options)
    try:
        type.__setattr__(cls, _KEY, options)
    except TypeError:  # of a metaclass written in C, which does not let us
        _gone.sweep(_classes)
        _classes[id(cls)] = (_gone.watch(cls, id(cls)), options)


def keep(options: Options) -> None:
    """Count options that something else holds, a decorated function say, so that `any_marks` knows of it."""
    _marked.add(options)


def any_marks() -> bool:
    """Whether anything that `trace_flow` marked is still alive."""
    return len(_marked) > 0


def mark_object(flow: object, options: Options) -> None:
    """Trace every run of one flow object and of its copies."""
    options = options.with_config_of(mark_of(flow))
    _marked.add(options)
    try:
        attributes = object.__getattribute__(flow, "__dict__")
        before = attributes.get(_KEY)
        attributes[_KEY] = options
        if type(before) is Options and before.differs(options):
            _log.warn_once(
                "A flow object was given to trace_flow again, with other parameters: the last ones hold for all its runs. "
                "For what differs from run to run there are functions of shared, and trace_attributes around the run."
            )
    except AttributeError:  # __slots__: remembered here instead, for as long as the process lives
        _objects[id(flow)] = (flow, options)


def is_marked_itself(flow: object) -> bool:
    """Whether a flow object was given to `trace_flow`, and not only its class."""
    try:
        return _KEY in object.__getattribute__(flow, "__dict__")
    except AttributeError:
        return id(flow) in _objects


def mark_of(flow: object) -> Options | None:
    """The options a flow object was marked with, by itself or by its nearest marked class; None without a mark."""
    cls = type(flow)
    try:
        own = object.__getattribute__(flow, "__dict__").get(_KEY)
    except AttributeError:
        own = _objects.get(id(flow), (None, None))[1]
    return own if type(own) is Options else _mark_of_class(cls)


def _mark_of_class(cls: type) -> Options | None:
    for base in mro_of(cls):
        of_class = _dict_of(base).get(_KEY)
        if type(of_class) is Options:
            return of_class
        found = _classes.get(id(base))
        if found is not None and found[0]() is base:
            options: Options = found[1]
            return options
    return None
