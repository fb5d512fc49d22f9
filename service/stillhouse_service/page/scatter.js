// Trials as points: feasible ones round, others crossed, the best a diamond. Pointer and arrow keys
// walk through them, Enter or a click opens the trial.

import { s } from "./dom.js";
import { axes, plot } from "./frame.js";
import { marks } from "./marks.js";
import { extent, linear } from "./scales.js";

const REACH = 28;

/**
 * Draws a scatter plot into `place` and returns a function that shows other data.
 *
 * data: {points: [{x, y, low, high, kind, text, href}], xTitle, yTitle, xText, yText,
 *        steps: [[x, y], …] best so far, xLimit, yLimit: [value, text], floor}
 */
export function scatter(place, label, first, height = 320) {
  let data = first;
  let spots = [];
  let at = -1;
  const said = document.createElement("p");
  said.className = "reading";
  said.setAttribute("aria-live", "polite");
  const drawn = plot(place, height, label, draw);
  const { svg } = drawn;
  svg.setAttribute("tabindex", "0");
  place.append(said);
  rest();

  function draw(canvas, width) {
    const box = { left: 52, right: width - 10, top: 26, bottom: height - 44 };
    const { points } = data;
    const xs = points.map((p) => p.x).concat(data.xLimit ? [data.xLimit[0]] : []);
    const ys = points.map((p) => p.y).concat(data.yLimit ? [data.yLimit[0]] : []);
    const x = linear(extent(xs), [box.left, box.right], Math.max(3, Math.floor(width / 90)));
    const y = linear(extent(ys, 0.06), [box.bottom, box.top]);
    if (data.wholeX) x.ticks = x.ticks.filter(Number.isInteger);
    axes(canvas, { ...box, x, y, ...data });
    if (data.xLimit) limitAt(canvas, x.at(data.xLimit[0]), null, box, data.xLimit[1]);
    if (data.yLimit) limitAt(canvas, null, y.at(data.yLimit[0]), box, data.yLimit[1]);
    const bars = points.filter((p) => p.low !== null && p.low !== undefined && points.length <= 150);
    const d = bars.map((p) => `M${x.at(p.x).toFixed(1)} ${y.at(p.low).toFixed(1)}V${y.at(p.high).toFixed(1)}`).join("");
    if (d) canvas.append(s("path", { class: "whisker", d }));
    if (data.steps && data.steps.length) {
      let line = "";
      data.steps.forEach(([sx, sy], i) => {
        line += i ? `H${x.at(sx).toFixed(1)}V${y.at(sy).toFixed(1)}` : `M${x.at(sx).toFixed(1)} ${y.at(sy).toFixed(1)}`;
      });
      canvas.append(s("path", { class: "steps", d: `${line}H${box.right}` }));
    }
    spots = points.map((p) => ({ px: x.at(p.x), py: y.at(p.y), point: p })).sort((a, b) => a.px - b.px || a.py - b.py);
    for (const [kind, shape] of [["infeasible", "cross"], ["unknown", "triangle"], ["uncertain", "circle"], ["feasible", "circle"], ["best", "diamond"]]) {
      const of = spots.filter((spot) => spot.point.kind === kind).map(({ px, py }) => [px, py]);
      if (of.length) canvas.append(marks(shape, kind, of));
    }
    canvas.append(s("circle", { class: "cursor", r: 9, cx: -99, cy: -99 }));
  }

  function rest() {
    at = -1;
    said.textContent = "Point at a trial, or focus the plot and use the arrow keys; Enter opens it.";
    const cursor = svg.querySelector(".cursor");
    if (cursor) cursor.setAttribute("cx", -99);
  }

  function read(i) {
    at = i;
    const { px, py, point } = spots[i];
    const cursor = svg.querySelector(".cursor");
    cursor.setAttribute("cx", px);
    cursor.setAttribute("cy", py);
    said.textContent = point.text;
  }

  function nearest(event) {
    const frame = svg.getBoundingClientRect();
    const [mx, my] = [event.clientX - frame.left, event.clientY - frame.top];
    let best = -1;
    let least = REACH * REACH;
    spots.forEach(({ px, py }, i) => {
      const far = (px - mx) ** 2 + (py - my) ** 2;
      if (far < least) [best, least] = [i, far];
    });
    return best;
  }

  function openOne() {
    const spot = spots[at];
    if (spot && spot.point.href) document.dispatchEvent(new CustomEvent("go", { detail: spot.point.href }));
  }

  svg.addEventListener("pointermove", (event) => {
    const i = nearest(event);
    if (i >= 0) read(i);
  });
  svg.addEventListener("click", (event) => {
    const i = nearest(event);
    if (i >= 0) {
      read(i);
      openOne();
    }
  });
  svg.addEventListener("blur", rest);
  svg.addEventListener("keydown", (event) => {
    if (!spots.length) return;
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: spots.length - 1 };
    if (event.key in moves) {
      event.preventDefault();
      read(Math.max(0, Math.min(spots.length - 1, moves[event.key])));
    } else if (event.key === "Enter") openOne();
  });

  return (next) => {
    data = next;
    const before = at >= 0 && spots[at] ? spots[at].point.href : null;
    drawn.again();
    const again = before ? spots.findIndex(({ point }) => point.href === before) : -1;
    if (again >= 0) read(again);
    else rest();
  };
}

function limitAt(canvas, px, py, { left, right, top, bottom }, text) {
  if (px !== null) {
    canvas.append(s("path", { class: "limit", d: `M${px} ${top}V${bottom}` }));
    const isRight = px > (left + right) / 2;
    canvas.append(s("text", { class: "limit-text", x: px + (isRight ? -6 : 6), y: top + 10, "text-anchor": isRight ? "end" : "start" }, text));
  } else {
    canvas.append(s("path", { class: "limit", d: `M${left} ${py}H${right}` }));
    canvas.append(s("text", { class: "limit-text", x: right - 2, y: py - 6, "text-anchor": "end" }, text));
  }
}
