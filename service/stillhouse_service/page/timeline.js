// How long a trial was in each state: a bar of the states, and the same as a list.

import { h, s } from "./dom.js";
import { table } from "./frame.js";
import { state } from "./parts.js";
import { duration, isTold, moment } from "./wording.js";

/** Draws the states of `events`, the last one until now while the trial goes on. */
export function timeline(events, trial) {
  if (!events.length) return h("p", { class: "soft" }, "Brought from elsewhere: it had no states here.");
  const end = isTold(trial) ? Date.parse(events.at(-1).at) : Date.now();
  const spans = events.map((one, i) => {
    const from = Date.parse(one.at);
    const to = i + 1 < events.length ? Date.parse(events[i + 1].at) : end;
    return { ...one, seconds: (to - from) / 1000 };
  });
  const whole = spans.reduce((sum, one) => sum + one.seconds, 0);
  let from = 0;
  const bar = s("svg", { class: "bar tall", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": `${duration(whole)} in all` },
    spans.map(({ after, seconds }) => {
      const width = whole ? (100 * seconds) / whole : 0;
      from += width;
      return s("rect", { class: `span ${after}`, x: from - width, y: 0, width, height: 10 });
    }));
  const isEnd = (i) => i === spans.length - 1 && isTold(trial);
  return [
    h("p", { class: "soft" }, `${duration(whole)} ${isTold(trial) ? "from start to end" : "so far"}.`), bar,
    h("div", { class: "scroll" }, table(["State", "Since", "#For", "By", "Why"],
      spans.map((one, i) => [state(one.after), moment(one.at), isEnd(i) ? "–" : one.seconds < 10 ? `${one.seconds.toFixed(1)} s` : duration(one.seconds), one.who, one.reason || ""]))),
  ];
}
