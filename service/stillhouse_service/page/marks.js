// The shapes that tell trials apart without colour: one path for all points of a kind.

import { h, s } from "./dom.js";

const R = 4.5;
const SHAPES = {
  circle: (x, y, r = R) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  cross: (x, y, r = R) => `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`,
  diamond: (x, y, r = 8) => `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}z`,
  triangle: (x, y, r = 5) => `M${x - r} ${y + r}L${x} ${y - r}L${x + r} ${y + r}z`,
};

/** All points `[[x, y], …]` of a kind in one path. */
export function marks(shape, kind, points) {
  const d = points.map(([x, y]) => SHAPES[shape](+x.toFixed(1), +y.toFixed(1))).join("");
  return s("path", { class: `mark ${kind}`, d });
}

/** What the shapes mean: `[[shape, kind, text], …]`; shape "line" is a line. */
export function legend(entries) {
  return h("ul", { class: "legend" }, entries.map(([shape, kind, text]) =>
    h("li", {},
      s("svg", { width: 18, height: 16, "aria-hidden": "true" },
        shape === "line"
          ? s("path", { class: kind, d: "M0 8L18 8" })
          : s("path", { class: `mark ${kind}`, d: SHAPES[shape](9, 8, shape === "diamond" ? 6.5 : undefined) })),
      text)));
}
