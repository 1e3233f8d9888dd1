// The window onto a run's time: what part of it is shown, and how wide.

import { duration } from "./words.js";

export class TimeWindow {
  constructor() {
    this.total = 1;
    this.from = 0;
    this.to = 1;
  }

  /** Sets how long the run is; a window that showed all of it goes on doing so. */
  setTotal(total) {
    const whole = this.isWhole;
    this.total = total;
    if (whole) this.fit();
    else this.show(this.from, this.to);
  }

  get isWhole() {
    return this.from <= 0 && this.to >= this.total;
  }

  get span() {
    return this.to - this.from;
  }

  fit() {
    this.from = 0;
    this.to = this.total;
  }

  /** Shows a part; never less than a few µs, never beyond the ends. */
  show(from, to) {
    const least = Math.min(this.total, Math.max(20, this.total / 1e6));
    const wide = Math.min(this.total, Math.max(least, to - from));
    const middle = (from + to) / 2;
    this.from = Math.max(0, Math.min(this.total - wide, wide === to - from ? from : middle - wide / 2));
    this.to = this.from + wide;
  }

  /** Zooms so that the time under the pointer (0 to 1 across the window) stays there. */
  zoom(factor, at = 0.5) {
    const point = this.from + this.span * at;
    const wide = this.span / factor;
    this.show(point - wide * at, point + wide * (1 - at));
  }

  pan(share) {
    const by = this.span * share;
    const from = Math.max(0, Math.min(this.total - this.span, this.from + by));
    this.show(from, from + this.span);
  }

  /** Where a time stands, 0 to 1 across the window. */
  place(time) {
    return (time - this.from) / this.span;
  }

  /** Round times to draw lines at: [{at, label}]. */
  ticks(most) {
    const rough = this.span / Math.max(1, most);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough) ?? rough;
    const found = [];
    for (let number = Math.ceil(this.from / step); number * step <= this.to; number += 1) {
      found.push({ at: number * step, label: tickLabel(number * step, step) });
    }
    return found;
  }
}

function tickLabel(time, step) {
  if (time === 0) return "0";
  if (time >= 6e7) return duration(time);
  if (time >= 1e6) return `${(time / 1e6).toFixed(step >= 1e6 ? 0 : step >= 1e5 ? 1 : step >= 1e4 ? 2 : 3)} s`;
  return `${(time / 1000).toFixed(step >= 1000 ? 0 : step >= 100 ? 1 : 2)} ms`;
}
