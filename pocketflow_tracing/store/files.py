"""The store as files: created for the owner alone, kept out of repositories, set aside when broken."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from .. import _system
from .._log import warn
from .._time import time_ns

__all__ = [
    "create_privately",
    "is_being_set_aside",
    "is_no_file",
    "is_text",
    "set_aside",
    "standing_above",
    "target_of",
]

"""Device and inode."""

_OWN = ".pocketflow"
"""The name of directories that are ours to make, again too."""

_DATABASES = frozenset({".db", ".db3", ".sqlite", ".sqlite3"})

_STALE_S = 10.0
"""A mark of a process that is setting the file aside counts no longer after this time: the process died."""


def target_of(path: str | os.PathLike[str]) -> Path:
    """Return the file that SQLite opens: of a link what it leads to, for the log stands beside that."""
    return Path(_system.realpath(path)) if _system.is_link(path) else Path(path)


def standing_above(path: Path) -> Path:
    """Return the nearest directory above a file that is there and not ours."""
    above = (directory for directory in path.parents if directory.name != _OWN)
    return next((directory for directory in above if _system.is_dir(directory)), Path(path.anchor))


def is_no_file(path: Path) -> bool:
    """Whether something else stands there, such as a directory; another process may remove it at any moment."""
    try:
        return not stat.S_ISREG(_system.status(path).st_mode)  # one look: between two it may have gone
    except OSError:
        return False


def create_privately(path: Path, standing: Path) -> None:
    """Create the file and its directory for the owner only, where they are missing.

    Args:
        path: of the file.
        standing: the directory above it that somebody else has made, and that is not made here.

    Raises:
        OSError: they cannot be made.
    """
    directory = path.parent
    if not _system.exists(directory):
        missing = [
            above
            for above in (directory, *directory.parents)
            if standing in above.parents and not _system.exists(above)
        ]
        for above in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another process was faster
                _system.make_dir(above, 0o700 if above == directory else 0o777)
        if ".." not in directory.parts:  # else it may have been there
            _ignore_in_git(directory)
    elif directory.name == _OWN:
        _ignore_in_git(directory)
    # Only ever opened when it is new: closing a plain handle would drop the locks that this process holds on the file.
    # Of a link that leads to no file yet, the file: SQLite would make it readable for all.
    with contextlib.suppress(FileExistsError):
        _system.close_number(_system.open_number(target_of(path), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def is_text(path: Path) -> bool:
    """Whether a file that is no database, not by its name either, holds text: it is no damaged store, but somebody's."""
    if path.suffix in _DATABASES:
        return False
    try:
        with io.open(path, "rb") as file:  # noqa: UP020 - as below
            begin = file.read(4096)
    except OSError:
        return False
    with contextlib.suppress(UnicodeDecodeError):
        text = codecs.getincrementaldecoder("utf-8")().decode(begin)  # the last character may be cut
        return all(character.isprintable() or character.isspace() or character == "\x1b" for character in text)
    return False


def set_aside(path: Path, broken: tuple[int, int] | None) -> Path | None:
    """Rename a broken file, with its companions, so that a new one can take its place. Nothing is deleted.

    It waits for nobody: the caller tries again.

    Args:
        path: of the file.
        broken: its identity when it was found broken: of several processes that find it so, one renames it.

    Returns:
        The new name, None when another process had done it.

    Raises:
        BlockingIOError: another process is at it.
        OSError: it cannot be renamed.
    """
    with _one_process(path):
        if _system.identity(path) != broken:
            return None
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{_system.pid()}"
        aside = path.with_name(f"{path.name}.corrupt-{stamp}")
        # The file goes last: the moment it is gone another process begins a new one, whose companions must stay.
        for suffix in ("-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
        path.rename(aside)
    warn("The trace store %s was damaged. It is kept as %s, and a new one was begun.", path, aside)
    return aside


def is_being_set_aside(path: Path) -> bool:
    """Whether a process is renaming the file and its companions just now."""
    try:
        return time_ns() / 1e9 - _system.status(_mark(path)).st_mtime < _STALE_S
    except OSError:
        return False


def _mark(path: Path) -> Path:
    return Path(f"{path}.setting-aside")


def _ignore_in_git(directory: Path) -> None:
    ignored = f"{directory}{os.sep}.gitignore"
    with contextlib.suppress(OSError), io.open(ignored, "x", encoding="utf-8") as file:  # noqa: UP020 - tests put mocks on the others
        file.write("*\n")


@contextlib.contextmanager
def _one_process(path: Path) -> Iterator[None]:
    mark = _mark(path)
    try:
        mark.mkdir()
    except FileExistsError:
        if not is_being_set_aside(path):
            with contextlib.suppress(FileNotFoundError):
                mark.rmdir()
        raise BlockingIOError("another process is setting the damaged file aside") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            mark.rmdir()
