// One row of the timeline: the name of a span, what there is to say about it, how long it took, its bar.

import { h, icon, statusMark } from "./dom.js";
import { barOf } from "./bars.js";
import { brief, counted, duration, grouped, money, tokenWords } from "./words.js";
import { decision, ownError, shortName, wasSaved } from "./tree.js";

const DEEPEST = 14;

/** Makes a row. `view` says how: {folded: true, false or null where nothing folds, found: by a search, selected, names, time, end}. */
export function rowOf(span, view) {
  const siblings = span.above?.children ?? [span];
  const error = ownError(span);
  const took = tookWords(span);
  const indent = h("span", { class: "indent" });
  indent.style.width = `${view.found ? 0 : Math.min(span.depth, DEEPEST) * 16}px`;
  return h("div", {
    class: `tree-row kind-${span.kind}${view.selected ? " selected" : ""}`,
    role: "treeitem", id: `row-${span.id}`, dataset: { span: span.id },
    "aria-level": span.depth + 1, "aria-expanded": view.folded === null ? null : String(!view.folded), "aria-selected": String(view.selected),
    "aria-posinset": siblings.indexOf(span) + 1, "aria-setsize": siblings.length,
    "aria-label": [shortName(span), wasSaved(span) ? "failed, saved later" : span.status, took, error ? brief(error) : ""].filter(Boolean).join(", "),
  },
  h("div", { class: "tree-name" },
    indent,
    view.folded === null ? h("span", { class: "twist" }) : h("span", { class: "twist", "aria-hidden": "true", dataset: { twist: span.id } }, icon("chevron")),
    span.kind === "external" ? h("span", { class: "generation-mark" }, icon("generation", "generation")) : statusMark(span.status, { saved: wasSaved(span) }),
    h("span", { class: "label" }, shortName(span) || "(unnamed)"),
    view.found && span.above ? h("span", { class: "note" }, `in ${span.above.name}`) : null,
    notesOf(span, view),
    error ? h("span", { class: `row-error${wasSaved(span) || span.status === "recovered" ? " saved" : ""}`, title: error }, brief(error, 160)) : null),
  h("span", { class: "took number" }, took),
  h("div", { class: "bars" }, h("div", { class: "bar-box" }, barOf(span, view.time, view.end))));
}

function tookWords(span) {
  if (span.took !== null) return duration(span.took);
  return span.status === "running" ? "running" : "not ended";
}

function notesOf(span, view) {
  const { facts } = span;
  const notes = [];
  const note = (text, more = "") => notes.push(h("span", { class: `note ${more}` }, text));
  if (span.kind === "node" && facts.visit > 1) note(`visit ${facts.visit}`);
  if (facts.phase === "exec_fallback" && span.status !== "error") notes.push(h("span", { class: "note badge" }, icon("fallback"), "fallback"));
  if (span.kind === "attempt" && facts.max_attempts > 1 && (facts.attempt > 1 || span.status !== "success")) note(`attempt ${facts.attempt} of ${facts.max_attempts}`, "badge");
  if (facts.items !== undefined) note(counted(facts.items, "item"));
  const chosen = ["node", "flow", "pass"].includes(span.kind) ? decision(span, view.names) : null;
  if (chosen) {
    if (chosen.action) note(chosen.action, "action");
    if (chosen.to) note(`→ ${chosen.to}`);
    if (chosen.lost) note("→ no successor", "lost");
  }
  if (span.kind === "external") note([span.model, tokenWords(span.tokens), money(span.cost)].filter(Boolean).join(" · "));
  if (view.folded && span.children.length > 3) {
    const failed = span.children.filter((child) => child.status === "error").length;
    note(`${counted(span.children.length, "span")} folded${failed ? `, ${grouped(failed)} failed` : ""}`, failed ? "lost" : "");
  }
  return notes;
}
