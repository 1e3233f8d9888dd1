"""From the pictures of exceptions to what is recorded of them. Runs on the worker."""

from __future__ import annotations

import linecache
from itertools import chain
from json import dumps

from .capture_errors import ErrorSnapshot
from .capture_types import CUT_KEY, Snapshot
from .records import Json
from .redaction import Policy, Rules
from .redaction_data import scan_rest
from .redaction_labels import without_quoted
from .redaction_text import redact_text
from .render import HIDDEN, MARGIN, render
from .render_marks import shown_name, summary
from .render_text import clean, short

__all__ = ["render_exception"]

Quoted = tuple[tuple[str, str], ...]


def render_exception(error: ErrorSnapshot, rules: Rules, quoted: Quoted = ()) -> dict[str, Json]:
    """Turn an exception's picture into {"type", "message", "traceback": [{"file", "line", "function", "code"}]}.

    Args:
        error: what `describe_exception` returned.
        rules: the message passes redaction and the mask, at the path ("error", "message").
        quoted: names and texts of the fields of what it came with, which its message may repeat.

    Returns:
        JSON-ready data; "notes", "cause" or "context" (the same again), "exceptions" (of a group) where there are any.
    """
    quoted = (*quoted, *_quoted(error))
    policy = rules.policy_of_class(error.class_name) if rules.has_classes else "record"
    shown: dict[str, Json] = {
        "type": shown_name(error.type_name),
        "message": _message(error.message, rules, policy, quoted),
    }
    frames: list[Json] = [
        {
            "file": clean(frame.file),
            "line": frame.line,
            "function": clean(frame.function),
            "code": _shown_code(short(_code(frame.file, frame.line), 500), rules),
        }
        for frame in error.frames
    ]
    if error.cut_frames:
        frames.insert(len(frames) // 2, {"file": f"{CUT_KEY} {error.cut_frames:,} more frames"})
    shown["traceback"] = frames
    if error.notes:
        shown["notes"] = [_message(note, rules, policy, quoted) for note in error.notes]
    if error.cause is not None:
        shown["cause" if error.explicit else "context"] = render_exception(error.cause, rules, quoted)
    if error.members:
        shown["exceptions"] = [render_exception(member, rules, quoted) for member in error.members]
    return shown


def _quoted(error: ErrorSnapshot) -> Quoted:
    """Of an exception, of what it came from, and of its members: the message of one often repeats that of another."""
    of_cause = () if error.cause is None else _quoted(error.cause)
    return (*error.quoted, *of_cause, *chain.from_iterable(map(_quoted, error.members)))


def _message(message: Snapshot, rules: Rules, policy: Policy, quoted: Quoted) -> str:
    path = ("error", "message")
    message = without_quoted(message, quoted, rules.redact.hits)
    if policy != "record":
        return HIDDEN if policy == "hide" else dumps(summary(message))
    if type(message) is str:
        limit = rules.limits.max_text
        if len(message) > limit + 2 * MARGIN:
            half = limit // 2
            begin, (end,) = (
                message[: half + MARGIN],
                scan_rest(message[:half], (message[-half - MARGIN :],), rules.redact.hits),
            )
            message = f"{redact_text(begin, rules)} {CUT_KEY} {redact_text(_whole(end), rules)}"
        else:
            message = redact_text(message, rules)
    shown = render(message, rules, path)
    # the texts among an exception's arguments are messages too
    return shown if type(shown) is str else redact_text(dumps(shown, ensure_ascii=False), rules)


def _whole(end: str) -> str:
    """The end of a message from where a name and its value stand together: the next line, or the next object of JSON."""
    for sign in "\n", "}", " ":
        at = end.find(sign, 0, MARGIN)
        if at >= 0:
            return end[at + 1 :]
    return end


def _shown_code(code: str, rules: Rules) -> str:
    text = redact_text(code, rules)
    if rules.mask is None:
        return clean(text)
    shown = render(text, rules, ("error", "code"))
    return shown if type(shown) is str else dumps(shown, ensure_ascii=False)


def _code(file: str, line: int) -> str:
    is_theirs = file in linecache.cache
    try:
        return linecache.getline(file, line).strip()
    except Exception:  # noqa: BLE001 - linecache runs loaders of whatever import hook made the module
        return ""
    finally:
        if not is_theirs:  # it would stay for ever, also when the file is another one by then
            linecache.cache.pop(file, None)
