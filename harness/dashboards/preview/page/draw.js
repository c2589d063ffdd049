// Draws panels: curves, bars and heat maps by Plotly; figures and tables as text. Each returns how many values it drew.

import { exemplars, series } from "./asking.js";
import { tableOf, transformed } from "./frames.js";
import { colour, paletteColour, plain, scaleOf, thresholdColour, written } from "./numbers.js";

const LAYOUT = {
  margin: { l: 58, r: 14, t: 8, b: 34 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "x unified",
  font: { size: 11, color: "#1f2328", family: 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif' }, showlegend: true,
  legend: { orientation: "h", y: -0.16, x: 0, yanchor: "top", font: { size: 10 } }, hoverlabel: { namelength: -1 },
};
const CONFIG = { displaylogo: false, responsive: true, displayModeBar: false };
const GRID = { gridcolor: "#e5e8ec", zerolinecolor: "#c8ccd2", automargin: true };

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
  const traces = all.map((one, place) => ({
    type: "scatter", name: plain(one.name), mode: style.showPoints === "always" ? "lines+markers" : "lines",
    x: one.values.map(([at]) => new Date(at)), y: one.values.map(([, value]) => value * scale.factor),
    line: {
      color: colourOf(panel, one.name, place), width: 2, dash: isDashed(panel, one.name) ? "dash" : "solid",
      shape: style.lineInterpolation === "stepAfter" ? "hv" : "linear",
    },
    connectgaps: true,
  }));
  const layout = {
    ...LAYOUT, shapes: thresholdLines(panel, scale),
    xaxis: { ...GRID, type: "date", range: state.view },
    yaxis: { ...GRID, ticksuffix: scale.suffix, rangemode: "tozero" },
  };
  addMarks(layout, state.marks);
  await plot(body, traces, layout);
  return traces.reduce((sum, trace) => sum + trace.y.length, 0);
}

async function overNumbers(panel, body, answers) {
  const frame = transformed(tableOf(answers), panel.transformations);
  const [axis, ...names] = frame.columns;
  const scale = scaleFor(panel, frame.rows.flatMap((row) => names.map((name) => row[name])));
  const traces = names.map((name, place) => {
    const points = frame.rows.filter((row) => row[name] !== undefined);
    return {
      type: "scatter", name: plain(name), mode: "lines+markers", x: points.map((row) => row[axis]),
      y: points.map((row) => row[name] * scale.factor), marker: { size: 8, symbol: place % 8 },
      line: { color: colourOf(panel, name, place), width: 2, dash: isDashed(panel, name) ? "dash" : "solid" },
    };
  });
  const ticks = frame.rows.map((row) => row[axis]);
  await plot(body, traces, {
    ...LAYOUT, xaxis: { ...GRID, tickvals: ticks, title: { text: axis.split("\\")[0], standoff: 2 } },
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
  const traces = names.map((name, place) => ({
    type: "bar", orientation: "h", name: plain(name), y: ordered.map((row) => plain(row[axis])),
    x: ordered.map((row) => (row[name] ?? null) === null ? null : row[name] * scale.factor),
    marker: { color: colourOf(panel, name, place) },
  }));
  await plot(body, traces, {
    ...LAYOUT, barmode: stacked ? "relative" : "group", bargap: 0.25, hovermode: "y unified",
    xaxis: { ...GRID, ticksuffix: scale.suffix, rangemode: "tozero" }, yaxis: { ...GRID, type: "category" },
    legend: { ...LAYOUT.legend, traceorder: "normal" },
  });
  return frame.rows.length;
}

async function lengths(panel, body, answers) {
  const { unit, decimals, color } = panel.fieldConfig.defaults;
  const all = answers.flatMap(({ target, found }) =>
    found.map((one) => ({ name: legend(target.legendFormat, one.labels), value: one.values.at(-1)[1] })));
  all.sort((one, other) => one.value - other.value || other.name.localeCompare(one.name));
  const traces = [{
    type: "bar", orientation: "h", x: all.map((one) => one.value), y: all.map((one) => plain(one.name)),
    text: all.map((one) => written(one.value, unit, decimals)), textposition: "auto", cliponaxis: false,
    marker: { color: colour(color?.fixedColor || "#5794f2") }, hovertemplate: "%{y}: %{text}<extra></extra>",
  }];
  const most = Math.max(...all.map((one) => one.value), 0) || 1;
  await plot(body, traces, {
    ...LAYOUT, showlegend: false, hovermode: "closest", margin: { ...LAYOUT.margin, r: 40, b: 14 }, bargap: 0.4,
    xaxis: { visible: false, range: [0, most * 1.15] }, yaxis: { ...GRID, type: "category" },
  });
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
    colorscale: [[0, "#fff4dc"], [0.35, "#fdbe6e"], [0.7, "#ee6a2d"], [1, "#9b1c13"]],
    colorbar: { thickness: 10, title: { text: "attempts", side: "right" } }, hovertemplate: "%{x}<br>%{y}<br>%{z} attempts<extra></extra>",
  }];
  if (target.exemplar) {
    const dots = await exemplars(target, state);
    const row = (value) => shown[Math.max(0, bounds.findIndex((bound) => value <= bound.le) - first)];
    traces.push({
      type: "scatter", mode: "markers", name: "exemplars", x: dots.map((dot) => new Date(dot.at)), y: dots.map((dot) => row(dot.value)),
      text: dots.map((dot) => plain(`${written(dot.value, "s")}, trace ${dot.labels.trace_id || "?"}`)),
      hovertemplate: "%{text}<extra></extra>", marker: { symbol: "diamond", size: 9, color: "#1f60c4", line: { width: 1, color: "#fff" } },
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

function colourOf(panel, name, place) {
  const fixed = property(panel, name, "color");
  return fixed ? colour(fixed.fixedColor) : paletteColour(place);
}

function isDashed(panel, name) {
  return property(panel, name, "custom.lineStyle")?.fill === "dash";
}

function scaleFor(panel, values) {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value) || 0), 0);
  return scaleOf(panel.fieldConfig.defaults.unit, largest);
}

function thresholdLines(panel, scale) {
  const { thresholds, custom } = panel.fieldConfig.defaults;
  if (!custom?.thresholdsStyle || custom.thresholdsStyle.mode === "off") return [];
  return thresholds.steps.filter((step) => step.value !== null && step.color !== "transparent").map((step) => ({
    type: "line", xref: "paper", x0: 0, x1: 1, y0: step.value * scale.factor, y1: step.value * scale.factor,
    line: { color: colour(step.color), width: 1, dash: "dot" },
  }));
}

function addMarks(layout, marks) {
  if (!marks?.length) return;
  layout.shapes = [...layout.shapes, ...marks.map((mark) => ({
    type: "line", yref: "paper", y0: 0, y1: 1, x0: new Date(mark.at), x1: new Date(mark.at),
    line: { color: mark.colour, width: 1, dash: "dash" },
  }))];
  layout.annotations = marks.map((mark, place) => ({
    yshift: -13 * (place % 4),
    x: new Date(mark.at), y: 1, yref: "paper", text: plain(mark.text), showarrow: false, xanchor: "right", yanchor: "top",
    font: { size: 10, color: mark.colour },
  }));
}

async function plot(body, traces, layout) {
  body.replaceChildren();
  await window.Plotly.newPlot(body, traces, layout, CONFIG);
}

export function element(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}
