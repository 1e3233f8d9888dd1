"""Figures over many runs: how often, how long, how well; by flow, by node, by version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .filters import RunFilter
from .queries import Where, dead_processes
from .reader import Store
from .readonly import read
from .rows import FlowRow

__all__ = [
    "Choices",
    "Figures",
    "NodeFigures",
    "NodeRow",
    "VersionFigures",
    "choices",
    "node_figures",
    "percentile",
    "run_figures",
]


@dataclass(slots=True)
class Figures:
    """Runs in figures.

    Args:
        total: of all of them, named "".
        flows: of each flow, the one with most runs first.
    """

    total: FlowRow
    flows: list[FlowRow]


@dataclass(slots=True)
class Choices:
    """What the runs of a store can be filtered by: the newest values first."""

    flows: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


@dataclass(slots=True)
class NodeRow:
    """The visits of one node in figures; durations in ns.

    Args:
        node: id in the runs' graph.
        name: of the node.
        visits: their number.
        errors: visits that ended in an error.
        recovered: visits that a retry or the fallback saved.
        retried: visits that took more than one attempt, of any item.
        fallbacks: visits, or items of them, that exec_fallback saved; PocketFlow's own raises the error again, and saves none.
        total_ns: of all visits that have ended.
        p50_ns: median duration, None where no visit has ended.
        p95_ns: what 95 of 100 visits do not exceed.
    """

    node: str
    name: str
    visits: int = 0
    errors: int = 0
    recovered: int = 0
    retried: int = 0
    fallbacks: int = 0
    total_ns: int = 0
    p50_ns: int | None = None
    p95_ns: int | None = None


@dataclass(slots=True)
class VersionFigures:
    """The nodes of a flow in the runs of one version.

    Args:
        version: of the runs, None for those without one.
        runs: their number.
        run_ns: what they took together, those that have ended.
        nodes: one row per node, most time first.
    """

    version: str | None
    runs: int = 0
    run_ns: int = 0
    nodes: list[NodeRow] = field(default_factory=list)


@dataclass(slots=True)
class NodeFigures:
    """The nodes of a flow in figures.

    Args:
        runs: looked at.
        matching: runs that match; more than were looked at when there are very many.
        run_ns: what the runs took together, those that have ended.
        nodes: one row per node, most time first.
        versions: the same by version of the runs, the newest first.
    """

    runs: int
    matching: int
    run_ns: int
    nodes: list[NodeRow]
    versions: list[VersionFigures]


@dataclass(slots=True)
class _Visit:
    """One visit of a node, as it is counted."""

    version: str | None
    node: str
    name: str
    status: str
    took_ns: int | None
    retried: bool = False
    fell_back: bool = False


def percentile(values: Sequence[int], percent: int) -> int | None:
    """Return what `percent` of 100 values do not exceed, None of none. The values are sorted."""
    return values[max(0, (len(values) * percent + 99) // 100 - 1)] if values else None


def run_figures(store: Store, filters: RunFilter) -> Figures:
    """Return the figures of the runs that match, together and by flow."""

    def query(connection: sqlite3.Connection) -> tuple[list[str], list[tuple[Any, ...]]]:
        dead = dead_processes(connection)
        where = Where(filters, dead)
        columns = "name, status, start_ns, end_ns, tokens, cost, process_id"
        return dead, connection.execute(f"SELECT {columns} FROM runs {where}", where.parameters).fetchall()  # noqa: S608

    dead, rows = read(store.path, query)
    gone = set(dead)
    total = FlowRow("")
    flows: dict[str, FlowRow] = {}
    durations: dict[str, list[int]] = {}
    for name, status, start_ns, end_ns, tokens, cost, process_id in rows:
        flow = flows.get(name)
        if flow is None:
            flow = flows[name] = FlowRow(name)
            durations[name] = []
        if status == "running" and process_id in gone:
            status = "interrupted"  # noqa: PLW2901 - the row's own word means less
        flow.runs += 1
        flow.by_status[status] = flow.by_status.get(status, 0) + 1
        flow.last_start_ns = max(flow.last_start_ns, start_ns)
        flow.tokens += tokens
        if cost is not None:
            flow.cost = (flow.cost or 0.0) + cost
        if end_ns is not None:
            durations[name].append(end_ns - start_ns)
    for name, flow in flows.items():
        _add(total, flow)
        _measure(flow, durations[name])
    _measure(total, [value for values in durations.values() for value in values])
    return Figures(total, sorted(flows.values(), key=lambda flow: (-flow.runs, flow.name)))


def _add(total: FlowRow, flow: FlowRow) -> None:
    total.runs += flow.runs
    for status, number in flow.by_status.items():
        total.by_status[status] = total.by_status.get(status, 0) + number
    total.last_start_ns = max(total.last_start_ns, flow.last_start_ns)
    total.tokens += flow.tokens
    if flow.cost is not None:
        total.cost = (total.cost or 0.0) + flow.cost


def _measure(flow: FlowRow, durations: list[int]) -> None:
    durations.sort()
    flow.p50_ns, flow.p95_ns = percentile(durations, 50), percentile(durations, 95)


def choices(store: Store, limit: int = 50) -> Choices:
    """Return what runs can be filtered by.

    Args:
        store: to look at.
        limit: values of each kind.
    """

    def query(connection: sqlite3.Connection) -> Choices:
        found = Choices()
        for column, values in (("name", found.flows), ("session_id", found.sessions), ("user_id", found.users)):
            # One step through the index per value: a thousand runs of one session cost as much as one.
            values.extend(_distinct(connection, column, limit))
        newest = "SELECT tags FROM runs ORDER BY start_ns DESC, run_id DESC LIMIT 1000"
        tags = connection.execute(f"SELECT DISTINCT value FROM ({newest}), json_each(tags) LIMIT ?", (limit,))  # noqa: S608
        found.tags.extend(tag for (tag,) in tags if isinstance(tag, str))
        return found

    return read(store.path, query)


def _distinct(connection: sqlite3.Connection, column: str, limit: int) -> Iterable[str]:
    value = ""
    for _ in range(limit):
        found = connection.execute(f"SELECT min({column}) FROM runs WHERE {column} > ?", (value,)).fetchone()  # noqa: S608
        if found is None or found[0] is None:
            return
        value = found[0]
        yield value


_NODE_SPANS = """
SELECT s.run_id, s.span_id, s.parent_id, s.kind, s.name, s.status, s.end_ns - s.start_ns,
       json_extract(s.attributes, '$.node'), json_extract(s.attributes, '$.phase')
FROM json_each(?) AS chosen JOIN spans AS s ON s.run_id = chosen.value
WHERE s.kind = 'node'
   OR (s.kind = 'phase' AND json_extract(s.attributes, '$.phase') IN ('exec', 'exec_fallback'))
   OR (s.kind = 'attempt' AND json_extract(s.attributes, '$.attempt') > 1)
"""


def node_figures(store: Store, filters: RunFilter, limit: int = 1000) -> NodeFigures:
    """Return the figures of the nodes of the runs that match.

    Args:
        store: to look at.
        filters: which runs; their flow should be given, for nodes of several flows would stand side by side.
        limit: runs to look at, the newest; their spans are read one by one.
    """

    def query(connection: sqlite3.Connection) -> NodeFigures:
        where = Where(filters, dead_processes(connection))
        (matching,) = connection.execute(f"SELECT count(*) FROM runs {where}", where.parameters).fetchone()  # noqa: S608
        runs = connection.execute(
            f"SELECT run_id, version, start_ns, end_ns FROM runs {where} ORDER BY start_ns DESC, run_id DESC LIMIT ?",  # noqa: S608
            (*where.parameters, limit),
        ).fetchall()
        versions: dict[str | None, VersionFigures] = {}
        version_of = {run_id: version for run_id, version, _, _ in runs}
        for _, version, start_ns, end_ns in runs:
            figures = versions.setdefault(version, VersionFigures(version))
            figures.runs += 1
            figures.run_ns += 0 if end_ns is None else end_ns - start_ns
        chosen = "[" + ",".join(f'"{run_id}"' for run_id in version_of) + "]"
        visits = _visits(version_of, connection.execute(_NODE_SPANS, (chosen,)))
        for version, figures in versions.items():
            figures.nodes = _rows(visit for visit in visits if visit.version == version)
        run_ns = sum(figures.run_ns for figures in versions.values())
        return NodeFigures(len(runs), matching, run_ns, _rows(visits), list(versions.values()))

    return read(store.path, query)


def _visits(version_of: dict[str, str | None], spans: Iterable[tuple[Any, ...]]) -> list[_Visit]:
    visits: dict[tuple[str, str], _Visit] = {}
    exec_of: dict[tuple[str, str], str] = {}  # a batch's exec, whose attempts hang below it: its node
    retried: list[tuple[str, str]] = []
    fallbacks: list[tuple[str, str]] = []
    for run_id, span_id, parent_id, kind, name, status, took_ns, node, phase in spans:
        if kind == "node":
            visits[run_id, span_id] = _Visit(version_of[run_id], node or name, name, status, took_ns)
        elif kind == "attempt":
            retried.append((run_id, parent_id))
        elif phase == "exec":
            exec_of[run_id, span_id] = parent_id
        elif status != "error":
            fallbacks.append((run_id, parent_id))
    for what, parents in (("retried", retried), ("fell_back", fallbacks)):
        for run_id, span_id in parents:
            if (visit := visits.get((run_id, exec_of.get((run_id, span_id), span_id)))) is not None:
                setattr(visit, what, True)
    return list(visits.values())


def _rows(visits: Iterable[_Visit]) -> list[NodeRow]:
    rows: dict[str, NodeRow] = {}
    durations: dict[str, list[int]] = {}
    for visit in visits:
        row = rows.setdefault(visit.node, NodeRow(visit.node, visit.name))
        row.visits += 1
        row.errors += visit.status == "error"
        row.recovered += visit.status == "recovered"
        row.retried += visit.retried
        row.fallbacks += visit.fell_back
        if visit.took_ns is not None:
            row.total_ns += visit.took_ns
            durations.setdefault(visit.node, []).append(visit.took_ns)
    for node, row in rows.items():
        values = sorted(durations.get(node, ()))
        row.p50_ns, row.p95_ns = percentile(values, 50), percentile(values, 95)
    return sorted(rows.values(), key=lambda row: (-row.total_ns, row.node))
