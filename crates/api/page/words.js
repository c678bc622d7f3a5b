// Words and elements: times, lengths, names, badges. What came from the network is set as text, never as HTML.

export const at = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined && text !== null) element.textContent = text;
  return element;
}

/** Changes the text only where it differs, so that selections and screen readers are left alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function button(text, className, pressed) {
  const element = make("button", "button " + (className || ""), text);
  element.type = "button";
  element.addEventListener("click", pressed);
  return element;
}

/** 65,000 ms as 1:05. */
export function length(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const h = Math.floor(s / 3600);
  return (h ? h + ":" + two(Math.floor(s / 60) % 60) : Math.floor(s / 60)) + ":" + two(s % 60);
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** A time in the browser's zone, with UTC to look at. */
export function time(iso) {
  const when = new Date(iso);
  const today = when.toDateString() === new Date().toDateString();
  const element = make("time", "", (today ? "" : day.format(when) + ", ") + clock.format(when));
  element.dateTime = iso;
  element.title = iso.replace("T", " ").replace(/(\.\d{3})\d*Z$/, "$1") + " UTC";
  return element;
}

export function zone() {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const minutes = -new Date().getTimezoneOffset();
  const sign = minutes < 0 ? "−" : "+";
  const hours = Math.floor(Math.abs(minutes) / 60);
  const rest = Math.abs(minutes) % 60;
  return name + " (UTC" + (minutes ? sign + hours + (rest ? ":" + String(rest).padStart(2, "0") : "") : "") + ")";
}

export function badge(state) {
  const kind = /error|internal|external/.test(state) ? "bad" : state.startsWith("complete") ? "good" : state.startsWith("delete") ? "" : "busy";
  return make("span", "badge " + kind, state);
}

export function size(octets) {
  const units = ["B", "kB", "MB", "GB"];
  let n = octets;
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return (unit && n < 10 ? n.toFixed(1) : Math.round(n)) + " " + units[unit];
}

const partyName = (party) => party.name || party.number || party.uri || "unknown";

/** Caller and called, or whoever is known. */
export function parties(call) {
  const box = make("span", "who");
  const role = (name) => call.parties.find((p) => p.role === name);
  const two = [role("caller"), role("called")].filter(Boolean);
  const shown = two.length ? two : call.parties.slice(0, 2);
  shown.forEach((party, i) => {
    if (i) box.append(make("span", "to", "→"));
    const name = make("bdi", "", partyName(party));
    box.append(name);
  });
  if (!shown.length) box.append(make("span", "dim", "unknown parties"));
  box.title = call.parties.map((p) => [p.name, p.uri || p.number].filter(Boolean).join(" ")).join("\n");
  return box;
}
