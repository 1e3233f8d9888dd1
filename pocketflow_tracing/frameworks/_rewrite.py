"""PocketFlow's own functions with the calls of users' methods inside scopes of ours.

A user's `exec` may sit on the class, the instance or a metaclass, be a lambda or a callable object; nodes may refuse or
answer any attribute. So nothing is put on nodes or their classes. Instead each PocketFlow function gets a twin, compiled from
its own source, in which the statement

    return self.exec(prep_res)

reads

    scope = open_exec(self, (prep_res,), whole)
    try:
        return scope.done(self.exec(prep_res))
    except BaseException as error:
        scope.failed(error)
        raise

(not `with`, whose calls of `__enter__` and `__exit__` from C take 0.3 µs each). The call stays where it stood: loops, retries,
warnings, line numbers and the frames of the stack are those of the installed PocketFlow, whichever version it is. A call in a
statement of another shape stays as it is, and shows no span.

A function that is a visit, a pass or a retry loop asks at its start whether anything is traced here, and has its own body
twice: as it was, for when nothing is, and with scopes, inside a scope of its own:

    whole = enter__exec(self, (prep_res,))
    if whole is None:
        … the body as it was
    else:
        try:
            whole.begin((prep_res,))
            … the body with scopes, `return x` as `return whole.done(x)`
            whole.done(None)
        except BaseException as error:
            whole.failed(error)
            raise

(`enter` changes nothing, and `begin` does, inside: Python 3.10 looks for signals between a call and what becomes of its result,
and a Ctrl-C there would leave a scope behind that nobody knows.)

So a traced flow has not one frame more on its stack than an untraced one. The openers stand in the closure of each twin, not
in PocketFlow's module: a flow that is running while the hooks are taken away runs on to its end.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

_OURS = "_pocketflow_tracing_"
_OPEN = f"{_OURS}open_"
_ENTER = f"{_OURS}enter_"
_SCOPE = "_pocketflow_tracing_scope"
_WHOLE = "_pocketflow_tracing_whole"
_SCOPED = """
if True:
    {name} = None()
    try:
        pass
    except BaseException as _pocketflow_tracing_error:
        {name}.failed(_pocketflow_tracing_error)
        raise
"""

Openers = Mapping[str, Callable[..., Any]]
"""Method name -> (object, arguments) -> a scope with `done(result)` and `failed(error)`.

Openers of calls have a third argument: the scope of the whole function that makes the call, None where it has none. Scopes of
whole functions have `begin(arguments)`, too.
"""

_NESTING = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class _Calls(ast.NodeTransformer):
    """Puts scopes around the calls of hooked methods on a variable (`self`, `curr`); calls on `super()` stay as they are."""

    def __init__(self, openers: Openers, *, within: ast.expr) -> None:
        self._openers = openers
        self._within = within
        self.scoped = 0

    def _statement(self, node: Any) -> ast.stmt | list[ast.stmt]:
        value = node.value
        if isinstance(value, ast.IfExp):  # `x = await a.m() if test else a.n()`: a statement for each of the two
            body, orelse = (self._statement(_with_value(node, branch)) for branch in (value.body, value.orelse))
            return ast.copy_location(ast.If(value.test, _listed(body), _listed(orelse)), node)
        below = list(ast.walk(value)) if value is not None else []
        calls: list[Any] = [part for part in below if _is_call(part) and part.func.attr in self._openers]  # type: ignore[attr-defined]
        if len(calls) != 1 or any(isinstance(part, _NESTING) for part in below):
            return node  # type: ignore[no-any-return]
        call = calls[0]
        whole: Any = next((part for part in below if isinstance(part, ast.Await) and part.value is call), call)
        if whole is call and call.func.attr.endswith("_async"):
            return node  # type: ignore[no-any-return]  # not awaited on the spot: it will run we know not when
        self.scoped += 1
        opening, attempt = _scoped(_SCOPE, _OPEN + call.func.attr, call.func.value, _given(call))
        opening.value.args.append(copy.copy(self._within))
        _put(node, whole, _done(_SCOPE, whole))
        attempt.body = [node]
        _locate([opening, attempt], node, {id(node), *map(id, below)})
        return [opening, attempt]

    visit_Assign = visit_AnnAssign = visit_Return = visit_Expr = _statement  # noqa: N815 - names that ast looks for


class _Returns(ast.NodeTransformer):
    """Hands what a function returns to the scope of its whole body first."""

    def visit_Return(self, node: ast.Return) -> ast.Return:
        return ast.copy_location(ast.Return(_done(_WHOLE, node.value or ast.Constant(None))), node)


class _Functions(ast.NodeTransformer):
    """Makes the twins of a class's functions."""

    def __init__(self, openers: Openers, entering: Openers) -> None:
        self._openers = openers
        self._entering = entering

    def _function(self, node: Any) -> Any:
        plain = copy.deepcopy(node.body)
        enters = self._enters(node)
        calls = _Calls(self._openers, within=ast.Name(_WHOLE, ast.Load()) if enters else ast.Constant(None))
        calls.generic_visit(node)
        if not calls.scoped or not enters:
            return node
        body = _Returns().generic_visit(ast.Module(node.body, [])).body  # type: ignore[attr-defined]
        first, *given = [ast.Name(argument.arg, ast.Load()) for argument in node.args.args]
        entering, attempt = _scoped(_WHOLE, _ENTER + node.name, first, given)
        beginning = ast.Attribute(ast.Name(_WHOLE, ast.Load()), "begin", ast.Load())
        begin = ast.Expr(ast.Call(beginning, [ast.Tuple([*given], ast.Load())], []))
        attempt.body = [begin, *body, ast.Expr(_done(_WHOLE, ast.Constant(None)))]
        untraced = ast.Compare(ast.Name(_WHOLE, ast.Load()), [ast.Is()], [ast.Constant(None)])
        node.body = [entering, ast.If(untraced, plain, [attempt])]
        theirs = {id(part) for statement in (*plain, *body) for part in ast.walk(statement)}
        _locate(node.body, node, theirs)
        return node

    def _enters(self, node: Any) -> bool:
        # of the functions called `_exec`, only those that call exec in a loop are loops around it
        loops = any(isinstance(part, (ast.For, ast.While)) for part in ast.walk(node))
        return node.name in self._entering and (loops or node.name != "_exec")

    visit_FunctionDef = visit_AsyncFunctionDef = _function  # noqa: N815 - as above


def _scoped(name: str, opener: str, node: ast.expr, given: list[Any]) -> tuple[Any, Any]:
    """The two statements of a scope, the second with an empty body."""
    opening, attempt = ast.parse(_SCOPED.format(name=name)).body[0].body  # type: ignore[attr-defined]
    opening.value.func = ast.Name(opener, ast.Load())
    opening.value.args = [node, ast.Tuple(given, ast.Load())]
    return opening, attempt


def _done(scope: str, value: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(ast.Name(scope, ast.Load()), "done", ast.Load()), [value], [])


def _locate(statements: list[Any], at: ast.AST, theirs: set[int]) -> None:
    """Give what is ours the place in the source of the statement that it is about."""
    for statement in statements:
        for part in ast.walk(statement):
            if id(part) not in theirs:
                ast.copy_location(part, at)


def _with_value(statement: Any, value: ast.expr) -> Any:
    made = copy.copy(statement)
    made.value = value
    return made


def _listed(statements: ast.stmt | list[ast.stmt]) -> list[ast.stmt]:
    return statements if isinstance(statements, list) else [statements]


def _is_call(node: ast.AST) -> bool:
    """Whether this is `variable.method(variable, …)`: what can be read twice."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and all(isinstance(value, (ast.Name, ast.Constant)) for value in _given(node))
    )


def _given(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _put(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in list(ast.walk(tree)):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list):
                value[:] = [new if part is old else part for part in value]


_ORIGINAL = "_pocketflow_tracing_original"
"""The attribute of a twin that leads back; also to one of another copy of this package, which a reload leaves behind."""


def original_of(function: Any) -> Any:
    """The function of PocketFlow's that a twin stands for; of anything else it is itself."""
    if type(function) is FunctionType and any(name.startswith(_OURS) for name in function.__code__.co_freevars):
        return vars(function).get(_ORIGINAL, function)  # a wrapper (`functools.wraps`) has the attribute as well
    return function


def twins(module: ModuleType, openers: Openers, entering: Openers) -> dict[tuple[type, str], Callable[[Any], Any]]:
    """What makes twins of the functions of a module's classes that call hooked methods.

    Args:
        module: the imported `pocketflow`.
        openers: of the calls of hooked methods.
        entering: of functions that have a scope of their own, by name; they answer None where nothing is traced.

    Returns:
        {place: function that stands there -> its twin}, for every place that has one in the source. There is no twin, but
        None, of a function whose code is not that of the source (the file has changed since, or another tool has replaced it).

    Raises:
        OSError, TypeError: if the source cannot be had (a frozen program).
    """
    source = inspect.getsource(module)
    filename = inspect.getsourcefile(module) or module.__name__
    cells = {_OPEN + method: CellType(opener) for method, opener in openers.items()}
    cells.update((_ENTER + method, CellType(opener)) for method, opener in entering.items())
    plain = compile(source, filename, "exec", dont_inherit=True)
    scoped = _Functions(openers, entering).visit(ast.parse(source))
    factory = _code(compile(_factory(scoped, module, list(cells)), filename, "exec", dont_inherit=True), "factory")
    found: dict[tuple[type, str], Callable[[Any], Any]] = {}
    for cls in list(vars(module).values()):
        if not (isinstance(cls, type) and cls.__module__ == module.__name__):
            continue
        body, untouched = _code(factory, cls.__name__), _code(plain, cls.__name__)
        for code in body.co_consts if body is not None else ():
            if isinstance(code, CodeType) and any(name in cells for name in code.co_freevars):
                of = _code(untouched, code.co_name)
                if of is not None:
                    found[cls, code.co_name] = functools.partial(_twin, code=code, untouched=of, openers=cells)
    return found


def _is_same(code: Any, other: Any) -> bool:
    """Whether two constants of code are equal but for the columns of their source, which `-X no_debug_ranges` leaves out."""
    if not isinstance(code, CodeType) or not isinstance(other, CodeType):
        return type(code) is type(other) and bool(code == other)
    return (
        all(getattr(code, name) == getattr(other, name) for name in _COMPARED)
        and [*code.co_lines()] == [*other.co_lines()]
        and len(code.co_consts) == len(other.co_consts)
        and all(map(_is_same, code.co_consts, other.co_consts))
    )


_COMPARED = (
    "co_name", "co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags", "co_argcount",
    "co_posonlyargcount", "co_kwonlyargcount",
)  # fmt: skip


def _factory(tree: ast.Module, module: ModuleType, names: list[str]) -> ast.Module:
    """The module's classes inside `def factory(names)`, never called: it is there to be the scope of those names."""
    classes = [part for part in tree.body if any(isinstance(below, ast.ClassDef) for below in ast.walk(part))]
    futures = [part for part in tree.body if isinstance(part, ast.ImportFrom) and part.module == "__future__"]
    factory = ast.parse(f"def factory({', '.join(names)}): pass").body[0]
    assert isinstance(factory, ast.FunctionDef)  # noqa: S101 - for the type checker
    factory.body = [ast.Global([name for name in vars(module) if name.isidentifier()]), *classes]
    tree.body = [*futures, factory]
    return ast.fix_missing_locations(tree)


def _twin(
    function: Any, *, code: CodeType, untouched: CodeType, openers: Mapping[str, CellType]
) -> FunctionType | None:
    """A function with the code of its twin; None where it is not the one that the twin is of."""
    # `isinstance` would believe a proxy, such as another tool's wrapper by wrapt, which has its function's code as well
    if type(function) is not FunctionType or not _is_same(function.__code__, untouched):
        return None
    cells = {**dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)), **openers}
    closure = tuple(cells[name] for name in code.co_freevars)
    twin = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__qualname__ = function.__qualname__
    twin.__doc__ = function.__doc__
    twin.__annotations__ = function.__annotations__
    setattr(twin, _ORIGINAL, function)
    return twin


def _code(within: CodeType | None, name: str) -> CodeType | None:
    for constant in within.co_consts if within is not None else ():
        if isinstance(constant, CodeType) and constant.co_name == name:
            return constant
    return None
