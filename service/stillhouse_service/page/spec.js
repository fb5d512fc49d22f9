// What the form's fields mean as a study's spec, and back.

const TEMPLATE = `# What has a tag is searched: !float, !int, !choice, !ordinal, !optional, !ref.
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    mask_batchnorm: true
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8, default: 0.3}
    weights: [layer1.*.conv1.weight]
policies:
  - pruner: {instance_name: filters}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
`;
const TRAINING = `epochs: 4
lr: !float {low: 0.001, high: 0.1, log: true, default: 0.01}
batch_size: 32
`;

/** The fields of a spec; without one those of a study to begin with. */
export function valuesOf(spec, name) {
  const from = spec || {
    name: "New study", baseline: null, device: null, template: TEMPLATE, training: TRAINING, objectives: ["latency_ratio"],
    constraints: ["top1_drop <= 0.02"], budget: { trials: 20 }, parallel: 1, seed: 0,
  };
  return {
    name: name || from.name, baseline: from.baseline, device: from.device, template: from.template, training: from.training,
    objective: from.objectives[0], second: from.objectives[1] || "", constraints: from.constraints.join("\n"), trials: from.budget.trials,
    hours: from.budget.wall_s ? from.budget.wall_s / 3600 : "", parallel: from.parallel, seed: from.seed,
  };
}

/** The spec of some fields' texts; what has no field stays as `base` has it. */
export function specOf(base, fields) {
  const budget = { ...(base ? base.budget : {}), trials: Number(fields.trials) };
  delete budget.wall_s;
  if (fields.hours !== "") budget.wall_s = Number(fields.hours) * 3600;
  return {
    ...(base || {}),
    name: fields.name,
    baseline: fields.baseline || null,
    device: fields.device || null,
    template: fields.template,
    training: fields.training,
    objectives: [fields.objective, fields.second, ...(base ? base.objectives.slice(2) : [])].filter(Boolean),
    constraints: fields.constraints.split("\n").map((line) => line.trim()).filter(Boolean),
    budget,
    parallel: Number(fields.parallel),
    seed: Number(fields.seed),
  };
}
