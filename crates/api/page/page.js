// The page: asks for calls every two seconds and shows them. What came from the network is set as text, never
// as HTML; what is on screen is changed in place, so that focus and a playing recording stay.
"use strict";

const POLL_MS = 2000;
const at = (id) => document.getElementById(id);
const rows = new Map(); // call id -> what is shown of it
let older = []; // pages beyond the first, loaded on demand and not refreshed
let listTag = null;
let firstPage = [];
let next = null;
let skew = 0; // the server's clock minus ours, in ms
let asking = null;

// --- small helpers ---------------------------------------------------------------------------------------------

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined && text !== null) element.textContent = text;
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function length(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const h = Math.floor(s / 3600);
  return (h ? h + ":" + two(Math.floor(s / 60) % 60) : Math.floor(s / 60)) + ":" + two(s % 60);
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

function time(element, iso) {
  const when = new Date(iso);
  const today = when.toDateString() === new Date().toDateString();
  setText(element, (today ? "" : day.format(when) + ", ") + clock.format(when));
  element.dateTime = iso;
  element.title = iso.replace("T", " ").replace(/(\.\d{3})\d*Z$/, "$1") + " UTC";
}

function stateClass(state) {
  if (/error|IER|IE-|EE-/.test(state)) return "badge bad";
  if (state.startsWith("complete")) return "badge good";
  return state.startsWith("delete") ? "badge" : "badge busy";
}

function running(from, ended) {
  return length((ended ? Date.parse(ended) : Date.now() + skew) - Date.parse(from));
}

function partyName(party) {
  return party.name || party.number || party.uri || "unknown";
}

// --- asking ----------------------------------------------------------------------------------------------------

class Trouble extends Error {}

async function ask(path, tag, signal) {
  let response;
  try {
    response = await fetch(path, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store", signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("The server does not answer. Trying again …");
  }
  const date = Date.parse(response.headers.get("Date"));
  if (date) skew = Math.abs(date - Date.now()) > 1500 ? date - Date.now() : 0;
  if (response.status === 304) return null;
  if (response.status === 401) {
    throw new Trouble("The token is missing or wrong. Open this page with the address that callspool printed when it started: "
      + location.origin + "/?token=…");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok || !body) {
    throw new Trouble(body && body.title ? body.title + ": " + body.detail : "The server answered " + response.status + ".");
  }
  return { body, tag: response.headers.get("ETag") };
}

function trouble(error) {
  const box = at("trouble");
  box.hidden = !error;
  setText(box, error ? error.message : "");
  if (error) setText(at("status"), "");
}

function listPath(after) {
  const query = new URLSearchParams({ limit: "100" });
  const text = at("q").value.trim();
  if (text) query.set("q", text);
  if (at("live").checked) query.set("live", "true");
  if (after) query.set("after", after);
  return "/api/v1/calls?" + query;
}

async function poll() {
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  const late = setTimeout(() => mine.abort(), 20000);
  try {
    const answer = await ask(listPath(), listTag, mine.signal);
    if (answer) {
      listTag = answer.tag;
      firstPage = answer.body.calls;
      if (!older.length) next = answer.body.next;
      show();
    }
    await Promise.all([...rows.values()].filter((r) => r.open).map((r) => refresh(r, mine.signal)));
    trouble(null);
    tick();
  } catch (error) {
    if (error.name === "AbortError" && mine !== asking) return; // overtaken by a newer question
    trouble(error.name === "AbortError" ? new Trouble("The server does not answer. Trying again …") : error);
  } finally {
    clearTimeout(late);
    if (mine === asking) {
      at("calls").setAttribute("aria-busy", "false");
      asking = null;
    }
  }
}

// --- the list --------------------------------------------------------------------------------------------------

function show() {
  const known = new Set(firstPage.map((c) => c.id));
  const calls = firstPage.concat(older.filter((c) => !known.has(c.id)));
  const list = at("list");
  const wanted = new Set(calls.map((c) => c.id));
  for (const [id, row] of rows) {
    if (!wanted.has(id)) {
      row.item.remove();
      rows.delete(id);
    }
  }
  calls.forEach((call, i) => {
    let row = rows.get(call.id);
    if (!row) rows.set(call.id, (row = newRow(call.id)));
    fill(row, call);
    if (list.children[i] !== row.item) list.insertBefore(row.item, list.children[i] || null);
  });
  const filtered = at("q").value.trim() !== "" || at("live").checked;
  at("empty").hidden = calls.length > 0 || filtered;
  at("none").hidden = calls.length > 0 || !filtered;
  at("calls").hidden = calls.length === 0;
  at("more").hidden = !next;
}

function newRow(id) {
  const row = { id, open: false, tag: null, call: null };
  row.item = make("li");
  row.button = make("button", "row");
  row.button.type = "button";
  row.button.setAttribute("aria-expanded", "false");
  row.button.setAttribute("aria-controls", "call-" + id);
  row.who = make("span", "who");
  row.start = make("time");
  row.length = make("span", "length count");
  row.state = make("span");
  row.segments = make("span", "segments dim count");
  row.button.append(row.who, row.start, row.length, row.state, row.segments);
  row.detail = make("div", "detail");
  row.detail.id = "call-" + id;
  row.detail.hidden = true;
  row.item.append(row.button, row.detail);
  row.button.addEventListener("click", () => toggle(row));
  return row;
}

function fill(row, call) {
  row.call = call;
  const role = (name) => call.parties.find((p) => p.role === name);
  const names = [role("caller"), role("called")].filter(Boolean);
  const shown = (names.length ? names : call.parties.slice(0, 2)).map(partyName);
  const title = call.parties.map((p) => [p.name, p.uri || p.number].filter(Boolean).join(" ")).join("\n");
  const key = JSON.stringify(shown);
  if (row.whoKey !== key) {
    row.whoKey = key;
    row.who.replaceChildren();
    shown.forEach((name, i) => {
      if (i) row.who.append(make("span", "to", "→"));
      row.who.append(make("bdi", "", name));
    });
    if (!shown.length) row.who.append(make("span", "dim", "unknown parties"));
  }
  row.who.title = title;
  time(row.start, call.started);
  const badge = make("span", stateClass(call.state), call.state);
  const flag = call.live ? [make("span", "live", "live")] : call.ended ? [] : [make("span", "open", "not ended")];
  row.state.replaceChildren(...flag, badge);
  setText(row.segments, call.segments + " of " + call.total);
  row.segments.title = "segments known, of the call's total";
  row.length.title = call.ended ? "" : call.live ? "so far" : "not ended: on hold, or waited for";
}

// Lengths of what has not ended run on between two answers.
function tick() {
  for (const row of rows.values()) {
    setText(row.length, running(row.call.started, row.call.ended) + (row.call.ended ? "" : "…"));
    for (const { element, segment } of row.running || []) setText(element, running(segment.started, segment.ended));
  }
  const live = [...rows.values()].filter((r) => r.call.live).length;
  if (at("trouble").hidden) setText(at("status"), rows.size + (rows.size === 1 ? " call" : " calls") + (live ? ", " + live + " live" : ""));
}

// --- one call --------------------------------------------------------------------------------------------------

async function toggle(row) {
  row.open = !row.open;
  row.detail.hidden = !row.open;
  row.button.setAttribute("aria-expanded", String(row.open));
  if (!row.open) {
    if (row.audio) row.audio.pause();
    return;
  }
  if (!row.tag) row.detail.replaceChildren(make("p", "dim", "Loading …"));
  try {
    await refresh(row);
  } catch (error) {
    if (error.name !== "AbortError") row.detail.replaceChildren(make("p", "trouble", error.message));
  }
}

async function refresh(row, signal) {
  const answer = await ask("/api/v1/calls/" + encodeURIComponent(row.id), row.tag, signal);
  if (!answer) return;
  row.tag = answer.tag;
  const call = answer.body;
  row.running = [];
  const parts = [player(row, call), ...call.segment_list.map((s) => segment(row, s)), facts(call)];
  // The player keeps its place, so that it goes on playing.
  const keep = row.audioBox && row.audioBox.parentNode === row.detail && parts[0] === row.audioBox;
  if (keep) {
    while (row.detail.lastChild !== row.audioBox) row.detail.lastChild.remove();
    row.detail.append(...parts.slice(1));
  } else {
    row.detail.replaceChildren(...parts.filter(Boolean));
  }
}

function player(row, call) {
  if (!call.audio) return null;
  // While a call goes on, its recording grows: a player that is not in use is pointed at the longer one.
  const version = call.changed;
  if (row.audio && (row.audioVersion === version || !row.audio.paused || row.audio.currentTime > 0)) return row.audioBox;
  row.audioVersion = version;
  row.audioBox = make("div");
  row.audio = make("audio");
  row.audio.controls = true;
  row.audio.preload = "none";
  row.audio.src = call.audio;
  const note = make("p", "trouble");
  note.hidden = true;
  row.audio.addEventListener("error", async () => {
    note.hidden = false;
    const answer = await fetch(call.audio, { headers: { Range: "bytes=0-0" } }).catch(() => null);
    const told = answer && !answer.ok ? await answer.json().catch(() => null) : null;
    setText(note, told ? told.title + ": " + told.detail : "The recording cannot be played.");
  });
  row.audioBox.append(row.audio, note);
  return row.audioBox;
}

function segment(row, s) {
  const box = make("section", "segment");
  const head = make("h3");
  head.append("Segment " + s.number + " of " + s.total);
  const state = make("span");
  if (s.live) state.append(make("span", "live", "live"));
  state.append(make("span", stateClass(s.state), s.state));
  const start = make("time");
  time(start, s.started);
  const when = make("span", "dim", "from ");
  when.append(start);
  const long = make("span", "dim count", running(s.started, s.ended));
  if (!s.ended) row.running.push({ element: long, segment: s });
  head.append(state, make("span", "dim", "node " + s.node), when, long);
  if (s.end) head.append(make("span", "dim", "ended by " + s.end.text));
  if (s.respondent) head.append(make("span", "dim", "took over"));
  box.append(head, s.streams.length ? streams(s.streams) : make("p", "dim", "No stream."));
  const away = s.copies.filter((c) => c.archive);
  if (away.length) box.append(make("p", "dim", "Also: " + away.map((c) => c.place + " (" + c.state + ")").join(", ")));
  return box;
}

function streams(all) {
  const table = make("table");
  const head = make("tr");
  for (const [name, title] of [["Side", ""], ["Codec", ""], ["Packets", "received"], ["Lost", "never arrived"], ["Late", "after the reorder window"],
    ["Dropped", "received, but not kept because storage could not keep up"], ["Jitter", "at the end; highest"]]) {
    const cell = make("th", /Side|Codec/.test(name) ? "" : "number", name);
    cell.scope = "col";
    if (title) cell.title = title;
    head.append(cell);
  }
  const headGroup = make("thead");
  headGroup.append(head);
  const body = make("tbody");
  for (const s of all) {
    const line = make("tr");
    line.append(make("td", "", s.side + (s.label ? " (label " + s.label + ")" : "") + (s.kind === "audio" ? "" : " " + s.kind)));
    line.append(make("td", "", s.codecs.join(", ") || "none seen"));
    line.append(make("td", "number", s.packets.toLocaleString()));
    for (const n of [s.lost, s.late, s.dropped]) line.append(make("td", n ? "number lossy" : "number", n.toLocaleString()));
    line.append(make("td", "number", (s.jitter_us / 1000).toFixed(1) + "; " + (s.jitter_max_us / 1000).toFixed(1) + " ms"));
    body.append(line);
  }
  table.append(headGroup, body);
  const scroll = make("div", "scroll");
  scroll.append(table);
  return scroll;
}

function facts(call) {
  const list = make("dl");
  const add = (name, value) => {
    if (value) list.append(make("dt", "", name), make("dd", "", value));
  };
  for (const p of call.parties) add(p.role, [p.name, p.uri || p.number, p.side === "unknown" ? "" : "(" + p.side + ")"].filter(Boolean).join(" "));
  add("line", [call.dn, call.device].filter(Boolean).join(", "));
  for (const [key, value] of Object.entries(call.extra)) add(key, value);
  for (const [key, value] of Object.entries(call.correlation)) add(key, value);
  add("SIP Call-ID", call.sip_call_ids.join(", "));
  add("call id", call.id);
  return list;
}

// --- beginning -------------------------------------------------------------------------------------------------

function restart() {
  listTag = null;
  older = [];
  next = null;
  poll();
}

let typing;
at("q").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(restart, 250);
});
at("live").addEventListener("change", restart);
at("filters").addEventListener("submit", (event) => {
  event.preventDefault();
  restart();
});
at("more").addEventListener("click", async () => {
  at("more").disabled = true;
  try {
    const answer = await ask(listPath(next), null);
    older = older.concat(answer.body.calls);
    next = answer.body.next;
    show();
    tick();
  } catch (error) {
    trouble(error);
  } finally {
    at("more").disabled = false;
  }
});
setText(at("first-call"), "callspool call --to sip:callspool@" + location.hostname + ":5060 --siprec");
setInterval(tick, 1000);
setInterval(() => {
  if (!document.hidden && !asking) poll();
}, POLL_MS);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !asking) poll();
});
poll();
