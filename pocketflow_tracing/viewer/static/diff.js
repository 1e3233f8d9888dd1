// How two values differ, line by line.

import { h } from "./dom.js";
import { counted } from "./words.js";

const SIGNS_OF_LINES = { "-": "del", "+": "add", "@": "gap", " ": "same" };
const MOST_CELLS = 1_500_000;
const AROUND = 2;

/** Shows lines of [sign, text]. */
export function diffLines(lines) {
  if (!lines.length) return h("p", { class: "quiet" }, "No difference.");
  return h("div", { class: "diff", tabindex: "0", role: "group", "aria-label": "Differences" }, lines.map(([sign, text]) =>
    h("div", { class: SIGNS_OF_LINES[sign] }, h("span", {}, sign === "@" ? "⋯" : sign === "-" ? "−" : sign), h("span", {}, text))));
}

/** Compares two values here, as long as they are not too long for that. */
export function diffView(old, now) {
  const before = linesOf(old);
  const after = linesOf(now);
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  while (tail < before.length - head && tail < after.length - head && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  const middle = changesOf(before.slice(head, before.length - tail), after.slice(head, after.length - tail));
  const lines = [];
  const same = (some) => lines.push(...some.map((line) => [" ", line]));
  if (head > AROUND) lines.push(["@", `${counted(head - AROUND, "line")} as before`]);
  same(after.slice(Math.max(0, head - AROUND), head));
  lines.push(...middle);
  same(after.slice(after.length - tail, after.length - tail + AROUND));
  if (tail > AROUND) lines.push(["@", `${counted(tail - AROUND, "line")} as before`]);
  return diffLines(lines);
}

function linesOf(value) {
  return (typeof value === "string" ? value : JSON.stringify(value, null, 2) ?? "").split("\n");
}

function changesOf(before, after) {
  if (before.length * after.length > MOST_CELLS) return [...before.map((line) => ["-", line]), ...after.map((line) => ["+", line])];
  // The longest common subsequence, from the end, so that walking it goes forwards.
  const wide = after.length + 1;
  const table = new Uint32Array((before.length + 1) * wide);
  for (let one = before.length - 1; one >= 0; one -= 1) {
    for (let two = after.length - 1; two >= 0; two -= 1) {
      table[one * wide + two] = before[one] === after[two] ? table[(one + 1) * wide + two + 1] + 1 : Math.max(table[(one + 1) * wide + two], table[one * wide + two + 1]);
    }
  }
  const lines = [];
  let [one, two] = [0, 0];
  while (one < before.length || two < after.length) {
    if (one < before.length && two < after.length && before[one] === after[two]) { lines.push([" ", before[one]]); one += 1; two += 1; }
    else if (two >= after.length || (one < before.length && table[(one + 1) * wide + two] >= table[one * wide + two + 1])) { lines.push(["-", before[one]]); one += 1; }
    else { lines.push(["+", after[two]]); two += 1; }
  }
  return lines;
}
