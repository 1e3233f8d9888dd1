// Any value as a tree that opens and closes, with search and copy. Children are made when they are opened.

import { copyText, fill, h, icon, iconButton } from "./dom.js";
import { isLeaf, textOf } from "./exact.js";
import { brief, counted, grouped, sizeWords } from "./words.js";
import { LONG, longText, looksLikeMarkdown, marked, piecesOf } from "./texts.js";

const CHUNK = 100;
const OPEN_SIZE = 12;
const SHORT = 400;

/** Shows a value with its tools. */
export function valueView(value, label) {
  const isText = typeof value === "string";
  const body = h("div", { class: "value-body" });
  let needle = "";
  let prose = false;
  const draw = () => fill(body, isText && (value.length > LONG || value.includes("\n")) ? longText(value, needle, prose) : h("div", { class: "json" }, item(null, value, 0, needle)));
  const copy = iconButton("copy", `Copy ${label}`, () => copyText(isText ? value : JSON.stringify(value, null, 2), copy));
  const search = h("input", { type: "search", placeholder: "Find", "aria-label": `Find in ${label}` });
  let typing = 0;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { needle = search.value.trim().toLowerCase(); draw(); }, 120);
  });
  const big = isText ? value.length > LONG : !isLeaf(value) && JSON.stringify(value).length > LONG;
  const asProse = isText && looksLikeMarkdown(value)
    ? h("button", { type: "button", class: "button small", "aria-pressed": "false", onclick: () => { prose = !prose; asProse.setAttribute("aria-pressed", String(prose)); asProse.textContent = prose ? "As text" : "As Markdown"; draw(); } }, "As Markdown")
    : null;
  draw();
  return { element: h("div", { class: "value" }, body), tools: h("span", { class: "value-tools" }, big ? search : null, asProse, copy) };
}

function item(key, value, depth, needle) {
  const name = key === null ? [] : [h("span", { class: "key" }, ...marked(String(key), needle)), ": "];
  if (isLeaf(value)) return h("span", { class: "leaf" }, name, leaf(value, needle));
  const isList = Array.isArray(value);
  let entries = isList ? value.map((one, index) => [index, one]) : Object.entries(value);
  const size = h("span", { class: "size" }, !entries.length ? (isList ? "[ ] empty" : "{ } empty") : counted(entries.length, isList ? "item" : "key"));
  // Of very many entries only those in which something was found are shown.
  if (needle && entries.length > CHUNK) entries = entries.filter(([at, one]) => String(at).toLowerCase().includes(needle) || holdsText(one, needle));
  if (!entries.length) return h("span", { class: "leaf" }, name, size);
  const holds = needle !== "" && holdsText(value, needle);
  const list = h("ul", {});
  let filled = false;
  const button = h("button", { type: "button", class: "fold" });
  const set = (open) => {
    button.setAttribute("aria-expanded", String(open));
    if (open && !filled) { filled = true; more(list, entries, 0, depth, needle); }
    list.hidden = !open;
    fill(button, icon("chevron"), name, size,
      open ? null : h("span", { class: "quiet" }, `\u2002${brief(value, 60)}`));
  };
  button.addEventListener("click", () => set(button.getAttribute("aria-expanded") !== "true"));
  set(holds || (needle === "" && (depth === 0 || (depth === 1 && entries.length <= OPEN_SIZE && JSON.stringify(value).length < 600))));
  return h("div", {}, button, list);
}

function more(list, entries, from, depth, needle) {
  const until = from + CHUNK;
  for (const [key, value] of entries.slice(from, until)) list.append(h("li", {}, item(key, value, depth + 1, needle)));
  if (until >= entries.length) return;
  const rest = h("li", {}, h("button", { type: "button", class: "text-button", onclick: () => { rest.remove(); more(list, entries, until, depth, needle); } }, `${grouped(entries.length - until)} more`));
  list.append(rest);
}

function leaf(value, needle) {
  if (typeof value !== "string") return h("span", { class: "plain" }, ...marked(textOf(value), needle));
  if (/^… [\d,]+ more/.test(value) || /^<[^<>\n]{1,200}>$/.test(value)) return h("span", { class: "cut" }, ...marked(value, needle));
  if (value.length <= SHORT) return h("span", { class: "text" }, marked(value, needle));
  const made = h("span", { class: "text" });
  const open = () => fill(made, piecesOf(value, needle));
  if (needle && value.toLowerCase().includes(needle)) open();
  else fill(made, value.slice(0, 300), h("button", { type: "button", class: "text-button", onclick: open }, ` … all of ${sizeWords(value.length)}`));
  return made;
}

function holdsText(value, needle) {
  if (isLeaf(value)) return textOf(value).toLowerCase().includes(needle);
  return Object.entries(value).some(([key, one]) => key.toLowerCase().includes(needle) || holdsText(one, needle));
}
