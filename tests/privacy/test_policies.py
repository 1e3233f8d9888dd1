"""Policies in whole runs: by key of `shared`, by what a value is, by node class and by class of the value."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import itertools
import json
import re
from typing import Any

import kit
import numpy as np
import pandas as pd
import pytest
from pocketflow import BatchNode, Flow, Node

from pocketflow_tracing import add_metadata, trace_flow
from pocketflow_tracing.capture import snapshot
from pocketflow_tracing.redaction import Rules
from pocketflow_tracing.render import render
from pocketflow_tracing.sinks.otlp import span_attributes
from pocketflow_tracing.store.states import state_after


@dataclasses.dataclass(unsafe_hash=True)
class Customer:
    name: str


class Name(str):
    __slots__ = ()


class Number(int):
    pass


class RefusedError(Exception):
    pass


class First(Node):
    def prep(self, shared: Any) -> Any:
        return {"text": "first prep"}

    def exec(self, prep_res: Any) -> Any:
        add_metadata(note="first note")
        return {"text": "first exec", "customer": Customer("first customer")}

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["documents"].append("document two")


class Second(First):
    def exec(self, prep_res: Any) -> Any:
        return {"text": "second exec", "customer": Customer("second customer")}

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["users"] = [{"name": "n", "email": "user email"}]


class Items(BatchNode):
    def prep(self, shared: Any) -> Any:
        return ["item one", "item two"]

    def exec(self, prep_res: Any) -> Any:
        return "made of it"


CANARY = "canary"
MESSAGE = "the message"
"""Not written where it is raised: that line stands in the traceback."""


class Fails(Node):
    def exec(self, prep_res: Any) -> Any:
        raise ValueError(MESSAGE)


def recorded(policies: dict[str, str], *classes: type, **settings: Any) -> str:
    """Everything that is recorded of a run of nodes of these classes, as one text."""
    records = kit.use(kit.Records(), policies=policies, **settings)
    nodes = [cls() for cls in classes]
    for one, other in itertools.pairwise(nodes):
        one >> other
    shared = {"documents": ["document one"], "kept": "kept"}
    try:
        trace_flow(Flow(start=nodes[0])).run(shared)
    except ValueError:
        pass
    everything = [dataclasses.asdict(record) for record in [*records.spans(), records.run()]]
    return json.dumps(everything)


@pytest.mark.parametrize(
    ("pattern", "hidden", "seen"),
    [
        ("documents", ["document one", "document two"], ["kept", "first exec"]),
        ("shared.documents", ["document one", "document two"], ["kept"]),
        ("users.*.email", ["user email"], ['"name": "n"']),
        ("prep_res", ["first prep", "item one", "item two"], ["first exec", "second exec", "kept"]),
        ("exec_res", ["first exec", "second exec"], ["first prep", "kept"]),
        ("First.exec_res", ["first exec"], ["second exec", "first prep"]),
        ("First.exec_res.text", ["first exec"], ["first customer", "second exec"]),
        ("First", ["first exec", "first note", "first customer"], ["second exec", "kept", "document two"]),
        ("class:Customer", ["first customer", "second customer"], ["first exec", "second exec"]),
        ("class:Cust*", ["first customer", "second customer"], ["first exec"]),
        ("Fails.error.message", ["the message"], ["ValueError"]),
        ("Fails", ["the message"], ["ValueError", "first exec"]),
    ],
)
@pytest.mark.parametrize("policy", ["hide", "summarise"])
def test_a_pattern_covers_every_copy(pattern, hidden, seen, policy):
    """What a pattern names stands nowhere in the records; what it does not name stays."""
    nodes = (First, Second, Items, Fails)
    plain = recorded({}, *nodes)
    for text in (*hidden, *seen):
        assert text in plain, text
    shown = recorded({pattern: policy}, *nodes)
    assert [] == [text for text in hidden if text in shown]
    assert [] == [text for text in seen if text not in shown]


def test_the_first_pattern_decides():
    """An exception from a rule stands before it."""
    shown = recorded({"First.exec_res": "record", "exec_res": "hide"}, First, Second)
    assert "first exec" in shown
    assert "second exec" not in shown


class Writes(Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> str:
        shared["mine"] = f"written {'again' if 'mine' in shared else 'first'}"
        shared["documents"] = ["written", shared["mine"]]
        return "decided" if "again" in shared["mine"] else "once more"


@pytest.mark.parametrize("policy", ["hide", "summarise"])
@pytest.mark.parametrize("before", [[], [First]])
def test_a_node_class_covers_what_its_visits_write(policy, before):
    """On the visit's own span, state, output and action; what the flow held before and after is the flow's."""
    records = kit.use(kit.Records(), policies={"kept_too": "record", "Writes": policy})
    start, node = Node(), Writes()
    for cls in before:
        start >> cls() >> node
    node - "once more" >> node
    node - "decided" >> Node()
    shared = {"kept": "kept", "documents": ["document one"]}
    trace_flow(Flow(start=start if before else node)).run(shared)
    visits = [record for record in records.spans() if record.kind == "node" and record.name == "Writes"]
    assert len(visits) == 2
    for visit in visits:
        everything = repr(dataclasses.asdict(visit)) + repr(span_attributes(visit, records.run()))
        assert [] == [text for text in ("written", "once more", "decided") if text in everything]
        step = visit.state.get("end", visit.state)
        assert {"mine", "documents"} == {*step.get("added", ()), *step["changed"]}
    final = state_after([record.state for record in records.spans() if record.state], 99)
    assert {"kept", "documents", "mine"} == {*final}
    assert "kept" == final["kept"]
    (root,) = [record for record in records.spans() if record.kind == "flow"]
    assert "written again" in repr(root.output)


@pytest.mark.parametrize("answer", ["#", None, {"as": ["#"]}, 7])
def test_a_mask_covers_actions(answer):
    """A router may return any text: on the visit, in the flow's output, and on the edges that visits are told by."""
    seen = []

    def mask(value: Any, path: Any) -> Any:
        if path == ("action",):
            seen.append(value)
            return answer
        return value

    records = kit.use(kit.Records(), mask=mask)
    node = Writes()
    node - "once more" >> node
    node - "decided" >> Node()
    trace_flow(Flow(start=node)).run({"documents": []})
    run = records.run()
    everything = [dataclasses.asdict(record) for record in [*records.spans(), run]]
    everything += [span_attributes(record, run) for record in records.spans()]
    assert [] == [text for text in ("once more", "decided") if text in repr(everything)]
    assert {"once more", "decided"} <= {*seen}
    shown = answer if type(answer) is str else json.dumps(answer, separators=(",", ":"))
    visits = [record for record in records.spans() if record.kind == "node"]
    assert [shown] * 3 == [visit.attributes["action"] for visit in visits]
    assert [shown] * 2 == [edge["action"] for edge in run.graph["flows"][0]["edges"]]


def test_a_mask_that_counts_for_false_is_asked():
    """A masker may be an object that is empty: each value goes through it, short ones and numbers too."""

    class Masker(list):  # type: ignore[type-arg]
        def __call__(self, value: Any, path: Any) -> Any:
            return "***" if value in ("flu", 42) else value

    class Diagnoses(Node):
        def prep(self, shared: Any) -> Any:
            return shared["found"]

        def exec(self, prep_res: Any) -> Any:
            return 42

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["count"] = exec_res

    records = kit.use(kit.Records(), mask=Masker())
    trace_flow(Flow(start=Diagnoses())).run({"found": "flu"})
    (prep,), (attempt,) = records.spans("Diagnoses.prep"), records.spans("Diagnoses.exec")
    assert ["***"] * 3 == [prep.output, attempt.input, attempt.output]


def test_a_failing_mask_withholds():
    """A mask that raises withholds the value everywhere, and the run goes on."""

    def mask(value: Any, path: Any) -> Any:
        if isinstance(value, str) and value.startswith(("first", "document")):
            raise RuntimeError("document")
        return value

    shown = recorded({}, First, Second, mask=mask)
    assert "first exec" not in shown
    assert "document one" not in shown
    assert "withheld" in shown
    assert "second exec" in shown


class Keeps(Fails):
    def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
        return exc

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["errors"] = [exec_res]


class Thing:
    pass


@pytest.mark.parametrize(
    "put", [dt.date(2026, 1, 1), {1}, Thing(), float("nan"), "\ud800", 10**5000], ids=lambda value: type(value).__name__
)
@pytest.mark.parametrize("deep", [False, True])
def test_a_mask_that_changes_a_value_in_its_place(put, deep):
    """Whatever it puts there is read like any value: the record can be written, and so can those of other flows."""

    def mask(value, path):
        if type(value) is dict:
            value["put"] = [{"a": put}] if deep else put
        return value

    shown = render(snapshot({"a": {"b": 1}}), Rules(mask=mask))
    json.dumps(shown, allow_nan=False).encode()
    assert shown["a"]["b"] == 1
    assert "put" in shown["a"]


def test_a_mask_that_makes_a_cycle():
    def mask(value, path):
        if type(value) is dict:
            value["self"] = value
        return value

    json.dumps(render(snapshot({"a": {"b": 1}}), Rules(mask=mask)), allow_nan=False)


PLACES: dict[str, tuple[str, Any]] = {
    "key": ("Customer", lambda text: {Customer(text): 1}),
    "key in a tuple": ("Customer", lambda text: {(Customer(text), 1): 1}),
    "text": ("Name", lambda text: [Name(text)]),
    "text as a key": ("Name", lambda text: {Name(text): 1}),
    "text in a key": ("Name", lambda text: {("a", Name(text)): 1}),
    "counted": ("Name", lambda text: collections.Counter([Name(text)])),
    "number": ("Number", lambda text: [Number("".join(map(str, text.encode())))]),
    "array": ("Name", lambda text: np.array([Name(text)], dtype=object)),
    "labels": ("Name", lambda text: pd.Series([1], index=pd.Index([Name(text)], dtype=object))),
    "columns": ("Name", lambda text: pd.DataFrame([[1]], columns=pd.Index([Name(text)], dtype=object))),
    "place of the same": ("Name", lambda text: [{Name(text): (one := [1])}, one]),
    "error": ("Name", lambda text: [ValueError(Name(text))]),
    "a library's class": ("DataFrame", lambda text: [pd.DataFrame({"a": [text]})]),
}


@pytest.mark.parametrize("policy", ["hide", "summarise"])
@pytest.mark.parametrize(("name", "make"), PLACES.values(), ids=PLACES)
def test_a_class_is_covered_wherever_its_objects_stand(name, make, policy):
    class Puts(Node):
        def prep(self, shared: Any) -> Any:
            return make("canary")

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["put"] = prep_res
            if isinstance(prep_res, dict):
                shared.update(prep_res)

    canary = re.compile("canary|" + "".join(map(str, b"canary")))
    assert name == "Name" or canary.search(recorded({}, Puts))
    assert not canary.search(recorded({f"class:{name}": policy}, Puts))
    assert not canary.search(recorded({f"class:{name}": policy}, Puts, First))  # whose input `shared` is


@pytest.mark.parametrize("policy", ["hide", "summarise"])
@pytest.mark.parametrize("hidden", ["RefusedError", "Exception"])
def test_an_error_of_a_class_is_raised_without_what_it_says(hidden, policy):
    class Raises(Node):
        def exec(self, prep_res: Any) -> Any:
            made = RefusedError(CANARY, Customer(CANARY))
            made.__notes__ = [CANARY]
            raise made

        def exec_fallback(self, prep_res: Any, exc: Exception) -> Any:
            raise ValueError(Name(CANARY)) from exc

    assert CANARY in recorded({}, Raises)
    text = recorded({f"class:{hidden}": policy, "class:Name": policy}, Raises)
    assert CANARY not in text
    assert "RefusedError" in text
    assert "raise made" in text


def test_a_secret_under_a_key_that_is_hidden_stays_one():
    text = recorded({"class:Name": "hide"}, type("Keeps", (Node,), {"prep": lambda *_: {Name("password"): CANARY}}))
    assert CANARY not in text


def test_without_errors_an_error_among_values_has_no_message():
    """The toggle covers the errors that a fallback returns and a node keeps in `shared` as well."""
    assert MESSAGE in recorded({}, Keeps)
    without = recorded({}, Keeps, trace_errors=False)
    assert MESSAGE not in without
    assert '"errors": [{"__type__": "ValueError", "message": "<hidden>"}]' in without


@pytest.mark.absorbs
def test_the_line_of_the_guard_holds_no_data(caplog, monkeypatch):
    """An error of ours whose message holds the user's data is logged by type and place only."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("canary in the message")

    kit.use(kit.Records())
    monkeypatch.setattr("pocketflow_tracing._runs.Run", fail)
    trace_flow(Flow(start=First())).run({"documents": []})
    assert any("RuntimeError" in line for line in caplog.messages)
    assert "canary" not in caplog.text


@pytest.mark.parametrize("secret", ["hunter2", {"db": "hunter2"}, {"db": {"main": ["hunter2"]}}])
def test_an_argument_that_has_the_name_of_a_secret(secret, records):
    """A dict among the arguments may be the `shared` of the function's flows; one of credentials is none."""

    @trace_flow
    def nightly(shared, credentials, *, password=None):
        Flow(start=Node()).run(shared)

    nightly({"question": "why", "token": "hunter2"}, secret, password=secret)
    hidden = {
        "shared": {"question": "why", "token": "[redacted]"},
        "credentials": "[redacted]",
        "password": "[redacted]",
    }
    assert hidden == records.span("nightly").input


@pytest.mark.parametrize(
    "arguments", [{"documents": ["text"]}, {"documents": {"a": "text"}}, {"users": [{"email": "text"}]}]
)
def test_a_policy_covers_an_argument_of_a_decorated_function(arguments):
    """It has the name of what the function puts into `shared`."""
    records = kit.use(kit.Records(), policies={"documents": "hide", "users.*.email": "hide"})

    @trace_flow
    def nightly(question, documents=None, users=None):
        Flow(start=Node()).run({"question": question})

    nightly("why", **arguments)
    given = records.span("nightly").input
    assert "why" == given["question"]
    assert "text" not in json.dumps(given)
    assert "hidden" in json.dumps(given)


def test_arguments_say_of_each_other_what_they_hold(records):
    """As the entries of a dict do."""

    @trace_flow
    def set_to(name, value, columns, rows):
        Flow(start=Node()).run({})

    set_to("OPENAI_API_KEY", "hunter2", ["user", "password"], [["ada", "hunter2"]])
    given = records.span("set_to").input
    assert ["OPENAI_API_KEY", "[redacted]", [["ada", "[redacted]"]]] == [
        given[key] for key in ("name", "value", "rows")
    ]


class Fetches(Node):
    """Finds the rows of a query whose columns it knew before."""

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["rows"] = [["ada", "hunter2"]]
        shared["pages"] = [{"columns": shared["columns"], "data": [["ada", "hunter2"]]} for _ in range(3)]


@pytest.mark.parametrize("rows", [{}, {"rows": [["eve", "hunter2"]]}])
def test_columns_that_are_named_once(rows, records):
    """A table may be `shared` itself, its rows come later, and the pages of a query have one list of labels."""
    trace_flow(Flow(start=Fetches())).run({"columns": ["user", "password"], **rows})
    text = json.dumps([dataclasses.asdict(record) for record in [*records.spans(), records.run()]])
    assert "hunter2" not in text
    assert "ada" in text


@pytest.mark.parametrize(
    ("names", "key"),
    [
        ({"user": "ada"}, "pass"),
        ({"name": "db_password"}, "value"),
        ({"domain": "x.com", "path": "/", "name": "sid"}, "value"),
        ({"loc": ["body", "password"]}, "input"),
        ({"statement": "update users set password = ?"}, "params"),
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_what_comes_later_is_what_other_keys_say_it_is(names, key, before, records):
    """`shared` itself may be a login, a variable or a cookie, whose secret a later node writes."""

    class Writes(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared[key] = "hunter2 hunter2"

    trace_flow(Flow(start=Writes())).run({"city": "Paris", **names, **({key: "hunter2"} if before else {})})
    text = json.dumps([dataclasses.asdict(record) for record in [*records.spans(), records.run()]])
    assert (True, False) == ("Paris" in text, "hunter2" in text)


def test_columns_too_wide_to_be_kept_with_each_visit(records):
    """What nobody can know then is hidden: every text in the rows."""
    columns = [*("a column with a long name" * 20 for _ in range(90)), "password"]

    class Queries(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["rows"] = [[*range(90), "hunter2"]]

    trace_flow(Flow(start=Queries())).run({"columns": columns})
    text = json.dumps([dataclasses.asdict(record) for record in [*records.spans(), records.run()]])
    assert "hunter2" not in text


def test_columns_that_are_described_by_objects_of_several_tables():
    """Of what is described in another place nobody sees the name: all texts go."""
    column = Customer("password")
    tables = [{"columns": [Customer("user"), column], "data": [["ada", "hunter2"]]} for _ in range(3)]
    assert "hunter2" not in json.dumps(render(snapshot(tables), Rules()))
    assert "hunter2" not in json.dumps(
        render(snapshot([{Customer("password"): "hunter2"}, {column: "hunter2"}]), Rules())
    )
    keyed = [{column: "hunter2"} for _ in range(3)]
    assert "hunter2" not in json.dumps(render(snapshot(keyed), Rules()))


def test_columns_of_a_wide_table_that_are_named_once():
    """Labels that are cut, and stand in another place too, are not known: all texts of those rows go."""
    labels = [f"c{number}" for number in range(400)]
    labels[-1] = "password"
    tables = [{"columns": labels, "data": [["x"] * 399 + ["hunter2"]]} for _ in range(3)]
    assert "hunter2" not in json.dumps(render(snapshot(tables), Rules()))
