"""What the program's own Langfuse client says of its project, which holds for runs as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["SAYS_NOTHING", "Said", "said_by"]


@dataclass(frozen=True, slots=True)
class Said:
    """What the program's own client says of its project.

    Args:
        places: "environment" and "release", those that it names.
        rate: of the traces that it sends, which it tells by their ids.
        is_on: whether it sends anything at all.
    """

    places: dict[str, str]
    rate: float = 1.0
    is_on: bool = True


SAYS_NOTHING = Said({})


def said_by(resources: Any) -> Said:
    """What a client says; nothing where it is ours, or where there is none.

    Args:
        resources: what the SDK keeps of it, None where there is none.
    """
    if resources is None or getattr(resources.span_exporter, "of_pocketflow_tracing", False):
        return SAYS_NOTHING
    if not resources.tracing_enabled:
        return Said({}, is_on=False)
    places = {name: value for name in ("environment", "release") if (value := getattr(resources, name))}
    # a provider of the program's that was there before it has a sampler of its own, which is about its own spans
    rate, sampler = resources.sample_rate, getattr(resources.tracer_provider, "sampler", None)
    return Said(places, rate if rate is not None and getattr(sampler, "rate", None) == rate else 1.0)
