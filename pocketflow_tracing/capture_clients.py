"""How what the clients of LLMs are made of is read: pydantic's models, and the URLs and headers of pydantic and httpx.

As in `capture_builtins`, through the class that a reader is registered for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .capture_entries import taken
from .capture_kinds import Shape, attributes_of, kind, shape_of
from .capture_types import Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk


@kind("pydantic.main.BaseModel")
def _read_model(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    """A model: its fields, then what it took beyond them, as messages of OpenAI and Anthropic may."""
    fields, _ = shape.fields(value, walk.max_items)
    try:
        extra = attributes_of(shape.base)["__pydantic_extra__"].__get__(value)
    except AttributeError:  # a RootModel never sets it
        extra = None
    if type(extra) is dict:
        fields.update((key, item) for key, item in taken(iter, dict.items(extra), walk.max_items) if type(key) is str)
    return walk.fields(fields, value, shape.name, depth, by_reference=True)


@kind(
    "pydantic_core._pydantic_core.Url",
    "pydantic_core._pydantic_core.MultiHostUrl",
    "pydantic.networks._BaseUrl",
    "pydantic.networks._BaseMultiHostUrl",
    "httpx.URL",
    "httpx._urls.URL",
    "httpx2.URL",
    "httpx2._urls.URL",
)
def _read_url(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    if not shape.family:  # a subclass may bring its own __str__; one of pydantic's has the URL inside
        value = shape.instance_dict(value).get("_url")
        inside = shape_of(type(value))
        if inside.read is not _read_url or not inside.family:
            return Tagged(shape.name, {})
    return Tagged(shape.name, {"value": str(value)})


@kind("httpx.Headers", "httpx._models.Headers", "httpx2.Headers", "httpx2._models.Headers")
def _read_headers(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    """Headers as names and values: in the parts they are kept in, no name stands beside its value."""
    rows = shape.instance_dict(value).get("_list")
    shown: dict[str, Any] = {}
    for row in rows[: walk.max_items] if type(rows) is list else ():
        if type(row) is tuple and len(row) == 3 and all(type(part) is bytes for part in row):
            name, text = row[1].decode("latin-1"), row[2].decode("latin-1")
            shown[name] = f"{shown[name]}, {text}" if name in shown else text
    return walk.fields(shown, value, "Headers", depth, by_reference=True)
