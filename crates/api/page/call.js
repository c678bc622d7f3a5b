// One call: its recording, orders while it goes on, tags and values, segments, and what is known of it.

import { badge, button, length, make, parties, setText, size, time } from "/words.js";
import { ask, now, tell } from "/net.js";
import { layouts, Player, select } from "/player.js";
import { Hearing } from "/hear.js";
import { Wave } from "/wave.js";

/** How much of a call that goes on is drawn, and how often: each picture costs the server some work. */
const WINDOW_MS = 60_000;
const DRAW_MS = 3_000;

export class CallView {
  constructor(box, id) {
    this.box = box;
    this.path = "/api/v1/calls/" + encodeURIComponent(id);
    this.id = id;
    this.stopper = new AbortController();
    this.running = [];
    this.back = make("a", "back button", "← All calls");
    this.back.href = "#";
    this.head = make("header");
    this.sound = make("div");
    this.notes = make("section", "notes");
    this.segments = make("section");
    this.elsewhere = make("section");
    this.elsewhere.setAttribute("aria-live", "polite");
    this.facts = make("section");
    this.trouble = make("p", "trouble");
    this.trouble.setAttribute("role", "alert");
    this.trouble.hidden = true;
    box.replaceChildren(this.back, make("p", "dim", "Loading …"));
  }

  /** Asks again, and changes what is different: a player goes on, a field that is written in stays. */
  async refresh({ fresh = false } = {}) {
    const call = await ask(this.path, { fresh: fresh || !this.call, signal: this.stopper.signal });
    if (!call || this.stopper.signal.aborted) return;
    if (call.id !== this.id) {
      // It turned out to be another one.
      location.replace("#/call/" + call.id);
      return;
    }
    const isFirst = !this.call;
    this.call = call;
    this.running = [];
    this.showHead();
    this.showSound();
    this.showNotes(isFirst);
    this.showSegments();
    this.showFacts();
    if (!this.goesOn()) this.showElsewhere();
    if (isFirst) {
      this.box.replaceChildren(this.back, this.head, this.trouble, this.sound, this.notes, this.segments, this.elsewhere, this.facts);
      if (this.player) this.player.load(this.stopper.signal);
    }
    this.tick();
  }

  fail(error) {
    if (error.name === "AbortError") return;
    if (!this.call) this.box.replaceChildren(this.back, this.trouble);
    setText(this.trouble, error.message);
    this.trouble.hidden = false;
  }

  async tried(work) {
    try {
      await work;
      this.trouble.hidden = true;
    } catch (error) {
      this.fail(error);
    }
  }

  goesOn() {
    return this.call.live || !this.call.ended;
  }

  /** The pause that goes on, if one does. */
  openPause() {
    const live = this.call.segment_list.filter((s) => s.live);
    return live.flatMap((s) => s.pauses).find((p) => !p.until) || null;
  }

  showHead() {
    const call = this.call;
    const title = make("h2");
    title.append(parties(call));
    const line = make("p", "facts-line");
    const long = make("span", "count");
    this.running.push({ element: long, from: call.started, until: call.ended });
    const pause = this.openPause();
    if (this.goesOn()) {
      const stands = pause ? "paused" : call.live ? "live" : "open";
      line.append(make("span", stands, pause ? "paused" : call.live ? "live" : "not recorded now"));
    }
    line.append(time(call.started), long, badge(call.state));
    if (call.direction !== "unknown") line.append(make("span", "dim", call.direction));
    if (pause) {
      const since = make("span", "dim", "by " + pause.by + " since ");
      since.append(time(pause.from));
      line.append(since);
    }
    this.head.replaceChildren(title, line);
  }

  showSound() {
    if (this.goesOn()) {
      if (!this.live) this.beginLive();
      const paused = Boolean(this.openPause());
      this.orders.pause.hidden = paused || !this.call.live;
      this.orders.resume.hidden = !paused;
      this.orders.stop.hidden = !this.call.live;
      this.orders.start.hidden = this.call.live;
      this.live.hidden = false;
      return;
    }
    if (this.live) {
      this.hearing.stop();
      this.live.remove();
      this.live = null;
    }
    if (!this.call.audio) {
      if (!this.sound.firstChild) this.sound.append(make("p", "empty", "Nothing was recorded of this call."));
    } else if (!this.player) {
      this.player = new Player(this.call);
      this.sound.replaceChildren(this.player.box);
      if (this.box.contains(this.sound)) this.player.load(this.stopper.signal);
    }
  }

  /** What a call has that goes on: its last minute, orders, and somebody may listen. */
  beginLive() {
    this.live = make("section", "livebox");
    this.live.setAttribute("aria-label", "The call now");
    this.wave = new Wave("The last minute", () => undefined);
    this.wave.box.tabIndex = -1;
    const layout = select("Heard", layouts(this.call), "layout=stereo");
    this.hearing = new Hearing(this.id, () => layout.input.value);
    layout.input.addEventListener("change", () => {
      if (!this.hearing.stopper) return;
      this.hearing.stop();
      this.hearing.start();
    });
    const order = (what, text, className) => button(text, className, () => this.order(what));
    this.orders = {
      pause: order("pause", "Pause recording"), resume: order("resume", "Resume recording", "strong"),
      stop: order("stop", "Stop recording", "danger"), start: order("start", "Start recording", "strong"),
    };
    const controls = make("div", "controls");
    controls.append(...Object.values(this.orders));
    const hearing = make("div", "controls");
    hearing.append(this.hearing.box, layout.label);
    this.live.append(this.wave.box, hearing, controls);
    this.sound.replaceChildren(this.live);
    this.draw();
  }

  async draw() {
    while (this.live && !this.stopper.signal.aborted) {
      if (!document.hidden && this.call.audio && this.box.contains(this.live)) {
        const elapsed = now() - Date.parse(this.call.started);
        const from = Math.max(0, elapsed - WINDOW_MS);
        // What is not there yet is no trouble: it comes with the next picture.
        await this.wave.load(this.id, { from, signal: this.stopper.signal }).catch(() => undefined);
      }
      await new Promise((done) => setTimeout(done, DRAW_MS));
    }
  }

  async order(what) {
    const buttons = Object.values(this.orders);
    for (const b of buttons) b.disabled = true;
    await this.tried(tell("POST", this.path + "/" + what).then(() => this.refresh({ fresh: true })));
    for (const b of buttons) b.disabled = false;
  }

  showNotes(isFirst) {
    const tags = this.call.tags;
    const extra = Object.entries(this.call.extra);
    const key = JSON.stringify([tags, extra]);
    if (key === this.notesKey) return;
    this.notesKey = key;
    if (isFirst) this.makeNotes();
    this.showValues(extra, []);
    // What came with the call cannot be taken away; who added what, its log knows.
    const added = ask(this.path + "/metadata", { fresh: true, signal: this.stopper.signal });
    added.then((a) => this.showValues(extra, Object.keys(a.metadata))).catch(() => undefined);
    const note = (change) => this.tried(change.then(() => this.refresh({ fresh: true })));
    this.tagList.replaceChildren(...tags.map((tag) => {
      const item = make("li", "tag", tag);
      const remove = button("×", "plain", () => note(tell("DELETE", this.path + "/tags/" + encodeURIComponent(tag))));
      remove.setAttribute("aria-label", "Take the tag " + tag + " away");
      item.append(remove);
      return item;
    }));
    if (!tags.length) this.tagList.append(make("li", "dim", "no tags"));
  }

  showValues(extra, added) {
    this.values.replaceChildren(...extra.flatMap(([name, value]) => {
      const text = make("dd", "", value);
      if (added.includes(name)) {
        const path = this.path + "/metadata/" + encodeURIComponent(name);
        const remove = button("×", "plain", () => this.tried(tell("DELETE", path).then(() => this.refresh({ fresh: true }))));
        remove.setAttribute("aria-label", "Take the value of " + name + " away");
        text.append(remove);
      }
      return [make("dt", "", name), text];
    }));
  }

  makeNotes() {
    const field = (label, maxLength) => {
      const input = make("input");
      input.setAttribute("aria-label", label);
      input.placeholder = label;
      input.maxLength = maxLength;
      input.required = true;
      input.autocomplete = "off";
      return input;
    };
    const form = (inputs, text, send) => {
      const made = make("form", "bar");
      const add = make("button", "button", text);
      made.append(...inputs, add);
      made.addEventListener("submit", (event) => {
        event.preventDefault();
        const sent = send().then(() => {
          for (const input of inputs) input.value = "";
          return this.refresh({ fresh: true });
        });
        this.tried(sent);
      });
      return made;
    };
    this.tagList = make("ul", "tags");
    this.values = make("dl");
    const tag = field("New tag", 64);
    const [name, value] = [field("Key", 64), field("Value", 1000)];
    const path = (of, what) => this.path + "/" + of + "/" + encodeURIComponent(what.value.trim());
    this.notes.append(
      make("h3", "", "Tags and values"), this.tagList, form([tag], "Add tag", () => tell("PUT", path("tags", tag))),
      this.values, form([name, value], "Put value", () => tell("PUT", path("metadata", name), { value: value.value })));
    const other = field("Id of another call", 13);
    const hint = make("p", "dim", "Another call that is the same conversation becomes part of this one, or this one of that. It cannot be undone.");
    this.notes.append(make("h3", "", "One with another call"), hint, form([other], "Join for good", () => this.join(other.value.trim())));
  }

  showSegments() {
    const list = this.call.segment_list;
    this.segments.replaceChildren(make("h3", "", list.length === 1 ? "Segment" : "Segments"), ...list.map((s) => this.segment(s)));
    if (!list.length) this.segments.append(make("p", "dim", "None yet."));
    if (this.call.gathering) this.segments.append(this.gathering(this.call.gathering));
  }

  /** From where it is played, if not from here alone, and what of it cannot be played. Nodes are asked, so it may take a while. */
  async showElsewhere() {
    const places = await ask(this.path + "/places", { fresh: true, signal: this.stopper.signal }).catch(() => null);
    if (!places) return;
    const away = places.segments.filter((s) => s.node !== null);
    this.elsewhere.replaceChildren();
    if (!away.length && !places.missing.length) return;
    const box = make("section", "segment");
    box.append(make("h4", "", away.length ? "Played from other nodes" : "Missing"));
    for (const s of away) box.append(make("p", "dim", "Segment " + s.number + " is fetched from " + s.name + " (node " + s.node + ")."));
    for (const m of places.missing) {
      const line = make("p", "trouble", "Not heard: " + m.text);
      if (m.since) {
        line.append(", since ");
        line.append(time(m.since));
      }
      box.append(line);
    }
    this.elsewhere.append(box);
  }

  /** What of the call lies elsewhere, or is missing. */
  gathering(g) {
    const box = make("section", "segment");
    box.append(make("h4", "", "Gathering"), make("p", "", g.text + "."));
    for (const missing of g.missing) {
      const line = make("p", "dim", missing.what + ", since ");
      line.append(time(missing.since));
      box.append(line);
    }
    if (g.trouble) box.append(make("p", "dim", "Failed " + g.failures + " times: " + g.trouble));
    const now = button("Gather now", "", () => this.tried(tell("POST", this.path + "/gather").then(() => this.refresh({ fresh: true }))));
    if (g.stage !== "virtual") box.append(now);
    return box;
  }

  segment(s) {
    const box = make("section", "segment");
    const head = make("h4");
    head.append(s.number + " of " + s.total);
    if (s.live) head.append(make("span", "live", "live"));
    const long = make("span", "dim count");
    this.running.push({ element: long, from: s.started, until: s.ended });
    head.append(badge(s.state), time(s.started), long);
    if (s.end) head.append(make("span", "dim", "ended by " + s.end.text));
    if (s.recorded_as) head.append(make("span", "dim", "recorded as call " + s.recorded_as));
    if (s.respondent) head.append(make("span", "dim", "took over"));
    head.append(make("span", "dim", size(s.bytes)));
    box.append(head);
    for (const pause of s.pauses) {
      const line = make("p", "dim pause-line", "paused by " + pause.by + " at ");
      line.append(time(pause.from));
      if (pause.until) line.append(", resumed by " + (pause.resumed_by || "unknown") + " after " + length(Date.parse(pause.until) - Date.parse(pause.from)));
      box.append(line);
    }
    box.append(s.streams.length ? streams(s.streams) : make("p", "dim", "No stream."));
    if (s.copies.length) box.append(make("p", "dim", "Copies: " + s.copies.map((c) => c.place + " (" + c.state + ")").join(", ")));
    return box;
  }

  showFacts() {
    const call = this.call;
    const list = make("dl");
    const add = (name, value) => {
      if (value) list.append(make("dt", "", name), make("dd", "", value));
    };
    for (const p of call.parties) add(p.role, [p.name, p.uri || p.number, p.side === "unknown" ? "" : "(" + p.side + ")"].filter(Boolean).join(" "));
    add("line", [call.dn, call.device].filter(Boolean).join(", "));
    for (const [key, value] of Object.entries(call.correlation)) add(key, value);
    add("SIP Call-ID", call.sip_call_ids.join(", "));
    add("call id", call.id);
    for (const joined of call.joined) add("joined from", joined.call + " (" + joined.why + ")");
    add("copies", call.copies.map((c) => c.place + " (" + c.state + ")").join(", "));
    add("sides", call.sides.swapped ? "swapped against what was recorded" : Object.keys(call.sides.streams).length ? "corrected" : "");
    const swap = button("Swap agent and external", "", () => this.swap(swap));
    swap.setAttribute("aria-pressed", String(call.sides.swapped));
    this.facts.replaceChildren(make("h3", "", "Call data"), list, swap);
  }

  /** Another call and this one are one. What is played is all of it then. */
  async join(other) {
    await tell("PUT", this.path + "/joined/" + encodeURIComponent(other));
    if (this.player) this.player.end();
    this.player = null;
  }

  /** Agent and external were taken for each other, or were not after all. The recording stays as it is. */
  async swap(pressed) {
    pressed.disabled = true;
    const body = { swapped: !this.call.sides.swapped, streams: this.call.sides.streams };
    await this.tried(tell("PUT", this.path + "/sides", body).then(async () => {
      if (this.player) {
        this.player.end();
        this.player = null;
      }
      await this.refresh({ fresh: true });
    }));
    pressed.disabled = false;
  }

  /** Lengths of what goes on. */
  tick() {
    for (const { element, from, until } of this.running) {
      setText(element, length((until ? Date.parse(until) : now()) - Date.parse(from)));
    }
  }

  end() {
    this.stopper.abort();
    if (this.player) this.player.end();
    if (this.hearing) this.hearing.stop();
    this.live = null;
    this.box.replaceChildren();
  }
}

function streams(all) {
  const columns = [["Side", ""], ["Codec", ""], ["Packets", "received"], ["Lost", "never arrived"], ["Late", "after the reorder window"],
    ["Dropped", "received, but not kept because storage could not keep up"], ["Jitter", "at the end; highest"]];
  const head = make("tr");
  for (const [name, title] of columns) {
    const cell = make("th", /Side|Codec/.test(name) ? "" : "number", name);
    cell.scope = "col";
    if (title) cell.title = title;
    head.append(cell);
  }
  const group = make("thead");
  group.append(head);
  const body = make("tbody");
  for (const s of all) {
    const line = make("tr");
    line.append(
      make("td", "", s.side + (s.label ? " (label " + s.label + ")" : "") + (s.kind === "audio" ? "" : " " + s.kind)),
      make("td", "", s.codecs.join(", ") || "none seen"), make("td", "number", s.packets.toLocaleString()),
      ...[s.lost, s.late, s.dropped].map((n) => make("td", n ? "number lossy" : "number", n.toLocaleString())),
      make("td", "number", (s.jitter_us / 1000).toFixed(1) + "; " + (s.jitter_max_us / 1000).toFixed(1) + " ms"));
    body.append(line);
  }
  const table = make("table");
  table.append(group, body);
  const scroll = make("div", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Streams");
  scroll.append(table);
  return scroll;
}
