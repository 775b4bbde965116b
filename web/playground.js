// The page: a form, a stage with the pictures that come out of the noise, and one picture up close.

import { request, draw, save, pictureUrl, curlOf } from "./client.js";
import { $, make } from "./dom.js";
import { areDigits, parseLabels } from "./labels.js";
import { Film } from "./film.js";
import { Presets } from "./presets.js";
import { showStatus } from "./status.js";

const PREVIEWS = 24;         // of each picture, at most
const PREVIEWS_OF_MANY = 6;  // where there are many pictures
const MANY = 64;
const STREAMS = 4;           // at once: a browser opens six connections to a server

const form = $("form");
const film = new Film({ box: $("film"), slider: $("frame"), button: $("play") });
const presets = new Presets($("presets"), choosePreset);
const key = () => $("key").value;

let models = [];
let capabilities = null;
let stop = null; // an AbortController while something is drawn

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

// The form as it is drawn stands in the page's address, and comes from there.
function remember() {
  const fields = new URLSearchParams(new FormData(form));
  history.replaceState(null, "", `#${fields}`);
}

function recall() {
  const fields = new URLSearchParams(location.hash.slice(1));
  if (models.some(({ id }) => id === fields.get("model"))) {
    form.model.value = fields.get("model");
    fillModel();
  }
  for (const [name, value] of fields) {
    if (name !== "model" && form.elements[name]) form.elements[name].value = value;
  }
  showSampler();
  showLayout();
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
  for (const field of form.querySelectorAll("[aria-invalid]")) {
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

// ---- the stage --------------------------------------------------------------------------------

// One picture: its button opens it up close, its name is the link to its URL.
function pictureOf({ label, index, seed }, params) {
  const name = model().classes[label];
  const url = pictureUrl({ label, index, seed }, params);
  const image = make("img", { alt: "" });
  const open = make("button", { type: "button", disabled: true, ariaLabel: `${name}, up close` }, image);
  const link = make("a", { href: url, textContent: areDigits(model().classes) ? label : name,
                           title: `Seed ${seed}, index ${index}` });
  link.dataset.name = `${label}-${seed}.png`;
  const picture = Object.assign(film.add(image), {
    element: make("div", { className: "picture" }, open, link), open,
  });
  open.onclick = () => showPicture(picture, { name, label, seed, url });
  return picture;
}

function showPicture({ frames, digest }, { name, label, seed, url }) {
  $("picture-title").textContent = `${name}, seed ${seed}`;
  $("picture-image").src = frames.at(-1);
  $("picture-image").alt = `A drawn ${name}`;
  $("picture-link").href = url;
  $("picture-link").textContent = url;
  $("picture-link").dataset.name = `${label}-${seed}.png`;
  $("picture-film").href = url.replace(".png?", ".apng?");
  $("picture-film").download = `${label}-${seed}.apng`;
  $("picture-curl").textContent = curlOf(url, `${label}-${seed}`, key());
  $("picture-digest").textContent = digest;
  $("copy").textContent = "Copy";
  $("picture").showModal();
}

function setStage(pictures, ...elements) {
  const size = pictures <= 6 ? "large" : pictures <= 20 ? "medium" : pictures <= 100 ? "" : "small";
  $("stage").dataset.size = size;
  $("stage").replaceChildren(...elements);
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
           labels: parseLabels(form.labels.value, model().classes) };
}

// A list is one request; the pictures are in the order of their indices.
function planList({ labels, n, seed, params }) {
  const pictures = labels.flatMap((label) => Array(n).fill(label))
    .map((label, index) => pictureOf({ label, index, seed }, params));
  setStage(pictures.length, ...pictures.map(({ element }) => element));
  return [{ body: { labels, n, seed, ...params }, pictures }];
}

// A grid is a request for each seed, that is for each line.
function planGrid({ labels, n, seed, params }) {
  const columns = [...new Set(labels)];
  const lines = Array.from({ length: n }, (_, i) => ({
    body: { labels: columns, seed: seed + i, ...params },
    pictures: columns.map((label, index) => pictureOf({ label, index, seed: seed + i }, params)),
  }));
  const heads = ["seed", ...columns.map((label) => model().classes[label])];
  const table = make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col", textContent: text })))),
    make("tbody", {}, ...lines.map(({ body, pictures }) => make("tr", {},
      make("th", { scope: "row", textContent: body.seed }),
      ...pictures.map(({ element }) => make("td", {}, element))))));
  table.style.setProperty("--columns", columns.length);
  setStage(n * columns.length, make("div", { className: "table", tabIndex: 0, role: "region",
                                             ariaLabel: "Seeds and labels" }, table));
  return lines;
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

function setBusy(busy) {
  $("draw").disabled = busy;
  $("stop").hidden = !busy;
  $("progress").hidden = !busy;
  $("progress").value = 0;
  $("stage").setAttribute("aria-busy", busy);
}

async function drawForm() {
  if (stop) return;
  forgive();
  let wanted;
  try {
    wanted = readForm();
  } catch (error) {
    blame("labels", error.message);
    return;
  }
  remember();
  film.clear();
  const plan = form.layout.value === "grid" ? planGrid(wanted) : planList(wanted);
  const pictures = plan.reduce((sum, line) => sum + line.pictures.length, 0);
  const abort = stop = new AbortController();
  setBusy(true);
  const section = $("stage").parentElement;
  if (section.getBoundingClientRect().top > innerHeight / 2) section.scrollIntoView({ block: "nearest" });
  const settings = readSettings();
  const start = performance.now();
  try {
    presets.tell(settings, pictures, await drawAll(plan, abort.signal));
    say(`${pictures} ${pictures === 1 ? "picture" : "pictures"} in ${Math.round(performance.now() - start)} ms`);
  } catch (error) {
    abort.abort(); // the other lines of a grid are of no use
    if (!plan.some((line) => line.pictures.some(({ frames }) => frames.length))) setStage(0);
    complain(error);
  } finally {
    stop = null;
    setBusy(false);
    film.end();
  }
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

form.addEventListener("input", () => {
  forgive();
  if (!capabilities) return;
  showGuidance();
  presets.show(readSettings());
});
form.addEventListener("invalid", ({ target }) => target.closest("details")?.setAttribute("open", ""), true);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  drawForm();
});
form.model.addEventListener("change", fillModel);
form.sampler.addEventListener("change", showSampler);
$("layout").addEventListener("change", showLayout);
$("dice").addEventListener("click", () => {
  form.seed.value = drawSeed();
  drawForm();
});
$("stop").addEventListener("click", () => stop?.abort());
$("key").addEventListener("change", start);
document.addEventListener("click", followWithKey);
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
  try {
    const get = async (path) => (await request(path, { key: key() })).json();
    [{ data: models }, capabilities] = await Promise.all([get("v1/models"), get("v1/capabilities")]);
  } catch (error) {
    complain(error);
    return;
  }
  form.model.replaceChildren(...models.map(({ id }) => make("option", { value: id, textContent: id })));
  form.n.max = capabilities.limits.rows_per_request;
  $("model-field").hidden = models.length === 1;
  form.seed.value = drawSeed();
  presets.fill(models);
  fillModel();
  recall();
  setBusy(false);
  say("Press Draw.");
}

showStatus(({ ready, queue, latency, rate }) => {
  $("status-ready").textContent = ready;
  $("status-queue").textContent = queue;
  $("status-rate").textContent = rate;
  if (latency) $("status-latency").textContent = latency;
}, key);
await start();
