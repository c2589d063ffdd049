// The data of the report, unpacked: cells with steps and attempts. Times are nanoseconds. Everything from a run is
// text, and only ever set as text.

const packed = JSON.parse(document.getElementById("makespan-data").textContent);
const KINDS = packed.kinds;
const kindNumber = Object.fromEntries(KINDS.map((kind, number) => [kind.key, number]));
const textAt = (place) => (place < 0 ? null : packed.texts[place]);

function unpackSteps(columns) {
  const steps = columns.id.map((id, index) => ({
    index,
    id: textAt(id),
    status: "succeeded",
    parents: columns.parents[index],
    order: [],
    children: [],
    nested: -1,
    criticalTime: 0,
    critical: false,
    attempts: [],
    row: 0,
    depth: 0,
  }));
  for (const [index, seconds] of columns.critical) Object.assign(steps[index], { critical: true, criticalTime: seconds * 1e9 });
  for (const [index, parents] of columns.order ?? []) steps[index].order = parents;
  for (const [index, caller] of columns.nested ?? []) steps[index].nested = caller;
  for (const name of ["status", "needs", "description", "tool"]) {
    for (const [index, place] of columns[name] ?? []) steps[index][name] = textAt(place);
  }
  for (const name of ["output", "error"]) {
    for (const [index, preview] of columns[name] ?? []) steps[index][name] = preview;
  }
  for (const step of steps) for (const parent of step.parents) steps[parent].children.push(step.index);
  return steps;
}

const later = (before, difference) => (difference === null ? null : before + difference);

function unpackAttempts(columns, steps, makespan) {
  let ready = 0;
  const attempts = columns.step.map((step, place) => {
    ready += columns.ready[place];
    const granted = ready + columns.granted[place];
    const started = later(granted, columns.started[place]);
    const ended = later(started ?? granted, columns.ended[place]);
    const known = later(ended ?? started ?? granted, columns.known[place]);
    return {
      place, step: steps[step], number: 1, ready, granted, started, ended, known,
      outcome: "succeeded",
      from: started ?? granted,
      to: ended ?? Math.max(started ?? granted, makespan),
      lane: columns.lane[place],
      failed: false,
      released: releaser(columns.released[place], steps[step], steps),
      cpu: columns.cpu?.[place] == null ? null : columns.cpu[place] * 1e3,
      waits: [],
      blocked: [],
      pauses: [],
    };
  });
  for (const [place, number] of columns.number ?? []) attempts[place].number = number;
  for (const [place, outcome] of columns.outcome ?? []) {
    attempts[place].outcome = textAt(outcome);
    attempts[place].failed = outcome >= 0;
  }
  for (const [place, ...numbers] of columns.waits ?? []) attempts[place].waits = unpackWaits(attempts[place], numbers);
  for (const [place, ...numbers] of columns.blocked ?? []) {
    const attempt = attempts[place];
    for (let n = 0; n < numbers.length; n += 2) {
      const from = attempt.ready + numbers[n];
      attempt.blocked.push({ from, to: from + numbers[n + 1], kind: kindNumber.blocked });
    }
  }
  return attempts;
}

// 0: no step; n: the step's n-th dependency; -n: the step at place n - 1.
function releaser(code, step, steps) {
  if (code === 0) return null;
  return steps[code > 0 ? step.parents[code - 1] : -code - 1];
}

function unpackWaits(attempt, numbers) {
  if (numbers.length === 1) return [{ reason: numbers[0], from: attempt.ready, to: attempt.granted }];
  const waits = [];
  for (let n = 0; n < numbers.length; n += 3) {
    const from = attempt.ready + numbers[n + 1];
    waits.push({ reason: numbers[n], from, to: from + numbers[n + 2] });
  }
  return waits;
}

// Times come as differences to the one before.
function unpackCapacity([name, differences, levels]) {
  let time = 0;
  return {
    name: textAt(name),
    times: differences.map((difference) => (time += difference)),
    levels,
    most: levels.reduce((most, one) => Math.max(most, one), 1),
  };
}

function unpackCell(cell, number) {
  const steps = unpackSteps(cell.steps);
  for (const step of steps) step.cell = number;
  const attempts = unpackAttempts(cell.attempts, steps, cell.makespan);
  const reasons = cell.reasons.map(([place, kind]) => ({ text: textAt(place), kind }));
  for (const [place, ...numbers] of cell.attempts.waited ?? []) {
    const totals = (attempts[place].waited = []);
    for (let n = 0; n < numbers.length; n += 2) totals.push({ reason: reasons[numbers[n]].text, time: numbers[n + 1] });
  }
  for (const [place, words, ...deviceLanes] of cell.held ?? []) Object.assign(attempts[place], { devices: textAt(words), deviceLanes });
  for (const attempt of attempts) {
    attempt.cell = number;
    attempt.step.attempts.push(attempt);
    for (const wait of attempt.waits) Object.assign(wait, { kind: reasons[wait.reason].kind, reason: reasons[wait.reason].text });
    const inside = attempt.waits.filter((wait) => wait.from >= attempt.from && wait.to > wait.from);
    attempt.pauses = [...attempt.blocked, ...inside].sort((one, other) => one.from - other.from);
    attempt.before = attempt.waits.filter((wait) => wait.from < attempt.from && wait.to > wait.from);
  }
  cell.rows.forEach((step, row) => { steps[step].row = row; });
  for (const [step, depth] of cell.depths) steps[step].depth = depth;
  for (const step of steps) step.attempts.sort((one, other) => one.number - other.number);
  return {
    number, steps, attempts, reasons,
    label: cell.label, workers: cell.workers, makespan: cell.makespan, seam: cell.seam ?? 0,
    lanes: cell.lanes.map(textAt),
    deviceLanes: (cell.deviceLanes ?? []).map(textAt),
    rows: cell.rows.map((step) => steps[step]),
    capacities: (cell.capacities ?? []).map(unpackCapacity),
  };
}

const CELLS = packed.cells.map(unpackCell);
const LONGEST = Math.max(1, ...CELLS.map((cell) => cell.makespan));

// As the page's other durations: three significant digits, without zeros at their end.
function durationText(nanoseconds) {
  if (nanoseconds === null || nanoseconds === undefined) return "–";
  const [unit, size] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3]].find(([, length]) => Math.abs(nanoseconds) >= 0.9995 * length) ?? ["ns", 1];
  const number = nanoseconds / size;
  if (number === 0) return "0 s";
  const digits = unit === "ns" || Math.abs(number) >= 99.95 ? 0 : Math.abs(number) >= 9.995 ? 1 : 2;
  return `${Number(number.toFixed(digits))} ${unit}`;
}

const runTime = (attempt) => {
  let time = attempt.to - attempt.from;
  for (const pause of attempt.pauses) time -= Math.max(0, Math.min(pause.to, attempt.to) - Math.max(pause.from, attempt.from));
  return time;
};
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

// For how long it waited for what: exact also where the waits were too many to draw each.
function waitedFor(attempt) {
  if (attempt.waited) return attempt.waited;
  const times = new Map();
  for (const { reason, from, to } of attempt.waits) if (to > from) times.set(reason, (times.get(reason) ?? 0) + to - from);
  return [...times].map(([reason, time]) => ({ reason, time }));
}
const waited = (attempt) => sum(waitedFor(attempt).map((wait) => wait.time));

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  const { attributes = {}, ...others } = properties;
  Object.assign(made, others);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
