// Charts in Vega-Lite. Names from the data are values of rows, never parts of a specification or an expression.
"use strict";
const Charts = (() => {
  const ink = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const views = new Map(), wanted = new Map();
  const there = () => typeof vegaEmbed === "function";

  function config() {
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent", font, view: {stroke: null},
      axis: {
        labelColor: ink("quiet"), titleColor: ink("quiet"), titleFontWeight: "normal", titleFontSize: 12, labelFontSize: 12,
        gridColor: ink("rule"), domainColor: ink("rule"), ticks: false, labelPadding: 6, titlePadding: 8,
      },
      axisX: {grid: false}, axisY: {domain: false},
    };
  }

  // Shows rows in a chart: the first time it is drawn, later it gets other rows and signals.
  async function show(id, specification, rows, signals = {}, listen = () => {}) {
    if (!there()) return;
    wanted.set(id, {rows, signals, height: specification.height});
    let made = views.get(id);
    if (!made) {
      const spec = {
        $schema: "https://vega.github.io/schema/vega-lite/v6.json", autosize: {type: "fit-x", contains: "padding"},
        width: "container", ...specification, config: config(),
        params: [...Object.entries(signals).map(([name, value]) => ({name, value})), ...(specification.params || [])],
        datasets: rows,
      };
      made = vegaEmbed(section(id), spec, {mode: "vega-lite", actions: false, ast: true, renderer: "svg", logLevel: 1, tooltip: {theme: "page"}})
        .then(result => { result.view.shown = rows; listen(result.view); return result; });
      views.set(id, made);
    }
    const {view} = await made;
    const latest = wanted.get(id);
    for (const [name, values] of Object.entries(latest.rows)) if (values !== view.shown?.[name]) view.data(name, values);
    view.shown = latest.rows;
    for (const [name, value] of Object.entries(latest.signals)) view.signal(name, value);
    if (latest.height) view.height(latest.height);
    await view.runAsync();
  }

  // Changes a signal of one chart, or of all that have it.
  function signal(name, value, only) {
    for (const [id, {signals}] of wanted) {
      if (!(name in signals) || (only && only !== id)) continue;
      signals[name] = value;
      views.get(id).then(({view}) => view.signal(name, value).runAsync());
    }
  }

  async function forget(id) {
    const made = views.get(id);
    views.delete(id);
    wanted.delete(id);
    if (made) (await made).finalize();
  }

  const score = () => ({type: "quantitative", scale: {zero: false, nice: true}, title: null});
  const near = "datum.trial === hot || datum.key === hot";

  function effect(title, count) {
    const row = {field: "row", type: "ordinal", axis: null, scale: {paddingInner: 0, paddingOuter: 0}};
    const across = {...score(), scale: {zero: false, domainMin: {expr: "low"}, domainMax: {expr: "high"}, nice: false},
      axis: {tickCount: 5, grid: true, title}};
    const words = {type: "text", align: "left", baseline: "bottom", fontSize: 13, dy: 1, lineHeight: 15, };
    return {
      height: 50 * count,
      layer: [
        {data: {name: "levels"}, mark: words,
          encoding: {y: {...row, bandPosition: 0.42}, x: {value: 0}, text: {field: "words"},
            color: {condition: {test: "datum.noise", value: ink("quiet")}, value: ink("text")}}},
        {data: {name: "levels"}, mark: {type: "rule", strokeWidth: 7, strokeCap: "round", opacity: 0.32},
          encoding: {y: {...row, bandPosition: 0.68}, x: {...across, field: "min"}, x2: {field: "max"},
            color: {condition: {test: "datum.noise", value: ink("best")}, value: ink("val")},
            tooltip: [{field: "words", title: " "}, {field: "min", format: ".4f"}, {field: "max", format: ".4f"}]}},
        {data: {name: "dots"}, mark: {type: "point", filled: true, size: 34, opacity: 0.75},
          encoding: {y: {...row, bandPosition: 0.68}, x: {...across, field: "score"},
            color: {condition: {test: near, value: ink("best")}, value: ink("val")},
            tooltip: [{field: "trial"}, {field: "seed"}, {field: "score", format: ".4f"}]}},
        {data: {name: "levels"}, mark: {type: "point", shape: "M0,-0.5L0,0.5", strokeWidth: 3, size: 420, opacity: 1},
          encoding: {y: {...row, bandPosition: 0.68}, x: {...across, field: "level"}, color: {value: ink("text")},
            tooltip: [{field: "words", title: " "}, {field: "level", format: ".4f", title: "mean"}]}},
      ],
    };
  }

  const brush = (name, encodings) => ({name, select: {type: "interval", encodings, mark: {fill: ink("val"), fillOpacity: 0.1, stroke: ink("val")}}});

  function against(title, score, logarithmic) {
    return {
      height: 230,
      data: {name: "dots"}, mark: {type: "point", filled: true, size: 46, opacity: 0.8},
      encoding: {
        x: {field: "value", type: "quantitative", title, scale: {nice: false, padding: 10, ...(logarithmic ? {type: "log"} : {zero: false})},
          axis: {tickCount: 5, format: "~g"}},
        y: {field: "score", type: "quantitative", title: score, scale: {zero: false}, axis: {tickCount: 5}},
        color: {condition: {test: near, value: ink("best")}, value: ink("val")},
        tooltip: [{field: "trial"}, {field: "seed"}, {field: "value", title: "value"}, {field: "score", format: ".4f"}],
      },
    };
  }

  // Beside a rectangle only marks with a selection of their own know the mouse.
  const touch = name => ({name, select: {type: "point", fields: ["trial"], on: "pointerover", clear: "pointerout"}});

  function curves() {
    const x = {field: "epoch", type: "quantitative", title: "epoch", axis: {tickMinStep: 1, format: "d", tickCount: {expr: "min(10, span)"}}, scale: {nice: false, zero: false}};
    const y = {field: "value", ...score()};
    const color = {
      condition: [
        {test: near, value: ink("best")},
        {test: "datum.key === first", value: ink("val")}, {test: "datum.key === second", value: ink("second")},
      ],
      value: ink("train"),
    };
    const strength = {condition: [
      {test: near, value: 1}, {test: "brushed && !chosen[datum.trial]", value: 0.1},
      {test: "datum.key === first || datum.key === second", value: 0.95}], value: 0.42};
    return {
      height: 340,
      layer: [
        {data: {name: "points"}, params: [brush("brush", ["x", "y"])], mark: {type: "line", strokeJoin: "round", aria: false},
          encoding: {x, y, detail: {field: "trial"}, color, opacity: strength,
            strokeWidth: {condition: [{test: near, value: 3}, {test: "datum.key === first || datum.key === second", value: 2}], value: 1.3},
            strokeDash: {condition: {test: "datum.status !== 'finished'", value: [4, 3]}, value: [1, 0]}}},
        {data: {name: "ends"}, params: [touch("touch_end")], mark: {type: "point", filled: true, size: 46},
          encoding: {x, y, color, opacity: strength, tooltip: [{field: "trial"}, {field: "seed"}, {field: "epoch", title: "best epoch"}, {field: "value", title: "value", format: ".4f"}]}},
        {data: {name: "wide"}, params: [touch("touch_line")], mark: {type: "line", strokeWidth: 12, opacity: 0.001, clip: true, aria: false},
          encoding: {x, y, detail: {field: "trial"}}},
      ],
    };
  }

  function cost(title, unit) {
    const x = {field: "cost", type: "quantitative", title: unit + " a trial", axis: {tickCount: 10}, scale: {zero: false, nice: true}};
    const y = {field: "score", ...score(), title};
    const color = {condition: [
      {test: near, value: ink("best")}, {test: "datum.key === first", value: ink("val")},
      {test: "datum.key === second", value: ink("second")}], value: ink("train")};
    const strength = full => ({condition: [{test: "brushed && !chosen[datum.trial]", value: 0.12}], value: full});
    return {
      height: 340,
      layer: [
        {data: {name: "trials"}, params: [brush("brush", ["x", "y"])], mark: {type: "point", size: 40},
          encoding: {x, y, color, opacity: strength(0.75), tooltip: [{field: "trial"}, {field: "seed"}, {field: "score", format: ".4f"}, {field: "cost", title: unit, format: ".2f"}]}},
        {data: {name: "line"}, mark: {type: "line", interpolate: "step-after", strokeWidth: 1.6, color: ink("best")}, encoding: {x, y, order: {field: "cost"}}},
        {data: {name: "means"}, params: [touch("touch_mean")], mark: {type: "point", filled: true, size: 90},
          encoding: {x, y, color, opacity: strength(1), shape: {condition: {test: "datum.front", value: "diamond"}, value: "circle"},
            size: {condition: {test: "datum.front", value: 170}, value: 80},
            tooltip: [{field: "words", title: " "}, {field: "score", title: "mean", format: ".4f"}, {field: "count", title: "finished"}, {field: "cost", title: unit, format: ".2f"}]}},
      ],
    };
  }

  return {against, cost, curves, effect, forget, ink, show, signal, there, views};
})();
