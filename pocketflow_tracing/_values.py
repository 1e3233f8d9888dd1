"""The values of a span on their way into its record: rendered, each at the path by which rules know it. Runs on the worker."""

from __future__ import annotations

import zlib
from typing import Any

from ._changes import difference
from ._media import Made
from .capture_types import Snapshot
from .recorder import Run, Span
from .records import Json
from .redaction_labels import MAY_NAME, without_named
from .render import SHORT_KEY, Asides, apply_mask, render, render_summary
from .render_text import short

__all__ = ["Values", "key_name", "rendered_text"]

_MOST_NAMES, _LONGEST_NAME = 5_000, 300
_PLAIN = 1 << 53
_SHORTEST_SECRET = 8


class Values:
    """The values of one span on their way into its record.

    Each stands at a path by what it is, wherever it appears: ("shared", key …), ("prep_res", …), ("exec_res", …),
    ("params", …). So a policy or a mask that names it covers every copy.
    """

    __slots__ = ("asides", "by_name_only", "overdrawn", "rules", "run", "shared_rules", "span", "writes_otherwise")

    def __init__(self, span: Span, made: Made) -> None:
        run = self.run = span.run
        self.span = span
        pipeline = run.pipeline
        self.rules = self.shared_rules = pipeline.rules
        if pipeline.rules.policy:
            self.rules = pipeline.rules.of_node(_class_of(span))
        # whether what this visit writes into `shared` may be shown otherwise than what stood there before
        self.writes_otherwise = self.rules is not pipeline.rules and self.rules.policy != pipeline.rules.policy
        self.asides = Asides(pipeline.media_bytes if span.complete else 0, made)
        self.overdrawn = run.recorded >= pipeline.max_run_bytes
        # with nothing to ask but the names, short values are what they are
        self.by_name_only = not (pipeline.rules.policy or pipeline.rules.mask is not None or self.overdrawn)

    def settle(self) -> list[Any]:
        """Charge the run for what was rendered, and return the media in it."""
        if self.span.complete:
            self.run.recorded += self.asides.size
        return list(self.asides.media.values()) if self.asides.media else []

    def at(self, value: Snapshot, *path: str | int, is_written: bool = False) -> Json:
        """Render one value at its path; a value in `shared` by what the policy says of its key, and of who wrote it here."""
        if value is None:
            return None
        rules = self.shared_rules if path[0] == "shared" and not is_written else self.rules
        if self.by_name_only and _is_plain(value):
            hits = rules.redact.hits
            for part in path:
                if type(part) is str and hits(part):
                    break
            else:
                return value
        if self.overdrawn:
            return render_summary(value, rules, path, self._why())
        return render(value, rules, path, self.asides)

    def _why(self) -> str:
        return f"the {self.run.pipeline.config.max_run_mb:g} MB of one run are used up"

    def input(self) -> Json:
        """What went in."""
        span, value = self.span, self.span.input
        if value is None:
            return None
        kind, phase = span.kind, span.attributes.get("phase")
        if kind in {"flow", "node"}:
            return self.at(value, "shared")
        if kind == "pass":
            return self.at(value, "params")
        if kind == "function":
            return self._arguments(value)
        if phase == "prep":
            names = value.get("shared") if type(value) is dict else None
            return {"shared": [key_name(name, self.run) for name in names]} if names else self.at(value, "shared")
        if phase == "post" and type(value) is dict:
            return {name: self.at(value[name], name) for name in ("prep_res", "exec_res") if name in value}
        return self.at(value, *self._item("prep_res"))

    def output(self) -> Json:
        """What came out."""
        span, value = self.span, self.span.output
        if value is None:
            return None
        kind, phase = span.kind, span.attributes.get("phase")
        if kind in {"flow", "node", "pass"} and type(value) is dict:
            shared = value.get("shared")
            return {
                "action": self.at(value.get("action"), "action"),
                "shared": self.at(shared, "shared", is_written=True),
            }
        if kind == "function":
            return self.at(value, "shared" if type(value) is dict else "output")
        if phase == "prep":
            return self.at(value, "prep_res")
        if phase == "post":
            return self.at(value, "action")
        return self.at(value, *self._item("exec_res"))

    def _item(self, name: str) -> tuple[str | int, ...]:
        item = self.span.attributes.get("item")
        return (name,) if item is None else (name, item)

    def _arguments(self, value: Snapshot) -> Json:
        if type(value) is not dict:
            return self.at(value, "input")
        if not MAY_NAME.isdisjoint(value):
            value = without_named(value, self.rules.redact.hits)
        return {key_name(name, self.run): self.at(item, *self._place(name, item)) for name, item in value.items()}

    def _place(self, name: str, argument: Snapshot) -> tuple[str, ...]:
        """Where a decorated function's argument stands: rules know it as a key of `shared`, and any dict may be `shared`."""
        has_own = self.rules.redact.hits(name) or self.shared_rules.policy_at(("shared", name)) != "record"
        return ("shared",) if type(argument) is dict and not has_own else ("shared", name)

    def state(self) -> Json:
        """What the visit did to `shared`."""
        state = self.span.state
        if state is None:
            return None
        made = self._changes(state)
        if "of" in state:
            made["of"] = state["of"]
        if "end" in state:
            made["end"] = self._changes(state["end"])
        return made

    def _changes(self, state: dict[str, Any]) -> dict[str, Json]:
        made: dict[str, Json] = {"seq": state["seq"]}
        labels = state.get("labels", {})
        for kind in ("full", "added", "shown"):
            if kind in state:
                made[kind] = self._picture(state[kind], labels, is_written=kind == "added")
        if "changed" in state:
            old = self._picture({key: pair[0] for key, pair in state["changed"].items()}, labels, is_written=True)
            new = self._picture({key: pair[1] for key, pair in state["changed"].items()}, labels, is_written=True)
            whole = self.overdrawn or self.writes_otherwise  # what stood there before may have been recorded in full
            made["changed"] = {
                key: {"old": old.get(key), "new": value} if whole else difference(old.get(key), value)
                for key, value in new.items()
            }
        for kind in ("removed", "unwatched"):
            if kind in state:
                made[kind] = [key_name(key, self.run) for key in state[kind]]
        return made

    def _picture(
        self, values: dict[str, Snapshot], labels: dict[str, Snapshot], *, is_written: bool
    ) -> dict[str, Json]:
        values = self._without_named(values, labels)
        # each key by itself, so that it reads the same whichever others stand beside it
        picture = {
            key_name(key, self.run): self.at(value, "shared", key, is_written=is_written)
            for key, value in values.items()
        }
        if self.shared_rules.mask is None:
            return picture
        masked = apply_mask(picture, self.shared_rules, ("shared",))
        return masked if type(masked) is dict else dict.fromkeys(picture, masked)

    def _without_named(self, values: dict[str, Snapshot], labels: dict[str, Snapshot]) -> dict[str, Snapshot]:
        """Hide what `shared` itself says of its keys, as any dict does of its own: its rows, by what its columns are called."""
        if not labels and MAY_NAME.isdisjoint(values):
            return values
        known = without_named({**labels, **values}, self.shared_rules.redact.hits)
        return {key: known[key] for key in values}


def _is_plain(value: Any) -> bool:
    """Whether a value has nothing to cut, to clean or to look for."""
    if type(value) is int:
        return -_PLAIN < value < _PLAIN
    if type(value) is str:
        return len(value) < _SHORTEST_SECRET and value.isascii()
    return type(value) is bool


def _class_of(span: Span) -> str:
    at: Span | None = span
    while at is not None and "class" not in at.attributes:
        at = at.parent
    found = at.attributes["class"] if at is not None else ""
    return found.rpartition(".")[2] if type(found) is str else ""


def key_name(key: str, run: Run) -> str:
    """The name that a key of `shared` has in every record: of two different keys never the same."""
    if len(key) < SHORT_KEY and key.isascii():
        return key
    name = rendered_text(short(key), run)
    return name if name == key else f"{name} #{zlib.crc32(key.encode('utf-8', 'surrogatepass')):08x}"


def rendered_text(value: str, run: Run) -> str:
    """A name or another text of our own, cleaned; names of nodes, phases and actions come again with every visit."""
    known = run.pipeline.names.get(value)
    if known is None:
        rendered = render(value, run.pipeline.plain_rules)
        known = rendered if isinstance(rendered, str) else str(rendered)
        if len(run.pipeline.names) < _MOST_NAMES and len(value) < _LONGEST_NAME:
            run.pipeline.names[value] = known
    return known
