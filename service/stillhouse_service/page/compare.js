// Trials side by side: what differs in their configs, what they measured, layer by layer.

import { get } from "./api.js";
import { h, show } from "./dom.js";
import { table } from "./frame.js";
import { link, note, refusal, section, state } from "./parts.js";
import { interval, label, plain } from "./wording.js";

const MOST = 6;

export function comparePage(place) {
  document.title = "Compare trials – Stillhouse";
  const ids = [...new Set((new URLSearchParams(location.search).get("trials") || "").split(",").filter(Boolean))];
  show(place, h("h1", {}, "Compare trials"));
  if (ids.length < 2 || ids.length > MOST) {
    place.append(note(`Two to ${MOST} trials can be compared: choose them in the table of a study's latest trials.`, " ", link("/", "All studies")));
    return;
  }
  Promise.all(ids.map((id) => get(`/v1/trials/${encodeURIComponent(id)}`)))
    .then((trials) => place.append(...parts(trials)))
    .catch((error) => place.append(refusal(error)));
}

function parts(trials) {
  const columns = trials.map((one) => `#Trial ${one.number}`);
  const names = (of) => [...new Set(trials.flatMap((one) => Object.keys(of(one) || {})))];
  const config = names((one) => one.config).map((name) => [name, trials.map((one) => (name in one.config ? plain(one.config[name]) : "inactive"))]);
  const differs = config.filter(([, cells]) => new Set(cells).size > 1);
  const same = config.filter(([, cells]) => new Set(cells).size === 1);
  const metrics = names((one) => one.metrics).filter((name) => !/_(low|high)$/.test(name));
  return [
    h("ul", { class: "now" }, trials.map((one) => h("li", {}, link(`/trials/${one.id}`, `Trial ${one.number}`), " ", state(one.state), " ", h("span", { class: "soft" }, one.why_proposed)))),
    section("Figures", h("div", { class: "scroll" }, table(["Metric", ...columns], metrics.map((name) => [label(name), ...cells(trials.map((one) => (one.metrics ? interval(one.metrics, name) : "–")))]))))[0],
    section("What differs", differs.length ? h("div", { class: "scroll" }, table(["Parameter", ...columns], differs.map(([name, found]) => [name, ...found]))) : note("Nothing: the configs are the same."))[0],
    same.length ? section("What is the same", h("div", { class: "scroll" }, table(["Parameter", "#Value"], same.map(([name, found]) => [name, found[0]]))))[0] : null,
    section("Latency by layer", byLayer(trials, columns))[0],
  ].filter(Boolean);
}

const cells = (texts) => (new Set(texts).size > 1 ? texts.map((text) => h("strong", {}, text)) : texts);

function byLayer(trials, columns) {
  const tables = trials.map((one) => new Map(one.layers.map((row) => [row.layer, row])));
  const names = [...new Set(tables.flatMap((one) => [...one.keys()]))];
  if (!names.length) return note("None of them was measured layer by layer.");
  const ms = (number) => (number === null || number === undefined ? "–" : number.toFixed(4));
  return h("div", { class: "scroll" }, table(["Layer", "#Baseline, ms", ...columns], names.map((name) => {
    const rows = tables.map((one) => one.get(name));
    return [name, ms(rows.find(Boolean).baseline_ms), ...rows.map((row) => ms(row && row.candidate_ms))];
  })));
}
