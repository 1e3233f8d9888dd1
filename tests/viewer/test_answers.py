"""What the server answers while a store is written, and whatever it holds."""

from __future__ import annotations

import sqlite3
import threading

import httpx
from store.sample import now_ns, process_id, small_run

from pocketflow_tracing.store import StoreWriter
from pocketflow_tracing.viewer.app import create_app

PATHS = (
    "/api/runs",
    "/api/figures",
    "/api/choices",
    "/api/nodes?flow=Small",
    "/api/compare?left={0}&right={0}",
    "/api/runs/{0}",
)


def filled(path, number=3):
    runs = [small_run(number_, start_ns=now_ns()) for number_ in range(1, number + 1)]
    writer = StoreWriter(path)
    writer.write([run.record for run in runs], [span for run in runs for span in run.spans])
    writer.close()
    return runs


def change(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def test_whatever_a_store_holds_the_answer_is_json(tmp_path):
    """Columns that hold what no trace store holds give a sentence, not a traceback."""
    path = tmp_path / "traces.db"
    runs = filled(path)
    change(
        path,
        "UPDATE spans SET attributes = '[1, 2]', error = '{{{', state = '7'",
        "UPDATE runs SET graph = '[[]]', tags = 'x', metadata = '3'",
    )
    transport = httpx.ASGITransport(create_app(path), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7717") as client:
        for address in PATHS:
            answer = await client.get(address.format(runs[0].run_id))
            assert answer.status_code in {200, 500, 503}
            assert isinstance(answer.json(), dict)
            assert "Traceback" not in answer.text
            assert answer.headers["content-security-policy"]


async def test_a_store_is_read_while_it_is_written(tmp_path):
    """Two hundred writes and as many readings at the same time: every answer is whole, and none is told of a lock."""
    path = tmp_path / "traces.db"
    runs = filled(path)
    writing, failed = threading.Event(), []

    def write():
        try:
            writer = StoreWriter(path)
            for number in range(10, 210):
                run = small_run(number, start_ns=now_ns())
                writer.write([run.record], run.spans, (process_id(), now_ns()))
            writer.close()
        except Exception as error:
            failed.append(error)
        finally:
            writing.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = 0
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(path)), base_url="http://127.0.0.1:7717"
    ) as client:
        while not writing.is_set():
            for address in PATHS:
                answer = await client.get(address.format(runs[0].run_id))
                assert 200 == answer.status_code, answer.text
            seen += 1
        figures = (await client.get("/api/figures")).json()
    thread.join()
    assert ([], 203) == (failed, figures["total"]["runs"])
    assert seen > 0
