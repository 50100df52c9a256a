// The page: what the daemon tells, spread over its parts.

import { Charts, Scores } from "./charts.js";
import { Events, token } from "./live.js";
import { Trying } from "./trying.js";
import { Verdicts } from "./verdicts.js";
import { age, byId, duration, make, number, percent } from "./format.js";

const OLD_S = 60;

const charts = new Charts();
const scores = new Scores();
const verdicts = new Verdicts();
const trying = new Trying();
const state = { hello: null, sample: null, dead: null };

const events = new Events({
  hello(hello) {
    state.hello = hello;
    scores.reference = hello.reference;
    charts.begin(hello.history);
    state.sample = hello.history.at(-1) || null;
    verdicts.begin(hello.allowed, hello.shows_text && hello.allowed);
    trying.allow(hello.allowed);
    showAccess(hello);
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
    verdicts.add(fresh);
    showTiles();
  },
  lost() {
    showState("away", "the daemon does not answer");
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
  showState(own.ready ? "ready" : "waiting", own.ready ? "ready" : `waiting for ${own.waits_for}`);
  byId("about").textContent = [own.artifact, own.precision, own.device && `on ${own.device}`].filter(Boolean).join(" · ");
  document.title = `filterd · ${own.ready ? state.hello.group : "not ready"}`;
  scores.draw(counts, own.threshold);
  byId("group-unknown").hidden = !unknown;
  byId("group-unknown").textContent = `The others are unknown: ${unknown}`;
  byId("daemons").replaceChildren(...daemons.map(daemonRow));
  showTiles();
}

function daemonRow(one) {
  const state_ = make("span", "pill", one.ready ? "ready" : one.waits_for || "not ready");
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
    ["Waiting", number(sample.lag), "undelivered"],
    ["Oldest", age(sample.oldest_s), "unsettled", sample.oldest_s > OLD_S],
    ["Dead letters", number(state.dead), "", state.dead > 0],
  ];
  byId("tiles").replaceChildren(
    ...tiles.map(([name, value, unit, alarm]) =>
      make("div", alarm ? "alarm" : "", make("dt", "", name), make("dd", "", value, make("small", "", unit))),
    ),
  );
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
