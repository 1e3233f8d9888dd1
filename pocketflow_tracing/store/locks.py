"""Locks that a program does not lose by reading the store's files, in the place of SQLite's.

A process that closes a file lets go of all locks that SQLite holds on it in there, whoever opened it (fcntl(2)): a program
that copies, hashes or searches its own directory does that without knowing. Another process would then take itself for the only
one, cut the shared memory under this one, which is killed for it (SIGBUS), and remove the log that this one writes; or two would
write at once. A lock of an open file description lasts until that one is closed. So each connection has descriptors of its own,
and on them the locks that keep others from all this, at the bytes of SQLite's os_unix.c; and one more, around each transaction,
by which our writers keep out of each other's way.

sqlite.org/howtocorrupt.html tells of the trap. Only Linux has such locks.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import _system
from .._system import Identity

try:
    import fcntl
except ImportError:  # Windows, whose locks are not like that
    fcntl = None  # type: ignore[assignment]
_fcntl: Any = getattr(fcntl, "fcntl", None)  # a test of the host's may put a mock there

__all__ = ["SHARED_MEMORY_BYTES", "Guard", "close_pending", "is_writable", "opened"]

SHARED_MEMORY_BYTES = 32768
"""Of the file that goes with a log, at least, for as long as somebody uses it."""
_SHARED = (0x40000002, 510)
"""Read-locked in the store for as long as a connection with a log is there: first byte, number."""
_IN_USE = (128, 1)
"""Likewise in its shared memory."""
_WRITING = (1 << 40, 1)
"""Far behind what SQLite locks: held by who writes."""
_FLOCK = "hhqqi4x"
"""Of `struct flock` on 64-bit Linux: type, whence, start, length, pid."""
_SET: int | None = getattr(fcntl, "F_OFD_SETLK", None) if struct.calcsize("P") == 8 else None

opened: dict[int, Identity] = {}
"""Descriptors of all guards, each with its file: none of them is SQLite's."""
_pending: dict[int, Identity] = {}
"""Descriptors that are not needed any more: closing one takes SQLite's locks away from connections of the host's own."""


class Guard:
    """The locks of one connection to a store that has a log.

    Args:
        store: the file; not a link.
        memory: the shared memory that goes with the log.

    Raises:
        OSError: another process is in the way, which is just closing the store.
    """

    def __init__(self, store: Path, memory: Path) -> None:
        self._pid = _system.pid()
        self.numbers: dict[int, Identity] = {}
        """Those that it has open, each with its file."""
        self._store: int | None = None
        if _SET is None:
            return
        try:
            places = ((self._opened(store), _SHARED), (self._opened(memory), _IN_USE))
            for number, place in places:
                _lock(number, fcntl.F_RDLCK, place)
            self._store = places[0][0]
        except (OSError, RuntimeError) as error:
            self.close()
            if isinstance(error, (BlockingIOError, FileNotFoundError)):
                raise
            # a file system without such locks, or an audit hook of the host's that allows none

    def _opened(self, path: Path) -> int:
        number = _taken_back(_system.identity(path))
        if number is None:
            number = _system.open_number(path, os.O_RDWR | os.O_CLOEXEC)
        found = _system.identity(number)
        assert found is not None  # noqa: S101 - it was just opened
        self.numbers[number] = opened[number] = found
        return number

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out.

        Raises:
            BlockingIOError: another process, or another connection of this one, is writing.
        """
        number = self._store
        if number is None:
            yield
            return
        known = self.numbers[number]
        _lock(number, fcntl.F_WRLCK, _WRITING)
        try:
            yield
        finally:
            if (
                _system.identity(number) == known
            ):  # else it was closed meanwhile: by the host, or in a child that was forked in here
                _lock(number, fcntl.F_UNLCK, _WRITING)

    def unlock(self) -> None:
        """Let SQLite have the store for itself, which it checks when it closes it: the last one removes the log."""
        if self._store is not None:
            self._unlock(self._store)

    def _unlock(self, number: int) -> None:
        # in a forked child they are the parent's, too, which goes on
        if _system.pid() == self._pid and _system.identity(number) == self.numbers[number]:
            with contextlib.suppress(OSError):
                _lock(number, fcntl.F_UNLCK, (0, 0))

    def close(self) -> None:
        """Close what it has open, once SQLite has closed its own, or when it is safe for others' connections."""
        for number in self.numbers if self._store is not None else ():
            self._unlock(number)
        _pending.update(self.numbers)
        self.numbers = {}
        close_pending(in_child=_system.pid() != self._pid)


def _taken_back(wanted: Identity | None) -> int | None:
    """A descriptor of a file that waits to be closed: none is while another connection is there, so each guard would open two."""
    for number, known in list(_pending.items()):
        if known == wanted and _pending.pop(number, None) == known:  # nobody else closes it any more
            if _system.identity(number) == known:
                return number
            opened.pop(number, None)
    return None


def close_pending(*, in_child: bool = False) -> None:
    """Close the descriptors whose files this process has no locks on; in a forked child it has none at all."""
    for number in list(_pending):
        known = _pending.pop(number, None)  # who has taken it out closes it, and nobody else
        if known is None:
            continue
        if _system.identity(number) != known:  # closed by the host, and maybe one of its own by now
            opened.pop(number, None)
            continue
        if not in_child and _has_locks(known):
            _pending[number] = known
            continue
        opened.pop(number, None)  # before another one may get it
        with contextlib.suppress(OSError):
            _system.close_number(number)


def is_writable(number: int) -> bool:
    """Whether a file was opened for writing: SQLite does, and who reads or copies it does not."""
    try:
        return fcntl is None or bool(_fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR)
    except OSError:  # another thread has closed it
        return False


def _has_locks(known: Identity) -> bool:
    pid, file = b"%d" % _system.pid(), b":%d" % known[1]
    # as bytes: a codec may be out of reach for a process that has given up its rights
    with contextlib.suppress(OSError), open("/proc/locks", "rb") as locks:  # noqa: PTH123 - of the system
        rows = (line.split() for line in locks)
        return any(len(row) > 5 and row[1] == b"POSIX" and row[4] == pid and row[5].endswith(file) for row in rows)
    return False


def _lock(number: int, kind: int, place: tuple[int, int]) -> None:
    assert _SET is not None  # noqa: S101 - else there are no numbers
    _fcntl(number, _SET, struct.pack(_FLOCK, kind, os.SEEK_SET, *place, 0))
