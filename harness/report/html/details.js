// What is said about an attempt: a tip below the pointer, a card for the selected one, an announcement for those who
// listen; and the keyboard's way from bar to bar.

const tip = document.getElementById("tip");
const details = document.getElementById("details");
const announcement = document.getElementById("announcement");

const nameOf = (attempt) => (attempt.number > 1 ? `${attempt.step.id} (attempt ${attempt.number})` : attempt.step.id);

function sentence(attempt) {
  const parts = [`${nameOf(attempt)}: ${attempt.outcome ?? "not ended"}, ran ${durationText(runTime(attempt))}`];
  if (attempt.step.critical) parts.push("on the critical path");
  for (const { reason, time } of waitedFor(attempt)) parts.push(`waited ${durationText(time)} for ${reason}`);
  return parts.join(", ");
}

function showTip(attempt, event) {
  tip.hidden = !attempt;
  if (!attempt) return;
  const lines = [nameOf(attempt)];
  if (attempt.step.description) lines.push(attempt.step.description);
  lines.push(`${attempt.outcome ?? "not ended"}, ran ${durationText(runTime(attempt))} on ${CELLS[attempt.cell].lanes[attempt.lane]}${attempt.devices ? `, with ${attempt.devices}` : ""}`);
  const waits = waitedFor(attempt);
  for (const { reason, time } of waits.slice(0, 5)) lines.push(`waited ${durationText(time)} for ${reason}`);
  if (waits.length > 5) lines.push(`… and for ${waits.length - 5} more reasons`);
  if (attempt.step.critical) lines.push("on the critical path");
  tip.textContent = lines.join("\n");
  const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  const below = event.clientY + 18;
  const top = below + tip.offsetHeight > window.innerHeight ? event.clientY - tip.offsetHeight - 10 : below;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

function facts(attempt) {
  const { step } = attempt;
  const { steps, lanes, label } = CELLS[attempt.cell];
  const names = (indices) => (indices.length ? indices.slice(0, 12).map((index) => steps[index].id).join(", ") + (indices.length > 12 ? ` and ${indices.length - 12} more` : "") : null);
  const interval = ({ from, to }) => `${durationText(to - from)}, from ${durationText(from)}`;
  return [
    ["cell", label],
    ["about", step.description],
    ["tool", step.tool],
    ["attempt", `${attempt.number} of ${step.attempts.length}: ${attempt.outcome ?? "not ended"}`],
    ["worker", lanes[attempt.lane]],
    ["devices", attempt.devices],
    ["ran", `${durationText(runTime(attempt))}, from ${durationText(attempt.from)} to ${durationText(attempt.to)}`],
    ["ready at", durationText(attempt.ready)],
    ...waitedFor(attempt).slice(0, 12).map(({ reason, time }) => [`waited: ${reason}`, durationText(time)]),
    ...attempt.blocked.slice(0, 12).map((pause) => ["blocked on calls", interval(pause)]),
    ["CPU time", attempt.cpu === null ? null : durationText(attempt.cpu)],
    ["critical path", step.critical ? `yes, ${durationText(step.criticalTime)} of it` : "no"],
    ["released by", attempt.released?.id],
    ["depends on", names(step.parents)],
    ["in order after", names(step.order)],
    ["needed by", names(step.children)],
    ["called by", step.nested < 0 ? null : steps[step.nested].id],
    ["needs", step.needs],
    ["error", step.error],
    ["output", step.output],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
}

selectionListeners.push((attempt, announce) => {
  details.hidden = !attempt;
  for (const node of document.querySelectorAll(".node.selected")) node.classList.remove("selected");
  if (!attempt) return;
  details.querySelector("h3").textContent = nameOf(attempt);
  details.querySelector("dl").replaceChildren(
    ...facts(attempt).flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]),
  );
  gantts[attempt.cell].scrollTo(attempt);
  if (announce) announcement.textContent = sentence(attempt);
  const plan = document.querySelector(`.plan[data-cell="${attempt.cell}"]`);
  plan?.querySelector(`.node[data-step="${attempt.step.index}"]`)?.classList.add("selected");
});

// The bar in another row that is nearest in time.
function nearestInRow(gantt, attempt, direction) {
  for (let row = gantt.rowOf(attempt) + direction; row >= 0 && row < gantt.rows.length; row += direction) {
    const candidates = gantt.rows[row];
    if (!candidates.length) continue;
    const distance = (one) => Math.abs(one.from - attempt.from);
    return candidates.reduce((best, one) => (distance(one) < distance(best) ? one : best));
  }
  return attempt;
}

function along(list, attempt, direction) {
  const place = list.indexOf(attempt);
  return list[Math.max(0, Math.min(list.length - 1, place < 0 ? 0 : place + direction))];
}

function walk(event, gantt) {
  const { cell } = gantt;
  if (event.ctrlKey || event.metaKey || event.altKey || !cell.attempts.length) return;
  const current = view.selected?.cell === cell.number ? view.selected : null;
  const inTime = () => (cell.inTime ??= [...cell.attempts].sort((one, other) => one.from - other.from || one.place - other.place));
  const moves = {
    ArrowRight: () => select(current ? along(inTime(), current, 1) : inTime()[0]),
    ArrowLeft: () => select(current ? along(inTime(), current, -1) : inTime()[0]),
    ArrowDown: () => select(current ? nearestInRow(gantt, current, 1) : inTime()[0]),
    ArrowUp: () => select(current ? nearestInRow(gantt, current, -1) : inTime()[0]),
    Home: () => select(inTime()[0]),
    End: () => select(inTime().at(-1)),
    Enter: () => current && zoomTo(current),
    Escape: () => select(null),
    c: () => select(nextCritical(inTime(), current)),
    "+": () => zoom(1.6),
    "=": () => zoom(1.6),
    "-": () => zoom(1 / 1.6),
    0: fit,
  };
  const shifted = { ArrowRight: () => pan(0.2), ArrowLeft: () => pan(-0.2) };
  const move = (event.shiftKey && shifted[event.key]) || moves[event.key] || moves[event.key.toLowerCase()];
  if (!move) return;
  event.preventDefault();
  move();
}

function nextCritical(list, current) {
  const critical = list.filter((attempt) => attempt.step.critical);
  return critical[(critical.indexOf(current) + 1) % Math.max(1, critical.length)] ?? current;
}
