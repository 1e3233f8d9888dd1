"""How values of the standard library are read: enums, moments, numbers, paths, addresses.

As in `capture_builtins`, through the class that a reader is registered for.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

from .capture_kinds import Shape, attributes_of, kind, name_of, qualified_name_of, shape_of
from .capture_types import Note, Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk

_FIRST = 10
_MAX_DIGITS_BITS = 2000  # about 600 digits: below the least limit that Python can be given for int → str


@kind("enum.Enum", first=True)
def _read_enum(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    own = shape.instance_dict(value)
    return walk.fields({"name": own.get("_name_"), "value": own.get("_value_")}, value, shape.name, depth)


@kind(
    "asyncio.events.AbstractEventLoop",
    "asyncio.events.Handle",
    "concurrent.futures._base.Executor",
    "multiprocessing.pool.Pool",
    "trio._core._run.Runner",
    "trio._core._run.Task",
    first=True,
)
def _read_machinery(_value: object, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    # a queue or a lock that was waited for leads to its loop, and that to what all tasks of the process wait for
    return Tagged(shape.name, {})


@kind("datetime.datetime")
def _read_datetime(value: dt.datetime, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return picture_of_moment(value, shape)


def picture_of_moment(value: dt.datetime, shape: Shape, nanoseconds: int = 0) -> Snapshot:
    """Make the picture of a datetime; of a subclass with so many nanoseconds beside its microseconds."""
    read: Any = _components(
        value, dt.datetime, "year", "month", "day", "hour", "minute", "second", "microsecond", "fold"
    )
    plain = dt.datetime(**read)  # noqa: DTZ001 - the zone comes beside it
    return _moment(plain, dt.datetime.tzinfo.__get__(value), shape, nanoseconds)


@kind("datetime.time")
def _read_time(value: dt.time, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    read: Any = _components(value, dt.time, "hour", "minute", "second", "microsecond", "fold")
    return _moment(dt.time(**read), dt.time.tzinfo.__get__(value), shape)


def _components(value: object, base: Any, *names: str) -> dict[str, int]:
    """Read numbers of a moment through the class they are defined in."""
    return {name: getattr(base, name).__get__(value) for name in names}


def _moment(plain: Any, zone: object, shape: Shape, nanoseconds: int = 0) -> Snapshot:
    """Write a moment in ISO 8601; only Python's own time zones are asked for the offset, others are named."""
    text = short = plain.isoformat()
    if nanoseconds:
        text = f"{plain.isoformat(timespec='microseconds')}{nanoseconds:03d}"
    if zone is None:
        return Tagged(shape.name, {"value": text})
    if shape_of(type(zone)).exact and qualified_name_of(type(zone)) in {"datetime.timezone", "zoneinfo.ZoneInfo"}:
        return Tagged(shape.name, {"value": text + plain.replace(tzinfo=zone).isoformat()[len(short) :]})
    return Tagged(shape.name, {"value": text, "tzinfo": name_of(type(zone))})


@kind("datetime.date")
def _read_date(value: dt.date, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged(shape.name, {"value": dt.date.isoformat(value)})


@kind("datetime.timedelta")
def _read_timedelta(value: dt.timedelta, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged(shape.name, {"value": dt.timedelta.__str__(value)})


@kind("datetime.timezone", "zoneinfo.ZoneInfo")
def _read_zone(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    base: Any = shape.base
    return Tagged(shape.name, {"value": base.__str__(value)} if shape.exact else {})


@kind("uuid.UUID")
def _read_uuid(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    digits = f"{attributes_of(shape.base)['int'].__get__(value):032x}"
    return Tagged(shape.name, {"value": f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"})


@kind("decimal.Decimal")
def _read_decimal(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    base: Any = shape.base
    if base.__sizeof__(value) > _MAX_DIGITS_BITS:
        return Note(f"<{shape.name} of thousands of digits>")
    return Tagged(shape.name, {"value": base.__str__(value)})


@kind("fractions.Fraction")
def _read_fraction(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    attributes = attributes_of(shape.base)
    top, bottom = attributes["_numerator"].__get__(value), attributes["_denominator"].__get__(value)
    if top.bit_length() > _MAX_DIGITS_BITS or bottom.bit_length() > _MAX_DIGITS_BITS:
        return Tagged(shape.name, {"numerator": top, "denominator": bottom})
    return Tagged(shape.name, {"value": f"{top}/{bottom}"})


@kind("pathlib.PurePath", "pathlib._local.PurePath")
def _read_path(value: Any, shape: Shape, walk: Walk, _depth: int) -> Snapshot:
    if shape.family:
        return Tagged(shape.name, {"value": str(value)})
    # A subclass may bring its own __str__: the parts stand in slots, under a name that changed with 3.12.
    fields, _ = shape.fields(value, walk.max_items)
    parts = fields.get("_raw_paths") or fields.get("_parts") or []
    texts = [part for part in list.__iter__(parts) if type(part) is str] if type(parts) is list else []
    return Tagged(shape.name, {"value": os.path.join(*texts) if texts else "."})  # noqa: PTH118 - pathlib is what is read


@kind("ipaddress._BaseAddress", "ipaddress._BaseNetwork")
def _read_address(value: Any, shape: Shape, walk: Walk, _depth: int) -> Snapshot:
    if shape.family:
        return Tagged(shape.name, {"value": str(value)})
    return Tagged(shape.name, {"value": shape.fields(value, walk.max_items)[0].get("_ip")})


@kind("urllib.parse.ParseResult", "urllib.parse.SplitResult", first=True)
def _read_url(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    """A URL in its parts as one text, in which a password is found."""
    parts = list(tuple.__iter__(value))
    if shape.exact and all(type(part) is str for part in parts):
        return Tagged(shape.name, {"value": value.geturl()})
    return walk.fields({str(place): part for place, part in enumerate(parts[:6])}, value, shape.name, depth)


@kind("array.array")
def _read_array(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    base: Any = shape.base
    count = base.__len__(value)
    first = base.tolist(base.__getitem__(value, slice(0, _FIRST)))
    shown = {
        "typecode": base.typecode.__get__(value),
        "length": count,
        "values" if count <= _FIRST else "first": first,
    }
    return walk.fields(shown, value, "array.array" if shape.exact else shape.name, depth, by_reference=True)
