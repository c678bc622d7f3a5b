// Listening to a call that goes on: the WAV stream as it comes, put on the loudspeaker a moment later.

import { button, make, setText } from "/words.js";
import { fetched } from "/net.js";

/** Octets of the stream's head. */
const HEAD = 44;
/** How long before it is heard a piece is given to the loudspeaker: pieces come each 20 ms, and tabs stumble. */
const AHEAD_S = 0.1;
/** More than this is waiting: the network stood still. What is old is left out. */
const BEHIND_S = 0.4;

export class Hearing {
  constructor(call, layout) {
    this.call = call;
    this.layout = layout;
    this.box = make("div", "hearing");
    this.button = button("Listen", "strong", () => (this.stopper ? this.stop() : this.start()));
    this.text = make("span", "dim");
    this.text.setAttribute("role", "status");
    this.meters = ["agent", "external"].map((side) => {
      const meter = make("meter", side);
      meter.min = 0;
      meter.max = 1;
      meter.setAttribute("aria-label", side);
      meter.hidden = true;
      return meter;
    });
    this.silent = make("p", "dim");
    this.silent.hidden = true;
    this.box.append(this.button, ...this.meters, this.text, this.silent);
  }

  async start() {
    const stopper = (this.stopper = new AbortController());
    setText(this.button, "Stop listening");
    setText(this.text, "connecting …");
    try {
      await this.run(stopper.signal);
      setText(this.text, "the call is over");
    } catch (error) {
      setText(this.text, stopper.signal.aborted ? "" : error.message);
    } finally {
      if (this.stopper === stopper) this.stop();
    }
  }

  stop() {
    if (this.stopper) this.stopper.abort();
    this.stopper = null;
    if (this.context) this.context.close().catch(() => undefined);
    this.context = null;
    for (const meter of this.meters) meter.hidden = true;
    this.silent.hidden = true;
    setText(this.button, "Listen");
  }

  async run(signal) {
    const path = "/api/v1/calls/" + this.call + "/live.wav?rate=16000&" + this.layout();
    const response = await fetched(path, { signal });
    const silent = response.headers.get("Callspool-Not-Heard");
    setText(this.silent, silent ? "Not heard: " + silent : "");
    this.silent.hidden = !silent;
    const reader = response.body.getReader();
    let held = new Uint8Array(0);
    let format = null;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const all = new Uint8Array(held.length + value.length);
      all.set(held);
      all.set(value, held.length);
      held = all;
      if (!format) {
        if (held.length < HEAD) continue;
        const head = new DataView(held.buffer, held.byteOffset, HEAD);
        format = { channels: head.getUint16(22, true), rate: head.getUint32(24, true) };
        held = held.slice(HEAD);
        // The loudspeaker's rate is the browser's care: pieces follow each other without a seam.
        this.context = new AudioContext({ sampleRate: format.rate, latencyHint: "interactive" });
        this.next = 0;
        for (const meter of this.meters.slice(0, format.channels)) meter.hidden = false;
      }
      const frames = Math.floor(held.length / (2 * format.channels));
      if (!frames) continue;
      this.say(new DataView(held.buffer, held.byteOffset), frames, format);
      held = held.slice(frames * 2 * format.channels);
    }
  }

  say(view, frames, { channels, rate }) {
    const context = this.context;
    if (!context) return;
    if (this.next - context.currentTime > BEHIND_S) return;
    const piece = context.createBuffer(channels, frames, rate);
    for (let c = 0; c < channels; c++) {
      const samples = piece.getChannelData(c);
      let loudest = 0;
      for (let i = 0; i < frames; i++) {
        samples[i] = view.getInt16((i * channels + c) * 2, true) / 32768;
        loudest = Math.max(loudest, Math.abs(samples[i]));
      }
      this.meters[c].value = Math.max(Math.sqrt(loudest), this.meters[c].value * 0.9 - 0.001);
    }
    if (this.next < context.currentTime + 0.005) this.next = context.currentTime + AHEAD_S;
    const source = context.createBufferSource();
    source.buffer = piece;
    source.connect(context.destination);
    source.start(this.next);
    this.next += frames / rate;
    setText(this.text, context.state === "running" ? "live" : "the browser keeps it silent: click the page");
  }
}
