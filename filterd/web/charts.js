// The charts of the last ten minutes: uPlot for what moves in time, SVG for the scores.

import { byId, clock, duration, make, mark, number, percent } from "./format.js";
import { reach } from "./scale.js";

const KEPT = 600;
const LEAST_SPAN_S = 60;
const AXIS_PX = 52;
const HALF_A_TIME_PX = 28;
const LEAST_SHARE = 0.001;
const STEPS_S = [1, 5, 10, 15, 30, 60, 120, 180, 300];

const line = (name, key, value, shown = number) => ({ name, key, value, shown });
const ms = (name, key, value) => line(name, key, value, duration);
const remembered = (sample) => sample.remembered > 0;
/** Of a stage that texts answered from memory do not pass. */
const passed = (index) => (s) => s.stages_ms[index] ?? (remembered(s) ? 0 : null);

const CHARTS = [
  {
    id: "throughput", title: "Verdicts", unit: "a second", stacked: true,
    lines: [
      line("ham", "ham", (s) => s.ham),
      line("spam", "spam", (s) => s.spam),
      line("whole group", "a", (s) => s.group),
    ],
    apart: 1,
  },
  {
    id: "latency", title: "Latency", unit: "published to settled, logarithmic", logarithmic: true,
    lines: [
      ms("p50", "d", (s) => s.latency_ms[0]),
      ms("p95", "a", (s) => s.latency_ms[1]),
      ms("p99", "c", (s) => s.latency_ms[2]),
    ],
  },
  {
    id: "stages", title: "Where the time goes", unit: "mean", stacked: true, robust: true,
    lines: [
      ms("queue", "a", passed(0)),
      ms("tokenise", "b", (s) => s.stages_ms[1]),
      ms("forward", "c", passed(2)),
      ms("settle", "d", (s) => s.stages_ms[3]),
    ],
    apart: 0,
    aside: line("from memory", "", (s) => s.remembered, percent),
  },
  {
    id: "waiting", title: "Waiting", unit: "entries of the group",
    lines: [
      line("undelivered", "a", (s) => s.lag),
      line("pending", "b", (s) => s.pending),
    ],
  },
  {
    id: "batches", title: "Batches", unit: "mean",
    lines: [
      line("entries", "a", (s) => s.entries),
      line("padding", "c", (s) => (s.padding === null ? null : s.padding * 100), (v) => percent(v === null ? null : v / 100)),
    ],
    ownAxis: true,
    nothing: (samples) => (samples.some(remembered) ? "No batch: all texts were answered from memory" : "No batch yet"),
  },
];

/** All charts; they keep the samples that they draw. */
export class Charts {
  constructor() {
    this.samples = [];
    this.drawn = CHARTS.map((chart) => new Chart(chart));
  }

  begin(samples) {
    this.samples = samples.slice(-KEPT);
    this.draw();
  }

  add(sample) {
    this.samples.push(sample);
    if (this.samples.length > KEPT) this.samples.shift();
    this.draw();
  }

  draw() {
    if (document.hidden) return;
    for (const chart of this.drawn) chart.draw(this.samples);
  }

  /** After the theme changed. */
  repaint() {
    for (const chart of this.drawn) chart.rebuild();
    this.draw();
  }
}

class Chart {
  constructor(chart) {
    this.chart = chart;
    this.legend = [...chart.lines, ...(chart.aside ? [chart.aside] : [])];
    this.shown = this.legend.map((one) => {
      const value = make("b");
      const item = make("span", one.key && `key-${one.key}`, ...(one.key ? [make("i")] : []), one.name, value);
      return { item, value };
    });
    this.peak = make("span");
    const legend = make("div", "legend", ...this.shown.map(({ item }) => item), this.peak);
    this.holder = make("div", "plot");
    this.holder.setAttribute("role", "img");
    this.empty = make("p", "nothing");
    this.reach = reach([]);
    const title = make("h2", "", `${chart.title} `, make("small", "", chart.unit));
    byId(chart.id).append(make("figcaption", "", title, legend), make("div", "over", this.holder, this.empty));
    new ResizeObserver(() => this.resize()).observe(this.holder);
    this.rebuild();
  }

  resize() {
    const width = this.holder.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: 150 });
  }

  rebuild() {
    this.plot?.destroy();
    const { lines, stacked, apart = 0, ownAxis, logarithmic, robust } = this.chart;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const axis = { stroke: colour("soft"), grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const series = lines.map((one, index) => ({
      label: one.name,
      stroke: colour(one.key),
      width: 1.5,
      scale: ownAxis ? `y${index}` : "y",
      points: { show: false },
      spanGaps: true,
      fill: stacked && !index ? `${colour(one.key)}40` : undefined,
    }));
    const atAxis = lines[0].shown === number ? mark : lines[0].shown;
    const stacks = stacked ? lines.length - apart : 0;
    const bands = lines.slice(1, stacks).map((one, index) => ({ series: [index + 2, index + 1], fill: `${colour(one.key)}40` }));
    const scale = logarithmic
      ? { distr: 3, range: (_, least, most) => [10 ** Math.floor(Math.log10(least || 1)), 10 ** Math.ceil(Math.log10((most || 100) * 1.05))] }
      : { range: (_, __, most) => [0, robust ? this.reach.top : reach([most]).top] };
    const scales = ownAxis ? { y0: scale, y1: { range: [0, 100] } } : { y: scale };
    this.plot = new window.uPlot(
      {
        width: this.holder.clientWidth || 300,
        height: 150,
        padding: [6, 4, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { setScale: false, x: false }, points: { show: false } },
        scales: { x: { time: true }, ...scales },
        series: [{}, ...series],
        bands,
        axes: [
          { ...axis, size: 22, space: 70, incrs: STEPS_S, values: (plot, splits) => splits.map((at) => (plot.valToPos(at, "x") > plot.width - AXIS_PX - HALF_A_TIME_PX ? null : clock(at * 1000))) },
          { ...axis, scale: ownAxis ? "y0" : "y", size: AXIS_PX, space: 28, values: (_, splits) => splits.map((v) => (v === null || (logarithmic && !isPowerOfTen(v)) ? null : atAxis(v))) },
        ],
        hooks: { setCursor: [() => this.tell()] },
      },
      [[], ...lines.map(() => [])],
      this.holder,
    );
  }

  draw(samples) {
    this.samples = samples;
    const { lines, stacked, apart = 0 } = this.chart;
    const columns = lines.map((one) => samples.map(one.value));
    const stacks = stacked ? columns.length - apart : 0;
    // Areas stand on one another.
    for (let i = 1; i < stacks; i++) {
      columns[i] = columns[i].map((v, at) => (v === null && columns[i - 1][at] === null ? null : (v || 0) + (columns[i - 1][at] || 0)));
    }
    this.reach = reach(columns[Math.max(stacks - 1, 0)]);
    this.tellPeak(columns[Math.max(stacks - 1, 0)]);
    const bare = columns.every((column) => column.every((value) => value === null || value === undefined));
    this.empty.textContent = bare ? this.chart.nothing?.(samples) || "Nothing yet" : "";
    this.plot.setData([samples.map((s) => s.at), ...columns], true);
    const last = samples.at(-1)?.at || Date.now() / 1000;
    this.plot.setScale("x", { min: Math.min(samples[0]?.at ?? last, last - LEAST_SPAN_S), max: last });
    this.tell();
  }

  /** What is cut off. */
  tellPeak(values) {
    const { peak } = this.reach;
    this.peak.hidden = !this.chart.robust || peak === null;
    if (this.peak.hidden) return;
    const at = this.samples[values.indexOf(peak)].at;
    this.peak.replaceChildren("▲ cut off", make("b", "", `${duration(peak)} at ${clock(at * 1000)}`));
  }

  /** The values under the pointer, else the newest. */
  tell() {
    const { title } = this.chart;
    if (!this.samples) return;
    const at = this.plot.cursor.idx ?? this.samples.length - 1;
    const sample = this.samples[at];
    const said = this.legend.map((one, index) => {
      const value = sample ? (one.value(sample) ?? null) : null;
      const text = one.shown(value);
      this.shown[index].value.textContent = text;
      this.shown[index].item.hidden = value === null && (one.name === "whole group" || one === this.chart.aside);
      return `${one.name} ${text}`;
    });
    this.holder.setAttribute("aria-label", `${title}, now: ${said.join(", ")}`);
  }
}

const isPowerOfTen = (value) => Number.isInteger(Number(Math.log10(value).toFixed(6)));

/** How scores are spread, beside how they were at training. */
export class Scores {
  constructor() {
    this.figure = byId("scores");
    this.legend = make("div", "legend");
    this.holder = make("div", "");
    const title = make("h2", "", "Scores ", make("small", "", "share of verdicts, logarithmic"));
    this.figure.append(make("figcaption", "", title, this.legend), this.holder);
    this.reference = [];
  }

  draw(counts, threshold) {
    const total = counts.reduce((sum, count) => sum + count, 0);
    const shares = counts.map((count) => (total ? count / total : 0));
    const width = this.holder.clientWidth || 300;
    const svg = element("svg", { viewBox: `0 0 ${width} 150`, role: "img" });
    const [left, right, bottom] = [44, width - 6, 128];
    const y = (share) => bottom - (Math.log10(Math.max(share, LEAST_SHARE) / LEAST_SHARE) / 3) * (bottom - 8);
    const x = (score) => left + score * (right - left);
    for (const share of [0.001, 0.01, 0.1, 1]) {
      svg.append(element("line", { class: "grid", x1: left, x2: right, y1: y(share), y2: y(share) }));
      svg.append(element("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, percent(share)));
    }
    for (const score of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(element("text", { x: x(score), y: 146, "text-anchor": score === 1 ? "end" : "middle" }, String(score)));
    }
    const step = 1 / Math.max(1, shares.length);
    shares.forEach((share, i) => {
      const bar = { class: "bar", x: x(i * step) + 1, width: Math.max(1, x(step) - left - 2), y: y(share), height: bottom - y(share) };
      svg.append(element("rect", bar));
    });
    if (this.reference.length) {
      const wide = 1 / this.reference.length;
      const points = this.reference.flatMap((share, i) => [`${x(i * wide)},${y(share)}`, `${x((i + 1) * wide)},${y(share)}`]);
      svg.append(element("polyline", { class: "training", points: points.join(" ") }));
    }
    if (threshold !== undefined) {
      svg.append(element("line", { class: "threshold", x1: x(threshold), x2: x(threshold), y1: 8, y2: bottom }));
    }
    svg.setAttribute("aria-label", `${number(total)} scores of the last ten minutes, ${percent(shares.slice(10).reduce((a, b) => a + b, 0))} of them above a half`);
    this.holder.replaceChildren(svg);
    const keys = [key("a", "last ten minutes", number(total))];
    if (this.reference.length) keys.push(key("c", "at training", ""));
    if (threshold !== undefined) keys.push(make("span", "", "┊ threshold", make("b", "", threshold.toFixed(2))));
    this.legend.replaceChildren(...keys);
  }
}

function key(name, text, value) {
  return make("span", `key-${name}`, make("i"), text, make("b", "", value));
}

function element(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.textContent = text;
  return made;
}
