// Listening to a call that goes on: the sound as it comes, put on the loudspeaker a moment later.

import { button, make, setText } from "/words.js";
import { fetched } from "/net.js";
import { Opus, Wav } from "/sound.js";

/** How long before it is heard a piece is given to the loudspeaker: pieces come each 20 ms, and tabs stumble. */
const AHEAD_S = 0.1;
/** More than this is waiting: the network stood still. What is old is left out. */
const BEHIND_S = 0.4;
/** What must wait at least, looked at for so long; what is more is left out from then on. */
const NEEDED_S = 0.06;
const LOOK_S = 1;
const SPARE_S = 0.1;
const SPARE_QUIET_S = 0.02;
/** Fainter than this nobody speaks. */
const QUIET = 0.01;
/** WAV takes half a Mbit/s. */
const THIN_MBIT = 1;

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
    const meters = make("span", "meters");
    meters.append(...this.meters);
    this.box.append(this.button, meters, this.text, this.silent);
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
    // Opus takes a tenth of the line; WAV needs no decoder, and comes 30 ms sooner.
    const isThin = Opus.there() && isThinLine();
    const path = "/api/v1/calls/" + this.call + (isThin ? "/live.opus" : "/live.wav") + "?rate=16000&" + this.layout();
    const response = await fetched(path, { signal });
    const silent = response.headers.get("Callspool-Not-Heard");
    setText(this.silent, silent ? "Not heard: " + silent : "");
    this.silent.hidden = !silent;
    const heard = (samples, rate) => this.say(samples, rate);
    const sound = isThin ? new Opus(heard) : new Wav(heard);
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        sound.take(value);
      }
    } finally {
      sound.end();
    }
  }

  say(samples, rate) {
    if (!this.stopper) return;
    if (!this.context) {
      // The loudspeaker's rate is the browser's care: pieces follow each other without a seam.
      this.context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
      [this.next, this.least, this.since, this.spare] = [0, Infinity, 0, 0];
      for (const meter of this.meters.slice(0, samples.length)) meter.hidden = false;
    }
    const context = this.context;
    const loudest = samples.map((channel) => channel.reduce((most, s) => Math.max(most, Math.abs(s)), 0));
    loudest.forEach((most, c) => {
      this.meters[c].value = Math.max(Math.sqrt(most), this.meters[c].value * 0.9 - 0.001);
    });
    if (this.isSpare(samples[0].length / rate, Math.max(...loudest) < QUIET)) return;
    const piece = context.createBuffer(samples.length, samples[0].length, rate);
    samples.forEach((channel, c) => piece.copyToChannel(channel, c));
    if (this.next < context.currentTime + 0.005) this.next = context.currentTime + AHEAD_S;
    const source = context.createBufferSource();
    source.buffer = piece;
    source.connect(context.destination);
    source.start(this.next);
    this.next += samples[0].length / rate;
    setText(this.text, context.state === "running" ? "live" : "the browser keeps it silent: click the page");
  }

  /**
   * Whether a piece is to be left out: what waits for the loudspeaker without need is heard as delay. It comes of tabs
   * that stumble and of lines that stand still for a moment, and goes where nobody speaks, or when it is much.
   */
  isSpare(seconds, isQuiet) {
    const now = this.context.currentTime;
    const ahead = this.next - now;
    this.least = Math.min(this.least, ahead);
    if (now - this.since > LOOK_S) {
      this.spare = this.least - NEEDED_S;
      this.least = ahead;
      this.since = now;
    }
    if (ahead < BEHIND_S && this.spare < (isQuiet ? SPARE_QUIET_S : SPARE_S)) return false;
    this.spare -= seconds;
    return true;
  }
}

/** Whether the browser says that its line is thin, or is to be spared. */
function isThinLine() {
  const line = navigator.connection;
  return Boolean(line && (line.saveData || line.downlink < THIN_MBIT));
}
