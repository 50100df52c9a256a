// The page: what the daemon tells, spread over its parts.

import { Charts, Scores } from "./charts.js";
import { Events, ask, token } from "./live.js";
import { Trying } from "./trying.js";
import { Verdicts } from "./verdicts.js";
import { age, byId, clock, duration, make, number, percent } from "./format.js";

const OLD_S = 60;
/** What a daemon can wait for that is no trouble; everything else is an error's words. */
const WAITS = {
  "the model": "loading the model",
  Redis: "connecting to Redis",
  draining: "finishing what it has begun, then it stops",
};

const charts = new Charts();
const scores = new Scores();
const verdicts = new Verdicts();
const trying = new Trying();
const state = { hello: null, sample: null, dead: null };

const events = new Events({
  hello(hello) {
    state.hello = hello;
    scores.reference = hello.reference;
    state.artifact = hello.daemons.find((one) => one.name === hello.daemon)?.artifact;
    charts.begin(hello.history);
    state.sample = hello.history.at(-1) || null;
    verdicts.begin(hello.allowed, hello.shows_text && hello.allowed);
    trying.allow(hello.allowed);
    showAccess(hello);
    verdicts.input = hello.streams.input;
    byId("streams").textContent = `${hello.streams.input} → ${hello.streams.output} · group ${hello.group}${hello.partitions > 1 ? ` · ${hello.partitions} partitions` : ""}`;
    showGroup(hello);
  },
  tick(tick) {
    state.sample = tick.sample;
    charts.add(tick.sample);
    showGroup(tick);
  },
  verdicts({ verdicts: fresh, dead, unknown }) {
    state.dead = unknown ? null : dead;
    verdicts.add(fresh, unknown);
    showTiles();
  },
  lost() {
    showState("away", "no answer");
    const since = state.sample ? ` What is shown is from ${clock(state.sample.at * 1000)}.` : "";
    showTrouble(`The daemon does not answer; this page tries again by itself.${since}`);
  },
});

function showAccess({ allowed, takes_token: takesToken }) {
  byId("token").hidden = !takesToken;
  byId("notice").hidden = allowed;
  byId("notice").textContent = takesToken
    ? "To try messages, correct verdicts and see texts, give the token (above)."
    : "Others can reach this address: set FILTERD_HTTP_TOKEN to try messages and correct verdicts here.";
}

function showGroup({ daemons, scores: counts, group_unknown: unknown }) {
  const own = daemons.find((one) => one.name === state.hello.daemon);
  state.daemons = daemons;
  state.own = own;
  const troubled = !own.ready && !WAITS[own.waits_for];
  state.known = !troubled;
  showState(own.ready ? "ready" : troubled ? "away" : "waiting", own.ready ? "ready" : WAITS[own.waits_for] || "waiting for Redis");
  showTrouble(troubled ? `${own.waits_for.replace(/\.$/, "")}. Messages wait in their stream; the daemon goes on by itself as soon as it can.` : "");
  followArtifact(own);
  byId("about").textContent = [own.artifact, own.precision, own.device && `on ${own.device}`].filter(Boolean).join(" · ");
  document.title = `filterd · ${own.ready ? state.hello.group : "not ready"}`;
  scores.draw(counts, own.threshold);
  byId("group-unknown").hidden = !unknown;
  byId("group-unknown").textContent = `The others are unknown: ${unknown}`;
  byId("daemons").replaceChildren(...daemons.map(daemonRow));
  showTiles();
}

/** The spread of scores at training belongs to the artifact that serves now. */
async function followArtifact({ artifact }) {
  if (artifact === state.artifact) return;
  state.artifact = artifact;
  const status = await ask("GET", "/api/status").catch(() => null);
  if (status) scores.reference = status.reference;
  else state.artifact = undefined; // asked again with the next tick
}

function daemonRow(one) {
  const state_ = make("span", "pill", one.ready ? "ready" : WAITS[one.waits_for] || "waiting for Redis");
  if (!one.ready) state_.title = one.waits_for;
  state_.dataset.state = one.ready ? "ready" : "waiting";
  const own = one.name === state.hello.daemon ? make("span", "hint", " this one") : "";
  const cells = [
    make("td", "name", one.name, own),
    make("td", "", state_),
    make("td", "number", number(one.per_s)),
    make("td", "number", (one.latency_ms || []).map(duration).join(" · ") || "–"),
    make("td", "name", one.artifact || "–"),
    make("td", "", [one.device, one.precision].filter(Boolean).join(", ") || "–"),
    make("td", "", age(Date.now() / 1000 - one.started)),
  ];
  // Where there is no room for columns, each value is shown beside its column's name.
  const names = byId("daemons").closest("table").querySelectorAll("th");
  cells.forEach((cell, index) => { cell.dataset.column = names[index].textContent; });
  return make("tr", "", ...cells);
}

function showTiles() {
  const { sample, own, daemons } = state;
  if (!sample || !own) return;
  const all = daemons.reduce((sum, one) => sum + (one.per_s || 0), 0);
  const spam = daemons.reduce((sum, one) => sum + (one.per_s || 0) * (one.spam_share || 0), 0);
  const [, p95] = own.latency_ms || [];
  const tiles = [
    ["Verdicts", number(all), daemons.length > 1 ? `a second, ${daemons.length} daemons` : "a second"],
    ["Spam", percent(all ? spam / all : null), "of them"],
    ["Latency p95", duration(p95), ""],
    ["Waiting", number(state.known ? sample.lag : null), "undelivered"],
    ["Oldest", state.known ? age(sample.oldest_s) : "–", "unsettled", state.known && sample.oldest_s > OLD_S],
    ["Dead letters", number(state.dead), "", state.dead > 0],
  ];
  byId("tiles").replaceChildren(
    ...tiles.map(([name, value, unit, alarm]) =>
      make("div", alarm ? "alarm" : "", make("dt", "", name), make("dd", "", value, make("small", "", unit))),
    ),
  );
}

function showTrouble(text) {
  const trouble = byId("trouble");
  if (trouble.textContent !== text) trouble.textContent = text;
  trouble.hidden = !text;
}

function showState(name, text) {
  const pill = byId("state");
  if (pill.textContent === text) return; // said once is enough for who listens
  pill.dataset.state = name;
  pill.textContent = text;
}

byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = getComputedStyle(root).colorScheme === "dark";
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("filterd-theme", root.dataset.theme);
  charts.repaint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.repaint());
document.addEventListener("visibilitychange", () => {
  charts.draw();
  verdicts.draw();
});

byId("token").addEventListener("click", () => byId("token-dialog").showModal());
byId("token-dialog").addEventListener("close", ({ target }) => {
  if (target.returnValue === "use") {
    token.set(byId("token-value").value.trim());
    events.reopen();
  }
  byId("token-value").value = "";
});
