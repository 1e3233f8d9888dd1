"""Runs made up for tests: an agent loop with everything that a run can hold, at exact times."""

from __future__ import annotations

import os
import time
from typing import Any

from pocketflow_tracing._machine import machine
from pocketflow_tracing.records import RunRecord, SpanRecord

MS = 1_000_000
START = 1_790_000_000_000_000_000


def process_id(pid: int | None = None, host: str | None = None) -> str:
    return f"{host or machine()}:{pid or os.getpid()}:5eed"


class Run:
    """Builds the records of one run; times are ms after its start."""

    def __init__(self, number: int = 1, name: str = "ResearchAgent", start_ns: int = START, **fields: Any) -> None:
        self.number = number
        self.run_id = f"{number:04x}" + "a" * 12
        self.trace_id = f"{number:04x}" + "b" * 28
        self.spans: list[SpanRecord] = []
        fields = {"status": "success", "end_ns": start_ns + 1240 * MS, "process_id": process_id(), **fields}
        self.record = RunRecord(run_id=self.run_id, trace_id=self.trace_id, name=name, start_ns=start_ns, **fields)

    def span(
        self, kind: str, name: str, start: float, end: float | None, parent: SpanRecord | None = None, **fields: Any
    ) -> SpanRecord:
        root = not self.spans
        span = SpanRecord(
            run_id=self.run_id,
            trace_id=self.trace_id,
            span_id=self.run_id if root else f"{self.number:04x}{len(self.spans):012x}",
            parent_id=None if root else (parent or self.spans[0]).span_id,
            kind=kind,  # type: ignore[arg-type]
            name=name,
            status=fields.pop("status", "success"),
            start_ns=self.record.start_ns + int(start * MS),
            end_ns=None if end is None else self.record.start_ns + int(end * MS),
            **fields,
        )
        self.spans.append(span)
        return span


def small_run(number: int = 1, name: str = "Small", nodes: int = 2, **fields: Any) -> Run:
    run = Run(number, name, **{"start_ns": START + number * 1000 * MS, **fields})
    run.span("flow", name, 0, 10, status=run.record.status)
    for index in range(nodes):
        run.span("node", f"Node{index}", index, index + 1)
    return run


def agent_run(number: int = 7, items: int = 1000, **fields: Any) -> Run:
    """An agent loop: a retry that recovers, a fallback, a batch of many items, a nested flow, generations, a failing item."""
    run = Run(number, session_id="s-1", user_id="ada", tags=["demo", "nightly"], **fields)
    run.record.status = run.record.status if "status" in fields else "recovered"
    root = run.span(
        "flow",
        "ResearchAgent",
        0,
        1240,
        status=run.record.status,
        input={"question": "Who won the 2024 Nobel prize in physics?"},
        output={"answer": "Hopfield and Hinton", "action": "done"},
        state={"seq": 0, "full": {"question": "Who won the 2024 Nobel prize in physics?", "visits": 0}},
    )
    decide = run.span(
        "node",
        "DecideAction",
        2,
        330,
        root,
        status="recovered",
        attributes={"node": "n1", "visit": 1, "step": 1, "action": "search", "successor": "n2"},
        state={
            "seq": 1,
            "added": {"query": "nobel physics 2024"},
            "changed": {"visits": {"old": 0, "new": 1}},
            "removed": [],
        },
    )
    run.span("phase", "DecideAction.prep", 2, 3, decide, attributes={"phase": "prep"}, output={"question": "Who won …"})
    run.span(
        "attempt",
        "DecideAction.exec",
        3,
        103,
        decide,
        status="error",
        attributes={"attempt": 1, "max_attempts": 3, "level": "WARNING"},
        error={
            "type": "TimeoutError",
            "message": "the model did not answer in 0.1 s",
            "traceback": [{"file": "agent.py", "line": 41, "function": "exec", "code": "return call_llm(prompt)"}],
        },
    )
    second = run.span("attempt", "DecideAction.exec", 123, 325, decide, attributes={"attempt": 2, "max_attempts": 3})
    run.span(
        "external",
        "OpenAI-generation",
        125,
        320,
        second,
        model="gpt-4o-mini",
        cost=0.00042,
        usage={"input": 312, "output": 100, "total": 412},
        attributes={"scope": "langfuse-sdk"},
        input=[{"role": "user", "content": 'Say "search" or "answer".\nQuestion: who won?'}],
        output="search",
    )
    run.span("phase", "DecideAction.post", 325, 326, decide, attributes={"phase": "post"}, output="search")
    search = run.span(
        "node",
        "SearchWeb",
        335,
        700,
        root,
        status="recovered",
        attributes={"node": "n2", "visit": 1, "step": 2, "action": "default", "successor": "n3"},
        state={"seq": 2, "added": {"results": ["a", "b"]}, "changed": {}, "removed": ["query"]},
    )
    run.span("phase", "SearchWeb.prep", 335, 336, search, attributes={"phase": "prep"})
    run.span(
        "attempt",
        "SearchWeb.exec",
        336,
        600,
        search,
        status="error",
        attributes={"attempt": 1, "max_attempts": 1},
        error={"type": "ConnectionError", "message": "search engine refused\nsecond line"},
    )
    run.span(
        "phase", "SearchWeb.exec_fallback", 600, 650, search, attributes={"phase": "exec_fallback"}, output=["cached"]
    )
    run.span("phase", "SearchWeb.post", 650, 651, search, attributes={"phase": "post"})
    batch = run.span(
        "node",
        "SummarizeAll",
        702,
        1100,
        root,
        status="recovered",
        attributes={"node": "n3", "visit": 1, "step": 3, "action": "default", "successor": "n4"},
        state={"seq": 3, "added": {"summaries": ["…"] * 3}, "changed": {}, "removed": []},
    )
    execs = run.span("phase", "SummarizeAll.exec", 703, 1090, batch, attributes={"phase": "exec", "items": items})
    for index in range(items):
        at = 703 + index * 0.35
        failed = index == 400
        run.span(
            "attempt",
            f"SummarizeAll.exec[{index}]",
            at,
            at + 0.3,
            execs,
            status="error" if failed else "success",
            attributes={"attempt": 1, "max_attempts": 2, "item": index, **({"level": "WARNING"} if failed else {})},
            error={"type": "ValueError", "message": "empty page"} if failed else None,
        )
        if failed:
            run.span(
                "attempt",
                f"SummarizeAll.exec[{index}]",
                at + 0.3,
                at + 0.34,
                execs,
                attributes={"attempt": 2, "max_attempts": 2, "item": index},
            )
    nested = run.span(
        "flow",
        "ReviewFlow",
        1101,
        1220,
        root,
        attributes={"node": "n4", "visit": 1, "step": 4, "action": "approved", "successor": None, "no_successor": True},
    )
    run.span(
        "node", "Critique", 1102, 1210, nested, attributes={"node": "n5", "visit": 1, "step": 5, "action": "approved"}
    )
    return run


def now_ns() -> int:
    return time.time_ns()
