"""Finalisers that run inside of `ContextVar.set`, which Python before 3.12 lets happen.

Its collector may begin at any allocation, also at those of `set` and `reset`. A finaliser that sets a variable of its own there
(`decimal.localcontext`, a stream that is closed within a block) frees what they are working on, and what it has set is lost, but
answered with from the variable's cache: the process crashes. Who sets one of ours holds a copy of all variables meanwhile, by
`keep`, and where it is set often has the caches forgotten by entering that: `kept.run(bool)`.
"""

from __future__ import annotations

import sys
from contextvars import Context, copy_context

__all__ = ["MAY_RUN_INSIDE", "keep"]

MAY_RUN_INSIDE = sys.version_info < (3, 12)


def keep() -> Context:
    """Copy all variables, to hold them while one is set."""
    Context()  # is free at once, and taken for the copy: to allocate one then might collect garbage as well
    return copy_context()
