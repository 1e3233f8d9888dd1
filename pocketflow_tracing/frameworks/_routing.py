"""The routing between visits: PocketFlow's question for the successor."""

from __future__ import annotations

from typing import Any

from .._guard import is_hosts
from ..recorder import Branch, Untraced, current
from ._look import peek
from ._scopes import ENDING, NOTHING, Nothing, is_to_leave

ASKING = ("", "")
"""What a flow expects while it is asked for a successor: a node that a `get_next_node` of the user's runs is no step of it."""


class Route:
    """PocketFlow's question for the successor: it completes the visit before it.

    Args:
        owner: the flow or pass that asks; a visit waits in it.
        asked: the node whose successor it asks for, and the action.
    """

    __slots__ = ("asked", "owner")

    def __init__(self, owner: Branch, asked: tuple[Any, ...]) -> None:
        self.owner = owner
        self.asked = asked
        owner.expected = ASKING

    def done(self, successor: Any, error: BaseException | None = None) -> Any:
        """Complete the visit with its successor, which is given back."""
        try:
            self.finish(error, successor)
        except Exception as failure:
            if is_hosts(failure):
                raise
            ENDING.absorb(failure)
        return successor

    def failed(self, error: BaseException) -> None:
        """Complete the visit without a successor."""
        self.done(None, error)

    def finish(self, error: BaseException | None, successor: Any) -> None:
        """Note where it goes on, and let the visit go."""
        owner = self.owner
        owner.expected = None
        waiting = owner.waiting
        if waiting is None or owner.flow_id is None:
            return
        try:
            if error is None and successor is not None:
                owner.expected = owner.run.graph.locate(owner.flow_id, successor)
                waiting.attributes["successor"] = owner.expected[0]
            elif not _is_an_end(*self.asked[:2]):
                waiting.attributes["no_successor"] = True
        finally:
            owner.settle()


def _is_an_end(node: Any = None, action: Any = None) -> bool:
    """Whether a flow was meant to end after a node: it has no successors, or None was declared to follow its action."""
    successors = peek(node, "successors")
    if type(successors) is not dict or not successors:
        return not successors
    if action is not None and type(action) is not str:
        return False  # it would be hashed and compared
    return (action or "default") in successors


def open_route(_flow: Any, args: tuple[Any, ...], _within: Any) -> Route | Nothing:
    """Open the scope of PocketFlow's question for a successor."""
    frame = current.get()
    if frame is None or type(frame) is Untraced:
        return NOTHING
    try:
        if isinstance(frame, Branch) and frame.waiting is not None:
            return Route(frame, args)
    except BaseException as error:
        if is_to_leave(error, frame):
            raise
    return NOTHING
