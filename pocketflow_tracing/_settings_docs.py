"""The documentation of the settings, made from their declarations.

`python -m pocketflow_tracing._settings_docs env` prints `.env.example`, `… table` the table of the README that stands
between `<!-- settings -->` and `<!-- /settings -->`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from pocketflow_tracing._settings import Setting
from pocketflow_tracing.config import SETTINGS

__all__ = ["END", "START", "env_example", "main", "table"]

START = "<!-- settings -->"
END = "<!-- /settings -->"

_HEAD = """\
# Settings of pocketflow-tracing. Copy this file to `.env`, beside your program or in a folder above it, and set what
# you need. What stands here is the default. An environment variable wins over this file, an argument of TracingConfig
# over both. Without Langfuse keys runs are kept in a local store. Switches take 1/0, true/false, yes/no and on/off.
"""


def env_example() -> str:
    """Return the text of `.env.example`: every variable with its sentence and its default."""
    return "\n".join([_HEAD, *_env_entries()])


def table() -> str:
    """Return the Markdown table of all settings, markers included."""
    lines = [START, "| Variable | Field | Default | What it does |", "|---|---|---|---|"]
    for name, setting in SETTINGS.items():
        variables = " or ".join(f"`{variable}`" for variable in setting.env) or "Python only"
        default = f"`{setting.show(setting.default)}`" if _has_default(setting) else ""
        lines.append(f"| {variables} | `{name}` | {default} | {setting.doc} |")
    return "\n".join([*lines, END]) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Print what is asked for; answer the exit code."""
    texts = {"env": env_example, "table": table}
    if len(arguments) != 1 or arguments[0] not in texts:
        sys.stderr.write("usage: python -m pocketflow_tracing._settings_docs env|table\n")
        return 2
    sys.stdout.write(texts[arguments[0]]())
    return 0


def _has_default(setting: Setting) -> bool:
    return setting.default is not None and setting.default not in ((), {})


def _env_entries() -> Iterator[str]:
    for setting in SETTINGS.values():
        if not setting.env:
            continue
        also = f" {' and '.join(setting.env[1:])} is accepted too." if setting.env[1:] else ""
        optional = "" if setting.secret else "# "  # the two keys are what most people fill in
        default = setting.show(setting.default) if _has_default(setting) else ""
        yield f"# {setting.doc}{also}\n{optional}{setting.env[0]}={default}\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
