"""One case for each fact of PocketFlow that a tracer could disturb.

A case is a function of a `World`: it builds a flow, runs it, says what its user's functions saw, and asserts what PocketFlow
does; the tests run it untraced and traced in every way and compare. `CASES` holds those that run sync and async alike,
`SYNC` and `ASYNC` the others.
"""

from __future__ import annotations

import asyncio
import collections.abc
import contextvars
import copy
import functools
import gc
import itertools
import pickle
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pocketflow
import pytest
from kit import World
from pocketflow import AsyncFlow, AsyncNode, BaseNode, BatchFlow, Flow, Node

CASES: list[Callable[[World], Any]] = []
SYNC: list[Callable[[World], Any]] = []
ASYNC: list[Callable[[World], Any]] = []


def both(case):
    CASES.append(case)
    return case


def sync_only(case):
    SYNC.append(case)
    return case


def async_only(case):
    ASYNC.append(case)
    return case


def leaves(*types):
    """Say which errors may leave a case; any other one is a mistake of the case."""

    def mark(case):
        case.leaves = types
        return case

    return mark


def absorbs(case):
    """Mark a case in which our own code cannot but fail."""
    case.absorbs = True
    return case


class Odd(Exception):
    """An error with fields of its own."""

    def __init__(self, code, detail):
        super().__init__(code, detail)
        self.code = code


# --- visits and copies ----------------------------------------------------------------------------------------------


@both
def a_copy_for_each_visit(w):
    """What a visit sets on itself is gone at the next, what it mutates stays; self is one object in all phases."""
    ids = {}

    def prep(self, shared):
        w.say("before", getattr(self, "own", None), list(self.kept))
        self.own = shared["n"]
        self.kept.append(shared["n"])
        ids["self"] = id(self)

    def exec(self, prep_res):
        assert ids["self"] == id(self)
        return self.own

    def post(self, shared, prep_res, exec_res):
        assert ids["self"] == id(self)
        shared["n"] += 1
        return "again" if shared["n"] < 3 else "done"

    Loop = w.node("Loop", prep=prep, exec=exec, post=post)
    loop = Loop()
    loop.kept = []
    loop - "again" >> loop
    flow = w.flow(loop)
    result = w.run(flow, shared := {"n": 0})
    assert (result, shared, loop.kept) == ("done", {"n": 3}, [0, 1, 2])
    assert not hasattr(loop, "own")
    assert w.log == [("before", None, []), ("before", None, [0]), ("before", None, [0, 1])]
    return sorted(vars(loop)), sorted(name for name in vars(flow) if not name.startswith("__pocketflow_tracing"))


@both
def cur_retry_is_seen_by_every_phase(w):
    """The attempt's number lives on the copy, and stays for the fallback and post."""

    def exec(self, prep_res):
        w.say("exec", getattr(self, "cur_retry", None))
        raise ValueError("no")

    def fallback(self, prep_res, exc):
        w.say("fallback", getattr(self, "cur_retry", None))
        return 7

    def post(self, shared, prep_res, exec_res):
        w.say("post", getattr(self, "cur_retry", None), exec_res)

    node = w.node(exec=exec, exec_fallback=fallback, post=post)(max_retries=3)
    w.run(w.flow(node), {})
    assert len(w.log) == 5
    return hasattr(node, "cur_retry")


@both
def flow_params_replace_those_of_a_node(w):
    """A node gets the flow's params, on the copy only."""

    def exec(self, prep_res):
        w.say(self.params, self.params is template.params)

    template = w.node(exec=exec)()
    template.set_params({"own": 1})
    flow = w.flow(template)
    flow.set_params({"a": 1})
    w.run(flow, {})
    assert w.log == [({"a": 1}, False)]
    return template.params, flow.params


@both
def a_batch_flow_merges_params(w):
    """Each pass gets the flow's params with its own over them; an empty merge falls back to the flow's own."""

    def prep(self, shared):
        return [{"b": 2}, {"a": 3}, {}]

    node = w.node(exec=lambda self, prep_res: w.say(self.params))()
    flow = w.flow(node, "BatchFlow", prep=prep, post=lambda self, shared, prep_res, exec_res: (prep_res, exec_res))
    flow.set_params({"a": 1})
    assert w.run(flow, {}) == ([{"b": 2}, {"a": 3}, {}], None)
    assert sorted(map(str, w.log)) == sorted(map(str, [{"a": 1, "b": 2}, {"a": 3}, {"a": 1}]))
    bare = w.flow(node, "BatchFlow", prep=prep)
    w.log.clear()
    w.run(bare, {})
    return len(w.log)


@both
def a_batch_flow_whose_prep_gives_nothing(w):
    """None, and an empty list, make no pass."""
    node = w.node(exec=lambda self, prep_res: w.say("never"))()
    assert w.run(w.flow(node, "BatchFlow"), {}) is None
    assert w.run(w.flow(node, "BatchFlow", prep=lambda self, shared: []), {}) is None
    assert w.log == []


@both
def a_batch_flow_reads_its_parameter_sets_one_by_one(w):
    """A generator of parameter sets is not drained ahead."""

    def prep(self, shared):
        def sets():
            for n in range(3):
                w.say("set", n)
                yield {"n": n}

        return sets()

    node = w.node(exec=lambda self, prep_res: w.say("exec", self.params["n"]))()
    w.run(w.flow(node, "BatchFlow", prep=prep), {})
    assert w.log.index(("exec", 0)) == (1 if w.flavour != "parallel" else 3)


@both
def a_nested_flow(w):
    """A nested flow is entered by _run, gets the outer params, and its last action is its outcome."""
    inner_node = w.node("Inner", exec=lambda self, prep_res: w.say(self.params), post=lambda self, *a: "to_b")()
    inner = w.flow(inner_node, prep=lambda self, shared: w.say("prep", self.params))
    after = w.node("After", post=lambda self, *a: w.say("after") or "end")()
    inner - "to_b" >> after
    outer = w.flow(inner)
    outer.set_params({"p": 1})
    assert w.run(outer, {}) == "end"
    assert w.log == [("prep", {"p": 1}), {"p": 1}, "after"]
    return inner.params


@both
def post_of_a_flow(w):
    """Flow.post returns the last action; an overridden one decides itself, also as a nested flow."""
    node = w.node(post=lambda self, *a: "last")()
    assert w.run(w.flow(node), {}) == "last"
    own = w.flow(node, post=lambda self, shared, prep_res, exec_res: (prep_res, exec_res))
    assert w.run(own, {}) == (None, "last")


@both
def one_node_in_two_flows(w):
    """A node keeps its successors wherever it stands."""
    node = w.node(exec=lambda self, prep_res: w.say("x"))()
    node >> w.node("Tail", exec=lambda self, prep_res: w.say("tail"))()
    one, two = w.flow(node), w.flow(node)
    w.run(one, {})
    w.run(two, {})
    w.run(one, {})
    assert w.log == ["x", "tail"] * 3


@both
def successors_added_late(w):
    """After construction, after the first run, and by a node while it runs."""
    tail = w.node("Tail", exec=lambda self, prep_res: w.say("tail"))()

    def post(self, shared, prep_res, exec_res):
        if shared.get("add"):
            self.successors["default"] = tail

    node = w.node(post=post)()
    flow = w.flow(node)
    w.run(flow, {})
    assert w.log == []
    w.run(flow, {"add": True})
    assert w.log == ["tail"]
    tail >> w.node("Later", exec=lambda self, prep_res: w.say("later"))()
    w.run(flow, {})
    assert w.log == ["tail", "tail", "later"]


@both
def start_comes_late(w):
    """A flow without a start does nothing; start() may be called after tracing and between runs."""
    flow = w.flow()
    assert w.run(flow, {}) is None
    node = w.node(exec=lambda self, prep_res: w.say(1))()
    assert flow.start(node) is node
    w.run(flow, {})
    flow.start(w.node(exec=lambda self, prep_res: w.say(2))())
    w.run(flow, {})
    assert w.log == [1, 2]


@both
def a_node_with_a_copy_of_its_own(w):
    """__copy__ decides what a visit works on, and is called once per visit and at its end."""

    def __copy__(self):
        w.say("copy")
        made = type(self)()
        made.successors = dict(self.successors)
        made.mark = getattr(self, "mark", 0) + 1
        return made

    def post(self, shared, prep_res, exec_res):
        w.say(self.mark)
        shared["n"] += 1
        return "again" if shared["n"] < 4 else None

    node = w.node(post=post, __copy__=__copy__)()
    node - "again" >> node
    w.run(w.flow(node), {"n": 0})
    assert w.log == ["copy", 1] * 4


@both
def a_node_with_slots(w):
    """Slots beside the instance dict, one of them never set."""

    def exec(self, prep_res):
        self.inner = 5
        return self.inner

    node = w.node(__slots__=("inner", "unset", "params"), exec=exec, post=lambda self, s, p, e: w.say(e, self.params))()
    flow = w.flow(node)
    flow.set_params({"k": 1})
    w.run(flow, {})
    assert w.log == [(5, {"k": 1})]


# --- hostile nodes --------------------------------------------------------------------------------------------------


@both
def unhashable_nodes_that_equal_everything(w):
    """__eq__ without __hash__, and one that raises: nobody compares or hashes nodes."""

    def forbidden(self, *_):
        w.say("compared")
        raise RuntimeError("do not compare nodes")

    first = w.node("First", __eq__=forbidden, __ne__=forbidden, __hash__=None)()
    second = w.node("Second", __eq__=lambda self, o: True, __hash__=None, exec=lambda self, p: w.say("second"))()
    first >> second
    second >> w.node("Third", exec=lambda self, p: w.say("third"))()
    w.run(w.flow(first, __eq__=forbidden, __hash__=None), {})
    assert w.log == ["second", "third"]


@both
def a_flow_whose_truth_is_asked(w):
    """PocketFlow asks each node for its truth, as often as before."""
    node = w.node("Falsy", __bool__=lambda self: w.say("bool") or True, __len__=lambda self: 1 / 0)()
    w.run(w.flow(node), {})
    return w.log


@both
def a_node_that_answers_any_attribute(w):
    """__getattr__ that makes up an answer: the same questions are asked of it."""

    def __getattr__(self, name):
        w.say("asked", name)
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *a, **k: "made up"

    node = w.node(__getattr__=__getattr__, post=lambda self, *a: "x")()
    w.log.clear()
    w.run(w.flow(node), {})
    return w.log


@both
def a_node_that_refuses_attributes(w):
    """__getattr__ that raises something else than AttributeError."""

    def __getattr__(self, name):
        w.say("refused", name)
        raise LookupError(name)

    node = w.node(__getattr__=__getattr__, __copy__=lambda self: self, exec=lambda self, p: 1)()
    w.log.clear()
    return w.run(w.flow(node), {}), w.log


@both
def a_node_that_watches_every_attribute(w):
    """__getattribute__ and __setattr__: nothing is read of or set on a node that PocketFlow would not."""

    def __getattribute__(self, name):
        w.say("get", name)
        return object.__getattribute__(self, name)

    def __setattr__(self, name, value):
        w.say("set", name)
        object.__setattr__(self, name, value)

    node = w.node(__getattribute__=__getattribute__, __setattr__=__setattr__, exec=lambda self, p: 1)(max_retries=2)
    node - "x" >> w.node("Tail")()
    flow = w.flow(node)
    w.log.clear()
    return w.run(flow, {}), w.log


@sync_only
def a_flow_that_watches_every_attribute(w):
    """The same of a flow."""

    def __getattribute__(self, name):
        w.say("get", name)
        return object.__getattribute__(self, name)

    flow = w.flow(w.node()(), __getattribute__=__getattribute__)
    w.log.clear()
    w.run(flow, {})
    return w.log


@both
def properties_in_place_of_attributes(w):
    """Properties are asked as often as PocketFlow asks them."""

    class Store:
        def __init__(self, value):
            self.value = value

        def __get__(self, node, cls=None):
            w.say("get", self.name)
            return node.__dict__.get("_" + self.name, self.value)

        def __set__(self, node, value):
            w.say("set", self.name)
            node.__dict__["_" + self.name] = value

        def __set_name__(self, owner, name):
            self.name = name

    node = w.node(params=Store({}), successors=Store({}), max_retries=Store(1), wait=Store(0))()
    flow = w.flow(node)
    w.log.clear()
    w.run(flow, {})
    return w.log


@sync_only
def a_hostile_metaclass(w):
    """Classes that cannot be hashed, compared, named or asked."""

    class Meta(type):
        def __eq__(cls, other):
            raise RuntimeError("do not compare classes")

        def __getattribute__(cls, name):
            if name in {"__name__", "__module__", "__qualname__"}:
                w.say("asked", name)
                raise LookupError(name)
            return type.__getattribute__(cls, name)

        __hash__ = type.__hash__

    class Unhashable(Meta):
        __hash__ = None

    node = Meta("HostileNode", (Node,), {"exec": lambda self, prep_res: w.say("ran")})()
    HostileFlow = Unhashable("HostileFlow", (Flow,), {})
    flow = HostileFlow(start=node)
    w.run(flow if w.how == "class" else w.trace(flow), {})
    assert w.log == ["ran"]


@both
def exec_of_any_shape(w):
    """staticmethod, classmethod, callable object, partial, on the instance, generator function, replaced between runs."""

    class Callable_:
        def __call__(self, prep_res):
            w.say("callable", prep_res)
            return value(1)

    def value(x):
        if not w.is_async:
            return x
        future = asyncio.get_running_loop().create_future()
        future.set_result(x)
        return future

    name = "exec_async" if w.is_async else "exec"
    prep = lambda self, shared: "p"
    post = lambda self, shared, p, e: w.say("post", e)
    shapes = {
        "static": staticmethod(lambda p: value(("static", p))),
        "class": classmethod(lambda cls, p: value((cls.__name__, p))),
        "callable": Callable_(),
        "partial": functools.partial(lambda tag, p: value((tag, p)), "partial"),
    }
    for shape, function in shapes.items():
        w.run(w.flow(w.node(shape, prep=prep, post=post, **{name: function})()), {})
    node = w.node(prep=prep, post=post)()
    setattr(node, name, lambda p: value(("instance", p)))
    flow = w.flow(node)
    w.run(flow, {})
    setattr(node, name, lambda p: value(("replaced", p)))
    w.run(flow, {})
    assert w.log[-2:] == [("post", ("instance", "p")), ("post", ("replaced", "p"))]
    return w.log


@sync_only
def generators_are_left_alone(w):
    """A generator function as exec: the generator reaches post unstarted."""

    def exec(self, prep_res):
        w.say("started")
        yield from range(3)

    def post(self, shared, prep_res, exec_res):
        w.say(type(exec_res).__name__)
        shared["all"] = list(exec_res)

    w.run(w.flow(w.node(exec=exec, post=post)()), shared := {})
    assert (w.log, shared) == (["generator", "started"], {"all": [0, 1, 2]})


@async_only
def awaitables_that_are_no_coroutines(w):
    """Every async method may give any awaitable; what is not awaitable fails as before."""

    class Awaitable:
        def __init__(self, value):
            self.value = value

        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return self.value

    node = type(
        "N",
        (AsyncNode,),
        {
            "prep_async": lambda self, shared: Awaitable("p"),
            "exec_async": lambda self, p: Awaitable((p, "e")),
            "post_async": lambda self, shared, prep_res, exec_res: Awaitable(("action", prep_res, exec_res)),
        },
    )
    assert w.run(w.flow(node()), {}) == ("action", "p", ("p", "e"))
    bad = type("Bad", (AsyncNode,), {"prep_async": lambda self, shared: 5})
    with pytest.raises(TypeError) as caught:
        w.run(w.flow(bad()), {})
    return str(caught.value)


@async_only
def a_stop_iteration_of_the_call_itself(w):
    """A plain function in place of a coroutine function raises before anything is awaited: the fallback sees that error."""

    def exec_async(self, p):
        raise StopIteration("early")

    async def fallback(self, prep_res, exc):
        w.say(type(exc), exc.args)
        return "saved"

    node = type("N", (AsyncNode,), {"exec_async": exec_async, "exec_fallback_async": fallback})
    w.run(w.flow(node()), {})
    assert w.log == [(StopIteration, ("early",))]


# --- actions --------------------------------------------------------------------------------------------------------


@both
def falsy_actions_mean_default(w):
    """None, "", 0, False, () and [] take the default successor."""
    for action in (None, "", 0, False, (), [], {}):
        node = w.node(post=lambda self, *a, action=action: action)()
        node >> w.node("Next", post=lambda self, *a: "next")()
        assert w.run(w.flow(node), {}) == "next"


@both
def an_unknown_action(w):
    """It warns, ends the flow, and is returned."""
    node = w.node(post=lambda self, *a: "elsewhere")()
    node - "a" >> w.node()()
    node - "b" >> w.node()()
    assert w.run(w.flow(node), {}) == "elsewhere"


@both
def an_action_of_any_type(w):
    """Anything hashable finds its successor."""
    for action in (5, ("a", 1), 2.5, frozenset({1}), Odd, 10**5000):
        node = w.node(post=lambda self, *a, action=action: action)()
        node.next(w.node("Next", post=lambda self, *a: "next")(), action)
        assert w.run(w.flow(node), {}) == "next"


@both
@leaves(TypeError)
def an_unhashable_action(w):
    """It raises TypeError, even as the last one."""
    node = w.node(post=lambda self, *a: ["x"])()
    return w.run(w.flow(node), {})


@both
@leaves(Odd)
def an_action_with_a_hash_that_raises(w):
    """The error of the action's own hash leaves the flow."""

    class Action:
        def __hash__(self):
            raise Odd(1, "hash")

    node = w.node(post=lambda self, *a: Action())()
    return w.run(w.flow(node), {})


# --- batches --------------------------------------------------------------------------------------------------------


@both
@leaves(TypeError)
def none_for_a_batch_node(w):
    """None is no items for the sync batch node, and an error for the async ones."""
    node = w.node(base="BatchNode", post=lambda self, s, p, e: w.say(p, e))()
    return w.run(w.flow(node), {})


@both
def items_are_read_one_by_one(w):
    """An iterator that prep returns is never drained ahead of the items' exec."""

    def prep(self, shared):
        def items():
            for n in range(3):
                w.say("item", n)
                yield n

        return items()

    node = w.node(base="BatchNode", prep=prep, exec=lambda self, item: w.say("exec", item) or item * 2)
    w.run(w.flow(node()), {})
    assert w.log.index(("exec", 0)) == (1 if w.flavour != "parallel" else 3)


@both
@leaves(Odd)
def an_iterator_of_items_that_raises(w):
    """The items' own error leaves the flow; coroutines made before it warn as before."""

    def prep(self, shared):
        def items():
            yield 1
            yield 2
            raise Odd(2, "items")

        return items()

    node = w.node(base="BatchNode", prep=prep, exec=lambda self, item: item)()
    try:
        return w.run(w.flow(node), {})
    finally:
        gc.collect()


@both
@leaves(Odd)
def a_generator_of_parameter_sets_that_raises(w):
    """The same for the passes of a batch flow."""

    def prep(self, shared):
        def sets():
            yield {"n": 1}
            raise Odd(2, "sets")

        return sets()

    try:
        return w.run(w.flow(w.node()(), "BatchFlow", prep=prep), {})
    finally:
        gc.collect()


@both
def prep_res_that_is_no_list(w):
    """Strings, dicts, sets and falsy values are iterated as Python iterates them."""
    for given in ("abc", {"k": 1}, range(3), (), 0, ""):
        node = w.node(base="BatchNode", prep=lambda self, s, g=given: g, post=lambda self, s, p, e: w.say(p, list(e)))()
        try:
            w.run(w.flow(node), {})
        except TypeError as error:
            w.say(str(error))
    return w.log


@both
def retries_of_each_item(w):
    """Each item has attempts and a fallback of its own."""
    failures = {1: 1, 2: 5}

    def exec(self, item):
        w.say("exec", item)
        if failures.get(item, 0) > 0:
            failures[item] -= 1
            raise ValueError(item)
        return item

    node = w.node(base="BatchNode", prep=lambda self, s: [0, 1, 2], exec=exec, exec_fallback=lambda self, i, e: -i)
    w.run(w.flow(node(max_retries=2)), {})
    if w.flavour != "parallel":  # there newer branches race on cur_retry
        assert sorted(w.log) == [("exec", 0), ("exec", 1), ("exec", 1), ("exec", 2), ("exec", 2)]


# --- errors ---------------------------------------------------------------------------------------------------------

_RAISED = [
    ValueError("text", 1),
    Odd(3, "fields"),
    KeyError("k"),
    StopIteration("stop"),
    StopAsyncIteration("stop"),
    GeneratorExit("gone"),
    KeyboardInterrupt("ctrl-c"),
    SystemExit(3),
    asyncio.CancelledError("cancelled"),
    asyncio.TimeoutError(),
    RecursionError("deep"),
    MemoryError("full"),
    OSError(2, "missing", "file"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
]


def _raises(phase, index):
    # StopIteration and the exits of a loop behave differently in coroutines; both worlds show it the same way

    def case(w):
        raised = _RAISED[index]

        def method(self, *args):
            error = type(raised)(*raised.args)
            error.__cause__ = KeyError("cause")
            if sys.version_info >= (3, 11):
                error.__notes__ = ["a note"]
            raise error

        node = w.node(**{phase: method})()
        first = w.node("First")()
        first >> node
        return w.run(w.flow(w.flow(first)), {})

    case.__name__ = f"{phase}_raises_{type(_RAISED[index]).__name__}"
    case.leaves = (BaseException,)
    case.__doc__ = "Type, arguments, cause, context and notes of an error are those that it had."
    return case


for _phase in ("prep", "exec", "post"):
    for _index in range(len(_RAISED)):
        both(_raises(_phase, _index))


@both
def the_same_exception_object_leaves(w):
    """The object that exec raised is the one that the host catches, through retries, fallback and nesting."""
    errors = []

    def exec(self, p):
        errors.append(Odd(len(errors), "x"))
        raise errors[-1]

    flow = w.flow(w.flow(w.node(exec=exec)(max_retries=2)))
    with pytest.raises(Odd) as caught:
        w.run(flow, {})
    assert caught.value is errors[1]
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, False)
    assert caught.value.__context__ is None
    return caught.value.args


@both
def a_fallback_that_raises_anew(w):
    """Its error has the attempt's error as context, or as cause if it says so."""

    def exec(self, p):
        raise ValueError("attempt")

    def bare(self, p, exc):
        raise Odd(1, "fallback")

    def chained(self, p, exc):
        raise Odd(2, "fallback") from exc

    for fallback in (bare, chained):
        try:
            w.run(w.flow(w.node(exec=exec, exec_fallback=fallback)()), {})
        except Odd as error:
            w.say(type(error.__context__), error.__context__.args, error.__cause__ is error.__context__)
    return w.log


@both
def only_exceptions_are_retried(w):
    """KeyboardInterrupt, SystemExit and CancelledError leave at once, past the fallback."""
    for error in (KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit):

        def exec(self, p, error=error):
            w.say("exec", error.__name__)
            raise error

        node = w.node(exec=exec, exec_fallback=lambda self, p, e: w.say("never"))(max_retries=3)
        with pytest.raises(BaseException) as caught:
            w.run(w.flow(node), {})
        w.say(caught.type.__name__)
    assert len(w.log) == 8
    return w.log


@both
def max_retries_of_zero(w):
    """Exec is never called, and its result is None; nor for a negative number."""
    for n in (0, -1):
        w.run(w.flow(w.node(exec=lambda self, p: w.say("never"), post=lambda self, s, p, e: w.say("post", e))(n)), {})
    assert w.log == [("post", None)] * 2


@both
@leaves(TypeError)
def max_retries_that_is_no_number(w):
    """A TypeError, as before."""
    return w.run(w.flow(w.node(exec=lambda self, p: 1)(max_retries="3")), {})


@both
@leaves(AttributeError)
def a_start_node_that_is_none_of_pocketflows(w):
    """Duck-typed nodes work as far as PocketFlow lets them, and fail as before."""

    class Duck:
        successors = {}

        def set_params(self, params):
            w.say("params", params)

        def _run(self, shared):
            return "quack"

    w.say(w.run(w.flow(Duck()), {}))
    return w.run(w.flow("not a node"), {})


@both
def calls_with_the_wrong_arguments(w):
    """The same TypeError as before."""
    flow = w.flow(w.node()())
    errors = []
    for args, kwargs in (((), {}), (({}, {}), {}), ((), {"wrong": 1})):
        with pytest.raises(TypeError) as caught:
            asyncio.run(flow.run_async(*args, **kwargs)) if w.is_async else flow.run(*args, **kwargs)
        errors.append(str(caught.value))
    return errors


@both
def shared_by_keyword(w):
    """run(shared=…) works."""
    flow = w.flow(w.node(exec=lambda self, p: w.say(1))())
    return asyncio.run(flow.run_async(shared={})) if w.is_async else flow.run(shared={})


@both
def shared_of_any_type(w):
    """None, an object, a list, a dict subclass that counts, a mapping that is none."""

    class Counting(dict):
        def __getitem__(self, key):
            w.say("get", key)
            return super().__getitem__(key)

        def __iter__(self):
            w.say("iter")
            return super().__iter__()

        def items(self):
            w.say("items")
            return super().items()

        def __len__(self):
            w.say("len")
            return super().__len__()

    class Refusing:
        def __getattribute__(self, name):
            w.say("refused", name)
            raise LookupError(name)

    for shared in (None, object, [], Counting(a=1), Refusing()):
        w.run(w.flow(w.node(prep=lambda self, shared: shared, post=lambda self, s, p, e: None)()), shared)
    return w.log


# --- warnings -------------------------------------------------------------------------------------------------------


@both
def warnings_of_pocketflow(w):
    """They come from PocketFlow's file, and once for each place and text."""
    node = w.node(post=lambda self, *a: "elsewhere")()
    node - "a" >> w.node()()
    flow = w.flow(node)
    for _ in range(3):
        w.run(flow, {})
    node.next(w.node()(), "a")
    flow >> w.node()()
    w.run(flow, {})
    w.run(flow, {})


@both
@leaves(UserWarning)
def warnings_turned_into_errors(w):
    """Such a warning leaves the flow as an error."""
    node = w.node(post=lambda self, *a: "elsewhere")()
    node - "a" >> w.node()()
    warnings.simplefilter("error")
    return w.run(w.flow(node), {})


@both
def a_node_with_successors_run_alone(w):
    """It warns that its successors will not run."""
    node = w.node(post=lambda self, *a: "x")()
    node >> w.node()()
    return w.run(node, {}), w.run(node, {})


# --- subclasses that override PocketFlow ----------------------------------------------------------------------------


@both
def overrides_with_super(w):
    """run, _run, _orch, _exec and get_next_node overridden, each calling the original."""

    def says(name):
        if w.is_async and name != "get_next_node":

            async def method(self, *args, **kwargs):
                w.say("in", name)
                result = await getattr(super(type(self), self), name)(*args, **kwargs)
                w.say("out", name)
                return result
        else:

            def method(self, *args, **kwargs):
                w.say("in", name)
                result = getattr(super(type(self), self), name)(*args, **kwargs)
                w.say("out", name)
                return result

        return method

    form = "_async" if w.is_async else ""
    names = [f"run{form}", f"_run{form}"]
    MyNode = type("MyNode", (w.Node,), {name: says(name) for name in [*names, "_exec"]})
    MyFlow = type("MyFlow", (w.Flow,), {name: says(name) for name in [*names, f"_orch{form}", "get_next_node"]})
    if w.how == "class":  # `super(type(self), self)` bears no further subclass
        from pocketflow_tracing import trace_flow

        w.marked.append(MyFlow)
        flow = trace_flow(MyFlow)(start=MyNode())
    else:
        flow = w.trace(MyFlow(start=MyNode()))
    w.run(flow, {})
    assert [entry for entry in w.log if entry[0] == "in"] == [
        ("in", f"run{form}"),
        ("in", f"_run{form}"),
        ("in", f"_orch{form}"),
        ("in", f"_run{form}"),
        ("in", "_exec"),
        ("in", "get_next_node"),
    ]


@both
def overrides_without_super(w):
    """_run, _exec and _orch of the user's own."""

    if w.is_async:

        class MyNode(AsyncNode):
            async def _exec(self, prep_res):
                return [await self.exec_async(1), await self.exec_async(2)]

            async def exec_async(self, x):
                return x * 10

            async def post_async(self, shared, prep_res, exec_res):
                w.say(exec_res)
                return "done"

        class Whole(AsyncNode):
            async def _run_async(self, shared):
                w.say("whole")
                return "w"

        class MyFlow(AsyncFlow):
            async def _orch_async(self, shared, params=None):
                return [await node._run_async(shared) for node in (MyNode(), Whole(), MyNode())]

    else:

        class MyNode(Node):
            def _exec(self, prep_res):
                return [self.exec(1), self.exec(2)]

            def exec(self, x):
                return x * 10

            def post(self, shared, prep_res, exec_res):
                w.say(exec_res)
                return "done"

        class Whole(Node):
            def _run(self, shared):
                w.say("whole")
                return "w"

        class MyFlow(Flow):
            def _orch(self, shared, params=None):
                return [node._run(shared) for node in (MyNode(), Whole(), MyNode())]

    assert w.run(w.trace(MyFlow()), {}) == ["done", "w", "done"]
    node = MyNode()
    node - "done" >> Whole()
    w.run(w.flow(node), {})
    return w.log


@async_only
def an_orchestration_side_by_side(w):
    """A flow of the user's that runs its nodes in gather."""

    class MyFlow(AsyncFlow):
        async def _orch_async(self, shared, params=None):
            return await asyncio.gather(*(node._run_async(shared) for node in nodes))

    nodes = [w.node(f"N{n}", exec=lambda self, p: 1, post=lambda self, *a, n=n: n)() for n in range(4)]
    assert w.run(w.trace(MyFlow()), {}) == [0, 1, 2, 3]


@both
def get_next_node_decides(w):
    """An overridden get_next_node may go anywhere, also to nodes that are nobody's successor."""
    other = w.node("Other", exec=lambda self, p: w.say("other"))()

    def get_next_node(self, curr, action):
        w.say(type(curr).__name__, action)
        return other if type(curr).__name__ == "N" else None

    w.run(w.flow(w.node()(), get_next_node=get_next_node), {})
    assert w.log == [("N", None), "other", ("Other", None)]


@sync_only
def super_with_its_class(w):
    """`super(MyFlow, self)` and zero-argument super in a decorated class."""
    from pocketflow_tracing import trace_flow

    class MyFlow(Flow):
        def prep(self, shared):
            w.say("prep")
            return super(MyFlow, self).prep(shared)  # noqa: UP008 - the form in question

        def run(self, shared):
            return super().run(shared)

    if w.how == "class":
        w.marked.append(MyFlow)
        MyFlow = trace_flow(MyFlow)

    class Below(MyFlow):
        def prep(self, shared):
            w.say("below")
            return super(Below, self).prep(shared)  # noqa: UP008 - the form in question

    below = Below(start=w.node()())
    w.run(w.trace(below) if w.how != "class" else below, {})
    assert w.log == ["below", "prep"]
    return (
        MyFlow.__name__,
        MyFlow.__mro__[1:],
        {name for name in vars(MyFlow) if "tracing" in name} - {"__pocketflow_tracing__"},
    )


# --- contexts, loops and threads ------------------------------------------------------------------------------------

_variable: contextvars.ContextVar[Any] = contextvars.ContextVar("of_the_host", default="unset")


@both
def a_context_variable_set_inside_stays_set(w):
    """Nodes run in the caller's context, in every phase."""

    def sets(value):
        def method(self, *args):
            w.say(_variable.get())
            _variable.set(value)

        return method

    node = w.node(prep=sets("prep"), exec=sets("exec"), post=sets("post"))()
    flow = w.flow(w.flow(node))

    async def run():
        await flow.run_async({})
        return _variable.get()

    def whole():
        if w.is_async:
            return asyncio.run(run())
        flow.run({})
        return _variable.get()

    result = contextvars.Context().run(whole)
    assert (result, w.log) == ("post", ["unset", "prep", "exec"])


@both
def nodes_run_in_the_callers_thread(w):
    """No phase moves to another thread or task."""
    node = w.node(exec=lambda self, p: w.say(threading.current_thread() is main))()
    main = threading.current_thread()
    w.run(w.flow(node), {})
    assert w.log == [True]


@async_only
def no_suspension_is_added(w):
    """A flow gives way to the loop exactly as often as without: other tasks see the same turns."""

    async def main():
        turns = 0
        going = True

        async def count():
            nonlocal turns
            while going:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        await asyncio.sleep(0)
        nodes = [w.node(f"N{n}", exec=lambda self, p: w.say(turns))() for n in range(4)]
        for before, after in itertools.pairwise(nodes):
            before >> after
        batch = w.node("B", "BatchNode", prep=lambda self, s: [1, 2], exec=lambda self, i: w.say(turns))()
        nodes[-1] >> batch
        passes = w.flow(w.flow(nodes[0]), "BatchFlow", prep=lambda self, s: [{"a": 1}, {"a": 2}])
        await passes.run_async({})
        w.say(turns)
        going = False
        await counter

    asyncio.run(main())
    return w.log


@async_only
def the_hand_over_between_visits_is_atomic(w):
    """Between two nodes nothing else runs: parallel passes that pass data through shared do not mix it."""

    class Writes(AsyncNode):
        async def post_async(self, shared, prep_res, exec_res):
            await asyncio.sleep(0)
            shared["hand"] = self.params["n"]

    class Reads(AsyncNode):
        async def prep_async(self, shared):
            w.say(shared["hand"] == self.params["n"])

    node = Writes()
    node >> Reads()
    flow = w.flow(node, "BatchFlow", prep=lambda self, s: [{"n": n} for n in range(5)])
    w.run(flow, {})
    assert w.log == [True] * 5


@async_only
def sync_nodes_in_an_async_flow(w):
    """Sync and async nodes and flows of both kinds side by side."""

    class Plain(Node):
        def exec(self, p):
            w.say("plain")

    class Bare(BaseNode):
        def exec(self, p):
            w.say("bare")

    plain, bare, node = Plain(), Bare(), w.node(exec=lambda self, p: w.say("async"))()
    inner = Flow(start=Plain())
    inner_async = w.Flow(start=w.node(exec=lambda self, p: w.say("inner async"))())
    plain >> bare >> node >> inner >> inner_async
    w.run(w.flow(plain), {})
    assert w.log == ["plain", "bare", "async", "plain", "inner async"]


@async_only
@leaves(RuntimeError)
def run_of_an_async_flow(w):
    """AsyncFlow.run() takes the sync path: sync nodes run, an async node raises RuntimeError."""

    class Plain(Node):
        def exec(self, p):
            w.say("plain")

    flow = w.flow(Plain())
    flow.run({})
    assert w.log == ["plain"]
    return w.flow(w.node()()).run({})


@sync_only
def asyncio_run_inside_exec(w):
    """A sync node that runs an async flow in a loop of its own."""

    class Inner(AsyncNode):
        async def exec_async(self, p):
            await asyncio.sleep(0)
            w.say("inner")

    inner = w.trace(AsyncFlow(start=Inner()))
    w.run(w.flow(w.node(exec=lambda self, p: asyncio.run(inner.run_async({})))()), {})
    assert w.log == ["inner"]


@sync_only
def a_sync_flow_in_a_running_loop(w):
    """It blocks the loop as before, and works."""
    flow = w.flow(w.node(exec=lambda self, p: w.say("ran"))())

    async def main():
        return flow.run({})

    asyncio.run(main())
    assert w.log == ["ran"]


@both
def recursion_through_exec(w):
    """A flow that runs itself in exec, and one node that runs itself."""
    if w.is_async:

        class Deep(AsyncNode):
            async def exec_async(self, p):
                return None

            async def post_async(self, shared, prep_res, exec_res):
                shared["n"] += 1
                if shared["n"] < 5:
                    w.say(await flow.run_async(shared))
                return f"n{shared['n']}"

    else:

        class Deep(Node):
            def post(self, shared, prep_res, exec_res):
                shared["n"] += 1
                if shared["n"] < 5:
                    w.say(flow.run(shared))
                return f"n{shared['n']}"

    flow = w.flow(Deep())
    assert w.run(flow, {"n": 0}) == "n5"
    assert w.log == ["n5"] * 4


@both
def not_one_frame_more(w):
    """Between PocketFlow's functions and the methods that they call stands nothing of ours."""

    def stack():
        frames = []
        frame = sys._getframe(1)
        while frame is not None:
            frames.append(frame)
            frame = frame.f_back
        inside = [n for n, frame in enumerate(frames) if frame.f_code.co_filename == pocketflow.__file__]
        return [(frame.f_code.co_name, frame.f_lineno) for frame in frames[1 : inside[-1] + 1]]

    def fails(self, prep_res):
        w.say(stack())
        raise ValueError(prep_res)

    node = w.node(
        prep=lambda self, shared: w.say(stack()),
        exec=fails,
        exec_fallback=lambda self, prep_res, exc: w.say(stack()),
        post=lambda self, shared, prep_res, exec_res: w.say(stack()),
    )(max_retries=2)
    batch = w.node("Batch", "BatchNode", prep=lambda self, shared: [1], exec=lambda self, item: w.say(stack()))()
    node >> batch
    w.run(w.flow(w.flow(node)), {})
    assert len(w.log) == 6
    return w.log


@sync_only
def flows_nested_as_deep_as_ever(w):
    """A nesting that Python's recursion limit allows untraced is allowed traced."""
    flow = w.flow(w.node(exec=lambda self, p: w.say("deep"))())
    for _ in range(380):
        flow = Flow(start=flow)
    w.run(w.trace(flow) if w.how != "class" else flow, {})
    assert w.log == ["deep"]


@both
def flows_that_are_nested_in_themselves(w):
    """The walk of a tree, and an agent that hands over to the flow around it; each turns back before it has no end."""

    def prep(self, shared):
        shared["n"] += 1
        return [{"child": 1}, {"child": 2}] if shared["n"] < 4 else []

    tree = w.flow(w.node()(), "BatchFlow", prep=prep)
    tree.start(tree)
    shared = {"n": 0}
    w.run(tree, shared)
    assert shared == {"n": 7}

    def post(self, shared, prep_res, exec_res):
        shared["n"] += 1
        return "over" if shared["n"] < 12 else "done"

    agents = [w.node("Agent", post=post)() for _ in range(3)]
    outer = w.flow(agents[0])
    for agent, other in zip(agents, [*agents[1:], w.node()()], strict=True):
        agent - "over" >> outer
        agent - "done" >> other
    w.run(outer, shared)
    w.say(shared["n"])


@sync_only
@absorbs
def a_flow_that_starts_with_itself(w):
    """Python's own RecursionError ends it."""
    flow = w.flow(w.node()())
    flow.start(flow)
    gc.disable()  # before 3.12 a collection at the limit says of our callback that it was ignored
    try:
        with pytest.raises(RecursionError):
            w.run(flow, {})
    finally:
        gc.enable()


@sync_only
@absorbs
def endless_recursion(w):
    """Python's own RecursionError ends it."""
    flow = w.flow(w.node(exec=lambda self, p: flow.run({}))())
    with pytest.raises(RecursionError):
        w.run(flow, {})


@async_only
def one_failure_among_parallel_items(w):
    """It leaves at once; the others go on and outlive the flow."""
    if w.flavour != "parallel":
        return

    async def main():
        go = asyncio.Event()

        class Items(w.BatchNode):
            async def prep_async(self, shared):
                return [0, 1, 2]

            async def exec_async(self, item):
                if item == 1:
                    raise Odd(1, "item")
                await go.wait()
                w.say("late", item)

        with pytest.raises(Odd):
            await w.flow(Items()).run_async({})
        w.say("left")
        go.set()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        w.say(len(others))
        await asyncio.gather(*others)

    asyncio.run(main())
    assert w.log == ["left", 2, ("late", 0), ("late", 2)]


@async_only
def order_of_parallel_items(w):
    """Items start in order, and results keep it."""

    async def exec_async(self, item):
        w.say("start", item)
        for _ in range(3 - item):
            await asyncio.sleep(0)
        w.say("end", item)
        return item

    async def post_async(self, shared, prep_res, exec_res):
        w.say(list(exec_res))

    node = type("Items", (w.BatchNode,), {"exec_async": exec_async, "post_async": post_async})
    node.prep_async = lambda self, shared: asyncio.sleep(0, [0, 1, 2])
    w.run(w.flow(node()), {})
    assert w.log[-1] == [0, 1, 2]


@async_only
def a_flow_that_is_abandoned(w):
    """A coroutine that is closed, or never awaited, says so as before."""
    flow = w.flow(w.node(exec=lambda self, p: w.say("x"))())
    flow.run_async({}).close()
    coroutine = flow.run_async({})
    coroutine.send(None)
    coroutine.close()
    w.say(coroutine.__qualname__, coroutine.__name__)
    flow.run_async({})
    gc.collect()
    return w.log


# --- copies and pickles ---------------------------------------------------------------------------------------------


class PickledNode(Node):
    """Importable, as pickle wants it."""

    def post(self, shared, prep_res, exec_res):
        shared["ran"] = shared.get("ran", 0) + 1
        return "done"


class PickledFlow(Flow):
    """Importable, as pickle wants it."""


@sync_only
def copies_and_pickles_of_flows(w):
    """copy, deepcopy and a pickle round trip give flows that run alike."""
    if w.how == "class":
        from pocketflow_tracing import trace_flow

        w.marked.append(PickledFlow)
        assert trace_flow(PickledFlow) is PickledFlow
        flow = PickledFlow(start=PickledNode())
    else:
        flow = w.trace(PickledFlow(start=PickledNode()))
    flow.set_params({"a": 1})
    shared = {}
    w.run(flow, shared)
    for made in (copy.copy(flow), copy.deepcopy(flow), *(pickle.loads(pickle.dumps(flow, n)) for n in range(6))):
        w.say(
            type(made) is PickledFlow,
            made.params,
            type(made.start_node) is PickledNode,
            made.start_node is flow.start_node,
        )
        assert w.run(made, shared) == "done"
    assert pickle.loads(pickle.dumps(PickledFlow)) is PickledFlow
    assert pickle.loads(pickle.dumps(Flow.run)) is Flow.run
    return shared


@both
def deep_copies_of_nodes_that_ran(w):
    """A run leaves nothing on template nodes."""
    node = w.node(exec=lambda self, p: 1)()
    before = sorted(vars(node))
    flow = w.flow(node)
    w.run(flow, {})
    assert sorted(vars(node)) == before
    assert sorted(vars(copy.deepcopy(node))) == before


@sync_only
def deletions_happen_when_they_did(w):
    """What a node holds is let go at the same points: nothing keeps results, errors or copies alive."""

    class Held:
        def __init__(self, name):
            self.name = name

        def __del__(self):
            w.say("gone", self.name)

    def exec(self, p):
        if self.cur_retry == 0:
            local = Held("local of the failed attempt")
            raise ValueError(local and "x")
        w.say("second attempt")
        return Held("exec_res")

    def post(self, shared, prep_res, exec_res):
        w.say("post")

    def prep(self, shared):
        self.held = Held("visit")  # goes with the copy that this visit works on

    node = w.node(prep=prep, exec=exec, post=post)(max_retries=2)
    node >> w.node("Next", prep=lambda self, s: w.say("next"))()
    w.run(w.flow(w.flow(node)), {})
    w.say("end")
    assert [entry[1] for entry in w.log if type(entry) is tuple] == [
        "local of the failed attempt",
        "exec_res",
        "visit",
    ], w.log
    return w.log


@sync_only
def results_that_an_exec_around_the_loop_lets_go(w):
    """A `_exec` of the user's that goes through items one at a time holds one result at a time."""

    class Held:
        def __init__(self, name):
            self.name = name

        def __del__(self):
            w.say("gone", self.name)

    def around(self, prep_res):
        for item in prep_res:
            held = Node._exec(self, item)
            w.say("has", held.name)
            del held
            w.say("next")

    w.run(w.flow(w.node(prep=lambda self, s: [1, 2], _exec=around, exec=lambda self, prep_res: Held(prep_res))()), {})
    assert w.log == [entry for item in (1, 2) for entry in (("has", item), ("gone", item), "next")], w.log
    return w.log


@sync_only
def results_that_a_run_around_lets_go(w):
    """What a flow's prep gave is gone when PocketFlow's own `_run` is over, also within one of the user's around it."""

    class Held:
        def __del__(self):
            w.say("gone")

    def around(self, shared):
        action = Flow._run(self, shared)
        w.say("after")
        return action

    w.run(w.flow(w.node()(), prep=lambda self, shared: Held(), _run=around), {})
    assert w.log == ["gone", "after"], w.log
    return w.log


@both
def parameters_that_are_asked_for_their_length(w):
    """A node's parameters may be of any kind; what they are asked is what PocketFlow asks."""

    class Remote(collections.abc.Mapping):
        def __getitem__(self, key):
            return w.say("item", key)

        def __iter__(self):
            return iter(("a",))

        def __len__(self):
            w.say("length")
            return 1

        def __bool__(self):
            raise ValueError("the truth of this is ambiguous")

    node = w.node(exec=lambda self, prep_res: w.say(type(self.params).__name__))()
    node.set_params(Remote())
    w.run(node, {})
    assert w.log == ["Remote"]
    return w.log


@both
def batch_flows_in_batch_flows(w):
    """Passes of passes, over a nested flow."""
    leaf = w.node(exec=lambda self, p: w.say(sorted(self.params.items())))()
    inner = w.flow(leaf, "BatchFlow", prep=lambda self, s: [{"i": 1}, {"i": 2}])
    outer = w.flow(inner, "BatchFlow", prep=lambda self, s: [{"o": 1}, {"o": 2}])
    w.run(outer, {})
    assert sorted(w.log) == [[("i", i), ("o", o)] for i in (1, 2) for o in (1, 2)]


@both
def a_node_run_alone(w):
    """node.run() without a flow."""
    node = w.node(prep=lambda self, s: 1, exec=lambda self, p: p + 1, post=lambda self, s, p, e: (p, e))()
    assert w.run(node, {}) == (1, 2)


@sync_only
def private_methods_called_by_users(w):
    """flow._orch, node._exec and node._run called from outside."""
    node = w.node(exec=lambda self, p: ("e", p), post=lambda self, s, p, e: e)()
    flow = w.flow(node)
    assert flow._orch({}) == ("e", None)
    assert flow._orch({}, {"a": 1}) == ("e", None)
    assert flow._run({}) == ("e", None)
    assert node._exec(4) == ("e", 4)
    batch = w.flow(node, "BatchFlow")
    assert batch._orch({}, {"x": 1}) == ("e", None)
    assert isinstance(batch, BatchFlow)
    assert pocketflow.Flow.__dict__["_orch"].__name__ == "_orch"
