// The front of several objectives: which trials no other beats, and how its volume has grown.

import { get } from "./api.js";
import { h, show } from "./dom.js";
import { asTable } from "./frame.js";
import { legend } from "./marks.js";
import { link, note } from "./parts.js";
import { scatter } from "./scatter.js";
import { axis, label, tick, value } from "./wording.js";

const WORDS = { best: "on the front", feasible: "beaten by another", infeasible: "breaks a limit" };
const KINDS = [["diamond", "best", WORDS.best], ["circle", "feasible", WORDS.feasible], ["cross", "infeasible", WORDS.infeasible], ["line", "steps", "front"]];

/** Draws a study's front into `place`; returns a function that looks whether it has changed. */
export function frontOf(place, path) {
  let change = null;
  let known = null;
  return async () => {
    const found = await get(`${path}/front`).catch((problem) => ({ problem }));
    if (found === known) return;
    known = found;
    if (found.problem || !found.points.length) {
      change = null;
      const nothing = found.problem ? found.problem.message : "No trial has been measured in every objective yet.";
      show(place, note(nothing));
      return;
    }
    if (!change) change = begin(place, found);
    change(found);
  };
}

function begin(place, first) {
  const [said, plots, grown] = [h("p", { class: "soft" }), h("div"), h("div")];
  show(place, said, plots, grown);
  const [x, y] = first.objectives;
  plots.append(legend(KINDS));
  const draw = scatter(plots, `${label(y)} against ${label(x)}, with the front`, points(first));
  let latest = first;
  asTable(plots, ["#Trial", ...first.objectives.map((one) => `#${label(one)}`), "Standing", "Limits"], () => latest.points.map((one) => [
    link(`/trials/${one.trial_id}`, String(one.number)), ...latest.objectives.map((metric) => value(metric, one.values[metric])), WORDS[kind(one)], limits(one)]));
  const drawVolume = scatter(grown, "Hypervolume after each trial", volume(first), 220);
  return (found) => {
    latest = found;
    said.textContent = words(found);
    draw(points(found));
    drawVolume(volume(found));
  };
}

const kind = (one) => (!one.is_feasible ? "infeasible" : one.is_dominated ? "feasible" : "best");

function limits(one) {
  if (!one.is_feasible) return "broken";
  return one.is_certain ? "kept" : "kept as measured, not for certain";
}

function points(found) {
  const [x, y] = found.objectives;
  const front = found.points.filter((one) => !one.is_dominated);
  // Of three objectives the front is no line in the plane of the first two.
  const isLine = found.objectives.length === 2 && ![x, y].some((metric) => /^(top[15]|throughput_per_s)$/.test(metric));
  return {
    points: found.points.map((one) => ({
      kind: kind(one), x: one.values[x], y: one.values[y], href: `/trials/${one.trial_id}`,
      text: `Trial ${one.number}: ${found.objectives.map((metric) => `${label(metric)} ${value(metric, one.values[metric])}`).join(", ")}, ${WORDS[kind(one)]}`,
    })),
    steps: isLine ? front.map((one) => [one.values[x], one.values[y]]) : [],
    xTitle: axis(x), yTitle: axis(y), xText: (v) => tick(x, v), yText: (v) => tick(y, v),
    xLimit: [found.reference[x], "measured from here"], yLimit: [found.reference[y], "measured from here"],
  };
}

function volume(found) {
  const steps = found.hypervolume.map((one) => [one.number, one.hypervolume]);
  const ids = new Map(found.points.map((one) => [one.number, one]));
  return {
    points: found.hypervolume.filter((one) => ids.has(one.number)).map((one) => ({
      kind: kind(ids.get(one.number)), x: one.number, y: one.hypervolume, href: `/trials/${ids.get(one.number).trial_id}`,
      text: `After trial ${one.number}: hypervolume ${one.hypervolume.toPrecision(4)}`,
    })),
    steps, wholeX: true, xTitle: "Trial", yTitle: "Hypervolume", xText: String, yText: (v) => String(+v.toPrecision(3)),
  };
}

function words(found) {
  const same = found.constant.map(label).join(" and ");
  const corner = found.objectives.map((metric) => `${label(metric)} ${value(metric, found.reference[metric])}`).join(", ");
  return `${found.n_on_front} of ${found.points.length} measured trials are on the front: within the limits, no other is as good in every objective and better in one. Its volume is measured from ${corner}.${same ? ` ${same} is the same in all of them and orders none.` : ""}`;
}
