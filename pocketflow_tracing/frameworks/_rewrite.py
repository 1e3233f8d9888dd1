"""PocketFlow's own functions with their calls of user methods led through us.

A user's `exec` may sit on the class, the instance or a metaclass, be a lambda or a callable object; nodes may refuse or
answer any attribute. So nothing is put on nodes or their classes. Instead each PocketFlow function gets a twin, compiled from
its own source, in which `self.exec(x)` reads `call(self, "exec", x)`. Loops, retries, warnings and line numbers stay those of
the installed PocketFlow, whichever version it is.

The two functions that the calls lead through stand in the closure of each twin, not in PocketFlow's module: a flow that is
running while the hooks are taken away runs on to its end.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

_CALL = "_pocketflow_tracing_call"
_AWAIT = "_pocketflow_tracing_await"

HOOKED = frozenset(
    {
        "prep", "prep_async", "exec", "exec_async", "exec_fallback", "exec_fallback_async", "post", "post_async",
        "_exec", "_run", "_run_async", "get_next_node",
    }
)  # fmt: skip
"""Methods whose calls on a variable (`self`, `curr`) are led through us; calls on `super()` stay as they are."""


class _Calls(ast.NodeTransformer):
    def visit_Await(self, node: ast.Await) -> ast.AST:
        if not _is_hooked(node.value):
            return self.generic_visit(node)
        node.value = self._led(node.value, _AWAIT)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # an async method that is called and not awaited on the spot would run we know not when: it stays as it is
        if _is_hooked(node) and not node.func.attr.endswith("_async"):  # type: ignore[attr-defined]
            return self._led(node, _CALL)
        return self.generic_visit(node)

    def _led(self, call: ast.expr, through: str) -> ast.Call:
        assert isinstance(call, ast.Call)  # noqa: S101 - for the type checker: _is_hooked has looked
        assert isinstance(call.func, ast.Attribute)  # noqa: S101 - likewise
        self.generic_visit(call)
        name = ast.copy_location(ast.Name(through, ast.Load()), call.func)
        method = ast.copy_location(ast.Constant(call.func.attr), call.func)
        return ast.copy_location(ast.Call(name, [call.func.value, method, *call.args], call.keywords), call)


def _is_hooked(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in HOOKED
        and isinstance(node.func.value, ast.Name)
    )


def twins(
    module: ModuleType, call: Callable[..., Any], wait: Callable[..., Any]
) -> dict[FunctionType, FunctionType]:
    """The functions of a module's classes that call hooked methods, each with its twin.

    Args:
        module: the imported `pocketflow`.
        call: stands for a call: (object, method name, *arguments) -> result.
        wait: the same for a call that is awaited on the spot; its result is awaited.

    Returns:
        {function as it stands on its class: twin}. Empty when the source cannot be had (a frozen program) and without
        those whose code is not that of the source (another tool has replaced them).
    """
    try:
        source = inspect.getsource(module)
        filename = inspect.getsourcefile(module) or module.__name__
    except (OSError, TypeError):
        return {}
    compiled = compile(_factory(ast.parse(source), module), filename, "exec", dont_inherit=True)
    factory = _code(compiled, "factory")
    ours = {_CALL: CellType(call), _AWAIT: CellType(wait)}
    found: dict[FunctionType, FunctionType] = {}
    for cls in list(vars(module).values()):
        if not (isinstance(cls, type) and cls.__module__ == module.__name__):
            continue
        body = _code(factory, cls.__name__)
        for name, function in list(vars(cls).items()):
            code = _code(body, name)
            if code is not None and isinstance(function, FunctionType) and (twin := _twin(function, code, ours)):
                found[function] = twin
    return found


def _factory(tree: ast.Module, module: ModuleType) -> ast.Module:
    """The module's classes inside `def factory(call, await)`, never called: it is there to be the scope of the two names."""
    classes = [part for part in tree.body if any(isinstance(below, ast.ClassDef) for below in ast.walk(part))]
    futures = [part for part in tree.body if isinstance(part, ast.ImportFrom) and part.module == "__future__"]
    factory = ast.parse(f"def factory({_CALL}, {_AWAIT}): pass").body[0]
    assert isinstance(factory, ast.FunctionDef)  # noqa: S101 - for the type checker
    factory.body = [ast.Global([name for name in vars(module) if name.isidentifier()]), *classes]
    tree.body = [*futures, factory]
    return ast.fix_missing_locations(_Calls().visit(tree))  # type: ignore[no-any-return]


def _twin(function: FunctionType, code: CodeType, ours: dict[str, CellType]) -> FunctionType | None:
    """A function with the code of its twin; None where nothing is led through us or the code is not the function's."""
    original = function.__code__
    cells = dict(zip(original.co_freevars, function.__closure__ or (), strict=True))
    led = [name for name in code.co_freevars if name in ours]
    if not led or [name for name in code.co_freevars if name not in ours] != list(original.co_freevars):
        return None
    if code.co_firstlineno != original.co_firstlineno or _arguments(code) != _arguments(original):
        return None
    closure = tuple({**cells, **ours}[name] for name in code.co_freevars)
    twin = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__qualname__ = function.__qualname__
    return twin


def _arguments(code: CodeType) -> tuple[str, ...]:
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _code(within: CodeType | None, name: str) -> CodeType | None:
    for constant in within.co_consts if within is not None else ():
        if isinstance(constant, CodeType) and constant.co_name == name:
            return constant
    return None
