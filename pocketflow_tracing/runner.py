"""Run a script or a module with every flow of it traced, without touching it."""

from __future__ import annotations

import builtins
import io
import os
import pkgutil
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType

from .decorator import instrument

__all__ = ["run_script"]


def run_script(path: str, argv: Sequence[str], *, module: bool = False) -> None:
    """Run a program as `python` would, with `instrument()` called first.

    Args:
        path: of the script (or of a folder or an archive with a `__main__.py`), or the name of a module.
        argv: the program's own arguments.
        module: whether `path` names a module, as with `python -m`.

    Raises:
        Whatever the program raises, SystemExit included.
    """
    instrument()
    sys.argv = [path, *argv]
    if module:
        sys.path[:1] = [os.getcwd()]  # noqa: PTH109 - sys.path holds texts
        runpy.run_module(path, run_name="__main__", alter_sys=True)
    elif path.endswith(".pyc") or pkgutil.get_importer(path) is not None:
        del sys.path[:1]  # the folder or the archive takes its place
        # absolute, for `sys.path`; runpy makes the same of `sys.argv[0]`
        runpy.run_path(os.path.abspath(path), run_name="__main__")  # noqa: PTH100
    else:
        _run_source(path)


def _run_source(path: str) -> None:
    # Not by runpy: it makes another `sys.argv[0]` of the path, and takes `__main__` away before the program has ended.
    file = os.path.abspath(path)  # noqa: PTH100 - `__file__` is absolute, as with python
    with io.open_code(file) as source:
        code = compile(source.read(), file, "exec", dont_inherit=True)
    main = ModuleType("__main__")
    main.__dict__.update(
        __file__=file, __cached__=None, __builtins__=builtins, __loader__=SourceFileLoader("__main__", file)
    )
    sys.modules["__main__"] = main
    # where `python script.py` has it: in the place of what stands for `-m` or for the folder of our own command
    sys.path[:1] = [os.path.dirname(os.path.realpath(file))]  # noqa: PTH120 - sys.path holds texts
    exec(code, main.__dict__)  # noqa: S102 - this is what the user asked for
