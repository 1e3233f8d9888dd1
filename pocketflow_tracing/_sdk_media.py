"""The media in what a Langfuse client of ours is given: the SDK sends them before any of our rules have their say.

It looks for them where the program gives a value to an observation, and again where a span is exported. Those that a run's
settings leave out it does not find: of data URIs the type and size are shown, of a `LangfuseMedia` the reference alone.
"""

# ruff: noqa: SLF001 - the SDK has no other way to these

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ._conventions import is_input, is_output
from ._guard import Seam
from ._sdk_spans import SettingsOfSpans
from ._sdk_told import Switches
from .redaction import Rules

__all__ = ["hold_back_media"]

_LOOKING = Seam("looking whether media of a generation may be sent")
_MOST_LOOKED_AT = 10_000
"""Containers in one value; a larger one keeps its media …"""
_MOST_NAMES = 1000
"""… and so does one with more names."""


def hold_back_media(
    resources: Any, exporters: Sequence[Any], settings: SettingsOfSpans, elsewhere: tuple[Switches, Rules]
) -> None:
    """Keep the SDK from what a switch, a mask or a secret's name leaves out.

    Args:
        resources: of the client, whose values it looks through.
        exporters: the SDK's, which look through attributes.
        settings: of spans that have begun in runs.
        elsewhere: what holds for the others.
    """
    # langfuse 4.12 to 5.x; both ways lead through the manager, which does not know the names of attributes
    manager = resources._media_manager
    manager._find_and_process_media = _in_values(manager._find_and_process_media, settings, elsewhere)
    for exporter in exporters:
        look = getattr(exporter, "_process_media_attribute_value", None)
        if look is not None:
            exporter._process_media_attribute_value = _in_attributes(look, settings, elsewhere)


def _in_values(
    find: Callable[..., Any], settings: SettingsOfSpans, elsewhere: tuple[Switches, Rules]
) -> Callable[..., Any]:
    def find_allowed(*, data: Any, trace_id: str, observation_id: str | None, field: str) -> Any:
        may_go = False
        with _LOOKING:
            switches, rules = settings.of(int(observation_id or "0", 16)) or elsewhere
            may_go = _may_go(field == "input", field == "output", switches, rules) and not _names_a_secret(data, rules)
        if not may_go:
            return data
        return find(data=data, trace_id=trace_id, observation_id=observation_id, field=field)

    return find_allowed


def _in_attributes(
    look: Callable[..., Any], settings: SettingsOfSpans, elsewhere: tuple[Switches, Rules]
) -> Callable[..., Any]:
    def look_where_allowed(*, span: Any, attribute_key: str, value: Any) -> Any:
        may_go = False
        with _LOOKING:
            switches, rules = settings.of(span.context.span_id) or elsewhere
            may_go = _may_go(is_input(attribute_key), is_output(attribute_key), switches, rules)
            may_go = may_go and not rules.redact.hits(attribute_key)
        return look(span=span, attribute_key=attribute_key, value=value) if may_go else value

    return look_where_allowed


def _may_go(is_of_input: bool, is_of_output: bool, switches: Switches, rules: Rules) -> bool:
    if (is_of_input and not switches.trace_inputs) or (is_of_output and not switches.trace_outputs):
        return False
    return switches.media and rules.mask is None


def _names_a_secret(data: Any, rules: Rules) -> bool:
    """Whether a value that has a medium has a secret's name in it, too, or is too large to know.

    It is looked through as far as the SDK does, and names are asked about only where there is a medium.
    """
    left: list[Any] = [data]
    looked_at: list[Any] = []  # kept alive: what is dumped anew would give its id to the next
    seen: set[int] = set()
    names: set[Any] = set()
    has_medium = False
    while left:
        value = left.pop()
        kind = type(value)
        if kind is str:
            has_medium = has_medium or value.startswith("data:")
            continue
        if not issubclass(kind, type) and (hasattr(kind, "__pydantic_fields__") or hasattr(kind, "__fields__")):
            # not by `model_dump`, which is the program's and is for the SDK to call
            value = {**vars(value), **(getattr(value, "__pydantic_extra__", None) or {})}
        if not isinstance(value, (dict, list, tuple)):
            has_medium = has_medium or kind.__name__ == "LangfuseMedia"
            continue
        if id(value) in seen:
            continue
        if len(seen) >= _MOST_LOOKED_AT:
            return True
        seen.add(id(value))
        looked_at.append(value)
        if isinstance(value, dict):
            has_medium = has_medium or dict.__contains__(value, "data")  # base64, as the APIs of some LLMs take it
            names.update(dict.keys(value))
            value = dict.values(value)
        left.extend(value)
    if not has_medium:
        return False
    return len(names) > _MOST_NAMES or any(type(name) is str and rules.redact.hits(name) for name in names)
