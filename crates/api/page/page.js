// The page: what is asked for when. Lists and the open call are asked for when an event says that they have changed.

import { at, setText, zone } from "/words.js";
import { listenToEvents } from "/net.js";
import * as list from "/list.js";
import * as alarms from "/alarms.js";
import { CallView } from "/call.js";

/** Events come in bursts: what they change is asked for once. */
const SETTLE_MS = 250;
/** When the server did not answer, it is asked again after this. */
const AGAIN_MS = 3000;

let view = null;
let isLinked = false;
let isRefused = false;

/** Does it, and shows what went wrong until something goes right. */
async function tried(work) {
  const box = at("trouble");
  try {
    await work;
    box.hidden = true;
    isRefused = false;
    return true;
  } catch (error) {
    if (error.name === "AbortError") return true;
    setText(box, error.message);
    box.hidden = false;
    isRefused = error.status === 401;
    if (isRefused) showLink();
    return false;
  }
}

const wanted = new Set();
let timer = null;

/** Asks for `list`, `call` or `alarms` soon. */
function soon(...what) {
  what.forEach((w) => wanted.add(w));
  if (!timer) timer = setTimeout(go, SETTLE_MS);
}

async function go() {
  const now = new Set(wanted);
  wanted.clear();
  const work = [];
  if (now.has("list")) work.push(list.refresh());
  if (now.has("alarms")) work.push(alarms.refresh());
  if (now.has("call") && view) work.push(view.refresh().catch((error) => view && view.fail(error)));
  const ok = await tried(Promise.all(work));
  timer = null;
  if (!ok) {
    setTimeout(() => soon(...now), AGAIN_MS);
  } else if (wanted.size) {
    timer = setTimeout(go, SETTLE_MS);
  }
}

function linked(yes) {
  if (yes === isLinked && yes) return;
  isLinked = yes;
  showLink();
  if (yes) soon("list", "call", "alarms");
}

function showLink() {
  at("link").dataset.state = isLinked ? "up" : "down";
  setText(at("link-text"), isLinked ? "Up to date" : isRefused ? "Not let in" : "Connection lost: reconnecting …");
}

/** The address says which call is open. */
function route() {
  const found = /^#\/call\/([0-9a-z]{13})$/.exec(location.hash);
  const id = found ? found[1] : null;
  if (view && view.id === id) return;
  if (view) view.end();
  view = id ? new CallView(at("call"), id) : null;
  document.body.dataset.open = id ? "call" : "list";
  list.choose(id);
  if (!view) return;
  const mine = view;
  mine.refresh().catch((error) => mine.fail(error));
  if (matchMedia("(max-width: 999px)").matches) scrollTo(0, 0);
}

list.begin(tried);
addEventListener("hashchange", route);
setInterval(() => {
  list.tick();
  if (view && view.call) view.tick();
}, 1000);
setText(at("zone"), "Times in " + zone());
setText(at("first-call"), "callspool call --to sip:callspool@" + location.hostname + ":5060 --siprec");
tried(list.states());
soon("list", "alarms");
route();
listenToEvents({
  heard: (kind, event) => {
    if (kind === "alarm") soon("alarms");
    else soon("list");
    if (view && (event.call === view.id || (kind === "joined" && event.body.from === view.id))) soon("call");
  },
  reload: () => soon("list", "call", "alarms"),
  linked,
});
