// One log entry as an element: number, time, level, logger, message; fields and traceback folded under it.

import { ago } from "../times.js";
import { pieces, plain } from "./ansi.js";

const LEVELS = [
  [50, "critical"],
  [40, "error"],
  [30, "warning"],
  [20, "info"],
  [0, "debug"],
];

const language = document.documentElement.lang || "en";
const clock = new Intl.DateTimeFormat(language, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hour12: false,
});
const full = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });

export function levelName(level) {
  return LEVELS.find(([least]) => level >= least)[1];
}

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function timeText(iso, mode, start) {
  const date = new Date(iso);
  if (mode === "ago") return ago(date);
  if (mode === "start") return sinceStart(date.getTime() - start);
  return mode === "none" ? "" : clock.format(date);
}

function sinceStart(milliseconds) {
  const sign = milliseconds < 0 ? "-" : "+";
  const seconds = Math.abs(milliseconds) / 1000;
  if (seconds < 60) return `${sign}${seconds.toFixed(3)}`;
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds % 60).toFixed(1).padStart(4, "0");
  if (minutes < 60) return `${sign}${minutes}:${rest}`;
  return `${sign}${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

// Adds text to an element with every occurrence of `needle` (in lower case) marked.
function addMarked(target, text, needle) {
  if (!needle) {
    target.append(text);
    return;
  }
  const lower = text.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, from)) {
    target.append(text.slice(from, at), element("mark", "", text.slice(at, at + needle.length)));
    from = at + needle.length;
  }
  target.append(text.slice(from));
}

function addColoured(target, text, needle) {
  for (const piece of pieces(text)) {
    const place = piece.className ? element("span", piece.className) : target;
    addMarked(place, piece.text, needle);
    if (place !== target) target.append(place);
  }
}

function fields(extra, label) {
  const details = element("details", "log-more");
  details.append(element("summary", "", `${label}: ${Object.keys(extra).join(", ")}`));
  details.append(element("pre", "", JSON.stringify(extra, null, 2)));
  return details;
}

function traceback(text, label, needle) {
  const details = element("details", "log-more log-traceback");
  const last = text.trimEnd().split("\n").pop();
  details.append(element("summary", "", `${label}: ${last.slice(0, 200)}`));
  const pre = element("pre");
  addMarked(pre, plain(text), needle);
  details.append(pre);
  details.open = Boolean(needle) && text.toLowerCase().includes(needle);
  return details;
}

// context: {texts, needle, times, start, target (number of the line that stands out), onWhole(entry)}
export function line(entry, context) {
  const level = levelName(entry.level);
  const made = element("div", `log-line log-${level}`);
  made.dataset.seq = entry.seq;
  if (entry.seq === context.target) made.classList.add("log-target");
  if (entry.logger === "django_tasker") made.classList.add("log-notice");
  const number = element("a", "log-number", entry.seq);
  number.href = `#L${entry.seq}`;
  number.setAttribute("aria-label", context.texts.line.replace("{n}", entry.seq));
  const time = element("time", "log-time", timeText(entry.created_at, context.times, context.start));
  time.dateTime = entry.created_at;
  time.title = full.format(new Date(entry.created_at));
  const message = element("span", "log-message");
  addColoured(message, entry.message, context.needle);
  const body = element("span", "log-body");
  body.append(message);
  if (entry.cut) body.append(wholeButton(entry, context));
  if (entry.extra && Object.keys(entry.extra).length) body.append(fields(entry.extra, context.texts.extra));
  if (entry.traceback) body.append(traceback(entry.traceback, context.texts.traceback, context.needle));
  const name = element("span", "log-logger", entry.logger);
  name.title = entry.logger;
  made.append(number, time, element("span", "log-level", level), name, body);
  return made;
}

function wholeButton(entry, context) {
  const button = element("button", "log-whole", context.texts.showAll.replace("{n}", entry.cut));
  button.type = "button";
  button.addEventListener("click", () => context.onWhole(entry));
  return button;
}

export function text(entry) {
  const tail = entry.traceback ? `\n${entry.traceback.trimEnd()}` : "";
  return `${entry.seq} ${entry.created_at} ${levelName(entry.level).toUpperCase()} ${entry.logger}: ${plain(entry.message)}${tail}`;
}
