// Rows from series, and the transformations of Grafana that the dashboards use. Pure.
// A frame is {columns: [names], rows: [{name: value}]}.

export function tableOf(answers) {
  const single = answers.length === 1;
  const frames = answers.map(({ letter, found }) => {
    const value = single ? "Value" : `Value #${letter}`;
    const rows = found.flatMap((one) => one.values.map(([at, number]) => ({ Time: at, ...one.labels, [value]: number })));
    return { columns: columnsOf(rows), rows };
  });
  return frames;
}

export function transformed(frames, transformations) {
  let current = frames;
  for (const { id, options } of transformations || []) {
    const transform = TRANSFORMATIONS[id];
    if (!transform) throw new Error(`the preview knows no transformation ${id}`);
    current = transform(current, options);
  }
  return current[0] || { columns: [], rows: [] };
}

const TRANSFORMATIONS = {
  // Rows with the same labels become one row.
  merge(frames) {
    const merged = new Map();
    for (const frame of frames) {
      for (const row of frame.rows) {
        const labels = Object.entries(row).filter(([name]) => !name.startsWith("Value") && name !== "__name__");
        const key = JSON.stringify(labels.sort());
        merged.set(key, { ...merged.get(key), ...row });
      }
    }
    const rows = [...merged.values()];
    return [{ columns: columnsOf(rows), rows }];
  },
  groupingToMatrix(frames, { rowField, columnField, valueField }) {
    const first = `${rowField}\\${columnField}`;
    const rows = new Map();
    const columns = new Set();
    for (const row of frames.flatMap((frame) => frame.rows)) {
      const name = String(row[rowField] ?? "");
      if (!rows.has(name)) rows.set(name, { [first]: name });
      columns.add(String(row[columnField] ?? ""));
      rows.get(name)[String(row[columnField] ?? "")] = row[valueField];
    }
    return [{ columns: [first, ...columns], rows: [...rows.values()] }];
  },
  convertFieldType([frame, ...rest], { conversions }) {
    const rows = frame.rows.map((row) => {
      const changed = { ...row };
      for (const { targetField } of conversions) changed[targetField] = Number(row[targetField]);
      return changed;
    });
    return [{ ...frame, rows }, ...rest];
  },
  sortBy([frame, ...rest], { sort }) {
    const [{ field, desc }] = sort;
    const rows = [...frame.rows].sort((one, other) => (desc ? -1 : 1) * compared(one[field], other[field]));
    return [{ ...frame, rows }, ...rest];
  },
  organize([frame, ...rest], { excludeByName, indexByName, renameByName }) {
    const place = (name) => indexByName[name] ?? Number.MAX_SAFE_INTEGER;
    const kept = frame.columns.filter((name) => !excludeByName[name]).sort((one, other) => place(one) - place(other));
    const named = (name) => renameByName[name] || name;
    const rows = frame.rows.map((row) => Object.fromEntries(kept.map((name) => [named(name), row[name]])));
    return [{ columns: kept.map(named), rows, times: frame.rows.map((row) => row.Time) }, ...rest];
  },
};

function compared(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), undefined, { numeric: true });
}

function columnsOf(rows) {
  return [...new Set(rows.flatMap((row) => Object.keys(row)))];
}
