// Recent verdicts: a table that follows the stream, unless somebody filters, pauses or points at it.

import { ask } from "./live.js";
import { correction, toast } from "./feedback.js";
import { byId, clock, make, number, points } from "./format.js";

const SHOWN = 60;
const REMEMBERED = 500;
const LONG = 70;

/** Of partitions, two can give their verdicts the same id. */
const key = ({ stream = "", cursor }) => `${stream} ${cursor}`;

export class Verdicts {
  constructor() {
    this.seen = [];
    this.said = new Map();
    this.unfolded = new Set();
    this.unknown = "";
    this.input = "";
    this.paused = false;
    this.allowed = false;
    this.form = byId("filter");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("change", () => this.search());
    byId("pause").addEventListener("click", () => this.pause(!this.paused));
    const table = byId("rows").closest(".table");
    for (const event of ["mouseleave", "focusout"]) {
      table.addEventListener(event, () => setTimeout(() => this.draw()));
    }
    this.table = table;
  }

  /** allowed: whether corrections may be written · texts: whether messages are shown. */
  begin(allowed, texts) {
    this.allowed = allowed;
    this.texts = texts;
    byId("what").textContent = texts ? "Message" : "Entry";
    this.search();
  }

  /** Newest first, as the daemon tells them. unknown: why some or all of them are missing. */
  add(fresh, unknown = "") {
    const back = this.unknown && !unknown;
    this.unknown = unknown;
    if (back) this.search(false); // what was missed meanwhile; what is held stays
    if (!fresh.length) {
      this.tellEmpty();
      return;
    }
    const known = new Set(this.seen.map(key));
    const wanted = fresh.filter((one) => this.fits(one) && !known.has(key(one)));
    this.seen = [...wanted, ...this.seen].slice(0, REMEMBERED);
    this.draw();
  }

  pause(paused) {
    this.paused = paused;
    this.draw();
  }

  get filter() {
    const { label, min, max } = this.form.elements;
    return { label: label.value, min: Number(min.value || 0), max: Number(max.value || 1) };
  }

  fits({ label, score }) {
    const wanted = this.filter;
    return (!wanted.label || wanted.label === label) && wanted.min <= score && score <= wanted.max;
  }

  /** What the daemon still has of the wanted kind. anyway: shown also where rows are held. */
  async search(anyway = true) {
    const { label, min, max } = this.filter;
    const query = new URLSearchParams({ label, min, max, count: SHOWN });
    const asked = (this.asked = query.toString());
    try {
      const { verdicts, unknown } = await ask("GET", `/api/verdicts?${query}`);
      if (asked !== this.asked) return;
      this.seen = verdicts;
      this.failed = "";
      this.draw(anyway);
      if (unknown) toast(`Some verdicts are missing. ${unknown}`);
    } catch (error) {
      if (asked !== this.asked) return;
      this.failed = error.message;
      if (this.seen.length) toast(error.message);
      this.tellEmpty();
    }
  }

  /** Whether rows must stay where they are: somebody is about to click one. */
  get held() {
    const pointed = matchMedia("(hover: hover)").matches && this.table.matches(":hover");
    return this.paused || pointed || byId("rows").contains(document.activeElement);
  }

  draw(anyway = false) {
    const button = byId("pause");
    const held = this.held && !anyway;
    button.setAttribute("aria-pressed", this.paused);
    if (!held) this.newestDrawn = this.seen[0] && key(this.seen[0]);
    const missing = held ? this.seen.findIndex((one) => key(one) === this.newestDrawn) : 0;
    const many = missing < 0 ? this.seen.length : missing;
    button.textContent = (this.paused ? "Resume" : "Pause") + (many ? ` (${number(many)} newer)` : "");
    if (held || document.hidden) return;
    byId("rows").replaceChildren(...this.seen.slice(0, SHOWN).map((one) => this.row(one)));
    this.tellEmpty();
  }

  tellEmpty() {
    const { label, min, max } = this.filter;
    const none = this.seen.length === 0;
    byId("verdicts-table").hidden = none;
    byId("empty").hidden = !none;
    const why = this.failed || this.unknown;
    if (why) byId("empty").textContent = `Unknown: ${why}`;
    else if (label || min > 0 || max < 1) byId("empty").textContent = "None of this kind.";
    else byId("empty").textContent = `No verdicts yet. They appear here as soon as messages are published to ${this.input || "the stream"}.`;
  }

  /** What was said, or where it is; a long text unfolds. */
  message(one) {
    const place = [one.stream, one.entry, one.id].filter(Boolean).join(" · ");
    if (one.text === undefined) return make("div", "message", place);
    const text = one.text.replace(/\n\s*\n/g, "\n");
    const about = make("div", text.trim() ? "message" : "message hint", text.trim() ? text : "no text, or not in the stream any more");
    about.title = [one.stream, one.entry].filter(Boolean).join(" ");
    if (text.trim()) about.dir = "auto";
    if (text.length <= LONG && !text.includes("\n")) return about;
    const unfold = make("button", "unfold", about);
    unfold.type = "button";
    const set = (open) => {
      unfold.setAttribute("aria-expanded", open);
      if (open) this.unfolded.add(key(one));
      else this.unfolded.delete(key(one));
    };
    set(this.unfolded.has(key(one)));
    unfold.addEventListener("click", () => set(!this.unfolded.has(key(one))));
    return unfold;
  }

  row(one) {
    const meter = make("span", `meter key-${one.label}`, make("i"));
    meter.firstChild.style.setProperty("--share", `${one.score * 100}%`);
    const about = this.message(one);
    const said = this.allowed ? correction(one.label, { entry: one.entry, ...(one.stream ? { stream: one.stream } : {}) }, this.said, key(one)) : "";
    const cells = [clock(Number(one.at)), make("span", `label ${one.label}`, one.label), make("span", "", meter, points(one.score)), about, said];
    return make("tr", "", ...cells.map((cell) => make("td", "", cell)));
  }
}
