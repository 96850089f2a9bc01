// Small charts over the last ten minutes: requests, errors, latency. One pointer reads all three of a set.

import { duration, latency, node, percent, rate, say } from "./format.js";

const KEPT = 120;
const FEWEST = 24;
const COLUMNS = ["requests_per_second", "error_rate", "p50", "p95", "p99", "active"];
const SVG = "http://www.w3.org/2000/svg";

/** Points of ten minutes, a column for each figure; what is now comes last. */
export class Series {
  constructor() {
    this.next = 0;
    this.columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
    this.now = {};
  }

  /** Takes new points over; a history from its beginning replaces what was there. */
  add(history, now) {
    this.now = now;
    if (!history) return;
    const added = history.p50.length;
    if (history.first !== this.next) for (const name of COLUMNS) this.columns[name].length = 0;
    for (const name of COLUMNS) {
      this.columns[name].push(...history[name]);
      this.columns[name].splice(0, Math.max(0, this.columns[name].length - KEPT));
    }
    this.next = history.first + added;
  }

  get length() {
    return this.columns.p50.length + 1;
  }

  at(name, index) {
    return index < this.length - 1 ? this.columns[name][index] : (this.now[name] ?? null);
  }

  get isIdle() {
    return this.columns.requests_per_second.every((value) => value === 0) && !this.now.requests_per_second;
  }
}

const KINDS = [
  { key: "rate", title: "Requests/s", lines: ["requests_per_second"], format: rate, least: 1 },
  { key: "errors", title: "Failed", lines: ["error_rate"], format: percent, least: 0.01, most: 1 },
  { key: "latency", title: "Latency", lines: ["p99", "p95", "p50"], format: latency, least: 1 },
];

/** The three charts of an upstream, or of the whole. */
export class Charts {
  constructor(host, label, stepSeconds = 5) {
    this.step = stepSeconds;
    this.series = new Series();
    this.charts = KINDS.map((kind) => new Chart(kind, label, this));
    this.mark = undefined;
    host.append(...this.charts.map((chart) => chart.element));
  }

  add(history, now) {
    // Points have moved on under a pointer that stays.
    if (this.mark !== undefined && history) this.mark -= Math.max(0, this.series.length + history.p50.length - KEPT - 1);
    this.series.add(history, now);
    if (this.mark < 0) this.mark = undefined;
    this.draw();
  }

  /** Reads the charts at a point; at none, as it is now. */
  point(index) {
    this.mark = index === undefined ? undefined : Math.min(Math.max(index, 0), this.series.length - 1);
    this.draw();
  }

  draw() {
    for (const chart of this.charts) chart.draw(this.series, this.mark, this.step);
  }
}

class Chart {
  constructor(kind, label, set) {
    this.kind = kind;
    this.values = Object.fromEntries([...kind.lines].reverse().map((line) => [line, node("b")]));
    const words = Object.entries(this.values).map(([line, value]) =>
      kind.lines.length > 1 ? node("span", `value ${line}`, node("i", "", line), value) : node("span", "value", value));
    this.when = node("span", "when");
    this.svg = make("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
    this.areas = kind.lines.map((line) => make("path", { class: `area ${line}` }));
    this.edges = kind.lines.map((line) => make("path", { class: `edge ${line}` }));
    this.cross = make("path", { class: "cross" });
    this.svg.append(make("path", { class: "grid", d: "M0 0H1M0 50H1" }), ...this.areas, ...this.edges, this.cross);
    this.top = node("span", "top");
    this.start = node("span");
    this.plot = node("div", "plot", this.svg, this.top);
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "img");
    this.label = label;
    this.element = node("figure", `chart ${kind.key}`,
      node("figcaption", "", node("span", "title", kind.title), ...words),
      this.plot,
      node("p", "ends", this.start, this.when, node("span", "", "now")));
    this.plot.addEventListener("pointermove", (event) => set.point(this.indexAt(event, set.series)));
    this.plot.addEventListener("pointerleave", () => set.point());
    this.plot.addEventListener("blur", () => set.point());
    this.plot.addEventListener("keydown", (event) => this.move(event, set));
  }

  move(event, set) {
    const last = set.series.length - 1;
    const from = set.mark ?? last;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last, Escape: undefined };
    if (!(event.key in to)) return;
    event.preventDefault();
    set.point(to[event.key]);
  }

  indexAt(event, series) {
    const box = this.plot.getBoundingClientRect();
    const slots = slotsOf(series);
    return series.length - slots + Math.round(((event.clientX - box.left) / box.width) * (slots - 1));
  }

  draw(series, mark, step) {
    const { kind } = this;
    const slots = slotsOf(series);
    const from = slots - series.length;
    const highest = Math.max(...kind.lines.map((line) => maximum(series, line)));
    const top = Math.min(nice(Math.max(highest, kind.least)), kind.most ?? Infinity);
    this.svg.setAttribute("viewBox", `0 0 ${slots - 1} 100`);
    this.svg.firstChild.setAttribute("d", `M0 0H${slots - 1}M0 50H${slots - 1}`);
    kind.lines.forEach((line, index) => {
      const { edge, area } = paths(series, line, from, top);
      this.edges[index].setAttribute("d", edge);
      this.areas[index].setAttribute("d", area);
    });
    const at = mark ?? series.length - 1;
    this.cross.setAttribute("d", mark === undefined ? "" : `M${from + at} 0V100`);
    for (const [line, value] of Object.entries(this.values)) say(value, kind.format(series.at(line, at) ?? (kind.key === "latency" ? null : 0)));
    say(this.when, mark === undefined || at === series.length - 1 ? "" : `${duration((series.length - 1 - at) * step)} ago`);
    this.element.classList.toggle("calm", highest === 0);
    this.element.classList.toggle("alarming", kind.key === "errors" && (series.at("error_rate", at) ?? 0) > 0);
    say(this.top, kind.format(top));
    say(this.start, `${duration((slots - 1) * step)} ago`);
    const words = Object.entries(this.values).map(([line, value]) => `${kind.lines.length > 1 ? `${line} ` : ""}${value.textContent}`);
    const label = `${kind.title} of ${this.label}: ${words.join(", ")} ${this.when.textContent || "now"}. Arrow keys read earlier values.`;
    if (this.plot.getAttribute("aria-label") !== label) this.plot.setAttribute("aria-label", label);
  }
}

/** Soon after the start, the few points there are fill more than the edge. */
function slotsOf(series) {
  return Math.max(FEWEST, series.length);
}

function maximum(series, line) {
  let highest = series.now[line] ?? 0;
  for (const value of series.columns[line]) if (value > highest) highest = value;
  return highest;
}

/** A line with gaps where nothing was answered, and the area under it. */
function paths(series, line, from, top) {
  let [edge, area, run] = ["", "", []];
  const close = () => {
    if (!run.length) return;
    // One point alone would draw nothing.
    if (run.length === 1) run.push([run[0][0] + 0.01, run[0][1]]);
    const points = run.map(([x, y]) => `${x} ${y}`).join("L");
    edge += `M${points}`;
    area += `M${run[0][0]} 100L${points}L${run.at(-1)[0]} 100Z`;
    run = [];
  };
  for (let index = 0; index < series.length; index++) {
    const value = series.at(line, index);
    if (value === null) close();
    else run.push([from + index, (100 - Math.min(value / top, 1) * 100).toFixed(1)]);
  }
  close();
  return { edge, area };
}

/** The next round number. */
function nice(value) {
  const magnitude = 10 ** Math.floor(Math.log10(value));
  return magnitude * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * magnitude >= value * 0.999);
}

function make(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
