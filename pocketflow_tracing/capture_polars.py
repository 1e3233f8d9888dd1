"""How the frames and series of Polars are read: what they are, and their first values.

As in `capture_pandas`: nothing is imported, and at a bounded cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .capture_kinds import Shape, kind, module_named
from .capture_memory import are_of_files, buffers_of
from .capture_pandas import COLUMNS, MOST_BYTES, MOST_NESTED_BYTES, ROWS, with_cut
from .capture_types import Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk

_LONGEST_CELL = 10_000
_LARGEST_TEXT = 2_000_000
"""Bytes of a text that is copied whole, for its beginning."""


@kind("polars.dataframe.frame.DataFrame")
def _read_polars_frame(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    base: Any = shape.base
    # There is no public way to have the same data in a frame of the library's own class.
    frame = value if type(value) is base else base._from_pydf(shape.instance_dict(value)["_df"])  # noqa: SLF001
    rows, columns = frame.shape
    name = shape.shown_as("polars.DataFrame")
    if not walk.closely():
        return walk.unread({"shape": [rows, columns]}, 2, value, name, depth)
    # Column by column: whatever asks for a frame's schema or its names makes all of them.
    series = [frame.to_series(place) for place in range(min(columns, COLUMNS))]
    names = [column.name for column in series]
    cells = {
        column.name: _first_cells(column)
        for column, is_mapped in zip(series, _are_mapped(series), strict=True)
        if not is_mapped
    }
    shown = {
        "shape": [rows, columns],
        "columns": {name: _polars_dtype(column.dtype) for name, column in zip(names, series, strict=True)},
        "head": [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)],
    }
    picture = with_cut(walk.fields(shown, value, name, depth, by_reference=True), columns)
    return picture if len(cells) == len(names) else walk.without_values(picture, value)


@kind("polars.series.series.Series")
def _read_polars_series(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    if not shape.exact:
        return Tagged(shape.name, {})
    if not walk.closely():
        return walk.unread({"length": value.len()}, 0, value, "polars.Series", depth)
    (is_mapped,) = _are_mapped([value])
    shown = {
        "name": value.name,
        "dtype": _polars_dtype(value.dtype),
        "length": value.len(),
        "head": [] if is_mapped else _first_cells(value),
    }
    picture = walk.fields(shown, value, "polars.Series", depth, by_reference=True)
    return walk.without_values(picture, value) if is_mapped else picture


def _memory_of(series: Any, newest: Any) -> list[int]:
    """Where the first values are, if they may be in a mapped file: that of a table of Arrow's, or of an array of NumPy's.

    Args:
        series: of Polars.
        newest: how Arrow is to have it; in another form it would be made anew, of what is read.
    """
    head = series.head(ROWS)
    if newest is not None:
        return buffers_of(head.to_arrow(compat_level=newest)) if _has_arrows(head.dtype) else []
    if not module_named("numpy") or not head.dtype.is_numeric():
        return []
    try:
        return [head.to_numpy(allow_copy=False).__array_interface__["data"][0]]
    except RuntimeError:  # as where there are nulls, which NumPy has no place for
        return []


def _are_mapped(columns: list[Any]) -> list[bool]:
    levels = module_named("polars").get("CompatLevel")  # since Polars 1.1
    newest = levels.newest() if levels is not None and module_named("pyarrow") else None
    return are_of_files([_memory_of(series, newest) for series in columns])


def _has_arrows(dtype: Any) -> bool:
    """Whether Arrow has a type; for others Polars panics, and says so on stderr."""
    return all(kind_of_values in _ARROWS for kind_of_values in _kinds_in(dtype))


def _first_cells(series: Any) -> list[Any]:
    """Return a series' first values; large ones, such as lists of a million numbers, by their type alone.

    By no expression (`.str`, `.list`, `explode`): those run on threads of Polars', which it starts for the process, and which
    are not there in a forked child, where who uses them would wait for ever.
    """
    head = series.head(ROWS)
    kind_of_values = str(series.dtype.base_type())
    if head.estimated_size() <= (MOST_NESTED_BYTES if kind_of_values in _NESTED else MOST_BYTES):
        if not _holds_moments(head.dtype):
            return head.to_list()  # type: ignore[no-any-return]
        numbers = head.cast(_of_numbers(head.dtype)).to_list()
        are_pythons = all(_is_pythons(number, head.dtype) for number in numbers)
        return head.to_list() if are_pythons else numbers  # type: ignore[no-any-return]
    if kind_of_values == "List":  # each is a series by itself, whose head is read
        return [head[place] for place in range(head.len())]
    if kind_of_values == "String":
        return [_text(head.slice(place, 1)) for place in range(head.len())]
    return [f"<{kind_of_values}>"] * head.len()


def _text(cell: Any) -> str | None:
    if cell.estimated_size() > _LARGEST_TEXT:
        return "<String>"
    text: str | None = cell[0]
    return text if text is None or len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]} …"


_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
_DAY = 86_400
_MOMENTS = {
    **dict.fromkeys(("Date", "Datetime"), (_YEAR_1 + _DAY, _YEAR_10000 - _DAY)),  # in any time zone
    "Duration": (-999_999_999 * _DAY, 999_999_999 * _DAY),
}
"""From and up to which seconds Python has dates and durations."""
_NESTED = {"List", "Array"}
_ARROWS = {
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Boolean", "String", "Binary",
    *_MOMENTS, "Time",
}  # fmt: skip


def _holds_moments(dtype: Any) -> bool:
    """Whether values of a type are dates or durations, or hold some."""
    return any(kind_of_values in _MOMENTS for kind_of_values in _kinds_in(dtype))


def _kinds_in(dtype: Any) -> Iterator[str]:
    """The kinds of values that a type has, or holds in lists and structures."""
    kind_of_values = str(dtype.base_type())
    if kind_of_values in _NESTED:
        yield from _kinds_in(dtype.inner)
    elif kind_of_values == "Struct":
        for field in dtype.fields:
            yield from _kinds_in(field.dtype)
    else:
        yield kind_of_values


def _of_numbers(dtype: Any) -> Any:
    """Return a type with numbers in the place of dates and durations."""
    kind_of_values = str(dtype.base_type())
    polars = module_named("polars")
    if kind_of_values == "List":
        return polars["List"](_of_numbers(dtype.inner))
    if kind_of_values == "Array":
        return polars["Array"](_of_numbers(dtype.inner), dtype.size)
    if kind_of_values == "Struct":
        return polars["Struct"]({field.name: _of_numbers(field.dtype) for field in dtype.fields})
    return polars["Int64"] if kind_of_values in _MOMENTS else dtype


def _is_pythons(number: Any, dtype: Any) -> bool:
    """Whether Python has the dates and durations of a value; for others Polars panics, and says so on stderr."""
    kind_of_values = str(dtype.base_type())
    if number is None:
        return True
    if kind_of_values in _NESTED:
        return all(_is_pythons(below, dtype.inner) for below in number)
    if kind_of_values == "Struct":
        return all(_is_pythons(number[field.name], field.dtype) for field in dtype.fields)
    if kind_of_values not in _MOMENTS:
        return True
    units = 1 / _DAY if kind_of_values == "Date" else _PER_SECOND[dtype.time_unit]
    first, end = _MOMENTS[kind_of_values]
    return bool(first <= number / units < end)


def _polars_dtype(dtype: Any) -> str:
    """Write a type; those that hold thousands of names by their kind and size."""
    kind_of_values = str(dtype.base_type())
    if kind_of_values == "Enum":
        return f"Enum of {dtype.categories.len():,}"
    if kind_of_values == "Struct" and len(dtype.fields) > COLUMNS:
        return f"Struct of {len(dtype.fields):,}"
    return str(dtype)


@kind("polars.lazyframe.frame.LazyFrame")
def _read_polars_lazy(_value: Any, _shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged("polars.LazyFrame", {})  # anything more would run its query plan
