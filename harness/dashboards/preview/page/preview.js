// The preview: reads the dashboards' JSON, offers their variables and a time range, and has each panel drawn.
// Everything that is chosen is in the address, so that a view can be kept and sent.

import { asked, filled, labelValues, milliseconds, series } from "./asking.js";
import { draw, element } from "./draw.js";

const RANGES = { "5m": "5 minutes", "15m": "15 minutes", "1h": "1 hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days", "180d": "180 days", "2y": "2 years" };
const ALL = "$__all";
const RUN = "run";
const MEMORY = "2y";
const RUN_MARGIN = 0.04;
// Milliseconds after the end of a run at which its figures are asked for: servers keep whole milliseconds.
const RUN_END = 1;

const index = await (await fetch("dashboards/index.json")).json();
let drawing = 0;

window.addEventListener("popstate", show);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
await show();

async function show() {
  const turn = ++drawing;
  const address = new URLSearchParams(location.search);
  const name = index.dashboards.some((one) => one.name === address.get("dashboard")) ? address.get("dashboard") : index.dashboards[0].name;
  say("");
  document.body.dataset.state = "loading";
  try {
    const dashboard = await (await fetch(`dashboards/${name}.json`)).json();
    const state = { choices: {}, scrape: index.scrape_milliseconds, addressOf };
    state.range = await rangeOf(dashboard, address);
    const variables = await chosen(dashboard, address, state);
    await narrow(dashboard, address, state);
    const seen = state.curves || state.range;
    state.view = [new Date(seen.from), new Date(seen.to)];
    if (turn !== drawing) return;
    offer(dashboard, name, variables, state);
    state.marks = await marksOf(dashboard, state);
    await drawAll(dashboard, state, turn);
  } catch (error) {
    say(String(error.message || error), true);
  }
  if (turn === drawing) document.body.dataset.state = "shown";
}

// ---- what is chosen

// When the newest run of any cell ended, and what it was of.
async function newestRun() {
  const data = await asked("query", { query: "topk(1, last_over_time(makespan_run_completed_timestamp_seconds[2y]))" });
  if (!data.result.length) throw new Error("This Prometheus holds no run yet. Run `makespan bench SCENARIO`: it is sent here by itself.");
  // Prometheus 2 finds a sample in both of two steps where it lies at the end of one: no step is so short as this.
  return { end: Math.floor(Number(data.result[0].value[1]) * 1000) + 999, labels: data.result[0].metric };
}

function showsOneRun(dashboard, address) {
  return !dashboard.templating.list.some((one) => one.multi) && (address.get("last") || RUN) === RUN;
}

// As the address says; else as the dashboard does, or less where all runs of that time lie closer together.
async function length(dashboard, address, end) {
  if (address.get("last")) return address.get("last");
  const usual = dashboard.time.from.replace("now-", "");
  const query = `min(min_over_time(makespan_run_completed_timestamp_seconds[${usual}]))`;
  const data = await asked("query", { query, time: end / 1000 });
  const span = data.result.length ? (end - Number(data.result[0].value[1]) * 1000) * (1 + RUN_MARGIN) : Infinity;
  const ranges = Object.keys(RANGES);
  return ranges.slice(0, ranges.indexOf(usual)).find((one) => milliseconds(one) >= span) || usual;
}

// Ends now, or where the newest run ended: what was measured last week is not looked for in vain.
async function rangeOf(dashboard, address) {
  if (address.get("from")) return { from: Number(address.get("from")), to: Number(address.get("to")), fixed: true };
  const newest = await newestRun();
  const to = address.get("end") === "now" ? Date.now() : newest.end;
  // One run is looked for among all that there are.
  const looked = showsOneRun(dashboard, address) ? MEMORY : await length(dashboard, address, to);
  return { from: to - milliseconds(looked, milliseconds("24h")), to, newest: newest.labels, looked };
}

// A dashboard of one run opens on one run of the chosen cell alone: the newest, or the one that is named in the address.
// Its figures are asked for at its own end, its curves from their first sample to their last; other runs lie outside.
async function narrow(dashboard, address, state) {
  if (state.range.fixed || !showsOneRun(dashboard, address)) return;
  state.runs = await runsOf(state);
  const place = Math.max(0, state.runs.findIndex((one) => one.id === address.get("run")));
  const run = state.runs[place];
  if (!run) return;
  state.run = run.id;
  const before = state.runs[place + 1]?.at ?? state.range.from;
  const times = (await samplesOf("makespan_workers", before, run.at, state)).flatMap((one) => one.times);
  state.range = { from: before, to: run.at + RUN_END };
  if (!times.length) return;
  const [begin, end] = [lastBegin(times), times.at(-1)];
  const margin = Math.max(20, (end - begin) * RUN_MARGIN);
  state.range.from = Math.max(before, begin - margin);
  state.curves = { from: begin - margin, to: end + margin };
}

// The runs of the chosen cell in the time range, the newest first; `at` is when each ended, milliseconds since 1970.
async function runsOf(state) {
  const found = await samplesOf("makespan_run_info", state.range.from, state.range.to, state);
  const runs = found.map((one) => ({ id: one.labels.run_id, at: one.times[0] }));
  return runs.sort((one, other) => other.at - one.at);
}

// The times of a metric's samples of the chosen cell after `from` and until `to`, milliseconds.
async function samplesOf(metric, from, to, state) {
  const cell = filled('{scenario="$scenario",executor="$executor",workers="$workers",policy="$policy",variant="$variant"}', state.choices);
  const query = `${metric}${cell}[${Math.max(1, Math.round(to - from))}ms]`;
  const data = await asked("query", { query, time: to / 1000 });
  const found = data.result.map((one) => ({ labels: one.metric, times: one.values.map(([at]) => at * 1000).filter((at) => at > from + 0.5) }));
  return found.filter((one) => one.times.length);
}

// Samples of one run lie close together; its curves begin after the last large gap.
function lastBegin(times) {
  let begin = times.length - 1;
  while (begin > 0 && times[begin] - times[begin - 1] < 3000) begin -= 1;
  return times[begin];
}

async function chosen(dashboard, address, state) {
  const variables = [];
  for (const variable of dashboard.templating.list.filter((one) => one.type === "query")) {
    const numeric = variable.sort === 3;
    const options = (await labelValues(variable.query, state)).sort((one, other) => numeric ? one - other : one.localeCompare(other));
    const asked = address.getAll(`var-${variable.name}`).filter((value) => value === ALL || options.includes(value));
    const wanted = asked.length ? asked : [variable.includeAll ? ALL : preferred(variable.name, options, state.range.newest || {})];
    state.choices[variable.name] = variable.includeAll ? (wanted.includes(ALL) ? options : wanted) : wanted[0];
    variables.push({ ...variable, options: variable.includeAll ? [ALL, ...options] : options, wanted });
  }
  return variables;
}

// The scenario of the newest run; of its cells, one that ran side by side shows more than the baseline.
function preferred(name, options, newest) {
  if (name === "scenario" && options.includes(newest.scenario)) return newest.scenario;
  return (name === "executor" && options.find((one) => one !== "serial")) || options[0];
}

async function marksOf(dashboard, state) {
  const found = [];
  for (const mark of dashboard.annotations?.list || []) {
    if (!mark.expr || !mark.enable) continue;
    for (const one of await series({ expr: mark.expr }, {}, state)) {
      const text = (mark.titleFormat || mark.name).replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => (one.labels[name] || "unknown").slice(0, 10));
      found.push({ at: one.values[0][0], text, colour: mark.iconColor });
    }
  }
  return found;
}

// ---- the page

function offer(dashboard, name, variables, state) {
  const links = index.dashboards.map((one) => {
    const link = element("a", "", one.title);
    link.href = `?dashboard=${one.name}`;
    if (one.name === name) link.setAttribute("aria-current", "page");
    link.addEventListener("click", (event) => { event.preventDefault(); go(new URLSearchParams({ dashboard: one.name })); });
    return link;
  });
  document.getElementById("dashboards").replaceChildren(...links);
  document.title = `${dashboard.title} – makespan dashboards (preview)`;
  const form = document.getElementById("choices");
  form.replaceChildren(...variables.map((one) => selection(one)), ...rangeChoices(dashboard, variables, state));
  form.onsubmit = (event) => { event.preventDefault(); show(); };
}

function selection(variable) {
  const select = choice(variable.label, variable.options.map((value) => [value, value === ALL ? "All" : value]), variable.wanted[0]);
  select.input.name = `var-${variable.name}`;
  select.input.title = variable.description || "";
  select.input.addEventListener("change", () => change({ [`var-${variable.name}`]: select.input.value, run: null }));
  return select.label;
}

function rangeChoices(dashboard, variables, state) {
  const address = new URLSearchParams(location.search);
  const single = !variables.some((one) => one.multi);
  const lengths = Object.entries(RANGES);
  if (single) lengths.unshift([RUN, "one run"]);
  if (state.range.fixed) lengths.unshift(["fixed", "as in the link"]);
  const current = state.range.fixed ? "fixed" : address.get("last") || (single ? RUN : state.range.looked);
  const run = runChoice(state);
  const range = choice("Time range", lengths, current);
  range.input.name = "last";
  range.input.addEventListener("change", () => change({ last: range.input.value, from: null, to: null }));
  const end = choice("Ends", [["newest", "at the newest run"], ["now", "now"]], address.get("end") || "newest");
  end.input.name = "end";
  end.input.addEventListener("change", () => change({ end: end.input.value, from: null, to: null }));
  const again = element("button", "", "Refresh");
  again.type = "submit";
  return [...run, range.label, end.label, again];
}

// Which run of the cell, where there are several and one is shown.
function runChoice(state) {
  if (!state.run || state.runs.length < 2) return [];
  const ended = (run) => new Date(run.at).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
  const run = choice("Run", state.runs.map((one) => [one.id, `${ended(one)} · ${one.id.slice(0, 8)}`]), state.run);
  run.input.name = "run";
  run.input.addEventListener("change", () => change({ run: run.input.value }));
  return [run.label];
}

function choice(name, options, current) {
  const label = element("label", "", name);
  const input = element("select");
  for (const [value, text] of options) {
    const option = element("option", "", text);
    option.value = value;
    option.selected = value === current;
    input.append(option);
  }
  label.append(input);
  return { label, input };
}

function change(words) {
  const address = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(words)) {
    if (value === null) address.delete(name);
    else address.set(name, value);
  }
  go(address);
}

function go(address) {
  history.pushState(null, "", `?${address}`);
  show();
}

// A link of Grafana's to another of these dashboards, as an address of this page; others need a Grafana.
function addressOf(links, row) {
  const link = (links || []).find((one) => one.url.startsWith("/d/"));
  const found = link && /^\/d\/([\w-]+)\?(.*)$/.exec(link.url);
  const target = found && index.dashboards.find((one) => one.uid === found[1]);
  if (!target) return undefined;
  const words = new URLSearchParams(found[2].replace(/\$\{__data\.fields\.(\w+)\}/g, (_, name) => encodeURIComponent(row[name] ?? "")));
  const [middle, window] = [Number(words.get("time")), Number(words.get("time.window"))];
  for (const name of ["time", "time.window", "var-datasource"]) words.delete(name);
  if (row.run_id) {
    words.set("run", row.run_id);
  } else {
    words.set("from", middle - window / 2);
    words.set("to", middle + window / 2);
  }
  return `?dashboard=${target.name}&${words}`;
}

async function drawAll(dashboard, state, turn) {
  const main = document.getElementById("panels");
  main.replaceChildren();
  const waiting = dashboard.panels.map((panel) => {
    const { x, y, w, h } = panel.gridPos;
    const box = panel.type === "row" ? element("h2", "", panel.title) : frameOf(panel);
    box.style.setProperty("--rows", h);
    box.style.gridArea = `${y + 1} / ${x + 1} / span ${h} / span ${w}`;
    main.append(box);
    return panel.type === "row" ? undefined : drawOne(panel, box, state, turn);
  });
  await Promise.all(waiting);
}

function frameOf(panel) {
  const box = element("section", panel.gridPos.w <= 8 && panel.gridPos.h <= 5 ? "panel small" : "panel");
  box.dataset.panel = panel.id;
  box.dataset.state = "loading";
  const title = element("h3", "", panel.title);
  title.title = panel.description;
  box.setAttribute("aria-label", panel.title);
  box.append(title, element("div", "body"));
  return box;
}

async function drawOne(panel, box, state, turn) {
  const body = box.querySelector(".body");
  try {
    const count = await draw(panel, body, state);
    if (turn !== drawing) return;
    box.dataset.values = count;
    box.dataset.state = count ? "drawn" : "empty";
    if (!count) body.replaceChildren(element("p", "says", "No data in this time range"));
  } catch (error) {
    box.dataset.state = "fault";
    body.replaceChildren(element("p", "says", String(error.message || error)));
  }
}

function say(text, fault = false) {
  const message = document.getElementById("message");
  message.textContent = text;
  message.className = fault ? "fault" : "";
}
