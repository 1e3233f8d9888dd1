# ruff: noqa: PLC0415 (imports stand in the functions: looking at a store must not load what records and delivers)
"""`doctor`: does everything stand ready, and if not, what is to be done."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer
from rich.table import Table
from rich.text import Text

from pocketflow_tracing._version import __version__
from pocketflow_tracing.store import Store, StoreError, StoreWriter

from .output import JsonOption, StoreOption, console, print_json, store_path
from .symbols import Symbols, symbols_for
from .words import clean, count, size

if TYPE_CHECKING:
    from pocketflow_tracing.config import TracingConfig

__all__ = ["Check", "doctor"]

_PACKAGES = ("pocketflow", "langfuse", "opentelemetry-sdk")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: of the thing.
        result: "ok", "failed", or "info" where there is nothing to fail.
        detail: what was found, or what is to be done.
    """

    name: str
    result: Literal["ok", "failed", "info"]
    detail: str


def doctor(store: StoreOption = None, json: JsonOption = False) -> None:
    """Check versions, settings, the store, and with credentials send one real span to Langfuse."""
    from pocketflow_tracing.config import TracingConfig

    config = TracingConfig.from_env()
    path = store_path(store)
    checks = [*_versions(), *_settings(config), *_store(path), *_outbox(path, config), *_delivery(config)]
    failed = sum(check.result == "failed" for check in checks)
    settings = [dict(zip(("name", "env", "value", "source"), row, strict=True)) for row in config.describe()]
    if json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks], "settings": settings})
    else:
        _print(checks, settings)
    if failed:
        raise typer.Exit(1)


def _versions() -> Iterator[Check]:
    yield Check("pocketflow-tracing", "ok", __version__)
    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()}")
    yield from map(_version, _PACKAGES)


def _version(package: str) -> Check:
    try:
        return Check(package, "ok", importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return Check(package, "failed", f"not installed: pip install {package}")


def _settings(config: TracingConfig) -> Iterator[Check]:
    problems = config.problems()
    for problem in problems:
        yield Check("settings", "failed", problem)
    if not problems:
        yield Check("settings", "ok", "all of them can be used")
    if not config.enabled:
        yield Check("tracing", "info", "switched off by POCKETFLOW_TRACING_ENABLED")


def _store(path: Path) -> Iterator[Check]:
    try:
        if not path.exists():
            yield _creatable(path)
            return
        writer = StoreWriter(path, patience_s=5)
        try:
            writer.add_figures({})
        finally:
            writer.close()
        flows = Store(path).flows()
        runs = sum(flow.runs for flow in flows)
        yield Check("store", "ok", f"{path}, writable, {count(runs, 'run')}, {size(path.stat().st_size)}")
    except (StoreError, OSError) as error:
        yield Check("store", "failed", str(error))


def _creatable(path: Path) -> Check:
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return Check("store", "ok", f"{path}, not there yet, can be created")
    return Check("store", "failed", f"{path} cannot be created: {nearest} is not writable. Set POCKETFLOW_TRACE_STORE.")


def _outbox(path: Path, config: TracingConfig) -> Iterator[Check]:
    from pocketflow_tracing.redaction import scan

    try:
        counts = Store(path).outbox() if path.exists() else None
        delivered = Store(path).figures().get("delivered", 0) if path.exists() else 0
    except StoreError:
        return  # said above
    if counts is None:
        return
    waiting = f"{count(counts.waiting_spans, 'span')} waiting ({size(counts.waiting_bytes)})"
    facts = f"{waiting}, {delivered:,} delivered, {counts.refused_spans:,} refused, {counts.dropped_spans:,} dropped"
    yield Check("outbox", "info", ". ".join((facts, *counts.reasons)))
    if counts.refused_spans:
        spans = count(counts.refused_spans, "span")
        said = ". ".join(counts.refusals)
        yield Check("refused", "failed", f"{spans} set aside, `pocketflow-tracing sync --refused` tries again. {said}")
    server = config.resolved().langfuse_host
    for to in counts.destinations:
        if config.has_langfuse and (to.endpoint, to.public_key) != (scan(server), config.langfuse_public_key):
            spans = count(to.spans, "span")
            wanted = f"LANGFUSE_PUBLIC_KEY={to.public_key} and LANGFUSE_BASE_URL={to.endpoint}"
            yield Check(
                "outbox", "info", f"{spans} wait for another project or server: `sync` sends them with {wanted}"
            )


def _delivery(config: TracingConfig) -> Iterator[Check]:
    if not config.has_langfuse:
        yield Check("langfuse", "info", "no credentials: runs stay in the local store")
        return
    from pocketflow_tracing.sinks import langfuse

    began = time.monotonic()
    try:
        answer = langfuse.probe(config)
    except Exception as error:  # noqa: BLE001 - the examination must not die of what it examines
        yield Check("langfuse", "failed", f"{type(error).__name__}: {error}")
        return
    took = f"{time.monotonic() - began:.1f} s"
    link = f" {answer.url}" if answer.url else ""
    yield Check("langfuse", "ok" if answer.ok else "failed", f"{answer.detail} ({took}){link}")


def _print(checks: list[Check], settings: list[dict[str, str]]) -> None:
    out = console()
    symbols = symbols_for(out)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for check in checks:
        grid.add_row(_sign(check, symbols), Text(check.name, "bold"), Text(clean(check.detail)))
    out.print(grid)
    out.print()
    table = Table.grid(padding=(0, 2))
    for setting in settings:
        is_default = setting["source"] == "default"
        table.add_row(
            Text(setting["env"] or setting["name"], "dim" if is_default else "bold"),
            Text(clean(setting["value"]), "dim" if is_default else ""),
            Text(clean(setting["source"]), "dim"),
        )
    out.print(table)
    failed = sum(check.result == "failed" for check in checks)
    out.print()
    out.print(Text(f"{count(failed, 'check')} failed." if failed else "All is well.", "red" if failed else "green"))


def _sign(check: Check, symbols: Symbols) -> Text:
    if check.result == "info":
        return Text("i", "blue")
    return symbols.of("success" if check.result == "ok" else "error")
