// Making elements. Text only ever enters as text nodes: nothing of a run is read as markup.

const SVG = "http://www.w3.org/2000/svg";

const SPOKEN = new Set(["title", "aria-label", "placeholder"]);

const PATHS = {
  success: "M3.5 8.6l3 3 6-7",
  recovered: "M12.6 8.2a4.6 4.6 0 1 1-1.3-3.4M12.8 2.4v3.1H9.7",
  error: "M4.4 4.4l7.2 7.2M11.6 4.4l-7.2 7.2",
  cancelled: "M8 3a5 5 0 1 0 0 10A5 5 0 0 0 8 3zM4.6 11.4l6.8-6.8",
  running: "M5.5 3.8l6.5 4.2-6.5 4.2z",
  interrupted: "M5.8 4v8M10.2 4v8",
  generation: "M8 2.2l1.6 4.2L13.8 8 9.6 9.6 8 13.8 6.4 9.6 2.2 8l4.2-1.6z",
  fallback: "M8 2.4l4.6 1.8v3.6c0 2.9-1.9 4.9-4.6 5.9-2.7-1-4.6-3-4.6-5.9V4.2z",
  chevron: "M6 4l4 4-4 4",
  up: "M4 10l4-4 4 4",
  down: "M4 6l4 4 4-4",
  left: "M10 4L6 8l4 4",
  right: "M6 4l4 4-4 4",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M5.6 5.6V3.4h7v7h-2.2M3.4 5.6h7v7h-7z",
  search: "M7 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM10 10l3.2 3.2",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.6v1.5M8 12.9v1.5M1.6 8h1.5M12.9 8h1.5M3.5 3.5l1 1M11.5 11.5l1 1M12.5 3.5l-1 1M4.5 11.5l-1 1",
  moon: "M12.8 9.6A5.2 5.2 0 0 1 6.4 3.2a5.2 5.2 0 1 0 6.4 6.4z",
  auto: "M8 2.6a5.4 5.4 0 1 0 0 10.8A5.4 5.4 0 0 0 8 2.6zM8 2.6v10.8M10.5 4v8",
  plus: "M8 3.5v9M3.5 8h9",
  minus: "M3.5 8h9",
  fit: "M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3",
  next: "M4 8h8M8.5 4.5L12 8l-3.5 3.5",
  back: "M12 8H4M7.5 4.5L4 8l3.5 3.5",
  wait: "M8 4.5V8l2.3 1.6M8 2.6a5.4 5.4 0 1 0 0 10.8A5.4 5.4 0 0 0 8 2.6z",
};

/** Makes an element: h("a", {href, class, onclick, dataset, aria-*}, children…). Children may be text, nodes, arrays, null. */
export function h(tag, given = {}, ...children) {
  return filled(document.createElement(tag), given, children);
}

/** Makes an SVG element. */
export function svg(tag, given = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), given, children);
}

/** Makes one of the icons; it says nothing to a screen reader unless a label is given. */
export function icon(name, label = "") {
  const made = svg("svg", { viewBox: "0 0 16 16", class: `icon icon-${name}`, "aria-hidden": label ? null : "true" });
  if (label) made.append(svg("title", {}, label));
  if (label) made.setAttribute("role", "img");
  made.append(svg("path", { d: PATHS[name] ?? PATHS.next }));
  return made;
}

const MEANINGS = {
  recovered: "recovered: something failed, and a retry or the fallback saved it",
  interrupted: "interrupted: the process ended before it did",
  saved: "failed, saved later",
};

/** Makes the sign of a status, with its word when asked for. */
export function statusMark(status, { word = false, saved = false } = {}) {
  const mark = h("span", { class: `status status-${status}${saved ? " saved" : ""}`, title: MEANINGS[saved ? "saved" : status] ?? status });
  mark.append(icon(status, word ? "" : saved ? MEANINGS.saved : status));
  if (word) mark.append(h("span", { class: "status-word" }, status));
  return mark;
}

/** Makes a button with an icon; the label is its name and its tooltip. */
export function iconButton(name, label, onclick, more = {}) {
  return h("button", { type: "button", class: "icon-button", title: label, "aria-label": label, onclick, ...more }, icon(name));
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/** Draws an element anew and leaves the focus where it was: on the same control of the same run, or at the same place. */
export function redrawn(element, draw) {
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const run = active?.closest("[data-run]")?.dataset.run;
  const scope = () => (run && element.querySelector(`[data-run="${CSS.escape(run)}"]`)) || element;
  const controls = () => [...scope().querySelectorAll("a[href], button, input, select, summary")];
  const place = active ? controls().indexOf(active) : -1;
  draw();
  if (place >= 0) controls()[place]?.focus({ preventScroll: true });
}

/** Puts text on the clipboard and says so on the button for a moment. */
export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Files and plain http on other hosts have no clipboard API.
    const area = h("textarea", { class: "off-screen", value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  announce("Copied");
  if (!button) return;
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1200);
}

/** Tells screen readers of something that changed. */
export function announce(text) {
  let live = document.getElementById("announcements");
  if (!live) {
    live = h("div", { id: "announcements", class: "off-screen", role: "status", "aria-live": "polite" });
    document.body.append(live);
  }
  live.textContent = visible(text);
}

function filled(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "dataset") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : typeof value === "string" && SPOKEN.has(name) ? visible(value) : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(typeof child === "string" ? visible(child) : child);
  }
}

/** A text whose reading order cannot be turned: what would turn it (U+202A to 202E, 2066 to 2069) stands as its number. */
export function visible(text) {
  return text.replace(/[\u202a-\u202e\u2066-\u2069]/g, (sign) => `\\u${sign.codePointAt(0).toString(16)}`);
}
