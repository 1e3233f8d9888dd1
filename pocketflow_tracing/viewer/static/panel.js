// The selected span: what went in, what came out, what went wrong, what it changed.

import { fill, h, icon, iconButton, statusMark, copyText } from "./dom.js";
import { textOf } from "./exact.js";
import { brief, counted, duration, grouped, moment, money } from "./words.js";
import { decision, nodeNames, shortName, visitOf, wasSaved } from "./tree.js";
import { valueView } from "./json_tree.js";
import { messagesOf } from "./messages.js";
import { placeOf, shownOf, signOf } from "./changes.js";

const KINDS = { flow: "flow", pass: "pass of a batch flow", node: "node visit", phase: "phase", attempt: "attempt", function: "function", external: "span of another instrumentation" };
const MOST_PARTS = 6;

export class Panel {
  constructor(model, source, actions) {
    this.model = model;
    this.source = source;
    this.actions = actions;
    this.known = new Map();
    this.element = h("aside", { class: "panel", "aria-label": "Selected span", tabindex: "-1" });
  }

  /** Shows a span; what is known of it at once, the rest when it has come. */
  async show(id, { again = false } = {}) {
    const span = this.model.spans.get(id);
    this.id = id;
    if (!span) return this.#hint();
    const shown = `${id} ${span.status} ${span.children.length}`;
    if (again && shown === this.shown) return undefined; // nothing closes under the reader's hand
    this.shown = shown;
    let detail = this.known.get(id);
    let inner = [];
    if (!detail && !again) fill(this.element, this.#head(span), h("p", { class: "quiet waiting" }, "Reading…"));
    try {
      [detail, ...inner] = await Promise.all([span, ...contentsOf(span)].map((one) => this.#detail(one)));
    } catch (error) {
      if (error.status === undefined) throw error;
      if (this.id === id) fill(this.element, this.#head(span), h("p", { class: "problem" }, error.message));
      return undefined;
    }
    if (this.id !== id) return undefined;
    const top = again ? this.element.scrollTop : 0;
    fill(this.element, this.#head(span), this.#body(span, detail, inner));
    this.element.scrollTop = top;
    return undefined;
  }

  async #detail(span) {
    const detail = this.known.get(span.id) ?? await this.source.span(span.id);
    if (span.status !== "running") this.known.set(span.id, detail);
    return detail;
  }

  #hint() {
    this.shown = "";
    fill(this.element, h("div", { class: "panel-hint" }, h("p", {}, "Select a span to see what went in, what came out and what went wrong."),
      h("dl", { class: "keys" }, [["↑ ↓", "previous, next span"], ["← →", "fold, unfold"], ["e", "next problem"], ["+ − 0", "zoom in, out, all"], ["1 2 3", "timeline, graph, state"]].map(([keys, meaning]) => [h("dt", {}, keys), h("dd", {}, meaning)]))));
  }

  #head(span) {
    const { facts } = span;
    const visit = visitOf(span);
    const kind = [KINDS[span.kind] ?? span.kind];
    if (facts.step) kind.push(`step ${facts.step}`);
    if (facts.visit > 1) kind.push(`visit ${facts.visit}`);
    if (facts.attempt && facts.max_attempts > 1) kind.push(`attempt ${facts.attempt} of ${facts.max_attempts}`);
    if (facts.item !== undefined) kind.push(`item ${facts.item}`);
    const chosen = decision(span, nodeNames(this.model.graph));
    return h("header", { class: "panel-head" },
      h("div", { class: "panel-title" },
        span.kind === "external" ? h("span", { class: "generation-mark" }, icon("generation")) : statusMark(span.status, { saved: wasSaved(span) }),
        h("h2", {}, visit && visit !== span ? h("span", { class: "quiet" }, `${visit.name} `) : null, shortName(span)),
        h("span", { class: "spring" }),
        iconButton("up", "Previous span (k)", () => this.actions.step(-1)),
        iconButton("down", "Next span (j)", () => this.actions.step(1)),
        iconButton("close", "Close (Esc)", () => this.actions.close())),
      h("p", { class: "quiet panel-kind" }, kind.join(" · ")),
      h("p", { class: "panel-line" },
        h("span", { class: `status-word status-${span.status}${wasSaved(span) ? " saved" : ""} toned` }, wasSaved(span) ? "failed, saved later" : span.status),
        h("span", {}, span.took === null ? "not ended" : duration(span.took)),
        h("span", { class: "quiet", title: moment(this.model.run.start + span.start / 1000) }, `at +${duration(span.start)}`),
        chosen ? h("span", {}, chosen.action ? h("span", { class: "note action" }, chosen.action) : null, chosen.to ? ` → ${chosen.to}` : chosen.lost ? " → no successor" : "") : null));
  }

  #body(span, detail, inner) {
    const visit = visitOf(span);
    return [
      detail.error ? this.#error(detail.error, span) : null,
      this.#generation(span, detail),
      this.#state(detail, span),
      inner.map((one) => this.#io(`${one.attributes?.phase ?? "exec"} returned`, one.output, one)),
      this.#io("Input", detail.input, detail),
      this.#io("Output", detail.output, detail),
      visit === span ? this.#childIo(span) : null,
      detail.scores?.length ? section("Scores", h("dl", { class: "facts" }, detail.scores.map((score) => [h("dt", {}, score.name), h("dd", {}, textOf(score.value), score.comment ? h("span", { class: "quiet" }, ` ${score.comment}`) : null)]))) : null,
      Object.keys(detail.metadata ?? {}).length ? valueSection("Metadata", detail.metadata) : null,
      this.#facts(span, detail),
    ];
  }

  #io(title, value, detail) {
    if (value === null || value === undefined) return null;
    if (title === "Input" && detail.attributes?.phase === "prep" && Array.isArray(value.shared)) {
      if (!value.shared.length) return section("Input", h("p", { class: "quiet" }, "shared, which was empty"));
      return section("Input", h("p", { class: "quiet" }, "shared, with the keys "), h("p", { class: "key-list" }, value.shared.map((key) => h("button", { type: "button", class: "tag", onclick: () => this.actions.key(key, this.id) }, key))));
    }
    const messages = messagesOf(value);
    return messages ? section(title, messages) : valueSection(title, value);
  }

  /** Of a node visit: what its phases did, at a glance. */
  #childIo(span) {
    const rows = span.children.slice(0, 12).map((child) => h("li", {}, h("button", { type: "button", class: "child", onclick: () => this.actions.select(child.id) },
      child.kind === "external" ? h("span", { class: "generation-mark" }, icon("generation")) : statusMark(child.status, { saved: wasSaved(child) }),
      h("span", {}, shortName(child)), h("span", { class: "quiet" }, child.facts.max_attempts > 1 && (child.facts.attempt > 1 || child.status !== "success") ? `attempt ${child.facts.attempt} of ${child.facts.max_attempts}` : child.facts.items === undefined ? "" : counted(child.facts.items, "item")),
      h("span", { class: "spring" }), h("span", { class: "quiet number" }, duration(child.took) || child.status))));
    if (!rows.length) return null;
    const rest = span.children.length - rows.length;
    return section("Phases", h("ul", { class: "children" }, rows, rest > 0 ? h("li", { class: "quiet" }, `${grouped(rest)} more in the timeline`) : null));
  }

  #error(error, span) {
    const chain = [];
    for (let at = error, word = ""; at; word = at.cause ? "caused by" : "while handling", at = at.cause ?? at.context) chain.push([at, word]);
    return h("section", { class: `error-box${wasSaved(span) || span.status === "recovered" ? " saved" : ""}` },
      chain.map(([one, word]) => [
        word ? h("p", { class: "quiet" }, word) : null,
        h("h3", {}, one.type),
        h("p", { class: "error-message" }, one.message),
        frames(one.traceback),
        (one.notes ?? []).map((note) => h("p", { class: "quiet" }, note)),
        (one.exceptions ?? []).map((member) => h("details", {}, h("summary", {}, `${member.type}: ${brief(member.message)}`), frames(member.traceback))),
      ]),
      error.traceback?.length ? null : h("p", { class: "quiet" }, "The traceback stands with the span where it happened."));
  }

  #generation(span, detail) {
    if (!detail.model && !detail.usage && detail.cost === null) return null;
    const rows = [];
    if (detail.model) rows.push(["Model", detail.model]);
    for (const [kind, number] of Object.entries(detail.usage ?? {})) rows.push([`Tokens, ${kind}`, grouped(number)]);
    if (detail.cost !== null) rows.push(["Cost", money(detail.cost)]);
    return section("Generation", h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
  }

  #state(detail, span) {
    if (!detail.state) return null;
    const rows = [];
    const row = (sign, kind, key, value, path = "") => rows.push(h("li", { class: `change ${kind}` }, h("span", { class: "sign", title: kind }, sign),
      h("button", { type: "button", class: "key-link", onclick: () => this.actions.key(key, span.id) }, key + path), value === undefined ? null : h("span", { class: "quiet preview" }, brief(value, 80))));
    for (const state of [detail.state, detail.state.end ?? {}]) {
      for (const [key, value] of Object.entries(state.full ?? {})) row("=", "first", key, value);
      for (const [key, value] of Object.entries(state.added ?? {})) row("+", "added", key, value);
      for (const [key, change] of Object.entries(state.changed ?? {})) {
        for (const part of (change.inside ?? [{ path: [], ...change }]).slice(0, MOST_PARTS)) row(...signOf(part), key, shownOf(part), placeOf(part));
        if (change.inside?.length > MOST_PARTS) row("~", "changed", key, undefined, ` and ${change.inside.length - MOST_PARTS} more places`);
      }
      for (const key of state.removed ?? []) row("−", "removed", key);
    }
    if (!rows.length) return null;
    return section(detail.state.full ? "shared at the start" : "Wrote into shared", h("ul", { class: "changes" }, rows));
  }

  #facts(span, detail) {
    const attributes = { ...detail.attributes };
    const id = h("button", { type: "button", class: "text-button mono", title: "Copy the span id", onclick: (event) => copyText(span.id, event.currentTarget) }, span.id);
    const view = Object.keys(attributes).length ? valueView(attributes, "attributes").element : null;
    return h("details", { class: "panel-section" }, h("summary", {}, "Details"), h("dl", { class: "facts" },
      h("dt", {}, "Span"), h("dd", {}, id), h("dt", {}, "Started"), h("dd", {}, moment(this.model.run.start + span.start / 1000)),
      span.facts.node ? [h("dt", {}, "Node"), h("dd", {}, span.facts.node)] : null), view);
  }
}

/** The spans that hold what a visit got and what it made: its prep, and its last attempt, its batch or its fallback. */
function contentsOf(span) {
  if (span.kind !== "node") return [];
  const prep = span.children.find((child) => child.facts.phase === "prep");
  const made = span.children.filter((child) => child.kind === "attempt" || ["exec", "exec_fallback"].includes(child.facts.phase)).at(-1);
  return [prep, made].filter(Boolean);
}

function frames(traceback) {
  if (!traceback?.length) return null;
  // The innermost frame is where it happened: it stands first, and is the reader's own code whenever there is any.
  return h("ol", { class: "frames" }, traceback.toReversed().map((frame) => h("li", {},
    h("span", { class: "frame-place" }, h("strong", {}, frame.function ?? ""), " ", h("span", { class: "quiet", title: frame.file }, `${String(frame.file ?? "").split(/[\\/]/).slice(-2).join("/")}${frame.line ? `:${frame.line}` : ""}`)),
    frame.code ? h("code", {}, frame.code) : null)));
}

function section(title, ...children) {
  return h("section", { class: "panel-section" }, h("h3", {}, title), children);
}

function valueSection(title, value) {
  const view = valueView(value, title.toLowerCase());
  return h("section", { class: "panel-section" }, h("div", { class: "section-head" }, h("h3", {}, title), view.tools), view.element);
}
