// Numbers of a sweep: means and spread over seeds, effects at otherwise equal settings, noise, the Pareto line.
// Pure functions of trials {key, values, seed, fold, score, ...}; tests compare them with pandas and numpy.
"use strict";
const Numbers = (() => {
  // Two-sided 95 % quantiles of Student's t by degrees of freedom.
  const T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
    2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042];
  const quantile = df => df < 1 ? NaN : df <= T.length ? T[df - 1] : 1.96 + 2.4 / df;
  const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;
  const key = parts => JSON.stringify(parts);

  function grouped(rows, name) {
    const groups = new Map();
    for (const row of rows) {
      const at = name(row);
      if (!groups.has(at)) groups.set(at, []);
      groups.get(at).push(row);
    }
    return groups;
  }

  function summary(values) {
    const known = values.filter(value => value !== null && Number.isFinite(value));
    if (!known.length) return {count: 0, mean: null, min: null, max: null, spread: null};
    const middle = mean(known), low = Math.min(...known), high = Math.max(...known);
    return {count: known.length, mean: middle, min: low, max: high, spread: high - low};
  }

  // The configurations of trials, with the mean of what is finished.
  function configurations(trials) {
    return [...grouped(trials, trial => trial.key)].map(([at, members]) => {
      const finished = members.filter(trial => trial.status === "finished" && trial.score !== null);
      return {
        key: at, values: members[0].values, stages: [...new Set(members.map(trial => trial.stage))], trials: members,
        ...summary(finished.map(trial => trial.score)),
        cpu: summary(finished.map(trial => trial.cpu)).mean,
        seconds: summary(finished.map(trial => trial.seconds)).mean,
      };
    });
  }

  // Least squares of y = level of a + level of b: the rows' largest connected part, by alternating means.
  function additive(rows) {
    const of = new Map(), to = new Map();
    const parts = connected(rows);
    const row = parts.reduce((largest, part) => part.length > largest.length ? part : largest, []);
    for (const each of row) { of.set(each.a, 0); to.set(each.b, 0); }
    const byA = grouped(row, each => each.a), byB = grouped(row, each => each.b);
    for (let turn = 0, moved = 1; turn < 5000 && moved > 1e-13; turn++) {
      moved = 0;
      for (const [at, members] of byA) {
        const next = mean(members.map(each => each.y - to.get(each.b)));
        moved = Math.max(moved, Math.abs(next - of.get(at)));
        of.set(at, next);
      }
      for (const [at, members] of byB) to.set(at, mean(members.map(each => each.y - of.get(each.a))));
    }
    return {rows: row, of, to, parts: parts.length};
  }

  function connected(rows) {
    const parent = new Map();
    const root = at => { while (parent.get(at) !== at) at = parent.get(at); return at; };
    for (const {a, b} of rows) {
      for (const at of ["a" + a, "b" + b]) if (!parent.has(at)) parent.set(at, at);
      parent.set(root("a" + a), root("b" + b));
    }
    return [...grouped(rows, each => root("a" + each.a)).values()];
  }

  // Standard deviation of what neither configuration nor seed and fold explain: every seed is a block that all
  // configurations share, as in `geoseg.experiments.noise`, here also where some trials are missing.
  function noise(trials, value = trial => trial.score) {
    const rows = trials.filter(trial => trial.status === "finished" && value(trial) !== null)
      .map(trial => ({a: trial.key, b: key([trial.seed, trial.fold]), y: value(trial)}));
    let squares = 0, df = 0;
    for (const part of connected(rows)) {
      const fit = additive(part);
      for (const {a, b, y} of part) squares += (y - fit.of.get(a) - fit.to.get(b)) ** 2;
      df += part.length - fit.of.size - fit.to.size + 1;
    }
    return {sd: df > 0 ? Math.sqrt(squares / df) : null, df};
  }

  // The difference of two means of so many trials that noise alone stays below 19 times of 20.
  function margin({sd, df}, first, second) {
    return sd === null ? null : quantile(df) * sd * Math.sqrt(1 / first + 1 / second);
  }

  // What one parameter does: its values compared where all other parameters, seed and fold are equal.
  function effect(trials, place, around, goal) {
    const finished = trials.filter(trial => trial.status === "finished" && trial.score !== null);
    const rows = finished.map(trial => ({
      a: key(trial.values[place]), y: trial.score, trial,
      b: key([trial.values.filter((_, at) => at !== place), trial.seed, trial.fold]),
    }));
    const compared = [...grouped(rows, row => row.b).values()]
      .filter(members => new Set(members.map(row => row.a)).size > 1).flat();
    const fit = additive(compared);
    const matched = fit.of.size > 1;
    const level = matched ? mean(fit.rows.map(row => fit.to.get(row.b))) : 0;
    const counts = grouped(matched ? fit.rows : rows, row => row.a);
    const values = [...grouped(rows, row => row.a)].map(([at, members]) => ({
      value: members[0].trial.values[place], trials: members.map(row => row.trial),
      ...summary(members.map(row => row.y)),
      compared: counts.has(at) ? counts.get(at).length : 0,
      level: !matched ? mean(members.map(row => row.y)) : fit.of.has(at) ? fit.of.get(at) + level : null,
    }));
    const sign = goal === "min" ? -1 : 1;
    values.sort((one, other) => (other.level === null ? -Infinity : sign * other.level) - (one.level === null ? -Infinity : sign * one.level));
    const ranked = values.filter(each => each.level !== null);
    const found = {place, matched, values, size: null, margin: null, within: null, best: null, worst: null};
    if (ranked.length < 2) return found;
    const best = ranked[0], worst = ranked[ranked.length - 1];
    const size = Math.abs(best.level - worst.level), limit = margin(around, best.compared, worst.compared);
    return {...found, size, margin: limit, within: limit === null ? null : size <= limit, best, worst};
  }

  // Those that nothing beats in both score and cost, the cheapest first.
  function pareto(points, goal) {
    const sign = goal === "min" ? -1 : 1, line = [];
    const order = points.filter(point => point.cost !== null && point.score !== null)
      .sort((one, other) => one.cost - other.cost || sign * (other.score - one.score));
    for (const point of order)
      if (!line.length || sign * point.score > sign * line[line.length - 1].score) line.push(point);
    return line;
  }

  // The configurations with finished trials, the best first, and which of them are within noise of the best.
  function standing(configs, around, goal) {
    const sign = goal === "min" ? -1 : 1;
    const ranked = configs.filter(config => config.mean !== null)
      .sort((one, other) => sign * (other.mean - one.mean) || (one.key < other.key ? -1 : 1));
    const tied = ranked.slice(1).filter(config => {
      const limit = margin(around, ranked[0].count, config.count);
      return limit !== null && Math.abs(ranked[0].mean - config.mean) <= limit;
    });
    return {ranked, tied: new Set(tied.map(config => config.key))};
  }

  return {additive, configurations, effect, grouped, margin, noise, pareto, quantile, standing, summary};
})();
