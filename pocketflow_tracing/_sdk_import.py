"""Whether the program has imported langfuse, and what is to happen when it does."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

from ._guard import Seam

__all__ = ["imported", "when_imported"]

_PREPARING = Seam("preparing for the Langfuse SDK")


def imported() -> bool:
    """Whether the program has imported langfuse, and to the end; what stands in for it in a test is none.

    We never import it ourselves while the program runs: importing the same packages in two threads at once can
    deadlock, and Python would then break the import of the program.
    """
    if "langfuse._client.client" not in sys.modules:
        return False
    spec = getattr(sys.modules.get("langfuse"), "__spec__", None)
    return type(spec) is ModuleSpec and (_importing.is_over or not getattr(spec, "_initializing", False))


class _Importing:
    """Stands on `sys.meta_path` from a run's start until the program imports langfuse, to have a client ready at once.

    A node may import langfuse and use it in its next line. It leaves nothing on the module; itself it stays where it is, for
    other threads walk that list without a lock, and would pass over the next finder.
    """

    def __init__(self) -> None:
        self.is_over = False  # langfuse is as good as imported: the last thing that its import does is to call us
        self._is_looking = False  # for langfuse, and the others are asked
        self._waiting: list[Callable[[], None]] = []

    def then(self, prepare: Callable[[], None]) -> None:
        """Call `prepare` when langfuse has been imported, in the thread that imports it."""
        if prepare not in self._waiting:
            self._waiting.append(prepare)
        finders = sys.meta_path
        if self not in finders and PathFinder in finders[1:]:
            # right before the one that finds it, and never first: who has put a finder there for a while takes the first away
            finders.insert(finders.index(PathFinder), self)

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        """What Python asks each finder for; ours finds what the others do."""
        if name != "langfuse" or self._is_looking or not self._waiting:
            return None
        with _PREPARING:
            self._is_looking = True
            try:
                spec = importlib.util.find_spec(name)
            finally:
                self._is_looking = False
            loader: Any = spec.loader if spec is not None else None
            if loader is None:
                return spec
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                del loader.exec_module
                execute(module)
                self.is_over = True
                for prepare in self._waiting:
                    with _PREPARING:
                        prepare()
                self._waiting.clear()

            loader.exec_module = exec_module
            return spec
        return None


_importing = _Importing()
when_imported = _importing.then
