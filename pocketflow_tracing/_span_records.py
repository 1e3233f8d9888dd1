"""From spans to records, on the worker: redaction, masking and cutting happen here and nowhere else.

`span_record` and `run_record` are the only ways from captured data to a sink, so what they return is all that ever
leaves.
"""

from __future__ import annotations

import os
import socket
import zlib
from typing import Any

from ._changes import difference
from ._ids import source
from .capture_types import Snapshot
from .recorder import Run, Span
from .records import Json, RunRecord, SpanRecord
from .redaction import Rules
from .render import SHORT_KEY, Asides, apply_mask, render, render_summary
from .render_errors import render_exception
from .render_text import short

__all__ = ["process_id", "run_record", "span_record"]

_MOST_NAMES, _LONGEST_NAME = 5_000, 300
_PLAIN = 1 << 53
_process: tuple[int, str] | None = None


def process_id() -> str:
    """The name of this process in records: host, pid and a random part, for pids come again."""
    global _process  # noqa: PLW0603 - one fact of the process, renewed in a forked child
    if _process is None or _process[0] != os.getpid():
        _process = (os.getpid(), f"{socket.gethostname()}:{os.getpid()}:{source.bits(32):08x}")
    return _process[1]


def run_record(run: Run) -> RunRecord:
    """The record of a run, as far as it is known now."""
    root = run.root
    assert root is not None  # noqa: S101 - a run is announced by its root
    attributes = run.attributes
    return RunRecord(
        run_id=f"{root.span_id:016x}",
        trace_id=f"{run.trace_id:032x}",
        name=_text(run.name, run),
        status=root.status if root.done else "running",
        start_ns=root.start + run.offset,
        end_ns=root.end + run.offset if root.end is not None and root.done else None,
        session_id=_optional_text(attributes.get("session_id"), run),
        user_id=_optional_text(attributes.get("user_id"), run),
        tags=[_text(tag, run) for tag in attributes.get("tags", ())],
        metadata=_rendered_dict(attributes.get("metadata"), run.pipeline.rules, "metadata"),
        version=_optional_text(attributes.get("version"), run),
        environment=_optional_text(attributes.get("environment"), run),
        release=_optional_text(attributes.get("release"), run),
        graph=None if run.pipeline.sinks == (run.pipeline.langfuse,) else _graph(run),  # Langfuse draws from the spans
        error=_short_error(root.error, run, run.pipeline.rules.of_node(str(root.attributes.get("class") or ""))),
        process_id=process_id(),
        trace_name=_optional_text(attributes.get("trace_name"), run),
        is_app_root=run.is_app_root,
    )


def _graph(run: Run) -> Json:
    def clean(parts: list[dict[str, str]]) -> list[Json]:
        return [{key: _text(value, run) for key, value in part.items()} for part in parts]

    return {
        "flows": [
            {
                "id": _text(flow["id"], run),
                "name": _text(flow["name"], run),
                "start": _optional_text(flow["start"], run),
                "nodes": clean(flow["nodes"]),
                "edges": clean(flow["edges"]),
            }
            for flow in run.graph.plain()["flows"]
        ]
    }


def span_record(span: Span) -> SpanRecord:
    """The record of a span, as far as it is known now."""
    run = span.run
    root = run.root
    assert root is not None  # noqa: S101 - a run is announced by its root
    parent = span.parent.span_id if span.parent is not None else run.parent_id
    ended = span.end is not None
    # a visit that has ended but whose successor is not known yet reads as running, for more will come of it
    status = span.status if span.done or span.kind == "attempt" else "running"
    values = _Values(span)
    return SpanRecord(
        run_id=f"{root.span_id:016x}",
        trace_id=f"{run.trace_id:032x}",
        span_id=f"{span.span_id:016x}",
        parent_id=f"{parent:016x}" if parent is not None else None,
        kind=span.kind,
        name=_text(span.name, run),
        status=status,
        start_ns=span.start + run.offset,
        end_ns=span.end + run.offset if ended and status != "running" and span.end is not None else None,
        input=values.input(),
        output=values.output(),
        state=values.state(),
        error=_error(span, values.rules),
        attributes=_attributes(span, run, values),
        metadata=_rendered_dict(span.metadata, values.rules, "metadata"),
        scores=[_rendered_dict(score, values.rules, "score") for score in span.scores or ()],
        media=values.settle(),
    )


class _Values:
    """The values of one span on their way into its record.

    Each stands at a path by what it is, wherever it appears: ("shared", key …), ("prep_res", …), ("exec_res", …),
    ("params", …). So a policy or a mask that names it covers every copy.
    """

    __slots__ = ("asides", "overdrawn", "rules", "run", "shared_rules", "span")

    def __init__(self, span: Span) -> None:
        run = self.run = span.run
        self.span = span
        pipeline = run.pipeline
        config = pipeline.config
        self.shared_rules = self.rules = pipeline.rules
        if pipeline.rules.policy:
            self.rules = pipeline.rules.of_node(_class_of(span))
        sends_media = span.done and config.media and pipeline.langfuse is not None
        self.asides = Asides(int(config.media_max_mb * 1_000_000) if sends_media else 0)
        self.overdrawn = _spent(run) >= config.max_run_mb * 1_000_000

    def settle(self) -> list[Any]:
        """Charge the run for what was rendered, and return the media in it."""
        if self.span.done:
            self.run.attributes[_SPENT] = _spent(self.run) + self.asides.size
        return list(self.asides.media.values())

    def at(self, value: Snapshot, *path: str | int) -> Json:
        """Render one value at its path."""
        if value is None:
            return None
        rules = self.shared_rules if path[0] == "shared" else self.rules
        if self.overdrawn:
            return render_summary(value, rules, path, self._why())
        if (
            (type(value) is bool or (type(value) is int and -_PLAIN < value < _PLAIN))
            and path[0] != "shared"  # whose keys may name a secret
            and rules.mask is None
            and not rules.policy
        ):
            return value  # nothing to cut, redact or mask
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
            return {"shared": [_key_name(name, self.run) for name in names]} if names else self.at(value, "shared")
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
            return {"action": self.at(value.get("action"), "action"), "shared": self.at(shared, "shared")}
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
        # any dict that a decorated function takes may be the `shared` of its flows
        if type(value) is not dict:
            return self.at(value, "input")
        return {
            _key_name(name, self.run): self.at(item, *(("shared",) if type(item) is dict else ("input", name)))
            for name, item in value.items()
        }

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
        for kind in ("full", "added"):
            if kind in state:
                made[kind] = self._picture(state[kind])
        if "changed" in state:
            old = self._picture({key: pair[0] for key, pair in state["changed"].items()})
            new = self._picture({key: pair[1] for key, pair in state["changed"].items()})
            whole = self.overdrawn  # what stood there before may have been recorded in full
            made["changed"] = {
                key: {"old": old.get(key), "new": value} if whole else difference(old.get(key), value)
                for key, value in new.items()
            }
        for kind in ("removed", "unwatched"):
            if kind in state:
                made[kind] = [_key_name(key, self.run) for key in state[kind]]
        return made

    def _picture(self, values: dict[str, Snapshot]) -> dict[str, Json]:
        # each key by itself, so that it reads the same whichever others stand beside it
        picture = {_key_name(key, self.run): self.at(value, "shared", key) for key, value in values.items()}
        if self.shared_rules.mask is None:
            return picture
        masked = apply_mask(picture, self.shared_rules, ("shared",))
        return masked if type(masked) is dict else dict.fromkeys(picture, masked)


def _class_of(span: Span) -> str:
    at: Span | None = span
    while at is not None and "class" not in at.attributes:
        at = at.parent
    found = at.attributes["class"] if at is not None else ""
    return found.rpartition(".")[2] if type(found) is str else ""


_SPENT = "recorded_bytes"


def _spent(run: Run) -> int:
    spent = run.attributes.get(_SPENT, 0)
    return spent if type(spent) is int else 0


def _key_name(key: str, run: Run) -> str:
    """The name that a key of `shared` has in every record: of two different keys never the same."""
    if len(key) < SHORT_KEY and key.isascii():
        return key
    name = _text(short(key), run)
    return name if name == key else f"{name} #{zlib.crc32(key.encode('utf-8', 'surrogatepass')):08x}"


def _text(value: str, run: Run) -> str:
    known = run.pipeline.names.get(value)
    if known is None:
        rendered = render(value, run.pipeline.plain_rules)
        known = rendered if isinstance(rendered, str) else str(rendered)
        if len(run.pipeline.names) < _MOST_NAMES and len(value) < _LONGEST_NAME:
            run.pipeline.names[value] = known  # names of nodes, phases and actions come again with every visit
    return known


def _optional_text(value: str | None, run: Run) -> str | None:
    return None if value is None else _text(value, run)


def _rendered_dict(value: dict[str, Any] | None, rules: Rules, *path: str) -> dict[str, Json]:
    if not value:
        return {}
    rendered = render(value, rules, path)
    return rendered if isinstance(rendered, dict) else {"value": rendered}


def _attributes(span: Span, run: Run, values: _Values) -> dict[str, Json]:
    rendered: dict[str, Json] = {}
    for key, value in span.attributes.items():
        kind = type(value)
        if kind is str:
            if key != "flow":
                rendered[key] = _text(value, run)
        elif kind is int or kind is bool:
            rendered[key] = value
        elif value is not None and key != "params":
            rendered[key] = render(value, run.pipeline.plain_rules)
    if run.lost and span.parent is None:
        rendered["lost_spans"] = run.lost
    if "params" in span.attributes:
        rendered["params"] = values.at(span.attributes["params"], "params")
    return rendered


def _error(span: Span, rules: Rules) -> Json:
    if span.error is None:
        return None
    rendered = render_exception(span.error, _error_rules(span.run, span.error, rules))
    return rendered if rendered.get("traceback") else _shortened(rendered)


def _short_error(error: Any, run: Run, rules: Rules) -> Json:
    return None if error is None else _shortened(render_exception(error, _error_rules(run, error, rules)))


def _error_rules(run: Run, error: Any, rules: Rules) -> Rules:
    """The rules for an error: on spans above the one that raised it, those of any node that may have raised it."""
    if not rules.policy or error.frames:
        return rules
    for flow in run.graph.plain()["flows"]:
        for node in flow["nodes"]:
            of_node = run.pipeline.rules.of_node(node["class"])
            if of_node.policy_at(("error", "message")) != "record":
                return of_node
    return rules


def _shortened(rendered: dict[str, Json]) -> dict[str, Json]:
    return {"type": rendered["type"], "message": rendered["message"]}
