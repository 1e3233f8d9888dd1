// The list of runs: figures, filters, rows; new and running runs appear by themselves.

import { announce, fill, h, icon, redrawn, statusMark } from "./dom.js";
import { ago, counted, duration, grouped, moment, money } from "./words.js";
import { ask, follow } from "./data.js";
import { command, emptyState, facts, frame } from "./chrome.js";
import { figuresOf, flowsOf } from "./figures.js";
import { filterBar, filtersFrom, filtersInto } from "./filters.js";

const PAGE = 50;
const MOST = 500;
const QUIET = 10_000; // ms between two announcements

const { main, tell } = frame("runs");
const state = { filters: filtersFrom(location.search), runs: [], next: null, seen: null, chosen: [], loaded: false, untold: [], toldAt: 0 };

const figures = h("section", { class: "figures", "aria-label": "Figures" });
const flows = h("details", { class: "flows", hidden: true });
const list = h("section", { class: "run-list", "aria-label": "Runs" });
const problem = h("p", { class: "problem", role: "alert", hidden: true });
const bar = filterBar(state.filters, (filters) => {
  state.filters = filters;
  history.replaceState(null, "", filtersInto(filters));
  reload();
});

main.append(h("h1", { class: "off-screen" }, "Runs"), figures, flows, bar.element, problem, list);

async function reload() {
  state.seen = null;
  list.classList.add("waiting");
  await look();
  list.classList.remove("waiting");
}

/** Reads the newest runs again; returns whether anything was new. */
async function look() {
  const filters = state.filters;
  try {
    const limit = Math.min(MOST, Math.max(PAGE, state.runs.length));
    const answer = await ask("/api/runs", { ...filters, limit, seen: state.seen });
    tell("live", "New and running runs appear by themselves.");
    problem.hidden = true;
    if (!answer || filters !== state.filters) return state.runs.some((run) => run.status === "running");
    takeIn(answer, limit);
    draw();
    measure();
    return true;
  } catch (error) {
    if (error.status === undefined) throw error; // a fault of this script
    tell(error.status ? "waiting" : "offline", error.message);
    showProblem(error);
    return false;
  }
}

function takeIn(answer, limit) {
  const known = new Set(state.runs.map((run) => run.id));
  const fresh = answer.runs.filter((run) => !known.has(run.id));
  if (state.loaded && state.seen) tellNew(fresh);
  for (const run of fresh) run.fresh = state.loaded && state.seen !== null;
  const last = answer.runs.at(-1);
  const older = state.seen !== null && limit === MOST && last ? state.runs.filter((run) => run.start < last.start) : [];
  state.runs = [...answer.runs, ...older];
  if (!older.length) state.next = answer.next;
  Object.assign(state, { seen: answer.state, loaded: true });
}

/** Tells screen readers of new runs, but not of each one when many come. */
function tellNew(fresh) {
  state.untold.push(...fresh.map((run) => run.name));
  const now = Date.now();
  if (!state.untold.length || now - state.toldAt < QUIET) return;
  announce(`${counted(state.untold.length, "new run")}: ${state.untold.at(-1)}`);
  Object.assign(state, { untold: [], toldAt: now });
}

async function showOlder(button) {
  button.disabled = true;
  const answer = await ask("/api/runs", { ...state.filters, limit: PAGE, before: state.next });
  state.runs.push(...answer.runs);
  state.next = answer.next;
  state.seen = null;
  draw();
  list.querySelectorAll("tbody a.run-link")[state.runs.length - answer.runs.length]?.focus();
}

async function measure() {
  const filters = state.filters;
  try {
    const answer = await ask("/api/figures", filters);
    if (filters !== state.filters) return;
    fill(figures, figuresOf(answer.total));
    redrawn(flows, () => fill(flows, flowsOf(answer.flows, filters, (flow) => bar.set({ flow }))));
    figures.hidden = flows.hidden = answer.total.runs === 0;
  } catch (error) {
    if (error.status === undefined) throw error;
    // The list says what is wrong.
  }
}

function showProblem(error) {
  if (state.runs.length) {
    problem.hidden = false;
    fill(problem, error.message);
    return;
  }
  fill(list, error.missing
    ? noRuns("There is no store here yet.", `It will be made at ${facts.store} by the first traced run.`)
    : emptyState(error.status ? "The runs cannot be shown." : "The view was ended.", h("p", { role: "alert" }, error.message), h("p", {}, "This page tries again by itself.")));
  bar.element.hidden = !Object.values(state.filters).some(Boolean);
  figures.hidden = flows.hidden = true;
  state.seen = null;
}

function noRuns(title, sentence) {
  return emptyState(title,
    h("p", {}, sentence),
    h("p", {}, "Record a small run, without keys or network:"),
    command("pocketflow-tracing demo"),
    h("p", {}, "Or trace a program of yours as it is:"),
    command("pocketflow-tracing run your_script.py"),
    h("p", { class: "quiet" }, "This page notices by itself when a run begins."),
  );
}

function draw() {
  bar.element.hidden = false;
  const filtered = Object.values(state.filters).some(Boolean);
  if (!state.runs.length) {
    fill(list, filtered
      ? emptyState("No runs match.", h("p", {}, "Widen the time, or take a filter away."), h("button", { type: "button", class: "button", onclick: () => bar.clear() }, "Clear all filters"))
      : noRuns("No runs yet.", `The store ${facts.store} is empty.`));
    bar.element.hidden = !filtered;
    return;
  }
  const optional = [
    ["tokens", "Tokens", (run) => run.tokens ? grouped(run.tokens) : "", "number"],
    ["cost", "Cost", (run) => money(run.cost), "number"],
    ["session", "Session", (run) => filterLink("session", run.session), ""],
    ["user", "User", (run) => filterLink("user", run.user), ""],
    ["version", "Version", (run) => run.version ?? "", ""],
  ].filter(([name]) => state.runs.some((run) => run[name] !== null && run[name] !== 0));
  const longest = Math.max(...state.runs.map(tookOf));
  const head = ["", "Status", "Flow", "Started", "Duration", "Nodes", "Attempts", ...optional.map(([, title]) => title)];
  const numbers = new Set(["Nodes", "Attempts", "Tokens", "Cost"]);
  const table = h("table", { class: "runs" },
    h("thead", {}, h("tr", {}, head.map((title, index) => h("th", { scope: "col", class: numbers.has(title) ? "number" : null, "data-label": title.toLowerCase() || null },
      index === 0 ? h("span", { class: "off-screen" }, "Choose to compare") : title)))),
    h("tbody", {}, state.runs.map((run) => row(run, optional, longest))));
  const older = state.next ? h("button", { type: "button", class: "button", onclick: (event) => showOlder(event.currentTarget) }, "Show older runs") : null;
  redrawn(list, () => fill(list, h("div", { class: "table-scroll" }, table), h("div", { class: "list-end" }, older), compareBar()));
}

const tookOf = (run) => (run.status === "running" ? (Date.now() - run.start) * 1000 : run.took ?? 0);

function row(run, optional, longest) {
  const running = run.status === "running";
  const took = tookOf(run);
  const chosen = state.chosen.includes(run.id);
  const choose = h("input", { type: "checkbox", "aria-label": `Choose run ${run.id.slice(0, 8)} of ${run.name} to compare`, onchange: () => toggle(run.id) });
  choose.checked = chosen;
  const bar_ = h("i", { class: `duration-bar status-${run.status}`, "aria-hidden": "true" });
  bar_.style.width = `${Math.max(2, 100 * Math.min(1, took / (longest || 1)))}%`;
  return h("tr", { class: `${run.fresh ? "fresh " : ""}${chosen ? "chosen" : ""}`, dataset: { run: run.id } },
    h("td", { class: "choose" }, choose),
    h("td", { class: "run-status" }, statusMark(run.status, { word: true })),
    h("td", { class: "name" },
      h("a", { class: "run-link", href: `/runs/${run.id}` }, run.name || "(unnamed)"),
      h("span", { class: "quiet mono" }, run.id.slice(0, 8)),
      run.tags.map((tag) => h("button", { type: "button", class: "tag", title: `Only runs tagged ${tag}`, onclick: () => bar.set({ tag }) }, tag)),
      run.error ? h("span", { class: "run-error" }, run.error) : null),
    h("td", { class: "started" }, h("time", { datetime: new Date(run.start).toISOString(), title: moment(run.start), dataset: { ago: run.start } }, ago(run.start))),
    h("td", { class: "took" }, h("span", { dataset: running ? { since: run.start } : {} }, running ? duration(took) : duration(run.took) || "–"), bar_),
    h("td", { class: "number", "data-label": "nodes" }, grouped(run.nodes)),
    h("td", { class: "number", "data-label": "attempts" }, grouped(run.attempts)),
    optional.map(([name, title, show, kind]) => h("td", { class: kind || null, "data-label": title.toLowerCase() }, show(run))));
}

function filterLink(name, value) {
  if (!value) return "";
  return h("button", { type: "button", class: "text-button", title: `Only runs of this ${name}`, onclick: () => bar.set({ [name]: value }) }, value);
}

function toggle(id) {
  state.chosen = state.chosen.includes(id) ? state.chosen.filter((one) => one !== id) : [...state.chosen, id].slice(-2);
  draw();
}

function compareBar() {
  if (!state.chosen.length) return null;
  // The older one stands on the left: what changed since reads from left to right.
  const runs = state.chosen.map((id) => state.runs.find((run) => run.id === id)).filter(Boolean).sort((a, b) => a.start - b.start);
  const [left, right] = runs;
  return h("div", { class: "compare-bar", role: "region", "aria-label": "Comparing" },
    h("span", {}, right ? `${left.name} ${left.id.slice(0, 8)} and ${right.name} ${right.id.slice(0, 8)}` : `${left?.name ?? "One run"} chosen: choose another to compare it with.`),
    right ? h("a", { class: "button primary", href: `/compare?left=${left.id}&right=${right.id}` }, icon("right"), "Compare") : null,
    h("button", { type: "button", class: "button", onclick: () => { state.chosen = []; draw(); } }, "Cancel"));
}

setInterval(() => {
  for (const time of document.querySelectorAll("[data-ago]")) time.textContent = ago(Number(time.dataset.ago));
  for (const took of document.querySelectorAll("[data-since]")) took.textContent = duration((Date.now() - Number(took.dataset.since)) * 1000);
}, 1000);
addEventListener("popstate", () => { state.filters = filtersFrom(location.search); bar.set(state.filters); });

await reload();
follow(look);
