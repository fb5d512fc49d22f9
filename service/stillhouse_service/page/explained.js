// Importance with its intervals, and the marginal curves: which way to turn a parameter.

import { Problem, worked } from "./api.js";
import { bar } from "./bars.js";
import { curve, rangeOf } from "./curves.js";
import { h, show } from "./dom.js";
import { table } from "./frame.js";
import { note, refusal, sentence } from "./parts.js";
import { count, direction, label, percent, plain } from "./wording.js";

const VERDICTS = { enough: "Enough data", care: "Treat with care", not_enough: "Not enough data" };
const N_CURVES = 6;

/** Asks for a study's importance; the answer may be worked out for a while. */
export async function importanceOf(studyId, signal) {
  const answer = await worked(`/v1/studies/${studyId}/importance?pairs=5`, signal);
  return answer.json();
}

/** Shows importance and curves in two places, a metric at a time. */
export function explain(found, study, ofShares, ofCurves) {
  const metrics = Object.keys(found.metrics);
  if (!metrics.length) {
    const why = found.ablation_note || "There is nothing to rank.";
    show(ofShares, note(why));
    show(ofCurves, note(why));
    return;
  }
  const name = `metric-${study.id}`;
  const inner = h("div");
  const choice = h("fieldset", { class: "choice" }, h("legend", {}, "What is explained"), metrics.map((metric, i) =>
    h("label", {}, h("input", { type: "radio", name, value: metric, checked: i === 0, onchange: () => one(metric) }), ` ${label(metric)}`)));
  show(ofShares, metrics.length > 1 ? choice : null, inner);
  one(metrics[0]);

  function one(metric) {
    const of = found.metrics[metric];
    show(inner, verdict(of, metric), of.parameters.length ? shares(of, metric) : null);
    show(ofCurves);
    if (!of.parameters.length) {
      show(ofCurves, note(`No curve of ${label(metric)} is drawn: ${VERDICTS[of.verdict].toLowerCase()}.`));
      return;
    }
    const drawn = of.parameters.slice(0, N_CURVES);
    const range = rangeOf(drawn);
    const grid = h("div", { class: "grid" });
    show(ofCurves,
      h("p", { class: "soft" }, `${label(metric)} over each parameter, all others averaged out; the band is one standard deviation between the forest's trees. Most important first.`), grid);
    for (const parameter of drawn) {
      const figure = h("figure", {}, h("figcaption", {}, h("strong", {}, parameter.name), `: ${parameter.recommendation}`));
      grid.append(figure);
      curve(figure, metric, parameter, study.parameters.find((p) => p.name === parameter.name), range);
    }
  }
}

function verdict(of, metric) {
  return h("p", {}, h("span", { class: `badge ${of.verdict}` }, VERDICTS[of.verdict]),
    ` ${label(metric)}, from ${count(of.n_trials, "trial")}. ${sentence(of.explanation)}${of.verdict === "not_enough" ? " No ranking is shown." : ""}`);
}

function shares(of) {
  return h("div", { class: "scroll" }, table(
    ["Parameter", "#Share", "Share of the variance, 90 % interval", "Direction", "Use"],
    of.parameters.map((one) => [
      one.name,
      `${percent(one.importance)} (${Math.round(100 * one.importance_low)} to ${Math.round(100 * one.importance_high)})`,
      bar(one.importance, one.importance_low, one.importance_high),
      direction(one),
      one.recommended.length ? one.recommended.map(plain).filter((text, i, all) => all.indexOf(text) === i).join(" to ") : "–",
    ])));
}

/** Says why there is no importance. */
export function unexplained(error) {
  if (error instanceof Problem && error.status === 409) return note(sentence(error.message));
  return refusal(error);
}
