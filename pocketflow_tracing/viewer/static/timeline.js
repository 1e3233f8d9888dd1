// The tree of a run with a bar per span on a common time axis. Only the rows in sight are in the document.

import { fill, h, icon, iconButton } from "./dom.js";
import { barOf } from "./bars.js";
import { TimeWindow } from "./axis.js";
import { counted, grouped } from "./words.js";
import { isProblem, nodeNames } from "./tree.js";
import { rowOf } from "./rows.js";

const ROW = 30;
const MARGIN = 12;
const LETTER = 6.6;
const FEW_ROWS = 150;
const MANY_ITEMS = 30;

export class Timeline {
  constructor(model, select) {
    this.model = model;
    this.select = select;
    this.selected = null;
    this.time = new TimeWindow();
    this.folded = new Map(); // span id -> whether its children are hidden, where the reader has said so
    this.rows = [];
    this.drawn = new Map();
    this.needle = "";
    this.#build();
  }

  #build() {
    this.axis = h("div", { class: "axis", title: "Drag to zoom into a part" });
    this.overview = h("div", { class: "overview", "aria-hidden": "true" });
    this.spacer = h("div", { class: "tree-rows" });
    this.count = h("span", { class: "quiet" });
    this.scroller = h("div", { class: "tree-scroll", role: "tree", tabindex: "0", "aria-label": "Spans of the run" }, this.spacer);
    this.problems = h("button", { type: "button", class: "button small", onclick: () => this.step(1, isProblem) });
    this.folder = h("button", { type: "button", class: "button small", onclick: () => this.#foldAll() });
    const search = h("input", { type: "search", placeholder: "Find a span", "aria-label": "Find a span", value: "" });
    search.addEventListener("input", () => { this.needle = search.value.trim().toLowerCase(); this.refresh(); });
    this.search = search;
    const tools = h("div", { class: "tree-tools" },
      h("label", { class: "search-box" }, icon("search"), search),
      this.problems, this.folder,
      this.count, h("span", { class: "spring" }),
      h("span", { class: "zoom", role: "group", "aria-label": "Zoom" },
        iconButton("minus", "Zoom out (−)", () => this.zoom(1 / 1.6)),
        iconButton("plus", "Zoom in (+)", () => this.zoom(1.6)),
        iconButton("fit", "Show the whole run (0)", () => { this.time.fit(); this.rescale(); })));
    const head = h("div", { class: "tree-head" }, h("span", {}, "Span"), h("span", { class: "number" }, "Duration"), h("div", { class: "axis-box" }, this.overview, this.axis));
    this.element = h("div", { class: "timeline" }, tools, head, this.scroller);
    this.scroller.addEventListener("scroll", () => this.#soon(), { passive: true });
    this.scroller.addEventListener("keydown", (event) => this.#key(event));
    this.scroller.addEventListener("click", (event) => this.#click(event));
    this.element.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    new ResizeObserver(() => this.redraw()).observe(this.scroller);
    this.#dragToZoom();
  }

  /** Takes the model as it is now: after an answer, after folding, after a search. */
  refresh() {
    this.names = nodeNames(this.model.graph);
    this.small = this.model.spans.size <= FEW_ROWS;
    this.time.setTotal(this.model.end);
    this.rows = this.needle ? this.#found() : this.#open();
    this.spacer.style.height = `${this.rows.length * ROW}px`;
    this.count.textContent = this.needle ? `${counted(this.rows.length, "span")} found` : this.rows.length < this.model.spans.size ? `${grouped(this.rows.length)} of ${counted(this.model.spans.size, "span")}` : counted(this.rows.length, "span");
    this.#tellTools();
    this.redraw();
  }

  #tellTools() {
    const problems = [...this.model.spans.values()].filter(isProblem).length;
    fill(this.problems, icon("error"), problems ? `Next problem (${grouped(problems)})` : "No problems");
    this.problems.disabled = problems === 0;
    this.problems.title = problems ? "Next failure, fallback or interruption (e)" : "Nothing failed in this run";
    const folds = this.#foldable();
    this.folder.textContent = folds.some((span) => !this.isFolded(span)) ? "Fold all" : "Unfold all";
    this.folder.disabled = !folds.length;
  }

  #open() {
    const rows = [];
    const pending = [this.model.root];
    while (pending.length) {
      const span = pending.pop();
      rows.push(span);
      if (span.children.length && !this.isFolded(span)) pending.push(...span.children.toReversed());
    }
    return rows;
  }

  #found() {
    return [...this.model.spans.values()].filter((span) => `${span.name} ${span.error ?? ""} ${span.facts.action ?? ""} ${span.model ?? ""}`.toLowerCase().includes(this.needle)).sort((a, b) => a.start - b.start);
  }

  /** Without a word of the reader: long batches are folded, and in long runs the nodes where nothing is worth a look. */
  isFolded(span) {
    const told = this.folded.get(span.id);
    if (told !== undefined) return told;
    if (span.children.length > MANY_ITEMS && (span.facts.items !== undefined || this.model.spans.size > 2000)) return span.kind !== "flow" && span.kind !== "function";
    if (this.small || span.kind !== "node") return false;
    return span.status === "success" && span.children.length <= 3;
  }

  /** Draws everything in sight anew. */
  redraw() {
    for (const row of this.drawn.values()) row.remove();
    this.drawn.clear();
    this.#drawAxis();
    this.#drawRows();
  }

  #soon() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.#drawRows(); });
  }

  #drawRows() {
    const top = this.scroller.scrollTop;
    const first = Math.max(0, Math.floor(top / ROW) - MARGIN);
    const last = Math.min(this.rows.length, Math.ceil((top + this.scroller.clientHeight) / ROW) + MARGIN);
    for (const [number, row] of this.drawn) {
      if (number < first || number >= last) { row.remove(); this.drawn.delete(number); }
    }
    const fresh = document.createDocumentFragment();
    const end = this.model.end;
    for (let number = first; number < last; number += 1) {
      if (this.drawn.has(number)) continue;
      const row = this.#row(this.rows[number], number, end);
      this.drawn.set(number, row);
      fresh.append(row);
    }
    this.spacer.append(fresh);
    const active = this.rows.findIndex((span) => span.id === this.selected);
    if (active >= 0 && this.drawn.has(active)) this.scroller.setAttribute("aria-activedescendant", `row-${this.selected}`);
    else this.scroller.removeAttribute("aria-activedescendant");
  }

  #row(span, number, end) {
    const found = this.needle !== "";
    const folded = span.children.length > 0 && !found ? this.isFolded(span) : null;
    const row = rowOf(span, { folded, found, selected: span.id === this.selected, names: this.names, time: this.time, end });
    row.style.transform = `translateY(${number * ROW}px)`;
    return row;
  }

  #drawAxis() {
    const wide = this.axis.clientWidth || 400;
    fill(this.axis, this.time.ticks(Math.floor(wide / 84)).map(({ at, label }) => {
      const place = this.time.place(at);
      const fits = place * wide + 8 + label.length * LETTER <= wide;
      const tick = h("span", { class: "tick" }, fits ? label : "");
      tick.style.left = `${place * 100}%`;
      return tick;
    }));
    const frame = h("i", {});
    frame.style.left = `${(this.time.from / this.time.total) * 100}%`;
    frame.style.width = `${(this.time.span / this.time.total) * 100}%`;
    fill(this.overview, frame);
    this.overview.classList.toggle("whole", this.time.isWhole);
  }

  zoom(factor, at) {
    this.time.zoom(factor, at);
    this.rescale();
  }

  /** Draws axis and bars for another window of time, once a frame; the names stay as they are. */
  rescale() {
    this.rescaling ||= requestAnimationFrame(() => {
      this.rescaling = 0;
      this.#drawAxis();
      const end = this.model.end;
      for (const [number, row] of this.drawn) fill(row.lastChild.firstChild, barOf(this.rows[number], this.time, end));
    });
  }

  #wheel(event) {
    const box = this.axis.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.003), Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      if (this.time.isWhole) return;
      event.preventDefault();
      this.time.pan((event.deltaX || event.deltaY) / box.width);
      this.rescale();
    }
  }

  #dragToZoom() {
    let start = null;
    const part = h("i", { class: "drag" });
    const place = (event) => {
      const box = this.axis.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    this.axis.addEventListener("pointerdown", (event) => {
      start = place(event);
      this.axis.setPointerCapture(event.pointerId);
    });
    this.axis.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const at = place(event);
      part.style.left = `${Math.min(start, at) * 100}%`;
      part.style.width = `${Math.abs(at - start) * 100}%`;
      this.axis.append(part);
    });
    this.axis.addEventListener("pointerup", (event) => {
      if (start === null) return;
      const [from, to] = [start, place(event)].sort((a, b) => a - b);
      start = null;
      part.remove();
      if (to - from > 0.01) this.time.show(this.time.from + this.time.span * from, this.time.from + this.time.span * to);
      this.rescale();
    });
  }

  #click(event) {
    const row = event.target.closest(".tree-row");
    if (!row) return;
    const span = this.model.spans.get(row.dataset.span);
    if (event.target.closest("[data-twist]")) this.fold(span, !this.isFolded(span));
    else this.select(span.id);
  }

  fold(span, hidden) {
    this.folded.set(span.id, hidden);
    this.refresh();
  }

  #foldable() {
    return [...this.model.spans.values()].filter((span) => span.children.length && span.kind !== "flow" && span.kind !== "function");
  }

  #foldAll() {
    const nodes = this.#foldable();
    const hide = nodes.some((span) => !this.isFolded(span));
    for (const span of nodes) this.folded.set(span.id, hide);
    this.refresh();
  }

  #key(event) {
    const at = this.rows.findIndex((span) => span.id === this.selected);
    const span = this.rows[at];
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 1);
    const moves = { ArrowDown: at + 1, ArrowUp: Math.max(0, at - 1), Home: 0, End: this.rows.length - 1, PageDown: Math.min(this.rows.length - 1, at + page), PageUp: Math.max(0, at - page) };
    if (event.key in moves) this.select(this.rows[moves[event.key]]?.id ?? this.selected);
    else if (span && event.key === "ArrowRight") span.children.length && this.isFolded(span) ? this.fold(span, false) : this.select(span.children[0]?.id ?? span.id);
    else if (span && event.key === "ArrowLeft") span.children.length && !this.isFolded(span) ? this.fold(span, true) : this.select(span.above?.id ?? span.id);
    else return;
    event.preventDefault();
  }

  /** Selects the next row of which `wanted` holds, opening what hides it; -1 goes back. */
  step(direction, wanted = () => true) {
    const all = [];
    const pending = [this.model.root];
    while (pending.length) {
      const span = pending.pop();
      all.push(span);
      pending.push(...span.children.toReversed());
    }
    const rows = wanted === isProblem || !this.rows.length ? all : this.rows;
    const at = rows.findIndex((span) => span.id === this.selected);
    for (let turn = 1; turn <= rows.length; turn += 1) {
      const span = rows[(at + direction * turn + rows.length * 2) % rows.length];
      if (span && wanted(span)) { this.select(span.id); return; }
    }
  }

  /** Marks a span as selected and brings it into sight. */
  reveal(id) {
    this.selected = id;
    const span = this.model.spans.get(id);
    if (!span) return;
    for (let at = span.above; at && !this.needle; at = at.above) if (this.isFolded(at)) this.folded.set(at.id, false);
    this.refresh();
    const number = this.rows.indexOf(span);
    if (number < 0) return;
    const top = number * ROW;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop + ROW || top > scrollTop + clientHeight - ROW * 2) this.scroller.scrollTop = top - clientHeight / 2.5;
    this.#drawRows();
  }
}
