// The frame around every page: heading, navigation, theme, and whether the store is being followed.

import { h, icon, fill } from "./dom.js";
import { parse } from "./exact.js";

const THEMES = ["auto", "light", "dark"];
const THEME_KEY = "pocketflow-tracing-theme";

/** The small facts that came with the page. */
export const facts = parse(document.getElementById("data").textContent);

/** Draws the frame and returns its parts: {main, tell(state, sentence)}; an empty state says nothing. */
export function frame(active, { offline = false } = {}) {
  const signal = h("span", { class: "signal", role: "status" });
  const link = (name, href, label) => h("a", { href, "aria-current": active === name ? "page" : null }, label);
  const brand = offline
    ? h("span", { class: "brand" }, logo(), "PocketFlow tracing")
    : h("a", { class: "brand", href: "/" }, logo(), "PocketFlow tracing");
  const header = h("header", { class: "top" },
    h("a", { class: "skip", href: "#main" }, "Skip to the content"),
    brand,
    offline ? null : h("nav", { "aria-label": "Pages" }, link("runs", "/", "Runs"), link("nodes", "/nodes", "Nodes"), link("compare", "/compare", "Compare")),
    h("span", { class: "spring" }),
    offline ? h("span", { class: "quiet" }, "saved page") : h("span", { class: "store quiet", title: facts.store }, shortPath(facts.store)),
    offline ? null : signal,
    themeButton(),
  );
  const main = h("main", { id: "main", tabindex: "-1", class: `page-${active}` });
  fill(document.getElementById("app"), header, main);
  const tell = (state, sentence) => {
    if (signal.dataset.state === state) return;
    signal.dataset.state = state;
    signal.title = sentence;
    fill(signal, state ? [h("i", { "aria-hidden": "true" }), h("span", {}, state)] : null);
  };
  return { main, tell };
}

/** A sentence where there is nothing else to show, and what to do next. */
export function emptyState(title, ...more) {
  return h("section", { class: "empty" }, h("div", { class: "empty-art", "aria-hidden": "true" }, logo()), h("h2", {}, title), more);
}

/** A command to type, as such. */
export const command = (text) => h("pre", { class: "command" }, h("code", {}, text));

function logo() {
  const bar = (x, width) => h("i", { class: `bar-${x} wide-${width}` });
  return h("span", { class: "logo", "aria-hidden": "true" }, bar(0, 2), bar(1, 3), bar(0, 2));
}

function shortPath(path) {
  const parts = String(path ?? "").split(/[\\/]/);
  return parts.slice(-2).join("/");
}

function themeButton() {
  const root = document.documentElement;
  const button = h("button", { type: "button", class: "icon-button", id: "theme" });
  const draw = () => {
    const theme = root.dataset.theme ?? "auto";
    button.title = `Theme: ${theme}`;
    button.setAttribute("aria-label", `Theme: ${theme}. Change it.`);
    fill(button, icon({ auto: "auto", light: "sun", dark: "moon" }[theme]));
  };
  button.addEventListener("click", () => {
    const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? "auto") + 1) % THEMES.length];
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    try {
      if (theme === "auto") localStorage.removeItem(THEME_KEY);
      else localStorage.setItem(THEME_KEY, theme);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    draw();
  });
  draw();
  return button;
}
