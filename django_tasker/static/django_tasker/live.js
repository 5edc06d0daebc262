// Keeps a page of the admin up to date: fetches it again and swaps the parts that changed.
// Pauses while the tab is hidden, and while something is chosen that a swap would lose.

import { refreshTimes } from "./times.js";

const marker = document.querySelector("[data-tasker-page]");
const toggle = document.querySelector("[data-tasker-toggle]");
const shown = new Map(); // part -> its markup as the server sent it

function parts(root) {
  return [...root.querySelectorAll(marker.dataset.watch)];
}

function key(element, index) {
  return element.dataset.taskerLive || `${element.tagName}${element.className}${index}`;
}

function remember(elements) {
  elements.forEach((element, index) => shown.set(key(element, index), element.innerHTML));
}

// The admin's own script holds on to the boxes that were there when the page was loaded, for "select all" and its
// count. So those are kept and get the new rows' values; they are all unchecked, or nothing would be swapped.
function swapRows(current, fresh) {
  const kept = [...current.querySelectorAll("input.action-select")];
  const boxes = [...fresh.querySelectorAll("input.action-select")];
  boxes.slice(0, kept.length).forEach((box, index) => {
    kept[index].value = box.value;
    kept[index].setAttribute("aria-label", box.getAttribute("aria-label") || "");
    box.replaceWith(kept[index]);
  });
  current.replaceChildren(...fresh.childNodes);
  if (boxes.length !== kept.length) window.Actions?.(document.querySelectorAll("tr input.action-select"));
}

function swap(current, fresh) {
  if (current.querySelector("input.action-select")) {
    swapRows(current, fresh);
    return;
  }
  const open = new Set([...current.querySelectorAll("details[data-key][open]")].map((d) => d.dataset.key));
  const closed = new Set([...current.querySelectorAll("details[data-key]:not([open])")].map((d) => d.dataset.key));
  current.replaceChildren(...fresh.childNodes);
  for (const details of current.querySelectorAll("details[data-key]")) {
    if (open.has(details.dataset.key)) details.open = true;
    if (closed.has(details.dataset.key)) details.open = false;
  }
}

// A list that was empty, or is now, has no table to swap.
function hasList(root) {
  return Boolean(root.querySelector("#result_list"));
}

function update(fresh) {
  if (hasList(document) !== hasList(fresh)) {
    window.location.reload();
    return;
  }
  const current = parts(document);
  const news = new Map(parts(fresh).map((element, index) => [key(element, index), element]));
  current.forEach((element, index) => {
    const name = key(element, index);
    const next = news.get(name);
    if (!next || next.innerHTML === shown.get(name)) return;
    shown.set(name, next.innerHTML);
    if (element.contains(document.activeElement) && element.tagName !== "TBODY") return;
    swap(element, next);
  });
  refreshTimes();
  document.dispatchEvent(new CustomEvent("tasker:refreshed"));
}

function isPaused() {
  const stay = marker.dataset.stay && document.querySelector(marker.dataset.stay);
  return document.hidden || Boolean(stay) || Boolean(toggle && !toggle.checked);
}

function showState() {
  const state = document.querySelector("[data-tasker-state]");
  if (state) state.textContent = isPaused() ? marker.dataset.paused || "" : "";
}

async function refresh() {
  const response = await fetch(window.location.href, { credentials: "same-origin", headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) return false;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const next = fresh.querySelector("[data-tasker-page]");
  if (!isPaused()) update(fresh);
  return Boolean(next); // an ended task's page does not ask again
}

async function run() {
  const interval = Number(marker.dataset.interval) || 5000;
  let goesOn = true;
  while (goesOn) {
    await new Promise((resolve) => setTimeout(resolve, interval));
    showState();
    if (isPaused()) continue;
    const started = performance.now();
    try {
      goesOn = await refresh();
    } catch {
      continue; // the server is away for a moment
    }
    // A slow page is asked for less often.
    await new Promise((resolve) => setTimeout(resolve, Math.min(4 * (performance.now() - started), 30000)));
  }
}

function copyOnClick(event) {
  const source = event.target.closest("[data-tasker-copy]");
  if (!source || !navigator.clipboard) return;
  navigator.clipboard.writeText(source.dataset.taskerCopy);
  source.classList.add("tasker-copied");
  setTimeout(() => source.classList.remove("tasker-copied"), 1000);
}

function rememberToggle() {
  const live = window.location.hash !== "#paused";
  toggle.checked = live;
  toggle.closest("[hidden]")?.removeAttribute("hidden");
  toggle.addEventListener("change", () => {
    const address = window.location.pathname + window.location.search;
    window.history.replaceState(null, "", toggle.checked ? address : `${address}#paused`);
    showState();
  });
}

refreshTimes();
setInterval(() => document.hidden || refreshTimes(), 1000);
document.addEventListener("click", copyOnClick);
if (marker) {
  if (toggle) rememberToggle();
  document.addEventListener("change", showState);
  remember(parts(document));
  showState();
  run();
}
