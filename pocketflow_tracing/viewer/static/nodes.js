// The nodes of a flow over many runs: where the time goes, what fails, what changed between versions.

import { fill, h, statusMark } from "./dom.js";
import { counted, difference, duration, grouped, percent } from "./words.js";
import { ask } from "./data.js";
import { command, emptyState, frame } from "./chrome.js";
import { filterBar, filtersFrom } from "./filters.js";

const COLUMNS = [
  { name: "name", title: "Node" },
  { name: "total", title: "Share of run time", value: (row) => row.total, told: "Time in this node, of what the runs took together" },
  { name: "visits", title: "Visits", value: (row) => row.visits, told: "How often the node was visited" },
  { name: "p50", title: "p50", value: (row) => row.p50 ?? -1, told: "Half of the visits took no longer" },
  { name: "p95", title: "p95", value: (row) => row.p95 ?? -1, told: "95 of 100 visits took no longer" },
  { name: "errors", title: "Errors", value: (row) => row.errors / row.visits, status: "error", told: "Visits that ended in an error" },
  { name: "retried", title: "Retried", value: (row) => row.retried / row.visits, status: "recovered", told: "Visits that took more than one attempt" },
  { name: "fallbacks", title: "Fallback", value: (row) => row.fallbacks / row.visits, status: "recovered", told: "Visits that exec_fallback saved" },
];
const RATES = COLUMNS.filter(({ status }) => status);
const NO_VERSION = "(none)"; // in the URL and in the list, for runs that carry no version

const { main, tell } = frame("nodes");
const query = new URLSearchParams(location.search);
const state = { filters: filtersFrom(location.search), sort: query.get("sort") ?? "total", one: query.get("version") ?? "", other: query.get("against") ?? "" };
const bar = filterBar(state.filters, (filters) => {
  if (state.filters.flow && filters.flow !== state.filters.flow) Object.assign(state, { one: "", other: "" });
  state.filters = filters;
  show();
}, { oneFlow: true });
const body = h("section", { "aria-label": "Nodes" });
const heading = h("h1", {}, "Nodes");
main.append(heading, bar.element, body);
bar.element.hidden = true;

function remember() {
  const kept = new URLSearchParams(Object.entries(state.filters).filter(([, value]) => value));
  if (state.sort !== "total") kept.set("sort", state.sort);
  if (state.one) kept.set("version", state.one);
  if (state.other) kept.set("against", state.other);
  history.replaceState(null, "", kept.size ? `?${kept}` : location.pathname);
}

async function show() {
  const { filters } = state;
  try {
    if (!filters.flow) {
      const { flows } = await ask("/api/figures", filters);
      if (!flows.length) return nothing();
      bar.set({ flow: flows[0].name }); // comes back here
      return undefined;
    }
    const answer = await ask("/api/nodes", filters);
    if (filters !== state.filters) return undefined;
    const known = answer.versions.map(nameOf);
    for (const side of ["one", "other"]) if (!known.includes(state[side])) state[side] = "";
    remember();
    fill(heading, `Nodes of ${filters.flow}`);
    bar.element.hidden = false;
    tell("", "");
    draw(answer);
  } catch (error) {
    if (error.status === undefined) throw error; // a fault of this script
    tell(error.status ? "waiting" : "offline", error.message);
    fill(body, error.missing
      ? emptyState("There is no store here yet.", h("p", {}, "Record a small run, without keys or network:"), command("pocketflow-tracing demo"))
      : emptyState("The nodes cannot be shown.", h("p", {}, error.message), h("p", {}, h("a", { href: "/nodes" }, "Start again without filters"))));
  }
  return undefined;
}

function nothing() {
  const filtered = Object.values(state.filters).some(Boolean);
  fill(body, filtered
    ? emptyState("No runs match.", h("p", {}, h("a", { href: "/nodes" }, "Clear the filters")))
    : emptyState("No runs yet.", h("p", {}, "Record a small run, without keys or network:"), command("pocketflow-tracing demo")));
}

const nameOf = ({ version }) => version ?? NO_VERSION;

function versionControls(answer) {
  const names = answer.versions.map(nameOf);
  if (names.length < 2 && names[0] === NO_VERSION) return null;
  const choose = (side, label, none) => {
    const select = h("select", { "aria-label": label, onchange: () => { state[side] = select.value; remember(); draw(answer); } },
      h("option", { value: "" }, none), names.map((name) => h("option", { value: name }, name === NO_VERSION ? "without a version" : name)));
    select.value = state[side];
    return h("label", { class: "labelled" }, h("span", { class: "quiet" }, label), select);
  };
  return h("div", { class: "filter-row", role: "group", "aria-label": "Versions" }, choose("one", "Version", "all versions"), names.length > 1 ? choose("other", "against", "none") : null);
}

function draw(answer) {
  const of = (name) => answer.versions.find((one) => nameOf(one) === name);
  const shown = state.one ? of(state.one) : answer;
  const against = state.other ? new Map(of(state.other).nodes.map((row) => [row.node, row])) : null;
  const column = COLUMNS.find(({ name }) => name === state.sort) ?? COLUMNS[1];
  const rows = [...shown.nodes].sort((a, b) => (column.value ? column.value(b) - column.value(a) : a.name.localeCompare(b.name)) || b.total - a.total);
  const focused = document.activeElement?.dataset?.sort;
  fill(body, versionControls(answer), h("p", { class: "quiet" }, sentence(answer, shown, against)), rows.length
    ? h("div", { class: "table-scroll" }, h("table", { class: "nodes" },
      h("thead", {}, h("tr", {}, COLUMNS.map((one, place) => head(one, place, column, answer)))),
      h("tbody", {}, rows.map((row) => nodeRow(row, shown.run_took, against)))))
    : emptyState("No node was visited in these runs.", h("p", {}, "Take a filter away, or choose another flow.")));
  if (focused) body.querySelector(`[data-sort="${focused}"]`)?.focus();
}

function sentence(answer, shown, against) {
  const runs = answer.matching > answer.runs ? `${counted(shown.runs, "run")} among the newest ${grouped(answer.runs)} of ${grouped(answer.matching)}` : counted(shown.runs, "run");
  const together = shown.nodes.reduce((sum, row) => sum + row.total, 0);
  return [
    `Over ${runs}, which took ${duration(shown.run_took) || "no time yet"}${shown.runs > 1 ? " together" : ""}.`,
    together > shown.run_took * 1.02 ? " Nodes that ran at the same time count each for itself: their shares add up to more than all." : "",
    against ? ` Differences are from ${versionWords(state.other)} to ${versionWords(state.one)}.` : "",
  ];
}

const versionWords = (name) => (name === "" ? "all versions" : name === NO_VERSION ? "runs without a version" : `version ${name}`);

function head({ name, title, value, told }, place, column, answer) {
  const sorted = column.name === name;
  return h("th", { scope: "col", class: place > 1 ? "number" : null, "aria-sort": sorted ? (value ? "descending" : "ascending") : null },
    h("button", { type: "button", class: "sort", title: told ?? null, dataset: { sort: name }, onclick: () => { state.sort = name; remember(); draw(answer); } }, title, sorted ? h("span", { "aria-hidden": "true" }, value ? "↓" : "↑") : null));
}

function nodeRow(row, everything, against) {
  const before = against?.get(row.node);
  const share = everything ? row.total / everything : 0;
  const bar_ = h("i", { class: "share" });
  bar_.style.width = `${Math.min(100, Math.max(0.5, 100 * share))}%`;
  const place = row.node.lastIndexOf("/");
  return h("tr", {},
    h("td", { class: "node-cell" }, h("strong", {}, row.name), place > 0 ? h("span", { class: "quiet" }, ` in ${row.node.slice(0, place)}`) : null, against && !before ? h("span", { class: "tag" }, "new") : null),
    h("td", { class: "share-cell" }, h("span", { class: "share-line" }, h("span", {}, percent(share)), h("span", { class: "quiet" }, duration(row.total))), h("span", { class: "share-box", "aria-hidden": "true" }, bar_)),
    h("td", { class: "number", "data-label": "Visits" }, grouped(row.visits)),
    ["p50", "p95"].map((name) => h("td", { class: "number", "data-label": name }, duration(row[name]) || "–", timeChange(row[name], before?.[name]))),
    RATES.map(({ title, value, status, name }) => h("td", { class: "number", "data-label": title },
      row[name] ? [statusMark(status), " ", percent(value(row))] : h("span", { class: "quiet" }, "–"), before ? rateChange(value(row), value(before)) : null)));
}

function timeChange(now, then) {
  if (now === null || then === null || then === undefined) return null;
  return h("span", { class: `change-of ${now > then * 1.1 ? "slower" : now < then * 0.9 ? "faster" : "quiet"}` }, difference(now - then));
}

/** In percentage points: from 10 % to 25 % is +15 points. */
function rateChange(now, then) {
  if (Math.abs(now - then) < 0.001) return null;
  return h("span", { class: `change-of ${now > then ? "slower" : "faster"}` }, `${now > then ? "+" : "−"}${percent(Math.abs(now - then)).replace(" %", "")} points`);
}

await show();
