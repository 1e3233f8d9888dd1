"""Every page in light and dark, narrow and wide: nothing sticks out, everything can be read, and pictures for the eye."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from pocketflow_tracing.store import Store
from pocketflow_tracing.viewer.shell import STATIC

SCREENSHOTS = Path(__file__).parents[2] / "docs" / "screenshots"

# Contrast as WCAG 2.1 counts it, for every element with text of its own; names for every control.
CHECK = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((part, at) => part * top[3] + below[at] * (1 - top[3]));
  const light = (color) => color.map((part) => part / 255).map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] > 0) layers.push(color);
      if (color[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const found = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getBoundingClientRect().width > 2;
  for (const element of document.querySelectorAll("body *:not(svg *):not(option):not(script)")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || !shown(element)) continue;
    const style = getComputedStyle(element);
    const back = ground(element);
    const front = over(rgba(style.color), back);
    const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.6 && Number(style.fontWeight) >= 700);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${element.tagName}.${element.className} "${element.textContent.trim().slice(0, 30)}"`);
  }
  for (const control of document.querySelectorAll("button, a[href], input, select, [role=tab], [role=treeitem], [role=slider]")) {
    const name = control.getAttribute("aria-label") || control.textContent.trim() || control.labels?.[0]?.textContent.trim();
    if (shown(control) && !name) found.push(`no name: ${control.outerHTML.slice(0, 120)}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push(`the page is ${document.documentElement.scrollWidth} px wide, the window ${innerWidth}`);
  return found;
}"""


def addresses(made):
    demo, examples, killed, hostile, failing = map(made, ("demo", "examples", "killed", "hostile", "failing"))
    asked = next(run for run in Store(examples).runs() if run.tokens)
    model = next(span.span_id for span in Store(examples).spans(asked.run_id, payload=False) if span.kind == "external")
    last, before = (run.run_id for run in Store(demo).runs(limit=2))
    tickets = [run.run_id for run in Store(examples).runs() if run.name.startswith("CustomerSupport")]
    attempt = next(
        span.span_id for span in Store(demo).spans(last, payload=False) if span.attributes.get("level") == "WARNING"
    )
    return {
        "runs": (demo, "/", "table.runs tbody tr"),
        "runs-examples": (examples, "/", "table.runs tbody tr"),
        "none": (demo.with_name("none.db"), "/", ".empty"),
        "run": (demo, f"/runs/{last}?span={attempt}", ".error-box"),
        "graph": (demo, f"/runs/{last}?view=graph", ".graph-node"),
        "state": (demo, f"/runs/{last}?view=state&step=3&key=notes", ".writes li"),
        "hostile": (hostile, f"/runs/{Store(hostile).run('last').run_id}", ".tree-row"),
        "hostile-state": (hostile, f"/runs/{Store(hostile).run('last').run_id}?view=state", ".key-row"),
        "hostile-runs": (hostile, "/", "table.runs tbody tr"),
        "failing": (failing, f"/runs/{Store(failing).run('last').run_id}", ".run-problem"),
        "generation": (examples, f"/runs/{asked.run_id}?span={model}", ".generation-mark"),
        "interrupted": (killed, f"/runs/{Store(killed).run('last').run_id}", ".run-problem"),
        "compare": (examples, f"/compare?left={tickets[1]}&right={tickets[0]}", ".pairs"),
        "compare-same": (demo, f"/compare?left={before}&right={last}", ".pairs"),
        "compare-choose": (examples, "/compare", "table.runs"),
        "nodes": (demo, "/nodes?flow=ResearchAssistant", "table.nodes"),
        "no-run": (demo, "/runs/ffff", ".empty"),
        "nowhere": (demo, "/nowhere", ".empty"),
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tmp_path_factory.mktemp("screenshots")


@pytest.mark.parametrize(("width", "theme"), [(360, "light"), (768, "dark"), (1440, "light"), (1440, "dark")])
def test_every_page_can_be_read(opened, serve, made, pictures, theme, width):
    """AA contrast, a name for every control, no sideways scrolling; the pictures are kept in a temporary folder."""
    found = {}
    page = opened("about:blank", width=width, height=780 if width < 600 else 900, theme=theme, accepts="404")
    for name, (store, address, ready) in addresses(made).items():
        page.goto(serve(store) + address)
        expect(page.locator(ready).first).to_be_visible()
        expect(page.locator(".waiting, .figures:empty:not([hidden])")).to_have_count(0)
        page.screenshot(path=pictures / f"{name}-{theme}-{width}.png")
        if complaints := page.evaluate(CHECK):
            found[name] = complaints
    assert {} == found


TONES = ("success", "recovered", "error", "cancelled", "running", "interrupted")
TEXTS = {
    **{tone: (f"{tone}-ground", "surface", "ground", "sunken", "hover") for tone in TONES},
    "ink": ("surface", "ground", "sunken", "hover", "raised"),
    "quiet": ("surface", "ground", "sunken", "hover", "raised", "accent-ground"),
    "accent": ("surface", "ground", "sunken", "hover", "accent-ground"),
    "on-accent": ("accent",),
    "generation": ("surface", "hover"),
}


def light(color):
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    parts = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_can_be_read_on_what_it_stands_on(theme):
    """WCAG 2.1 AA for all pairs of the palette, also those that a picture draws: texts 4.5 to 1, edges of controls 3 to 1."""
    style = (STATIC / "base.css").read_text(encoding="utf-8")
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", style)
    colours = {name: dark if theme == "dark" else bright for name, bright, dark in found}
    pairs = {(text, ground): 4.5 for text, grounds in TEXTS.items() for ground in grounds}
    pairs |= {("control", ground): 3.0 for ground in ("surface", "ground", "sunken")}
    low = {pair: contrast(*(colours[name] for name in pair)) for pair in pairs}
    assert {} == {pair: round(value, 2) for pair, value in low.items() if value < pairs[pair]}


def test_pictures_for_the_readme(opened, serve, made, pictures):
    """The README's pictures come from the demo; UPDATE_SCREENSHOTS=1 writes them where the README looks."""
    folder = SCREENSHOTS if os.environ.get("UPDATE_SCREENSHOTS") else pictures / "readme"
    folder.mkdir(parents=True, exist_ok=True)
    pages = addresses(made) | {"runs": (made("showcase"), "/", "table.runs tbody tr")}
    for picture in ("runs", "run", "graph", "state"):
        store, address, ready = pages[picture]
        page = opened(serve(store) + address, width=1280, height=800)
        expect(page.locator(ready).first).to_be_visible()
        expect(page.locator(".waiting, .figures:empty:not([hidden])")).to_have_count(0)
        page.screenshot(path=folder / f"{picture}.png")
        assert 20_000 < (folder / f"{picture}.png").stat().st_size < 400_000
