// Pieces that several pages show: states, sections, refusals, loading.

import { Problem } from "./api.js";
import { h, show } from "./dom.js";

const SIGNS = {
  running: "▶", checking: "◌", paused: "❚❚", finished: "✓", complete: "✓", cancelled: "■", rejected: "✕",
  failed: "✕", unsupported: "⊘", queued: "◌", asked: "▶", compressing: "▶", compressed: "◌", benchmarking: "▶",
  training: "▶",
};

/** A state as sign and word. */
export function state(name) {
  return h("span", { class: `state ${name}` }, h("span", { "aria-hidden": "true" }, SIGNS[name] || "•"), ` ${name}`);
}

/** A titled section with an empty body; returns both. */
export function section(title, ...children) {
  const id = `s-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  const body = h("div", { class: "body" }, ...children);
  return [h("section", { "aria-labelledby": id }, h("h2", { id }, title), body), body];
}

export const note = (...text) => h("p", { class: "note" }, ...text);
export const link = (href, text) => h("a", { href }, text);

/** A refusal in words, with every problem by its path. */
export function refusal(error) {
  if (!(error instanceof Problem)) throw error;
  return h("div", { class: "error", role: "alert" },
    h("p", {}, error.problems.length ? "This cannot work:" : sentence(error.message)),
    error.problems.length
      ? h("ul", {}, error.problems.map(({ path, message }) => h("li", {}, h("code", {}, path), ` ${message}`)))
      : null);
}

export function sentence(text) {
  const said = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return /[.!?]$/.test(said) ? said : `${said}.`;
}

/** A button that does something on the server; what goes wrong is shown in `place`. */
export function action(text, place, act, attributes = {}) {
  const button = h("button", { type: "button", ...attributes }, text);
  button.addEventListener("click", async () => {
    button.disabled = true;
    show(place);
    try {
      await act();
    } catch (error) {
      show(place, refusal(error));
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

/** Calls `look` now and every `seconds` while the tab is seen; what fails is shown in `trouble`. */
export function repeat(seconds, trouble, look) {
  let timer = null;
  let isOver = false;
  async function once() {
    clearTimeout(timer);
    if (isOver) return;
    let isLast = false;
    if (!document.hidden) {
      try {
        isLast = (await look()) === false;
        if (!isOver) show(trouble);
      } catch (error) {
        if (isOver) return;
        show(trouble, refusal(error));
        if (error.status === 401 || error.status === 404) return;
      }
    }
    if (!isOver && !isLast) timer = setTimeout(once, 1000 * seconds);
  }
  once();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

/** Lets `render` replace what `place` has, and gives the focus back to what had it. */
export function keepFocus(place, render) {
  const held = place.contains(document.activeElement) ? document.activeElement : null;
  const known = held && held !== place ? mark(held) : null;
  render();
  if (!known || place.contains(document.activeElement)) return;
  const again = [...place.querySelectorAll("a, button, input, summary")].find((one) => mark(one) === known);
  const other = place.querySelector("button, a[href]");
  if (again || other) (again || other).focus({ preventScroll: true });
}

const mark = (one) => [one.tagName, one.getAttribute("href"), one.value, one.textContent].join("|");

/** Runs `make` once `place` comes near the window. */
export function whenSeen(place, make) {
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((one) => one.isIntersecting)) return;
    watch.disconnect();
    make();
  }, { rootMargin: "200px" });
  watch.observe(place);
  return () => watch.disconnect();
}

/** Asks before something that cannot be undone; resolves to whether it is wanted. */
export function confirm(question, yes) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": question },
      h("form", { method: "dialog" },
        h("p", {}, question),
        h("p", { class: "buttons" },
          h("button", { value: "no", autofocus: true }, "Keep it"),
          h("button", { value: "yes", class: "danger" }, yes))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
