"""The numbers of the files that SQLite has open: whether they are still its own.

A program may close files that it did not open (`os.closerange` when it becomes a daemon), and open others, which get the
same numbers. SQLite would not notice, and write into them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Held", "leak"]

Identity = tuple[int, int]


class Held:
    """What a connection has open; `opening` surrounds the code that opens it."""

    def __init__(self) -> None:
        self._held: dict[int, Identity] = {}
        self._settled = False

    @contextlib.contextmanager
    def opening(self, path: Path) -> Iterator[None]:
        """Learn the numbers that come up meanwhile for the store file and its companions."""
        before = set(_open_files())
        yield
        ours = {_identity(Path(f"{path}{suffix}")) for suffix in ("", "-wal", "-shm")}
        new = {number: _identity(number) for number in set(_open_files()) - before}
        self._held = {number: found for number, found in new.items() if found is not None and found in ours}
        self._settled = False

    def settle(self) -> None:
        """Leave out what was closed again at once: another thread was reading the store while it was opened."""
        if not self._settled:
            self._held = {number: known for number, known in self._held.items() if _identity(number) == known}
            self._settled = True

    @property
    def are_lost(self) -> bool:
        """Whether one of the numbers is closed or another file's."""
        return any(_identity(number) != known for number, known in self._held.items())


def leak(connection: sqlite3.Connection) -> None:
    """Keep a connection from ever being closed, at the interpreter's end too: it would close, and write, others' files."""
    with contextlib.suppress(ImportError, AttributeError):
        import ctypes  # noqa: PLC0415 - hardly ever needed

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _open_files() -> list[int]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return [int(name) for name in os.listdir(folder)]  # noqa: PTH208 - names, not paths
    return []  # Windows, where nobody closes numbers by range


def _identity(of: int | Path) -> Identity | None:
    try:
        found = os.stat(of)  # noqa: PTH116 - of a number, too
    except OSError:
        return None
    return found.st_dev, found.st_ino
