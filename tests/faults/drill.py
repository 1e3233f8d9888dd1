"""What the fault tests share: the program they run, and the environment it runs in."""

from __future__ import annotations

import os
from pathlib import Path

from collector import Collector

PROGRAM = Path(__file__).parent / "program.py"
ROOT = Path(__file__).parents[2]


def environment(collector: Collector | None, **extra: str) -> dict[str, str]:
    """The environment of a program that sends to a collector."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("LANGFUSE_", "POCKETFLOW_", "OTEL_", "COVERAGE"))
    }
    return {**clean, **(collector.environ if collector else {}), "PYTHONPATH": str(ROOT), **extra}


FLOW = """
import os, sys, time
from pocketflow import Flow, Node
from pocketflow_tracing import flush, trace_flow

class Ask(Node):
    def prep(self, shared):
        return shared["question"]
    def exec(self, question):
        return question + "?"
    def post(self, shared, question, answer):
        shared["answer"] = answer

def make_flow():
    return trace_flow(Flow(start=Ask()), flow_name="Drill")
"""
"""The beginning of a program with a traced flow of one node."""
