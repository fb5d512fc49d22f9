// Shares as bars beside their numbers: each bar is a cell of a table, which reads without it.

import { s } from "./dom.js";

/** A bar of 0..1 with an interval, as an SVG that fills its cell. */
export function bar(share, low = null, high = null) {
  const at = (value) => Math.max(0, Math.min(100, 100 * value));
  return s("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "ground", x: 0, y: 1, width: 100, height: 8 }),
    s("rect", { class: "fill", x: 0, y: 1, width: at(share), height: 8 }),
    low === null ? null : s("path", { class: "whisker", d: `M${at(low)} 5H${at(high)}M${at(low)} 2V8M${at(high)} 2V8` }));
}

/** Two lengths under one another: the baseline's and the trial's, of `most`. */
export function pair(baseline, candidate, most) {
  const at = (value) => (100 * (value || 0)) / most;
  return s("svg", { class: "bar tall", viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "baseline", x: 0, y: 1, width: at(baseline), height: 6 }),
    s("rect", { class: "fill", x: 0, y: 9, width: at(candidate), height: 6 }));
}

/** Parts of a whole, one after another: `[[kind, share], …]`. */
export function stacked(parts) {
  let from = 0;
  const svg = s("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "ground", x: 0, y: 1, width: 100, height: 8 }));
  for (const [kind, share] of parts) {
    svg.append(s("rect", { class: kind, x: 100 * from, y: 1, width: 100 * share, height: 8 }));
    from += share;
  }
  return svg;
}
