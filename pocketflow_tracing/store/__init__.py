"""The local store: one SQLite file that keeps runs, spans and what Langfuse has not accepted yet.

Nobody outside this package sees SQL. It imports no third-party library, and nothing of the recording half.
"""

from __future__ import annotations

from .beside import adopt
from .errors import (
    AmbiguousRunError,
    RunNotFoundError,
    StoreBusyError,
    StoreError,
    StoreGoneError,
    StoreUnusableError,
    UnfitRecordError,
)
from .filters import RunFilter
from .outbox import Outbox, OutboxBatch
from .outbox_counts import OutboxCounts
from .reader import Store
from .rows import Changes, FlowRow, RunRow, SpanRow
from .tree import SpanNode, build_tree
from .writer import Pruned, StoreWriter

__all__ = [
    "AmbiguousRunError",
    "Changes",
    "FlowRow",
    "Outbox",
    "OutboxBatch",
    "OutboxCounts",
    "Pruned",
    "RunFilter",
    "RunNotFoundError",
    "RunRow",
    "SpanNode",
    "SpanRow",
    "Store",
    "StoreBusyError",
    "StoreError",
    "StoreGoneError",
    "StoreUnusableError",
    "StoreWriter",
    "UnfitRecordError",
    "adopt",
    "build_tree",
]
