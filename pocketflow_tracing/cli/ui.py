# ruff: noqa: PLC0415 (imports stand in the functions: the other commands must not load a web server, which may be absent)
"""`ui`: the runs of a store in the browser."""

from __future__ import annotations

import importlib.util
import threading
from typing import Annotated

import typer

from .output import StoreOption, console, fail, store_path, whole_number

__all__ = ["ui"]

_NEEDED = ("starlette", "uvicorn")


def ui(
    *,
    store: StoreOption = None,
    port: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(0, 65535), metavar="N", help="The port; 0 for any. Default: 7717, or the next free one."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; others than this machine reach it only if you say so.")
    ] = "127.0.0.1",
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the browser.")] = False,
) -> None:
    """Show the runs in the browser, until Ctrl-C."""
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise typer.Exit(fail("The browser view needs its extra: pip install 'pocketflow-tracing[ui]'."))
    from pocketflow_tracing.viewer.server import address, listen, open_browser, serve

    path = store_path(store).absolute()
    try:
        listening = listen(host, port)
    except OSError as error:
        where = f"{host}:{port}" if port is not None else host
        raise typer.Exit(fail(f"Cannot listen on {where}: {error.strerror or error}.")) from None
    url = address(listening, host)
    out = console()
    out.print(f"The runs of {path} are at {url} (Ctrl-C ends it).")
    if not path.exists():
        out.print("There is no store there yet; the page fills when the first traced run begins.")
    if host not in {"127.0.0.1", "localhost", "::1"}:
        console(stderr=True).print(f"Whoever can reach {host} can read every run: there is no password.")
    opened = threading.Thread(target=open_browser, args=(url,), daemon=True)
    serve(path, listening, host, on_ready=None if no_open else opened.start)
