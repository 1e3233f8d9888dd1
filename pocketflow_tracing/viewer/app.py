"""The application: pages, data and files, behind the guard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pocketflow_tracing._version import __version__
from pocketflow_tracing.store import Store

from . import api
from .security import HEADERS, Guard, allowed_hosts
from .shell import STATIC, page

__all__ = ["create_app"]

_TITLES = {"runs": "Runs", "run": "Run", "compare": "Compare runs", "nodes": "Nodes"}


def create_app(store: Path, host: str = "127.0.0.1") -> Starlette:
    """Return the application that shows a store.

    Args:
        store: the store file; it may appear later.
        host: the address that the server listens on, which decides what requests may call it.
    """
    routes = [
        Route("/", _page("runs")),
        Route("/runs/{run}", _page("run")),
        Route("/compare", _page("compare")),
        Route("/nodes", _page("nodes")),
        *api.routes(),
        Mount("/static", _Static(directory=STATIC)),
    ]
    hosts = allowed_hosts(host)
    middleware = [
        Middleware(Guard, hosts=hosts, any_address=host in {"0.0.0.0", "::"}),  # noqa: S104 - asked for by the user
        Middleware(GZipMiddleware, minimum_size=1000, compresslevel=4),
    ]
    app = Starlette(routes=routes, middleware=middleware, exception_handlers={404: _not_found, Exception: _failed})
    app.state.store = Store(store)
    return app


class _Static(StaticFiles):
    """The view's own files; a browser asks whether they have changed, because a new version may have."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _page(name: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        store: Store = request.app.state.store
        data = {"store": str(store.path), "version": __version__, **request.path_params}
        return HTMLResponse(
            page(name, f"{_TITLES[name]} · PocketFlow tracing", data), headers={"Cache-Control": "no-store"}
        )

    return answer


def _not_found(request: Request, _error: Exception) -> Response:
    store: Store = request.app.state.store
    data = {"store": str(store.path), "version": __version__, "path": request.url.path}
    return HTMLResponse(page("missing", "Not found · PocketFlow tracing", data), 404)


def _failed(_request: Request, error: Exception) -> Response:
    # A store that another program wrote into may hold anything. Starlette raises the error again, for the log.
    sentence = (
        f"This part of the store cannot be shown ({type(error).__name__}): it does not hold what a trace store holds."
    )
    return JSONResponse({"error": sentence}, 500, HEADERS)  # this answer does not pass the guard
