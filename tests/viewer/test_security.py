"""Who is answered, and what pages may load."""

from __future__ import annotations

import contextlib
import json
import re

import httpx
import pytest
from store.sample import small_run

from pocketflow_tracing.store import StoreWriter
from pocketflow_tracing.viewer.app import create_app
from pocketflow_tracing.viewer.security import allowed_hosts
from pocketflow_tracing.viewer.shell import page as shell_page

PATHS = (
    "/",
    "/runs/x",
    "/compare",
    "/nodes",
    "/api/runs",
    "/api/figures",
    "/static/run.js",
    "/nowhere",
    "/static/../app.py",
)


@pytest.fixture
def client(tmp_path):
    run = small_run()
    with contextlib.closing(StoreWriter(tmp_path / "traces.db")) as writer:
        writer.write([run.record], run.spans)

    def make(host="127.0.0.1", base="http://127.0.0.1:7717"):
        return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(tmp_path / "traces.db", host)), base_url=base)

    return make


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_carries_the_policy(client, path):
    """Own origin only, never framed, never sniffed, no CORS: on pages, data, files and errors."""
    answer = await client().get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert "same-origin" == answer.headers["cross-origin-resource-policy"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7717",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "",
        "[::1",
        "a b",
        "0.0.0.0",
    ],
)
async def test_a_strangers_name_is_refused(client, host):
    """A page that makes its own name mean this machine (DNS rebinding) gets nothing."""
    answer = await client().get("/api/runs", headers={"host": host})
    assert 421 == answer.status_code
    assert "run" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:7717", "127.0.0.1:1", "[::1]:7717", "LOCALHOST"])
async def test_this_machine_is_answered(client, host):
    """By each of the names that mean it."""
    assert 200 == (await client().get("/api/runs", headers={"host": host})).status_code


async def test_when_others_are_served_addresses_are_accepted_but_not_names(client):
    """With --host 0.0.0.0 a browser names any address of the machine; foreign names stay refused."""
    served = client("0.0.0.0")
    assert 200 == (await served.get("/api/runs", headers={"host": "192.168.1.7:7717"})).status_code
    assert 421 == (await served.get("/api/runs", headers={"host": "evil.example"})).status_code
    assert "my.machine" in allowed_hosts("my.machine")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_only_reading_is_answered(client, method):
    """There is nothing that a request could change."""
    answer = await client().request(method, "/api/runs")
    assert 405 == answer.status_code
    assert "GET, HEAD" == answer.headers["allow"]


@pytest.mark.parametrize(
    "query", ["status=odd", "since=yesterday-ish", "before=x", "limit=many", "before=1", "before=9" * 9]
)
async def test_a_wrong_url_is_told_in_a_sentence(client, query):
    """An edited URL gets a sentence, never a traceback."""
    answer = await client().get(f"/api/runs?{query}")
    assert 400 == answer.status_code
    assert answer.json()["error"].endswith(".")


async def test_the_store_is_not_changed_by_looking(client, tmp_path):
    """No file appears beside the store, and the store itself stays as it is."""
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    for path in (
        "/api/runs",
        "/api/figures",
        "/api/choices",
        "/api/nodes?flow=Small",
        f"/api/runs/{small_run().run_id}",
    ):
        assert 200 == (await client().get(path)).status_code
    assert before == {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}


def test_no_text_ends_the_data_of_a_page():
    """What stands in a page as JSON holds no `<` at all."""
    text = shell_page("runs", "</title><script>", {"store": "</script><!--<script>"})
    assert "</title><script>" not in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert "<" not in data
    assert {"store": "</script><!--<script>"} == json.loads(data)
