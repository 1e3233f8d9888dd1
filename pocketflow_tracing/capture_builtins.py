"""How objects of the builtins and the standard library are read: each as what a developer wants to see of it.

Every reader uses the methods and descriptors of the class it is registered for, never those of a subclass.
"""

from __future__ import annotations

import datetime
import gc
import os
import types
from collections import OrderedDict, deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from .capture_kinds import (
    Shape,
    attributes_of,
    is_genuine,
    kind,
    mro_of,
    name_of,
    qualified_name_of,
    read_fields,
    shape_of,
)
from .capture_types import Elided, Note, Snapshot, Tagged

if TYPE_CHECKING:
    from .capture import Walk

_PREVIEW = 64
_MAX_DIGITS_BITS = 2000  # about 600 digits: below the least limit that Python can be given for int → str


@kind("builtins.str")
def _read_str(value: str, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    size = str.__len__(value)
    if size <= walk.max_text:
        return str.__str__(value)
    # A subclass's text cannot be shared, and is not copied whole: what the worker would cut is left out here.
    half = walk.max_text // 2
    head = str.__getitem__(value, slice(0, half))
    tail = str.__getitem__(value, slice(size - half, size))
    return Tagged(shape.name, {"length": size, "begin": head, "end": tail})


@kind("builtins.int")
def _read_int(value: int, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return int.__int__(value)


@kind("builtins.float")
def _read_float(value: float, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return float.__float__(value)


@kind("builtins.complex")
def _read_complex(value: complex, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return Tagged(shape.name, {"value": complex.__repr__(value)})


@kind("builtins.bytes")
def _read_bytes(value: bytes, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return Tagged(
        shape.name, {"size": bytes.__len__(value), "preview": preview(bytes.__getitem__(value, slice(0, _PREVIEW)))}
    )


@kind("builtins.bytearray")
def _read_bytearray(value: bytearray, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    head = bytes(bytearray.__getitem__(value, slice(0, _PREVIEW)))
    return Tagged(shape.name, {"size": bytearray.__len__(value), "preview": preview(head)})


@kind("builtins.memoryview")
def _read_memoryview(value: memoryview, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    head = value[:_PREVIEW].tobytes() if value.ndim == 1 and value.itemsize == 1 else b""
    return Tagged(shape.name, {"size": value.nbytes, "format": value.format, "preview": preview(head)})


def preview(head: bytes) -> str:
    """Show the first bytes as Python writes them, without the b and its quotes."""
    return repr(head)[2:-1]


@kind("builtins.list")
def _read_list(value: list[Any], shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return _sequence(value, list.__len__(value), list.__getitem__, shape, walk, depth)


@kind("builtins.tuple")
def _read_tuple(value: tuple[Any, ...], shape: Shape, walk: Walk, depth: int) -> Snapshot:
    for cls in mro_of(type(value)):
        names = attributes_of(cls).get("_fields")
        if type(names) is tuple and len(names) == tuple.__len__(value) and all([type(name) is str for name in names]):
            return walk.fields(dict(zip(names, tuple.__iter__(value), strict=True)), value, shape.name, depth)
    return _sequence(value, tuple.__len__(value), tuple.__getitem__, shape, walk, depth)


def _sequence(value: Any, count: int, get: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    """Read a subclass of list or tuple through the base's `__getitem__`."""
    keep = walk.window(count, depth)
    if keep < 0:
        return Elided(shape.name, count)
    if count <= keep:
        return _named(shape.name, walk.items([*get(value, slice(None))], 0, [], value, shape.name, depth))
    head = [*get(value, slice(0, keep - keep // 2))]
    tail = [*get(value, slice(count - keep // 2, count))]
    return _named(shape.name, walk.items(head, count - keep, tail, value, shape.name, depth))


def _named(name: str, items: Snapshot) -> Snapshot:
    return Tagged(name, {"items": items}) if type(items) is list else items


@kind("builtins.dict")
def _read_dict(value: dict[Any, Any], shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return walk.mapping(value, shape.name, depth)


@kind("collections.OrderedDict")
def _read_ordered_dict(value: OrderedDict[Any, Any], shape: Shape, walk: Walk, depth: int) -> Snapshot:
    count = dict.__len__(value)
    keep = walk.window(count, depth)
    # Its own order is kept in a list beside the dict; following that hashes the keys, which is safe for strings only.
    if 0 < count <= keep and all([type(key) is str for key in list(dict.keys(value))]):
        return walk.rows(list(OrderedDict.items(value)), 0, [], value, shape.name, depth)
    return walk.mapping(value, shape.name, depth)


@kind("builtins.mappingproxy")
def _read_mappingproxy(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    # The proxy's methods run those of what it wraps; the collector knows what that is.
    inner = gc.get_referents(value)
    if len(inner) == 1 and any(cls is dict for cls in mro_of(type(inner[0]))):
        return walk.mapping(inner[0], shape.name, depth)
    return Tagged(shape.name, {})


@kind("builtins.set", "builtins.frozenset")
def _read_set(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    base = shape.base
    count = base.__len__(value)  # type: ignore[attr-defined]
    keep = walk.window(count, depth)
    if keep < 0:
        return Elided(shape.name, count)
    head = list(islice(base.__iter__(value), keep))  # type: ignore[attr-defined]
    if count <= keep:
        head = _in_order(head)
    return _named(shape.name, walk.items(head, max(count - keep, 0), [], value, shape.name, depth))


_SORTED = (str, int, float, bool, bytes, type(None))


def _in_order(items: list[Any]) -> list[Any]:
    """Sort plain elements, by type first, so that equal sets look equal; leave any others as they come."""
    places = []
    for item in items:
        t = type(item)
        place = next((place for place, known in enumerate(_SORTED) if known is t), None)
        if place is None:
            return items
        places.append((place, 0 if item is None else item))
    return [None if place == 5 else item for place, item in sorted(places)]


@kind("builtins.dict_keys", "builtins.dict_values", "builtins.dict_items")
def _read_view(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    count = len(value)
    keep = walk.window(count, depth)
    if keep < 0:
        return Elided(shape.name, count)
    tail_size = keep // 2 if count > keep else 0
    head = list(islice(value, keep - tail_size))
    tail = list(islice(reversed(value), tail_size))[::-1]
    return _named(shape.name, walk.items(head, max(count - keep, 0), tail, value, shape.name, depth))


@kind("collections.deque")
def _read_deque(value: deque[Any], shape: Shape, walk: Walk, depth: int) -> Snapshot:
    count = deque.__len__(value)
    keep = walk.window(count, depth)
    if keep < 0:
        return Elided(shape.name, count)
    tail_size = keep // 2 if count > keep else 0
    head = list(islice(deque.__iter__(value), keep - tail_size))
    tail = list(islice(deque.__reversed__(value), tail_size))[::-1]
    shown = _named(shape.name, walk.items(head, max(count - keep, 0), tail, value, shape.name, depth))
    longest = deque.maxlen.__get__(value)  # type: ignore[attr-defined]
    if longest is not None and type(shown) is Tagged:
        shown.fields["maxlen"] = longest
    return shown


@kind("builtins.range")
def _read_range(value: range, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return Tagged(shape.name, {"start": value.start, "stop": value.stop, "step": value.step})


@kind("builtins.slice")
def _read_slice(value: slice, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return walk.fields({"start": value.start, "stop": value.stop, "step": value.step}, value, shape.name, depth)


@kind("enum.Enum", first=True)
def _read_enum(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    own = shape.instance_dict(value)
    return walk.fields({"name": own.get("_name_"), "value": own.get("_value_")}, value, shape.name, depth)


@kind("datetime.datetime")
def _read_datetime(value: datetime.datetime, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    get = datetime.datetime
    zone = get.tzinfo.__get__(value)  # type: ignore[attr-defined]
    plain = datetime.datetime(  # noqa: DTZ001  the zone follows
        *(attribute.__get__(value) for attribute in (get.year, get.month, get.day, get.hour, get.minute)),  # type: ignore[attr-defined]
        get.second.__get__(value),  # type: ignore[attr-defined]
        get.microsecond.__get__(value),  # type: ignore[attr-defined]
        fold=get.fold.__get__(value),  # type: ignore[attr-defined]
    )
    return _moment(plain, zone, shape)


@kind("datetime.time")
def _read_time(value: datetime.time, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    get = datetime.time
    zone = get.tzinfo.__get__(value)  # type: ignore[attr-defined]
    plain = datetime.time(
        *(attribute.__get__(value) for attribute in (get.hour, get.minute, get.second, get.microsecond)),  # type: ignore[attr-defined]
        fold=get.fold.__get__(value),  # type: ignore[attr-defined]
    )
    return _moment(plain, zone, shape)


def _moment(plain: Any, zone: object, shape: Shape) -> Snapshot:
    """Write a moment in ISO 8601; its offset is asked of Python's own time zones only, for others their class is named."""
    if zone is None:
        return Tagged(shape.name, {"value": plain.isoformat()})
    if shape_of(type(zone)).exact and qualified_name_of(type(zone)) in {"datetime.timezone", "zoneinfo.ZoneInfo"}:
        return Tagged(shape.name, {"value": plain.replace(tzinfo=zone).isoformat()})
    return Tagged(shape.name, {"value": plain.isoformat(), "tzinfo": name_of(type(zone))})


@kind("datetime.date")
def _read_date(value: datetime.date, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return Tagged(shape.name, {"value": datetime.date.isoformat(value)})


@kind("datetime.timedelta")
def _read_timedelta(value: datetime.timedelta, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return Tagged(shape.name, {"value": datetime.timedelta.__str__(value)})


@kind("datetime.timezone", "zoneinfo.ZoneInfo")
def _read_zone(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return Tagged(shape.name, {"value": shape.base.__str__(value)} if shape.exact else {})


@kind("uuid.UUID")
def _read_uuid(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    digits = f"{attributes_of(shape.base)['int'].__get__(value):032x}"
    return Tagged(shape.name, {"value": f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"})


@kind("decimal.Decimal")
def _read_decimal(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    if shape.base.__sizeof__(value) > _MAX_DIGITS_BITS:
        return Note(f"<{shape.name} of thousands of digits>")
    return Tagged(shape.name, {"value": shape.base.__str__(value)})


@kind("fractions.Fraction")
def _read_fraction(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    attributes = attributes_of(shape.base)
    top, bottom = attributes["_numerator"].__get__(value), attributes["_denominator"].__get__(value)
    if top.bit_length() > _MAX_DIGITS_BITS or bottom.bit_length() > _MAX_DIGITS_BITS:
        return Tagged(shape.name, {"numerator": top, "denominator": bottom})
    return Tagged(shape.name, {"value": f"{top}/{bottom}"})


@kind("pathlib.PurePath", "pathlib._local.PurePath")
def _read_path(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    if is_genuine(type(value)):
        return Tagged(shape.name, {"value": str(value)})
    # A subclass may bring its own __str__: the parts stand in slots, under a name that changed with 3.12.
    fields, _ = read_fields(value, shape, walk.max_items)
    parts = fields.get("_raw_paths") or fields.get("_parts") or []
    texts = [part for part in list.__iter__(parts) if type(part) is str] if type(parts) is list else []
    return Tagged(shape.name, {"value": os.path.join(*texts) if texts else "."})  # noqa: PTH118  pathlib is what is read


@kind("pydantic.main.BaseModel")
def _read_model(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    """A pydantic model: its fields, then what it took beyond them (OpenAI's and Anthropic's messages may have such extras)."""
    fields, _ = read_fields(value, shape, walk.max_items)
    extra = attributes_of(shape.base)["__pydantic_extra__"].__get__(value)
    if type(extra) is dict:
        fields.update((key, extra[key]) for key in list(islice(extra, walk.max_items)) if type(key) is str)
    return walk.fields(fields, value, shape.name, depth)


@kind("builtins.generator", "builtins.coroutine", "builtins.async_generator")
def _read_generator(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return Tagged(shape.name, {"name": str.__str__(value.__qualname__)})


@kind("builtins.function")
def _read_function(value: types.FunctionType, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return Tagged("function", {"name": _function_name(value)})


def _function_name(value: Any) -> str:
    module, name = value.__module__, str.__str__(value.__qualname__)
    return f"{module}.{name}" if type(module) is str else name


@kind("builtins.builtin_function_or_method")
def _read_builtin(value: types.BuiltinFunctionType, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    # Its __qualname__ would ask __self__ for its name.
    return Tagged("function", {"name": value.__name__})


@kind("builtins.method")
def _read_method(value: types.MethodType, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    function: Any = value.__func__
    name = _function_name(function) if type(function) is types.FunctionType else name_of(type(function))
    return Tagged("method", {"name": name, "self": name_of(type(value.__self__))})


@kind("functools.partial")
def _read_partial(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    attributes = attributes_of(shape.base)
    parts = {name: attributes[name].__get__(value) for name in ("func", "args", "keywords")}
    return walk.fields(parts, value, shape.name, depth)


@kind("builtins.type", first=True)
def _read_class(value: type, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return Tagged("class", {"name": qualified_name_of(value).removeprefix("builtins.")})


@kind("builtins.module")
def _read_module(value: types.ModuleType, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    name = shape.instance_dict(value).get("__name__")
    return Tagged("module", {"name": name if type(name) is str else "?"})


@kind("_thread.lock")
def _read_lock(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return Tagged("lock", {"locked": value.locked()})


@kind("_io._IOBase", "_io._TextIOBase", "_io._BufferedIOBase", "_io._RawIOBase")
def _read_file(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    """A file: its name and mode, read from the FileIO at its bottom if all on the way is Python's own."""
    at = value
    for _ in range(3):
        own = shape_of(type(at))
        name = qualified_name_of(type(at)) if is_genuine(type(at)) else ""
        if name == "_io.FileIO":
            path = own.instance_dict(at).get("name")
            known = path if type(path) is str or type(path) is int else None
            return Tagged(shape.name, {"name": known, "mode": at.mode, "closed": at.closed})
        if name == "_io.TextIOWrapper":
            at = at.buffer
        elif name in {"_io.BufferedReader", "_io.BufferedWriter", "_io.BufferedRandom"}:
            at = at.raw
        else:
            break
    return Tagged(shape.name, {})
