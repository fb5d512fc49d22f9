// A metric over one parameter, all others averaged out: mean and standard deviation.

import { s } from "./dom.js";
import { axes, plot } from "./frame.js";
import { extent, linear, logarithmic, places } from "./scales.js";
import { axis, plain, tick } from "./wording.js";

const HEIGHT = 190;

/** Draws one marginal curve; all curves of a metric share `range` so that they compare. */
export function curve(place, metric, found, parameter, range) {
  const { x: xs, mean, sd } = found.curve;
  plot(place, HEIGHT, `${axis(metric)} over ${found.name}`, (svg, width) => {
    const box = { left: 48, right: width - 14, top: 26, bottom: HEIGHT - 30 };
    const across = [box.left, box.right];
    const isNumber = xs.every((one) => typeof one === "number");
    const isLog = isNumber && parameter && parameter.log && Math.min(...xs) > 0;
    const within = [box.left + 24, box.right - 24];
    const x = !isNumber ? places(xs, within) : isLog ? logarithmic(extent(xs, 0), across) : linear(extent(xs, 0), across, Math.max(3, Math.floor(width / 60)));
    if (parameter && parameter.kind === "int" && !isLog) x.ticks = x.ticks.filter(Number.isInteger);
    const y = linear(range, [box.bottom, box.top], 4);
    axes(svg, { ...box, x, y, yTitle: axis(metric), xText: plain, yText: (value) => tick(metric, value) });
    const px = (i) => x.at(xs[i]).toFixed(1);
    const py = (value) => y.at(value).toFixed(1);
    if (!isNumber) {
      const d = xs.map((_, i) => `M${px(i)} ${py(mean[i] - sd[i])}V${py(mean[i] + sd[i])}`).join("");
      svg.append(s("path", { class: "whisker strong", d }));
      xs.forEach((_, i) => svg.append(s("circle", { class: "mark feasible", cx: px(i), cy: py(mean[i]), r: 5 })));
      return;
    }
    const up = xs.map((_, i) => `${i ? "L" : "M"}${px(i)} ${py(mean[i] + sd[i])}`).join("");
    const down = xs.map((_, i) => `L${px(xs.length - 1 - i)} ${py(mean[xs.length - 1 - i] - sd[xs.length - 1 - i])}`).join("");
    svg.append(s("path", { class: "band", d: `${up}${down}z` }));
    svg.append(s("path", { class: "steps", d: xs.map((_, i) => `${i ? "L" : "M"}${px(i)} ${py(mean[i])}`).join("") }));
  });
}

/** Least and largest of what the curves of some parameters reach. */
export function rangeOf(parameters) {
  return extent(parameters.flatMap(({ curve: { mean, sd } }) => mean.flatMap((m, i) => [m - sd[i], m + sd[i]])), 0.05);
}
