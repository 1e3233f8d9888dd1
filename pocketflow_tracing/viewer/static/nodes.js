// The nodes of a flow over many runs: where the time goes, what fails, what changed between versions.

import { fill, h, statusMark } from "./dom.js";
import { counted, difference, duration, grouped, percent } from "./words.js";
import { ask } from "./data.js";
import { command, emptyState, frame } from "./chrome.js";
import { filtersFrom, filtersInto } from "./filters.js";

const AGES = [["", "any time"], ["1h", "last hour"], ["24h", "last 24 hours"], ["7d", "last 7 days"], ["30d", "last 30 days"]];
const COLUMNS = [
  ["name", "Node", null], ["total", "Time", (row) => row.total], ["visits", "Visits", (row) => row.visits], ["p50", "p50", (row) => row.p50 ?? -1], ["p95", "p95", (row) => row.p95 ?? -1],
  ["errors", "Errors", (row) => row.errors / row.visits], ["retried", "Retried", (row) => row.retried / row.visits], ["fallbacks", "Fallback", (row) => row.fallbacks / row.visits],
];

const { main, tell } = frame("nodes");
let filters = filtersFrom(location.search);
const extra = new URLSearchParams(location.search);
const state = { sort: extra.get("sort") ?? "total", one: extra.get("version") ?? "", other: extra.get("against") ?? "" };
const controls = h("form", { class: "filter-row", "aria-label": "Which runs", onsubmit: (event) => event.preventDefault() });
const body = h("section", { "aria-label": "Nodes" });
const heading = h("h1", {}, "Nodes");
main.append(heading, controls, body);
await show();

function remember() {
  const kept = new URLSearchParams(filtersInto(filters).startsWith("?") ? filtersInto(filters) : "");
  if (state.sort !== "total") kept.set("sort", state.sort);
  if (state.one) kept.set("version", state.one);
  if (state.other) kept.set("against", state.other);
  history.replaceState(null, "", kept.size ? `?${kept}` : location.pathname);
}

async function show() {
  try {
    const { flows } = await ask("/api/figures", { ...filters, flow: "" });
    if (!flows.length) {
      const some = Object.entries(filters).some(([name, value]) => value && name !== "flow");
      fill(body, emptyState(some ? "No runs match." : "No runs yet.", some ? h("p", {}, h("a", { href: "/nodes" }, "Clear the filters")) : [h("p", {}, "Record a small run, without keys or network:"), command("pocketflow-tracing demo")]));
      return;
    }
    if (!flows.some((flow) => flow.name === filters.flow)) filters = { ...filters, flow: filters.flow || flows[0].name };
    const answer = await ask("/api/nodes", filters);
    remember();
    heading.textContent = `Nodes of ${filters.flow}`;
    drawControls(flows, answer);
    draw(answer);
    tell("live", "Read from the store.");
  } catch (error) {
    tell("waiting", error.message);
    fill(body, error.missing ? emptyState("There is no store here yet.", h("p", {}, "Record a small run, without keys or network:"), command("pocketflow-tracing demo")) : emptyState("The nodes cannot be shown.", h("p", {}, error.message)));
  }
}

function drawControls(flows, answer) {
  const change = (name) => (event) => { filters = { ...filters, [name]: event.target.value }; show(); };
  const known = answer.versions.filter(({ version }) => version !== null).map(({ version }) => version);
  const compare = (name, label) => h("label", { class: "labelled" }, h("span", { class: "quiet" }, label), select(label, [["", name === "one" ? "all versions" : "nothing"], ...known.map((version) => [version, version])], state[name], (event) => { state[name] = event.target.value; remember(); draw(answer); }));
  fill(controls,
    select("Flow", flows.map((flow) => [flow.name, `${flow.name} (${grouped(flow.runs)})`]), filters.flow, (event) => { Object.assign(state, { one: "", other: "" }); change("flow")(event); }),
    select("Time", AGES.some(([age]) => age === filters.since) ? AGES : [...AGES, [filters.since, filters.since]], filters.since, change("since")),
    select("Status", [["", "any status"], ...["success", "recovered", "error", "cancelled", "interrupted", "running"].map((name) => [name, name])], filters.status, change("status")),
    known.length ? compare("one", "Version") : null, known.length > 1 ? compare("other", "against") : null);
}

function select(label, entries, value, onchange) {
  const made = h("select", { "aria-label": label, onchange }, entries.map(([one, text]) => h("option", { value: one }, text)));
  made.value = value;
  return made;
}

function draw(answer) {
  const rows = merged(answer.nodes.filter((row) => !state.one || row.version === state.one));
  const against = state.other ? new Map(merged(answer.nodes.filter((row) => row.version === state.other)).map((row) => [row.node, row])) : null;
  const of = COLUMNS.find(([name]) => name === state.sort) ?? COLUMNS[1];
  rows.sort((a, b) => (of[2] ? of[2](b) - of[2](a) : a.name.localeCompare(b.name)) || b.total - a.total);
  const everything = rows.reduce((sum, row) => sum + row.total, 0) || 1;
  const runs = state.one ? answer.versions.find(({ version }) => version === state.one)?.runs ?? 0 : answer.runs;
  const parallel = !state.one && everything > answer.run_took * 1.02;
  fill(body,
    h("p", { class: "quiet" }, `Over ${answer.matching > answer.runs ? `the newest ${grouped(answer.runs)} of ${counted(answer.matching, "run")}` : counted(runs, "run")}, which took ${duration(answer.run_took)} together.`,
      parallel ? " Nodes that ran at the same time count each for itself." : "", against ? ` Differences are from version ${state.other} to ${state.one || "all versions"}.` : ""),
    rows.length ? h("div", { class: "table-scroll" }, h("table", { class: "nodes" },
      h("thead", {}, h("tr", {}, COLUMNS.map(([name, title, value], place) => h("th", { scope: "col", class: place > 1 ? "number" : null, "aria-sort": state.sort === name ? (value ? "descending" : "ascending") : null },
        h("button", { type: "button", class: "sort", onclick: () => { state.sort = name; remember(); draw(answer); } }, title, state.sort === name ? " ↓" : ""))))),
      h("tbody", {}, rows.map((row) => nodeRow(row, everything, against))))) : emptyState("No node was visited in these runs.", h("p", {}, "Widen the time, or choose another flow.")));
}

/** Rows of several versions as one per node; medians then are those of the version with most visits. */
function merged(nodes) {
  const found = new Map();
  for (const row of nodes) {
    const known = found.get(row.node);
    if (!known) { found.set(row.node, { ...row, most: row.visits }); continue; }
    if (row.visits > known.most) Object.assign(known, { most: row.visits, p50: row.p50, p95: Math.max(known.p95 ?? 0, row.p95 ?? 0) });
    for (const name of ["visits", "errors", "recovered", "retried", "fallbacks", "total"]) known[name] += row[name];
  }
  return [...found.values()];
}

function nodeRow(row, everything, against) {
  const before = against?.get(row.node);
  const change = (name) => (before && row[name] !== null && before[name] !== null ? h("span", { class: `change-of ${row[name] > before[name] * 1.1 ? "slower" : row[name] < before[name] * 0.9 ? "faster" : "quiet"}` }, difference(row[name] - before[name])) : null);
  const rate = (number, status) => h("td", { class: "number" }, number ? [status ? statusMark(status) : null, " ", percent(number / row.visits)] : h("span", { class: "quiet" }, "–"), before ? rateChange(number / row.visits, before, status) : null);
  const bar = h("i", { class: "share" });
  bar.style.width = `${Math.max(0.5, (100 * row.total) / everything)}%`;
  return h("tr", {},
    h("td", {}, h("strong", {}, row.name), row.node !== row.name ? h("span", { class: "quiet" }, ` in ${row.node.slice(0, row.node.lastIndexOf("/"))}`) : null),
    h("td", { class: "share-cell" }, h("span", { class: "share-line" }, h("span", {}, percent(row.total / everything)), h("span", { class: "quiet" }, duration(row.total))), h("span", { class: "share-box", "aria-hidden": "true" }, bar)),
    h("td", { class: "number" }, grouped(row.visits)),
    h("td", { class: "number" }, duration(row.p50) || "–", change("p50")),
    h("td", { class: "number" }, duration(row.p95) || "–", change("p95")),
    rate(row.errors, "error"), rate(row.retried, "recovered"), rate(row.fallbacks, "recovered"));
}

function rateChange(now, before, status) {
  const then = status === "error" ? before.errors / before.visits : null;
  if (then === null || Math.abs(now - then) < 0.001) return null;
  return h("span", { class: `change-of ${now > then ? "slower" : "faster"}` }, `${now > then ? "+" : "−"}${percent(Math.abs(now - then))}`);
}
