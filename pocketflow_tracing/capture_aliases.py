"""What the fields of a class are called elsewhere, in JSON or in the environment: that name may be the one that says "secret".

It is noted by the name of the class, once, as its first instance is read, and asked when a picture of one is rendered.
"""

from __future__ import annotations

from typing import Any

__all__ = ["note_aliases", "other_names"]

_MOST_CLASSES = 10_000
_ALIASES: dict[str, dict[str, tuple[str, ...]]] = {}
"""Name of a class → names of its fields → what else they are called."""
_module_of = type.__dict__["__module__"].__get__
_OF_A_FIELD = ("alias", "validation_alias", "serialization_alias")


def note_aliases(cls: str, attributes: Any) -> None:
    """Note what a class declares.

    Args:
        cls: its name.
        attributes: its own, as `type` has them; of pydantic's and attrs' declarations those parts that are theirs are read.
    """
    found: dict[str, tuple[str, ...]] = {}
    fields = attributes.get("__pydantic_fields__")
    for name, info in fields.items() if type(fields) is dict else ():
        if texts := [text for part in _OF_A_FIELD for text in _texts(_part(info, part, "pydantic"))]:
            found[name] = tuple(texts)
    fields = attributes.get("__attrs_attrs__")
    for field in fields if issubclass(type(fields), tuple) else ():
        name, alias = _part(field, "name", "attr"), _part(field, "alias", "attr")
        if type(name) is str and type(alias) is str and alias != name:
            found[name] = (alias,)
    if found:
        if len(_ALIASES) >= _MOST_CLASSES:
            _ALIASES.clear()
        _ALIASES[cls] = {**_ALIASES.get(cls, {}), **found}


def other_names(cls: str) -> dict[str, tuple[str, ...]]:
    """Return what else the fields of classes of this name are called, as far as their instances were read."""
    return _ALIASES.get(cls, {})


def _texts(alias: Any) -> list[str]:
    if type(alias) is str:
        return [alias]
    choices, path = (
        _part(alias, name, "pydantic") for name in ("choices", "path")
    )  # of several choices each is one of these
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
