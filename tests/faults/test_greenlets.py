"""Where threads become greenlets after this package was imported, as in the workers of `gunicorn -k gevent --preload`."""

from __future__ import annotations

import pytest
from collector import Collector

from pocketflow_tracing.store import Store

pytest.importorskip("gevent")

GREENLETS = """
from gevent import monkey; monkey.patch_all()
import gevent
worst = 0.0

def watch():
    global worst
    last = time.perf_counter()
    while True:
        gevent.sleep(0.01)
        worst, last = max(worst, time.perf_counter() - last), time.perf_counter()

gevent.spawn(watch)
answers = []
for _ in range(3):
    requests = [gevent.spawn(lambda: (flow.run({"question": "why"}), flush(10))[1]) for _ in range(5)]
    gevent.joinall(requests)
    answers += [request.value for request in requests]
    gevent.sleep(0.3)  # idle, as between two requests
print(all(answers), worst < 2)
sys.stdout.flush()
os._exit(0)
"""
PLACES = {
    "in a worker, after a run of its parent's": """
flow.run({"question": "parent"})
assert flush(10)
if os.fork():
    os.wait()
    sys.exit(0)
""",
    "in a worker": """
if os.fork():
    os.wait()
    sys.exit(0)
""",
    "after the first mark": "",
}


@pytest.mark.parametrize("place", PLACES)
def test_threads_that_have_become_greenlets(place, python):
    """Requests and a flush hold no other greenlet up, and all is delivered."""
    with Collector() as collector:
        done = python("import time\nflow = make_flow()\n" + PLACES[place] + GREENLETS, collector)
        assert "True True" in done.stdout, done.stderr
        assert 15 + ("parent" in place) == len({span.trace_id for span in collector.spans()})


def test_a_worker_without_a_run_ends_without_a_word(python):
    """Its threads are asked to deliver for the first time as it ends."""
    with Collector() as collector:
        done = python(
            """
flow = make_flow()
flow.run({"question": "parent"})
assert flush(10)
if os.fork():
    os.wait()
    sys.exit(0)
from gevent import monkey; monkey.patch_all()
import gevent
gevent.sleep(0.01)
""",
            collector,
        )
        assert "could not finish" not in done.stderr


def test_the_first_run_is_in_a_pool_of_gevent(python, tmp_path):
    """A greenlet of a thread of that pool would run no more once its job is done: the worker begins elsewhere."""
    done = python(
        """
import subprocess
code = '''
from gevent import monkey; monkey.patch_all()
import gevent
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

flow = trace_flow(Flow(start=Node()))
pool = gevent.get_hub().threadpool
for job in [pool.spawn(flow.run, {}) for _ in range(40)]:
    job.get()
flow.run({})
print(flush(4))
'''
print(subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=50).stdout)
""",
        POCKETFLOW_TRACE_STORE="pool.db",
    )
    assert "True" in done.stdout, done.stderr
    assert 41 == len(list(Store(tmp_path / "pool.db").runs(limit=100)))
