// Sound without an end, as it comes over the line: WAV as it is, Opus through the browser's decoder. Each gives pieces:
// one array of samples for each channel, and how many are a second.

/** Octets that come in any portions, taken in whole numbers. */
class Held {
  constructor() {
    this.octets = new Uint8Array(0);
  }

  add(more) {
    const all = new Uint8Array(this.octets.length + more.length);
    all.set(this.octets);
    all.set(more, this.octets.length);
    this.octets = all;
  }

  get length() {
    return this.octets.length;
  }

  view() {
    return new DataView(this.octets.buffer, this.octets.byteOffset, this.octets.length);
  }

  take(count) {
    const taken = this.octets.subarray(0, count);
    this.octets = this.octets.slice(count);
    return taken;
  }
}

/** Octets of a WAV file's head. */
const WAV_HEAD = 44;

export class Wav {
  /** `heard` is given each piece. */
  constructor(heard) {
    this.heard = heard;
    this.held = new Held();
    this.channels = 0;
  }

  take(octets) {
    this.held.add(octets);
    if (!this.channels) {
      if (this.held.length < WAV_HEAD) return;
      const head = this.held.view();
      this.channels = head.getUint16(22, true);
      this.rate = head.getUint32(24, true);
      this.held.take(WAV_HEAD);
    }
    const frames = Math.floor(this.held.length / (2 * this.channels));
    if (!frames) return;
    const view = this.held.view();
    const samples = Array.from({ length: this.channels }, (_, c) =>
      Float32Array.from({ length: frames }, (_, i) => view.getInt16((i * this.channels + c) * 2, true) / 32768));
    this.held.take(frames * 2 * this.channels);
    this.heard(samples, this.rate);
  }

  end() {}
}

/** Octets of a page's head before its lacing values, and where their count stands. */
const PAGE_HEAD = 27;
const LACES_AT = 26;
/** Pages of a stream's head. */
const HEAD_PAGES = 2;

export class Opus {
  /** Whether this browser decodes Opus packet by packet; it does so on secure pages alone. */
  static there() {
    return "AudioDecoder" in window;
  }

  constructor(heard) {
    this.heard = heard;
    this.held = new Held();
    this.pages = 0;
    this.time = 0;
    this.decoder = new AudioDecoder({ output: (data) => this.decoded(data), error: (error) => (this.trouble = error) });
  }

  take(octets) {
    if (this.trouble) throw this.trouble;
    this.held.add(octets);
    for (let page = this.page(); page; page = this.page()) {
      this.pages += 1;
      if (this.pages === 1) this.decoder.configure({ codec: "opus", sampleRate: 48000, numberOfChannels: page[9] });
      if (this.pages <= HEAD_PAGES) continue;
      // Each page is a packet of 20 ms, which stands for itself.
      this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: this.time, data: page }));
      this.time += 20000;
    }
  }

  /** What is on the next page, when all of it is here. */
  page() {
    if (this.held.length < PAGE_HEAD) return null;
    const laces = this.held.octets[LACES_AT];
    if (this.held.length < PAGE_HEAD + laces) return null;
    const length = this.held.octets.subarray(PAGE_HEAD, PAGE_HEAD + laces).reduce((sum, lace) => sum + lace, 0);
    if (this.held.length < PAGE_HEAD + laces + length) return null;
    this.held.take(PAGE_HEAD + laces);
    return this.held.take(length);
  }

  decoded(data) {
    const samples = Array.from({ length: data.numberOfChannels }, (_, planeIndex) => {
      const plane = new Float32Array(data.numberOfFrames);
      data.copyTo(plane, { planeIndex, format: "f32-planar" });
      return plane;
    });
    const rate = data.sampleRate;
    data.close();
    this.heard(samples, rate);
  }

  end() {
    if (this.decoder.state !== "closed") this.decoder.close();
  }
}
