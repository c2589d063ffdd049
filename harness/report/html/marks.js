// How things look on a canvas: the colours of the style sheet as the theme has them now, and hatches as patterns.

const FONT = '12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const marks = { colours: {}, patterns: [], ratio: 1 };
const probe = element("span", { hidden: true });
document.body.append(probe);

function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

function readColours() {
  const names = [
    "page", "card", "ink", "soft", "line", "path", "failed", "hatch", "accent", "tint", "bar-ink", "path-ink",
    ...KINDS.map((kind) => kind.key),
  ];
  marks.colours = Object.fromEntries(names.map((name) => [name, colour(name)]));
  marks.ratio = window.devicePixelRatio || 1;
  marks.patterns = KINDS.map((kind) => patternOf(kind));
}

function patternOf(kind) {
  const [mode, path] = packed.hatches[kind.hatch];
  const size = Math.round(8 * marks.ratio);
  const tile = element("canvas", { width: size, height: size });
  const context = tile.getContext("2d");
  context.scale(size / 8, size / 8);
  context.fillStyle = marks.colours[kind.key];
  context.fillRect(0, 0, 8, 8);
  const ink = kind.hatch === "plus" ? marks.colours.card : marks.colours.hatch;
  if (mode === "s") {
    context.strokeStyle = ink;
    context.lineWidth = 1.1;
    context.stroke(new Path2D(path));
  } else if (mode === "f") {
    context.fillStyle = ink;
    context.fill(new Path2D(path));
  }
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(8 / size));
  return pattern;
}

// Makes the canvas as large as asked in CSS pixels, sharp on any screen, and empty.
function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = "middle";
  return context;
}

// Cut in the middle: names that begin alike differ at their end.
function clipped(context, text, width) {
  if (width < 14) return "";
  if (context.measureText(text).width <= width) return text;
  const cut = (count) => `${text.slice(0, Math.ceil(count / 2))}…${text.slice(text.length - Math.floor(count / 2))}`;
  let [low, high] = [0, text.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(cut(middle)).width <= width) low = middle;
    else high = middle - 1;
  }
  return low > 3 ? cut(low) : "";
}

function drawLegend(list) {
  const used = new Set(["running"]);
  for (const cell of CELLS) {
    for (const reason of cell.reasons) used.add(KINDS[reason.kind].key);
    if (cell.attempts.some((attempt) => attempt.blocked.length)) used.add("blocked");
  }
  const entries = [["a run", (context) => fillBar(context, 0, 0, 26, 14, {})]];
  entries.push(["on the critical path", (context) => fillBar(context, 0, 0, 26, 14, { critical: true })]);
  if (CELLS.some((cell) => cell.attempts.some((attempt) => attempt.failed))) {
    entries.push(["failed, timed out or cancelled", (context) => fillBar(context, 0, 0, 26, 14, { failed: true })]);
  }
  KINDS.forEach((kind, number) => {
    if (kind.key === "running" || !used.has(kind.key)) return;
    entries.push([kind.meaning, (context) => fillHatch(context, number, 0, 2, 26, 10), kind.letter]);
  });
  list.replaceChildren(
    ...entries.map(([meaning, draw, letter]) => {
      const canvas = element("canvas", { attributes: { "aria-hidden": "true" } });
      canvas.style.width = "26px";
      draw(prepare(canvas, 26, 14));
      const item = element("li", {}, canvas, meaning);
      if (letter) item.append(" ", element("b", { textContent: letter }));
      return item;
    }),
  );
}

function fillBar(context, x, y, width, height, { critical = false, failed = false }) {
  context.fillStyle = marks.colours[failed ? "failed" : critical ? "path" : "running"];
  context.fillRect(x, y, width, height);
  if (width >= 4) {
    // A hair at the end keeps bars apart that follow at once.
    context.fillStyle = marks.colours.card;
    context.fillRect(x + width - 0.75, y, 0.75, height);
  }
  if (critical) {
    context.fillStyle = marks.colours.ink;
    context.fillRect(x, y + height - 3, width, 3);
  }
  if (failed && width >= 12) {
    context.strokeStyle = marks.colours["path-ink"];
    context.lineWidth = 1.6;
    context.beginPath();
    const [cx, cy] = [x + width - 7, y + height / 2];
    context.moveTo(cx - 3, cy - 3);
    context.lineTo(cx + 3, cy + 3);
    context.moveTo(cx + 3, cy - 3);
    context.lineTo(cx - 3, cy + 3);
    context.stroke();
  }
}

function fillHatch(context, kind, x, y, width, height) {
  context.fillStyle = marks.patterns[kind];
  context.fillRect(x, y, width, height);
  const letter = KINDS[kind].letter;
  if (letter && width >= 18 && height >= 11) {
    context.save();
    context.font = "700 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.lineWidth = 3;
    context.strokeStyle = "#fff";
    context.fillStyle = "#000";
    context.strokeText(letter, x + width / 2, y + height / 2 + 0.5);
    context.fillText(letter, x + width / 2, y + height / 2 + 0.5);
    context.restore();
  }
}
