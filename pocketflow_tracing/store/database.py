"""One writable connection to the store file, shared with other processes and mended when the file is broken."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from .. import _system
from .._log import warn
from .._time import monotonic
from . import opened
from .connection import (
    SHORTEST_PAUSE,
    BusyError,
    connect,
    give_others_a_turn,
    is_busy,
    is_corrupt,
    is_of_a_record,
    patiently,
    paused,
)
from .descriptors import Held, leak
from .errors import StoreBusyError, StoreError, StoreGoneError, StoreUnusableError, UnfitRecordError
from .files import (
    create_privately,
    is_being_set_aside,
    is_no_file,
    is_text,
    set_aside,
    standing_above,
    target_of,
)

__all__ = ["MAX_LOG_BYTES", "Database"]

T = TypeVar("T")

MAX_LOG_BYTES = 256 * 1024 * 1024
"""That a log takes at most where nothing else is said, while others read the file all the time."""

_elsewhere: dict[Path, Path] = {}
"""Stores of which this process has lost a connection, and where it writes instead.

SQLite keeps the locks of a file once for all connections of a process. With a lost one among them (its files were closed
by the host, or it was in use when the process was forked) it believes to hold locks that it does not hold, and the process
must not open that file again: other processes would take the log away under it.
"""

_lost: set[Path] = set()
"""Stores that this forked process must not open, if it writes at all: a thread that is not here any more had them open."""

_MOST_OPEN = 16
"""Connections that stay open, of three files each; with more, what was longest not written is closed."""

_BUSY_SECONDS = 30.0
"""How long others may write, call after call, before a store counts as one that cannot be written."""

_REMOVAL_SECONDS, _LEAST_REMOVAL_SECONDS = 0.75, 0.25
"""How long a file is not made again that was deleted while it was open: somebody may be removing all that is around it."""

_FREE_PAGES = 256
"""Free pages that stay in the file: the next batches use them."""

_PAGES_AT_ONCE = 1000
"""That one transaction gives back, in some 20 ms: others write in between."""


class Database:
    """The store file, opened by the first transaction and again whenever the file was replaced or set aside.

    Args:
        path: of the SQLite file; its directory is created when it is missing, but for what stands now and is removed later.
        patience_s: seconds to go on trying while other processes hold the file; set anew, it holds for calls that wait, too.
        max_log_bytes: that the log beside the file may take before the file must have them.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, patience_s: float = 30.0, max_log_bytes: int = MAX_LOG_BYTES
    ) -> None:
        self.path = self._given = target_of(path)
        self._standing = standing_above(self.path)
        self._vanished_at = -inf  # of `time.monotonic`: when the file was found deleted
        self.patience_s = patience_s
        self._max_log_bytes = max_log_bytes
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._pid = 0
        self._held = Held()
        self._lock: Any = threading.RLock()  # one that knows whose it is, see `_let_go`
        self._busy_since: float | None = None  # the first of the calls in a row that found no moment to write
        self.used_at = 0.0  # of `time.monotonic`: the end of the last transaction
        opened.add(self)

    def exists(self) -> bool:
        """Whether there is a file; asking never creates one."""
        return _system.exists(_elsewhere.get(self.path, self.path))

    def transaction(self, work: Callable[[sqlite3.Connection], T], may_wait: Callable[[], bool] | None = None) -> T:
        """Run `work` in one write transaction and return its result.

        Args:
            work: is called with the connection; it may be called again after a broken file was set aside.
            may_wait: says whether the caller has nothing better to do than to wait for other processes.

        Raises:
            StoreBusyError: other processes were writing all the time.
            StoreGoneError: its directory was removed.
            StoreError: the file cannot be written now.
            UnfitRecordError: it cannot take what is written.
            StoreUnusableError: the file is a newer version's or another program's.
        """
        began, pause = monotonic(), SHORTEST_PAUSE
        while True:
            deadline = began + self.patience_s
            opened.give_way()
            with self._lock:
                was_open = self._connection is not None
                try:
                    result = self._transaction_or_new_file(work, deadline)
                except BusyError as error:
                    self._busy_since = began if self._busy_since is None else self._busy_since
                    if monotonic() >= deadline or not (may_wait is None or may_wait()):
                        raise self._failed(error) from error
                else:
                    self._busy_since = None
                    self.used_at = monotonic()
                    break
            # Without the lock: nothing has begun, and a fork need not wait for the other process too.
            pause = paused(pause)
        if not was_open:
            opened.close_beyond(_MOST_OPEN)
        return result

    def shrink(self, deadline: float = inf) -> bool:
        """Give free pages back to the file system where there are many, in steps between which others write.

        Args:
            deadline: of `time.monotonic`, after which no other step begins.

        Returns:
            Whether there are no more; also where that cannot be done.
        """
        give_up = monotonic() + self.patience_s
        while (has_freed := self._shrink_a_little()) is not False:
            now = monotonic()
            give_up = now + self.patience_s if has_freed else give_up
            if now >= min(deadline, give_up):
                return False
            give_others_a_turn()
        return True

    def _shrink_a_little(self) -> bool | None:
        """Give some pages back; None while others are writing, False when there are no more, or when it cannot be done."""
        try:
            with self._lock:
                if self._connection is None or self._pid != _system.pid() or self._held.are_lost:
                    return False
                free = _free_pages(self._connection)
                if free <= _FREE_PAGES:
                    return False
                with self._held.writing():
                    # As a script: its every step frees one page, and `execute` makes one step.
                    self._connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE});")
                return _free_pages(self._connection) < free  # none where another program made the file, or packed it
        except BlockingIOError:
            return None
        except sqlite3.Error as error:
            return None if is_busy(error) else False

    def close(self) -> None:
        """Close the connection; the next transaction opens it again."""
        with self._lock:
            self._close()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def _transaction_or_new_file(self, work: Callable[[sqlite3.Connection], T], deadline: float) -> T:
        try:
            return self._transaction(work, deadline)
        except sqlite3.Error as error:
            if is_of_a_record(error):
                raise UnfitRecordError(f"The trace store {self.path} cannot take a record: {error}.") from error
            if not is_corrupt(error) or self._held.are_lost:
                raise self._failed(error) from error
        except OSError as error:
            raise self._failed(error) from error
        broken = self._identity or _system.identity(self.path)
        self._close()
        if is_text(self.path):
            raise StoreUnusableError(f"{self.path} is a text file of something else, not a trace store.")
        try:
            set_aside(self.path, broken)
            return self._transaction(work, deadline)
        except BlockingIOError as error:
            raise BusyError(str(error)) from error
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def _transaction(self, work: Callable[[sqlite3.Connection], T], deadline: float) -> T:
        connection = self._current(deadline)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._held.writing())
            except BlockingIOError as error:
                raise BusyError(str(error)) from error
            return self._written(connection, work, deadline)

    def _written(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T], deadline: float) -> T:
        if (
            self._log_bytes() > self._max_log_bytes
            and connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        ):
            raise StoreError(
                f"The trace store {self.path} cannot be written: another program has been reading it for so long that its log "
                f"has grown to {self._max_log_bytes / 1e6:,.1f} MB."
            )
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if is_busy(error):
                raise BusyError(str(error)) from error
            raise
        try:
            result = work(connection)
            # Without WAL a reader can hold a commit up; the transaction stays as it is and the commit is tried again.
            patiently(lambda: connection.execute("COMMIT"), deadline)
        except BaseException:
            if not self._held.are_lost:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        return result

    def _log_bytes(self) -> int:
        try:
            return _system.status(f"{self.path}-wal").st_size
        except OSError:
            return 0

    def _current(self, deadline: float) -> sqlite3.Connection:
        if self._connection is not None and (
            self._pid != _system.pid() or self._held.are_lost or _system.identity(self.path) != self._identity
        ):
            self._close()
            if not _system.exists(self.path):
                self._vanished_at = monotonic()
        elif self._connection is not None and self._held.are_without_log:
            self._held.give_up()
            self._close()
        if self.path in _lost:
            self._leave()
        self.path = _elsewhere.get(self.path, self.path)
        if is_no_file(self.path):
            raise StoreUnusableError(f"{self.path} is no file, so it cannot be a trace store.")
        if self._connection is None:
            if not _system.is_dir(self._standing):
                raise self._gone()
            if monotonic() < self._vanished_at + self._removal_seconds() and not _system.exists(self.path):
                raise BusyError("it was deleted just now")
            create_privately(self.path, self._standing)
            self._pid = _system.pid()
            self._identity = _system.identity(self.path)
            with self._held.opening(self.path):
                self._connection = connect(self.path, deadline)
            # Opened while another process was setting the file aside, it may have lost its companions.
            if is_being_set_aside(self.path) or _system.identity(self.path) != self._identity or self._held.are_lost:
                self._close()
                raise BusyError("another process is setting the damaged file aside")
        return self._connection

    def _close(self, *, in_child: bool = False) -> None:
        connection, self._connection = self._connection, None
        held, self._held = self._held, Held()
        try:
            if connection is None:
                return
            if held.are_lost or self._pid != _system.pid():
                leak(connection)
                self._leave()
                return
            if not in_child:
                # The last connection does this when it is closed: on Python 3.10 with the interpreter held, as long as the disk
                # takes. A statement lets others run.
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            held.unlock()
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        finally:
            held.close()

    def hold_for_fork(self, deadline: float) -> bool:
        """Let no transaction be in the middle of things when the process is forked; False when one goes on too long."""
        if self._lock._is_owned():  # noqa: SLF001 - a signal handler forks in the middle of one of this thread
            return False
        held: bool = self._lock.acquire(timeout=max(0.0, deadline - monotonic()))
        return held

    def go_on_after_fork(self) -> None:
        """In the parent: let transactions begin again."""
        if self._lock._is_owned():  # noqa: SLF001 - what threading.Condition asks it
            self._lock.release()

    def begin_anew(self, *, was_held: bool) -> None:
        """In the child: let go of the parent's connection, before this process opens one of its own."""
        self._lock = threading.RLock()
        if was_held and self._held.stand(self.path):
            self._pid = _system.pid()  # nothing is going on in it: closing it takes no lock away from the parent
            self._close(in_child=True)
            return
        connection, self._connection = self._connection, None
        held, self._held = self._held, Held()
        held.close()
        if connection is not None:
            leak(connection)
        if connection is not None or not was_held:  # or a thread that is not here any more has it half open
            _lost.add(self.path)

    def _leave(self) -> None:
        if self.path in _elsewhere:
            return  # another object has met the same
        number = len(_elsewhere)
        given = self._given
        beside = given.with_name(f"{given.stem}-{_system.pid()}{f'-{number}' if number else ''}{given.suffix}")
        _elsewhere[self.path] = beside
        warn(
            "The files that this process had open of the trace store %s are lost (by os.closerange, a fork in the middle of"
            " writing, or another program). What it records from now on goes to %s.",
            self.path,
            beside,
        )

    def _removal_seconds(self) -> float:
        return min(_REMOVAL_SECONDS, max(_LEAST_REMOVAL_SECONDS, self.patience_s / 2))

    def _gone(self) -> StoreGoneError:
        return StoreGoneError(f"The trace store {self.path} is gone: its directory was removed.")

    def _failed(self, error: Exception) -> StoreError:
        # A connection that failed may hold on to what made it fail; the next transaction starts afresh.
        self._close()
        if not _system.is_dir(self._standing):
            return self._gone()
        if self._busy_since is not None and monotonic() - self._busy_since < _BUSY_SECONDS:
            return StoreBusyError(f"The trace store {self.path} is being written by other processes.")
        return StoreError(f"The trace store {self.path} cannot be written: {str(error).rstrip('.')}.")


def _free_pages(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(pages)
