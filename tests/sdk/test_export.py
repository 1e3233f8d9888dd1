"""What Langfuse gets of a run: the attributes that its views read."""

from __future__ import annotations

import asyncio
import enum
import math
from decimal import Decimal

import numpy as np
import pytest
from generating import Calls, decoded, run
from pocketflow import AsyncFlow, AsyncNode, BatchNode, Flow, Node

from pocketflow_tracing import add_metadata, add_score, current_trace_url, flush, trace_flow

META = "langfuse.observation.metadata."
SAID = dict(
    session_id="session-1",
    user_id="user-1",
    tags=["a", "b"],
    metadata={"text": "t", "number": 3, "deep": {"a": [1]}},
    version="1.2.3",
    environment="staging",
)
ON_EVERY_SPAN = {
    "session.id": "session-1",
    "user.id": "user-1",
    "langfuse.trace.tags": ["a", "b"],
    "langfuse.version": "1.2.3",
    "langfuse.environment": "staging",
    "langfuse.release": "r-9",
    "langfuse.trace.name": "Support",
}


class Decide(Node):
    def post(self, shared, prep_res, exec_res):
        shared["rounds"] = shared.get("rounds", 0) + 1
        return "again" if shared["rounds"] < 3 else "done"


class Fragile(Node):
    def exec(self, prep_res):
        if self.cur_retry == 0:
            raise ValueError("first try")
        return "saved"


class Fails(Node):
    def exec(self, prep_res):
        raise RuntimeError("no way")


def spans(collector):
    """The spans that arrived, by name; of several with one name the last."""
    assert flush(10)
    assert [] == collector.problems()
    return {span.name: span for span in collector.spans()}


def test_attributes_reach_every_span(keys, collector, monkeypatch):
    """Session, user, tags, version, environment, release, trace name and metadata stand on every span, generations included."""
    monkeypatch.setenv("LANGFUSE_RELEASE", "r-9")
    run(Calls(), flow_name="Support", **SAID)
    found = spans(collector)
    assert {"Support", "Calls", "Calls.prep", "Calls.exec", "generation", "Calls.post"} == set(found)
    for span in found.values():
        assert ON_EVERY_SPAN == {key: span.attributes.get(key) for key in ON_EVERY_SPAN}
        metadata = {key: decoded(span.attributes[f"langfuse.trace.metadata.{key}"]) for key in SAID["metadata"]}
        assert SAID["metadata"] == metadata


def test_secrets_in_metadata_do_not_travel(keys, collector):
    """Metadata is redacted by name on generations too, which take it over while the run goes on."""
    run(Calls(), metadata={"api_key": "canary", "plain": "here"})
    for span in spans(collector).values():
        assert "canary" not in repr(span)
        assert "here" == span.attributes["langfuse.trace.metadata.plain"]


def test_the_root_is_the_trace(keys, collector):
    """The root carries title, type agent, the trace's input and output, and the mark of an application root, alone."""
    run(Calls(), {"question": "why"}, flow_name="Support")
    found = spans(collector)
    root = found["Support"]
    assert root.parent_id is None
    assert "agent" == root.attributes["langfuse.observation.type"]
    assert {"question": "why"} == decoded(root.attributes["langfuse.observation.input"])
    output = decoded(root.attributes["langfuse.observation.output"])
    assert ("default", "why") == (output["action"], output["shared"]["question"])
    assert ["Support"] == [span.name for span in found.values() if span.attributes.get("langfuse.internal.is_app_root")]


def test_types_of_spans(keys, collector):
    """A flow at the root is an agent, nested flows and nodes are chains, phases and attempts spans."""

    class Many(BatchNode):
        def prep(self, shared):
            return [1]

    inner = Flow(start=Many())
    trace_flow(Flow(start=inner), flow_name="Outer").run({})
    assert {
        "Outer": "agent", "Flow": "chain", "Many": "chain", "Many.prep": "span", "Many.exec": "span",
        "Many.exec[0]": "span", "Many.post": "span",
    } == {name: span.attributes["langfuse.observation.type"] for name, span in spans(collector).items()}  # fmt: skip


def test_the_graph_panel(keys, collector):
    """Node visits, and nothing else, carry their node and step as raw strings: a loop of three is steps 1, 2 and 3."""
    decide = Decide()
    decide - "again" >> decide
    decide - "done" >> Node()
    trace_flow(Flow(start=decide)).run({})
    assert flush(10)
    steps = []
    for span in collector.spans():
        node, step = (span.attributes.get(f"{META}langgraph_{name}") for name in ("node", "step"))
        assert (node is None) == (step is None) == (span.attributes["langfuse.observation.type"] != "chain")
        if node is not None:
            steps.append((node, step))
    assert [("Decide", "1"), ("Decide", "2"), ("Decide", "3"), ("Node", "4")] == steps


def test_two_nodes_of_a_class_are_two_in_the_graph(keys, collector):
    """Different nodes of one class are told apart by their place in the graph."""
    first = Decide()
    first - "again" >> Decide()
    trace_flow(Flow(start=first)).run({})
    assert flush(10)
    nodes = [span.attributes.get(f"{META}langgraph_node") for span in collector.spans()]
    assert ["Decide", "Decide#2"] == [node for node in nodes if node]


def levels(found):
    return {name: (span.attributes["langfuse.observation.level"], span.status_code) for name, span in found.items()}


def test_levels_of_a_recovered_run(keys, collector):
    """A try that was saved is a warning with its message; the node and the run are warnings, not errors."""
    trace_flow(Flow(start=Fragile(max_retries=2))).run({})
    assert flush(10)
    tries = [span for span in collector.spans() if span.name == "Fragile.exec"]
    assert [("WARNING", "UNSET"), ("DEFAULT", "UNSET")] == [
        (span.attributes["langfuse.observation.level"], span.status_code) for span in tries
    ]
    assert "ValueError: first try" == tries[0].attributes["langfuse.observation.status_message"]
    found = levels(spans(collector))
    assert (("WARNING", "UNSET"),) * 2 == (found["Flow"], found["Fragile"])


def test_levels_of_a_failed_run(keys, collector):
    """An error stands on the attempt, the node and the flow, with message and OpenTelemetry status; the traceback once."""
    with pytest.raises(RuntimeError):
        trace_flow(Flow(start=Fails())).run({})
    found = spans(collector)
    for name in ("Flow", "Fails", "Fails.exec"):
        span = found[name]
        assert ("ERROR", "ERROR") == levels(found)[name]
        assert ("RuntimeError: no way",) * 2 == (
            span.attributes["langfuse.observation.status_message"],
            span.status_message,
        )
    assert ["Fails.exec"] == [name for name, span in found.items() if f"{META}traceback" in span.attributes]
    assert ("DEFAULT", "UNSET") == levels(found)["Fails.prep"]


def test_a_cancelled_run_is_a_warning(keys, collector):
    """Cancellation is no error: level WARNING, the status says `cancelled`."""

    class Waits(AsyncNode):
        async def exec_async(self, prep_res):
            await asyncio.Event().wait()

    async def main():
        task = asyncio.ensure_future(trace_flow(AsyncFlow(start=Waits())).run_async({}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    root = spans(collector)["AsyncFlow"]
    assert ("WARNING", "cancelled") == (root.attributes["langfuse.observation.level"], root.attributes[f"{META}status"])


def test_metadata_stays_under_forty_keys(keys, collector):
    """However much a node adds, a span has fewer than 40 metadata entries; the last one holds the rest."""

    class Chatty(Node):
        def exec(self, prep_res):
            add_metadata(**{f"key{number}": number for number in range(100)})

    trace_flow(Flow(start=Chatty()), metadata={f"m{number}": number for number in range(60)}).run({})
    for span in spans(collector).values():
        entries = [key for key in span.attributes if key.startswith(META)]
        assert len(entries) < 40
        assert len(span.attributes) < 128
    node = spans(collector)["Chatty"]
    shown = {key.removeprefix(META): value for key, value in node.attributes.items() if key.startswith(META)}
    more = decoded(shown["more"])
    assert {f"key{number}": str(number) for number in range(100)} == {
        key: value for key, value in {**shown, **more}.items() if key.startswith("key")
    }
    assert "Chatty" == shown["langgraph_node"]


def test_metadata_of_the_user_may_have_any_name(keys, collector):
    """A node's own metadata may be called like ours; the graph panel still gets its node."""

    class Clash(Node):
        def exec(self, prep_res):
            add_metadata(status="mine", langgraph_node="mine")

    trace_flow(Flow(start=Clash())).run({})
    attributes = spans(collector)["Clash"].attributes
    assert ("mine", "Clash") == (attributes[f"{META}status"], attributes[f"{META}langgraph_node"])


def test_scores_belong_to_the_node(keys, collector):
    """`add_score` posts a score with the node's observation id; numbers and categories keep their type."""

    class Scored(Node):
        def exec(self, prep_res):
            add_score("quality", 0.5, comment="so-so")

        def post(self, shared, prep_res, exec_res):
            add_score("grade", "B")

    trace_flow(Flow(start=Scored())).run({})
    node = spans(collector)["Scored"]
    scores = sorted(collector.wait_for(lambda c: len(c.scores()) >= 2) and collector.scores(), key=lambda s: s["name"])
    assert [("grade", "B", "CATEGORICAL", None), ("quality", 0.5, "NUMERIC", "so-so")] == [
        (score["name"], score["value"], score["dataType"], score.get("comment")) for score in scores
    ]
    assert {(node.trace_id, node.span_id)} == {(score["traceId"], score["observationId"]) for score in scores}


def test_scores_that_are_alike_are_told_apart(keys, collector):
    """A batch node may give one to each of its items."""

    class Judges(BatchNode):
        def prep(self, shared):
            return range(4)

        def exec(self, item):
            add_score("relevant", 1.0, comment=f"document {item}")

    trace_flow(Flow(start=Judges())).run({})
    assert flush(10)
    scores = collector.scores()
    assert {f"document {item}" for item in range(4)} == {score["comment"] for score in scores}
    assert 4 == len({score["id"] for score in scores})


class Grade(enum.IntEnum):
    GOOD = 2


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (np.float32(0.5), (0.5, "NUMERIC")), (np.int64(3), (3, "NUMERIC")), (Decimal("0.25"), (0.25, "NUMERIC")),
        (Grade.GOOD, (2, "NUMERIC")), (True, (1, "BOOLEAN")), (np.bool_(False), (0, "BOOLEAN")), (np.str_("A"), ("A", "CATEGORICAL")),
        (math.nan, None), (math.inf, None), ([1], None), (None, None), (10**400, None),
    ],
)  # fmt: skip
def test_a_score_is_what_langfuse_takes(value, sent, keys, collector, caplog):
    """Numbers of any kind are numbers; what is none is left out, which is said."""

    class Scored(Node):
        def exec(self, prep_res):
            add_score("quality", value)

    trace_flow(Flow(start=Scored())).run({})
    assert flush(10)
    assert ([sent] if sent else []) == [(score["value"], score["dataType"]) for score in collector.scores()]
    assert (sent is None) == any("The value of a score is" in line for line in caplog.messages)


def test_the_address_of_a_trace(keys, collector):
    """`current_trace_url` is an address at the server, with the trace's id."""
    seen = []

    class Looks(Node):
        def exec(self, prep_res):
            seen.append(current_trace_url())

    trace_flow(Flow(start=Looks())).run({})
    root = spans(collector)["Flow"]
    assert seen[0].startswith(collector.url)
    assert seen[0].endswith(root.trace_id)


def test_the_headers_of_a_delivery(keys, collector):
    """Spans come with the project's keys, as an SDK's, and for the events table of Langfuse 4."""
    run(Calls())
    assert flush(10)
    for request in collector.exports():
        assert collector.public_key == request.headers["x-langfuse-public-key"]
        assert "4" == request.headers["x-langfuse-ingestion-version"]
        assert {("langfuse-sdk", collector.public_key)} == {
            (span.scope, span.scope_attributes["public_key"]) for span in request.spans
        }
