// Train a network to compress and compare with, from the page that needs one.

import { get, news, post } from "./api.js";
import { h, show } from "./dom.js";
import { refusal, state } from "./parts.js";
import { doing } from "./wording.js";

/** Fills `place`; `made(baseline)` is called when one is complete. Returns what ends it. */
export function baselineForm(place, made) {
  const aborts = new AbortController();
  const body = h("div", { class: "inset" }, h("p", { class: "soft" }, "Loading …"));
  place.append(body);

  async function start() {
    const [models, datasets] = await Promise.all([get("/v1/models"), get("/v1/datasets")]);
    const model = h("select", { id: "b-model" }, models.items.map((one) => h("option", { value: one.name }, one.name)));
    const dataset = h("select", { id: "b-dataset" }, datasets.items.map((one) => h("option", { value: one.name }, one.name)));
    if (models.items.some((one) => one.name === "resnet20_cifar")) model.value = "resnet20_cifar";
    if (datasets.items.some((one) => one.name === "digits")) dataset.value = "digits";
    const epochs = h("input", { id: "b-epochs", type: "number", min: 1, value: 6 });
    const lr = h("input", { id: "b-lr", type: "number", min: 0, step: "any", value: 0.1 });
    const said = h("div", { role: "status" });
    const button = h("button", { type: "button" }, "Train it");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        const recipe = { epochs: Number(epochs.value), lr: Number(lr.value) };
        await follow((await post("/v1/baselines", { model: model.value, dataset: dataset.value, recipe })).id, said);
      } catch (error) {
        if (error.name !== "AbortError") show(said, refusal(error));
      } finally {
        button.disabled = false;
      }
    });
    const field = (control, text) => h("div", { class: "field" }, h("label", { for: control.id }, text), control);
    show(body, h("div", { class: "columns" }, field(model, "Network"), field(dataset, "Data set"), field(epochs, "Epochs"), field(lr, "Learning rate")), said, button);
  }

  async function follow(id, said) {
    const path = `/v1/baselines/${id}`;
    let one = await get(path);
    for (;;) {
      const waits = one.progress.waits_for ? ` ${one.progress.waits_for}` : ` ${doing(one.progress)}`;
      show(said, h("p", {}, "Baseline ", h("code", {}, id), " ", state(one.state), one.state === "failed" ? ` ${one.error}` : waits));
      if (one.state === "complete") made(one);
      if (one.state === "complete" || one.state === "failed") return;
      one = await news(path, 20, aborts.signal);
    }
  }

  start().catch((error) => {
    if (error.name !== "AbortError") show(body, refusal(error));
  });
  return () => aborts.abort();
}
