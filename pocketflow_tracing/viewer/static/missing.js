// A path that leads nowhere.

import { h } from "./dom.js";
import { emptyState, frame } from "./chrome.js";

const { main } = frame("missing");
main.append(emptyState("There is nothing at this address.", h("p", {}, h("a", { href: "/" }, "All runs"))));
