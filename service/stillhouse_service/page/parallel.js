// Parallel coordinates: a line a trial through its values, the objective first.

import { h, s } from "./dom.js";
import { plot } from "./frame.js";
import { extent, linear, logarithmic, places } from "./scales.js";
import { axis, plain, tick, value } from "./wording.js";

const HEIGHT = 340;
const MOST = 9;

/** Draws lines over the objective and the parameters (the first nine of `parameters`). */
export function parallel(place, objective, lines, best, parameters) {
  const shown = parameters.slice(0, MOST);
  const said = h("p", { class: "reading", "aria-live": "polite" });
  const scroll = h("div", { class: "scroll", tabindex: "-1" });
  const inner = h("div", { class: "wide" });
  inner.style.setProperty("--axes", shown.length + 1);
  scroll.append(inner);
  place.append(scroll, said);
  let paths = [];
  let at = -1;
  const { svg } = plot(inner, HEIGHT, `${lines.length} trials over ${shown.length} parameters`, draw);
  svg.setAttribute("tabindex", "0");
  said.textContent = "Point at a line, or focus the plot and use the arrow keys; Enter opens the trial.";

  function draw(canvas, width) {
    const [top, bottom] = [44, HEIGHT - 34];
    const columns = [objective, ...shown.map((one) => one.name)];
    const step = (width - 120) / Math.max(1, columns.length - 1);
    const xAt = (i) => 60 + i * step;
    const scales = [
      linear(extent(lines.map((one) => one.value)), [bottom, top]),
      ...shown.map((one) => scaleOf(one, lines, [bottom, top])),
    ];
    columns.forEach((name, i) => {
      const parts = name.split(".");
      const short = i ? parts.slice(-2) : [axis(objective)];
      const group = s("g", { class: "axis" }, s("title", {}, name), s("line", { class: "base", x1: xAt(i), x2: xAt(i), y1: top, y2: bottom }));
      short.forEach((part, line) => group.append(s("text", { x: xAt(i), y: 14 + 13 * line, "text-anchor": "middle", class: "title" }, cut(part, step))));
      for (const one of ends(scales[i].ticks)) {
        const text = i ? plain(one) : tick(objective, one);
        group.append(s("text", { x: xAt(i) + 5, y: scales[i].at(one) + 4, class: "halo" }, cut(text, step)));
      }
      canvas.append(group);
    });
    const order = [...lines].sort((a, b) => rank(a) - rank(b));
    paths = order.map((one) => {
      let d = "";
      let isBroken = true;
      [one.value, ...shown.map(({ name }) => one.config[name])].forEach((found, i) => {
        const y = found === undefined || found === null ? NaN : scales[i].at(found);
        if (Number.isNaN(y)) isBroken = true; // inactive: the line has a gap
        else {
          d += `${isBroken ? "M" : "L"}${xAt(i).toFixed(1)} ${y.toFixed(1)}`;
          isBroken = false;
        }
      });
      const kind = one.id === best ? "best" : one.is_feasible ? "feasible" : "infeasible";
      const path = s("path", { class: `trace ${kind}`, d });
      canvas.append(path);
      return { path, one };
    });
  }

  function rank(one) {
    return one.id === best ? 2 : one.is_feasible ? 1 : 0;
  }

  function read(i) {
    if (paths[at]) paths[at].path.classList.remove("read");
    at = i;
    const { path, one } = paths[i];
    path.classList.add("read");
    path.parentNode.append(path);
    const kept = one.is_feasible ? "feasible" : "breaks a limit";
    const config = shown.filter(({ name }) => name in one.config).map(({ name }) => `${name} ${plain(one.config[name])}`);
    said.textContent = `Trial ${one.number}, ${value(objective, one.value)}, ${kept}: ${config.join(", ")}`;
  }

  svg.addEventListener("pointermove", (event) => {
    const i = paths.findIndex(({ path }) => path === event.target);
    if (i >= 0) read(i);
  });
  function openOne() {
    if (paths[at]) document.dispatchEvent(new CustomEvent("go", { detail: `/trials/${paths[at].one.id}` }));
  }
  svg.addEventListener("click", (event) => {
    if (event.target.classList.contains("trace")) openOne();
  });
  svg.addEventListener("keydown", (event) => {
    if (!paths.length) return;
    const moves = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1 };
    if (event.key in moves) {
      event.preventDefault();
      read((moves[event.key] + paths.length) % paths.length);
    } else if (event.key === "Enter") openOne();
  });
}

function scaleOf(parameter, lines, range) {
  if (parameter.choices) return places(parameter.choices, range);
  const values = lines.map((one) => one.config[parameter.name]).filter((one) => typeof one === "number");
  const [low, high] = [parameter.low ?? Math.min(...values), parameter.high ?? Math.max(...values)];
  if (parameter.log && low > 0) return logarithmic([low, high], range);
  const scale = linear([low, high], range, 4);
  if (parameter.kind === "int") scale.ticks = scale.ticks.filter(Number.isInteger);
  return scale;
}

/** At most eight of the ticks, evenly. */
function ends(ticks) {
  const step = Math.ceil(ticks.length / 8);
  return ticks.filter((_, i) => i % step === 0);
}

function cut(text, step) {
  const most = Math.max(4, Math.floor((step - 4) / 6.6));
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
