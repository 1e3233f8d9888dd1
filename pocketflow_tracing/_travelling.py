"""What of a flow's settings goes along where the flow is pickled: into another process, over a queue, onto a disk.

What hides must not be lost on the way, and a secret key must not go along. Where one of the two cannot be had, nothing of the
flow is recorded over there, and that is said.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from . import _log
from ._guard import Tolerating

if TYPE_CHECKING:
    from .config import TracingConfig

__all__ = ["arrived", "is_plain", "taken_along"]

_HIDING = ("mask", "serializers", "policies", "redact")
"""Settings without which more would be seen than was meant to."""
_KEY = "langfuse_secret_key"


def is_plain(value: object, depth: int = 3) -> bool:
    """Whether a value is made of texts and numbers: functions, and objects of the program's, lead to its modules."""
    if type(value) is dict:
        return depth > 0 and all(is_plain(item, depth - 1) for pair in value.items() for item in pair)
    if type(value) in {list, tuple}:
        items: Any = value
        return depth > 0 and all(is_plain(item, depth - 1) for item in items)
    return value is None or type(value) in {str, int, float, bool}


def taken_along(config: TracingConfig) -> tuple[dict[str, Any], dict[str, bytes | None]]:
    """Say what goes along of a config.

    Args:
        config: resolved.

    Returns:
        What was given in Python, by name: what is plain as it is; of what hides the rest as a pickle of its own, None where it
        has none; of a secret key that there is one.
    """
    from .config import SETTINGS  # noqa: PLC0415 - which imports this module's users

    given = {name: getattr(config, name) for name in SETTINGS if config.is_named(name)}
    packed: dict[str, bytes | None] = {}
    if given.pop(_KEY, None) is not None:
        packed[_KEY] = None
    for name in [name for name, value in given.items() if not is_plain(value)]:
        value = given.pop(name)
        if name in _HIDING:
            packed[name] = None
            with Tolerating(Exception, theirs=True):  # whatever a program's objects raise when they are pickled
                packed[name] = pickle.dumps(dict(value) if name == "serializers" else value)
    return given, packed


def arrived(given: dict[str, Any], packed: dict[str, bytes | None]) -> TracingConfig:
    """Make a config of what came along; one that records nothing where something of it is missing."""
    from .config import TracingConfig  # noqa: PLC0415 - see above

    missing = []
    for name, content in packed.items():
        if name == _KEY:
            here = TracingConfig().resolved()
            if here.langfuse_secret_key and here.langfuse_public_key == given.get("langfuse_public_key"):
                continue  # it is the project of this process as well
        elif content is not None:
            with Tolerating(Exception, theirs=True):  # whatever they raise when they are made again
                given[name] = pickle.loads(content)  # noqa: S301 - within a pickle that the program is loading
                continue
        missing.append(name)
    if not missing:
        return TracingConfig(**given)
    _log.warn_once(
        f"A flow that was pickled came without {' and '.join(missing)} of its settings, so its runs here are not traced. "
        "Functions go along that can be imported, and no secret key: the environment has to have the keys of its project."
    )
    return TracingConfig(enabled=False)
