// The top of a study's page: where it stands, what may be done with it, the figures that count.

import { download, post } from "./api.js";
import { h } from "./dom.js";
import { action, confirm, link, note, state } from "./parts.js";
import { left, nEnded } from "./studies.js";
import { ago, count, duration, interval, isOver, label, limit, value } from "./wording.js";

/** Name, state, and buttons; `changed()` is called once something was done. */
export function actions(study, place, changed) {
  const path = `/v1/studies/${study.id}`;
  const does = (verb) => async () => {
    await post(`${path}/${verb}`);
    await changed();
  };
  const buttons = [];
  if (study.state === "running") buttons.push(action("Pause", place, does("pause")));
  if (study.state === "paused") buttons.push(action("Resume", place, does("resume"), { class: "main" }));
  if (!isOver(study)) {
    buttons.push(action("Cancel", place, async () => {
      if (await confirm("Cancel this study? Whatever is under way ends, and it cannot be resumed.", "Cancel the study")) await does("cancel")();
    }, { class: "danger" }));
  }
  if (study.experiment_id === null) buttons.push(h("a", { class: "button", href: `/new?from=${study.id}` }, "Clone"));
  if (study.state === "finished" && study.incumbent && !study.finalized && study.spec.baseline) {
    buttons.push(action("Train the winner at full length", place, async () => {
      await post(`${path}/finalize`, {});
      await changed();
    }));
  }
  return h("div", { class: "buttons" }, buttons);
}

/** Files that a study can be taken away as. */
export function exportsOf(study, place) {
  const path = `/v1/studies/${study.id}`;
  const file = (text, address, name) => action(text, place, () => download(address, name), { class: "quiet" });
  return h("div", { class: "buttons" }, h("span", { class: "soft" }, "Export:"),
    study.spec.baseline ? file("report", `${path}/report?format=html`, `report-${study.id}.html`) : null,
    file("trials, CSV", `${path}/trials?format=csv`, `trials-${study.id}.csv`),
    file("importance, CSV", `${path}/importance?format=csv`, `importance-${study.id}.csv`));
}

const STATES = {
  checking: "The baseline is being checked on the device; trials begin after that.",
  paused: "Paused: no more trials are started, those under way go on.",
  rejected: "Rejected by the check before the first trial: nothing was spent on it.",
  failed: "Failed: the check before the first trial could not be done.",
  cancelled: "Cancelled before its budget was used.",
};

/** What a reader must know first: why it does not move, what was found. */
export function summary(study) {
  const said = [];
  if (STATES[study.state]) said.push(STATES[study.state]);
  if (study.reason) said.push(`${study.reason.charAt(0).toUpperCase()}${study.reason.slice(1)}.`);
  const spared = saved(study);
  if (spared) said.push(spared);
  return said.length ? h("p", { class: study.state === "running" || study.state === "finished" ? "soft" : "note" }, said.join(" ")) : null;
}

/** What did not have to be computed, in words; empty where there is nothing to say. */
function saved({ saved: { n_twins: twins, n_not_trained: slow, n_ended_early: lost, compute_s: seconds } }) {
  const parts = [
    twins ? `${count(twins, "trial")} came to the same as another and took its result` : "",
    slow ? `${count(slow, "trial")} not trained, as the network was too slow to win` : "",
    lost ? `${count(lost, "training")} ended early, as the limit was out of reach` : "",
  ].filter(Boolean);
  return parts.length ? `Spared: ${parts.join("; ")}; about ${duration(seconds)} of compute.` : "";
}

/** The figures as cards. */
export function cards(study, view) {
  const objective = study.spec.objectives[0];
  const best = study.incumbent;
  const n = study.spec.budget.trials;
  const ended = nEnded(study);
  const all = [];
  if (best) {
    all.push(card(`Best feasible ${label(objective).toLowerCase()}`, value(objective, best[objective]),
      [link(`/trials/${best.trial_id}`, `trial ${best.number}`), best.is_confirmed ? ", measured again" : "", best.is_certain ? "" : ", not certain to keep the limits"]));
    if (objective === "latency_ratio" && best.latency_p50_ms !== undefined) {
      const before = study.baseline_measurement ? `baseline ${value("latency_p50_ms", study.baseline_measurement.p50_ms)}` : "";
      all.push(card("Latency p50", value("latency_p50_ms", best.latency_p50_ms), before));
    }
    if (best.top1 !== undefined) all.push(card("Top-1, validation", value("top1", best.top1), `lost ${value("top1_drop", best.top1_drop)}`));
  } else {
    all.push(card("Best feasible", "none yet", view.limits.length ? view.limits.map(limit).join("; ") : "no limit is set"));
  }
  if (study.final) {
    const kept = study.final.is_feasible ? "keeps the limits on the test split" : "breaks a limit on the test split: do not ship it";
    all.push(card("Top-1, test split", value("top1", study.final.top1), kept));
  }
  all.push(card("Trials ended", `${ended} of ${n}`, h("progress", { max: n, value: ended, "aria-label": "share of the trials that have ended" })));
  all.push(isOver(study)
    ? card("Took", duration((Date.parse(study.finished_at) - Date.parse(study.created_at)) / 1000), `ended ${ago(study.finished_at)}`)
    : card("Budget left", left({ ...study, started_at: null, eta_s: null }), timeLeft(study)));
  return h("div", { class: "cards" }, all);
}

function timeLeft(study) {
  const [, ...times] = left(study).split(", ");
  return times.join(", ");
}

function card(name, figure, ...more) {
  return h("div", { class: "card" }, h("span", { class: "name" }, name), h("span", { class: "value" }, figure), h("span", { class: "soft" }, ...more));
}

/** What it was made from. */
export function made(study, view) {
  const { spec } = study;
  const rows = [
    ["Device", spec.device || "run outside"],
    ["Minimised", spec.objectives.map(label).join(", ")],
    ["Limits", view.limits.length ? view.limits.map(limit).join("; ") : "none"],
    ["Budget", [`${spec.budget.trials} trials`, spec.budget.wall_s ? duration(spec.budget.wall_s) : null, spec.budget.compute_s ? `${duration(spec.budget.compute_s)} of compute` : null].filter(Boolean).join(", ")],
    ["At once", String(spec.parallel)], ["Seed", String(spec.seed)], ["Baseline", spec.baseline || "none"],
    ["Parameters", String(study.parameters.length)],
  ];
  return [
    h("dl", { class: "facts" }, rows.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text)))),
    spec.template ? h("details", {}, h("summary", {}, "Template"), h("pre", { tabindex: "0" }, spec.template)) : null,
    spec.training ? h("details", {}, h("summary", {}, "Fine-tuning"), h("pre", { tabindex: "0" }, spec.training)) : null,
  ];
}

export function title(study, live) {
  return h("div", {}, h("p", { class: "eyebrow" }, "Study ", h("code", {}, study.id)),
    h("div", { class: "head" }, h("h1", {}, study.name), state(study.state), live));
}

/** What the test split said of the winner, and of its full-length training. */
export function final(study) {
  const figures = (of) => `latency ratio ${interval(of, "latency_ratio")}, Top-1 ${value("top1", of.top1)}, lost ${value("top1_drop", of.top1_drop)}`;
  const said = [];
  if (study.final) said.push(note(`On the test split, used once for the winner alone: ${figures(study.final)}.`));
  const more = study.finalized;
  if (more && more.latency_ratio === undefined) said.push(note("The winner is trained at full length: ", link(`/studies/${more.study_id}`, more.state), "."));
  else if (more) said.push(note("Trained at full length, ", link(`/studies/${more.study_id}`, "on the test split"), `: ${figures(more)}${more.is_feasible ? "" : "; it breaks a limit: do not ship it"}.`));
  return said;
}
