"""Where a process lives: only those of one place can be asked whether they are still there."""

from __future__ import annotations

from os import readlink
from socket import gethostname

from ._guard import Tolerating

__all__ = ["machine"]


def machine() -> str:
    """The host's name and, on Linux, its room for process numbers: containers may share the one and not the other."""
    host, room = "unknown", ""
    with Tolerating(Exception):  # an audit hook may forbid it, with any error
        host = gethostname()
        room = readlink("/proc/self/ns/pid").strip("pid:[]")  # noqa: PTH115 - two calls a run and look
    return f"{host}/{room}" if room else host
