"""Run a script or a module with every flow of it traced, without touching it."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

from .decorator import instrument

__all__ = ["run_script"]


def run_script(path: str, argv: Sequence[str], *, module: bool = False) -> None:
    """Run a program as `python` would, with `instrument()` called first.

    Args:
        path: of the script, or the name of a module.
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
    else:
        # where `python script.py` has it: in the place of what stands for `-m` or for the folder of our own command
        sys.path[:1] = [os.path.dirname(os.path.abspath(path))]  # noqa: PTH100, PTH120 - sys.path holds texts
        runpy.run_path(os.path.abspath(path), run_name="__main__")  # noqa: PTH100 - `__file__` is absolute, as with python
