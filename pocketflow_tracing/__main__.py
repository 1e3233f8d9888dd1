"""`python -m pocketflow_tracing` is the command `pocketflow-tracing`."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
