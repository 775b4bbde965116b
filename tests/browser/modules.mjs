// The page's modules that need no page, tried by node: modules.mjs. Silent when all is well.
import assert from "node:assert/strict";
import { areDigits, examplesOf, labelInUrl, parseLabels } from "../../web/labels.js";
import { readLink } from "../../web/link.js";
import { marksOf, withMarks } from "../../web/archive.js";
import { curlOf, readEvents } from "../../web/client.js";
import { read } from "../../web/status.js";

const digits = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const clothes = ["t-shirt", "ankle boot", "coat", "dress"];

const cases = [
  [digits, "2026", [2, 0, 2, 6]],
  [digits, " 7 ", [7]],
  [digits, "seven", [7]],
  [digits, "four sevens", [7, 7, 7, 7]],
  [digits, "2 Sixes 9", [6, 6, 9]],
  [digits, "two zeroes, 3 ones", [0, 0, 1, 1, 1]],
  [digits, "three 7s", [7, 7, 7]],
  [digits, "three seven", [3, 7]],
  [digits, "20,26", [2, 0, 2, 6]],
  [clothes, "ankle boot, coat", [1, 2]],
  [clothes, "2 dresses", [3, 3]],
  [clothes, "2", [2]],
];
for (const [classes, text, labels] of cases) {
  assert.deepEqual(parseLabels(text, classes), labels, text);
}
for (const text of ["", " , ", "seventy", "7 and 8", "-1", "zero sevens"]) {
  assert.throws(() => parseLabels(text, digits), /none of|Name one of/, text);
}
assert.throws(() => parseLabels("12", clothes), /none of/);
assert.ok(areDigits(digits) && areDigits(["0", "1"]) && !areDigits(clothes));

// However the stream is cut, the events are the same.
const stream = "event: started\nid: 1\ndata: {\"id\":\"a\"}\n\n: ping\n\nevent: image\ndata: {\"b64\":\"é\"}\n\n";
const bytes = new TextEncoder().encode(stream);
for (const size of [1, 2, 3, 7, bytes.length]) {
  const cut = new ReadableStream({
    start(controller) {
      for (let i = 0; i < bytes.length; i += size) controller.enqueue(bytes.slice(i, i + size));
      controller.close();
    },
  });
  const events = [];
  for await (const event of readEvents(cut)) events.push(event);
  assert.deepEqual(events, [{ type: "started", id: "a" }, { type: "image", b64: "é" }]);
}

assert.equal(curlOf("http://x/a'b", "7", "secret"),
             `curl -s 'http://x/a%27b' -H "Authorization: Bearer $KEY" -o 7.png`);

const seconds = "denoised_http_request_duration_seconds";
assert.deepEqual(read(`# TYPE x gauge
denoised_ready 1
denoised_queue_rows 12
denoised_images_total{sampler="ddim"} 3
denoised_images_total{sampler="ddpm"} 4
${seconds}_sum{route="/metrics"} 9
${seconds}_count{route="/metrics"} 9
${seconds}_sum{route="/v1/samples"} 0.5
${seconds}_count{route="/v1/samples"} 2
`), { ready: true, queue: 12, images: 7, requests: 2, seconds: 0.5 });

// Where numerals are names of classes, they are nothing else, in URLs too.
const odd = ["1", "0", "10"];
assert.deepEqual(parseLabels("1, 0, 10", odd), [0, 1, 2]);
assert.throws(() => parseLabels("2", odd), /none of/);
assert.equal(labelInUrl(0, odd), "1");
assert.equal(labelInUrl(7, digits), 7);
assert.throws(() => parseLabels("9999 sevens ".repeat(80), digits, 256), /more than 256/);
for (const classes of [digits, clothes, odd, ["0", "1"], ["a,b"], Array.from({ length: 1000 }, (_, i) => `thing ${i}`)]) {
  for (const { labels } of examplesOf(classes)) assert.ok(parseLabels(labels, classes).length > 0, labels);
}

// Whatever a link says, what comes of it fits the form.
const models = [
  { id: "base", classes: digits, timesteps: 1000, step_counts: null, guidance: true, samplers: ["ddim", "heun"],
    defaults: { sampler: "heun", steps: 7, guidance_scale: 1.4, guidance_interval: [0, 1] } },
  { id: "few", classes: clothes, timesteps: 1000, step_counts: [1, 2, 4], guidance: false, samplers: ["consistency"],
    defaults: { sampler: "consistency", steps: 2, guidance_scale: 1.5, guidance_interval: [0, 1] } },
];
const capabilities = { limits: { rows_per_request: 256, seed: 2 ** 53 - 1, guidance_scale: 20 },
                       samplers: [{ name: "ddim", has_eta: true }, { name: "heun" }, { name: "consistency" }] };
assert.deepEqual(readLink("", models, capabilities), { model: models[0], values: {}, faults: [] });
let state = 1;
const pick = (list) => list[(state = (state * 48271) % 2147483647) % list.length];
const fieldNames = ["labels", "layout", "n", "seed", "model", "sampler", "steps", "guidance_scale", "guidance_start",
                    "guidance_end", "eta", "x", "__proto__", "%"];
const fieldValues = ["", "0", "1", "2", "-0", "1e400", "0x10", " 1", "1.5", "few", "ddim", "consistency", "grid", "seven",
                     "coat", "7".repeat(300), "%00%ff", "null", "constructor", "9007199254740993", "٣"];
for (let i = 0; i < 20000; i++) {
  const parts = Array.from({ length: 1 + (i % 4) }, () => `${pick(fieldNames)}${pick(["=", "", "=="])}${pick(fieldValues)}`);
  const link = parts.join("&");
  const { model, values, faults } = readLink(link, models, capabilities);
  assert.ok(models.includes(model) && Array.isArray(faults), link);
  const fits = {
    labels: (it) => parseLabels(it, model.classes).length <= 256,
    layout: (it) => ["list", "grid"].includes(it),
    n: (it) => Number(it) >= 1 && Number(it) <= 256,
    seed: (it) => Number.isSafeInteger(Number(it)) && Number(it) >= 0,
    model: (it) => it === model.id,
    sampler: (it) => model.samplers.includes(it),
    steps: (it) => model.step_counts?.includes(Number(it)) ?? (Number(it) >= 1 && Number(it) <= 1000),
    guidance_scale: (it) => Number(it) >= 0 && Number(it) <= 20,
    guidance_start: (it) => Number(it) >= 0 && Number(it) < 1,
    guidance_end: (it) => Number(it) > 0 && Number(it) <= 1,
    eta: (it) => Number(it) >= 0 && Number(it) <= 1,
  };
  for (const [name, value] of Object.entries(values)) assert.ok(fits[name](value), `${link}: ${name}`);
  // What is not taken is told.
  const said = Object.keys(values).length + faults.length;
  assert.ok(faults.length > 0 || said === new Set(new URLSearchParams(link).keys()).size, link);
}

// A chunk that marks a picture as generated goes over into a sheet of it.
const chunk = (name, text) => Buffer.concat([Buffer.from([0, 0, 0, text.length]), Buffer.from(name + text), Buffer.alloc(4)]);
const mark = chunk("iTXt", "XML:com.adobe.xmp\0...");
const png = Buffer.concat([Buffer.alloc(8), chunk("IHDR", "x".repeat(13)), chunk("tEXt", "XML"), mark, chunk("IEND", "")]);
assert.deepEqual(marksOf(png).map(Buffer.from), [mark]);
assert.deepEqual(Buffer.concat(withMarks(png, [mark])), Buffer.concat([png.subarray(0, 33), mark, png.subarray(33)]));
for (let cut = 0; cut < png.length; cut++) marksOf(png.subarray(0, cut));
