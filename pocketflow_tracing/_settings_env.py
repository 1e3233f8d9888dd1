"""The environment and the nearest `.env` file, read without changing either."""

from __future__ import annotations

import io
import os
from collections import ChainMap
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from pocketflow_tracing import _system
from pocketflow_tracing._guard import Tolerating, is_hosts
from pocketflow_tracing._settings_kinds import shown

_OURS = ("LANGFUSE_", "POCKETFLOW_")
"""What the variables of our settings begin with."""
_MOST_CHARACTERS = 256 * 1024
"""Of a `.env` file, and of one value in it: the first run waits for it."""

_LONGEST_FILLED_IN = 2000
"""Characters of a value in which variables are looked for: python-dotenv looks for the end of each in all that follows."""

__all__ = ["Found", "Outside", "find_env_file", "nearest", "read_env_file"]


class Found(NamedTuple):
    """A value that was set outside the program.

    Args:
        text: the value, not empty.
        where: the variable it was found under, and the file if it was one: what a sentence for the user names.
        source: "environment" or ".env (path)".
    """

    text: str
    where: str
    source: str


def find_env_file() -> str | None:
    """Return the path of the nearest `.env` file, from the working directory upward."""
    folder = None
    with Tolerating(OSError):  # the working directory was removed
        folder = _system.here().rstrip(os.sep)
    if folder is None:
        return None
    while True:  # by hand, for the program's tests may have mocks on pathlib's methods
        path = f"{folder}{os.sep}.env"
        if _system.is_file(path):  # not one in a folder that may not be looked into
            return path
        folder, separator, _ = folder.rpartition(os.sep)
        if not separator:
            return None


def read_env_file(path: str) -> tuple[dict[str, str | None], str]:
    """Read a `.env` file; `os.environ` stays as it is.

    Returns:
        Its values, none if there are none of ours among them, and a sentence that says what could not be read, "" when all could.
    """
    name = f"The .env file {shown(path)}"
    try:
        if not _system.is_file(path):  # a pipe would be waited for
            return {}, f"{name} is not there or is no file; accepted: a file. It is left out."
        with io.open(path, encoding="utf-8-sig") as stream:  # noqa: UP020 - tests put mocks on `open` and count its calls
            text = stream.read(_MOST_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        if is_hosts(error):  # TimeoutError is one of them
            raise
        reason = "is no UTF-8 text" if isinstance(error, ValueError) else f"cannot be read ({type(error).__name__})"
        return {}, f"{name} {reason}; accepted: a readable UTF-8 file. It is left out."
    if len(text) > _MOST_CHARACTERS:
        return {}, f"{name} is too long; accepted: up to {_MOST_CHARACTERS:,} characters. It is left out."
    return _read(text, name) if any(ours in text for ours in _OURS) else ({}, "")


def _read(text: str, name: str) -> tuple[dict[str, str | None], str]:
    # python-dotenv's parser, and not its `dotenv_values`: that one copies the whole environment for each line, and logs each
    # bad one, of a file that the program itself may never read
    from dotenv.parser import parse_stream  # noqa: PLC0415 (only needed where there is such a file)

    values: dict[str, str | None] = {}
    problem = ""
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            if not problem and any(ours in binding.original.string for ours in _OURS):
                problem = (
                    f"{name} has no value in line {binding.original.line}; accepted: NAME=value. That line is left out."
                )
        elif binding.key is not None:
            values[binding.key] = _filled_in(binding.value, values)
    return values, problem


def _filled_in(value: str | None, before: dict[str, str | None]) -> str | None:
    """A value with the variables that it names: of the lines before it, else of the environment."""
    from dotenv.variables import parse_variables  # noqa: PLC0415 (as above)

    if value is None or "${" not in value or len(value) > _LONGEST_FILLED_IN:
        return value
    environ: Any = os.environ
    values: ChainMap[str, str | None] = ChainMap(before, environ)
    return "".join(atom.resolve(values) for atom in parse_variables(value))[:_MOST_CHARACTERS]


class Outside:
    """The environment and the `.env` file at one moment.

    Args:
        env_file: the `.env` file; None searches it from the working directory upward.
    """

    def __init__(self, env_file: str | os.PathLike[str] | None = None) -> None:
        self.problem = ""
        self._file: Mapping[str, str | None] = {}
        self._path: str | None = None
        try:
            self._path = find_env_file() if env_file is None else _system.expanduser(os.fspath(env_file))
        except TypeError as error:  # no path
            if is_hosts(error):
                raise
            self.problem = f"The .env file is {shown(env_file, quote=chr(34))}; accepted: a path. It is left out."
        if self._path is not None:
            self._file, self.problem = read_env_file(self._path)

    def find(self, names: tuple[str, ...]) -> Found | None:
        """Return the first value under `names` that is not empty; the environment wins over the file."""
        for name in names:
            text = _system.variable(name).strip()
            if text:
                return Found(text, name, "environment")
        for name in names:
            text = (self._file.get(name) or "").strip()
            if text:
                return Found(text, f"{name} in {self._path}", f".env ({self._path})")
        return None

    def misspelt(self, known: Collection[str], prefix: str) -> dict[str, str]:
        """Return variables with our prefix that nearly have a known name, with that name."""
        unknown = {name for name in (*os.environ, *self._file) if name.startswith(prefix)}.difference(known)
        near = {name: nearest(name, known) for name in sorted(unknown)}
        return {name: meant for name, meant in near.items() if meant}


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that `name` was probably meant to be."""
    from difflib import get_close_matches  # noqa: PLC0415 (needed for mistakes only)

    return next(iter(get_close_matches(name, known, 1, 0.9)), None)
