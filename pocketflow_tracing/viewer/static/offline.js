// A run from the page itself: everything stands in it.

import { facts, frame } from "./chrome.js";
import { showRun } from "./run_page.js";

const { main } = frame("run", { offline: true });
await showRun(main, {
  load: async () => facts.answer,
  span: async (id) => facts.details[id] ?? { attributes: {}, metadata: {}, scores: [], error: null, input: null, output: null, state: null, cost: null },
  states: async () => facts.states,
  value: async () => ({}),
}, { offline: true });
