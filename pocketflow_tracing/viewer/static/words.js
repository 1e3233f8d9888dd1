// Times, counts and costs as people read them: the same words as in the terminal.

const NUMBER = new Intl.NumberFormat("en");
const MOMENT = new Intl.DateTimeFormat("en-CA", { dateStyle: "short", timeStyle: "medium", hourCycle: "h23" });

export const grouped = (number) => NUMBER.format(number?.rawJSON ?? number);
export const counted = (number, one, many = `${one}s`) => `${grouped(number)} ${number === 1 ? one : many}`;

/** A duration in µs: "<0.1 ms", "0.4 ms", "310 ms", "1.24 s", "2 m 03 s", "1 h 02 m"; "" for none. */
export function duration(us) {
  if (us === null || us === undefined) return "";
  const ms = us / 1000;
  if (ms < 0.05) return "<0.1 ms";
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.995) return `${seconds.toFixed(2)} s`;
  const whole = Math.round(seconds);
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two((whole % 3600) / 60)} m`;
}

/** A signed difference of two durations in µs. */
export function difference(us) {
  if (Math.abs(us) < 50) return "±0";
  return `${us > 0 ? "+" : "−"}${duration(Math.abs(us))}`;
}

/** The wall clock in the reader's time zone, to the second. */
export const moment = (ms) => MOMENT.format(new Date(ms)).replace(",", "");

/** How long ago a wall clock in ms was; the date after a week. */
export function ago(ms, now = Date.now()) {
  const seconds = (now - ms) / 1000;
  if (seconds < -5 || seconds >= 7 * 86400) return moment(ms).slice(0, 16);
  if (seconds < 5) return "just now";
  for (const [limit, divisor, unit] of [[90, 1, "s"], [5400, 60, "min"], [129600, 3600, "h"]]) {
    if (seconds < limit) return `${Math.round(seconds / divisor)} ${unit} ago`;
  }
  return `${Math.round(seconds / 86400)} days ago`;
}

/** A cost with at least two digits that mean something. */
export function money(cost) {
  if (cost === null || cost === undefined) return "";
  if (cost === 0 || cost >= 0.995) return `$${cost.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  for (let digits = 2; digits < 9; digits += 1) {
    if (Number(cost.toFixed(digits)) >= 10 ** (1 - digits)) return `$${cost.toFixed(digits)}`;
  }
  return `$${cost.toFixed(9)}`;
}

/** A share of 1 as a percentage. */
export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  const value = share * 100;
  if (value === 0) return "0 %";
  if (value < 0.1) return "<0.1 %";
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} %`;
}

/** Tokens of a span: a total, or [input, output]. */
export function tokenWords(tokens) {
  if (tokens === null || tokens === undefined) return "";
  if (Array.isArray(tokens)) return `${grouped(tokens[0])} + ${grouped(tokens[1])} tokens`;
  return counted(tokens, "token");
}

/** A size in characters. */
export const sizeWords = (characters) =>
  characters < 1000 ? `${characters} characters` : characters < 999500 ? `${(characters / 1000).toFixed(0)} kB` : `${(characters / 1e6).toFixed(1)} MB`;

/** A value on one line, cut. */
export function brief(value, most = 120) {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
  const line = text.replaceAll(/\s+/g, " ");
  return line.length > most ? `${line.slice(0, most)}…` : line;
}
