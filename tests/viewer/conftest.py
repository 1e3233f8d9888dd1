"""A browser, a server for every store, and pages whose console must stay empty."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from viewer import stores

from pocketflow_tracing.store import Store
from pocketflow_tracing.viewer.app import create_app

_PATIENCE_MS = 20_000  # a busy machine draws late
expect.set_options(timeout=_PATIENCE_MS)

CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Serving:
    """Serves stores, each at an address of its own, until the tests of a module end."""

    def __init__(self) -> None:
        self._running: dict[Path, tuple[uvicorn.Server, threading.Thread, str]] = {}

    def __call__(self, store: Path) -> str:
        if store not in self._running:
            config = uvicorn.Config(
                create_app(store), port=0, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=1
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()
            deadline = time.monotonic() + 10
            while not server.started and time.monotonic() < deadline:
                time.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            self._running[store] = (server, thread, f"http://127.0.0.1:{port}")
        return self._running[store][2]

    def stop(self) -> None:
        for server, _, _ in self._running.values():
            server.should_exit = True
        for _, thread, _ in self._running.values():
            thread.join(timeout=5)


@pytest.fixture(scope="module")
def serve() -> Iterator[Serving]:
    serving = Serving()
    yield serving
    serving.stop()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Stores by name, made when they are first asked for."""
    found: dict[str, Path] = {}

    def showcase(store: Path) -> None:
        store.write_bytes(make("examples").read_bytes())
        stores.run_code(store, stores.FAILING)
        stores.run_demo(store, times=2)

    makers: dict[str, Callable[[Path], None]] = {
        "demo": lambda store: stores.run_demo(store, times=2),
        "examples": stores.run_examples,
        "hostile": lambda store: stores.run_code(store, stores.HOSTILE),
        "failing": lambda store: stores.run_code(store, stores.FAILING),
        "killed": stores.run_killed,
        "showcase": showcase,
    }

    def make(name: str) -> Path:
        if name not in found:
            folder = tmp_path_factory.mktemp(name) / ".pocketflow"
            folder.mkdir()
            makers[name](folder / "traces.db")
            found[name] = folder / "traces.db"
        return found[name]

    return make


# Playwright's event loop makes asyncio unusable on its thread: it lives as long as the tests of one module.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    missing = "the browser view is tested in Chromium (Debian: apt-get install chromium), which is not on this machine"
    if path is None and "CI" not in os.environ:
        pytest.skip(missing)
    assert path, missing
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield browser
        browser.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser, so that it can be left out."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


Opened = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Opens pages; at the end their consoles must be empty, and nothing may have been asked of other hosts."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(url: str, *, width: int = 1280, height: int = 860, theme: str = "light", accepts: str = "\0") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce"
        )
        context.set_default_timeout(_PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()

        def complain(text: str) -> None:
            if accepts not in text:
                complaints.append(text)

        page.on("console", lambda message: complain(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complain(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("http://127.0.0.1:", "file:", "data:", "about:"))
                else complain(f"asked for {request.url}")
            ),
        )
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        with contextlib.suppress(Exception):
            context.close()
    assert complaints == []


@pytest.fixture
def demo(opened: Opened, serve: Serving, made: Callable[[str], Path]) -> Callable[..., Page]:
    """Opens the demo's newest run, with a query."""
    path = made("demo")
    run = Store(path).run("last")
    return lambda query="", **options: opened(f"{serve(path)}/runs/{run.run_id}{query}", **options)
