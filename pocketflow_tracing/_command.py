"""What a user types to reach the command line: hints must work when they are copied."""

from __future__ import annotations

import os
import sys

from . import _system
from ._forks import unforked
from ._guard import Tolerating

__all__ = ["command"]

_NAME = "pocketflow-tracing"


def command() -> str:
    """Return the command as it can be typed here: its name where PATH finds it, else its path, else `python -m`."""
    # the working directory was removed, or the library of Python is out of reach by now
    with Tolerating(OSError, ImportError):
        return _command()
    return _NAME


def _command() -> str:
    with unforked():
        import shlex  # noqa: PLC0415 - not for programs that are told nothing

    arguments = getattr(sys, "argv", None)  # a program that embeds Python may have none
    typed = arguments[0] if arguments else ""
    as_module = _folder(typed) == _folder(__file__)
    installed = _system.on_path(_NAME)
    if not as_module:
        if installed:
            return _NAME
        beside = _system.join(_system.dirname(sys.executable or ""), _NAME)
        for path in (typed if _system.basename(typed) == _NAME else "", beside):
            if path and _system.is_command(path):
                return shlex.quote(_from_here(path))
    if not _system.basename(sys.executable or "python").startswith(("python", "pypy")):
        return _NAME  # the program itself, frozen or with Python in it: it would run again
    python = _system.on_path("python")
    same = python is not None and python == sys.executable
    return f"{'python' if same else shlex.quote(_from_here(sys.executable or 'python'))} -m pocketflow_tracing"


def _from_here(path: str) -> str:
    """Return a path below the working directory relative to it, another one as it is."""
    return _system.normpath(_system.absolute(path)).removeprefix(_system.here() + os.sep)


def _folder(path: str) -> str:
    return _system.dirname(_system.normpath(_system.absolute(path)))
