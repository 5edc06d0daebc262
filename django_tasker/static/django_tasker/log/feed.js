// New entries of a log, each once and in order: by websocket where one answers, else by asking every second.
// `last` is the number of the last entry that is known; after an interruption the feed goes on from there.

const SLOWEST = 10000;
const MAX_SILENT = 3; // websockets that opened and closed without a word, after which none is tried any more
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Feed {
  // listener: {entries(list), state(name), ended(status)}; states: connecting live polling reconnecting ended denied
  constructor({ url, socket, last, listener }) {
    this.url = url;
    this.socketPath = socket;
    this.last = last;
    this.listener = listener;
    this.failures = 0;
    this.silent = 0;
    this.isStopped = false;
    this.hasSocket = Boolean(socket) && "WebSocket" in window;
  }

  async run() {
    this.listener.state("connecting");
    while (!this.isStopped) {
      try {
        if (this.hasSocket) await this.followSocket();
        else await this.poll();
      } catch (error) {
        if (error.isFinal) {
          this.stop();
          this.listener.state("denied");
          return;
        }
        this.failures += 1;
        this.listener.state("reconnecting");
        await wait(this.pause());
      }
    }
  }

  pause() {
    const longest = Math.min(500 * 2 ** Math.min(this.failures - 1, 10), SLOWEST);
    return longest * (0.7 + 0.3 * Math.random()); // so that not all viewers of a restarted server come at once
  }

  stop() {
    this.isStopped = true;
    this.webSocket?.close();
  }

  deliver(entries) {
    const news = entries.filter((entry) => entry.seq > this.last);
    if (!news.length) return;
    this.last = news.at(-1).seq;
    this.listener.entries(news);
  }

  end(status) {
    this.stop();
    this.listener.state("ended");
    this.listener.ended(status);
  }

  // -- websocket -----------------------------------------------------------------------------------------------------

  followSocket() {
    const scheme = window.location.protocol === "https:" ? "wss:" : "ws:";
    const address = `${scheme}//${window.location.host}${this.socketPath}?after=${this.last}&max_level=0`;
    return new Promise((resolve, reject) => {
      const socket = (this.webSocket = new WebSocket(address));
      let batch = [];
      let status = null;
      const flush = () => {
        const entries = batch;
        batch = [];
        this.deliver(entries);
        if (status === null && socket.readyState === WebSocket.OPEN) socket.send('{"type": "ack"}');
      };
      socket.onopen = () => {
        this.failures = Math.min(this.failures, this.silent);
        this.silent += 1;
        this.wasOpen = true;
        this.listener.state("live");
      };
      socket.onmessage = ({ data }) => {
        this.silent = 0;
        const frame = JSON.parse(data);
        if (frame.type === "log") {
          if (!batch.length) setTimeout(flush, 50);
          batch.push(frame);
        } else if (frame.type === "ended") {
          status = frame.status;
        }
      };
      socket.onclose = ({ code }) => {
        flush();
        if (this.isStopped) return resolve();
        if (status !== null) return resolve(this.end(status));
        // Where none ever opened, a proxy cuts each off at once, or it refuses us, ask the admin instead, which has the
        // last word on who may see the log.
        const isRefused = code >= 4400 && code < 4500;
        if (!this.wasOpen || isRefused || (this.silent >= MAX_SILENT && code === 1006)) this.hasSocket = false;
        if (!this.hasSocket) return resolve();
        reject(new Error(`closed with ${code}`));
      };
    });
  }

  // -- polling -------------------------------------------------------------------------------------------------------

  async poll() {
    while (!this.isStopped) {
      const page = await fetchJson(`${this.url}?after=${this.last}`);
      if (this.isStopped) return;
      this.failures = 0;
      this.deliver(page.entries);
      this.last = Math.max(this.last, page.last);
      if (page.ended) return this.end(page.status);
      this.listener.state("polling");
      if (!page.more) await wait(document.hidden ? 5000 : page.status === "running" ? 700 : 1500);
    }
  }
}

export async function fetchJson(address) {
  const response = await fetch(address, { credentials: "same-origin", headers: { Accept: "application/json" } });
  const isJson = (response.headers.get("Content-Type") || "").includes("json");
  if (response.status === 403 || response.status === 404 || (response.ok && !isJson)) {
    throw Object.assign(new Error("denied"), { isFinal: true }); // logged out, or the task is gone
  }
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}
