// The spans of a run as a tree, and what can be said about them.

/** A run as the pages use it: filled by answers of the server, again and again while it runs. */
export class RunModel {
  constructor() {
    this.spans = new Map();
    this.run = null;
    this.graph = [];
    this.root = null;
    this.revision = 0;
  }

  /** Takes an answer in; parents stand as row numbers where they are in the same answer. */
  take(answer) {
    const place = Object.fromEntries(answer.columns.map((name, number) => [name, number]));
    const rows = answer.spans;
    for (const row of rows) {
      const id = row[place.id];
      const span = this.spans.get(id) ?? { id, children: [] };
      for (const [name, number] of Object.entries(place)) span[name] = row[number];
      if (typeof span.parent === "number") span.parent = rows[span.parent][place.id];
      this.spans.set(id, span);
    }
    this.run = answer.run;
    this.graph = answer.graph;
    this.revision = answer.revision ?? 0;
    this.neighbours = answer.neighbours ?? this.neighbours;
    this.#plant();
  }

  /** The visits of nodes, in the order in which they began. */
  get visits() {
    return [...this.spans.values()].filter((span) => span.kind === "node").sort((a, b) => a.start - b.start);
  }

  /** Where the picture ends: the run's end, or for one that runs, now. */
  get end() {
    if (this.run.took !== null) return Math.max(1, this.run.took);
    let latest = 1;
    for (const span of this.spans.values()) latest = Math.max(latest, span.start + (span.took ?? 0));
    return this.run.status === "running" ? Math.max(latest, (Date.now() - this.run.start) * 1000) : latest * 1.02;
  }

  #plant() {
    const { run, spans } = this;
    if (!spans.has(run.id)) {
      spans.set(run.id, { id: run.id, parent: null, kind: "flow", name: run.name, status: run.status, start: 0, took: run.took, facts: {}, error: run.error });
    }
    const root = spans.get(run.id);
    for (const span of spans.values()) {
      span.children = [];
      // What was going on when the process ended goes on no more.
      if (run.status === "interrupted" && span.status === "running") span.status = "interrupted";
    }
    for (const span of spans.values()) {
      if (span === root) continue;
      const above = spans.get(span.parent);
      span.above = above && above !== span ? above : root;
      span.above.children.push(span);
    }
    root.above = null;
    this.root = root;
    this.#adoptRings();
    const pending = [[root, 0]];
    while (pending.length) {
      const [span, depth] = pending.pop();
      span.depth = depth;
      span.children.sort((a, b) => a.start - b.start);
      for (const child of span.children) pending.push([child, depth + 1]);
    }
  }

  #adoptRings() {
    // Spans that name each other as parents hang from nothing: the first of each ring is put under the root.
    const reached = new Set();
    const reach = (from) => {
      const pending = [from];
      while (pending.length) {
        const span = pending.pop();
        if (reached.has(span)) continue;
        reached.add(span);
        pending.push(...span.children);
      }
    };
    reach(this.root);
    if (reached.size === this.spans.size) return;
    for (const span of this.spans.values()) {
      if (reached.has(span)) continue;
      span.above.children = span.above.children.filter((child) => child !== span);
      span.above = this.root;
      this.root.children.push(span);
      reach(span);
    }
  }
}

/** The name to show below its node: "exec" for "DecideAction.exec". */
export function shortName(span) {
  if (span.kind !== "phase" && span.kind !== "attempt") return span.name;
  return span.name.slice(span.name.lastIndexOf(".") + 1);
}

/** An attempt that failed and was saved later. */
export const wasSaved = (span) => span.status === "error" && span.facts.level === "WARNING";

/** The names of the graph's nodes by id. */
export function nodeNames(graph) {
  const names = new Map();
  const pending = [...graph];
  while (pending.length) {
    const picture = pending.pop();
    for (const node of picture.nodes) {
      names.set(node.id, node.name);
      if (node.inner) pending.push(node.inner);
    }
  }
  return names;
}

/** What a visit decided: {action, to, lost}; null when there is nothing to say. */
export function decision(span, names) {
  const { action, successor, no_successor: lost } = span.facts;
  if (action === undefined) return null;
  const told = action !== "default" || lost ? String(action) : "";
  if (!told && successor === undefined) return null;
  return { action: told, to: successor === undefined ? "" : names.get(successor) ?? successor, lost: Boolean(lost) };
}

/** The error of a span where it happened; null on the spans above it. */
export function ownError(span) {
  if (!span.error) return null;
  return span.children.some((child) => child.error && !wasSaved(child)) ? null : span.error;
}

/** The attempts that belong to a span: of a node directly, of a batch by item. */
export const attemptsOf = (span) => span.children.filter((child) => child.kind === "attempt");

/** The node visit that a span belongs to. */
export function visitOf(span) {
  for (let at = span; at; at = at.above) if (at.kind === "node") return at;
  return null;
}

/** Whether something went wrong in this span itself, saved or not: not only in a span below it. */
export function isProblem(span) {
  if (span.facts.phase === "exec_fallback") return true;
  return wentWrong(span) && !span.children.some((child) => wentWrong(child) && !wasSaved(child));
}

const wentWrong = (span) => ["error", "cancelled", "interrupted"].includes(span.status);
