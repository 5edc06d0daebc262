// The window over a long log. Its lines lie in pages; only those near the view have their lines in the document, the
// others are boxes as high as their lines were, or will be. So 100,000 lines cost as much as a thousand.

import { element, line } from "./lines.js";

const SIZE = 200;
const NEAR = "1200px 0px";

export class Pages {
  // fetchPage(first, count) -> entries from that number on; context: see lines.js
  constructor(box, fetchPage, context) {
    this.box = box;
    this.fetchPage = fetchPage;
    this.context = context;
    this.pages = [];
    this.lineHeight = 20;
    this.observer = new IntersectionObserver((seen) => this.onSeen(seen), { root: box, rootMargin: NEAR });
  }

  reset(index) {
    this.observer.disconnect();
    this.box.replaceChildren();
    this.pages = index.map(([first, count]) => this.makePage(first, count));
    this.box.append(...this.pages.map((page) => page.element));
    this.pages.forEach((page) => this.observer.observe(page.element));
  }

  makePage(first, count) {
    const page = { first, count, entries: null, loading: null, element: element("div", "log-page"), near: false };
    page.element.page = page;
    this.setHeight(page, count * this.lineHeight);
    return page;
  }

  setHeight(page, pixels) {
    page.element.style.height = pixels === null ? "" : `${pixels}px`;
  }

  get isEmpty() {
    return this.pages.length === 0;
  }

  get count() {
    return this.pages.reduce((sum, page) => sum + page.count, 0);
  }

  onSeen(seen) {
    for (const { target, isIntersecting } of seen) {
      const page = target.page;
      page.near = isIntersecting;
      if (isIntersecting) this.load(page);
      else if (page.entries && !this.isTail(page) && !this.isSelected(page)) this.unload(page);
    }
  }

  isTail(page) {
    return page === this.pages.at(-1);
  }

  isSelected(page) {
    const selection = document.getSelection();
    return Boolean(selection && !selection.isCollapsed && selection.intersectsNode(page.element));
  }

  // Loads a page once, however often it is asked for; a failed one is asked for again when it is seen again.
  load(page) {
    if (page.entries) return Promise.resolve();
    page.loading ??= this.fetchPage(page.first, page.count)
      .then((entries) => this.fill(page, entries))
      .catch(() => setTimeout(() => page.near && this.load(page), 2000))
      .finally(() => (page.loading = null));
    return page.loading;
  }

  fill(page, entries) {
    if (!page.element.isConnected) return;
    const known = new Set(entries.map((entry) => entry.seq));
    const appended = (page.appended || []).filter((entry) => !known.has(entry.seq));
    page.entries = [...entries, ...appended];
    page.appended = null;
    page.count = page.entries.length;
    page.element.replaceChildren(...page.entries.map((entry) => line(entry, this.context)));
    this.setHeight(page, null);
    this.measure(page);
  }

  unload(page) {
    this.setHeight(page, page.element.getBoundingClientRect().height);
    page.element.replaceChildren();
    page.entries = null;
  }

  measure(page) {
    const height = page.element.getBoundingClientRect().height;
    if (page.count > 20 && height > 0) this.lineHeight = height / page.count;
  }

  // Adds entries that came in while following.
  append(entries) {
    for (const entry of entries) {
      let page = this.pages.at(-1);
      if (!page || page.count >= SIZE) page = this.begin(entry.seq);
      page.count += 1;
      if (page.entries) {
        page.entries.push(entry);
        page.element.append(line(entry, this.context));
      } else {
        (page.appended ??= []).push(entry);
        this.setHeight(page, page.count * this.lineHeight);
      }
    }
  }

  begin(first) {
    const page = this.makePage(first, 0);
    page.entries = [];
    this.setHeight(page, null);
    this.pages.push(page);
    this.box.append(page.element);
    this.observer.observe(page.element);
    return page;
  }

  // The page that holds an entry, or the place where it would be.
  pageOf(seq) {
    let low = 0;
    let high = this.pages.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.pages[middle].first <= seq) low = middle;
      else high = middle - 1;
    }
    return this.pages[low];
  }

  // Shows an entry, or the next one that is there; resolves to its line.
  async show(seq) {
    const page = this.pageOf(seq);
    if (!page) return null;
    this.scrollTo(page.element);
    await this.load(page);
    const lines = [...page.element.children];
    const found = lines.find((item) => Number(item.dataset.seq) >= seq) || lines.at(-1);
    if (!found) return null;
    // Pages beside it may change their height when they load; look again once they have.
    const place = this.pages.indexOf(page);
    const beside = [this.pages[place - 1], this.pages[place + 1]].filter(Boolean);
    this.scrollTo(found);
    await Promise.all(beside.map((other) => this.load(other)));
    this.scrollTo(found);
    return found;
  }

  // Brings an element near the top of the box, and moves nothing but the box.
  scrollTo(target) {
    const distance = target.getBoundingClientRect().top - this.box.getBoundingClientRect().top;
    this.box.scrollTop += distance - this.box.clientHeight / 3;
  }

  // Makes the loaded lines anew, after the times or the search changed.
  redraw() {
    for (const page of this.pages) {
      if (page.entries) page.element.replaceChildren(...page.entries.map((entry) => line(entry, this.context)));
    }
  }

  replace(entry) {
    const page = this.pageOf(entry.seq);
    const place = page?.entries?.findIndex((other) => other.seq === entry.seq) ?? -1;
    if (place < 0) return;
    page.entries[place] = entry;
    page.element.children[place].replaceWith(line(entry, this.context));
  }

  loadedEntries() {
    return this.pages.flatMap((page) => page.entries || []);
  }
}
