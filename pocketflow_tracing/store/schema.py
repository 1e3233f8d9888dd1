"""The schema of the store file, with its history and the way from every older version to this one."""

from __future__ import annotations

import sqlite3

__all__ = ["APPLICATION_ID", "MIGRATIONS", "SCHEMA_VERSION", "migrate", "statements"]

APPLICATION_ID = 0x50465452
"""`PRAGMA application_id` of a store file ("PFTR"): tells it from other programs' SQLite files."""

VERSION_1 = """
-- History
--   1  the first published schema.
--
-- Times are wall clock in ns since the epoch. Columns that hold JSON say so. Small columns stand first and the JSON
-- last, so that lists and sums never read the overflow pages of long inputs and outputs.

-- One row a run. The counts are kept by the writer, so that a list of runs never touches the spans.
CREATE TABLE runs (
    run_id      TEXT PRIMARY KEY,             -- span id of the root, 16 hex digits
    trace_id    TEXT NOT NULL,                -- 32 hex digits
    name        TEXT NOT NULL,                -- of the flow
    status      TEXT NOT NULL,                -- running, success, recovered, error, cancelled
    start_ns    INTEGER NOT NULL,
    end_ns      INTEGER,                      -- NULL while it runs
    process_id  TEXT NOT NULL,                -- "machine:pid:random"
    revision    INTEGER NOT NULL,             -- of the write that last touched the row
    spans       INTEGER NOT NULL DEFAULT 0,   -- spans of every kind
    nodes       INTEGER NOT NULL DEFAULT 0,   -- node visits
    attempts    INTEGER NOT NULL DEFAULT 0,   -- calls of exec
    errors      INTEGER NOT NULL DEFAULT 0,   -- node visits that ended in an error
    recovered   INTEGER NOT NULL DEFAULT 0,   -- node visits that a retry or the fallback saved
    tokens      INTEGER NOT NULL DEFAULT 0,   -- of all generations
    cost        REAL,                         -- of all generations, NULL where none told it
    bytes       INTEGER NOT NULL DEFAULT 0,   -- about what the run takes in this file
    session_id  TEXT,
    user_id     TEXT,
    version     TEXT,
    environment TEXT,
    release     TEXT,
    tags        TEXT NOT NULL DEFAULT '[]',   -- JSON list of strings
    error       TEXT,                         -- JSON {type, message}
    metadata    TEXT NOT NULL DEFAULT '{}',   -- JSON object
    graph       TEXT                          -- JSON {flows: [...]}
);
-- Lists are newest first and paged by (start_ns, run_id), with or without one of the filters.
CREATE INDEX runs_by_start   ON runs (start_ns, run_id);
CREATE INDEX runs_by_name    ON runs (name, start_ns, run_id);
CREATE INDEX runs_by_status  ON runs (status, start_ns, run_id);
CREATE INDEX runs_by_session ON runs (session_id, start_ns, run_id) WHERE session_id IS NOT NULL;
CREATE INDEX runs_by_user    ON runs (user_id, start_ns, run_id) WHERE user_id IS NOT NULL;
CREATE INDEX runs_by_trace   ON runs (trace_id);
-- Live views ask for what changed after the revision that they know.
CREATE INDEX runs_by_revision ON runs (revision);

-- One row a span.
CREATE TABLE spans (
    id          INTEGER PRIMARY KEY,
    run_id      TEXT NOT NULL,                -- of the run it belongs to
    span_id     TEXT NOT NULL,                -- 16 hex digits
    parent_id   TEXT,
    trace_id    TEXT NOT NULL,
    kind        TEXT NOT NULL,                -- flow, pass, node, phase, attempt, function, external
    name        TEXT NOT NULL,
    status      TEXT NOT NULL,
    start_ns    INTEGER NOT NULL,
    end_ns      INTEGER,
    revision    INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,             -- of the JSON in this row
    tokens      INTEGER NOT NULL DEFAULT 0,   -- total of usage
    cost        REAL,
    model       TEXT,
    state_seq   INTEGER,                      -- state.seq: the order of the pictures of shared within the run
    usage       TEXT,                         -- JSON {kind of token: count}
    attributes  TEXT NOT NULL DEFAULT '{}',   -- JSON object
    error       TEXT,                         -- JSON {type, message, traceback}
    scores      TEXT NOT NULL DEFAULT '[]',   -- JSON list
    metadata    TEXT NOT NULL DEFAULT '{}',   -- JSON object
    input       TEXT,                         -- JSON
    output      TEXT,                         -- JSON
    state       TEXT,                         -- JSON {seq, full} or {seq, added, changed, removed}
    UNIQUE (run_id, span_id)
);
CREATE INDEX spans_by_revision ON spans (revision);

-- Batches of spans that Langfuse has not accepted: encoded and compressed, as they would be sent. Never a secret key.
CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY,
    created_ns  INTEGER NOT NULL,
    endpoint    TEXT NOT NULL,                -- base URL of the server
    public_key  TEXT NOT NULL,                -- names the project; the secret key stays in the environment
    spans       INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,             -- of the body
    attempts    INTEGER NOT NULL,
    next_try_ns INTEGER NOT NULL,
    state       TEXT NOT NULL,                -- waiting, or refused for good
    reason      TEXT,                         -- of the last failure, or of the refusal
    lease_owner TEXT,                         -- the process that is sending it
    lease_ns    INTEGER NOT NULL DEFAULT 0,   -- until when
    body        BLOB NOT NULL                 -- gzip of an OTLP protobuf request
);
CREATE INDEX outbox_by_state ON outbox (state, next_try_ns, id);

-- The last sign of life of every process that records.
CREATE TABLE processes (
    process_id  TEXT PRIMARY KEY,
    started_ns  INTEGER NOT NULL,
    beat_ns     INTEGER NOT NULL
);

-- Counters by name: delivered, refused, dropped, pruned_runs; and the revision of the last write.
CREATE TABLE figures (
    name        TEXT PRIMARY KEY,
    value       INTEGER NOT NULL
);
"""

VERSION_2 = """
-- History
--   2  which traces a batch of the outbox holds: at its limits whole traces go, never the half of one.

CREATE TABLE outbox_traces (
    trace_id    TEXT NOT NULL,                -- 32 hex digits
    batch_id    INTEGER NOT NULL,             -- of a waiting batch that holds spans of it
    complete    INTEGER NOT NULL,             -- 1 where the root is among them: it ends last
    PRIMARY KEY (trace_id, batch_id)
) WITHOUT ROWID;
CREATE INDEX outbox_traces_by_batch ON outbox_traces (batch_id, complete);
CREATE INDEX outbox_traces_complete ON outbox_traces (batch_id) WHERE complete;
CREATE TRIGGER outbox_batch_gone AFTER DELETE ON outbox BEGIN
    DELETE FROM outbox_traces WHERE batch_id = old.id;
END;
"""

VERSION_3 = """
-- History
--   3  what is to be sent next, and how much waits in all, is found without reading the bodies.

DROP INDEX outbox_by_state;
CREATE INDEX outbox_next ON outbox (
    state, attempts, created_ns, id, next_try_ns, lease_ns, endpoint, public_key, spans, bytes
);
"""

VERSION_4 = """
-- History
--   4  a large run is removed in parts, between which others write.

-- Runs that are removed already, but for some of their spans.
CREATE TABLE leaving (
    run_id      TEXT PRIMARY KEY
) WITHOUT ROWID;
"""

MIGRATIONS: tuple[str, ...] = (VERSION_1, VERSION_2, VERSION_3, VERSION_4)
"""Script n brings a file from `user_version` n to n + 1. Published scripts never change."""

SCHEMA_VERSION = len(MIGRATIONS)


def statements(script: str) -> list[str]:
    """Return the single statements of a script: `executescript` would end the transaction that holds them together."""
    found: list[str] = []
    pending = ""
    for piece in script.split(";"):
        pending += f"{piece};"
        if sqlite3.complete_statement(pending):
            found.append(pending.strip())
            pending = ""
    return [statement for statement in found if statement != ";"]


def migrate(connection: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Bring the file to the newest version; the caller holds the write transaction.

    Args:
        connection: inside `BEGIN IMMEDIATE`, so that two processes never migrate one file at once.
        migrations: the scripts in order.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for script in migrations[version:]:
        for statement in statements(script):
            connection.execute(statement)
    if version < len(migrations):
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
