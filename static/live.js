// Keeps a page live: follows the portal's events and tells the parts of the page that show what changed. Parts are
// fetched again by htmx (hx-trigger="live-run from:body" and the like) and morphed in place.
const body = document.body;
const url = body.dataset.events;
const note = document.getElementById("connection");
const KINDS = ["run", "tasks", "machine", "pipelines", "compute-envs", "credentials", "studios"];
const HIDDEN_AFTER = 10_000; // ms: a hidden tab lets its connection go, because browsers allow six to one host
const POLL_EVERY = 10_000; // ms: how often a hidden tab asks instead

// What a reader has opened stays open, and what they have typed stays typed, when its part of the page is fetched again.
globalThis.Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
  !(name === "open" && node.tagName === "DETAILS") && !(name === "value" && node.tagName === "INPUT" && node.value !== node.defaultValue);

let position = body.dataset.lastChange ?? "0";
let source = null;
let log = null; // {work, stream, line}: the log that a viewer on the page follows, and for a Studio the session whose it is
let timer = null;
let lostAt = null;

function address(once) {
  const u = new URL(url, location.href);
  u.searchParams.set("after", position);
  if (log) {
    u.searchParams.set("log", log.stream);
    if (log.work) u.searchParams.set("work", log.work);
    u.searchParams.set("line", log.line);
  }
  if (once) u.searchParams.set("once", "1");
  return u;
}

function open(once = false) {
  close();
  source = new EventSource(address(once));
  source.addEventListener("open", () => connected(true));
  source.addEventListener("error", () => {
    if (once) return close();
    connected(false);
    // The browser repeats by itself, except after an answer that is no stream: then somebody signed out, or the portal
    // is starting.
    if (source?.readyState === EventSource.CLOSED) checkSession();
  });
  source.addEventListener("change", (event) => {
    position = event.lastEventId;
    const { kind, studio } = JSON.parse(event.data);
    body.dispatchEvent(new CustomEvent(`live-${kind}`));
    if (studio) body.dispatchEvent(new CustomEvent("live-studios"));
  });
  source.addEventListener("log", (event) => {
    position = event.lastEventId;
    const data = JSON.parse(event.data);
    if (log) log.line = data.first + data.lines.length - (data.partial ? 1 : 0);
    document.dispatchEvent(new CustomEvent("wherry-log", { detail: { work: log?.work, ...data } }));
  });
  source.addEventListener("reset", () => location.reload());
  source.addEventListener("signed-out", () => { close(); signedOut(); });
}

function close() {
  source?.close();
  source = null;
}

async function checkSession() {
  try {
    const answer = await fetch(address(true), { headers: { Accept: "text/event-stream" } });
    answer.body?.cancel();
    if (answer.status === 401) return signedOut();
  } catch { /* the portal is away; try again */ }
  setTimeout(() => { if (!document.hidden) open(); }, 2000);
}

// What the page shows is for who was signed in: whoever comes to this browser next must not read it.
function signedOut() {
  document.getElementById("content").replaceChildren();
  document.querySelector("header.frame")?.replaceChildren();
  note.hidden = false;
  note.textContent = "You are signed out, so this page is not live any more. Load it again to sign in.";
}

function connected(yes) {
  if (yes) {
    // A part may have been told of a change and then not been able to fetch itself: after an outage all of them do.
    if (lostAt) for (const kind of KINDS) body.dispatchEvent(new CustomEvent(`live-${kind}`));
    lostAt = null;
    note.hidden = true;
    return;
  }
  lostAt ??= Date.now();
  setTimeout(() => {
    if (lostAt && Date.now() - lostAt >= 2000) {
      note.hidden = false;
      note.textContent = "The portal cannot be reached. Trying again; nothing that happens meanwhile is lost.";
    }
  }, 2100);
}

// A viewer on the page says which log it wants to follow, and from which line on.
document.addEventListener("wherry-follow-log", (event) => {
  log = event.detail;
  if (url) open();
});

document.addEventListener("visibilitychange", () => {
  if (!url) return;
  clearTimeout(timer);
  clearInterval(timer);
  if (!document.hidden) return open();
  timer = setTimeout(() => {
    close();
    timer = setInterval(() => open(true), POLL_EVERY);
  }, HIDDEN_AFTER);
});
addEventListener("pagehide", close);
addEventListener("pageshow", (event) => { if (event.persisted && url) open(); });

if (url && !document.querySelector("log-view")) open();

// What a page fetches because something has changed is no sign that anybody is there, and keeps no session alive.
body.addEventListener("htmx:configRequest", (event) => {
  if (event.detail.triggeringEvent?.type.startsWith("live-")) event.detail.headers["Wherry-By-Itself"] = "1";
});

// Times that pass: [data-since] shows how long something goes on already, and [data-ago] how long ago a moment was.
function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
}
// ago says how long ago a moment was, as the portal does; "" for what was so long ago that its day is shown.
function ago(seconds) {
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return seconds < 30 * 86_400 ? `${Math.floor(seconds / 86_400)} days ago` : "";
}
function show(el, text) {
  if (text && el.textContent !== text) el.textContent = text;
}
setInterval(() => {
  for (const el of document.querySelectorAll("[data-since]")) show(el, duration((Date.now() - Date.parse(el.dataset.since)) / 1000));
  for (const el of document.querySelectorAll("[data-ago]")) show(el, ago((Date.now() - Date.parse(el.dateTime)) / 1000));
}, 1000);

// What was just done is said once, and not again when the page is loaded again.
const here = new URL(location.href);
if (here.searchParams.has("done")) {
  here.searchParams.delete("done");
  history.replaceState(history.state, "", here);
}
