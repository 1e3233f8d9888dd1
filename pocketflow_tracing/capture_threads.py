"""Whether another thread of the host's may be changing what is read.

Wherever Python replaces an object in a list, a dict or a slot, it lets go of the old one last. NumPy lets go of it first:
while that runs a finalizer, another thread finds an object in the array that is no more, and to count it up ends the process.
"""

from __future__ import annotations

import threading
from types import FunctionType, MethodType
from typing import Any

from .capture_kinds import shape_of

__all__ = ["is_alone"]

_TOOLS = frozenset({"IPython", "_pydevd_bundle", "debugpy", "ipykernel", "langfuse", "opentelemetry", "tqdm", "zmq"})
"""Those whose threads look after a notebook, a debugger or a bar, and touch nothing of the program's."""
_NO_HOSTS = _TOOLS | {"pocketflow_tracing"}


def is_alone() -> bool:
    """Whether the host has no other thread than this one, among those that `threading` knows."""
    # not `threading.enumerate`: its lock may be held by the frame that a signal handler has interrupted
    threads: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined] # noqa: SLF001
    here = threading.get_ident()
    return all(ident == here or not _is_hosts(thread) for ident, thread in threads.copy().items())


def _is_hosts(thread: threading.Thread) -> bool:
    """Whether a thread is neither ours nor that of a tool, which has a class or a target of its own."""
    shape = shape_of(type(thread))
    if shape.library in _NO_HOSTS:
        return False
    target: Any = shape.instance_dict(thread).get("_target")
    if type(target) is MethodType:
        target = target.__func__
    # functions of ours are no sign: `with_context` wraps those of the host
    module = target.__module__ if type(target) is FunctionType else None
    return type(module) is not str or module.partition(".")[0] not in _TOOLS
