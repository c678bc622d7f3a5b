// The picture of a call in true time: how loud each side was, and where nothing is and why.

import { length, make } from "/words.js";
import { ask } from "/net.js";

const RULER = 18;
/** What is drawn over the sound, how it is called, and in which order. */
const SPANS = {
  hold: "on hold",
  pause: "paused",
  masked: "masked",
  dropped: "dropped: storage could not keep up",
  loss: "lost on the way",
};

export class Wave {
  /** `seek` is called with milliseconds of the call. */
  constructor(name, seek) {
    this.box = make("div", "wave");
    this.canvas = make("canvas");
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "slider");
    this.box.setAttribute("aria-label", name);
    this.box.setAttribute("aria-valuemin", "0");
    this.tip = make("span", "tip");
    this.tip.hidden = true;
    this.box.append(this.canvas, this.tip);
    this.from = 0;
    this.until = 0;
    this.at = null;
    this.peaks = null;
    this.spans = null;
    this.seek = seek;
    const ms = (event) => {
      const edge = this.canvas.getBoundingClientRect();
      const part = Math.min(1, Math.max(0, (event.clientX - edge.left) / edge.width));
      return this.from + part * (this.until - this.from);
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button || !this.until) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.box.focus({ preventScroll: true });
      this.seek(ms(event));
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.until) return;
      if (this.canvas.hasPointerCapture(event.pointerId)) this.seek(ms(event));
      this.explain(ms(event), event.offsetX);
    });
    this.canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    new ResizeObserver(() => this.draw()).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Asks for the picture of a stretch; `from` and `until` in ms, or all of it. */
  async load(call, { from = 0, until = null, signal } = {}) {
    const width = Math.min(4000, Math.max(200, Math.round(this.box.clientWidth * Math.min(2, devicePixelRatio || 1))));
    const query = new URLSearchParams({ width: String(width) });
    if (from) query.set("from", String(Math.round(from)));
    if (until) query.set("until", String(Math.round(until)));
    const [peaks, spans] = await Promise.all([
      ask("/api/v1/calls/" + call + "/peaks?" + query, { fresh: true, signal }),
      ask("/api/v1/calls/" + call + "/spans", { fresh: true, signal }),
    ]);
    this.peaks = peaks;
    this.spans = spans;
    this.from = peaks.from_ms;
    this.until = peaks.until_ms;
    this.box.setAttribute("aria-valuemax", String(Math.round(peaks.duration_ms / 1000)));
    this.draw();
  }

  /** Where the player is, in ms; null: nowhere. */
  place(ms) {
    this.at = ms;
    if (ms !== null) {
      this.box.setAttribute("aria-valuenow", String(Math.round(ms / 1000)));
      this.box.setAttribute("aria-valuetext", length(ms));
    }
    this.draw();
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [this.box.clientWidth, this.box.clientHeight];
    if (!width || !height) return;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const to = this.canvas.getContext("2d");
    const look = getComputedStyle(this.box);
    const color = (name) => look.getPropertyValue("--" + name).trim();
    to.setTransform(ratio, 0, 0, ratio, 0, 0);
    to.clearRect(0, 0, width, height);
    const lane = (height - RULER) / 2;
    to.fillStyle = color("line");
    to.fillRect(0, lane, width, 1);
    if (!this.peaks || !(this.until > this.from)) return;
    const x = (ms) => ((ms - this.from) / (this.until - this.from)) * width;
    this.drawRuler(to, x, width, height, color);
    for (const [n, values, name] of [[0, this.peaks.agent, "agent"], [1, this.peaks.external, "external"]]) {
      to.fillStyle = color(name);
      const count = values.length / 2;
      const middle = lane * (n + 0.5);
      for (let i = 0; i < count; i++) {
        // Loud and faint are far apart: the square root shows both.
        const up = Math.sign(values[2 * i + 1]) * Math.sqrt(Math.abs(values[2 * i + 1]) / 128);
        const down = Math.sign(values[2 * i]) * Math.sqrt(Math.abs(values[2 * i]) / 128);
        const top = middle - Math.max(up, 0) * lane * 0.46;
        const bottom = middle - Math.min(down, 0) * lane * 0.46;
        to.fillRect((i / count) * width, top, Math.max(width / count, 0.6), Math.max(bottom - top, 1));
      }
    }
    this.drawSpans(to, x, lane, color);
    if (this.at !== null && this.at >= this.from && this.at <= this.until) {
      to.fillStyle = color("ink");
      to.fillRect(Math.min(width - 1.5, Math.max(0, x(this.at) - 0.75)), 0, 1.5, height - RULER);
    }
  }

  drawSpans(to, x, lane, color) {
    for (const span of this.spans ? this.spans.spans : []) {
      if (!(span.kind in SPANS)) continue;
      const [from, until] = [x(span.from_ms), x(span.until_ms === null ? this.until : span.until_ms)];
      if (until < 0 || from > this.canvas.clientWidth) continue;
      const wide = Math.max(until - from, 1.5);
      const [top, high] = span.side === "agent" ? [0, lane] : span.side === "external" ? [lane, lane] : [0, 2 * lane];
      to.fillStyle = color(span.kind);
      to.globalAlpha = 0.2;
      to.fillRect(from, top, wide, high);
      to.globalAlpha = 0.75;
      if (wide > 5) this.hatch(to, from, top, wide, high, color(span.kind), span.kind === "hold" ? 1 : -1);
      else to.fillRect(from, top, wide, high);
      to.globalAlpha = 1;
    }
    to.font = "11px system-ui, sans-serif";
    for (const segment of this.spans ? this.spans.segments : []) {
      const from = x(segment.from_ms);
      if (from < -1 || from > this.canvas.clientWidth) continue;
      to.fillStyle = color("border");
      to.fillRect(Math.max(0, from), 0, 1, 2 * lane);
      if (this.spans.segments.length > 1) {
        const label = String(segment.number);
        to.fillRect(from, 0, to.measureText(label).width + 7, 14);
        to.fillStyle = color("sheet");
        to.fillText(label, from + 3.5, 11);
      }
    }
  }

  hatch(to, left, top, wide, high, color, slope) {
    to.save();
    to.beginPath();
    to.rect(left, top, wide, high);
    to.clip();
    to.strokeStyle = color;
    to.lineWidth = 1;
    to.beginPath();
    for (let at = left - high; at < left + wide + high; at += 7) {
      to.moveTo(at, top + (slope > 0 ? high : 0));
      to.lineTo(at + high, top + (slope > 0 ? 0 : high));
    }
    to.stroke();
    to.restore();
  }

  drawRuler(to, x, width, height, color) {
    const long = this.until - this.from;
    const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200];
    const step = (steps.find((s) => (s * 1000 * width) / long >= 64) || 86400) * 1000;
    to.font = "11px system-ui, sans-serif";
    for (let ms = Math.ceil(this.from / step) * step; ms <= this.until; ms += step) {
      const place = x(ms);
      to.fillStyle = color("line");
      to.fillRect(place, 0, 1, height - RULER + 4);
      to.fillStyle = color("dim");
      const label = length(ms);
      const wide = to.measureText(label).width;
      to.fillText(label, Math.min(width - wide, Math.max(0, place - wide / 2)), height - 3);
    }
  }

  /** What is under the pointer. */
  explain(ms, left) {
    const here = (this.spans ? this.spans.spans : []).filter(
      (s) => s.kind in SPANS && s.from_ms <= ms && (s.until_ms === null || s.until_ms >= ms));
    const said = here.map((s) => (s.side === "agent" || s.side === "external" ? s.side + " " : "") + SPANS[s.kind]);
    this.tip.textContent = [length(ms), ...new Set(said)].join(" · ");
    this.tip.hidden = false;
    const most = this.box.clientWidth - this.tip.offsetWidth - 4;
    this.tip.style.left = Math.max(4, Math.min(most, left + 8)) + "px";
  }

  /** Which kinds are in the picture, for the legend. */
  kinds() {
    const there = new Set((this.spans ? this.spans.spans : []).map((s) => s.kind));
    return Object.entries(SPANS).filter(([kind]) => there.has(kind));
  }
}
