"""How a process ends: whether it does now, in a hurry or not, and who says so where `atexit` does not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from ._time import monotonic

__all__ = ["answer_seconds", "end_with_multiprocessing", "hurry", "is_ending"]

_is_hurried = False


def hurry(*, on: bool = True) -> None:
    """Have nobody wait for a server any more: the process ends, and its user is in a hurry."""
    global _is_hurried  # noqa: PLW0603 - one fact of the process
    _is_hurried = on


def answer_seconds(deadline: float) -> float:
    """Seconds that answers of a server may be waited for, up to a deadline of `time.monotonic`."""
    return 0.0 if _is_hurried else deadline - monotonic()


def is_ending() -> bool:
    """Whether exit handlers run now: Python counts the main thread as ended, and this is it."""
    main = threading.main_thread()
    return main.ident == threading.get_ident() and not main.is_alive()


def end_with_multiprocessing(end: Callable[[], None]) -> None:
    """Have the end of a child of multiprocessing call a function.

    Such a child leaves with `os._exit`, past `atexit` (on Python before 3.13), but runs these finalizers; celery forks its
    workers with billiard, the same once more, whose pool says its end to celery alone, and pathos its own with multiprocess.
    """
    for package in ("multiprocessing", "billiard", "multiprocess"):
        util, process = (sys.modules.get(f"{package}.{name}") for name in ("util", "process"))
        if util is None or process is None or getattr(process.current_process(), "_parent_pid", None) is None:
            continue
        util.Finalize(None, end, exitpriority=100)
        if (signals := sys.modules.get("celery.signals")) is not None:
            signals.worker_process_shutdown.connect(lambda **_: end(), weak=False, dispatch_uid=__name__)
