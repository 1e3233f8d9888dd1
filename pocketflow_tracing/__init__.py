"""See every node, attempt, input, output and decision of a PocketFlow run.

`@trace_flow()` on a flow class, a flow object or a function that makes or runs flows; `instrument()` for every flow of the
process. Runs go to Langfuse when its keys are set, else to a local store that `pocketflow-tracing` shows.
"""

from ._carry import continue_trace, trace_headers, with_context
from ._now import add_metadata, add_score, current_trace_id, current_trace_url
from ._options import trace_attributes
from ._version import __version__
from .config import TracingConfig
from .decorator import instrument, trace_flow, uninstrument
from .delivery import delivery as _delivery

flush = _delivery.flush
shutdown = _delivery.shutdown

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
