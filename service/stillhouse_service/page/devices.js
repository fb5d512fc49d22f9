// Compute and device hosts: what each does now, what waits, how warm it is, whether it may be trusted.

import { get } from "./api.js";
import { h, show } from "./dom.js";
import { keepFocus, link, note, repeat, section } from "./parts.js";
import { ago, count, doing, duration } from "./wording.js";

const LOOK_S = 3;
const WARM_C = 60; // a stick begins to throttle at 70

export function devicesPage(place) {
  document.title = "Devices – Stillhouse";
  const trouble = h("div");
  const body = h("div");
  show(place, h("h1", {}, "Devices and workers"), trouble, body);
  let drawn = null;
  return repeat(LOOK_S, trouble, async () => {
    const found = await get("/v1/workers");
    if (found === drawn) return;
    drawn = found;
    keepFocus(body, () => show(body, compute(found.compute), ...hosts(found)));
  });
}

function compute({ mode, n_waiting: n, now }) {
  const modes = {
    embedded: "Networks are trained and compressed by a worker of this server.",
    cluster: "Networks are trained and compressed on a Dask cluster.",
    none: "This server compresses nothing: it was started with compute “none”.",
  };
  return section("Compute",
    h("p", {}, modes[mode]),
    now.length ? h("ul", { class: "now" }, now.map((one) => h("li", {}, work(one)))) : h("p", { class: "soft" }, "Nothing runs."),
    h("p", { class: "soft" }, n ? `${count(n, "stage")} waiting.` : "Nothing waits."))[0];
}

function hosts({ hosts: all, waiting }) {
  const parts = [];
  const served = new Set(all.flatMap((host) => host.devices.filter((one) => one.is_live).flatMap((one) => [one.kind, one.name, one.id])));
  const stuck = waiting.filter(({ device }) => !served.has(device) && !device.startsWith("compile:"));
  for (const { device, n } of stuck) parts.push(note(`${count(n, "job")} for ${device} waiting, and no live device is one.`));
  if (!all.length) parts.push(note("No device host has registered. On the machine with the device: ", h("code", {}, "stillhouse-worker --server http://THIS-SERVER:8470"), "."));
  for (const host of all) {
    parts.push(section(`Host ${host.name}`,
      h("p", { class: "soft" }, `Worker ${host.version}, heard of ${ago(host.last_seen_at)}.`),
      h("ul", { class: "studies" }, host.devices.map(device)))[0]);
  }
  return parts;
}

function device(one) {
  const heat = one.temperature_c === null ? "not told" : `${one.temperature_c.toFixed(0)} °C${one.temperature_c > WARM_C ? ", warm: jobs wait until it is cooler" : ""}, ${ago(one.measured_at)}`;
  const health = one.is_suspect
    ? `In quarantine: its last ${one.n_failed_in_a_row} jobs failed by its own fault and it has asked for none since. Its host tests it before it takes another.`
    : one.n_failed_in_a_row ? `${count(one.n_failed_in_a_row, "job")} failed by its own fault since its last result.` : "Nothing against it.";
  const rows = [
    ["Does", one.now ? work(one.now) : one.is_live ? "waits for work" : "–"],
    ["Queue", one.n_waiting ? `${count(one.n_waiting, "job")} that it may take` : "empty"],
    ["Temperature", heat],
    ["Health", [health, one.last_failure && one.n_failed_in_a_row ? h("span", { class: "soft" }, ` The last: ${one.last_failure}.`) : null]],
    ["Runtime", `${one.runtime} ${one.runtime_version}`],
    ["Last heard of", ago(one.last_seen_at)],
  ];
  return h("li", { class: "card" },
    h("h3", {}, `${one.name} `, h("span", { class: `state ${one.is_suspect ? "failed" : one.is_live ? "running" : "cancelled"}` }, one.is_suspect ? "⚠ quarantine" : one.is_live ? "● live" : "○ silent")),
    h("p", { class: "soft" }, one.full_name),
    h("dl", { class: "facts" }, rows.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text)))));
}

function work(one) {
  const since = `, for ${duration((Date.now() - Date.parse(one.started_at)) / 1000)}`;
  const what = { train: "trains a baseline", compress: "compresses", benchmark: "measures", check: "checks a baseline", compile: "compiles", "dry-run": "tries a template's extremes", confirm: "measures the best again", final: "measures on the test split" }[one.kind] || one.kind;
  const of = one.trial_id ? [" ", link(`/trials/${one.trial_id}`, `trial ${one.number}`)] : null;
  const study = one.study_id ? [" of ", link(`/studies/${one.study_id}`, "its study")] : null;
  const more = doing(one.progress);
  return [what, of, study, h("span", { class: "soft" }, more ? `: ${more}` : "", since)];
}
