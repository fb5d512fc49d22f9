// From values to pixels, and where the ticks go.

/** A straight scale; `ticks` are round numbers. */
export function linear([low, high], [from, to], n = 5) {
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10];
  const at = (value) => from + ((value - low) / (high - low)) * (to - from);
  return { at, ticks: round(low, high, n) };
}

/** A scale of powers. */
export function logarithmic([low, high], [from, to]) {
  const inner = linear([Math.log10(low), Math.log10(high)], [from, to]);
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const digit of [1, 2, 5]) {
      const value = Number(`${digit}e${power}`);
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
    }
  }
  const few = ticks.length > 5 ? ticks.filter((value) => /^1e|^1$/.test(value.toExponential().replace("1e+0", "1"))) : ticks;
  return { at: (value) => inner.at(Math.log10(value)), ticks: few.length > 1 ? few : ticks };
}

/** Named places. */
export function places(names, [from, to]) {
  const step = names.length > 1 ? (to - from) / (names.length - 1) : 0;
  const index = new Map(names.map((name, i) => [String(name), i]));
  const at = (name) => (names.length > 1 ? from + index.get(String(name)) * step : (from + to) / 2);
  return { at, ticks: names };
}

/** Least and largest of what is a number, a little apart. */
export function extent(values, margin = 0.04) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || value === undefined || Number.isNaN(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const room = (high - low) * margin;
  return [low - room, high + room];
}

function round(low, high, n) {
  const raw = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((one) => one * power >= raw);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) {
    ticks.push(Number((i * step).toPrecision(12)));
  }
  return ticks;
}
