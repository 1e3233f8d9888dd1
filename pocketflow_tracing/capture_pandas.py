"""How the frames, series and indexes of pandas are read: what they are, and their first values.

No library is imported here: an object's class is in hand only if the program has imported it. Subclasses are read
through the library's own class, and at a bounded cost: a few rows and columns.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from .capture_arrays import dtype_name, is_steady, lender_of
from .capture_kinds import Shape, kind, module_named, name_of, shape_of
from .capture_memory import are_of_files, buffers_of
from .capture_stdlib import picture_of_moment
from .capture_types import CUT_KEY, Cut, Note, Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk

__all__ = ["COLUMNS", "MOST_BYTES", "MOST_NESTED_BYTES", "ROWS", "with_cut"]

ROWS = 5
COLUMNS = 50
MOST_BYTES = 500_000
"""Of a column's first rows, which are copied whole."""
MOST_NESTED_BYTES = 100_000
"""Likewise of lists, of which each number becomes an object: 25,000 of them take a millisecond or two."""


@kind("pandas.DataFrame", "pandas.core.frame.DataFrame")
def _read_pandas_frame(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    manager = shape.instance_dict(value)["_mgr"]
    labels, index = manager.axes
    columns = _length(labels)
    size = [_length(index), columns]
    name = shape.shown_as("pandas.DataFrame")
    if columns is None or not walk.closely():
        return walk.unread({"shape": size}, 2, value, name, depth)
    found = _first_columns(manager, min(columns, COLUMNS))
    places = sorted(found)
    texts = [_label(label) for label in _head(labels, COLUMNS)]
    names = dict(zip(places, _unique([texts[place] for place in places]), strict=True))
    levels = _names(labels)
    shown = {
        "shape": size,
        **({"column_levels": levels} if any(levels) else {}),
        "columns": {names[place]: found[place][0] for place in places},
        **_labels(index),
        "head": [
            dict(zip(cells, row, strict=True))
            for cells in [{names[place]: found[place][1] for place in places if found[place][1] is not None}]
            for row in zip(*cells.values(), strict=False)
        ],
    }
    picture = with_cut(walk.fields(shown, value, name, depth, by_reference=True), columns)
    return walk.without_values(picture, value) if any(cells is None for _, cells in found.values()) else picture


def _first_columns(manager: Any, count: int) -> dict[int, tuple[str, list[Any] | None]]:
    """Return the types and first values of a frame's first columns, by the columns' places; no values of what is not read.

    Block by block, for pandas' own ways (`iloc`, `dtypes`) note where each column stands in memory that they take to be
    of the right size: another thread that inserts a column meanwhile makes them corrupt the heap of the process.
    """
    found: dict[int, tuple[str, list[Any] | None]] = {}
    for block in manager.blocks:
        at = block.mgr_locs.indexer
        if type(at) is slice:
            if at.start >= count and at.step > 0:  # as most blocks of a frame that has grown column by column
                continue
            rows = [
                (row, place) for row, place in enumerate(range(at.start, at.stop, at.step)[:count]) if place < count
            ]
        else:
            near = (at < count).nonzero()[0].tolist()
            rows = [(row, int(at[row])) for row in near]
        values = block.values
        dtype = _dtype(values)
        # A stranger's extension type may run its own code at any reading: such a column shows its type only.
        if not _is_readable(values):
            found.update((place, (dtype, None)) for _, place in rows)
        elif values.ndim > 1:
            found.update((place, (dtype, values[row, :ROWS].tolist())) for row, place in rows)
        else:
            found.update((place, (dtype, _head(values))) for _, place in rows)
    return found


@kind("pandas.Series", "pandas.core.series.Series")
def _read_pandas_series(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    own = shape.instance_dict(value)
    manager = own["_mgr"]
    values, index = manager.blocks[0].values, manager.axes[0]
    name = shape.shown_as("pandas.Series")
    length = _length(index)
    if not walk.closely():
        return walk.unread({"length": length}, 0, value, name, depth)
    readable = _is_readable(values)
    shown = {
        "name": own.get("_name"),
        "dtype": _dtype(values),
        "length": length,
        **_labels(index),
        "head": _head(values) if readable else [],
    }
    picture = walk.fields(shown, value, name, depth, by_reference=True)
    return picture if readable else walk.without_values(picture, value)


@kind("pandas.Index", "pandas.core.indexes.base.Index")
def _read_pandas_index(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    if not shape.family:
        return Tagged(shape.name, {})
    length = _length(value)
    if not walk.closely():
        return walk.unread({"length": length}, 0, value, f"pandas.{shape.name}", depth)
    head = _head(value) if _is_readable(value) else []
    names = _names(value)
    if len(names) > 1 and any(names):  # each with its names, which may say that it is a secret
        levels = _unique([name or f"level_{place}" for place, name in enumerate(names)])
        head = [dict(zip(levels, row, strict=True)) for row in head]
    named = {"name": names[0]} if len(names) == 1 and names[0] else {}
    shown = {**named, "dtype": _dtype(value), "length": length, "head": head}
    return walk.fields(shown, value, f"pandas.{shape.name}", depth)


@kind("pandas.Timestamp", "pandas._libs.tslibs.timestamps.Timestamp")
def _read_pandas_timestamp(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    base: Any = shape.base
    return picture_of_moment(value, shape, base.nanosecond.__get__(value))


@kind("pandas.Timedelta", "pandas._libs.tslibs.timedeltas.Timedelta")
def _read_pandas_timedelta(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    base: Any = shape.base
    text, nanoseconds = dt.timedelta.__str__(value), base.nanoseconds.__get__(value)
    if nanoseconds:
        text = f"{text}{'' if '.' in text else '.000000'}{nanoseconds:03d}"
    return Tagged(shape.name, {"value": text})


@kind("pandas.Period", "pandas._libs.tslibs.period.Period")
def _read_pandas_period(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged("pandas.Period", {"value": str(value)}) if shape.exact else Tagged(shape.name, {})


@kind("pandas.Interval", "pandas._libs.interval.Interval")
def _read_pandas_interval(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    if not shape.exact:
        return Tagged(shape.name, {})
    shown = {"left": value.left, "right": value.right, "closed": value.closed}
    return walk.fields(shown, value, "pandas.Interval", depth)


@kind("pandas.Categorical", "pandas.core.arrays.categorical.Categorical")
def _read_pandas_categorical(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    if not shape.exact:
        return Tagged(shape.name, {})
    length = value.shape[0]
    if not walk.closely():
        return walk.unread({"length": length}, 0, value, "pandas.Categorical", depth)
    head = _head(value) if _is_readable(value) else []
    shown = {"length": length, "categories": value.categories, "head": head}
    return walk.fields(shown, value, "pandas.Categorical", depth)


def _labels(index: Any) -> dict[str, Any]:
    """Return the labels of the first rows, unless they only count them, and what the labels are called."""
    t = type(index)
    if t is module_named("pandas").get("RangeIndex") and index.start == 0 and index.step == 1:
        return {}
    if not _is_readable(index):
        return {}
    names = _names(index)
    return {"index": _head(index), **({"index_names": names} if any(names) else {})}


def _names(index: Any) -> list[str | None]:
    """Return the names of an index, of each level its own; those that are no texts are left out."""
    own = getattr(index, "__dict__", {})
    names = own.get("_names") or [own.get("_name")]
    return [name if type(name) is str else None for name in names]


def _head(values: Any, count: int = ROWS) -> list[Any]:
    """Return the first of values that are readable; to slice short ones would take most of the time.

    Of Arrow's, which Python's are made of one by one, large ones (texts, lists of a million numbers) by their type alone.
    """
    first = values if values.shape[0] <= count else values[:count]
    arrow = getattr(getattr(first, "__dict__", {}).get("_data", first), "_pa_array", None)
    if arrow is not None and arrow.nbytes > (MOST_NESTED_BYTES if arrow.type.num_fields else MOST_BYTES):
        return [f"<{first.dtype}>"] * len(arrow)
    return first.tolist()  # type: ignore[no-any-return]


def _length(index: Any) -> int | None:
    """Count labels; None for those that a stranger's type would have to count."""
    data = getattr(index, "__dict__", {}).get("_data")
    return index.shape[0] if _is_known(index) and (data is None or _is_known(data)) else None


def _is_known(value: Any) -> bool:
    """Whether an object's class is NumPy's or pandas' own, so that only their code runs when it is asked."""
    return shape_of(type(value)).library in _KNOWN


def _is_readable(values: Any, *, of_labels: bool = False) -> bool:
    """Whether the first of some values are read at no risk and little cost.

    Args:
        values: an array of NumPy's or of pandas', an index, or an extension type of a stranger's.
        of_labels: whether they are part of an index, which does not change.
    """
    t = type(values)
    if not _is_known(values):
        return False
    if shape_of(t).library == "numpy":  # also a `memmap`, which pandas keeps where it is not to copy
        return lender_of(values) is None and (of_labels or is_steady(values))
    if name_of(t) == "SparseArray":  # which is searched through for what stands in a slice
        return False
    arrow = getattr(values, "_pa_array", None)
    if arrow is not None and any(are_of_files([buffers_of(arrow.slice(0, ROWS))])):
        return False
    of_labels = of_labels or shape_of(t).read is _read_pandas_index
    own = getattr(values, "__dict__", {})
    parts = [own.get(name) for name in _PARTS] + [getattr(values, "_ndarray", None)]
    parts += [getattr(own.get("_dtype"), "categories", None), *(own.get("_levels") or ()), *(own.get("_codes") or ())]
    return all(part is None or _is_readable(part, of_labels=of_labels) for part in parts)


_KNOWN = frozenset({"numpy", "pandas"})
_PARTS = ("_data", "_mask", "_left", "_right")


def _dtype(values: Any) -> str:
    """Name the type of some values; a stranger's by the class that holds them."""
    if not _is_known(values):
        return name_of(type(values))
    dtype = values.dtype
    library = shape_of(type(dtype)).library
    if library == "numpy":
        return dtype_name(dtype)
    return str(dtype) if library == "pandas" else name_of(type(dtype))


def _label(label: Any) -> str:
    t = type(label)
    if t is str:
        return label  # type: ignore[no-any-return]
    if t is tuple:
        return ", ".join([_label(part) for part in label])
    return repr(label) if t is int or t is float or t is bool or label is None else name_of(t)


def _unique(names: list[str]) -> list[str]:
    seen: set[str] = set()
    for place, name in enumerate(names):
        if name in seen:
            names[place] = f"{name} ({place})"
        seen.add(names[place])
    return names


@kind(
    "pandas._libs.tslibs.nattype.NaTType",
    "pandas._libs.missing.NAType",
    "pandas.api.typing.NaTType",
    "pandas.api.typing.NAType",
    first=True,
)
def _read_missing(_value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Note(shape.name.removesuffix("Type"))


def with_cut(shown: Snapshot, columns: int) -> Snapshot:
    """Say in a frame's columns how many are not shown."""
    listed = shown.fields.get("columns") if type(shown) is Tagged else None
    if columns > COLUMNS and type(listed) is dict:
        listed[CUT_KEY] = Cut(columns - COLUMNS)
    return shown
