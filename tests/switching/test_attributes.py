"""Session, user, tags and metadata of a run: who may say them, and who wins."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import gc
import inspect
import itertools
import logging
import queue
import threading
import types
import uuid

import numpy as np
import pydantic
import pytest
from kinds import KINDS, runs
from pocketflow import Flow, Node

from pocketflow_tracing import (
    TracingConfig,
    _attributes,
    add_metadata,
    add_score,
    current_trace_id,
    current_trace_url,
    instrument,
    trace_attributes,
    trace_flow,
    with_context,
)

KEYS = dict(session_id="s", user_id="u", tags=["a", "b"], metadata={"m": {"deep": 1}})
FLOW = KINDS["Flow"]
FLOW_ASYNC = KINDS["AsyncFlow"]


def said(run):
    return {"session_id": run.session_id, "user_id": run.user_id, "tags": run.tags, "metadata": run.metadata}


@pytest.mark.parametrize("how", ["values", "functions"])
@pytest.mark.parametrize("where", ["decorator", "instrument"])
def test_parameters_take_values_and_functions_of_shared(kind, records, how, where):
    """Each of the id, tag and metadata parameters takes a value or a function of `shared`, evaluated at the run's start."""
    shared = {"question": "why", "keys": KEYS}
    given = {
        name: (lambda shared, name=name: shared["keys"][name]) if how == "functions" else KEYS[name] for name in KEYS
    }
    flow = kind.plain()
    if where == "instrument":
        instrument(**given, version="1.2", environment="staging")
    else:
        trace_flow(flow, **given, version="1.2", environment="staging")
    kind.run(flow, shared)
    run = records.flushed().run()
    assert (KEYS, "1.2", "staging") == (said(run), run.version, run.environment)


def test_functions_are_evaluated_at_each_start(records):
    """A function of `shared` sees what each run begins with."""
    flow = trace_flow(FLOW.plain(), session_id=lambda shared: shared["question"])
    for question in ("one", "two"):
        FLOW.run(flow, {"question": question})
    assert ["one", "two"] == [run.session_id for run in records.flushed().runs.values()]


@pytest.mark.absorbs
@pytest.mark.parametrize("name", list(KEYS))
def test_a_function_that_raises_is_skipped(name, records, caplog):
    """What raises is left out with one log line, the rest stays, and the run goes on."""

    def broken(shared):
        raise LookupError("canary")

    flow = trace_flow(FLOW.plain(), **{**KEYS, name: broken})
    for _ in range(3):
        FLOW.run(flow)
    runs = list(records.flushed().runs.values())
    assert 3 == len(runs)
    assert [{**KEYS, name: {"tags": [], "metadata": {}}.get(name)}] * 3 == [said(run) for run in runs]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert name in line
    assert "canary" not in line


@pytest.mark.absorbs
@pytest.mark.parametrize("answer", [7, object(), [1, "t"], "text", {"a": 1}, None, iter("ab")], ids=type)
@pytest.mark.parametrize("name", list(KEYS))
def test_any_answer_of_a_function_is_survived(name, answer, records):
    """A function that answers with something unexpected spoils at most its own attribute."""
    flow = trace_flow(FLOW.plain(), **{**KEYS, name: lambda shared: answer})
    assert "42" == (FLOW.run(flow, shared := {"question": "why"}), shared["answer"])[1]
    run = said(records.flushed().run())
    assert {**KEYS, name: run[name]} == run


def test_ids_become_texts(records):
    """Numbers and UUIDs are good ids and tags, and so are members of enumerations and numbers of NumPy's."""

    class Plan(str, enum.Enum):
        PRO = "pro"

    class Level(enum.IntEnum):
        HIGH = 3

    tags = (1, "b", "b", Plan.PRO, Level.HIGH, np.int64(7), np.str_("n"), object(), True)
    flow = trace_flow(
        FLOW.plain(),
        flow_name=Plan.PRO,
        session_id=lambda shared: 17,
        user_id=uuid.UUID(int=5),
        tags=tags,
        version=np.int64(2),
    )
    FLOW.run(flow)
    run = records.flushed().run()
    assert ("pro", "17", str(uuid.UUID(int=5)), "2") == (run.name, run.session_id, run.user_id, run.version)
    assert ["1", "b", "pro", "3", "7", "n"] == run.tags


def test_an_iterator_of_tags_holds_for_every_run(records):
    """Tags given as an iterator are there in the second run as well."""
    flow = trace_flow(FLOW.plain(), tags=iter(["a", "b"]))
    FLOW.run(flow)
    FLOW.run(flow)
    assert [["a", "b"]] * 2 == [run.tags for run in records.flushed().runs.values()]


def test_trace_attributes_add_up(records):
    """Nested `trace_attributes`: the inner id wins, tags and metadata are joined, and all is as before afterwards."""
    flow = trace_flow(FLOW.plain())
    with trace_attributes(session_id="outer", user_id="u", tags=["a"], metadata={"a": 1, "b": 1}):
        with trace_attributes(session_id="inner", tags=["b"], metadata={"b": 2}):
            FLOW.run(flow)
        FLOW.run(flow)
    FLOW.run(flow)
    inner, outer, none = (said(run) for run in records.flushed().runs.values())
    assert inner == {"session_id": "inner", "user_id": "u", "tags": ["a", "b"], "metadata": {"a": 1, "b": 2}}
    assert outer == {"session_id": "outer", "user_id": "u", "tags": ["a"], "metadata": {"a": 1, "b": 1}}
    assert none == {"session_id": None, "user_id": None, "tags": [], "metadata": {}}


def test_nearest_wins():
    """Per run, then the decorator, then the config; tags and metadata of all of them are joined."""
    config = TracingConfig(
        session_id="config",
        user_id="config",
        version="config",
        environment="config",
        tags=["c"],
        metadata={"c": 1, "x": "c"},
    )
    flow = trace_flow(
        FLOW.plain(),
        config=config,
        session_id="decorator",
        user_id="decorator",
        tags=["d"],
        metadata={"d": 1, "x": "d"},
    )
    with trace_attributes(session_id="run", tags=["r"], metadata={"r": 1, "x": "r"}):
        FLOW.run(flow)
    (run,) = runs()
    assert ("run", "decorator", "config", "config") == (run.session_id, run.user_id, run.version, run.environment)
    assert (["c", "d", "r"], {"c": 1, "d": 1, "r": 1, "x": "r"}) == (run.tags, run.metadata)


def test_attributes_of_the_environment(monkeypatch, records):
    """`POCKETFLOW_SESSION_ID` and `POCKETFLOW_USER_ID` are the last to be asked."""
    import kit

    monkeypatch.setenv("POCKETFLOW_SESSION_ID", "env-session")
    monkeypatch.setenv("POCKETFLOW_USER_ID", "env-user")
    monkeypatch.setenv("LANGFUSE_TRACING_ENVIRONMENT", "env")
    monkeypatch.setenv("LANGFUSE_RELEASE", "r1")
    kit.use(records)
    FLOW.run(trace_flow(FLOW.plain(), user_id="decorator"))
    run = records.flushed().run()
    assert ("env-session", "decorator", "env", "r1") == (run.session_id, run.user_id, run.environment, run.release)


def test_one_trace_attributes_object_serves_many(records):
    """A `trace_attributes` may be entered again, nested in itself and in several threads and tasks at once."""
    flow = trace_flow(FLOW.plain())
    block = trace_attributes(session_id="s")
    both = threading.Barrier(2)

    def in_thread():
        with block:
            both.wait(10)
            FLOW.run(flow)
        both.wait(10)

    async def in_task():
        with block, block:
            await asyncio.sleep(0)
            await KINDS["AsyncFlow"].run_inside(trace_flow(KINDS["AsyncFlow"].plain()), {"question": "why"})

    async def tasks():
        await asyncio.gather(in_task(), in_task())

    threads = [threading.Thread(target=in_thread) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    asyncio.run(tasks())
    FLOW.run(flow)
    assert ["s"] * 4 + [None] == [run.session_id for run in records.flushed().runs.values()]


def test_trace_attributes_as_a_decorator(records):
    """Each call of a function or coroutine function is a block, which ends with it."""
    block = trace_attributes(session_id="s")

    class Bot:
        @block
        def ask(self, question):
            FLOW.run(trace_flow(FLOW.plain()))
            return question

        @block
        async def ask_later(self, question):
            await asyncio.sleep(0)
            await KINDS["AsyncFlow"].run_inside(trace_flow(KINDS["AsyncFlow"].plain()), {"question": "why"})
            return question

    assert inspect.iscoroutinefunction(Bot.ask_later)
    assert Bot.ask.__name__ == "ask"
    assert (Bot().ask("a"), asyncio.run(Bot().ask_later(question="b"))) == ("a", "b")
    FLOW.run(trace_flow(FLOW.plain()))
    assert ["s", "s", None] == [run.session_id for run in records.flushed().runs.values()]


@pytest.mark.parametrize(
    ("given", "name"),
    [(5, "5"), (lambda shared: "n", None), (["a"], None), ({"a": 1}, None), (type("Text", (str,), {})("mine"), "mine")],
)
@pytest.mark.parametrize("form", ["flow", "function"])
def test_a_name_that_is_no_text(given, name, form, records, caplog):
    """It is said, and the run has the name that it has without one; others in its batch are delivered."""

    def job():
        Flow(start=Node()).run({})

    if form == "flow":
        trace_flow(Flow(start=Node()), flow_name=given).run({})
    else:
        trace_flow(flow_name=given)(job)()
    assert [name or {"flow": "Flow", "function": "job"}[form]] == [run.name for run in records.flushed().runs.values()]
    said = [line for line in caplog.messages if "flow_name is " in line]
    assert (name is None) == bool(said)
    assert all("accepted: a text" in line for line in said)


def _hide(value, path):
    return "hidden"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"redact": ("iban",), "mask": _hide}, "(redact, mask)"),
        ({"enabled": False}, "(enabled)"),
        ({"serializers": {int: str}}, "(serializers)"),
        ({"debug": False, "max_items": 7}, None),
        ({"redact_defaults": True}, None),
    ],
)
@pytest.mark.parametrize("place", ["in an exec", "in the graph", "as a function", "a node"])
def test_settings_of_a_flow_in_another_trace_are_said(settings, said, place, records, caplog):
    """They do not hold there, and a secret that the flow hides alone would be seen without a word."""
    inner = Node() if place == "a node" else Flow(start=Node())
    traced = trace_flow(inner.run if place == "as a function" else inner, config=TracingConfig(**settings))

    class Calls(Node):
        def exec(self, prep_res):
            if place == "as a function":
                traced({})
            else:
                inner.run({})

    outer = trace_flow(Flow(start=inner if place in {"in the graph", "a node"} else Calls()))
    outer.run({})
    outer.run({})
    lines = [line for line in caplog.messages if "settings of its own" in line]
    assert ([] if said is None else [said]) == [line[line.index("(") : line.index(")") + 1] for line in lines]
    assert 2 == len(records.flushed().runs)


def test_settings_of_a_flow_that_its_trace_has_too(records, caplog):
    """Nothing is to be said where the same is hidden."""
    config = TracingConfig(mask=_hide, redact=("iban",), serializers={int: str})
    inner = trace_flow(Flow(start=Node()), config=config)
    trace_flow(Flow(start=inner), config=config).run({})
    assert not [line for line in caplog.messages if "settings of its own" in line]


@pytest.mark.parametrize("config", [5, {"store": "off"}, TracingConfig])
def test_what_is_no_config_is_said(config, records, caplog):
    """It may have been meant to redact something: nothing is traced then, and that is what the line says."""
    instrument(config=config)
    flow = FLOW.plain()
    assert trace_flow(flow, config=config) is flow
    assert trace_flow(config=config)(flow) is flow
    FLOW.run(flow)
    assert not records.flushed().runs
    (line,) = caplog.messages
    assert "it takes a TracingConfig. Nothing is traced." in line


@pytest.mark.absorbs
def test_trace_attributes_raise_nothing(records):
    """A `trace_attributes` with impossible values changes nothing, and an exception leaves its block as it is."""

    class Hostile(dict):
        def items(self):
            raise RuntimeError("no")

    error = ValueError("mine")
    with pytest.raises(ValueError) as caught, trace_attributes(session_id="s"):
        with trace_attributes(metadata=Hostile(a=1)):
            FLOW.run(trace_flow(FLOW.plain()))
        raise error
    assert error is caught.value
    assert "s" == records.flushed().run().session_id


def test_texts_that_langfuse_would_not_take(records, caplog):
    """A session id beyond 200 characters is cut, an impossible environment left out; each is said once."""
    flow = trace_flow(FLOW.plain(), session_id="s" * 300, environment="Not Allowed")
    FLOW.run(flow)
    FLOW.run(flow)
    for run in records.flushed().runs.values():
        assert ("s" * 200, None) == (run.session_id, run.environment)
    assert 2 == len(caplog.records)


# --- in user code ------------------------------------------------------------------------------------------------------


class Notes(Node):
    seen: dict = {}

    def prep(self, shared):
        self.seen["prep"] = current_trace_id()
        add_metadata(from_prep=1)

    def exec(self, prep_res):
        self.seen["exec"] = current_trace_id()
        add_metadata(from_exec={"n": [1, 2]})
        add_score("quality", 0.5, comment="so-so")

    def post(self, shared, prep_res, exec_res):
        add_metadata(from_exec="later")
        add_score("grade", "B")
        self.seen["url"] = current_trace_url()


def test_user_code_reaches_the_current_node(records):
    """Trace id, metadata and scores belong to the node that runs, in each of its phases."""
    trace_flow(Flow(start=Notes())).run({})
    run, node = records.flushed().run(), records.span("Notes")
    assert (run.trace_id, run.trace_id, None) == (Notes.seen["prep"], Notes.seen["exec"], Notes.seen["url"])
    assert {"from_prep": 1, "from_exec": "later"} == node.metadata
    assert [
        {"name": "quality", "value": 0.5, "comment": "so-so"},
        {"name": "grade", "value": "B"},
    ] == node.scores


def test_user_code_outside_a_run():
    """Outside of a run, and in a flow that is not traced, everything is a no-op."""
    for _ in range(2):
        assert current_trace_id() is None
        assert current_trace_url() is None
        add_metadata(a=1)
        add_score("a", 1)
        Flow(start=Notes()).run({})
    assert (None, None) == (Notes.seen["prep"], Notes.seen["url"])


def test_metadata_is_a_snapshot(records):
    """What is added later to a value does not show in the metadata that was added before."""
    value = [1]

    class Adds(Node):
        def exec(self, prep_res):
            add_metadata(value=value)
            value.append(2)

    trace_flow(Flow(start=Adds())).run({})
    assert {"value": [1]} == records.span("Adds").metadata


# --- blocks in generators, which are closed in any order ------------------------------------------------------------------


def test_a_block_that_is_left_out_of_order_takes_only_itself():
    """Two generators that take turns, and the first ends first: what the second says still holds, and nothing after it."""

    def stream(user, **more):
        with trace_attributes(user_id=user, **more):
            yield

    first, second = stream("ada", session_id="of ada"), stream("bob")
    next(first)
    next(second)
    first.close()
    FLOW.run(trace_flow(FLOW.plain()))
    second.close()
    FLOW.run(trace_flow(FLOW.plain()))
    assert [("bob", None), (None, None)] == [(run.user_id, run.session_id) for run in runs()]


def test_a_block_that_is_left_elsewhere_takes_no_one_elses():
    """An async generator that was begun in another task is closed in a block of its closer's."""

    async def stream():
        with trace_attributes(user_id="inner"):
            yield

    async def main():
        with trace_attributes(user_id="outer"):
            generator = stream()
            await asyncio.create_task(generator.__anext__())
            await generator.aclose()
            FLOW.run(trace_flow(FLOW.plain()))

    asyncio.run(main())
    assert ["outer"] == [run.user_id for run in runs()]


def blocks():
    gc.collect()
    return sum(type(value) is _attributes._Block for value in gc.get_objects())


@pytest.mark.parametrize("overlap", [False, True], ids=["one by one", "overlapping"])
@pytest.mark.parametrize("how", ["with", "decorator", "generator"])
def test_a_task_that_starts_the_next_one_from_inside_of_a_block(how, overlap):
    """However many there have been, the last one has as little around it as the first, and the block around all is left."""
    counts = []
    given = dict(user_id="poller", tags=["poll"], metadata={"m": 1})

    async def body(left, done):
        counts.append(blocks())
        if not left:
            await FLOW_ASYNC.plain().run_async({"question": "why"})
            with trace_attributes(session_id="last"):
                await FLOW_ASYNC.plain().run_async({"question": "why"})
            return done.set_result(None)
        begun = asyncio.Event()

        async def following():
            begun.set()
            await job(left - 1, done)

        task = asyncio.get_running_loop().create_task(following())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if overlap:
            await asyncio.wait_for(begun.wait(), 10)
        return None

    if how == "with":

        async def job(left, done):
            with trace_attributes(**given):
                await body(left, done)

    elif how == "decorator":
        job = trace_attributes(**given)(body)
    else:

        @trace_attributes(**given)
        async def steps(left, done):
            yield await body(left, done)

        async def job(left, done):
            async for _ in steps(left, done):
                pass

    tasks = set()

    async def main():
        done = asyncio.get_running_loop().create_future()
        with trace_attributes(environment="staging"):
            await job(50, done)
            await asyncio.wait_for(done, 20)
        await FLOW_ASYNC.plain().run_async({"question": "why"})
        await asyncio.gather(*tasks)

    instrument()
    asyncio.run(main())
    assert max(counts) - counts[0] < 20
    around = {"user_id": "poller", "tags": ["poll"], "metadata": {"m": 1}}
    inside = [{**around, "session_id": None}, {**around, "session_id": "last"}]
    assert [*inside, dict.fromkeys(around) | {"session_id": None, "tags": [], "metadata": {}}] == [
        said(run) for run in runs()
    ]
    assert ["staging", "staging", None] == [run.environment for run in runs()]


def test_blocks_that_were_joined_are_left_one_by_one():
    """What a task has from blocks that are left elsewhere does not hide those that it leaves itself."""

    def stream(**given):
        with trace_attributes(**given):
            yield

    async def start(rounds, then):
        with trace_attributes(tags=[f"round {rounds}"]):
            return asyncio.get_running_loop().create_task(start(rounds - 1, then) if rounds else then())

    async def leaves():
        first, second = stream(user_id="ada", session_id="of ada"), stream(user_id="bob")
        next(first)
        next(second)
        with trace_attributes(version="1"):
            outer.close()
            first.close()
            FLOW.run(trace_flow(FLOW.plain()))
        second.close()
        FLOW.run(trace_flow(FLOW.plain()))

    async def main():
        task = await start(3, leaves)
        while task is not None:
            task = await task

    outer = stream(environment="staging")
    here = contextvars.copy_context()  # in which it is never left
    here.run(next, outer)
    here.run(asyncio.run, main())
    tags = [f"round {number}" for number in (3, 2, 1, 0)]
    assert [("bob", None, "1", None, tags), (None, None, None, None, tags)] == [
        (run.user_id, run.session_id, run.version, run.environment, run.tags) for run in runs()
    ]


@pytest.mark.parametrize("again", [{"user_id": "ada"}, {"user_id": "bob"}, {}])
def test_a_flow_object_that_is_marked_again(again, caplog):
    """The last parameters hold for all its runs, and that is said where they are others."""
    flow = FLOW.plain()
    trace_flow(flow, user_id="ada")
    trace_flow(flow, **again)
    said = [record.message for record in caplog.records if "to trace_flow again" in record.message]
    assert (1 if again == {"user_id": "bob"} else 0) == len(said)


def tagged(records):
    """The tags of the runs so far, in their order."""
    return [run.tags for run in sorted(records.flushed().runs.values(), key=lambda run: run.start_ns)]


def test_trace_attributes_of_a_generator_function_are_around_its_steps(records):
    """And not around what is done with its values; those of its own blocks stay its own, too."""
    flow = trace_flow(Flow(start=Node()))

    @trace_attributes(tags=["outer"])
    def steps():
        flow.run({})
        with trace_attributes(tags=["inner"]):
            yield 1
            flow.run({})
        got = yield 2
        flow.run({})
        return got

    def consumer():
        flow.run({})
        got = yield from steps()
        assert "sent" == got

    values = consumer()
    assert 1 == next(values)
    flow.run({})
    assert 2 == next(values)
    flow.run({})
    with pytest.raises(StopIteration):
        values.send("sent")
    assert [[], ["outer"], [], ["outer", "inner"], [], ["outer"]] == tagged(records)
    assert inspect.isgeneratorfunction(steps)


async def test_trace_attributes_of_an_async_generator_function_are_around_its_steps(records):
    """As the body of a streaming answer is."""
    flow = trace_flow(Flow(start=Node()))

    @trace_attributes(tags=["stream"])
    async def parts():
        for part in range(2):
            await asyncio.sleep(0)
            flow.run({})
            yield part

    async for _ in parts():
        flow.run({})
    assert [["stream"], [], ["stream"], []] == tagged(records)
    assert inspect.isasyncgenfunction(parts)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tags": map(str, itertools.count())}, "the first 50 tags"),
        ({"metadata": dict.fromkeys(map(str, range(41)))}, "the first 40 entries of metadata"),
    ],
)
def test_what_is_left_out_of_many_is_said(given, words, records, caplog):
    """Once; the first ones are there."""
    with trace_attributes(**given):
        trace_flow(Flow(start=Node())).run({})
        trace_flow(Flow(start=Node())).run({})
    runs = records.flushed().runs.values()
    assert {50 if "tags" in given else 40} == {len(run.tags or run.metadata) for run in runs}
    assert 1 == caplog.text.count(words)


def test_as_many_as_are_taken_say_nothing(records, caplog):
    """Nothing is left out."""
    with trace_attributes(tags=list(map(str, range(50))), metadata=dict.fromkeys(map(str, range(40)))):
        trace_flow(Flow(start=Node())).run({})
    assert 50 == len(records.run().tags)
    assert "left out" not in caplog.text


class NothingError(Exception):
    """As errors of compiled code are that have nothing to say."""


@pytest.mark.absorbs
@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize(
    "fails",
    [
        lambda _: queue.SimpleQueue().get_nowait(),
        lambda _: pydantic.TypeAdapter(int).validate_python("no number"),
        lambda _: (_ for _ in ()).throw(NothingError),
    ],
)
def test_a_function_that_fails_without_a_word_is_skipped(name, fails, records):
    """Errors of compiled code have neither a `raise` nor, some of them, a message: they are no time limits of the host's."""
    trace_flow(Flow(start=Node()), **{name: fails}).run({})
    assert "success" == records.run().status


@pytest.mark.absorbs
def test_a_serializer_that_fails_without_a_word(records):
    """The object says so, and the run goes on."""
    config = TracingConfig(serializers={uuid.UUID: lambda _: queue.SimpleQueue().get_nowait()})
    trace_flow(Flow(start=Node()), config=config).run({"id": uuid.UUID(int=1)})


def test_a_class_is_given_back_with_a_word(caplog):
    """`trace_attributes` is for functions; what is made of the class and derived from it stays whole."""

    @trace_attributes(tags=["x"])
    class Own(Flow):
        pass

    class Derived(Own):
        pass

    assert isinstance(Derived(), Own)
    assert ["trace_attributes was given the class 'Own'" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("decorate", [trace_attributes(tags=["x"]), with_context])
def test_a_coroutine_of_a_generator_can_be_awaited(decorate):
    """As `types.coroutine` makes them."""

    @types.coroutine
    def step(value):
        yield
        return value

    async def work():
        return await decorate(step)(3)

    assert 3 == asyncio.run(work())
