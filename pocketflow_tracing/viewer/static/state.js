// What `shared` held at each step, what the visit added, changed and removed, and who wrote a key.

import { fill, h, icon, iconButton, statusMark } from "./dom.js";
import { brief, counted, duration, sizeWords } from "./words.js";
import { diffView } from "./diff.js";
import { valueView } from "./json_tree.js";
import { applied, placeOf, shownOf, signOf } from "./changes.js";

const SIGNS = { first: "=", added: "+", changed: "~", removed: "−", unwatched: "…" };
const WORDS = { first: "there at the start", added: "added", changed: "changed", removed: "removed", unwatched: "no longer watched" };
const GONE = new Set(["removed", "unwatched"]);
const MOST_MARKS = 150;
const MOST_WRITES = 100;
const MOST_CHANGES = 4;
const UNKNOWN = "<unknown: what it was before is not in the store>";

export class StateView {
  constructor(model, source, actions) {
    Object.assign(this, { model, source, actions, step: null, key: null, steps: null, most: MOST_WRITES });
    this.slider = h("input", { type: "range", min: "0", step: "1", "aria-label": "Step", disabled: true }); // until there are steps
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.where = h("div", { class: "state-where" });
    this.marks = h("div", { class: "state-marks", "aria-hidden": "true" });
    this.table = h("div", { class: "state-keys" });
    this.history = h("section", { class: "state-history", "aria-label": "History of a key" });
    this.element = h("div", { class: "state" },
      h("div", { class: "state-head" },
        h("div", { class: "state-slide" }, iconButton("left", "Step before", () => this.go(this.step - 1)), h("div", { class: "slide-box" }, this.slider, this.marks), iconButton("right", "Next step", () => this.go(this.step + 1))),
        this.where),
      h("div", { class: "state-body" }, this.table, this.history));
  }

  /** Reads what was written, as far as the run has come. */
  async load() {
    const states = await this.source.states();
    this.steps = stepsOf(this.model, states);
    this.loadedAt = this.model.revision;
    this.slider.max = String(Math.max(0, this.steps.length - 1));
    this.slider.disabled = false;
  }

  /** A mark below the slider for each step, larger where shared was written; those of the chosen key alone when one is. */
  #drawMarks() {
    const last = this.steps.length - 1;
    const marked = this.steps.map((step, number) => [step, number]).filter(([step]) => (this.key === null ? last < MOST_MARKS : step.written.has(this.key)));
    this.marks.classList.toggle("dense", marked.length > MOST_MARKS);
    fill(this.marks, marked.map(([step, number]) => {
      const mark = h("i", { class: step.writes ? `status-${step.span?.status ?? "success"} writes` : "" });
      mark.style.left = `${last ? (number / last) * 100 : 0}%`;
      return mark;
    }));
  }

  /** Draws what there is; of a run that goes on only what is new, so that nothing closes under the reader's hand. */
  async refresh() {
    const known = this.loadedAt;
    if (this.steps === null || this.loadedAt !== this.model.revision) await this.load();
    if (known === this.loadedAt && this.table.hasChildNodes()) return;
    if (!this.steps.length) {
      fill(this.element, h("div", { class: "state-none" }, h("p", {}, "Nothing is known of shared in this run."), h("p", { class: "quiet" }, "It is recorded when the flow is run with a dict, and inputs are on (POCKETFLOW_TRACE_INPUTS).")));
      return;
    }
    if (this.step === null || this.step >= this.steps.length) this.step = this.steps.length - 1;
    this.#draw();
  }

  /** Goes to the step of a visit; without one of its own, to the last before it. */
  reveal(id) {
    if (!this.steps) return;
    const number = this.steps.findIndex((step) => step.span?.id === id);
    if (number >= 0 && number !== this.step) { this.step = number; this.#draw(); }
  }

  go(step) {
    if (!this.steps?.length) return;
    this.step = Math.max(0, Math.min(this.steps.length - 1, step));
    this.#draw();
    this.actions.step(this.step, this.steps[this.step].span?.id);
  }

  choose(key) {
    this.key = this.key === key ? null : key;
    this.most = MOST_WRITES;
    this.#draw();
    this.actions.key(this.key);
  }

  #draw() {
    const at = this.steps[this.step];
    this.slider.value = String(this.step);
    this.slider.setAttribute("aria-valuetext", `${at.title}, step ${this.step} of ${this.steps.length - 1}`);
    const changes = ["added", "changed", "removed", "unwatched"].map((kind) => [kind, [...at.written].filter(([, one]) => one.kind === kind).length]).filter(([, number]) => number);
    fill(this.where,
      at.span ? statusMark(at.span.status) : null,
      h("strong", {}, at.title),
      h("span", { class: "quiet" }, this.step === 0 && at.first ? "before the first node" : `step ${this.step} of ${this.steps.length - 1}`),
      changes.length ? changes.map(([kind, number]) => h("span", { class: `change-count ${kind}` }, `${SIGNS[kind]} ${number} ${WORDS[kind]}`)) : at.first ? null : h("span", { class: "quiet" }, "changed nothing in shared"),
      h("span", { class: "spring" }),
      at.span ? h("button", { type: "button", class: "button small", onclick: () => this.actions.open(at.span.id) }, "Show this visit") : null);
    fill(this.table, this.#keys(at));
    fill(this.history, this.#history());
    this.#drawMarks();
    Promise.all(this.previews).then(() => {
      const current = this.history.querySelector("li.current");
      if (current) this.history.scrollTop = current.offsetTop - this.history.clientHeight / 3;
    });
    this.history.hidden = this.key === null;
  }

  #keys(at) {
    const shared = stateAt(this.steps, this.step);
    const gone = [...at.written].filter(([, one]) => GONE.has(one.kind)).map(([key]) => [key, null]);
    const entries = [...shared, ...gone];
    if (!entries.length) return h("p", { class: "quiet" }, "shared is empty here.");
    return h("ul", { class: "key-rows" }, entries.map(([key, held]) => {
      const write = at.written.get(key);
      const kind = write && !(at.first && write.kind === "first") ? write.kind : "";
      const body = h("div", { class: "key-value" });
      if (held) this.#value(body, key, held, kind);
      return h("li", { class: `key-row ${kind}${key === this.key ? " chosen" : ""}` },
        h("div", { class: "key-head" },
          h("span", { class: `sign ${kind}`, title: kind ? WORDS[kind] : "" }, kind ? SIGNS[kind] : ""),
          h("button", { type: "button", class: "key-name", title: "Who wrote this key?", "aria-pressed": String(key === this.key), onclick: () => this.choose(key) }, key),
          kind ? h("span", { class: `change-word ${kind}` }, WORDS[kind]) : held ? h("span", { class: "quiet from" }, `since ${this.steps[held.step].title}`) : null),
        body);
    }));
  }

  async #value(body, key, held, kind) {
    const value = await this.#whole(held);
    const before = kind === "changed" ? held.before : null;
    if (before) {
      const old = await this.#whole(before);
      fill(body, diffView(old, value));
      return;
    }
    fill(body, valueView(value, key).element);
  }

  /** The value of a write; a large one is asked for when it is first seen, a change is applied to what was there before. */
  async #whole(write) {
    const chain = [];
    let at = write;
    while (at && at.whole === undefined) {
      if ("size" in at.box) {
        try {
          at.box = await this.source.value(at.seq, at.key);
        } catch (error) {
          if (error.status === undefined) throw error;
          return `(${error.message} It has ${sizeWords(at.box.size)}.)`;
        }
      }
      chain.push(at);
      if ("v" in at.box) break;
      at = at.before;
    }
    let value = at?.whole ?? UNKNOWN;
    for (const one of chain.reverse()) value = "v" in one.box ? one.box.v : applied(value, one.box.inside) ?? UNKNOWN;
    write.whole = value;
    return value;
  }

  #history() {
    this.previews = [];
    if (this.key === null) return null;
    const writes = this.steps.map((step, number) => ({ step, number, write: step.written.get(this.key) })).filter(({ write }) => write);
    const list = h("ol", { class: "writes" });
    const hidden = Math.max(0, writes.length - this.most);
    if (hidden) list.append(h("li", { class: "earlier" }, h("button", { type: "button", class: "text-button", onclick: () => { this.most += MOST_WRITES; fill(this.history, this.#history()); } }, `${counted(hidden, "earlier write")}`)));
    for (const { step, number, write } of writes.slice(hidden)) {
      const value = h("div", { class: "write-value" });
      list.append(h("li", { class: `${number === this.step ? "current" : ""}` },
        h("button", { type: "button", class: "write-head", onclick: () => this.go(number) },
          h("span", { class: `sign ${write.kind}` }, SIGNS[write.kind]), h("strong", {}, step.title), h("span", { class: "quiet" }, WORDS[write.kind])),
        value));
      if (!GONE.has(write.kind)) this.previews.push(this.#whole(write).then((whole) => fill(value, write.box.inside ? changedParts(write.box.inside) : h("span", { class: "preview" }, brief(whole, 220)))));
    }
    return [h("div", { class: "section-head" }, h("h3", {}, h("code", {}, this.key)), h("span", { class: "quiet" }, counted(writes.length, "write")), h("span", { class: "spring" }), iconButton("close", "Close the history", () => this.choose(this.key))), list];
  }
}

/** What a write changed inside of a value: where, and what stands there now. */
function changedParts(steps) {
  const more = steps.length - MOST_CHANGES;
  return [steps.slice(0, MOST_CHANGES).map((step) => {
    const [sign, kind] = signOf(step);
    const now = shownOf(step);
    return h("div", { class: "part-line" }, h("span", { class: `change-word ${kind}` }, sign), h("span", { class: "preview" }, h("strong", {}, placeOf(step)), now === undefined ? "" : ` ${brief(now, 120)}`));
  }), more > 0 ? h("div", {}, `and ${counted(more, "more place")}`) : null];
}

/** Steps of the slider: each picture and each visit of a node, in the order in which they ended. */
function stepsOf(model, states) {
  const known = new Set(states.map((state) => state.span));
  const silent = [...model.spans.values()].filter((span) => span.kind === "node" && span.took !== null && !known.has(span.id)).sort((a, b) => ended(a) - ended(b));
  const steps = [];
  const pictures = new Map(); // which shared -> key -> its newest write
  let of = states[0]?.of ?? 0;
  const add = (span, state) => {
    if (state) ({ of } = state);
    if (!pictures.has(of)) pictures.set(of, new Map());
    steps.push(stepOf(span, state, of, pictures.get(of), steps.length));
  };
  for (const state of states) {
    const span = model.spans.get(state.span) ?? null;
    const time = span ? (state.first ? span.start : ended(span)) : 0;
    while (silent.length && ended(silent[0]) < time) add(silent.shift(), null);
    add(span, state);
  }
  for (const span of silent) add(span, null);
  return steps;
}

const ended = (span) => span.start + (span.took ?? 0);

function stepOf(span, state, of, last, number) {
  const written = new Map();
  const first = Boolean(state?.first);
  if (first) last.clear();
  const write = (kind, key, box) => {
    const made = { kind, key, box, seq: state.seq, step: number, before: last.get(key) ?? null };
    written.set(key, made);
    if (GONE.has(kind)) last.delete(key);
    else last.set(key, made);
  };
  for (const [key, box] of Object.entries(state?.added ?? {})) write(first ? "first" : "added", key, box);
  for (const [key, box] of Object.entries(state?.changed ?? {})) write("changed", key, box);
  for (const key of state?.removed ?? []) write("removed", key, {});
  for (const key of state?.unwatched ?? []) write("unwatched", key, {});
  const shown = new Map(); // not changed, but recorded anew: with fewer elements, or watched again
  for (const [key, box] of Object.entries(state?.shown ?? {})) {
    const made = { kind: "shown", key, box, seq: state.seq, step: last.get(key)?.step ?? number, before: null };
    shown.set(key, made);
    last.set(key, made);
  }
  const visit = span?.facts.visit > 1 ? ` visit ${span.facts.visit}` : "";
  return { span, of, first, written, shown, writes: written.size > 0, title: first ? `start of ${span?.name ?? "the run"}` : `${span?.name ?? "?"}${visit}` };
}

/** What the shared of a step held after it: [key, write]. */
function stateAt(steps, until) {
  let shared = new Map();
  for (const { of, first, written, shown } of steps.slice(0, until + 1)) {
    if (of !== steps[until].of) continue;
    if (first) shared = new Map();
    for (const [key, write] of written) {
      if (GONE.has(write.kind)) shared.delete(key);
      else shared.set(key, write);
    }
    for (const [key, made] of shown) shared.set(key, made);
  }
  return shared;
}
