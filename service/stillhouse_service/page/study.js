// A study, live: its events arrive as they happen, what they change is drawn anew.

import { get } from "./api.js";
import { h, show } from "./dom.js";
import { explain, importanceOf, unexplained } from "./explained.js";
import { table } from "./frame.js";
import { frontOf } from "./front.js";
import { historyPlot, limitPlot } from "./history.js";
import { latencies, sparsity } from "./layers.js";
import { parallel } from "./parallel.js";
import { keepFocus, link, note, repeat, section, state, whenSeen } from "./parts.js";
import { follow } from "./stream.js";
import { sourcesOf } from "./transfer.js";
import { actions, cards, exportsOf, final, made, summary, title } from "./study_head.js";
import { count, doing, duration, isOver, isTold, label, value } from "./wording.js";

const LIVE = { live: "live", lost: "reconnecting …", over: "" };
const BREATH_MS = 250; // events come in bursts
const LINES_MS = 3000; // lines are many: not drawn with every event
const LOOK_S = 3; // progress inside of a stage is no event
const N_EXPLAINED = 200; // above that, importance is worked out when asked for

export function studyPage(place, id) {
  const path = `/v1/studies/${id}`;
  const live = h("span", { class: "live", role: "status" });
  const [trouble, head, said, about, figures] = [h("div"), h("div"), h("div"), h("div"), h("div")];
  const [now, nowBody] = section("Under way");
  const [history, historyBody] = section("History");
  const [against, againstBody] = section("Latency against accuracy");
  const [front, frontBody] = section("Front");
  const [learned, learnedBody] = section("Learns from");
  const [failures, failuresBody] = section("Failures by cause");
  const [important, importantBody] = section("Importance");
  const [curves, curvesBody] = section("Marginal curves");
  const [lines, linesBody] = section("Parallel coordinates");
  const [times, timesBody] = section("Latency by layer");
  const [cuts, cutsBody] = section("Sparsity by layer");
  const [latest, latestBody] = section("Latest trials");
  const [from, fromBody] = section("What it was made from");
  show(place, show(trouble, h("p", { class: "soft" }, "Loading …")));

  const drawHistory = historyPlot(historyBody);
  const drawLimit = limitPlot(againstBody);
  const drawSources = sourcesOf(learnedBody, path);
  const drawFront = frontOf(frontBody, path);
  const ends = [];
  const shown = {};
  const aborts = new AbortController();
  let stream = null;
  let timer = null;
  let linesTimer = null;
  let heardAt = -BREATH_MS;
  let explainedAt = -1;
  let isClosed = false;

  async function look() {
    const [study, view] = await Promise.all([get(path), get(`${path}/view?lines=false`)]);
    if (isClosed) return;
    const isSame = study === shown.study && view === shown.view;
    const isFirst = !shown.study;
    Object.assign(shown, { study, view });
    if (!isSame) draw(study, view, isFirst);
    if (isFirst) {
      if (!isOver(study)) {
        stream = follow(`${path}/events/stream`, view.last_event, heard, (became) => {
          live.textContent = LIVE[became];
          live.className = `live ${became}`;
          if (became === "over") look();
        });
      }
      ends.push(whenSeen(lines, drawLines), whenSeen(important, firstExplain), whenSeen(times, layers), whenSeen(latest, listLatest));
    }
    return isOver(study) ? false : undefined;
  }

  /** Looks at once, and once more when a burst of events is over. */
  function heard() {
    if (timer) return;
    timer = setTimeout(() => {
      timer = null;
      heardAt = performance.now();
      look().catch(() => {}); // repeat() says what is wrong
    }, Math.max(0, heardAt + BREATH_MS - performance.now()));
  }

  function draw(study, view, isFirst) {
    document.title = `${study.name} – Stillhouse`;
    const does = [study.state, study.finalized === null, incumbentOf(study) === null].join();
    if (does !== shown.does) {
      shown.does = does; // else a button could vanish under a finger
      keepFocus(head, () => show(head, title(study, live), about, actions(study, said, look), said, isFirst ? exportsOf(study, said) : head.lastChild));
    }
    show(about, summary(study));
    keepFocus(figures, () => show(figures, cards(study, view), final(study)));
    if (isFirst) show(place, trouble, head, figures, now, history, against, front, learned, failures, important, curves, lines, times, cuts, latest, from);
    now.hidden = !view.open.length;
    keepFocus(nowBody, () => show(nowBody, underWay(view)));
    drawHistory(study, view);
    drawLimit(study, view);
    front.hidden = study.spec.objectives.length === 1;
    // Before the device has measured the baseline there is nothing to hold a front against.
    if (!front.hidden && (study.baseline_measurement || !study.spec.baseline)) drawFront();
    learned.hidden = !study.spec.transfer;
    if (!learned.hidden) drawSources();
    failures.hidden = !view.n_failed;
    keepFocus(failuresBody, () => show(failuresBody, causes(view)));
    against.querySelector("h2").textContent = `${label(view.objective)} against ${view.limited ? label(view.limited).toLowerCase() : "the limits"}`;
    if (isFirst) show(fromBody, made(study, view));
    if (shown.linesSeen && shown.linesOf !== lineKey(study)) linesSoon();
    if (shown.layersSeen && shown.layersOf !== incumbentOf(study)) layers();
    if (shown.latestSeen) listLatest();
    if (explainedAt >= 0) offer();
  }

  const incumbentOf = (study) => (study.incumbent ? study.incumbent.trial_id : null);

  function linesSoon() {
    if (!linesTimer) linesTimer = setTimeout(drawLines, LINES_MS);
  }

  async function drawLines() {
    clearTimeout(linesTimer);
    linesTimer = null;
    const { study } = shown;
    Object.assign(shown, { linesSeen: true, linesOf: lineKey(study) });
    const view = await get(`${path}/view`).catch(() => null);
    if (!view || isClosed) return;
    show(linesBody);
    if (view.lines.length < 2) {
      show(linesBody, note("Two measured trials are the least that can be compared."));
      return;
    }
    const ranked = shown.ranking
      ? [...study.parameters].sort((a, b) => shown.ranking.indexOf(a.name) - shown.ranking.indexOf(b.name))
      : study.parameters;
    const more = ranked.length > 9 ? ` The ${shown.ranking ? "nine most important" : "first nine"} of ${ranked.length} parameters are shown.` : "";
    linesBody.append(h("p", { class: "soft" }, `A line is a trial, through its values; the best is thick, trials that break a limit are dashed.${more}`));
    parallel(linesBody, view.objective, view.lines, incumbentOf(study), ranked);
  }

  async function layers() {
    const best = incumbentOf(shown.study);
    Object.assign(shown, { layersSeen: true, layersOf: best });
    if (!best) {
      show(timesBody, note("There is no feasible trial to compare with the baseline yet."));
      show(cutsBody, note("There is no feasible trial yet."));
      return;
    }
    try {
      const trial = await get(`/v1/trials/${best}`);
      show(timesBody, latencies(trial));
      show(cutsBody, sparsity(trial));
    } catch (error) {
      show(timesBody, unexplained(error));
      show(cutsBody, note("See above."));
    }
  }

  async function listLatest() {
    shown.latestSeen = true;
    const { objective, limited } = shown.view;
    const found = await get(`${path}/trials?order=-number&page_size=15`).catch(() => null);
    if (!found || isClosed || found === shown.latestOf) return;
    shown.latestOf = found;
    if (!found.items.length) {
      show(latestBody, note("No trial was started."));
      return;
    }
    const chosen = new Set([...latestBody.querySelectorAll("input:checked")].map((one) => one.value));
    const compare = h("button", {
      type: "button",
      onclick: () => {
        const wanted = [...latestBody.querySelectorAll("input:checked")].map((one) => one.value);
        document.dispatchEvent(new CustomEvent("go", { detail: `/compare?trials=${wanted.join(",")}` }));
      },
    }, "Compare those chosen");
    const rows = found.items.map((one) => {
      const metrics = one.metrics || {};
      return [
        link(`/trials/${one.id}`, String(one.number)), state(one.state), value(objective, metrics[objective]),
        limited ? value(limited, metrics[limited]) : "–",
        one.failure ? `${one.failure.class}: ${one.failure.reason}`.slice(0, 160) : isTold(one) ? { true: "feasible", false: "breaks a limit", null: "" }[one.is_feasible] : doing(one.progress),
        h("input", { type: "checkbox", value: one.id, checked: chosen.has(one.id), "aria-label": `choose trial ${one.number}` }),
      ];
    });
    keepFocus(latestBody, () => show(latestBody, h("div", { class: "scroll" }, table(["#Trial", "State", `#${label(objective)}`, `#${limited ? label(limited) : "–"}`, "Outcome", "Compare"], rows)),
      h("p", { class: "buttons" }, compare, shown.study.incumbent ? link(`/compare?trials=${[found.items[0].id, shown.study.incumbent.trial_id].join(",")}`, "the latest against the best") : null)));
  }

  function firstExplain() {
    if (shown.study.counts.complete > N_EXPLAINED) {
      show(curvesBody, note("Drawn together with importance."));
      offer();
    } else explainNow();
  }

  /** Says that more trials have ended since, or that it takes a while: a button, no surprise. */
  function offer() {
    const { complete } = shown.study.counts;
    const place = importantBody.querySelector(".offer") || importantBody.appendChild(h("p", { class: "offer buttons" }));
    if (explainedAt === complete) return show(place);
    const text = explainedAt < 0 ? `Work it out from ${count(complete, "trial")}` : `Bring it up to date: ${count(complete - explainedAt, "trial")} more`;
    return show(place, h("button", { type: "button", onclick: explainNow }, text));
  }

  async function explainNow() {
    const { complete } = shown.study.counts;
    show(importantBody, h("p", { class: "soft", role: "status" }, "Being worked out …"));
    try {
      const found = await importanceOf(id, aborts.signal);
      if (isClosed) return;
      const inner = h("div");
      show(importantBody, inner);
      explain(found, shown.study, inner, curvesBody);
      const of = found.metrics[shown.view.objective];
      shown.ranking = of && of.parameters.length ? of.parameters.map((one) => one.name) : null;
      if (shown.linesSeen) drawLines();
    } catch (error) {
      if (isClosed || error.name === "AbortError") return;
      show(importantBody, unexplained(error));
      show(curvesBody, note("There is no importance to draw from."));
    }
    explainedAt = complete;
    offer();
  }

  const stop = repeat(LOOK_S, trouble, look);
  return () => {
    isClosed = true;
    stop();
    if (stream) stream();
    clearTimeout(timer);
    clearTimeout(linesTimer);
    aborts.abort();
    for (const end of ends) end();
  };
}

const lineKey = (study) => `${study.counts.complete} ${study.incumbent && study.incumbent.trial_id}`;

function underWay(view) {
  return h("ul", { class: "now" }, view.open.map((one) => h("li", {},
    link(`/trials/${one.id}`, `Trial ${one.number}`), " ", state(one.state), " ", h("span", { class: "soft" }, doing(one.progress),
      one.started_at ? `, for ${duration((Date.now() - Date.parse(one.started_at)) / 1000)}` : ""))));
}

function causes(view) {
  const few = view.n_failures_read < view.n_failed ? `The last ${view.n_failures_read} of ${view.n_failed} failures. ` : "";
  return [
    h("p", { class: "soft" }, `${few}Commonest first.`),
    h("div", { class: "scroll" }, table(["Cause", "#Trials", "Last one", "Reason", "What to do"],
      view.causes.map((one) => [`${one.failure_class} in ${one.stage}`, String(one.n), link(`/trials/${one.trial_id}`, `trial ${one.number}`), one.reason, one.advice || "–"]))),
  ];
}
