"""PocketFlow's own functions with their calls of user methods led through us.

A user's `exec` may sit on the class, the instance or a metaclass, be a lambda or a callable object; nodes may refuse or
answer any attribute. So nothing is put on nodes or their classes. Instead each PocketFlow function gets a twin, compiled from
its own source, in which `self.exec(x)` reads `_pocketflow_tracing_call(self, "exec", x)`. Loops, retries, warnings and line
numbers stay those of the installed PocketFlow, whichever version it is.
"""

from __future__ import annotations

import ast
import inspect
from types import CodeType, FunctionType, ModuleType

CALL = "_pocketflow_tracing_call"
AWAIT = "_pocketflow_tracing_await"

HOOKED = frozenset(
    {
        "prep", "prep_async", "exec", "exec_async", "exec_fallback", "exec_fallback_async", "post", "post_async",
        "_exec", "_run", "_run_async", "get_next_node",
    }
)  # fmt: skip
"""Methods whose calls on a variable (`self`, `curr`) are led through us; calls on `super()` stay as they are."""


class _Calls(ast.NodeTransformer):
    def visit_Await(self, node: ast.Await) -> ast.AST:
        if _is_hooked(node.value):
            assert isinstance(node.value, ast.Call)  # noqa: S101 - for the type checker: _is_hooked has looked
            node.value = self._led(node.value, AWAIT)
            return node
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _is_hooked(node):
            assert isinstance(node.func, ast.Attribute)  # noqa: S101 - for the type checker: _is_hooked has looked
            return self._led(node, AWAIT if node.func.attr.endswith("_async") else CALL)
        return self.generic_visit(node)

    def _led(self, call: ast.Call, through: str) -> ast.Call:
        function = call.func
        assert isinstance(function, ast.Attribute)  # noqa: S101 - for the type checker: _is_hooked has looked
        self.generic_visit(call)
        name = ast.copy_location(ast.Name(through, ast.Load()), function)
        method = ast.copy_location(ast.Constant(function.attr), function)
        return ast.copy_location(ast.Call(name, [function.value, method, *call.args], call.keywords), call)


def _is_hooked(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in HOOKED
        and isinstance(node.func.value, ast.Name)
    )


def twins(module: ModuleType) -> dict[FunctionType, FunctionType]:
    """The functions of a module's classes that call hooked methods, each with its twin.

    Args:
        module: the imported `pocketflow`.

    Returns:
        {function as it stands on its class: twin}. Empty when the source cannot be had (a frozen program) and without
        those whose code is not that of the source (another tool has replaced them).
    """
    try:
        source = inspect.getsource(module)
        filename = inspect.getsourcefile(module) or module.__name__
    except (OSError, TypeError):
        return {}
    tree = ast.fix_missing_locations(_Calls().visit(ast.parse(source)))
    compiled = compile(tree, filename, "exec", dont_inherit=True)
    found: dict[FunctionType, FunctionType] = {}
    for cls in list(vars(module).values()):
        if not (isinstance(cls, type) and cls.__module__ == module.__name__):
            continue
        body = _code(compiled, cls.__name__)
        for name, function in list(vars(cls).items()):
            if not isinstance(function, FunctionType) or body is None:
                continue
            code = _code(body, name)
            if code is None or not ({CALL, AWAIT} & _names(code)) or not _same_place(code, function.__code__):
                continue
            twin = FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
            twin.__kwdefaults__ = function.__kwdefaults__
            twin.__qualname__ = function.__qualname__
            found[function] = twin
    return found


def _code(within: CodeType, name: str) -> CodeType | None:
    for constant in within.co_consts:
        if isinstance(constant, CodeType) and constant.co_name == name:
            return constant
    return None


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def _same_place(twin: CodeType, original: CodeType) -> bool:
    return (twin.co_firstlineno, twin.co_freevars, twin.co_varnames[: twin.co_argcount]) == (
        original.co_firstlineno,
        original.co_freevars,
        original.co_varnames[: original.co_argcount],
    )
