// How values are written: Grafana's units that the dashboards use, and colours by threshold. Pure.

// What is right on a light and on a dark page. Grafana's names of colours are those of the style sheet here.
const NAMED_COLOURS = { green: "var(--green)", orange: "var(--orange)", red: "var(--red)", transparent: "rgba(0,0,0,0)" };
// Neither faint on white nor on black.
const PALETTE = [
  "#4076d8", "#0a9396", "#d6568c", "#7a8a00", "#8f63ad", "#b0603a", "#7386a1", "#d9662b", "#a45bd0", "#3c8f5c",
  "#e0495a", "#5a8f1a",
];
// Two colours that lie closer together than this (0 to 441) are taken for one.
const ALIKE = 40;
const SECONDS = [[1e-3, 1e6, " µs"], [1, 1e3, " ms"], [120, 1, " s"], [7200, 1 / 60, " min"], [Infinity, 1 / 3600, " h"]];

export function colour(name) {
  return NAMED_COLOURS[name] || name;
}

// Of each series: what its panel has fixed for it, else the next colour that is like none of these.
export function coloursOf(fixed) {
  const free = PALETTE.filter((one) => !fixed.some((other) => other && distance(one, other) < ALIKE));
  let place = 0;
  return fixed.map((one) => one ?? free[place++ % free.length]);
}

function distance(one, other) {
  const [here, there] = [one, other].map((text) => /^#(..)(..)(..)$/.exec(text)?.slice(1).map((part) => parseInt(part, 16)));
  return here && there ? Math.hypot(...here.map((part, place) => part - there[place])) : Infinity;
}

// Factor and suffix with which all values up to `largest` are written alike, on an axis for instance.
export function scaleOf(unit, largest) {
  if (unit === "s") {
    const [, factor, suffix] = SECONDS.find(([limit]) => Math.abs(largest) < limit);
    return { factor, suffix };
  }
  if (unit === "percentunit") return { factor: 100, suffix: " %" };
  if (unit && unit.startsWith("suffix:")) return { factor: 1, suffix: unit.slice("suffix:".length) };
  return { factor: 1, suffix: "" };
}

export function written(value, unit, decimals) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit === "dateTimeAsIso") return new Date(value).toISOString().replace("T", " ").slice(0, 19) + " UTC";
  const { factor, suffix } = scaleOf(unit, value);
  const scaled = value * factor;
  const digits = decimals ?? (unit === "short" ? 0 : Math.max(0, 3 - Math.ceil(Math.log10(Math.abs(scaled) + 1e-9))));
  const text = Number.isInteger(scaled) && decimals === undefined ? String(scaled) : scaled.toFixed(Math.min(digits, 4));
  return text + suffix;
}

// The colour of the highest threshold that a value reaches; undefined without thresholds.
export function thresholdColour(value, steps) {
  let found;
  for (const step of steps || []) if (step.value === null || value >= step.value) found = step.color;
  return found && colour(found);
}

// Plotly reads a little HTML in texts: labels of runs are text and nothing else.
export function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
