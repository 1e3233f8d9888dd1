// Two runs side by side: visits in pairs, where they part, what differs.

import { fill, h, icon, statusMark } from "./dom.js";
import { ago, counted, difference, duration, grouped, moment, money } from "./words.js";
import { ask } from "./data.js";
import { command, emptyState, frame } from "./chrome.js";
import { diffLines } from "./diff.js";

const PARTS = [["input", "Input"], ["output", "Output"], ["state", "Written to shared"]];
const WORDS = { action: "decision", status: "status", input: "input", output: "output", state: "shared" };

const { main, tell } = frame("compare");
const query = new URLSearchParams(location.search);
const left = query.get("left");
const right = query.get("right");
main.append(h("h1", {}, "Compare two runs"));

try {
  if (left && right) await compared();
  else await choose();
  tell("live", "Read from the store.");
} catch (error) {
  main.append(error.missing
    ? emptyState("There is no store here yet.", h("p", {}, "Record two runs, then compare them:"), command("pocketflow-tracing demo"))
    : emptyState("These runs cannot be compared.", h("p", {}, error.message), h("p", {}, h("a", { href: "/compare" }, "Choose two runs"))));
}

/** Lists for both sides: first the left run, then one of the same flow. */
async function choose() {
  const first = left ?? right;
  const flow = first ? (await ask(`/api/runs/${encodeURIComponent(first)}`)).run.name : null;
  const { runs } = await ask("/api/runs", { limit: 200, flow });
  const others = runs.filter((run) => run.id !== first);
  if (!others.length) {
    main.append(emptyState("There is nothing to compare yet.", h("p", {}, first ? `${flow} has run only once.` : "No runs are stored."), command("pocketflow-tracing demo")));
    return;
  }
  main.append(h("p", { class: "quiet" }, first ? `Which other run of ${flow} should stand beside ${first.slice(0, 8)}?` : "Choose the first run; the list of runs can choose two at once."),
    h("div", { class: "table-scroll" }, h("table", {}, h("tbody", {}, others.map((run) => h("tr", {},
      h("td", {}, statusMark(run.status, { word: true })),
      h("td", {}, h("a", { href: `/compare?${new URLSearchParams(first ? { left: first, right: run.id } : { left: run.id })}` }, run.name), " ", h("span", { class: "quiet mono" }, run.id.slice(0, 8))),
      h("td", {}, h("time", { title: moment(run.start) }, ago(run.start))),
      h("td", { class: "number" }, duration(run.took))))))));
}

async function compared() {
  const answer = await ask("/api/compare", { left, right });
  const sides = [answer.left, answer.right];
  document.title = `${sides[0].name} compared`;
  const swap = h("a", { class: "button small", href: `/compare?${new URLSearchParams({ left: answer.right.id, right: answer.left.id })}` }, "Swap sides");
  main.append(
    h("section", { class: "sides", "aria-label": "The runs" }, sides.map((run, number) => side(run, number)), h("div", { class: "side differences" }, h("h2", {}, "Difference", swap), differences(...sides))),
    sides[0].name === sides[1].name ? "" : h("p", { class: "problem" }, "These are runs of different flows: their visits are paired by the names of their nodes."),
    parting(answer),
    table(answer));
}

function side(run, number) {
  return h("div", { class: "side" },
    h("h2", {}, h("span", { class: "side-name" }, statusMark(run.status), " ", h("a", { href: `/runs/${run.id}` }, run.name)), h("span", { class: "quiet mono" }, run.id.slice(0, 8)), h("span", { class: "tag" }, number ? "right" : "left")),
    h("dl", { class: "facts" }, rows(run).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value || "–")])),
    run.error ? h("p", { class: "run-error" }, run.error) : null);
}

function rows(run) {
  const found = [["Started", moment(run.start)], ["Duration", duration(run.took)], ["Node visits", grouped(run.nodes)], ["Attempts", grouped(run.attempts)]];
  if (run.tokens) found.push(["Tokens", grouped(run.tokens)]);
  if (run.cost !== null) found.push(["Cost", money(run.cost)]);
  if (run.version) found.push(["Version", run.version]);
  return found;
}

function differences(one, other) {
  const plain = (name) => other[name] - one[name];
  const signed = (number) => (number === 0 ? "±0" : `${number > 0 ? "+" : "−"}${grouped(Math.abs(number))}`);
  const list = [["Started", difference((other.start - one.start) * 1000)], ["Duration", one.took === null || other.took === null ? "" : difference(other.took - one.took)], ["Node visits", signed(plain("nodes"))], ["Attempts", signed(plain("attempts"))]];
  if (one.tokens || other.tokens) list.push(["Tokens", signed(plain("tokens"))]);
  return h("dl", { class: "facts" }, list.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value || "–")]));
}

function parting(answer) {
  const at = answer.parts_at;
  if (at === null) {
    const differing = answer.pairs.filter((pair) => pair.differs.length).length;
    return h("p", { class: "parting same" }, icon("success"), `Both runs took the same way through the flow. ${differing ? `${counted(differing, "visit")} ${differing === 1 ? "differs" : "differ"} in what went in, came out or was written.` : "Every visit got and made the same."}`);
  }
  const pair = answer.pairs[at];
  const visit = pair.left ?? pair.right;
  const sentence = pair.left && pair.right
    ? `The runs part at ${visit.name}${visit.visit > 1 ? ` visit ${visit.visit}` : ""}: “${pair.left.action}” on the left, “${pair.right.action}” on the right.`
    : `The runs part where only the ${pair.left ? "left" : "right"} one visited ${visit.name}${visit.visit > 1 ? ` (visit ${visit.visit})` : ""}.`;
  return h("p", { class: "parting" }, icon("next"), h("span", {}, sentence, " ", h("a", { href: "#parting" }, "Show it")));
}

function table(answer) {
  const longest = Math.max(1, ...answer.pairs.flatMap((pair) => [pair.left?.took ?? 0, pair.right?.took ?? 0]));
  const body = h("tbody", {});
  answer.pairs.forEach((pair, number) => {
    const first = number === answer.parts_at;
    if (first) body.append(h("tr", { class: "parting-row", id: "parting" }, h("td", { colspan: 5 }, icon("next"), "Here the runs part")));
    const detail = h("tr", { class: "pair-detail", hidden: true }, h("td", { colspan: 5 }));
    const button = h("button", { type: "button", class: "button small", "aria-expanded": "false" }, "Show");
    button.addEventListener("click", () => {
      detail.hidden = !detail.hidden;
      button.setAttribute("aria-expanded", String(!detail.hidden));
      button.textContent = detail.hidden ? "Show" : "Hide";
      if (!detail.hidden && !detail.dataset.filled) { detail.dataset.filled = "1"; showDetail(detail.firstChild, pair, answer); }
    });
    const both = pair.left && pair.right;
    body.append(h("tr", { class: both ? (pair.differs.length ? "differs" : "") : "one-sided" },
      h("td", {}, visitCell(pair.left, longest, answer.left.id)),
      h("td", {}, visitCell(pair.right, longest, answer.right.id)),
      h("td", { class: "number" }, both && pair.left.took !== null && pair.right.took !== null ? h("span", { class: weight(pair) }, difference(pair.right.took - pair.left.took)) : ""),
      h("td", {}, both ? (pair.differs.length ? pair.differs.map((name) => h("span", { class: "tag" }, WORDS[name])) : h("span", { class: "quiet" }, "same")) : h("span", { class: "quiet" }, `only ${pair.left ? "left" : "right"}`)),
      h("td", {}, button)), detail);
  });
  return h("div", { class: "table-scroll" }, h("table", { class: "pairs" },
    h("thead", {}, h("tr", {}, ["Left", "Right", "Duration", "Differs in", ""].map((title, place) => h("th", { scope: "col", class: place === 2 ? "number" : null }, title || h("span", { class: "off-screen" }, "Details"))))), body));
}

/** A difference worth a look: more than a tenth and more than 10 ms. */
function weight(pair) {
  const by = pair.right.took - pair.left.took;
  if (Math.abs(by) < 10_000 || Math.abs(by) < pair.left.took * 0.1) return "quiet";
  return by > 0 ? "slower" : "faster";
}

function visitCell(visit, longest, run) {
  if (!visit) return h("span", { class: "quiet nothing" }, "–");
  const bar = h("i", { class: `duration-bar status-${visit.status}`, "aria-hidden": "true" });
  bar.style.width = `${Math.max(1, (100 * (visit.took ?? 0)) / longest)}%`;
  return h("div", { class: "visit-cell" },
    h("span", { class: "visit-line" }, statusMark(visit.status), h("a", { class: "run-link", href: `/runs/${run}?span=${visit.id}` }, visit.name), visit.visit > 1 ? h("span", { class: "quiet" }, `visit ${visit.visit}`) : null,
      visit.action && visit.action !== "default" ? h("span", { class: "note action" }, visit.action) : null, h("span", { class: "spring" }), h("span", { class: "quiet number" }, duration(visit.took))), bar);
}

async function showDetail(cell, pair, answer) {
  const name = (visit, run) => (visit ? `${run.id}/${visit.id}` : "");
  fill(cell, h("p", { class: "quiet" }, "Comparing…"));
  const blocks = await Promise.all(PARTS.map(async ([part, title]) => {
    const one = !(pair.left && pair.right);
    if (!one && !pair.differs.includes(part)) return h("section", {}, h("h3", {}, title), h("p", { class: "quiet" }, "The same on both sides."));
    const { lines } = await ask("/api/difference", { left: name(pair.left, answer.left), right: name(pair.right, answer.right), part });
    return h("section", {}, h("h3", {}, title), lines.length ? diffLines(lines) : h("p", { class: "quiet" }, one ? "Nothing." : "No difference in the text."));
  }));
  fill(cell, h("div", { class: "detail-blocks" }, blocks));
}
