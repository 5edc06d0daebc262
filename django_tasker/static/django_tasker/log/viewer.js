// The log viewer: puts the window of lines, the feed of new ones, filters, search and keys together.

import { Feed, fetchJson } from "./feed.js";
import { text, timeText } from "./lines.js";
import { Pages } from "./pages.js";
import { Search } from "./search.js";

const AT_END = 40; // pixels from the end within which the reader counts as at the end
const KEPT = ["level", "logger", "attempt", "q", "times", "wrap"]; // what the address remembers

class Viewer {
  constructor(root) {
    this.root = root;
    this.texts = JSON.parse(root.dataset.texts);
    this.part = Object.fromEntries([...root.querySelectorAll("[data-log]")].map((e) => [e.dataset.log, e]));
    this.url = root.dataset.url;
    this.filter = { level: "0", logger: "", attempt: "" };
    this.missed = 0;
    this.context = {
      texts: this.texts,
      needle: "",
      times: "clock",
      start: new Date(root.dataset.started).getTime(),
      onWhole: (entry) => this.showWhole(entry),
    };
    this.pages = new Pages(this.part.lines, (first, count) => this.fetchPage(first, count), this.context);
    this.search = new Search(this);
    this.readAddress();
    this.bind();
  }

  async start() {
    const index = await this.loadIndex();
    const wanted = lineOfHash();
    this.setFollowing(!wanted && !index.ended);
    if (wanted) this.root.scrollIntoView({ block: "nearest" });
    if (wanted) await this.goTo(wanted);
    else this.toEnd();
    if (this.part.search.value) this.search.run({ jump: !wanted });
    if (index.ended) this.onEnded(index.status);
    else this.follow(index.last);
  }

  follow(last) {
    this.feed = new Feed({
      url: this.url,
      socket: this.root.dataset.socket,
      last,
      listener: {
        entries: (entries) => this.onEntries(entries),
        state: (name) => this.showState(name),
        ended: (status) => this.onEnded(status),
      },
    });
    this.feed.run();
  }

  // -- what is shown -------------------------------------------------------------------------------------------------

  query(extra = {}) {
    const given = { ...this.filter, ...extra };
    return new URLSearchParams(Object.entries(given).filter(([, value]) => value !== "" && value !== "0"));
  }

  async fetchPage(first, count) {
    const found = await fetchJson(`${this.url}?${this.query({ after: first - 1, limit: Math.max(count, 1) })}`);
    return found.entries;
  }

  async loadIndex() {
    const index = await this.untilAnswered(() => fetchJson(`${this.url}index/?${this.query()}`));
    this.pages.reset(index.pages);
    this.offerLoggers(index.loggers);
    this.offerAttempts(index.attempts);
    this.showCount();
    return index;
  }

  async untilAnswered(ask) {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        this.showState(error.isFinal ? "denied" : "reconnecting");
        if (error.isFinal) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1500));
      }
    }
  }

  onEntries(entries) {
    if (this.pending) {
      this.pending.push(...entries); // the index is being read; it may know some of them
      return;
    }
    const shown = entries.filter((entry) => this.passes(entry));
    this.noteNews(entries);
    if (!shown.length) return;
    this.pages.append(shown);
    this.search.onEntries(shown);
    this.showCount();
    if (this.isFollowing) this.toEnd();
    else this.showMissed(this.missed + shown.length);
  }

  passes(entry) {
    const { level, logger, attempt } = this.filter;
    if (entry.level < Number(level)) return false;
    if (logger && entry.logger !== logger && !entry.logger.startsWith(`${logger}.`)) return false;
    return !attempt || entry.attempt === Number(attempt);
  }

  noteNews(entries) {
    for (const entry of entries) {
      if (!this.loggers.has(entry.logger)) this.offerLoggers([...this.loggers, [entry.logger, 1]]);
      if (!this.attempts.includes(entry.attempt)) this.offerAttempts([...this.attempts, entry.attempt]);
    }
  }

  onEnded(status) {
    this.root.dataset.status = status;
    this.showState("ended");
    this.setFollowing(false);
    this.showCount();
  }

  showCount() {
    const count = this.pages.count;
    this.part.count.textContent = count ? this.texts.lines.replace("{n}", count.toLocaleString()) : "";
    const isFiltered = this.query().size > 0;
    const hasEnded = ["done", "failed", "aborted", "deleted"].includes(this.root.dataset.status);
    this.part.empty.textContent = isFiltered
      ? this.texts.emptyFilter
      : hasEnded ? this.texts.emptyEnded : this.texts.empty;
    this.part.empty.hidden = count > 0;
  }

  showState(name) {
    if (this.state === name) return;
    this.state = name;
    this.part.state.dataset.state = name;
    this.part.state.textContent = this.texts[name];
  }

  showMissed(count) {
    this.missed = count;
    this.part.new.hidden = count === 0;
    this.part.new.textContent = `${this.texts.newLines.replace("{n}", count.toLocaleString())} ↓`;
  }

  async showWhole(entry) {
    const found = await fetchJson(`${this.url}?after=${entry.seq - 1}&limit=1&full=1`);
    if (found.entries.length) this.pages.replace(found.entries[0]);
  }

  // -- where the reader is -------------------------------------------------------------------------------------------

  get isAtEnd() {
    const box = this.part.lines;
    return box.scrollHeight - box.scrollTop - box.clientHeight < AT_END;
  }

  setFollowing(following) {
    this.isFollowing = following;
    this.part.follow.setAttribute("aria-pressed", String(following));
    this.part.lines.setAttribute("aria-live", following ? "polite" : "off");
    if (following) this.showMissed(0);
  }

  toEnd() {
    const box = this.part.lines;
    const tail = this.pages.pages.at(-1);
    box.scrollTop = box.scrollHeight;
    if (tail && !tail.entries) this.pages.load(tail).then(() => (box.scrollTop = box.scrollHeight));
    this.ownScrollAt = performance.now();
  }

  onScroll() {
    if (this.isAtEnd) {
      this.showMissed(0);
      if (!this.isFollowing && this.feed && !this.feed.isStopped && this.movedDown()) this.setFollowing(true);
    } else if (this.isFollowing && this.movedUp()) {
      this.setFollowing(false);
    }
    this.lastTop = this.part.lines.scrollTop;
  }

  movedUp() {
    return this.part.lines.scrollTop < (this.lastTop ?? 0) - 2;
  }

  movedDown() {
    return this.part.lines.scrollTop > (this.lastTop ?? 0);
  }

  async goTo(seq) {
    this.setFollowing(false);
    const line = await this.pages.show(seq);
    if (line) this.mark(line);
  }

  mark(line) {
    this.context.target = Number(line.dataset.seq);
    this.root.querySelector(".log-target")?.classList.remove("log-target");
    line.classList.add("log-target");
  }

  // -- filters and address -------------------------------------------------------------------------------------------

  readAddress() {
    const given = new URLSearchParams(window.location.search);
    for (const name of ["level", "logger", "attempt"]) {
      if (given.has(name)) this.filter[name] = given.get(name);
    }
    this.part.level.value = this.filter.level;
    this.part.search.value = given.get("q") || "";
    this.context.times = given.get("times") || "clock";
    this.part.times.value = this.context.times;
    this.setWrap(given.get("wrap") !== "0");
  }

  writeAddress() {
    const address = new URL(window.location.href);
    const values = {
      ...this.filter,
      q: this.part.search.value,
      times: this.context.times === "clock" ? "" : this.context.times,
      wrap: this.isWrapped ? "" : "0",
    };
    KEPT.forEach((name) => address.searchParams.delete(name));
    for (const [name, value] of Object.entries(values)) {
      const isDefault = value === "" || (name === "level" && value === "0");
      if (!isDefault) address.searchParams.set(name, value);
    }
    window.history.replaceState(null, "", address);
    if (this.part.full) this.part.full.search = address.search;
  }

  async setFilter(name, value) {
    this.filter[name] = value;
    this.writeAddress();
    const isFollowing = this.isFollowing;
    this.pending ??= [];
    const index = await this.loadIndex();
    // The index may know entries that the feed has not brought yet, and the other way round.
    if (this.feed) this.feed.last = Math.max(this.feed.last, index.last);
    const later = this.pending.filter((entry) => entry.seq > index.last);
    this.pending = null;
    this.onEntries(later);
    if (isFollowing || this.pages.isEmpty) this.toEnd();
    if (this.part.search.value) await this.search.run({ jump: !isFollowing });
  }

  setWrap(wrapped) {
    this.isWrapped = wrapped;
    this.part.wrap.setAttribute("aria-pressed", String(wrapped));
    this.part.lines.classList.toggle("log-nowrap", !wrapped);
  }

  offerLoggers(pairs) {
    this.loggers = new Map(pairs);
    const options = [new Option(this.texts.allLoggers, "")];
    for (const [name] of pairs) options.push(new Option(name, name));
    if (this.filter.logger && !this.loggers.has(this.filter.logger)) {
      options.push(new Option(this.filter.logger, this.filter.logger));
    }
    this.part.logger.replaceChildren(...options);
    this.part.logger.value = this.filter.logger;
  }

  offerAttempts(numbers) {
    this.attempts = numbers;
    const tabs = ["", ...numbers.map(String)].map((value) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = value ? this.texts.attempt.replace("{n}", value) : this.texts.all;
      button.setAttribute("aria-pressed", String(this.filter.attempt === value));
      button.addEventListener("click", () => this.setFilter("attempt", value));
      return button;
    });
    this.part.attempts.replaceChildren(...tabs);
    this.part.attempts.hidden = numbers.length < 2 && !this.filter.attempt;
  }

  // -- what the reader does ------------------------------------------------------------------------------------------

  bind() {
    const { part } = this;
    part.level.addEventListener("change", () => this.setFilter("level", part.level.value));
    part.logger.addEventListener("change", () => this.setFilter("logger", part.logger.value));
    part.times.addEventListener("change", () => this.setTimes(part.times.value));
    part.follow.addEventListener("click", () => this.toggleFollowing());
    part.new.addEventListener("click", () => this.jumpToEnd());
    part.wrap.addEventListener("click", () => {
      this.setWrap(!this.isWrapped);
      this.writeAddress();
    });
    part.copy.addEventListener("click", () => this.copy());
    part.help.addEventListener("click", () => part.dialog.showModal());
    part.lines.addEventListener("scroll", () => this.onScroll(), { passive: true });
    part.lines.addEventListener("click", (event) => this.onLineClick(event));
    window.addEventListener("hashchange", () => lineOfHash() && this.goTo(lineOfHash()));
    document.addEventListener("keydown", (event) => this.onKey(event));
    setInterval(() => this.context.times === "ago" && !document.hidden && this.refreshTimes(), 5000);
  }

  toggleFollowing() {
    if (this.isFollowing) this.setFollowing(false);
    else this.jumpToEnd();
  }

  jumpToEnd() {
    this.setFollowing(Boolean(this.feed && !this.feed.isStopped));
    this.showMissed(0);
    this.toEnd();
  }

  setTimes(mode) {
    this.context.times = mode;
    this.refreshTimes();
    this.writeAddress();
  }

  refreshTimes() {
    this.part.lines.classList.toggle("log-notime", this.context.times === "none");
    for (const time of this.part.lines.querySelectorAll(".log-time")) {
      time.textContent = timeText(time.dateTime, this.context.times, this.context.start);
    }
  }

  onLineClick(event) {
    const number = event.target.closest(".log-number");
    if (!number) return;
    event.preventDefault();
    window.history.replaceState(null, "", number.getAttribute("href"));
    this.writeAddress();
    this.mark(number.parentElement);
    this.setFollowing(false);
  }

  async copy() {
    const label = this.part.copy.textContent;
    await navigator.clipboard?.writeText(this.pages.loadedEntries().map(text).join("\n"));
    this.part.copy.textContent = this.texts.copied;
    setTimeout(() => (this.part.copy.textContent = label), 1200);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.part.dialog.open) return;
    if (event.target.closest?.("input, select, textarea, [contenteditable]")) return;
    const keys = {
      "/": () => this.part.search.focus(),
      n: () => this.search.step(1),
      N: () => this.search.step(-1),
      f: () => this.toggleFollowing(),
      g: () => this.toStart(),
      G: () => this.jumpToEnd(),
      "?": () => this.part.dialog.showModal(),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }

  toStart() {
    this.setFollowing(false);
    this.part.lines.scrollTop = 0;
  }
}

function lineOfHash() {
  const match = /^#L(\d+)$/.exec(window.location.hash);
  return match ? Number(match[1]) : 0;
}

for (const root of document.querySelectorAll("[data-tasker-log]")) {
  root.viewer = new Viewer(root);
  root.viewer.start().catch(() => {}); // what failed is shown as the viewer's state
}
