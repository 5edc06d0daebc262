// Search over all lines, by the server; the places found are walked through with next and previous.

import { fetchJson } from "./feed.js";

const DELAY = 250;

export class Search {
  constructor(viewer) {
    this.viewer = viewer;
    this.found = [];
    this.count = 0;
    this.place = -1;
    const { search, next, previous } = viewer.part;
    search.addEventListener("input", () => this.onInput());
    search.addEventListener("keydown", (event) => this.onKey(event));
    next.addEventListener("click", () => this.step(1));
    previous.addEventListener("click", () => this.step(-1));
  }

  onInput() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.run({ jump: true }), DELAY);
  }

  onKey(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      this.step(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      event.target.blur();
      this.viewer.part.lines.focus();
    }
  }

  async run({ jump }) {
    const { viewer } = this;
    const wanted = viewer.part.search.value.trim();
    viewer.context.needle = wanted.toLowerCase();
    viewer.writeAddress();
    const answer = wanted
      ? await viewer.untilAnswered(() => fetchJson(`${viewer.url}search/?${viewer.query({ q: wanted })}`))
      : { found: [], count: 0 };
    if (viewer.part.search.value.trim() !== wanted) return; // another search has begun
    Object.assign(this, { found: answer.found, count: answer.count, place: -1 });
    viewer.pages.redraw();
    this.show();
    if (jump && this.found.length) await this.step(1, this.nearest());
  }

  // The place found at or after the line in view.
  nearest() {
    const top = this.viewer.part.lines.getBoundingClientRect().top;
    const lines = [...this.viewer.part.lines.querySelectorAll(".log-line")];
    const first = lines.find((line) => line.getBoundingClientRect().bottom > top);
    const seq = first ? Number(first.dataset.seq) : 0;
    const place = this.found.findIndex((found) => found >= seq);
    return place < 0 ? this.found.length - 1 : place;
  }

  async step(direction, place) {
    if (!this.found.length) return;
    const size = this.found.length;
    this.place = place ?? (this.place + direction + size) % size;
    this.show();
    await this.viewer.goTo(this.found[this.place]);
  }

  onEntries(entries) {
    const { needle } = this.viewer.context;
    if (!needle) return;
    for (const entry of entries) {
      const text = `${entry.message}\n${entry.traceback || ""}`.toLowerCase();
      if (!text.includes(needle)) continue;
      this.found.push(entry.seq);
      this.count += 1;
    }
    this.show();
  }

  show() {
    const { found, next, previous } = this.viewer.part;
    const { texts } = this.viewer;
    const count = this.count.toLocaleString();
    next.disabled = previous.disabled = this.found.length === 0;
    if (!this.viewer.context.needle) found.textContent = "";
    else if (!this.count) found.textContent = texts.foundNone;
    else if (this.place < 0) found.textContent = texts.foundSome.replace("{count}", count);
    else found.textContent = texts.found.replace("{n}", (this.place + 1).toLocaleString()).replace("{count}", count);
  }
}
