// The two plots of a study's trials: the objective as the study goes on, and against its limit.

import { h, show } from "./dom.js";
import { asTable } from "./frame.js";
import { legend } from "./marks.js";
import { link, note } from "./parts.js";
import { scatter } from "./scatter.js";
import { axis, count, label, limit, NOTHING, tick, value } from "./wording.js";

const KINDS = [["diamond", "best", "the best now"], ["circle", "feasible", "feasible"], ["circle", "uncertain", "feasible as measured, not for certain"], ["cross", "infeasible", "breaks a limit"]];
const WORDS = { best: "best feasible", feasible: "feasible", uncertain: "feasible as measured, not for certain", infeasible: "breaks a limit", unknown: "not judged" };

/** A plot of the objective over the trials; returns what shows another view. */
export function historyPlot(place) {
  return kept(place, ({ study, view, points }) => {
    const shown = points.map((one) => ({ ...mark(one, view, study), x: one.number, y: one.value, low: one.low, high: one.high }));
    return {
      points: shown, wholeX: true, xTitle: "Trial", yTitle: axis(view.objective), yText: (v) => tick(view.objective, v),
      steps: steps(view), yLimit: view.objective === "latency_ratio" ? [1, "baseline"] : null,
    };
  }, ({ view }) => `${label(view.objective)} of each trial, in the order they were tried`, [["line", "steps", "best feasible so far"]]);
}

/** A plot of the objective against the first limit's metric. */
export function limitPlot(place) {
  return kept(place, ({ study, view, points }) => {
    const bound = view.limits[0];
    return {
      points: points.filter((one) => one.limited !== null)
        .map((one) => ({ ...mark(one, view, study), x: one.limited, y: one.value })),
      xTitle: axis(view.limited), yTitle: axis(view.objective),
      xText: (v) => tick(view.limited, v), yText: (v) => tick(view.objective, v),
      xLimit: bound && bound.bound !== null ? [bound.bound, limit(bound)] : null,
    };
  }, ({ view }) => `${label(view.objective)} against ${label(view.limited || "")}`, [["line", "limit", "limit"]]);
}

function kept(place, dataOf, labelOf, more) {
  let change = null;
  return (study, view) => {
    const points = view.points.filter((one) => one.value !== null);
    const isDrawable = points.length && (more[0][1] !== "limit" || points.some((one) => one.limited !== null));
    if (!isDrawable) {
      change = null;
      show(place, note(nothing(study, view)));
      return;
    }
    const data = { study, view, points };
    if (change) {
      change(data);
      return;
    }
    show(place);
    const said = h("div");
    place.append(said);
    const hasUnknown = points.some((one) => one.is_feasible === null);
    place.append(legend([...KINDS, ...(hasUnknown ? [["triangle", "unknown", "not judged"]] : []), ...more]));
    const draw = scatter(place, labelOf(data), dataOf(data));
    let latest = data;
    asTable(place, ["#Trial", `#${label(view.objective)}`, view.limited ? `#${label(view.limited)}` : "#–", "Limits"],
      () => latest.points.map((one) => [link(`/trials/${one.id}`, String(one.number)), value(view.objective, one.value),
        view.limited ? value(view.limited, one.limited) : NOTHING, WORDS[kind(one, latest.study)]]));
    change = (next) => {
      latest = next;
      draw(dataOf(next));
      show(said, thinned(next.view), infeasible(next));
    };
    show(said, thinned(view), infeasible(data));
  };
}

function nothing(study, view) {
  if (!view.n_trials) return study.state === "checking" ? "Nothing to draw yet: trials begin once the device has checked the baseline." : "No trial was started.";
  if (view.n_failed && !view.open.length) return `None of the ${count(view.n_trials, "trial")} gave a measurement; the causes stand under “Failures”.`;
  return `No trial has been measured yet; ${count(view.open.length, "trial")} under way.`;
}

function thinned(view) {
  if (view.stride === 1) return null;
  return h("p", { class: "soft" }, `${view.points.length} of ${view.n_trials.toLocaleString("en")} trials are drawn: every ${view.stride}th, the last hundred, and each that was the best. The export has all of them.`);
}

function infeasible({ study, view, points }) {
  if (study.incumbent || points.some((one) => one.is_feasible !== false)) return null;
  return note(`None of the trials measured so far keeps the limits (${view.limits.map(limit).join("; ")}). If it stays so: widen the template towards less compression, train longer, or relax the limit.`);
}

function kind(one, study) {
  if (study.incumbent && study.incumbent.trial_id === one.id) return "best";
  if (one.is_feasible === null) return "unknown";
  return !one.is_feasible ? "infeasible" : one.is_certain ? "feasible" : "uncertain";
}

function mark(one, view, study) {
  const which = kind(one, study);
  const against = view.limited && one.limited !== null ? `, ${label(view.limited)} ${value(view.limited, one.limited)}` : "";
  return { kind: which, href: `/trials/${one.id}`, text: `Trial ${one.number}: ${label(view.objective)} ${value(view.objective, one.value)}${against}, ${WORDS[which]}` };
}

/** What the best feasible trial reached, as steps over the trials that took its place in turn. */
function steps(view) {
  const known = new Map(view.points.map((one) => [one.id, one]));
  const found = [];
  for (const id of view.best) {
    const one = known.get(id);
    if (!one || one.value === null || !one.is_feasible) continue;
    // A worse one after a better: the better did not hold when it was measured again.
    if (!found.length || one.number > found.at(-1)[0]) found.push([one.number, one.value]);
  }
  return found;
}
