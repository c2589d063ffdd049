// Capacities that were found out (`capacity: auto`): a step line for each, below the curves, on the same axis.

const CAPACITY_ROW = 58;
const CAPACITY_PART = { top: 10, height: 40 };

class Capacities {
  constructor(gantt, canvas) {
    this.gantt = gantt;
    this.canvas = canvas;
  }

  draw() {
    const { gantt } = this;
    const { capacities } = gantt.cell;
    const context = prepare(this.canvas, gantt.width, CAPACITY_ROW * capacities.length);
    capacities.forEach((curve, number) => {
      context.save();
      context.translate(0, CAPACITY_ROW * number);
      drawAxis(context, gantt, clipped(context, curve.name, gantt.gutter - 44), CAPACITY_PART, curve.most);
      context.beginPath();
      context.rect(gantt.gutter, 0, gantt.width - gantt.gutter - RIGHT_MARGIN, CAPACITY_ROW);
      context.clip();
      this.line(context, curve);
      context.restore();
    });
  }

  // Times far outside of what is looked at are brought to its edge: a canvas draws no line of any length.
  line(context, curve) {
    const { gantt } = this;
    const y = (capacity) => CAPACITY_PART.top + CAPACITY_PART.height * (1 - capacity / curve.most);
    const x = (time) => Math.max(-10, Math.min(gantt.width + 10, gantt.x(time)));
    context.beginPath();
    context.moveTo(x(curve.times[0]), y(curve.levels[0]));
    curve.times.forEach((time, place) => {
      context.lineTo(x(time), y(curve.levels[Math.max(0, place - 1)]));
      context.lineTo(x(time), y(curve.levels[place]));
    });
    context.lineTo(x(gantt.cell.makespan), y(curve.levels.at(-1)));
    context.strokeStyle = marks.colours.path;
    context.lineWidth = 2;
    context.stroke();
  }
}
