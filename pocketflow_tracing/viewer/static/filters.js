// The filters of the list of runs; they live in the URL.

import { fill, h, icon } from "./dom.js";
import { ask } from "./data.js";

const NAMES = ["status", "flow", "session", "user", "tag", "since", "until", "text"];
const STATUSES = ["running", "success", "recovered", "error", "cancelled", "interrupted"];
const AGES = [["", "any time"], ["15m", "last 15 minutes"], ["1h", "last hour"], ["24h", "last 24 hours"], ["7d", "last 7 days"], ["30d", "last 30 days"]];

export function filtersFrom(search) {
  const query = new URLSearchParams(search);
  return Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
}

export function filtersInto(filters) {
  const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value));
  return query.size ? `?${query}` : location.pathname;
}

/** Makes the bar; `changed` is called with all filters whenever one changes. With `oneFlow` a flow is always chosen. */
export function filterBar(start, changed, { oneFlow = false } = {}) {
  let filters = { ...start };
  const chips = h("div", { class: "chips" });
  const lists = { flow: [], session: [], user: [], tag: [] };

  const text = h("input", { type: "search", placeholder: "Search names, errors, inputs, outputs", "aria-label": "Text in names, errors, inputs and outputs", value: filters.text });
  const status = choice("Status", STATUSES.map((name) => [name, name]), "any status");
  const since = choice("Time", AGES.slice(1), "any time");
  const more = Object.fromEntries(["flow", "session", "user", "tag"].map((name) => [name, choice(name[0].toUpperCase() + name.slice(1), [], `any ${name}`)]));

  const set = (some) => {
    filters = { ...filters, ...some };
    draw();
    changed(filters);
  };
  let typing = 0;
  text.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => set({ text: text.value.trim() }), 300);
  });
  status.addEventListener("change", () => set({ status: status.value }));
  since.addEventListener("change", () => set({ since: since.value, until: "" }));
  for (const [name, select] of Object.entries(more)) {
    select.addEventListener("change", () => set({ [name]: select.value }));
    select.addEventListener("focus", learn);
    select.addEventListener("pointerenter", learn);
  }

  let learnt = 0;
  async function learn() {
    if (Date.now() - learnt < 10_000) return;
    learnt = Date.now();
    try {
      const found = await ask("/api/choices");
      Object.assign(lists, { flow: found.flows, session: found.sessions, user: found.users, tag: found.tags });
      draw();
    } catch (error) {
      if (error.status === undefined) throw error;
      // Without a store there is nothing to choose from.
    }
  }

  function draw() {
    if (document.activeElement !== text) text.value = filters.text;
    status.value = filters.status;
    options(since, AGES.slice(1), "any time", filters.since);
    for (const [name, select] of Object.entries(more)) {
      options(select, lists[name].map((value) => [value, value]), oneFlow && name === "flow" ? null : `any ${name}`, filters[name]);
      select.hidden = name !== "flow" && !lists[name].length && !filters[name];
    }
    const set_ = NAMES.filter((name) => filters[name] && !(oneFlow && name === "flow"));
    fill(chips, set_.map((name) => h("button", { type: "button", class: "chip", title: "Take this filter away", onclick: () => set({ [name]: "" }) },
      h("span", { class: "quiet" }, `${name} `), filters[name], icon("close", "Remove"))),
      set_.length > 1 ? h("button", { type: "button", class: "text-button", onclick: clear }, "Clear all") : null);
    chips.hidden = !set_.length;
  }
  const clear = () => set(Object.fromEntries(NAMES.map((name) => [name, oneFlow && name === "flow" ? filters.flow : ""])));

  const element = h("form", { class: "filters", role: "search", "aria-label": "Filter runs", onsubmit: (event) => event.preventDefault() },
    h("div", { class: "filter-row" }, h("label", { class: "search-box" }, icon("search"), text), status, more.flow, since, more.session, more.user, more.tag), chips);
  draw();
  learn();
  return { element, set, clear };
}

function choice(label, entries, none) {
  const select = h("select", { "aria-label": label });
  options(select, entries, none, "");
  return select;
}

function options(select, entries, none, value) {
  const known = value && !entries.some(([one]) => one === value) ? [[value, value], ...entries] : entries;
  fill(select, none === null ? null : h("option", { value: "" }, none), known.map(([one, label]) => h("option", { value: one }, label)));
  select.value = value;
}
