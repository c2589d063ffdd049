// How many attempts ran and how many waited, over time: one canvas below each Gantt chart, on the same axis.

const CURVES_HEIGHT = 104;
const CURVES_HEIGHT_WITHOUT_WAITS = 58;
const RUNNING_PART = { top: 8, height: 42 };
const WAITING_PART = { top: 58, height: 40 };

// Changes at times become a curve: times and the value from each on.
function curveOf(changes) {
  changes.sort((one, other) => one[0] - other[0]);
  const [times, levels] = [[], []];
  let level = 0;
  for (const [time, change] of changes) {
    level += change;
    if (times.at(-1) === time) levels[levels.length - 1] = level;
    else {
      times.push(time);
      levels.push(level);
    }
  }
  return { times, levels, most: levels.reduce((most, one) => Math.max(most, one), 0) };
}

function runningChanges(attempt, changes) {
  let cursor = attempt.from;
  for (const pause of attempt.pauses) {
    if (pause.from > cursor) changes.push([cursor, 1], [pause.from, -1]);
    cursor = Math.max(cursor, pause.to);
  }
  if (attempt.to > cursor) changes.push([cursor, 1], [attempt.to, -1]);
}

class Curves {
  constructor(gantt, panel) {
    this.gantt = gantt;
    this.canvas = panel.querySelector("canvas.curves");
    const running = [];
    const waiting = new Map(); // changes by kind
    for (const attempt of gantt.cell.attempts) {
      runningChanges(attempt, running);
      for (const wait of attempt.waits) {
        if (wait.to <= wait.from) continue;
        if (!waiting.has(wait.kind)) waiting.set(wait.kind, []);
        waiting.get(wait.kind).push([wait.from, 1], [wait.to, -1]);
      }
    }
    this.most = curveOf([...waiting.values()].flat()).most;
    this.running = curveOf(running);
    this.waiting = [...waiting].sort(([one], [other]) => one - other).map(([kind, changes]) => ({ kind, curve: curveOf(changes) }));
  }

  // The largest value within each pixel column: a short peak stays in sight.
  columns(curve) {
    const { gantt } = this;
    const count = Math.max(1, Math.floor(gantt.width - gantt.gutter - RIGHT_MARGIN));
    const values = new Array(count).fill(0);
    const { times, levels } = curve;
    let next = 0;
    let level = 0;
    for (let column = 0; column < count; column += 1) {
      const [begin, end] = [gantt.time(gantt.gutter + column), gantt.time(gantt.gutter + column + 1)];
      for (; next < times.length && times[next] <= begin; next += 1) level = levels[next];
      values[column] = level;
      for (; next < times.length && times[next] < end; next += 1) {
        level = levels[next];
        values[column] = Math.max(values[column], level);
      }
    }
    return values;
  }

  draw() {
    const { gantt } = this;
    const { colours } = marks;
    const context = prepare(this.canvas, gantt.width, this.most ? CURVES_HEIGHT : CURVES_HEIGHT_WITHOUT_WAITS);
    const most = Math.max(1, this.running.most, Math.min(gantt.cell.workers, 4 * this.running.most));
    drawAxis(context, gantt, "running", RUNNING_PART, most);
    if (this.most) drawAxis(context, gantt, "waiting", WAITING_PART, this.most);
    const running = this.columns(this.running);
    context.fillStyle = colours.running;
    running.forEach((value, column) => {
      const height = (RUNNING_PART.height * value) / most;
      context.fillRect(gantt.gutter + column, RUNNING_PART.top + RUNNING_PART.height - height, 1, height);
    });
    if (gantt.cell.workers <= most) this.workersLine(context, most);
    if (this.most) this.drawWaiting(context);
  }

  workersLine(context, most) {
    const { gantt } = this;
    const y = RUNNING_PART.top + RUNNING_PART.height * (1 - gantt.cell.workers / most);
    context.fillStyle = marks.colours.soft;
    for (let x = gantt.gutter; x < gantt.width - RIGHT_MARGIN; x += 7) context.fillRect(x, y - 0.5, 4, 1);
  }

  drawWaiting(context) {
    const { gantt } = this;
    const bottom = WAITING_PART.top + WAITING_PART.height;
    let below = null;
    for (const { kind, curve } of this.waiting) {
      const values = this.columns(curve).map((value, column) => value + (below ? below[column] : 0));
      context.fillStyle = marks.patterns[kind];
      values.forEach((value, column) => {
        const base = below ? below[column] : 0;
        if (value <= base) return;
        const [top, foot] = [value, base].map((one) => bottom - (WAITING_PART.height * Math.min(one, this.most)) / this.most);
        context.fillRect(gantt.gutter + column, top, 1, foot - top);
      });
      below = values;
    }
  }
}

// The ground line of a curve, its name, and what its height means.
function drawAxis(context, gantt, name, part, most) {
  const { colours } = marks;
  context.fillStyle = colours.line;
  context.fillRect(gantt.gutter, part.top + part.height, gantt.width - gantt.gutter - RIGHT_MARGIN, 1);
  context.fillStyle = colours.soft;
  context.fillText(name, 4, part.top + part.height / 2);
  context.textAlign = "right";
  context.fillText(most.toLocaleString("en"), gantt.gutter - 6, part.top + 5);
  context.fillText("0", gantt.gutter - 6, part.top + part.height - 3);
  context.textAlign = "left";
}
