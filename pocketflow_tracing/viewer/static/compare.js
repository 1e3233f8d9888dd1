// Two runs side by side: visits in pairs, where they part, what differs.

import { fill, h, icon, statusMark, visible } from "./dom.js";
import { ago, counted, difference, duration, grouped, moment, money } from "./words.js";
import { ask } from "./data.js";
import { command, emptyState, frame } from "./chrome.js";
import { diffLines } from "./diff.js";

const PARTS = [["input", "Input"], ["output", "Output"], ["state", "Written to shared"]];
const WORDS = { action: "decision", status: "status", input: "input", output: "output", state: "shared" };
const SIDES = ["left", "right"];
const PAGE = 300; // rows at a time
const FOLDED = 8; // pairs in which nothing differs, from which on they are folded
const AROUND = 2;

const { main, tell } = frame("compare");
const query = new URLSearchParams(location.search);
const left = query.get("left");
const right = query.get("right");
const heading = h("div", { class: "page-head" }, h("h1", {}, "Compare two runs"));
main.append(heading);

/** Lists for both sides: first the left run, then one of the same flow. */
async function choose() {
  const first = left ?? right;
  const flow = first ? (await ask(`/api/runs/${encodeURIComponent(first)}`)).run.name : query.get("flow");
  const { runs } = await ask("/api/runs", { limit: 200, flow });
  const others = runs.filter((run) => run.id !== first);
  if (!others.length) {
    main.append(emptyState("There is nothing to compare yet.", h("p", {}, first ? `${flow} has run only once. Run it again, then come back.` : "No runs are stored. Record two:"), first ? null : command("pocketflow-tracing demo")));
    return;
  }
  const versions = others.some((run) => run.version);
  const titles = ["Status", "Flow", "Started", "Duration", "Nodes", ...(versions ? ["Version"] : [])];
  main.append(h("p", { class: "quiet" }, first ? `Which other run of ${flow} should stand beside ${first.slice(0, 8)}?` : ["Choose the first run, then the one to hold against it. In the ", h("a", { href: "/" }, "list of runs"), " two can be ticked at once."]),
    h("div", { class: "table-scroll" }, h("table", { class: "runs" },
      h("thead", {}, h("tr", {}, titles.map((title) => h("th", { scope: "col", class: title === "Nodes" ? "number" : null }, title)))),
      h("tbody", {}, others.map((run) => h("tr", {},
        h("td", { class: "run-status" }, statusMark(run.status, { word: true })),
        h("td", { class: "name" }, h("a", { class: "run-link", href: `/compare?${new URLSearchParams(first ? { left: first, right: run.id } : { left: run.id })}` }, run.name || "(unnamed)"), h("span", { class: "quiet mono" }, run.id.slice(0, 8)),
          run.error ? h("span", { class: "run-error" }, run.error) : null),
        h("td", { class: "started" }, h("time", { title: moment(run.start) }, ago(run.start))),
        h("td", { class: "took" }, duration(run.took) || "–"),
        h("td", { class: "number", "data-label": "nodes" }, grouped(run.nodes)),
        versions ? h("td", { "data-label": "version" }, run.version ?? "") : null))))));
}

async function compared() {
  const answer = await ask("/api/compare", { left, right });
  const runs = [answer.left, answer.right];
  document.title = visible(`${runs[0].name} compared · PocketFlow tracing`);
  heading.append(h("span", { class: "spring" }), h("a", { class: "button small", href: `/compare?${new URLSearchParams({ left: answer.right.id, right: answer.left.id })}` }, "Swap sides"));
  fill(main, heading, summary(runs),
    runs[0].name === runs[1].name ? null : h("p", { class: "problem" }, "These are runs of different flows: their visits are paired by the names of their nodes."),
    parting(answer),
    answer.pairs.length ? table(answer) : null);
}

/** What is known of both runs, fact by fact. */
function summary(runs) {
  const [one, other] = runs;
  const signed = (name) => (other[name] === one[name] ? "±0" : `${other[name] > one[name] ? "+" : "−"}${grouped(Math.abs(other[name] - one[name]))}`);
  const sameDay = moment(one.start).slice(0, 10) === moment(other.start).slice(0, 10);
  const rows = [
    ["Started", (run) => h("time", { title: moment(run.start) }, sameDay ? moment(run.start).slice(11) : moment(run.start)), apart(other.start - one.start)],
    ["Duration", (run) => duration(run.took) || "not ended", one.took === null || other.took === null ? "" : difference(other.took - one.took)],
    ["Node visits", (run) => grouped(run.nodes), signed("nodes")],
    ["Attempts", (run) => grouped(run.attempts), signed("attempts")],
  ];
  if (one.tokens || other.tokens) rows.push(["Tokens", (run) => grouped(run.tokens), signed("tokens")]);
  if (one.cost !== null || other.cost !== null) rows.push(["Cost", (run) => money(run.cost) || "–", ""]);
  if (one.version || other.version) rows.push(["Version", (run) => run.version ?? "–", one.version === other.version ? "the same" : ""]);
  if (one.error || other.error) rows.push(["Error", (run) => (run.error ? h("span", { class: "side-error" }, run.error) : "–"), one.error === other.error ? "the same" : ""]);
  return h("div", { class: "table-scroll" }, h("table", { class: "sides" },
    h("thead", {}, h("tr", {}, h("td", {}), runs.map((run, number) => h("th", { scope: "col" },
      h("span", { class: "side-word" }, SIDES[number]), h("span", { class: "side-name" }, statusMark(run.status), h("a", { class: "run-link", href: `/runs/${run.id}` }, run.name || "(unnamed)"), h("span", { class: "quiet mono" }, run.id.slice(0, 8))))),
    h("th", { scope: "col" }, h("span", { class: "side-word" }, "\u00a0"), "Difference"))),
    h("tbody", {}, rows.map(([title, show, change]) => h("tr", {}, h("th", { scope: "row" }, title), runs.map((run) => h("td", {}, show(run))), h("td", { class: "quiet" }, change))))));
}

/** How much later the right run began, in ms. */
const apart = (ms) => (Math.abs(ms) < 1 ? "at the same time" : `${duration(Math.abs(ms) * 1000)} ${ms > 0 ? "later" : "earlier"}`);

function parting(answer) {
  const at = answer.parts_at;
  if (!answer.pairs.length) return h("p", { class: "parting same" }, icon("next"), "Neither run visited a node.");
  if (at === null) {
    const differing = answer.pairs.filter((pair) => pair.differs.length).length;
    return h("p", { class: "parting same" }, icon("success"), `Both runs took the same way through the flow. ${differing ? `${counted(differing, "visit")} ${differing === 1 ? "differs" : "differ"} in what went in, came out or was written.` : "Every visit got and made the same."}`);
  }
  const pair = answer.pairs[at];
  const visit = pair.left ?? pair.right;
  const name = `${visit.name}${visit.visit > 1 ? ` (visit ${visit.visit})` : ""}`;
  const sentence = pair.left && pair.right
    ? `The runs part at ${name}: it ${ended(pair.left)} on the left, and ${ended(pair.right)} on the right.`
    : `The runs part where only the ${pair.left ? "left" : "right"} one visited ${name}.`;
  return h("p", { class: "parting" }, icon("next"), h("span", {}, sentence, " ", h("a", { href: "#parting" }, "Show it")));
}

/** How a visit ended, as a verb. */
function ended(visit) {
  if (visit.action !== null && visit.action !== undefined) return `chose “${visit.action}”`;
  return { error: "failed", cancelled: "was cancelled", running: "is still running", interrupted: "was interrupted" }[visit.status] ?? "ended";
}

function table(answer) {
  const longest = Math.max(1, ...answer.pairs.flatMap((pair) => [pair.left?.took ?? 0, pair.right?.took ?? 0]));
  const body = h("tbody", {});
  const rowsOf = (entry) => [
    entry.at === answer.parts_at ? h("tr", { class: "parting-row", id: "parting" }, h("td", { colspan: 5 }, icon("next"), "Here the runs part")) : null,
    entry.same ? foldedRow(entry.same, (pair) => pairRow(pair, answer, longest)) : pairRow(entry.pair, answer, longest),
  ];
  const entries = entriesOf(answer);
  const parting = entries.findIndex((entry) => entry.at === answer.parts_at);
  showMore(body, entries, 0, Math.max(PAGE, parting + PAGE / 2), rowsOf);
  return h("div", { class: "table-scroll" }, h("table", { class: "pairs" },
    h("thead", {}, h("tr", {}, ["Left", "Right", "Duration", "Differs in", ""].map((title, place) => h("th", { scope: "col", class: place === 2 ? "number" : null }, title || h("span", { class: "off-screen" }, "Details"))))), body));
}

/** The pairs in order; of long stretches in which nothing differs only the ends. */
function entriesOf(answer) {
  const entries = [];
  const pairs = answer.pairs.map((pair, at) => ({ pair, at }));
  for (let from = 0; from < pairs.length;) {
    let until = from;
    while (until < pairs.length && isSame(pairs[until].pair)) until += 1;
    if (until - from > FOLDED) {
      entries.push(...pairs.slice(from, from + AROUND), { same: answer.pairs.slice(from + AROUND, until - AROUND), at: null }, ...pairs.slice(until - AROUND, until));
      from = until;
    } else {
      until = Math.max(until, from + 1);
      entries.push(...pairs.slice(from, until));
      from = until;
    }
  }
  return entries;
}

const isSame = (pair) => Boolean(pair.left && pair.right && !pair.differs.length);

function foldedRow(pairs, rowOf) {
  const row = h("tr", { class: "folded-row" }, h("td", { colspan: 5 }, h("button", { type: "button", class: "text-button", onclick: () => row.replaceWith(...pairs.map(rowOf)) }, `${counted(pairs.length, "visit")} that differ in nothing`)));
  return row;
}

function showMore(body, entries, from, until, rowsOf) {
  for (const entry of entries.slice(from, until)) body.append(...rowsOf(entry).filter(Boolean));
  if (until >= entries.length) return;
  const rest = h("tr", { class: "folded-row" }, h("td", { colspan: 5 }, h("button", { type: "button", class: "text-button", onclick: () => { rest.remove(); showMore(body, entries, until, until + PAGE, rowsOf); } }, `${counted(entries.length - until, "more row")}`)));
  body.append(rest);
}

function pairRow(pair, answer, longest) {
  const both = pair.left && pair.right;
  const { name } = pair.left ?? pair.right;
  let detail = null;
  const button = h("button", { type: "button", class: "button small", "aria-expanded": "false", title: `What differs at ${name}` }, "Show");
  const row = h("tr", { class: both ? (pair.differs.length ? "differs" : "") : "one-sided" },
    h("td", { class: "visit" }, visitCell(pair.left, longest, answer.left.id)),
    h("td", { class: "visit" }, visitCell(pair.right, longest, answer.right.id)),
    h("td", { class: "number apart" }, both && pair.left.took !== null && pair.right.took !== null ? h("span", { class: weight(pair) }, difference(pair.right.took - pair.left.took)) : ""),
    h("td", { class: "differs-in" }, both ? (pair.differs.length ? pair.differs.map((part) => h("span", { class: "tag" }, WORDS[part])) : h("span", { class: "quiet" }, "nothing")) : h("span", { class: "quiet" }, `only ${pair.left ? "left" : "right"}`)),
    h("td", { class: "open" }, button));
  button.addEventListener("click", () => {
    if (!detail) {
      detail = h("tr", { class: "pair-detail", hidden: true }, h("td", { colspan: 5 }));
      row.after(detail);
      showDetail(detail.firstChild, pair, answer);
    }
    detail.hidden = !detail.hidden;
    button.setAttribute("aria-expanded", String(!detail.hidden));
    button.textContent = detail.hidden ? "Show" : "Hide";
  });
  return row;
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
    h("span", { class: "visit-line" }, statusMark(visit.status), h("a", { class: "run-link", href: `/runs/${run}?span=${visit.id}`, title: "Open this visit in its run" }, visit.name), visit.visit > 1 ? h("span", { class: "quiet" }, `visit ${visit.visit}`) : null,
      visit.action && visit.action !== "default" ? h("span", { class: "note action" }, visit.action) : null, visit.attempts > 1 ? h("span", { class: "quiet" }, `${visit.attempts} attempts`) : null,
      h("span", { class: "spring" }), h("span", { class: "quiet number" }, duration(visit.took))), bar);
}

async function showDetail(cell, pair, answer) {
  fill(cell, h("p", { class: "quiet" }, "Comparing…"));
  const both = pair.left && pair.right;
  const address = (side) => (pair[side] ? `${answer[side].id}/${pair[side].id}` : "");
  const differing = PARTS.filter(([part]) => !both || pair.differs.includes(part));
  const blocks = await Promise.all(differing.map(async ([part, title]) => {
    try {
      const { lines } = await ask("/api/difference", { left: address("left"), right: address("right"), part });
      return lines.length ? block(title, diffLines(lines)) : both ? block(title, h("p", { class: "quiet" }, "No difference in the text.")) : null;
    } catch (error) {
      if (error.status === undefined) throw error;
      return block(title, h("p", { class: "problem" }, error.message));
    }
  }));
  const ends = !both || pair.differs.includes("status") || pair.differs.includes("action");
  const same = PARTS.filter((part) => !differing.includes(part)).map(([, title]) => title.toLowerCase());
  fill(cell, h("div", { class: "detail-blocks" }, ends ? block("How it ended", endings(pair)) : null, blocks),
    same.length ? h("p", { class: "quiet" }, `The same on both sides: ${same.join(", ")}.`) : null);
}

const block = (title, ...content) => h("section", {}, h("h3", {}, title), content);

function endings(pair) {
  return h("dl", { class: "facts" }, SIDES.filter((side) => pair[side]).map((side) => [h("dt", {}, side),
    h("dd", {}, statusMark(pair[side].status, { word: true }), ` ${ended(pair[side])}`, pair[side].error ? h("p", { class: "side-error" }, pair[side].error) : null)]));
}

try {
  if (left && right) await compared();
  else await choose();
} catch (error) {
  if (error.status === undefined) throw error; // a fault of this script
  tell(error.status ? "waiting" : "offline", error.message);
  main.append(error.missing
    ? emptyState("There is no store here yet.", h("p", {}, "Record two runs, then compare them:"), command("pocketflow-tracing demo"))
    : emptyState("These runs cannot be compared.", h("p", {}, error.message), h("p", {}, h("a", { href: "/compare" }, "Choose two runs"))));
}
