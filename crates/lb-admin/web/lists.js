// Rules, recent errors, changes of health.

import { address, ago, arrange, clock, count, latency, node, percent, rate, say, show } from "./format.js";

const RULE_COLUMNS = [
  ["Rule", "name left"],
  ["Takes", "takes left"],
  ["Upstream", "to left"],
  ["Requests", "requests"],
  ["Requests/s", "rate"],
  ["Failed", "errors"],
  ["p50", "p50"],
  ["p95", "p95"],
  ["p99", "p99"],
];

/** The table of rules. */
export class Rules {
  constructor(host, note, view) {
    this.note = note;
    this.view = view;
    this.rows = new Map();
    this.body = node("tbody");
    const head = node("tr");
    for (const [title, className] of RULE_COLUMNS) {
      const cell = node("th", className, title);
      cell.scope = "col";
      head.append(cell);
    }
    this.table = node("table", "rules", node("thead", "", head), this.body);
    this.table.setAttribute("aria-labelledby", "rules-title");
    this.none = node("p", "empty");
    host.append(node("div", "scroll", this.table), this.none);
  }

  show({ shown, found, total }) {
    const rows = shown.map((rule) => {
      const row = this.rows.get(rule.name) ?? this.row(rule.name);
      this.rows.set(rule.name, row);
      this.fill(row, rule);
      return row.element;
    });
    arrange(this.body, rows);
    show(this.table, rows.length > 0);
    show(this.none, rows.length === 0);
    say(this.none, total ? "No rule leads there." : "This configuration has no rules.");
    say(this.note, shown.length < total ? `${count(shown.length)} of ${count(found === total ? total : found)}` : "");
  }

  row(name) {
    const row = { element: node("tr") };
    row.element.dataset.rule = name;
    for (const [title, className] of RULE_COLUMNS) {
      const key = className.split(" ")[0];
      row[key] = node("td", className);
      if (!["name", "takes"].includes(key)) row[key].dataset.label = title;
      row.element.append(row[key]);
    }
    row.methods = node("span", "methods");
    row.path = node("span", "path");
    row.takes.append(row.methods, row.path);
    return row;
  }

  fill(row, rule) {
    say(row.name, rule.name);
    row.name.title = rule.name;
    say(row.methods, rule.methods.join(" "));
    say(row.path, `${rule.host ?? ""}${rule.path}`);
    row.path.title = row.path.textContent;
    this.fillTo(row, rule);
    say(row.requests, count(rule.requests));
    say(row.rate, rate(rule.requests_per_second));
    say(row.errors, percent(rule.error_rate));
    row.errors.classList.toggle("failing", rule.error_rate > 0);
    row.errors.classList.toggle("none", rule.error_rate === 0);
    for (const key of ["p50", "p95", "p99"]) say(row[key], latency(rule[key]));
  }

  /** Where it leads: one upstream, or each of a split with its share. */
  fillTo(row, rule) {
    const { shares } = rule;
    const names = shares.map(({ upstream }) => upstream).join(" ");
    if (row.names !== names || !row.links) {
      row.names = names;
      row.links = shares.map(({ upstream }) => {
        const link = node("a");
        link.href = this.view.link({ upstream, page: 1 });
        return link;
      });
      row.to.replaceChildren(...(row.links.length ? row.links.flatMap((link, at) => (at ? [" ", link] : [link])) : ["redirect"]));
    }
    row.links.forEach((link, at) => {
      const { upstream, share } = shares[at];
      say(link, shares.length > 1 ? `${upstream} ${percent(share)}` : upstream);
      link.title = upstream === rule.upstream ? rule.strategy_title : "";
    });
  }
}

/** Failures, or changes: entries are made once and only grow older. */
class Log {
  constructor(list, empty, badge) {
    Object.assign(this, { list, empty, badge, entries: new Map() });
  }

  show(items, now, total) {
    const entries = items.map((item) => {
      const key = this.keyOf(item);
      const entry = this.entries.get(key) ?? this.make(item);
      this.entries.set(key, entry);
      this.update?.(entry, item);
      say(entry.when, ago(item.time_ms, now));
      return entry;
    });
    const kept = new Set(entries);
    for (const [key, entry] of this.entries) if (!kept.has(entry)) this.entries.delete(key);
    arrange(this.list, entries.map((entry) => entry.element));
    show(this.empty, items.length === 0);
    show(this.list, items.length > 0);
    show(this.badge, total > 0);
    say(this.badge, total >= 50 && items.length >= 50 ? "50+" : count(total));
  }

  entry(item, mark, ...content) {
    const when = node("time", "when");
    when.dateTime = new Date(item.time_ms).toISOString();
    when.title = clock(item.time_ms);
    return { element: node("li", "", mark, node("div", "what", ...content), when), when };
  }
}

export class Errors extends Log {
  keyOf(error) {
    return `${error.time_ms} ${error.request_id} ${error.status}`;
  }

  make(error) {
    const times = node("span", "times");
    const mark = node("span", `status ${error.status < 500 ? "warn" : "bad"}`, String(error.status));
    const target = node("span", "target", `${error.method} ${error.path}`.trim() || "no request could be read");
    target.title = target.textContent;
    const where = [error.rule, error.backend ?? error.upstream].filter(Boolean);
    const facts = node("p", "facts");
    if (error.rule) facts.append(node("span", "", error.rule));
    if (error.backend) facts.append(address(error.backend));
    else if (error.upstream && error.upstream !== error.rule) facts.append(node("span", "", error.upstream));
    if (!where.length) facts.append(node("span", "", "no rule"));
    if (error.code) facts.append(node("span", "code", error.code));
    facts.append(node("span", "id", error.request_id));
    const entry = this.entry(error, mark, node("p", "line", target, times), node("p", "why", error.reason), facts);
    entry.element.dataset.code = error.code ?? error.status;
    return { ...entry, times };
  }

  update(entry, error) {
    say(entry.times, error.times > 1 ? `× ${count(error.times)}` : "");
  }
}

const GOOD = ["backend recovered", "circuit closed"];

export class Changes extends Log {
  keyOf(change) {
    return `${change.time_ms} ${change.upstream} ${change.backend} ${change.change}`;
  }

  make(change) {
    const mood = GOOD.includes(change.change) ? "healthy" : change.change === "circuit half-open" ? "half_open" : "unhealthy";
    const mark = node("span", `state ${mood}`);
    const facts = node("p", "facts", node("span", "", change.upstream), address(change.backend));
    const words = change.change[0].toUpperCase() + change.change.slice(1);
    const why = change.why && !GOOD.includes(change.change) ? node("p", "why", `${change.why[0].toUpperCase()}${change.why.slice(1)}.`) : undefined;
    const entry = this.entry(change, mark, node("p", "line", node("span", "", words)), why, facts);
    entry.element.dataset.change = change.change;
    return entry;
  }
}
