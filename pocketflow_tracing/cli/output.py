# ruff: noqa: PLC0415 (imports stand in the functions: looking at a store must not load what records and delivers)
"""Where the commands print: a terminal, a pipe, or JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.text import Text

from pocketflow_tracing.store import RunRow, SpanRow

from .words import clean, clean_json

__all__ = [
    "JsonOption",
    "StoreOption",
    "UsageError",
    "as_json",
    "console",
    "fail",
    "print_json",
    "store_path",
    "usage",
    "whole_number",
]

UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])
"""What typer raises for a wrong call; newer versions keep their click to themselves."""

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store", metavar="FILE", help="The store file. Default: POCKETFLOW_TRACE_STORE, else .pocketflow/traces.db."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def store_path(given: Path | None) -> Path:
    """Return the store file that is meant: the option, else the setting, else the default."""
    if given is not None:
        return given / "traces.db" if given.is_dir() else given
    from pocketflow_tracing.config import TracingConfig

    return Path(TracingConfig.from_env().store_path() or Path(".pocketflow", "traces.db").absolute())


def console(*, stderr: bool = False) -> Console:
    """Return the console to print to; it cuts and wraps nothing, and its colours obey NO_COLOR."""
    stream = sys.stderr if stderr else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show is no reason to stop
    unknown = os.environ.get("COLUMNS", "80").strip("0") == ""  # as for the rest of Python; Rich would print nothing
    width = shutil.get_terminal_size().columns if unknown else None
    return Console(stderr=stderr, highlight=False, emoji=False, markup=False, soft_wrap=True, width=width)


def fail(message: str, code: int = 1) -> int:
    """Print one sentence on stderr and return the exit code: 1 of a failure, 2 of a wrong call."""
    console(stderr=True).print(Text.assemble(("Error: ", "bold red"), clean(message)))
    return code


def usage(error: BaseException) -> int:
    """Say what is wrong with a call, in one sentence, and return the exit code."""
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    said = re.sub(r"^Invalid value(?: for '?([^':]+)'?[^:]*)?: ", _hint, " ".join(said.split()))
    return fail(said if said.endswith((".", "?")) else f"{said}.", 2)


def _hint(found: re.Match[str]) -> str:
    return f"{found[1]}: " if found[1] else ""


def whole_number(least: int, most: int = 2**63 - 1) -> Callable[[str | int], int]:
    """Return what reads an option that takes a whole number, and says in words what is wrong with another one."""

    def read(text: str | int) -> int:
        try:
            number = int(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is no whole number.") from None
        if number < least:
            raise typer.BadParameter(f"{number} is too little; the least is {least}.")
        if number > most:
            raise typer.BadParameter(f"{number} is too much; the most is {most}.")
        return number

    return read


def as_json(row: RunRow | SpanRow) -> dict[str, Any]:
    """Return a row as JSON-ready data, with its duration."""
    return {**dataclasses.asdict(row), "duration_ns": row.duration_ns}


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON that cannot steer the terminal, in ASCII where that knows nothing else."""
    ascii_only = (sys.stdout.encoding or "ascii").lower().replace("-", "") not in {"utf8", "utf16"}
    encoded = clean_json(json.dumps(value, ensure_ascii=ascii_only, indent=indent))
    if not ascii_only:
        encoded = encoded.encode("utf-8", "backslashreplace").decode()
    sys.stdout.write(f"{encoded}\n")
