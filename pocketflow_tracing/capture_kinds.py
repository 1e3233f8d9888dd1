"""What kind of thing an object is, decided once per class and without running any code of the class.

Classes are looked at through the descriptors of `type`, never by attribute access, which a metaclass may answer. A
class of a library counts as the library's only if `sys.modules` holds it under its own name; nothing is ever imported
for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from types import GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import TYPE_CHECKING, Any

from ._weak import Gone
from .capture_aliases import Aliases, aliases_in, note_aliases
from .capture_entries import taken
from .capture_types import CUT_KEY, REDACTED, Cut, Elided, Snapshot, Tagged

if TYPE_CHECKING:
    from .capture_walk import Walk

__all__ = [
    "Reader",
    "Shape",
    "attributes_of",
    "bases_of",
    "is_genuine",
    "is_scalar",
    "key_text",
    "kind",
    "module_named",
    "mro_of",
    "name_of",
    "qualified_name_of",
    "shape_of",
]

Reader = Callable[[Any, "Shape", "Walk", int], Snapshot]

_type_attributes = type.__dict__
mro_of: Callable[[type], tuple[type, ...]] = _type_attributes["__mro__"].__get__
attributes_of: Callable[[type], Any] = _type_attributes["__dict__"].__get__
_get_qualname = _type_attributes["__qualname__"].__get__
_get_module = _type_attributes["__module__"].__get__
_get_flags = _type_attributes["__flags__"].__get__
_DICT_OF_CLASSES = vars(type("Made", (), {}))["__dict__"].__doc__
"""Tells the `__dict__` of a class statement from others of its type."""
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made at run time; the classes of Python's own core are not
_module_attributes: Any = ModuleType.__dict__
_module_dict = _module_attributes["__dict__"].__get__

_READERS: dict[str, tuple[Reader, bool]] = {}
"""Qualified class name → its reader, and whether it goes before those of other bases (an Enum that is also a str)."""

_SHAPES: dict[int, tuple[Any, ...]] = {}  # of (reference to the class, Shape)
"""By id of the class: hashing a class would run its metaclass's `__hash__`. An entry is one for as long as its class is there."""
_gone = Gone()  # of these classes

_BASES: dict[str, frozenset[str]] = {}
"""Name of a class that was read → names of those it derives from: a policy for them is one for it."""

_MOST_BASES = 10_000
_SECRET_CLASSES = frozenset(
    {
        *(
            "SecretStr",
            "SecretBytes",
            "_SecretBase",
            "_SecretField",
            "Secret",
            "AzureKeyCredential",
            "AzureSasCredential",
        ),
        "AuthenticationString",  # with it, whoever can reach a manager can have it run anything
    }
)
"""Of pydantic, Starlette, Azure and multiprocessing, by their bare names: that of a base counts too."""
_DECLARING = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__")
_PLAIN_DEPTH = 3


class Shape:
    """How the instances of one class are read.

    Nothing in it refers to the class, whose life it must not prolong: attributes are noted by their place in the MRO.

    Args:
        cls: the class.
        read: its reader.
        base: the library's class that the reader is made for: `cls` or one of its bases; `object` for plain objects.

    `exact` is whether the class is the library's own, no subclass or look-alike: only then may its methods be called, or
    where it is one of the `family`, of the same library as the base. `library` is the package that a class belongs to, "" where
    it only calls itself so.
    """

    __slots__ = (
        "_dict_place", "_slots", "aliases", "base", "bases", "exact", "family", "levels", "library", "name", "read",
    )  # fmt: skip

    def __init__(self, cls: type, read: Reader, base: type) -> None:
        self.read = read
        self.base = base
        self.name = name_of(cls)
        self.bases = frozenset(map(name_of, mro_of(cls)[1:-1]))
        genuine = is_genuine(cls)
        self.exact = base is cls and genuine
        self.library = qualified_name_of(cls).partition(".")[0] if genuine else ""
        self.family = genuine and self.library == qualified_name_of(base).partition(".")[0]
        self.levels = _PLAIN_DEPTH
        self.aliases: Aliases = {}
        self._dict_place: int | None = None
        self._slots: list[tuple[str, int, str]] = []
        of_errors = any(ancestor is BaseException for ancestor in mro_of(cls))
        for place, ancestor in reversed([*enumerate(mro_of(cls))]):
            attributes = attributes_of(ancestor)
            if _gives_its_dict(ancestor, attributes.get("__dict__")):
                self._dict_place = place
            if any(marker in attributes for marker in _DECLARING):
                self.levels = 1
                self.aliases.update(aliases_in(attributes))
            if of_errors and not _get_flags(ancestor) & _HEAP_TYPE:
                continue  # what slots of the builtin exceptions hold (errno, lineno …) the message says
            for name, attribute in [*attributes.items()]:
                # what a structure of ctypes keeps alive for its fields has the names of none
                is_field = type(name) is str and not name.startswith("__") and name != "_objects"
                if is_field and type(attribute) is MemberDescriptorType:
                    self._slots.append((_unmangled(name, ancestor), place, name))

    def shown_as(self, name: str) -> str:
        """Name a library's own class as users import it, and a subclass by its own name."""
        return name if self.exact else self.name

    def instance_dict(self, value: object) -> dict[Any, Any]:
        """Return an object's own `__dict__`, whatever its class says under that name; {} if it has none."""
        if self._dict_place is None:
            return {}
        found: dict[Any, Any] = attributes_of(mro_of(type(value))[self._dict_place])["__dict__"].__get__(value)
        return found

    def fields(self, value: object, limit: int) -> tuple[dict[str, Any], int]:
        """Return an object's fields (instance dict, then slots) and how many are left out beyond the limit."""
        own = self.instance_dict(value)
        fields = {key: item for key, item in taken(iter, dict.items(own), limit) if type(key) is str}
        if self._slots:
            mro = mro_of(type(value))
            for shown, place, name in self._slots:
                try:
                    fields.setdefault(shown, attributes_of(mro[place])[name].__get__(value))
                except (AttributeError, KeyError):  # noqa: PERF203 - a slot that was never set
                    continue
        return fields, max(dict.__len__(own) - limit, 0)


def _gives_its_dict(cls: type, descriptor: Any) -> bool:
    """Whether a descriptor only gives an object's own `__dict__`, as that of a class statement does.

    What an extension in C has under that name may run anything: wrapt's proxies ask what they stand for, which is made then.
    """
    if type(descriptor) is MemberDescriptorType:
        return True
    if type(descriptor) is not GetSetDescriptorType:
        return False
    module = _get_module(cls)
    is_pythons = type(module) is str and module.partition(".")[0] in sys.stdlib_module_names and is_genuine(cls)
    return is_pythons or descriptor.__doc__ == _DICT_OF_CLASSES


def kind(*names: str, first: bool = False) -> Callable[[Reader], Reader]:
    """Register a reader for classes by their qualified names, "builtins.set" say, and for their subclasses."""

    def register(reader: Reader) -> Reader:
        for name in names:
            _READERS[name] = (reader, first)
        return reader

    return register


def shape_of(cls: type) -> Shape:
    """Return how instances of a class are read."""
    found = _SHAPES.get(id(cls))
    if found is not None and found[0]() is cls:
        shape: Shape = found[1]
        return shape
    shape = _decide(cls)
    _gone.sweep(_SHAPES)
    _SHAPES[id(cls)] = (_gone.watch(cls, id(cls)), shape)
    if shape.aliases:
        note_aliases(
            shape.name,
            shape.aliases,
            lambda: ((one.name, one.aliases) for _, one in list(_SHAPES.values()) if one.aliases),
        )
    if shape.bases:
        if len(_BASES) >= _MOST_BASES:  # of classes that are long gone
            known = [shape for _, shape in list(_SHAPES.values())]
            _BASES.clear()
            _BASES.update((shape.name, shape.bases) for shape in known if shape.bases)
        _BASES[shape.name] = _BASES.get(shape.name, frozenset()) | shape.bases
    return shape


def bases_of(name: str) -> frozenset[str]:
    """Return the names of the classes that classes of this name derive from, as far as their instances were read."""
    return _BASES.get(name, frozenset())


def _decide(cls: type) -> Shape:
    ordinary: tuple[Reader, type] | None = None
    for base in mro_of(cls):
        bare = name_of(base)
        if bare in _SECRET_CLASSES:
            return Shape(cls, _read_secret, object)
        entry = _READERS.get(qualified_name_of(base))
        if entry is None or not is_genuine(base):
            continue
        if entry[1]:
            return Shape(cls, entry[0], base)
        ordinary = ordinary or (entry[0], base)
    reader, base = ordinary or (_read_object, object)
    return Shape(cls, reader, base)


def name_of(cls: type) -> str:
    """Return a class's name as its source says it, without the functions around it."""
    name = str.__str__(_get_qualname(cls))
    return name.rpartition("<locals>.")[2][:200]


def qualified_name_of(cls: type) -> str:
    """Return a class's module and name; of a builtin, the name alone would do, but "builtins." stands there too."""
    module = _get_module(cls)
    return f"{module}.{name_of(cls)}" if type(module) is str else name_of(cls)


def module_named(name: str) -> dict[str, Any]:
    """Return the namespace of an imported module, {} if it is not imported; a lazy module is left asleep."""
    module = sys.modules.get(name)
    if any(cls is ModuleType for cls in mro_of(type(module))):  # not isinstance, which asks a stranger's __class__
        namespace: dict[str, Any] = _module_dict(module)
        return namespace
    return {}


def is_genuine(cls: type) -> bool:
    """Whether a class is what its module and name say, not one that only calls itself so."""
    module = _get_module(cls)
    if type(module) is not str:
        return False
    if module == "builtins":
        return not _get_flags(cls) & _HEAP_TYPE
    namespace = module_named(module)
    # Some builtin modules hold a class under another name: `_thread.lock` is LockType.
    return namespace.get(name_of(cls)) is cls or any(item is cls for item in list(namespace.values()))


def _unmangled(name: str, cls: type) -> str:
    prefix = f"_{name_of(cls).rpartition('.')[2].lstrip('_')}__"
    return name[len(prefix) - 2 :] if name.startswith(prefix) else name


def _read_secret(_value: object, _shape: Shape, _walk: Walk, _depth: int) -> Snapshot:
    return REDACTED


def _read_object(value: object, shape: Shape, walk: Walk, depth: int) -> Snapshot:
    fields, cut = shape.fields(value, walk.max_items)
    if not fields:
        return Tagged(shape.name, {})
    if shape.levels > 1 and depth:  # an object at the top is what was asked for: it is always entered
        depth += shape.levels - 1
    if depth >= walk.max_depth:
        return Elided(shape.name, len(fields) + cut)
    shown = walk.fields(fields, value, shape.name, depth, by_reference=True)
    if cut and type(shown) is Tagged:
        shown.fields[CUT_KEY] = Cut(cut)
    return shown


_MAX_BITS = 2000
"""Of an int that is written out; Python itself refuses to write very long ones."""

_MAX_PARTS, _MAX_LEVELS, _LONGEST_PART = 10, 2, 200
"""Of a tuple that is written out: its parts, the levels of tuples in it, the characters of a text."""


def is_scalar(value: object) -> bool:
    """Whether a value is an exact None, bool, int, float, str or bytes: immutable, and its own snapshot."""
    t = type(value)
    return t is str or t is int or value is None or t is float or t is bool or t is bytes


def key_text(key: Any, is_ruled: Callable[[str], bool] | None = None, depth: int = 0) -> str:
    """The text that stands for a dict key: strings as they are, other scalars as Python writes them, else the type.

    No method of the key's own is called; of what is long or deep only a beginning is written.

    Args:
        key: anything.
        is_ruled: whether a policy withholds what objects of a class say.
        depth: of tuples around it.
    """
    t = type(key)
    if t is str:
        return repr(key[:_LONGEST_PART]) if depth else key
    if t is bytes:
        return repr(key[:_LONGEST_PART])
    if is_scalar(key):
        return repr(key) if not (t is int and key.bit_length() > _MAX_BITS) else "<int>"
    if t is tuple and len(key) <= _MAX_PARTS and depth < _MAX_LEVELS:
        return f"({', '.join([key_text(part, is_ruled, depth + 1) for part in key])}{',' * (len(key) == 1)})"
    shape = shape_of(t)
    if is_ruled is not None and is_ruled(shape.name):
        return f"<{shape.name}>"
    if issubclass(t, Enum):
        return f"{shape.name}.{shape.instance_dict(key).get('_name_')}"
    if issubclass(t, str):
        text = str.__getitem__(key, slice(0, _LONGEST_PART)) if depth else str.__str__(key)
        return repr(text) if depth else text
    return f"<{shape.name}>"
