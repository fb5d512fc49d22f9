// What a study learns from others, and how much each of them counts.

import { get } from "./api.js";
import { h, show } from "./dom.js";
import { table } from "./frame.js";
import { link, note } from "./parts.js";
import { label, NOTHING } from "./wording.js";

/** Draws the sources of a study into `place`; returns a function that looks whether they changed. */
export function sourcesOf(place, path) {
  let known = null;
  return async () => {
    const found = await get(`${path}/transfer`).catch((problem) => ({ problem }));
    if (found === known) return;
    known = found;
    if (found.problem) {
      show(place, note(found.problem.message));
      return;
    }
    const metrics = [...new Set(found.sources.flatMap((one) => Object.keys(one.weights)))];
    const words = metrics.length
      ? "What each counts in the latest proposal; the rest is this study's own trials."
      : "No model has proposed a trial yet: among the first trials are the best ones of these studies.";
    const rows = found.sources.map((one) => [
      link(`/studies/${one.study_id}`, one.name), `${one.n_within ?? NOTHING} of ${one.n_trials}`,
      `${one.shared.length} of ${one.shared.length + one.only_here.length}`,
      ...metrics.flatMap((metric) => [
        metric in one.weights ? `${Math.round(100 * one.weights[metric])} %` : NOTHING,
        one.agreement[metric]?.toFixed(2) ?? NOTHING,
      ]),
    ]);
    show(place, h("p", { class: "soft" }, words),
      h("div", { class: "scroll" }, table(["Study", "#Trials within", "#Parameters shared", ...metrics.flatMap((one) => [`#${label(one)}`, "#ranks agree"])], rows)));
  };
}
