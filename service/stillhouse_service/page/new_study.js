// Start a study: a form whose template the server checks while it is typed.

import { Problem, get, post } from "./api.js";
import { baselineForm } from "./baseline_form.js";
import { h, show } from "./dom.js";
import { link, refusal } from "./parts.js";
import { specOf, valuesOf } from "./spec.js";
import { count, plain, value } from "./wording.js";

const PAUSE_MS = 350;
const OBJECTIVES = ["latency_ratio", "latency_p50_ms", "latency_p95_ms", "model_bytes", "macs", "params"];

export function newStudyPage(place) {
  document.title = "New study – Stillhouse";
  const from = new URLSearchParams(location.search).get("from");
  show(place, h("p", { class: "soft" }, "Loading …"));
  let isClosed = false;
  let timer = null;
  let asked = null;
  let endBaseline = () => {};

  async function start() {
    const [baselines, devices, before] = await Promise.all([
      get("/v1/baselines?page_size=100"), get("/v1/devices"), from ? get(`/v1/studies/${encodeURIComponent(from)}`) : null,
    ]);
    if (!isClosed) draw(baselines.items, devices.items, before);
  }

  function draw(baselines, devices, before) {
    const base = before ? before.spec : null;
    const values = valuesOf(base, before && `${before.name} again`);
    const problems = new Map(); // path of the spec -> where its problems are said
    const field = (name, title, control, help = null, path = name) => {
      const said = h("p", { class: "field-error", id: `e-${name}` });
      control.id = `f-${name}`;
      control.setAttribute("aria-describedby", `e-${name}`);
      problems.set(path, said);
      return h("div", { class: "field" }, h("label", { for: control.id }, title), help ? h("span", { class: "soft" }, help) : null, control, said);
    };
    const isOutside = Boolean(base) && base.runner === "outside";
    const own = [h("option", { value: "" }, "none: its trials are run outside")];
    const inputs = {
      name: h("input", { required: true, maxlength: 200, value: values.name }),
      baseline: h("select", { value: values.baseline || "" }, isOutside ? own : baselineOptions(baselines)),
      device: h("select", { value: values.device || "" }, isOutside ? own.map((one) => one.cloneNode(true)) : deviceOptions(devices, values.device)),
      template: h("textarea", { rows: 16, spellcheck: "false", class: "code", value: values.template }),
      training: h("textarea", { rows: 6, spellcheck: "false", class: "code", value: values.training }),
      objective: h("select", { value: values.objective }, [...new Set([...OBJECTIVES, values.objective])].map((one) => h("option", { value: one }, one))),
      second: h("select", { value: values.second }, ["", ...new Set([...OBJECTIVES, "top1_drop", values.second].filter(Boolean))].map((one) => h("option", { value: one }, one || "nothing else"))),
      constraints: h("textarea", { rows: 2, spellcheck: "false", class: "code", value: values.constraints }),
      trials: h("input", { type: "number", min: 1, max: 100000, required: true, value: values.trials }),
      hours: h("input", { type: "number", min: 0, step: "any", value: values.hours }),
      parallel: h("input", { type: "number", min: 1, max: 64, required: true, value: values.parallel }),
      seed: h("input", { type: "number", min: 0, value: values.seed }),
    };
    for (const one of [inputs.baseline, inputs.device]) if (one.selectedIndex < 0) one.selectedIndex = 0;
    const verdict = h("div", { class: "verdict", role: "status" });
    const said = h("div");
    const submit = h("button", { type: "submit", class: "main" }, "Start the study");
    const trainPlace = h("details", { open: !baselines.some((one) => one.state === "complete") }, h("summary", {}, "Train a new baseline"));
    const form = h("form", { class: "stack", novalidate: true },
      field("name", "Name", inputs.name),
      field("baseline", "Baseline", inputs.baseline, "The trained network to make faster."),
      isOutside ? null : trainPlace,
      field("device", "Device", inputs.device, "What the networks are timed on."),
      field("template", "Template", inputs.template, "A schedule in Distiller's language; what has a tag (!float, !int, !choice …) is searched."),
      field("training", "Fine-tuning", inputs.training, "Of each trial; may have tags, too."),
      h("div", { class: "columns" },
        field("objective", "Minimise", inputs.objective, null, "objectives"),
        field("second", "and at once", inputs.second, null, "objectives[1]"),
        field("constraints", "Limits, one a line", inputs.constraints, null, "constraints")),
      h("div", { class: "columns" },
        field("trials", "Trials", inputs.trials, null, "budget.trials"), field("hours", "Hours at most, or empty", inputs.hours, null, "budget.wall_s"),
        field("parallel", "At once", inputs.parallel), field("seed", "Seed", inputs.seed)),
      verdict, said, h("p", { class: "buttons" }, submit));
    show(place, h("h1", {}, before ? "Clone a study" : "New study"),
      before ? h("p", { class: "soft" }, "Everything is as in ", link(`/studies/${before.id}`, before.name), " until you change it; its trials are its own.") : null, form);
    endBaseline = baselineForm(trainPlace, (made) => {
      inputs.baseline.append(h("option", { value: made.id }, describe(made)));
      inputs.baseline.value = made.id;
      check();
    });

    const spec = () => specOf(base, Object.fromEntries(Object.entries(inputs).map(([name, one]) => [name, one.value])));

    /** Asks the server about what is typed; what it says goes to the fields. */
    async function check() {
      clearTimeout(timer);
      if (asked) asked.abort();
      const own = new AbortController();
      asked = own;
      verdict.className = "verdict soft";
      show(verdict, "Checking …");
      try {
        const found = await post("/v1/studies/check", spec(), own.signal);
        if (asked !== own || isClosed) return;
        const rest = tell(found.problems);
        if (found.problems.length) {
          verdict.className = "verdict";
          show(verdict, h("p", { class: "error" }, `✕ ${count(found.problems.length, "problem")}${rest.length ? ":" : ", said at the fields above."}`),
            rest.length ? h("ul", {}, rest.map((one) => h("li", {}, h("code", {}, one.path), ` ${one.message}`))) : null);
          return;
        }
        verdict.className = "verdict good";
        show(verdict, h("p", {}, `✓ This works. ${count(found.parameters.length, "parameter")} to search${found.n_forbidden ? `, ${count(found.n_forbidden, "combination")} forbidden` : ""}:`),
          h("ul", {}, found.parameters.map((one) => h("li", {}, h("code", {}, one.name), ` ${range(one)}`))));
      } catch (error) {
        if (asked !== own || isClosed || error.name === "AbortError") return;
        verdict.className = "verdict";
        show(verdict, refusal(error));
      }
    }

    /** Shows problems at their fields; gives those that belong to none. */
    function tell(found) {
      const rest = [];
      const at = new Map([...problems.keys()].map((path) => [path, []]));
      for (const one of found) {
        const path = [...at.keys()].find((known) => one.path === known || one.path.startsWith(`${known}.`) || one.path.startsWith(`${known}[`));
        if (path) at.get(path).push(one);
        else rest.push(one);
      }
      for (const [path, place_] of problems) {
        show(place_, at.get(path).map((one) => h("span", {}, one.path === path ? "" : h("code", {}, one.path), ` ${one.message}`)));
        const control = place_.previousElementSibling;
        if (at.get(path).length) control.setAttribute("aria-invalid", "true");
        else control.removeAttribute("aria-invalid");
      }
      return rest;
    }

    form.addEventListener("input", (event) => {
      if (trainPlace.contains(event.target)) return;
      clearTimeout(timer);
      timer = setTimeout(check, PAUSE_MS);
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      show(said);
      try {
        const made = await post("/v1/studies", spec());
        document.dispatchEvent(new CustomEvent("go", { detail: `/studies/${made.id}` }));
      } catch (error) {
        if (error instanceof Problem && error.problems.length) tell(error.problems);
        show(said, refusal(error));
      } finally {
        submit.disabled = false;
      }
    });
    check();
  }

  start().catch((error) => show(place, h("h1", {}, "New study"), refusal(error)));
  return () => {
    isClosed = true;
    clearTimeout(timer);
    if (asked) asked.abort();
    endBaseline();
  };
}

function range(one) {
  const of = one.choices ? one.choices.map(plain).join(", ") : `${plain(one.low)} to ${plain(one.high)}${one.log ? ", logarithmic" : ""}`;
  const believed = one.prior ? `; prior ${one.prior.weights ? one.prior.weights.map(plain).join(" : ") : `${plain(one.prior.center)} ${one.log ? "×/÷" : "±"} ${plain(one.prior.width)}`}` : "";
  return one.condition ? `${of}${believed}; where ${one.condition.map(({ parent, values }) => `${parent} is ${values.map(plain).join(" or ")}`).join(" and ")}` : of + believed;
}

function baselineOptions(baselines) {
  const complete = baselines.filter((one) => one.state === "complete");
  if (!complete.length) return [h("option", { value: "" }, "none is trained yet: train one below")];
  return complete.map((one) => h("option", { value: one.id }, describe(one)));
}

const describe = (one) => `${one.model} on ${one.dataset}, Top-1 ${value("top1", one.metrics.validation_top1)}, seed ${one.seed} (${one.id})`;

function deviceOptions(devices, wanted) {
  const kinds = [...new Set(devices.map((one) => one.kind))];
  const known = kinds.map((kind) => [kind, `any ${kind}${devices.some((one) => one.kind === kind && one.is_live) ? "" : " (none is live)"}`])
    .concat(devices.map((one) => [one.id, `${one.name} of ${one.worker}: ${one.full_name}`]));
  for (const kind of ["CPU", "MYRIAD"]) if (!kinds.includes(kind)) known.push([kind, `any ${kind} (no host offers one yet)`]);
  if (wanted && !known.some(([id]) => id === wanted)) known.push([wanted, `${wanted} (no host offers it)`]);
  return known.map(([id, text]) => h("option", { value: id }, text));
}
