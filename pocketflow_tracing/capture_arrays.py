"""How the arrays of NumPy, the tensors of PyTorch and the images of Pillow are read: what they are, and their first values.

As in `capture_pandas`: nothing is imported, and never more than a few thousand elements are looked at; none of an array
whose memory belongs to something else, a file or a block that processes share, say: that may be gone, and to read it would
end the process. Nor of one that holds objects while the host has other threads, see `capture_threads`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .capture_kinds import Shape, attributes_of, is_genuine, kind, module_named, mro_of, name_of, qualified_name_of
from .capture_threads import is_alone
from .capture_types import Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk

_FIRST = 10
_SMALL = 4096
"""Elements up to which least and greatest are looked for: an embedding is one, at 5 µs."""
_NUMBERS = frozenset("iuf")
_LONGEST_NUMBER = 8
_dtype_names: dict[Any, str] = {}
_MOST_NAMES = 1000
_MOST_BYTES = 1000
"""Of one element."""
_MOST_FIELDS = 50


def lender_of(array: Any) -> str | None:
    """Name what an array's memory belongs to, None if it stays where it is as long as the array.

    That is so where it is the array's own, or that of one that it is a view of, or of bytes.

    Args:
        array: of NumPy's class or a subclass.
    """
    ndarray = module_named("numpy")["ndarray"]
    base = array
    while any(cls is ndarray for cls in mro_of(type(base))):
        if ndarray.flags.__get__(base).owndata:
            return None
        base = ndarray.base.__get__(base)
    return None if type(base) is bytes or is_lent_safely(base) else name_of(type(base))


def is_steady(array: Any) -> bool:
    """Whether no other thread can let go of an object in an array, or in a record, while it is read."""
    return not array.dtype.hasobject or is_alone()


def is_lent_safely(view: Any) -> bool:
    """Whether this is a memoryview of bytes or of a bytearray, which keeps its memory in its place meanwhile."""
    try:
        return type(view) is memoryview and type(view.obj) in {bytes, bytearray}
    except ValueError:  # released
        return False


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
    array: Any = value
    masked = None
    if type(value) is not ndarray:
        array = ndarray.view(value, ndarray)
        masked = _mask_of(value, shape)
    dtype = array.dtype
    # longer ones than Python's are objects of NumPy's again
    if (
        array is value
        and dtype.kind in _NUMBERS
        and dtype.itemsize <= _LONGEST_NUMBER
        and (ndarray.flags.__get__(value).owndata or lender_of(value) is None)
    ):
        return _read_numbers(value, walk, depth)
    if not is_steady(array) or not walk.closely():
        size = {"dtype": dtype_name(dtype) if dtype.names is None else "record", "shape": [*array.shape]}
        return walk.unread(size, array.ndim, value, shape.shown_as("numpy.ndarray"), depth)
    names = dtype.names
    many = _has_many_fields(dtype)
    shown: dict[str, Any] = {
        "dtype": f"{len(names or ()):,} fields" if many else str(dtype),
        "shape": list(array.shape),
    }
    lender = lender_of(value)
    if lender is None and masked is not None:
        lender = lender_of(masked)
    if lender is not None:
        shown["memory"] = lender
    # of a masked array the range would be that of what is hidden as well
    if 0 < array.size <= _SMALL and dtype.kind in "iufmM" and masked is None and lender is None:
        shown["min"], shown["max"] = _plain([array.min()]) + _plain([array.max()])
    # A field of a record array may itself be an array of any size.
    if dtype.itemsize <= _MOST_BYTES and not many and lender is None:
        first = _plain(_first(array))
        if masked is not None:
            first = ["masked" if hidden else item for item, hidden in zip(first, _first(masked), strict=True)]
        if names is not None:
            first = [_with_names(row, dtype) for row in first]
        shown["values" if array.size <= _FIRST else "first"] = first
    return walk.fields(shown, value, shape.shown_as("numpy.ndarray"), depth, by_reference=True)


def _read_numbers(array: Any, walk: Walk, depth: int) -> Snapshot:
    """Read what most arrays are, and come by the hundred: numbers in memory of their own, a third of the time for all."""
    shape, size = array.shape, array.size
    shown: dict[str, Any] = {"dtype": dtype_name(array.dtype), "shape": [*shape]}
    # in one call, or one for each: what has been lent points to nothing once another thread lets the array grow in its place
    if 0 < size <= _SMALL:
        data = array.tobytes()
        own = type(array)((len(data) // array.itemsize,), array.dtype, data)
        shown["min"], shown["max"], first = own.min().item(), own.max().item(), own[:_FIRST].tolist()
    else:
        first = [array.item(place) for place in range(min(size, _FIRST))]
    shown["values" if size <= _FIRST else "first"] = first
    return walk.plain_fields(shown, len(shape) + len(first), array, "numpy.ndarray", depth)


def dtype_name(dtype: Any) -> str:
    """Write a type of NumPy's or of torch's, no record; it takes some microseconds, so it is done once."""
    name = _dtype_names.get(dtype)
    if name is None:
        if len(_dtype_names) >= _MOST_NAMES:
            _dtype_names.clear()
        name = _dtype_names[dtype] = str(dtype)
    return name


def _has_many_fields(dtype: Any) -> bool:
    """Whether records have more fields, of their own or in others, than are to be written out."""
    inside, count = [dtype.base], 0
    while inside and count <= _MOST_FIELDS:
        record = inside.pop()
        names = record.names or ()
        count += len(names)
        inside += [record.fields[name][0].base for name in names[:_MOST_FIELDS]]
    return count > _MOST_FIELDS


def _first(array: Any) -> Any:
    # A 0-d array is viewed as 1-d: indexing it would return its element, which may be a stranger.
    flat = array[_corner(array.shape, _FIRST)].ravel() if array.ndim else array.reshape(1)
    return flat[:_FIRST]


def _plain(values: Any) -> list[Any]:
    """Turn a few elements of an array into Python's; a moment as NumPy writes it, for Python's may be too coarse."""
    if type(values) is not list and values.dtype.kind not in "mM":
        return values.tolist()  # type: ignore[no-any-return]
    return [str(item) if item.dtype.kind in "mM" else item.item() for item in values]


def _with_names(item: Any, dtype: Any) -> Any:
    """Give a record's values the names of its fields, which may say that one is a secret; also those of a record in it."""
    if type(item) is not tuple or dtype.names is None:
        return item
    return {name: _with_names(below, dtype.fields[name][0]) for name, below in zip(dtype.names, item, strict=True)}


def _mask_of(value: Any, shape: Shape) -> Any:
    """Return the mask of a masked array as a plain array, None if nothing is masked."""
    ndarray: Any = shape.base
    if not any(qualified_name_of(cls) in _MASKED and is_genuine(cls) for cls in mro_of(type(value))):
        return None
    mask: Any = shape.instance_dict(value).get("_mask")
    return mask if type(mask) is ndarray and ndarray.shape.__get__(mask) == ndarray.shape.__get__(value) else None


_MASKED = frozenset({"numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray"})


@kind("numpy.generic", first=True)
def _read_numpy_scalar(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    if not shape.family:
        return Tagged(shape.name, {})
    name = f"numpy.{shape.name}"
    if value.nbytes > _MOST_BYTES:
        return Tagged(name, {"size": value.nbytes})
    if value.base is not None and (lender := lender_of(value.base)) is not None:  # a row of an array of records
        return Tagged(name, {"dtype": str(value.dtype), "memory": lender})
    if value.dtype.kind in "mM":
        return Tagged(name, {"value": str(value)})
    if not is_steady(value):
        return walk.unread({"dtype": "record"}, 0, value, name, depth)
    item = value.item()
    if value.dtype.names is not None and type(item) is tuple:
        return walk.fields(_with_names(item, value.dtype), value, name, depth)
    if type(item) is type(value):  # longer than any number of Python's
        return Tagged(name, {"value": str(value)})
    return walk.fields({"value": item}, value, name, depth)


@kind("numpy.dtype", "torch.dtype", "torch.device")
def _read_dtype(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    if not shape.family or (shape.base is not type(value) and value.names is not None):
        return Tagged(shape.name, {})
    return Tagged(shape.name, {"value": str(value)})


_ORDERED = frozenset({"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"})


@kind("torch.Tensor")
def _read_tensor(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    t = type(value)
    if t is not shape.base and qualified_name_of(t) != "torch.nn.parameter.Parameter":
        return Tagged(shape.name, {})  # its __torch_function__ would answer every question
    name = "torch.Tensor" if t is shape.base else "torch.nn.Parameter"
    dtype = dtype_name(value.dtype).removeprefix("torch.")
    if value.is_nested:
        return Tagged("torch.Tensor", {"dtype": dtype, "layout": "nested", "device": str(value.device)})
    size = list(value.shape)
    if not walk.closely():
        return walk.unread({"dtype": dtype, "shape": size}, len(size), value, name, depth)
    device = str(value.device)
    shown: dict[str, Any] = {"dtype": dtype, "shape": size, "device": device}
    if value.requires_grad:
        shown["requires_grad"] = True
    strided = str(value.layout) == "torch.strided" and not value.is_quantized
    # Reading from another device would wait for it. What can be resized is memory of torch's own.
    if device == "cpu" and strided and not _torch_is_intercepted() and value.untyped_storage().resizable():
        plain = value.detach()
        count = plain.numel()
        corner = plain[_corner(tuple(size), _FIRST)] if size else plain
        first = corner.reshape(-1)[:_FIRST].tolist()
        if 0 < count <= _SMALL and shown["dtype"] in _ORDERED:
            shown["min"], shown["max"] = plain.min().item(), plain.max().item()
        shown["values" if count <= _FIRST else "first"] = first
    return walk.fields(shown, value, name, depth, by_reference=True)


def _torch_is_intercepted() -> bool:
    """Whether the program has put a mode of its own around torch's functions, which would see our reading."""
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
    return walk.fields(shown, value, "PIL.Image", depth, by_reference=True)
