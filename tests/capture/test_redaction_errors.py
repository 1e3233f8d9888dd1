"""Secrets in errors, raised or kept: in messages, arguments, fields, causes and lines of code."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from pocketflow_tracing._state import SharedState
from pocketflow_tracing.capture import Capture, describe_exception, snapshot
from pocketflow_tracing.capture_errors import describe_again, place_of
from pocketflow_tracing.redaction import Redactor, Rules
from pocketflow_tracing.render import render
from pocketflow_tracing.render_errors import render_exception


@pytest.mark.parametrize("chained", [False, True])
def test_a_message_does_not_tell_a_secret_among_hundreds_of_fields(chained):
    """As of an importer that keeps its rows, and of a program's environment."""
    for fields in (
        {
            "rows": [
                {**{f"c{number}": f"v{number}{row}" for number in range(7)}, "password": f"hunter{row}"}
                for row in range(60)
            ]
        },
        {"env": {**{f"variable_{number}": f"value {number}" for number in range(300)}, "DB_PASSWORD": "hunter59"}},
    ):
        error = RuntimeError("it was hunter59")
        vars(error).update(fields)
        if chained:
            inner, error = error, ValueError("failed: it was hunter59")
            error.__cause__ = inner
        shown = render_exception(describe_exception(error), Rules())
        assert "hunter59" not in json.dumps(shown)


class RejectedError(Exception):
    """Its message is, or quotes, a field of its own."""

    def __init__(self, api_key, *args):
        super().__init__(*(args or (api_key,)))
        self.api_key, self.model = api_key, "model-one"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("no: hunter2-hunter2 with model-one",),
        (401, "hunter2-hunter2", "model-one"),
        (["hunter2-hunter2"], {1, "model-one"}),
        ({"detail": ["no hunter2-hunter2", "model-one"]},),
    ],
)
def test_a_message_does_not_tell_a_secret_of_its_own_exception(arguments):
    """By the name of the field: in its own message and notes, and in those of what it is raised as and grouped in."""
    error = RejectedError("hunter2-hunter2", *arguments)
    error.__notes__ = ["it was hunter2-hunter2"]
    with pytest.raises(ValueError) as caught:
        try:
            raise error
        except RejectedError as first:
            raise ValueError(f"failed: {first}") from first
    for shown in (
        render_exception(describe_exception(error), Rules()),
        render_exception(describe_exception(caught.value), Rules()),
        render(snapshot({"error": error}), Rules()),
    ):
        text = json.dumps(shown)
        assert ("hunter2" not in text, "[redacted]" in text) == (True, True)
    place, known = place_of(error), describe_exception(error)
    again = describe_again(error, known, place, snapshot)
    assert "hunter2" not in json.dumps(render_exception(again, Rules()))
    plain = json.dumps(render_exception(describe_exception(error), Rules(redact=Redactor(defaults=False))))
    assert "hunter2-hunter2" in plain
    if arguments:
        assert "model-one" in text


def wrapped(how):
    """An exception whose message repeats that of another one."""
    inner = RejectedError("hunter2-hunter2", "no: hunter2-hunter2 with model-one")
    try:
        try:
            raise inner
        except RejectedError as first:
            if how == "a group":
                raise ExceptionGroup(f"failed: {first}", [inner, ValueError("other")]) from None  # noqa: F821 - Python 3.11
            if how == "from it":
                raise ValueError(f"failed: {first}") from first
            if how == "from none":
                raise ValueError(f"failed: {first}") from None
            raise ValueError(f"failed: {first}")  # noqa: B904 - as it is written
    except Exception as error:
        return error


@pytest.mark.parametrize("how", ["from it", "from none", "while handling it", "twice", "a group"])
def test_a_message_does_not_tell_a_secret_of_what_it_came_from(how):
    """Where it is raised, on the spans above, and kept as a value; whether the other one is shown or not."""
    if how == "a group" and sys.version_info < (3, 11):
        pytest.skip("of Python 3.11")
    error = wrapped(how)
    if how == "twice":
        error = RuntimeError(f"and so: {error}").with_traceback(None)
        error.__cause__ = wrapped("while handling it")
    known = describe_exception(error)
    again = describe_again(error, known, place_of(error), snapshot)
    for shown in (
        render_exception(known, Rules()),
        render_exception(again, Rules()),
        render(snapshot({"error": error}), Rules()),
    ):
        text = json.dumps(shown)
        assert ("hunter2" not in text, "model-one" in text, "failed" in text) == (True, True, True)


@pytest.mark.parametrize("password", ["hunter2", "pw2"])
@pytest.mark.parametrize("has_str", [True, False])
def test_arguments_that_are_secrets_of_their_exception(password, has_str):
    """Of dataclasses say, and where `__init__` calls none above; the message is a text, or its arguments as they are."""

    @dataclasses.dataclass
    class LoginError(Exception):
        user: str
        password: str

    if has_str:
        LoginError.__str__ = lambda self: self.user
    error = LoginError("ada w. and pw2s", password)
    for shown in (
        render_exception(describe_exception(error), Rules()),
        render(snapshot(error), Rules()),
        render_exception(describe_exception(ValueError(error)), Rules()),
    ):
        text = json.dumps(shown)
        assert (True, False) == ("ada w. and pw2s" in text, password in text.replace("pw2s", ""))


@dataclasses.dataclass(slots=True)
class SlottedError(Exception):
    """Its fields stand in slots, as those of attrs do."""

    user: str
    token: str


class HeldError(Exception):
    def __init__(self, message, **held):
        super().__init__(message)
        self.__dict__.update(held)


@pytest.mark.parametrize(
    "error",
    [
        SlottedError("ada", "hunter2-hunter2"),
        HeldError("wrong code 987123654 of ada", otp=987123654),
        HeldError("no hunter2-hunter2 of ada", token=b"hunter2-hunter2"),
        HeldError("no hunter2-hunter2 of ada", config={"user": "ada", "password": "hunter2-hunter2"}),
        HeldError("no hunter2-hunter2 of ada", request={"headers": {"Authorization": "hunter2-hunter2"}}),
        HeldError("no hunter2-hunter2 of ada", headers=[("Authorization", "hunter2-hunter2"), ("X", "y")]),
        HeldError("no hunter2-hunter2, hunter2-hunter3 of ada", api_keys=("hunter2-hunter2", "hunter2-hunter3")),
        HeldError("no hunter2-hunter2 of ada", **{f"field{n}": n for n in range(40)}, api_key="hunter2-hunter2"),
        HeldError("no hunter2-hunter2 of ada", api_key=type("Key", (str,), {})("hunter2-hunter2")),
        HeldError("no " + repr("hunter2\nhunter2") + " of ada", private_key="hunter2\nhunter2"),
        HeldError("no " + repr(b"hunter2\xff") + " of ada", api_key=b"hunter2\xff"),
        HeldError("code 4821 of ada has expired", otp=4821),
        HeldError("no hunter2-hunter2 of ada", api_keys={"hunter2-hunter2"}),
    ],
)
def test_a_message_does_not_tell_what_stands_in_any_field(error):
    """In slots, as a number or bytes, or in a dict; raised, and kept as a value."""
    for shown in (render_exception(describe_exception(error), Rules()), render(snapshot(error), Rules())):
        text = json.dumps(shown)
        assert ["hunter2" in text, "987123654" in text, "4821" in text, "ada" in text] == [False, False, False, True]


WEAK = "-".join(["hunter2"] * 2)  # no literal of the line that raises


def raised_by(function):
    with pytest.raises(Exception) as caught:
        function()
    return caught.value


def pydantics():
    pydantic = pytest.importorskip("pydantic")

    class Login(pydantic.BaseModel):
        password: str

        @pydantic.field_validator("password")
        @classmethod
        def is_strong(cls, value):
            raise ValueError(f"too weak: {value!r}")

    return raised_by(lambda: Login(password=WEAK))


def attrss():
    attrs = pytest.importorskip("attrs")

    @attrs.define
    class Login:
        api_key: str = attrs.field(validator=attrs.validators.matches_re("sk-.*"))

    return raised_by(lambda: Login(WEAK))


def jsonschemas():
    schema = pytest.importorskip("jsonschema")
    return raised_by(lambda: schema.validate({"password": WEAK}, {"properties": {"password": {"minLength": 20}}}))


def test_what_only_resembles_a_validation_error_gets_no_field():
    """A dict is shown with the keys that it has."""
    shown = render(snapshot({"loc": ["password"], "input": "hunter2"}), Rules())
    assert {"loc": ["password"], "input": "[redacted]"} == shown


@pytest.mark.parametrize("validates", [pydantics, attrss, jsonschemas])
def test_what_a_validator_repeats_of_a_secret_is_hidden(validates):
    """Its message has the value, and the name elsewhere; raised, kept as a value, and as what a library makes of it."""
    error = validates()
    kept = [
        error,
        {"errors": error.errors(), "json": error.json(), "text": str(error)} if validates is pydantics else None,
    ]
    shown = [render_exception(describe_exception(error), Rules()), render(snapshot(kept), Rules())]
    assert "hunter2" not in json.dumps(shown)


@pytest.mark.parametrize(
    "error",
    [
        subprocess.CalledProcessError(1, ["deploy"], stderr=b"error: invalid token hunter2222222"),
        HeldError("no", body=b'{"error": "invalid token \\"hunter2222222\\" given"}'),
        HeldError("no", response={"content": b"Incorrect API key provided: hunter2222222"}),
    ],
)
def test_bytes_in_an_error_that_is_kept_are_read_as_its_message_is(error):
    """What a server or a command has said is often there."""
    assert "hunter2" not in json.dumps(render(snapshot({"error": error}), Rules()))


@pytest.mark.parametrize(
    "line", ["c['db']['password'] = 'hunter2'", "password: str = 'hunter2'", "password: dict[str, int] | None = 'hunter2' or x", 'c = [1, "--password", "hunter2"]']
)  # fmt: skip
def test_a_secret_in_the_line_of_an_error_is_hidden(line, tmp_path):
    """What is shown of the code is the line as it stands in the file."""
    file = tmp_path / "line.py"
    file.write_text(f"c = {{}}; x = 1; {line}; 1 / 0\n")
    with pytest.raises((KeyError, ZeroDivisionError)) as caught:
        exec(compile(file.read_text(), file, "exec"), {})
    shown = render_exception(describe_exception(caught.value), Rules())
    assert "c = {}" in shown["traceback"][-1]["code"]
    assert "hunter2" not in json.dumps(shown)


def test_the_mask_sees_the_code_of_errors():
    """A literal may stand in the line that raised."""

    def mask(value, path):
        return value.replace("Ada", "…") if path == ("error", "code") else value

    with pytest.raises(ValueError) as caught:
        raise ValueError(len("Ada"))
    shown = render_exception(describe_exception(caught.value), Rules(mask=mask))
    assert ['raise ValueError(len("…"))'] == [frame["code"] for frame in shown["traceback"]]


def test_errors_are_redacted_in_message_arguments_notes_causes_and_code():
    def fail():
        try:
            raise KeyError("api_key=hunter2a")  # token = "hunter2b"
        except KeyError as cause:
            error = ValueError({"password": "hunter2c", "text": "ok"})
            if hasattr(error, "add_note"):
                error.add_note("secret: hunter2d")
            raise error from cause

    with pytest.raises(ValueError) as caught:
        fail()
    shown = render_exception(describe_exception(caught.value), Rules())
    assert "hunter2" not in json.dumps(shown)
    assert shown["message"] == '{"password": "[redacted]", "text": "ok"}'
    masked = render_exception(
        describe_exception(ValueError("x")), Rules(mask=lambda v, p: "***" if p == ("error", "message") else v)
    )
    assert masked["message"] == "***"


class LoginError(Exception):
    def __init__(self, detail):
        super().__init__({"why": [detail]})
        self.detail = detail


def test_an_error_that_is_a_value_is_redacted_as_one_that_was_raised():
    """Its message, its arguments and its fields, wherever it stands, long or with a mask; texts beside it stay prose."""
    prose = "password: at least 8 characters"
    errors = [
        RuntimeError("login failed: password=hunter2"), KeyError("token: hunter2"), LoginError("password: hunter2"),
        ValueError("the api key: hunter2 " + "x" * 400_000 + " secret: hunter2"),
    ]  # fmt: skip
    if sys.version_info >= (3, 11):
        errors.append(ExceptionGroup("password: hunter2", [errors[0], LoginError("password: hunter2")]))  # noqa: F821
    for rules in (Rules(), Rules(mask=lambda value, _: value)):
        for value in (errors[0], {"error": errors[1]}, *errors):
            assert "hunter2" not in json.dumps(render(snapshot(value), rules))
        shown = render(snapshot([*errors, prose]), rules)
        assert "hunter2" not in json.dumps(shown)
        assert shown[0] == {"__type__": "RuntimeError", "message": "login failed: password=[redacted]"}
        assert shown[-1] == prose
    held = SharedState({"errors": errors}, Capture())
    assert "hunter2" not in json.dumps(render(held.full(), Rules()))
    assert render(snapshot(errors[0]), Rules(policy={"k": "summarise"}), ("k",)) == {
        "__type__": "RuntimeError",
        "size": 1,
    }
