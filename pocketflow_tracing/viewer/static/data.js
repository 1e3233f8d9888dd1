// Asking the server, and following it.

import { parse } from "./exact.js";

/** What the server says is wrong; `missing` when there is no store yet. */
export class ServerError extends Error {
  constructor(message, status, missing = false) {
    super(message);
    this.status = status;
    this.missing = missing;
  }
}

/** Asks for a path with parameters; returns null when there is nothing new. */
export async function ask(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  let response;
  try {
    response = await fetch(text ? `${path}?${text}` : path, { headers: { accept: "application/json" } });
  } catch {
    throw new ServerError("The server does not answer: is “pocketflow-tracing ui” still running?", 0);
  }
  if (response.status === 204) return null;
  const answer = await response.text().then(parse).catch(() => ({}));
  if (!response.ok || answer.missing) throw new ServerError(answer.error ?? `The server answered ${response.status}.`, response.status, answer.missing);
  return answer;
}

/** Calls `look` again and again while the page is visible: soon after something happened, slower when nothing does. */
export function follow(look, { quick = 1000, slow = 4000 } = {}) {
  let timer = 0;
  let pause = quick;
  const round = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    pause = (await look()) ? quick : Math.min(slow, pause * 1.25);
    timer = setTimeout(round, pause);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) round();
  });
  timer = setTimeout(round, pause);
  return () => { pause = quick; round(); };
}
