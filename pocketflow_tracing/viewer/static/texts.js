// Texts of any length, with what is looked for marked in them. Of very long ones only parts are in the document.

import { fill, h } from "./dom.js";
import { sizeWords } from "./words.js";
import { markdown } from "./markdown.js";

export const LONG = 160;
const MOST_SHOWN = 200_000;
const MOST_HITS = 2000;
const MOST_PLACES = 50;
const AROUND_HIT = 160;

export const looksLikeMarkdown = (text) => text.length <= MOST_SHOWN && /(^|\n)(#{1,4} |[-*] |\d+\. |```|> )|\*\*\S|`\S/.test(text);

/** A text in a box of its own, as it is or as Markdown. */
export function longText(text, needle, prose) {
  return h("div", { class: `long-text${prose ? " prose" : ""}`, tabindex: "0" }, prose ? markdown(text) : piecesOf(text, needle));
}

/** A text with what was found in it; a very long one from its beginning, or by the places where something was found. */
export function piecesOf(text, needle) {
  if (text.length <= MOST_SHOWN) return marked(text, needle);
  if (needle) return placesIn(text, needle);
  const made = h("span", {});
  const show = (until) => fill(made, text.slice(0, until), until < text.length
    ? h("button", { type: "button", class: "text-button", onclick: () => show(until + MOST_SHOWN) }, ` … ${sizeWords(text.length - until)} more`) : null);
  show(MOST_SHOWN);
  return made;
}

/** Pieces of a text: those that were looked for are marked. */
export function marked(text, needle) {
  if (!needle) return [text];
  const found = [];
  const low = text.toLowerCase();
  let at = 0;
  for (let hit = low.indexOf(needle); hit >= 0 && found.length < MOST_HITS; hit = low.indexOf(needle, at)) {
    found.push(text.slice(at, hit), h("mark", {}, text.slice(hit, hit + needle.length)));
    at = hit + needle.length;
  }
  return [...found, text.slice(at)];
}

function placesIn(text, needle) {
  const low = text.toLowerCase();
  const places = [];
  let at = low.indexOf(needle);
  for (; at >= 0 && places.length < MOST_PLACES; at = low.indexOf(needle, at + AROUND_HIT)) {
    places.push(h("p", {}, "…", marked(text.slice(Math.max(0, at - AROUND_HIT), at + needle.length + AROUND_HIT), needle), "…"));
  }
  if (!places.length) return h("span", { class: "quiet" }, "Not found.");
  return [places, at >= 0 ? h("p", { class: "quiet" }, "… and in further places") : null];
}
