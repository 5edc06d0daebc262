// Shows <time class="tasker-time"> relative to now, in the language of the page.

const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

const language = document.documentElement.lang || "en";
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
const absolute = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });

export function ago(date, now = Date.now()) {
  const seconds = Math.round((date.getTime() - now) / 1000);
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size || size === 1) {
      return relative.format(Math.trunc(seconds / size), unit);
    }
  }
  return "";
}

export function refreshTimes(root = document) {
  for (const element of root.querySelectorAll("time.tasker-time")) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    element.textContent = ago(date);
    element.title = absolute.format(date);
  }
}
