"""Each example as a user runs it: into the local store without an account, into Langfuse with one."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from collector import Collector

from pocketflow_tracing.store import Store, build_tree

EXAMPLES = Path(__file__).parents[2] / "examples"


class Expected:
    """What an example prints, the status of its runs, and their trees, one after the other."""

    def __init__(self, output, statuses, tree):
        self.output = dedent(output).lstrip()
        self.statuses = statuses
        self.tree = dedent(tree).strip()
        self.spans = len(self.tree.splitlines())


EXPECTED = {
    "customer_support": Expected(
        """
        [billing] Sorry about that, Ada. We have refunded the second charge.
        [technical] Thank you, Bob. Version 2.1 fixes this crash; please update.
        [general] Thank you for your question, Ada. A colleague will answer it today.
        """,
        ["success", "success", "success"],
        """
        CustomerSupportTicketAnalysis
          ClassifyTicket
            ClassifyTicket.prep
            ClassifyTicket.exec
            ClassifyTicket.post
          AnswerBilling
            AnswerBilling.prep
            AnswerBilling.exec
            AnswerBilling.post
        CustomerSupportTicketAnalysis
          ClassifyTicket
            ClassifyTicket.prep
            ClassifyTicket.exec
            ClassifyTicket.post
          AnswerTechnical
            AnswerTechnical.prep
            AnswerTechnical.exec
            AnswerTechnical.post
        CustomerSupportTicketAnalysis
          ClassifyTicket
            ClassifyTicket.prep
            ClassifyTicket.exec
            ClassifyTicket.post
          AnswerTicket
            AnswerTicket.prep
            AnswerTicket.exec
            AnswerTicket.post
        """,
    ),
    "async_fetch": Expected(
        """
        Sentences per page: {'/home': 2, '/about': 3, '/shop': 2}
        """,
        ["recovered"],
        """
        FetchFlow
          FetchPages
            FetchPages.prep
            FetchPages.exec
              FetchPages.exec[0]
              FetchPages.exec[1]
              FetchPages.exec[2]
              FetchPages.exec[2]
            FetchPages.post
          CountSentences
            CountSentences.prep
            CountSentences.exec
            CountSentences.post
        """,
    ),
    "agent_loop": Expected(
        """
        Which is higher, the Eiffel Tower or Big Ben? It is the Eiffel Tower, with 330 metres.
        """,
        ["success"],
        """
        ResearchAgent
          DecideAction
            DecideAction.prep
            DecideAction.exec
            DecideAction.post
          SearchWeb
            SearchWeb.prep
            SearchWeb.exec
            SearchWeb.post
          DecideAction
            DecideAction.prep
            DecideAction.exec
            DecideAction.post
          SearchWeb
            SearchWeb.prep
            SearchWeb.exec
            SearchWeb.post
          DecideAction
            DecideAction.prep
            DecideAction.exec
            DecideAction.post
          AnswerQuestion
            AnswerQuestion.prep
            AnswerQuestion.exec
            AnswerQuestion.post
        """,
    ),
    "map_reduce": Expected(
        """
        Scores: {'Ada': 14, 'Bob': 2, 'Cid': 0, 'Dot': 7}
        Shortlist: Ada, Dot
        """,
        ["recovered"],
        """
        ResumeScreening
          ReadResumes
            ReadResumes.prep
            ReadResumes.exec
            ReadResumes.post
          ScoreResumes
            ScoreResumes.prep
            ScoreResumes.exec
              ScoreResumes.exec[0]
              ScoreResumes.exec[1]
              ScoreResumes.exec[2]
              ScoreResumes.exec[2]
              ScoreResumes.exec_fallback[2]
              ScoreResumes.exec[3]
            ScoreResumes.post
          Shortlist
            Shortlist.prep
            Shortlist.exec
            Shortlist.post
        """,
    ),
    "nested_batch": Expected(
        """
        farewell in French: bon nuit
        farewell in German: gute Nacht
        greeting in French: bon matin
        greeting in German: gute Morgen
        """,
        ["success"],
        """
        TranslateLibrary
          TranslateLibrary.prep
          TranslateLibrary[0]
            LoadDocument
              LoadDocument.prep
              LoadDocument.exec
              LoadDocument.post
            EachLanguage
              EachLanguage.prep
              EachLanguage[0]
                TranslateDocument
                  TranslateDocument.prep
                  TranslateDocument.exec
                  TranslateDocument.post
              EachLanguage[1]
                TranslateDocument
                  TranslateDocument.prep
                  TranslateDocument.exec
                  TranslateDocument.post
          TranslateLibrary[1]
            LoadDocument
              LoadDocument.prep
              LoadDocument.exec
              LoadDocument.post
            EachLanguage
              EachLanguage.prep
              EachLanguage[0]
                TranslateDocument
                  TranslateDocument.prep
                  TranslateDocument.exec
                  TranslateDocument.post
              EachLanguage[1]
                TranslateDocument
                  TranslateDocument.prep
                  TranslateDocument.exec
                  TranslateDocument.post
        """,
    ),
    "llm_generation": Expected(
        """
        Answer: A flow is a graph of nodes that share one dictionary.
        """,
        ["success"],
        """
        AskAboutPocketFlow
          Flow
            AskModel
              AskModel.prep
              AskModel.exec
                stand-in-model
              AskModel.post
            CheckAnswer
              CheckAnswer.prep
              CheckAnswer.exec
              CheckAnswer.post
        """,
    ),
}

DEMO_TREE = dedent(
    """
    ResearchAssistant
      DecideNextStep
        DecideNextStep.prep
        DecideNextStep.exec
        DecideNextStep.post
      SearchWeb
        SearchWeb.prep
        SearchWeb.exec
        SearchWeb.exec
        SearchWeb.exec
        SearchWeb.post
      ReadSources
        ReadSources.prep
        ReadSources.exec
          ReadSources.exec[0]
          ReadSources.exec[1]
          ReadSources.exec[2]
        ReadSources.post
      DecideNextStep
        DecideNextStep.prep
        DecideNextStep.exec
        DecideNextStep.post
      DraftSections
        DraftSections.prep
        DraftSections.exec
          DraftSections.exec[0]
          DraftSections.exec[1]
          DraftSections.exec[2]
        DraftSections.post
      CheckFacts
        CheckFacts.prep
        CheckFacts.exec
        CheckFacts.exec
        CheckFacts.exec_fallback
        CheckFacts.post
      EditBrief
        Proofread
          Proofread.prep
          Proofread.exec
          Proofread.post
        PublishBrief
          PublishBrief.prep
          PublishBrief.exec
          PublishBrief.post
    """
).strip()


def run(folder, *arguments, **environ):
    """Run Python in a folder of its own, with no settings but those given; what it printed."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LANGFUSE_", "POCKETFLOW_", "OTEL_", "OPENAI_"))
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [
        line
        for line in done.stderr.splitlines()
        if not line.startswith(
            (
                "pocketflow-tracing: No Langfuse keys are set, so runs are recorded in",
                "Authentication error: Langfuse client initialized without public_key.",  # the SDK, as it does untraced
            )
        )
    ]
    assert (0, []) == (done.returncode, said)
    return done.stdout


def outline(tree, depth=0):
    """Nested tuples of names as indented lines."""
    for entry in tree:
        name, *children = entry if isinstance(entry, tuple) else (entry,)
        yield "  " * depth + name
        yield from outline(children, depth + 1)


def stored(path):
    """The runs of a store, the oldest first, and their trees as indented lines."""
    store = Store(path)
    runs = store.runs(limit=None)[::-1]
    lines = []
    for row in runs:
        spans = store.spans(row.run_id)
        ids = {span.span_id for span in spans}
        assert [row.run_id] == [span.span_id for span in spans if span.parent_id not in ids]
        assert [] == [span.name for span in spans if span.end_ns is None or span.end_ns < span.start_ns]
        lines += ["  " * depth + node.span.name for depth, node in build_tree(row, spans).walk()]
    return runs, "\n".join(lines)


def test_every_example_is_tested():
    """A new example needs its entry here and its line in the examples' README."""
    programs = {path.stem for path in EXAMPLES.glob("*.py")}

    assert programs == set(EXPECTED)
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    assert [] == [name for name in programs if f"[{name}.py]({name}.py)" not in readme]


@pytest.mark.parametrize("name", EXPECTED)
def test_without_an_account(name, tmp_path):
    """An example prints its result and nothing else, and its runs stand in the store below the working directory."""
    expected = EXPECTED[name]

    output = run(tmp_path, str(EXAMPLES / f"{name}.py"))

    runs, tree = stored(tmp_path / ".pocketflow" / "traces.db")
    assert expected.output == output
    assert expected.tree == tree
    assert expected.statuses == [row.status for row in runs]


@pytest.mark.parametrize("name", EXPECTED)
def test_with_langfuse(name, tmp_path):
    """With credentials the same tree reaches Langfuse, whole and once, and no store is made."""
    expected = EXPECTED[name]
    with Collector() as collector:
        output = run(tmp_path, str(EXAMPLES / f"{name}.py"), **collector.environ)
        spans = collector.wait_for(expected.spans)

    assert output.endswith(expected.output)
    assert expected.tree == "\n".join(outline(collector.tree()))
    assert [] == collector.problems()
    assert [] == collector.duplicates
    assert len(expected.statuses) == len({span.trace_id for span in spans})
    assert not (tmp_path / ".pocketflow").exists()


def test_generation_without_an_account(tmp_path):
    """The generation in the store has its model and tokens."""
    run(tmp_path, str(EXAMPLES / "llm_generation.py"))

    store = Store(tmp_path / ".pocketflow" / "traces.db")
    (generation,) = [span for span in store.spans(store.run("last").run_id) if span.name == "stand-in-model"]
    assert ("external", "stand-in-1") == (generation.kind, generation.model)
    assert {"input": 6, "output": 11} == {key: generation.usage[key] for key in ("input", "output")}


def test_score_with_langfuse(tmp_path):
    """The score that a node adds arrives too, and belongs to that node."""
    with Collector() as collector:
        run(tmp_path, str(EXAMPLES / "agent_loop.py"), **collector.environ)
        collector.wait_for(lambda collector: collector.scores())
        (node,) = [span for span in collector.spans() if span.name == "AnswerQuestion"]

    (score,) = collector.scores()
    assert ("facts_used", 2, "more is better") == (score["name"], score["value"], score["comment"])
    assert (node.trace_id, node.span_id) == (score["traceId"], score["observationId"])


def test_trace_url_with_langfuse(tmp_path):
    """The URL that an example prints leads to the trace that arrived."""
    with Collector() as collector:
        output = run(tmp_path, str(EXAMPLES / "llm_generation.py"), **collector.environ)
        trace_id = collector.wait_for(1)[0].trace_id

    label, _, url = output.splitlines()[0].partition(" ")
    assert "Trace:" == label
    assert url.startswith(collector.url)
    assert url.endswith(trace_id)


def test_demo(tmp_path):
    """The demo records one run with everything a trace can show, and returns its trace id."""
    program = "from pocketflow_tracing.demo import run_demo; print(run_demo('demo.db'))"

    trace_id = run(tmp_path, "-c", program).strip()

    (row,), tree = stored(tmp_path / "demo.db")
    assert trace_id == row.trace_id
    assert ("recovered", ["demo"]) == (row.status, row.tags)
    assert DEMO_TREE == tree
    assert row.end_ns - row.start_ns < 1_500_000_000


def test_demo_errors_lead_to_their_line(tmp_path):
    """An error of the demo shows where it happened, as an error in a user's own file does."""
    run(tmp_path, "-c", "from pocketflow_tracing.demo import run_demo; run_demo('demo.db')")

    store = Store(tmp_path / "demo.db")
    spans = store.spans(store.run("last").run_id)
    (_, error) = [span.error for span in spans if span.name == "CheckFacts.exec"]
    frame = error["traceback"][-1]
    assert "demo.py" == Path(frame["file"]).name
    assert frame["function"].endswith("exec")  # with the class before it where Python knows it (3.11)
