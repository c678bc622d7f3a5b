// The lists: calls in progress, and those that were recorded, page by page, by the filters that the server has.

import { at, badge, length, make, parties, setText, time } from "/words.js";
import { ask, now } from "/net.js";

const PAGE = 50;
const FIELDS = ["q", "from", "until", "state", "direction", "number", "tag", "metadata", "duration_min_s", "duration_max_s"];
const form = at("filters");
let live = [];
let past = [];
let older = [];
let next = null;
let chosen = null;
let running = [];

function filters() {
  const query = new URLSearchParams();
  for (const name of FIELDS) {
    const value = form.elements[name].value.trim();
    if (!value) continue;
    const isTime = name === "from" || name === "until";
    query.set(name, isTime ? new Date(value).toISOString() : value);
  }
  return query;
}

const isFiltered = () => filters().size > 0;

function path(isLive, after) {
  const query = filters();
  query.set("live", String(isLive));
  query.set("limit", String(isLive ? 200 : PAGE));
  if (after) query.set("after", after);
  return "/api/v1/calls?" + query;
}

/** Asks for both lists, and shows what has changed. */
export async function refresh({ fresh = false } = {}) {
  // What comes is kept even where the other does not: it is not told again before it changes.
  const [inProgress, recorded] = await Promise.allSettled([ask(path(true), { fresh }), ask(path(false), { fresh })]);
  if (inProgress.value) live = inProgress.value.calls;
  if (recorded.value) {
    past = recorded.value.calls;
    if (!older.length) next = recorded.value.next;
  }
  const failed = [inProgress, recorded].find((asked) => asked.status === "rejected");
  if (failed) throw failed.reason;
  show();
}

/** Begins anew, by other filters. */
export async function restart() {
  older = [];
  next = null;
  await refresh({ fresh: true });
}

async function more() {
  const page = await ask(path(false, next), { fresh: true });
  older = older.concat(page.calls);
  next = page.next;
  show();
}

function show() {
  const all = new Map([...past, ...older, ...live].map((c) => [c.id, c]));
  const calls = [...all.values()].sort((a, b) => (a.started < b.started ? 1 : a.started > b.started ? -1 : a.id < b.id ? 1 : -1));
  // A call on hold has no live segment, and goes on all the same.
  const goesOn = calls.filter((c) => c.live || !c.ended);
  const over = calls.filter((c) => !c.live && c.ended);
  running = [];
  fill(at("live-list"), goesOn);
  fill(at("past-list"), over);
  setText(at("live-count"), String(goesOn.length));
  at("live-box").hidden = goesOn.length === 0;
  at("past-box").hidden = over.length === 0;
  at("past-box").setAttribute("aria-busy", "false");
  at("older").hidden = !next;
  const none = calls.length === 0;
  at("empty").hidden = !none || isFiltered();
  at("none").hidden = !none || !isFiltered();
  tick();
}

function fill(list, calls) {
  const before = new Map([...list.children].map((item) => [item.dataset.call, item]));
  calls.forEach((call, i) => {
    let item = before.get(call.id);
    before.delete(call.id);
    if (!item) {
      item = make("li");
      item.dataset.call = call.id;
      item.append(make("a", "row"));
      item.firstChild.href = "#/call/" + call.id;
    }
    row(item.firstChild, call);
    if (list.children[i] !== item) list.insertBefore(item, list.children[i] || null);
  });
  for (const item of before.values()) item.remove();
}

function row(link, call) {
  const long = make("span", "length count");
  running.push({ element: long, call });
  const tags = make("span", "tags");
  tags.append(...call.tags.slice(0, 4).map((tag) => make("span", "tag", tag)));
  const state = make("span", "state");
  if (call.live) state.append(make("span", "live", "live"));
  else if (!call.ended) state.append(make("span", "open", "on hold"));
  if (call.ended) state.append(badge(call.state));
  else if (/error|internal|external/.test(call.state)) state.append(badge(call.state));
  if (call.total > 1) state.append(make("span", "dim", call.segments + " of " + call.total + " segments"));
  const [above, below] = [make("span", "line"), make("span", "line")];
  above.append(parties(call), long);
  below.append(time(call.started), state);
  link.replaceChildren(above, below);
  if (call.tags.length) link.append(tags);
  if (call.id === chosen) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
}

/** Which call is open. */
export function choose(id) {
  chosen = id;
  for (const item of document.querySelectorAll(".list > li")) {
    if (item.dataset.call === id) item.firstChild.setAttribute("aria-current", "true");
    else item.firstChild.removeAttribute("aria-current");
  }
}

/** Lengths of what has not ended run on. */
export function tick() {
  for (const { element, call } of running) {
    const ms = (call.ended ? Date.parse(call.ended) : now()) - Date.parse(call.started);
    setText(element, length(ms));
  }
}

export function begin(tried) {
  let typing;
  const soon = () => {
    clearTimeout(typing);
    typing = setTimeout(() => tried(restart()), 250);
  };
  form.addEventListener("input", soon);
  form.addEventListener("reset", () => setTimeout(soon));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    soon();
  });
  at("clear").addEventListener("click", () => form.reset());
  at("more-filters").addEventListener("click", () => {
    const fields = at("filter-fields");
    fields.hidden = !fields.hidden;
    at("more-filters").setAttribute("aria-expanded", String(!fields.hidden));
  });
  at("older").addEventListener("click", async () => {
    at("older").disabled = true;
    await tried(more());
    at("older").disabled = false;
  });
}

/** The states that calls can be filtered by. */
export async function states() {
  const document = await ask("/api/v1/openapi.json");
  const list = document.paths["/api/v1/calls"].get.parameters.find((p) => p.name === "state");
  const names = (list && list.schema && list.schema.enum) || [];
  form.elements.state.append(...names.map((name) => new Option(name, name)));
}
