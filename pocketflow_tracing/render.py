"""From snapshots to what is recorded: JSON-ready, bounded, without secrets. Runs on the worker.

One convention: what JSON can say is said plainly (a tuple is a list), everything else is an object with `__type__`: a
class instance with its fields, `{"__type__": "Customer", "id": 3}`, anything of one value with `value`, of many with
`items`.
"""

from __future__ import annotations

from json import dumps
from math import isfinite

from . import _media
from ._guard import Seam
from ._time import breathe
from .capture import snapshot
from .capture_types import CUT_KEY, MARGIN, Again, Cut, Failure, Head, Long, Pairs, Snapshot, Tagged
from .records import Json
from .redaction import Policy, Rules
from .redaction_data import scan_rest, scan_value
from .redaction_labels import (
    MAY_NAME,
    is_a_type,
    is_of_a_model,
    without_aliased,
    without_named,
    without_quoted,
    without_words,
)
from .redaction_shapes import REPLACEMENT, scan
from .redaction_tables import is_label
from .redaction_text import redact_text
from .render_cleaned import cleaned, cleaned_once
from .render_marks import SHORT_KEY, TYPE_KEY, is_short_scalar, mark, shown_name, summary
from .render_text import LONGEST_KEY, MOST_BITS, agreeing, clean, is_json, not_finite, short, size_of, unused

__all__ = ["HIDDEN", "MARGIN", "SHORT_KEY", "TYPE_KEY", "Asides", "apply_mask", "render", "render_summary"]

HIDDEN = "<hidden>"
WITHHELD = "<withheld: mask failed>"
WITHOUT = "<not shown: an error in pocketflow-tracing>"

_RENDERING = Seam("showing a value")
_LEAST_TEXT = 200
_PREVIEW = 64
_ENTRY_WEIGHT = 16
"""About the bytes that an entry of a container takes beside its text."""

Path = tuple[str | int, ...]


class Asides:
    """What rendering tells beside its result, summed up over several values.

    Args:
        media_bytes: the largest medium to collect, 0 for none.
        made: the media of other values that are rendered with these.
    """

    __slots__ = ("made", "media", "media_bytes", "size")

    def __init__(self, media_bytes: int, made: _media.Made) -> None:
        self.media_bytes = media_bytes
        self.made = made
        self.media: dict[str, _media.Medium] = {}
        self.size = 0
        """About the bytes of what was rendered."""


def render(value: Snapshot, rules: Rules, path: Path = (), asides: Asides | None = None) -> Json:
    """Turn a snapshot into what is recorded.

    Args:
        value: what `snapshot` returned.
        rules: redaction, mask, policy and limits.
        path: where the value stands, ("shared", "documents") say; its names count for redaction and policy.
        asides: counts what is rendered, and collects the media in it.

    Returns:
        Data that `json.dumps(…, allow_nan=False)` takes and that encodes as UTF-8.
    """
    ruled = _by_path(value, rules, path)
    if ruled is not None:
        return ruled
    rendering = _Rendering(rules, asides)
    try:
        with _RENDERING:
            return rendering.whole(value, path)
        return WITHOUT  # an error of ours costs the value, not the span that it belongs to
    finally:
        if asides is not None:
            asides.size += rules.limits.max_total_text - rendering.text_left + _ENTRY_WEIGHT * rendering.entries_seen


def render_summary(value: Snapshot, rules: Rules, path: Path, why: str) -> Json:
    """Turn a snapshot into its type and size, and why it is no more; a short scalar stays what it is."""
    if is_short_scalar(value):
        return render(value, rules, path)
    shown = _by_path(value, rules, path)
    if shown is None:
        shown = summary(value)
        if type(shown) is dict:
            shown[CUT_KEY] = why
    return shown


def apply_mask(shown: Json, rules: Rules, path: Path) -> Json:
    """Pass a value whose parts have been rendered through the user's mask, as a whole."""
    return _Rendering(rules).masked(shown, path)


def _by_path(value: Snapshot, rules: Rules, path: Path) -> Json:
    """What stands for a value because of where it stands, None if nothing does."""
    for length in range(1, len(path) + 1):
        part = path[length - 1]
        if type(part) is str and rules.redact.hits(part) and not (value is None or type(value) is bool):
            return REPLACEMENT
        policy = rules.policy_at(path[:length])
        if policy == "hide":
            return HIDDEN
        if policy == "summarise":
            return summary(value)
    return None


class _Rendering:
    """The state of one rendering: what is left of the text budget."""

    __slots__ = (
        "asides", "classes", "entries_seen", "hits", "in_error", "mask", "max_text", "pathless", "rules", "text_left",
    )  # fmt: skip

    def __init__(self, rules: Rules, asides: Asides | None = None) -> None:
        self.rules = rules
        self.asides = asides
        self.entries_seen = 0
        self.classes = rules.has_classes
        self.hits = rules.redact.hits
        self.in_error = False
        self.mask = rules.mask
        self.max_text = rules.limits.max_text
        self.text_left = rules.limits.max_total_text
        # Paths are built only for those who ask.
        self.pathless = rules.mask is None and not rules.policy

    def whole(self, value: Snapshot, path: Path) -> Json:
        try:
            return self.value(value, path)
        except RecursionError:
            return "<too deep>"

    def value(self, value: Snapshot, path: Path) -> Json:
        t = type(value)
        if t is str:
            return self.text(value, path)
        shown: Json
        if t is int:
            bits = value.bit_length()
            shown = value if bits <= MOST_BITS else {TYPE_KEY: "int", "digits": int(bits * 0.30103) + 1}
        elif value is None or t is bool:
            shown = value
        elif t is float:
            shown = value if isfinite(value) else not_finite(value)
        elif t is dict:
            shown = self.entries(value, path, {})
        elif t is list or t is tuple:  # tuples come in plain data of our own
            shown = self.items(value, path)
        elif t is Tagged or t is Failure:
            if self.classes and (policy := self.rules.policy_of_class(value.type_name)) != "record":
                return HIDDEN if policy == "hide" else summary(value)
            around, self.in_error = self.in_error, self.in_error or t is Failure
            fields = without_aliased(value.fields, value.type_name, self.hits)
            if t is Failure:
                texts = (*value.fields.items(), *value.quoted)
                fields = {**fields, "message": without_quoted(fields.get("message"), texts, self.hits)}
                if "instance" in fields:  # of jsonschema's, what it is about
                    fields["instance"] = without_quoted(fields["instance"], texts, self.hits)
            shown = self.entries(fields, path, {TYPE_KEY: shown_name(value.type_name)})
            self.in_error = around
        elif t is bytes:
            mime = _media.mime_of_bytes(value)
            shown = self.medium(value, mime, len(value)) if mime is not None else self.raw(value, len(value), path)
        elif t is Pairs:
            if self.classes and (policy := self.rules.policy_of_class(value.type_name)) != "record":
                return HIDDEN if policy == "hide" else summary(value)
            shown = self.pairs(value, path)
        elif t is Head:
            shown = self.preview(value.data)
        elif t is Long:
            return self.long(value, path)
        else:
            return mark(value)
        return shown if self.mask is None else self.masked(shown, path)

    def entries(self, value: dict[str, Snapshot], path: Path, shown: dict[str, Json]) -> Json:
        breathe()
        hits = self.hits
        self.entries_seen += len(value)
        if not MAY_NAME.isdisjoint(value):
            value = without_named(value, hits)
        for key, item in value.items():
            if hits(key) and not (is_a_type(item) or (key == "token" and is_of_a_model(value))):
                result: Json = item if item is None or type(item) is bool else REPLACEMENT
            elif self.pathless:
                result = self.value(item, ())
            else:
                result = self.part(item, (*path, key))
            if len(key) < SHORT_KEY and key.isascii() and key.isidentifier() and key not in shown:
                shown[key] = result
            else:
                shown[unused(self.named(key), shown)] = result
        return shown

    def named(self, key: str) -> str:
        near = key[: LONGEST_KEY + MARGIN]
        near = scan_value(near, self.hits) if "=" in near or ":" in near or " " in near else scan(near)
        return clean(short(near, rest=len(key) - LONGEST_KEY - MARGIN))

    def items(self, value: list[Snapshot] | tuple[Snapshot, ...], path: Path) -> list[Json]:
        breathe()
        self.entries_seen += len(value)
        if len(value) == 2 and is_label(value[0], self.hits):  # a header or parameter as a pair
            return [self.value(value[0], (*path, 0)), None if value[1] is None else REPLACEMENT]
        value = without_words(value, self.hits)
        if self.pathless:
            return [self.value(item, ()) for item in value]
        index = 0
        shown = []
        for item in value:
            shown.append(self.part(item, (*path, index)))
            index += item.entries if type(item) is Cut else 1
        return shown

    def pairs(self, value: Pairs, path: Path) -> Json:
        shown: dict[str, Json] = {} if value.type_name == "dict" else {TYPE_KEY: shown_name(value.type_name)}
        fields = {row[0]: row[1] for row in value.rows if type(row) is not Cut and type(row[0]) is str}
        if not MAY_NAME.isdisjoint(fields):
            fields = without_named(fields, self.hits)
        for row in value.rows:
            if type(row) is Cut:
                shown[CUT_KEY] = mark(row)
                continue
            key, item = row
            if type(key) is str:
                name = shown_as = key
                item = fields[key]
            else:
                name = shown_as = self.key(key)
                if self.classes and (policy := self.policy_of_key(key)) != "record":
                    shown_as = HIDDEN if policy == "hide" else dumps(summary(key))
            # an object that is described in another place only may have the name of a secret
            is_secret = self.hits(name) or is_label(key, self.hits) or type(key) is Again
            result = REPLACEMENT if is_secret and item is not None else self.part(item, (*path, name))
            shown[unused(self.named(shown_as), shown)] = result
        return shown

    def policy_of_key(self, key: Snapshot) -> Policy:
        """Say what the policy says of a key's class, or of one in it."""
        t = type(key)
        if t is Tagged or t is Failure or t is Pairs:
            policy = self.rules.policy_of_class(key.type_name)
            return self.policy_of_key(key[1]) if policy == "record" else policy
        parts = key.values() if t is dict else key if t is list else ()
        return next((policy for part in parts if (policy := self.policy_of_key(part)) != "record"), "record")

    def key(self, key: Snapshot) -> str:
        """Write a key that is no string: as Python writes it, or as compact JSON."""
        t = type(key)
        if key is None or t is bool or t is float or (t is int and key.bit_length() <= MOST_BITS):
            return repr(key)
        if t is bytes:
            return repr(key[:LONGEST_KEY])
        if t is list and all(is_short_scalar(item) for item in key):
            return f"({', '.join([repr(item) for item in key])}{',' * (len(key) == 1)})"
        if t is Tagged and type(key.fields.get("value")) in {str, int, float, bool} and "name" not in key.fields:
            return str(key.fields["value"])
        if t is Tagged and type(key.fields.get("name")) is str:
            return f"{key.type_name}.{key.fields['name']}"
        return dumps(_Rendering(Rules(self.rules.redact, limits=self.rules.limits)).value(key, ()))

    def part(self, value: Snapshot, path: Path) -> Json:
        policy = self.rules.policy_at(path)
        if policy == "record":
            return self.value(value, path)
        return HIDDEN if policy == "hide" else summary(value)

    def raw(self, value: bytes, size: int, path: Path) -> Json:
        shown = self.preview(value)
        return {TYPE_KEY: "bytes", "size": size, "preview": self.masked(shown, (*path, "preview"))}

    def preview(self, head: bytes) -> str:
        """Show the first bytes as Python writes them, without the b and its quotes; as a text where secrets are hidden."""
        if len(head) > 7:
            wide = head[: _PREVIEW + MARGIN].decode("latin-1")
            scanned = redact_text(wide, self.rules) if self.in_error else scan_value(wide, self.hits)
            if scanned is not wide and scanned != wide:
                return clean(scanned[:_PREVIEW])
        return repr(head[:_PREVIEW])[2:-1]

    def medium(self, value: bytes | str, mime: str, size: int) -> Json:
        """Show an image, a sound or a PDF as its type and size; with its id, if it is one to be sent."""
        shown = _media.summary(mime, size)
        if self.asides is not None and 0 < size <= self.asides.media_bytes:
            found = self.asides.made.medium(value, mime)
            if found is not None:
                self.asides.media[found.id] = found
                shown["id"] = found.id
        return shown

    def text(self, text: str, path: Path) -> Json:
        if text[:4] in _media.BEGINNINGS and (mime := _media.mime_of_text(text)) is not None:
            shown = self.medium(text, mime, _media.size_of_text(text))
            return shown if self.mask is None else self.masked(shown, path)
        limit = min(self.max_text, max(self.text_left, _LEAST_TEXT))
        size = len(text)
        if size <= limit:
            self.text_left -= size
            return self.cleaned(text, path)
        return self.ends(text, text, size, limit, path)

    def long(self, value: Long, path: Path) -> Json:
        """Show a text or bytes of which only the ends were kept."""
        begin, end, size = value.begin, value.end, value.size
        if isinstance(begin, bytes):
            mime = _media.mime_of_bytes(begin)
            shown = self.raw(begin, size, path) if mime is None else _media.summary(mime, size)
        elif (mime := _media.mime_of_text(begin)) is not None:
            shown = _media.summary(mime, _media.size_of_text(begin, size))
        else:
            limit = min(self.max_text, max(self.text_left, _LEAST_TEXT), value.shown)
            return self.ends(begin, str(end), size, limit, path)
        return shown if self.mask is None else self.masked(shown, path)

    def ends(self, begin: str, end: str, size: int, limit: int, path: Path) -> Json:
        """Show the beginning and the end of a text of a size, out of texts that begin and end like it.

        What is redacted has another length, so the cut is found by cleaning twice, with the margin and without: what both
        agree on comes from this side of the cut, and is free of a secret that the cut or the margin's own edge divides.
        """
        half = limit // 2
        self.text_left -= limit
        head, near_head = self.cleaned(begin[:half], path), self.cleaned(begin[: half + MARGIN], path)
        rest = end[max(len(end) - half - MARGIN, half if end is begin else 0) :]
        rests: tuple[str, ...] = rest[-half:] if half else "", rest
        if (
            head != clean(begin[:half]) or "</" in begin
        ):  # something is named there, or may be: of elements the end tells
            rests = scan_rest(begin[:half], rests, self.hits)
        tail, near_tail = (self.cleaned(text, path) for text in rests)
        for shown in (head, near_head, tail, near_tail):
            if type(shown) is not str:
                return shown
        agreed = agreeing(min(len(head), len(near_head)), lambda count: head[:count] == near_head[:count])
        agreed_end = agreeing(
            min(len(tail), len(near_tail)), lambda count: not count or tail[-count:] == near_tail[-count:]
        )
        left_out = size_of(size - 2 * half)
        return f"{head[:agreed]} … {left_out} more … {tail[len(tail) - agreed_end :]}"

    def cleaned(self, text: str, path: Path) -> Json:
        redactor = self.rules.redact
        if not self.in_error:
            text = cleaned_once(text, redactor)
        else:  # nobody reads that as prose
            text = redact_text(text, self.rules) if len(text) > 7 else text
            text = cleaned(text, redactor)
        return text if self.mask is None else self.masked(text, path)

    def masked(self, shown: Json, path: Path) -> Json:
        """Apply the user's mask; what it returns is their object, and read like any other."""
        mask = self.mask
        if mask is None:
            return shown
        try:
            result = mask(shown, path)
        except BaseException:  # noqa: BLE001 - the promise: however the mask fails, the value is withheld and the rest goes on
            return WITHHELD
        if result is shown and is_json(shown):  # it may have been changed in its place, to anything
            return shown
        rules = self.rules
        return _Rendering(Rules(rules.redact, limits=rules.limits)).value(snapshot(result, rules.limits), ())
