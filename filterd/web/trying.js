// A message tried: its label and score, and the words that moved it.

import { ask } from "./live.js";
import { correction } from "./feedback.js";
import { byId, make } from "./format.js";

const STRONG_ODDS = 1;
const STRONG_SHARE = 0.4;
const FAINT_SHARE = 0.08;
const NAMED = 4;
const LONGEST_NAME = 24;

export class Trying {
  constructor() {
    this.allowed = true;
    this.form = byId("try-form");
    this.field = byId("try-text");
    this.result = byId("try-result");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.classify();
    });
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
  }

  allow(allowed) {
    this.field.disabled = !allowed;
    this.form.querySelector("button").disabled = !allowed;
  }

  async classify() {
    const text = this.field.value;
    const asked = (this.asked = {});
    this.result.setAttribute("aria-busy", "true");
    try {
      const answer = await ask("POST", "/api/classify", { text });
      if (asked === this.asked) this.show(text, answer);
    } catch (error) {
      if (asked === this.asked) this.result.replaceChildren(make("p", "error", error.message));
    } finally {
      this.result.removeAttribute("aria-busy");
    }
  }

  show(text, answer) {
    const summary = make(
      "div", "answer",
      make("span", `label ${answer.label}`, answer.label),
      make("span", "", "score ", make("b", "", answer.score.toFixed(4))),
      make("span", "hint", `spam from ${answer.threshold.toFixed(2)} on · ${answer.model}`),
      correction(answer.label, { text }, new Map(), "tried"),
    );
    this.result.replaceChildren(summary, ...this.why(answer));
  }

  why({ read, parts }) {
    if (!parts.length) return [];
    const most = Math.max(STRONG_ODDS, ...parts.map((part) => Math.abs(part.effect)));
    const shown = make("p", "read");
    shown.dir = "auto";
    shown.tabIndex = 0; // a long one scrolls
    shown.setAttribute("role", "group");
    shown.setAttribute("aria-label", "What the model read");
    // Offsets count characters, and a JavaScript string counts halves of some: so texts are joined.
    const before = Array.from(read).slice(0, parts[0].start).join("");
    const after = Array.from(read).slice(parts.at(-1).stop).join("");
    shown.append(before, ...parts.map((part) => this.part(part, most)), after);
    const strongest = [...parts].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect)).slice(0, NAMED);
    const named = strongest.flatMap((part) => [make("b", "", short(part.text.trim()) || "␣"), ` ${signed(part.effect)}  `]);
    const spam = make("span", "part strong key-spam", "towards spam");
    const ham = make("span", "part strong towards-ham key-ham", "towards ham");
    for (const one of [spam, ham]) one.style.setProperty("--weight", 0.6);
    const legend = make("p", "hint strongest", "Words ", spam, " or ", ham, ": the change in log-odds that leaving one out would undo. Strongest: ", ...named);
    return [shown, legend];
  }

  part(part, most) {
    const share = Math.abs(part.effect) / most;
    const towards = part.effect > 0 ? "spam" : "ham";
    if (share < FAINT_SHARE) return document.createTextNode(part.text);
    const strong = share > STRONG_SHARE ? "strong" : "";
    const shown = make("mark", `part ${strong} towards-${towards} key-${towards}`, part.text);
    shown.style.setProperty("--weight", share.toFixed(2));
    shown.title = `${signed(part.effect)} towards ${towards}`;
    return shown;
  }
}

const short = (word) => {
  const letters = Array.from(word);
  return letters.length > LONGEST_NAME ? `${letters.slice(0, LONGEST_NAME).join("")}…` : word;
};

const signed = (effect) => `${effect > 0 ? "+" : "−"}${Math.abs(effect).toFixed(2)}`;
