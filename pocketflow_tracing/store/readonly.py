"""Reading a store file without leaving a trace: no file is created beside it, and no writer is held up."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from .._time import sleep
from .connection import check_ours
from .descriptors import reading
from .errors import StoreError, StoreUnusableError
from .files import target_of

__all__ = ["read"]

T = TypeVar("T")

_TRIES = 5
"""Writers come and go between two looks at how the file is to be read."""
_PAUSE = 0.005
_DAMAGE = ("no such table", "Could not decode")
"""How errors of an operation begin that come of what the file holds, not of when it is read."""


def read(path: Path, query: Callable[[sqlite3.Connection], T]) -> T:
    """Return what `query` reads, in one snapshot of the file.

    A connection is opened for each reading: it costs about 0.2 ms, and so the file may appear, be replaced or be set
    aside at any time, and any thread may read.

    Args:
        path: of the store file.
        query: is called with the connection; it is called again when a writer came in between.

    Raises:
        StoreError: there is no such file, or it cannot be read.
        StoreUnusableError: it is no trace store, or a damaged one.
    """
    path = target_of(path)
    if not path.is_file():
        raise StoreError(f"There is no trace store at {path}.")
    try:
        for _ in range(_TRIES):
            if _in_use(path):
                with contextlib.suppress(sqlite3.OperationalError):  # the log may go while it is opened
                    return _beside_writers(path, query)
                sleep(_PAUSE)
                continue
            # Nobody has the file open. SQLite would create the files of a shared one beside it, unless it is told that
            # the file does not change; that it did not is looked at afterwards.
            before = _looks(path)
            try:
                found = _query(path, query, "immutable=1")
            except sqlite3.DatabaseError:
                if before == _looks(path):
                    raise
                continue
            if before == _looks(path):
                return found
        return _beside_writers(path, query)
    except (sqlite3.Error, OSError) as error:
        may_pass = isinstance(error, (sqlite3.OperationalError, OSError)) and not str(error).startswith(_DAMAGE)
        kind = StoreError if may_pass else StoreUnusableError
        raise kind(f"The trace store {path} cannot be read: {str(error).rstrip('.')}.") from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:  # from what stands in the rows
        raise StoreUnusableError(
            f"The trace store {path} cannot be read: it holds what a trace store does not hold ({type(error).__name__})."
        ) from error


def _beside_writers(path: Path, query: Callable[[sqlite3.Connection], T]) -> T:
    # Without the right to write to the shared memory: SQLite would cut that of a writer whose locks are gone, see `locks`.
    # Where there is none, a process that ended badly has left the log, and SQLite has to make it.
    return _query(path, query, "readonly_shm=1" if Path(f"{path}-shm").exists() else "mode=ro")


def _query(path: Path, query: Callable[[sqlite3.Connection], T], options: str) -> T:
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&{options}"
    with (
        reading(),
        contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA query_only = 1")
        connection.execute("BEGIN")
        if check_ours(connection, path) == 0:
            raise StoreError(f"The trace store {path} is empty.")
        return query(connection)


def _in_use(path: Path) -> bool:
    return any(Path(f"{path}{suffix}").exists() for suffix in ("-wal", "-journal"))


def _looks(path: Path) -> tuple[bool, int, int, int]:
    status = path.stat()
    return _in_use(path), status.st_ino, status.st_size, status.st_mtime_ns
