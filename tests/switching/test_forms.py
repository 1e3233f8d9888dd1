"""Every way to switch tracing on, for every kind of flow."""

from __future__ import annotations

import abc
import asyncio
import copy
import ctypes
import dataclasses
import functools
import gc
import inspect
import logging
import operator
import pickle
import subprocess
import sys
import types
import warnings
import weakref
from unittest.mock import MagicMock, call

import pytest
from kinds import KINDS, AnswerAsync, Ask, Kind, runs, stored, trees
from pocketflow import AsyncFlow, Flow, Node

import pocketflow_tracing
import pocketflow_tracing.store
from pocketflow_tracing import (
    TracingConfig,
    _marks,
    _pipeline,
    _runs,
    flush,
    instrument,
    trace_attributes,
    trace_flow,
    uninstrument,
)

WITH_AND_WITHOUT_PARENTHESES = pytest.mark.parametrize(
    "decorate", [trace_flow, lambda target: trace_flow()(target)], ids=["bare", "called"]
)


@WITH_AND_WITHOUT_PARENTHESES
def test_a_decorated_class_is_traced(kind, decorate):
    """`@trace_flow` and `@trace_flow()` on a class give back the class, and each run of an instance is a trace of its name."""
    cls = kind.subclass()
    assert cls is decorate(cls)
    kind.run(cls())
    assert [kind.tree("QA")] == trees()


@WITH_AND_WITHOUT_PARENTHESES
def test_a_flow_object_is_traced(kind, decorate):
    """`trace_flow(flow)` gives back the flow, traced under its class's name; others of its class are not."""
    flow, other = kind.plain(), kind.plain()
    assert flow is decorate(flow)
    kind.run(other)
    kind.run(flow)
    assert [kind.tree(kind.base.__name__)] == trees()


@pytest.mark.parametrize(
    "given", [lambda flow: trace_flow(flow_name="QA")(flow), lambda flow: trace_flow(flow, flow_name="QA")]
)
def test_a_flow_object_gets_a_name(kind, given):
    """`flow_name` names the trace of a flow object, whichever way it is given."""
    flow = kind.plain()
    assert flow is given(flow)
    kind.run(flow)
    assert [kind.tree("QA")] == trees()


@WITH_AND_WITHOUT_PARENTHESES
def test_the_flow_of_a_factory_is_traced(kind, decorate):
    """A factory's flow is traced; the call of the factory is no trace of its own."""

    @decorate
    def create_flow():
        return kind.plain()

    flow = create_flow()
    assert [] == runs()
    assert type(flow) is kind.base
    kind.run(flow)
    kind.run(flow)
    assert [kind.tree(kind.base.__name__)] * 2 == trees()


def test_the_flow_of_an_async_factory_is_traced(kind):
    """So is that of a factory that is a coroutine function."""

    @trace_flow(flow_name="QA")
    async def create_flow():
        return kind.plain()

    flow = asyncio.run(create_flow())
    assert [] == runs()
    kind.run(flow)
    assert [kind.tree("QA")] == trees()


@pytest.mark.parametrize("collect", [tuple, list, lambda flows: dict(enumerate(flows))], ids=["tuple", "list", "dict"])
def test_a_factory_may_return_several_flows(collect):
    """Each flow of a tuple, list or dict that a factory returns is traced; what else is in there is left alone."""

    @trace_flow()
    def create_flows():
        return collect([KINDS["Flow"].plain(), KINDS["BatchFlow"].plain(), "no flow"])

    made = create_flows()
    for flow in list(made.values() if isinstance(made, dict) else made)[:2]:
        flow.run({"question": "why"})
    assert [KINDS["Flow"].tree("Flow"), KINDS["BatchFlow"].tree("AskTwice")] == trees()


def test_a_factory_that_does_more_than_make_a_flow_is_a_run():
    """What a decorated function has done before it returns a flow stands below it."""

    @trace_flow(flow_name="Inner")
    def inner():
        Flow(start=Node()).run({})

    @trace_flow(flow_name="Outer")
    def outer():
        inner()
        return Flow(start=Node())

    outer()
    node = ("Node", "Node.prep", "Node.exec", "Node.post")
    assert [("Outer", ("Inner", ("Flow", node)))] == trees()
    assert ["success"] == [run.status for run in runs()]


def test_a_flow_that_was_named_in_its_factory_keeps_its_name():
    """What stands nearest to the flow wins over the factory's decorator."""

    @trace_flow(flow_name="Factory")
    def create_flow():
        return trace_flow(flow_name="Inner")(KINDS["Flow"].plain())

    KINDS["Flow"].run(create_flow())
    assert ["Inner"] == [run.name for run in runs()]


@WITH_AND_WITHOUT_PARENTHESES
def test_a_function_that_runs_flows_is_one_trace(kind, decorate):
    """All flows that a decorated function runs stand below one root span with its name."""
    if kind.is_async:

        @decorate
        async def answer_all(question):
            for _ in range(2):
                await kind.run_inside(kind.plain(), {"question": question})
            return "done"

        result = asyncio.run(answer_all("why"))
    else:

        @decorate
        def answer_all(question):
            for _ in range(2):
                kind.run(kind.plain(), {"question": question})
            return "done"

        result = answer_all("why")
    assert "done" == result
    assert [("answer_all", kind.tree(kind.base.__name__), kind.tree(kind.base.__name__))] == trees()


def test_a_decorated_function_keeps_its_face():
    """Name, docstring, signature and coroutine nature of a decorated function stay."""

    async def answer(question: str, *, times: int = 1) -> str:
        """Answer."""
        return question * times

    traced = trace_flow()(answer)
    assert (inspect.signature(answer), "answer", "Answer.") == (
        inspect.signature(traced),
        traced.__name__,
        traced.__doc__,
    )
    assert inspect.iscoroutinefunction(traced)
    assert "aa" == asyncio.run(traced("a", times=2))


def test_methods_of_every_sort_are_traced():
    """A method, a static and a class method, a partial and a callable object that run flows are traces."""
    kind = KINDS["Flow"]

    class App:
        @trace_flow()
        def plain(self):
            return kind.run(kind.plain())

        @trace_flow()
        @staticmethod
        def static():
            return kind.run(kind.plain())

        @trace_flow()
        @classmethod
        def of_class(cls):
            assert cls is App
            return kind.run(kind.plain())

        def __call__(self):
            return kind.run(kind.plain())

    def run_named(name):
        assert name == "x"
        return kind.run(kind.plain())

    app = App()
    app.plain()
    app.static()
    App.of_class()
    trace_flow(functools.partial(run_named, "x"))()
    trace_flow()(app)()
    assert ["plain", "static", "of_class", "partial", "App"] == [run.name for run in runs()]


def test_an_object_that_is_called_stays_what_it_is():
    """A cached function, a partial, a mock in the place of a flow: attributes, operators, copies and pickles are their own."""
    for decorate in (trace_flow, trace_attributes(tags=["x"])):
        cached = decorate(functools.lru_cache(lambda x: x + 1))
        assert (2, 2) == (cached(1), cached(1))
        assert (1, 1) == cached.cache_info()[:2]
    partial = trace_flow(functools.partial(operator.add, 1))
    assert (3, operator.add, (1,), True) == (
        partial(2),
        partial.func,
        partial.args,
        isinstance(partial, functools.partial),
    )
    assert 4 == pickle.loads(pickle.dumps(partial))(3)
    mock = trace_flow(MagicMock(spec=["run"]))
    mock.run.return_value = "end"
    assert ("end", True) == (mock.run({}), isinstance(mock, MagicMock))
    mock.run.assert_called_once_with({})

    class Cached:
        @trace_flow()
        @functools.lru_cache  # noqa: B019 - it lives as long as the test
        def method(self, x):
            return self, x

    owner = Cached()
    assert ((owner, 1), 1) == (owner.method(1), Cached.method.cache_info().misses)


def test_an_object_with_operators_has_them():
    """It is as long, as true, as equal as it was, and what is set on it is set on it."""

    @dataclasses.dataclass(eq=False, repr=False)
    class Pipe(metaclass=abc.ABCMeta):  # noqa: B024 - what has a metaclass
        """Does it."""

        calls: int = 0

        def __call__(self, x):
            self.calls += x

        def __len__(self):
            return 0

        def __getitem__(self, key):
            return key

        def __enter__(self):
            return "in"

        def __exit__(self, *error):
            return True

    pipe = Pipe()
    traced = trace_flow(pipe)
    traced(2)
    traced.label = "x"
    assert (2, "x", False, "k") == (traced.calls, pipe.label, bool(traced), traced["k"])
    assert (True, True, True) == (traced == pipe, pipe == traced, hash(traced) == hash(pipe))
    assert (Pipe, "Pipe", repr(pipe)) == (traced.__class__, type(traced).__name__, repr(traced))
    assert (Pipe, 2, Pipe) == (type(copy.copy(traced)), copy.deepcopy(traced).calls, type(copy.deepcopy(traced)))
    assert ["x"] == list(inspect.signature(traced).parameters)
    assert ("Does it.", ["calls"]) == (traced.__doc__, [field.name for field in dataclasses.fields(traced)])
    with traced as entered:
        assert "in" == entered
        raise ValueError
    del traced.label
    assert not hasattr(pipe, "label")


def test_an_object_that_is_called_lives_as_long_as_it_did():
    """What its class does when it goes is for when it goes; what it is compared by and written as is its own."""
    gone = []

    @dataclasses.dataclass(order=True)
    class Job:
        priority: int

        def __call__(self):
            return self.priority

        def __format__(self, spec):
            return f"job {self.priority}{spec}"

        def __del__(self):
            gone.append(self.priority)

    first, second = trace_flow(Job(1)), trace_flow(Job(2))
    assert ([1, 2], True, "job 1!") == ([job() for job in sorted([second, first])], first < second, f"{first:!}")
    job = Job(3)
    trace_flow(job)()
    gc.collect()
    assert gone == []
    assert job() == 3
    del first, second
    gc.collect()
    assert {1, 2} == set(gone)


@dataclasses.dataclass
class Login:
    """Compared by its fields, and called."""

    host: str

    def __call__(self, user, password):
        Flow(start=Node()).run({})


def test_arguments_have_their_names_whatever_is_called():
    """One is that of a secret: of an object with an `__eq__` of its own, and of a call with one too many."""

    def login(user, password):
        Flow(start=Node()).run({})

    trace_flow(Login("h"), flow_name="an object")("bob", "hunter2")
    with pytest.raises(TypeError):
        trace_flow(login, flow_name="one too many")("bob", "hunter2", "more")
    trace_flow(login, flow_name="a function")("bob", "hunter2")
    found = {run.name: stored().spans(run.run_id)[0].input for run in runs()}
    named = {"user": "bob", "password": "[redacted]"}
    assert {"an object": named, "one too many": {**named, "arg2": "more"}, "a function": named} == found


def test_a_mock_remembers_its_calls_alone():
    """Nobody compares it, or asks it for anything, on the way."""
    mock = MagicMock()
    traced = trace_flow(mock)
    traced(1, b=2)
    traced()
    assert [call(1, b=2), call()] == mock.mock_calls


BY_VALUE = """
import asyncio, dill
from pocketflow import Flow, Node
from pocketflow_tracing import trace_attributes, trace_flow

def work(x):
    Flow(start=Node()).run({})
    return x + 1

async def waiting(x):
    return work(x)

for _ in range(2):  # what the first has left behind must not stand in the way of the second
    for decorate in (trace_flow, trace_flow(tags=lambda shared: ["x"]), trace_attributes(tags=["x"])):
        assert 2 == dill.loads(dill.dumps(decorate(work)))(1)
        assert 2 == asyncio.run(dill.loads(dill.dumps(decorate(waiting)))(1))
"""


def test_a_function_of_a_script_can_be_taken_by_value(tmp_path):
    """As dill takes it, with all the globals of whoever made it: for multiprocess, pathos and datasets."""
    done = subprocess.run([sys.executable, "-c", BY_VALUE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CLASS_BY_VALUE = """
import dill
from pocketflow import Flow, Node
from pocketflow_tracing import TracingConfig, flush, instrument, trace_flow
from pocketflow_tracing.store import Store

@trace_flow(tags=["nightly"], metadata={"team": "care"})
class Plain(Flow):
    pass

@trace_flow(config=TracingConfig(trace_inputs=False))
class Private(Flow):
    pass

class Reads(Node):
    def prep(self, shared):
        shared["read"] = True

def elsewhere(cls):
    other = dill.loads(dill.dumps(cls(start=Reads())), ignore=True)
    assert type(other) is not cls
    other.run({"patient": "canary"})
    assert flush(10)

elsewhere(Plain)
instrument()
elsewhere(Private)
store = Store(".pocketflow/traces.db")
private, plain = store.runs()
assert ("Plain", ["nightly"], {"team": "care"}) == (plain.name, list(plain.tags), plain.metadata)
assert "Private" == private.name
assert ["canary" in repr(store.spans(run.run_id)) for run in (plain, private)] == [True, False]
"""


def test_a_class_that_is_taken_by_value_takes_its_mark_along(tmp_path):
    """As those of a script are, by joblib and dask: it is traced over there, and what its config hides is hidden."""
    done = subprocess.run(
        [sys.executable, "-c", CLASS_BY_VALUE], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", [pocketflow_tracing, pocketflow_tracing.store])
def test_a_job_can_name_whatever_is_public(room):
    """As a script's functions are pickled with what they name: joblib and dask would not take a job that flushes."""
    for name in room.__all__:
        value = getattr(room, name)
        assert value == pickle.loads(pickle.dumps(value))


def returning_coroutines():
    """Callables that are no coroutine functions and return coroutines."""
    kind = KINDS["AsyncFlow"]

    async def run(question):
        await kind.run_inside(kind.plain(), {"question": question})
        return question

    def handed_on(question):
        return run(question)

    class Service:
        async def __call__(self, question):
            return await run(question)

    return {"handed_on": handed_on, "Service": Service(), "partial": functools.partial(run)}


@pytest.mark.parametrize("name", returning_coroutines())
def test_what_returns_a_coroutine_is_traced_until_that_has_ended(name):
    """The flows that the coroutine runs stand below the function, in a task of its own and among others."""
    kind = KINDS["AsyncFlow"]
    traced = trace_flow(returning_coroutines()[name])

    async def main():
        made = traced("a")
        assert inspect.iscoroutine(made)
        await kind.run_inside(kind.plain(), {"question": "c"})
        return await asyncio.gather(asyncio.create_task(made), traced("b"))

    assert ["a", "b"] == asyncio.run(main())
    tree = (name, kind.tree(kind.base.__name__))
    assert sorted([tree, tree]) == sorted(trees())


@pytest.mark.parametrize("ends", ["dropped", "closed", "cancelled", "fails"])
def test_a_coroutine_of_a_function_behaves_as_it_did(ends):
    """Names, warnings about what was never awaited, and errors are those of the untraced one."""

    async def work():
        raise LookupError(ends)

    def told(function):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made = function()
            names = made.__name__, made.__qualname__, type(made)

            async def main(coroutine):
                task = asyncio.ensure_future(coroutine)
                if ends == "cancelled":
                    task.cancel()
                await task

            if ends == "closed":
                made.close()
            elif ends != "dropped":
                try:
                    asyncio.run(main(made))
                except (LookupError, asyncio.CancelledError) as error:
                    names = *names, repr(error)
            del made
            gc.collect()
        return names, [str(warning.message) for warning in caught]

    assert told(lambda: work()) == told(trace_flow(lambda: work()))


def test_a_function_that_fails_is_a_failed_trace():
    """The exception of a decorated function leaves it unchanged, and its trace ends with the error."""
    error = ValueError("no")

    @trace_flow()
    def fail():
        KINDS["Flow"].run(KINDS["Flow"].plain())
        raise error

    with pytest.raises(ValueError) as caught:
        fail()
    assert error is caught.value
    (run,) = runs()
    assert ("error", "ValueError") == (run.status, run.error["type"])


@pytest.mark.parametrize(
    "target",
    [(value for value in "ab"), lambda: None, 7, "text", int],
    ids=["generator", "lambda", "number", "text", "class"],
)
def test_what_cannot_be_traced_comes_back(target, caplog):
    """Something that is no flow and no function comes back as it is, with one warning."""
    if callable(target) and not isinstance(target, type):
        assert target() is trace_flow(target)()
        return
    assert target is trace_flow(target)
    assert target is trace_flow()(target)
    assert 1 == len([record for record in caplog.records if record.levelno == logging.WARNING])


def test_a_generator_function_comes_back(caplog):
    """A generator function is not wrapped: a trace cannot stay open between its values."""

    def stream():
        yield 1

    assert stream is trace_flow()(stream)
    assert "generator" in caplog.text


def test_a_generator_that_a_function_returns_is_told(caplog):
    """What it does comes after the call, and is in no trace."""

    @trace_flow
    def answers():
        return (number for number in range(3))

    assert [0, 1, 2] == list(answers())
    assert [0, 1, 2] == list(answers())
    assert 1 == caplog.text.count("answers returned a generator")


# --- instrument --------------------------------------------------------------------------------------------------------


def test_instrument_traces_every_flow(kind):
    """Under `instrument()` flows without any decorator are traced, with their class's name."""
    instrument()
    kind.run(kind.plain())
    kind.run(kind.subclass()())
    assert [kind.tree(kind.base.__name__), kind.tree("QA")] == trees()


def test_uninstrument_leaves_nothing_behind(python):
    """After `uninstrument()` PocketFlow's module and classes hold the very same objects as before, and nothing is traced."""
    python("""
import pocketflow
from pathlib import Path
from pocketflow_tracing import flush, instrument, uninstrument

def everything():
    classes = [value for value in vars(pocketflow).values() if isinstance(value, type)]
    found = {(cls, name): value for cls in classes for name, value in vars(cls).items()}
    return {**found, **vars(pocketflow)}

before = everything()
instrument()
instrument()
assert before != everything()
for _ in range(2):
    uninstrument()
    after = everything()
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
pocketflow.Flow(start=pocketflow.Node()).run({})
assert flush(5)
assert not Path(".pocketflow").exists()
""")


def test_the_second_instrument_changes_nothing():
    """What the first `instrument()` was given holds until `uninstrument()`."""
    instrument(session_id="first")
    instrument(session_id="second")
    KINDS["Flow"].run(KINDS["Flow"].plain())
    uninstrument()
    instrument(session_id="third")
    KINDS["Flow"].run(KINDS["Flow"].plain())
    assert ["first", "third"] == [run.session_id for run in runs()]


def test_marked_flows_stay_traced_after_uninstrument():
    """`uninstrument()` takes back `instrument()` and nothing else."""
    flow = trace_flow(KINDS["Flow"].plain())
    instrument()
    uninstrument()
    KINDS["Flow"].run(KINDS["Flow"].plain())
    KINDS["Flow"].run(flow)
    assert [KINDS["Flow"].tree("Flow")] == trees()


def test_a_marked_flow_keeps_its_parameters_under_instrument():
    """The decorator of a flow wins over `instrument()`."""
    instrument(session_id="everywhere")
    KINDS["Flow"].run(trace_flow(KINDS["Flow"].plain(), session_id="here"))
    KINDS["Flow"].run(KINDS["Flow"].plain())
    assert ["here", "everywhere"] == [run.session_id for run in runs()]


@pytest.mark.parametrize("node", [Ask, AnswerAsync])
def test_a_node_on_its_own_is_a_trace_under_instrument(node):
    """`node.run(shared)` and `node.run_async(shared)` are traces of one node under `instrument()`, and none without."""

    def run():
        shared = {"question": "why"}
        return asyncio.run(node().run_async(shared)) if node is AnswerAsync else node().run(shared)

    run()
    instrument()
    run()
    name = node.__name__
    assert [(name, f"{name}.prep", f"{name}.exec", f"{name}.post")] == trees()


# --- classes -----------------------------------------------------------------------------------------------------------


@trace_flow()
class Decorated(Flow):
    def __init__(self):
        super().__init__(start=KINDS["Flow"].start())


class Inherits(Decorated):
    def __init__(self):
        super().__init__()


@trace_flow()
class DecoratedAgain(Decorated):
    def prep(self, shared):
        return super().prep(shared)


_SCRIPT = """
class Ask(Node):
    def exec(self, _):
        return data

@trace_flow({options})
class QA(Flow):
    pass

data = Data([1])
QA(start=Ask()).run({{}})
"""


@pytest.mark.parametrize(
    "options",
    [
        "",
        "session_id=lambda shared: 'c-1'",
        "metadata={'of': [Ask]}",
        "metadata={'of': {'team': 'care'}}, tags=['a']",
        "config=TracingConfig(trace_inputs=False)",
        "config=TracingConfig(mask=lambda value, path: value)",
        "config=TracingConfig(serializers={Ask: lambda ask: 'ask'})",
    ],
)
def test_a_script_that_is_run_again_and_again_frees_what_it_made(options, records):
    """A notebook's cell, or Streamlit's script: each time a class is made anew, whose options may lead to all of its globals."""

    class Data(list):
        pass

    alive = weakref.WeakSet()
    for _ in range(3):
        scope = {"Flow": Flow, "Node": Node, "Data": Data, "trace_flow": trace_flow, "TracingConfig": TracingConfig}
        exec(_SCRIPT.format(options=options), scope)
        for name in ("Ask", "QA"):
            alive.add(scope[name])
    assert flush(20)
    assert len(records.runs) == (0 if "config" in options else 3)
    scope.clear()
    gc.collect()
    assert len(alive) == 0


def test_a_class_that_takes_no_attribute(records):
    """Its metaclass is written in C: the options are remembered elsewhere."""

    @trace_flow(session_id=lambda _: "c-1")
    class QA(Flow, ctypes.Structure):
        pass

    QA(start=Node()).run({})
    assert ["c-1"] == [run.session_id for run in records.flushed().runs.values()]


@pytest.mark.parametrize("names", [("first", "last"), ("last", "first")])
def test_of_two_marks_of_a_class_the_last_one_holds(names, records):
    """Whatever they hold."""
    options = {"first": {"flow_name": "first", "session_id": lambda _: "c-1"}, "last": {"flow_name": "last"}}

    class QA(Flow):
        pass

    for name in names:
        trace_flow(**options[name])(QA)
    QA(start=Node()).run({})
    assert [names[-1]] == [run.name for run in records.flushed().runs.values()]


def test_a_subclass_reports_its_own_name():
    """A subclass of a decorated class is traced under its own name; both remain ordinary classes."""
    flow = Inherits()
    KINDS["Flow"].run(flow)
    assert isinstance(flow, Decorated)
    assert issubclass(Inherits, Decorated)
    assert Decorated.__module__ == __name__
    assert ["Inherits"] == [run.name for run in runs()]


def test_a_decorated_subclass_of_a_decorated_class_makes_one_trace():
    """Decorating twice along a line of classes does not trace twice."""
    DecoratedAgain().run({"question": "why"})
    assert ["DecoratedAgain"] == [run.name for run in runs()]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_traced_flow_is_pickled(protocol):
    """An instance of a decorated class and a marked object come out of a pickle as flows that are traced."""
    marked = trace_flow(Flow(start=KINDS["Flow"].start()), flow_name="Marked", session_id="s")
    for flow in (Decorated(), marked):
        copy = pickle.loads(pickle.dumps(flow, protocol))
        assert type(flow) is type(copy)
        KINDS["Flow"].run(copy)
    assert [("Decorated", None), ("Marked", "s")] == [(run.name, run.session_id) for run in runs()]


def test_a_pickle_of_a_decorated_class_is_that_of_a_plain_one():
    """Pickling an instance of a decorated class writes nothing of this package."""
    assert b"pocketflow_tracing" not in pickle.dumps(Decorated())


@pytest.mark.parametrize("way", ["again", "named", "made", "derived", "around", "instrumented", "a function", "sent"])
@pytest.mark.parametrize("setting", ["mask", "enabled"])
def test_what_was_hidden_stays_hidden_under_another_decorator(way, setting):
    """One that says nothing of the config changes none of it; one that brings its own replaces it."""
    config = TracingConfig(mask=masked) if setting == "mask" else TracingConfig(enabled=False)

    @trace_flow(config=config)
    class Hiding(Flow):
        pass

    def flow_of(**given):
        if way == "again":
            return trace_flow(flow_name="F", **given)(trace_flow(Flow(start=Node()), config=config))
        if way == "named":
            return trace_flow(flow_name="F", **given)(Hiding(start=Node()))
        if way == "around":
            marked = trace_flow(flow_name="F", **given)(Flow(start=Node()))
            return trace_flow(config=config)(lambda: marked)()
        if way == "instrumented":
            instrument(config=config)
            return trace_flow(flow_name="F", **given)(Flow(start=Node()))
        if way == "a function":
            instrument(config=config)
            decorated = trace_flow(flow_name="F", **given)(lambda shared: Flow(start=Node()).run(shared))
            return types.SimpleNamespace(run=decorated)
        if way == "sent":
            instrument(config=config)
            packed = pickle.dumps(trace_flow(flow_name="F", **given)(Flow(start=Node())))
            uninstrument()
            return pickle.loads(packed)
        if way == "made":
            return trace_flow(flow_name="F", **given)(lambda: Hiding(start=Node()))()
        return trace_flow(flow_name="F", **given)(type("Derived", (Hiding,), {}))(start=Node())

    for _ in range(2):
        flow_of().run({"name": "Jane"})
    found = runs()
    assert ["F", "F"] * (setting == "mask") == [run.name for run in found]
    assert "Jane" not in repr([stored().spans(run.run_id) for run in found])
    flow_of(config=TracingConfig()).run({"name": "Jane"})
    assert "Jane" in repr(stored().spans(runs()[-1].run_id))
    uninstrument()


def test_flows_that_are_marked_for_each_request_share_what_instrument_has_made(monkeypatch):
    """Its config is resolved once, and not by each of them."""
    made = []
    monkeypatch.setattr(_runs, "pipeline_for", lambda config: made.append(config) or _pipeline.pipeline_for(config))
    instrument(config=TracingConfig(redact=("iban",)))
    for _ in range(3):
        trace_flow(Flow(start=Node()), flow_name="F").run({})
    Flow(start=Node()).run({})
    uninstrument()
    assert 1 == len(made)


def masked(value, path):
    """Importable, as pickle wants it."""
    return "masked" if path[-1:] == ("name",) else value


def as_text(value):
    return "an Ask"


HIDING = {
    "mask": masked,
    "redact": ("name",),
    "policies": {"name": "hide"},
    "trace_inputs": False,
    "serializers": {Ask: as_text},
}


@pytest.mark.parametrize("setting", HIDING)
@pytest.mark.parametrize("has_run", [True, False])
def test_what_hides_goes_along_with_a_pickle(setting, has_run):
    """What a flow is not to show, it does not show in another process either."""
    flow = trace_flow(Flow(start=Node()), config=TracingConfig(**{setting: HIDING[setting]}))
    if has_run:
        flow.run({"name": "Jane", "asks": Ask()})
    for _ in range(2):
        flow = pickle.loads(pickle.dumps(flow))
        flow.run({"name": "Jane", "asks": Ask()})
    found = [stored().spans(run.run_id) for run in runs()]
    assert 2 + has_run == len(found)
    for spans in found:
        assert ("Jane" in repr(spans)) == (setting == "serializers")
        assert ("an Ask" in repr(spans)) == (setting == "serializers")


@pytest.mark.parametrize("is_lambda", [True, False])
def test_without_what_hides_nothing_is_recorded(is_lambda, caplog, monkeypatch):
    """A lambda stays behind, and a function may not be there where the pickle is read; the flow runs, and a line says it."""
    module = types.ModuleType("only_over_there")
    monkeypatch.setitem(sys.modules, "only_over_there", module)
    elsewhere = types.FunctionType(masked.__code__, {}, "mask")
    elsewhere.__module__, elsewhere.__qualname__ = "only_over_there", "mask"
    module.mask = elsewhere
    mask = (lambda value, path: value) if is_lambda else elsewhere
    packed = pickle.dumps(trace_flow(Flow(start=Node()), config=TracingConfig(mask=mask)))
    monkeypatch.delitem(sys.modules, "only_over_there")
    shared = {"name": "Jane"}
    pickle.loads(packed).run(shared)
    assert ([], {"name": "Jane"}) == (runs(), shared)
    assert 1 == sum("came without mask of its settings" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("here", ["pk-lf-1", "pk-lf-2", None])
def test_a_secret_key_is_not_pickled(here, caplog, monkeypatch):
    """Where the keys of the flow's project are in the environment its runs go there, and nowhere else where they are not."""
    config = TracingConfig(langfuse_public_key="pk-lf-1", langfuse_secret_key="sk-lf-canary", environment="e")
    flow = trace_flow(Flow(start=KINDS["Flow"].start()), config=config)
    packed = pickle.dumps(flow)
    assert b"canary" not in packed
    if here:
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", here)
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-2")
    options = _marks.mark_of(pickle.loads(packed))
    resolved = options.config.resolved()
    assert (here == "pk-lf-1") == (resolved.enabled and resolved.has_langfuse)
    assert (here != "pk-lf-1") == any("langfuse_secret_key" in record.getMessage() for record in caplog.records)


def test_a_pickled_flow_is_traced_in_a_process_that_never_marked_one(python, tmp_path):
    """The mark travels with the flow: a worker process that only unpickles it records its runs."""
    (tmp_path / "graph.py").write_text("from pocketflow import Node\nclass Step(Node):\n    pass\n")
    python(
        "import pickle; from pathlib import Path; from pocketflow import Flow; from pocketflow_tracing import trace_flow\n"
        "from graph import Step\n"
        "Path('flow.pickle').write_bytes(pickle.dumps(trace_flow(Flow(start=Step()), flow_name='Travelled')))"
    )
    python(
        "import pickle; from pathlib import Path; flow = pickle.loads(Path('flow.pickle').read_bytes())\n"
        "import pocketflow_tracing as t; t.instrument(); t.uninstrument(); flow.run({})"
    )
    assert ["Travelled"] == [run.name for run in runs()]


def test_a_decorated_flow_inside_a_traced_one_joins_it():
    """A flow with a decorator of its own, run as a node or from `exec` of a traced flow, becomes part of that trace."""

    class RunsAnother(Node):
        def exec(self, prep_res):
            Decorated().run({"question": "inside"})

    inner = trace_flow(Flow(start=KINDS["Flow"].start()), flow_name="Named")
    inner >> RunsAnother()
    trace_flow(Flow(start=inner), flow_name="Outer").run({"question": "why"})
    inside = KINDS["Flow"].tree("Decorated")
    another = ("RunsAnother", "RunsAnother.prep", ("RunsAnother.exec", inside), "RunsAnother.post")
    assert [("Outer", KINDS["Flow"].tree("Named"), another)] == trees()


def test_an_async_flow_with_sync_and_async_nodes_is_one_trace():
    """Sync nodes, async nodes and nested flows of either kind stand in one tree."""
    kind = Kind(AsyncFlow, is_async=True)
    inner_sync, inner_async = KINDS["Flow"].plain(), kind.plain()
    inner_sync >> inner_async
    flow = trace_flow(AsyncFlow(start=inner_sync), flow_name="Outer")
    kind.run(flow)
    assert [("Outer", KINDS["Flow"].tree("Flow"), kind.tree("AsyncFlow"))] == trees()


def test_one_flow_object_in_many_tasks_makes_separate_traces():
    """Concurrent runs of one marked flow object do not mix."""
    kind = KINDS["AsyncFlow"]
    flow = trace_flow(kind.plain(), session_id=lambda shared: shared["question"])

    async def main():
        await asyncio.gather(*(flow.run_async({"question": f"q{number}"}) for number in range(20)))

    asyncio.run(main())
    assert [kind.tree("AsyncFlow")] * 20 == trees()
    assert {f"q{number}" for number in range(20)} == {run.session_id for run in runs()}


def test_looking_for_marks_asks_no_class_of_the_users(records):
    """Whether a flow is marked is found out without its class's metaclass, also once classes have been decorated."""

    class Meta(type):
        __hash__ = None

        def __getattribute__(cls, name):
            raise LookupError(name)

    @trace_flow()
    class Decorated(Flow):
        pass

    class Inner(Decorated, metaclass=Meta):
        pass

    Inner(start=Node()).run({})
    trace_flow(Meta("Hostile", (Flow,), {})(start=Node())).run({})
    assert sorted(run.name for run in records.flushed().runs.values()) == ["Hostile", "Inner"]


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("os.path.exists('/data')", True),
        ("os.getcwd()", "/srv"),
        ("os.stat('/data')", "found"),
        ("os.lstat('/data')", "found"),
        ("os.path.islink('/data')", True),
        ("os.listdir('/data')", ["a"]),
        ("os.access('/data', os.R_OK)", True),
        ("os.environ.get('DATA')", "found"),
        ("os.mkdir('/data')", None),
        ("pathlib.Path.mkdir('/data')", None),
        ("threading.Thread.start('thread')", None),
        ("json.dumps([1])", "[1]"),
        ("json.loads('1')", 1),
        ("base64.b64encode(b'1')", b"MQ=="),
        ("os.open('/data', 0)", 777),
        ("os.close(777)", None),
        ("os.urandom(2)", b"ab"),
        ("socket.gethostname()", "unit-test"),
        ("atexit.register(print)", None),
        ("signal.pthread_sigmask(0, ())", set()),
    ],
)
def test_mocks_of_a_host_are_not_called(call, answer, python):
    """A unit test that answers one call and no other keeps its answer, also where its flow is the first that runs."""
    python(f"""
import atexit, base64, json, os, pathlib, signal, socket, threading
from unittest import mock
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

class Looks(Node):
    def prep(self, shared):
        assert flush(20)
    def exec(self, prep_res):
        return {call}
    def post(self, shared, prep_res, exec_res):
        shared["found"] = exec_res

shared = {{}}
flow = trace_flow(Flow(start=Looks()), metadata={{"team": "search", "limits": {{"pages": [3]}}}})
with mock.patch({call.partition("(")[0]!r}, side_effect=[{answer!r}]) as standing_in:
    flow.run(shared)
    assert flush(20)
    standing_in.assert_called_once()
assert shared == {{"found": {answer!r}}}
""")
