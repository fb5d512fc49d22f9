// All studies: where each stands, its best feasible trial, what is left of its budget.

import { get } from "./api.js";
import { h, show } from "./dom.js";
import { keepFocus, link, note, repeat, state } from "./parts.js";
import { ago, count, duration, isOver, label, NOTHING, value } from "./wording.js";

const STATES = ["running", "checking", "paused", "finished", "cancelled", "rejected", "failed"];
const N_SHOWN = 25;

export function studiesPage(place) {
  document.title = "Studies – Stillhouse";
  let pageToken = null;
  let stop = () => {};
  const trouble = h("div");
  const list = h("div");
  const name = h("input", { id: "by-name", type: "search", placeholder: "part of the name", maxlength: 200 });
  const which = h("select", { id: "by-state" }, h("option", { value: "" }, "any state"), STATES.map((one) => h("option", { value: one }, one)));
  const filters = h("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
    h("label", { for: "by-name" }, "Name"), name, h("label", { for: "by-state" }, "State"), which);
  name.addEventListener("input", () => turn(null));
  which.addEventListener("change", () => turn(null));
  show(place,
    h("div", { class: "head" }, h("h1", {}, "Studies"), h("a", { class: "button main", href: "/new" }, "New study")),
    filters, trouble, list);

  function turn(to) {
    stop();
    pageToken = to;
    stop = repeat(3, trouble, look);
  }

  let drawn = null;
  async function look() {
    const query = new URLSearchParams({ page_size: N_SHOWN });
    if (name.value) query.set("name", name.value);
    if (which.value) query.set("state", which.value);
    if (pageToken) query.set("page_token", pageToken);
    const found = await get(`/v1/studies?${query}`);
    if (found === drawn) return;
    drawn = found;
    const isFiltered = Boolean(name.value || which.value || pageToken);
    if (!found.items.length) {
      show(list, isFiltered ? note("No study is like that.") : welcome());
      return;
    }
    keepFocus(list, () => show(list, h("ul", { class: "studies" }, found.items.map(card)),
      h("p", { class: "buttons" },
        pageToken ? h("button", { type: "button", onclick: () => turn(null) }, "Newest studies") : null,
        found.next_page_token ? h("button", { type: "button", onclick: () => turn(found.next_page_token) }, "Older studies") : null)));
  }

  turn(null);
  return () => stop();
}

function welcome() {
  return note("No study yet. ", link("/new", "Start one"),
    ": it needs a trained network, a device, and a schedule in which values are left open. ",
    h("code", {}, "make demo"), " shows all of it on this machine.");
}

function card(study) {
  const best = study.incumbent;
  const objective = study.spec.objectives[0];
  const n = study.spec.budget.trials;
  const ended = nEnded(study);
  return h("li", { class: "card" },
    h("h2", {}, link(`/studies/${study.id}`, study.name), state(study.state)),
    h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, "Best feasible"), h("dd", {}, best ? [h("strong", {}, value(objective, best[objective])), ` ${label(objective).toLowerCase()}`, best.top1 !== undefined ? `, Top-1 ${value("top1", best.top1)}` : ""] : "none yet")),
      h("div", {}, h("dt", {}, "Progress"), h("dd", {}, h("progress", { max: n, value: ended, "aria-label": `${ended} of ${n} trials ended` }), ` ${ended} of ${n}`)),
      h("div", {}, h("dt", {}, "Budget left"), h("dd", {}, isOver(study) ? NOTHING : left(study))),
      h("div", {}, h("dt", {}, "Device"), h("dd", {}, study.spec.device || "run outside")),
      h("div", {}, h("dt", {}, "Started"), h("dd", {}, ago(study.created_at)))),
    study.reason ? h("p", { class: "soft" }, study.reason) : null);
}

/** Trials that have ended, whatever became of them. */
export function nEnded(study) {
  const { complete, failed, unsupported, cancelled, stopped } = study.counts;
  return complete + failed + unsupported + cancelled + stopped;
}

/** What is left of a study's budget, in words. */
export function left(study) {
  const { trials, wall_s: wall } = study.spec.budget;
  const parts = [count(Math.max(0, trials - nEnded(study)), "trial")];
  if (wall && study.started_at) {
    parts.push(`${duration(wall - (Date.now() - Date.parse(study.started_at)) / 1000)} of its time`);
  }
  if (study.eta_s !== null) parts.push(`about ${duration(study.eta_s)} to go`);
  return parts.join(", ");
}

