"""What the fields of a class are called elsewhere, in JSON or in the environment: that name may be the one that says "secret".

It is read once, with the first instance of a class, and asked by the name of the class when a picture of one is rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Aliases", "aliases_in", "note_aliases", "other_names"]

_MOST_CLASSES = 10_000
Aliases = dict[str, tuple[str, ...]]
"""Names of fields → what else each is called."""
_ALIASES: dict[str, Aliases] = {}
"""By the name of a class."""
_module_of = type.__dict__["__module__"].__get__
_OF_A_FIELD = ("alias", "validation_alias", "serialization_alias")


def aliases_in(attributes: Any) -> Aliases:
    """Return what a class declares, by its own attributes; of pydantic's and attrs' declarations the parts that are theirs."""
    found: Aliases = {}
    fields = attributes.get("__pydantic_fields__")
    for name, info in fields.items() if type(fields) is dict else ():
        if texts := [text for part in _OF_A_FIELD for text in _texts(_part(info, part, "pydantic"))]:
            found[name] = tuple(texts)
    fields = attributes.get("__attrs_attrs__")
    for field in tuple.__iter__(fields) if issubclass(type(fields), tuple) else ():
        name, alias = _part(field, "name", "attr"), _part(field, "alias", "attr")
        if type(name) is str and type(alias) is str and alias != name:
            found[name] = (alias,)
    return found


def note_aliases(cls: str, aliases: Aliases, living: Callable[[], Iterable[tuple[str, Aliases]]]) -> None:
    """Note what the fields of classes of a name are called elsewhere.

    Args:
        cls: the name.
        aliases: of one of them.
        living: names and aliases of all classes that there still are, for when too many have been noted.
    """
    if len(_ALIASES) >= _MOST_CLASSES:
        _ALIASES.clear()
        _ALIASES.update(living())
    _ALIASES[cls] = {**_ALIASES.get(cls, {}), **aliases}


def other_names(cls: str) -> Aliases:
    """Return what else the fields of classes of this name are called, as far as their instances were read."""
    return _ALIASES.get(cls, {})


def _texts(alias: Any) -> list[str]:
    if type(alias) is str:
        return [alias]
    # of several choices each is a text, or a path of which the first part is a name
    choices, path = (_part(alias, name, "pydantic") for name in ("choices", "path"))
    return [text for part in [*(choices or ()), *(path or ())[:1]] for text in _texts(part)]


def _part(value: Any, name: str, library: str) -> Any:
    """Read an attribute of a library's object, and run nothing of a stranger's."""
    module = _module_of(type(value))
    if type(module) is not str or module.partition(".")[0] != library:
        return None
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None
