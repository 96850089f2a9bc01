// One upstream: how its backends stand, what they do, and its last ten minutes.

import { Charts } from "./chart.js";
import { act, askWeight } from "./control.js";
import { STATES, address, ago, arrange, clock, count, duration, latency, node, percent, rate, say, show, stateWord } from "./format.js";

/** Heading, class, and what to order by. */
const COLUMNS = [
  ["Backend", "url left", "name"],
  ["State", "standing left", "state"],
  ["Weight", "weight"],
  ["Share", "share left"],
  ["Requests/s", "rate", "rate"],
  ["Failed", "errors", "errors"],
  ["In flight", "active", "active"],
  ["p50", "p50"],
  ["p95", "p95"],
  ["p99", "p99", "latency"],
  ["", "acts"],
];

export class Upstream {
  constructor(name, view) {
    this.name = name;
    this.view = view;
    this.rows = new Map();
    this.strategy = node("span", "pill");
    this.rules = node("span", "rules");
    this.states = node("ul", "states");
    this.idle = node("p", "idle muted");
    this.graphs = node("div", "charts");
    this.charts = new Charts(this.graphs, name);
    this.body = node("tbody");
    this.table = node("table", "", this.head(), this.body);
    this.table.setAttribute("aria-label", `Backends of ${name}`);
    this.none = node("p", "empty", "This upstream has no backends.");
    this.foot = node("footer");
    const title = node("h2", "", name);
    title.title = name;
    this.element = node("section", "upstream sheet",
      node("header", "", title, this.strategy, this.rules, this.states),
      this.idle, this.graphs, node("div", "scroll", this.table), this.none, this.foot);
    this.element.dataset.upstream = name;
    this.element.setAttribute("aria-label", `Upstream ${name}`);
  }

  head() {
    this.orders = [];
    const row = node("tr");
    for (const [title, className, sort] of COLUMNS) {
      const cell = node("th", className);
      cell.scope = "col";
      if (sort) {
        const button = node("button", "order", title);
        button.addEventListener("click", () => this.view.go({ sort: this.view.sort === sort ? "" : sort, page: 1 }));
        cell.append(button);
        this.orders.push([cell, sort]);
      } else if (title) {
        cell.append(title);
      } else {
        cell.append(node("span", "unseen", "Actions"));
      }
      row.append(cell);
    }
    return node("thead", "", row);
  }

  show(upstream, rules, now) {
    say(this.strategy, upstream.strategy_title);
    const leading = rules.flatMap((rule) => {
      const part = rule.shares.find(({ upstream: name }) => name === this.name);
      if (!part) return [];
      return `${rule.host ?? ""}${rule.path}${rule.shares.length > 1 ? ` ${percent(part.share)}` : ""}`;
    });
    say(this.rules, leading.join("  "));
    this.rules.title = this.rules.textContent;
    this.showStates(upstream.states);
    this.charts.add(upstream.history, upstream);
    const isIdle = this.charts.series.isIdle;
    show(this.idle, isIdle);
    say(this.idle, upstream.requests ? "No request in the last ten minutes." : "No request yet.");
    show(this.graphs, !isIdle);
    for (const [cell, sort] of this.orders) cell.ariaSort = this.view.sort !== sort ? "none" : ["name", "state"].includes(sort) ? "ascending" : "descending";
    const { shown } = upstream.backends;
    const rows = shown.map((backend) => this.row(backend, now).element);
    for (const url of this.rows.keys()) if (!shown.some((backend) => backend.url === url)) this.rows.delete(url);
    arrange(this.body, rows);
    show(this.table, rows.length > 0);
    show(this.none, upstream.backends.total === 0);
    this.showFoot(upstream.backends);
  }

  showStates(states) {
    const chips = STATES.filter((state) => states[state]).map((state) => {
      const chip = node("li", `state ${state}`, `${count(states[state])} ${stateWord(state)}`);
      return chip;
    });
    const key = chips.map((chip) => chip.textContent).join();
    if (this.statesKey !== key) this.states.replaceChildren(...chips);
    this.statesKey = key;
  }

  row(backend, now) {
    const row = this.rows.get(backend.url) ?? new Row(this.name, backend);
    this.rows.set(backend.url, row);
    row.show(backend, now);
    return row;
  }

  showFoot({ shown, found, total, page, pages }) {
    const isWhole = shown.length === found;
    const of = found === total ? `${count(total)} backends` : `${count(found)} found of ${count(total)}`;
    const first = (page - 1) * 50 + 1;
    const text = pages > 1 && this.view.isOne ? `${count(first)}–${count(first + shown.length - 1)} of ${of}` : `${count(shown.length)} of ${of}`;
    show(this.foot, !isWhole);
    if (isWhole || this.footKey === `${text} ${this.view.isOne}`) return;
    this.footKey = `${text} ${this.view.isOne}`;
    const parts = [node("span", "muted", text)];
    if (this.view.isOne) parts.push(...pager(this.view, page, pages));
    else {
      const all = node("a", "button small", "Show all");
      all.href = this.view.link({ upstream: this.name, page: 1 });
      parts.push(all);
    }
    this.foot.replaceChildren(...parts);
  }
}

function share(value) {
  return value > 0 && value < 0.005 ? "<\u202f1\u202f%" : `${Math.round(value * 100)}\u202f%`;
}

/** Buttons to the page before and the next. */
export function pager(view, page, pages) {
  return [["Previous", page - 1], ["Next", page + 1]].map(([title, to]) => {
    const button = node("button", "button small", title);
    button.disabled = to < 1 || to > pages;
    button.addEventListener("click", () => view.go({ page: to }));
    return button;
  });
}

class Row {
  constructor(upstream, backend) {
    this.cells = {};
    this.element = node("tr");
    this.element.dataset.backend = backend.url;
    for (const [title, className] of COLUMNS) {
      const cell = node("td", className);
      const key = className.split(" ")[0];
      if (!["url", "standing", "acts"].includes(key)) cell.dataset.label = title;
      this.cells[key] = cell;
      this.element.append(cell);
    }
    const { url, standing, weight, share, acts } = this.cells;
    url.append(address(backend.url));
    this.state = node("span", "state");
    this.since = node("span", "since");
    this.why = node("span", "why");
    standing.append(this.state, this.since, this.why);
    this.weight = node("button", "weigh");
    this.weight.title = "Change the weight";
    this.weight.addEventListener("click", () => askWeight(weight, upstream, this.backend));
    this.backup = node("small");
    weight.append(this.weight, this.backup);
    this.fill = node("div", "fill");
    this.due = node("div", "due");
    this.due.title = "Its share by weight";
    this.percent = node("span");
    share.append(node("div", "meter", node("div", "bar", this.fill, this.due), this.percent));
    for (const key of ["rate", "errors"]) {
      const [main, small] = [node("span", "main"), node("small")];
      this[key] = { main, small };
      this.cells[key].append(main, small);
    }
    this.drain = node("button", "button small");
    this.drain.addEventListener("click", () => act(this.drain, this.drain.dataset.act, upstream, this.backend.url));
    acts.append(this.drain);
  }

  show(backend, now) {
    this.backend = backend;
    const { cells } = this;
    this.element.dataset.state = backend.state;
    this.state.className = `state ${backend.state}`;
    say(this.state, stateWord(backend.state));
    const isGood = backend.state === "healthy";
    say(this.since, backend.since_ms && !isGood ? ago(backend.since_ms, now) : "");
    if (backend.since_ms) this.state.title = `Since ${clock(backend.since_ms)}`;
    const left = backend.until_ms ? Math.ceil((backend.until_ms - now) / 1000) : 0;
    const until = left > 0 ? `${backend.state === "open" ? "tried again" : "back"} in ${duration(left)}` : "";
    say(this.why, [until, backend.why].filter(Boolean).join(": "));
    this.why.title = backend.why ?? "";
    say(this.weight, backend.weight);
    say(this.backup, backend.backup ? "backup" : "");
    this.weight.setAttribute("aria-label", `Weight ${this.weight.textContent} of ${backend.url}: change`);
    this.fill.style.width = `${backend.share * 100}%`;
    show(this.due, backend.due !== null);
    if (backend.due !== null) this.due.style.left = `calc(${backend.due * 100}% - 1px)`;
    say(this.percent, share(backend.share));
    say(this.rate.main, rate(backend.requests_per_second));
    say(this.rate.small, count(backend.requests));
    this.rate.small.title = "Since the start";
    say(this.errors.main, percent(backend.error_rate));
    say(this.errors.small, count(backend.failed));
    this.errors.small.title = "Requests without a good answer since the start";
    cells.errors.classList.toggle("failing", backend.error_rate > 0);
    cells.errors.classList.toggle("none", backend.failed === 0);
    say(cells.active, backend.max_connections ? `${count(backend.active)} / ${count(backend.max_connections)}` : count(backend.active));
    for (const key of ["p50", "p95", "p99"]) say(cells[key], latency(backend[key]));
    const isDraining = backend.state === "draining";
    // A weight of 0 drains by itself.
    show(this.drain, backend.weight > 0);
    this.drain.dataset.act = isDraining ? "undrain" : "drain";
    if (this.drain.getAttribute("aria-busy") !== "true") say(this.drain, isDraining ? "Undrain" : "Drain");
    this.drain.setAttribute("aria-label", `${isDraining ? "Undrain" : "Drain"} ${backend.url}`);
  }
}
