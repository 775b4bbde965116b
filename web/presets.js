// The settings that the models have a name for, as buttons, the cheapest first. A button is pressed while
// the form says what it stands for, and tells what that took when it was drawn last.

import { make } from "./dom.js";

export function presetsOf(models) {
  return models
    .flatMap(({ id, presets, defaults: { guidance_interval } }) =>
      presets.map((preset) => ({ guidance_interval, ...preset, model: id })))
    .sort((a, b) => a.evaluations - b.evaluations);
}

// Does the preset stand for these settings?
export function standsFor(preset, settings) {
  return ["model", "sampler", "steps", "guidance_scale"].every((name) => preset[name] === settings[name]) &&
         (preset.eta ?? 0) === (settings.eta ?? 0) &&
         (!settings.guidance_interval || `${preset.guidance_interval}` === `${settings.guidance_interval}`);
}

export class Presets {
  #all = [];

  constructor(box, onChoose) {
    this.box = box;
    this.onChoose = onChoose;
  }

  fill(models) {
    const presets = presetsOf(models);
    this.box.hidden = presets.length === 0;
    this.#all = presets.map((preset) => {
      const { name, model, sampler, steps, guidance_scale, evaluations } = preset;
      const took = make("small");
      const button = make("button", {
        type: "button",
        title: `${model}: ${sampler}, ${steps} ${steps === 1 ? "step" : "steps"}, guidance ${guidance_scale}`,
        onclick: () => this.onChoose(preset),
      }, make("b", { textContent: name }),
         make("small", { textContent: evaluations === 1 ? "1 evaluation" : `${evaluations} evaluations` }), took);
      return { preset, button, took };
    });
    this.box.querySelector("div").replaceChildren(...this.#all.map(({ button }) => button));
  }

  show(settings) {
    for (const { preset, button } of this.#all) button.ariaPressed = standsFor(preset, settings);
  }

  // The pictures were drawn in so many milliseconds of the server.
  tell(settings, pictures, ms) {
    for (const { preset, took } of this.#all) {
      if (standsFor(preset, settings)) took.textContent = `${pictures} in ${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
    }
  }
}
