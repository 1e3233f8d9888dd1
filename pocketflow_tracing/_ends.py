"""How a process ends: whether it does now, and who says so where `atexit` does not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

__all__ = ["end_with_multiprocessing", "is_ending"]


def is_ending() -> bool:
    """Whether exit handlers run now: Python counts the main thread as ended, and this is it."""
    main = threading.main_thread()
    return main.ident == threading.get_ident() and not main.is_alive()


def end_with_multiprocessing(end: Callable[[], None]) -> None:
    """Have the end of a child of multiprocessing call a function.

    Such a child leaves with `os._exit`, past `atexit` (on Python before 3.13), but runs these finalizers; celery forks its
    workers with billiard, the same once more, whose pool says its end to celery alone.
    """
    for package in ("multiprocessing", "billiard"):
        util, process = (sys.modules.get(f"{package}.{name}") for name in ("util", "process"))
        if util is None or process is None or getattr(process.current_process(), "_parent_pid", None) is None:
            continue
        util.Finalize(None, end, exitpriority=100)
        if (signals := sys.modules.get("celery.signals")) is not None:
            signals.worker_process_shutdown.connect(lambda **_: end(), weak=False, dispatch_uid=__name__)
