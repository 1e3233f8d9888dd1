"""The counts on a run's row, and the store's figures: kept with every write, so that no list ever counts spans."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from .codec import MAX_INTEGER, dump, integer

__all__ = ["Tally", "add_figures", "size_of", "stored_spans", "tokens_of"]

_ROW_BYTES = 220
"""About what a span takes in the file besides its JSON: the small columns, their index entries."""


@dataclass(slots=True)
class Tally:
    """What a batch of spans adds to the counts of its run."""

    spans: int = 0
    nodes: int = 0
    attempts: int = 0
    errors: int = 0
    recovered: int = 0
    tokens: int = 0
    cost: float | None = None
    bytes: int = 0

    def add(self, kind: str, status: str, tokens: int, cost: float | None, size: int, *, sign: int = 1) -> None:
        """Count one span."""
        self.spans += sign
        self.attempts += sign * (kind == "attempt")
        if kind == "node":
            self.nodes += sign
            self.errors += sign * (status == "error")
            self.recovered += sign * (status == "recovered")
        self.tokens += sign * tokens
        self.bytes += sign * size
        if cost is not None:
            self.cost = (self.cost or 0.0) + sign * cost

    def remove(self, kind: str, status: str, tokens: int, cost: float | None, size: int) -> None:
        """Take back a stored span that a new row replaces."""
        self.add(kind, status, tokens, cost, size, sign=-1)

    def apply(self, connection: sqlite3.Connection, run_id: str, revision: int) -> None:
        """Add everything to the run's row."""
        connection.execute(
            "UPDATE runs SET revision = :revision, spans = spans + :spans, nodes = nodes + :nodes,"
            " attempts = attempts + :attempts, errors = errors + :errors, recovered = recovered + :recovered,"
            " tokens = min(tokens + :tokens, :most), bytes = bytes + :bytes,"
            " cost = CASE WHEN :cost IS NULL THEN cost ELSE coalesce(cost, 0) + :cost END WHERE run_id = :run_id",
            {
                **asdict(self),
                "tokens": integer(self.tokens),
                "most": MAX_INTEGER // 2,
                "revision": revision,
                "run_id": run_id,
            },
        )


def stored_spans(
    connection: sqlite3.Connection, run_id: str, span_ids: Sequence[str]
) -> list[tuple[str, str, str, int, float | None, int]]:
    """Return (span_id, kind, status, tokens, cost, bytes) of those of the spans that are stored already."""
    return connection.execute(
        "SELECT span_id, kind, status, tokens, cost, bytes FROM spans"
        " WHERE run_id = ? AND span_id IN (SELECT value FROM json_each(?))",
        (run_id, dump(span_ids)),
    ).fetchall()


def size_of(texts: Iterable[str | None]) -> int:
    """Return about how many bytes a span with these JSON texts takes in the file."""
    return _ROW_BYTES + sum(len(text.encode()) for text in texts if text)


def tokens_of(usage: Mapping[str, int] | None) -> int:
    """Return the tokens of a generation: its total where it tells one, else input and output, else everything."""
    if not usage:
        return 0
    if "total" in usage:
        total: float = usage["total"]
    elif "input" in usage or "output" in usage:
        total = usage.get("input", 0) + usage.get("output", 0)
    else:
        total = sum(usage.values())
    # Room for the sum over a run: a hostile count must not overflow SQLite's integers.
    return max(0, min(integer(total), MAX_INTEGER // 4))


def add_figures(connection: sqlite3.Connection, figures: Mapping[str, int]) -> None:
    """Add to the counters by name."""
    connection.executemany(
        "INSERT INTO figures VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        [(name, number) for name, number in figures.items() if number],
    )
