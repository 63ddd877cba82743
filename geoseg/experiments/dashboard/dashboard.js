// The page: its state, its filters, and what they do to every part.
"use strict";
const data = JSON.parse(section("data").textContent);
const STATUSES = ["finished", "running", "waiting", "pruned", "failed"];
const MOST_CHIPS = 12, MOST_ROWS = 8;
for (const [at, trial] of data.trials.entries()) { trial.at = at; trial.key = JSON.stringify(trial.values); }
const distinct = values => [...new Set(values)];
const valuesOf = place => distinct(data.trials.map(trial => trial.values[place])).sort((one, other) => Table.compare(one, other, 1));
const varying = data.parameters.map((path, place) => ({path, place, values: valuesOf(place)})).filter(each => each.values.length > 1);
const constant = data.parameters.map((path, place) => ({path, value: valuesOf(place)[0]})).filter(({path}) => !varying.some(each => each.path === path));
const short = path => {
  const last = path.split(".").pop();
  return data.parameters.filter(each => each.split(".").pop() === last).length > 1 ? path : last;
};
const words = values => varying.map(({path, place}) => `${short(path)} ${Format.value(values[place])}`).join(", ") || "the only configuration";
const folded = data.trials.some(trial => trial.fold !== null);

const state = {
  hidden: new Map(), text: "", between: new Map(), brushes: {curves: null, cost: null}, areas: {curves: null, cost: null},
  rows: "configurations", sort: {configurations: {id: "score", direction: data.goal === "min" ? 1 : -1}, trials: {id: "trial", direction: 1}},
  curve: 0, cost: "cpu", first: null, second: null, trial: {A: null, B: null},
};

const dimensions = [
  ...varying.map(({path, place, values}) => ({id: "parameter " + path, title: path, values, of: trial => trial.values[place]})),
  {id: "stage", title: "stage", values: data.stages, of: trial => trial.stage},
  {id: "status", title: "status", values: STATUSES.filter(status => data.trials.some(trial => trial.status === status)), of: trial => trial.status},
].filter(each => each.values.length > 1);

function passes(trial) {
  for (const {id, of} of dimensions) {
    if (state.hidden.get(id)?.has(of(trial))) return false;
    const limits = state.between.get(id);
    if (limits && !(of(trial) !== null && Number(of(trial)) >= limits[0] && Number(of(trial)) <= limits[1])) return false;
  }
  const text = [trial.trial, trial.stage, trial.status, trial.reason, `seed ${trial.seed}`, ...trial.values.map(Format.value)].join(" ").toLowerCase();
  return state.text.toLowerCase().split(/\s+/).every(word => text.includes(word));
}

const numeric = values => values.every(value => value === null || (value.trim() !== "" && Number.isFinite(Number(value))));

const filtered = () => data.trials.filter(passes);
const inBrush = (name, trial) => state.brushes[name] === null || state.brushes[name].has(trial.trial);
const visible = () => filtered().filter(trial => inBrush("curves", trial) && inBrush("cost", trial));

function changed(stays) {
  for (const name of ["curves", "cost"]) rebrush(name);
  draw(stays);
}

// Filters.

function chips({id, title, values}) {
  const hidden = () => state.hidden.get(id) || new Set();
  const turn = value => {
    const next = new Set(hidden());
    if (!next.delete(value)) next.add(value);
    state.hidden.set(id, next);
    changed();
  };
  return el("fieldset", {}, el("legend", {}, whole(title)), values.map(value => el("label", {class: "chip"},
    el("input", {type: "checkbox", checked: !hidden().has(value), "data-filter": id, "data-value": String(value), onchange: () => turn(value)}), el("span", {}, whole(Format.value(value))))));
}

function range({id, title, values}) {
  const numbers = values.filter(value => value !== null).map(Number), limits = [Math.min(...numbers), Math.max(...numbers)];
  const given = state.between.get(id) || [-Infinity, Infinity];
  const input = end => el("input", {
    type: "number", step: "any", value: Number.isFinite(given[end]) ? given[end] : limits[end], "aria-label": `${title}, ${end ? "largest" : "smallest"}`, "data-filter": id,
    onchange: event => {
      const next = [...(state.between.get(id) || [-Infinity, Infinity])];
      next[end] = event.target.value === "" ? (end ? Infinity : -Infinity) : Number(event.target.value);
      state.between.set(id, next);
      changed();
    },
  });
  return el("fieldset", {}, el("legend", {}, whole(title)), input(0), " to ", input(1));
}

function filters() {
  const search = el("input", {type: "search", id: "search", value: state.text, placeholder: "any words: values, seed 2, reason …", oninput: event => { state.text = event.target.value; changed(); }});
  put(section("filter-parts"), 
    el("fieldset", {class: "search"}, el("legend", {}, "text"), search),
    ...dimensions.map(each => each.values.length <= MOST_CHIPS ? chips(each)
      : numeric(each.values) ? range(each) : null));
}

function reset() {
  state.hidden.clear();
  state.between.clear();
  state.text = "";
  filters();
  unbrush("curves");
  unbrush("cost");
  changed();
}

function said(trials) {
  const button = (text, id, act) => el("button", {type: "button", class: "small-button", id, onclick: event => { event.preventDefault(); act(); }}, text);
  const brushes = Object.entries(state.brushes).filter(([, set]) => set !== null)
    .map(([name, set]) => button(`rectangle in ${name === "curves" ? "the curves" : "cost"}: ${Format.count(set.size, "trial")} ×`, "unbrush-" + name, () => { unbrush(name); draw(); }));
  const some = trials.length < data.trials.length;
  put(section("shown"), some ? `${trials.length} of ${Format.count(data.trials.length, "trial")} shown ` : `all ${Format.count(data.trials.length, "trial")} shown`,
    ...brushes, ...(some ? [button("Show all", "reset", reset)] : []));
}

// Rectangles drawn in charts.

function crosses(points, [left, right], [low, high]) {
  const inside = ([x, y]) => x >= left && x <= right && y >= low && y <= high;
  return points.some((point, at) => {
    if (inside(point)) return true;
    if (!at) return false;
    const [x, y] = points[at - 1], dx = point[0] - x, dy = point[1] - y;
    let from = 0, to = 1;
    for (const [step, room] of [[-dx, x - left], [dx, right - x], [-dy, y - low], [dy, high - y]]) {
      if (step === 0) { if (room < 0) return false; continue; }
      if (step < 0) from = Math.max(from, room / step); else to = Math.min(to, room / step);
    }
    return from <= to;
  });
}

function rebrush(name) {
  const area = state.areas[name];
  if (!area) { state.brushes[name] = null; return; }
  const trials = filtered().filter(trial => inBrush(name === "curves" ? "cost" : "curves", trial));
  const kept = name === "curves"
    ? trials.filter(trial => crosses(curve(trial), area.epoch, area.value))
    : trials.filter(trial => trial.status === "finished").filter(trial => { const [cost, score] = spot(trial); return cost !== null && score !== null && crosses([[cost, score]], area.cost, area.score); });
  state.brushes[name] = new Set(kept.map(trial => trial.trial));
}

function brushed(name, value) {
  const ends = Object.values(value || {});
  state.areas[name] = ends.length === 2 ? Object.fromEntries(Object.entries(value).map(([field, pair]) => [field, [Math.min(...pair), Math.max(...pair)]])) : null;
  rebrush(name);
  // While the mouse is down only the chart follows: all else would move it from under the mouse.
  if (drag.down) {
    drag.chart = name;
    Charts.signal("chosen", chosen(name), name + "-plot");
    Charts.signal("brushed", state.brushes[name] !== null, name + "-plot");
  } else settle(name);
}

const drag = {down: false, chart: null};
addEventListener("pointerdown", () => { drag.down = true; }, true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => {
  drag.down = false;
  if (drag.chart) settle(drag.chart);
  drag.chart = null;
}, true);

// Draws everything anew, and leaves a chart where it is in the window.
function settle(name) { changed(section(name)); }

async function unbrush(name) {
  state.areas[name] = state.brushes[name] = null;
  const made = Charts.views.get(name + "-plot");
  await Charts.forget(name + "-plot");
  if (made) draw();
}

const ordered = ([low, high]) => low <= high ? [low, high] : [high, low];
const chosen = name => Object.fromEntries([...(state.brushes[name] || [])].map(trial => [trial, true]));

// Parts.

let drawing = false;
function draw(stays) {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const still = stays || inSight();
    const before = still && still.getBoundingClientRect().top;
    paint();
    if (still) scrollBy({top: still.getBoundingClientRect().top - before, behavior: "instant"});
  });
}

// The section that is being read, below the filters; none at the top of the page.
function inSight() {
  const below = section("filters").getBoundingClientRect().bottom;
  return scrollY > 0 ? [...document.querySelectorAll("main > section")].find(each => each.getBoundingClientRect().bottom > below) : null;
}

function paint() {
  const trials = visible(), configs = Numbers.configurations(trials);
  const around = Numbers.noise(trials), {ranked, tied} = Numbers.standing(configs, around, data.goal);
  choose(configs, ranked);
  said(trials);
  facts(trials, configs, ranked, tied, around);
  table(trials, configs, ranked, tied);
  effects(trials, around);
  curves();
  cost();
  unfinished(trials);
  comparison(trials, configs);
}

function facts(trials, configs, ranked, tied, around) {
  const count = status => trials.filter(trial => trial.status === status).length;
  const states = STATUSES.map(status => [status, count(status)]).filter(([, number]) => number);
  const cpu = trials.reduce((sum, trial) => sum + (trial.cpu || 0), 0);
  const best = ranked[0];
  const figure = (title, value, comment) => el("div", {}, el("dt", {}, title), el("dd", {}, el("span", {class: "figure"}, value), el("br"), el("span", {class: "quiet"}, comment)));
  put(section("facts"), 
    figure("Best configuration", best ? Format.score(best.mean) : "–", best ? best.count > 1 ? `mean of ${best.count} finished trials; ${Format.score(best.min)} to ${Format.score(best.max)}` : "one finished trial alone" : "nothing has finished"),
    figure("Within noise of it", best ? String(tied.size) : "–", `of ${Format.count(ranked.length, "configuration")} with a score`),
    figure("Noise", around.sd === null ? "–" : around.sd.toFixed(4), around.sd === null ? "unknown: no two configurations share two finished seeds" : "standard deviation that neither configuration nor seed explains"),
    figure("Trials", String(trials.length), states.map(([status, number]) => `${number} ${status}`).join(", ")),
    figure("CPU time", Format.duration(cpu), "all trials together"));
  put(section("subtitle"), "Scored by ", el("b", {}, whole(data.score)), data.goal === "min" ? ", less is better." : ", more is better.",
    best ? [" Best: ", whole(words(best.values)), tied.size ? `; ${Format.count(tied.size, "other")} cannot be told from it.` : "."] : "");
  const going = data.trials.filter(trial => trial.status === "running" || trial.status === "waiting").length;
  section("state").textContent = going ? ` · not ended, ${Format.count(going, "trial")} to go` : "";
}

function table(trials, configs, ranked, tied) {
  const scores = trials.map(trial => trial.score).filter(score => score !== null);
  const domain = scores.length ? [Math.min(...scores), Math.max(...scores)] : [0, 1];
  const describe = trial => `${trial.trial}, seed ${trial.seed}${folded ? `, fold ${trial.fold}` : ""}: ${Format.score(trial.score)}${trial.status === "finished" ? "" : ` (${trial.status})`}`;
  const parameters = varying.map(({path, place}) => ({id: path, title: whole(path, /(?<=\.)/), left: true, of: row => row.values[place], cell: row => Format.cell(row.values[place])}));
  const letters = config => el("span", {class: "picks"}, ["A", "B"].map(side => el("button", {
    type: "button", class: "pick", "aria-pressed": String((side === "A" ? state.first : state.second) === config.key), "data-side": side, title: `Compare as ${side}`,
    onclick: () => { state[side === "A" ? "first" : "second"] = config.key; state.trial[side] = null; draw(); }}, side)));
  const several = data.stages.length > 1;
  const columns = state.rows === "configurations" ? [
    {id: "pick", title: "compare", fixed: true, left: true, of: () => 0, cell: letters},
    {id: "score", title: "mean", of: row => row.mean, cell: row => el("b", {}, Format.score(row.mean))},
    {id: "standing", title: "", fixed: true, left: true, of: () => 0, cell: row => ranked[0] === row ? el("span", {class: "tag best"}, "best") : tied.has(row.key) ? el("span", {class: "tag"}, "within noise") : null},
    ...parameters,
    {id: "seeds", title: "every seed", left: true, fixed: true, of: () => 0, cell: row => Table.strip(row.trials, row, domain, describe)},
    {id: "spread", title: "range", of: row => row.spread, cell: row => row.count > 1 ? `${Format.score(row.min)} – ${Format.score(row.max)}` : "–"},
    {id: "count", title: "finished", of: row => row.count, cell: row => `${row.count} of ${row.trials.length}`},
    ...(several ? [{id: "stage", title: "stage", left: true, of: row => row.stages.join(), cell: row => whole(row.stages.join(", "))}] : []),
    {id: "cpu", title: "CPU time", of: row => row.cpu, cell: row => Format.duration(row.cpu)},
    {id: "seconds", title: "time", of: row => row.seconds, cell: row => Format.duration(row.seconds)},
  ] : [
    {id: "trial", title: "trial", left: true, of: row => row.trial, cell: row => row.report ? el("a", {href: row.report}, row.trial) : row.trial},
    {id: "status", title: "status", left: true, of: row => STATUSES.indexOf(row.status), cell: row => [Table.status(row), row.reason ? el("div", {class: "reason"}, row.reason) : null]},
    ...parameters,
    ...(several ? [{id: "stage", title: "stage", left: true, of: row => row.stage, cell: row => whole(row.stage)}] : []),
    {id: "seed", title: "seed", of: row => row.seed, cell: row => String(row.seed)},
    ...(folded ? [{id: "fold", title: "fold", of: row => row.fold, cell: row => row.fold === null ? "–" : String(row.fold)}] : []),
    {id: "score", title: "score", of: row => row.score, cell: row => el("b", {}, Format.score(row.score))},
    {id: "best", title: "best epoch", of: row => row.best, cell: row => row.best === null ? "–" : `${row.best} of ${row.epochs}`},
    {id: "cpu", title: "CPU time", of: row => row.cpu, cell: row => Format.duration(row.cpu)},
    {id: "seconds", title: "time", of: row => row.seconds, cell: row => Format.duration(row.seconds)},
  ];
  const sort = state.sort[state.rows];
  const rows = Table.sorted(state.rows === "configurations" ? configs : trials, columns, sort);
  Table.fill(section("table"), columns, rows, sort, {
    sort: id => { state.sort[state.rows] = {id, direction: sort.id === id ? -sort.direction : ["score"].includes(id) && data.goal !== "min" ? -1 : 1}; draw(); },
    hot: row => heat(row ? row.trial || row.key : ""),
    mark: row => row.key === state.first ? "is-first" : row.key === state.second ? "is-second" : null,
  });
  put(section("rows-choice"), ...["configurations", "trials"].map(name => el("button", {
    type: "button", class: "choice", "aria-pressed": String(state.rows === name), id: "rows-" + name, onclick: () => { state.rows = name; draw(); }}, `a row a ${name.slice(0, -1)}`)));
  put(section("trials-note"), state.rows === "configurations"
    ? "Means are of finished trials. Dots are seeds (a click opens the trial's report), rings trials that have not finished, the bar their range, the line their mean."
    : "A trial's name opens its report.",
    ...(constant.length ? [" The same everywhere: ", ...constant.flatMap(({path, value}, at) => [at ? ", " : "", ...whole(`${path} = ${Format.value(value)}`)]), "."] : []));
}

function effects(trials, around) {
  const found = varying.map(each => ({...each, effect: Numbers.effect(trials, each.place, around, data.goal)}))
    .sort((one, other) => (other.effect.size ?? -1) - (one.effect.size ?? -1));
  section("effects-note").textContent = varying.length
    ? "The line is a value's mean where all other parameters, seed and fold are equal; dots are trials, the bar their range. "
      + (around.sd === null ? "" : `The last row of each is noise: one standard deviation, ${around.sd.toFixed(4)}, to either side.`)
    : "Nothing varies in this sweep but the seed.";
  put(section("decisions"), ...(data.decisions.length ? [el("h3", {}, "What the stages decided"), el("ol", {class: "decided"}, data.decisions.map(each => el("li", {}, el("b", {}, whole(each.stage)), ": ", each.said)))] : []));
  const scores = trials.filter(trial => trial.status === "finished" && trial.score !== null).map(trial => trial.score);
  const levels = found.flatMap(each => each.effect.values.map(value => value.level)).filter(level => level !== null);
  const pad = 0.04 * ((Math.max(...scores) - Math.min(...scores)) || 0.01);
  const low = Math.min(...scores, ...levels) - pad, high = Math.max(...scores, ...levels) + pad;
  for (const {path, place, values, effect} of found) {
    const id = "effect-" + place;
    const card = section("card-" + place) || el("figure", {class: "effect", id: "card-" + place}, el("figcaption", {}, el("b", {}, whole(path)), el("p", {class: "verdict", id: "verdict-" + place})), el("div", {class: "plot", id}));
    section("effects-parts").append(card);
    const many = values.length > MOST_ROWS && numeric(values);
    put(section("verdict-" + place), many ? manyValues(values, effect) : verdict(effect));
    if (!effect.values.length) continue;
    if (many) { against(id, place, effect); continue; }
    const width = Math.max(160, section(id).clientWidth), letters = Math.floor(width / 7.2);
    const rows = effect.values.map((value, row) => ({row, words: clip(`${Format.value(value.value)}   ${value.level === null ? "not compared" : Format.score(value.level)} (${value.trials.length})`, letters), level: value.level, min: value.min, max: value.max, noise: false}));
    const middle = scores.reduce((sum, score) => sum + score, 0) / scores.length;
    if (around.sd !== null) rows.push({row: rows.length, words: "noise", level: null, min: middle - around.sd, max: middle + around.sd, noise: true});
    const dots = effect.values.flatMap((value, row) => value.trials.map(trial => ({row, trial: trial.trial, key: trial.key, seed: trial.seed, score: trial.score})));
    section(id).style.height = `${50 * rows.length + 46}px`;
    Charts.show(id, Charts.effect(data.score, rows.length), {levels: rows, dots}, {low, high, hot: ""});
  }
}

// A number of many values is an axis: no two of its values are compared.
function against(id, place, effect) {
  const dots = effect.values.filter(value => value.value !== null).flatMap(value => value.trials.map(trial =>
    ({value: Number(value.value), trial: trial.trial, key: trial.key, seed: trial.seed, score: trial.score})));
  const numbers = dots.map(dot => dot.value), low = Math.min(...numbers), high = Math.max(...numbers);
  Charts.show(id, Charts.against(short(data.parameters[place]), data.score, low > 0 && high > 20 * low), {dots}, {hot: ""});
}

function manyValues(values, effect) {
  const trials = effect.values.reduce((sum, value) => sum + value.trials.length, 0);
  return trials ? `${values.length} values in ${Format.count(trials, "finished trial")}: no two of them are compared; look for a trend wider than noise.` : "No trial has finished.";
}

// Splits a long name into lines that fit.
function clip(text, letters) {
  const lines = [""];
  for (const part of text.split(/(?<=[ ,/_=.-])/)) {
    if ((lines[lines.length - 1] + part).trimEnd().length > letters && lines[lines.length - 1]) lines.push("");
    lines[lines.length - 1] += part;
  }
  return lines.length > 1 ? lines : text;
}

function verdict({matched, size, margin, within, best, worst, values}) {
  if (size === null) return [values.length ? `Only ${Format.value(values[0].value)} has finished trials.` : "No trial has finished."];
  const two = [el("b", {}, whole(Format.value(best.value))), ` is ${size.toFixed(4)} better than `, el("b", {}, whole(Format.value(worst.value)))];
  if (!matched) return [...two, " in the mean, but nowhere are all other settings equal: this is not the effect of this parameter alone."];
  if (within === null) return [...two, ". No two configurations share two finished seeds, so nobody can tell it from noise."];
  const limit = margin.toFixed(4);
  return within ? [...two, ": ", el("span", {class: "tag"}, "within noise"), ` Noise alone makes differences of up to ${limit}.`]
    : [...two, ": ", el("span", {class: "tag best"}, "beyond noise"), ` Noise alone makes differences of up to ${limit}.`];
}

function curve(trial) {
  const [epochs, ...series] = data.points[trial.at];
  return epochs.map((epoch, at) => [epoch, series[state.curve][at]]).filter(([, value]) => value !== null);
}

function curves() {
  const trials = filtered().filter(trial => inBrush("cost", trial));
  if (!data.points.some(([epochs]) => epochs.length)) { section("curves-readout").textContent = "No epoch has ended yet."; return; }
  const names = data.scores.slice(0, data.curves);
  put(section("curves-choice"), el("label", {}, "Score ", el("select", {id: "curve", onchange: event => { state.curve = Number(event.target.value); unbrush("curves"); changed(); }},
    names.map((name, at) => el("option", {value: at, selected: at === state.curve}, name)))),
    el("span", {class: "key"}, el("i", {class: "line first"}), "A"), el("span", {class: "key"}, el("i", {class: "line second"}), "B"), el("span", {class: "key"}, el("i", {class: "line other"}), "others"));
  section("thinned").textContent = data.thinned ? " Of long curves only some epochs are kept." : "";
  const points = [], wide = [], ends = [];
  // What is drawn last lies on top: the chosen configurations.
  const depth = trial => trial.key === state.first ? 2 : trial.key === state.second ? 1 : 0;
  for (const trial of [...trials].sort((one, other) => depth(one) - depth(other))) {
    const common = {trial: trial.trial, key: trial.key, status: trial.status, seed: trial.seed};
    const all = curve(trial), step = Math.ceil(all.length / 50);
    for (const [at, [epoch, value]] of all.entries()) {
      points.push({...common, epoch, value});
      if (at % step === 0 || at === all.length - 1) wide.push({trial: trial.trial, key: trial.key, epoch, value});
      if (epoch === trial.best) ends.push({...common, epoch, value});
    }
  }
  const span = points.reduce((most, point) => Math.max(most, point.epoch - 1), 1);
  Charts.show("curves-plot", Charts.curves(), {points, wide, ends}, {span, hot: "", first: state.first || "", second: state.second || "", chosen: chosen("curves"), brushed: state.brushes.curves !== null}, listener("curves"));
}

// Times are in a unit that gives them numbers from 1 to some hundreds.
const longest = Math.max(0, ...data.trials.flatMap(trial => [trial.cpu, trial.seconds]));
const [unit, ofUnit] = longest < 300 ? ["seconds", 1] : longest < 18000 ? ["minutes", 60] : ["hours", 3600];
const spot = trial => [trial[state.cost] === null ? null : trial[state.cost] / ofUnit, trial.score];

function cost() {
  const trials = filtered().filter(trial => inBrush("curves", trial));
  if (!data.trials.some(trial => trial.status === "finished")) { section("cost-readout").textContent = "No trial has finished yet."; return; }
  put(section("cost-choice"), ...[["cpu", "CPU time"], ["seconds", "time on the clock"]].map(([name, title]) => el("button", {
    type: "button", class: "choice", "aria-pressed": String(state.cost === name), id: "cost-" + name, onclick: () => { state.cost = name; unbrush("cost"); changed(); }}, title)));
  // What others have cost that did not finish compares with nothing.
  const rows = trials.filter(trial => trial.status === "finished" && trial.score !== null && trial[state.cost] !== null)
    .map(trial => ({trial: trial.trial, key: trial.key, seed: trial.seed, cost: spot(trial)[0], score: trial.score}));
  const means = Numbers.configurations(trials).filter(config => config.mean !== null && config[state.cost] !== null)
    .map(config => ({key: config.key, trial: config.trials[0].trial, words: words(config.values), cost: config[state.cost] / ofUnit, score: config.mean, count: config.count}));
  const line = Numbers.pareto(means, data.goal);
  for (const mean of means) mean.front = line.includes(mean);
  Charts.show("cost-plot", Charts.cost(data.score, unit), {trials: rows, line, means}, {hot: "", first: state.first || "", second: state.second || "", chosen: chosen("cost"), brushed: state.brushes.cost !== null}, listener("cost"));
}

function listener(name) {
  return view => {
    view.addSignalListener("brush", (_, value) => brushed(name, value));
    view.addEventListener("pointerover", (_, item) => { const row = item && item.datum; if (row && row.trial) { heat(row.words ? row.key : row.trial); read(name, row); } });
    view.addEventListener("pointerout", () => heat(""));
  };
}

function read(name, row) {
  const trial = data.trials.find(each => each.trial === row.trial);
  const text = row.words ? `${row.words}: mean ${Format.score(row.score)} of ${row.count} finished`
    : `${trial.trial}, seed ${trial.seed}: ${words(trial.values)}. ${trial.score === null ? "no score" : Format.score(trial.score) + " at epoch " + trial.best}${trial.status === "finished" ? "" : `; ${trial.status}${trial.reason ? ": " + trial.reason : ""}`}`;
  section(name + "-readout").textContent = text;
}

let hot = "";
function heat(name) {
  if (name === hot) return;
  hot = name;
  Charts.signal("hot", name);
  for (const row of section("table").tBodies[0].rows) {
    const is = name !== "" && (row.dataset.row === name || data.trials.some(trial => trial.trial === name && trial.key === row.dataset.row));
    row.classList.toggle("hot", is);
  }
}

function unfinished(trials) {
  const rows = trials.filter(trial => trial.status === "failed" || trial.status === "pruned");
  put(section("unfinished-parts"), rows.length ? el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Failed and pruned trials"}, el("table", {id: "unfinished-table"},
    el("thead", {}, el("tr", {}, ["trial", "status", "why", "configuration", "seed", "epochs", "score so far"].map((title, at) => el("th", {scope: "col", class: at < 4 ? "left" : null}, title)))),
    el("tbody", {}, rows.map(trial => el("tr", {}, el("td", {class: "left"}, trial.report ? el("a", {href: trial.report}, trial.trial) : trial.trial), el("td", {class: "left"}, Table.status(trial)),
      el("td", {class: "left why"}, trial.reason || "no reason was noted"), el("td", {class: "left"}, whole(words(trial.values))), el("td", {}, String(trial.seed)), el("td", {}, String(trial.epochs)), el("td", {}, Format.score(trial.score)))))))
    : el("p", {class: "note"}, "None of the trials shown."));
}

// Two configurations.

function choose(configs, ranked) {
  const there = key => configs.some(config => config.key === key);
  const order = [...ranked, ...configs.filter(config => config.mean === null)];
  if (!there(state.first)) state.first = order[0]?.key ?? null;
  if (!there(state.second)) state.second = order.find(config => config.key !== state.first)?.key ?? state.first;
}

function comparison(trials, configs) {
  const sides = [["A", state.first], ["B", state.second]].map(([side, key]) => {
    const config = configs.find(each => each.key === key);
    const finished = config ? config.trials.filter(trial => trial.status === "finished") : [];
    return {side, config, finished, trial: finished.find(trial => trial.trial === state.trial[side]) || finished[0] || null};
  });
  put(section("sides"), ...sides.map(({side, config, finished, trial}) => el("fieldset", {class: "side " + (side === "A" ? "first" : "second")}, el("legend", {}, side),
    el("label", {}, "configuration ", el("select", {id: "config-" + side, onchange: event => { state[side === "A" ? "first" : "second"] = event.target.value; state.trial[side] = null; draw(); }},
      configs.map(each => el("option", {value: each.key, selected: each === config}, `${words(each.values)} (${Format.score(each.mean)})`)))),
    config ? el("p", {class: "what"}, whole(words(config.values))) : null,
    el("label", {}, "trial ", el("select", {id: "trial-" + side, onchange: event => { state.trial[side] = event.target.value; draw(); }},
      finished.map(each => el("option", {value: each.trial, selected: each === trial}, `${each.trial}, seed ${each.seed}${folded ? `, fold ${each.fold}` : ""} (${Format.score(each.score)})`)))),
    trial && trial.report ? el("a", {href: trial.report}, `report of ${trial.trial}`) : null)));
  const [one, other] = sides;
  put(section("difference"), ...(one.config && other.config ? Comparison.differenceTable(Comparison.difference(data, one.config, other.config, trials)).filter(Boolean) : []));
  put(section("confusions"), ...Comparison.confusions(data, sides));
  section("pictures-note").textContent = Comparison.note(data);
  put(section("pictures"), ...Comparison.pictures(data, sides));
}

if (matchMedia("(max-width: 760px)").matches) section("filters").open = false;
filters();
paint();
// Colours of charts are those of the page, which change with light and dark.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", async () => {
  await Promise.all([...Charts.views.keys()].map(Charts.forget));
  draw();
});
Promise.all(Charts.views.values()).then(() => { document.documentElement.dataset.ready = performance.now().toFixed(0); });
window.geosegDashboard = {Numbers, Table, Comparison, Charts, data, state, visible};
