"""How builtin values and containers are read: each as what a developer wants to see of it.

Every reader uses the methods and descriptors of the class it is registered for, never those of a subclass.
"""

from __future__ import annotations

import gc
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from .capture_arrays import is_lent_safely
from .capture_entries import is_hollow, taken
from .capture_kinds import Shape, attributes_of, kind, mro_of, name_of
from .capture_types import CUT_KEY, Cut, Elided, Ends, Head, Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk

_HEAD_BYTES = 64 + 1024
"""What is shown, and what may stand behind the name of a secret in it."""


@kind("builtins.str")
def _read_str(value: str, shape: Shape, walk: Walk, _depth: int) -> Snapshot:
    size = str.__len__(value)
    if size <= walk.max_text:
        return walk.derived(str.__str__(value), shape.name)
    # A subclass's text cannot be shared, and is not copied whole: what the worker would cut is left out here.
    half = walk.max_text // 2
    head = str.__getitem__(value, slice(0, half))
    tail = str.__getitem__(value, slice(size - half, size))
    return Tagged(shape.name, {"length": size, "begin": head, "end": tail})


@kind("builtins.int")
def _read_int(value: int, shape: Shape, walk: Walk, _depth: int) -> Snapshot:
    return walk.derived(int.__int__(value), shape.name)


@kind("builtins.float")
def _read_float(value: float, shape: Shape, walk: Walk, _depth: int) -> Snapshot:
    return walk.derived(float.__float__(value), shape.name)


@kind("builtins.complex")
def _read_complex(value: complex, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged(shape.name, {"value": complex.__repr__(value)})


@kind("builtins.bytes")
def _read_bytes(value: bytes, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    head = bytes.__getitem__(value, slice(0, _HEAD_BYTES))
    return Tagged(shape.name, {"size": bytes.__len__(value), "preview": Head(head)})


@kind("builtins.bytearray")
def _read_bytearray(value: bytearray, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    head = bytes(bytearray.__getitem__(value, slice(0, _HEAD_BYTES)))
    return Tagged(shape.name, {"size": bytearray.__len__(value), "preview": Head(head)})


@kind("builtins.memoryview")
def _read_memoryview(value: memoryview, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    shown: dict[str, Any] = {"size": value.nbytes, "format": value.format}
    if not is_lent_safely(value):  # a file's that is mapped, say: see `capture_arrays`
        return Tagged(shape.name, {**shown, "memory": name_of(type(value.obj))})
    head = value[:_HEAD_BYTES].tobytes() if value.ndim == 1 and value.itemsize == 1 else b""
    return Tagged(shape.name, {**shown, "preview": Head(head)})


@kind("builtins.list")
def _read_list(value: list[Any], shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return _sequence(value, list.__getitem__, shape, walk, depth)


@kind("builtins.tuple")
def _read_tuple(value: tuple[Any, ...], shape: Shape, walk: Walk, depth: int) -> Snapshot:
    count = tuple.__len__(value)
    for cls in mro_of(type(value)):
        names = attributes_of(cls).get("_fields")
        if type(names) is tuple and len(names) == count and all(type(name) is str for name in names[: walk.max_items]):
            named = dict(zip(names[: walk.max_items], tuple.__iter__(value), strict=False))
            shown = walk.fields(named, value, shape.name, depth)
            if type(shown) is Elided:
                return Elided(shape.name, count)
            if count > walk.max_items and type(shown) is Tagged:
                shown.fields.pop(CUT_KEY, None)  # of those that were given to be read
                shown.fields[CUT_KEY] = Cut(count - len(shown.fields))
            return shown
    return _sequence(value, tuple.__getitem__, shape, walk, depth)


def _sequence(value: Any, get: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    """Read a subclass of list or tuple through the base's `__getitem__`."""
    count = list.__len__(value) if get is list.__getitem__ else tuple.__len__(value)
    keep = walk.window(count, depth)
    if keep < 0:
        return Elided(shape.name, count)
    if count <= keep:
        ends = Ends([*get(value, slice(None))])
    else:
        tail = get(value, slice(count - keep // 2, count))
        ends = Ends([*get(value, slice(0, keep - keep // 2))], count - keep, tail)
    is_list = get is list.__getitem__
    return _named(shape.name, walk.items(ends, value, shape.name, depth, by_reference=is_list))


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
    if 0 < count <= keep and all(type(key) is str for key in list(dict.keys(value))):
        return walk.rows(Ends(list(OrderedDict.items(value))), value, shape.name, depth)
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
    base: Any = shape.base
    count = base.__len__(value)
    keep = walk.window(count, depth)
    if keep < 0 or is_hollow(base.__sizeof__(value), count):
        return Elided(shape.name, count)
    head = taken(base.__iter__, value, keep)
    if count <= keep:
        head = _in_order(head)
    ends = Ends(head, max(count - keep, 0))
    return _named(shape.name, walk.items(ends, value, shape.name, depth, by_reference=base is set))


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
    head = taken(iter, value, keep - tail_size)
    tail = taken(reversed, value, tail_size)[::-1]
    return _named(shape.name, walk.items(Ends(head, max(count - keep, 0), tail), value, shape.name, depth))


@kind("builtins.odict_keys", "builtins.odict_values", "builtins.odict_items")
def _read_ordered_view(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged(shape.name, {"length": len(value)})  # to iterate it is to hash the keys


@kind("collections.deque")
def _read_deque(value: deque[Any], shape: Shape, walk: Walk, depth: int) -> Snapshot:
    count = deque.__len__(value)
    keep = walk.window(count, depth)
    if keep < 0:
        return Elided(shape.name, count)
    tail_size = keep // 2 if count > keep else 0
    head = taken(deque.__iter__, value, keep - tail_size)
    tail = taken(deque.__reversed__, value, tail_size)[::-1]
    shown = _named(shape.name, walk.items(Ends(head, max(count - keep, 0), tail), value, shape.name, depth))
    longest = deque.maxlen.__get__(value)
    if longest is not None and type(shown) is Tagged:
        shown.fields["maxlen"] = longest
    return shown


@kind("builtins.range")
def _read_range(value: range, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged(shape.name, {"start": value.start, "stop": value.stop, "step": value.step})


@kind("builtins.slice")
def _read_slice(value: slice, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    return walk.fields({"start": value.start, "stop": value.stop, "step": value.step}, value, shape.name, depth)
