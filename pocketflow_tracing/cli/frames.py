"""Where an error happened: the lines of its traceback that the user wrote, or all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from pocketflow_tracing.records import Json

from .words import clean, flat

__all__ = ["frame_lines"]

_INSTALLED = re.compile(r".*[\\/](?:site-packages|dist-packages|lib[\\/]python3\.\d+)[\\/]")
_MOST_CAUSES = 5


def frame_lines(error: Json, *, everything: bool) -> Iterator[Text]:
    """Yield "file:line in function: code", nothing where the error has no traceback.

    Args:
        error: {"type", "message", "traceback", …} of a span.
        everything: all frames, the rest of the message and the causes, instead of the user's last frame.
    """
    if not isinstance(error, dict):
        return
    frames = [frame for frame in error.get("traceback") or () if isinstance(frame, dict)]
    if not everything:
        places = [frame for frame in frames if "line" in frame]
        own = [frame for frame in places if not _is_installed(str(frame["file"]))]
        yield from (_line(frame, short=True) for frame in (own or places)[-1:])
        return
    yield from (Text(f"  {clean(line)}", "red") for line in str(error.get("message") or "").strip().splitlines()[1:])
    yield from map(_line, frames)
    yield from (Text(f"  {clean(line)}", "red") for note in error.get("notes") or () for line in str(note).splitlines())
    for _ in range(_MOST_CAUSES):
        said = "caused by" if "cause" in error else "while handling"
        error = error.get("cause") or error.get("context")
        if not isinstance(error, dict):
            return
        yield Text(f"  {said} {clean(str(error.get('type')))}: {clean(str(error.get('message') or ''))}".split("\n")[0])
        yield from (_line(frame) for frame in error.get("traceback") or () if isinstance(frame, dict))


def _line(frame: dict[str, Json], *, short: bool = False) -> Text:
    if "line" not in frame:
        return Text(f"  {flat(str(frame.get('file', '')))}", "dim italic")
    code = f": {frame['code']}" if frame.get("code") else ""
    return Text(
        f"  {flat(_place(str(frame['file']), short=short))}:{frame['line']} in {flat(str(frame.get('function')))}{flat(code)}",
        "dim",
    )


def _place(file: str, *, short: bool) -> str:
    """Return a file's name: from here where it is below, else whole, or its last two parts where short is asked for."""
    if _is_installed(file):
        return _INSTALLED.sub("", file, count=1)
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return "/".join(re.split(r"[\\/]", file)[-2:]) if short else file


def _is_installed(file: str) -> bool:
    return file.startswith("<") or _INSTALLED.match(file) is not None
