// A token for a server that wants one: kept by the browser, sent in a header, never in an address.

import { Problem, get, remember, forget } from "./api.js";
import { h } from "./dom.js";

/** A form; `entered()` is called once a token opened the door. */
export function signIn(why, entered) {
  const field = h("input", {
    id: "token", type: "password", required: true, autocomplete: "off", spellcheck: "false",
  });
  const keep = h("input", { id: "keep", type: "checkbox" });
  const said = h("p", { class: "error", role: "alert" });
  document.title = "Sign in – Stillhouse";

  async function submit(event) {
    event.preventDefault();
    said.textContent = "";
    remember(field.value.trim(), keep.checked);
    try {
      await get("/v1/studies?page_size=1");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      forget();
      said.textContent = error.message;
      return;
    }
    entered();
  }

  return h(
    "section", { class: "narrow" },
    h("h1", {}, "Sign in"),
    h("p", {}, "This server wants a token. Whoever runs it makes one with ",
      h("code", {}, "stillhouse token create NAME --scope write"), "; scope ", h("code", {}, "read"),
      " is enough for looking."),
    why ? h("p", { class: "soft" }, `The server says: ${why}.`) : null,
    h("form", { class: "stack", onsubmit: submit },
      h("label", { for: "token" }, "Token"), field,
      h("label", { class: "check" }, keep, " Keep it in this browser, for other tabs and later"),
      said,
      h("button", { type: "submit", class: "main" }, "Sign in")),
    h("p", { class: "soft" }, "Unless you keep it, the token is forgotten when this tab is closed."),
  );
}
