// A small part of Markdown, read into elements. Links and images stay text: nothing is ever loaded from elsewhere.

import { h } from "./dom.js";

export function markdown(text) {
  const made = h("div", { class: "prose" });
  const lines = text.split("\n");
  for (let at = 0; at < lines.length;) {
    const line = lines[at];
    const heading = /^(#{1,6}) +(.*)$/.exec(line);
    const bullet = /^\s*(?:[-*+]|(\d+)[.)]) +/.exec(line);
    if (/^\s*```/.test(line)) {
      const end = lines.findIndex((one, number) => number > at && /^\s*```/.test(one));
      made.append(h("pre", {}, lines.slice(at + 1, end < 0 ? undefined : end).join("\n")));
      at = end < 0 ? lines.length : end + 1;
    } else if (heading) {
      made.append(h(heading[1].length < 3 ? "h3" : "h4", {}, inline(heading[2])));
      at += 1;
    } else if (bullet) {
      const list = h(bullet[1] ? "ol" : "ul", {});
      while (at < lines.length && /^\s*(?:[-*+]|\d+[.)]) +/.test(lines[at])) {
        list.append(h("li", {}, inline(lines[at].replace(/^\s*(?:[-*+]|\d+[.)]) +/, ""))));
        at += 1;
      }
      made.append(list);
    } else if (!line.trim()) {
      at += 1;
    } else {
      const start = at;
      while (at < lines.length && lines[at].trim() && (at === start || !/^\s*(?:```|#{1,6} |[-*+] |\d+[.)] )/.test(lines[at]))) at += 1;
      made.append(h("p", {}, inline(lines.slice(start, at).join("\n"))));
    }
  }
  return made;
}

function inline(text) {
  const found = [];
  let rest = text;
  for (;;) {
    const hit = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|__([^_\n]+)__|\*([^*\s][^*\n]*)\*/.exec(rest);
    if (!hit) return [...found, rest];
    found.push(rest.slice(0, hit.index));
    if (hit[1] !== undefined) found.push(h("code", {}, hit[1]));
    else if (hit[4] !== undefined) found.push(h("em", {}, hit[4]));
    else found.push(h("strong", {}, hit[2] ?? hit[3]));
    rest = rest.slice(hit.index + hit[0].length);
  }
}
