"""The picture of a run, compared letter by letter."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from store.sample import Run, agent_run, process_id, small_run

from pocketflow_tracing.cli.render_tree import TreeOptions, render_run
from pocketflow_tracing.store import Store

GRAPH = {
    "flows": [
        {
            "id": "f",
            "nodes": [
                {"id": "n2", "name": "SearchWeb"},
                {"id": "n3", "name": "SummarizeAll"},
                {"id": "n4", "name": "ReviewFlow"},
            ],
        }
    ]
}


def picture(path, reference="last", *, width=100, terminal=False, encoding="utf-8", options=None) -> list[str]:
    """The lines below the heading."""
    lines = whole(path, reference, width=width, terminal=terminal, encoding=encoding, options=options)
    return lines[lines.index("") + 1 :]


def whole(path, reference="last", *, width=100, terminal=False, encoding="utf-8", options=None) -> list[str]:
    """All lines."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=terminal, soft_wrap=True, color_system=None, _environ={})
    run = Store(path).run(reference)
    console.print(render_run(run, Store(path).spans(run.run_id), console, options))
    file.seek(0)
    return file.read().splitlines()


def test_a_run_in_a_pipe(write, path):
    """Everything of a run in its place: retries, fallback, batch, nesting, generation, decisions, durations in a column."""
    write(agent_run(graph=GRAPH))
    assert [
        "↻ ResearchAgent                                                                   1.24 s",
        "├─ ↻ DecideAction  search → SearchWeb                                             328 ms",
        "│  ├─ ✓ prep                                                                      1.0 ms",
        "│  ├─ ✗ exec  attempt 1 of 3  TimeoutError: the model did not answer in 0.1 s     100 ms",
        "│  │       agent.py:41 in exec: return call_llm(prompt)",
        "│  ├─ ✓ exec  attempt 2 of 3                                                      202 ms",
        "│  │  └─ ◆ OpenAI-generation  gpt-4o-mini · 312 + 100 tokens · $0.00042           195 ms",
        "│  └─ ✓ post                                                                      1.0 ms",
        "├─ ↻ SearchWeb  → SummarizeAll                                                    365 ms",
        "│  ├─ ✓ prep                                                                      1.0 ms",
        "│  ├─ ✗ exec  ConnectionError: search engine refused                              264 ms",
        "│  ├─ ✓ exec_fallback                                                              50 ms",
        "│  └─ ✓ post                                                                      1.0 ms",
        "├─ ↻ SummarizeAll  → ReviewFlow                                                   398 ms",
        "│  └─ ✓ exec  1,000 items                                                         387 ms",
        "│     ├─ ✓ exec[0]                                                                0.3 ms",
        "│     ├─ ✓ exec[1]                                                                0.3 ms",
        "│     ├─ ✓ exec[2]                                                                0.3 ms",
        "│     ├─ ✓ exec[3]                                                                0.3 ms",
        "│     ├─ ✓ exec[4]                                                                0.3 ms",
        "│     ├─ … 395 more items · 0.3 ms each",
        "│     ├─ ✗ exec[400]  attempt 1 of 2  ValueError: empty page                      0.3 ms",
        "│     ├─ … 598 more items · 0.3 ms each",
        "│     ├─ ✓ exec[998]                                                              0.3 ms",
        "│     └─ ✓ exec[999]                                                              0.3 ms",
        "└─ ✓ ReviewFlow  approved → no successor                                          119 ms",
        "   └─ ✓ Critique  approved                                                        108 ms",
    ] == picture(path)


def test_a_terminal_shows_when_each_span_ran(write, path):
    """On a wide terminal each span has a bar on a common time axis; no line is wider than the terminal."""
    run = Run(1, end_ns=None, status="success")
    run.record.end_ns = run.record.start_ns + 100_000_000
    run.span("flow", "F", 0, 100)
    run.span("node", "A", 0, 50)
    run.span("node", "B", 50, 75)
    run.span("node", "C", 100, 100)
    write(run)
    assert [
        f"✓ F        100 ms  {'━' * 32}",
        f"├─ ✓ A      50 ms  {'━' * 16}",
        f"├─ ✓ B      25 ms  {' ' * 16}{'━' * 8}",
        f"└─ ✓ C    <0.1 ms  {' ' * 31}╸",
    ] == picture(path, width=100, terminal=True)


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_no_line_is_wider_than_the_terminal(write, path, width):
    """Whatever the width, with inputs, outputs and state, no line of the tree breaks it."""
    run = agent_run(graph=GRAPH)
    run.spans[1].input = {"prompt": "lorem ipsum " * 50, "list": list(range(100)), "wide": "日本語" * 40}
    run.spans[1].name = "Very" * 30
    write(run)
    lines = picture(path, width=width, terminal=True, options=TreeOptions(io=True, state=True))
    assert width >= max(cell_len(line) for line in lines)


def test_a_terminal_without_unicode(write, path):
    """Where only ASCII can be shown, the picture is drawn in ASCII, and statuses still differ."""
    write(agent_run(items=1))
    lines = picture(path, encoding="ascii")
    assert "".join(lines).isascii()
    assert lines[1].startswith("|- ~ DecideAction")
    assert lines[3].startswith("|  |- x exec  attempt 1 of 3")


def test_all_items(write, path):
    """`--all` shows every item of a batch."""
    write(agent_run())
    assert 27 - 2 + 993 == len(picture(path, options=TreeOptions(everything=True)))


def test_inputs_outputs_and_state(write, path):
    """Values stand under their span: short ones on a line, long ones indented and cut, changes of shared with signs."""
    run = Run(1)
    run.span("flow", "F", 0, 10, input={"a": 1}, output="text", state={"seq": 0, "full": {"k": 1}})
    change = {"seq": 1, "added": {"new": [1]}, "changed": {"k": {"old": 1, "new": 2}}, "removed": ["gone"]}
    run.span("node", "N", 1, 2, input="\n".join(f"line {number}" for number in range(20)), state=change)
    write(run)
    assert [
        "✓ F         10 ms",
        '│  in  {"a": 1}',
        "│  out text",
        "│  = k 1",
        "└─ ✓ N     1.0 ms",
        "      in",
        *(f"        line {number}" for number in range(12)),
        "        … 8 more lines (--all shows them)",
        "      + new [1]",
        "      ~ k 1 → 2",
        "      - gone",
    ] == picture(path, options=TreeOptions(io=True, state=True))


def test_changes_inside_of_values(write, path):
    """A change that is recorded as places inside of a value is shown with those places."""
    run = Run(1)
    steps = [
        {"path": ["a", 0], "old": 1, "new": 2},
        {"path": ["b"], "added": "x"},
        {"path": ["c"], "removed": True},
        {"path": ["list"], "at": 3, "removed": 2, "added": [7, 8]},
    ]
    state = {"seq": 0, "full": {"k": 1}, "end": {"seq": 1, "changed": {"k": {"inside": steps}}, "unwatched": ["old"]}}
    run.span("flow", "F", 0, 10, state=state)
    write(run)
    assert [
        "= k 1",
        "~ k.a[0] 1 → 2",
        "+ k.b x",
        "- k.c",
        "- k.list[3:] 2 places",
        "+ k.list[3:] [7, 8]",
        "… old no longer watched",
    ] == [line.strip() for line in picture(path, options=TreeOptions(state=True))[1:]]


def test_an_interrupted_run_says_where(write, path):
    """A run whose process is gone says so, and names what was running."""
    run = small_run(status="running", end_ns=None, process_id=process_id(host="elsewhere"))
    run.spans[-1].status, run.spans[-1].end_ns = "running", None
    write(run, beat_ns=1)
    console = Console(file=io.StringIO(), width=200)
    found = Store(path).run("last")
    console.print(render_run(found, Store(path).spans(found.run_id), console))
    assert "The process that recorded it ended while Node1 was running." in console.file.getvalue()
    assert "└─ ‖ Node1" == picture(path)[-1]


def test_a_run_that_is_not_there_whole_says_so(write, path):
    """What there was no room for would else seem never to have happened."""
    run = small_run()
    run.spans[0].attributes["lost_spans"] = 1204
    write(run)
    said = "Parts of it are missing (1,204 spans, and what was in them): more was recorded than could be delivered."
    assert said in [line.strip() for line in whole(path)]


def test_an_error_stands_where_it_happened(write, path):
    """The message stands on the span that failed, not on those above it, even when the tracebacks are left out."""
    error = {"type": "ValueError", "message": "boom"}
    run = Run(1, status="error", error=error)
    root = run.span("flow", "F", 0, 10, status="error", error=error)
    node = run.span("node", "N", 0, 10, root, status="error", error=error)
    run.span("attempt", "N.exec", 0, 10, node, status="error", error={**error, "traceback": []})
    write(run)
    assert [False, False, True] == ["boom" in line for line in picture(path)]


def test_a_deep_run(write, path):
    """A very deep run is drawn without a RecursionError."""
    run, parent = Run(1), None
    for depth in range(1500):
        parent = run.span("flow", f"F{depth}", depth / 100, 100, parent)
    write(run)
    assert 1500 == len(picture(path, width=80, terminal=True))


class TestErrors:
    """Where an error happened."""

    TRACEBACK = (
        {"file": "/app/flow.py", "line": 13, "function": "Bad.exec", "code": "return helper(0)"},
        {"file": "/app/helper.py", "line": 3, "function": "helper", "code": "return client.get(x)"},
        {"file": "/v/lib/python3.11/site-packages/httpx/_client.py", "line": 9, "function": "get", "code": "raise"},
    )

    def failed(self, write, **error) -> None:
        run = Run(1, status="error")
        root = run.span("flow", "F", 0, 10, status="error")
        node = run.span("node", "Bad", 0, 10, root, status="error", error={"type": "E", "message": "m"})
        error = {"type": "E", "message": "m\nsecond", "traceback": list(self.TRACEBACK), **error}
        run.span("attempt", "Bad.exec", 0, 9, node, status="error", attributes={"attempt": 1}, error=error)
        again = {"type": "E", "message": "m\nsecond"}
        fallback = {"phase": "exec_fallback"}
        run.span("phase", "Bad.exec_fallback", 9, 10, node, status="error", attributes=fallback, error=again)
        write(run)

    def test_the_last_line_of_the_users(self, write, path):
        """Below a failed span stands the last line of its traceback that is the user's, once; its file from here."""
        self.failed(
            write, traceback=[{**frame, "file": f"{Path.cwd()}/src{frame['file']}"} for frame in self.TRACEBACK]
        )
        lines = picture(path)
        assert "           src/app/helper.py:3 in helper: return client.get(x)" == lines[3]
        assert 4 == len(lines)

    def test_a_file_elsewhere(self, write, path):
        """A file that is not below the working directory is shown with its folder."""
        self.failed(write)
        assert "           app/helper.py:3 in helper: return client.get(x)" == picture(path)[3]

    def test_all_lines(self, write, path):
        """With inputs and outputs all of the traceback is shown, the whole message, and what caused the error."""
        cause = {"type": "KeyError", "message": "'k'", "traceback": [{**self.TRACEBACK[0], "line": 2}]}
        self.failed(write, cause=cause)
        assert [
            "second",
            "/app/flow.py:13 in Bad.exec: return helper(0)",
            "/app/helper.py:3 in helper: return client.get(x)",
            "httpx/_client.py:9 in get: raise",
            "caused by KeyError: 'k'",
            "/app/flow.py:2 in Bad.exec: return helper(0)",
        ] == [line.strip() for line in picture(path, options=TreeOptions(io=True))[3:]]

    def test_a_fallback_that_only_raises_again(self, write, path):
        """PocketFlow's own fallback, which raises the same error again, is no line of its own, but with everything."""
        self.failed(write)
        assert not any("exec_fallback" in line for line in picture(path))
        assert any("exec_fallback" in line for line in picture(path, options=TreeOptions(everything=True)))


def test_nothing_but_the_guides_is_faint(write, path):
    """On a terminal names are bold and errors have their colour: the dimness of the guides stays with the guides."""
    write(agent_run(items=1))
    file = io.StringIO()
    console = Console(file=file, width=140, force_terminal=True, color_system="standard", soft_wrap=True, _environ={})
    run = Store(path).run("last")
    options = TreeOptions(io=True, state=True)
    console.print(render_run(run, Store(path).spans(run.run_id), console, options))
    parts = re.findall(r"\x1b\[([0-9;]+)m([^\x1b]*)\x1b\[0m|([^\x1b]+)", file.getvalue())
    styles = {text.strip(): style for style, text, _ in parts}
    assert "1" == styles["SearchWeb"]
    assert "33" == styles["TimeoutError: the model did not answer in 0.1 s"]
    assert "2" == styles["attempt 1 of 3"]
    assert any('{"answer": "Hopfield and Hinton"' in plain for _, _, plain in parts)


def test_scores_and_metadata(write, path):
    """Scores stand on the line of their span; metadata and comments are shown with inputs and outputs."""
    run = Run(1)
    run.span("flow", "F", 0, 10)
    scores = [{"name": "confidence", "value": 0.9, "comment": "sure"}, {"name": "kind", "value": "cat"}]
    run.span("node", "N", 1, 2, scores=scores, metadata={"engine": "x"})
    write(run)
    assert "└─ ✓ N  ★ confidence 0.9  ★ kind cat     1.0 ms" == picture(path)[1]
    assert ['meta {"engine": "x"}', "★ confidence: sure"] == [
        line.strip() for line in picture(path, options=TreeOptions(io=True))[2:]
    ]


def test_passes_show_their_parameters(write, path):
    """A pass of a batch flow shows its parameters, which stand on its nodes; long ones are cut."""
    run = Run(1)
    root = run.span("flow", "All", 0, 10)
    for index, params in enumerate(
        ({"file": "bad.csv", "factor": 2}, {"text": "x" * 100}, {f"k{n}": n for n in range(40)})
    ):
        one = run.span("pass", f"All[{index}]", index, index + 1, root, attributes={"item": index})
        run.span("node", "File", index, index + 1, one, attributes={"params": params})
    write(run)
    first, second, third = [line for line in picture(path) if "All[" in line]
    assert 'All[0] file="bad.csv" factor=2  ' in first
    assert f'All[1] text="{"x" * 29}…  ' in second
    assert "k0=0 k1=1" in third
    assert "…" in third
    assert 90 >= len(third)


def test_attempts_at_one_item_stand_together(write, path):
    """A parallel item that is tried again stands beside its first attempt, whatever came between."""
    run = Run(1)
    run.span("flow", "F", 0, 10)
    for start, item, attempt in ((0, 0, 1), (1, 1, 1), (2, 2, 1), (5, 0, 2)):
        status = "error" if (item, attempt) == (0, 1) else "success"
        facts = {"item": item, "attempt": attempt, "max_attempts": 2}
        run.span("attempt", f"N.exec[{item}]", start, start + 1, status=status, attributes=facts)
    write(run)
    assert ["exec[0]", "exec[0]", "exec[1]", "exec[2]"] == [line.split()[2] for line in picture(path)[1:]]


class TestValues:
    """Values below a span, on a terminal of 60 cells."""

    def shown(self, write, path, value, **options) -> list[str]:
        run = Run(1)
        run.span("flow", "F", 0, 10, input=value)
        write(run)
        return picture(path, width=60, terminal=True, options=TreeOptions(io=True, **options))[2:]

    def test_short_inner_values_stand_on_one_line(self, write, path):
        """Inner lists and dicts that fit stand on one line, numbers beside each other; it is JSON all the same."""
        value = {"rows": [[1, 2, 3]] * 4, "numbers": list(range(40)), "point": {"x": 1, "y": [2]}, "é": "z" * 30}
        lines = self.shown(write, path, value)
        assert '     {"rows": [[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]],' == lines[0]
        assert 9 >= len(lines)
        assert value == json.loads("".join(lines))

    def test_a_key_and_its_value_stand_on_one_line_or_are_opened(self, write, path):
        """What fits on a line without its key, but not with it, is opened, not broken."""
        lines = self.shown(write, path, {"shared": {"sources": ["a" * 20, "b" * 20]}, "x": 1})
        assert ['{"shared": {', '"sources": [', f'"{"a" * 20}", "{"b" * 20}"', "]", "},"] == [
            line.strip() for line in lines[:5]
        ]

    def test_each_key_has_its_lines(self, write, path):
        """A long value does not hide the one that follows it."""
        lines = self.shown(
            write, path, {"prep_res": [f"{n} {'x' * 40}" for n in range(30)], "exec_res": "what came out"}
        )
        assert "more lines (--all shows them)" in lines[-2]
        assert "exec_res" in lines[-1]

    @pytest.mark.parametrize(("number", "shown"), [(15, 15), (16, 13)])
    def test_few_lines_are_not_hidden(self, write, path, number, shown):
        """Three lines are shown rather than hidden."""
        assert shown == len(self.shown(write, path, "\n".join(f"line {n}" for n in range(number))))

    def test_many_keys(self, write, path):
        """Of very many keys the first are shown, with `--all` every one."""
        value = {f"key{n}": n for n in range(100)}
        assert "… 80 more keys (--all shows them)" in self.shown(write, path, value)[-1]
        assert value == json.loads("".join(self.shown(write, path, value, everything=True)))


def test_no_name_forges_a_line(write, path):
    """Sessions, users and names may come from a web request; a line break in one is shown as a sign."""
    forged = "x\nFAKE LINE ✓ all good"
    run = small_run(1, forged, session_id=forged, user_id=forged, version=forged, tags=[forged])
    run.spans[0].scores = [{"name": forged, "value": 1.0}]
    run.spans[1].name = forged
    run.spans[1].state = {"seq": 1, "full": {forged: 1}}
    run.spans[1].error = {
        "type": forged,
        "message": forged,
        "notes": [forged],
        "traceback": [{"file": forged, "line": 1, "function": forged}],
    }
    write(run)
    lines = whole(path, options=TreeOptions(io=True, state=True, everything=True))
    assert any("x⏎FAKE LINE" in line for line in lines)
    assert not [line for line in lines if line.startswith("FAKE")]
