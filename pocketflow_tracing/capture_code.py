"""How what is code, or runs, is read: functions, classes, modules, generators, locks, threads, files.

As in `capture_builtins`, through the class that a reader is registered for.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from .capture_kinds import Shape, attributes_of, is_genuine, kind, mro_of, name_of, qualified_name_of, shape_of
from .capture_types import Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk


@kind("builtins.generator", "builtins.coroutine", "builtins.async_generator")
def _read_generator(value: Any, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged(shape.name, {"name": str.__str__(value.__qualname__)})


@kind("builtins.frame")
def _read_frame(value: types.FrameType, _shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    # not its variables, and before Python 3.11 all others would stand in its members
    return Tagged("frame", _place(value.f_code, value.f_lineno))


@kind("builtins.traceback")
def _read_traceback(value: types.TracebackType, _shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged("traceback", _place(value.tb_frame.f_code, value.tb_lineno))


def _place(code: types.CodeType, line: int | None) -> dict[str, Snapshot]:
    return {"function": str.__str__(code.co_name), "file": str.__str__(code.co_filename), "line": line}


@kind("builtins.function")
def _read_function(value: types.FunctionType, _shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged("function", {"name": _function_name(value)})


def _function_name(value: Any) -> str:
    module, name = value.__module__, str.__str__(value.__qualname__)
    return f"{module}.{name}" if type(module) is str else name


@kind("builtins.builtin_function_or_method")
def _read_builtin(value: types.BuiltinFunctionType, _shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    # Its __qualname__ would ask __self__ for its name.
    return Tagged("function", {"name": value.__name__})


@kind("builtins.method")
def _read_method(value: types.MethodType, _shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    function: Any = value.__func__
    name = _function_name(function) if type(function) is types.FunctionType else name_of(type(function))
    owner: Any = value.__self__
    is_class = any(cls is type for cls in mro_of(type(owner)))
    return Tagged("method", {"name": name, "self": name_of(owner if is_class else type(owner))})


@kind("functools._lru_cache_wrapper", "builtins.staticmethod", "builtins.classmethod")
def _read_wrapper(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    own = shape.instance_dict(value)
    wrapped = own["__wrapped__"] if "__wrapped__" in own else attributes_of(shape.base)["__func__"].__get__(value)
    return walk.fields({"wraps": wrapped}, value, shape.name.removeprefix("_").removesuffix("_wrapper"), depth)


@kind("functools.partial")
def _read_partial(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    attributes = attributes_of(shape.base)
    parts = {name: attributes[name].__get__(value) for name in ("func", "args", "keywords")}
    return walk.fields(parts, value, shape.name, depth)


@kind("builtins.type", first=True)
def _read_class(value: type, _shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged("class", {"name": qualified_name_of(value).removeprefix("builtins.")})


@kind("builtins.module")
def _read_module(value: types.ModuleType, shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    name = shape.instance_dict(value).get("__name__")
    return Tagged("module", {"name": name if type(name) is str else "?"})


@kind("_thread.lock")
def _read_lock(value: Any, _shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return Tagged("lock", {"locked": value.locked()})


@kind("threading.Condition", "threading.Event", "threading.Semaphore", "threading.Thread", "logging.Logger")
def _read_service(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    """What says little beside its own state: not the locks it is built of, the handlers and the parents it has."""
    own = shape.instance_dict(value)
    names = _STATE.get(name_of(shape.base), ())
    return walk.fields({name.strip("_"): own[name] for name in names if name in own}, value, shape.name, depth)


_STATE = {
    "Condition": ("_lock",),
    "Event": ("_flag",),
    "Semaphore": ("_value",),
    "Thread": ("_name", "_daemonic", "_ident"),
    "Logger": ("name", "level", "disabled"),
}


@kind("_io._IOBase", "_io._TextIOBase", "_io._BufferedIOBase", "_io._RawIOBase")
def _read_file(value: Any, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    """A file: its name and mode, read from the FileIO at its bottom if all on the way is Python's own."""
    at, mode = value, None
    for _ in range(3):
        own = shape_of(type(at))
        name = qualified_name_of(type(at)) if is_genuine(type(at)) else ""
        if name == "_io.FileIO":
            path = own.instance_dict(at).get("name")
            known = path if type(path) is str or type(path) is int else None
            return Tagged(shape.name, {"name": known, "mode": mode or at.mode, "closed": at.closed})
        if name == "_io.TextIOWrapper":
            said = own.instance_dict(at).get("mode")  # what `open` was asked for: "w", where the FileIO says "wb"
            mode = said if type(said) is str else None
            at = at.buffer
        elif name in {"_io.BufferedReader", "_io.BufferedWriter", "_io.BufferedRandom"}:
            at = at.raw
        elif name in {"_io.BytesIO", "_io.StringIO"}:
            return Tagged(shape.name, {"closed": at.closed} if at.closed else {"position": at.tell(), "closed": False})
        else:
            break
    fields = {key: item for key, item in shape.fields(value, walk.max_items)[0].items() if key in _FILE_FIELDS}
    return walk.fields(fields, value, shape.name, depth)


_FILE_FIELDS = frozenset({"name", "mode", "closed", "filename", "size", "content_type"})
