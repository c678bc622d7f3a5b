// The player of what was recorded: waveform, keys, speed, who is heard, files to take away.

import { button, length, make, setText } from "/words.js";
import { fetched } from "/net.js";
import { Video, videoFormats } from "/video.js";
import { Wave } from "/wave.js";

const SPEEDS = ["0.5", "0.75", "1", "1.25", "1.5", "2", "3"];
const FORMATS = [["wav", "WAV"], ["mp3", "MP3"], ["opus", "Opus"], ["flac", "FLAC"]];
const VIDEO_NAMES = { webm: "Video (WebM)", mkv: "Video (Matroska)" };
const STEP_S = 5;

export class Player {
  constructor(call) {
    this.call = call.id;
    this.box = make("section", "player");
    this.box.setAttribute("aria-label", "Recording");
    this.audio = make("audio");
    this.audio.preload = "none";
    this.wave = new Wave("Place in the recording, in seconds", (ms) => this.seek(ms / 1000));
    this.legend = make("p", "legend");
    this.note = make("p", "trouble");
    this.note.hidden = true;
    this.playing = button("Play", "strong play", () => this.toggle());
    this.place = make("span", "count place", "0:00");
    this.speed = select("Speed", SPEEDS.map((s) => [s, s + "×"]), "1");
    this.speed.input.addEventListener("change", () => this.setSpeed());
    this.layout = select("Heard", layouts(call), "layout=stereo");
    this.layout.input.addEventListener("change", () => this.setLayout());
    const controls = make("div", "controls");
    controls.append(
      this.playing, button("−10 s", "", () => this.seek(this.audio.currentTime - 10)),
      button("+10 s", "", () => this.seek(this.audio.currentTime + 10)), this.place, this.speed.label, this.layout.label);
    this.files = make("p", "files");
    this.videoFormats = videoFormats(call);
    this.box.append(this.wave.box, this.legend, this.note, controls, this.files, this.audio);
    if (this.videoFormats.length) {
      this.video = new Video("/api/v1/calls/" + this.call, this.videoFormats, () => this.audio.pause());
      this.audio.addEventListener("play", () => this.video.pause());
      this.box.append(this.video.box);
    }
    this.audio.addEventListener("play", () => this.show());
    this.audio.addEventListener("pause", () => this.show());
    this.audio.addEventListener("timeupdate", () => this.show());
    this.audio.addEventListener("loadedmetadata", () => this.show());
    this.audio.addEventListener("error", () => this.explain());
    this.wave.box.addEventListener("keydown", (event) => this.key(event));
    this.offer();
    this.setLayout();
  }

  source(format) {
    return "/api/v1/calls/" + this.call + "/audio." + format + "?" + this.layout.input.value;
  }

  /** Draws the recording; it may have grown. */
  async load(signal) {
    try {
      await this.wave.load(this.call, { signal });
      this.duration = this.wave.until / 1000;
      const shown = [["agent", "agent"], ["external", "external"], ...this.wave.kinds()];
      this.legend.replaceChildren(...shown.map(([kind, name]) => {
        const item = make("span", "key", name);
        item.dataset.kind = kind;
        return item;
      }));
      this.note.hidden = true;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.fail(error.message);
    }
    this.show();
  }

  fail(text) {
    setText(this.note, text);
    this.note.hidden = false;
  }

  toggle() {
    if (!this.audio.paused) return this.audio.pause();
    if (!this.audio.getAttribute("src")) this.audio.src = this.source("wav");
    // What is wrong comes as an error of the element.
    return this.audio.play().catch(() => undefined);
  }

  seek(seconds) {
    const to = Math.max(0, Math.min(seconds, (this.duration || this.audio.duration || 0) - 0.05));
    if (this.audio.readyState > 0) {
      this.audio.currentTime = to;
    } else {
      this.wanted = to;
      if (!this.audio.getAttribute("src")) this.audio.src = this.source("wav");
      this.audio.preload = "metadata";
      this.audio.addEventListener("loadedmetadata", () => (this.audio.currentTime = this.wanted), { once: true });
      this.audio.load();
    }
    this.wave.place(to * 1000);
    setText(this.place, length(to * 1000) + " / " + length((this.duration || 0) * 1000));
  }

  setSpeed() {
    this.audio.defaultPlaybackRate = Number(this.speed.input.value);
    this.audio.playbackRate = Number(this.speed.input.value);
  }

  /** Goes on at the same place with others heard. */
  setLayout() {
    this.offer();
    if (!this.audio.getAttribute("src")) return;
    const [at, plays] = [this.audio.currentTime, !this.audio.paused];
    this.audio.src = this.source("wav");
    this.audio.addEventListener("loadedmetadata", () => {
      this.audio.currentTime = at;
      this.setSpeed();
      if (plays) this.audio.play().catch(() => undefined);
    }, { once: true });
    this.audio.load();
  }

  offer() {
    const link = (href, format, name) => {
      const made = make("a", "button", name);
      made.href = href;
      made.download = this.call + "." + format;
      return made;
    };
    const video = (format) => "/api/v1/calls/" + this.call + "/video." + format + "?" + this.layout.input.value;
    this.files.replaceChildren(
      make("span", "dim", "Download"), ...FORMATS.map(([format, name]) => link(this.source(format), format, name)),
      ...this.videoFormats.map((format) => link(video(format), format, VIDEO_NAMES[format])));
  }

  key(event) {
    const now = this.audio.readyState > 0 ? this.audio.currentTime : this.wanted || 0;
    const speed = (by) => {
      const input = this.speed.input;
      input.selectedIndex = Math.max(0, Math.min(SPEEDS.length - 1, input.selectedIndex + by));
      this.setSpeed();
    };
    const actions = {
      " ": () => this.toggle(), ArrowLeft: () => this.seek(now - STEP_S), ArrowRight: () => this.seek(now + STEP_S),
      PageDown: () => this.seek(now - 30), PageUp: () => this.seek(now + 30), Home: () => this.seek(0),
      End: () => this.seek(this.duration || 0), ArrowUp: () => speed(1), ArrowDown: () => speed(-1),
    };
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  }

  show() {
    const at = this.audio.readyState > 0 ? this.audio.currentTime : this.wanted || 0;
    setText(this.playing, this.audio.paused ? "Play" : "Pause");
    this.wave.place(at * 1000);
    const whole = this.duration || this.audio.duration || 0;
    setText(this.place, length(at * 1000) + " / " + length(whole * 1000));
  }

  /** The element says only that it failed: the server says why. */
  async explain() {
    try {
      await fetched(this.source("wav"), { headers: { Range: "bytes=0-0" } });
      this.fail("The browser cannot play the recording; download it instead.");
    } catch (error) {
      this.fail(error.message);
    }
  }

  end() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    if (this.video) this.video.end();
  }
}

/** Both sides, mixed, or one stream of those that there were. */
export function layouts(call) {
  const streams = new Map();
  for (const segment of call.segment_list) {
    for (const s of segment.streams) if (s.kind === "audio") streams.set(s.id, s);
  }
  const one = [...streams.values()].map((s, i) => ["stream=" + s.id, "stream " + (i + 1) + ": " + s.side]);
  return [["layout=stereo", "both, left and right"], ["layout=mix", "both, mixed"], ...(one.length > 1 ? one : [])];
}

export function select(name, options, value) {
  const label = make("label", "choice", name);
  const input = make("select");
  input.append(...options.map(([of, text]) => new Option(text, of, of === value, of === value)));
  label.append(input);
  return { label, input };
}
