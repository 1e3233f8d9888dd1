# ruff: noqa: PLC0415 (imports stand in the functions: looking at a store must not load what records and delivers)
"""`prune` and `sync`: keep the store small, and send what waits in it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketflow_tracing.store import OutboxCounts, Store, StoreError, StoreWriter

from .browse import parse_since
from .output import JsonOption, StoreOption, console, fail, print_json, store_path, whole_number
from .words import count, lacking, size

if TYPE_CHECKING:
    from pocketflow_tracing.config import TracingConfig
    from pocketflow_tracing.sinks.sync import SyncReport

__all__ = ["prune", "sync"]


def _megabytes(text: str | float) -> float:
    try:
        number = float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number.") from None
    if not 0 <= number < math.inf:
        raise typer.BadParameter(f"{text} is no size; the least is 0.")
    return number


def prune(
    store: StoreOption = None,
    keep_runs: Annotated[
        int | None, typer.Option(parser=whole_number(0), metavar="N", help="Keep this many runs, the newest.")
    ] = None,
    max_mb: Annotated[
        float | None,
        typer.Option(parser=_megabytes, metavar="MB", help="Keep runs of this many megabytes, the newest."),
    ] = None,
    older_than: Annotated[str | None, typer.Option(help="Remove runs older than an age (12h, 30d) or a date.")] = None,
    json: JsonOption = False,
) -> None:
    """Remove old runs from the store; runs that are going on stay."""
    if keep_runs is None and max_mb is None and older_than is None:
        raise typer.BadParameter("say what may stay: --keep-runs, --max-mb or --older-than.")
    path = store_path(store)
    before_ns = parse_since(older_than, time.time_ns(), "--older-than")
    Store(path).revision()  # a path that is wrong should be said, not answered with "nothing to remove"
    writer = StoreWriter(path)
    try:
        removed = writer.prune(keep_runs, None if max_mb is None else int(max_mb * 1_000_000), before_ns)
    finally:
        writer.close()
    if json:
        print_json({"runs": removed.runs, "spans": removed.spans, "bytes": removed.bytes})
    elif removed.runs:
        spans = count(removed.spans, "span")
        console().print(f"Removed {count(removed.runs, 'run')} ({spans}, about {size(removed.bytes)}) from {path}.")
    else:
        console().print(f"Nothing to remove from {path}.")


def sync(
    store: StoreOption = None,
    refused: Annotated[bool, typer.Option("--refused", help="Send what Langfuse refused once more, too.")] = False,
    json: JsonOption = False,
) -> None:
    """Send what waits in the store's outbox to Langfuse.

    Spans belong to the project that they were recorded for, which its public key names: what waits for another key or
    another server stays, and is sent when LANGFUSE_PUBLIC_KEY and LANGFUSE_BASE_URL name that one.
    """
    from pocketflow_tracing.config import TracingConfig
    from pocketflow_tracing.sinks.sync import sync as send_what_waits

    path, config = store_path(store), TracingConfig.from_env()
    try:
        with _unheard_log(config):
            report = (
                send_what_waits(str(path), config, refused=refused) if config.has_langfuse else _kept_back(path, config)
            )
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever stopped it, the user is owed a sentence
        raise typer.Exit(fail(f"Nothing could be sent ({type(error).__name__}: {error}).")) from None
    if json:
        print_json(dataclasses.asdict(report))
    else:
        counts = f"{report.delivered:,} delivered, {report.waiting:,} waiting, {report.refused:,} refused"
        console().print(f"Spans: {counts}, {report.dropped:,} dropped.")
    if report.reason:
        raise typer.Exit(fail(report.reason))
    if report.waiting:
        raise typer.Exit(1)


def _kept_back(path: Path, config: TracingConfig) -> SyncReport:
    """Report what waits where there are no keys to send it with, or no address."""
    from pocketflow_tracing.sinks.sync import SyncReport

    counts = Store(path).outbox() if path.exists() else OutboxCounts()
    reason = None
    if counts.waiting:
        keys = [f"LANGFUSE_PUBLIC_KEY={to.public_key}, LANGFUSE_BASE_URL={to.endpoint}" for to in counts.destinations]
        spans = count(counts.waiting_spans, "span waits", "spans wait")
        reason = f"{spans} for Langfuse, but there {lacking(config)}: set LANGFUSE_SECRET_KEY, {' or '.join(keys)}."
    return SyncReport(0, counts.waiting_spans, counts.refused_spans, counts.dropped_spans, reason)


@contextlib.contextmanager
def _unheard_log(config: TracingConfig) -> Iterator[None]:
    # The log would say what the command says itself; debug mode is for hearing it.
    logger, handler = logging.getLogger("pocketflow_tracing"), logging.NullHandler()
    if not config.debug:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
