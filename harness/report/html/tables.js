// The tables of steps and attempts: sorted by a click on a heading, filtered, a page at a time.

// On a narrow screen a row is a card.
const PAGE_ROWS = window.matchMedia("(max-width: 700px)").matches ? 10 : 50;
// Longer texts are cut here; the card of a step has more of them.
const TEXT_SHOWN = 140;
const SHORT_TEXT = 16;

class DataTable {
  constructor(root, caption, columns) {
    Object.assign(this, { root, caption, allColumns: columns, rows: [], shown: [], page: 0, sortedBy: -1, descending: false });
    this.body = element("tbody");
    this.title = element("caption");
    this.head = element("tr");
    const table = element("table", { className: "cards" }, this.title, element("thead", {}, this.head), this.body);
    this.status = element("span");
    this.buttons = [["Previous", -1], ["Next", 1]].map(([name, step]) => {
      const button = element("button", { type: "button", textContent: name });
      button.addEventListener("click", () => {
        this.page += step;
        this.render();
      });
      return button;
    });
    const scroll = element("div", { className: "scroll", tabIndex: 0, attributes: { role: "region", "aria-label": caption } }, table);
    root.append(scroll, element("div", { className: "pager" }, ...this.buttons, this.status));
  }

  // The columns in which some row of this cell says something.
  setColumns(columns) {
    this.columns = columns;
    this.sortedBy = -1;
    this.heads = columns.map((column, number) => {
      const button = element("button", { type: "button", textContent: column.name });
      button.addEventListener("click", () => this.sort(number));
      return element("th", { scope: "col", className: column.number ? "number" : "" }, button);
    });
    this.head.replaceChildren(...this.heads);
  }

  setRows(rows, filter) {
    if (rows !== this.rows) this.setColumns(saying(this.allColumns, rows));
    this.rows = rows;
    this.root.hidden = !rows.length;
    this.filter(filter);
  }

  filter(query) {
    const wanted = query.trim().toLocaleLowerCase();
    const holds = (row) => this.columns.some((column) => !column.number && String(column.text(row) ?? "").toLocaleLowerCase().includes(wanted));
    this.shown = wanted ? this.rows.filter(holds) : [...this.rows];
    this.order();
  }

  sort(number) {
    this.descending = this.sortedBy === number ? !this.descending : Boolean(this.columns[number].number);
    this.sortedBy = number;
    this.order();
  }

  order() {
    this.page = 0;
    const column = this.columns[this.sortedBy];
    if (column) {
      const value = column.value ?? column.text;
      const sign = this.descending ? -1 : 1;
      const missing = (one) => one === null || one === undefined;
      this.shown.sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        return sign * (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
      });
    }
    this.render();
  }

  render() {
    const pages = Math.max(1, Math.ceil(this.shown.length / PAGE_ROWS));
    this.page = Math.max(0, Math.min(pages - 1, this.page));
    this.heads.forEach((head, number) => {
      head.setAttribute("aria-sort", number !== this.sortedBy ? "none" : this.descending ? "descending" : "ascending");
    });
    this.body.replaceChildren(...this.shown.slice(this.page * PAGE_ROWS, (this.page + 1) * PAGE_ROWS).map((row) => this.row(row)));
    this.title.textContent = `${this.caption} (${this.shown.length.toLocaleString("en")})`;
    this.status.textContent = `page ${this.page + 1} of ${pages}`;
    this.buttons[0].disabled = this.page === 0;
    this.buttons[1].disabled = this.page === pages - 1;
    this.buttons[0].parentElement.hidden = pages === 1;
  }

  row(item) {
    const cells = this.columns.map((column, number) => {
      const text = String(column.text(item) ?? "");
      const shown = text.length > TEXT_SHOWN ? `${text.slice(0, TEXT_SHOWN - 1)}…` : text;
      const kind = column.number ? "number" : column.isWide ? "text" : "";
      const cell = element(number ? "td" : "th", { className: text ? kind : `${kind} blank` });
      cell.dataset.name = column.name;
      if (!number) cell.scope = "row";
      cell.append(element("span", { textContent: shown, title: shown === text ? "" : text }));
      return cell;
    });
    const made = element("tr", { className: "click" }, ...cells);
    made.addEventListener("click", () => {
      const attempt = item.step ? item : item.attempts.at(-1);
      if (attempt) select(attempt);
    });
    return made;
  }
}

// The columns in which some row says something; those with long texts wrap.
function saying(columns, rows) {
  const texts = (column) => rows.map((row) => String(column.text(row) ?? ""));
  return columns
    .filter((column) => column.isKept || texts(column).some((text) => text && text !== "–"))
    .map((column) => ({ ...column, isWide: !column.number && texts(column).some((text) => text.length > SHORT_TEXT) }));
}

const time = (name, value) => ({ name, number: true, value, text: (row) => durationText(value(row)) });
// Also of a step of another cell than the chosen one: each knows its own.
const names = (step, indices) => indices.map((index) => CELLS[step.cell].steps[index].id).join(", ");

function makeTables() {
  const chosen = document.getElementById("table-cell");
  const filter = document.getElementById("table-filter");
  const cell = () => CELLS[Number(chosen?.value ?? 0)];
  const stepColumns = [
    { name: "step", isKept: true, text: (step) => step.id },
    { name: "about", text: (step) => step.description },
    { name: "status", text: (step) => step.status },
    { name: "attempts", number: true, value: (step) => step.attempts.length, text: (step) => step.attempts.length },
    time("run time", (step) => sum(step.attempts.map(runTime))),
    time("waited", (step) => sum(step.attempts.map(waited))),
    time("on the critical path", (step) => (step.critical ? step.criticalTime : null)),
    { name: "depends on", text: (step) => names(step, step.parents) },
    { name: "in order after", text: (step) => names(step, step.order) },
    { name: "called by", text: (step) => (step.nested < 0 ? "" : CELLS[step.cell].steps[step.nested].id) },
    { name: "needs", text: (step) => step.needs },
    { name: "error", text: (step) => step.error },
    { name: "output", text: (step) => step.output },
  ];
  const attemptColumns = [
    { name: "step", isKept: true, text: (attempt) => attempt.step.id },
    { name: "attempt", number: true, value: (attempt) => attempt.number, text: (attempt) => attempt.number },
    { name: "outcome", text: (attempt) => attempt.outcome },
    { name: "worker", text: (attempt) => CELLS[attempt.cell].lanes[attempt.lane] },
    time("ready", (attempt) => attempt.ready),
    time("granted", (attempt) => attempt.granted),
    time("started", (attempt) => attempt.started),
    time("ended", (attempt) => attempt.ended),
    time("known", (attempt) => attempt.known),
    time("run time", runTime),
    { name: "waits", text: (attempt) => waitedFor(attempt).map(({ reason, time }) => `${reason} ${durationText(time)}`).join(", ") },
    { name: "blocked", text: (attempt) => attempt.blocked.map((pause) => durationText(pause.to - pause.from)).join(", ") },
    { name: "released by", text: (attempt) => attempt.released?.id },
    time("CPU time", (attempt) => attempt.cpu),
  ];
  const steps = new DataTable(document.getElementById("steps-table"), "Steps", stepColumns);
  const attempts = new DataTable(document.getElementById("attempts-table"), "Attempts", attemptColumns);
  const fill = () => {
    steps.setRows(cell().steps, filter.value);
    attempts.setRows(cell().attempts, filter.value);
  };
  chosen?.addEventListener("change", fill);
  filter.addEventListener("input", fill);
  fill();
}
