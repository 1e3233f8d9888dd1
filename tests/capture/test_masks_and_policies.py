"""What the mask sees and returns, and what a policy hides."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from pocketflow_tracing.capture import snapshot
from pocketflow_tracing.redaction import Rules
from pocketflow_tracing.render import render


@dataclasses.dataclass
class Account:
    user: str
    password: str


def test_policy_by_path():
    rules = Rules(
        policy={"documents": "summarise", "shared.user.email": "hide", "users.*.name": "hide", "prep_res": "hide"}
    )
    shared = {
        "documents": ["a", "b"],
        "user": {"email": "e", "id": 1},
        "users": [{"name": "n", "age": 3}],
        "prep_res": 1,
    }
    assert render(snapshot(shared), rules, ("shared",)) == {
        "documents": {"__type__": "list", "size": 2},
        "user": {"email": "<hidden>", "id": 1},
        "users": [{"name": "<hidden>", "age": 3}],
        "prep_res": "<hidden>",
    }
    assert render(snapshot("x"), rules, ("prep_res",)) == "<hidden>"
    assert render(snapshot("deep inside"), rules, ("shared", "documents", 0, "text")) == {"__type__": "str", "size": 11}
    assert render(snapshot({"documents": 1}), rules, ("input",)) == {"documents": 1}


def test_policy_by_class():
    """It covers subclasses, whatever form their instances are shown in; the first pattern that fits decides."""

    class Premium(Account):
        pass

    class Users(dict):
        pass

    value = [Account("u", "p"), Premium("v", "p"), Users({1: "w"}), Users(a="x")]
    hidden = Rules(policy={"class:Account": "hide", "class:Users": "summarise"})
    sized = {"__type__": "Users", "size": 1}
    assert render(snapshot(value), hidden) == ["<hidden>", "<hidden>", sized, sized]
    shown = render(snapshot(value), Rules(policy={"class:Premium": "record", "class:Account": "hide"}))
    assert shown[0] == "<hidden>"
    assert shown[1]["user"] == "v"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("abc", {"__type__": "str", "size": 3}), (b"abc", {"__type__": "bytes", "size": 3}), (list(range(500)), {"__type__": "list", "size": 500}),
        ({"a": 1}, {"__type__": "dict", "size": 1}), (7, {"__type__": "int"}), (None, {"__type__": "NoneType"}),
        (Account("u", "p"), {"__type__": "Account", "size": 2}), ({1, 2}, {"__type__": "set", "size": 2}), ({1: 2}, {"__type__": "dict", "size": 1}),
    ],
)  # fmt: skip
def test_a_summary_is_type_and_size(value, expected):
    assert render(snapshot(value), Rules(policy={"k": "summarise"}), ("k",)) == expected


def test_the_mask_sees_every_value_with_its_path():
    seen = []

    def mask(value, path):
        seen.append((path, value))
        return "***" if path[-1:] == ("email",) else value

    value = {"email": {"deep": 1}, "n": [1, Account("u", "p")]}
    assert render(snapshot(value), Rules(mask=mask), ("shared",)) == {
        "email": "***",
        "n": [1, {"__type__": "Account", "user": "u", "password": "[redacted]"}],
    }
    assert (("shared", "n", 1, "user"), "u") in seen
    assert (("shared", "email"), {"deep": 1}) in seen
    assert not any("password" in path for path, _ in seen)


@pytest.mark.parametrize("put", [bytes, bytearray, memoryview, lambda value: value + bytes(400_000)])
def test_the_mask_sees_the_text_of_bytes(put):
    """What is shown of them, under the same path whatever kind they are of, and however long."""
    seen = []

    def mask(value, path):
        seen.append(path)
        return value.replace("jane@example.com", "#") if isinstance(value, str) else value

    value = put(b'{"email": "jane@example.com"}')
    shown = render(snapshot([value]), Rules(mask=mask), ("shared", "body"))
    assert shown[0]["preview"].startswith('{"email": "#"}')
    assert ("shared", "body", 0, "preview") in seen
    assert ("shared", "body", 0) in seen


def test_a_value_whose_mask_fails_is_withheld():
    def mask(value, path):
        if value == "hunter2":
            raise RuntimeError("hunter2")
        return value

    assert render(snapshot({"a": "hunter2", "b": 1}), Rules(mask=mask)) == {"a": "<withheld: mask failed>", "b": 1}


@pytest.mark.parametrize("failure", [SystemExit, asyncio.CancelledError, RecursionError])
def test_a_mask_may_fail_in_any_way(failure):
    """The worker that runs it does not end with it."""

    def mask(value, path):
        raise failure("hunter2")

    assert render(snapshot({"a": "hunter2"}), Rules(mask=mask)) == "<withheld: mask failed>"


def test_what_a_mask_returns_is_redacted_and_bounded_too():
    rules = Rules(mask=lambda value, path: {"api_key": "hunter2", "list": range(3)} if path == () else value)
    assert render(snapshot(1), rules) == {
        "api_key": "[redacted]", "list": {"__type__": "range", "start": 0, "stop": 3, "step": 1},
    }  # fmt: skip


def test_the_mask_gets_both_ends_of_a_text_that_is_cut():
    rules = Rules(mask=lambda value, path: value.replace("secret", "******") if isinstance(value, str) else value)
    text = "secret" + "x" * 200_000 + "secret"
    assert "secret" not in render(text, rules)
