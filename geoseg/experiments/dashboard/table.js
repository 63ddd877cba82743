// The table: a row a configuration, with every seed a dot, or a row a trial; sorted by any column.
"use strict";
const Table = (() => {
  const WIDTH = 170, HEIGHT = 24, EDGE = 8;
  const plain = value => value === null || value === undefined || value === "";

  // Orders values: numbers as numbers, texts as texts, what is missing last in either direction.
  function compare(one, other, direction) {
    if (plain(one) || plain(other)) return plain(one) - plain(other);
    const a = Number(one), b = Number(other);
    const order = Number.isFinite(a) && Number.isFinite(b) ? a - b : String(one).localeCompare(String(other), "en", {numeric: true});
    return direction * order;
  }

  function sorted(rows, columns, sort) {
    const column = columns.find(each => each.id === sort.id) || columns[0];
    return rows.map((row, at) => ({row, at, value: column.of(row)}))
      .sort((one, other) => compare(one.value, other.value, sort.direction) || one.at - other.at).map(each => each.row);
  }

  // Every seed a dot, with their mean and range; rings have not finished.
  function strip(trials, found, [low, high], describe) {
    const x = score => EDGE + (high > low ? (score - low) / (high - low) : 0.5) * (WIDTH - 2 * EDGE);
    const scored = trials.filter(trial => trial.score !== null);
    if (!scored.length) return el("span", {class: "quiet"}, "no score");
    const label = `${scored.length} scores, ${Format.score(found.min)} to ${Format.score(found.max)}, mean ${Format.score(found.mean)}`;
    const middle = HEIGHT / 2;
    return svg("svg", {class: "strip", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": label},
      svg("line", {class: "axis-line", x1: EDGE, x2: WIDTH - EDGE, y1: middle, y2: middle}),
      found.count > 1 && svg("line", {class: "range", x1: x(found.min), x2: x(found.max), y1: middle, y2: middle}),
      scored.map(trial => {
        const dot = svg("circle", {
          class: trial.status === "finished" ? "dot" : "dot ring", cx: x(trial.score), cy: middle, r: 4, "data-trial": trial.trial,
        }, svg("title", {}, describe(trial)));
        return trial.report ? svg("a", {href: trial.report, tabindex: "-1"}, dot) : dot;
      }),
      found.count > 0 && svg("line", {class: "mean", x1: x(found.mean), x2: x(found.mean), y1: 3, y2: HEIGHT - 3}));
  }

  function status(trial) {
    return el("span", {class: "status " + trial.status}, trial.status);
  }

  function fill(table, columns, rows, sort, act) {
    const head = el("tr", {}, columns.map(column => {
      const is = column.id === sort.id;
      return el("th", {scope: "col", class: column.left ? "left" : null, "aria-sort": is ? (sort.direction > 0 ? "ascending" : "descending") : null},
        column.of === undefined || column.fixed ? column.title : el("button", {type: "button", class: "sorter", "data-column": column.id, onclick: () => act.sort(column.id)},
          column.title, el("span", {"aria-hidden": "true", class: "arrow"}, is ? (sort.direction > 0 ? "▲" : "▼") : "")));
    }));
    put(table.tHead, head);
    put(table.tBodies[0], rows.map(row => el("tr", {
      "data-row": row.trial || row.key, class: act.mark(row), onpointerenter: () => act.hot(row), onpointerleave: () => act.hot(null),
    }, columns.map(column => el("td", {class: column.left ? "left" : null}, column.cell(row))))));
    if (!rows.length)
      table.tBodies[0].append(el("tr", {}, el("td", {colspan: columns.length, class: "left quiet"}, "Nothing passes the filters.")));
  }

  return {compare, fill, sorted, status, strip};
})();
