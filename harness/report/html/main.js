// Puts the parts together: panels, toolbar, theme, printing, and what scripts and tests may ask (window.makespan).

const byId = (id) => document.getElementById(id);
const panels = [...document.querySelectorAll(".panel")];
const gantts = panels.map((panel) => new Gantt(CELLS[Number(panel.dataset.cell)], panel));
const curves = panels.map((panel, number) => new Curves(gantts[number], panel));
const capacities = panels.map((panel, number) => {
  const canvas = panel.querySelector("canvas.capacities");
  return canvas && new Capacities(gantts[number], canvas);
});
drawers.push(() => {
  panels.forEach((panel, number) => {
    if (panel.hidden) return;
    for (const drawing of [gantts[number], curves[number], capacities[number]]) drawing?.draw();
  });
});

// Which cells have their charts open: chosen in a list, opened by a link to one.
const cellBoxes = [...document.querySelectorAll("#cell-list input")];

function showCells(wanted) {
  for (const box of cellBoxes) box.checked = wanted(Number(box.value));
  panels.forEach((panel, number) => { panel.hidden = cellBoxes.length > 0 && !wanted(number); });
  redraw();
}

const isShown = (number) => !panels[number].hidden;
const showCell = (wanted) => showCells((number) => number === wanted || isShown(number));
for (const box of cellBoxes) box.addEventListener("change", () => showCells((number) => cellBoxes[number].checked));
byId("cells-all")?.addEventListener("click", () => showCells(() => true));
byId("cells-none")?.addEventListener("click", () => showCells(() => false));

function openNamedCell() {
  const number = Number(/^#cell-(\d+)$/.exec(window.location.hash)?.[1] ?? -1);
  if (!panels[number]) return;
  showCell(number);
  panels[number].scrollIntoView();
}
window.addEventListener("hashchange", openNamedCell);

function repaint() {
  readColours();
  drawLegend(byId("legend"));
  redraw();
}

// Theme: the system's until someone chooses.
const root = document.documentElement;
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

function setTheme(theme) {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  const button = byId("theme");
  button.textContent = isDark() ? "Light" : "Dark";
  button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  repaint();
}
byId("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
systemDark.addEventListener("change", () => setTheme(root.dataset.theme));

let themeBeforePrint;
let closedNotes = [];
window.addEventListener("beforeprint", () => {
  themeBeforePrint = root.dataset.theme;
  closedNotes = [...document.querySelectorAll(".notes:not([open])")];
  for (const notes of closedNotes) notes.open = true;
  setTheme("light");
  redrawNow();
});
window.addEventListener("afterprint", () => {
  for (const notes of closedNotes) notes.open = false;
  setTheme(themeBeforePrint);
});

// Toolbar.
byId("zoom-in").addEventListener("click", () => zoom(1.6));
byId("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
byId("pan-left").addEventListener("click", () => pan(-0.2));
byId("pan-right").addEventListener("click", () => pan(0.2));
byId("zoom-fit").addEventListener("click", fit);
byId("rows").value = view.rows;
byId("rows").addEventListener("change", (event) => {
  view.rows = event.target.value;
  redraw();
});
byId("critical").addEventListener("change", (event) => {
  view.criticalOnly = event.target.checked;
  redraw();
});

const searchField = byId("search");
searchField.addEventListener("input", () => {
  search(searchField.value);
  const whole = sum(CELLS.map((cell) => cell.steps.length));
  byId("found").textContent = view.query ? `${view.found.size} of ${whole} steps` : "";
  for (const plan of document.querySelectorAll(".plan")) {
    const { steps } = CELLS[Number(plan.dataset.cell)];
    for (const node of plan.querySelectorAll(".node")) {
      node.classList.toggle("dim", Boolean(view.query) && !view.found.has(steps[Number(node.dataset.step)]));
    }
  }
});
searchField.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    searchField.value = "";
    searchField.dispatchEvent(new Event("input"));
  }
  if (event.key !== "Enter") return;
  const found = [...view.found].flatMap((step) => step.attempts);
  const next = found[(found.indexOf(view.selected) + 1) % Math.max(1, found.length)];
  if (next) select(next);
});

byId("details-show").addEventListener("click", () => {
  showCell(view.selected.cell);
  redrawNow();
  panels[view.selected.cell].scrollIntoView({ block: "center" });
  gantts[view.selected.cell].canvas.focus({ preventScroll: true });
});
byId("details-close").addEventListener("click", () => select(null));
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    searchField.focus();
  } else if (event.key === "Escape" && !typing) select(null);
});
for (const plan of document.querySelectorAll(".plan")) {
  const { steps } = CELLS[Number(plan.dataset.cell)];
  plan.addEventListener("click", (event) => {
    const node = event.target.closest(".node");
    const attempt = node && steps[Number(node.dataset.step)].attempts.at(-1);
    if (attempt) select(attempt);
  });
}

if (byId("steps-table")) makeTables();
setTheme(root.dataset.theme);
fit();
redrawNow();
const resized = new ResizeObserver(redraw);
for (const panel of panels) resized.observe(panel);
openNamedCell();
// A drawing that is higher or wider than its window begins in the middle of its height, where its first step is.
for (const graph of document.querySelectorAll(".graph")) graph.scrollTop = (graph.scrollHeight - graph.clientHeight) / 2;
window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`).addEventListener("change", repaint);

const attemptOf = (stepId, { cell = 0, attempt = null } = {}) => {
  const attempts = CELLS[cell]?.steps.find((step) => step.id === stepId)?.attempts ?? [];
  return attempt === null ? attempts.at(-1) : attempts.find((one) => one.number === attempt);
};

window.makespan = Object.freeze({
  cells: CELLS.map((cell) => cell.label),
  showCells: (numbers) => showCells((number) => numbers.includes(number)),
  // {x, y, width, height} of a bar in CSS pixels of its cell's canvas, null for a step that has none or is not shown.
  barRect(stepId, options = {}) {
    const found = attemptOf(stepId, options);
    if (!found || !isShown(found.cell)) return null;
    redrawNow();
    return gantts[found.cell].rect(found);
  },
  window: () => ({ from: view.from / 1e9, to: view.to / 1e9 }), // seconds
  show: (fromSeconds, toSeconds) => show(fromSeconds * 1e9, toSeconds * 1e9),
  select: (stepId, options = {}) => select(attemptOf(stepId, options) ?? null),
  setRows(rows) {
    byId("rows").value = rows;
    byId("rows").dispatchEvent(new Event("change"));
  },
});
