// The page: a form, a stage with the pictures that come out of the noise, examples, and what was drawn before.

import { request, draw, save } from "./client.js";
import { $, make } from "./dom.js";
import { areDigits, examplesOf, isUnderstood, parseLabels } from "./labels.js";
import { readLink } from "./link.js";
import { Film } from "./film.js";
import { History } from "./history.js";
import { Presets } from "./presets.js";
import { planGrid, planList, saveSheet, saveZip, setStage } from "./stage.js";
import { showStatus } from "./status.js";

const PREVIEWS = 24;         // of each picture, at most
const PREVIEWS_OF_MANY = 6;  // where there are many pictures
const MANY = 64;
const STREAMS = 4;           // at once: a browser opens six connections to a server

const form = $("form");
const film = new Film({ box: $("film"), slider: $("frame"), button: $("play") });
const presets = new Presets($("presets"), choosePreset);
const past = new History($("history"), bringBack);
const key = () => $("key").value;

let models = [];
let capabilities = null;
let stop = null;  // an AbortController while something is drawn
let running = Promise.resolve(); // that drawing
let shown = null; // the drawing on the stage, when it is complete

const model = () => models.find(({ id }) => id === $("model").value);
const drawSeed = () => Math.floor(Math.random() * 1e6);

function say(text, bad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", bad);
}

// ---- the form ---------------------------------------------------------------------------------

function fillKeys() {
  const { classes } = model();
  const digits = areDigits(classes);
  $("keys").classList.toggle("names", !digits);
  $("keys").replaceChildren(...classes.map((name, i) => make("button", {
    type: "button",
    textContent: digits ? i : name,
    title: `Add ${name}`,
    onclick() {
      forgive();
      const { value } = form.labels;
      form.labels.value = digits || !value.trim() ? value + (digits ? i : name) : `${value}, ${name}`;
    },
  })));
  $("labels-hint").textContent = digits ? "2026, or seven, or four sevens" : "Names, between commas";
  const examples = examplesOf(classes);
  if (!isUnderstood(form.labels.value, classes)) form.labels.value = examples[0].labels;
  $("examples").hidden = false;
  $("examples").querySelector("div").replaceChildren(...examples.map((example) => make("button", {
    type: "button",
    onclick: () => chooseExample(example),
  }, make("b", { textContent: example.title }), make("small", { textContent: example.hint }))));
}

function chooseExample({ labels, layout, n }) {
  if (stop) return;
  form.labels.value = labels;
  form.layout.value = layout;
  form.n.value = n;
  showLayout();
  drawForm();
}

function fillModel() {
  const { samplers, timesteps, step_counts, guidance, defaults } = model();
  form.sampler.replaceChildren(...capabilities.samplers
    .filter(({ name }) => samplers.includes(name))
    .map(({ name, title }) => make("option", { value: name, textContent: title })));
  form.sampler.value = defaults.sampler;
  form.steps.max = step_counts?.at(-1) ?? timesteps;
  $("steps-hint").textContent = step_counts?.join(", ") ?? "";
  form.steps.value = defaults.steps;
  form.guidance_scale.value = defaults.guidance_scale;
  form.guidance_scale.max = capabilities.limits.guidance_scale;
  form.guidance_scale.disabled = !guidance;
  [form.guidance_start.value, form.guidance_end.value] = defaults.guidance_interval;
  fillKeys();
  showSampler();
}

function showSampler() {
  const { source, has_eta } = capabilities.samplers.find(({ name }) => name === form.sampler.value);
  $("sampler-hint").textContent = source;
  $("eta-field").hidden = !has_eta;
  form.eta.disabled = !has_eta;
  showGuidance();
  presets.show(readSettings());
}

// Where there is no guidance, it has no part of the steps.
function showGuidance() {
  const guided = model().guidance && form.guidance_scale.valueAsNumber !== 1;
  $("interval-field").hidden = !guided;
  form.guidance_start.disabled = form.guidance_end.disabled = !guided;
}

function choosePreset(preset) {
  form.model.value = preset.model;
  fillModel();
  form.sampler.value = preset.sampler;
  form.steps.value = preset.steps;
  form.guidance_scale.value = preset.guidance_scale;
  [form.guidance_start.value, form.guidance_end.value] = preset.guidance_interval;
  form.eta.value = preset.eta ?? 0;
  showSampler();
  drawForm();
}

function showLayout() {
  $("n-label").textContent = form.layout.value === "grid" ? "Seeds" : "Of each";
}

// The form as it is drawn stands in the page's address, and comes from there. Returns what is wrong with that.
function recall() {
  const { model: named, values, faults } = readLink(location.hash.slice(1), models, capabilities);
  form.model.value = named.id;
  form.layout.value = "list";
  form.n.value = 1;
  form.eta.value = 0;
  fillModel();
  for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
  showSampler();
  showLayout();
  return faults;
}

// A link is drawn as it is meant or not at all.
async function drawLink() {
  while (stop) {
    stop.abort();
    await running;
  }
  forgive();
  const faults = recall();
  if (faults.length === 0) {
    await drawForm();
    return;
  }
  film.clear();
  setStage(0);
  showDrawing(null);
  say(["The link to this page asks for what cannot be drawn here:", ...faults,
       "The form has what is usual instead. Press Draw."].join("\n"), true);
}

// The browser shows the text at the field, until something in the form is changed.
function blame(name, text) {
  const field = form.elements[name];
  say(text, true);
  if (!(field instanceof HTMLElement)) return;
  field.closest("details")?.setAttribute("open", "");
  field.setAttribute("aria-invalid", "true");
  field.setCustomValidity(text);
  field.reportValidity();
}

function forgive() {
  for (const field of form.elements) {
    if (!field.hasAttribute("aria-invalid")) continue;
    field.removeAttribute("aria-invalid");
    field.setCustomValidity("");
  }
  say("");
}

// What goes wrong is said in words, at the field where the server names one.
function complain(error) {
  if (error.name === "AbortError") {
    say("Stopped.");
    return;
  }
  if (error.status === 401) $("key-field").hidden = false;
  const details = (error.errors ?? []).map(({ pointer, detail }) => `${pointer.slice(1)}: ${detail}`);
  const name = error.status === 401 ? "key" : error.errors?.[0]?.pointer.split("/")[1];
  blame(name === "guidance_interval" ? "guidance_start" : name, [error.message, ...details].join("\n"));
}

// ---- drawing ----------------------------------------------------------------------------------

function readSettings() {
  const settings = {
    model: model().id,
    sampler: form.sampler.value,
    steps: form.steps.valueAsNumber,
    guidance_scale: form.guidance_scale.valueAsNumber,
  };
  if (!form.guidance_start.disabled) {
    settings.guidance_interval = [form.guidance_start.valueAsNumber, form.guidance_end.valueAsNumber];
  }
  if (!form.eta.disabled) settings.eta = form.eta.valueAsNumber;
  return settings;
}

function readForm() {
  const params = readSettings();
  if (model().default) delete params.model;
  return { params, n: form.n.valueAsNumber, seed: form.seed.valueAsNumber,
           labels: parseLabels(form.labels.value, model().classes, capabilities.limits.rows_per_request) };
}

// Returns how long the server took, in milliseconds.
async function drawOne({ body, pictures }, signal, report) {
  if (capabilities.media_types.includes("text/event-stream")) {
    const previews = pictures.length > MANY ? PREVIEWS_OF_MANY : PREVIEWS;
    body = { ...body, preview_every: Math.ceil(body.steps / previews) };
  }
  let timings = { queue_ms: 0, sample_ms: 0, encode_ms: 0 };
  for await (const event of draw(body, { signal, key: key() })) {
    const picture = pictures[event.index];
    if (event.type === "progress") {
      report({ part: event.step / event.steps, eta_ms: event.eta_ms });
    } else if (event.type === "preview") {
      film.push(picture, event.b64, false);
    } else if (event.type === "image") {
      film.push(picture, event.b64, true);
      picture.digest = event.digest;
      picture.open.disabled = false;
    } else if (event.type === "completed") {
      timings = event.timings;
    }
  }
  report({ part: 1, eta_ms: 0 });
  return timings.queue_ms + timings.sample_ms + timings.encode_ms;
}

// Returns the milliseconds of the request that took longest.
async function drawAll(plan, signal) {
  const parts = plan.map(() => 0), took = plan.map(() => 0);
  const waiting = plan.entries();
  const draws = Array.from({ length: Math.min(STREAMS, plan.length) }, async () => {
    for (const [i, line] of waiting) {
      took[i] = await drawOne(line, signal, ({ part, eta_ms }) => {
        parts[i] = part;
        $("progress").value = parts.reduce((a, b) => a + b) / parts.length;
        if (eta_ms >= 1000) say(`About ${Math.ceil(eta_ms / 1000)} s to go.`);
      });
    }
  });
  await Promise.all(draws);
  return Math.max(...took);
}

// A button that is disabled, or hidden, while it has the focus loses it: Draw keeps it, and takes over that of Stop.
function setBusy(busy) {
  $("draw").setAttribute("aria-disabled", busy);
  if (!busy && document.activeElement === $("stop")) $("draw").focus();
  $("stop").hidden = !busy;
  $("progress").hidden = !busy;
  $("progress").value = 0;
  $("pictures").setAttribute("aria-busy", busy);
}

// What there is to save and to be marked among what was drawn before: null is nothing.
function showDrawing(drawing) {
  shown = drawing;
  $("save").hidden = !drawing;
  past.show(drawing);
}

// One drawing at a time. `follow`: on a phone the pictures come into sight.
function drawForm(options) {
  if (!stop) running = drawNow(options);
  return running;
}

async function drawNow({ follow = false } = {}) {
  forgive();
  let wanted;
  try {
    wanted = readForm();
  } catch (error) {
    blame("labels", error.message);
    return;
  }
  const hash = `#${new URLSearchParams(new FormData(form))}`;
  history.replaceState(null, "", hash);
  film.clear();
  showDrawing(null);
  const means = { classes: model().classes, film, keyOf: key };
  const grid = form.layout.value === "grid";
  const plan = grid ? planGrid(wanted, means) : planList(wanted, means);
  const pictures = plan.flatMap((line) => line.pictures);
  const count = `${pictures.length} ${pictures.length === 1 ? "picture" : "pictures"}`;
  const abort = stop = new AbortController();
  setBusy(true);
  if (follow && $("pictures").getBoundingClientRect().top > innerHeight / 2) {
    $("pictures").scrollIntoView({ block: "nearest" });
  }
  const settings = readSettings();
  const title = form.labels.value.trim() + (grid ? ` × ${wanted.n}` : "");
  const start = performance.now();
  try {
    presets.tell(settings, pictures.length, await drawAll(plan, abort.signal));
    const message = `${count} in ${Math.round(performance.now() - start)} ms`;
    say(message);
    const drawing = { hash, title, hint: `seed ${wanted.seed}`, message, plan, pictures,
                      nodes: [...$("stage").childNodes] };
    past.add(drawing);
    showDrawing(drawing);
  } catch (error) {
    abort.abort(); // the other lines of a grid are of no use
    if (!pictures.some(({ frames }) => frames.length)) setStage(0);
    complain(error);
  } finally {
    stop = null;
    setBusy(false);
    film.end();
  }
}

// What was drawn before is on the stage again, as it was, and the form says what it says.
function bringBack(drawing) {
  if (stop) return;
  forgive();
  history.replaceState(null, "", drawing.hash);
  recall();
  setStage(drawing.pictures.length, ...drawing.nodes);
  film.show(drawing.pictures);
  showDrawing(drawing);
  say(drawing.message);
}

// With a key, what a link to a picture leads to is saved instead.
async function followWithKey(event) {
  const link = event.target.closest("#stage a, #picture a");
  if (!link || !key()) return;
  event.preventDefault();
  link.ariaBusy = "true";
  try {
    await save(link.href, link.download || link.dataset.name, key());
  } catch (error) {
    $("picture").close();
    complain(error);
  } finally {
    link.ariaBusy = null;
  }
}

// ---- events -----------------------------------------------------------------------------------

$("main").addEventListener("input", ({ target }) => {
  if (target.form !== form) return;
  forgive();
  if (!capabilities) return;
  showGuidance();
  presets.show(readSettings());
});
$("main").addEventListener("invalid", ({ target }) => target.closest("details")?.setAttribute("open", ""), true);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (capabilities) drawForm({ follow: true });
});
form.model.addEventListener("change", fillModel);
form.sampler.addEventListener("change", showSampler);
$("layout").addEventListener("change", showLayout);
$("dice").addEventListener("click", () => {
  form.seed.value = drawSeed();
  if (capabilities) drawForm();
});
$("stop").addEventListener("click", () => stop?.abort());
$("save-zip").addEventListener("click", () => saveZip(shown));
$("save-sheet").addEventListener("click", () => saveSheet(shown).catch(complain));
$("key").addEventListener("change", start);
document.addEventListener("click", followWithKey);
addEventListener("hashchange", () => capabilities && drawLink());
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("picture-curl").textContent);
    $("copy").textContent = "Copied";
  } catch { // no permission, or no secure origin: it is selected, to be copied by hand
    getSelection().selectAllChildren($("picture-curl"));
  }
});

async function start() {
  forgive();
  let found;
  try {
    const get = async (path) => (await request(path, { key: key() })).json();
    found = await Promise.all([get("v1/models"), get("v1/capabilities")]);
  } catch (error) {
    complain(error);
    return;
  }
  [{ data: models }, capabilities] = found;
  form.model.replaceChildren(...models.map(({ id }) => make("option", { value: id, textContent: id })));
  form.n.max = capabilities.limits.rows_per_request;
  $("model-field").hidden = models.length === 1;
  form.seed.value = drawSeed();
  presets.fill(models);
  $("draw").disabled = false;
  setBusy(false);
  await drawLink();
}

let wasReady = true;
showStatus(({ ready, queue, latency, rate }) => {
  $("status-ready").textContent = ready;
  $("status-queue").textContent = queue;
  $("status-rate").textContent = rate;
  if (latency) $("status-latency").textContent = latency;
  if (ready === "ready" && !wasReady && !capabilities) start(); // it was not there when the page came
  wasReady = ready === "ready";
}, key);
await start();
