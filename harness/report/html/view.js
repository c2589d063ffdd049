// What is looked at: the part of the common time axis, how rows are made, what is selected, searched, marked.
// Each drawing subscribes; a change is drawn once, with the next frame.

const view = {
  from: 0,
  to: LONGEST,
  rows: Math.max(...CELLS.map((cell) => cell.attempts.length)) > 120 ? "worker" : "step",
  criticalOnly: false,
  query: "",
  found: new Set(), // steps, of all cells
  selected: null, // an attempt
};
const drawers = [];
let frame = 0;

function redraw() {
  if (!frame) frame = requestAnimationFrame(redrawNow);
}

function redrawNow() {
  cancelAnimationFrame(frame);
  frame = 0;
  for (const draw of drawers) draw();
}

const SHORTEST_SPAN = 200; // nanoseconds over the whole width
const MARGIN = 0.02; // free space after the last end

function show(from, to) {
  const whole = LONGEST * (1 + MARGIN);
  const span = Math.min(whole, Math.max(SHORTEST_SPAN, to - from));
  const centre = (from + to) / 2;
  view.from = Math.max(0, Math.min(whole - span, centre - span / 2));
  view.to = view.from + span;
  redraw();
}

const fit = () => show(0, LONGEST * (1 + MARGIN));

function zoom(factor, at = (view.from + view.to) / 2) {
  const span = Math.min(LONGEST * (1 + MARGIN), Math.max(SHORTEST_SPAN, (view.to - view.from) / factor));
  const share = (at - view.from) / (view.to - view.from);
  show(at - share * span, at + (1 - share) * span);
}

function pan(share) {
  const by = share * (view.to - view.from);
  const allowed = Math.max(-view.from, Math.min(LONGEST * (1 + MARGIN) - view.to, by));
  show(view.from + allowed, view.to + allowed);
}

function zoomTo(attempt) {
  const from = Math.min(attempt.ready, attempt.from);
  const length = Math.max(attempt.to - from, SHORTEST_SPAN);
  show(from - length * 0.6, attempt.to + length * 0.6);
}

// Into view with the least movement: a bar that is seen stays where it is.
function reveal(attempt) {
  const span = view.to - view.from;
  if (attempt.to < view.from || attempt.from > view.to) show(attempt.from - span * 0.3, attempt.from + span * 0.7);
}

function select(attempt, { announce = true } = {}) {
  view.selected = attempt;
  if (attempt) reveal(attempt);
  for (const listener of selectionListeners) listener(attempt, announce);
  redraw();
}
const selectionListeners = [];

function search(query) {
  view.query = query.trim().toLocaleLowerCase();
  view.found = new Set();
  if (view.query) {
    for (const cell of CELLS) for (const step of cell.steps) if (matches(step, cell)) view.found.add(step);
  }
  redraw();
}

function matches(step, cell) {
  const words = [step.id, step.description, step.tool, step.status, step.error];
  if (words.some((text) => text && text.toLocaleLowerCase().includes(view.query))) return true;
  const places = (attempt) => [cell.lanes[attempt.lane], attempt.devices];
  return step.attempts.some((attempt) => places(attempt).some((text) => text?.toLocaleLowerCase().includes(view.query)));
}

const isDim = (step) => (view.query && !view.found.has(step)) || (view.criticalOnly && !step.critical);

// A step of a multiple of 1, 2 or 5 that makes about as many ticks as wanted.
function roundStep(span, wanted) {
  const rough = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough * 0.999);
}

function ticks(from, to, wanted) {
  const step = roundStep(to - from, wanted);
  const found = [];
  for (let n = Math.ceil(from / step); n * step <= to; n += 1) found.push(n * step);
  return { step, values: found };
}

// All ticks of an axis in one unit, with as many digits as their distance needs.
function tickText(value, step, largest) {
  const [unit, size] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3]].find(([, length]) => largest >= length) ?? ["ns", 1];
  const digits = Math.max(0, -Math.floor(Math.log10(step / size) + 1e-9));
  return `${(value / size).toFixed(Math.min(digits, 9))} ${unit}`;
}
