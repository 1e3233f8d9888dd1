// The figures of many runs: on top of the list, and by flow.

import { h, statusMark } from "./dom.js";
import { ago, counted, duration, grouped, moment, money, percent } from "./words.js";

const STATUS_ORDER = ["success", "recovered", "error", "cancelled", "interrupted", "running"];

const MOST_FLOWS = 100;
const TOLD = { p50: "Half of the runs took no longer", p95: "95 of 100 runs took no longer" };

/** The row of figures on top. */
export function figuresOf(total) {
  const of = (status) => total.by_status[status] ?? 0;
  const ended = total.runs - of("running");
  return [
    figure("Runs", grouped(total.runs), of("running") ? `${grouped(of("running"))} running` : null),
    figure("Errors", percent(of("error") / ended), `${grouped(of("error"))} of ${grouped(ended)}`, of("error") ? "error" : null),
    figure("Recovered", percent(of("recovered") / ended), `${grouped(of("recovered"))} of ${grouped(ended)}`, of("recovered") ? "recovered" : null),
    figure("Median", duration(total.p50) || "–", "p50 duration"),
    figure("Slowest 5 %", duration(total.p95) || "–", "p95 duration"),
    total.tokens ? figure("Tokens", grouped(total.tokens), null) : null,
    total.cost === null ? null : figure("Cost", money(total.cost), null),
  ];
}

function figure(name, value, note, status = null) {
  return h("div", { class: "figure" },
    h("span", { class: "figure-name" }, status ? statusMark(status) : null, name),
    h("strong", {}, value),
    h("span", { class: "figure-note" }, note ?? "\u00a0"));
}

/** The table of flows: each with its statuses as a bar. */
export function flowsOf(flows, filters, choose) {
  const shown = flows.slice(0, MOST_FLOWS);
  return [
    h("summary", {}, "By flow ", h("span", { class: "quiet" }, `${counted(flows.length, "flow")}: how their runs ended, and how long they took`)),
    h("div", { class: "table-scroll" }, h("table", { class: "flow-table" },
      h("thead", {}, h("tr", {}, ["Flow", "Runs", "How they ended", "p50", "p95", "Last run", ""].map((title, place) =>
        h("th", { scope: "col", class: [1, 3, 4].includes(place) ? "number" : null, title: TOLD[title] ?? null }, title || h("span", { class: "off-screen" }, "Nodes"))))),
      h("tbody", {}, shown.map((flow) => h("tr", {},
        h("td", {}, h("button", { type: "button", class: "text-button strong", title: "Only runs of this flow", onclick: () => choose(flow.name) }, flow.name || "(unnamed)")),
        h("td", { class: "number" }, grouped(flow.runs)),
        h("td", {}, statusBar(flow)),
        h("td", { class: "number" }, duration(flow.p50) || "–"),
        h("td", { class: "number" }, duration(flow.p95) || "–"),
        h("td", {}, h("time", { title: moment(flow.last), dataset: { ago: flow.last } }, ago(flow.last))),
        h("td", {}, h("a", { href: nodesLink(flow.name, filters) }, "Nodes")))),
      flows.length > shown.length ? h("tr", {}, h("td", { class: "quiet", colspan: 7 }, `${counted(flows.length - shown.length, "more flow")} with fewer runs`)) : null))),
  ];
}

function nodesLink(flow, filters) {
  const query = new URLSearchParams({ flow });
  for (const name of ["session", "user", "tag", "status", "since", "until", "text"]) if (filters[name]) query.set(name, filters[name]);
  return `/nodes?${query}`;
}

/** How the runs of a flow ended, as a bar with its words. */
export function statusBar(flow) {
  const parts = STATUS_ORDER.filter((status) => flow.by_status[status]);
  const words = parts.map((status) => `${grouped(flow.by_status[status])} ${status}`).join(", ");
  const bar = h("span", { class: "status-bar", role: "img", "aria-label": words, title: words });
  for (const status of parts) {
    const piece = h("i", { class: `status-${status}` });
    piece.style.flexGrow = String(flow.by_status[status]);
    bar.append(piece);
  }
  const told = parts.filter((status) => status !== "success");
  return h("span", { class: "status-bar-line" }, bar, h("span", { class: "quiet" }, told.length ? told.map((status) => `${grouped(flow.by_status[status])} ${status}`).join(" · ") : "all success"));
}
