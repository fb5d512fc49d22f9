// A plot's box: drawn at the width it has, drawn again when that changes; axes with titles.

import { h, s, show } from "./dom.js";

/** Keeps a plot in `place` at the place's width; `draw(svg, width)` fills an empty SVG. */
export function plot(place, height, label, draw) {
  const svg = s("svg", { class: "plot", role: "img", "aria-label": label });
  const box = h("div", { class: "plot-box" }, svg);
  let width = 0;

  function again() {
    if (!width) return;
    show(svg);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    draw(svg, width, height);
  }

  new ResizeObserver(() => {
    const now = Math.floor(box.clientWidth);
    if (now && now !== width) {
      width = now;
      again();
    }
  }).observe(box);
  place.append(box);
  width = Math.floor(box.clientWidth); // 0 while the page is not shown yet
  again();
  return { svg, box, again };
}

/** Draws a horizontal and a vertical axis with rules at the ticks. */
export function axes(svg, { left, right, top, bottom, x, y, xTitle, yTitle, xText = String, yText = String }) {
  const axis = s("g", { class: "axis" });
  for (const value of y.ticks) {
    const at = y.at(value);
    axis.append(s("line", { x1: left, x2: right, y1: at, y2: at }));
    axis.append(s("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, yText(value)));
  }
  let free = -Infinity;
  for (const value of x.ticks) {
    const at = x.at(value);
    const text = xText(value);
    const half = 3.6 * text.length;
    axis.append(s("line", { class: "tick", x1: at, x2: at, y1: bottom, y2: bottom + 4 }));
    if (at - half < free) continue; // no room for its number
    free = at + half + 6;
    axis.append(s("text", { x: at, y: bottom + 18, "text-anchor": "middle" }, text));
  }
  axis.append(s("line", { class: "base", x1: left, x2: right, y1: bottom, y2: bottom }));
  if (xTitle) axis.append(s("text", { class: "title", x: right, y: bottom + 36, "text-anchor": "end" }, xTitle));
  if (yTitle) axis.append(s("text", { class: "title", x: 0, y: top - 10, "text-anchor": "start" }, yTitle));
  svg.append(axis);
}

/** Adds the numbers of a plot as a table that is only made when somebody opens it. */
export function asTable(place, columns, rows) {
  const details = h("details", { class: "numbers" }, h("summary", {}, "The numbers as a table"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("table")) return;
    details.append(h("div", { class: "scroll" }, table(columns, rows())));
  });
  place.append(details);
}

/** A table; a column that starts with # is of numbers. */
export function table(columns, rows, caption = null) {
  const isNumber = columns.map((name) => name.startsWith("#"));
  return h("table", {},
    caption ? h("caption", {}, caption) : null,
    h("thead", {}, h("tr", {}, columns.map((name, i) =>
      h("th", { scope: "col", class: isNumber[i] ? "n" : null }, name.replace(/^#/, ""))))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, i) =>
      i === 0
        ? h("th", { scope: "row", class: isNumber[0] ? "n" : null }, cell)
        : h("td", { class: isNumber[i] ? "n" : null }, cell))))));
}
