// Numbers, times and elements, as the page writes them.

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A count or a rate in few digits. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 100 || value === Math.round(value)) return plain.format(value);
  return value.toFixed(value >= 10 ? 1 : 2);
}

/** Milliseconds, in the unit that fits. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms === 0) return "0";
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return age(ms / 1000);
}

/** Seconds, in the unit that fits. */
export function age(seconds) {
  if (seconds === 0) return "0 s";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** A share in percent. */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  return `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;
}

/** The time of day of unix milliseconds. */
export function clock(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

/** An element with classes, and text or children. Text is never read as markup. */
export function make(name, classes = "", ...children) {
  const element = document.createElement(name);
  if (classes) element.className = classes;
  element.append(...children);
  return element;
}

/** The element of an id. */
export const byId = (id) => document.getElementById(id);
