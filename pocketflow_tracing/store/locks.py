"""SQLite's locks on the store's files: whether they are still there, and taking them again.

A process that closes a file lets go of all locks that it holds on it, whoever in it took them (fcntl(2)): a program that copies,
hashes or searches its own directory does that without knowing. Another process would then take itself for the only one, cut the
shared memory under this one, which is killed for it (SIGBUS), and remove the log that this one writes. So a byte of each file is
locked that nobody else has use for; once it is free, the others are, too.

The bytes are those of SQLite's os_unix.c; sqlite.org/howtocorrupt.html tells of the trap.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Any

try:
    import fcntl
except ImportError:  # Windows, whose locks are not like that
    fcntl = None  # type: ignore[assignment]

__all__ = ["SHARED_MEMORY_BYTES", "Locks", "is_writable"]

SHARED_MEMORY_BYTES = 32768
"""Of the file that goes with a log, at least, for as long as somebody uses it."""
_SHARED = (0x40000002, 510)
"""Read-locked in the store for as long as a connection with a log is there: first byte, number."""
_IN_USE = (128, 1)
"""Likewise in its shared memory."""
_MARK = 1 << 40
"""Far behind what anybody locks; each connection has a byte of its own there, by chance, for containers share process numbers."""
_FLOCK = "hhqqi4x"
"""Of `struct flock` on 64-bit Linux: type, whence, start, length, pid."""
_ASKS: int | None = getattr(fcntl, "F_OFD_GETLK", None) if struct.calcsize("P") == 8 else None
"""Asks as a stranger would, and so sees this process's own locks; only Linux can."""


class Locks:
    """The locks of a store that has a log, by the numbers under which SQLite has opened it and its shared memory."""

    def __init__(self, store: int, memory: int) -> None:
        self._places = ((store, _SHARED), (memory, _IN_USE))
        self._mark = _MARK + int.from_bytes(os.urandom(5), "big")
        self._is_known = _ASKS is not None and self._take_marks()

    def are_there(self) -> bool:
        """Whether nobody in this process has let go of them; also where that cannot be known."""
        return not self._is_known or all(_is_locked(number, self._mark) for number, _ in self._places)

    def take_again(self) -> bool:
        """Take those that SQLite takes itself to have; False while another process is in the way, which is closing the store."""
        try:
            for number, (start, length) in self._places:
                _lock(number, fcntl.F_RDLCK, start, length)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EAGAIN}:
                return False
            raise
        return self._take_marks()

    def others_are_there(self) -> bool:
        """Whether another process has the store open."""
        number, (start, length) = self._places[0]
        asked = _flock(fcntl.F_WRLCK, start, length)
        return _type_of(fcntl.fcntl(number, fcntl.F_GETLK, asked)) != fcntl.F_UNLCK

    def _take_marks(self) -> bool:
        try:
            for number, _ in self._places:
                _lock(number, fcntl.F_WRLCK, self._mark, 1)
        except (OSError, RuntimeError):  # a file system without such locks, or an audit hook that allows none
            return False
        return all(_is_locked(number, self._mark) for number, _ in self._places)


def is_writable(number: int) -> bool:
    """Whether a file was opened for writing: SQLite does, and who reads or copies it does not."""
    return fcntl is None or fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR


def _lock(number: int, kind: int, start: int, length: int) -> None:
    fcntl.fcntl(number, fcntl.F_SETLK, _flock(kind, start, length))


def _is_locked(number: int, start: int) -> bool:
    assert _ASKS is not None  # noqa: S101 - else there are no marks
    return _type_of(fcntl.fcntl(number, _ASKS, _flock(fcntl.F_WRLCK, start, 1))) != fcntl.F_UNLCK


def _flock(kind: int, start: int, length: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)


def _type_of(answer: Any) -> int:
    kind: int = struct.unpack(_FLOCK, answer)[0]
    return kind
