// Elements and words of the page. Text only ever becomes text nodes: nothing from the data is read as markup.
"use strict";
const SVG = "http://www.w3.org/2000/svg";

function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([property, to]) => element.style.setProperty(property, to));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...kept(children));
  return element;
}

function kept(children) {
  return children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false);
}

// Replaces what an element holds.
function put(element, ...children) {
  element.replaceChildren(...kept(children));
}

// A name that may break after dots, slashes and underscores, or after what else is said, and nowhere loses a letter.
function whole(text, after = /(?<=[./_=,])/) {
  return String(text).split(after).flatMap((part, at) => at ? [el("wbr"), part] : [part]);
}

const Format = {
  score: value => value === null || value === undefined ? "–" : value.toFixed(4),
  signed: value => value === null ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(4),
  count: (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`,
  // A value in a cell: on one line, unless it is long.
  cell: value => Format.value(value).length > 28 ? whole(Format.value(value)) : el("span", {class: "line-of"}, Format.value(value)),
  value: value => value === null ? "as configured" : value,
  duration(seconds) {
    if (seconds === null || seconds === undefined) return "–";
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    const rounded = Math.round(seconds);
    if (rounded < 60) return `${rounded} s`;
    const minutes = Math.round(rounded / 60);
    if (rounded < 3600) return `${Math.floor(rounded / 60)} min ${String(rounded % 60).padStart(2, "0")} s`;
    return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  },
  percent: share => share === null ? "–" : share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`,
};

function section(id) { return document.getElementById(id); }
