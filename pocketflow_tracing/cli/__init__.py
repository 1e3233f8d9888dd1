# ruff: noqa: PLC0415 (importing the package must not load what a terminal needs)
"""The command line: see runs in the terminal, take them away, keep the store small, find out what is wrong.

It reads the store and never loads the recording half, but for the commands that record or deliver.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0, 1 after a sentence on stderr, 2 for a wrong call.

    Args:
        argv: the arguments, without the program's name; None for those of the process.
    """
    import typer

    from pocketflow_tracing._command import command
    from pocketflow_tracing.store import StoreError

    from .app import app
    from .output import UsageError, fail, usage
    from .programs import ScriptRequest

    hook = sys.excepthook
    try:
        # not "standalone": typer would draw its own boxes around errors
        code = app(args=_arguments(sys.argv[1:] if argv is None else argv), prog_name=command(), standalone_mode=False)
        sys.exit(code or 0)
    except ScriptRequest as request:
        script = request
    except UsageError as error:
        sys.exit(usage(error))
    except StoreError as error:
        sys.exit(fail(_with_next_step(str(error))))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(fail(f"{where}{error.strerror or error}."))
    except Exception as error:  # noqa: BLE001 - whatever it is, a user of a command is owed a sentence
        sys.exit(fail(f"This should not have happened ({type(error).__name__}: {error}). Please report it."))
    finally:
        sys.excepthook = hook  # typer sets its own
    # Outside all of the above: what a script raises is shown as Python shows it.
    script.run()


def _arguments(argv: Sequence[str]) -> list[str]:
    """Return the arguments with what follows a module marked as the module's own, `--help` included."""
    arguments = list(argv)
    if arguments[:2] == ["run", "-m"]:
        arguments.insert(3, "--")
    return arguments


def _with_next_step(sentence: str) -> str:
    if not sentence.startswith("There is no trace store"):
        return sentence
    from pocketflow_tracing._command import command

    return f"{sentence} `{command()} run your_script.py` records there, `{command()} demo` shows how it looks."
