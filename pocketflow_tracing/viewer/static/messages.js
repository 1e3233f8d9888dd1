// A conversation with a model, recognised by its shape and shown as one.

import { h } from "./dom.js";
import { valueView } from "./json_tree.js";

/** Shows a list of chat messages; null when the value is none. */
export function messagesOf(value) {
  const list = Array.isArray(value) ? value : Array.isArray(value?.messages) ? value.messages : isMessage(value) ? [value] : null;
  if (!list?.length || !list.every(isMessage)) return null;
  return h("ol", { class: "messages" }, list.map((message) => {
    const text = contentOf(message);
    const view = valueView(text, `message of ${message.role}`);
    const { role, content, ...rest } = message;
    const more = Object.entries(rest).filter(([, one]) => one !== null && one !== undefined && !(Array.isArray(one) && !one.length));
    return h("li", { class: `message role-${["system", "user", "assistant", "tool"].includes(role) ? role : "other"}` },
      h("div", { class: "section-head" }, h("span", { class: "role" }, String(role)), view.tools), view.element,
      more.length ? valueView(Object.fromEntries(more), "rest of the message").element : null);
  }));
}

const isMessage = (value) => value !== null && typeof value === "object" && typeof value.role === "string" && ("content" in value || "tool_calls" in value);

function contentOf(message) {
  const { content } = message;
  if (Array.isArray(content) && content.every((part) => typeof part?.text === "string")) return content.map((part) => part.text).join("\n\n");
  return content ?? "";
}
