// Elements, and numbers as people read them.

export function node(tag, className = "", ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content.filter((part) => part !== undefined && part !== null));
  return element;
}

/** Writes only what changed, so that nothing is laid out or read aloud twice. */
export function say(element, text) {
  const written = String(text ?? "");
  if (element.textContent !== written) element.textContent = written;
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/** Puts elements in this order into a parent, moving as few as possible, and drops all others. */
export function arrange(parent, elements) {
  elements.forEach((element, index) => {
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] ?? null);
  });
  while (parent.children.length > elements.length) parent.lastChild.remove();
}

const SPACE = "\u202f";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value) {
  return whole.format(value);
}

/** A rate: three digits are enough. */
export function rate(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(value >= 1e7 ? 1 : 2)}${SPACE}M`;
  if (value >= 1e5) return `${(value / 1e3).toFixed(0)}${SPACE}k`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1).replace(/\.0$/, "")}${SPACE}k`;
  if (value >= 100) return whole.format(value);
  return value.toFixed(1).replace(/\.0$/, "");
}

export function percent(share) {
  const value = share * 100;
  if (value === 0) return `0${SPACE}%`;
  if (value < 0.1) return `<${SPACE}0.1${SPACE}%`;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)}${SPACE}%`;
}

export function latency(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)}${SPACE}s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)}${SPACE}s`;
  return `${ms < 1 ? ms.toFixed(2) : ms < 10 ? ms.toFixed(1) : Math.round(ms)}${SPACE}ms`;
}

export function duration(seconds) {
  const [d, h, m, s] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  const parts = d ? [d, "d", h, "h"] : h ? [h, "h", m, "min"] : m ? [m, "min", s, "s"] : [s, "s"];
  return parts.length === 4 && parts[2] === 0 ? `${parts[0]}${SPACE}${parts[1]}` : parts.join(SPACE);
}

/** How long ago, to one unit. */
export function ago(ms, now) {
  const seconds = Math.max(0, Math.floor((now - ms) / 1000));
  if (seconds < 2) return "now";
  if (seconds < 60) return `${seconds}${SPACE}s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${SPACE}min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}${SPACE}h ago`;
  return `${Math.floor(seconds / 86400)}${SPACE}d ago`;
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

/** A URL whose scheme stands back. */
export function address(url) {
  const scheme = /^https?:\/\//.exec(url)?.[0] ?? "";
  const element = node("span", "address");
  element.append(node("span", "scheme", scheme), url.slice(scheme.length));
  element.title = url;
  return element;
}

const WORDS = {
  healthy: "healthy",
  unhealthy: "unhealthy",
  ejected: "ejected",
  draining: "draining",
  unresolved: "unresolved",
  open: "circuit open",
  half_open: "circuit half-open",
};

export function stateWord(state) {
  return WORDS[state] ?? state;
}

/** States with the worst first. */
export const STATES = ["unhealthy", "unresolved", "ejected", "open", "half_open", "draining", "healthy"];
