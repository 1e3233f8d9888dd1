"""One span as one line: its name, what it decided, what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rich.cells import cell_len
from rich.text import Text

from pocketflow_tracing.records import Json
from pocketflow_tracing.store import RunRow, SpanNode, SpanRow
from pocketflow_tracing.store.rows import error_line

from .symbols import Symbols, style_of
from .words import compact, count, flat, money

__all__ = ["error_text", "label", "node_names", "one_line", "params_of"]

_PARAM_CELLS = 30
"""Of one parameter's value."""
_PARAMS_CELLS = 60
"""Of all of them."""


def node_names(run: RunRow) -> dict[str, str]:
    """Return the names of the graph's nodes by id."""
    flows = run.graph.get("flows", []) if isinstance(run.graph, dict) else []
    return {node["id"]: node.get("name", node["id"]) for flow in flows for node in flow.get("nodes", [])}


def label(node: SpanNode, names: Mapping[str, str], symbols: Symbols) -> Text:
    """Return the line of a span, without its duration.

    Args:
        node: the span and what is below it.
        names: of the graph's nodes by id.
        symbols: the signs to use.
    """
    span = node.span
    text = Text(no_wrap=True)
    if span.kind == "external":
        text.append(f"{symbols.generation} ", style_of(span.status) if span.status != "success" else "cyan")
        text.append(flat(span.name), "cyan")
        text.append(_generation(span, symbols), "dim")
    else:
        sign = symbols.of(span.status)
        saved = span.status == "error" and span.attributes.get("level") == "WARNING"
        text.append(f"{sign.plain} ", "yellow" if saved else style_of(span.status))
        _STYLED[span.kind](text, span) if span.kind in _STYLED else text.append(flat(span.name))
        if span.kind in {"flow", "function", "pass"}:
            _append_params(text, params_of(node), symbols)
        if span.kind in {"node", "flow", "pass"}:
            _append_decision(text, span.attributes, names, symbols)
    for score in span.scores:
        value = score.get("value")
        shown = f"{value:g}" if isinstance(value, float) else compact(value)
        text.append(f"  {symbols.score} ", "cyan").append(flat(f"{score.get('name')} {shown}"))
    if (error := error_text(node)) is not None:
        text.append(
            f"  {error}", "red" if span.status == "error" and span.attributes.get("level") != "WARNING" else "yellow"
        )
    return text


def error_text(node: SpanNode) -> str | None:
    """Return the error of a span where it happened, None on the spans above it."""
    error = node.span.error
    if not isinstance(error, dict) or ("traceback" not in error and any(child.span.error for child in node.children)):
        return None
    return one_line(error)


def one_line(error: Json) -> str:
    """Return an error as "Type: first line of the message", for a line of the terminal."""
    return flat(error_line(error))


def params_of(node: SpanNode) -> Mapping[str, Json]:
    """Return the parameters of a flow or a pass; those of a pass stand on its nodes."""
    spans = [node.span, *(child.span for child in node.children)] if node.span.kind == "pass" else [node.span]
    found = next((params for span in spans if (params := span.attributes.get("params"))), None)
    return found if isinstance(found, dict) else {}


def _append_params(text: Text, params: Mapping[str, Json], symbols: Symbols) -> None:
    said = Text()
    for key, value in params.items():
        shown = Text(flat(json.dumps(value, ensure_ascii=False)))
        shown.truncate(_PARAM_CELLS, overflow="crop")
        end = symbols.more if cell_len(json.dumps(value, ensure_ascii=False)) > _PARAM_CELLS else ""
        said.append(f" {flat(str(key))}={shown.plain}{end}")
        if said.cell_len > _PARAMS_CELLS:
            said.truncate(_PARAMS_CELLS, overflow="crop")
            said.append(symbols.more)
            break
    text.append(said.plain, "dim")


def _flow(text: Text, span: SpanRow) -> None:
    text.append(flat(span.name), "bold")


def _node(text: Text, span: SpanRow) -> None:
    text.append(flat(span.name), "bold")
    if (visit := span.attributes.get("visit", 1)) != 1:
        text.append(f" visit {visit}", "dim")


def _phase(text: Text, span: SpanRow) -> None:
    text.append(_short(span), "yellow" if span.attributes.get("phase") == "exec_fallback" else "dim")
    if (items := span.attributes.get("items")) is not None:
        text.append(f"  {count(items, 'item')}", "dim")


def _attempt(text: Text, span: SpanRow) -> None:
    text.append(_short(span), "dim")
    attempt, most = span.attributes.get("attempt", 1), span.attributes.get("max_attempts", 1)
    if most > 1 and (attempt > 1 or span.status != "success"):
        text.append(f"  attempt {attempt} of {most}", "dim")


_STYLED = {"flow": _flow, "function": _flow, "pass": _flow, "node": _node, "phase": _phase, "attempt": _attempt}


def _short(span: SpanRow) -> str:
    # The node stands on the line above: "DecideAction.exec" says nothing that "exec" does not.
    return flat(span.name.rpartition(".")[2])


def _append_decision(text: Text, facts: Mapping[str, Json], names: Mapping[str, str], symbols: Symbols) -> None:
    if "action" not in facts:
        return
    successor = facts.get("successor")
    text.append(" ")
    if facts["action"] != "default" or facts.get("no_successor"):
        text.append(f" {compact(facts['action'])}", "cyan")
    if successor is not None:
        text.append(f" {symbols.arrow} ", "dim")
        text.append(flat(names.get(successor, str(successor))))
    elif facts.get("no_successor"):
        text.append(f" {symbols.arrow} no successor", "yellow")


def _generation(span: SpanRow, symbols: Symbols) -> str:
    parts = [flat(span.model)] if span.model else []
    if span.usage:
        parts.append(_tokens(span.usage))
    if span.cost is not None:
        parts.append(money(span.cost))
    return f"  {symbols.dot.join(parts)}" if parts else ""


def _tokens(usage: Mapping[str, int]) -> str:
    if "input" in usage and "output" in usage:
        return f"{usage['input']:,} + {usage['output']:,} tokens"
    return count(usage.get("total", sum(usage.values())), "token")
