// <log-view data-url data-stream data-work>: shows a log of any length. Only the lines in view are in the page; others are
// fetched in blocks when they come into view. It opens at the end and follows it until the reader scrolls up.
import { parse, strip } from "./ansi.js";
import { BLOCK, LogLines, Place } from "./loglines.js";

const SPARE = 20; // lines above and below the view
const MATCHES = 1000;

class LogView extends HTMLElement {
  #lines = new LogLines();
  #follow = true;
  #fetching = new Set();
  #matches = [];
  #match = -1;
  #query = "";
  #marked = null;
  #place = new Place(0, 20, 0);
  #gone = new AbortController(); // the page has another viewer in this one's place

  connectedCallback() {
    this.url = this.dataset.url;
    this.stream = this.dataset.stream;
    this.work = this.dataset.work;
    this.view = this.querySelector("[data-log-scroll]");
    this.spacer = this.querySelector("[data-log-spacer]");
    this.rows = this.querySelector("[data-log-rows]");
    this.status = this.querySelector("[data-log-status]");
    this.followBox = this.querySelector("[data-log-follow]");
    this.searchBox = this.querySelector("[data-log-search]");
    this.count = this.querySelector("[data-log-count]");
    this.view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#layout()).observe(this.view);
    this.followBox.addEventListener("change", () => { this.#follow = this.followBox.checked; this.#layout(); });
    this.querySelector("[data-log-form]").addEventListener("submit", (e) => { e.preventDefault(); this.#search(1); });
    this.searchBox.addEventListener("keydown", (e) => { if (e.key === "Enter" && e.shiftKey) { e.preventDefault(); this.#search(-1); } });
    this.querySelector("[data-log-next]").addEventListener("click", () => this.#search(1));
    this.querySelector("[data-log-previous]").addEventListener("click", () => this.#search(-1));
    this.rows.addEventListener("click", (e) => this.#link(e));
    this.view.addEventListener("keydown", (e) => {
      if (e.key === "End") { this.#setFollow(true); e.preventDefault(); }
      if (e.key === "Home") { this.#setFollow(false); this.view.scrollTop = 0; e.preventDefault(); }
      if (e.key === "/") { this.searchBox.focus(); e.preventDefault(); }
    });
    const { signal } = this.#gone;
    document.addEventListener("wherry-log", (e) => { if (e.detail.stream === this.stream && e.detail.work === this.work) this.#put(e.detail); }, { signal });
    addEventListener("hashchange", () => this.#fromHash(), { signal });
    this.#open();
  }

  disconnectedCallback() {
    this.#gone.abort();
  }

  async #open() {
    const answer = await this.#fetch(-BLOCK);
    if (!answer || this.#gone.signal.aborted) return;
    this.#lines.put(answer.first, answer.lines, answer.total);
    if (!this.#fromHash()) this.#layout();
    const end = answer.first + answer.lines.length - (answer.partial ? 1 : 0);
    document.dispatchEvent(new CustomEvent("wherry-follow-log", { detail: { work: this.work, stream: this.stream, line: Math.max(0, end) } }));
  }

  async #fetch(from) {
    try {
      const answer = await fetch(`${this.url}?from=${from}&count=${BLOCK}`, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(`the portal answered ${answer.status}`);
      this.#say("");
      return await answer.json();
    } catch (error) {
      this.#say(`The log could not be read (${error.message}). Trying again.`);
      if (!this.#gone.signal.aborted) setTimeout(() => (from < 0 ? this.#open() : this.#draw()), 3000);
      return null;
    }
  }

  #say(text) {
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  #put(event) {
    this.#lines.put(event.first, event.lines, event.total);
    this.#layout();
  }

  // layout fits the page to the number of lines, and keeps the end in view when following.
  #layout() {
    this.view.toggleAttribute("data-empty", this.#lines.total === 0);
    const probe = this.rows.firstElementChild;
    const rowHeight = probe?.getBoundingClientRect().height || 20;
    this.#place = new Place(this.#lines.total, rowHeight, this.view.clientHeight);
    this.spacer.style.height = `${this.#place.height}px`;
    if (this.#follow) this.view.scrollTop = this.view.scrollHeight;
    this.#draw();
  }

  #scrolled() {
    const atEnd = this.view.scrollTop + this.view.clientHeight >= this.view.scrollHeight - 4;
    if (atEnd !== this.#follow) {
      this.#follow = atEnd;
      this.followBox.checked = atEnd;
    }
    this.#draw();
  }

  #setFollow(yes) {
    this.#follow = this.followBox.checked = yes;
    this.#layout();
  }

  #draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.#drawNow());
  }

  #drawNow() {
    const { rowHeight, viewHeight } = this.#place;
    const offset = this.#place.offset(this.view.scrollTop);
    const from = Math.max(0, Math.floor(offset / rowHeight) - SPARE);
    const to = Math.min(this.#lines.total, Math.ceil((offset + viewHeight) / rowHeight) + SPARE);
    for (const first of this.#lines.missing(from, to)) this.#need(first);
    const rows = [];
    for (let n = from; n < to; n++) rows.push(this.#row(n));
    this.rows.replaceChildren(...rows);
    this.rows.style.transform = `translateY(${this.view.scrollTop + from * rowHeight - offset}px)`;
    this.#lines.forget((from + to) / 2);
    this.dataset.lines = this.#lines.total;
  }

  async #need(first) {
    if (this.#fetching.has(first)) return;
    this.#fetching.add(first);
    const answer = await this.#fetch(first);
    this.#fetching.delete(first);
    if (!answer) return;
    this.#lines.put(answer.first, answer.lines, answer.total);
    this.#draw();
  }

  #row(n) {
    const row = document.createElement("div");
    row.className = "log-row";
    if (n === this.#marked) row.classList.add("log-marked");
    const link = document.createElement("a");
    link.href = `#L${n + 1}`;
    link.dataset.line = n + 1;
    link.tabIndex = -1;
    link.setAttribute("aria-label", `Line ${n + 1}`);
    const text = document.createElement("span");
    const line = this.#lines.get(n);
    if (line === undefined) text.textContent = "…";
    else if (this.#query && strip(line).toLowerCase().includes(this.#query)) this.#highlight(text, strip(line));
    else for (const run of parse(line)) text.append(this.#run(run));
    row.append(link, text);
    return row;
  }

  #run({ text, classes, color, background }) {
    if (!classes.length && !color && !background) return document.createTextNode(text);
    const span = document.createElement("span");
    span.className = classes.join(" ");
    if (color) span.style.color = color;
    if (background) span.style.background = background;
    span.textContent = text;
    return span;
  }

  #highlight(el, line) {
    const lower = line.toLowerCase();
    for (let at = 0; at <= line.length; ) {
      const found = lower.indexOf(this.#query, at);
      if (found < 0) { el.append(line.slice(at)); return; }
      const mark = document.createElement("mark");
      mark.textContent = line.slice(found, found + this.#query.length);
      el.append(line.slice(at, found), mark);
      at = found + this.#query.length;
    }
  }

  #goTo(line) {
    this.#follow = this.followBox.checked = false;
    this.#marked = line;
    this.#layout();
    this.view.scrollTop = this.#place.scrollTo(line);
    this.#draw();
  }

  #fromHash() {
    const match = /^#L(\d+)$/.exec(location.hash);
    if (!match) return false;
    this.#goTo(Math.min(Number(match[1]), Math.max(1, this.#lines.total)) - 1);
    return true;
  }

  #link(event) {
    const link = event.target.closest("a[data-line]");
    if (!link) return;
    event.preventDefault();
    history.replaceState(null, "", link.hash);
    this.#marked = Number(link.dataset.line) - 1;
    this.#draw();
  }

  async #search(step) {
    const query = this.searchBox.value.trim().toLowerCase();
    if (!query) { this.#query = ""; this.#matches = []; this.count.textContent = ""; return this.#draw(); }
    if (query !== this.#query) {
      try {
        const answer = await fetch(`${this.url}/search?q=${encodeURIComponent(query)}&limit=${MATCHES}`, { headers: { Accept: "application/json" } });
        if (!answer.ok) throw new Error(`the portal answered ${answer.status}`);
        const found = await answer.json();
        this.#matches = found.matches;
        this.more = found.more;
        this.#match = step > 0 ? -1 : 0;
        this.#query = query;
      } catch (error) {
        return this.#say(`The search failed (${error.message}). Try again.`);
      }
    }
    const n = this.#matches.length;
    if (!n) { this.count.textContent = "no line has this"; return this.#draw(); }
    this.#match = (this.#match + step + n) % n;
    this.count.textContent = `${this.#match + 1} of ${n}${this.more ? "+" : ""} lines`;
    this.#goTo(this.#matches[this.#match]);
  }
}

customElements.define("log-view", LogView);
