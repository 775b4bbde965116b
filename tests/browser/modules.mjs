// The page's modules that need no page, tried by node: modules.mjs. Silent when all is well.
import assert from "node:assert/strict";
import { areDigits, parseLabels } from "../../web/labels.js";
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
