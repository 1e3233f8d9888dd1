"""The numbers of the files that SQLite has open: whether they are still its own.

A program may close files that it did not open (`os.closerange` when it becomes a daemon), and open others, which get the
same numbers. SQLite would not notice, and write into them. What it locks may be free, too: see `locks`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from .. import _system
from .._forks import in_forked_child
from .._system import Identity
from .locks import SHARED_MEMORY_BYTES, Guard, close_pending, is_writable, opened

__all__ = ["Held", "leak", "reading"]

_lock = threading.RLock()  # re-entrant: a signal handler may flush while a store is being opened
_readers = 0
"""Connections of this process that read a store just now: their numbers must not be taken for a writer's."""


class Held:
    """What a connection has open, and what guards it; `opening` surrounds the code that opens it."""

    def __init__(self) -> None:
        self._numbers: dict[int, Identity] = {}
        self._memory: int | None = None
        self._guard: Guard | None = None
        self._is_given_up = False

    @contextlib.contextmanager
    def opening(self, path: Path) -> Iterator[None]:
        """Learn the numbers that come up meanwhile for the store file and its companions.

        Raises:
            OSError: the store cannot be guarded.
        """
        with _lock:
            known = not _readers
            before = _open_files()
            yield
            log, memory = (_system.identity(Path(f"{path}{suffix}")) for suffix in ("-wal", "-shm"))
            if memory is not None:
                self._guard = Guard(path, Path(f"{path}-shm"))
                self._numbers = {**self._guard.numbers}
            if known:
                after = _open_files()
                ours = {_system.identity(path), log, memory}
                others = after.items() - opened.items()
                self._numbers |= {number: of for number, of in others - before.items() if of in ours}
                writable = {of: number for number, of in others if is_writable(number)}
                if log in writable:
                    self._find_memory(memory, writable)

    def _find_memory(self, memory: Identity | None, writable: dict[Identity, int]) -> None:
        """Find the memory that goes with the log: SQLite opens it but once in a process, for connections of the host's too."""
        if memory is None or memory not in writable:
            self.give_up()  # one of the host's has another: that was removed, and SQLite would go on with it
            return
        self._memory = writable[memory]
        self._numbers[self._memory] = memory

    @property
    def are_lost(self) -> bool:
        """Whether one of the numbers is closed or another file's, or what SQLite has mapped into memory was cut."""
        if self._is_given_up:
            return True
        for number, known in self._numbers.items():
            found = _status(number)
            if found is None or (found.st_dev, found.st_ino) != known:
                return True
            if number == self._memory and found.st_size < SHARED_MEMORY_BYTES:
                return True
        return False

    @property
    def are_without_log(self) -> bool:
        """Whether the memory that goes with the log was removed, and the log with it, by somebody who knew of no connection."""
        found = None if self._memory is None else _status(self._memory)
        return found is not None and found.st_nlink == 0

    def give_up(self) -> None:
        """Count all as lost."""
        self._is_given_up = True

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Keep other writers out; BlockingIOError where one is at it."""
        return contextlib.nullcontext() if self._guard is None else self._guard.writing()

    def unlock(self) -> None:
        """Let others have the store: the connection is about to be closed."""
        if self._guard is not None:
            self._guard.unlock()

    def close(self) -> None:
        """Close what is open beside the connection, which is closed."""
        if self._guard is not None:
            self._guard.close()

    def stand(self, path: Path) -> bool:
        """Whether the numbers are still what the names of the store's files lead to."""
        ours = {_system.identity(Path(f"{path}{suffix}")) for suffix in ("", "-wal", "-shm")}
        return not self.are_lost and set(self._numbers.values()) <= ours


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
    close_pending(in_child=True)


in_forked_child(_after_fork)


def leak(connection: sqlite3.Connection) -> None:
    """Keep a connection from ever being closed, at the interpreter's end too: it would close, and write, others' files."""
    with contextlib.suppress(ImportError, AttributeError):
        import ctypes  # noqa: PLC0415 - hardly ever needed

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _open_files() -> dict[int, Identity]:
    numbers: list[int] = []
    for folder in ("/proc/self/fd", "/dev/fd"):  # Windows has neither, and nobody there who closes numbers by range
        with contextlib.suppress(OSError):
            numbers = numbers or [int(name) for name in _system.names_in(folder)]
    return {
        number: found for number in numbers if (found := _system.identity(number)) is not None
    }  # one was the folder's own


def _status(of: int | Path) -> os.stat_result | None:
    try:
        return _system.status(of)
    except OSError:
        return None
