"""The hooks on PocketFlow's functions beside others who replace, rewrite or reload them."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import sys
from unittest import mock

import pytest
import wrapt
from collector import Collector
from pocketflow import AsyncFlow, AsyncNode, Flow, Node

from pocketflow_tracing import _finalisers, instrument, uninstrument
from pocketflow_tracing.frameworks import pocketflow as framework


class Fails(Node):
    """Fails at its first attempt."""

    def __init__(self):
        super().__init__(max_retries=2)
        self.calls = 0

    def exec(self, prep_res):
        self.calls += 1
        if self.calls == 1:
            raise ValueError("once")
        return "answer"


def backoff(self, prep_res):
    """A retry loop of the user's."""
    for attempt in range(self.max_retries):
        try:
            return self.exec(prep_res)
        except ValueError:
            if attempt == self.max_retries - 1:
                raise
    return None


def shape(records):
    """The spans below the node of the one run, as (name, status)."""
    return [(span.name, span.status) for span in records.spans() if span.kind in {"phase", "attempt"}]


TWICE = [
    ("Fails.prep", "success"), ("Fails.exec", "error"), ("Fails.exec", "success"), ("Fails.post", "success"),
]  # fmt: skip
ONCE = [("Fails.prep", "success"), ("Fails.exec", "success"), ("Fails.post", "success")]


def off():
    """Switch tracing off, whatever earlier tests have marked."""
    uninstrument()
    framework.uninstall()


@pytest.fixture
def fresh(records):
    """Without hooks before and after."""
    off()
    yield records
    off()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_retry_loop_of_the_users_for_all_nodes(when, fresh, monkeypatch):
    """What it does is recorded as one exec, as that of a class with an `_exec` of its own."""
    with monkeypatch.context() as patch:
        if when == "before":
            patch.setattr(Node, "_exec", backoff)
        instrument()
        if when == "after":
            patch.setattr(Node, "_exec", backoff)
        Flow(start=Fails()).run({})
        assert ONCE == shape(fresh)
        assert "answer" == fresh.span("Fails.exec").output


def test_what_stands_behind_a_mock_is_hooked_when_the_mock_has_gone(fresh):
    """Tracing that is switched on under a test's mock is complete after it."""
    before = vars(Node)["_exec"]
    with mock.patch.object(Node, "_exec", autospec=True, return_value=7):
        instrument()
        Flow(start=Node()).run({})
        fresh.clear()
    Flow(start=Fails()).run({})
    assert TWICE == shape(fresh)
    off()
    assert before is vars(Node)["_exec"]


def test_a_hook_that_a_mock_has_put_back_is_known_again(fresh):
    """Switched off under a mock, whose end puts the hook back: it is no stranger's function, and goes with the next ones."""
    before = vars(Flow)["_orch"]
    instrument()
    with mock.patch.object(Flow, "_orch", autospec=True, return_value="mocked"):
        off()
    Flow(start=Fails()).run({})
    assert not fresh.spans()
    instrument()
    Flow(start=Fails()).run({})
    assert TWICE == shape(fresh)
    off()
    assert before is vars(Flow)["_orch"]


def test_a_wrapper_around_a_hook_stays(fresh):
    """What another tool has put around it (`functools.wraps`, which copies attributes) is never taken for ours."""
    calls = []
    before = vars(Node)["_exec"]
    instrument()
    wrapped = vars(Node)["_exec"]

    @functools.wraps(wrapped)
    def wrapper(self, prep_res):
        calls.append(prep_res)
        return wrapped(self, prep_res)

    Node._exec = wrapper
    off()
    instrument()
    assert wrapper is vars(Node)["_exec"]
    Flow(start=Fails()).run({})
    assert 1 == len(calls)
    off()
    assert wrapper is vars(Node)["_exec"]
    Node._exec = before


def test_a_proxy_of_another_tools_stays(fresh, caplog):
    """A wrapper by wrapt says that it is a function, with the code of the one that it is around; it may change what comes out."""
    before = vars(Node)["_exec"]
    wrapt.wrap_function_wrapper(Node, "_exec", lambda wrapped, _instance, args, kwargs: f"<{wrapped(*args, **kwargs)}>")
    wrapper = vars(Node)["_exec"]

    class Answers(Node):
        def exec(self, prep_res):
            return "answer"

        def post(self, shared, prep_res, exec_res):
            shared["got"] = exec_res

    try:
        instrument()
        shared = {}
        Flow(start=Answers()).run(shared)
        assert {"got": "<answer>"} == shared
        assert fresh.spans()
        (said,) = (record.getMessage() for record in caplog.records)
        assert said.startswith("pocketflow-tracing: What goes through Node._exec is missing")
        off()
        assert wrapper is vars(Node)["_exec"]
    finally:
        Node._exec = before


PROGRAM = """
import pocketflow
from pocketflow_tracing import flush, instrument
from pocketflow_tracing.store import Store
instrument()
class N(pocketflow.Node):
    pass
pocketflow.Flow(start=N()).run({})
assert flush(5)
run, = Store(".pocketflow/traces.db").runs()
print([span.name for span in Store(".pocketflow/traces.db").spans(run.run_id)])
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="from Python 3.11 on there are columns to leave out")
@pytest.mark.parametrize("options", [("without", "with"), ("with", "without")])
def test_code_that_was_compiled_without_columns(options, python, tmp_path):
    """PocketFlow's `.pyc` may be of a Python that ran with `-X no_debug_ranges`, or this Python may."""
    kept = {"PYTHONPYCACHEPREFIX": str(tmp_path / "pyc"), "PYTHONDONTWRITEBYTECODE": ""}
    compiled, runs = ({"PYTHONNODEBUGRANGES": "1"} if option == "without" else {} for option in options)
    python("import pocketflow", **kept, **compiled)
    assert "['Flow', 'N', 'N.prep', 'N.exec', 'N.post']" in python(PROGRAM, **kept, **runs).stdout


def test_an_import_hook_that_rewrites_pocketflow(python):
    """The line says what is so, and the program runs on."""
    done = python("""
import ast, importlib.abc, importlib.machinery, sys

class Rewrites(importlib.machinery.SourceFileLoader):
    def get_code(self, name):
        tree = ast.parse(self.get_data(self.path))
        for part in ast.walk(tree):
            if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
                part.body.insert(0, ast.parse("import typing").body[0])
        return compile(ast.fix_missing_locations(tree), self.path, "exec")

class Finds(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "pocketflow":
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            spec.loader = Rewrites(name, spec.origin)
            return spec

sys.meta_path.insert(0, Finds())
import pocketflow
from pocketflow_tracing import instrument
from pocketflow_tracing.frameworks.pocketflow import why_not
instrument()
assert "an import hook" in why_not()
assert pocketflow.Flow(start=pocketflow.Node()).run({}) is None
""")
    assert "an import hook has rewritten them" in done.stderr
    assert "not available" not in done.stderr


def test_the_package_loaded_anew(python):
    """A second copy of it takes over the hooks of the first."""
    done = python(
        """
import sys
import pocketflow, pocketflow_tracing
before = dict(vars(pocketflow.Flow))
pocketflow_tracing.instrument()
for name in [name for name in sys.modules if name.startswith("pocketflow_tracing")]:
    del sys.modules[name]
"""
        + PROGRAM
        + """
from pocketflow_tracing import uninstrument
uninstrument()
assert before == dict(vars(pocketflow.Flow))
"""
    )
    assert "['Flow', 'N', 'N.prep', 'N.exec', 'N.post']" in done.stdout


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_flow_that_runs_while_tracing_is_switched_on(kind, hooked, fresh):
    """Its other nodes are no runs of their own; the next run is traced whole."""
    if hooked:
        framework.install()

    class Switches(Node):
        def exec(self, prep_res):
            instrument()

    class Later(AsyncNode if kind == "async" else Node):
        pass

    flow = (AsyncFlow if kind == "async" else Flow)(start=Switches())
    flow.start_node >> Later()

    def run():
        return asyncio.run(flow.run_async({})) if kind == "async" else flow.run({})

    run()
    assert not fresh.spans()
    run()
    assert [type(flow).__name__, "Switches", "Later"] == [
        span.name for span in fresh.spans() if span.kind in {"flow", "node"}
    ]


def test_modules_that_are_thrown_out_and_imported_again(python):
    """Tests fake a library by `patch.dict(sys.modules, …)`, which throws out what was imported meanwhile: all is delivered.

    Messages of protobuf would end the process where they are imported a second time; none of them is.
    """
    with Collector() as collector:
        done = python(
            """
import sys, types
from unittest import mock
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

class Asks(Node):
    def exec(self, prep_res):
        import fake
        return fake.answer

for number in range(3):
    with mock.patch.dict(sys.modules, {"fake": types.SimpleNamespace(answer=number)}):
        trace_flow(Flow(start=Asks())).run({})
        print(flush(10))
        print([name for name in sys.modules if name.startswith(("google.protobuf", "opentelemetry.proto"))])
""",
            check=False,
            **collector.environ,
        )
        assert (0, ["True", "[]"] * 3) == (done.returncode, done.stdout.splitlines()), done.stderr
        assert 3 * len(("flow", "node", "prep", "exec", "post")) == len(collector.spans())


@pytest.mark.parametrize("sink", ["store", "langfuse"])
def test_a_program_that_guards_imports(sink, python):
    """An agent that runs code of a model's lets it import little: what is delivered meanwhile needs none, and nothing is lost."""
    with Collector() as collector:
        settings = collector.environ if sink == "langfuse" else {}
        done = python(
            """
import builtins, time
from pocketflow import Flow, Node
from pocketflow_tracing import add_score, flush, trace_flow
from pocketflow_tracing.delivery import delivery
real, asked = builtins.__import__, []

def guarded(name, *args, **kwargs):
    asked.append(name)
    raise ImportError(f"{name} is not allowed")

class RunsCode(Node):
    def exec(self, prep_res):
        builtins.__import__ = guarded
        try:
            deadline = time.monotonic() + 20
            while len(delivery.queue) and time.monotonic() < deadline:
                time.sleep(0.01)  # the worker takes up what came before
            time.sleep(0.3)
            if self.cur_retry == 0:
                raise ValueError("postgres://user:hunter2@host/db says Bearer 0123456789abcdef0123456789")
        finally:
            builtins.__import__ = real

class Judges(Node):
    def exec(self, prep_res):
        add_score("quality", 1.0)

agent = trace_flow(Flow(start=RunsCode(max_retries=2)))
other = trace_flow(Flow(start=Judges()))
other.run({})
assert flush(10)
for _ in range(5):
    other.run({})
agent.run({})
while not flush(10):
    pass
print(asked)
""",
            check=False,
            **settings,
        )
        assert done.returncode == 0, done.stderr
        if sink == "langfuse":  # httpx imports for each request; what it could not send is sent after that
            assert 6 * 5 + 6 == len(collector.spans())
            assert 6 == len(collector.scores())
        else:
            assert "could not" not in done.stderr
            assert "[]" in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_and_what_a_first_run_says_do_not_wait_for_each_other(python):
    """Also in a program that imports this package first: a fork takes our lock before that of `logging`."""
    code = """
import pocketflow_tracing
from pocketflow_tracing._forks import unforked
import logging, os, threading, time, warnings
warnings.simplefilter("ignore")
begun, forks = threading.Event(), threading.Event()

def say():
    with unforked():  # as the first run does
        begun.set()
        forks.wait(0.5)  # a fork that took the lock of logging first would have it by now
        logging.getLogger("new").isEnabledFor(logging.ERROR)

os.register_at_fork(before=forks.set)
saying = threading.Thread(target=say)
saying.start()
begun.wait(10)
began = time.monotonic()
child = os.fork()
if child == 0:
    os._exit(0)
print(time.monotonic() - began < 3)
saying.join()
os.waitpid(child, 0)
"""
    assert python(code).stdout == "True\n"


def test_errors_of_bytes_under_bytes_warnings(python):
    """`python -bb` forbids to write bytes as text, which the message of such an error does."""
    code = """
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow
from pocketflow_tracing.store import Store

class Fails(Node):
    def exec(self, prep_res):
        raise self.params["error"]

for error in (ValueError(b"bad header"), OSError(2, b"gone"), KeyError(b"key")):
    flow = Flow(start=Fails())
    flow.set_params({"error": error})
    try:
        trace_flow(flow).run({})
    except type(error):
        pass
assert flush(10)
store = Store(".pocketflow/traces.db")
print([span.error["message"] for run in store.runs() for span in store.spans(run.run_id) if span.kind == "attempt"])
"""
    said = python("-bb", "-c", code).stdout
    assert all(text in said for text in ("bad header", "gone", "key"))


FINALISERS = {
    "it sets a variable": """
class Cycle:
    def __init__(self):
        self.me = self

    def __del__(self):
        with decimal.localcontext():
            pass
""",
    "a stream that was abandoned in a block": """
class Cycle:
    def __init__(self):
        self.me, self.stream = self, self.streams()
        next(self.stream)

    def streams(self):
        with trace_attributes(user_id="u", tags=["t"]):
            flow.run({})
            yield
""",
}


@pytest.mark.parametrize("what", FINALISERS)
def test_a_finaliser_that_sets_a_context_variable(what, python):
    """Python before 3.12 may run it inside of our own `ContextVar.set`, which then worked on what had been freed."""
    done = python(
        f"""
import decimal, gc
from pocketflow import Flow, Node
from pocketflow_tracing import trace_attributes, trace_flow

flow = trace_flow(Flow(start=Node()))
{FINALISERS[what]}
for number in range(2000):
    gc.collect(0)
    Cycle()
    gc.set_threshold(number % 400 + 1)  # allocations until it is found, somewhere in the run
    flow.run({{}})
"""
    )
    assert "could not finish" not in done.stderr


def test_finalisers_that_set_a_variable_while_many_threads_record(python):
    """Each collection lets the other threads make garbage, and the next begins at once, within the same `ContextVar.set`."""
    done = python(
        """
import decimal, os, threading
from pocketflow import Flow, Node
from pocketflow_tracing import trace_flow

class Cycle:
    def __init__(self):
        self.me = self

    def __del__(self):
        with decimal.localcontext():
            os.write(null, b"x")  # lets others run

class Litters(Node):
    def exec(self, prep_res):
        for _ in range(5):
            Cycle()

flow = trace_flow(Flow(start=Litters()))
null = os.open(os.devnull, os.O_WRONLY)

def record():
    for _ in range(20):
        flow.run({})

for _ in range(50):
    threads = [threading.Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""
    )
    assert "could not finish" not in done.stderr


def test_a_program_of_greenlets_ends_without_a_word(python):
    """What is asked in each collection is asked as the process ends, too, when there are no greenlets any more."""
    pytest.importorskip("gevent")
    done = python(
        """
from gevent import monkey; monkey.patch_all()
import gevent
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

flow = trace_flow(Flow(start=Node()))
gevent.joinall([gevent.spawn(flow.run, {}) for _ in range(20)])
print(flush(10))
""",
        POCKETFLOW_TRACE_STORE="traces.db",
    )
    assert ("True\n", "") == (done.stdout, done.stderr)


@pytest.mark.skipif(not _finalisers.MAY_RUN_INSIDE, reason="from Python 3.12 on no finaliser runs inside of a set")
def test_a_finaliser_that_sets_one_of_ours_takes_nothing_from_the_set_around_it():
    """Of several collections within one `set`, each may run a flow."""
    held = _finalisers.hold()
    gc.collect()
    kept = dict(held)
    inner = _finalisers.hold()
    _finalisers.release(inner)
    gc.collect()
    assert {"start", "stop"} == kept.keys()
    assert kept == held
    _finalisers.release(held)
    gc.collect()
    assert not any(held.values())
