"""A notebook's kernel: cells run flows, are interrupted, and the kernel ends in time."""

from __future__ import annotations

import queue
import sys
import time

import pytest
from collector import Collector, Mode
from drill import FLOW, environment

from pocketflow_tracing.store import Store

jupyter_client = pytest.importorskip("jupyter_client", reason="the kernel is tested where one is installed")
pytest.importorskip("ipykernel", reason="as above")

DEADLINE = 2.0
"""Seconds that the exit may take, by default."""


class Kernel:
    """A kernel that runs cells, as a notebook does."""

    def __init__(self, tmp_path, **extra):
        self.manager = jupyter_client.KernelManager(kernel_name="python3")
        self.manager.kernel_spec.argv[0] = sys.executable
        self.manager.start_kernel(env=environment(None, **extra), cwd=str(tmp_path))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def begin(self, code):
        """Have a cell run; the id of the request."""
        return self.client.execute(
            code, stop_on_error=False
        )  # else the kernel refuses cells for a moment after an error

    def end(self, request):
        """Wait for the cell's end: "ok" or the name of its error."""
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == request:
                return reply["content"].get("ename", reply["content"]["status"])

    def run(self, code):
        return self.end(self.begin(code))

    def until_printed(self, text):
        """Wait until a cell has printed something."""
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if text in str(message["content"].get("text")):
                return

    def shut_down(self):
        """Ask the kernel to end, and the seconds that it took."""
        began = time.monotonic()
        self.client.shutdown()
        while self.manager.is_alive():
            assert time.monotonic() - began < 30
            try:
                self.client.get_iopub_msg(timeout=0.02)
            except (queue.Empty, RuntimeError):
                continue
        took = time.monotonic() - began
        self.client.stop_channels()
        self.manager.cleanup_resources()
        return took


@pytest.mark.parametrize("server", ["store", "silent", "refuse"])
def test_a_kernel_ends_in_time_and_keeps_what_its_cells_recorded(server, tmp_path):
    """Cells with sync and async flows, one that is interrupted, and the end of the kernel."""
    mode = Mode.silent() if server == "silent" else Mode.refuse()
    with Collector(mode) as collector:
        extra = {} if server == "store" else collector.environ
        kernel = Kernel(tmp_path, **extra)
        assert kernel.run(FLOW + "flow = make_flow()\nflow.run({'question': 'one'})") == "ok"
        if server == "store":
            kernel.until_printed("No Langfuse keys")  # at once: there is no end of the program to wait for
        asynchronous = (
            "from pocketflow import AsyncFlow, AsyncNode\nawait trace_flow(AsyncFlow(start=AsyncNode())).run_async({})"
        )
        assert kernel.run(asynchronous) == "ok"
        request = kernel.begin(
            "class Waits(Node):\n"
            "    def exec(self, _):\n"
            "        print('waiting', flush=True)\n"
            "        time.sleep(60)\n"
            "trace_flow(Flow(start=Waits()), flow_name='Waits').run({})\n"
        )
        kernel.until_printed("waiting")
        kernel.manager.interrupt_kernel()
        assert kernel.end(request) == "KeyboardInterrupt"
        assert kernel.run("flow.run({'question': 'two'})") == "ok"
        took = kernel.shut_down()
        assert took < DEADLINE + 2.0  # the kernel itself takes up to a second
    store = Store(next(tmp_path.rglob("traces.db")))
    if server == "store":
        assert [run.status for run in store.runs() if run.name in {"Drill", "Waits"}] == [
            "success",
            "cancelled",
            "success",
        ]
    else:
        assert store.outbox().waiting_spans >= 3 * 2
