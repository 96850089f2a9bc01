// The demo: sends requests through the gateway and shows which backend answered each.
//
// What backends there are comes from /proxy-status; which one answered comes from the answer itself, the JSON of an
// echo backend. Nothing is simulated here: the bars count real answers.
"use strict";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const HUES = ["hue-a", "hue-b", "hue-c", "hue-d"];
const CHIP_WIDTH = 26;
const LOG_LENGTH = 400;
const ROW_HEIGHT = 36;
const SVG = "http://www.w3.org/2000/svg";
const still = matchMedia("(prefers-reduced-motion: reduce)");

// The paths of the tutorial's own commands.
const PATHS = {
  weighted_round_robin: (n) => `/api/v1/test${n}`,
  least_connections: (n) => `/api/v2/${["users", "posts", "comments", "likes"][(n - 1) % 4]}?delay=400ms`,
  ip_hash: (n) => `/auth/session${n}`,
  random: (n) => `/static/file${n}.css`,
};

const results = document.getElementById("results");

/** One card and the backends behind it. */
class Card {
  constructor(element) {
    this.element = element;
    this.strategy = element.dataset.card;
    this.prefix = element.dataset.prefix;
    this.many = Number(element.dataset.many);
    // The ports of the tutorial: its backends answer by these names, wherever they really listen.
    this.names = element.dataset.ports.split(" ").map((port) => `localhost:${port}`);
    this.backends = [];
    this.busy = false;
    this.trail = element.querySelector(".trail ol");
    this.verdict = element.querySelector(".verdict");
    this.fan = element.querySelector(".fan");
    element.querySelector('[data-action="single"]').addEventListener("click", (event) => this.run(1, event.currentTarget));
    element.querySelector('[data-action="many"]').addEventListener("click", (event) => this.run(this.many, event.currentTarget));
    this.draw();
  }

  /** Takes over what /proxy-status says; counts stay. */
  configure(listed) {
    const isNew = listed.filter(({ url }) => !this.backends.some((backend) => backend.key === keyOf(url)));
    for (const { url } of isNew) this.backends.push({ key: keyOf(url), count: 0 });
    listed.forEach(({ url, weight, healthy }, index) => {
      const backend = this.backends.find((backend) => backend.key === keyOf(url));
      const name = listed.length === this.names.length ? this.names[index] : keyOf(url);
      Object.assign(backend, { name, url, weight, healthy });
    });
    if (isNew.length > 0) this.draw();
    this.refresh();
  }

  /** The backend that an answer names. */
  backendNamed(name) {
    const key = keyOf(name);
    let backend = this.backends.find((backend) => backend.key === key || backend.name === key);
    if (!backend) {
      backend = { key, name: key, url: name, count: 0, weight: 1, healthy: true };
      this.backends.push(backend);
      this.draw();
    }
    return backend;
  }

  /** Lays out the rows and the lines that lead to them. */
  draw() {
    const height = Math.max(this.backends.length, 2) * ROW_HEIGHT;
    const svg = make(SVG, "svg", { viewBox: `0 0 60 ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const rows = node("ol", "rows");
    rows.setAttribute("aria-label", "Answers by backend");
    const top = (height - this.backends.length * ROW_HEIGHT) / 2;
    this.backends.forEach((backend, index) => {
      const y = top + (index + 0.5) * ROW_HEIGHT;
      const d = `M6 ${height / 2} C 34 ${height / 2}, 26 ${y}, 54 ${y}`;
      const hue = HUES[index % HUES.length];
      backend.letter = LETTERS[index % LETTERS.length];
      backend.hue = hue;
      backend.wire = make(SVG, "path", { d, class: `wire ${hue}` });
      backend.pulse = make(SVG, "path", { d, class: `pulse ${hue}`, pathLength: 1 });
      svg.append(backend.wire, backend.pulse);
      backend.row = rowOf(backend);
      rows.append(backend.row.element);
    });
    // A ring of two dots, since a circle would be stretched with the rest.
    for (const part of ["rim", "hub"]) svg.append(make(SVG, "path", { d: `M6 ${height / 2}h0.01`, class: part }));
    svg.style.height = `${height}px`;
    this.fan.replaceChildren(svg, rows);
    this.refresh();
  }

  /** Brings bars, lines and shares up to date. */
  refresh() {
    const total = this.backends.reduce((sum, backend) => sum + backend.count, 0);
    const weights = this.backends.reduce((sum, backend) => sum + (backend.weight ?? 1), 0);
    const weighted = this.strategy.startsWith("weighted");
    for (const { row, wire, count, weight, healthy } of this.backends) {
      const share = total ? count / total : 0;
      row.count.textContent = count;
      row.share.textContent = total ? `${Math.round(share * 100)} %` : "";
      row.fill.style.width = `${share * 100}%`;
      row.weight.textContent = weighted && weight !== undefined ? ` ×${weight}` : "";
      row.due.hidden = !(weighted && weights);
      row.due.style.left = `calc(${((weight ?? 1) / weights) * 100}% - 1px)`;
      row.element.classList.toggle("down", healthy === false);
      wire.style.strokeWidth = `${1.5 + share * 7}px`;
    }
  }

  async run(count, button) {
    if (this.busy) return;
    this.busy = true;
    button.setAttribute("aria-busy", "true");
    try {
      const answers = count > 1 && this.strategy === "least_connections" ? await this.together(count) : await this.inTurn(count);
      this.judge(answers);
    } finally {
      this.busy = false;
      button.removeAttribute("aria-busy");
    }
  }

  together(count) {
    return Promise.all(Array.from({ length: count }, (_, index) => this.send(index + 1)));
  }

  async inTurn(count) {
    const answers = [];
    for (let n = 1; n <= count; n += 1) {
      answers.push(await this.send(n));
      if (n < count && !still.matches) await pause(110);
    }
    return answers;
  }

  async send(n) {
    const path = PATHS[this.strategy](n);
    const answer = await ask(path);
    answer.backend = answer.name === undefined ? undefined : this.backendNamed(answer.name);
    if (answer.backend) {
      answer.backend.count += 1;
      flow(answer.backend.pulse);
    }
    this.leaveTrace(answer);
    this.refresh();
    log(answer);
    return answer;
  }

  leaveTrace({ backend }) {
    const chip = chipOf(backend, "!");
    chip.classList.add("fresh", ...(backend ? [] : ["failed"]));
    this.trail.append(chip);
    const room = Math.max(6, Math.floor((this.trail.clientWidth + 4) / CHIP_WIDTH));
    while (this.trail.children.length > room) this.trail.firstChild.remove();
  }

  /** Says what the run has shown. */
  judge(answers) {
    const failed = answers.filter((answer) => !answer.backend).length;
    const counts = this.backends.map((backend) => answers.filter((answer) => answer.backend === backend).length);
    const said = failed ? `${failed} of ${answers.length} got no answer from a backend.` : this.finding(answers, counts);
    this.verdict.textContent = said;
    this.verdict.className = `verdict ${failed ? "bad" : said ? "good" : ""}`;
  }

  finding(answers, counts) {
    const ratio = counts.join(" : ");
    const used = counts.filter((count) => count > 0).length;
    if (answers.length === 1) return `${answers[0].backend.letter} answered in ${milliseconds(answers[0].took)}.`;
    switch (this.strategy) {
      case "weighted_round_robin": {
        const weights = this.backends.map((backend) => backend.weight ?? 1).join(" : ");
        return ratio === weights ? `This run went ${ratio}, exactly the weights.` : `This run went ${ratio}; the weights are ${weights}.`;
      }
      case "least_connections":
        return `${answers.length} at once went ${ratio}: each to whoever was least busy.`;
      case "ip_hash":
        return used === 1 ? `All ${answers.length} went to ${answers[0].backend.letter}, and so will your next one.` : `This run went ${ratio}: a backend came or went meanwhile.`;
      default:
        return `This run went ${ratio}, by chance.`;
    }
  }

  clear() {
    for (const backend of this.backends) backend.count = 0;
    this.trail.replaceChildren();
    this.verdict.textContent = "";
    this.verdict.className = "verdict";
    this.refresh();
  }
}

/** Asks the gateway for a path; never throws. */
async function ask(path) {
  const started = performance.now();
  const answer = { path, at: new Date() };
  try {
    const response = await fetch(path, { cache: "no-store", headers: { accept: "application/json" } });
    const text = await response.text();
    answer.took = performance.now() - started;
    answer.status = response.status;
    answer.body = parsed(text);
    if (response.ok) answer.name = answer.body?.backend;
    else answer.error = answer.body?.detail ?? answer.body?.title ?? response.statusText;
    if (response.ok && answer.name === undefined) answer.error = "The answer does not say which backend it is from.";
  } catch (error) {
    answer.took = performance.now() - started;
    answer.error = `The gateway cannot be reached (${error.message}).`;
  }
  return answer;
}

function log(answer) {
  const { backend, path, status, took, error } = answer;
  const line = node("div", `result${backend ? "" : " failed"}`);
  if (backend) line.dataset.backend = answer.name;
  line.dataset.path = path;
  line.append(
    chipOf(backend, "!"),
    node("span", "target", `GET ${path}`),
    node("span", "status", status ?? "–"),
    node("span", "took", milliseconds(took)),
    node("span", "who", backend ? `${clock(answer.at)}  answered by ${backend.name}` : `${clock(answer.at)}  ${error}`),
  );
  append(line);
}

/** Shows what a status page says. */
async function inspect(path, summarise) {
  const { status, took, body, error, at } = await ask(path);
  const good = status === 200 && body !== undefined;
  const line = node("div", `result${good ? "" : " failed"}`);
  line.dataset.path = path;
  const chip = node("span", "chip none", "i");
  chip.setAttribute("aria-hidden", "true");
  line.append(
    chip,
    node("span", "target", `GET ${path}`),
    node("span", "status", status ?? "–"),
    node("span", "took", milliseconds(took)),
    node("span", "who", `${clock(at)}  ${good ? summarise(body) : error}`),
  );
  if (good) {
    const details = node("details");
    const pre = node("pre", "", JSON.stringify(body, null, 2));
    pre.tabIndex = 0;
    details.append(node("summary", "", "Show all of it"), pre);
    details.open = true;
    line.append(details);
    if (path === "/proxy-status") take(body);
  }
  append(line);
}

function append(line) {
  results.append(line);
  while (results.children.length > LOG_LENGTH) results.firstChild.remove();
  // A long entry is read from its start, short ones from the newest.
  const isLong = line.offsetHeight > results.clientHeight / 2;
  results.scrollTop = isLong ? line.offsetTop - results.offsetTop : results.scrollHeight;
}

/** Takes over what the gateway says of itself. */
function take(status) {
  const upstreams = status.upstreams ?? [];
  for (const card of cards) {
    const rule = (status.rules ?? []).find((rule) => rule.path?.startsWith(card.prefix));
    const upstream = rule && upstreams.find((upstream) => upstream.name === rule.upstream);
    if (upstream) card.configure(upstream.backends);
  }
  const backends = upstreams.flatMap((upstream) => upstream.backends);
  const up = backends.filter((backend) => backend.healthy).length;
  const served = backends.reduce((sum, backend) => sum + backend.total_requests, 0);
  fill("tally-backends", up, ` of ${backends.length}`);
  fill("tally-requests", served.toLocaleString("en"));
  fill("tally-uptime", duration(status.uptime_seconds ?? 0));
}

async function watch() {
  for (;;) {
    if (!document.hidden) {
      const { status, body } = await ask("/proxy-status");
      if (status === 200 && body) take(body);
    }
    await pause(2000);
  }
}

async function copy(button) {
  const text = button.closest("figure").querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.closest("figure").querySelector("code"));
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1600);
}

// Small things.

function rowOf(backend) {
  const element = node("li", `row ${backend.hue}`);
  const [label, name, weight] = [node("div"), node("div", "name", backend.name), node("i")];
  const [bar, fill, due] = [node("div", "bar"), node("div", "fill"), node("div", "due")];
  const [count, share] = [node("span", "count"), node("span", "share")];
  name.title = backend.url;
  due.title = "Its share by weight";
  name.append(weight);
  bar.append(fill, due);
  label.append(name, bar);
  element.append(chipOf(backend), label, count, share);
  element.dataset.backend = backend.name;
  return { element, weight, fill, due, count, share };
}

function chipOf(backend, otherwise = "") {
  return node("span", `chip ${backend?.hue ?? ""}`, backend?.letter ?? otherwise);
}

/** Sends a light along a line. */
function flow(path) {
  if (still.matches) return;
  path.animate([{ strokeDashoffset: 0.2, opacity: 1 }, { strokeDashoffset: -1, opacity: 1 }], { duration: 420, easing: "cubic-bezier(0.4, 0, 0.3, 1)" });
}

/** Host and port, whether a URL or less was written. */
function keyOf(name) {
  return String(name).replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

function node(tag, className = "", text = undefined) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function make(namespace, tag, attributes) {
  const element = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function fill(id, value, small = "") {
  const element = document.getElementById(id);
  element.replaceChildren(String(value), ...(small ? [node("small", "", small)] : []));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function clock(date) {
  return date.toLocaleTimeString("en-GB");
}

function milliseconds(took) {
  return `${took < 10 ? took.toFixed(1) : Math.round(took)} ms`;
}

function duration(seconds) {
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

function pause(ms) {
  return new Promise((resume) => setTimeout(resume, ms));
}

const cards = [...document.querySelectorAll("[data-card]")].map((element) => new Card(element));

const actions = {
  status: () => inspect("/proxy-status", (body) => `${body.rules_count} rules, ${(body.upstreams ?? []).flatMap((u) => u.backends).length} backends`),
  strategies: () => inspect("/strategies", (body) => `${Object.keys(body.strategies).length} strategies, ${Object.keys(body.endpoints).length} endpoints`),
  clear: () => {
    results.replaceChildren();
    cards.forEach((card) => card.clear());
  },
};
for (const [name, act] of Object.entries(actions)) {
  document.querySelector(`[data-action="${name}"]`).addEventListener("click", act);
}
for (const button of document.querySelectorAll('[data-action="copy"]')) {
  button.addEventListener("click", () => copy(button));
}
for (const element of document.querySelectorAll("[data-origin]")) element.textContent = location.origin;
watch();
