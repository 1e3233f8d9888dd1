"""Looking at PocketFlow's objects without running their users' code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pocketflow import Flow

from .._graph import Look


def peek(node: Any, name: str) -> Any:
    """An attribute as PocketFlow stored it, past `__getattr__` and `__getattribute__` of users; None when it is not there."""
    try:
        return object.__getattribute__(node, name)
    except Exception:  # noqa: BLE001 - a slot that is not set, a property of a user's that raises: not there
        return None


def look(node: Any) -> Look:
    """What the graph needs of a node.

    A template and the copy that PocketFlow makes for each visit share their `successors` dict, so that dict is the identity
    of a place in the graph; what has none is only itself.
    """
    successors = peek(node, "successors")
    is_flow = issubclass(type(node), Flow)
    pairs: Iterable[tuple[Any, Any]] = list(successors.items()) if type(successors) is dict else ()
    keep = node if successors is None else successors
    return Look(
        key=id(keep),
        cls=type(node).__name__,
        successors=[(action, after) for action, after in pairs if after is not None],
        start=peek(node, "start_node") if is_flow else None,
        is_flow=is_flow,
        keep=keep,
    )
