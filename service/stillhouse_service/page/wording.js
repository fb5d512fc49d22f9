// Numbers as people read them: units, percent, points. The same words as the report's.

const LABELS = {
  latency_p50_ms: "Latency p50",
  latency_p95_ms: "Latency p95",
  latency_ratio: "Latency ratio",
  throughput_per_s: "Throughput",
  top1: "Top-1",
  top5: "Top-5",
  top1_drop: "Top-1 lost",
  params: "Parameters",
  macs: "MACs",
  model_bytes: "ONNX file",
  aa_ratio: "A/A ratio",
};
const OPERATORS = { "<=": "at most", ">=": "at least", "<": "below", ">": "above" };
const ENDS = new Set(["finished", "cancelled", "rejected", "failed"]);
const TRIAL_ENDS = new Set(["complete", "failed", "unsupported", "cancelled", "stopped"]);
export const NOTHING = "–";

export const isOver = (study) => ENDS.has(study.state);
export const isTold = (trial) => TRIAL_ENDS.has(trial.state);
export const label = (metric) => LABELS[metric] || metric.replaceAll("_", " ");

/** A metric's value with its unit; a dash where there is none. */
export function value(metric, number) {
  if (number === null || number === undefined) return NOTHING;
  const name = metric.replace(/_(low|high)$/, "");
  if (name.endsWith("_ms")) return `${number.toFixed(number < 10 ? 3 : 1)} ms`;
  if (name.endsWith("_ratio")) return number.toFixed(3);
  if (/(^|_)top[15]$/.test(name)) return `${(100 * number).toFixed(2)} %`;
  if (name.endsWith("_drop")) return `${(100 * number).toFixed(2)} points`;
  if (name.endsWith("_per_s")) return `${Math.round(number).toLocaleString("en")} /s`;
  if (name.endsWith("bytes")) return bytes(number);
  if (name === "macs") return `${(number / 1e6).toFixed(2)} M`;
  if (name === "params") return number.toLocaleString("en");
  return plain(number);
}

/** A metric at an axis: short, without its unit's name where that is plain. */
export function tick(metric, number) {
  if (metric.endsWith("_drop") || /(^|_)top[15]$/.test(metric)) return `${+(100 * number).toFixed(2)}`;
  if (metric.endsWith("bytes")) return bytes(number);
  return plain(number);
}

/** An axis' title, with the unit of its ticks. */
export function axis(metric) {
  if (metric.endsWith("_drop")) return `${label(metric)}, points`;
  if (/(^|_)top[15]$/.test(metric)) return `${label(metric)}, %`;
  if (metric.endsWith("_ms")) return `${label(metric)}, ms`;
  return label(metric);
}

export function bytes(number) {
  return number >= 1e6 ? `${(number / 1e6).toFixed(2)} MB` : `${(number / 1e3).toFixed(1)} kB`;
}

export function plain(scalar) {
  if (scalar === null || scalar === undefined) return NOTHING;
  if (scalar === true) return "on";
  if (scalar === false) return "off";
  if (typeof scalar === "number" && !Number.isInteger(scalar)) return String(+scalar.toPrecision(4));
  return String(scalar);
}

export const percent = (share) => `${Math.round(100 * share)} %`;

export function interval(metrics, metric) {
  const low = metrics[`${metric}_low`];
  const high = metrics[`${metric}_high`];
  const said = value(metric, metrics[metric]);
  if (low === null || low === undefined || high === null || high === undefined) return said;
  return `${said} (${value(metric, low)} to ${value(metric, high)})`;
}

export function limit({ metric, op, bound }) {
  if (bound === null) return `${label(metric)}: a share of the baseline's, not measured yet`;
  return `${label(metric)} ${OPERATORS[op] || op} ${value(metric, bound)}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** How long ago something was, roughly. */
export function ago(moment) {
  if (!moment) return NOTHING;
  const seconds = (Date.now() - Date.parse(moment)) / 1000;
  return seconds < 5 ? "just now" : `${duration(seconds < 3600 ? seconds : Math.round(seconds / 60) * 60)} ago`;
}

export function moment(text) {
  return text ? new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }) : NOTHING;
}

export function count(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

/** What a trial under way does, from its progress: `fine-tuning, epoch 2 of 3`. */
export function doing(progress) {
  if (!progress) return "";
  const device = progress.device || {};
  const parts = [];
  if (progress.stage) parts.push(progress.stage);
  if (progress.epochs && progress.epoch !== undefined) parts.push(`epoch ${progress.epoch} of ${progress.epochs}`);
  else if (typeof progress.fraction === "number") parts.push(percent(progress.fraction));
  if (device.stage) parts.push(device.stage);
  if (typeof device.fraction === "number") parts.push(percent(device.fraction));
  return parts.join(", ");
}

/** Where a metric goes as a parameter rises, and how plainly. */
export function direction({ direction: way, strength, curve }) {
  const said = { up: "rises", down: "falls", peaked: "highest inside", valley: "lowest inside", none: "no trend" };
  if (!strength || way === "none") return said[way] || NOTHING;
  let near = "";
  if ((way === "peaked" || way === "valley") && curve.mean.length) {
    const extreme = (way === "peaked" ? Math.max : Math.min)(...curve.mean);
    near = ` near ${plain(curve.x[curve.mean.indexOf(extreme)])}`;
  }
  return `${said[way]}${near}, ${["weakly", "mostly", "plainly"][Math.min(Math.floor(3 * strength), 2)]}`;
}
