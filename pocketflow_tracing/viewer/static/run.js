// A run from the server; it fills in while it runs.

import { h } from "./dom.js";
import { ask, follow } from "./data.js";
import { emptyState, facts, frame } from "./chrome.js";
import { showRun } from "./run_page.js";

const { main, tell } = frame("run");
const base = `/api/runs/${encodeURIComponent(facts.run)}`;
const source = {
  load: () => ask(base),
  changes: (after, status) => ask(base, { after, status }),
  span: (id) => ask(`${base}/spans/${encodeURIComponent(id)}`),
  states: async () => (await ask(`${base}/states`)).states,
  value: (step, key) => ask(`${base}/states/${step}`, { key }),
};

try {
  const page = await showRun(main, source);
  tell("live", "This run is followed while it runs.");
  follow(async () => {
    const { model } = page;
    const running = model.run.status === "running";
    try {
      const answer = await source.changes(model.revision, model.run.status);
      tell("live", "This run is followed while it runs.");
      if (answer || running) await page.update(answer);
      return running;
    } catch (error) {
      if (error.status === undefined) throw error; // a fault of this script
      tell(error.status ? "waiting" : "offline", error.message);
      return false;
    }
  });
} catch (error) {
  if (error.status === undefined) throw error;
  main.append(emptyState(error.status === 404 ? "There is no such run in this store." : "This run cannot be read.",
    h("p", {}, error.message), error.status === 404 ? h("p", {}, "It may have been pruned, or stand in another store.") : null, h("p", {}, h("a", { href: "/" }, "All runs"))));
}
