// A Gantt chart on a canvas: one for each cell, all on the view's time axis. The canvas is as large as its window and
// stays put while the scroller moves, so that a chart of any number of rows costs what is seen of it.

const AXIS_HEIGHT = 24;
const RIGHT_MARGIN = 10;
const HIGHEST_WINDOW = CELLS.length > 1 ? 380 : 560;
const LINKS_DRAWN = 120;

const stepLabels = (cell) => cell.rows.map((step) => (step.attempts.length ? step.id : `${step.id} (${step.status})`));
const labelsOf = (cell) => (view.rows === "step" ? stepLabels(cell) : view.rows === "device" ? cell.deviceLanes : cell.lanes);
const indentOf = (step) => Math.min(step.depth, 6) * 10;

// As wide as the longest name of all cells needs, within reason: the charts share one axis. The curves below name
// themselves there, too.
const labelWidths = {};
function gutterFor(context, width) {
  if (!labelWidths[view.rows]) {
    const labels = CELLS.flatMap(labelsOf);
    const longest = labels.reduce((most, label) => (label.length > most.length ? label : most), "");
    const steps = view.rows === "step" ? CELLS.flatMap((cell) => cell.rows) : [];
    context.font = `600 ${FONT}`;
    labelWidths[view.rows] = context.measureText(longest).width + 16 + steps.reduce((most, step) => Math.max(most, indentOf(step)), 0);
  }
  return Math.round(Math.max(92, Math.min(labelWidths[view.rows], width * (width < 560 ? 0.38 : 0.24))));
}

class Gantt {
  constructor(cell, panel) {
    this.cell = cell;
    this.canvas = panel.querySelector("canvas.gantt");
    this.scroller = panel.querySelector(".scroller");
    this.spacer = panel.querySelector(".spacer");
    this.arrangedFor = null;
    this.hovered = null;
    this.scroller.addEventListener("scroll", redraw, { passive: true });
    this.listen();
  }

  // Rows by step, worker or device, each with its attempts in order of time, and from where their waits are shown.
  arrange() {
    if (this.arrangedFor === view.rows) return;
    this.arrangedFor = view.rows;
    const byStep = view.rows === "step";
    this.labels = labelsOf(this.cell);
    // A step may have several devices, or none.
    this.rowsOf = view.rows === "device" ? (attempt) => attempt.deviceLanes ?? [] : (attempt) => [byStep ? attempt.step.row : attempt.lane];
    this.rowOf = (attempt) => this.rowsOf(attempt)[0] ?? -1;
    this.rows = this.labels.map(() => []);
    for (const attempt of this.cell.attempts) for (const row of this.rowsOf(attempt)) this.rows[row].push(attempt);
    this.rowHeight = this.rows.length > 400 ? 18 : byStep ? 24 : 28;
    for (const row of this.rows) {
      row.sort((one, other) => one.from - other.from || one.place - other.place);
      let free = 0;
      for (const attempt of row) {
        attempt.waitsFrom = byStep ? attempt.ready : Math.max(attempt.ready, free);
        free = Math.max(free, attempt.to);
      }
    }
  }

  measure() {
    this.arrange();
    this.width = this.scroller.clientWidth || 300;
    this.gutter = gutterFor(this.canvas.getContext("2d"), this.width);
    const whole = AXIS_HEIGHT + this.rows.length * this.rowHeight + 6;
    this.height = Math.min(whole, HIGHEST_WINDOW);
    this.scroller.style.maxHeight = `${this.height}px`;
    this.spacer.style.height = `${whole - this.height}px`;
    this.scale = (this.width - this.gutter - RIGHT_MARGIN) / (view.to - view.from);
  }

  x(time) {
    return this.gutter + (time - view.from) * this.scale;
  }

  time(x) {
    return view.from + (x - this.gutter) / this.scale;
  }

  top(row) {
    return AXIS_HEIGHT + row * this.rowHeight - this.scroller.scrollTop;
  }

  // Where an attempt's bar is, in CSS pixels of the canvas.
  rect(attempt, row = this.rowOf(attempt)) {
    const inset = this.rowHeight > 20 ? 4 : 2;
    const x = this.x(attempt.from);
    return {
      x,
      y: this.top(row) + inset,
      width: Math.max(1, this.x(attempt.to) - x),
      height: this.rowHeight - 2 * inset,
    };
  }

  draw() {
    this.measure();
    const context = prepare(this.canvas, this.width, this.height);
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / this.rowHeight));
    const last = Math.min(this.rows.length - 1, Math.ceil((this.scroller.scrollTop + this.height) / this.rowHeight));
    this.drawGround(context, first, last);
    context.save();
    context.beginPath();
    context.rect(this.gutter, AXIS_HEIGHT, this.width - this.gutter, this.height - AXIS_HEIGHT);
    context.clip();
    for (let row = first; row <= last; row += 1) {
      this.drawRow(context, row, false);
      this.drawRow(context, row, true);
    }
    this.drawSelection(context);
    context.restore();
    this.drawAxis(context);
  }

  drawGround(context, first, last) {
    const { colours } = marks;
    context.fillStyle = colours.line;
    context.globalAlpha = 0.7;
    for (const value of this.ticks().values) context.fillRect(this.x(value) - 0.5, AXIS_HEIGHT, 1, this.height);
    context.globalAlpha = 1;
    for (let row = first; row <= last; row += 1) {
      const y = this.top(row);
      context.fillStyle = colours.line;
      context.fillRect(0, y + this.rowHeight - 0.5, this.width, 0.5);
      const step = view.rows === "step" ? this.cell.rows[row] : null;
      const indent = 4 + (step ? indentOf(step) : 0);
      context.globalAlpha = step && isDim(step) ? 0.35 : 1;
      context.fillStyle = step?.critical ? colours.ink : colours.soft;
      context.font = `${step?.critical ? "600 " : ""}${FONT}`;
      context.fillText(clipped(context, this.labels[row], this.gutter - indent - 8), indent, y + this.rowHeight / 2);
      context.globalAlpha = 1;
    }
    context.font = FONT;
  }

  ticks() {
    return ticks(view.from, view.to, (this.width - this.gutter - RIGHT_MARGIN) / 110);
  }

  drawAxis(context) {
    const { colours } = marks;
    const { step, values } = this.ticks();
    context.fillStyle = colours.card;
    context.fillRect(0, 0, this.width, AXIS_HEIGHT);
    context.fillStyle = colours.line;
    context.fillRect(0, AXIS_HEIGHT - 1, this.width, 1);
    context.textAlign = "center";
    for (const value of values) {
      const x = this.x(value);
      context.fillStyle = colours.line;
      context.fillRect(x - 0.5, AXIS_HEIGHT - 5, 1, 5);
      context.fillStyle = colours.soft;
      const text = tickText(value, step, view.to);
      const half = context.measureText(text).width / 2;
      context.fillText(text, Math.min(this.width - half - 2, Math.max(this.gutter + half - 4, x)), AXIS_HEIGHT / 2 - 2);
    }
    context.textAlign = "left";
    const seam = this.x(this.cell.seam);
    if (this.cell.seam && seam >= this.gutter && seam <= this.width) {
      context.fillStyle = colours.ink;
      context.fillRect(seam - 0.5, AXIS_HEIGHT - 8, 1, this.height);
      this.drawSeamName(context, seam);
    }
    const end = this.x(this.cell.makespan);
    if (end >= this.gutter && end <= this.width) {
      context.fillStyle = colours.ink;
      for (let y = AXIS_HEIGHT; y < this.height; y += 6) context.fillRect(end, y, 1, 3);
    }
  }

  // In the first row, where a bar may be: on a ground of its own.
  drawSeamName(context, seam) {
    const width = context.measureText("resumed").width;
    const x = seam + 4 + width > this.width ? seam - width - 4 : seam + 4;
    context.fillStyle = marks.colours.card;
    context.fillRect(x - 2, AXIS_HEIGHT + 1, width + 4, 14);
    context.fillStyle = marks.colours.ink;
    context.fillText("resumed", x, AXIS_HEIGHT + 8);
  }

  // One row, the critical path after the others. Bars that share one pixel with the bar before are left out.
  drawRow(context, row, critical) {
    let painted = -1;
    for (const attempt of this.rows[row]) {
      if (attempt.step.critical !== critical || attempt.to < view.from || Math.min(attempt.waitsFrom, attempt.from) > view.to) {
        continue;
      }
      const bar = this.rect(attempt, row);
      const waitsVisible = this.x(attempt.granted) - this.x(attempt.waitsFrom) >= 1;
      if (!waitsVisible && bar.width <= 1 && bar.x < painted + 0.5 && !attempt.failed) continue;
      // What an earlier run did is drawn before the seam, and is in no figure.
      context.globalAlpha = isDim(attempt.step) ? 0.13 : attempt.from < this.cell.seam ? 0.45 : 1;
      if (waitsVisible) this.drawWaits(context, attempt, bar);
      fillBar(context, bar.x, bar.y, bar.width, bar.height, { critical, failed: attempt.failed });
      for (const pause of attempt.pauses) {
        const x = this.x(Math.max(pause.from, attempt.from));
        fillHatch(context, pause.kind, x, bar.y + 2, this.x(Math.min(pause.to, attempt.to)) - x, bar.height - 4);
      }
      if (attempt.from >= this.cell.seam) this.drawText(context, attempt, bar, critical);
      painted = bar.x + bar.width;
    }
    context.globalAlpha = 1;
  }

  drawWaits(context, attempt, bar) {
    for (const wait of attempt.before) {
      const [from, to] = [this.x(Math.max(wait.from, attempt.waitsFrom, view.from - 1)), this.x(wait.to)];
      if (to > from) fillHatch(context, wait.kind, from, bar.y + 3, to - from, bar.height - 6);
    }
  }

  drawText(context, attempt, bar, critical) {
    const left = Math.max(bar.x, this.gutter);
    const right = Math.min(bar.x + bar.width, this.width) - (attempt.failed ? 14 : 2);
    if (right - left < 16 || bar.height < 12) return;
    const said = view.rows === "step" ? durationText(runTime(attempt)) : attempt.step.id;
    const text = attempt.number > 1 ? `#${attempt.number} ${said}` : said;
    const first = attempt.pauses[0];
    const space = (first ? Math.min(right, this.x(first.from)) : right) - left - 6;
    context.fillStyle = marks.colours[critical || attempt.failed ? "path-ink" : "bar-ink"];
    // Half a number misleads; half a name still helps.
    const shown = view.rows === "step" && context.measureText(text).width > space ? "" : clipped(context, text, space);
    context.fillText(shown, left + 4, bar.y + (bar.height - (critical ? 2 : 0)) / 2 + 0.5);
  }

  drawSelection(context) {
    for (const attempt of new Set([this.hovered, view.selected])) {
      if (!attempt || attempt.cell !== this.cell.number || !this.rowsOf(attempt).length) continue;
      const bar = this.rect(attempt);
      for (const row of this.rowsOf(attempt)) {
        const { y } = this.rect(attempt, row);
        context.strokeStyle = marks.colours.ink;
        context.lineWidth = 2;
        context.strokeRect(bar.x - 1.5, y - 1.5, bar.width + 3, bar.height + 3);
      }
      if (attempt === view.selected) this.drawLinks(context, attempt, bar);
    }
  }

  // To what the selected step needed, and to what needed it; its whole wait as a line below the bar.
  drawLinks(context, attempt, bar) {
    context.lineWidth = 1.4;
    context.strokeStyle = marks.colours.ink;
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(this.x(attempt.ready), bar.y + bar.height + 2);
    context.lineTo(bar.x, bar.y + bar.height + 2);
    context.stroke();
    context.setLineDash([]);
    const { steps } = this.cell;
    const before = [...attempt.step.parents, ...attempt.step.order].map((index) => [steps[index].attempts.at(-1), attempt]);
    const after = attempt.step.children.map((index) => [attempt.step.attempts.at(-1), steps[index].attempts[0]]);
    for (const [source, target] of [...before, ...after].slice(0, LINKS_DRAWN)) {
      if (!source || !target || !this.rowsOf(source).length || !this.rowsOf(target).length) continue;
      const [one, other] = [this.rect(source), this.rect(target)];
      const [x1, y1, x2, y2] = [one.x + one.width, one.y + one.height / 2, other.x, other.y + other.height / 2];
      const bend = Math.max(14, Math.abs(x2 - x1) / 3);
      context.beginPath();
      context.moveTo(x1, y1);
      context.bezierCurveTo(x1 + bend, y1, x2 - bend, y2, x2, y2);
      context.stroke();
      context.beginPath();
      context.arc(x2, y2, 2.5, 0, 7);
      context.fillStyle = marks.colours.ink;
      context.fill();
    }
  }

  at(x, y) {
    const number = Math.floor((y - AXIS_HEIGHT + this.scroller.scrollTop) / this.rowHeight);
    const row = this.rows[number];
    if (!row || y < AXIS_HEIGHT || x < this.gutter) return null;
    let best = null;
    for (const attempt of row) {
      const bar = this.rect(attempt, number);
      if (x >= bar.x - 2 && x <= bar.x + bar.width + 2) best = attempt;
      else if (!best && x >= this.x(attempt.waitsFrom) && x < bar.x && attempt.before.length) best = attempt;
    }
    return best;
  }

  scrollTo(attempt) {
    this.measure();
    if (!this.rowsOf(attempt).length) return;
    const y = this.rowOf(attempt) * this.rowHeight;
    const seen = this.height - AXIS_HEIGHT - this.rowHeight;
    if (y < this.scroller.scrollTop || y > this.scroller.scrollTop + seen) this.scroller.scrollTop = y - seen / 2;
  }

  listen() {
    const { canvas } = this;
    let grip = null;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button === 0) grip = { x: event.clientX, from: view.from, moved: false };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (grip && Math.abs(event.clientX - grip.x) > 3) {
        if (!grip.moved) canvas.setPointerCapture(event.pointerId);
        grip.moved = true;
        canvas.classList.add("dragging");
        const wished = grip.from - (event.clientX - grip.x) / this.scale;
        pan((wished - view.from) / (view.to - view.from));
      } else if (!grip) {
        this.hover(this.at(...place(event)), event);
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      if (grip && !grip.moved) select(this.at(...place(event)));
      grip = null;
      canvas.classList.remove("dragging");
    });
    canvas.addEventListener("pointercancel", () => { grip = null; });
    canvas.addEventListener("pointerleave", () => this.hover(null));
    canvas.addEventListener("dblclick", (event) => {
      const attempt = this.at(...place(event));
      if (attempt) zoomTo(attempt);
    });
    canvas.addEventListener("wheel", (event) => this.wheel(event, place(event)[0]), { passive: false });
    canvas.addEventListener("keydown", (event) => walk(event, this));
  }

  hover(attempt, event) {
    if (attempt !== this.hovered) {
      this.hovered = attempt;
      redraw();
    }
    showTip(attempt, event);
  }

  wheel(event, x) {
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY * 0.0025), this.time(Math.max(this.gutter, x)));
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(sideways / (this.width || 1));
    else return;
    event.preventDefault();
  }
}
