// The video of a call that is over: shown when somebody asks for it, and to be taken away.

import { button, make, setText } from "/words.js";
import { fetched } from "/net.js";

/** What WebM holds, which every browser plays; and what only Matroska holds, which some do. */
const WEBM = ["VP8", "VP9"];
const MATROSKA = ["VP8", "VP9", "H264", "H265"];

/** The kinds of files that a call's video fits into, the best for browsers first; none without video. */
export function videoFormats(call) {
  const streams = call.segment_list.flatMap((s) => s.streams).filter((s) => s.kind === "video" && s.packets);
  const codecs = streams.flatMap((s) => s.codecs).filter((c) => MATROSKA.includes(c));
  if (!codecs.length) return [];
  return codecs.every((c) => WEBM.includes(c)) ? ["webm", "mkv"] : ["mkv"];
}

export class Video {
  /** `began` is called when it begins to play: one sound at a time is enough. */
  constructor(path, formats, began) {
    this.path = path + "/video." + formats[0];
    this.began = began;
    this.box = make("section", "video");
    this.box.setAttribute("aria-label", "Video");
    this.note = make("p", "trouble");
    this.note.hidden = true;
    this.box.append(button("Show video", "", () => this.show()), this.note);
  }

  show() {
    this.element = make("video");
    this.element.controls = true;
    this.element.addEventListener("play", () => this.began());
    this.element.addEventListener("error", () => this.explain());
    this.element.src = this.path;
    this.box.replaceChildren(this.element, this.note);
    // What is wrong comes as an error of the element.
    this.element.play().catch(() => undefined);
  }

  pause() {
    if (this.element) this.element.pause();
  }

  /** The element says only that it failed: the server says why. */
  async explain() {
    let text = "This browser cannot play the video; download it instead.";
    try {
      await fetched(this.path, { method: "HEAD" });
    } catch (error) {
      text = error.message;
    }
    setText(this.note, text);
    this.note.hidden = false;
  }

  end() {
    if (!this.element) return;
    this.element.pause();
    this.element.removeAttribute("src");
    this.element.load();
  }
}
