// Asking the server, and hearing from it: requests with errors in words, and one stream of events.

/** What went wrong, in words for people. */
export class Trouble extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

/** The server's clock minus ours, in ms, where it matters. */
let skew = 0;
export const now = () => Date.now() + skew;

const AWAY = "The server does not answer. Trying again …";
const NO_TOKEN = "The token is missing or wrong. Open this page with the address that callspool printed when it started: "
  + location.origin + "/?token=…";

async function failed(response) {
  if (response.status === 401) return new Trouble(NO_TOKEN, 401);
  const told = await response.json().catch(() => null);
  const text = told && told.title ? told.title + ": " + told.detail : "The server answered " + response.status + ".";
  return new Trouble(text, response.status);
}

/** Asks, and gives the answer's response where it is a good one. */
export async function fetched(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble(AWAY, 0);
  }
  const date = Date.parse(response.headers.get("Date"));
  if (date) skew = Math.abs(date - Date.now()) > 1500 ? date - Date.now() : 0;
  if (!response.ok && response.status !== 304) throw await failed(response);
  return response;
}

/** JSON, remembered by path: null when it is as it was. */
const tags = new Map();
export async function ask(path, { fresh = false, signal } = {}) {
  const tag = fresh ? null : tags.get(path);
  const response = await fetched(path, { headers: tag ? { "If-None-Match": tag } : {}, signal });
  if (response.status === 304) return null;
  const body = await response.json().catch(() => null);
  if (!body) throw new Trouble("The server's answer cannot be read.", response.status);
  if (tags.size > 200) tags.clear();
  tags.set(path, response.headers.get("ETag"));
  return body;
}

export async function tell(method, path, body) {
  const json = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetched(path, { method, ...json });
  return response.json().catch(() => ({}));
}

const KINDS = ["call", "segment", "copy", "tag", "metadata", "joined", "sides", "alarm"];
/** How long after a break that the browser does not mend by itself we try again. */
const AGAIN_MS = 3000;

/**
 * Events as they happen. `heard` is given each, `reload` is called when some may have been missed, `linked` with
 * whether there is a connection. The browser connects again by itself and says what it had last (Last-Event-ID).
 */
export function listenToEvents({ heard, reload, linked }) {
  let last = null;
  let source = null;
  const open = () => {
    const after = last ? "&after=" + encodeURIComponent(last) : "";
    source = new EventSource("/api/v1/events?kind=" + KINDS.join(",") + after);
    let wasOpen = false;
    source.onopen = () => {
      linked(true);
      // What happened while there was no connection comes as events; what went before the first one does not.
      if (!wasOpen && !last) reload();
      wasOpen = true;
    };
    source.onerror = () => {
      linked(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(open, AGAIN_MS);
    };
    source.addEventListener("gap", reload);
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        heard(kind, JSON.parse(event.data));
      });
    }
  };
  open();
}
