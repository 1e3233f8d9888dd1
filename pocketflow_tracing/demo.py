# mypy: disallow-subclassing-any=False
"""The flow behind `pocketflow-tracing demo`: a research assistant that writes a short brief, without key or network.

It holds one of everything that a trace can show: a loop with a branch, a retry that recovers, parallel work, a batch, a
fallback, and a flow within the flow. Its short waits stand for the services that a real assistant would call.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode, BatchNode, Flow, Node

from pocketflow_tracing import TracingConfig, add_metadata, add_score, current_trace_id, flush, trace_flow

__all__ = ["run_demo"]

Shared = dict[str, Any]

_SOURCES = {
    "tea.example/health": (0.12, "Tea holds about 40 mg of caffeine a cup."),
    "coffee.example/facts": (0.18, "Coffee holds about 95 mg of caffeine a cup."),
    "forum.example/taste": (0.09, "People who prefer tea say that it is calmer."),
}


class DecideNextStep(Node):
    """Searches until there are notes, then writes; a language model would decide here."""

    def prep(self, shared: Shared) -> int:
        return len(shared["notes"])

    def exec(self, notes: int) -> str:
        time.sleep(0.06)
        return "write" if notes else "search"

    def post(self, _shared: Shared, _notes: int, decision: str) -> str:
        return decision


class SearchWeb(AsyncNode):
    """Finds sources; the search engine is busy twice before it answers."""

    async def prep_async(self, shared: Shared) -> str:
        self.tries = 0
        return str(shared["question"])

    async def exec_async(self, question: str) -> list[str]:
        await asyncio.sleep(0.05)
        self.tries += 1
        if self.tries < 3:
            raise ConnectionError(f"search engine is busy, cannot look up {question!r}")
        return list(_SOURCES)

    async def post_async(self, shared: Shared, _question: str, sources: list[str]) -> None:
        shared["sources"] = sources
        add_metadata(engine="offline demo")


class ReadSources(AsyncParallelBatchNode):
    """Reads every source at the same time."""

    async def prep_async(self, shared: Shared) -> list[str]:
        return list(shared["sources"])

    async def exec_async(self, source: str) -> str:
        seconds, text = _SOURCES[source]
        await asyncio.sleep(seconds)
        return text

    async def post_async(self, shared: Shared, sources: list[str], texts: list[str]) -> None:
        shared["notes"] = dict(zip(sources, texts, strict=True))


class DraftSections(BatchNode):
    """Writes one section per note, one after the other."""

    def prep(self, shared: Shared) -> list[str]:
        return list(shared["notes"].values())

    def exec(self, note: str) -> str:
        time.sleep(0.03)
        return f"- {note}"

    def post(self, shared: Shared, _notes: list[str], sections: list[str]) -> None:
        shared["sections"] = sections


class CheckFacts(Node):
    """Asks a fact checker that is offline; the fallback lets the run go on without it."""

    def prep(self, shared: Shared) -> list[str]:
        return list(shared["sections"])

    def exec(self, sections: list[str]) -> str:
        time.sleep(0.04)
        raise TimeoutError(f"fact checker did not answer, {len(sections)} sections wait")

    def exec_fallback(self, _sections: list[str], _error: Exception) -> str:
        return "not checked"

    def post(self, shared: Shared, _sections: list[str], verdict: str) -> None:
        shared["verdict"] = verdict


class Proofread(Node):
    """Puts the sections under a heading."""

    def prep(self, shared: Shared) -> list[str]:
        return [f"{shared['question']} ({shared['verdict']})", *shared["sections"]]

    def exec(self, lines: list[str]) -> str:
        time.sleep(0.05)
        return "\n".join(lines)

    def post(self, shared: Shared, _lines: list[str], text: str) -> None:
        shared["brief"] = text


class PublishBrief(Node):
    """Files the brief with the id of its trace, so that a reader can look up how it was made."""

    def exec(self, _nothing: None) -> str | None:
        time.sleep(0.02)
        return current_trace_id()

    def post(self, shared: Shared, _nothing: None, trace_id: str | None) -> None:
        shared["trace_id"] = trace_id
        add_score("sections", len(shared["sections"]), comment="one per source")


class EditBrief(Flow):
    """The flow within the flow."""


class ResearchAssistant(AsyncFlow):
    """Searches until there is something to write, then drafts, checks, edits and publishes."""


def _assistant() -> ResearchAssistant:
    decide, search, proofread = DecideNextStep(), SearchWeb(max_retries=3, wait=0.03), Proofread()
    proofread >> PublishBrief()
    decide - "search" >> search >> ReadSources() >> decide
    decide - "write" >> DraftSections() >> CheckFacts(max_retries=2, wait=0.02) >> EditBrief(start=proofread)
    return ResearchAssistant(start=decide)


def run_demo(store_path: str | None = None) -> str:
    """Run the demo flow and have its trace recorded, here and nowhere else, whatever the settings say of Langfuse.

    Args:
        store_path: the store file to record into; None for the one that the settings name.

    Returns:
        The run's trace id, 32 hex digits; empty when tracing is switched off.
    """
    config = TracingConfig(langfuse_public_key="", langfuse_secret_key="", sample_rate=1)
    if store_path is not None:
        config.store = store_path
    flow = trace_flow(_assistant(), config=config, tags=["demo"])
    shared: Shared = {"question": "Is tea better than coffee?", "notes": {}}
    asyncio.run(flow.run_async(shared))
    flush(timeout=5)
    return shared["trace_id"] or ""
