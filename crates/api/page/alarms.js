// The strip of what is wrong now.

import { at, make, setText, time } from "/words.js";
import { ask } from "/net.js";

const SHOWN = 3;
const WORST = ["critical", "warning", "notice"];
let all = false;

export async function refresh() {
  const answer = await ask("/api/v1/alarms?limit=50");
  if (!answer) return;
  const box = at("alarms");
  const alarms = answer.alarms.slice().sort((a, b) => WORST.indexOf(a.severity) - WORST.indexOf(b.severity));
  box.hidden = alarms.length === 0;
  const list = make("ul");
  const show = () => {
    list.replaceChildren(...(all ? alarms : alarms.slice(0, SHOWN)).map(line));
    if (alarms.length <= SHOWN) return;
    const more = make("button", "plain");
    more.type = "button";
    more.setAttribute("aria-expanded", String(all));
    setText(more, all ? "Show fewer" : "and " + (alarms.length - SHOWN) + " more");
    more.addEventListener("click", () => {
      all = !all;
      show();
    });
    const last = make("li");
    last.append(more);
    list.append(last);
  };
  show();
  box.replaceChildren(list);
}

function line(alarm) {
  const item = make("li", alarm.severity);
  item.append(make("strong", "", alarm.severity), make("span", "", alarm.text));
  const since = make("span", "dim", "since ");
  since.append(time(alarm.raised || alarm.at));
  item.append(since);
  if (alarm.call) {
    const link = make("a", "", "the call");
    link.href = "#/call/" + alarm.call;
    item.append(link);
  }
  return item;
}
