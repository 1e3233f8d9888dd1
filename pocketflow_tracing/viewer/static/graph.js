// The flow as it was drawn up, and the path that the run took through it.

import { fill, h, icon, iconButton, svg } from "./dom.js";
import { counted, duration, grouped } from "./words.js";
import { fitted, widthOf } from "./fit.js";

const WORST = ["success", "recovered", "running", "interrupted", "cancelled", "error"];
const ICONS = { success: "M3.5 8.6l3 3 6-7", recovered: "M12.6 8.2a4.6 4.6 0 1 1-1.3-3.4M12.8 2.4v3.1H9.7", error: "M4.4 4.4l7.2 7.2M11.6 4.4l-7.2 7.2", cancelled: "M4.6 11.4l6.8-6.8", running: "M5.5 3.8l6.5 4.2-6.5 4.2z", interrupted: "M5.8 4v8M10.2 4v8" };
const EDGE = 32;
const NAME = 13;
const NOTE = 11.5;
const LABEL_MOST = 170;

export class GraphView {
  constructor(model, select) {
    this.model = model;
    this.select = select;
    this.selected = null;
    this.scale = null;
    this.canvas = h("div", { class: "graph-canvas", tabindex: "0", role: "group", "aria-label": "Graph of the flow, scrollable" });
    const tools = h("div", { class: "graph-tools" },
      h("ul", { class: "legend", "aria-label": "Legend" },
        h("li", {}, h("i", { class: "legend-line taken" }), "path taken, with its number of times"),
        h("li", {}, h("i", { class: "legend-line" }), "never taken"),
        h("li", {}, h("i", { class: "legend-box" }), "nested flow")),
      h("span", { class: "spring" }),
      iconButton("minus", "Smaller", () => this.#zoom(1 / 1.25)), iconButton("plus", "Larger", () => this.#zoom(1.25)), iconButton("fit", "Fit", () => { this.scale = null; this.refresh(); }));
    this.element = h("div", { class: "graph" }, tools, this.canvas);
    new ResizeObserver(() => { if (this.scale === null) this.#size(); }).observe(this.canvas);
  }

  refresh() {
    const pictures = this.model.graph;
    if (!pictures.length) {
      fill(this.canvas, h("p", { class: "quiet graph-none" }, "This run recorded no graph: it ran a node by itself, or a function without flows."));
      return;
    }
    this.#walk();
    const drawn = [];
    let top = EDGE;
    this.width = Math.max(...pictures.map((picture) => picture.width)) + 2 * EDGE;
    for (const picture of pictures) {
      const group = svg("g", { transform: `translate(${(this.width - picture.width) / 2} ${top + (pictures.length > 1 ? 24 : 0)})` });
      if (pictures.length > 1) group.append(svg("text", { class: "flow-title", x: picture.width / 2, y: -12, "text-anchor": "middle" }, picture.name));
      this.#draw(group, picture);
      drawn.push(group);
      top += picture.height + 64;
    }
    this.height = top;
    this.picture = svg("svg", { viewBox: `0 0 ${this.width} ${this.height}`, role: "group", "aria-label": "Nodes of the flow" }, drawn);
    const at = [this.canvas.scrollLeft, this.canvas.scrollTop];
    const focused = this.canvas.contains(document.activeElement) ? document.activeElement.dataset.node : undefined;
    fill(this.canvas, this.picture);
    this.#size();
    this.canvas.scrollTo(...at);
    if (focused !== undefined) [...this.canvas.querySelectorAll("[data-node]")].find((node) => node.dataset.node === focused)?.focus();
  }

  #size() {
    if (!this.picture) return;
    const room = this.canvas.clientWidth || 600;
    const scale = this.scale ?? Math.min(1.1, room / this.width, Math.max(0.6, (this.canvas.clientHeight || 600) / this.height));
    this.shown = scale;
    this.picture.setAttribute("width", String(Math.floor(this.width * scale)));
    this.picture.setAttribute("height", String(Math.floor(this.height * scale)));
  }

  #zoom(factor) {
    this.scale = Math.min(3, Math.max(0.15, (this.shown ?? 1) * factor));
    this.#size();
  }

  /** Counts the path: visits of each node, times that each edge was taken. */
  #walk() {
    this.visits = new Map();
    this.taken = new Map();
    this.lost = new Map();
    const spans = [...this.model.spans.values()].filter((span) => span.facts.node !== undefined && ["node", "flow"].includes(span.kind)).sort((a, b) => a.start - b.start);
    for (const span of spans) {
      const { node, action, successor, no_successor: lost } = span.facts;
      if (!this.visits.has(node)) this.visits.set(node, []);
      this.visits.get(node).push(span);
      if (successor !== undefined) this.#count(this.taken, `${node}\n${action}\n${successor}`);
      if (lost) this.#count(this.lost, `${node}\n${action}`);
    }
  }

  #count(counts, key) {
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }

  #draw(group, picture) {
    const labels = svg("g", {});
    for (const edge of picture.edges) {
      // PocketFlow falls back to nothing: an action leads along its own edge only.
      const times = this.taken.get(`${edge.from}\n${edge.action}\n${edge.to}`) ?? 0;
      group.append(edgeOf(edge, times));
      labels.append(edgeLabel(edge, times));
    }
    picture.nodes.forEach((node, number) => group.append(this.#node(node, number === 0)));
    group.append(labels);
  }

  #node(node, isStart) {
    const visits = this.visits.get(node.id) ?? [];
    const status = visits.reduce((worst, visit) => (WORST.indexOf(visit.status) > WORST.indexOf(worst) ? visit.status : worst), "success");
    const failed = visits.filter((visit) => visit.status === "error").length;
    const saved = visits.filter((visit) => visit.status === "recovered").length;
    const took = visits.reduce((sum, visit) => sum + (visit.took ?? 0), 0);
    const told = visits.length ? [counted(visits.length, "visit"), failed ? `${failed} failed` : "", saved ? `${saved} recovered` : "", duration(took)].filter(Boolean).join(" · ") : "never visited";
    const current = visits.some((visit) => visit.id === this.selected);
    const group = svg("g", {
      class: `graph-node ${visits.length ? `visited status-${status}` : "unvisited"}${node.inner ? " box" : ""}${current ? " current" : ""}`,
      transform: `translate(${node.x} ${node.y})`, tabindex: visits.length ? "0" : null, role: visits.length ? "button" : "img",
      "aria-label": `${node.name}${isStart ? ", start" : ""}: ${told}${visits.length ? `, ${status}` : ""}`, dataset: { node: node.id },
    });
    group.append(svg("title", {}, `${node.name}: ${told}`));
    group.append(svg("rect", { class: "node-box", width: node.width, height: node.height, rx: 9 }));
    if (isStart) group.append(svg("path", { class: "start-mark", d: `M${node.width / 2 - 7} -13h14l-7 9z` }));
    const left = 34;
    if (visits.length) {
      group.append(svg("circle", { class: "node-mark", cx: 19, cy: node.inner ? 18 : 20, r: 9 }));
      group.append(svg("path", { class: "node-sign", d: ICONS[status] ?? "", transform: `translate(12.6 ${node.inner ? 11.6 : 13.6}) scale(0.8)` }));
    }
    group.append(svg("text", { class: "node-name", x: visits.length ? left : 14, y: node.inner ? 23 : 25 }, fitted(node.name, node.width - (visits.length ? left : 14) - 10, NAME, 620)));
    if (node.inner) {
      const inside = svg("g", { transform: `translate(${node.inner.x} ${node.inner.y})` });
      this.#draw(inside, node.inner);
      group.append(inside);
      group.append(svg("text", { class: "node-note", x: node.width - 12, y: 23, "text-anchor": "end" }, visits.length > 1 ? `×${visits.length}` : ""));
    } else {
      group.append(this.#steps(node, visits, left));
    }
    const open = (event) => {
      event.stopPropagation();
      const at = visits.findIndex((visit) => visit.id === this.selected);
      if (visits.length) this.select(visits[(at + 1) % visits.length].id);
    };
    group.addEventListener("click", open);
    group.addEventListener("keydown", (event) => {
      if (event.target !== group || (event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      open(event);
    });
    return group;
  }

  /** The steps at which a node was visited: each leads to its visit. */
  #steps(node, visits, left) {
    const group = svg("g", {});
    if (!visits.length) {
      group.append(svg("text", { class: "node-note", x: 14, y: 43 }, "never visited"));
      return group;
    }
    const took = visits.reduce((sum, visit) => sum + (visit.took ?? 0), 0);
    const note = `${visits.length > 1 ? `×${grouped(visits.length)}  ` : ""}${duration(took)}`;
    const room = node.width - 18 - widthOf(note, NOTE);
    let x = left;
    for (const visit of visits) {
      const text = String(visit.facts.step ?? visit.facts.visit ?? "");
      const wide = widthOf(text, 11, 600) + 11;
      if (x + wide > room) break;
      const chip = svg("g", { class: `step-chip status-${visit.status}${visit.id === this.selected ? " current" : ""}` },
        svg("title", {}, `step ${text}: ${visit.status}, ${duration(visit.took) || "not ended"}`),
        svg("rect", { x, y: 32, width: wide, height: 16, rx: 8 }), svg("text", { x: x + wide / 2, y: 44, "text-anchor": "middle" }, text));
      chip.addEventListener("click", (event) => { event.stopPropagation(); this.select(visit.id); });
      group.append(chip);
      x += wide + 4;
    }
    group.append(svg("text", { class: "node-note", x: node.width - 10, y: 44, "text-anchor": "end" }, note));
    return group;
  }

  reveal(id) {
    this.selected = id;
    this.refresh();
    this.canvas.querySelector(".graph-node.current:not(.box)")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function edgeOf(edge, times) {
  const group = svg("g", { class: `edge ${times ? "taken" : "untaken"}` });
  const { points } = edge;
  const [x, y] = points.at(-1);
  let path;
  if (edge.back) {
    const [[x0, y0], [lane], , [, y3]] = points;
    const side = lane > x0 ? 1 : -1;
    const round = Math.min(12, Math.abs(y0 - y3) / 2);
    path = `M${x0} ${y0}H${lane - side * round}Q${lane} ${y0} ${lane} ${y0 - round}V${y3 + round}Q${lane} ${y3} ${lane - side * round} ${y3}H${x + side * 7}`;
    if (y0 <= y3) path = `M${x0} ${y0}C${lane} ${y0} ${lane} ${y3} ${x + side * 7} ${y3}`;
    group.append(svg("path", { class: "arrow", d: `M${x} ${y}l${side * 9} -4.5v9z` }));
  } else {
    path = `M${points[0][0]} ${points[0][1]}`;
    for (let number = 1; number < points.length; number += 1) {
      const [[x0, y0], [x1, y1]] = [points[number - 1], points[number]];
      const end = number === points.length - 1 ? y1 - 7 : y1;
      const middle = (y0 + end) / 2;
      path += `C${x0} ${middle} ${x1} ${middle} ${x1} ${end}`;
    }
    group.append(svg("path", { class: "arrow", d: `M${x} ${y}l-4.5 -9h9z` }));
  }
  group.prepend(svg("path", { class: "edge-line", d: path }));
  return group;
}

function edgeLabel(edge, times) {
  const name = edge.action === "default" ? "" : edge.action;
  const text = [fitted(name, LABEL_MOST, NOTE, 600), times > 1 ? `×${grouped(times)}` : ""].filter(Boolean).join(" ");
  if (!text) return "";
  const wide = widthOf(text, NOTE, 600) + 16;
  const [x, y] = edge.label;
  return svg("g", { class: `edge-label ${times ? "taken" : "untaken"}` },
    svg("title", {}, times ? `${edge.action}: taken ${counted(times, "time")}` : `${edge.action}: never taken`),
    svg("rect", { x: x - wide / 2, y: y - 9.5, width: wide, height: 19, rx: 9.5 }), svg("text", { x, y: y + 4, "text-anchor": "middle" }, text));
}
