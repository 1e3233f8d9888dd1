// The page of a run: heading, three views of the same thing, and the selected span beside them.

import { announce, copyText, fill, h, icon, redrawn, statusMark, visible } from "./dom.js";
import { ago, counted, duration, grouped, moment, money } from "./words.js";
import { GraphView } from "./graph.js";
import { Panel } from "./panel.js";
import { RunModel, isProblem, wasSaved } from "./tree.js";
import { StateView } from "./state.js";
import { Timeline } from "./timeline.js";

const VIEWS = [["timeline", "Timeline"], ["graph", "Graph"], ["state", "State"]];

/** Draws the page into `main`; returns what the entry needs to keep it up to date. */
export async function showRun(main, source, { offline = false } = {}) {
  const model = new RunModel();
  model.take(await source.load());
  const query = new URLSearchParams(offline ? location.hash.slice(1) : location.search);
  const at = { view: VIEWS.some(([name]) => name === query.get("view")) ? query.get("view") : "timeline", span: query.get("span"), step: query.get("step"), key: query.get("key") };

  const heading = h("header", { class: "run-head" });
  const stage = h("div", { class: "stage", id: "stage", role: "tabpanel" });
  const timeline = new Timeline(model, (id) => select(id));
  const graph = new GraphView(model, (id) => select(id));
  const state = new StateView(model, source, {
    step: (step, id) => { at.step = String(step); if (id) select(id, { quietly: true }); else remember(); },
    key: (key) => { at.key = key; remember(); },
    open: (id) => { show("timeline"); select(id); },
  });
  const panel = new Panel(model, source, {
    step: (by) => timeline.step(by),
    select: (id) => select(id),
    close: () => select(null),
    key: (key, id) => { at.key = state.key = key; state.step = null; at.span = id; show("state"); },
  });
  const tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Views" }, VIEWS.map(([name, label], number) =>
    h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "stage", title: `${label} (${number + 1})`, onclick: () => show(name) }, label)));
  const body = h("div", { class: "run-body" }, h("div", { class: "run-main" }, stage), panel.element);
  main.classList.add("page-run");
  fill(main, h("div", { class: "run-top" }, heading, tabs), body);

  function remember() {
    const kept = new URLSearchParams();
    if (at.view !== "timeline") kept.set("view", at.view);
    if (at.span) kept.set("span", at.span);
    if (at.view === "state" && at.step !== null) kept.set("step", at.step);
    if (at.view === "state" && at.key) kept.set("key", at.key);
    const text = kept.toString();
    if (offline) history.replaceState(null, "", text ? `#${text}` : location.pathname);
    else history.replaceState(null, "", text ? `?${text}` : location.pathname);
  }

  async function show(name) {
    at.view = name;
    for (const tab of tabs.children) {
      const chosen = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    stage.setAttribute("aria-labelledby", `tab-${name}`);
    fill(stage, { timeline, graph, state }[name].element);
    remember();
    await refreshView();
    if (at.span && name !== "state") ({ timeline, graph })[name].reveal(at.span);
  }

  async function refreshView() {
    if (at.view === "timeline") timeline.refresh();
    else if (at.view === "graph") graph.refresh();
    else {
      if (state.steps === null) {
        await state.load();
        if (at.step !== null) state.step = Number(at.step) || 0;
        state.key = at.key;
      }
      if (state.step === null && at.span) state.reveal(at.span);
      await state.refresh();
    }
  }

  function select(id, { quietly = false } = {}) {
    at.span = id;
    body.classList.toggle("with-panel", Boolean(id));
    if (!quietly || innerWidth > 1000) panel.show(id);
    timeline.selected = id;
    graph.selected = id;
    if (at.view === "timeline") id ? timeline.reveal(id) : timeline.redraw();
    else if (at.view === "graph") id ? graph.reveal(id) : graph.refresh();
    else if (id && !quietly) state.reveal(id);
    // On a small screen the panel covers the lower half: what was selected has to stand above it.
    if (id && !quietly && innerWidth <= 1000) body.scrollIntoView({ block: "start" });
    remember();
  }

  function drawHeading() {
    const { run } = model;
    document.title = visible(`${run.name} · ${run.status}`);
    const facts = [[counted(run.nodes, "node visit")], [counted(run.attempts, "attempt")]];
    if (run.tokens) facts.push([counted(run.tokens, "token")]);
    if (run.cost !== null) facts.push([money(run.cost)]);
    for (const [name, value] of [["session", run.session], ["user", run.user], ["version", run.version], ["environment", run.environment], ["release", run.release]]) {
      if (value) facts.push([`${name} `, offline || !["session", "user"].includes(name) ? value : h("a", { href: `/?${new URLSearchParams({ [name]: value })}` }, value)]);
    }
    const older = model.neighbours?.older;
    fill(heading,
      h("div", { class: "run-title" },
        statusMark(run.status, { word: true }), h("h1", {}, run.name || "(unnamed)"), h("strong", { class: "run-took" }, tookWords(run)),
        h("time", { class: "quiet", datetime: new Date(run.start).toISOString(), title: moment(run.start) }, `${moment(run.start)} (${ago(run.start)})`),
        h("span", { class: "spring" }),
        offline ? null : h("a", { class: "button small", href: `/nodes?${new URLSearchParams({ flow: run.name })}` }, "Node figures"),
        !offline && older ? h("a", { class: "button small", href: `/compare?left=${older}&right=${run.id}` }, "Compare with previous") : null),
      h("div", { class: "run-facts" },
        facts.map((parts) => h("span", {}, parts)), run.tags.map((tag) => h("span", { class: "tag" }, tag)),
        h("button", { type: "button", class: "text-button mono", title: "Copy the run id", onclick: (event) => copyText(run.id, event.currentTarget) }, run.id)),
      Object.keys(run.metadata ?? {}).length ? h("p", { class: "run-facts" }, Object.entries(run.metadata).map(([name, value]) => h("span", {}, `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`))) : null,
      run.error ? problemLine("error", run.error, (span) => isProblem(span) && !wasSaved(span) && span.status === "error") : null,
      run.status === "interrupted" ? problemLine("interrupted", interruptedSentence(), (span) => span === lastOpen()) : null,
      model.root?.facts.lost_spans ? problemLine("recovered", missingSentence(model.root.facts.lost_spans), () => false) : null);
  }

  const tookWords = (run) => (run.took !== null ? duration(run.took) : run.status === "running" ? `running for ${duration((Date.now() - run.start) * 1000)}` : "");

  /** What went wrong in the whole run, and the way to where it did. */
  function problemLine(status, sentence, wanted) {
    const place = [...model.spans.values()].find(wanted);
    return h("p", { class: `run-problem status-${status} toned` }, icon(status), h("span", {}, sentence), " ",
      place && place !== model.root ? h("button", { type: "button", class: "text-button", onclick: () => { show("timeline"); select(place.id); } }, "Show where") : null);
  }

  const lastOpen = () => [...model.spans.values()].filter((span) => span.status === "interrupted" && span !== model.root).sort((a, b) => b.start - a.start)[0];

  function interruptedSentence() {
    const open = lastOpen();
    return `The process that recorded it ended${open ? ` while ${open.name} was running` : ""}.`;
  }

  const missingSentence = (lost) => `Parts of it are missing (${counted(lost, "span")}, and what was in them): more was recorded than could be delivered.`;

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select")) return;
    const keys = {
      j: () => timeline.step(1), k: () => timeline.step(-1), e: () => timeline.step(1, isProblem), Escape: () => select(null),
      1: () => show("timeline"), 2: () => show("graph"), 3: () => show("state"),
      "+": () => timeline.zoom(1.6), "-": () => timeline.zoom(1 / 1.6), 0: () => { timeline.time.fit(); timeline.rescale(); },
      "/": () => { if (at.view === "timeline") timeline.search.focus(); },
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  tabs.addEventListener("keydown", (event) => {
    const number = VIEWS.findIndex(([name]) => name === at.view);
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const [name] = VIEWS[(number + by + VIEWS.length) % VIEWS.length];
    show(name);
    document.getElementById(`tab-${name}`).focus();
  });

  drawHeading();
  body.classList.toggle("with-panel", Boolean(at.span));
  timeline.selected = graph.selected = at.span;
  await show(at.view);
  panel.show(at.span);

  return {
    model,
    /** Takes an answer in and draws what it changes. */
    async update(answer) {
      const before = model.run.status;
      if (answer) model.take(answer);
      if (answer) redrawn(heading, drawHeading);
      else fill(heading.querySelector(".run-took"), tookWords(model.run));
      if (model.run.status !== before) announce(`The run ended: ${model.run.status}`);
      await refreshView();
      if (answer && at.span && model.spans.get(at.span)) panel.show(at.span, { again: true });
    },
  };
}
