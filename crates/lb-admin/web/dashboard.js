// The dashboard: follows /api/live and shows the part of the gateway that the address asks for.

import { Charts } from "./chart.js";
import { STATES, arrange, count, duration, node, percent, rate, say, show, stateWord } from "./format.js";
import { Changes, Errors, Rules } from "./lists.js";
import { Upstream, pager } from "./upstream.js";

const AGAIN_MS = 2000;
const SILENCE_MS = 5000;
const TYPING_MS = 200;
/** States in which a backend takes requests. */
const TAKING = ["healthy", "half_open"];

const element = (id) => document.getElementById(id);

/** What is looked at, kept in the address so that it can be shared and gone back to. */
const view = {
  ...read(location.hash),
  isOne: false,
  go(change) {
    location.hash = this.link(change);
  },
  link(change) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ find: this.find, upstream: this.upstream, page: this.page, sort: this.sort, ...change })) {
      if (value && !(name === "page" && value === 1)) query.set(name, value);
    }
    return `#${query}`;
  },
};

function read(hash) {
  const query = new URLSearchParams(hash.slice(1));
  const [find, upstream, sort] = ["find", "upstream", "sort"].map((name) => query.get(name) ?? "");
  return { find, upstream, sort, page: Number(query.get("page")) || 1 };
}

const upstreams = new Map();
const totals = new Charts(element("totals"), "all requests");
const rules = new Rules(element("rules-list"), element("rules-note"), view);
const errors = new Errors(element("errors-list"), element("errors").querySelector(".empty"), element("errors-count"));
const changes = new Changes(element("changes-list"), element("changes").querySelector(".empty"), element("changes-count"));

let source;
let lastHeard = 0;
let trying;

/** Begins to follow what the view asks for. */
function follow() {
  source?.close();
  clearTimeout(trying);
  source = new EventSource(`/api/live?${view.link({}).slice(1)}`);
  source.onmessage = (message) => {
    lastHeard = performance.now();
    take(JSON.parse(message.data));
  };
  source.onerror = lost;
}

async function lost() {
  source.close();
  clearTimeout(trying);
  trying = setTimeout(follow, AGAIN_MS);
  const asked = new AbortController();
  let reason = "The gateway does not answer";
  try {
    const response = await fetch("/api/live", { signal: asked.signal });
    if (response.ok) return;
    reason = (await response.json()).detail ?? `The gateway answers ${response.status}`;
  } catch {
    // It is not there.
  } finally {
    asked.abort();
  }
  summary("lost", `${reason[0].toUpperCase()}${reason.slice(1)}; this is what was last known.`);
}

function take(event) {
  const now = event.time_ms;
  say(element("version"), event.version);
  say(element("requests"), count(event.totals.requests));
  element("failed").replaceChildren(count(event.totals.failed), node("small", "", event.totals.requests ? ` ${percent(event.totals.failed / event.totals.requests)}` : ""));
  say(element("active"), count(event.totals.active));
  say(element("connections"), count(event.totals.connections));
  say(element("uptime"), duration(event.uptime_seconds));
  totals.step = event.step_seconds;
  totals.add(event.totals.history, event.totals);
  overview(event);
  showUpstreams(event, now);
  rules.show(event.rules);
  errors.show(event.errors, now, event.errors.reduce((sum, error) => sum + error.times, 0));
  changes.show(event.changes, now, event.changes.length);
}

function showUpstreams({ upstreams: page, rules: { shown: rulesShown } }, now) {
  view.isOne = view.upstream !== "" || page.total === 1;
  const shown = page.shown.map((upstream) => {
    const card = upstreams.get(upstream.name) ?? new Upstream(upstream.name, view);
    upstreams.set(upstream.name, card);
    card.show(upstream, rulesShown, now);
    return card.element;
  });
  for (const name of upstreams.keys()) if (!page.shown.some((upstream) => upstream.name === name)) upstreams.delete(name);
  arrange(element("upstreams"), shown);
  show(element("all"), view.upstream !== "");
  element("all").href = view.link({ upstream: "", page: 1 });
  const nothing = view.find ? `Nothing is called or stands like “${view.find}”.` : view.upstream ? `There is no upstream ${view.upstream} any more.` : "This configuration has no upstreams.";
  show(element("nothing"), shown.length === 0);
  say(element("nothing"), nothing);
  showPager(page);
}

function showPager({ page, pages, found }) {
  const bar = element("pager");
  show(bar, pages > 1 && !view.isOne);
  const key = `${page} ${pages} ${found}`;
  if (bar.hidden || bar.dataset.key === key) return;
  bar.dataset.key = key;
  bar.replaceChildren(node("span", "muted", `Page ${page} of ${pages}: ${count(found)} upstreams`), ...pager(view, page, pages));
}

function overview({ totals: { states, requests_per_second: now }, draining, backend_statistics: kept }) {
  const all = Object.values(states).reduce((sum, number) => sum + number, 0);
  const away = STATES.filter((state) => states[state] && !TAKING.includes(state));
  const good = all - away.reduce((sum, state) => sum + states[state], 0);
  const words = away.map((state) => `${count(states[state])} ${stateWord(state)}`).join(", ");
  document.title = `${away.length ? `${all - good} away · ` : ""}${rate(now)}/s · gatewayd`;
  const [mood, text] =
    draining ? ["warn", "Draining: requests in flight are finished, new ones go elsewhere."]
    : all === 0 ? ["", "There are no backends."]
    : good === 0 ? ["bad", `No backend takes requests: ${words}.`]
    : away.length ? ["warn", `${count(good)} of ${count(all)} backends take requests; ${words}.`]
    : ["good", all === 1 ? "The backend takes requests." : all === 2 ? "Both backends take requests." : `All ${count(all)} backends take requests.`];
  summary(mood, kept ? text : `${text} Figures of single backends are not kept (LB_STATS_ENABLED=false).`);
}

function summary(mood, text) {
  element("summary").className = mood;
  say(element("summary"), text);
  document.body.classList.toggle("lost", mood === "lost");
}

function adopt() {
  Object.assign(view, read(location.hash));
  if (document.activeElement !== element("find")) element("find").value = view.find;
  element("sort").value = view.sort;
  follow();
}

let typing;
element("find").value = view.find;
element("sort").value = view.sort;
element("find").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => view.go({ find: event.target.value.trim(), page: 1 }), TYPING_MS);
});
element("sort").addEventListener("change", (event) => view.go({ sort: event.target.value, page: 1 }));
for (const button of document.querySelectorAll("[data-goto]")) {
  button.addEventListener("click", () => element(button.dataset.goto).scrollIntoView({ behavior: "smooth" }));
}
addEventListener("hashchange", adopt);
// A page nobody sees costs nothing; when it is seen again it gets its history anew.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    clearTimeout(trying);
  } else follow();
});
setInterval(() => {
  if (!document.hidden && source.readyState === EventSource.OPEN && performance.now() - lastHeard > SILENCE_MS) lost();
}, SILENCE_MS);
follow();
