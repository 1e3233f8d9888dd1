"""Whether the process that records a run is still there."""

from __future__ import annotations

import os

from .._machine import machine

__all__ = ["HEARTBEAT_LIMIT_NS", "is_alive", "is_gone"]

HEARTBEAT_LIMIT_NS = 15_000_000_000
"""A process that gave no sign for so long is taken for dead, wherever it runs."""


def is_alive(process_id: str, beat_ns: int | None, now_ns: int) -> bool:
    """Whether the process still records.

    Args:
        process_id: "machine:pid:random".
        beat_ns: its last sign of life, None when it never gave one.
        now_ns: wall clock.
    """
    return beat_ns is not None and now_ns - beat_ns <= HEARTBEAT_LIMIT_NS and not is_gone(process_id)


def is_gone(process_id: str) -> bool:
    """Whether a process of this machine has ended; False for those elsewhere, of which nothing is known.

    Args:
        process_id: "machine:pid:random".
    """
    where, pid, _ = ("::" + process_id).rsplit(":", 2)
    if where.removeprefix("::") != machine() or not pid.isdecimal() or os.name == "nt":
        return False  # elsewhere only the heartbeat tells; on Windows os.kill would end the process
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # it exists and belongs to someone else
    return False
