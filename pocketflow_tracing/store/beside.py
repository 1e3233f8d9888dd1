"""Files beside a store: where a process went on that had lost the store's own files (see `database`).

Their runs stay there, each file a store by itself; what waits in their outboxes must not.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .. import _system
from .._machine import machine
from .._time import time_ns
from .files import target_of
from .liveness import is_gone
from .outbox import Outbox

__all__ = ["adopt"]

_AT_A_TIME = 100


def adopt(path: str | os.PathLike[str], *, patience_s: float = 30.0) -> int:
    """Take what waits in files of ended processes over into a store's outbox; returns the number of spans.

    Args:
        path: of the store.
        patience_s: seconds that each call may wait for other processes.

    Raises:
        StoreError: one of the files cannot be written; what was taken over until then is in the store.
    """
    store, spans = target_of(path), 0
    for beside in _left_behind(store):
        source, outbox = Outbox(beside, patience_s=patience_s), Outbox(store, patience_s=patience_s)
        try:
            while batches := source.claim(f"{machine()}:{_system.pid()}:0", time_ns(), _AT_A_TIME):
                for batch in batches:
                    outbox.put(batch)
                    source.done([batch.id], 0)  # in this order: twice does no harm
                    spans += batch.spans
        finally:
            source.close()
            outbox.close()
    return spans


def _left_behind(store: Path) -> list[Path]:
    """The files beside a store whose processes are gone."""
    name = re.compile(rf"{re.escape(store.stem)}-(\d+)(-\d+)?{re.escape(store.suffix)}")
    try:
        found = [name.fullmatch(file) for file in _system.names_in(str(store.parent))]
    except OSError:
        return []
    return sorted(
        store.with_name(match[0]) for match in found if match is not None and is_gone(f"{machine()}:{match[1]}:0")
    )
