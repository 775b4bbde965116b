// What the page's address says of the form, held against the models there are. Nothing in it is believed.

import { parseLabels } from "./labels.js";

const FIELDS = ["labels", "layout", "n", "seed", "model", "sampler", "steps", "guidance_scale", "guidance_start",
                "guidance_end", "eta"];

const NUMBER = /^-?(\d+|\d*\.\d+)(e[+-]?\d+)?$/i;

const quoted = (text) => `“${text.length > 40 ? text.slice(0, 40) + "…" : text}”`;
const listOf = (names) => names.join(", ");

// Returns {model, values: {field: text}, faults: [sentence]}: the model that it names or else the first, the values that
// fit the form, and a sentence for each that does not.
export function readLink(text, models, { samplers, limits }) {
  const given = new URLSearchParams(text);
  const values = {}, faults = [];
  for (const name of new Set(given.keys())) {
    if (!FIELDS.includes(name)) faults.push(`${quoted(name)} is nothing that this page knows.`);
    else if (given.getAll(name).length > 1) faults.push(`${name} stands there more than once.`);
  }
  const take = (name, fits, wanted) => {
    const all = given.getAll(name);
    if (all.length !== 1) return;
    if (fits(all[0])) values[name] = all[0];
    else faults.push(`${name} cannot be ${quoted(all[0])}: ${wanted}.`);
  };
  const takeNumber = (name, low, high) =>
    take(name, (it) => NUMBER.test(it) && Number(it) >= low && Number(it) <= high, `from ${low} to ${high}`);
  const takeInteger = (name, low, high) =>
    take(name, (it) => NUMBER.test(it) && Number.isInteger(Number(it)) && Number(it) >= low && Number(it) <= high,
         `a whole number from ${low} to ${high}`);

  take("model", (it) => models.some(({ id }) => id === it), `there is ${listOf(models.map(({ id }) => id))}`);
  const model = models.find(({ id }) => id === values.model) ?? models[0];
  const { classes, timesteps, step_counts, guidance, defaults } = model;
  take("sampler", (it) => model.samplers.includes(it), `${model.id} has ${listOf(model.samplers)}`);
  if (step_counts) take("steps", (it) => step_counts.map(String).includes(it), `one of ${listOf(step_counts)}`);
  else takeInteger("steps", 1, timesteps);
  takeInteger("n", 1, limits.rows_per_request);
  takeInteger("seed", 0, limits.seed);
  take("layout", (it) => it === "list" || it === "grid", "list or grid");
  if (guidance) takeNumber("guidance_scale", 0, limits.guidance_scale);
  else take("guidance_scale", (it) => NUMBER.test(it) && Number(it) === defaults.guidance_scale,
            `${model.id} has ${defaults.guidance_scale} alone`);

  if (guidance && Number(values.guidance_scale ?? defaults.guidance_scale) !== 1) {
    takeNumber("guidance_start", 0, 1);
    takeNumber("guidance_end", 0, 1);
    const [start, end] = defaults.guidance_interval;
    if (!(Number(values.guidance_start ?? start) < Number(values.guidance_end ?? end))) {
      faults.push("guidance_start must be less than guidance_end.");
      delete values.guidance_start;
      delete values.guidance_end;
    }
  } else {
    for (const name of ["guidance_start", "guidance_end"]) take(name, () => false, "nothing is guided");
  }
  const sampler = values.sampler ?? defaults.sampler;
  if (samplers.find(({ name }) => name === sampler)?.has_eta) takeNumber("eta", 0, 1);
  else take("eta", () => false, `${sampler} has none`);

  let why = "at most 1000 characters";
  take("labels", (it) => {
    try {
      return it.length <= 1000 && parseLabels(it, classes, limits.rows_per_request).length > 0;
    } catch (error) {
      why = error.message.replace(/\.$/, "");
      return false;
    }
  }, { toString: () => why });
  return { model, values, faults };
}
