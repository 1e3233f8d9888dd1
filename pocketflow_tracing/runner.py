"""Run a script or a module with every flow of it traced, without touching it."""

from __future__ import annotations

import builtins
import importlib.util
import io
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader, SourcelessFileLoader
from types import ModuleType
from typing import Any

from . import _log

__all__ = ["run_script"]

_MAIN = "__main__"


def run_script(path: str, argv: Sequence[str], *, module: bool = False) -> None:
    """Run a program as `python` would, with `instrument()` called before its first line.

    Not by runpy, which takes `__main__` away before the program has ended and makes another `sys.argv[0]` of the path.

    Args:
        path: of the script (or of a folder or an archive with a `__main__.py`), or the name of a module.
        argv: the program's own arguments.
        module: whether `path` names a module, as with `python -m`.

    Raises:
        Whatever the program raises, SystemExit included.
    """
    sys.argv = [path, *argv]
    if module:
        _begin_path(os.getcwd())  # noqa: PTH109 - sys.path holds texts
        _instrument()
        spec = _spec_of(path)
        sys.argv[0] = spec.origin or path
        _run(_code_of(spec), spec.loader, file=spec.origin, cached=spec.cached, spec=spec, package=spec.parent)
        return
    file = os.path.abspath(path)  # noqa: PTH100 - `__file__` is absolute, as with python
    finder: Any = pkgutil.get_importer(file)
    if finder is not None:
        _begin_path(file, wanted=True)
        _instrument()
        spec = finder.find_spec(_MAIN)
        if spec is None:
            raise ImportError(f"can't find '{_MAIN}' module in {file!r}")
        _run(_code_of(spec), spec.loader, file=spec.origin, cached=spec.cached, spec=spec, package="")
        return
    _begin_path(os.path.dirname(os.path.realpath(file)))  # noqa: PTH120 - sys.path holds texts
    _instrument()
    if path.endswith(".pyc"):
        compiled = SourcelessFileLoader(_MAIN, file)
        _run(compiled.get_code(_MAIN), compiled, file=file)
        return
    with io.open_code(file) as source:
        code = compile(source.read(), file, "exec", dont_inherit=True)
    _run(code, SourceFileLoader(_MAIN, file), file=file)


def _instrument() -> None:
    """Trace what the program will find under the name of PocketFlow: 100 lines that many have a copy of in their project."""
    try:
        from .decorator import instrument  # noqa: PLC0415 - it imports PocketFlow
    except ImportError as error:
        _log.warn_once(f"This program's PocketFlow cannot be traced ({error}). It runs untraced.")
    else:
        instrument()


def _begin_path(entry: str, *, wanted: bool = False) -> None:
    """Put what a program begins its path with in the place of what stands for `-m`, or for the folder of our own command.

    Args:
        entry: the folder or archive.
        wanted: whether it belongs there although Python was told to have a safe path (`-P`, `-I`), which begins with neither.
    """
    is_safe = bool(getattr(sys.flags, "safe_path", False) or sys.flags.isolated)
    if not is_safe:
        sys.path[:1] = [entry]
    elif wanted:
        sys.path.insert(0, entry)


def _spec_of(module: str) -> ModuleSpec:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError as error:
        if not module.startswith(f"{error.name}."):
            raise  # of the package's own
        raise ImportError(str(error)) from None
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{module}.{_MAIN}")
        if spec is None:
            raise ImportError(
                f"no module named {module}.{_MAIN}; {module!r} is a package and cannot be directly executed"
            )
    if spec is None:
        raise ImportError(f"no module named {module}")
    return spec


def _code_of(spec: ModuleSpec) -> Any:
    loader: Any = spec.loader
    code = loader.get_code(spec.name)
    if code is None:
        raise ImportError(f"no code object available for {spec.name}")
    return code


def _run(code: Any, loader: Any, **names: Any) -> None:
    """Run code as `__main__`, with the names that Python gives it; what is not given is None."""
    main = ModuleType(_MAIN)
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    main.__dict__.update(
        {f"__{name}__": names.get(name) for name in ("file", "cached", "spec", "package")},
        __builtins__=builtins,
        __loader__=loader,
    )
    sys.modules[_MAIN] = main
    exec(code, main.__dict__)  # noqa: S102 - this is what the user asked for
