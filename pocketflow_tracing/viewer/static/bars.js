// The bar of a span on the time axis: when it ran, what of that were attempts, where it waited.

import { h } from "./dom.js";
import { duration } from "./words.js";
import { attemptsOf, wasSaved } from "./tree.js";

const MOST_PIECES = 60;
const MOST_LANES = 4;

/** Makes the pieces of a span's bar for a window of time. */
export function barOf(span, time, end) {
  const took = span.took ?? Math.max(0, end - span.start);
  const bar = piece(`bar kind-${span.kind} status-${span.status}${wasSaved(span) ? " saved" : ""}${span.facts.phase === "exec_fallback" ? " fallback" : ""}`, span.start, took, time);
  if (!bar) return beyond(span, time);
  if (span.took === null && span.status === "running") bar.classList.add("open");
  const made = [waitBefore(span, time), bar];
  const attempts = attemptsOf(span);
  const many = attempts.length > MOST_PIECES;
  if (attempts.length && !many && (span.kind === "node" || span.facts.items !== undefined)) {
    bar.classList.add("holds");
    made.push(...lanesOf(attempts, time, end));
  }
  return made;
}

/** Attempts inside the bar of their node; those that ran at once stand in lanes above each other. */
function lanesOf(attempts, time, end) {
  const lanes = [];
  const placed = attempts.map((attempt) => {
    const took = attempt.took ?? Math.max(0, end - attempt.start);
    let lane = lanes.findIndex((until) => until <= attempt.start);
    if (lane < 0) lane = lanes.length < MOST_LANES ? lanes.push(0) - 1 : lanes.indexOf(Math.min(...lanes));
    lanes[lane] = attempt.start + took;
    return { attempt, took, lane };
  });
  return placed.map(({ attempt, took, lane }) => {
    const made = piece(`part status-${attempt.status}${wasSaved(attempt) ? " saved" : ""} lane-${lane} lanes-${lanes.length}`, attempt.start, took, time);
    return made;
  });
}

/** The line from the end of the attempt before to the start of this one: the wait between them. */
function waitBefore(span, time) {
  if (span.kind !== "attempt" || !(span.facts.attempt > 1) || !span.above) return null;
  const before = span.above.children.find((other) => other.kind === "attempt" && other.facts.item === span.facts.item && other.facts.attempt === span.facts.attempt - 1);
  if (!before || before.took === null) return null;
  const from = before.start + before.took;
  if (span.start - from < 50) return null;
  const line = piece("wait", from, span.start - from, time);
  if (line) line.title = `waited ${duration(span.start - from)}`;
  return line;
}

function piece(name, start, took, time) {
  const left = time.place(start);
  const right = time.place(start + took);
  if (right < 0 || left > 1) return null;
  const made = h("i", { class: name });
  const from = Math.max(-0.01, left);
  made.style.left = `${from * 100}%`;
  made.style.width = `${Math.max(0, Math.min(1.01, right) - from) * 100}%`;
  return made;
}

function beyond(span, time) {
  const before = time.place(span.start) < 0;
  return [h("i", { class: `beyond ${before ? "before" : "after"}`, title: before ? "earlier than what is shown" : "later than what is shown" })];
}
