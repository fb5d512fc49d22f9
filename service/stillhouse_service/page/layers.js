// A network layer by layer: the baseline's latency against the trial's, and what was cut out.

import { pair, stacked } from "./bars.js";
import { h } from "./dom.js";
import { table } from "./frame.js";
import { legend } from "./marks.js";
import { note } from "./parts.js";
import { percent } from "./wording.js";

const ms = (number) => (number === null || number === undefined ? "–" : number.toFixed(4));
const size = (shape) => shape.reduce((product, one) => product * one, 1);

/** Latency of each layer, of the trial's last measurement. */
export function latencies(trial) {
  const { layers } = trial;
  if (!layers.length) return note("No layer times: this trial was not measured layer by layer.");
  const most = Math.max(...layers.map((one) => Math.max(one.baseline_ms || 0, one.candidate_ms || 0)), 1e-9);
  const totals = ["baseline_ms", "candidate_ms"].map((name) => layers.reduce((sum, one) => sum + (one[name] || 0), 0));
  return [
    legend([["line", "baseline-line", "baseline"], ["line", "fill-line", `trial ${trial.number}`]]),
    h("div", { class: "scroll" }, table(["Layer", "Baseline above, trial below", "#Baseline, ms", "#Trial, ms", "#Change"], [
      ...layers.map((one) => [one.layer, pair(one.baseline_ms, one.candidate_ms, most), ms(one.baseline_ms), ms(one.candidate_ms), change(one.baseline_ms, one.candidate_ms)]),
      ["All layers", "", ms(totals[0]), ms(totals[1]), change(...totals)],
    ])),
    h("p", { class: "soft" }, "Times of single layers come from the runtime's own profile of a few runs; their sum is not the latency that the study minimises."),
  ];
}

function change(before, after) {
  if (!before || after === null || after === undefined) return "–";
  const by = Math.round(100 * (after / before - 1));
  return `${by > 0 ? "+" : by < 0 ? "−" : "±"}${Math.abs(by)} %`;
}

/** What is left of each layer: cut out of it, zero in what is left, in use. */
export function sparsity(trial) {
  const rows = trial.sparsity || [];
  if (!rows.length) return note("What was pruned is not known: this trial did not get through compression.");
  return [
    legend([["line", "cut-line", "cut out"], ["line", "zero-line", "zero"], ["line", "fill-line", "in use"]]),
    h("div", { class: "scroll" }, table(["Layer", "Weights", "Shape", "#Cut out", "#Zero in the rest", "#MACs left"],
      rows.map((one) => {
        const dense = one.dense_shape ? size(one.dense_shape) : one.params;
        const cut = dense ? 1 - size(one.shape) / dense : 0;
        const zero = (1 - cut) * one.sparsity;
        return [
          one.layer,
          stacked([["cut", cut], ["zero", zero], ["fill", 1 - cut - zero]]),
          `${(one.dense_shape || []).join("×")} → ${one.shape.join("×")}`,
          percent(cut), percent(one.sparsity),
          one.dense_macs ? percent(one.macs / one.dense_macs) : "–",
        ];
      }))),
  ];
}
