// Draws panels: curves, bars and heat maps by Plotly; figures and tables as text. Each returns how many values it drew.

import { exemplars, series } from "./asking.js";
import { tableOf, transformed } from "./frames.js";
import { colour, coloursOf, plain, scaleOf, thresholdColour, written } from "./numbers.js";

const FONT = 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif';
const LAYOUT = {
  margin: { l: 58, r: 14, t: 8, b: 34 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "x unified",
  showlegend: false,
};
const CONFIG = { displaylogo: false, responsive: true, displayModeBar: false };
// Marks outside keep the lowest number of one axis off the first of the other.
const GRID = { automargin: true, ticks: "outside", ticklen: 6, tickcolor: "rgba(0,0,0,0)" };
const NARROW = 500;
const TICK_WIDTH = 26;
const MARK_HEIGHT = 13;
const MARKS_APART = 60;
// Of a row with a name, and what a chart of rows has above and below them.
const ROW_HEIGHT = 16;
const AROUND_ROWS = 48;

export async function draw(panel, body, state) {
  const answers = await Promise.all(
    panel.targets.map(async (target) => ({ letter: target.refId, target, found: await series(target, panel, state) })),
  );
  const kind = KINDS[panel.type];
  if (!kind) throw new Error(`the preview draws no panels of the kind ${panel.type}`);
  return kind(panel, body, answers, state);
}

const KINDS = { timeseries: timeSeries, trend: overNumbers, barchart: bars, bargauge: lengths, stat: figures, table: rows, heatmap: heatMap };

async function timeSeries(panel, body, answers, state) {
  const all = answers.flatMap(({ target, found }) =>
    found.map((one) => ({ name: legend(target.legendFormat, one.labels), values: one.values })));
  const scale = scaleFor(panel, all.flatMap((one) => one.values.map(([, value]) => value)));
  const style = panel.fieldConfig.defaults.custom || {};
  const colours = coloursFor(panel, all.map((one) => one.name));
  const traces = all.map((one, place) => ({
    type: "scatter", name: plain(one.name), label: one.name, mode: (property(panel, one.name, "custom.showPoints") || style.showPoints) === "always" ? "lines+markers" : "lines",
    x: one.values.map(([at]) => new Date(at)), y: one.values.map(([, value]) => value * scale.factor),
    line: {
      color: colours[place], width: 2, dash: isDashed(panel, one.name) ? "dash" : "solid",
      shape: style.lineInterpolation === "stepAfter" ? "hv" : "linear",
    },
    connectgaps: true, cliponaxis: false,
  }));
  const layout = {
    ...LAYOUT,
    xaxis: { ...GRID, type: "date", range: state.view },
    yaxis: { ...GRID, ticksuffix: scale.suffix, rangemode: "tozero" },
  };
  addMarks(layout, state, body.clientWidth - layout.margin.l - layout.margin.r);
  await plot(body, traces, layout);
  return traces.reduce((sum, trace) => sum + trace.y.length, 0);
}

async function overNumbers(panel, body, answers) {
  const frame = transformed(tableOf(answers), panel.transformations);
  const [axis, ...names] = frame.columns;
  const scale = scaleFor(panel, frame.rows.flatMap((row) => names.map((name) => row[name])));
  const colours = coloursFor(panel, names);
  const traces = names.map((name, place) => {
    const points = frame.rows.filter((row) => row[name] !== undefined);
    return {
      type: "scatter", name: plain(name), label: name, mode: "lines+markers", x: points.map((row) => row[axis]),
      y: points.map((row) => row[name] * scale.factor), marker: { size: 8, symbol: place % 8 },
      line: { color: colours[place], width: 2, dash: isDashed(panel, name) ? "dash" : "solid" },
    };
  });
  const numbers = frame.rows.map((row) => row[axis]);
  const ticks = numbers.length * TICK_WIDTH < body.clientWidth ? { tickvals: numbers } : {};
  await plot(body, traces, {
    ...LAYOUT, xaxis: { ...GRID, ...ticks, title: { text: axis.split("\\")[0], standoff: 2 } },
    yaxis: { ...GRID, ticksuffix: scale.suffix, rangemode: "tozero" },
  });
  return traces.reduce((sum, trace) => sum + trace.y.length, 0);
}

async function bars(panel, body, answers) {
  const frame = transformed(tableOf(answers), panel.transformations);
  const [axis, ...names] = frame.columns;
  const ordered = [...frame.rows].sort((one, other) => String(other[axis]).localeCompare(String(one[axis]), undefined, { numeric: true }));
  const stacked = panel.options.stacking === "normal";
  const sums = ordered.map((row) => names.reduce((sum, name) => sum + Math.max(0, row[name] ?? 0), 0));
  const scale = scaleFor(panel, stacked ? sums : ordered.flatMap((row) => names.map((name) => row[name])));
  const colours = coloursFor(panel, names);
  const traces = names.map((name, place) => ({
    type: "bar", orientation: "h", name: plain(name), label: name, y: ordered.map((row) => plain(row[axis])),
    x: ordered.map((row) => (row[name] ?? null) === null ? null : row[name] * scale.factor),
    marker: { color: colours[place] },
  }));
  await plot(body, traces, {
    ...LAYOUT, barmode: stacked ? "relative" : "group", bargap: 0.25, hovermode: "y unified",
    xaxis: { ...GRID, ticksuffix: scale.suffix, rangemode: "tozero" }, yaxis: named(body, ordered.map((row) => row[axis])),
  }, ordered.length);
  return frame.rows.length;
}

async function lengths(panel, body, answers) {
  const { unit, decimals, color } = panel.fieldConfig.defaults;
  const all = answers.flatMap(({ target, found }) =>
    found.map((one) => ({ name: legend(target.legendFormat, one.labels), value: one.values.at(-1)[1] })));
  all.sort((one, other) => one.value - other.value || other.name.localeCompare(one.name));
  const traces = [{
    type: "bar", orientation: "h", x: all.map((one) => one.value), y: all.map((one) => plain(one.name)),
    text: all.map((one) => written(one.value, unit, decimals)), textposition: "outside", cliponaxis: false,
    marker: { color: inked(color?.fixedColor || "var(--bar)") }, hovertemplate: "%{y}: %{text}<extra></extra>",
  }];
  const most = Math.max(...all.map((one) => one.value), 0) || 1;
  await plot(body, traces, {
    ...LAYOUT, showlegend: false, hovermode: "closest", margin: { ...LAYOUT.margin, r: 40, b: 14 }, bargap: 0.4,
    xaxis: { visible: false, range: [0, most * 1.15] }, yaxis: named(body, all.map((one) => one.name)),
  }, all.length);
  return all.length;
}

async function heatMap(panel, body, answers, state) {
  const [{ target, found }] = answers;
  const bounds = found.map((one) => ({ le: Number(one.labels.le.replace("+Inf", "Infinity")), at: new Map(one.values) }))
    .sort((one, other) => one.le - other.le);
  const times = found.reduce((most, one) => one.values.length > most.length ? one.values : most, []).map(([at]) => at);
  const counts = bounds.map((bound, place) =>
    times.map((at) => (bound.at.get(at) ?? 0) - (place ? bounds[place - 1].at.get(at) ?? 0 : 0)));
  const filledRows = counts.map((row) => row.some((count) => count > 0));
  const [first, last] = [filledRows.indexOf(true), filledRows.lastIndexOf(true)];
  if (first < 0) return 0;
  const shown = bounds.slice(first, last + 1).map((bound) => bound.le === Infinity ? "longer" : `≤ ${written(bound.le, "s")}`);
  const z = counts.slice(first, last + 1).map((row) => row.map((count) => count || null));
  const traces = [{
    type: "heatmap", x: times.map((at) => new Date(at)), y: shown, z, zmin: 0, ygap: 2,
    colorscale: [[0, inked("var(--faint)")], [0.35, "#d98a3d"], [0.7, "#ee6a2d"], [1, inked("var(--much)")]],
    colorbar: { thickness: 10, title: { text: "attempts", side: "right" } }, hovertemplate: "%{x}<br>%{y}<br>%{z} attempts<extra></extra>",
  }];
  if (target.exemplar) {
    const dots = await exemplars(target, state);
    const row = (value) => shown[Math.max(0, bounds.findIndex((bound) => value <= bound.le) - first)];
    traces.push({
      type: "scatter", mode: "markers", name: "exemplars", x: dots.map((dot) => new Date(dot.at)), y: dots.map((dot) => row(dot.value)),
      text: dots.map((dot) => plain(`${written(dot.value, "s")}, trace ${dot.labels.trace_id || "?"}`)),
      hovertemplate: "%{text}<extra></extra>", marker: { symbol: "diamond", size: 9, color: inked("var(--accent)"), line: { width: 1, color: inked("var(--card)") } },
    });
  }
  await plot(body, traces, {
    ...LAYOUT, showlegend: false, hovermode: "closest", yaxis: { ...GRID, type: "category" },
    xaxis: { ...GRID, type: "date", range: state.view },
  });
  return times.length;
}

function figures(panel, body, answers) {
  const { unit, decimals, thresholds } = panel.fieldConfig.defaults;
  const all = answers.flatMap(({ target, found }) =>
    found.map((one) => ({ name: legend(target.legendFormat, one.labels), value: one.values.at(-1)[1] })));
  const box = element("div", `figures${all.length > 3 ? " many" : ""}`);
  for (const one of all) {
    const figure = element("div", "figure");
    const number = element("b", "", written(one.value, unit, decimals));
    number.style.color = thresholdColour(one.value, thresholds && thresholds.steps) || "";
    figure.append(number, element("span", "", one.name));
    box.append(figure);
  }
  body.replaceChildren(box);
  return all.length;
}

function rows(panel, body, answers, state) {
  const frame = transformed(tableOf(answers), panel.transformations);
  const isSaid = (value) => value !== undefined && value !== null && value !== "";
  frame.columns = frame.columns.filter((name) => frame.rows.some((row) => isSaid(row[name])));
  const table = element("table");
  const head = table.createTHead().insertRow();
  const isNumber = (name) => typeof frame.rows[0]?.[name] === "number" || name === "workers";
  for (const name of frame.columns) {
    const cell = element("th", isNumber(name) ? "number" : "", name);
    cell.scope = "col";
    head.append(cell);
  }
  const lines = table.createTBody();
  for (const row of frame.rows) {
    const line = lines.insertRow();
    for (const name of frame.columns) line.append(cellOf(panel, name, row, isNumber(name), state));
  }
  body.classList.add("table");
  body.replaceChildren(table);
  return frame.rows.length;
}

function cellOf(panel, name, row, number, state) {
  const value = row[name];
  const unit = property(panel, name, "unit") || panel.fieldConfig.defaults.unit;
  const text = typeof value === "number" ? written(value, unit) : String(value ?? "");
  const cell = element("td", number ? "number" : "");
  const address = state.addressOf(property(panel, name, "links"), row);
  if (address) {
    const link = element("a", "", text.slice(0, 16));
    link.href = address;
    cell.append(link);
  } else {
    cell.textContent = text;
  }
  return cell;
}

function legend(format, labels) {
  return (format || "").replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "").replace(/ default$/, "") || JSON.stringify(labels);
}

function property(panel, name, id) {
  for (const { matcher, properties } of panel.fieldConfig.overrides || []) {
    const fits = matcher.id === "byName" ? matcher.options === name : new RegExp(`^(?:${matcher.options})$`).test(name);
    const found = fits && properties.find((one) => one.id === id);
    if (found) return found.value;
  }
  return undefined;
}

function coloursFor(panel, names) {
  const fixed = names.map((name) => property(panel, name, "color"));
  return coloursOf(fixed.map((one) => one && inked(one.fixedColor)));
}

function isDashed(panel, name) {
  return property(panel, name, "custom.lineStyle")?.fill === "dash";
}

function scaleFor(panel, values) {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value) || 0), 0);
  return scaleOf(panel.fieldConfig.defaults.unit, largest);
}

// Names of rows, cut in the middle where they would leave no place for the bars; a bar says its whole name.
function named(body, names) {
  const most = body.clientWidth < NARROW ? 18 : 34;
  const short = (name) => (name.length > most ? `${name.slice(0, most / 2)}…${name.slice(1 - most / 2)}` : name);
  return { ...GRID, type: "category", tickvals: names.map((name) => plain(name)), ticktext: names.map((name) => plain(short(String(name)))) };
}

// Marks above the chart, each name on the lowest line where it touches no other; those that are close share one.
function addMarks(layout, state, width) {
  const { marks, view } = state;
  if (!marks?.length) return;
  layout.shapes = marks.map((mark) => ({
    type: "line", yref: "paper", y0: 0, y1: 1, x0: new Date(mark.at), x1: new Date(mark.at),
    line: { color: mark.colour, width: 1, dash: "dash" },
  }));
  const free = [];
  layout.annotations = together(marks, (mark) => ((mark.at - view[0]) / (view[1] - view[0])) * width).map(({ at, place, text }) => {
    const length = text.length * 6.5 + 8;
    const isLeft = place < width / 2;
    const from = isLeft ? place : place - length;
    let line = free.findIndex((end) => end <= from);
    if (line < 0) line = free.length;
    free[line] = from + length;
    return {
      x: new Date(at), y: 1, yref: "paper", yshift: MARK_HEIGHT * line, text: plain(text), showarrow: false,
      xanchor: isLeft ? "left" : "right", yanchor: "bottom", font: { size: 10, color: inked("var(--soft)") },
    };
  });
  layout.margin = { ...layout.margin, t: 8 + MARK_HEIGHT * free.length };
}

// Marks in order of time; those within some pixels of the one before are counted with the newest of them.
function together(marks, placeOf) {
  const groups = [];
  for (const mark of [...marks].sort((one, other) => one.at - other.at)) {
    const place = placeOf(mark);
    const last = groups.at(-1);
    if (last && place - last.place < MARKS_APART) Object.assign(last, { at: mark.at, place, name: mark.text, count: last.count + 1 });
    else groups.push({ at: mark.at, place, name: mark.text, count: 1 });
  }
  return groups.map((group) => ({ ...group, text: group.count > 1 ? `${group.name} and ${group.count - 1} before` : group.name }));
}

// A colour as a chart needs it: those of the style sheet by their value of now.
function inked(name) {
  const found = /^var\((.*)\)$/.exec(colour(name));
  return found ? getComputedStyle(document.documentElement).getPropertyValue(found[1]).trim() : colour(name);
}

function themed(layout) {
  const [ink, card, line, grid, zero] = ["ink", "card", "line", "grid", "zero"].map((name) => inked(`var(--${name})`));
  const axis = { gridcolor: grid, zerolinecolor: zero };
  return {
    ...layout, font: { size: 11, color: ink, family: FONT }, xaxis: { ...layout.xaxis, ...axis }, yaxis: { ...layout.yaxis, ...axis },
    hoverlabel: { namelength: -1, bgcolor: card, bordercolor: line, font: { color: ink } },
  };
}

// A chart of more rows than have a place in its panel is as high as they need, and scrolls.
async function plot(body, traces, layout, rows = 0) {
  const chart = element("div", "chart");
  const height = rows * ROW_HEIGHT + AROUND_ROWS;
  chart.style.minHeight = `${Math.max(60, height)}px`;
  if (height > body.clientHeight) layout.xaxis.side = "top";
  const scrolled = element("div", "scrolled");
  scrolled.append(chart);
  const several = traces.filter((trace) => trace.label);
  body.replaceChildren(scrolled, ...(several.length ? [legendOf(several)] : []));
  await window.Plotly.newPlot(chart, traces, themed(layout), CONFIG);
}

// What each curve or bar is; a name takes the place that it needs, and none is drawn over the chart.
function legendOf(traces) {
  const list = element("ul", "legend");
  // What the others are judged by comes first: it is never below the fold.
  const isLimit = (trace) => trace.line?.dash === "dash";
  for (const trace of [...traces.filter(isLimit), ...traces.filter((one) => !isLimit(one))]) {
    const item = element("li");
    const isBar = trace.type === "bar";
    const sign = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const words = { width: isBar ? 10 : 20, height: 10, "aria-hidden": "true" };
    for (const [name, value] of Object.entries(words)) sign.setAttribute(name, value);
    const mark = document.createElementNS("http://www.w3.org/2000/svg", isBar ? "rect" : "line");
    const look = isBar
      ? { width: 10, height: 10, fill: trace.marker.color }
      : { x1: 0, x2: 20, y1: 5, y2: 5, stroke: trace.line.color, "stroke-width": 2.5, "stroke-dasharray": trace.line.dash === "dash" ? "5 3" : "none" };
    for (const [name, value] of Object.entries(look)) mark.setAttribute(name, value);
    sign.append(mark);
    item.append(sign, element("span", "", trace.label));
    list.append(item);
  }
  return list;
}

export function element(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}
