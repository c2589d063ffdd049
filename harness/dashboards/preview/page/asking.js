// Asks Prometheus, as Grafana does: variables filled in, a step that fits the width. The page's own server passes it on.

const POINTS = 1000;
const UNITS = { ms: 1, s: 1000, m: 60000, h: 3600000, d: 86400000, w: 604800000, y: 31536000000 };

export function milliseconds(text, otherwise) {
  const found = /^(\d+)(ms|[smhdwy])$/.exec(text || "");
  return found ? Number(found[1]) * UNITS[found[2]] : otherwise;
}

function escaped(value) {
  return value.replace(/[\\^$*+?.()|{}[\]]/g, "\\\\$&").replaceAll('"', '\\"');
}

// `choices`: of each variable one text, or a list where several may be chosen.
export function filled(text, choices) {
  return text.replace(/\$(?:\{(\w+)(?::\w+)?\}|(\w+))/g, (all, braced, bare) => {
    const value = choices[braced || bare];
    if (value === undefined) return all;
    if (!Array.isArray(value)) return String(value);
    return value.length === 1 ? escaped(value[0]) : `(${value.map(escaped).join("|")})`;
  });
}

// The step of a panel, milliseconds.
export function stepOf(panel, range, scrape) {
  return Math.max(milliseconds(panel.interval, scrape), Math.ceil((range.to - range.from) / POINTS));
}

export function timeWords(range, step, scrape) {
  const seconds = Math.max(1, Math.round((range.to - range.from) / 1000));
  return {
    __interval: `${step}ms`, __interval_ms: step, __range: `${seconds}s`, __range_s: seconds, __range_ms: Math.max(1, Math.ceil(range.to - range.from)),
    __rate_interval: `${Math.max(step + scrape, 4 * scrape)}ms`,
  };
}

export async function asked(path, words) {
  const answer = await fetch(`api/v1/${path}`, { method: "POST", body: new URLSearchParams(words) });
  let found;
  try {
    found = await answer.json();
  } catch {
    throw new Error(`the server answered ${answer.status}, and no JSON`);
  }
  if (found.status !== "success") throw new Error(found.error || `status ${answer.status}`);
  return found.data;
}

export async function series(target, panel, state) {
  // Figures are found where a run's last repetition ended, which may be long after what its curves show.
  const range = target.instant ? state.range : state.curves || state.range;
  const step = stepOf(panel, range, state.scrape);
  const query = filled(target.expr, { ...state.choices, ...timeWords(range, step, state.scrape) });
  const [start, end] = [range.from / 1000, range.to / 1000];
  const data = target.instant
    ? await asked("query", { query, time: end })
    : await asked("query_range", { query, start, end, step: step / 1000 });
  return data.result.map((one) => ({
    labels: one.metric,
    values: (one.values || [one.value]).map(([at, value]) => [at * 1000, Number(value)]),
  }));
}

export async function exemplars(target, state) {
  const range = state.curves || state.range;
  const query = filled(target.expr, { ...state.choices, ...timeWords(range, 1000, state.scrape) });
  const data = await asked("query_exemplars", { query, start: range.from / 1000, end: range.to / 1000 });
  return data.flatMap((one) => one.exemplars.map((each) => ({ at: each.timestamp * 1000, value: Number(each.value), labels: each.labels })));
}

// What `label_values(metric{…}, label)` offers, of the series that have samples in the range.
export async function labelValues(text, state) {
  const found = /^label_values\((.*),\s*(\w+)\)$/s.exec(text);
  if (!found) return [];
  const data = await asked("series", {
    "match[]": filled(found[1], state.choices), start: state.range.from / 1000, end: state.range.to / 1000,
  });
  return [...new Set(data.map((one) => one[found[2]]).filter((value) => value !== undefined))];
}
