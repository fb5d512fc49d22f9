// Is the network on the device the one that was compressed? A column for each form it had.

import { h } from "./dom.js";
import { table } from "./frame.js";
import { note } from "./parts.js";

const share = (number) => `${(100 * number).toFixed(1)} %`;

/** What is not zero in each layer, stage by stage, and how well the answers agree. */
export function survivalTable(stages) {
  if (!stages.length) return note("Nothing is known yet of how it came from torch to the device.");
  const readable = stages.filter((one) => one.layers.length);
  const parts = [];
  if (readable.length) {
    const tables = readable.map((one) => new Map(one.layers.map((row) => [row.layer, row])));
    const names = [...new Set(tables.flatMap((one) => [...one.keys()]))];
    const rows = names.map((name) => {
      const first = tables.find((one) => one.has(name)).get(name);
      return [name, first.shape.join("×"), String(first.n_nonzero), share(first.sparsity),
        ...tables.slice(1).map((one) => {
          const row = one.get(name);
          return row === undefined ? "missing" : row.n_nonzero === first.n_nonzero ? "=" : String(row.n_nonzero);
        })];
    });
    parts.push(
      h("p", { class: "soft" }, "Weights that are not zero; “=” where a later form has as many as the first."),
      h("div", { class: "scroll" }, table(["Layer", "Shape", "#Not zero", "#Sparsity", ...readable.slice(1).map((one) => `#${one.name}`)], rows)));
  }
  const answers = stages.map((one) => [one.name, one.made_by,
    ...(one.agreement ? [one.agreement.max_abs.toExponential(2), one.agreement.max_rel.toExponential(2), share(one.agreement.top1_agreement)] : ["–", "–", "–"])]);
  parts.push(h("p", { class: "soft" }, "How far each form's answers are from torch's, on the probe images."),
    h("div", { class: "scroll" }, table(["Form", "Made by", "#Max abs", "#Max rel", "#Top-1 agrees"], answers)));
  return parts;
}
