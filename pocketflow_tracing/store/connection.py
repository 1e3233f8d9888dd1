"""How the store file is opened, and what SQLite's errors mean: others that write, a damaged file, a record that does not fit."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from .._time import jitter, monotonic, sleep
from . import schema
from .errors import StoreUnusableError

__all__ = [
    "SHORTEST_PAUSE",
    "BusyError",
    "check_ours",
    "connect",
    "give_others_a_turn",
    "is_busy",
    "is_corrupt",
    "is_of_a_record",
    "patiently",
    "paused",
]

T = TypeVar("T")

SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02
"""Seconds between two tries while another process holds the file."""


class BusyError(Exception):
    """Another process is writing; nothing was begun, or it was taken back."""


def check_ours(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of an open file, 0 for an empty one.

    The caller holds a transaction: while another process is just making the tables, only one snapshot tells the truth.

    Raises:
        StoreUnusableError: the file is a newer version's or another program's.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != schema.APPLICATION_ID:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables or application:
            raise StoreUnusableError(f"{path} is a database of another program, not a trace store.")
        return 0
    if version > schema.SCHEMA_VERSION:
        raise StoreUnusableError(
            f"The trace store {path} was written by a newer version of pocketflow-tracing "
            f"(schema {version}, this version knows {schema.SCHEMA_VERSION}): upgrade it, or choose another store."
        )
    return int(version)


def connect(path: Path, deadline: float) -> sqlite3.Connection:
    """Open the file, with its tables as this version knows them.

    Args:
        path: of the SQLite file, which is there.
        deadline: of `time.monotonic`, until which it is tried while other processes hold the file.

    Raises:
        BusyError: they held it until then.
        StoreUnusableError: the file is a newer version's or another program's.
        sqlite3.Error: it cannot be opened.
    """
    # isolation_level=None: transactions are ours. The worker writes, whichever thread shuts down closes. SQLite does not
    # wait by itself: the caller's patience is kept to, and a fork is not held up.
    # The class and not `sqlite3.connect`, which tools that watch a program replace: our statements are not the program's.
    connection = sqlite3.Connection(path, timeout=0.0, isolation_level=None, check_same_thread=False)
    try:
        version = patiently(lambda: _version(connection, path), deadline)
        if version == 0:
            # Only before the first table: lets prune give space back to the file system.
            patiently(lambda: connection.execute("PRAGMA auto_vacuum = INCREMENTAL"), deadline)
        patiently(lambda: _use_wal(connection), deadline)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        if version < schema.SCHEMA_VERSION:
            patiently(lambda: connection.execute("BEGIN IMMEDIATE"), deadline)
            with _rolled_back_on_error(connection):
                schema.migrate(connection)
            patiently(lambda: connection.execute("COMMIT"), deadline)
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection, path: Path) -> int:
    connection.execute("BEGIN")
    try:
        return check_ours(connection, path)
    finally:
        with contextlib.suppress(sqlite3.Error):  # it would hide what went wrong
            connection.execute("ROLLBACK")


def _use_wal(connection: sqlite3.Connection) -> None:
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as error:
        if is_busy(error):
            raise
        mode = ""
    if mode != "wal":
        # Network drives cannot share memory between processes; the rollback journal works there.
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()


@contextlib.contextmanager
def _rolled_back_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def patiently(action: Callable[[], T], deadline: float) -> T:
    """Return what `action` returns, trying again while other processes hold the file.

    Raises:
        BusyError: they held it until the deadline.
    """
    pause = SHORTEST_PAUSE
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            if monotonic() >= deadline:
                raise BusyError(str(error)) from error
        pause = paused(pause)


def paused(pause: float) -> float:
    """Pause, and return how long to pause the next time."""
    sleep(pause * jitter(0.5, 1.5))
    return min(pause * 2, _LONGEST_PAUSE)


def give_others_a_turn() -> None:
    """Pause for as long as those who wait pause at most between two tries."""
    sleep(1.5 * _LONGEST_PAUSE)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds the file."""
    message = str(error)
    return "locked" in message or "busy" in message


def is_of_a_record(error: sqlite3.Error) -> bool:
    """Whether SQLite cannot take what is written."""
    # of the wrong type (an InterfaceError before Python 3.11), missing, or too large
    return isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError)) or "binding parameter" in str(error)


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether the file is damaged, or no database."""
    # OperationalError covers what passes (locks, full disks) and mistakes in SQL: those never condemn a file.
    message = str(error)
    return not isinstance(error, sqlite3.OperationalError) and ("not a database" in message or "malformed" in message)
