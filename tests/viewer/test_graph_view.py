"""The graph of a run, in a browser."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from store.sample import Run, now_ns

from pocketflow_tracing.store import Store, StoreWriter


def test_the_graph_shows_the_path(demo):
    """Visits at their steps, counts, recovered nodes, the nested flow as a box; a click selects the visit."""
    page = demo("?view=graph")
    nodes = page.locator(".graph-node")
    expect(nodes).to_have_count(8)
    decide = page.get_by_role("button", name=re.compile("^DecideNextStep, start: 2 visits"))
    expect(decide).to_contain_text("\u00d72")
    expect(page.get_by_role("button", name=re.compile("^CheckFacts.*recovered"))).to_be_visible()
    expect(page.locator(".graph-node.box")).to_contain_text("PublishBrief")
    expect(page.locator(".edge.untaken")).to_have_count(0)
    expect(page.locator(".edge-label.taken").filter(has_text="search")).to_have_count(1)
    decide.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_contain_text("step 1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_contain_text("step 4 · visit 2")


def test_edges_never_taken_are_dimmed(opened, serve, made):
    """A support ticket goes one way; the two other answers stand there unvisited."""
    path = made("examples")
    run = next(run for run in Store(path).runs() if run.name.startswith("CustomerSupport"))
    page = opened(f"{serve(path)}/runs/{run.run_id}?view=graph")
    expect(page.locator(".edge.taken")).to_have_count(1)
    expect(page.locator(".edge.untaken")).to_have_count(2)
    expect(page.locator(".graph-node.unvisited")).to_have_count(2)


def test_texts_stay_in_their_boxes(opened, serve, tmp_path):
    """Long names are cut, and of many visits as many steps are shown as there is room for, beside the times."""
    path = tmp_path / "traces.db"
    run = Run(1, "Loop", start_ns=now_ns())
    names = ("Count", "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW", "iiiiiiiiiiiiiiiiiiiiiiii")
    edges = [
        {"from": names[at - 1], "action": "an action with a name of many, many words", "to": name}
        for at, name in enumerate(names)
    ]
    nodes = [{"id": name, "name": name, "kind": "node", "class": name} for name in names]
    run.record.graph = {"flows": [{"id": "Loop", "name": "Loop", "start": "Count", "nodes": nodes, "edges": edges}]}
    run.span("flow", "Loop", 0, 1200)
    for step in range(1, 1200):
        edge = edges[step % 3]
        run.span(
            "node",
            edge["from"],
            step,
            step + 1,
            attributes={
                "node": edge["from"],
                "visit": step // 3 + 1,
                "step": step,
                "action": edge["action"],
                "successor": edge["to"],
            },
        )
    StoreWriter(path).write([run.record], run.spans)
    page = opened(f"{serve(path)}/runs/{run.run_id}?view=graph")
    expect(page.locator(".graph-node")).to_have_count(3)
    outside = page.evaluate("""() => [...document.querySelectorAll(".graph-node, .edge-label")].flatMap((group) => {
      const box = group.querySelector("rect").getBoundingClientRect();
      const texts = [...group.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
      const out = texts.filter(([, at]) => at.left < box.left || at.right > box.right).map(([text]) => text);
      const note = group.querySelector(".node-note")?.getBoundingClientRect();
      return [...out, ...[...group.querySelectorAll(".step-chip")].filter((chip) => chip.getBoundingClientRect().right > note.left).map((chip) => chip.textContent)];
    })""")
    assert [] == outside
