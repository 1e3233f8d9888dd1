"""The numbers of the files that SQLite has open: whether they are still its own.

A program may close files that it did not open (`os.closerange` when it becomes a daemon), and open others, which get the
same numbers. SQLite would not notice, and write into them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Held", "leak", "reading"]

Identity = tuple[int, int]


_lock = threading.RLock()  # re-entrant: a signal handler may flush while a store is being opened
_readers = 0
"""Connections of this process that read a store just now: their numbers must not be taken for a writer's."""


class Held:
    """What a connection has open; `opening` surrounds the code that opens it."""

    def __init__(self) -> None:
        self._held: dict[int, Identity] = {}

    @contextlib.contextmanager
    def opening(self, path: Path) -> Iterator[None]:
        """Learn the numbers that come up meanwhile for the store file and its companions."""
        with _lock:
            known = not _readers
            before = _open_files()
            yield
            ours = {_identity(Path(f"{path}{suffix}")) for suffix in ("", "-wal", "-shm")}
            self._held = dict(_open_files().items() - before.items()) if known else {}
            self._held = {number: found for number, found in self._held.items() if found in ours}

    @property
    def are_lost(self) -> bool:
        """Whether one of the numbers is closed or another file's."""
        return any(_identity(number) != known for number, known in self._held.items())

    def stand(self, path: Path) -> bool:
        """Whether the numbers are still what the names of the store's files lead to."""
        ours = {_identity(Path(f"{path}{suffix}")) for suffix in ("", "-wal", "-shm")}
        return not self.are_lost and set(self._held.values()) <= ours


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Surrounds a connection that only reads."""
    global _readers  # noqa: PLW0603 - of the process, as the numbers are
    with _lock:
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1


def _after_fork() -> None:
    global _lock, _readers
    _lock, _readers = threading.RLock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def leak(connection: sqlite3.Connection) -> None:
    """Keep a connection from ever being closed, at the interpreter's end too: it would close, and write, others' files."""
    with contextlib.suppress(ImportError, AttributeError):
        import ctypes  # noqa: PLC0415 - hardly ever needed

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _open_files() -> dict[int, Identity]:
    numbers: list[int] = []
    for folder in ("/proc/self/fd", "/dev/fd"):  # Windows has neither, and nobody there who closes numbers by range
        with contextlib.suppress(OSError):
            numbers = numbers or [int(name) for name in os.listdir(folder)]  # noqa: PTH208 - names, not paths
    return {number: found for number in numbers if (found := _identity(number)) is not None}  # one was the folder's own


def _identity(of: int | Path) -> Identity | None:
    try:
        found = os.stat(of)  # noqa: PTH116 - of a number, too
    except OSError:
        return None
    return found.st_dev, found.st_ino
