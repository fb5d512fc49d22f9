// A trial: how it went, why it was proposed, what it ran, what became of the network.

import { Problem, download, get, news, text } from "./api.js";
import { h, show } from "./dom.js";
import { table } from "./frame.js";
import { latencies, sparsity } from "./layers.js";
import { action, keepFocus, link, note, refusal, section, state } from "./parts.js";
import { survivalTable } from "./survival.js";
import { timeline } from "./timeline.js";
import { count, doing, isTold, label, moment, plain, value } from "./wording.js";

const FILES = {
  schedule: ["schedule.yaml", "the plain schedule, as Distiller reads it"],
  onnx: ["model.onnx", "the network"],
  weights: ["weights.safetensors", "its weights for PyTorch"],
  log: ["log.txt", "everything its compression said"],
};
const LOOK_S = 20;

export function trialPage(place, id) {
  const path = `/v1/trials/${id}`;
  const aborts = new AbortController();
  let isClosed = false;
  show(place, h("p", { class: "soft" }, "Loading …"));

  async function run() {
    let trial = await get(path);
    const study = await get(`/v1/studies/${trial.study_id}`);
    while (!isClosed) {
      draw(trial, study);
      if (isTold(trial)) return;
      const before = trial;
      while (trial === before && !isClosed) trial = await news(path, LOOK_S, aborts.signal);
    }
  }

  function draw(trial, study) {
    document.title = `Trial ${trial.number} of ${study.name} – Stillhouse`;
    const said = h("div");
    const parts = [
      head(trial, study),
      section("Timeline", timeline(trial.events.filter((one) => one.kind === "state"), trial))[0],
      trial.failure ? section("Failure", failure(trial))[0] : null,
      section("Config and figures", h("div", { class: "columns" }, config(trial, study), figures(trial)))[0],
      section("Files", files(trial, said), said)[0],
      section("Schedule", schedule(trial))[0],
      section("Latency by layer", latencies(trial))[0],
      section("Sparsity by layer", sparsity(trial))[0],
      section("From torch to the device", survivalTable(trial.survival))[0],
      trial.history.length ? section("Epochs", epochs(trial.history))[0] : null,
      trial.thinning.length ? section("What was cut out", h("pre", { tabindex: "0" }, trial.thinning.map((one) => one.text).join("\n")))[0] : null,
      trial.measurements.length ? section("Measurements", measurements(trial))[0] : null,
      section("Log", log(trial))[0],
    ];
    keepFocus(place, () => show(place, parts));
  }

  run().catch((error) => {
    if (!isClosed && error.name !== "AbortError") show(place, h("h1", {}, "Trial"), refusal(error));
  });
  return () => {
    isClosed = true;
    aborts.abort();
  };
}

function head(trial, study) {
  const best = study.incumbent && study.incumbent.trial_id;
  const kept = { true: "It keeps every limit.", false: `It breaks: ${Object.keys(trial.violations).map(label).join(", ")}.`, null: "" }[trial.is_feasible];
  return h("div", {},
    h("p", { class: "eyebrow" }, "Trial of ", link(`/studies/${study.id}`, study.name)),
    h("div", { class: "head" }, h("h1", {}, `Trial ${trial.number}`), state(trial.state), trial.id === best ? h("span", { class: "badge enough" }, "best feasible") : null),
    h("p", {}, trial.why_proposed, trial.twin_of ? [" ", link(`/trials/${trial.twin_of}`, "The trial that was run"), "."] : null),
    trial.rung === null ? null : h("p", { class: "soft" }, `Rung ${trial.rung}`, judged(trial, study),
      trial.promoted_from ? ["; taken further than ", link(`/trials/${trial.promoted_from}`, "the trial of the rung below")] : "", "."),
    trial.latency_from === null ? null : h("p", { class: "soft" }, timed(trial)),
    trial.ended_early ? note(`${trial.ended_early.charAt(0).toUpperCase()}${trial.ended_early.slice(1)}.`) : null,
    trial.probe && trial.probe.contradiction ? note(`${trial.probe.contradiction}.`) : null,
    h("p", { class: "soft" }, kept, isTold(trial) ? "" : ` ${doing(trial.progress)}`),
    trial.warnings.map((one) => note(one)),
    h("p", { class: "buttons" },
      best && best !== trial.id ? link(`/compare?trials=${best},${trial.id}`, "Compare with the best") : null,
      h("span", { class: "soft" }, h("code", {}, trial.id), `, seed ${trial.seed}`)));
}

/** On how much of the validation split its accuracy stands. */
function judged({ n_images: n }, { baseline_measurement: baseline }) {
  const all = baseline && baseline.n_images;
  if (!n) return "";
  return all && n < all ? `, judged on ${n} of the ${all} validation images` : `, judged on all ${n} validation images`;
}

/** Whose latency it has, where it was not timed itself. */
function timed({ number, latency_from: from }) {
  return from === number
    ? "Its latency is that of its untrained network: training changes no shape, so it was timed once."
    : `Its latency is that of trial ${from}, which built the same network; its accuracy is its own.`;
}

function failure({ failure: { stage, class: kind, reason, log: lines } }) {
  return [h("p", { class: "error" }, h("strong", {}, `${kind} in ${stage}: `), reason),
    lines.length ? h("pre", { tabindex: "0" }, lines.join("\n")) : null];
}

function config(trial, study) {
  const names = study.parameters.map((one) => one.name);
  const rows = names.map((name) => [name, name in trial.config ? plain(trial.config[name]) : "inactive"]);
  return h("div", { class: "scroll" }, table(["Parameter", "#Value"], rows, "Config"));
}

function figures(trial) {
  const metrics = trial.metrics || {};
  const names = Object.keys(metrics);
  if (!names.length) return note(isTold(trial) ? "It gave no figures." : "No figures yet.");
  const isEnd = (name) => /_(low|high)$/.test(name) && names.includes(name.replace(/_(low|high)$/, ""));
  const rows = names.filter((name) => !isEnd(name)).map((name) => [
    label(name), value(name, metrics[name]),
    bounds(metrics, name),
    name in trial.prediction ? value(name, trial.prediction[name]) : "",
  ]);
  return h("div", { class: "scroll" }, table(["Metric", "#Measured", "#Interval", "#Expected"], rows, "Figures"));
}

/** An interval, or the one end that is known. */
function bounds(metrics, name) {
  const [low, high] = [metrics[`${name}_low`], metrics[`${name}_high`]].map((one) => one ?? null);
  if (low !== null && high !== null) return `${value(name, low)} to ${value(name, high)}`;
  if (low !== null) return `at least ${value(name, low)}`;
  return high !== null ? `at most ${value(name, high)}` : "";
}

function files(trial, said) {
  const there = Object.keys(FILES).filter((name) => name in trial.artifacts);
  if (!there.length) return note(isTold(trial) ? "It left no files." : "No files yet: they are there once it is compressed.");
  return h("ul", { class: "files" }, there.map((name) => {
    const [file, what] = FILES[name];
    const act = async () => {
      try {
        await download(`/v1/artifacts/${trial.artifacts[name]}`, `trial-${trial.number}-${file}`);
      } catch (error) {
        throw gone(error, file);
      }
    };
    return h("li", {}, action(`Download ${file}`, said, act), h("span", { class: "soft" }, ` ${what}`));
  }));
}

function gone(error, what) {
  if (error instanceof Problem && (error.status === 404 || error.status === 500)) {
    return new Problem(error.status, { detail: `${what} is not in the artifact store any more: it was deleted or damaged; the trial's figures stay` });
  }
  return error;
}

function schedule(trial) {
  if (!trial.artifacts.schedule) return note("It has no schedule yet.");
  const box = h("div", {}, h("p", { class: "soft" }, "Loading …"));
  text(trial.artifacts.schedule)
    .then((yaml) => show(box, h("pre", { tabindex: "0" }, yaml)))
    .catch((error) => show(box, refusal(gone(error, "the schedule's file")),
      trial.schedule ? h("pre", { tabindex: "0" }, JSON.stringify(trial.schedule, null, 1)) : null));
  return box;
}

function epochs(history) {
  const names = [...new Set(history.flatMap(Object.keys))].filter((name) => history.some((one) => typeof one[name] === "number"));
  return h("div", { class: "scroll" }, table(names.map((name) => `#${label(name)}`), history.map((one) => names.map((name) => value(name, one[name])))));
}

function measurements(trial) {
  return h("div", { class: "scroll" }, table(["When", "Purpose", "Split", "#Latency ratio", "#A/A", "Device"],
    trial.measurements.map((one) => [moment(one.at), one.purpose, one.split, value("latency_ratio", one.result.latency_ratio), value("latency_ratio", one.result.aa_ratio), one.device_id])));
}

function log(trial) {
  if (!trial.log.length) return note("It has said nothing.");
  return [h("p", { class: "soft" }, trial.artifacts.log ? `The last ${count(trial.log.length, "line")}; all of it is a file above.` : `The last ${count(trial.log.length, "line")}.`),
    h("pre", { tabindex: "0" }, trial.log.join("\n"))];
}
