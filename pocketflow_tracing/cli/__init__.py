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
    from pocketflow_tracing.store import StoreError

    from .app import app
    from .output import fail
    from .programs import ScriptRequest

    hook = sys.excepthook
    try:
        app(args=None if argv is None else list(argv), prog_name="pocketflow-tracing")
    except ScriptRequest as request:
        script = request
    except StoreError as error:
        sys.exit(fail(str(error)))
    except KeyboardInterrupt:
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
