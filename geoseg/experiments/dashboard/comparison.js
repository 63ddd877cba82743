// Two configurations: what differs, scores, confusion, and predictions of the same images.
"use strict";
const Comparison = (() => {
  const ground = color => /^#[0-9a-fA-F]{6}$/.test(color) ? color : "transparent";
  const swatch = color => color ? el("i", {class: "swatch", style: {background: ground(color)}}) : null;

  // Which values differ, and which scores by how much.
  function difference(data, first, second, visible) {
    const losses = data.parameters.some((path, place) => path.startsWith("train.loss") && first.values[place] !== second.values[place]);
    const settings = data.parameters.map((path, place) => ({path, first: first.values[place], second: second.values[place]}));
    const scores = data.scores.map((name, place) => {
      const of = trial => trial.scores[place] ?? null;
      const value = config => Numbers.summary(config.trials.filter(trial => trial.status === "finished").map(of));
      const one = value(first), other = value(second);
      const known = one.mean !== null && other.mean !== null;
      const limit = known ? Numbers.margin(Numbers.noise(visible, of), one.count, other.count) : null;
      const change = known ? other.mean - one.mean : null;
      // Values of different losses are no measure of each other.
      if (losses && ["loss", "training loss"].includes(name)) return {name, first: one, second: other, change: null, limit: null, within: null, words: "another loss"};
      return {name, first: one, second: other, change, limit, within: limit === null || !known ? null : Math.abs(change) <= limit};
    });
    return {settings: settings.filter(each => each.first !== each.second), equal: settings.filter(each => each.first === each.second), scores};
  }

  function differenceTable(found, names) {
    const words = {true: "within noise", false: "beyond noise"};
    const settings = found.settings.map(each => el("tr", {}, el("th", {class: "name", scope: "row"}, whole(each.path)),
      el("td", {class: "left"}, whole(Format.value(each.first))), el("td", {class: "left"}, whole(Format.value(each.second)))));
    const some = value => value.mean === null ? "–" : `${Format.score(value.mean)}${value.count > 1 ? ` (${Format.score(value.min)} to ${Format.score(value.max)})` : ""}`;
    const row = each => el("tr", {class: each.within === false ? "beyond" : null}, el("th", {class: "name", scope: "row"}, whole(each.name)),
      el("td", {}, some(each.first)), el("td", {}, some(each.second)), el("td", {}, Format.signed(each.change)),
      el("td", {class: "left"}, each.words || each.change === null ? each.words || "" : words[each.within] || "too few seeds to tell"));
    const scores = found.scores.filter(each => each.first.mean !== null || each.second.mean !== null);
    const head = (...titles) => el("thead", {}, el("tr", {}, titles.map((title, at) => el("th", {scope: "col", class: at === 0 ? "name" : title.length > 1 ? null : "left"}, title))));
    const table = rows => el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores"},
      el("table", {}, head("score", "A: mean (range)", "B: mean (range)", "B − A", ""), el("tbody", {}, rows.map(row))));
    return [
      el("h3", {}, "What differs"),
      settings.length ? el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Settings that differ"},
        el("table", {id: "settings"}, head("parameter", "A", "B"), el("tbody", {}, settings))) : el("p", {class: "note"}, "Nothing: both are the same configuration."),
      found.equal.length ? el("p", {class: "note"}, "Equal in both: ", found.equal.map((each, at) => [at ? ", " : "", whole(`${each.path} = ${Format.value(each.first)}`)]), ".") : null,
      el("h3", {}, "Scores"), table(scores.slice(0, 8)),
      scores.length > 8 ? el("details", {}, el("summary", {}, `${scores.length - 8} more scores`), table(scores.slice(8))) : null,
    ];
  }

  function matrix(found, title) {
    const {classes, counts} = found;
    const total = row => row.reduce((sum, count) => sum + count, 0);
    const head = el("thead", {}, el("tr", {}, el("th"), classes.map(([name, color]) => el("th", {scope: "col"}, swatch(color), whole(name)))));
    const rows = counts.map((row, at) => el("tr", {}, el("th", {class: "name", scope: "row"}, swatch(classes[at][1]), whole(classes[at][0])),
      row.map((count, to) => {
        const share = total(row) ? count / total(row) : null;
        return el("td", {class: share > 0.55 ? "strong" : null, style: {"--s": (100 * (share || 0)).toFixed(1)}, title: `${count} pixels`},
          el("b", {class: at !== to && !(share >= 0.005) ? "faint" : null}, Format.percent(share)));
      })));
    return el("figure", {class: "scroll", tabindex: "0"}, el("figcaption", {}, title, found.title ? [": ", whole(found.title)] : null),
      el("table", {class: "matrix"}, head, el("tbody", {}, rows)));
  }

  // Confusion of the chosen trials, or a line on why there is none.
  function confusions(data, sides) {
    return sides.flatMap(({side, trial}) => {
      if (!trial) return [el("p", {class: "note"}, `${side}: no trial has finished.`)];
      const found = data.confusion[trial.trial];
      if (typeof found === "string" || !found) return [el("p", {class: "note"}, `${side}, ${trial.trial}: ${found || "has not finished"}.`)];
      return found.map(each => matrix(each, `${side}: ${trial.trial}, seed ${trial.seed}`));
    });
  }

  function pictures(data, sides) {
    const image = (uri, alt, exact) => el("img", {src: uri, alt, class: exact ? "exact" : null});
    const part = (words, ...content) => el("div", {}, content, el("small", {}, words));
    return data.images.map((each, at) => el("figure", {class: "sample pair"},
      el("figcaption", {}, el("b", {}, whole(each.name)), each.place ? el("span", {}, each.place) : null),
      part("image", image(each.image, `Image ${each.name}`)), part("label", image(each.label, `Label of ${each.name}`, true)),
      sides.map(({side, trial}) => {
        const made = trial && (data.predictions[trial.trial] || [])[at];
        if (!made) return el("div", {class: "lacks"}, el("small", {}, `${side}: ${trial ? trial.trial + " has no prediction of it" : "no trial has finished"}`));
        return [part(`${side}: prediction`, image(made.prediction, `Prediction of ${each.name} by ${trial.trial}`, true)),
          part(`${side}: errors, ${made.words}`, image(made.errors, `Errors of ${trial.trial} in ${each.name}`, true))];
      })));
  }

  function note(data) {
    if (!data.images.length) return "No trial's report holds pictures: they are made where the data are at hand when a trial ends.";
    const left = data.left ? ` Those of ${Format.count(data.left, "trial")} are left out, to keep the page small.` : "";
    return `The same validation images by both; errors in red.${left}`;
  }

  return {confusions, difference, differenceTable, note, pictures};
})();
