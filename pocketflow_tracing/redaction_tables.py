"""Secrets in rows and columns: what stands under a label that is the name of a secret.

A table comes as data of a database's answer, {"columns": ["password"], "data": [[…]]}, or as what we show of a frame or series.
Labels and rows are lists, or objects that hold one (an index, the keys of a dict, an array), as snapshots have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sys import maxsize

from .capture_labels import COLUMNS, NAMES, TABLES
from .capture_types import CUT_KEY, Again, Cut, Elided, Long, Note, Snapshot, Tagged
from .redaction_shapes import REPLACEMENT
from .redaction_values import Hits
from .render_text import LONGEST_KEY

__all__ = ["hidden", "is_label", "labelled", "without_columns", "without_labels", "without_places"]

_UNKNOWN = frozenset({Elided, Again})
"""Of what a label may be and is not said here."""
_ALL = [range(maxsize)]
"""Places of columns."""
_TEXTS = frozenset({str, bytes, Long})
_ENTRIES = ("head", "items", "values")
"""Fields in which what we show of an index, a collection and an array has its entries."""


def hidden(value: Snapshot) -> Snapshot:
    """What is shown in the place of a secret; that there is none may be seen."""
    return value if value is None or type(value) is bool else Note(REPLACEMENT)


def is_label(value: Snapshot, hits: Hits) -> bool:
    """Whether a value is the name of a secret: a text, the bytes of a header, or an object that is one text."""
    t = type(value)
    if t is str:
        return hits(value)
    if t is bytes:
        return len(value) < LONGEST_KEY and hits(value.decode("latin-1"))
    return t is Tagged and is_label(value.fields.get("value"), hits)  # a member of an enumeration, a text of NumPy's


def labelled(labels: Snapshot, hits: Hits) -> set[int]:
    """The places of the labels that are, or may be, the name of a secret, or have it as a part."""
    return {
        place
        for place, label in _places(_entries(labels) or [])
        if type(label) in _UNKNOWN or any(is_label(part, hits) for part in _parts(label))
    }


def without_places(row: Snapshot, secret: set[int], unknown: Sequence[range] = ()) -> Snapshot:
    """Hide the entries at these places of a row, or of a column; at those whose names nobody knows all texts."""
    entries = _entries(row)
    return row if entries is None else _with_entries(row, _hide(entries, secret, unknown))


def without_columns(fields: dict[str, Snapshot], hits: Hits) -> dict[str, Snapshot]:
    """Hide the cells of tables in columns that have the name of a secret.

    Args:
        fields: of a dict or an object.
        hits: tells whether a name is one of a secret.
    """
    shown = fields
    tables = [key for key in TABLES if _entries(fields.get(key)) is not None]
    for labels in COLUMNS if tables else ():
        found = fields.get(labels)
        secret, unknown = labelled(found, hits), _unlabelled(found)
        if secret or unknown:
            shown = {**shown, **{key: _without_cells(shown[key], secret, unknown) for key in tables}}
    # the names may be among what was left out
    if tables and type(fields.get(CUT_KEY)) is Cut and fields.keys().isdisjoint(COLUMNS):
        shown = {**shown, **{key: _without_cells(shown[key], set(), _ALL) for key in tables}}
    return shown


def _unlabelled(labels: Snapshot) -> list[range]:
    """The places of columns whose names nobody knows: rows came first, and were large, so that the names were left out."""
    if type(labels) in _UNKNOWN:  # or what describes the columns stands in another place, too
        return _ALL if labels.type_name in {"list", "tuple"} else []
    entries = _entries(labels) or []
    return [range(place, place + item.entries) for place, item in _places(entries) if type(item) is Cut]


def without_labels(fields: dict[str, Snapshot], hits: Hits) -> dict[str, Snapshot]:
    """Hide what the columns of a frame are called where one of their levels has the name of a secret: a pivot by API key."""
    columns, rows = fields.get("columns"), fields.get("head")
    if type(columns) is not dict or not labelled(fields.get("column_levels"), hits):
        return fields
    shown = {label: f"{REPLACEMENT} ({place})" for place, label in enumerate(columns) if label != CUT_KEY}

    def without(row: Snapshot) -> Snapshot:
        return {shown.get(label, label): cell for label, cell in row.items()} if type(row) is dict else row

    hidden_rows = {"head": [without(row) for row in rows]} if type(rows) is list else {}
    return {**fields, "columns": without(columns), **hidden_rows}


def _without_cells(table: Snapshot, secret: set[int], unknown: Sequence[range]) -> Snapshot:
    """Hide the secret cells of each row; of columns that nobody knows, all texts."""
    entries = _entries(table) or []
    if width := _width(table):
        return _with_entries(table, _hide(entries, secret, unknown, width))
    return _with_entries(table, [without_places(row, secret, unknown) for row in entries])


def _width(table: Snapshot) -> int:
    """The columns of an array, whose cells are shown one row behind the other; 0 for other tables."""
    shape = table.fields.get("shape") if type(table) is Tagged else None
    return shape[1] if type(shape) is list and len(shape) == 2 and type(shape[1]) is int else 0


def _hide(cells: list[Snapshot], secret: set[int], unknown: Sequence[range], width: int = maxsize) -> list[Snapshot]:
    return [
        hidden(cell)
        if place % width in secret or (type(cell) in _TEXTS and any(place % width in places for places in unknown))
        else cell
        for place, cell in _places(cells)
    ]


def _entries(value: Snapshot) -> list[Snapshot] | None:
    """The entries of a list, or of what we show of an object that holds several; None for everything else."""
    if type(value) is list:
        return value
    if type(value) is Tagged:
        return next((found for key in _ENTRIES if type(found := value.fields.get(key)) is list), None)
    return None


def _with_entries(value: Snapshot, entries: list[Snapshot]) -> Snapshot:
    if type(value) is not Tagged:
        return entries
    key = next(key for key in _ENTRIES if type(value.fields.get(key)) is list)
    return value._replace(fields={**value.fields, key: entries})


def _parts(label: Snapshot) -> list[Snapshot]:
    """What a label is called: a column may be a dict that describes it, or have several levels."""
    if type(label) is dict:
        return [label[key] for key in NAMES if key in label]
    if type(label) is Tagged:
        return [label.fields[key] for key in NAMES if key in label.fields] or [label]
    return label if type(label) is list else [label]


def _places(items: list[Snapshot]) -> Iterator[tuple[int, Snapshot]]:
    """Items with the place that they had before the list was cut."""
    place = 0
    for item in items:
        yield place, item
        place += item.entries if type(item) is Cut else 1
