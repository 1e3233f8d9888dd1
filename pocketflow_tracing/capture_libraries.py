"""How the data types of NumPy, pandas, Polars, PyTorch and Pillow are read: what they are, and their first values.

No library is imported here: an object's class is in hand only if the program has imported it. Subclasses are read
through the library's own class, and at a bounded cost: a few rows and columns, never more than a thousand elements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .capture_kinds import Shape, attributes_of, is_genuine, kind, module_named, mro_of, name_of, qualified_name_of
from .capture_types import CUT_KEY, Cut, Note, Snapshot, Tagged

if TYPE_CHECKING:
    from .capture import Walk

_FIRST = 10
_SMALL = 1000
_ROWS = 5
_COLUMNS = 50


def _corner(shape: tuple[int, ...], wanted: int) -> tuple[slice, ...]:
    """Slice an array so that its first values, in C order, are what is left, and not many more."""
    slices: list[slice] = []
    for size in reversed(shape):
        taken = min(size, max(wanted, 1))
        slices.append(slice(0, taken))
        wanted = -(-wanted // max(taken, 1))
    return tuple(reversed(slices))


@kind("numpy.ndarray")
def _read_array(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    ndarray: Any = shape.base
    array: Any = ndarray.view(value, ndarray) if type(value) is not ndarray else value
    shown: dict[str, Any] = {"dtype": str(array.dtype), "shape": list(array.shape)}
    kind_of_values = array.dtype.kind
    if 0 < array.size <= _SMALL and kind_of_values in "iuf":
        shown["min"], shown["max"] = array.min().item(), array.max().item()
    # A field of a record array may itself be an array of any size.
    if array.dtype.itemsize <= _SMALL:
        # A 0-d array is viewed as 1-d: indexing it would return its element, which may be a stranger.
        flat = array[_corner(array.shape, _FIRST)].ravel() if array.ndim else array.reshape(1)
        shown["values" if array.size <= _FIRST else "first"] = flat[:_FIRST].tolist()
    return walk.fields(shown, value, _public_name(value, shape, "numpy.ndarray"), depth)


@kind("numpy.generic", first=True)
def _read_numpy_scalar(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    if not is_genuine(type(value)):
        return Tagged(shape.name, {})
    name = f"numpy.{shape.name}"
    if value.nbytes > _SMALL:
        return Tagged(name, {"size": value.nbytes})
    return walk.fields({"value": value.item()}, value, name, depth)


@kind("pandas.DataFrame", "pandas.core.frame.DataFrame")
def _read_pandas_frame(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    frame = _own_class(value, shape)
    rows, columns = frame.shape
    corner = frame.iloc[:_ROWS, :_COLUMNS]
    dtypes = corner.dtypes.tolist()
    # A stranger's extension type may run its own code at any reading: such a column shows its type only.
    known = [place for place, dtype in enumerate(dtypes) if _is_known(dtype)]
    names = _unique([_label(label) for label in corner.columns.tolist()])
    shown_columns: dict[str, Any] = {name: _dtype(dtype) for name, dtype in zip(names, dtypes, strict=True)}
    # As one block of objects: 0.25 ms for 50 columns, as against 1.8 ms column by column.
    cells = (corner if len(known) == len(dtypes) else corner.iloc[:, known]).to_numpy(dtype=object).tolist()
    head = [dict(zip([names[place] for place in known], row, strict=True)) for row in cells]
    shown = {"shape": [rows, columns], "columns": shown_columns, "head": head}
    return _with_cut(walk.fields(shown, value, _public_name(value, shape, "pandas.DataFrame"), depth), columns)


@kind("pandas.Series", "pandas.core.series.Series")
def _read_pandas_series(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    series = _own_class(value, shape)
    name = shape.instance_dict(value).get("_name")
    shown = {"name": name, "dtype": _dtype(series.dtype), "length": series.shape[0], "head": _head(series.iloc[:_ROWS])}
    return walk.fields(shown, value, _public_name(value, shape, "pandas.Series"), depth)


@kind("pandas.Index", "pandas.core.indexes.base.Index")
def _read_pandas_index(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    if not is_genuine(type(value)):
        return Tagged(shape.name, {})
    shown = {"dtype": _dtype(value.dtype), "length": value.shape[0], "head": value[:_ROWS].tolist()}
    return walk.fields(shown, value, f"pandas.{shape.name}", depth)


def _own_class(value: Any, shape: Shape) -> Any:
    """Return a frame or series of pandas' own class over the same data, whose methods no subclass has replaced."""
    base: Any = shape.base
    if type(value) is base:
        return value
    manager = shape.instance_dict(value)["_mgr"]
    return base._from_mgr(manager, manager.axes)  # noqa: SLF001 - no public way


def _is_known(dtype: Any) -> bool:
    """Tell whether a column's type is NumPy's or the library's own."""
    return qualified_name_of(type(dtype)).partition(".")[0] in {"numpy", "pandas"}


def _dtype(dtype: Any) -> str:
    return str(dtype) if _is_known(dtype) else name_of(type(dtype))


def _head(series: Any) -> list[Any]:
    return series.tolist() if _is_known(series.dtype) else []


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


def _with_cut(shown: Snapshot, columns: int) -> Snapshot:
    """Say in a frame's columns how many are not shown."""
    listed = shown.fields.get("columns") if type(shown) is Tagged else None
    if columns > _COLUMNS and type(listed) is dict:
        listed[CUT_KEY] = Cut(columns - _COLUMNS)
    return shown


def _public_name(value: Any, shape: Shape, name: str) -> str:
    """Name a library's own class as users import it, and a subclass by its own name."""
    return name if type(value) is shape.base else shape.name


@kind("polars.dataframe.frame.DataFrame")
def _read_polars_frame(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    base: Any = shape.base
    # There is no public way to have the same data in a frame of the library's own class.
    frame = value if type(value) is base else base._from_pydf(shape.instance_dict(value)["_df"])  # noqa: SLF001
    rows, columns = frame.shape
    schema = list(frame.schema.items())[:_COLUMNS]
    head = frame[:_ROWS, : len(schema)].rows(named=True)
    shown = {"shape": [rows, columns], "columns": {name: str(dtype) for name, dtype in schema}, "head": head}
    return _with_cut(walk.fields(shown, value, _public_name(value, shape, "polars.DataFrame"), depth), columns)


@kind("polars.series.series.Series")
def _read_polars_series(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    if not shape.exact:
        return Tagged(shape.name, {})
    shown = {"name": value.name, "dtype": str(value.dtype), "length": value.len(), "head": value.head(_ROWS).to_list()}
    return walk.fields(shown, value, "polars.Series", depth)


@kind("polars.lazyframe.frame.LazyFrame")
def _read_polars_lazy(_value: Any, _shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged("polars.LazyFrame", {})  # anything more would run its query plan


@kind("torch.Tensor")
def _read_tensor(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    t = type(value)
    if t is not shape.base and qualified_name_of(t) != "torch.nn.parameter.Parameter":
        return Tagged(shape.name, {})  # its __torch_function__ would answer every question
    device = str(value.device)
    size = list(value.shape)
    shown: dict[str, Any] = {"dtype": str(value.dtype).removeprefix("torch."), "shape": size, "device": device}
    if value.requires_grad:
        shown["requires_grad"] = True
    strided = str(value.layout) == "torch.strided" and not value.is_quantized
    # Reading from another device would wait for it.
    if device == "cpu" and strided and not _torch_is_intercepted():
        plain = value.detach()
        count = plain.numel()
        corner = plain[_corner(tuple(size), _FIRST)] if size else plain
        first = corner.reshape(-1)[:_FIRST].tolist()
        if 0 < count <= _SMALL and not plain.is_complex() and shown["dtype"] != "bool":
            shown["min"], shown["max"] = plain.min().item(), plain.max().item()
        shown["values" if count <= _FIRST else "first"] = first
    return walk.fields(shown, value, "torch.Tensor" if t is shape.base else "torch.nn.Parameter", depth)


def _torch_is_intercepted() -> bool:
    """Tell whether the program has put a mode of its own around torch's functions, which would see our reading."""
    c: Any = module_named("torch").get("_C")
    return bool(c._len_torch_function_stack() or c._len_torch_dispatch_stack())  # noqa: SLF001 - no public way


@kind("PIL.Image.Image")
def _read_image(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    own = shape.instance_dict(value)
    shown: dict[str, Any] = {"mode": own.get("_mode", own.get("mode")), "size": own.get("_size", own.get("size"))}
    form = own.get("format")
    for cls in mro_of(type(value)):
        if form is not None:
            break
        form = attributes_of(cls).get("format")
    if form is not None:
        shown["format"] = form
    return walk.fields(shown, value, "PIL.Image", depth)
