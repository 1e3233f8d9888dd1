"""Stores made by real programs, each in a process of its own, as users make them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

from pocketflow_tracing.store import Store, StoreError

ROOT = Path(__file__).parents[2]

HOSTILE = """
    from pocketflow import Flow, Node
    from pocketflow_tracing import trace_flow

    EVIL = "</script><script>document.title = 'pwned'</script><img src=x onerror=\\"document.title='pwned'\\">"

    class Ask(Node):
        def prep(self, shared):
            return [{"role": "user", "content": "![](https://evil.example/x.png) **bold** " + EVIL}]
        def exec(self, messages):
            raise ValueError(EVIL)
        def exec_fallback(self, messages, error):
            return "# Title\\n\\n- one ![](https://evil.example/y.png)\\n- [link](javascript:alert(1)) " + EVIL
        def post(self, shared, messages, answer):
            shared["answer"] = answer
            shared[EVIL] = {EVIL: [EVIL]}
            return EVIL

    class Next(Node):
        pass

    ask = Ask()
    ask - EVIL >> Next()
    flow = trace_flow(flow_name="Hostile " + EVIL, session_id=EVIL[:100], tags=[EVIL[:60]])(Flow(start=ask))
    flow.run({"question": EVIL})
"""

FAILING = """
    from pocketflow import Flow, Node
    from pocketflow_tracing import trace_flow

    class Load(Node):
        def post(self, shared, prep_res, exec_res):
            shared["page"] = "tea"
            shared["draft"] = "\\n".join(f"line {n}" for n in range(40))

    class Parse(Node):
        def prep(self, shared):
            return shared["page"]
        def exec(self, page):
            try:
                return {}[page]
            except KeyError as error:
                raise ValueError(f"cannot parse {page!r}") from error

    load = Load()
    load >> Parse()
    flow = trace_flow(flow_name="Parser", version="2.1")(Flow(start=load))
    try:
        flow.run({"draft": "\\n".join(f"line {n}" for n in range(39)), "old": 1})
    except ValueError:
        pass
"""

KILLED = """
    import threading
    from pocketflow import Flow, Node
    from pocketflow_tracing import trace_flow

    class Quick(Node):
        def post(self, shared, prep_res, exec_res):
            shared["quick"] = "done"

    class Slow(Node):
        def exec(self, prep_res):
            threading.Event().wait(60)

    quick = Quick()
    quick >> Slow()
    trace_flow(flow_name="LongRun")(Flow(start=quick)).run({})
"""


def environment(store: Path) -> dict[str, str]:
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("LANGFUSE_", "POCKETFLOW_", "OTEL_"))
    }
    return {**plain, "POCKETFLOW_TRACE_STORE": str(store), "OPENAI_API_KEY": ""}


def run_program(store: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, *arguments],
        env=environment(store),
        cwd=store.parent,
        check=True,
        capture_output=True,
        timeout=60,
    )


def run_demo(store: Path, times: int = 1) -> None:
    for _ in range(times):
        run_program(store, "-m", "pocketflow_tracing", "demo", "--store", str(store))


def run_code(store: Path, code: str) -> None:
    run_program(store, "-c", dedent(code))


def run_examples(store: Path) -> None:
    for example in sorted((ROOT / "examples").glob("*.py")):
        run_program(store, str(example))


def run_killed(store: Path) -> None:
    """Kills a program in its second node, once the store knows that it is there."""
    program = subprocess.Popen(
        [sys.executable, "-c", dedent(KILLED)],
        env=environment(store),
        cwd=store.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    try:
        while not _is_running(store, "Slow"):
            assert program.poll() is None, "the program ended by itself"
            assert time.monotonic() < deadline, "the store does not know of the node that is running"
            time.sleep(0.02)
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()


def _is_running(store: Path, name: str) -> bool:
    try:
        spans = Store(store).spans(Store(store).run("last").run_id, payload=False)
    except StoreError:
        return False
    return any(span.name == name and span.status == "running" for span in spans)
