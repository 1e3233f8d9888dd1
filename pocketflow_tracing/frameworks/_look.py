"""Looking at PocketFlow's objects without running their users' code."""

from __future__ import annotations

import sys
from types import FunctionType, MemberDescriptorType
from typing import Any

from pocketflow import BaseNode, Flow

from ..capture_kinds import attributes_of, mro_of

class_name = type.__dict__["__name__"].__get__
"""A class's name, whatever its metaclass answers."""

_own_dict = vars(BaseNode)["__dict__"].__get__
"""A node's real `__dict__`, whatever its class says under that name."""


_MISSING = object()
_GLOBALS = vars(sys.modules[BaseNode.__module__])


def peek(node: Any, name: str) -> Any:
    """An attribute as PocketFlow stored it, past `__getattr__`, `__getattribute__` and properties; None when it is not there."""
    if not issubclass(type(node), BaseNode):
        return None
    found = dict.get(_own_dict(node), name, _MISSING)
    if found is not _MISSING:
        return found
    for cls in mro_of(type(node)):
        attributes = attributes_of(cls)
        if name in attributes:
            found = attributes[name]
            if type(found) is MemberDescriptorType:  # a slot
                try:
                    return found.__get__(node)
                except AttributeError:
                    return None
            return None if any("__get__" in attributes_of(kind) for kind in mro_of(type(found))) else found
    return None


def is_pocketflows(node: Any, method: str) -> bool:
    """Whether a method is PocketFlow's own: no node or class of the user's defines it, and nobody has replaced it."""
    if method in _own_dict(node):
        return False
    for cls in mro_of(type(node)):
        attributes = attributes_of(cls)
        if method in attributes:
            function = attributes[method]
            return type(function) is FunctionType and function.__globals__ is _GLOBALS
    return True


def place(node: Any) -> Any:
    """What a place in the graph is known by.

    A template and the copy that PocketFlow makes for each visit share their `successors` dict; what has none is only itself.
    """
    successors = dict.get(_own_dict(node), "successors") if issubclass(type(node), BaseNode) else None
    if successors is None:
        successors = peek(node, "successors")  # where it stands somewhere else
    return node if successors is None else successors


def look(node: Any) -> tuple[str, bool]:
    """What the graph shows of a node: the name of its class, and whether it is a flow."""
    cls = type(node)
    return class_name(cls), issubclass(cls, Flow)


def start(flow: Any) -> Any:
    """The first node of a flow, None where there is none."""
    return peek(flow, "start_node")
