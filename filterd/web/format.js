// Numbers, times and elements, as the page writes them.

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const MANY = 1e7;
const MANY_AT_AXIS = 1e4;

/** A count or a rate in few digits. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (value >= MANY) return compact.format(value);
  if (value >= 100 || value === Math.round(value)) return plain.format(value);
  return value.toFixed(value >= 10 ? 1 : 2);
}

/** The same beside an axis, where there is little room. */
export function mark(value) {
  return value >= MANY_AT_AXIS ? compact.format(value) : number(value);
}

/** A score in three digits, cut off rather than rounded: nothing short of 1 is shown as 1. */
export function points(score) {
  return (Math.floor(score * 1000 + 1e-6) / 1000).toFixed(3);
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
  if (seconds < 0.05) return "0 s"; // also where two clocks differ
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
