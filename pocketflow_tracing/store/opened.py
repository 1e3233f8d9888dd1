"""The databases that this process has open: few at a time, and none in the middle of things when it forks."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from .._forks import before_forks, in_forked_child
from .._time import monotonic, sleep
from .._weak import Remembered
from .connection import SHORTEST_PAUSE

if TYPE_CHECKING:
    from .database import Database

__all__ = ["add", "close_beyond", "give_way"]

_FORK_PATIENCE = 0.5
"""Seconds that a fork waits for transactions to end."""

_databases = Remembered()
_registry = threading.RLock()
_fork_waits = False
_in_vain: weakref.WeakKeyDictionary[Database, float] = weakref.WeakKeyDictionary()
"""Databases that a fork has waited for, with the end of the transaction before: as long as that is the last, no other waits."""
_held_for_fork: dict[Database, bool] = {}


def add(database: Database) -> None:
    """Note a database: a fork waits for its transactions from now on."""
    with _registry:
        _databases.add(database)


def give_way() -> None:
    """Let a fork come in between two transactions: it would not get the lock otherwise."""
    if _fork_waits:
        sleep(SHORTEST_PAUSE)


def close_beyond(most: int) -> None:
    """Close the connections that were longest not used, until so many are left: descriptors are the host's too."""
    with _registry:
        opened = sorted(
            (database for database in _databases if database.is_open),
            key=lambda database: database.used_at,
        )
    for database in opened[:-most]:
        if database.hold_for_fork(0.0):  # else somebody is writing there
            try:
                database.close()
            finally:
                database.go_on_after_fork()


def _before_fork() -> None:
    global _fork_waits  # noqa: PLW0603 - one fact of the process
    deadline = monotonic() + _FORK_PATIENCE
    _registry.acquire()
    _fork_waits = True
    try:
        for database in list(_databases):
            _held_for_fork[database] = False
            is_stuck = _in_vain.get(database) == database.used_at  # the disk takes seconds: not from each fork again
            held = _held_for_fork[database] = database.hold_for_fork(0.0 if is_stuck else deadline)
            if not held:
                _in_vain[database] = database.used_at
    finally:
        _fork_waits = False


def _after_fork_in_parent() -> None:
    try:
        _let_go()
    finally:
        _let_go()


def _let_go() -> None:
    """Give back the locks of a fork; a time limit of the host's may have struck while they were taken, or in here."""
    for database in list(_held_for_fork):
        database.go_on_after_fork()
        _held_for_fork.pop(database, None)
    registry: Any = _registry
    if registry._is_owned():  # noqa: SLF001 - what threading.Condition asks it
        registry.release()


def _after_fork_in_child() -> None:
    global _registry  # noqa: PLW0603 - its owner is a thread of the parent
    _registry = threading.RLock()
    for database in list(_databases):
        was_held = _held_for_fork.get(database)
        if was_held is None:  # nobody was told of the fork
            was_held = database.hold_for_fork(0.0)
        database.begin_anew(was_held=was_held)
    _held_for_fork.clear()


in_forked_child(_after_fork_in_child)
if hasattr(os, "register_at_fork"):
    before_forks(_before_fork)
    os.register_at_fork(after_in_parent=_after_fork_in_parent)
