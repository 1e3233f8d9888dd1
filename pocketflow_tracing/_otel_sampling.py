"""The samplers of the program's own OpenTelemetry and Langfuse, asked about runs of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context

from ._guard import is_hosts
from ._sdk import instances
from ._sdk_providers import is_ours

if TYPE_CHECKING:
    from .recorder import Run


def is_sampled(run: Run) -> bool:
    """Whether the program's own OpenTelemetry samples what begins with a run.

    Its spans below ours are no roots, so that its sampler, if it is one that follows parents, would take our word for it.
    We ask it in their place, once a run.
    """
    if run.sampled is None:
        provider = trace.get_tracer_provider()
        # what the Langfuse SDK records through a provider of its own is not for the other one to drop
        shared = all(client.tracer_provider is provider for client in [*instances().values()])
        run.sampled = not shared or _samples(provider, run.trace_id, run.name)
    return run.sampled


def _samples(provider: Any, trace_id: int, name: str) -> bool:
    sampler = getattr(provider, "sampler", None)
    if sampler is not None and not is_ours(provider):  # whose sampler asks the run
        try:
            return bool(sampler.should_sample(Context(), trace_id, name).decision.is_sampled())
        except Exception as error:  # it is asked for the span itself as well, and may raise there
            if is_hosts(error, theirs=True):
                raise
    return True


def drops(trace_id: int) -> bool:
    """Whether the program's Langfuse client decides by the trace id, and drops this one.

    A run that sampling dropped then takes the client's spans along. In no other case is its trace attached: spans that are
    recorded all the same would have a parent that does not exist.
    """
    clients = [*instances().values()]
    provider = trace.get_tracer_provider() if clients else None
    return any(client.tracer_provider is provider for client in clients) and not _samples(provider, trace_id, "")
