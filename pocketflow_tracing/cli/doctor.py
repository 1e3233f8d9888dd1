# ruff: noqa: PLC0415 (imports stand in the functions: looking at a store must not load what records and delivers)
"""`doctor`: does everything stand ready, and if not, what is to be done."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import textwrap
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from pocketflow_tracing._command import command
from pocketflow_tracing._version import __version__
from pocketflow_tracing.store import RunFilter, Store, StoreError, StoreWriter, adopt
from pocketflow_tracing.store.statistics import run_figures

from .output import JsonOption, StoreOption, console, print_json, store_path
from .symbols import Symbols, symbols_for
from .words import clean, count, lacking, size

if TYPE_CHECKING:
    from pocketflow_tracing.config import TracingConfig

__all__ = ["Check", "doctor"]

_PACKAGES = ("pocketflow", "langfuse", "opentelemetry-sdk")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: of the thing.
        result: "ok", "failed", "warning" where it may be meant so but must be said, "info" where nothing can fail.
        detail: what was found, or what is to be done.
    """

    name: str
    result: Literal["ok", "failed", "warning", "info"]
    detail: str


def doctor(
    store: StoreOption = None,
    every_setting: Annotated[
        bool, typer.Option("--all", help="Show the settings that have their default too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check versions, settings, the store, and with credentials send one real span to Langfuse."""
    from pocketflow_tracing.config import TracingConfig

    config = TracingConfig.from_env()
    path = store_path(store)
    off = store is None and config.store == "off"
    stored = [Check("store", "info", "off (POCKETFLOW_TRACE_STORE)")] if off else list(_store(path))
    checks = [*_versions(), *_settings(config), *stored, *_outbox(path, config), *_delivery(config), *_nowhere(config)]
    failed = sum(check.result == "failed" for check in checks)
    settings = [row._asdict() for row in config.describe()]
    if json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks], "settings": settings})
    else:
        _print(checks, settings, every_setting=every_setting)
    if failed:
        raise typer.Exit(1)


def _versions() -> Iterator[Check]:
    yield Check("pocketflow-tracing", "ok", __version__)
    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()}")
    yield from map(_version, _PACKAGES)
    try:
        from pocketflow_tracing.frameworks.pocketflow import why_not

        reason = why_not()
    except ImportError:  # said above
        return
    if reason is not None:
        yield Check("hooks", "failed", reason)


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


def _nowhere(config: TracingConfig) -> Iterator[Check]:
    """Yield why nothing is recorded, where it is so. It may be meant: it fails nothing, but it is not well either."""
    from pocketflow_tracing._pipeline import langfuse_switch

    switch = langfuse_switch(config)
    reason = ""
    if not config.enabled:
        reason = "POCKETFLOW_TRACING_ENABLED switches tracing off"
    elif config.sample_rate == 0:
        reason = "LANGFUSE_SAMPLE_RATE is 0"
    elif config.store == "off" and not config.has_langfuse:
        reason = f"there {lacking(config)} for Langfuse, and POCKETFLOW_TRACE_STORE is off"
    elif config.store == "off" and switch is not None:
        reason = f"{switch} switches Langfuse off, and POCKETFLOW_TRACE_STORE is off"
    if reason:
        yield Check("tracing", "warning", f"runs are recorded nowhere: {reason}")


def _store(path: Path) -> Iterator[Check]:
    try:
        if not path.exists():
            yield _creatable(path)
            return
        writer = StoreWriter(path, patience_s=5)
        try:
            writer.check()
        finally:
            writer.close()
        runs = run_figures(Store(path), RunFilter()).total.runs
        yield Check("store", "ok", f"{path}, writable, {count(runs, 'run')}, {size(path.stat().st_size)}")
    except (StoreError, OSError) as error:
        yield Check("store", "failed", str(error))


def _creatable(path: Path) -> Check:
    parents = path.absolute().parents
    for parent in parents:
        if parent.is_symlink() and not parent.exists():  # of a volume that is not mounted, say
            return Check("store", "failed", f"{path} cannot be created: {parent} is a link that leads to nothing.")
    nearest = next(parent for parent in parents if parent.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return Check("store", "ok", f"{path}, not there yet, can be created")
    return Check("store", "failed", f"{path} cannot be created: {nearest} is not writable. Set POCKETFLOW_TRACE_STORE.")


def _outbox(path: Path, config: TracingConfig) -> Iterator[Check]:
    from pocketflow_tracing.redaction import scan

    try:
        if path.exists():
            adopt(path)
        counts = Store(path).outbox() if path.exists() else None
        delivered = Store(path).figures().get("delivered", 0) if path.exists() else 0
    except StoreError:
        return  # said above
    if counts is None:
        return
    waiting = f"{count(counts.waiting_spans, 'span')} waiting ({size(counts.waiting_bytes)})"
    facts = f"{waiting}, {delivered:,} delivered, {counts.refused_spans:,} refused, {counts.dropped_spans:,} dropped"
    why = f". Why they wait: {'; '.join(counts.reasons)}" if counts.waiting and counts.reasons else ""
    yield Check("outbox", "info", f"{facts}{why}")
    if counts.waiting and not config.has_langfuse:
        spans = count(counts.waiting_spans, "span")
        yield Check("outbox", "warning", f"{spans} wait for Langfuse, but there {lacking(config)}: nothing sends them")
    if counts.stuck_spans:
        spans = count(counts.stuck_spans, "span")
        yield Check(
            "outbox", "warning", f"{spans} of them were sent several times and never taken: see the server's log"
        )
    if counts.refused_spans:
        spans = count(counts.refused_spans, "span")
        said = f". Langfuse said: {'; '.join(counts.refusals)}" if counts.refusals else ""
        yield Check("refused", "failed", f"{spans} set aside; `{command()} sync --refused` tries again{said}")
    server = config.resolved().langfuse_host
    for to in counts.destinations:
        if config.has_langfuse and (to.endpoint, to.public_key) != (scan(server), config.langfuse_public_key):
            spans = count(to.spans, "span")
            wanted = f"LANGFUSE_PUBLIC_KEY={to.public_key} and LANGFUSE_BASE_URL={to.endpoint}"
            said = f"{spans} wait for another project or server: `{command()} sync` sends them with {wanted}"
            yield Check("outbox", "info", said)


def _delivery(config: TracingConfig) -> Iterator[Check]:
    from pocketflow_tracing._pipeline import langfuse_switch
    from pocketflow_tracing.sinks.probe import probe

    if not config.has_langfuse:
        yield Check("langfuse", "info", f"nothing is sent, for there {lacking(config)}")
        return
    if (switch := langfuse_switch(config)) is not None:
        yield Check("langfuse", "info", f"switched off by {switch}: nothing is sent")
        return
    began = time.monotonic()
    try:
        answer = probe(config)
    except Exception as error:  # noqa: BLE001 - the examination must not die of what it examines
        yield Check("langfuse", "failed", f"{type(error).__name__}: {error}")
        return
    took = f"{time.monotonic() - began:.1f} s"
    link = f": {answer.url}" if answer.url else ""
    yield Check("langfuse", "ok" if answer.ok else "failed", f"{answer.detail} ({took}){link}")


def _print(checks: list[Check], settings: list[dict[str, str]], *, every_setting: bool) -> None:
    out = console()
    symbols = symbols_for(out)
    width = max(len(check.name) for check in checks)
    for check in checks:
        first, *rest = _wrapped(clean(check.detail), out, width + 4)
        out.print(Text.assemble(_sign(check, symbols), "  ", (check.name.ljust(width), "bold"), "  ", first))
        for line in rest:
            out.print(f"{' ' * (width + 5)}{line}")
    out.print()
    shown = [setting for setting in settings if every_setting or setting["source"] != "default"]
    names, values = ([clean(s["env"] or s["name"]) for s in shown], [clean(s["value"]) for s in shown])
    for setting, name, value in zip(shown, names, values, strict=True):
        style = "dim" if setting["source"] == "default" else "bold"
        padded = value.ljust(min(40, max(map(len, values))))
        out.print(
            Text.assemble(
                (name.ljust(max(map(len, names))), style), "  ", padded, "  ", (clean(setting["source"]), "dim")
            )
        )
    if len(shown) < len(settings):
        hidden = count(len(settings) - len(shown), "setting has its default", "settings have their default")
        out.print(Text(f"{hidden}; `{command()} doctor --all` shows them.", "dim"))
    out.print()
    out.print(_verdict(checks))


def _wrapped(detail: str, out: Console, indent: int) -> list[str]:
    # In a pipe a line is as long as it is.
    return textwrap.wrap(detail, max(30, out.width - indent - 1)) or [""] if out.is_terminal else [detail]


def _verdict(checks: list[Check]) -> Text:
    if failed := sum(check.result == "failed" for check in checks):
        return Text(f"{count(failed, 'check')} failed.", "red")
    if warnings := [check.detail for check in checks if check.result == "warning"]:
        return Text(clean(" ".join(f"{said[:1].upper()}{said[1:]}." for said in warnings)), "yellow")
    return Text("All is well.", "green")


def _sign(check: Check, symbols: Symbols) -> Text:
    if check.result == "info":
        return Text("i", "blue")
    if check.result == "warning":
        return Text("!", "yellow")
    return symbols.of("success" if check.result == "ok" else "error")
