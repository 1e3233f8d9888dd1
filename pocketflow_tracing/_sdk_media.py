"""The media in what a Langfuse client of ours is given: the SDK sends them before any of our rules have their say.

It looks for them where the program gives a value to an observation, and again where a span is exported. Those that a run's
settings leave out it does not find, and they are shown by type and size.
"""

from __future__ import annotations

from typing import Any

from ._guard import Seam
from ._sdk_spans import SettingsOfSpans
from .config import TracingConfig
from .redaction import Rules

__all__ = ["hold_back_media"]

_LOOKING = Seam("looking whether media of a generation may be sent")
_MOST_LOOKED_AT = 10_000
"""Containers in one value; a larger one keeps its media."""


def hold_back_media(resources: Any, settings: SettingsOfSpans, elsewhere: tuple[TracingConfig, Rules]) -> None:
    """Keep the SDK from what a switch, a mask or a secret's name leaves out.

    Args:
        resources: of the client.
        settings: of its spans that have begun in runs.
        elsewhere: what holds for the others.
    """
    manager = resources._media_manager  # noqa: SLF001 - both ways of the SDK's lead through it (langfuse 4.12 to 5.x)
    find = manager._find_and_process_media  # noqa: SLF001 - as above

    def find_allowed(*, data: Any, trace_id: str, observation_id: str | None, field: str) -> Any:
        may_go = False
        with _LOOKING:
            may_go = _may_go(data, field, *(settings.of(observation_id) or elsewhere))
        if not may_go:
            return data
        return find(data=data, trace_id=trace_id, observation_id=observation_id, field=field)

    manager._find_and_process_media = find_allowed  # noqa: SLF001 - as above


def _may_go(data: Any, field: str, config: TracingConfig, rules: Rules) -> bool:
    is_left_out = {"input": not config.trace_inputs, "output": not config.trace_outputs}.get(field, False)
    if is_left_out or not config.media or rules.mask is not None:
        return False
    return not _names_a_secret(data, rules)


def _names_a_secret(data: Any, rules: Rules) -> bool:
    """Whether a value has a secret's name in it, or is too large to know; it is looked through as far as the SDK does."""
    left: list[Any] = [data]
    looked_at: set[int] = set()
    while left:
        value = left.pop()
        kind = type(value)
        is_model = hasattr(kind, "model_fields") or hasattr(kind, "__fields__")  # of pydantic
        if not (kind in {dict, list, tuple} or is_model) or id(value) in looked_at:
            continue
        if len(looked_at) >= _MOST_LOOKED_AT:
            return True
        looked_at.add(id(value))
        parts = vars(value) if is_model else value
        if type(parts) is dict:
            if any(type(name) is str and rules.redact.hits(name) for name in parts):
                return True
            parts = parts.values()
        left.extend(parts)
    return False
