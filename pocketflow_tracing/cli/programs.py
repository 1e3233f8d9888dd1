# ruff: noqa: PLC0415 (imports stand in the functions: looking at a store must not load what records and delivers)
"""`demo` and `run`: the commands that record something."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer

from pocketflow_tracing._command import command
from pocketflow_tracing.store import Store

from .output import JsonOption, StoreOption, as_json, console, fail, print_json, store_path
from .render_tree import render_run

__all__ = ["ScriptRequest", "demo", "run"]


class ScriptRequest(Exception):  # noqa: N818 - no error: it leaves the command line before the script starts
    """A script is to be run, outside the command line's own handling of errors.

    Args:
        target: path of the script, or name of the module.
        arguments: the script's own.
        module: whether `target` is a module.
    """

    def __init__(self, target: str, arguments: list[str], *, module: bool) -> None:
        super().__init__(target)
        self.target = target
        self.arguments = arguments
        self.module = module

    def run(self) -> None:
        """Run the script with every flow traced; what it raises is shown as Python shows it, and ends the process."""
        from pocketflow_tracing.runner import run_script

        try:
            run_script(self.target, self.arguments, module=self.module)
        except SystemExit:
            raise
        except BaseException as error:
            frames = _of_the_program(error)
            if frames is None and isinstance(error, (ImportError, OSError)):  # no line of the program was reached
                sys.exit(fail(_cannot_run(error), 2))
            # Python shows it and ends as it does for this error; the program, which might look at the hook, is over.
            hook = sys.excepthook
            sys.excepthook = lambda kind, value, _: hook(kind, value.with_traceback(frames), frames)
            raise


def _of_the_program(error: BaseException) -> TracebackType | None:
    """Return the traceback of an error without the frames above the program's own: ours and those of runpy."""
    files = {str(Path(file)) for file in (__file__, runpy.__file__, Path(__file__).parents[1] / "runner.py")}
    frames = error.__traceback__
    while frames is not None and _is_above(frames.tb_frame.f_code.co_filename, files):
        frames = frames.tb_next
    return frames


def _is_above(file: str, ours: set[str]) -> bool:
    return file in ours or file.startswith(("<frozen runpy", "<frozen importlib"))


def _cannot_run(error: ImportError | OSError) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    said = str(error)
    return f"{said[:1].upper()}{said[1:]}."


def demo(store: StoreOption = None, json: JsonOption = False) -> None:
    """Record a small run (no key, no network) and show it."""
    from pocketflow_tracing import demo as recording

    path = store_path(store)
    recorded = recording.run_demo(str(path))
    if not recorded:
        raise typer.Exit(fail("Nothing was recorded: tracing is switched off by POCKETFLOW_TRACING_ENABLED."))
    source = Store(path)
    found = source.run(recorded)
    spans = source.spans(found.run_id, payload=json)
    if json:
        print_json({"run": as_json(found), "spans": [as_json(span) for span in spans]})
        return
    out = console()
    option = f" --store {path}" if store is not None else ""
    out.print()
    out.print(render_run(found, spans, out))
    out.print()
    out.print(f"The trace is in {path} and nowhere else. Look closer:")
    hints = (
        ("show last --io", "with inputs and outputs"),
        ("show last --state", "with what each node changed in shared"),
        ("runs", "every run in the store"),
        ("run your_script.py", "trace a program of yours as it is"),
    )
    typed = [f"{command()} {given}{'' if given.startswith('run ') else option}" for given, _ in hints]
    for line, (_, meaning) in zip(typed, hints, strict=True):
        out.print(f"  {line:<{max(map(len, typed))}}  {meaning}", soft_wrap=True)
    out.print("Or add one line to your flow:  from pocketflow_tracing import trace_flow;  flow = trace_flow(flow)")


def run(
    context: typer.Context,
    script: Annotated[
        str | None, typer.Argument(help="The script; what follows is passed to it.", metavar="SCRIPT")
    ] = None,
    module: Annotated[
        str | None, typer.Option("-m", help="A module to run instead of a script.", metavar="MODULE")
    ] = None,
) -> None:
    """Run a script with every PocketFlow flow in it traced."""
    arguments = list(context.args)
    if module is not None:
        raise ScriptRequest(module, arguments if script is None else [script, *arguments], module=True)
    if script is None:
        raise typer.Exit(fail(f"Name a script: {command()} run script.py [arguments], or -m module.", 2))
    if script.startswith("-") and not Path(script).exists():
        where = "POCKETFLOW_TRACE_STORE says where runs are recorded"
        raise typer.Exit(fail(f"`run` has no option {script}; {where}, and a script's own options follow it.", 2))
    if not Path(script).exists():
        raise typer.Exit(fail(f"There is no script {script}.", 2))
    raise ScriptRequest(script, arguments, module=False)
