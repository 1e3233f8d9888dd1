"""See every node, attempt, input, output and decision of a PocketFlow run.

`@trace_flow()` on a flow class, a flow object or a function that makes or runs flows; `instrument()` for every flow of the
process. Runs go to Langfuse when its keys are set, else to a local store that `pocketflow-tracing` shows.

The names are imported when they are first used: reading a store (the command line, the browser view) needs no recording half.
"""

from typing import TYPE_CHECKING, Any

from ._forks import unforked
from ._version import __version__

if TYPE_CHECKING:
    from ._attributes import trace_attributes
    from ._carry import continue_trace, trace_headers, with_context
    from ._now import add_metadata, add_score, current_trace_id, current_trace_url
    from .config import TracingConfig
    from .decorator import instrument, trace_flow, uninstrument
    from .delivery import flush, shutdown

__all__ = [
    "TracingConfig",
    "__version__",
    "add_metadata",
    "add_score",
    "continue_trace",
    "current_trace_id",
    "current_trace_url",
    "flush",
    "instrument",
    "shutdown",
    "trace_attributes",
    "trace_flow",
    "trace_headers",
    "uninstrument",
    "with_context",
]

_MODULES = {
    "_attributes": ("trace_attributes",),
    "_carry": ("continue_trace", "trace_headers", "with_context"),
    "_now": ("add_metadata", "add_score", "current_trace_id", "current_trace_url"),
    "config": ("TracingConfig",),
    "decorator": ("instrument", "trace_flow", "uninstrument"),
    "delivery": ("flush", "shutdown"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only on the first use of a name

    with unforked():  # a child that was forked meanwhile would wait for the modules for ever
        value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return __all__
