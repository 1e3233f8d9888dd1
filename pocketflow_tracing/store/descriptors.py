"""The numbers of the files that SQLite has open: whether they are still its own.

A program may close files that it did not open (`os.closerange` when it becomes a daemon), and open others, which get the
same numbers. SQLite would not notice, and write into them. What it locks may be free, and its log removed: see `locks`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from .locks import SHARED_MEMORY_BYTES, Locks, is_writable

__all__ = ["Held", "leak", "reading"]

Identity = tuple[int, int]


_lock = threading.RLock()  # re-entrant: a signal handler may flush while a store is being opened
_readers = 0
"""Connections of this process that read a store just now: their numbers must not be taken for a writer's."""


class Held:
    """What a connection has open; `opening` surrounds the code that opens it."""

    def __init__(self) -> None:
        self._held: dict[int, Identity] = {}
        self._memory: int | None = None
        self._locks: Locks | None = None
        self._is_given_up = False

    @contextlib.contextmanager
    def opening(self, path: Path) -> Iterator[None]:
        """Learn the numbers that come up meanwhile for the store file and its companions."""
        with _lock:
            known = not _readers
            before = _open_files()
            yield
            store, log, memory = (_identity(Path(f"{path}{suffix}")) for suffix in ("", "-wal", "-shm"))
            if known:
                after = _open_files()
                fresh = after.items() - before.items()
                self._held = {number: found for number, found in fresh if found in {store, log, memory}}
                numbers: dict[Identity | None, int] = {
                    found: number for number, found in after.items() if is_writable(number)
                }
                numbers |= {found: number for number, found in self._held.items()}
                if log in numbers:
                    self._see_to_memory(memory, numbers.get(store), numbers)

    def _see_to_memory(self, memory: Identity | None, store: int | None, numbers: dict[Identity | None, int]) -> None:
        """Find the memory that goes with the log: SQLite opens it but once in a process, for connections of the host's too."""
        if memory is None or memory not in numbers or store is None:
            self.give_up()  # one of the host's has another: that was removed, and SQLite would go on with it
            return
        self._memory = numbers[memory]
        self._held[self._memory] = memory
        self._locks = Locks(store, self._memory)

    @property
    def are_lost(self) -> bool:
        """Whether one of the numbers is closed or another file's, or what SQLite has mapped into memory is there no more."""
        if self._is_given_up:
            return True
        for number, known in self._held.items():
            found = _status(number)
            if found is None or (found.st_dev, found.st_ino) != known:
                return True
            if number == self._memory and found.st_size < SHARED_MEMORY_BYTES:
                return True
        return False

    @property
    def are_removed(self) -> bool:
        """Whether a process that took itself for the last one has removed the log."""
        return self._memory is not None and any(
            found is not None and found.st_nlink == 0 for found in map(_status, self._held)
        )

    def lock_again(self) -> bool:
        """Take the locks again that this process has let go of; False while another one is closing the store."""
        return self._locks is None or self._locks.are_there() or self._locks.take_again()

    def may_be_closed(self, path: Path) -> bool:
        """Whether a connection whose log was removed can be closed: that removes the log of others, too, if they are gone."""
        return self._locks is None or _identity(Path(f"{path}-wal")) is None or self._locks.others_are_there()

    def give_up(self) -> None:
        """Count all as lost."""
        self._is_given_up = True

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
    found = _status(of)
    return None if found is None else (found.st_dev, found.st_ino)


def _status(of: int | Path) -> os.stat_result | None:
    try:
        return os.stat(of)  # noqa: PTH116 - of a number, too
    except OSError:
        return None
