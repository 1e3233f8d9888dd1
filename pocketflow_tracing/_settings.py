"""Settings that know where they came from: an argument, the environment, a `.env` file or the default.

`TracingConfig` says which settings there are; this module is how any such class behaves.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from pocketflow_tracing._settings_env import Outside, nearest
from pocketflow_tracing._settings_kinds import DEFAULT, Kind, RefusedError, shown, shown_secret

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Setting", "SettingRow", "Settings", "resolved_first", "setting", "settings_of"]

_S = TypeVar("_S", bound="Settings")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Setting:
    """The one declaration of a setting, from which the field, the documentation and `doctor` come.

    Args:
        kind: what it takes.
        default: its value when nothing sets it.
        doc: one sentence for users.
        env: names of its environment variables, the main one first; () when only Python can set it.
        secret: its value is never shown whole.
    """

    kind: Kind
    default: Any
    doc: str
    env: tuple[str, ...] = ()
    secret: bool = False

    def show(self, value: object, quote: str = "") -> str:
        """Return `value` as text that may stand in a log, a table or a terminal."""
        return shown_secret(value) if self.secret else shown(value, quote)

    def problem(self, where: str, value: object, refused: RefusedError) -> str:
        """Return the sentence for the user about a refused value; a secret is not in it.

        Args:
            where: the variable or field that holds the value.
            value: the refused value.
            refused: why.
        """
        what = refused.why or ("has a value that is not shown" if self.secret else f"is {shown(value, quote=chr(34))}")
        default = "It counts as not set" if self.default is None else f"The default, {self.show(self.default)}, is used"
        return f"{where} {what}; accepted: {self.kind.accepts}. {refused.used or default}."


class SettingRow(NamedTuple):
    """One setting as `doctor` shows it.

    Args:
        name: the field.
        env: its main environment variable, "" when only Python can set it.
        value: the value in use as text, keys masked.
        source: "default", "environment", ".env (path)" or "argument".
    """

    name: str
    env: str
    value: str
    source: str


class _Default:
    """The default of a field. That it is told from a given value is how a config knows what was given."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)  # what help() shows in the signature


def setting(kind: Kind, default: Any, doc: str, *env: str, secret: bool = False) -> Any:
    """Declare a field of a `Settings` dataclass; the arguments are those of `Setting`."""
    declared = Setting(kind, default, doc, env, secret)
    return dataclasses.field(default=_Default(default), metadata={"setting": declared})


@functools.cache
def settings_of(cls: type) -> dict[str, Setting]:
    """Return the settings of a class by the name of their field, in the order of the documentation."""
    return {field.name: field.metadata["setting"] for field in dataclasses.fields(cls) if "setting" in field.metadata}


def resolved_first(method: Callable[[_S], _T]) -> Callable[[_S], _T]:
    """Let a method see resolved settings: those of `self`, or of a resolved copy while `self` has unread ones."""

    @functools.wraps(method)
    def resolving(self: _S) -> _T:
        return method(self if self._is_resolved() else self.resolved())

    return resolving


class Settings:
    """The behaviour of a dataclass whose fields are made with `setting`."""

    # What was given in Python; where each value that was read came from; a sentence for each value that was refused.
    _given: set[str]
    _sources: dict[str, str]
    _problems: dict[str, str]

    def __post_init__(self) -> None:
        for name in sorted(self._given):
            if getattr(self, name) is None:  # os.environ.get("…") as an argument is the same as leaving it out
                setattr(self, name, _Default(self._known()[name].default))

    def __setattr__(self, name: str, value: object) -> None:
        if "_given" not in vars(self):
            vars(self).update(_given=set(), _sources={}, _problems={})
        self._sources.pop(name, None)
        self._problems.pop(name, None)
        self._given.discard(name)
        known = self._known()
        if isinstance(value, _Default):
            value = _copied(value.value)
        elif name in known:
            self._given.add(name)
        elif not hasattr(type(self), name):
            meant = nearest(name, known)
            hint = f"; accepted: {meant}" if meant else ""
            self._problems[name] = f"{type(self).__name__} has no setting {name}: it has no effect{hint}."
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        known = self._known()
        texts = (
            f"{name}={known[name].show(getattr(self, name), quote=chr(39))}" for name in known if self._is_set(name)
        )
        return f"{type(self).__name__}({', '.join(texts)})"

    def copy(self) -> Self:
        """Return an independent config: nothing that is done to one is seen by the other.

        Lists, dicts and sets inside are copied as well; functions and other objects in them are shared.
        """
        config = object.__new__(type(self))
        vars(config).update({name: _copied(value) for name, value in vars(self).items()})
        return config

    __copy__ = copy

    def resolved(self, env_file: str | os.PathLike[str] | None = None) -> Self:
        """Return a copy in which every setting has the value to use: given, environment, `.env` or default.

        A setting that was resolved before keeps its value; what was assigned since is checked.

        Args:
            env_file: the `.env` file; None takes the nearest one, from the working directory upward.
        """
        config = self.copy()
        config._resolve(env_file)  # noqa: SLF001 (our own class)
        return config

    @resolved_first
    def problems(self) -> list[str]:
        """Return a sentence for each setting that cannot be used as it is: its name, its value, what is accepted."""
        return list(self._problems.values())

    def validate(self) -> bool:
        """Whether every setting is usable. No credentials at all are fine: runs are kept locally."""
        return not self.problems()

    @resolved_first
    def describe(self) -> list[SettingRow]:
        """Return each setting with its value in use, keys masked, and where that came from."""
        return [
            SettingRow(name, (*declared.env, "")[0], declared.show(getattr(self, name)), self._sources[name])
            for name, declared in self._known().items()
        ]

    def _known(self) -> dict[str, Setting]:
        return settings_of(cast("Any", type(self)))

    def _is_resolved(self) -> bool:
        return len(self._sources) == len(self._known())

    def _is_set(self, name: str) -> bool:
        """Whether the value was given in Python, a dict that was filled in place included."""
        value = getattr(self, name)
        read = self._sources.get(name, "default") != "default"
        return name in self._given or read or (isinstance(value, dict) and len(value) > 0)

    def _resolve(self, env_file: str | os.PathLike[str] | None) -> None:
        outside: Outside | None = None
        known = self._known()
        for name, declared in known.items():
            if declared.env and name in self._sources:
                continue  # without a variable: may be a dict that was changed in place, and costs nothing to read again
            if not declared.env or name in self._given:
                self._take(name, getattr(self, name), f"{type(self).__name__}.{name}", "argument")
                continue
            if outside is None:
                outside = Outside(env_file)
                self._note_mistakes(outside, {variable for other in known.values() for variable in other.env})
            found = outside.find(declared.env)
            if found is None:
                self._take(name, _copied(declared.default), name, "default")
            else:
                self._take(name, found.text, found.where, found.source)

    def _take(self, name: str, value: object, where: str, source: str) -> None:
        """Check one value and keep it, or the default and a sentence."""
        declared = self._known()[name]
        if source == "argument" and not self._is_set(name):
            source = "default"
        try:
            used = declared.kind.read(value)
        except RefusedError as refused:
            used = refused.instead
            self._problems[name] = declared.problem(where, value, refused)
        if used is DEFAULT:
            used, source = _copied(declared.default), "default"
            self._given.discard(name)
        object.__setattr__(self, name, used)
        self._sources[name] = source

    def _note_mistakes(self, outside: Outside, variables: set[str]) -> None:
        if outside.problem:
            self._problems[".env"] = outside.problem
        for name, meant in outside.misspelt(variables, "POCKETFLOW_TRAC").items():
            self._problems[name] = f"{name} is no setting and has no effect; accepted: {meant}."


def _copied(value: Any, depth: int = 20) -> Any:
    """Return a copy of nested lists, dicts, sets and tuples; below `depth` levels and otherwise the same object."""
    if depth == 0:
        return value
    if type(value) is dict:
        return {key: _copied(item, depth - 1) for key, item in value.items()}
    if type(value) in {list, tuple, set}:
        return type(value)(_copied(item, depth - 1) for item in value)
    return value
