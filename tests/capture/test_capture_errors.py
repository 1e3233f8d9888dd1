"""Pictures of exceptions."""

from __future__ import annotations

import gc
import linecache
import sys
import tracemalloc
import weakref

import pytest

from pocketflow_tracing.capture import describe_exception, snapshot
from pocketflow_tracing.redaction import Rules
from pocketflow_tracing.render_errors import render_exception


class CustomError(Exception):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code


def shown(error):
    return render_exception(describe_exception(error), Rules())


def raised(function, *args):
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError


def inner():
    raise ValueError("boom")


def test_type_message_and_the_users_frames_with_their_code():
    result = shown(raised(inner))
    assert (result["type"], result["message"]) == ("ValueError", "boom")
    assert [(frame["function"].rpartition(".")[2], frame["code"]) for frame in result["traceback"]] == [
        ("raised", "function(*args)"),
        ("inner", 'raise ValueError("boom")'),
    ]
    assert result["traceback"][1]["file"] == __file__
    assert result["traceback"][1]["line"] == inner.__code__.co_firstlineno + 1


def test_files_of_tracebacks_are_not_kept(tmp_path):
    """A program may write a script, run it, and write it anew; nor is `linecache` ours to fill."""
    script = tmp_path / "script.py"
    for text in ("first", "second"):
        script.write_text(f"raise ValueError('{text}')\n")
        code = compile(script.read_text(), str(script), "exec")
        assert f"raise ValueError('{text}')" == shown(raised(exec, code))["traceback"][-1]["code"]
        assert str(script) not in linecache.cache


@pytest.mark.parametrize("module", ["pocketflow", "pocketflow_tracing.frameworks._scopes"])
def test_frames_of_a_frozen_program_are_told_apart_too(module):
    """Code that is frozen has a relative name of its file."""
    frozen = {"__name__": module}
    exec(compile("def run(function):\n    function()\n", f"{module}/__init__.py", "exec"), frozen)
    error = raised(frozen["run"], inner)
    assert ["raised", "inner"] == [frame["function"].rpartition(".")[2] for frame in shown(error)["traceback"]]


@pytest.mark.parametrize(
    ("error", "type_name", "message"),
    [
        (ValueError(), "ValueError", ""), (ValueError("a", 1), "ValueError", "('a', 1)"), (KeyError("k"), "KeyError", "'k'"),
        (OSError(2, "gone", "f"), "FileNotFoundError", "[Errno 2] gone: 'f'"), (CustomError(3, "t"), f"{__name__}.CustomError", "(3, 't')"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError", "'utf-8' codec can't decode byte 0xff in position 0: bad"),
        (SystemExit(3), "SystemExit", "3"), (KeyboardInterrupt(), "KeyboardInterrupt", ""),
    ],
)  # fmt: skip
def test_types_and_messages(error, type_name, message):
    result = shown(error)
    assert (result["type"], result["message"], result["traceback"]) == (type_name, message, [])


def test_cause_context_and_suppression():
    def explicit():
        try:
            inner()
        except ValueError as error:
            raise KeyError("k") from error

    def implicit():
        try:
            inner()
        except ValueError:
            raise KeyError("k")  # noqa: B904 - this is what the test is about

    def suppressed():
        try:
            inner()
        except ValueError:
            raise KeyError("k") from None

    assert shown(raised(explicit))["cause"]["message"] == "boom"
    assert shown(raised(implicit))["context"]["message"] == "boom"
    assert {"cause", "context"}.isdisjoint(shown(raised(suppressed)))


def test_a_chain_that_bites_its_tail_and_a_long_one_end():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert "cause" not in shown(first)["cause"]
    error = ValueError("0")
    for number in range(1000):
        outer = ValueError(str(number))
        outer.__cause__ = error
        error = outer
    assert str(shown(error)).count("'type'") == 6


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups and notes came with 3.11")
def test_groups_and_notes():
    group = ExceptionGroup("many", [ValueError(str(n)) for n in range(40)])  # noqa: F821
    group.add_note("look here")
    result = shown(group)
    assert (result["type"], result["message"], result["notes"]) == (
        "ExceptionGroup",
        "many (40 sub-exceptions)",
        ["look here"],
    )
    assert [member["message"] for member in result["exceptions"]] == [str(n) for n in range(10)]
    for _ in range(6):
        group = ExceptionGroup("nested", [group] * 10)  # noqa: F821
    assert len(str(shown(group))) < 20_000


def test_the_first_and_the_last_frames_of_a_deep_traceback_are_kept():
    def down(n):
        if n == 0:
            raise ValueError("deep")
        down(n - 1)

    frames = shown(raised(down, 300))["traceback"]
    assert len(frames) == 51
    assert frames[25] == {"file": "… 252 more frames"}
    assert frames[-1]["code"] == 'raise ValueError("deep")'


def test_frames_of_pocketflow_and_of_the_tracer_are_left_out():
    pocketflow = pytest.importorskip("pocketflow")

    class Failing(pocketflow.Node):
        def exec(self, prep_res):
            raise ValueError("boom")

    functions = [frame["function"].rpartition(".")[2] for frame in shown(raised(Failing().run, {}))["traceback"]]
    assert functions == ["raised", "exec"]


def test_a_picture_holds_nothing_of_the_exception():
    class Marker:
        pass

    def fail():
        marker = Marker()
        references.append(weakref.ref(marker))
        raise ValueError(marker)

    references: list = []
    picture = describe_exception(raised(fail))
    gc.collect()
    assert references[0]() is None
    assert picture.type_name == "ValueError"


def test_a_pydantic_validation_error_tells_its_problems_without_the_inputs():
    pydantic = pytest.importorskip("pydantic")

    class Loud:
        def __repr__(self):
            raise AssertionError

    class Model(pydantic.BaseModel):
        count: int
        name: str

    result = shown(raised(Model.model_validate, {"count": Loud()}))
    assert result["message"] == (
        "2 validation errors for Model\ncount: Input should be a valid integer (int_type)\nname: Field required (missing)"
    )


def test_a_long_message_is_cut_and_a_hostile_class_is_survived():
    assert len(shown(ValueError("x" * 10**6))["message"]) < 70_000

    class Meta(type):
        def __getattribute__(cls, name):
            raise AssertionError

    made = Meta("Odd", (Exception,), {})
    error = Exception.__new__(made, "text")
    assert shown(error)["message"] == "text"
    assert shown(ValueError("\ud800"))["message"] == "\ufffd"


def pairs(levels, width=2, size=9):
    value = ("y" * size,)
    for _ in range(levels):
        value = (value,) * width
    return value


@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueError(pairs(18)), lambda: ValueError(1, pairs(18)), lambda: KeyError(pairs(3, 20, 9000)),
        lambda: OSError(1, pairs(3, 20, 9000)), lambda: ValueError(pairs(100_000, 1)),
        lambda: OSError(2, "gone", "f" * 50_000_000), lambda: KeyError("k" * 50_000_000),
    ],
)  # fmt: skip
def test_what_an_exception_carries_is_not_written_out_before_it_is_cut(make):
    """A tree of tuples has a text that doubles with each level; a key that is missing may be a document."""
    error = make()
    tracemalloc.start()
    try:
        picture, among_values = describe_exception(error), snapshot({"error": error})
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert picture.message is not None
    assert "unreadable" not in among_values["error"].fields


def test_a_long_key_is_shown_by_its_ends():
    assert shown(KeyError("k" * 100))["message"] == repr("k" * 100)
    message = shown(KeyError("b" * 500_000 + "e" * 500_000))["message"]
    assert message.startswith("bbb")
    assert message.endswith("eee")
    assert len(message) < 100_000
