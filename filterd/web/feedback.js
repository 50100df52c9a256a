// People's words on verdicts: said with one click, taken back with another.

import { ask } from "./live.js";
import { byId, make } from "./format.js";

const SHOWN_MS = 8000;
let hiding = 0;

export const other = (label) => (label === "spam" ? "ham" : "spam");

/** Say something at the bottom of the page for a while, perhaps with something to click. */
export function toast(text, action, act) {
  const children = [make("span", "", text)];
  if (action) {
    const button = make("button", "", action);
    button.type = "button";
    button.addEventListener("click", act);
    children.push(button);
  }
  byId("toast").replaceChildren(...children);
  byId("toast").hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { byId("toast").hidden = true; }, SHOWN_MS);
}

/**
 * A button that says what a message really is, and becomes one that takes it back.
 * about: {text} or {entry} · said: where words are remembered, by key, so that a row drawn anew
 * knows them.
 */
export function correction(verdict, about, said, key) {
  const holder = make("span");
  const draw = () => {
    const word = said.get(key);
    const button = make("button", "small", word ? "Undo" : `It is ${other(verdict)}`);
    button.type = "button";
    button.addEventListener("click", word ? takeBack : say);
    holder.replaceChildren(...(word ? [make("span", "said", `you said ${word.label}`)] : []), button);
    return button;
  };
  const attempt = (act) => async () => {
    const focused = holder.contains(document.activeElement);
    for (const button of holder.querySelectorAll("button")) button.disabled = true;
    try {
      await act();
    } catch (error) {
      toast(error.message);
    }
    const button = draw();
    if (focused) button.focus();
  };
  const takeBack = attempt(async () => {
    await ask("DELETE", `/api/feedback/${said.get(key).feedback}`);
    said.delete(key);
    toast("Taken back.");
  });
  const say = attempt(async () => {
    const label = other(verdict);
    const { feedback } = await ask("POST", "/api/feedback", { label, ...about });
    said.set(key, { label, feedback });
    toast(`Noted: ${label}. The next training learns from it.`, "Undo", takeBack);
  });
  draw();
  return holder;
}
