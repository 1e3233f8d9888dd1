// Changes inside a value, as they are recorded: a path, and what happened there.

/** The value after changes were applied to it; null when they were made from another value. */
export function applied(value, steps) {
  try {
    return steps.reduce((at, step) => put(at, step.path, step), value);
  } catch {
    return null;
  }
}

function put(value, path, step) {
  if (!path.length) return changedHere(value, step);
  const [first, ...rest] = path;
  if (value === null || typeof value !== "object" || Array.isArray(value) !== (typeof first === "number")) throw new Error("no such place");
  if (!Array.isArray(value)) {
    // Not a spread: a key may be called __proto__.
    const entries = new Map(Object.entries(value));
    if (rest.length || "at" in step) entries.set(first, put(entries.get(first), rest, step));
    else if ("removed" in step) entries.delete(first);
    else entries.set(first, "added" in step ? step.added : changedHere(entries.get(first), step));
    return Object.fromEntries(entries);
  }
  const copy = [...value];
  copy[first] = rest.length || "at" in step ? put(copy[first], rest, step) : changedHere(copy[first], step);
  return copy;
}

function changedHere(value, step) {
  if (!("at" in step)) return step.new;
  const end = step.at + step.removed;
  if (typeof value === "string") {
    // Positions count characters as Python does: those beyond the first plane are one.
    const letters = /[\ud800-\udfff]/.test(value) ? [...value] : value;
    if (end > letters.length) throw new Error("no such characters");
    const part = (from, to) => (typeof letters === "string" ? letters.slice(from, to) : letters.slice(from, to).join(""));
    return part(0, step.at) + step.added + part(end);
  }
  if (!Array.isArray(value) || end > value.length) throw new Error("no such entries");
  return [...value.slice(0, step.at), ...step.added, ...value.slice(end)];
}

/** Where a change happened: ".name[3]". */
export function placeOf(step) {
  const path = step.path.map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`)).join("");
  return "at" in step ? `${path}[${step.at}:]` : path;
}

/** The sign and the kind of a change. */
export function signOf(step) {
  const empty = step.added === undefined || step.added.length === 0;
  if ("at" in step ? empty : step.removed === true) return ["−", "removed"];
  return ("at" in step ? step.removed === 0 : "added" in step) ? ["+", "added"] : ["~", "changed"];
}

/** What came of a change. */
export const shownOf = (step) => ("at" in step ? (step.added?.length ? step.added : undefined) : step.added ?? step.new);
