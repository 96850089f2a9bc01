// The dashboard: asks /proxy-status once a second and shows the difference.
"use strict";

const EVERY_MS = 1000;
const HISTORY = 300;
const PAGE_ROWS = 50;
const COLUMNS = [
  ["url", "Backend", "left"],
  ["standing", "State", "left"],
  ["weight", "Weight"],
  ["share", "Share, last minute", "left"],
  ["rate", "Requests/s"],
  ["active", "In flight"],
  ["failed", "Failed"],
  ["p50", "p50"],
  ["p95", "p95"],
  ["p99", "p99"],
];

const list = document.getElementById("upstreams");
const filter = document.getElementById("filter");
const history = [];
const upstreams = new Map();
let before;
let latest;

/** One upstream and the rows of its backends. */
class Upstream {
  constructor(name) {
    this.element = node("section", "upstream sheet");
    this.strategy = node("span", "strategy");
    this.rules = node("span", "rules");
    this.body = node("tbody");
    this.more = node("button", "button small more");
    this.rows = new Map();
    this.limit = PAGE_ROWS;
    const header = node("header");
    header.append(node("h2", "", name), this.strategy, this.rules);
    const table = node("table");
    const head = node("tr");
    for (const [key, title, side] of COLUMNS) {
      const cell = node("th", `${key} ${side ?? ""}`, title);
      cell.scope = "col";
      head.append(cell);
    }
    table.createTHead().append(head);
    table.append(this.body);
    table.setAttribute("aria-label", `Backends of ${name}`);
    this.more.addEventListener("click", () => {
      this.limit += 10 * PAGE_ROWS;
      show();
    });
    this.element.append(header, table, this.more);
  }

  show(upstream, rules, wanted) {
    say(this.strategy, upstream.strategy_title);
    say(this.rules, rules.filter((rule) => rule.upstream === upstream.name).map((rule) => `${rule.host ?? ""}${rule.path}`).join("  "));
    const named = wanted && `${upstream.name} ${upstream.strategy}`.toLowerCase().includes(wanted);
    const found = upstream.backends.filter((backend) => !wanted || named || `${backend.url} ${standing(backend)}`.toLowerCase().includes(wanted));
    const rate = sum(upstream.backends, (backend) => backend.requests_per_second);
    const weight = sum(upstream.backends.filter(eligible), (backend) => backend.weight);
    const shown = found.slice(0, this.limit);
    const keep = new Set(shown.map((backend) => backend.url));
    for (const [url, row] of this.rows) {
      if (!keep.has(url)) {
        row.element.remove();
        this.rows.delete(url);
      }
    }
    shown.forEach((backend, index) => {
      const row = this.rows.get(backend.url) ?? new Row();
      this.rows.set(backend.url, row);
      if (this.body.children[index] !== row.element) this.body.insertBefore(row.element, this.body.children[index] ?? null);
      row.show(backend, rate, weight);
    });
    this.element.hidden = found.length === 0 && upstream.backends.length > 0;
    this.more.hidden = found.length <= this.limit;
    say(this.more, `Show more of ${found.length}`);
  }
}

/** One backend. */
class Row {
  constructor() {
    this.element = node("tr");
    for (const [key, title, side] of COLUMNS) {
      this[key] = node("td", `${key} ${side ?? ""}`);
      if (!["url", "standing"].includes(key)) this[key].dataset.label = title;
      this.element.append(this[key]);
    }
    this.mark = node("span");
    this.why = node("span", "why");
    this.standing.append(this.mark, this.why);
    const meter = node("div", "meter");
    const bar = node("div", "bar");
    this.fill = node("div", "fill");
    this.due = node("div", "due");
    this.due.title = "Its share by weight";
    this.percent = node("span");
    bar.append(this.fill, this.due);
    meter.append(bar, this.percent);
    this.share.append(meter);
  }

  show(backend, rate, weight) {
    const { latency_ms: latency } = backend;
    const state = standing(backend);
    this.element.dataset.backend = backend.url;
    this.element.dataset.state = state;
    say(this.url, backend.url);
    this.url.title = backend.url;
    this.mark.className = `state ${state}`;
    say(this.mark, state.replace("_", "-"));
    say(this.why, reason(backend));
    this.why.title = backend.error ?? "";
    say(this.weight, backend.backup ? `${backend.weight} backup` : backend.weight);
    const share = rate > 0 ? backend.requests_per_second / rate : 0;
    this.fill.style.width = `${share * 100}%`;
    this.due.hidden = !(weight > 0 && eligible(backend));
    this.due.style.left = `calc(${(backend.weight / weight) * 100}% - 1px)`;
    say(this.percent, rate > 0 ? `${Math.round(share * 100)} %` : "–");
    say(this.rate, number(backend.requests_per_second));
    say(this.active, backend.max_connections ? `${backend.active_connections} / ${backend.max_connections}` : backend.active_connections);
    say(this.failed, failures(backend.failed_requests, backend.total_requests));
    this.failed.classList.toggle("failing", backend.failed_requests > 0);
    for (const key of ["p50", "p95", "p99"]) say(this[key], latency[key] === null ? "–" : milliseconds(latency[key]));
  }
}

/** An open circuit says more than a state. */
function standing(backend) {
  return backend.state === "healthy" && backend.circuit !== "closed" ? backend.circuit : backend.state;
}

function eligible(backend) {
  return backend.state === "healthy" && backend.circuit !== "open" && !backend.backup;
}

function reason(backend) {
  const seconds = backend.ejected_until ? Math.ceil((new Date(backend.ejected_until) - Date.now()) / 1000) : 0;
  const until = seconds > 0 ? `back in ${seconds} s` : "";
  return [until, backend.error].filter(Boolean).join(": ");
}

function show() {
  if (!latest) return;
  const wanted = filter.value.trim().toLowerCase();
  const names = new Set(latest.upstreams.map((upstream) => upstream.name));
  for (const [name, upstream] of upstreams) {
    if (!names.has(name)) {
      upstream.element.remove();
      upstreams.delete(name);
    }
  }
  latest.upstreams.forEach((status, index) => {
    const upstream = upstreams.get(status.name) ?? new Upstream(status.name);
    upstreams.set(status.name, upstream);
    if (list.children[index] !== upstream.element) list.insertBefore(upstream.element, list.children[index] ?? null);
    upstream.show(status, latest.rules, wanted);
  });
}

function overview(status, now) {
  const backends = status.upstreams.flatMap((upstream) => upstream.backends);
  const total = sum(backends, (backend) => backend.total_requests);
  const failed = sum(backends, (backend) => backend.failed_requests);
  const away = backends.filter((backend) => standing(backend) !== "healthy");
  if (before && now > before.now) {
    history.push(Math.max(0, (total - before.total) / ((now - before.now) / 1000)));
    if (history.length > HISTORY) history.shift();
    chart();
  }
  before = { total, now };
  say(document.getElementById("version"), status.version);
  say(document.getElementById("rate"), history.length ? number(history.at(-1)) : "–");
  say(document.getElementById("active"), sum(backends, (backend) => backend.active_connections));
  say(document.getElementById("failed"), failures(failed, total));
  say(document.getElementById("uptime"), duration(status.uptime_seconds));
  const none = backends.length > 0 && away.length === backends.length;
  if (status.draining) summary("warn", "Draining: requests in flight are finished, new ones go elsewhere.");
  else if (none) summary("bad", "No backend takes requests.");
  else if (away.length) summary("warn", `${backends.length - away.length} of ${backends.length} backends take requests.`);
  else summary("good", backends.length === 1 ? "The backend takes requests." : `All ${backends.length} backends take requests.`);
}

function summary(mood, text) {
  const element = document.getElementById("summary");
  element.className = mood;
  say(element, text);
  document.body.classList.toggle("lost", mood === "lost");
}

function chart() {
  const peak = Math.max(...history, 1);
  const step = 600 / (HISTORY - 1);
  const from = 600 - (history.length - 1) * step;
  const points = history.map((value, index) => `${(from + index * step).toFixed(1)} ${(118 - (value / peak) * 112).toFixed(1)}`);
  document.querySelector("#chart .edge").setAttribute("d", `M${points.join("L")}`);
  document.querySelector("#chart .area").setAttribute("d", `M${points.join("L")}L600 120L${from.toFixed(1)} 120Z`);
  say(document.getElementById("peak"), `peak ${number(Math.max(...history))}`);
}

async function poll() {
  try {
    const response = await fetch("/proxy-status", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    latest = await response.json();
    overview(latest, performance.now());
    show();
  } catch (error) {
    before = undefined;
    summary("lost", `The gateway does not answer (${error.message}); this is what was last known.`);
  }
}

async function watch() {
  for (;;) {
    if (!document.hidden) await poll();
    await new Promise((resume) => setTimeout(resume, EVERY_MS));
  }
}

// Small things.

/** Writes only what changed, so that nothing is laid out or read aloud twice. */
function say(element, text) {
  const written = String(text ?? "");
  if (element.textContent !== written) element.textContent = written;
}

function node(tag, className = "", text = undefined) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function sum(items, of) {
  return items.reduce((total, item) => total + of(item), 0);
}

function number(value) {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(1);
}

function failures(failed, total) {
  if (!failed) return "0";
  const percent = (failed / total) * 100;
  return `${failed.toLocaleString("en")} (${percent < 0.1 ? "< 0.1" : percent.toFixed(1)} %)`;
}

function milliseconds(ms) {
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function duration(seconds) {
  const [d, h, m] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min ${Math.floor(seconds) % 60} s` : `${Math.floor(seconds)} s`;
}

filter.addEventListener("input", show);
watch();
