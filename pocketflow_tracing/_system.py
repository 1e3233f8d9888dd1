"""Looks of our own at files and variables, which a host's tests neither answer nor count: they put mocks on `os`'s functions."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from types import ModuleType

from ._guard import Tolerating

__all__ = [
    "Identity", "absolute", "basename", "close_number", "dirname", "exists", "expanduser", "here", "identity", "is_command",
    "is_dir", "is_faked", "is_file", "is_link", "isabs", "join", "make_dir", "names_in", "normpath", "on_path", "open_number",
    "pid", "realpath", "status", "variable",
]  # fmt: skip

_stat, _getcwd, _access, _listdir, _lstat, _mkdir = os.stat, os.getcwd, os.access, os.listdir, os.lstat, os.mkdir
dirname, expanduser, isabs, join = os.path.dirname, os.path.expanduser, os.path.isabs, os.path.join
basename, normpath, realpath = os.path.basename, os.path.normpath, os.path.realpath
_getpid, _open, _close, _fspath = os.getpid, os.open, os.close, os.fspath
_AnyPath = str | os.PathLike[str]
Identity = tuple[int, int]
"""What tells a file or socket from one that takes its path or its number later."""


def is_faked() -> bool:
    """Whether a test's files stand in the place of the real ones: those of pyfakefs, or of a mock on `pathlib.Path`."""
    path = getattr(sys.modules.get("pathlib"), "Path", type)  # who has not imported it has no mock there
    return type(os) is not ModuleType or not issubclass(type(path), type)


def variable(name: str, default: str = "") -> str:
    """A variable of the environment."""
    try:
        return os.environ[name]
    except KeyError:
        return default


def status(of: _AnyPath | int) -> os.stat_result:
    """What the system says of a path or number; raises OSError (ValueError for what can be no path)."""
    return _stat(of) if isinstance(of, int) else _stat(_fspath(of))  # a mock's number is 1, that of stdout


def identity(of: _AnyPath | int) -> Identity | None:
    """What tells what is at a path or behind a number from what takes its place later, None when there is nothing."""
    with Tolerating(OSError, ValueError):
        found = status(of)
        return found.st_dev, found.st_ino
    return None


def pid() -> int:
    """The number of this process."""
    return _getpid()


def here() -> str:
    """The working directory; raises OSError where it was removed."""
    return _getcwd()


def names_in(folder: str) -> list[str]:
    """The names in a directory; raises OSError."""
    return _listdir(folder)


def _mode(path: _AnyPath) -> int:
    with Tolerating(OSError, ValueError):
        return status(path).st_mode
    return 0


def exists(path: _AnyPath) -> bool:
    """Whether there is something at a path that may be looked at."""
    return _mode(path) != 0


def is_file(path: _AnyPath) -> bool:
    """Whether that is a file."""
    return stat.S_ISREG(_mode(path))


def is_dir(path: _AnyPath) -> bool:
    """Whether that is a directory."""
    return stat.S_ISDIR(_mode(path))


def is_link(path: _AnyPath) -> bool:
    """Whether that leads to another path."""
    with Tolerating(OSError, ValueError):
        return stat.S_ISLNK(_lstat(path).st_mode)
    return False


def open_number(path: _AnyPath, flags: int, mode: int = 0o777) -> int:
    """Open a file and return its number, one that is ours to close, and no mock's answer; raises OSError."""
    return _open(_fspath(path), flags, mode)


def close_number(number: int) -> None:
    """Close it; raises OSError."""
    _close(number)


def make_dir(path: _AnyPath, mode: int) -> None:
    """Make a directory; raises OSError."""
    _mkdir(path, mode)


def absolute(path: str) -> str:
    """A path from the root; raises OSError where it begins in a working directory that was removed."""
    return path if isabs(path) else join(here(), path)


def is_command(path: str) -> bool:
    """Whether a path is that of a program that may be run."""
    return is_file(path) and _access(path, os.X_OK)


def on_path(name: str) -> str | None:
    """The path of the program that a shell would run under a name, None where it knows none."""
    return next((path for path in _candidates(name) if is_command(path)), None)


def _candidates(name: str) -> Iterator[str]:
    endings = [ending for ending in variable("PATHEXT").split(";") if os.name == "nt"] or [""]
    for folder in variable("PATH", os.defpath).split(os.pathsep):
        for ending in endings:
            yield join(folder, name + ending)
